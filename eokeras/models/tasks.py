"""From a backbone and heads to one model with an output per task."""

from collections.abc import Mapping

import keras

from eokeras.errors import InvalidArgumentError


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
            function, or a task bears the name of an input or of the backbone.

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
    return keras.Model(inputs, {task: head(levels, name=task) for task, head in heads.items()}, name=name)
