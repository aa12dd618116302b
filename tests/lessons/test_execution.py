"""Notebooks are run in their folder; what is stored is small, whole, and says nothing of the machine."""

import base64
import io
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from building import execution, notebooks
from building.course import LessonError
from PIL import Image


@pytest.fixture(autouse=True)
def full_run(monkeypatch):
    monkeypatch.delenv("EOKERAS_FAST", raising=False)


def printed(path: Path) -> list[str]:
    cells = nbformat.read(path, as_version=4).cells
    return ["".join(output.text for output in cell.outputs) for cell in cells if cell.cell_type == "code"]


def test_outputs_are_those_of_a_full_run_in_the_lessons_folder(built_course):
    lesson = built_course.lessons["5_tiny"]
    assert printed(lesson.notebooks["lesson"]) == ["", "", "full 5_tiny\n", "", "Hint: multiply.\n"]
    assert printed(lesson.notebooks["solution"]) == ["", "", "full 5_tiny\n", "", "Right.\n"]
    for path in lesson.notebooks.values():
        notebook = nbformat.read(path, as_version=4)
        assert notebook.metadata == notebooks.METADATA
        assert [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"] == [1, 2, 3, 4, 5]
        assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
        assert str(built_course.root) not in path.read_text()


def test_fast_run_is_kept_apart(course, lesson, monkeypatch):
    notebooks.build(course, lesson)
    before = lesson.notebooks["solution"].read_bytes()
    monkeypatch.setenv("EOKERAS_FAST", "1")
    execution.build(course, lesson)
    assert lesson.notebooks["solution"].read_bytes() == before
    assert printed(lesson.folder / "work" / "fast" / "solution.ipynb")[2:] == ["fast 5_tiny\n", "", "Right.\n"]


def test_failing_cell_is_named_and_nothing_is_stored(course, lesson):
    notebooks.build(course, lesson)
    before = lesson.notebooks["lesson"].read_bytes()
    lesson.source.write_text(lesson.source.read_text().replace('DATA = "simulated"', "DATA = 1 / 0"))
    with pytest.raises(LessonError, match=r"5_tiny/lesson.ipynb, cell 3 failed:\n(.*\n)*ZeroDivisionError"):
        execution.build(course, lesson)
    assert lesson.notebooks["lesson"].read_bytes() == before


def test_large_notebook_is_refused_and_its_largest_cell_named(course, lesson):
    notebooks.build(course, lesson)
    before = lesson.notebooks["lesson"].read_bytes()
    lesson.source.write_text(lesson.source.read_text().replace('DATA = "simulated"', 'print("x" * 1_000_000)'))
    with pytest.raises(LessonError, match=r"5_tiny/lesson.ipynb would hold 1.00 MB and must .* cell 3 with 1.00 MB"):
        execution.build(course, lesson)
    assert lesson.notebooks["lesson"].read_bytes() == before


def test_slow_cell_is_stopped(course, lesson):
    notebooks.write_setup_cell(course, lesson)
    lesson.source.write_text(lesson.source.read_text().replace('DATA = "simulated"', "import time; time.sleep(60)"))
    with pytest.raises(LessonError, match=r"5_tiny/solution.ipynb: a cell took longer than 2 s"):
        execution.run(course, lesson, "solution", timeout=2)


def clean(*outputs) -> list:
    cell = nbformat.v4.new_code_cell(
        "f()", outputs=list(outputs), metadata={"tags": ["core"], "execution": {"iopub.status.busy": "2025-01-02"}}
    )
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"language_info": {"name": "python", "version": "3.11"}})
    cleaned = execution.clean(notebook, Path("/home/a/course"), Path("/home/a/course/lessons/5_tiny"))
    assert cleaned.metadata == notebooks.METADATA
    assert cleaned.cells[0].metadata == {"tags": ["core"]}
    return cleaned.cells[0].outputs


def test_log_lines_go_and_warnings_stay():
    noise = (
        "2025-01-02 03:04:05.678901: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on.\n"
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
        "E0000 00:00:1736.1 1 cuda_dnn.cc:8579] Unable to register cuDNN factory\n"
        "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.\n"
    )
    finding = "/usr/lib/python3/site-packages/keras/src/x.py:3: UserWarning: fewer than ten groups\n"

    def stream(text: str):
        return nbformat.v4.new_output("stream", name="stderr", text=text)

    assert clean(stream(noise)) == []
    (left,) = clean(stream(noise + finding))
    assert left.text == "keras/src/x.py:3: UserWarning: fewer than ten groups\n"


def test_addresses_of_this_machine_go():
    text = "wrote /home/a/course/lessons/5_tiny/work/a.csv and /home/a/course/data in /home/a/course/lessons/5_tiny\n"
    result = nbformat.v4.new_output("execute_result", {"text/plain": "PosixPath('/home/a/course/lessons/5_tiny/work')"})
    stream, result = clean(nbformat.v4.new_output("stream", text=text), result)
    assert stream.text == "wrote work/a.csv and ../../data in .\n"
    assert result.data == {"text/plain": "PosixPath('work')"}
    (home,) = clean(nbformat.v4.new_output("stream", text=f"{Path.home()}/.keras and {sys.prefix}/bin\n"))
    assert str(Path.home()) not in home.text
    assert sys.prefix not in home.text


def drawn(pixels: np.ndarray):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(file.getvalue()).decode()})


def shown(output) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))).convert("RGBA"))


def test_pictures_get_smaller_and_look_the_same():
    scene = np.full((100, 100, 4), (0, 0, 90, 255), "uint8")
    scene[..., :2] = np.random.default_rng(0).integers(0, 256, (100, 100, 2))  # thousands of colours
    chart = np.full((80, 80, 4), 255, "uint8")
    chart[20:30, 10:70] = (213, 94, 0, 255)
    glass = scene.copy()
    glass[:9, :9, 3] = 128
    before = [drawn(pixels) for pixels in (scene, chart, glass)]
    sizes = [len(output.data["image/png"]) for output in before]
    after = clean(*before)
    assert len(after[0].data["image/png"]) < sizes[0] / 2
    assert len(after[1].data["image/png"]) <= sizes[1]
    errors = np.abs(shown(after[0]).astype(int) - scene)
    assert errors.mean() < 4  # 256 cells of 16 x 16 levels: 4 in each of two of four channels, were they square
    np.testing.assert_array_equal(shown(after[1]), chart)
    np.testing.assert_array_equal(shown(after[2]), glass)


def test_lesson_runs_as_a_script(course, lesson):
    notebooks.build(course, lesson)
    environment = {**os.environ, "PYTHONPATH": str(course.root), "EOKERAS_FAST": "1"}
    command = [sys.executable, "lesson.py"]
    finished = subprocess.run(command, cwd=lesson.folder, env=environment, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout) == (0, "fast 5_tiny\nRight.\n"), finished.stderr
