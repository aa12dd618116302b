"""Statistics of the labels that a data set holds: what is known of the targets under a label budget."""

import warnings
from collections.abc import Sequence

import numpy as np

from eokeras.ben_ge.records import RecordSchema
from eokeras.ben_ge.schema import TARGETS, VOID
from eokeras.errors import InvalidArgumentError


def count_labels(dataset, schema: RecordSchema) -> RecordSchema:
    """The schema whose statistics of targets are those of exactly the labels in a data set.

    `load_schema` knows all training labels. Who trains on a budget of them knows no others: class weights
    (`losses.for_tasks`) and trivial baselines (`evaluate.score`) from this schema come from the labels that were paid
    for. The statistics of inputs stay those of all training patches, since images need no label.

    Args:
        dataset: of `make_dataset`, usually the one to train on; read once, every patch, without augmentation.
        schema: of its records.

    Returns:
        A `RecordSchema` with statistics of the targets of `dataset` and of no other target. Of a target without any
        label it has none (classes: counts of 0).

    Raises:
        InvalidArgumentError: `dataset` is not of `make_dataset`.

    Example:
        >>> train = eo.make_dataset(records, "train", ("s2",), ("land_cover",), label_fraction=0.1)     # doctest: +SKIP
        >>> known = eo.count_labels(train, eo.load_schema(records))                                     # doctest: +SKIP
        >>> loss = eo.losses.for_tasks(("land_cover",), known, class_weights={"land_cover": "balanced"})# doctest: +SKIP
        >>> scores = eo.evaluate.score(model, test, known)                                              # doctest: +SKIP
    """
    if not hasattr(dataset, "recipe"):
        rule = "`dataset` must be a dataset of `make_dataset` (with the attribute `recipe`), to be read in plain order."
        raise InvalidArgumentError(f"{rule} Received: a {type(dataset).__name__} without it.")
    with warnings.catch_warnings():  # whoever made the data set has seen them
        warnings.simplefilter("ignore")
        dataset = dataset.recipe(
            calibrate=None, resolution="stored", masks=False, presence=False, shuffle=False, augment=None, mix=None,
            cache=None, repeat=False, drop_remainder=False, metadata=(),
        )  # fmt: skip
    parts: dict[str, list[np.ndarray]] = {}
    for _, labels in dataset.as_numpy_iterator():
        for name, values in labels.items():
            parts.setdefault(name, []).append(_part(name, values))
    inputs = {name: values for name, values in schema.statistics.items() if name not in TARGETS}
    targets = {name: _statistics(name, of_batches) for name, of_batches in parts.items()}
    return RecordSchema(schema.path, schema.metadata | {"statistics": inputs | targets})


def _part(name: str, values: np.ndarray) -> np.ndarray:
    """What is kept of a batch: counts of every class id, sums over metres, or the rows that have a label."""
    kind = TARGETS[name].kind
    if kind in ("class", "map"):
        return np.bincount(values.ravel(), minlength=VOID + 1)
    if kind == "map_regression":
        metres = values[np.isfinite(values)].astype("float64")
        return np.array([metres.size, np.abs(metres).sum(), np.square(metres).sum()])
    return values[np.isfinite(values).reshape(len(values), -1).all(axis=1)].astype("float64")


def _statistics(name: str, parts: Sequence[np.ndarray]) -> dict:
    """The entry of a target in `RecordSchema.statistics`, from the parts of all batches."""
    target = TARGETS[name]
    if target.kind in ("class", "map"):
        counts = sum(parts)[: len(target.classes)]
        return {"counts": counts.tolist(), "void": int(np.sum(parts) - counts.sum())}
    if target.kind == "map_regression":
        count, absolute, squared = sum(parts).tolist()
        mean = {"mean": 0.0, "mean_absolute": absolute / count, "std": (squared / count) ** 0.5} if count else {}
        return {"count": int(count), **mean}
    values = np.concatenate(parts)
    if target.kind == "multilabel":
        return {"counts": values.sum(axis=0).astype(int).tolist()}
    if not len(values):
        return {}
    if target.kind == "fractions":
        return {"mean": values.mean(axis=0).tolist()}
    spread = {"mean": float(values.mean()), "median": float(np.median(values)), "std": float(values.std())}
    return {"count": len(values), **spread}
