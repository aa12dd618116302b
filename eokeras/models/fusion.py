"""Fusion: one function for each way to join modalities; all give a dict of levels.

Every model here is built from a list of named inputs: data travel as dicts, are matched by name
whatever their order, extra keys change nothing and a missing one is an error that names it.
Letters: B batch, H rows, W columns, C channels.
"""

from collections.abc import Mapping

import keras
from keras import layers

from eokeras.errors import InvalidArgumentError
from eokeras.models.encoders import unet


def early_fusion(shapes, encoder=unet, name="early_fusion"):
    """Stacks the channels of all modalities and encodes them with one encoder.

    Args:
        shapes: dict of modality -> (H, W, C), with one H and W for all. Channels are
            stacked in this order.
        encoder: function `(shape, name=...)` -> encoder, as `unet` or
            `functools.partial(unet, width=32)`.
        name: name of the model.

    Input shape:
        A dict (or list, in the order of `shapes`) of (B, H, W, C) per modality.

    Output shape:
        The dict of levels that `encoder` gives.

    Returns:
        A functional `keras.Model` with one input per modality.

    Raises:
        InvalidArgumentError: `shapes` is empty or no dict, a shape is not (H, W, C), or heights and widths differ.

    Example:
        >>> from functools import partial
        >>> model = early_fusion({"s2": (32, 32, 12), "s1": (32, 32, 2)}, partial(unet, width=4))
        >>> model.output["stride_1"].shape
        (None, 32, 32, 4)
    """
    _check_mapping("shapes", shapes, "modality name -> (height, width, channels)")
    for modality, shape in shapes.items():
        if not isinstance(shape, (list, tuple)) or len(shape) != 3 or shape[2] is None:
            raise InvalidArgumentError(
                f"`shapes[{modality!r}]` must be (height, width, channels). Received: {shape!r}. "
                "A vector such as the weather joins in a late fusion or a head."
            )
    sizes = {modality: tuple(shape[:2]) for modality, shape in shapes.items()}
    if len(set(sizes.values())) > 1:
        raise InvalidArgumentError(f"`shapes` must share one height and width. Received: {sizes}.")

    inputs = [keras.Input(tuple(shape), name=modality) for modality, shape in shapes.items()]
    stack = layers.Concatenate(name="channel_stack")(inputs) if len(inputs) > 1 else inputs[0]
    levels = encoder(tuple(stack.shape[1:]), name=f"{name}_stack")([stack])
    return keras.Model(inputs, levels, name=name)


def late_fusion(encoders, name="late_fusion"):
    """Encodes every modality by its own encoder and joins the channels of equal levels.

    Args:
        encoders: dict of modality -> encoder (a model that gives a dict of levels). An encoder
            with one input must call it by its modality. Channels are joined in this order.
        name: name of the model.

    Input shape:
        A dict (or list, in the order of `encoders`) of what the encoders take.

    Output shape:
        A dict of the levels that all encoders give, channels concatenated.

    Returns:
        A functional `keras.Model`; the encoders are layers of it (`model.get_layer("s2_unet")`).

    Raises:
        InvalidArgumentError: `encoders` is empty or no dict, an encoder gives no dict of levels or
            takes another modality than its key says, two encoders share an input or a name,
            or no level is common.

    Example:
        >>> shapes = {"s2": (32, 32, 12), "s1": (32, 32, 2)}
        >>> model = late_fusion({key: unet(shape, width=4, name=key) for key, shape in shapes.items()})
        >>> model.output["stride_1"].shape
        (None, 32, 32, 8)
    """
    _check_mapping("encoders", encoders, "modality name -> encoder")
    for modality, encoder in encoders.items():
        _check_encoder(modality, encoder)
    _check_distinct("inputs", [tensor.name for encoder in encoders.values() for tensor in encoder.inputs])
    _check_distinct("model names", [encoder.name for encoder in encoders.values()])

    inputs, branches = [], []
    for encoder in encoders.values():
        own = [keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name) for x in encoder.inputs]
        branches.append(encoder(own))
        inputs.extend(own)
    common = [level for level in branches[0] if all(level in branch for branch in branches)]
    if not common:
        found = {modality: list(branch) for modality, branch in zip(encoders, branches, strict=True)}
        raise InvalidArgumentError(f"`encoders` must have a level in common. Received: {found}.")
    return keras.Model(inputs, {level: _join(branches, level) for level in common}, name=name)


def _join(branches, level):
    maps = [branch[level] for branch in branches]
    return layers.Concatenate(name=f"join_{level}")(maps) if len(maps) > 1 else maps[0]


def _check_mapping(argument, value, content):
    if not isinstance(value, Mapping) or not value:
        raise InvalidArgumentError(
            f"`{argument}` must be a dict of {content} with one entry or more. Received: {value!r}."
        )


def _check_encoder(modality, encoder):
    if not isinstance(encoder, keras.Model) or not isinstance(getattr(encoder, "output", None), dict):
        raise InvalidArgumentError(
            f"`encoders[{modality!r}]` must be a functional model that gives a dict of levels, as `unet` does. "
            f"Received: {encoder!r}."
        )
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
