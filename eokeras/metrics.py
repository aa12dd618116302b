"""Metrics over the whole epoch that leave missing labels out, and the dictionary for several tasks.

All take logits. Class scores come from one confusion matrix per epoch and average over the classes
present in the reference, never over batches. Where nothing is labelled a metric is 0, as Keras' own
are. Letters: B batch, H rows, W columns, N classes, L labels.
"""

import keras
from keras import ops

from eokeras.ben_ge.schema import TARGETS, VOID
from eokeras.errors import InvalidArgumentError, check_choices


@keras.saving.register_keras_serializable(package="eokeras")
class ConfusionMatrix(keras.metrics.Metric):
    """Counts reference class against predicted class over an epoch; base of the class scores.

    Args:
        classes: number N of classes.
        ignore_class: id in the reference that means "no label".
        name: name of the metric.
        dtype: dtype of the counts; float32 counts exactly to 16.7 million per cell and batch,
            and to seven digits beyond.

    Input shape:
        `y_true` class ids (B,) or (B, H, W); `y_pred` logits (B, N) or (B, H, W, N).

    Returns:
        `result()`: the matrix (N, N), rows reference, columns prediction.

    Raises:
        InvalidArgumentError: the logits do not have N channels.

    Example:
        >>> metric = ConfusionMatrix(2)
        >>> metric.update_state([0, 1, 255], [[2.0, 1.0], [3.0, 0.0], [0.0, 0.0]])
        >>> metric.result().numpy().tolist()
        [[1.0, 0.0], [1.0, 0.0]]
    """

    def __init__(self, classes, ignore_class=VOID, name="confusion_matrix", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.classes = classes
        self.ignore_class = ignore_class
        self.matrix = self.add_variable((classes, classes), initializer="zeros", name="matrix", dtype=self.dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.convert_to_tensor(y_pred)
        if y_pred.shape[-1] != self.classes:
            raise InvalidArgumentError(
                f"`y_pred` of the metric {self.name!r} must hold logits of {self.classes} classes on its last axis. "
                f"Received: shape={tuple(y_pred.shape)}."
            )
        reference = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        predicted = ops.reshape(ops.argmax(y_pred, axis=-1), (-1,))
        # Ids outside of 0..N-1 have no row, so an ignored class counts nowhere.
        reference = ops.where(reference == self.ignore_class, -1, reference)
        rows = ops.one_hot(reference, self.classes, dtype=self.dtype)
        if sample_weight is not None:
            weight = ops.cast(sample_weight, self.dtype)
            weight = ops.reshape(weight, (*weight.shape, *[1] * (len(y_pred.shape) - 1 - len(weight.shape))))
            weight = ops.broadcast_to(weight, ops.shape(y_pred)[:-1])
            rows = rows * ops.reshape(weight, (-1, 1))
        columns = ops.one_hot(predicted, self.classes, dtype=self.dtype)
        self.matrix.assign_add(ops.matmul(ops.transpose(rows), columns))

    def result(self):
        return ops.convert_to_tensor(self.matrix)

    def get_config(self):
        return {**super().get_config(), "classes": self.classes, "ignore_class": self.ignore_class}


@keras.saving.register_keras_serializable(package="eokeras")
class Accuracy(ConfusionMatrix):
    """Share of labelled elements whose class is right: patches, or pixels of a map.

    Args:
        classes, ignore_class, name, dtype: as in `ConfusionMatrix`.

    Example:
        >>> metric = Accuracy(2)
        >>> metric.update_state([0, 1, 255], [[2.0, 1.0], [3.0, 0.0], [0.0, 0.0]])
        >>> float(metric.result())
        0.5
    """

    def __init__(self, classes, ignore_class=VOID, name="accuracy", dtype=None):
        super().__init__(classes, ignore_class, name, dtype)

    def result(self):
        return ops.divide_no_nan(ops.sum(ops.diagonal(self.matrix)), ops.sum(self.matrix))


@keras.saving.register_keras_serializable(package="eokeras")
class MacroF1(ConfusionMatrix):
    """Mean over classes of 2 TP / (2 TP + FP + FN), over the classes present in the reference.

    Args:
        classes, ignore_class, name, dtype: as in `ConfusionMatrix`.

    Example:
        >>> metric = MacroF1(3)
        >>> metric.update_state([0, 1], [[2.0, 1.0, 0.0], [3.0, 0.0, 0.0]])
        >>> round(float(metric.result()), 4)  # class 0: 2/3, class 1: 0, class 2 absent
        0.3333
    """

    def __init__(self, classes, ignore_class=VOID, name="macro_f1", dtype=None):
        super().__init__(classes, ignore_class, name, dtype)

    def result(self):
        right, reference, predicted = _marginals(self.matrix)
        return _mean_over_present(ops.divide_no_nan(2 * right, reference + predicted), reference)


@keras.saving.register_keras_serializable(package="eokeras")
class MeanIoU(ConfusionMatrix):
    """Mean over classes of TP / (TP + FP + FN), over the classes present in the reference.

    `keras.metrics.MeanIoU` also counts, as 0, a class that is absent from the reference and
    predicted somewhere: one stray pixel then lowers the mean by the weight of a whole class.

    Args:
        classes, ignore_class, name, dtype: as in `ConfusionMatrix`.

    Example:
        >>> metric = MeanIoU(3)
        >>> metric.update_state([[[0, 1]]], [[[[2.0, 1.0, 0.0], [3.0, 0.0, 0.0]]]])
        >>> float(metric.result())  # class 0: 1/2, class 1: 0, class 2 absent
        0.25
    """

    def __init__(self, classes, ignore_class=VOID, name="mean_iou", dtype=None):
        super().__init__(classes, ignore_class, name, dtype)

    def result(self):
        right, reference, predicted = _marginals(self.matrix)
        return _mean_over_present(ops.divide_no_nan(right, reference + predicted - right), reference)


def _marginals(matrix):
    """Per class: right, in the reference, predicted."""
    return ops.diagonal(matrix), ops.sum(matrix, axis=1), ops.sum(matrix, axis=0)


def _mean_over_present(scores, reference):
    present = ops.cast(reference > 0, scores.dtype)
    return ops.divide_no_nan(ops.sum(scores * present), ops.sum(present))


@keras.saving.register_keras_serializable(package="eokeras")
class MultiLabelMacroF1(keras.metrics.Metric):
    """Mean over labels of 2 TP / (2 TP + FP + FN), over the labels present in the reference.

    A label is predicted where its logit is above 0 (probability above one half). Labels that
    are NaN count nowhere.

    Args:
        labels: number L of labels.
        name: name of the metric.
        dtype: dtype of the counts.

    Input shape:
        `y_true` (B, L) of 0, 1 or NaN; `y_pred` (B, L) logits.

    Example:
        >>> metric = MultiLabelMacroF1(2)
        >>> metric.update_state([[1.0, 0.0], [1.0, 0.0]], [[3.0, -1.0], [-1.0, 2.0]])
        >>> round(float(metric.result()), 4)  # first label: 2/3, second absent
        0.6667
    """

    def __init__(self, labels, name="macro_f1", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.labels = labels
        # rows: true positives, labels in the reference, labels predicted
        self.counts = self.add_variable((3, labels), initializer="zeros", name="counts", dtype=self.dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true = ops.cast(y_true, self.dtype)
        known = ops.cast(ops.logical_not(ops.isnan(y_true)), self.dtype)
        if sample_weight is not None:
            known = known * ops.reshape(ops.cast(sample_weight, self.dtype), (-1, 1))
        reference = ops.cast(y_true > 0.5, self.dtype)
        predicted = ops.cast(ops.convert_to_tensor(y_pred) > 0, self.dtype)
        counts = [reference * predicted * known, reference * known, predicted * known]
        self.counts.assign_add(ops.stack([ops.sum(count, axis=0) for count in counts]))

    def result(self):
        right, reference, predicted = ops.unstack(ops.convert_to_tensor(self.counts), num=3)
        return _mean_over_present(ops.divide_no_nan(2 * right, reference + predicted), reference)

    def get_config(self):
        return {**super().get_config(), "labels": self.labels}


@keras.saving.register_keras_serializable(package="eokeras")
class MeanAbsoluteError(keras.metrics.Mean):
    """Mean absolute error over the targets that are not NaN.

    Input shape:
        `y_true` (B,) or (B, 1), NaN where missing; `y_pred` (B, 1); one unit.

    Example:
        >>> import numpy as np
        >>> metric = MeanAbsoluteError()
        >>> metric.update_state(np.array([0.5, np.nan]), np.array([[1.0], [7.0]]))
        >>> float(metric.result())
        0.5
    """

    def __init__(self, name="mean_absolute_error", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_pred = ops.cast(self.compared(ops.convert_to_tensor(y_pred)), self.dtype)
        y_true = ops.reshape(ops.cast(y_true, self.dtype), ops.shape(y_pred))
        missing = ops.isnan(y_true)
        errors = ops.where(missing, 0.0, ops.absolute(y_pred - y_true))
        weight = ops.cast(ops.logical_not(missing), self.dtype)
        if sample_weight is not None:
            weight = weight * ops.reshape(ops.cast(sample_weight, self.dtype), (-1, 1))
        super().update_state(errors, sample_weight=weight)

    def compared(self, y_pred):
        """What of the network's output stands against the target: here the output itself."""
        return y_pred


@keras.saving.register_keras_serializable(package="eokeras")
class FractionMeanAbsoluteError(MeanAbsoluteError):
    """Mean absolute error of the softmax against fractions, over all classes.

    Input shape:
        `y_true` (B, N) fractions, NaN where missing; `y_pred` (B, N) logits.

    Example:
        >>> metric = FractionMeanAbsoluteError()
        >>> metric.update_state([[1.0, 0.0]], [[0.0, 0.0]])
        >>> float(metric.result())
        0.5
    """

    def compared(self, y_pred):
        return ops.softmax(ops.cast(y_pred, self.dtype), axis=-1)


METRICS = {
    "class": lambda classes: [Accuracy(classes), MacroF1(classes)],
    "map": lambda classes: [MeanIoU(classes), Accuracy(classes, name="pixel_accuracy")],
    "regression": lambda classes: [MeanAbsoluteError()],
    "fractions": lambda classes: [FractionMeanAbsoluteError()],
    "multilabel": lambda classes: [MultiLabelMacroF1(classes)],
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
        mean IoU and pixel accuracy for maps, mean absolute error for regression and
        fractions, macro-F1 for labels.

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
