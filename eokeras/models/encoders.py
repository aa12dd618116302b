"""Encoders: functional models from one modality to a dict of levels.

A level `stride_n` is a map (B, ceil-or-floor(H / n), same for W, C): features at one n-th of the
input's resolution. Letters: B batch, H rows, W columns, C channels.
"""

import keras
from keras import layers

from eokeras.errors import InvalidArgumentError
from eokeras.layers import Double, PadLike

# ------------------------------------------------------------------ Config

ENCODER_WIDTHS = (1, 2, 4, 8, 8)
"""Channels of the U-Net's contracting path at strides 1, 2, 4, 8, 16, in units of `width`."""

DECODER_WIDTHS = (4, 2, 1, 1)
"""Channels of its expanding path at strides 8, 4, 2, 1, in units of `width`."""

SMALLEST_SIZE = 2 ** (len(ENCODER_WIDTHS) - 1)
"""Rows and columns that four halvings need to leave one."""


# ------------------------------------------------------------------ Layers


def _double_convolution(x, middle, channels, name):
    """Twice: 3x3 convolution with bias, batch normalisation (constants of the tutorial's PyTorch), ReLU."""
    for index, filters in enumerate((middle, channels), start=1):
        x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_convolution_{index}")(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_normalisation_{index}")(x)
        x = layers.ReLU(name=f"{name}_relu_{index}")(x)
    return x


def _expand(x, skip, channels, name):
    """Doubles the resolution of `x`, joins `skip` and convolves to `channels`."""
    x = Double(name=f"{name}_upsampling")(x)
    x = PadLike(name=f"{name}_padding")([x, skip])
    x = layers.Concatenate(name=f"{name}_skip")([skip, x])
    return _double_convolution(x, x.shape[-1] // 2, channels, name)


# ------------------------------------------------------- Functional model


def unet(shape, width=64, name="image"):
    """The U-Net of the IGARSS 2024 tutorial, as an encoder that gives its decoder's levels.

    Double convolutions (3x3 with bias, batch normalisation, ReLU, twice) and max-pooling
    down to stride 16, then bilinear upsampling, skip connections and double convolutions
    back to stride 1. Any height and width from 16 on; where halving meets an odd size the
    upsampled map is zero-padded to its skip connection.

    Args:
        shape: (H, W, C) of the input; H and W may be None.
        width: channels at stride 1. 64 gives the tutorial's network.
        name: name of the input, which is the modality ("s2", "s1", ...). The model is
            named `NAME_unet`.

    Input shape:
        (B, H, W, C), calibrated float32.

    Output shape:
        A dict of decoder levels, finest first:
        `stride_1` (B, H, W, width), `stride_2` (B, H // 2, W // 2, width),
        `stride_4` (..., 2 width), `stride_8` (..., 4 width), `stride_16` (..., 8 width).

    Returns:
        A functional `keras.Model` with the one input `name`.

    Raises:
        InvalidArgumentError: `shape` is not (H, W, C), H or W is below 16, or `width` is no positive integer.

    Example:
        >>> model = unet((120, 120, 12), width=4, name="s2")
        >>> model.output["stride_16"].shape
        (None, 7, 7, 32)

    Reference:
        Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597. Bilinear upsampling takes
        half-pixel centres (Keras), the tutorial's aligned corners: the weight counts are equal,
        the interpolation differs slightly.
    """
    shape = _check_shape(shape)
    if not isinstance(width, int) or isinstance(width, bool) or width < 1:
        raise InvalidArgumentError(f"`width` must be a positive integer. Received: width={width!r}.")

    inputs = keras.Input(shape, name=name)
    skips, x = [], inputs
    for level, multiple in enumerate(ENCODER_WIDTHS):
        stride, channels = 2**level, multiple * width
        if level:
            x = layers.MaxPooling2D(name=f"encoder_{stride}_pooling")(x)
        x = _double_convolution(x, channels, channels, f"encoder_{stride}")
        skips.append(x)

    levels = {f"stride_{SMALLEST_SIZE}": skips.pop()}
    for multiple in DECODER_WIDTHS:
        stride = 2 ** (len(skips) - 1)
        x = _expand(x, skips.pop(), multiple * width, f"decoder_{stride}")
        levels[f"stride_{stride}"] = x
    finest_first = dict(reversed(levels.items()))
    return keras.Model([inputs], finest_first, name=f"{name}_unet")


def _check_shape(shape):
    shape = tuple(shape) if isinstance(shape, (list, tuple)) else shape
    if not isinstance(shape, tuple) or len(shape) != 3 or shape[2] is None:
        raise InvalidArgumentError(
            "`shape` must be (height, width, channels); height and width may be None, channels may not. "
            f"Received: shape={shape!r}."
        )
    small = [size for size in shape[:2] if size is not None and size < SMALLEST_SIZE]
    if small:
        raise InvalidArgumentError(
            f"`shape` must have a height and a width of at least {SMALLEST_SIZE}, because four poolings halve them. "
            f"Received: shape={shape}."
        )
    return shape
