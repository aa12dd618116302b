"""A dense encoder for what has no place in the patch: weather, position, season.

Letters: B batch, C channels.
"""

import keras
from keras import layers

from eokeras.errors import InvalidArgumentError
from eokeras.models.encoders.contract import VECTOR, check_positive


def dense_encoder(shape=(8,), width=64, depth=2, name="era5"):
    """Dense layers with ReLU: scalars alone as an encoder.

    Args:
        shape: (C,) of the input; (8,) is the weather of ERA-5.
        width: units of every layer.
        depth: number of layers.
        name: name of the input. The model is named `NAME_dense`.

    Input shape:
        (B, C), calibrated float32.

    Output shape:
        A dict with the one level `vector` (B, width).

    Returns:
        A functional `keras.Model` with the one input `name`.

    Raises:
        InvalidArgumentError: `shape` is not (C,), or `width` or `depth` is no positive integer.

    Example:
        >>> dense_encoder((8,), width=16, name="era5").output["vector"].shape
        (None, 16)
    """
    if not isinstance(shape, (list, tuple)) or len(shape) != 1 or shape[0] is None:
        raise InvalidArgumentError(f"`shape` of scalars must be (channels,). Received: shape={shape!r}.")
    check_positive("width", width)
    check_positive("depth", depth)
    x = inputs = keras.Input(tuple(shape), name=name)
    for index in range(1, depth + 1):
        x = layers.Dense(width, activation="relu", name=f"dense_{index}")(x)
    return keras.Model([inputs], {VECTOR: x}, name=f"{name}_dense")
