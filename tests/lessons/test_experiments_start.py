"""Every experiment of the lessons still finds what it imports: they run for hours, so no test runs them whole."""

import runpy
import sys
from pathlib import Path

import pytest

LESSONS = Path(__file__).parents[2] / "lessons"


def forget_lessons():
    """Lessons have modules of the same names."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(f"{LESSONS}/"):
            del sys.modules[name]


@pytest.mark.parametrize(
    "path", sorted(LESSONS.glob("*/experiment*.py")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_an_experiment_can_start(path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(path.parent), str(LESSONS), *sys.path])
    forget_lessons()
    assert callable(runpy.run_path(str(path), run_name="started")["main"])
    forget_lessons()
