"""A course of one tiny lesson, written anew for every test, with all that a real one has and no TensorFlow."""

import json
import shutil
from pathlib import Path

import pytest
from building import execution, notebooks, slides
from building.course import Course, Lesson

LESSONS = Path(__file__).resolve().parents[2] / "lessons"

LESSON = """# %% [markdown] tags=["core"]
# # 5 · Tiny
# <!-- badge -->
# The score is {{ score.mean:.3f }}, and $\\frac{{a}}{b}$ is no number of ours.

# %% tags=["setup"]
LESSON = "of another lesson"

# %% tags=["core"]
FAST = os.environ.get("EOKERAS_FAST") == "1"
DATA = "simulated"

# %% tags=["extra"]
print("fast" if FAST else "full", os.path.basename(os.getcwd()))

# %% tags=["core", "exercise"]
answer_1 = None
# BEGIN SOLUTION
answer_1 = 6 * 7
# END SOLUTION

# %% tags=["core"]
if answer_1 is None:
    print("Hint: multiply.")
else:
    print("Right." if answer_1 == 42 else "Not yet.")
"""
SLIDES = """---
marp: true
theme: eokeras
math: mathjax
---

# The score is {{ score.mean:.2f }}

![w:600 a square](figures/square.svg)

<!-- 1 minute: say it slowly. -->
"""
README = """# Tiny

The mean is <!-- {{ score.mean:.1f }} -->0.1<!-- /-->, of <!-- {{ score.runs.1 }} -->8<!-- /--> patches.
"""
SQUARE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><rect width="9" height="9" fill="#0072B2"/></svg>'


def write_course(root: Path) -> Course:
    """The sources of a course with the lesson `5_tiny`; a stub stands for the library, so that nothing is installed."""
    folder = root / "lessons" / "5_tiny"
    (folder / "figures").mkdir(parents=True)
    (root / "eokeras").mkdir()
    (root / "eokeras" / "__init__.py").touch()
    (root / "pyproject.toml").write_text('[project.urls]\nRepository = "https://github.com/someone/somewhere"\n')
    shutil.copy(LESSONS / "setup_cell.py", root / "lessons")
    (root / "lessons" / "README.md").write_text(
        "# Lessons\n\n[Tiny](5_tiny/README.md) <!-- {{ badge 5_tiny }} --><!-- /-->\n"
    )
    (root / "lessons" / "theme.css").write_text("/* @theme eokeras */\nsection { width: 1280px; height: 720px; }\n")
    (folder / "lesson.py").write_text(LESSON)
    (folder / "slides.md").write_text(SLIDES)
    (folder / "README.md").write_text(README)
    (folder / "figures" / "square.svg").write_text(SQUARE)
    (folder / "results.json").write_text(json.dumps({"score": {"mean": 0.12345, "runs": [7, 8]}}))
    return Course(root)


def seal_slides(course: Course, lesson: Lesson) -> None:
    """Slides as the builder would leave them, without the browser."""
    seal = slides.seal(course, lesson)
    (lesson.folder / "slides.html").write_text(f"<html></html>\n<!-- {seal} -->\n")
    (lesson.folder / "slides.pdf").write_text(f"%PDF\n% {seal}\n")


@pytest.fixture
def course(tmp_path) -> Course:
    return write_course(tmp_path / "course")


@pytest.fixture
def lesson(course) -> Lesson:
    return course.lessons["5_tiny"]


@pytest.fixture(scope="session")
def built_course(tmp_path_factory) -> Course:
    """The course with everything built and run once; for tests that copy it or only read it."""
    from building import quotes

    course = write_course(tmp_path_factory.mktemp("built") / "course")
    lesson = course.lessons["5_tiny"]
    notebooks.build(course, lesson)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EOKERAS_FAST", raising=False)
        execution.build(course, lesson)
    seal_slides(course, lesson)
    quotes.build(course, course.folder / "README.md", None)
    return course
