"""Class scores from one confusion matrix per epoch, over the classes present in the reference.

Letters: B batch, H rows, W columns, N classes.
"""

import keras
from keras import ops

from eokeras.ben_ge.schema import VOID
from eokeras.errors import InvalidArgumentError
from eokeras.losses.classes import are_shares
from eokeras.metrics.epochs import mean_over_present, ratio, weight_of_elements


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
        `y_true` class ids (B,) or (B, H, W), or shares of classes in the shape of `y_pred` (of mixed patches), of
        which the largest counts; `y_pred` logits (B, N) or (B, H, W, N).

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
        reference = ops.reshape(self._ids(ops.convert_to_tensor(y_true), y_pred), (-1,))
        predicted = ops.reshape(ops.argmax(y_pred, axis=-1), (-1,))
        # Ids outside of 0..N-1 have no row, so an ignored class counts nowhere.
        reference = ops.where(reference == self.ignore_class, -1, reference)
        rows = ops.one_hot(reference, self.classes, dtype=self.dtype)
        if sample_weight is not None:
            weight = weight_of_elements(sample_weight, ops.shape(y_pred)[:-1], self.dtype)
            rows = rows * ops.reshape(weight, (-1, 1))
        columns = ops.one_hot(predicted, self.classes, dtype=self.dtype)
        self.matrix.assign_add(ops.matmul(ops.transpose(rows), columns))

    def _ids(self, y_true, y_pred):
        if not are_shares(y_true, y_pred):
            return ops.cast(y_true, "int32")
        return ops.where(ops.sum(y_true, axis=-1) > 0, ops.argmax(y_true, axis=-1), self.ignore_class)

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
        return ratio(ops.sum(ops.diagonal(self.matrix)), ops.sum(self.matrix))


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
        return mean_over_present(ops.divide_no_nan(2 * right, reference + predicted), reference)


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
        return mean_over_present(ops.divide_no_nan(right, reference + predicted - right), reference)


def _marginals(matrix):
    """Per class: right, in the reference, predicted."""
    return ops.diagonal(matrix), ops.sum(matrix, axis=1), ops.sum(matrix, axis=0)
