"""From a backbone and heads to one model with an output per task."""

from collections.abc import Mapping

import keras

from eokeras.ben_ge.schema import RASTERS, S2_GROUPS
from eokeras.errors import InvalidArgumentError, check_choices
from eokeras.models.fusion.branches import check_decoder, own_inputs

COARSE = tuple(name for name in S2_GROUPS if RASTERS[name].gsd_m > RASTERS["s2_10m"].gsd_m)
"""Inputs that are not on the grid of the maps."""


def multitask(backbone, heads, *, decoders=None, stop_gradient=(), name="multitask"):
    """One functional model: shared backbone, one head and one named output per task.

        backbone ── levels ─┬─ (decoder of its own) ── head ── climate_zone
                            ├─ (decoder of its own) ── head ── land_cover_map
                            └─ stop gradient ───────── head ── season

    Each task reads the level that its head asks for (`level=`), so it can be given the scale that suits
    it. A decoder is shared where the backbone has one (`unet`, a fusion with `decoder=`), and private
    where `decoders` names one: then the tasks share the contracting path alone.

    Args:
        backbone: an encoder or a fusion of encoders: a functional model that gives a dict of
            levels. It becomes a layer of the model and shares its weights with it.
        heads: dict of task name -> head, as from `scene_head`, `map_head`, `regression_head`,
            `dense_regression_head`; any function `(levels, name)` -> tensor serves.
        decoders: dict of task -> function `(levels, name)` -> levels, as `unet_decoder(64)`, for tasks
            with a decoder of their own; `dict.fromkeys(heads, unet_decoder(64))` gives each one. Heads of
            other tasks read the levels of the backbone.
        stop_gradient: tasks that train their head (and decoder), but not the backbone. In training mode
            its batch normalisation still counts the batch.
        name: name of the model.

    Input shape:
        What the backbone takes: a dict of modality -> (B, H, W, C).

    Output shape:
        A dict of task -> logits.

    Returns:
        A functional `keras.Model`. Input data are matched by name; extra keys change nothing.

    Raises:
        InvalidArgumentError: `backbone` gives no dict of levels, `heads` is empty or no dict, a head or
            decoder is no function, `decoders` or `stop_gradient` names a task without head, a task bears
            the name of an input or of the backbone, or a map comes out larger or smaller than the
            input (as far as sizes are known; else the loss will say so).

    Example:
        >>> from eokeras.models import map_head, scene_head, unet
        >>> model = multitask(unet((32, 32, 12), width=4, name="s2"),
        ...                   {"climate_zone": scene_head(12), "land_cover_map": map_head(11)})
        >>> model.output["land_cover_map"].shape
        (None, 32, 32, 11)
        >>> from eokeras.models import unet_decoder, unet_encoder
        >>> model = multitask(unet_encoder((32, 32, 12), width=4, name="s2"),
        ...                   {"climate_zone": scene_head(12, level="stride_16"), "land_cover_map": map_head(11)},
        ...                   decoders={"land_cover_map": unet_decoder(4)}, stop_gradient=("climate_zone",))
        >>> model.output["land_cover_map"].shape
        (None, 32, 32, 11)
    """
    if not isinstance(backbone, keras.Model) or not isinstance(getattr(backbone, "output", None), dict):
        raise InvalidArgumentError(
            "`backbone` must be a functional model that gives a dict of levels, as `unet` does. "
            f"Received: {backbone!r}."
        )
    _check_heads(heads, {backbone.name, *(tensor.name for tensor in backbone.inputs)})
    decoders = {} if decoders is None else decoders
    if not isinstance(decoders, Mapping):
        raise InvalidArgumentError(
            "`decoders` must be a dict of task -> decoder, or None: `dict.fromkeys(heads, unet_decoder(64))` gives "
            f"each task one. Received: decoders={decoders!r}."
        )
    check_choices("decoders", decoders, heads)
    check_choices("stop_gradient", stop_gradient, heads)
    for task, decoder in decoders.items():
        check_decoder(decoder, f"decoders[{task!r}]")

    inputs = own_inputs(backbone)
    shared = backbone(inputs)
    outputs = {}
    for task, head in heads.items():
        levels = shared
        if task in stop_gradient:
            levels = {level: keras.ops.stop_gradient(x) for level, x in shared.items()}
        if task in decoders:
            levels = decoders[task](levels, name=f"{task}_decoder")
        outputs[task] = head(levels, name=task)
        _check_size(task, outputs[task], inputs)
    return keras.Model(inputs, outputs, name=name)


def _check_heads(heads, taken):
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
    if taken & set(heads):
        raise InvalidArgumentError(
            "`heads` must not name a task like an input or the backbone. "
            f"Received: {', '.join(sorted(taken & set(heads)))}."
        )


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
