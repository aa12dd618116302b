"""The command line: what it builds for which lesson, and how it fails."""

import build
import pytest


def test_lessons_are_ordered_by_number(course):
    for name in ("10_last", "0_first", "notes", "node_modules"):
        (course.folder / name).mkdir()
    assert list(course.lessons) == ["0_first", "5_tiny", "10_last"]


def test_parts_are_built_for_the_named_lesson_alone(course, lesson):
    other = course.folder / "6_other"
    other.mkdir()
    (other / "lesson.py").write_text("not percent format")
    assert build.main(["5_tiny/", "notebooks", "readme"], course.root) == 0
    assert sorted(path.name for path in lesson.folder.glob("*.ipynb")) == ["lesson.ipynb", "solution.ipynb"]
    assert list(other.glob("*.ipynb")) == []
    assert "-->0.1<!-- /-->" in (lesson.folder / "README.md").read_text()
    assert "badge.svg" not in (course.folder / "README.md").read_text()
    assert build.main(["readme"], course.root) == 0
    assert "blob/main/lessons/5_tiny/lesson.ipynb" in (course.folder / "README.md").read_text()


def test_figures_may_import_from_the_course_and_this_checkout(course, lesson):
    (course.folder / "drawing.py").write_text("COLOUR = 'blue'\n")
    (lesson.folder / "figures.py").write_text(
        "import drawing, eokeras, pathlib\npathlib.Path('figures/new.svg').write_text(drawing.COLOUR)\n"
    )
    assert build.main(["figures"], course.root) == 0
    assert (lesson.folder / "figures" / "new.svg").read_text() == "blue"


def test_errors_say_what_failed(course, lesson, capsys):
    (lesson.folder / "figures.py").write_text("raise SystemExit(3)\n")
    assert build.main(["figures"], course.root) == 1
    assert capsys.readouterr().err == "5_tiny/figures.py failed (its message stands above).\n"
    lesson.results.unlink()
    assert build.main(["notebooks"], course.root) == 1
    error = "5_tiny/lesson.py, cell 1, line 3: {{ score.mean:.3f }}: there is no 5_tiny/results.json"
    assert capsys.readouterr().err.startswith(error)
    assert build.main(["notebooks", "--draft"], course.root) == 0
    assert "The score is [score.mean], and" in lesson.notebooks["lesson"].read_text()


def test_unknown_words_are_refused(course, capsys):
    with pytest.raises(SystemExit):
        build.main(["notebook", "5_tiny"], course.root)
    assert "unknown: notebook. Parts: notebooks, execute, figures, slides," in capsys.readouterr().err


def test_a_lesson_that_the_readme_does_not_link_is_in_preparation(course, capsys):
    (course.folder / "6_other").mkdir()
    assert list(course.published) == ["5_tiny"]
    build.main(["--check"], course.root)
    told = capsys.readouterr()
    assert "6_other is in preparation" in told.out
    assert "6_other" not in told.err
    assert build.main(["--check", "6_other"], course.root) == 1
    assert "6_other has no README.md" in capsys.readouterr().err
    readme = course.folder / "README.md"
    readme.write_text(readme.read_text() + "[Other](6_other/README.md)\n")
    assert build.main(["--check"], course.root) == 1
    assert "6_other has no README.md" in capsys.readouterr().err
