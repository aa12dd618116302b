"""Plain vision transformers, for any patch size and number of channels, of one group of channels or of several.

Letters: B batch, H rows, W columns, C channels, P patch size, G groups, N tokens of a group, D features.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import keras
from keras import layers, ops

from eokeras.errors import InvalidArgumentError, check_choices
from eokeras.layers import PatchEmbed
from eokeras.models.encoders.contract import check_map_shape, check_positive, level_name

# ------------------------------------------------------------------ Config

EPSILON = 1e-6
"""Of every layer normalisation, as in the published networks."""

_PATCHES = "patches"
_NORMALISATION = "normalisation"


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
    made = {
        "normalisation_1": layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_normalisation_1"),
        "attention": layers.MultiHeadAttention(heads, width // heads, name=f"{name}_attention"),
        "sum_1": layers.Add(name=f"{name}_sum_1"),
        "normalisation_2": layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_normalisation_2"),
        "dense_1": layers.Dense(mlp_width, activation="gelu", name=f"{name}_dense_1"),
        "dense_2": layers.Dense(width, name=f"{name}_dense_2"),
        "sum_2": layers.Add(name=f"{name}_sum_2"),
    }
    return _run_block(x, made.__getitem__)


def _run_block(x, layer):
    """Tokens through one block; `layer` gives its layers by the ends of their names."""
    y = layer("normalisation_1")(x)
    y = layer("attention")(y, y)
    x = layer("sum_1")([x, y])
    y = layer("normalisation_2")(x)
    y = layer("dense_1")(y)
    y = layer("dense_2")(y)
    return layer("sum_2")([x, y])


def _blocks(x, depth, heads, mlp_width):
    for index in range(1, depth + 1):
        x = transformer_block(x, heads, mlp_width, f"block_{index}")
    return layers.LayerNormalization(epsilon=EPSILON, name=_NORMALISATION)(x)


# ------------------------------------------------------- Functional models


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
    _check_numbers(patch_size, width, depth, heads, mlp_width)

    inputs = keras.Input(shape, name=name)
    x = PatchEmbed(patch_size, width, name=_PATCHES)(inputs)
    x = _blocks(x, depth, heads, mlp_width)
    grid = (shape[0] // patch_size, shape[1] // patch_size, width)
    x = layers.Reshape(grid, name="grid")(x)
    return keras.Model([inputs], {level_name(patch_size): x}, name=f"{name}_vit")


def group_vit(shapes, groups=None, patch_size=12, width=256, depth=4, heads=4, mlp_width=512, name="groups"):
    """A vision transformer whose tokens are patches of groups of channels, of one sensor or of several.

    Each group has a linear map of its own (its bias tells the group apart) and a token for every
    patch; all tokens attend to each other. Inputs may have resolutions of their own: patches cover the same
    ground in all, so that every group has the same grid of tokens.

    Args:
        shapes: dict of input name -> (H, W, C), heights and widths fixed. The one with most rows is on the 10 m grid.
        groups: dict of input name -> dict of group name -> indices of channels, each channel in one group at most, as
            `{"s2": ben_ge.schema.s2_band_groups()}`. Inputs that it does not name are one group each, named like the
            input. None: all are.
        patch_size: rows and columns P of a patch on the 10 m grid; on an input of H / 2 rows it is P / 2.
        width, depth, heads, mlp_width: as of `vit`.
        name: the model is named `NAME_vit`.

    Input shape:
        A dict of input name -> (B, H, W, C), calibrated float32.

    Output shape:
        A dict with the one level `stride_P` (B, H / P, W / P, D): the mean over the groups of the tokens of a place.

    Returns:
        A functional `keras.Model` with the inputs of `shapes`, in their order.

    Raises:
        InvalidArgumentError: as `vit`; patches do not cover the same ground in all inputs, `groups` names an unknown
            input or channel, a channel is in two groups, or two groups bear one name.

    Example:
        >>> stored = {"s2_10m": (120, 120, 4), "s2_20m": (60, 60, 6), "s1": (120, 120, 2)}
        >>> model = group_vit(stored, patch_size=12, width=16, depth=1, mlp_width=32, name="fused")
        >>> model.output["stride_12"].shape
        (None, 10, 10, 16)

    Reference:
        Cong et al. 2022 (SatMAE, grouped bands), https://arxiv.org/abs/2207.08051; Bachmann et al. 2022 (MultiMAE,
        sensors), https://arxiv.org/abs/2204.01678
    """
    if not isinstance(shapes, Mapping) or not shapes:
        raise InvalidArgumentError(f"`shapes` must be a dict of input name -> (H, W, C). Received: {shapes!r}.")
    shapes = {name: check_map_shape(shape) for name, shape in shapes.items()}
    _check_numbers(patch_size, width, depth, heads, mlp_width)
    groups = _check_groups(shapes, {} if groups is None else groups)
    sizes = _patch_sizes(shapes, patch_size)

    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    tokens = []
    for input_name, members in groups.items():
        for group, channels in members.items():
            embed = PatchEmbed(sizes[input_name], width, channels, name=f"{_PATCHES}_{group}")
            tokens.append(embed(inputs[input_name]))
    x = layers.Concatenate(axis=1, name="tokens")(tokens) if len(tokens) > 1 else tokens[0]
    x = _blocks(x, depth, heads, mlp_width)
    x = layers.Reshape((len(tokens), *embed.grid, width), name="grid")(x)
    x = ops.mean(x, axis=1)
    return keras.Model(list(inputs.values()), {level_name(patch_size): x}, name=f"{name}_vit")


# ------------------------------------------------------------------ Tokens, for pretraining


@dataclass(frozen=True)
class TokenGroup:
    """One kind of tokens of a `vit` or `group_vit`: its name, its input, and the `PatchEmbed` that makes them."""

    name: str
    input: str
    patches: PatchEmbed


def token_groups(encoder):
    """The groups of tokens of an encoder, in the order of their tokens.

    Args:
        encoder: a `vit` (its one group is named like its input) or a `group_vit`.

    Returns:
        A tuple of `TokenGroup`.

    Raises:
        InvalidArgumentError: `encoder` is neither.

    Example:
        >>> [group.name for group in token_groups(vit((24, 24, 2), width=8, depth=1, name="s1"))]
        ['s1']
    """
    found = []
    if isinstance(encoder, keras.Model) and isinstance(getattr(encoder, "output", None), dict):
        found = [layer for layer in encoder.layers if isinstance(layer, PatchEmbed)]
    if not found or not any(layer.name == _NORMALISATION for layer in encoder.layers):
        raise InvalidArgumentError(f"`encoder` must be a `vit` or a `group_vit`. Received: {encoder!r}.")
    if len(found) > 1:  # `encoder.layers` follows the graph, not the order of concatenation
        order = [id(tensor) for tensor in encoder.get_layer("tokens").input]
        found = sorted(found, key=lambda layer: order.index(id(layer.output)))
    names = [layer.name.removeprefix(f"{_PATCHES}_") for layer in found]
    if names == [_PATCHES]:
        names = [encoder.inputs[0].name]
    return tuple(TokenGroup(name, layer.input.name, layer) for name, layer in zip(names, found, strict=True))


def run_blocks(encoder, tokens):
    """Runs the blocks and the last normalisation of a `vit` or `group_vit` on any of its tokens.

    Args:
        encoder: whose layers they are; weights are shared.
        tokens: (B, any number, D), as its `PatchEmbed` layers give them.

    Returns:
        Tokens of the same shape.
    """
    names = {layer.name for layer in encoder.layers}
    index = 1
    while f"block_{index}_attention" in names:
        tokens = _run_block(tokens, lambda part, index=index: encoder.get_layer(f"block_{index}_{part}"))
        index += 1
    return encoder.get_layer(_NORMALISATION)(tokens)


# ------------------------------------------------------------------ Checks


def _check_numbers(patch_size, width, depth, heads, mlp_width):
    numbers = {"patch_size": patch_size, "width": width, "depth": depth, "heads": heads, "mlp_width": mlp_width}
    for argument, value in numbers.items():
        check_positive(argument, value)
    if width % heads:
        raise InvalidArgumentError(
            f"`width` must be a multiple of `heads`, which share it. Received: width={width}, heads={heads}."
        )


def _check_groups(shapes, groups):
    """Input -> {group: indices of channels, or None for all}, in the order of `shapes`."""
    if not isinstance(groups, Mapping) or not all(isinstance(members, Mapping) for members in groups.values()):
        raise InvalidArgumentError(
            f"`groups` must be a dict of input name -> dict of group name -> channels. Received: {groups!r}."
        )
    check_choices("groups", groups, shapes)
    for name, members in groups.items():
        channels = [channel for indices in members.values() for channel in indices]
        check_choices(f"groups[{name!r}]", channels, range(shapes[name][-1]))
        if not channels or not all(members.values()) or len(set(channels)) < len(channels):
            raise InvalidArgumentError(
                f"`groups[{name!r}]` must put channels into groups, each into one at most. Received: {dict(members)}."
            )
    complete = {name: dict(groups.get(name, {name: None})) for name in shapes}
    names = [group for members in complete.values() for group in members]
    if len(set(names)) < len(names):
        raise InvalidArgumentError(f"`groups` must bear names of their own. Received: {', '.join(names)}.")
    return complete


def _patch_sizes(shapes, patch_size):
    """Input -> rows of a patch in its own pixels, so that it covers the same ground in all inputs."""
    if any(None in shape for shape in shapes.values()):
        raise InvalidArgumentError(f"`shapes` must have fixed heights and widths. Received: {shapes}.")
    finest = max(shapes.values())
    sizes = {}
    for name, shape in shapes.items():
        sizes[name] = patch_size * shape[0] // finest[0]
        if sizes[name] * finest[0] != patch_size * shape[0] or shape[0] * finest[1] != shape[1] * finest[0]:
            raise InvalidArgumentError(
                f"`patch_size` must be whole pixels of every input, and all must cover the same ground. Received: "
                f"patch_size={patch_size} on {finest[:2]}, and {name!r} of {shape[:2]}."
            )
    return sizes
