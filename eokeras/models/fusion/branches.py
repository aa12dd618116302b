"""What the fusions share: run the encoders, gather their levels, bring them to one size, join them.

A branch is what one encoder gives: maps `stride_n` (B, about H / n, about W / n, C) or, from scalars
alone, one `vector` (B, C). Every model is built from a list of named inputs: data travel as dicts, are
matched by name whatever their order, extra keys change nothing and a missing one is an error that
names it. Letters: B batch, H rows, W columns, C channels.
"""

from collections.abc import Mapping

import keras
from keras import layers

from eokeras.errors import InvalidArgumentError
from eokeras.layers import MatchSize
from eokeras.models.encoders.contract import VECTOR, level_name, map_levels
from eokeras.models.fusion.joints import RepeatOver
from eokeras.normalization import BatchNormalization

# ------------------------------------------------------------- encoders and levels


def own_inputs(model):
    """Inputs named and shaped like those of `model`."""
    return [keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name) for x in model.inputs]


def run_encoders(encoders):
    """Runs each encoder on inputs of its own.

    Args:
        encoders: dict of modality -> encoder; whatever is wrong with it raises `InvalidArgumentError`.

    Returns:
        The inputs, and a dict of modality -> branch, both in the order of `encoders`.
    """
    check_mapping("encoders", encoders, "modality name -> encoder")
    for modality, encoder in encoders.items():
        _check_encoder(modality, encoder)
    _check_distinct("inputs", [tensor.name for encoder in encoders.values() for tensor in encoder.inputs])
    _check_distinct("model names", [encoder.name for encoder in encoders.values()])

    inputs, branches = [], {}
    for modality, encoder in encoders.items():
        own = own_inputs(encoder)
        branches[modality] = encoder(own)
        inputs.extend(own)
    return inputs, branches


def finest_first(levels):
    """The same dict of levels, finest first."""
    return {level_name(stride): x for stride, x in map_levels(levels).items()} or dict(levels)


def common_levels(branches):
    """Names of the levels that all branches with maps give, finest first; [`vector`] where no branch has maps."""
    pyramids = [branch for branch in branches.values() if VECTOR not in branch] or list(branches.values())
    common = [level for level in finest_first(pyramids[0]) if all(level in branch for branch in pyramids)]
    if not common:
        found = {modality: list(branch) for modality, branch in branches.items()}
        raise InvalidArgumentError(f"`encoders` must have a level in common. Received: {found}.")
    return common


def gather_levels(branches, union):
    """Who has a part in which level.

    Args:
        branches: dict of modality -> branch.
        union: take every level that some branch gives; else those that all branches give.

    Returns:
        Dict of level -> {modality: tensor}, finest first, modalities in the order of `branches`. A
        vector has a part in every level, and is still a vector.
    """
    every = {level: None for branch in branches.values() for level in branch}
    names = finest_first(every) if union else common_levels(branches)
    return {
        level: {
            modality: branch[level if level in branch else VECTOR]
            for modality, branch in branches.items()
            if level in branch or VECTOR in branch
        }
        for level in names
    }


def is_map(x):
    """Whether a tensor is a map (B, H, W, C) and no vector (B, C)."""
    return len(x.shape) == 4


def align(members, level):
    """The members of one level as tensors that can be concatenated, in their order.

    Vectors are repeated over the first map; maps of another size than its (one encoder rounds H / n
    up, another down) are padded or cropped to it. Where there are only vectors they stay so.
    """
    reference = next((x for x in members.values() if is_map(x)), None)
    if reference is None:
        return list(members.values())
    return [_fit(x, reference, f"{modality}_{level}") for modality, x in members.items()]


def _fit(x, reference, name):
    if not is_map(x):
        return RepeatOver(name=f"repeat_{name}")([x, reference])
    # Also where the sizes are known to be equal, and nothing is done: so a model built for any size has its
    # weights in the same order as one built for a fixed size.
    return x if x is reference else MatchSize(name=f"match_{name}")([x, reference])


# ------------------------------------------------------------------ parts of a join


def joined_channels(members, width):
    """Channels that a level is joined to: `width`, or those of its widest map, or else of its widest vector."""
    maps = [x for x in members.values() if is_map(x)]
    return width or max(x.shape[-1] for x in maps or members.values())


def concatenate(tensors, name):
    """The channels of the tensors side by side; a single tensor as it is."""
    return layers.Concatenate(name=name)(tensors) if len(tensors) > 1 else tensors[0]


def pointwise(x, channels, name, **options):
    """A 1x1 convolution of a map; a dense layer on a vector."""
    if is_map(x):
        return layers.Conv2D(channels, 1, name=name, **options)(x)
    return layers.Dense(channels, name=name, **options)(x)


def join_by_convolution(members, channels, level):
    """Concatenation, 1x1 convolution, batch normalisation, ReLU: maps (B, H, W, C_m) -> (B, H, W, channels)."""
    x = concatenate(align(members, level), f"join_{level}_stack")
    # The normalisation subtracts the mean, and with it any bias of the convolution.
    x = pointwise(x, channels, f"join_{level}_convolution", use_bias=False)
    x = BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"join_{level}_normalisation")(x)
    return layers.ReLU(name=f"join_{level}_relu")(x)


def fusion_model(inputs, levels, decoder, name):
    """The functional model from `inputs` to `levels`, through `decoder` where there is one."""
    if decoder is not None:
        if VECTOR in levels:
            raise InvalidArgumentError("`decoder` must have maps to decode. Received: encoders of scalars alone.")
        levels = decoder(levels, name="decoder")
    return keras.Model(inputs, finest_first(levels), name=name)


# -------------------------------------------------------------------------- checks


def check_mapping(argument, value, content):
    """Raises `InvalidArgumentError` unless `value` is a dict with entries."""
    if not isinstance(value, Mapping) or not value:
        raise InvalidArgumentError(
            f"`{argument}` must be a dict of {content} with one entry or more. Received: {value!r}."
        )


def check_levels(argument, model):
    """Raises `InvalidArgumentError` unless `model` is functional and gives maps `stride_n`, or one `vector`."""
    if not isinstance(model, keras.Model) or not isinstance(getattr(model, "output", None), dict):
        raise InvalidArgumentError(
            f"`{argument}` must be a functional model that gives a dict of levels, as `unet` does. Received: {model!r}."
        )
    maps, ranks = map_levels(model.output), [len(x.shape) for x in model.output.values()]
    is_pyramid = len(maps) == len(model.output) > 0 and set(ranks) == {4}
    if not is_pyramid and (list(model.output) != [VECTOR] or ranks != [2]):
        found = {level: tuple(x.shape) for level, x in model.output.items()}
        raise InvalidArgumentError(
            f"`{argument}` must give maps named stride_n of shape (batch, height, width, channels), "
            f"or one `{VECTOR}` of shape (batch, channels). Received: {found}."
        )


def check_decoder(decoder, argument="decoder"):
    """Raises `InvalidArgumentError` unless `decoder` is None or a function."""
    if decoder is not None and (not callable(decoder) or isinstance(decoder, keras.Model)):
        raise InvalidArgumentError(
            f"`{argument}` must be a function (levels, name) -> levels, as `unet_decoder(64)` gives, or None. "
            f"Received: {argument}={decoder!r}."
        )


def _check_encoder(modality, encoder):
    check_levels(f"encoders[{modality!r}]", encoder)
    names = [tensor.name for tensor in encoder.inputs]
    if len(names) == 1 and names != [modality]:
        raise InvalidArgumentError(
            f"`encoders[{modality!r}]` must take the input {modality!r}: build it with name={modality!r}. "
            f"Received: an encoder of {names[0]!r}."
        )


def _check_distinct(what, names):
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidArgumentError(f"`encoders` must differ in their {what}. Received twice: {', '.join(twice)}.")
