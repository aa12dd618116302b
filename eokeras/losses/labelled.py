"""Losses of numbers, fractions and labels that average over labelled elements only.

Letters: B batch, H rows, W columns, N classes, L labels.
"""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="eokeras")
class LabelledLoss(keras.losses.Loss):
    """Base of losses whose targets are NaN (or, of class ids, `VOID`) where a label is missing.

    Subclasses implement `elementwise(y_true, y_pred)`, which gives one loss per element and
    never sees NaN: a missing target is replaced by 0 before it and its loss by 0 after it, so
    that no gradient flows from it. The mean is over labelled elements. The target is brought
    to the shape of the prediction, so that (B,) and (B, 1) never broadcast to (B, B).
    """

    def elementwise(self, y_true, y_pred):
        """Loss of every element in the shape of `y_pred`, or one per patch, (B,); subclasses implement it."""
        raise NotImplementedError

    def targets(self, y_true, y_pred):
        """The targets in the shape of the prediction, 0 where missing, and bool: which are labelled."""
        y_true = ops.reshape(y_true, ops.shape(y_pred))
        labelled = ops.logical_not(ops.isnan(y_true))
        return ops.where(labelled, y_true, 0.0), labelled

    def call(self, y_true, y_pred):
        y_true, labelled = self.targets(y_true, y_pred)
        losses = self.elementwise(y_true, y_pred)
        labelled = ops.cast(labelled, losses.dtype)
        if len(losses.shape) < len(labelled.shape):  # one loss per patch: whole or missing
            labelled = ops.min(labelled, axis=-1)
        losses = losses * labelled
        if self.reduction in ("sum", "none", None):
            return losses
        # Keras divides by the number of all elements; this turns that into the number of labelled ones.
        elements = ops.cast(ops.size(labelled), losses.dtype)
        return losses * ops.divide_no_nan(elements, ops.sum(labelled))  # shares of labels may sum to less than 1


@keras.saving.register_keras_serializable(package="eokeras")
class LabelledMeanAbsoluteError(LabelledLoss):
    """Mean absolute error over the targets that are not NaN.

    Input shape:
        `y_true` (B,) or (B, 1), NaN where missing, `y_pred` (B, 1); or (B, H, W) and (B, H, W, 1). One unit.

    Example:
        >>> import numpy as np
        >>> loss = LabelledMeanAbsoluteError()
        >>> float(loss(np.array([0.5, np.nan]), np.array([[1.0], [7.0]])))
        0.5
    """

    def elementwise(self, y_true, y_pred):
        return ops.absolute(y_pred - y_true)


@keras.saving.register_keras_serializable(package="eokeras")
class FractionCrossentropy(LabelledLoss):
    """Cross-entropy of a softmax against fractions that sum to one.

    A patch whose fractions hold a NaN is left out.

    Input shape:
        `y_true` (B, N) fractions; `y_pred` (B, N) logits.

    Example:
        >>> import numpy as np
        >>> loss = FractionCrossentropy()
        >>> round(float(loss(np.array([[0.5, 0.5]]), np.array([[0.0, 0.0]]))), 4)
        0.6931
    """

    def elementwise(self, y_true, y_pred):
        return -ops.sum(y_true * ops.log_softmax(y_pred, axis=-1), axis=-1)


@keras.saving.register_keras_serializable(package="eokeras")
class LabelledBinaryCrossentropy(LabelledLoss):
    """Binary cross-entropy from logits over the labels that are not NaN.

    Input shape:
        `y_true` (B, L) of 0, 1 or NaN; `y_pred` (B, L) logits.

    Example:
        >>> import numpy as np
        >>> loss = LabelledBinaryCrossentropy()
        >>> round(float(loss(np.array([[1.0, np.nan]]), np.array([[0.0, 9.0]]))), 4)
        0.6931
    """

    def elementwise(self, y_true, y_pred):
        # log(1 + exp(x)) - x y, written so that neither exponential overflows
        return ops.softplus(y_pred) - y_pred * y_true
