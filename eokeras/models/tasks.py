"""From a backbone and heads to one model with an output per task."""

from collections.abc import Mapping

import keras

from eokeras.ben_ge.schema import RASTERS, S2_GROUPS
from eokeras.errors import InvalidArgumentError

COARSE = tuple(name for name in S2_GROUPS if RASTERS[name].gsd_m > RASTERS["s2_10m"].gsd_m)
"""Inputs that are not on the grid of the maps."""


def multitask(backbone, heads, name="multitask"):
    """One functional model: shared backbone, one head and one named output per task.

    Args:
        backbone: an encoder or a fusion of encoders: a functional model that gives a dict of
            levels. It becomes a layer of the model and shares its weights with it.
        heads: dict of task name -> head, as from `scene_head`, `map_head`, `regression_head`;
            any function `(levels, name)` -> tensor serves.
        name: name of the model.

    Input shape:
        What the backbone takes: a dict of modality -> (B, H, W, C).

    Output shape:
        A dict of task -> logits.

    Returns:
        A functional `keras.Model`. Input data are matched by name; extra keys change nothing.

    Raises:
        InvalidArgumentError: `backbone` gives no dict of levels, `heads` is empty or no dict, a head is no
            function, a task bears the name of an input or of the backbone, or a map comes out larger or
            smaller than the input (as far as sizes are known; else the loss will say so).

    Example:
        >>> from eokeras.models import map_head, scene_head, unet
        >>> model = multitask(unet((32, 32, 12), width=4, name="s2"),
        ...                   {"climate_zone": scene_head(12), "land_cover_map": map_head(11)})
        >>> model.output["land_cover_map"].shape
        (None, 32, 32, 11)
    """
    if not isinstance(backbone, keras.Model) or not isinstance(getattr(backbone, "output", None), dict):
        raise InvalidArgumentError(
            "`backbone` must be a functional model that gives a dict of levels, as `unet` does. "
            f"Received: {backbone!r}."
        )
    if not isinstance(heads, Mapping) or not heads:
        raise InvalidArgumentError(
            f"`heads` must be a dict of task -> head with one entry or more. Received: {heads!r}."
        )
    for task, head in heads.items():
        if not callable(head):
            raise InvalidArgumentError(
                f"`heads[{task!r}]` must be a function (levels, name) -> tensor, as `scene_head(12)` gives. "
                f"Received: {head!r}."
            )
    taken = {backbone.name, *(tensor.name for tensor in backbone.inputs)} & set(heads)
    if taken:
        raise InvalidArgumentError(
            f"`heads` must not name a task like an input or the backbone. Received: {', '.join(sorted(taken))}."
        )

    inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name) for x in backbone.inputs]
    levels = backbone(inputs)
    outputs = {task: head(levels, name=task) for task, head in heads.items()}
    for task, output in outputs.items():
        _check_size(task, output, inputs)
    return keras.Model(inputs, outputs, name=name)


def _check_size(task, output, inputs):
    """A map has the size of the rasters on the 10 m grid, as far as sizes are known."""
    rasters = [x for x in inputs if len(x.shape) == 4 and x.name not in COARSE]
    for x in rasters if len(output.shape) == 4 else ():
        sizes = zip(output.shape[1:3], x.shape[1:3], strict=True)
        if any(None not in pair and pair[0] != pair[1] for pair in sizes):
            raise InvalidArgumentError(
                f"`heads[{task!r}]` must give a map of the height and width of its input. Received: "
                f"{output.shape[1:3]} for {x.name!r} of {x.shape[1:3]}. An encoder that halves by rounding up "
                "(`resnet`) needs even sizes, and a map head on a level `stride_n` sizes that n divides."
            )
