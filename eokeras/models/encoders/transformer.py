"""A plain vision transformer, for any patch size and number of channels.

Letters: B batch, H rows, W columns, C channels, P patch size, N tokens, D features.
"""

import keras
from keras import layers

from eokeras.errors import InvalidArgumentError
from eokeras.layers import PatchEmbed
from eokeras.models.encoders.contract import check_map_shape, check_positive, level_name

# ------------------------------------------------------------------ Config

EPSILON = 1e-6
"""Of every layer normalisation, as in the published networks."""


# ------------------------------------------------------------------ Layers


def transformer_block(x, heads, mlp_width, name):
    """Attention among tokens, then two dense layers, each normalised before and added to what came in.

    Args:
        x: tokens (B, N, D).
        heads: attention heads, which share D equally.
        mlp_width: units of the hidden dense layer.
        name: beginning of the names of its layers.

    Returns:
        Tokens (B, N, D).

    Example:
        >>> transformer_block(keras.Input((100, 64)), heads=4, mlp_width=128, name="block").shape
        (None, 100, 64)
    """
    width = x.shape[-1]
    y = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_normalisation_1")(x)
    y = layers.MultiHeadAttention(heads, width // heads, name=f"{name}_attention")(y, y)
    x = layers.Add(name=f"{name}_sum_1")([x, y])
    y = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_normalisation_2")(x)
    y = layers.Dense(mlp_width, activation="gelu", name=f"{name}_dense_1")(y)
    y = layers.Dense(width, name=f"{name}_dense_2")(y)
    return layers.Add(name=f"{name}_sum_2")([x, y])


# ------------------------------------------------------- Functional model


def vit(shape, patch_size=12, width=256, depth=4, heads=4, mlp_width=512, name="image"):
    """A vision transformer with fixed positions that gives its tokens as one level.

    Patches become tokens, to which fixed sines and cosines of row and column are added
    (`PatchEmbed`); then blocks normalised before attention and dense layers, and a last normalisation.
    The defaults are the tutorial's network. There is no class token: heads pool the map.

    Args:
        shape: (H, W, C) of the input, H and W fixed and multiples of `patch_size`.
        patch_size: rows and columns P of a patch. A power of two, such as 8, lets `unet_decoder` follow.
        width: features D of a token, a multiple of 4 and of `heads`.
        depth: number of blocks.
        heads: attention heads, of D / heads features each.
        mlp_width: units of the hidden dense layer of a block.
        name: name of the input, which is the modality. The model is named `NAME_vit`.

    Input shape:
        (B, H, W, C), calibrated float32.

    Output shape:
        A dict with the one level `stride_P` (B, H / P, W / P, D).

    Returns:
        A functional `keras.Model` with the one input `name`.

    Raises:
        InvalidArgumentError: `shape` is not (H, W, C), `patch_size` does not divide a fixed H and W,
            `width` is no multiple of 4 and of `heads`, or a number is no positive integer.

    Example:
        >>> model = vit((120, 120, 12), patch_size=12, width=16, depth=1, mlp_width=32, name="s2")
        >>> model.output["stride_12"].shape
        (None, 10, 10, 16)

    Reference:
        Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929; fixed positions and no class token
        as in Beyer et al. 2022, https://arxiv.org/abs/2205.01580
    """
    shape = check_map_shape(shape)
    numbers = {"patch_size": patch_size, "width": width, "depth": depth, "heads": heads, "mlp_width": mlp_width}
    for argument, value in numbers.items():
        check_positive(argument, value)
    if width % heads:
        raise InvalidArgumentError(
            f"`width` must be a multiple of `heads`, which share it. Received: width={width}, heads={heads}."
        )

    inputs = keras.Input(shape, name=name)
    x = PatchEmbed(patch_size, width, name="patches")(inputs)
    for index in range(1, depth + 1):
        x = transformer_block(x, heads, mlp_width, f"block_{index}")
    x = layers.LayerNormalization(epsilon=EPSILON, name="normalisation")(x)
    grid = (shape[0] // patch_size, shape[1] // patch_size, width)
    x = layers.Reshape(grid, name="grid")(x)
    return keras.Model([inputs], {level_name(patch_size): x}, name=f"{name}_vit")
