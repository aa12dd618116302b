"""Every lesson runs: in fast mode here, and in an environment that only its own first cell has furnished."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from building import execution, notebooks
from building.course import Course, Lesson

ROOT = Path(__file__).resolve().parents[2]
COURSE = Course(ROOT)
LESSONS = [name for name, lesson in COURSE.published.items() if lesson.source.exists()]
# A fast run should take 45 s on two quiet cores. Machines are noisy, so only what hangs fails; the time is printed.
BUDGET_SECONDS, LIMIT_OF_A_CELL_SECONDS = 45, 600

RUN = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
try:
    nbclient.NotebookClient(notebook, timeout=1800).execute()
finally:
    nbformat.write(notebook, sys.argv[1])
"""


def files(folder: Path) -> dict[str, bytes]:
    """All files that belong to a lesson: not what it makes in `work/`."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {str(path): (folder / path).read_bytes() for path in paths if not {"work", "__pycache__"} & set(path.parts)}


def run_fast(name: str, kind: str, folder: Path, capsys) -> nbformat.NotebookNode:
    """Run a copy of the lesson in `folder`, print wall and processor time, and see that it wrote to `work/` alone."""
    shutil.copytree(COURSE.folder / name, folder / name, ignore=shutil.ignore_patterns("work", "__pycache__"))
    before, started = files(folder / name), time.monotonic()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    notebook = execution.run(COURSE, Lesson(folder / name), kind, timeout=LIMIT_OF_A_CELL_SECONDS)
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    with capsys.disabled():
        print(f"\n{name}/{kind}: {seconds:.0f} s ({processor:.0f} s of processor time) of {BUDGET_SECONDS} s", end=" ")
    assert files(folder / name) == before
    return notebook


@pytest.fixture(autouse=True)
def fast_mode(monkeypatch):
    monkeypatch.setenv("EOKERAS_FAST", "1")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.mark.parametrize("name", LESSONS)
def test_every_solution_runs_fast(name, tmp_path, capsys):
    run_fast(name, "solution", tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", LESSONS)
def test_every_lesson_runs_with_blank_exercises_and_prints_its_hints(name, tmp_path, capsys):
    notebook = run_fast(name, "lesson", tmp_path, capsys)
    exercises = [number for number, cell in enumerate(notebook.cells) if "exercise" in notebooks.tags(cell)]
    assert 2 <= len(exercises) <= 3
    for number in exercises:
        assert any(output.get("name") == "stdout" for output in notebook.cells[number + 1].outputs)


@pytest.fixture(scope="module")
def colab(tmp_path_factory) -> tuple[Path, Path]:
    """An interpreter with nothing but what runs notebooks, and a repository to fetch the course from."""
    folder = tmp_path_factory.mktemp("colab")
    subprocess.run([sys.executable, "-m", "venv", folder / "python"], check=True)
    python = folder / "python" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "ipykernel", "nbclient"], check=True)
    left_out = shutil.ignore_patterns(".git", ".*_cache", "__pycache__", ".venv", "node_modules", "work", "*.egg-info")
    shutil.copytree(ROOT, folder / "repository", ignore=left_out)
    who = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
    for command in (["init", "--quiet"], ["add", "--all"], [*who, "commit", "--quiet", "--message", "course"]):
        subprocess.run(["git", *command], cwd=folder / "repository", check=True)
    return python, folder / "repository"


@pytest.mark.slow
@pytest.mark.parametrize("name", LESSONS)
def test_first_cell_installs_all_that_a_lesson_needs(name, colab, tmp_path):
    python, repository = colab
    subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "eokeras"], check=True)
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["EOKERAS_SOURCE"] = str(repository)
    for kind in ("lesson", "solution"):  # the second finds the course installed, as after a restart of the kernel
        notebook = notebooks.make(COURSE, COURSE.lessons[name], kind, draft=True)
        where = "import eokeras, json, os\nprint(json.dumps([eokeras.__file__, os.getcwd()]))"
        notebook.cells.append(nbformat.v4.new_code_cell(where))
        path = tmp_path / f"{kind}.ipynb"
        nbformat.write(notebook, path)
        finished = subprocess.run([python, "-c", RUN, path.name], cwd=tmp_path, env=environment, check=False)
        assert finished.returncode == 0, f"{name}/{kind}.ipynb"
        library, folder = json.loads(nbformat.read(path, as_version=4).cells[-1].outputs[-1].text)
        assert Path(library).is_relative_to(python.parents[1])
        assert Path(folder) == tmp_path / "eokeras-course" / "lessons" / name
