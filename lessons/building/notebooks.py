"""`lesson.py` in percent format -> `lesson.ipynb` with blank exercises and `solution.ipynb` with filled ones."""

import ast
import hashlib
import re

import jupytext
import nbformat

from building import quotes
from building.course import Course, Lesson, LessonError

BLANK = "# your turn"
_SOLUTION = re.compile(
    r"^[ \t]*# BEGIN SOLUTION[^\n]*\n(.*?)^[ \t]*# END SOLUTION[^\n]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def read_cells(lesson: Lesson) -> list[nbformat.NotebookNode]:
    """The cells of `lesson.py` as they stand there: unfilled, with the marks around solutions."""
    return jupytext.reads(lesson.source.read_text(), fmt="py:percent").cells


def tags(cell: nbformat.NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", ()))


def make(course: Course, lesson: Lesson, kind: str, draft: bool = False) -> nbformat.NotebookNode:
    """The notebook of a `kind` (`lesson` or `solution`) without outputs; the same source gives the same bytes.

    Raises:
        LessonError: A quoted number is not in the results, or an exercise's marks do not pair.
    """
    read = quotes.reader(course, lesson, draft, kind)
    cells, seen = [], {}
    for number, cell in enumerate(read_cells(lesson), 1):
        where = f"{lesson.show(lesson.source)}, cell {number}"
        text = course.setup_cell(lesson.name) if "setup" in tags(cell) else cell.source
        identity = (cell.cell_type, text)
        seen[identity] = seen.get(identity, 0) + 1
        digest = hashlib.sha256(repr((lesson.name, *identity, seen[identity])).encode()).hexdigest()
        metadata = {"tags": list(cell.metadata["tags"])} if cell.metadata.get("tags") else {}
        if cell.cell_type == "code":
            text = quotes.fill(text, read, where) if "setup" in tags(cell) else text
            text = solve(text, where) if kind == "solution" else blank(text, where)
            cells.append(nbformat.v4.new_code_cell(text, id=digest[:8], metadata=metadata))
        else:
            text = quotes.fill(text.replace("<!-- badge -->", "{{ badge }}"), read, where)
            cells.append(nbformat.v4.new_markdown_cell(text, id=digest[:8], metadata=metadata))
    return nbformat.v4.new_notebook(cells=cells, metadata=METADATA)


def blank(text: str, where: str) -> str:
    """An exercise as the learner gets it: the solution is replaced by `# your turn`, indented as the solution was."""
    _check_marks(text, where)

    def indented(match: re.Match) -> str:
        return re.match(r"[ \t]*", match[0])[0] + BLANK + "\n"

    return _SOLUTION.sub(indented, text).rstrip("\n")


def solve(text: str, where: str) -> str:
    """An exercise with its solution; only the marks around it are gone."""
    _check_marks(text, where)
    return _SOLUTION.sub(lambda match: match[1], text).rstrip("\n")


def _check_marks(text: str, where: str) -> None:
    begins, ends = text.count("# BEGIN SOLUTION"), text.count("# END SOLUTION")
    if begins != ends or len(_SOLUTION.findall(text)) != begins:
        raise LessonError(f"{where}: every `# BEGIN SOLUTION` needs an `# END SOLUTION` line after it.")


def keep_outputs(new: nbformat.NotebookNode, old: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """`new` with the outputs that `old` has for cells of the same code (comments and layout do not count)."""
    waiting: dict[str, list] = {}
    for cell in old.cells:
        if cell.cell_type == "code":
            waiting.setdefault(meaning(cell.source), []).append(cell)
    for cell in new.cells:
        same = waiting.get(meaning(cell.source)) if cell.cell_type == "code" else None
        if same:
            kept = same.pop(0)
            cell.outputs, cell.execution_count = kept.outputs, kept.execution_count
    return new


def meaning(code: str) -> str:
    """What the code does, without comments and layout; the code itself where it is not plain Python (`%pip`)."""
    try:
        return ast.dump(ast.parse(code))
    except SyntaxError:
        return code


def write_setup_cell(course: Course, lesson: Lesson) -> bool:
    """Put the course's setup cell into `lesson.py` where another text stands under its mark; True if it did."""
    text = lesson.source.read_text()
    mark = re.search(r'^# %% tags=\["setup"\][^\n]*\n', text, re.MULTILINE)
    if mark is None:
        raise LessonError(f'{lesson.show(lesson.source)}: cell 2 must be the setup cell, `# %% tags=["setup"]`.')
    end = re.search(r"^# %%", text[mark.end() :], re.MULTILINE)
    rest = text[mark.end() + end.start() :] if end else ""
    new = f"{text[: mark.end()]}{course.setup_cell(lesson.name)}\n\n{rest}"
    if new != text:
        lesson.source.write_text(new)
    return new != text


def build(course: Course, lesson: Lesson, draft: bool = False) -> None:
    """Write both notebooks; cells whose code is unchanged keep the outputs of their last run."""
    if write_setup_cell(course, lesson):
        print(f"{lesson.show(lesson.source)}: setup cell brought up to date")
    for kind, path in lesson.notebooks.items():
        notebook = make(course, lesson, kind, draft)
        if path.exists():
            notebook = keep_outputs(notebook, nbformat.read(path, as_version=4))
        write(notebook, path)
        print(lesson.show(path))


def write(notebook: nbformat.NotebookNode, path) -> None:
    """Write a notebook, whole or not at all."""
    nbformat.validate(notebook)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(nbformat.writes(notebook) + "\n")
    temporary.replace(path)
