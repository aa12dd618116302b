"""Scores of numbers, fractions and labels over an epoch.

Letters: B batch, H rows, W columns, N classes, L labels.
"""

import keras
from keras import ops

from eokeras.metrics.epochs import mean_over_present, ratio, weight_of_elements


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
            known = known * weight_of_elements(sample_weight, ops.shape(known), self.dtype)
        reference = ops.cast(y_true > 0.5, self.dtype)
        predicted = ops.cast(ops.convert_to_tensor(y_pred) > 0, self.dtype)
        counts = [reference * predicted * known, reference * known, predicted * known]
        self.counts.assign_add(ops.stack([ops.sum(count, axis=0) for count in counts]))

    def result(self):
        right, reference, predicted = ops.unstack(ops.convert_to_tensor(self.counts), num=3)
        return mean_over_present(ops.divide_no_nan(2 * right, reference + predicted), reference)

    def get_config(self):
        return {**super().get_config(), "labels": self.labels}


@keras.saving.register_keras_serializable(package="eokeras")
class MeanAbsoluteError(keras.metrics.Mean):
    """Mean absolute error over the targets that are not NaN.

    Input shape:
        `y_true` (B,) or (B, 1), NaN where missing, `y_pred` (B, 1); or (B, H, W) and (B, H, W, 1). One unit.

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
            weight = weight * weight_of_elements(sample_weight, ops.shape(weight), self.dtype)
        super().update_state(errors, sample_weight=weight)

    def result(self):
        return ratio(self.total, self.count)

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
