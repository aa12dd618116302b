"""Callbacks for `fit` that Keras lacks."""

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np

from eokeras.errors import InvalidArgumentError, check_choice, check_choices


class BestEpochByTask(keras.callbacks.Callback):
    """Remembers for every task the epoch that is best for it on validation data, with its weights.

    Tasks of one model peak at different epochs: a head that learns fast overfits while another still improves.
    With `patience` it stops `fit` when no task has improved for so many epochs. Training ends with the last
    epoch's weights; `restore(task)` or `with at_best(task)` puts a task's best ones into the model. A joint
    best epoch stands beside them: that of the largest mean over tasks of the relative change
    (-1)^l (v - r) / |r| of the monitored value v against a reference r, l = 1 where less is better.

    **What to report.** A model that is deployed is one set of weights: the joint epoch. Every task at its own best
    epoch describes as many models as there are epochs, each serving one head, and is the fair opponent of
    single-task twins that were stopped early, not a result of the shared model. Every epoch chosen spends
    validation labels, of every task that chooses: count them in the label budget, and never choose on test data.

    **Cost.** A copy of all weights in host memory for each different best epoch: at most one per task and one for
    the joint epoch; for a U-Net of width 64 each is 69 MB. Nothing is computed beyond what `fit` logs.

    **Resuming.** What it remembers lives in the object. `fit(..., initial_epoch=n)` with the same object goes on
    where that object stopped, also under `keras.callbacks.BackupAndRestore`; a new process knows nothing of the
    epochs before, and a warning says so.

    Args:
        tasks: names of outputs of the model.
        monitor: task -> (name in the logs, "min" or "max"); default `("val_<task>_loss", "min")`, which Keras logs
            without the loss weights. Of a model with one output Keras logs `val_loss` alone, which is then taken.
        patience: stops `fit` after so many epochs in which no task improved; None never stops.
        references: task -> monitored value that the joint criterion compares with, such as the best of its
            single-task twin: then it is the multitask performance Delta_MTL on validation data. Default: the
            values of the first epoch in which all tasks have one.

    Attributes:
        best_epoch: task -> epoch, counted from 0 as in `history.epoch`.
        best_value: task -> monitored value of that epoch.
        best_epoch_jointly: epoch of the joint criterion; None where a reference is 0 or a value was never there.

    Raises:
        InvalidArgumentError: an argument breaks its rule; validation logs lack the monitored name; a task has had no
            value yet when its weights are asked for.

    Example:
        >>> import numpy as np
        >>> inputs = keras.Input((1,), name="x")
        >>> outputs = {task: keras.layers.Dense(1, name=task)(inputs) for task in ("season", "slope")}
        >>> model = keras.Model([inputs], outputs)
        >>> model.compile("sgd", {"season": "mae", "slope": "mse"})
        >>> x = {"x": np.ones((4, 1))}
        >>> y = {"season": np.ones((4, 1)), "slope": np.zeros((4, 1))}
        >>> best = BestEpochByTask(("season", "slope"))
        >>> history = model.fit(x, y, validation_data=(x, y), epochs=3, verbose=0, callbacks=[best])
        >>> sorted(best.best_epoch)
        ['season', 'slope']
        >>> with best.at_best("season"):
        ...     losses = model.evaluate(x, y, verbose=0, return_dict=True)
        >>> bool(np.isclose(losses["season_loss"], best.best_value["season"]))
        True

    Reference:
        Maninis et al. 2019, https://arxiv.org/abs/1904.08918 (the joint criterion against single-task references).
    """

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        monitor: Mapping[str, tuple[str, str]] | None = None,
        patience: int | None = None,
        references: Mapping[str, float] | None = None,
    ):
        super().__init__()
        self.tasks = _checked_tasks(tasks)
        self.monitor = {task: (f"val_{task}_loss", "min") for task in self.tasks} | _checked_monitor(monitor, tasks)
        self.patience = _checked_patience(patience)
        self.references = _checked_references(references, self.tasks)
        self._default_monitor = monitor is None
        self._forget()

    def _forget(self) -> None:
        self.best_epoch: dict[str, int] = {}
        self.best_value: dict[str, float] = {}
        self.best_epoch_jointly: int | None = None
        self._joint_value: float | None = None
        self._first = dict(self.references or {})
        self._weights: dict[str | None, list[np.ndarray]] = {}  # None: jointly; tasks of one epoch share a list
        self._next_epoch = 0

    # --- During `fit` ------------------------------------------------------------------------------------

    def on_epoch_begin(self, epoch, logs=None):
        # The first epoch alone tells a new `fit` from one that goes on: `BackupAndRestore` sets it after
        # `on_train_begin`.
        if epoch == 0:
            self._forget()
        elif epoch > self._next_epoch:
            warnings.warn(
                f"BestEpochByTask has not seen the epochs {self._next_epoch}..{epoch - 1}: the best epoch may be one "
                "of them.",
                stacklevel=2,
            )
        self._next_epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        self._next_epoch = epoch + 1
        values = {task: self._value(task, logs or {}) for task in self.tasks}
        improved = [task for task, value in values.items() if value is not None and self._is_better(task, value)]
        for task in improved:
            self.best_epoch[task], self.best_value[task] = epoch, values[task]
        jointly = self._is_best_jointly(values)
        if jointly:
            self.best_epoch_jointly = epoch
        if improved or jointly:
            self._weights |= dict.fromkeys([*improved, *([None] if jointly else [])], self.model.get_weights())
        if self.patience is not None and self.best_epoch and epoch - max(self.best_epoch.values()) >= self.patience:
            self.model.stop_training = True

    def _value(self, task: str, logs: Mapping[str, float]) -> float | None:
        """Monitored value of a task; None without validation or labels, or where it is not finite."""
        name, _ = self.monitor[task]
        if self._default_monitor and len(self.tasks) == 1 and name not in logs:
            name = "val_loss"
        if name not in logs:
            if name.startswith("val_") and not any(other.startswith("val_") for other in logs):
                return None  # `validation_freq`
            raise InvalidArgumentError(f"`monitor[{task!r}]` must be one of {sorted(logs)}. Received: {name!r}.")
        value = float(logs[name])
        unlabelled = value == 0 and name in (f"val_{task}_loss", "val_loss")  # what losses cost without labels
        return value if math.isfinite(value) and not unlabelled else None

    def _is_better(self, task: str, value: float) -> bool:
        if task not in self.best_value:
            return True
        before = self.best_value[task]
        return value < before if self.monitor[task][1] == "min" else value > before

    def _is_best_jointly(self, values: Mapping[str, float | None]) -> bool:
        """Whether the mean relative change of this epoch is the largest so far; remembers it."""
        if None in values.values():
            return False
        for task, value in values.items():
            self._first.setdefault(task, value)
        if 0 in self._first.values():
            return False
        signs = {task: -1 if mode == "min" else 1 for task, (_, mode) in self.monitor.items()}
        changes = [signs[task] * (value - self._first[task]) / abs(self._first[task]) for task, value in values.items()]
        mean = sum(changes) / len(changes)
        if self._joint_value is not None and mean <= self._joint_value:
            return False
        self._joint_value = mean
        return True

    # --- After `fit` -------------------------------------------------------------------------------------

    def restore(self, task: str | None = None) -> None:
        """Puts the weights of a task's best epoch, or of the joint one (None), into the model."""
        if task is not None:
            check_choice("task", task, self.tasks)
        if task not in self._weights:
            when = "every task has had a value and no reference is 0" if task is None else f"{task!r} has had a value"
            raise InvalidArgumentError(
                f"`task` can be restored when {when}; `fit` needs `validation_data`. Received: task={task!r}."
            )
        self.model.set_weights(self._weights[task])

    @contextlib.contextmanager
    def at_best(self, task: str | None = None) -> Iterator[keras.Model]:
        """The model with the weights of a task's best epoch, or of the joint one (None), inside a `with` block."""
        before = self.model.get_weights()
        self.restore(task)
        try:
            yield self.model
        finally:
            self.model.set_weights(before)

    def to_dict(self) -> dict:
        """JSON-able content: best epochs and values, without the weights."""
        tasks = {
            task: {"monitor": self.monitor[task][0], "epoch": epoch, "value": self.best_value[task]}
            for task, epoch in self.best_epoch.items()
        }
        return {
            "tasks": tasks,
            "jointly": {"epoch": self.best_epoch_jointly, "mean_relative_change": self._joint_value},
        }


def _checked_tasks(tasks) -> tuple[str, ...]:
    if isinstance(tasks, str) or not tasks:
        raise InvalidArgumentError(f"`tasks` must be a sequence of names of outputs. Received: tasks={tasks!r}.")
    return tuple(tasks)


def _checked_monitor(monitor, tasks) -> dict[str, tuple[str, str]]:
    check_choices("monitor", monitor or {}, tasks)
    for task, pair in (monitor or {}).items():
        if isinstance(pair, str) or len(pair) != 2 or pair[1] not in ("min", "max"):
            raise InvalidArgumentError(
                f'`monitor[{task!r}]` must be a pair, (name in the logs, "min" or "max"). Received: {pair!r}.'
            )
    return {task: tuple(pair) for task, pair in (monitor or {}).items()}


def _checked_patience(patience) -> int | None:
    if patience is not None and (isinstance(patience, bool) or not isinstance(patience, int) or patience < 1):
        raise InvalidArgumentError(f"`patience` must be a positive integer or None. Received: patience={patience!r}.")
    return patience


def _checked_references(references, tasks) -> dict[str, float] | None:
    if references is None:
        return None
    if set(references) != set(tasks) or not all(math.isfinite(value) for value in references.values()):
        raise InvalidArgumentError(
            f"`references` must hold a finite number for each of {list(tasks)}. Received: {dict(references)}."
        )
    return {task: float(value) for task, value in references.items()}
