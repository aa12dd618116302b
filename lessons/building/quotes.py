"""Numbers in text: `{{ path.to.number:.3f }}` is filled from the lesson's `results.json`.

In README files, which people read as they are, the number stands between two comments and is refreshed in place:
`<!-- {{ path.to.number:.3f }} -->0.123<!-- /-->`. A path that begins with another lesson's name and a slash reads that
lesson's results. `{{ repository }}` stands for the address of the repository, `{{ badge 3_data_fusion }}` for the
picture that opens a notebook in Colab, `{{ exercises 3_data_fusion }}` for their number; without a name they mean the
lesson itself. A line may end anywhere in a place: `{{`, the words of a path.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

from building.course import Course, Lesson, LessonError

_PLACE = re.compile(r"\{\{\s+([A-Za-z0-9_][^{}:]*?)(?::([^{}]*?))?\s*\}\}")
_MISSPELT = re.compile(r"\{\{[A-Za-z_][\w/]*\.[^{}]*\}\}")
_EXERCISE = re.compile(r"^# %%.*\btags=.*\"exercise\"", re.MULTILINE)
_QUOTE = re.compile(r"<!--\s(\{\{\s[^{}]+\s\}\})\s-->(.*?)<!-- /-->", re.DOTALL)


def reader(course: Course, lesson: Lesson | None, draft: bool = False, kind: str = "lesson") -> Callable[[str], str]:
    """A function that gives the value of the inside of a pair of braces, `path.to.number:.3f`.

    Args:
        lesson: Whose results a plain path reads; None for the README of the whole course.
        draft: Show a missing number as `[path]`, for texts written before their experiment has run.
        kind: Which notebook a badge opens.
    """

    def read(path: str, form: str) -> str:
        if path == "repository":
            return course.repository
        word, _, name = path.partition(" ")
        try:
            if word == "badge":
                return course.badge(_named(course, name, lesson).name, kind)
            if word == "exercises":
                return str(_count_exercises(_named(course, name, lesson)))
            owner, _, keys = path.rpartition("/")
            return format(_look_up(_named(course, owner, lesson), keys), form)
        except LessonError:
            if draft:
                return f"[{path}]"
            raise

    return read


def _named(course: Course, name: str, lesson: Lesson | None) -> Lesson:
    """The lesson of a name; without a name `lesson`, which the README of the course does not have."""
    found = course.lessons.get(name) if name else lesson
    if found is None:
        raise LessonError(f"there is no lesson {name}" if name else "which lesson? {{ 3_data_fusion/path.to.number }}")
    return found


def _count_exercises(lesson: Lesson) -> int:
    if not lesson.source.exists():
        raise LessonError(f"there is no {lesson.show(lesson.source)}")
    return len(_EXERCISE.findall(lesson.source.read_text()))


def _look_up(lesson: Lesson, keys: str):
    if not lesson.results.exists():
        raise LessonError(f"there is no {lesson.show(lesson.results)} (its experiment.py writes it)")
    value = json.loads(lesson.results.read_text())
    for key in keys.split("."):
        try:
            value = value[int(key) if isinstance(value, list) else key]
        except (KeyError, IndexError, ValueError, TypeError):
            known = ", ".join(value) if isinstance(value, dict) else _kind(value)
            raise LessonError(f"{lesson.show(lesson.results)} has no `{key}` of `{keys}`; it has: {known}") from None
    if isinstance(value, (dict, list)) or value is None:
        raise LessonError(f"`{keys}` of {lesson.show(lesson.results)} is no number but a {type(value).__name__}")
    return value


def _kind(value) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else f"a {type(value).__name__}"


def fill(text: str, read: Callable[[str, str], str], where: str, first_line: int = 1) -> str:
    """`text` with every pair of braces replaced by its value.

    Raises:
        LessonError: A number is not there or its format does not fit; the message begins with `where` and names both.
    """

    def value(match: re.Match) -> str:
        try:
            return read(" ".join(match[1].split()), match[2] or "")
        except (LessonError, ValueError) as error:
            line = text.count("\n", 0, match.start()) + first_line
            raise LessonError(f"{where}, line {line}: {' '.join(match[0].split())}: {error}") from None

    if misspelt := _MISSPELT.search(text):
        raise LessonError(f"{where}: {misspelt[0]} stays unfilled: write {{{{ path:.3f }}}} with a space in front")
    return _PLACE.sub(value, text)


def refresh(text: str, read: Callable[[str, str], str], where: str) -> str:
    """`text` of a README with every quoted number, between its two comments, as the results have it now."""

    def quote(match: re.Match) -> str:
        line = text.count("\n", 0, match.start()) + 1
        return f"<!-- {match[1]} -->{fill(match[1], read, where, line)}<!-- /-->"

    return _QUOTE.sub(quote, text)


def without_quotes(text: str) -> str:
    """`text` of a README without its pairs of comments and what stands between them."""
    return _QUOTE.sub("", text)


def build(course: Course, path: Path, lesson: Lesson | None, draft: bool = False) -> None:
    """Bring the numbers that the README in `path` quotes up to date."""
    where, text = path.relative_to(course.root).as_posix(), path.read_text()
    new = refresh(text, reader(course, lesson, draft), where)
    if new != text:
        path.write_text(new)
        print(f"{where}: numbers brought up to date")
