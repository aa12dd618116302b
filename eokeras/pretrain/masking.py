"""What masked pretraining is made of: exact masks, patches and images, the loss of what was hidden.

Letters: B batch, H rows, W columns, C channels, P patch size, G groups, N tokens of a group, D features.
"""

import keras
from keras import ops

from eokeras.ben_ge.input_names import MASK
from eokeras.errors import InvalidArgumentError, check_number
from eokeras.layers import sine_cosine_positions

EPSILON = 1e-6
"""Added to the variance of a patch before it is divided by its root, as in the published code."""


# ------------------------------------------------------------------ Counts


def hidden_count(argument, ratio, places):
    """How many of `places` a ratio in [0, 1] hides: the nearest whole number.

    Raises:
        InvalidArgumentError: `ratio` is no number in [0, 1]; the message names `argument`.

    Example:
        >>> hidden_count("mask_ratio", 0.75, 100)
        75
    """
    ratio = check_number(argument, ratio, at_least=0)
    if ratio > 1:
        raise InvalidArgumentError(f"`{argument}` must be a share in [0, 1]. Received: {argument}={ratio!r}.")
    return round(ratio * places)


def random_orders(shape, seed):
    """Random orders of the numbers 0 .. N - 1 along the last axis.

    Args:
        shape: (..., N).
        seed: an integer, or a `keras.random.SeedGenerator`.

    Returns:
        int32 of that shape.

    Example:
        >>> sorted(random_orders((1, 3), 0)[0].numpy().tolist())
        [0, 1, 2]
    """
    return ops.cast(ops.argsort(keras.random.uniform(shape, dtype="float32", seed=seed), axis=-1), "int32")


# ------------------------------------------------------------------ Patches


def to_patches(images, patch_size):
    """Images (B, H, W, C) -> patches (B, N, P * P * C), row by row; inside a patch row by row, channels last.

    Example:
        >>> import numpy as np
        >>> to_patches(np.arange(8.0).reshape(1, 2, 4, 1), 2)[0].numpy().tolist()
        [[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]
    """
    _, height, width, channels = images.shape
    rows, columns = height // patch_size, width // patch_size
    patches = ops.reshape(images, (-1, rows, patch_size, columns, patch_size, channels))
    patches = ops.transpose(patches, (0, 1, 3, 2, 4, 5))
    return ops.reshape(patches, (-1, rows * columns, patch_size * patch_size * channels))


def to_images(patches, grid, patch_size):
    """Patches (B, N, P * P * C) of a grid of (rows, columns) -> images (B, H, W, C): `to_patches` backwards."""
    rows, columns = grid
    channels = patches.shape[-1] // patch_size**2
    images = ops.reshape(patches, (-1, rows, columns, patch_size, patch_size, channels))
    images = ops.transpose(images, (0, 1, 3, 2, 4, 5))
    return ops.reshape(images, (-1, rows * patch_size, columns * patch_size, channels))


def patch_moments(patches, valid):
    """Mean and standard deviation of what is valid of every patch.

    Args:
        patches: (B, N, P * P * C), finite.
        valid: of the same shape, 1 or 0.

    Returns:
        Two arrays (B, N, 1); mean 0 and deviation 0.001 (the root of `EPSILON`) where nothing is valid.
    """
    count = ops.maximum(ops.sum(valid, axis=-1, keepdims=True), 1.0)
    mean = ops.sum(patches * valid, axis=-1, keepdims=True) / count
    variance = ops.sum(ops.square(patches - mean) * valid, axis=-1, keepdims=True) / count
    return mean, ops.sqrt(variance + EPSILON)


# ------------------------------------------------------------------ Missing numbers and loss


def check_inputs(inputs, expected):
    """Raises `InvalidArgumentError` unless `inputs` is a dict with maps like the symbolic inputs `expected`."""
    names = [tensor.name for tensor in expected]
    if not isinstance(inputs, dict) or not set(names) <= set(inputs):
        received = list(inputs) if isinstance(inputs, dict) else type(inputs).__name__
        raise InvalidArgumentError(f"`inputs` must be a dict with {names}. Received: {received}.")
    for tensor in expected:
        shape = tuple(inputs[tensor.name].shape)
        pairs = list(zip(shape[1:], tensor.shape[1:], strict=False))
        if len(shape) != len(tensor.shape) or any(a != b for a, b in pairs if None not in (a, b)):
            raise InvalidArgumentError(
                f"`inputs[{tensor.name!r}]` must have shape {tuple(tensor.shape)}. Received: shape={shape}."
            )


def check_no_weights(sample_weight):
    """Raises `InvalidArgumentError` where a batch has a third part, as metadata are."""
    if sample_weight is not None:
        raise InvalidArgumentError(
            "Batches for pretraining must be (inputs, targets). Received: a third part, which `fit` takes for sample "
            "weights. Make the data set without `metadata`."
        )


def valid_values(inputs, name):
    """One input with 0 in place of missing numbers, and where it is valid.

    Args:
        inputs: dict of input name -> (B, H, W, C). NaN, infinities, and what has 0 in `<name>_mask`, are missing.
        name: of the input.

    Returns:
        Two float32 arrays (B, H, W, C): values, and 1 or 0.
    """
    values = ops.cast(inputs[name], "float32")
    valid = ops.isfinite(values)
    if name + MASK in inputs:
        valid = ops.logical_and(valid, inputs[name + MASK] > 0.5)
    return ops.where(valid, values, 0.0), ops.cast(valid, "float32")


def hidden_mean_squares(predictions, targets, counted):
    """Mean squared error over what is counted; 0 where nothing is.

    Args:
        predictions, targets: of one shape, finite.
        counted: 1 or 0, of the same shape.

    Example:
        >>> import numpy as np
        >>> float(hidden_mean_squares(np.array([1.0, 5.0]), np.array([3.0, 0.0]), np.array([1.0, 0.0])))
        4.0
    """
    counted = ops.cast(counted, "float32")
    errors = ops.square(ops.cast(predictions, "float32") - targets) * counted
    return ops.sum(errors) / ops.maximum(ops.sum(counted), 1.0)


# ------------------------------------------------------------------ Tokens


@keras.saving.register_keras_serializable(package="eokeras")
class RestoreTokens(keras.layers.Layer):
    """Puts visible tokens back in their places and mask tokens in all others, then adds place and group.

    Args:
        grid: (rows, columns) of the tokens of a group; N = rows * columns.
        visible: for each group the number K of its visible tokens.

    Input shape:
        Two arrays `[tokens, orders]`: the visible tokens of all groups, (B, K_1 + .. + K_G, D), and the order in
        which the tokens of each group were drawn, (B, G, N) integers: the first K are the visible ones.

    Output shape:
        (B, G * N, D), groups one after the other, row by row.

    Example:
        >>> import numpy as np
        >>> layer = RestoreTokens((1, 2), (1,))
        >>> tuple(layer([np.ones((3, 1, 8), "float32"), np.array([[[1, 0]]] * 3)]).shape)
        (3, 2, 8)

    Reference:
        He et al. 2021, https://arxiv.org/abs/2111.06377
    """

    def __init__(self, grid, visible, **kwargs):
        super().__init__(**kwargs)
        self.grid, self.visible = tuple(grid), tuple(visible)

    def build(self, input_shape):
        width = input_shape[0][-1]
        self.positions = sine_cosine_positions(*self.grid, width)
        small = keras.initializers.RandomNormal(stddev=0.02)
        self.mask_token = self.add_weight(shape=(width,), initializer=small, name="mask_token")
        shape = (len(self.visible), width)
        self.group_tokens = self.add_weight(shape=shape, initializer=small, name="group_tokens")
        self.built = True

    def call(self, inputs):
        tokens, orders = inputs
        tokens = ops.cast(tokens, self.compute_dtype)
        batch, places, width = ops.shape(tokens)[0], len(self.positions), tokens.shape[-1]
        restored, first = [], 0
        for group, count in enumerate(self.visible):
            own = tokens[:, first : first + count]
            hidden = ops.broadcast_to(self.mask_token, (batch, places - count, width))
            # Sorting the order undoes it: place i holds what was drawn as number argsort(order)[i].
            undone = ops.argsort(orders[:, group], axis=-1)
            own = ops.take_along_axis(ops.concatenate([own, hidden], axis=1), undone[..., None], axis=1)
            restored.append(own + ops.cast(self.positions, own.dtype) + self.group_tokens[group])
            first += count
        return ops.concatenate(restored, axis=1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], len(self.visible) * self.grid[0] * self.grid[1], input_shape[0][-1])

    def get_config(self):
        return super().get_config() | {"grid": self.grid, "visible": self.visible}
