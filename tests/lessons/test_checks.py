"""The check is silent on a built course and finds every way in which committed files can leave their sources."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from building import checks, notebooks
from building.course import Course

from tests.lessons.conftest import LESSONS, seal_slides


@pytest.fixture
def copy(built_course, tmp_path) -> Course:
    shutil.copytree(built_course.root, tmp_path / "copy")
    return Course(tmp_path / "copy")


def check(course: Course) -> list[str]:
    return checks.check(course, [*course.lessons.values()])


def replace(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def edit_notebook(path: Path, edit) -> None:
    notebook = nbformat.read(path, as_version=4)
    edit(notebook)
    nbformat.write(notebook, path)


def test_built_course_is_silent(copy):
    assert check(copy) == []


def source(before: str, after: str):
    """A change of lesson.py, with the notebooks built again, so that only the source itself is at fault."""

    def change(course: Course) -> None:
        lesson = course.lessons["5_tiny"]
        replace(lesson.source, before, after)
        outputs = {kind: nbformat.read(path, as_version=4) for kind, path in lesson.notebooks.items()}
        for kind, path in lesson.notebooks.items():
            notebook = notebooks.make(course, lesson, kind)
            runs = 0
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    runs += 1
                    cell.execution_count = runs
            assert outputs[kind].metadata == notebook.metadata
            notebooks.write(notebook, path)

    return change


def lesson_file(name: str, before: str, after: str):
    return lambda course: replace(course.folder / "5_tiny" / name, before, after)


def notebook(name: str, edit):
    return lambda course: edit_notebook(course.folder / "5_tiny" / name, edit)


def results(mean: float):
    def change(course: Course) -> None:
        (course.folder / "5_tiny" / "results.json").write_text(json.dumps({"score": {"mean": mean, "runs": [7, 8]}}))

    return change


def large_weights(course: Course) -> None:
    for name in ("a.weights.h5", "b.keras"):
        (course.folder / "5_tiny" / name).write_bytes(bytes(1_000_001))
    (course.folder / "5_tiny" / "work").mkdir()
    (course.folder / "5_tiny" / "work" / "c.keras").write_bytes(bytes(5_000_000))  # is not committed


def remove(name: str):
    return lambda course: (course.folder / "5_tiny" / name).unlink()


def set_output(number: int, **parts):
    return lambda book: book.cells[number].update(parts)


ERROR = nbformat.v4.new_output("error", ename="ValueError", evalue="", traceback=[])
FIFTEEN = "\n".join(f"x{number} = {number}" for number in range(15))
DATA, ANSWER, HINT = 'DATA = "simulated"', "answer_1 = None\n# BEGIN", 'print("Hint: multiply.")'
OLD = "was not built from the present slides.md, results, theme and figures"

DRIFTS = {
    "notebook source": (
        notebook("solution.ipynb", lambda book: book.cells[2].update(source="FAST = True")),
        ["5_tiny/solution.ipynb, cell 3 differs from lesson.py: `python lessons/build.py notebooks 5_tiny`"],
    ),
    "notebook text": (
        notebook("lesson.ipynb", lambda book: book.cells[0].update(source="# Another title")),
        ["5_tiny/lesson.ipynb, cell 1 differs from lesson.py"],
    ),
    "notebook without its last cell": (
        notebook("lesson.ipynb", lambda book: book.cells.pop()),
        ["5_tiny/lesson.ipynb has 5 cells, lesson.py 6"],
    ),
    "notebook of an editor": (
        notebook("lesson.ipynb", lambda book: book.metadata.update(colab={"name": "copy"})),
        ["5_tiny/lesson.ipynb: metadata of an editor"],
    ),
    "lesson.py": (
        lesson_file("lesson.py", "print(", "print('new', "),
        ["5_tiny/lesson.ipynb, cell 4 differs from lesson.py", "5_tiny/solution.ipynb, cell 4 differs from lesson.py"],
    ),
    "no notebook": (remove("solution.ipynb"), ["5_tiny/solution.ipynb is missing"]),
    "cell that was not run": (
        notebook("lesson.ipynb", set_output(3, execution_count=None)),
        ["5_tiny/lesson.ipynb, cell 4 was not run with the others from top to bottom: `python lessons/build.py ex"],
    ),
    "cell that was run again": (
        notebook("lesson.ipynb", set_output(3, execution_count=9)),
        ["5_tiny/lesson.ipynb, cell 4 was not run with the others"],
    ),
    "cell that failed": (
        notebook("lesson.ipynb", set_output(5, outputs=[ERROR])),
        ["5_tiny/lesson.ipynb, cell 6 ended in an error"],
    ),
    "large notebook": (
        notebook("lesson.ipynb", set_output(3, outputs=[nbformat.v4.new_output("stream", text="x" * 1_000_000)])),
        ["5_tiny/lesson.ipynb has 1.00 MB and must stay below 1 MB"],
    ),
    "setup cell": (
        source("import subprocess\n", "import subprocess as process\n"),
        ["5_tiny/lesson.py, cell 2 differs from lessons/setup_cell.py"],
    ),
    "setup cell of the course": (
        lambda course: replace(course.folder / "setup_cell.py", "import os\n", "import os, time\n"),
        [
            "5_tiny/lesson.py, cell 2 differs from lessons/setup_cell.py",
            "5_tiny/lesson.ipynb, cell 2 differs from lesson.py",
            "5_tiny/solution.ipynb, cell 2 differs from lesson.py",
        ],
    ),
    "setup cell elsewhere": (
        source('# %% tags=["extra"]', '# %% tags=["extra", "setup"]'),
        ["5_tiny/lesson.py, cell 4: cell 2, and no other, is the setup cell"],
    ),
    "long cell": (source(DATA, f"{DATA}\n{FIFTEEN}"), ["5_tiny/lesson.py, cell 3 has 17 lines; 15 are the most"]),
    "no tag": (source('# %% tags=["extra"]', "# %%"), ["5_tiny/lesson.py, cell 4 must be tagged either core or extra"]),
    "two tags": (
        source('# %% tags=["extra"]', '# %% tags=["core", "extra"]'),
        ["5_tiny/lesson.py, cell 4 must be tagged either core or extra"],
    ),
    "no badge": (
        source("# <!-- badge -->\n", ""),
        ["5_tiny/lesson.py, cell 1: the title has no line `<!-- badge -->`"],
    ),
    "exercise without a blank answer": (
        source(ANSWER, "# BEGIN"),
        ["5_tiny/lesson.py, cell 5: the exercise must begin with a blank answer"],
    ),
    "exercise without a solution": (
        source("# BEGIN SOLUTION\nanswer_1 = 6 * 7\n# END SOLUTION\n", "# your turn\n"),
        ["5_tiny/lesson.py, cell 5: the exercise has no solution"],
    ),
    "exercise without a hint": (
        source(HINT, "pass"),
        ["5_tiny/lesson.py, cell 5: the next cell must print a hint where `answer_1 is None`"],
    ),
    "exercise without a check": (
        source('if answer_1 is None:\n    print("Hint: multiply.")\nelse:\n    print("R', 'if answer_1:\n    print("R'),
        ["5_tiny/lesson.py, cell 5: the next cell must print a hint where `answer_1 is None`"],
    ),
    "solution without its tag": (
        source('"core", "exercise"', '"core"'),
        ["5_tiny/lesson.py, cell 5 holds a solution and is not tagged exercise"],
    ),
    "unpaired marks": (
        lesson_file("lesson.py", "# END SOLUTION", "# THE END"),
        ["5_tiny/lesson.py, cell 5: every `# BEGIN SOLUTION` needs an `# END SOLUTION`"] * 2,
    ),
    "picture without text": (
        source("# The score", "# ![](figures/square.svg)\n# The score"),
        ["5_tiny/lesson.py, cell 1, line 3: figures/square.svg has no alternative text"],
    ),
    "picture that is not there": (
        source("# The score", "# ![a circle](figures/circle.svg)\n# The score"),
        ["5_tiny/lesson.py, cell 1, line 3: there is no figures/circle.svg"],
    ),
    "numbers": (
        results(0.98765),
        [
            "lessons/5_tiny/README.md quotes other numbers than results.json has: `python lessons/build.py readme`",
            "5_tiny/lesson.ipynb, cell 1 differs from lesson.py",
            "5_tiny/solution.ipynb, cell 1 differs from lesson.py",
            f"5_tiny/slides.html {OLD}: `python lessons/build.py slides 5_tiny`",
            f"5_tiny/slides.pdf {OLD}",
        ],
    ),
    "number that only the README shows": (
        lesson_file("README.md", "-->0.1<", "-->0.2<"),
        ["lessons/5_tiny/README.md quotes other numbers than results.json has"],
    ),
    "number that the README never shows": (
        lesson_file("README.md", "The mean", "{{ score.mean }} The mean"),
        ["lessons/5_tiny/README.md: {{ score.mean }} stays unfilled"],
    ),
    "address in a README": (
        lesson_file("README.md", "The mean", "https://github.com/someone/somewhere The mean"),
        ["lessons/5_tiny/README.md: the address of the repository stands in pyproject.toml alone"],
    ),
    "address in a lesson": (
        source("# The score", "# <https://github.com/someone/somewhere> The score"),
        ["5_tiny/lesson.py: the address of the repository stands in pyproject.toml alone"],
    ),
    "number that nobody has": (
        lesson_file("slides.md", "score.mean", "score.mode"),
        ["5_tiny/slides.md, line 7: {{ score.mode:.2f }}: 5_tiny/results.json has no `mode`"],
    ),
    "slides": (lesson_file("slides.md", "# The", "# Our"), [f"5_tiny/slides.html {OLD}", f"5_tiny/slides.pdf {OLD}"]),
    "figure": (
        lesson_file("figures/square.svg", "#0072B2", "#D55E00"),
        [f"5_tiny/slides.html {OLD}", f"5_tiny/slides.pdf {OLD}"],
    ),
    "theme": (
        lambda course: replace(course.theme, "720px", "721px"),
        [f"5_tiny/slides.html {OLD}", f"5_tiny/slides.pdf {OLD}"],
    ),
    "only one of html and pdf": (lesson_file("slides.pdf", "% built", "% made"), [f"5_tiny/slides.pdf {OLD}"]),
    "no slides": (remove("slides.html"), ["5_tiny/slides.html is missing"]),
    "no figure": (
        remove("figures/square.svg"),
        ["5_tiny/slides.md, line 9: there is no figures/square.svg (figures.py draws the figures)"],
    ),
    "weights": (large_weights, ["5_tiny/a.weights.h5: the weights of a lesson must stay below 2 MB together"]),
    "no README": (remove("README.md"), ["5_tiny has no README.md"]),
    "badge of the course": (
        lambda course: replace(course.root / "pyproject.toml", "somewhere", "elsewhere"),
        [
            "lessons/README.md quotes other numbers",
            "5_tiny/lesson.ipynb, cell 1 differs from lesson.py",
            "5_tiny/solution.ipynb, cell 1 differs from lesson.py",
        ],
    ),
}


@pytest.mark.parametrize("kind", DRIFTS)
def test_drift_is_found_and_named(copy, kind):
    change, expected = DRIFTS[kind]
    change(copy)
    found = check(copy)
    assert len(found) == len(expected), found
    for finding, start in zip(sorted(found), sorted(expected), strict=True):
        assert finding.startswith(start)


def test_slide_image_without_text_is_found_beside_placing_words(copy):
    lesson = copy.lessons["5_tiny"]
    replace(lesson.slides, "![w:600 a square]", "![bg right:40% w:600]")
    seal_slides(copy, lesson)
    assert check(copy) == ["5_tiny/slides.md, line 9: figures/square.svg has no alternative text"]


def test_check_needs_neither_node_nor_a_browser_nor_tensorflow(copy, tmp_path):
    program = (
        "import sys, pathlib, build; code = build.main(['--check'], pathlib.Path(sys.argv[1]));"
        "print(sorted({'tensorflow', 'keras', 'eokeras', 'matplotlib'} & set(sys.modules))); sys.exit(code)"
    )
    environment = {**os.environ, "PATH": str(tmp_path), "PYTHONPATH": str(LESSONS)}
    command = [sys.executable, "-c", program, str(copy.root)]

    def run() -> subprocess.CompletedProcess:
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    good = run()
    assert (good.returncode, good.stdout) == (0, "1 lesson checked: 0 findings\n[]\n"), good.stderr
    (copy.folder / "5_tiny" / "README.md").unlink()
    bad = run()
    assert (bad.returncode, bad.stderr) == (1, "5_tiny has no README.md\n")
    assert bad.stdout.startswith("1 lesson checked: 1 finding\n")
