"""The whole job once, small: patches -> records -> fusion model -> scores -> SavedModel -> report.

OUT/
  source/      the simulated ben-ge tree (unless another one is given)
  records/     TFRecords
  run/         configuration, history, model, scores
  exported/    SavedModel with schema.json and MODEL_CARD.md
  report.html  what happened, in pictures
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eokeras import ben_ge, evaluate, run_folder
from eokeras.ben_ge.records import RecordSchema
from eokeras.ben_ge.splits import GROUPS, KINDS
from eokeras.command_line import progress_bar
from eokeras.errors import InvalidArgumentError, RecordsError, TargetExistsError, check_choice
from eokeras.report_page import write_demo_report
from eokeras.saved_model import input_names

SPLIT_FRACTIONS = (0.6, 0.2, 0.2)
"""Larger test share than usual, so that the small test split has groups enough for intervals."""

_MARKER = ".eokeras-demo"
_INPUTS = ("s2", "s1")
_TARGETS = ("climate_zone", "land_cover_map", "season")
_TOLERANCE = 1e-4

# What somebody does who has TensorFlow and the exported directory, and nothing else.
_CLEAN_PROCESS = """
import sys
import numpy as np
import tensorflow as tf
model, given, answers = sys.argv[1:]
loaded = tf.saved_model.load(model)
outputs = loaded.serve({name: tf.constant(values) for name, values in np.load(given).items()})
np.savez(answers, **{name: value.numpy() for name, value in outputs.items()})
assert "eokeras" not in sys.modules
"""


@dataclass
class Result:
    """What the demo made; the report shows it. `reload_difference` is None where there was no test split."""

    out: Path
    records: Path
    schema: RecordSchema
    model: object
    configuration: run_folder.Configuration
    history: list[dict[str, float]]
    scores: evaluate.Scores | None = None
    missing: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    reload_difference: float | None = None


def run_demo(
    out: str | Path,
    source: str | Path | None = None,
    split: str = "grouped",
    group: str = "tile_date",
    patches: int = 400,
    seed: int = 0,
    epochs: int = 8,
    width: int = 8,
    overwrite: bool = False,
) -> Path:
    """Runs every stage and writes `report.html`.

    Args:
        out: directory to make.
        source: a ben-ge tree; by default one of `patches` patches is simulated.
        split, group, seed: as in `eokeras.ben_ge.convert`.
        epochs, width: of the model.
        overwrite: replaces an earlier demo in `out` (and nothing else).

    Returns:
        The path of the report.

    Raises:
        TargetExistsError: `out` exists and is no earlier demo that may be replaced.
        EokerasError: whatever a stage refuses.
    """
    _check(Path(out), source, split, group, epochs, width)
    out = _make_directory(Path(out), overwrite)
    seconds: dict[str, float] = {}
    if source is None:
        with _stage("simulate", seconds):
            source = ben_ge.simulate(out / "source" / "ben-ge-sim", patches, seed, progress=progress_bar("simulate"))
    with _stage("convert", seconds):
        records = ben_ge.convert(
            source, out / "records", split, group=group, fractions=SPLIT_FRACTIONS, seed=seed,
            progress=progress_bar("convert"),
        )  # fmt: skip
        schema = ben_ge.load_schema(records)
    configuration = _configure(records, schema, epochs, width, seed)
    with _stage("train", seconds):
        model = run_folder.train(configuration, out / "run", progress=True)
    history = run_folder.read_history(out / "run")
    result = Result(out, records, schema, model, configuration, history, seconds=seconds)
    if "val" not in schema.splits:
        result.missing.append("Validation curves: the records have no validation split. " + _why(schema))
    if "test" in schema.splits:
        with _stage("score", seconds):
            result.scores = run_folder.evaluate_run(out / "run")
            print(result.scores)
    else:
        result.missing.append("Scores and confusion matrices: the records have no test split. " + _why(schema))
    with _stage("export", seconds):
        run_folder.export_run(
            out / "run", out / "exported", scores=f"```\n{result.scores}\n```" if result.scores else ""
        )
    with _stage("reload in a clean process", seconds):
        result.reload_difference = _reload(result)
        print(f"largest difference from model.predict: {result.reload_difference:.1e}")
    with _stage("report", seconds):
        report = write_demo_report(result)
    print(f"\nOpen {report}")
    return report


def _check(out: Path, source, split: str, group: str, epochs: int, width: int) -> None:
    """Refuses now what a stage would refuse after minutes, before anything is replaced."""
    for name, value in (("epochs", epochs), ("width", width)):
        if not isinstance(value, int) or value < 1:
            raise InvalidArgumentError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
    if not Path(split).is_file():
        check_choice("split", split, KINDS)
    check_choice("group", group, GROUPS)
    if source is not None:
        if Path(source).resolve().is_relative_to(out.resolve()):
            raise InvalidArgumentError(f"`source` must not lie in `out`. Received: source={source}, out={out}.")
        ben_ge.open_source(source)


def _make_directory(out: Path, overwrite: bool) -> Path:
    if out.exists():
        is_demo = (out / _MARKER).is_file()
        if not (overwrite and is_demo):
            way = "Add --overwrite to replace it." if is_demo else "Choose another directory."
            raise TargetExistsError(f"`out` must not exist yet. Received: {out}. {way}")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / _MARKER).touch()
    return out


@contextmanager
def _stage(name: str, seconds: dict[str, float]) -> Iterator[None]:
    print(f"\n== {name}", flush=True)
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
    print(f"-- {seconds[name]:.1f} s", flush=True)


def _configure(records: Path, schema: RecordSchema, epochs: int, width: int, seed: int) -> run_folder.Configuration:
    """The demo's model for what the records hold."""
    inputs = tuple(name for name in _INPUTS if name in schema)
    targets = tuple(name for name in _TARGETS if name in schema.targets) or schema.targets[:1]
    if not inputs or not targets:
        raise InvalidArgumentError(
            "`source` must hold Sentinel-2 or Sentinel-1 and something to learn (climate zone, land cover, season or "
            f"labels). Received: inputs {list(schema)}, targets {list(schema.targets)}."
        )
    return run_folder.Configuration(
        str(records), inputs=inputs, targets=targets, width=width, epochs=epochs, batch_size=16, seed=seed
    )


def _why(schema: RecordSchema) -> str:
    return " ".join(schema.split["notes"])


def _reload(result: Result) -> float:
    """Largest difference between the export, served by TensorFlow alone, and `model.predict`."""
    split = "test" if "test" in result.schema.splits else "train"
    stored = next(iter(result.configuration.dataset(split, calibrate=None)))[0]
    calibrated = next(iter(result.configuration.dataset(split)))[0]
    with tempfile.TemporaryDirectory() as place:
        given, answers = Path(place) / "given.npz", Path(place) / "answers.npz"
        np.savez(given, **{name: stored[name].numpy() for name in input_names(result.model)})
        command = [sys.executable, "-c", _CLEAN_PROCESS, str(result.out.resolve() / "exported"), given, answers]
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RecordsError(f"The exported model fails in a clean process: {done.stderr.strip().splitlines()[-1]}")
        served = dict(np.load(answers))
    expected = result.model.predict(calibrated, verbose=0)
    difference = max(_difference(task, expected[task], served) for task in expected)
    if difference > _TOLERANCE:
        raise RecordsError(f"The exported model must agree with model.predict to {_TOLERANCE}. Received: {difference}.")
    return difference


def _difference(task: str, logits: np.ndarray, served: dict[str, np.ndarray]) -> float:
    kind = ben_ge.schema.TARGETS[task].kind
    if kind in ("regression", "map_regression"):  # relative, as for metres, where numbers are large
        expected = logits[..., 0]
        return float(np.abs(expected - served[task]).max() / max(1.0, np.abs(expected).max()))
    if kind == "multilabel":
        return float(np.abs(1 / (1 + np.exp(-logits)) - served[f"{task}_probabilities"]).max())
    from scipy.special import softmax

    answer = served[task] if kind == "fractions" else served[f"{task}_probabilities"]
    return float(np.abs(softmax(logits, axis=-1) - answer).max())
