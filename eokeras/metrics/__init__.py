"""Metrics over the whole epoch that leave missing labels out, and the dictionary for several tasks.

All take logits. Class scores come from one confusion matrix per epoch and average over the classes
present in the reference, never over batches. Where a whole epoch has no label of a task its metrics are
NaN, as in `eokeras.evaluate`: a mean absolute error of 0 would be perfect, and nothing was measured. Keras'
`EarlyStopping` and `ModelCheckpoint` keep a NaN of their first epoch as the best for ever: monitor a task that has
validation labels, or use `eokeras.callbacks.BestEpochByTask`, which passes over it.
"""

from eokeras.metrics.by_task import METRICS, for_tasks
from eokeras.metrics.classes import Accuracy, ConfusionMatrix, MacroF1, MeanIoU
from eokeras.metrics.numbers import FractionMeanAbsoluteError, MeanAbsoluteError, MultiLabelMacroF1

__all__ = [
    "METRICS",
    "Accuracy",
    "ConfusionMatrix",
    "FractionMeanAbsoluteError",
    "MacroF1",
    "MeanAbsoluteError",
    "MeanIoU",
    "MultiLabelMacroF1",
    "for_tasks",
]
