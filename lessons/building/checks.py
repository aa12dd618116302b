"""Does everything that is committed agree with its sources? Needs neither Node, nor a browser, nor TensorFlow.

Every finding is one line that names file and place and says what to do.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

from building import execution, notebooks, quotes, slides
from building.course import Course, Lesson, LessonError

MOST_LINES = 15
LARGEST_WEIGHTS_BYTES = 2_000_000
_WEIGHTS = re.compile(r"\.(keras|h5|hdf5|npz|npy|pb|ckpt|index|tflite|safetensors|pkl|data-\d+-of-\d+)$")


def check(course: Course, lessons: list[Lesson]) -> list[str]:
    """All findings about `lessons` and the course's README; an empty list means that the committed files agree."""
    findings = [*_readme(course, course.folder / "README.md", None)]
    for lesson in lessons:
        readme = lesson.folder / "README.md"
        findings += _readme(course, readme, lesson) if readme.exists() else [f"{lesson.name} has no README.md"]
        findings += _weights(lesson)
        if lesson.source.exists():
            findings += _source(course, lesson)
            for kind in lesson.notebooks:
                findings += _notebook(course, lesson, kind)
        if lesson.slides.exists():
            findings += _slides(course, lesson)
    return findings


def _readme(course: Course, path: Path, lesson: Lesson | None) -> Iterator[str]:
    where, text = path.relative_to(course.root).as_posix(), path.read_text()
    try:
        if quotes.refresh(text, quotes.reader(course, lesson), where) != text:
            yield f"{where} quotes other numbers than results.json has: `python lessons/build.py readme`"
    except LessonError as error:
        yield str(error)
    written = quotes.without_quotes(text)
    for place in re.findall(r"\{\{\s[^{}]*\}\}", written):
        yield f"{where}: {place} stays unfilled: write <!-- {place} --><!-- /-->"
    yield from _address(course, written, where)
    yield from _alternative_texts(text, where)


def _address(course: Course, text: str, where: str) -> Iterator[str]:
    if course.repository in text:
        yield f"{where}: the address of the repository stands in pyproject.toml alone: write {{{{ repository }}}}"


def _weights(lesson: Lesson) -> Iterator[str]:
    paths = [path for path in lesson.folder.rglob("*") if path.is_file() and _WEIGHTS.search(path.name)]
    sizes = {path: path.stat().st_size for path in paths if "work" not in path.relative_to(lesson.folder).parts}
    if (total := sum(sizes.values())) > LARGEST_WEIGHTS_BYTES:
        largest = lesson.show(max(sizes, key=sizes.get))
        yield f"{largest}: the weights of a lesson must stay below 2 MB together, these have {total / 1e6:.2f} MB"


def _source(course: Course, lesson: Lesson) -> Iterator[str]:
    cells = notebooks.read_cells(lesson)
    yield from _address(course, lesson.source.read_text(), lesson.show(lesson.source))
    for number, cell in enumerate(cells, 1):
        where = f"{lesson.show(lesson.source)}, cell {number}"
        if cell.cell_type == "markdown":
            yield from _alternative_texts(cell.source, where, lesson)
        if number == 1 and "<!-- badge -->" not in cell.source:
            yield f"{where}: the title has no line `<!-- badge -->` for the picture that opens Colab"
        if (number == 2) != ("setup" in notebooks.tags(cell)):
            yield f"{where}: cell 2, and no other, is the setup cell"
        if number == 2 and cell.source != course.setup_cell(lesson.name):
            yield f"{where} differs from lessons/setup_cell.py: `python lessons/build.py notebooks {lesson.name}`"
        if number != 2 and len(notebooks.tags(cell) & {"core", "extra"}) != 1:
            yield f"{where} must be tagged either core or extra"
        if cell.cell_type == "code":
            lines = [line for line in cell.source.splitlines() if not re.search(r"# (BEGIN|END) SOLUTION", line)]
            if len(lines) > MOST_LINES:
                yield f"{where} has {len(lines)} lines; {MOST_LINES} are the most: split it"
            after = cells[number].source if number < len(cells) else ""
            yield from _exercise(cell, after, where)


def _exercise(cell: nbformat.NotebookNode, after: str, where: str) -> Iterator[str]:
    """An exercise has a blank answer, a solution, and after it a cell that prints a hint or checks the answer."""
    has_solution = "# BEGIN SOLUTION" in cell.source
    if "exercise" not in notebooks.tags(cell):
        if has_solution:
            yield f"{where} holds a solution and is not tagged exercise"
        return
    answer = re.search(r"^(answer_\w+) = None$", cell.source, re.MULTILINE)
    if answer is None:
        yield f"{where}: the exercise must begin with a blank answer, such as `answer_1 = None`"
    if not has_solution:
        yield f"{where}: the exercise has no solution between `# BEGIN SOLUTION` and `# END SOLUTION`"
    if answer is not None and not re.search(rf"\b{answer[1]} is None\b.*\n.*print\(", after):
        yield f"{where}: the next cell must print a hint where `{answer[1]} is None`, and check it otherwise"


def _notebook(course: Course, lesson: Lesson, kind: str) -> Iterator[str]:
    path = lesson.notebooks[kind]
    again = f"`python lessons/build.py notebooks {lesson.name}`"
    try:
        expected = notebooks.make(course, lesson, kind)
    except LessonError as error:
        yield str(error)
        return
    if not path.exists():
        yield f"{lesson.show(path)} is missing: {again}"
        return
    if path.stat().st_size >= execution.LARGEST_NOTEBOOK_BYTES:
        yield f"{lesson.show(path)} has {path.stat().st_size / 1e6:.2f} MB and must stay below 1 MB"
    stored = nbformat.read(path, as_version=4)
    if len(stored.cells) != len(expected.cells):
        yield f"{lesson.show(path)} has {len(stored.cells)} cells, lesson.py {len(expected.cells)}: {again}"
    for number, (is_, must) in enumerate(zip(stored.cells, expected.cells, strict=False), 1):
        if any(is_.get(part) != must.get(part) for part in ("id", "cell_type", "metadata", "source")):
            yield f"{lesson.show(path)}, cell {number} differs from lesson.py: {again}"
            return  # after an inserted cell all others differ, too
    if stored.metadata != expected.metadata:
        yield f"{lesson.show(path)}: metadata of an editor: {again}"
    yield from _outputs(stored, lesson, path)


def _outputs(stored: nbformat.NotebookNode, lesson: Lesson, path: Path) -> Iterator[str]:
    """Outputs come from one run from top to bottom, without an error."""
    again = f"`python lessons/build.py execute {lesson.name}`"
    runs = 0
    for number, cell in enumerate(stored.cells, 1):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        runs += 1
        if cell.execution_count != runs:
            yield f"{lesson.show(path)}, cell {number} was not run with the others from top to bottom: {again}"
            return
        if any(output.output_type == "error" for output in cell.outputs):
            yield f"{lesson.show(path)}, cell {number} ended in an error: {again}"


def _slides(course: Course, lesson: Lesson) -> Iterator[str]:
    yield from _alternative_texts(lesson.slides.read_text(), lesson.show(lesson.slides))
    yield from _address(course, lesson.slides.read_text(), lesson.show(lesson.slides))
    again = f"`python lessons/build.py slides {lesson.name}`"
    try:
        seal = slides.seal(course, lesson)
    except LessonError as error:
        yield str(error)
        return
    for name in ("slides.html", "slides.pdf"):
        path = lesson.folder / name
        if not path.exists():
            yield f"{lesson.show(path)} is missing: {again}"
        elif seal.encode() not in path.read_bytes()[-200:]:
            yield f"{lesson.show(path)} was not built from the present slides.md, results, theme and figures: {again}"


def _alternative_texts(text: str, where: str, lesson: Lesson | None = None) -> Iterator[str]:
    for line, path, alternative in slides.images(text):
        if not alternative:
            yield f"{where}, line {line}: {path} has no alternative text"
        if lesson is not None and not re.match(r"[a-z]+:", path) and not (lesson.folder / path).is_file():
            yield f"{where}, line {line}: there is no {path}"
