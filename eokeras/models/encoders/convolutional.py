"""The U-Net, whole and in halves: contracting path (encoder) and expanding path (decoder).

Letters: B batch, H rows, W columns, C channels.
"""

import keras
from keras import layers

from eokeras.errors import InvalidArgumentError
from eokeras.layers import Enlarge, MatchSize
from eokeras.models.encoders.contract import check_map_shape, check_positive, level_name, map_levels
from eokeras.normalization import BatchNormalization

# ------------------------------------------------------------------ Config

ENCODER_WIDTHS = (1, 2, 4, 8, 8)
"""Channels of the contracting path, finest level first, in units of `width`."""

COARSEST_STRIDE = 16
"""Where the contracting path ends."""


def decoder_width(stride, width):
    """Channels of the expanding path at a stride: 4, 2, 1 and 1 times `width` at strides 8, 4, 2 and 1.

    Example:
        >>> decoder_width(8, 64)
        256
    """
    return width * max(1, stride // 2)


# ------------------------------------------------------------------ Layers


def _double_convolution(x, middle, channels, name):
    """Twice: 3x3 convolution with bias, batch normalisation (constants of the tutorial's PyTorch), ReLU."""
    for index, filters in enumerate((middle, channels), start=1):
        x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_convolution_{index}")(x)
        x = BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_normalisation_{index}")(x)
        x = layers.ReLU(name=f"{name}_relu_{index}")(x)
    return x


def _contract(x, width, strides):
    """Levels of the contracting path by stride."""
    levels = {}
    for stride, multiple in zip(strides, ENCODER_WIDTHS, strict=False):
        if levels:
            x = layers.MaxPooling2D(name=f"encoder_{stride}_pooling")(x)
        x = _double_convolution(x, multiple * width, multiple * width, f"encoder_{stride}")
        levels[level_name(stride)] = x
    return levels


def _expand(x, skip, channels, name):
    """Doubles the resolution of `x`, joins `skip` where there is one and convolves to `channels`."""
    x = Enlarge(name=f"{name}_upsampling")(x)
    if skip is not None:
        x = MatchSize(name=f"{name}_padding")([x, skip])
        x = layers.Concatenate(name=f"{name}_skip")([skip, x])
    return _double_convolution(x, max(1, x.shape[-1] // 2), channels, name)


# ------------------------------------------------------- Functional model


def unet(shape, width=64, name="image"):
    """The U-Net of the IGARSS 2024 tutorial, as an encoder that gives its decoder's levels.

    Double convolutions (3x3 with bias, batch normalisation, ReLU, twice) and max-pooling
    down to stride 16, then bilinear upsampling, skip connections and double convolutions
    back to stride 1: `unet_encoder` and `unet_decoder` in one. Any height and width from 16 on;
    where halving meets an odd size the upsampled map is zero-padded to its skip connection.

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
    strides = _strides_from(1)
    shape = _check_size(shape, strides)
    check_positive("width", width)

    inputs = keras.Input(shape, name=name)
    levels = unet_decoder(width)(_contract(inputs, width, strides))
    return keras.Model([inputs], levels, name=f"{name}_unet")


def unet_encoder(shape, width=64, name="image", stride=1):
    """The contracting path of `unet` alone; an input on a coarser grid enters where it fits.

    Sentinel-2 bands at their stored resolution enter at `stride=1` (10 m), 2 (20 m) and 6 (60 m).
    What lies between two powers of two is enlarged bilinearly to the finer one first: 60 m bands
    (stride 6, 20 x 20 for 120 x 120) by 1.5 to stride 4 (30 x 30).

    Args:
        shape: (H, W, C) of the input; H and W may be None.
        width: channels of its finest level.
        name: name of the input, which is the modality. The model is named `NAME_unet_encoder`.
        stride: of the input in pixels of the 10 m grid, 1 .. 16.

    Input shape:
        (B, H, W, C), calibrated float32.

    Output shape:
        A dict of levels, finest first, down to stride 16. For `stride=1`:
        `stride_1` (B, H, W, width), `stride_2` (B, H // 2, W // 2, 2 width), `stride_4` (..., 4 width),
        `stride_8` (..., 8 width), `stride_16` (..., 8 width).
        For `stride=2` they begin with `stride_2` (B, H, W, width), and so on.

    Returns:
        A functional `keras.Model` with the one input `name`.

    Raises:
        InvalidArgumentError: `shape` is not (H, W, C) or too small to be halved down to stride 16, or
            `width` or `stride` is out of range.

    Example:
        >>> model = unet_encoder((20, 20, 2), width=4, name="s2_60m", stride=6)
        >>> [(name, level.shape[1:]) for name, level in model.output.items()]
        [('stride_4', (30, 30, 4)), ('stride_8', (15, 15, 8)), ('stride_16', (7, 7, 16))]

    Reference:
        Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597
    """
    check_positive("stride", stride)
    if stride > COARSEST_STRIDE:
        raise InvalidArgumentError(
            f"`stride` must be at most {COARSEST_STRIDE}, where the encoder ends. Received: stride={stride}."
        )
    strides = _strides_from(stride)
    shape = _check_size(shape, strides)
    check_positive("width", width)

    inputs = keras.Input(shape, name=name)
    x = inputs if stride == strides[0] else Enlarge(stride / strides[0], name="encoder_enlarging")(inputs)
    return keras.Model([inputs], _contract(x, width, strides), name=f"{name}_unet_encoder")


def unet_decoder(width=64):
    """The expanding path of `unet`, as a function from the levels of any encoder to levels from stride 1 on.

    From the coarsest level on, each step doubles the resolution bilinearly, joins the level of that
    stride where there is one, padded or cropped to fit, and applies a double convolution. So it
    works on the pyramids of `unet_encoder` and `resnet`, and on the single level of a `vit` whose
    patches are a power of two. `unet` is this after `unet_encoder`, with equal widths.

    Args:
        width: channels at strides 1 and 2; at stride n it is `width * n / 2`.

    Input shape:
        A dict of maps `stride_n` (B, H, W, C), n powers of two.

    Output shape:
        A dict of maps, finest first, `stride_1`, `stride_2`, ... down to the coarsest level of the
        input, which is passed on as it is. A level that the input has keeps its height and width;
        one that it lacks is twice as large as the next coarser one: after a `resnet` on an odd
        size, one row and column larger than the input.

    Returns:
        A function `decode(levels, name="decoder")`; `name` begins the names of its layers.

    Raises:
        InvalidArgumentError: `width` is no positive integer, or a level is no map whose stride is a power of two.

    Example:
        >>> encoder = unet_encoder((120, 120, 12), width=4, name="s2")
        >>> levels = unet_decoder(width=4)(encoder.output)
        >>> [level.shape[1:] for level in levels.values()]
        [(120, 120, 4), (60, 60, 4), (30, 30, 8), (15, 15, 16), (7, 7, 32)]

    Reference:
        Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597
    """
    check_positive("width", width)

    def decode(levels, name="decoder"):
        skips = _check_pyramid(levels)
        stride, x = skips.popitem()
        decoded = {level_name(stride): x}
        while stride > 1:
            stride //= 2
            x = _expand(x, skips.get(stride), decoder_width(stride, width), f"{name}_{stride}")
            decoded[level_name(stride)] = x
        return dict(reversed(decoded.items()))

    return decode


# ------------------------------------------------------------------ Checks


def _strides_from(stride):
    """Strides of the contracting path of an input: the power of two at or below its own, and all coarser ones."""
    powers = [2**power for power in range(COARSEST_STRIDE.bit_length())]
    return [power for power in powers if 2 * power > stride]


def _check_size(shape, strides):
    poolings = len(strides) - 1
    return check_map_shape(shape, 2**poolings, f", because {poolings} poolings halve them" if poolings else "")


def _check_pyramid(levels):
    """Maps by stride, finest first."""
    maps = map_levels(levels)
    wrong = [name for name in levels if name not in map(level_name, maps)]
    wrong += [level_name(stride) for stride in maps if stride & (stride - 1)]
    if wrong or not maps:
        raise InvalidArgumentError(
            "`levels` of a U-Net decoder must be maps `stride_n` with n a power of two, because each of its steps "
            f"doubles the resolution. Received: {', '.join(wrong) or 'no level'}. Build the encoder so (a `vit` with "
            "patch_size=8 or 16), or leave the decoder out: `map_head` enlarges its map itself."
        )
    return maps
