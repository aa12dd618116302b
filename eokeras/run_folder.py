"""A training run as a folder: configuration, data fingerprint, history, weights, scores.

    RUN/
      configuration.json   what was asked for, and the fingerprint of the records
      history.csv          losses and metrics by epoch
      backup/              state after the last whole epoch, while the run is unfinished
      best.keras           weights of the best validation loss, while the run is unfinished
      model.keras          the trained model: the run is finished
      scores-test.json     what `evaluate` measured on the split "test"

`train` may be interrupted at any moment and called again with the same configuration: it goes on
after the last whole epoch. Training itself is `model.fit`.
"""

import csv
import json
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path

import keras
from tqdm import tqdm

from eokeras import augment, evaluate, losses, metrics, models
from eokeras.ben_ge import schema as ben_ge
from eokeras.ben_ge.label_subsets import SIDES
from eokeras.ben_ge.records import RecordSchema, load_schema
from eokeras.calibration import KINDS
from eokeras.errors import (
    InvalidArgumentError,
    RecordsError,
    TargetExistsError,
    TrainingDivergedError,
    UnwritableError,
    check_choice,
    check_choices,
)
from eokeras.evaluate import Scores
from eokeras.label_counts import count_labels
from eokeras.pipeline import make_dataset
from eokeras.saved_model import export

FUSIONS = ("late", "early")
CONFIGURATION, HISTORY, BEST = "configuration.json", "history.csv", "best.keras"
MODEL = "model.keras"


@dataclass(frozen=True)
class Configuration:
    """What a run is made of. Defaults suit two CPU cores; `width=64` gives the tutorial's networks."""

    records: str
    inputs: Sequence[str] = ("s2", "s1")
    targets: Sequence[str] = ("climate_zone", "land_cover_map", "season")
    fusion: str = "late"
    width: int = 12
    epochs: int = 20
    batch_size: int = 16
    learning_rate: float = 1e-3
    calibrate: str = "standardise"
    loss_weights: Mapping[str, float] = field(default_factory=dict)  # where not given 1, per metre 1 / deviation
    seed: int = 0
    label_fraction: float | None = None  # of the labels of train and of val alike; None: all
    label_draw: str = "spread"
    label_seed: int = 0

    def __post_init__(self):
        check_choice("fusion", self.fusion, FUSIONS)
        check_choice("calibrate", self.calibrate, KINDS)
        check_choices("inputs", self.inputs, ben_ge.RASTER_INPUTS)
        check_choices("targets", self.targets, ben_ge.TARGETS)
        check_choices("loss_weights", self.loss_weights, self.targets)
        for name in ("inputs", "targets"):
            if not getattr(self, name):
                raise InvalidArgumentError(f"`{name}` must name at least one. Received: none.")
        for name in ("width", "epochs", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InvalidArgumentError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
        if not self.learning_rate > 0:
            raise InvalidArgumentError(f"`learning_rate` must be positive. Received: {self.learning_rate!r}.")
        for name in ("inputs", "targets"):  # JSON gives lists
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def dataset(self, split: str, **options):
        """The records of one split as this configuration reads them; those of train and val within its label budget."""
        budget = {name: getattr(self, name) for name in ("label_fraction", "label_draw", "label_seed")}
        read = {"batch_size": self.batch_size, "calibrate": self.calibrate, **(budget if split in SIDES else {})}
        return make_dataset(self.records, split, self.inputs, self.targets, **(read | options))

    def known_labels(self, schema: RecordSchema) -> RecordSchema:
        """The schema of the records with statistics of the labels in the budget, where there is one."""
        return schema if self.label_fraction is None else count_labels(self.dataset("train"), schema)


def build_model(configuration: Configuration, schema: RecordSchema) -> keras.Model:
    """The compiled fusion model of a configuration: U-Nets, one head per target."""
    unet = partial(models.unet, width=configuration.width)
    shapes = {name: schema[name].shape for name in configuration.inputs}
    if configuration.fusion == "late":
        backbone = models.late_fusion({name: unet(shape, name=name) for name, shape in shapes.items()})
    else:
        backbone = models.early_fusion(shapes, unet)
    model = models.multitask(backbone, {name: _head(name, schema) for name in configuration.targets})
    model.compile(
        optimizer=keras.optimizers.AdamW(configuration.learning_rate),
        loss=losses.for_tasks(configuration.targets, schema),
        metrics=metrics.for_tasks(configuration.targets, schema),
        loss_weights={
            name: configuration.loss_weights.get(name, 1 / _scale(name, schema)) for name in configuration.targets
        },
    )
    return model


def _scale(target: str, schema: RecordSchema) -> float:
    """What brings a target in metres, and its loss, to the order of the others: its deviation in training."""
    is_dense = ben_ge.TARGETS[target].kind == "map_regression"
    return (is_dense and schema.statistics.get(target, {}).get("std")) or 1.0


def _head(target: str, schema: RecordSchema):
    kind, classes = ben_ge.TARGETS[target].kind, len(ben_ge.TARGETS[target].classes)
    if kind == "map_regression":
        return models.dense_regression_head(scale=_scale(target, schema))
    if kind == "regression":
        return models.regression_head()
    return models.map_head(classes) if kind == "map" else models.scene_head(classes)


def train(configuration: Configuration, folder: str | Path, progress: bool = False) -> keras.Model:
    """Trains, or goes on training, the model of a run folder.

    Args:
        configuration: what to train on what; a folder that holds a run must have been made with the same.
        folder: the run folder; made where it does not exist.
        progress: shows a bar and a line per epoch.

    Returns:
        The trained model: the weights of the epoch with the lowest validation loss, or those of
        the last epoch where the records have no validation split. A run that was interrupted
        repeats no epoch and sees what an unbroken one would: it ends in the same weights but for
        rounding.

    Raises:
        TargetExistsError: `folder` holds a run of another configuration or of other records.
        RecordsError: the records have no training split, or lack an input or a target.
        TrainingDivergedError: the loss is no longer finite.
        UnwritableError: `folder` cannot be written.

    Example:
        >>> model = train(Configuration("records/ben-ge-8k", epochs=50), "runs/first")  # doctest: +SKIP
    """
    folder = Path(folder)
    schema = load_schema(configuration.records)
    if "train" not in schema.splits:
        raise RecordsError(f"{schema.path} has no training patches. It has the splits {list(schema.splits)}.")
    if (folder / MODEL).is_file():
        _open(folder, configuration, schema)
        return keras.models.load_model(folder / MODEL)

    history = read_history(folder)
    keras.utils.set_random_seed(configuration.seed)
    training = configuration.dataset(
        "train", shuffle=True, augment=augment.dihedral(), seed=configuration.seed, first_epoch=_epochs_kept(folder)
    )
    validation = configuration.dataset("val") if "val" in schema.splits else None
    model = build_model(configuration, configuration.known_labels(schema))
    _open(folder, configuration, schema)  # not before all that could be refused
    callbacks = []
    if validation is not None:
        best_so_far = min((row["val_loss"] for row in history), default=None)
        best = keras.callbacks.ModelCheckpoint(folder / BEST, save_best_only=True, initial_value_threshold=best_so_far)
        callbacks.append(best)
    if progress:
        callbacks.append(EpochLines())
    # In this order: the history must not know an epoch whose weights could not be kept, and an
    # epoch counts as done only when both are on disk.
    callbacks += [StopOnDivergence(), keras.callbacks.CSVLogger(folder / HISTORY, append=True)]
    callbacks.append(
        keras.callbacks.BackupAndRestore(folder / "backup", double_checkpoint=True, delete_checkpoint=False)
    )
    model.fit(  # the data set shuffles itself
        training,
        validation_data=validation,
        epochs=configuration.epochs,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )
    return _finish(folder, model)


class StopOnDivergence(keras.callbacks.Callback):
    """Raises `TrainingDivergedError` at the first batch whose loss is not finite."""

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(logs["loss"]):
            raise TrainingDivergedError(
                f"Training diverged: loss {logs['loss']} at batch {batch}. The same run would do so again: "
                "train with a lower learning rate, in another folder."
            )


class EpochLines(keras.callbacks.Callback):
    """A progress bar over the batches and one short line per epoch; Keras' own lists every metric."""

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()
        self._bar = tqdm(
            total=self.params["steps"], desc=f"epoch {epoch + 1}", unit=" batches", leave=False, disable=None
        )

    def on_train_batch_end(self, batch, logs=None):
        self._bar.update()

    def on_epoch_end(self, epoch, logs=None):
        self._bar.close()
        losses = [
            f"{name.replace('val_', 'validation ')} {logs[name]:.3f}" for name in ("loss", "val_loss") if name in logs
        ]
        seconds = time.perf_counter() - self._start
        print(f"epoch {epoch + 1}/{self.params['epochs']}  {'  '.join(losses)}  {seconds:.0f} s", flush=True)


def _open(folder: Path, configuration: Configuration, schema: RecordSchema) -> None:
    """Makes the folder, or checks that it belongs to this configuration and these records."""
    wanted = json.loads(json.dumps(asdict(configuration) | {"fingerprint": schema.fingerprint}))
    path = folder / CONFIGURATION
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        different = [key for key in wanted if key != "records" and found.get(key) != wanted[key]]
        if different:
            changes = ", ".join(f"{key}: {found.get(key)!r} there, {wanted[key]!r} now" for key in different)
            raise TargetExistsError(f"`folder` {folder} holds another run ({changes}). Choose another folder.")
    elif folder.exists() and any(entry != _part(path) for entry in folder.iterdir()):
        raise TargetExistsError(f"`folder` must be new, empty or a run folder. Received: {folder}.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, json.dumps(wanted, indent=2) + "\n")  # anew, since the records may have moved
        _mend_history(folder / HISTORY)
    except OSError as error:
        raise UnwritableError(f"`folder` must be writable. Received: {folder} ({error.strerror}).") from error


def _mend_history(path: Path) -> None:
    """Drops a last line that was being written when the run was killed."""
    if path.is_file() and not (text := path.read_text(encoding="utf-8")).endswith("\n"):
        _write(path, text[: text.rfind("\n") + 1])


def _epochs_kept(folder: Path) -> int:
    """How many epochs `BackupAndRestore` has kept: one less than the history, where a run was killed in between."""
    path = folder / "backup" / "training_metadata.json"
    return json.loads(path.read_text(encoding="utf-8"))["epoch"] if path.is_file() else 0


def _finish(folder: Path, model: keras.Model) -> keras.Model:
    best = folder / BEST
    if best.is_file():
        model.load_weights(best)
    part = folder / f"part.{MODEL}"
    model.save(part)
    part.rename(folder / MODEL)
    best.unlink(missing_ok=True)
    shutil.rmtree(folder / "backup", ignore_errors=True)
    return model


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _write(path: Path, text: str) -> None:
    part = _part(path)
    part.write_text(text, encoding="utf-8")
    part.rename(path)


def read_configuration(folder: str | Path) -> Configuration:
    """The configuration of a run folder.

    Raises:
        RecordsError: `folder` is no run folder.
    """
    path = Path(folder) / CONFIGURATION
    if not path.is_file():
        rule = f"`folder` must be a run folder. Received: {folder}, which lacks {CONFIGURATION}."
        raise RecordsError(f"{rule} Make one with `python -m eokeras train`.")
    content = json.loads(path.read_text(encoding="utf-8"))
    # A run of an earlier version lacks what was added since, and was trained with what is now the default.
    names = [entry.name for entry in fields(Configuration) if entry.name in content]
    return Configuration(**{name: content[name] for name in names})


def read_history(folder: str | Path) -> list[dict[str, float]]:
    """Losses and metrics of a run by epoch; empty before the first epoch has ended."""
    path = Path(folder) / HISTORY
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if None not in line.values()]  # a torn line lacks some
    # Keras writes NA for the validation columns of a run without validation.
    rows = [{key: float(value) for key, value in line.items() if value != "NA"} for line in lines]
    # An epoch that was interrupted after its line was written stands there twice; the later counts.
    return [row for _, row in sorted({row["epoch"]: row for row in rows}.items())]


def load_model(folder: str | Path) -> keras.Model:
    """The trained model of a finished run.

    Raises:
        RecordsError: the run has not finished.
    """
    path = Path(folder) / MODEL
    if not path.is_file():
        raise RecordsError(
            f"{folder} has no {MODEL}: its training has not finished. Run `python -m eokeras train` again."
        )
    return keras.models.load_model(path)


def evaluate_run(folder: str | Path, split: str = "test") -> Scores:
    """Scores the model of a finished run beside trivial and strong baselines; writes `scores-SPLIT.json`.

    The baselines know the labels that the run was trained on, and no others.

    Raises:
        RecordsError: the run has not finished, its records are others than it was trained on, or
            they have no such split.
    """
    configuration = read_configuration(folder)
    schema = configuration.known_labels(_its_schema(folder))
    test = configuration.dataset(split)
    others = evaluate.baselines(configuration.dataset("train"), test, schema, seed=configuration.seed)
    scores = evaluate.score(load_model(folder), test, schema, baselines=others, seed=configuration.seed)
    evaluate.write_scores(scores, Path(folder) / f"scores-{split}.json")
    return scores


def export_run(folder: str | Path, path: str | Path, scores: str = "") -> Path:
    """Exports the model of a finished run as a SavedModel; see `eokeras.export`."""
    configuration = read_configuration(folder)
    return export(load_model(folder), path, _its_schema(folder), calibrate=configuration.calibrate, scores=scores)


def _its_schema(folder: str | Path) -> RecordSchema:
    """Schema of the records of a run, which must be those that it was trained on."""
    content = json.loads((Path(folder) / CONFIGURATION).read_text(encoding="utf-8"))
    schema = load_schema(content["records"])
    if schema.fingerprint != content["fingerprint"]:
        raise RecordsError(
            f"{schema.path} must hold the records of the run {folder} (fingerprint {content['fingerprint']}). "
            f"Received: fingerprint {schema.fingerprint}."
        )
    return schema
