"""Per-patch sufficient statistics of every kind of target, and the metrics of their sums.

A metric of any set of patches is a function of the *sum* of their statistics, so scores, intervals
and paired comparisons all come from one small array per target.

| kind | statistics of a patch | shape |
|---|---|---|
| class, map | confusion counts, reference x prediction | (N, C, C) |
| multilabel | true positives, false positives, false negatives | (N, C, 3) |
| regression, fractions, map_regression | sum of absolute errors, number of values | (N, 2) |

Letters: N patches, B batch, H rows, W columns, C classes, R resamples.
"""

from types import MappingProxyType

import numpy as np

from eokeras.ben_ge.schema import VOID
from eokeras.errors import InvalidArgumentError

METRICS = (
    "accuracy", "accuracy_without_water", "macro_f1", "macro_f1_without_water", "mae", "mean_iou", "pixel_accuracy",
)  # fmt: skip
"""Every name that `metrics` gives."""

LOWER_IS_BETTER = ("mae",)
"""Metrics of which less is better; all others lie in 0..1 and more is better."""

MAIN_METRICS = MappingProxyType(
    {
        "class": "accuracy",
        "map": "mean_iou",
        "regression": "mae",
        "map_regression": "mae",
        "fractions": "mae",
        "multilabel": "macro_f1",
    }
)
"""Kind of target -> the metric that stands for the target where one number must."""

WATER = 0
"""Class id of "all water" in `climate_zone`, which is no Köppen-Geiger zone."""


def less_is_better(metric: str) -> bool | None:
    """Whether less of a metric is better; None for a name that is none of `METRICS`."""
    return metric in LOWER_IS_BETTER if metric in METRICS else None


def patch_statistics(kind: str, reference: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """Sufficient statistics of each patch of a batch.

    Args:
        kind: "class", "map", "regression", "fractions", "multilabel" or "map_regression".
        reference: class ids (B,) or (B, H, W) with `VOID` for no label; numbers (B,), (B, C) or (B, H, W)
            with NaN for no label; multi-hot labels (B, C).
        prediction: of the same shape: class ids, numbers, or multi-hot labels.
        classes: number of classes; unused for regression.

    Returns:
        float64, shapes as in the table of this module. Elements without a label count nowhere.

    Raises:
        InvalidArgumentError: shapes differ, or a reference id is neither a class nor `VOID`.
    """
    reference, prediction = np.asarray(reference), np.asarray(prediction)
    if reference.shape != prediction.shape:
        raise InvalidArgumentError(
            f"`prediction` must have the shape of the reference, {reference.shape}. Received: shape={prediction.shape}."
        )
    if kind in ("class", "map"):
        return _confusion(reference, prediction, classes)
    if kind == "multilabel":
        return _label_counts(reference, prediction)
    return _absolute_errors(reference, prediction)


def _confusion(reference, prediction, classes):
    batch = reference.shape[0]
    reference, prediction = (values.reshape(batch, -1).astype("int64") for values in (reference, prediction))
    labelled = reference != VOID
    unknown = np.unique(reference[labelled & ((reference < 0) | (reference >= classes))])
    if unknown.size:
        raise InvalidArgumentError(
            f"Class ids of the reference must lie in 0..{classes - 1} or be {VOID} (no label). "
            f"Received: {unknown[:5].tolist()}."
        )
    cell = (np.arange(batch)[:, None] * classes + reference) * classes + prediction
    counts = np.bincount(cell[labelled], minlength=batch * classes * classes)
    return counts.reshape(batch, classes, classes).astype("float64")


def _label_counts(reference, prediction):
    labelled = np.isfinite(reference) & (reference != VOID)
    present, predicted = (reference > 0.5) & labelled, (prediction > 0.5) & labelled
    counts = (present & predicted, ~present & predicted, present & ~predicted)
    return np.stack(counts, axis=-1).astype("float64")


def _absolute_errors(reference, prediction):
    batch = reference.shape[0]
    reference, prediction = (values.reshape(batch, -1).astype("float64") for values in (reference, prediction))
    labelled = np.isfinite(reference)
    errors = np.where(labelled, np.abs(prediction - reference), 0.0)
    return np.stack([errors.sum(axis=1), labelled.sum(axis=1)], axis=1)


def labelled_elements(kind: str, statistics: np.ndarray) -> np.ndarray:
    """Number of labelled elements of each patch, shape (N,): pixels of a map, values, labels present."""
    if kind in ("class", "map"):
        return statistics.sum(axis=(-1, -2))
    if kind == "multilabel":
        return (statistics[..., 0] + statistics[..., 2]).sum(axis=-1)
    return statistics[..., 1]


def has_label(kind: str, statistics: np.ndarray) -> np.ndarray:
    """Whether a patch takes part in the score of a target, bool (N,).

    A patch of a multi-label target always does: it may well have none of the labels.
    """
    if kind == "multilabel":
        return np.ones(len(statistics), bool)
    return labelled_elements(kind, statistics) > 0


def class_support(kind: str, totals: np.ndarray) -> np.ndarray:
    """Labelled elements of each class in the reference, shape (C,), from summed statistics."""
    return totals.sum(axis=-1) if kind in ("class", "map") else totals[..., 0] + totals[..., 2]


def metrics(task: str, kind: str, totals: np.ndarray, listed: np.ndarray | None) -> dict[str, np.ndarray]:
    """Metrics of summed statistics, for one sum or for many resamples at once.

    Args:
        task: name of the target; `climate_zone` is given with and without water as well.
        kind: its kind.
        totals: summed statistics, shape (..., C, C), (..., C, 3) or (..., 2).
        listed: bool (C,): the classes over which a mean is taken, which are those present in the
            reference of the *whole* set, also while resampling. Where a resample has a listed class
            neither in its reference nor in its prediction, the class has no value there and is left
            out of that resample's mean.

    Returns:
        metric name -> array of shape (...). NaN where nothing is labelled.
    """
    if kind in ("regression", "fractions", "map_regression"):
        return {"mae": _ratio(totals[..., 0], totals[..., 1])}
    if kind == "multilabel":
        return {"macro_f1": _mean(f1(kind, totals), listed)}
    accuracy = _ratio(np.trace(totals, axis1=-2, axis2=-1), totals.sum(axis=(-1, -2)))
    if kind == "map":
        return {"mean_iou": _mean(iou(totals), listed), "pixel_accuracy": accuracy}
    result = {"accuracy": accuracy, "macro_f1": _mean(f1(kind, totals), listed)}
    if task == "climate_zone":
        land, listed_land = totals.copy(), listed.copy()
        land[..., WATER, :] = 0  # patches of water leave; land taken for water stays an error
        listed_land[WATER] = False
        for name, value in metrics("", kind, land, listed_land).items():
            result[f"{name}_without_water"] = value
    return result


def per_class(kind: str, totals: np.ndarray) -> tuple[str, np.ndarray] | None:
    """(name of the score, score of each class): IoU of a map, F1 of scene classes and labels."""
    if kind == "map":
        return "iou", iou(totals)
    if kind in ("class", "multilabel"):
        return "f1", f1(kind, totals)
    return None


def f1(kind: str, totals: np.ndarray) -> np.ndarray:
    """F1 of each class, shape (..., C): 2 TP / (2 TP + FP + FN); NaN for a class that never occurs."""
    if kind == "multilabel":
        hits, others = totals[..., 0], totals[..., 1] + totals[..., 2]
    else:
        hits = np.diagonal(totals, axis1=-2, axis2=-1)
        others = totals.sum(axis=-1) + totals.sum(axis=-2) - 2 * hits
    return _ratio(2 * hits, 2 * hits + others)


def iou(totals: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, shape (..., C); NaN for a class that never occurs."""
    hits = np.diagonal(totals, axis1=-2, axis2=-1)
    return _ratio(hits, totals.sum(axis=-1) + totals.sum(axis=-2) - hits)


def _ratio(numerator, denominator):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def _mean(values, listed):
    defined = listed & ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))
