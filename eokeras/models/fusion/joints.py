"""Layers that join tensors of several modalities.

Letters: B batch, H rows, W columns, C and D channels, N tokens, M modalities.
"""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="eokeras")
class RepeatOver(keras.layers.Layer):
    """Repeats a vector over every pixel of a map; the numbers of the map itself do not matter.

    Input shape:
        `[vector, map]`: (B, D) and (B, H, W, C); H and W may be unknown when the model is built.

    Output shape:
        (B, H, W, D).

    Example:
        >>> weather = ops.array([[281.0, 3.5]])
        >>> tuple(RepeatOver()([weather, ops.zeros((1, 4, 6, 12))]).shape)
        (1, 4, 6, 2)
    """

    def call(self, inputs):
        vector, reference = inputs
        return vector[:, None, None, :] + ops.zeros_like(reference[..., :1])

    def compute_output_shape(self, input_shape):
        vector, reference = input_shape
        return (*reference[:3], vector[-1])


@keras.saving.register_keras_serializable(package="eokeras")
class TokensToMap(keras.layers.Layer):
    """Lays tokens, row by row, out as a map again.

    Input shape:
        `[tokens, map]`: (B, N, D) and (B, H, W, C) with N = H * W; H and W may be unknown when the
        model is built.

    Output shape:
        (B, H, W, D).

    Example:
        >>> tokens = ops.reshape(ops.arange(6.0), (1, 6, 1))
        >>> [float(value) for value in TokensToMap()([tokens, ops.zeros((1, 2, 3, 8))])[0, 1, :, 0]]
        [3.0, 4.0, 5.0]
    """

    def call(self, inputs):
        tokens, reference = inputs
        batch, height, width, _ = ops.shape(reference)
        return ops.reshape(tokens, (batch, height, width, tokens.shape[-1]))

    def compute_output_shape(self, input_shape):
        tokens, reference = input_shape
        return (*reference[:3], tokens[-1])


@keras.saving.register_keras_serializable(package="eokeras")
class GatedSum(keras.layers.Layer):
    """The sum of M tensors, each multiplied by its gate.

    Input shape:
        `[gates, x_1, ..., x_M]`: (B, H, W, M) and M maps (B, H, W, C); or (B, M) and M vectors (B, C).

    Output shape:
        (B, H, W, C), or (B, C).

    Example:
        >>> gates = ops.array([[0.75, 0.25]])
        >>> float(GatedSum()([gates, ops.array([[4.0]]), ops.array([[8.0]])])[0, 0])
        5.0
    """

    def call(self, inputs):
        gates, *tensors = inputs
        return sum(gates[..., index : index + 1] * x for index, x in enumerate(tensors))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[1])


@keras.saving.register_keras_serializable(package="eokeras")
class ScaleAndShift(keras.layers.Layer):
    """Scales and shifts channels, the same at every pixel: (1 + gamma) * h + beta.

    Input shape:
        `[h, gamma, beta]`: (B, H, W, C), (B, C), (B, C); or three vectors (B, C).

    Output shape:
        That of `h`; equal to `h` where gamma and beta are 0.

    Example:
        >>> h = ops.full((1, 2, 2, 1), 3.0)
        >>> float(ScaleAndShift()([h, ops.array([[0.5]]), ops.array([[-1.0]])])[0, 0, 0, 0])
        3.5

    Reference:
        Perez et al. 2018, https://arxiv.org/abs/1709.07871
    """

    def call(self, inputs):
        h, gamma, beta = inputs
        if len(h.shape) == 4:
            gamma, beta = gamma[:, None, None, :], beta[:, None, None, :]
        return (1 + gamma) * h + beta

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])
