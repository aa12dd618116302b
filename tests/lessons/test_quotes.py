"""Numbers in text come from results.json, and what is missing is named."""

import json

import pytest
from building import quotes
from building.course import LessonError


def fill(course, lesson, text: str, **kwargs) -> str:
    return quotes.fill(text, quotes.reader(course, lesson, **kwargs), "5_tiny/slides.md")


def test_values_are_formatted(course, lesson):
    results = {"a": {"b": 0.12345, "count": 1234567, "word": "silent", "list": [1.5, {"c": -2}]}}
    lesson.results.write_text(json.dumps(results))
    text = "{{ a.b:.3f }} {{ a.b:.1%}} {{ a.count:, }} {{ a.word }} {{ a.list.0 }} {{ a.list.1.c:+d }}"
    assert fill(course, lesson, text) == "0.123 12.3% 1,234,567 silent 1.5 -2"


@pytest.mark.parametrize(
    "place", ["{{\na.plain sum:.1f}}", "{{ a.plain\nsum:.1f }}", "{{ a.plain sum:.1f\n}}", "{{  a.plain\n  sum:.1f}}"]
)
def test_places_may_be_broken_over_lines(course, lesson, place):
    lesson.results.write_text('{"a": {"plain sum": 0.25}}')
    assert fill(course, lesson, f"one\n[{place}, 1]") == "one\n[0.2, 1]"
    with pytest.raises(LessonError, match=r"line 2: .*has no `plain`"):
        fill(course, lesson, "one\n{{\na.plain }}")


def test_braces_of_formulas_are_left_alone(course, lesson):
    text = r"$\frac{{x}}{{y}}$ and {{}} and f'{{x}}'" + "\n$$\\frac{{\\mathrm{a}}}{{b}}$$ {{\n}}"
    assert fill(course, lesson, text) == text


def test_exercises_are_counted(course, lesson):
    assert fill(course, lesson, "{{ exercises }}") == fill(course, None, "{{ exercises 5_tiny }}") == "1"


@pytest.mark.parametrize("place", ["{{a.b}}", "{{a.b:.3f }}"])
def test_numbers_without_their_space_are_not_left_unfilled(course, lesson, place):
    with pytest.raises(LessonError, match=r"stays unfilled: write \{\{ path:.3f \}\} with a space"):
        fill(course, lesson, place)


def test_results_of_another_lesson(course, lesson):
    other = course.folder / "6_other"
    other.mkdir()
    (other / "results.json").write_text('{"gain": 3}')
    assert fill(course, lesson, "{{ 6_other/gain:.1f }}, {{ score.mean:.1f }}") == "3.0, 0.1"
    assert fill(course, None, "{{ 6_other/gain }} {{ repository }}") == "3 https://github.com/someone/somewhere"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("{{ score.median:.3f }}", r"5_tiny/results.json has no `median` of `score.median`; it has: mean, runs"),
        ("{{ scores.mean }}", "5_tiny/results.json has no `scores` of `scores.mean`; it has: score"),
        ("{{ score.runs.9 }}", "has no `9` of `score.runs.9`; it has: a list of 2"),
        ("{{ score.mean.x }}", "has no `x` of `score.mean.x`; it has: a float"),
        ("{{ score }}", "`score` of 5_tiny/results.json is no number but a dict"),
        ("{{ score.mean:.3d }}", "Unknown format code 'd'"),
        ("{{ 9_none/score }}", "there is no lesson 9_none"),
        ("{{ badge 9_none }}", "there is no lesson 9_none"),
    ],
)
def test_missing_numbers_name_file_line_and_key(course, lesson, place, message):
    with pytest.raises(LessonError, match=r"^5_tiny/slides.md, line 3: \{\{ ") as caught:
        fill(course, lesson, f"# Title\n\nIt is {place}.")
    assert message in str(caught.value)
    assert place in str(caught.value)


def test_results_that_are_not_written_yet(course, lesson):
    lesson.results.unlink()
    with pytest.raises(LessonError, match=r"there is no 5_tiny/results.json \(its experiment.py writes it\)"):
        fill(course, lesson, "{{ score.mean }}")
    assert fill(course, lesson, "{{ score.mean:.2f }}", draft=True) == "[score.mean]"


def test_readme_of_the_course_names_the_lesson(course):
    with pytest.raises(LessonError, match=r"which lesson\? \{\{ 3_data_fusion/path.to.number \}\}"):
        fill(course, None, "{{ score.mean }}")


def test_readme_is_refreshed_in_place(course, lesson, capsys):
    path = lesson.folder / "README.md"
    lesson.results.write_text(json.dumps({"score": {"mean": 0.98, "runs": [7, 90]}}))
    quotes.build(course, path, lesson)
    expected = "# Tiny\n\nThe mean is <!-- {{ score.mean:.1f }} -->1.0<!-- /-->, "
    assert path.read_text() == expected + "of <!-- {{ score.runs.1 }} -->90<!-- /--> patches.\n"
    assert capsys.readouterr().out == "lessons/5_tiny/README.md: numbers brought up to date\n"
    quotes.build(course, path, lesson)
    assert capsys.readouterr().out == ""


def test_quotes_of_a_readme_may_be_broken_over_lines(course, lesson):
    path = lesson.folder / "README.md"
    path.write_text("The mean is <!-- {{\nscore.mean:.1f }}\n-->9<!-- /-->.\n")
    quotes.build(course, path, lesson)
    assert path.read_text() == "The mean is <!-- {{\nscore.mean:.1f }} -->0.1<!-- /-->.\n"


def test_readme_error_names_the_line(course, lesson):
    path = lesson.folder / "README.md"
    path.write_text("# Tiny\n\n\n<!-- {{ score.median }} -->0.1<!-- /-->\n")
    with pytest.raises(LessonError, match=r"lessons/5_tiny/README.md, line 4: .*`median`"):
        quotes.build(course, path, lesson)
