"""The losses of a compiled model, task by task."""

from collections.abc import Mapping

import keras
from keras import ops

from eokeras.errors import InvalidArgumentError


def loss_objects(loss, tasks):
    """The `keras.losses.Loss` of every task, in the order of `tasks`.

    Args:
        loss: what `compile` was given.
        tasks: names of the outputs.

    Raises:
        InvalidArgumentError: `loss` is no dict with an entry for every task and no other, or an entry is no loss.
    """
    if not isinstance(loss, Mapping) or set(loss) != set(tasks):
        received = list(loss) if isinstance(loss, Mapping) else loss
        raise InvalidArgumentError(
            f"`loss` must be a dict with the loss of every output, {list(tasks)}, as `losses.for_tasks` gives. "
            f"Received: {received!r}."
        )
    found = {task: keras.losses.get(loss[task]) for task in tasks}
    for task, value in found.items():
        if not isinstance(value, keras.losses.Loss):
            raise InvalidArgumentError(
                f"`loss[{task!r}]` must be a `keras.losses.Loss` or the name of one, such as 'MeanSquaredError'. "
                f"Received: {loss[task]!r}."
            )
    return found


def task_losses(losses, y, y_pred, sample_weight=None):
    """The loss of every task for one batch: a list of float32 scalars in the order of `losses`.

    Args:
        losses: dict of task -> `keras.losses.Loss`.
        y: dict of targets; others than those of `losses` change nothing.
        y_pred: dict of outputs.
        sample_weight: None, one for all tasks, or a dict of them.

    Raises:
        InvalidArgumentError: `y` lacks the targets of a task.
    """
    lacking = [task for task in losses if not isinstance(y, Mapping) or task not in y]
    if lacking:
        received = list(y) if isinstance(y, Mapping) else type(y).__name__
        raise InvalidArgumentError(
            f"`y` must be a dict with the targets of every task, {list(losses)}. Received: {received}."
        )
    per_task = isinstance(sample_weight, Mapping)
    weights = {task: sample_weight.get(task) if per_task else sample_weight for task in losses}
    return [ops.cast(loss(y[task], y_pred[task], weights[task]), "float32") for task, loss in losses.items()]
