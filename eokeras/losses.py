"""Losses that average over labelled elements only, and the dictionary for several tasks.

Missing labels are class id `VOID` or NaN (schema.py). A batch without any label costs 0, with a
gradient of 0. Letters: B batch, H rows, W columns, N classes, L labels.
"""

import keras
from keras import ops

from eokeras.ben_ge.schema import TARGETS, VOID
from eokeras.errors import InvalidArgumentError, check_choices


@keras.saving.register_keras_serializable(package="eokeras")
class LabelledLoss(keras.losses.Loss):
    """Base of losses whose targets are NaN where a label is missing.

    Subclasses implement `elementwise(y_true, y_pred)`, which gives one loss per element and
    never sees NaN: a missing target is replaced by 0 before it and its loss by 0 after it, so
    that no gradient flows from it. The mean is over labelled elements. The target is brought
    to the shape of the prediction, so that (B,) and (B, 1) never broadcast to (B, B).
    """

    def elementwise(self, y_true, y_pred):
        """Loss of every element in the shape of `y_pred`, or one per patch, (B,); subclasses implement it."""
        raise NotImplementedError

    def call(self, y_true, y_pred):
        y_true = ops.reshape(y_true, ops.shape(y_pred))
        missing = ops.isnan(y_true)
        losses = self.elementwise(ops.where(missing, 0.0, y_true), y_pred)
        labelled = ops.cast(ops.logical_not(missing), losses.dtype)
        if len(losses.shape) < len(labelled.shape):  # one loss per patch: whole or missing
            labelled = ops.min(labelled, axis=-1)
        losses = losses * labelled
        if self.reduction in ("sum", "none", None):
            return losses
        # Keras divides by the number of all elements; this turns that into the number of labelled ones.
        elements = ops.cast(ops.size(labelled), losses.dtype)
        return losses * (elements / ops.maximum(ops.sum(labelled), 1.0))


@keras.saving.register_keras_serializable(package="eokeras")
class LabelledMeanAbsoluteError(LabelledLoss):
    """Mean absolute error over the targets that are not NaN.

    Input shape:
        `y_true` (B,) or (B, 1), NaN where missing; `y_pred` (B, 1); one unit.

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


def _class_crossentropy():
    # Keras averages over the elements that are not `ignore_class`, and gives 0 where there is none.
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=VOID)


LOSSES = {
    "class": _class_crossentropy,
    "map": _class_crossentropy,
    "regression": LabelledMeanAbsoluteError,
    "fractions": FractionCrossentropy,
    "multilabel": LabelledBinaryCrossentropy,
}
"""Kind of target (schema.py) -> the loss made for it."""


def for_tasks(tasks, schema=None):
    """The loss of every task, for `model.compile(loss=...)`.

    Args:
        tasks: names of targets (`eokeras.ben_ge.schema.TARGETS`).
        schema: the `RecordSchema` of the records that will be trained on, or None. Only
            checked: it must describe the classes of every class target.

    Returns:
        A dict of task -> `keras.losses.Loss` on logits: cross-entropy for classes and maps,
        mean absolute error for regression, cross-entropy against fractions, binary
        cross-entropy for labels. All average over labelled elements only.

    Raises:
        InvalidArgumentError: a task is unknown (the message lists the valid ones), or the records do not
            describe its classes.

    Example:
        >>> sorted(for_tasks(("climate_zone", "season")))
        ['climate_zone', 'season']
    """
    check_choices("tasks", tasks, TARGETS)
    for task in tasks:
        if schema is not None and TARGETS[task].classes and task not in schema.classes:
            raise InvalidArgumentError(
                f"`tasks` may hold targets of the records, {sorted(schema.classes)}. Received: {task!r}."
            )
    return {task: LOSSES[TARGETS[task].kind]() for task in tasks}
