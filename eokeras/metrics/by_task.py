"""The metrics of every task."""

from eokeras.ben_ge.schema import TARGETS
from eokeras.errors import InvalidArgumentError, check_choices
from eokeras.metrics.classes import Accuracy, MacroF1, MeanIoU
from eokeras.metrics.numbers import FractionMeanAbsoluteError, MeanAbsoluteError, MultiLabelMacroF1

METRICS = {
    "class": lambda classes: [Accuracy(classes), MacroF1(classes)],
    "map": lambda classes: [MeanIoU(classes), Accuracy(classes, name="pixel_accuracy")],
    "regression": lambda classes: [MeanAbsoluteError()],
    "fractions": lambda classes: [FractionMeanAbsoluteError()],
    "multilabel": lambda classes: [MultiLabelMacroF1(classes)],
    "map_regression": lambda classes: [MeanAbsoluteError()],
}
"""Kind of target (schema.py) -> its metrics, given the number of classes."""


def for_tasks(tasks, schema=None):
    """The metrics of every task, for `model.compile(metrics=...)`.

    Args:
        tasks: names of targets (`eokeras.ben_ge.schema.TARGETS`).
        schema: the `RecordSchema` of the records that will be trained on, or None: then the
            numbers of classes are those of ben-ge.

    Returns:
        A dict of task -> list of new metrics on logits: accuracy and macro-F1 for classes,
        mean IoU and pixel accuracy for maps, mean absolute error for regression,
        fractions and elevation, macro-F1 for labels.

    Raises:
        InvalidArgumentError: a task is unknown (the message lists the valid ones), or the records do not
            describe its classes.

    Example:
        >>> [metric.name for metric in for_tasks(("land_cover_map",))["land_cover_map"]]
        ['mean_iou', 'pixel_accuracy']
    """
    check_choices("tasks", tasks, TARGETS)
    return {task: METRICS[TARGETS[task].kind](_count_classes(task, schema)) for task in tasks}


def _count_classes(task, schema):
    classes = TARGETS[task].classes
    if schema is None or not classes:
        return len(classes)
    if task not in schema.classes:
        raise InvalidArgumentError(
            f"`tasks` may hold targets of the records, {sorted(schema.classes)}. Received: {task!r}."
        )
    return len(schema.classes[task])
