"""Losses of class ids with `VOID`: with class weights, focal, Dice.

Letters: B batch, H rows, W columns, N classes, n labelled elements, i one of them, y_i its class, p_i the
probability (softmax of the logits) given to y_i, p_ic to class c.
"""

from numbers import Real

import keras
import numpy as np
from keras import ops

from eokeras.ben_ge.schema import VOID
from eokeras.errors import InvalidArgumentError
from eokeras.losses.labelled import LabelledLoss


@keras.saving.register_keras_serializable(package="eokeras")
class LabelledCrossentropy(LabelledLoss):
    """Cross-entropy of class ids over labelled elements, with a weight for each class.

    L = (1 / n) sum_i w(y_i) (-log p_i). The sum is divided by the *number* of labelled elements, as Keras'
    `class_weight` does (which it refuses to models of several outputs), not by the sum of their weights: so a
    label of a rare class counts equally in every batch, the mean over batches is the loss of the epoch, and
    a batch of rare classes alone does not have its weights cancelled. With "balanced" weights the mean
    weight of the training labels is 1, so the loss keeps its size beside those of other tasks.

    Args:
        class_weights: N numbers from 0 on in the order of the class ids, as `balanced_weights` gives;
            None: 1 for each.
        name, reduction, dtype: as in `keras.losses.Loss`.

    Input shape:
        `y_true` class ids (B,) or (B, H, W), `VOID` where missing; `y_pred` logits (B, N) or (B, H, W, N).
        `y_true` may also hold shares of classes in the shape of `y_pred`, as mixed patches have them
        (`eokeras.augment.mixup`): -log p_i becomes sum_c y_ic (-log p_ic), and an element counts by the sum of its
        shares, 0 where it has no label.

    Raises:
        InvalidArgumentError: `class_weights` holds no finite numbers from 0 on, or not one per class.

    Example:
        >>> import numpy as np
        >>> loss = LabelledCrossentropy(class_weights=(1.0, 3.0))
        >>> round(float(loss(np.array([0, 1, VOID]), np.zeros((3, 2)))), 4)  # ln 2 (1 + 3) / 2
        1.3863
    """

    def __init__(self, class_weights=None, name="crossentropy", reduction="sum_over_batch_size", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.class_weights = _checked(class_weights)

    def targets(self, y_true, y_pred):
        if self.class_weights is not None and y_pred.shape[-1] != len(self.class_weights):
            raise InvalidArgumentError(
                f"`class_weights` must hold one number for each of {y_pred.shape[-1]} classes. "
                f"Received: {len(self.class_weights)} numbers."
            )
        return _reference(y_true, y_pred)

    def elementwise(self, y_true, y_pred):
        if are_shares(y_true, y_pred):
            weights = 1.0 if self.class_weights is None else ops.convert_to_tensor(self.class_weights, y_pred.dtype)
            return -ops.sum(weights * y_true * ops.log_softmax(y_pred, axis=-1), axis=-1)
        losses = ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        if self.class_weights is None:
            return losses
        return losses * ops.take(ops.convert_to_tensor(self.class_weights, dtype=losses.dtype), y_true)

    def get_config(self):
        weights = None if self.class_weights is None else list(self.class_weights)
        return {**super().get_config(), "class_weights": weights}


@keras.saving.register_keras_serializable(package="eokeras")
class LabelledFocalCrossentropy(LabelledCrossentropy):
    """Keras' focal cross-entropy for class ids, over labelled elements: easy elements count less.

    L = (1 / n) sum_i w(y_i) (1 - p_i)^gamma (-log p_i). The weights are the alpha of Lin et al.; here they are 1
    unless given (Keras' own default is 0.25 for every class, which only makes the loss smaller beside
    those of other tasks). `gamma=0` is `LabelledCrossentropy`. As in Keras, probabilities are clipped to
    1e-7 from 0 and 1, and a prediction beyond passes no gradient on.

    Args:
        gamma: from 0 on; the greater, the less the easy elements count.
        class_weights, name, reduction, dtype: as in `LabelledCrossentropy`.

    Input shape:
        As `LabelledCrossentropy`.

    Raises:
        InvalidArgumentError: `gamma` is no number from 0 on; else as `LabelledCrossentropy`.

    Example:
        >>> import numpy as np
        >>> loss = LabelledFocalCrossentropy(gamma=2.0)
        >>> round(float(loss(np.array([0, VOID]), np.zeros((2, 2)))), 4)  # (1 - 1/2)^2 ln 2
        0.1733

    Reference:
        Lin et al. 2017, https://arxiv.org/abs/1708.02002
    """

    def __init__(
        self, gamma=2.0, class_weights=None, name="focal_crossentropy", reduction="sum_over_batch_size", dtype=None
    ):
        super().__init__(class_weights, name=name, reduction=reduction, dtype=dtype)
        if not _is_weight(gamma):
            raise InvalidArgumentError(f"`gamma` must be a number from 0 on. Received: gamma={gamma!r}.")
        self.gamma = gamma

    def elementwise(self, y_true, y_pred):
        alpha = 1.0 if self.class_weights is None else list(self.class_weights)
        reference = _as_shares(y_true, y_pred)
        return keras.losses.categorical_focal_crossentropy(reference, y_pred, alpha, self.gamma, from_logits=True)

    def get_config(self):
        return {**super().get_config(), "gamma": self.gamma}


@keras.saving.register_keras_serializable(package="eokeras")
class LabelledDice(keras.losses.Loss):
    """Keras' Dice loss for class ids, over labelled elements: each class present counts equally.

    L = mean over c of 1 - 2 sum_i p_ic [y_i = c] / (sum_i [y_i = c] + sum_i p_ic), the sums over all labelled
    elements of the batch and the mean over the classes present in their reference: a class that is not there
    has no overlap to gain. Keras' `Dice()` without `axis` sums over the classes too, which for a softmax
    leaves 1 - (mean of p_i), without any balance. Milletari et al. square the terms of the denominator
    (Keras does not); for hard predictions, 0 or 1, both are one.

    A batch has one loss: sample weights cannot single out its patches and only scale it, by their mean.

    Args:
        name, reduction, dtype: as in `keras.losses.Loss`.

    Input shape:
        `y_true` class ids (B,) or (B, H, W), `VOID` where missing; `y_pred` logits (B, N) or (B, H, W, N).

    Example:
        >>> import numpy as np
        >>> loss = LabelledDice()
        >>> round(float(loss(np.array([0, 1, VOID]), np.zeros((3, 2)))), 4)  # 1 - 2 (1/2) / (1 + 1) for each
        0.5

    Reference:
        Milletari et al. 2016, https://arxiv.org/abs/1606.04797
    """

    def __init__(self, name="dice", reduction="sum_over_batch_size", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        reference, labelled = _reference(y_true, y_pred)
        labelled = ops.cast(labelled, y_pred.dtype)[..., None]
        reference = labelled * _as_shares(reference, y_pred)
        probabilities = labelled * ops.softmax(y_pred, axis=-1)
        elements = tuple(range(len(y_pred.shape) - 1))
        losses = keras.losses.dice(reference, probabilities, axis=elements)
        present = ops.cast(ops.sum(reference, axis=elements) > 0, losses.dtype)
        mean = ops.divide_no_nan(ops.sum(losses * present), ops.sum(present))
        return ops.reshape(mean, (1,))  # not (), which Keras would not scale to the replicas of a strategy


def are_shares(y_true, y_pred):
    """Whether a reference holds shares of the classes of the logits rather than class ids."""
    return len(y_true.shape) == len(y_pred.shape) > 1 and y_true.shape[-1] == y_pred.shape[-1]


def _reference(y_true, y_pred):
    """Class ids, 0 where missing, and bool: which are labelled; or shares that sum to 1, and how much is labelled."""
    if are_shares(y_true, y_pred):
        labelled = ops.sum(y_true, axis=-1)
        return ops.divide_no_nan(y_true, labelled[..., None]), labelled
    ids = ops.reshape(ops.cast(y_true, "int32"), ops.shape(y_pred)[:-1])
    labelled = ops.not_equal(ids, VOID)
    return ops.where(labelled, ids, 0), labelled


def _as_shares(reference, y_pred):
    if are_shares(reference, y_pred):
        return ops.cast(reference, y_pred.dtype)
    return ops.one_hot(reference, y_pred.shape[-1], dtype=y_pred.dtype)


def _checked(class_weights):
    if class_weights is None:
        return None
    weights = tuple(class_weights) if isinstance(class_weights, (list, tuple, np.ndarray)) else ()
    if not weights or not all(map(_is_weight, weights)):
        raise InvalidArgumentError(
            "`class_weights` must be a list of finite numbers from 0 on, one per class, or None. "
            f"Received: class_weights={class_weights!r}."
        )
    return tuple(map(float, weights))


def _is_weight(value):
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= value < float("inf")
