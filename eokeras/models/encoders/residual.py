"""Residual networks in torchvision's layout, for any number of channels.

Letters: B batch, H rows, W columns, C channels.
"""

import keras
from keras import layers

from eokeras.errors import check_choice
from eokeras.models.encoders.contract import check_map_shape, check_positive, level_name
from eokeras.normalization import BatchNormalization

# ------------------------------------------------------------------ Config

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
"""Depth -> residual blocks of the stages at strides 4, 8, 16 and 32."""

BOTTLENECK_EXPANSION = 4
"""How many times the channels of its 3x3 convolution a block of the 50-layer network gives."""


# ------------------------------------------------------------------ Layers


def _convolution(x, channels, kernel_size, stride, name):
    """Convolution without bias, batch normalisation; zero-padded on all sides alike, as PyTorch does.

    `padding="same"` would put all zeros of a strided convolution below and to the right where sizes are even.
    """
    padding = "same"
    if stride > 1 and kernel_size > 1:
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_padding")(x)
        padding = "valid"
    scaling = keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="untruncated_normal")
    options = {"use_bias": False, "kernel_initializer": scaling, "name": f"{name}_convolution"}
    x = layers.Conv2D(channels, kernel_size, stride, padding, **options)(x)
    return BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_normalisation")(x)


def _basic_block(x, channels, stride, name):
    """Two 3x3 convolutions beside a shortcut."""
    shortcut = _shortcut(x, channels, stride, name)
    x = _convolution(x, channels, 3, stride, f"{name}_1")
    x = layers.ReLU(name=f"{name}_1_relu")(x)
    x = _convolution(x, channels, 3, 1, f"{name}_2")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_sum")([x, shortcut]))


def _bottleneck_block(x, channels, stride, name):
    """1x1, 3x3 (which strides) and 1x1 convolution to four times the channels, beside a shortcut."""
    expanded = BOTTLENECK_EXPANSION * channels
    shortcut = _shortcut(x, expanded, stride, name)
    for index, (kernel_size, own_stride) in enumerate(((1, 1), (3, stride)), start=1):
        x = _convolution(x, channels, kernel_size, own_stride, f"{name}_{index}")
        x = layers.ReLU(name=f"{name}_{index}_relu")(x)
    x = _convolution(x, expanded, 1, 1, f"{name}_3")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_sum")([x, shortcut]))


def _shortcut(x, channels, stride, name):
    """The input itself, or a 1x1 convolution of it where size or channels change."""
    if stride == 1 and x.shape[-1] == channels:
        return x
    return _convolution(x, channels, 1, stride, f"{name}_shortcut")


# ------------------------------------------------------- Functional model


def resnet(shape, depth=18, width=64, name="image"):
    """A residual network without its classifier, with the layers and padding of torchvision.

    A 7x7 convolution of stride 2, max-pooling, then four stages of residual blocks. A level has
    ceil(H / n) rows for any H, ceil(W / n) columns for any W.

    Args:
        shape: (H, W, C) of the input; H and W may be None.
        depth: 18 (blocks of two 3x3 convolutions) or 50 (bottleneck blocks).
        width: channels of the first convolution. 64 gives the published networks.
        name: name of the input, which is the modality. The model is named `NAME_resnet18` or `NAME_resnet50`.

    Input shape:
        (B, H, W, C), calibrated float32.

    Output shape:
        A dict of levels, finest first. Depth 18: `stride_2` (B, ceil(H / 2), ceil(W / 2), width),
        `stride_4` (..., width), `stride_8` (..., 2 width), `stride_16` (..., 4 width),
        `stride_32` (..., 8 width). Depth 50: from `stride_4` on four times as many channels.

    Returns:
        A functional `keras.Model` with the one input `name`.

    Raises:
        InvalidArgumentError: `shape` is not (H, W, C), `depth` is neither 18 nor 50, or `width` is no
            positive integer.

    Example:
        >>> model = resnet((120, 120, 12), width=4, name="s2")
        >>> [level.shape[1:] for level in model.output.values()]
        [(60, 60, 4), (30, 30, 4), (15, 15, 8), (8, 8, 16), (4, 4, 32)]

    Reference:
        He et al. 2015, https://arxiv.org/abs/1512.03385; the stride of a bottleneck lies in its 3x3
        convolution, as in torchvision
    """
    check_choice("depth", depth, BLOCKS)
    shape = check_map_shape(shape)
    check_positive("width", width)
    block = _basic_block if depth == 18 else _bottleneck_block

    inputs = keras.Input(shape, name=name)
    x = layers.ReLU(name="stem_relu")(_convolution(inputs, width, 7, 2, "stem"))
    levels = {level_name(2): x}
    # After a ReLU zeros pad as well as minus infinity does: no maximum of a window is below them.
    x = layers.ZeroPadding2D(1, name="stem_pooling_padding")(x)
    x = layers.MaxPooling2D(3, strides=2, name="stem_pooling")(x)
    for stage, blocks in enumerate(BLOCKS[depth]):
        stride = 4 * 2**stage
        for index in range(1, blocks + 1):
            halves = stage > 0 and index == 1
            x = block(x, width * 2**stage, 2 if halves else 1, f"stage_{stride}_block_{index}")
        levels[level_name(stride)] = x
    return keras.Model([inputs], levels, name=f"{name}_resnet{depth}")
