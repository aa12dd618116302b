"""`lesson.py` -> two notebooks: what is blank, what is filled, which cells keep their names and outputs."""

import nbformat
import pytest
from building import notebooks
from building.course import LessonError


def sources(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells]


def ids(notebook) -> list[str]:
    return [cell.id for cell in notebook.cells]


def rewrite(lesson, before: str, after: str) -> None:
    text = lesson.source.read_text()
    assert before in text
    lesson.source.write_text(text.replace(before, after))


def test_exercise_is_blank_in_the_lesson_and_filled_in_the_solution(course, lesson):
    blank, filled = (notebooks.make(course, lesson, kind) for kind in ("lesson", "solution"))
    assert blank.cells[4].source == "answer_1 = None\n# your turn"
    assert filled.cells[4].source == "answer_1 = None\nanswer_1 = 6 * 7"
    assert [number for number in range(6) if sources(blank)[number] != sources(filled)[number]] == [
        0,
        4,
    ]  # badge, answer


def test_solution_inside_a_function_is_blanked_with_its_indentation():
    text = "def step(x):\n    # BEGIN SOLUTION\n    return x + 1\n    # END SOLUTION\n\nstep(1)"
    assert notebooks.blank(text, "") == "def step(x):\n    # your turn\n\nstep(1)"
    assert notebooks.solve(text, "") == "def step(x):\n    return x + 1\n\nstep(1)"


@pytest.mark.parametrize(
    "text", ["# BEGIN SOLUTION\nx = 1", "x = 1\n# END SOLUTION", "# END SOLUTION\n# BEGIN SOLUTION"]
)
def test_unpaired_marks_name_the_cell(text):
    for make in (notebooks.blank, notebooks.solve):
        with pytest.raises(LessonError, match=r"5_tiny/lesson.py, cell 5: every `# BEGIN SOLUTION` needs"):
            make(text, "5_tiny/lesson.py, cell 5")


def test_badge_numbers_and_address_are_filled(course, lesson):
    notebooks.build(course, lesson)
    for kind in ("lesson", "solution"):
        title, setup = sources(nbformat.read(lesson.notebooks[kind], as_version=4))[:2]
        assert title == (
            "# 5 · Tiny\n"
            "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
            f"(https://colab.research.google.com/github/someone/somewhere/blob/main/lessons/5_tiny/{kind}.ipynb)\n"
            "The score is 0.123, and $\\frac{{a}}{b}$ is no number of ours."
        )
        assert '"EOKERAS_SOURCE", "https://github.com/someone/somewhere")' in setup


def test_setup_cell_is_brought_up_to_date_once(course, lesson):
    assert notebooks.write_setup_cell(course, lesson)
    text = lesson.source.read_text()
    assert text.count('LESSON = "5_tiny"\n' + (course.folder / "setup_cell.py").read_text()) == 1
    assert "of another lesson" not in text
    assert text.endswith('print("Right." if answer_1 == 42 else "Not yet.")\n')
    assert not notebooks.write_setup_cell(course, lesson)


def test_lesson_without_a_setup_cell_is_refused(course, lesson):
    rewrite(lesson, '# %% tags=["setup"]', "# %%")
    with pytest.raises(LessonError, match=r"5_tiny/lesson.py: cell 2 must be the setup cell"):
        notebooks.build(course, lesson)


def test_same_source_gives_the_same_bytes(course, lesson):
    notebooks.build(course, lesson)
    first = {kind: path.read_bytes() for kind, path in lesson.notebooks.items()}
    for path in lesson.notebooks.values():
        path.unlink()
    notebooks.build(course, lesson)
    assert {kind: path.read_bytes() for kind, path in lesson.notebooks.items()} == first


def test_ids_follow_the_cells(course, lesson):
    before = notebooks.make(course, lesson, "lesson")
    assert ids(before) == ids(notebooks.make(course, lesson, "solution"))
    assert len(set(ids(before))) == 6
    same = '# %% tags=["extra"]\nx = 1\n\n'
    rewrite(lesson, '# %% tags=["extra"]\nprint(', same + same + '# %% tags=["extra"]\nprint(')
    inserted = notebooks.make(course, lesson, "lesson")
    assert ids(inserted)[:3] + ids(inserted)[5:] == ids(before)
    assert len(set(ids(inserted))) == 8  # two cells of the same text have two names
    rewrite(lesson, same, "")
    rewrite(lesson, 'print("fast"', 'print("quick"')
    edited = notebooks.make(course, lesson, "lesson")
    assert [number for number in range(6) if ids(edited)[number] != ids(before)[number]] == [3]


def test_unchanged_code_keeps_its_outputs(course, lesson):
    notebooks.build(course, lesson)
    path = lesson.notebooks["lesson"]
    stored = nbformat.read(path, as_version=4)
    for number, cell in enumerate(stored.cells):
        if cell.cell_type == "code":
            cell.execution_count = number
            cell.outputs = [nbformat.v4.new_output("stream", text=f"output {number}")]
    nbformat.write(stored, path)
    rewrite(lesson, 'DATA = "simulated"', 'DATA =  "simulated"  # or "ben-ge-800"')
    rewrite(lesson, 'print("Hint: multiply.")', 'print("Hint: six sevens.")')
    rewrite(lesson, "# %% [markdown]", '# %% [markdown] tags=["core"]\n# Before <!-- badge -->\n\n# %% [markdown]')
    notebooks.build(course, lesson)
    kept = [cell.outputs[0].text if cell.get("outputs") else None for cell in nbformat.read(path, as_version=4).cells]
    # A new title moves all by one; a comment and spaces do not count; the cell with the other hint lost its output.
    assert kept == [None, None, "output 1", "output 2", "output 3", "output 4", None]
    counts = [cell.execution_count for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert counts == [1, 2, 3, 4, None]


def test_cells_that_are_no_plain_python_are_compared_as_text():
    assert notebooks.meaning("%pip install x") != notebooks.meaning("%pip install y")
    assert notebooks.meaning("x = 1  # one") == notebooks.meaning("x  =  1")
    assert notebooks.meaning("x = 1") != notebooks.meaning("x = 2")
