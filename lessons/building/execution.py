"""Run the notebooks in their lesson's folder and store what a full run printed and drew."""

import base64
import contextlib
import io
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbclient
import nbformat
from PIL import Image

from building import notebooks
from building.course import Course, Lesson, LessonError

LARGEST_NOTEBOOK_BYTES = 1_000_000
# What TensorFlow and its libraries write to stderr whatever the code does. Other warnings stay: they are findings.
_NOISE = re.compile(
    r"^(\d{4}-\d\d-\d\d .*: [IWE] |[IWE]\d{4} |WARNING: All log messages before absl"
    r"|To enable the following instructions|To enable them in other operations|TF-TRT Warning"
    r"|WARNING:tensorflow:\d+ out of the last \d+ calls)"  # a lesson has many models, each with a function of its own
)
_COLOURS = 256
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")  # colours of a terminal


def is_fast() -> bool:
    """Whether `EOKERAS_FAST=1` asks for the minute-long run of a lesson, whose outputs are not stored."""
    return os.environ.get("EOKERAS_FAST") == "1"


def build(course: Course, lesson: Lesson) -> None:
    """Run both notebooks and store their outputs. A fast run goes to `work/fast/`: the lesson shows a full one.

    Raises:
        LessonError: A cell failed, or a notebook reached 1 MB; the stored notebook stays as it was.
    """
    for kind, path in lesson.notebooks.items():
        started = time.monotonic()
        notebook = run(course, lesson, kind)
        target = lesson.folder / "work" / "fast" / path.name if is_fast() else path
        text_bytes = len(nbformat.writes(notebook).encode())
        if text_bytes >= LARGEST_NOTEBOOK_BYTES:
            raise LessonError(
                f"{lesson.show(path)} would hold {text_bytes / 1e6:.2f} MB and must stay below 1 MB. "
                f"Largest cell: {_largest_cell(notebook)}. Draw fewer or smaller pictures."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        notebooks.write(notebook, target)
        print(f"{lesson.show(target)}: {time.monotonic() - started:.0f} s, {text_bytes / 1e6:.2f} MB")


def run(course: Course, lesson: Lesson, kind: str, timeout: int | None = None) -> nbformat.NotebookNode:
    """The notebook of a `kind` (`lesson` or `solution`), made from `lesson.py` and run in the lesson's folder.

    Args:
        timeout: Longest time of one cell in seconds; None for no limit.

    Raises:
        LessonError: A cell failed; the message names notebook and cell and holds the cell's error.
    """
    notebook = notebooks.make(course, lesson, kind, draft=is_fast())
    client = nbclient.NotebookClient(
        notebook,
        timeout=timeout,
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=40"],
        resources={"metadata": {"path": str(lesson.folder)}},
    )
    with _importable(course.root):
        try:
            client.execute()
        except nbclient.exceptions.CellExecutionError as error:
            number = next(n for n, cell in enumerate(notebook.cells, 1) if _failed(cell))
            said = _ESCAPES.sub("", str(error))
            raise LessonError(f"{lesson.name}/{kind}.ipynb, cell {number} failed:\n{said}") from None
        except nbclient.exceptions.CellTimeoutError as error:
            raise LessonError(f"{lesson.name}/{kind}.ipynb: a cell took longer than {timeout} s.\n{error}") from None
    return clean(notebook, course.root, lesson.folder)


def clean(notebook: nbformat.NotebookNode, root: Path, folder: Path) -> nbformat.NotebookNode:
    """`notebook` without absolute paths, TensorFlow's log lines, and metadata that differ from run to run.

    Its pictures get a palette, which makes scenes three times smaller and can hardly be seen.
    """
    notebook.metadata = nbformat.from_dict(notebooks.METADATA)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(_without_noise, cell.outputs) if output is not None]
            cell.outputs = [_without_paths(output, root, folder) for output in cell.outputs]
            for output in cell.outputs:
                if picture := output.get("data", {}).get("image/png"):
                    output.data["image/png"] = _with_palette(picture)
    return notebook


def _with_palette(picture: str) -> str:
    """An opaque PNG in base 64 with the 256 colours that serve it best, or as it was where that is no smaller."""
    image = Image.open(io.BytesIO(base64.b64decode(picture)))
    if image.convert("RGBA").getextrema()[3][0] < 255:
        return picture
    indexed = image.convert("RGB").quantize(_COLOURS, kmeans=1, dither=Image.Dither.NONE)
    file = io.BytesIO()
    indexed.save(file, "PNG", optimize=True)
    return min(base64.b64encode(file.getvalue()).decode(), picture, key=len)


def _without_noise(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    if output.output_type == "stream":  # TensorFlow logs to both, in a notebook
        output.text = "".join(line for line in output.text.splitlines(keepends=True) if not _NOISE.match(line))
        if not output.text.strip():
            return None
    return output


def _without_paths(value, root: Path, folder: Path):
    """`value` with addresses in the lesson's folder relative to it, and those elsewhere without the user's part."""
    if isinstance(value, str):
        for prefix, shown in ((f"{folder}/", ""), (str(folder), "."), (f"{root}/", "../../"), (str(root), "../..")):
            value = value.replace(prefix, shown)
        if "/site-packages/" in value:  # the search takes minutes on a picture in base 64, which is full of slashes
            value = re.sub(r"/[^\s'\":]*/site-packages/", "", value)
        value = re.sub(r"/tmp/ipykernel_\d+/\d+\.py", "cell", value)
        return value.replace(sys.prefix, "").replace(str(Path.home()) + "/", "~/")
    if isinstance(value, dict):
        return nbformat.from_dict({key: _without_paths(part, root, folder) for key, part in value.items()})
    if isinstance(value, list):
        return [_without_paths(part, root, folder) for part in value]
    return value


def _failed(cell: nbformat.NotebookNode) -> bool:
    return any(output.output_type == "error" for output in cell.get("outputs", ()))


def _largest_cell(notebook: nbformat.NotebookNode) -> str:
    sizes = [(len(repr(cell.get("outputs", ""))), number) for number, cell in enumerate(notebook.cells, 1)]
    size, number = max(sizes)
    return f"cell {number} with {size / 1e6:.2f} MB"


@contextlib.contextmanager
def _importable(root: Path) -> Iterator[None]:
    """The kernel imports the library of this checkout, not another that is installed."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(root), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
