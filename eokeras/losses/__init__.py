"""Losses that average over labelled elements only, class weights, and the dictionary for several tasks.

Missing labels are class id `VOID` or NaN (schema.py). A batch without any label of a task costs 0, with a
gradient of 0, so patches may have the labels of some tasks only. Keras' log of an epoch is the mean over
its batches, empty ones included: where labels are few, believe the metrics, which count labels.
"""

from eokeras.losses.by_task import LOSSES, balanced_weights, for_tasks
from eokeras.losses.classes import LabelledCrossentropy, LabelledDice, LabelledFocalCrossentropy
from eokeras.losses.labelled import (
    FractionCrossentropy,
    LabelledBinaryCrossentropy,
    LabelledLoss,
    LabelledMeanAbsoluteError,
)

__all__ = [
    "LOSSES",
    "FractionCrossentropy",
    "LabelledBinaryCrossentropy",
    "LabelledCrossentropy",
    "LabelledDice",
    "LabelledFocalCrossentropy",
    "LabelledLoss",
    "LabelledMeanAbsoluteError",
    "balanced_weights",
    "for_tasks",
]
