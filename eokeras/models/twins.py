"""Single-task twins of a multitask model: what it must be compared with."""

from collections.abc import Mapping

import keras

from eokeras.errors import InvalidArgumentError, check_choice
from eokeras.models.encoders.contract import check_positive
from eokeras.models.sizing import match_parameters, trainable_weights


def single_task_twins(build, heads, width, same="width"):
    """One single-task model for each task, built as the multitask model is.

    Two comparisons are fair, each in its own way, and neither is fair in the other's:

    - `same="width"`: T separate networks of the same width, what one would train without the idea
      of multitask learning. Each task has the whole capacity; together they have almost T times the
      weights and T times the cost per prediction. The tutorial's comparison: 52.01 M against 17.46 M.
    - `same="weights"`: all twins have one smaller width, at which together they have about as many
      weights as the multitask model. Is sharing a better use of the same memory? Equal
      weights are not equal compute: see `eokeras.evaluate.cost`.

    Args:
        build: function `(heads, width)` -> model, that builds the multitask model from all heads and a
            twin from one, with the same fusion. It gets one head at a time, so it keeps of `decoders` those of
            `heads`, and stops no gradient of a twin, whose backbone would never learn:
            `stop_gradient=stopped if len(heads) > 1 else ()`.
        heads: dict of task -> head, as for `multitask`.
        width: width of the multitask model.
        same: "width" or "weights".

    Returns:
        Dict of task -> model, in the order of `heads`, each with weights of its own.

    Raises:
        InvalidArgumentError: `build` is no function, gives a model of other tasks or stops the gradient of a
            twin, `heads` is no dict, `width` is no positive integer, `same` is none of the two, or even twins of
            width 1 have too many weights.

    Example:
        >>> from eokeras.models import multitask, regression_head, scene_head, unet
        >>> def build(heads, width):
        ...     return multitask(unet((32, 32, 2), width=width, name="s1"), heads)
        >>> heads = {"climate_zone": scene_head(12), "season": regression_head()}
        >>> counts = lambda *models: sum(model.count_params() for model in models)
        >>> twins = single_task_twins(build, heads, width=4)
        >>> round(counts(*twins.values()) / counts(build(heads, 4)), 2)
        2.0
        >>> twins = single_task_twins(build, heads, width=16, same="weights")
        >>> round(counts(*twins.values()) / counts(build(heads, 16)), 2)
        0.95
    """
    if not isinstance(heads, Mapping) or not heads:
        raise InvalidArgumentError(f"`heads` must be a dict of task -> head. Received: heads={heads!r}.")
    check_positive("width", width)
    check_choice("same", same, ("width", "weights"))
    if not callable(build) or isinstance(build, keras.Model):
        raise InvalidArgumentError(f"`build` must be a function (heads, width) -> model. Received: build={build!r}.")

    def twins(width):
        return {task: _learning(_checked(build({task: head}, width), {task}), task) for task, head in heads.items()}

    if same == "width":
        return twins(width)
    wanted = trainable_weights(_checked(build(heads, width), set(heads)))
    least = trainable_weights(*twins(1).values())
    if least > wanted:
        raise InvalidArgumentError(
            f"`width` must be large enough to divide: {len(heads)} twins of width 1 have {least:,} weights, the "
            f"multitask model {wanted:,}. Received: width={width}."
        )
    return twins(match_parameters(lambda width: list(twins(width).values()), wanted, range(1, width + 1)))


def _learning(twin, task):
    """The twin, whose gradient must reach its backbone."""
    if any(type(operation).__name__ == "StopGradient" for operation in twin.operations):
        raise InvalidArgumentError(
            f"`build` must not stop the gradient of a twin, whose backbone would never learn. Received: "
            f"`stop_gradient` in the model of {task!r} alone."
        )
    return twin


def _checked(model, tasks):
    """The model, which must have exactly the outputs `tasks`."""
    found = getattr(model, "output", None) if isinstance(model, keras.Model) else None
    if not isinstance(found, dict) or set(found) != tasks:
        raise InvalidArgumentError(
            f"`build` must give a model with the tasks of its heads, {sorted(tasks)}. Received: "
            f"{sorted(found) if isinstance(found, dict) else model!r}."
        )
    return model
