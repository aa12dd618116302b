"""Build the course: `python lessons/build.py [PART ...] [LESSON ...]`.

Parts, in the order in which they run (without one: notebooks, figures, slides, readme):

    notebooks       lesson.py -> lesson.ipynb (exercises blank) and solution.ipynb (filled); unchanged code keeps
                    its outputs
    execute         run both notebooks in the lesson's folder and store their outputs (minutes)
    figures         run the lesson's figures.py
    slides          slides.md + results.json + theme.css -> slides.html and slides.pdf (needs Node and Chromium)
    slide-pictures  draw every slide as PNG into a temporary directory, to look at
    readme          bring the numbers that README files quote up to date (the course's own where no lesson is named)

`--check` builds nothing: it fails where a built file does not agree with its sources, without Node or a browser.
`EOKERAS_FAST=1` makes `execute` a trial of a minute, whose notebooks go to work/fast/ in the lesson's folder.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from building import checks, execution, notebooks, quotes, slides
from building.course import Course, Lesson, LessonError

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("notebooks", "execute", "figures", "slides", "slide-pictures", "readme")
DEFAULT_PARTS = ("notebooks", "figures", "slides", "readme")


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line on the course in `root`; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="PART or LESSON", help="what to build, and for which lessons")
    parser.add_argument("--check", action="store_true", help="build nothing; fail where built files and sources differ")
    parser.add_argument("--draft", action="store_true", help="show numbers that are not in results.json yet as [path]")
    options = parser.parse_args(arguments)
    course = Course(root)
    known = course.lessons
    words = [word.rstrip("/") for word in options.words]
    if unknown := [word for word in words if word not in PARTS and word not in known]:
        parser.error(f"unknown: {', '.join(unknown)}. Parts: {', '.join(PARTS)}. Lessons: {', '.join(known)}.")
    parts = [part for part in PARTS if part in (set(words) & set(PARTS) or DEFAULT_PARTS)]
    chosen = [lesson for name, lesson in known.items() if name in words] or [*known.values()]
    waiting = [lesson.name for lesson in chosen if lesson.name not in course.published and lesson.name not in words]
    chosen = [lesson for lesson in chosen if lesson.name not in waiting]
    for name in waiting:
        print(f"{name} is in preparation: lessons/README.md does not link it. Name it to build or check it.")
    if options.check:
        findings = checks.check(course, chosen)
        print(*findings, sep="\n", end="\n" if findings else "", file=sys.stderr)
        print(f"{count(chosen, 'lesson')} checked: {count(findings, 'finding')}")
        return 1 if findings else 0
    try:
        for lesson in chosen:
            for part in parts:
                build(part, course, lesson, options.draft)
        if "readme" in parts and not set(words) & set(known):  # the course's own README quotes all lessons
            quotes.build(course, course.folder / "README.md", None, options.draft)
    except LessonError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def count(things: list, noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def build(part: str, course: Course, lesson: Lesson, draft: bool) -> None:
    """Build one part of one lesson, where the lesson has the source of it."""
    if part == "notebooks" and lesson.source.exists():
        notebooks.build(course, lesson, draft)
    elif part == "execute" and lesson.source.exists():
        execution.build(course, lesson)
    elif part == "figures" and (lesson.folder / "figures.py").exists():
        run_script(course, lesson, "figures.py")
    elif part == "slides" and lesson.slides.exists():
        for finding in slides.build(course, lesson, draft):
            print(f"  look at {finding}")
    elif part == "slide-pictures" and lesson.slides.exists():
        print(*slides.pictures(course, lesson, draft), sep="\n")
    elif part == "readme" and (lesson.folder / "README.md").exists():
        quotes.build(course, lesson.folder / "README.md", lesson, draft)


def run_script(course: Course, lesson: Lesson, name: str) -> None:
    """Run a script of the lesson in the lesson's folder, with the course's modules and this checkout importable."""
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(course.folder), str(course.root), *([before] if before else [])])
    finished = subprocess.run(
        [sys.executable, name], cwd=lesson.folder, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    if finished.returncode:
        raise LessonError(f"{lesson.name}/{name} failed (its message stands above).")


if __name__ == "__main__":
    sys.exit(main())
