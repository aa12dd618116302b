"""Per-patch statistics of several predictors, collected batch by batch, until they become `Scores`."""

from collections.abc import Mapping

import numpy as np

from eokeras.ben_ge import schema as facts
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.patch_statistics import patch_statistics
from eokeras.evaluate.scores import Scores, group_of, kind_of, task_score


class Tally:
    """Collects per-patch statistics of several predictors of one set of patches."""

    def __init__(self, schema):
        self._schema = schema
        self._statistics: dict[str, dict[str, list]] = {}
        self._metadata: dict[str, list] = {}

    def add_patches(self, metadata: Mapping[str, np.ndarray] | None = None) -> None:
        """Takes names, tiles and dates of the patches of a batch, once for all predictors."""
        for key, values in (metadata or {}).items():
            self._metadata.setdefault(key, []).append(values)

    def statistics(self, name: str, targets, predictions) -> dict[str, np.ndarray]:
        """Statistics of each patch of a batch by target (`patch_statistics`), where `name` predicts it."""
        found = {}
        for task, prediction in predictions.items():
            check_finite(name, task, prediction)
            classes = len(class_names(task, self._schema))
            found[task] = patch_statistics(kind_of(task), targets[task], prediction, classes)
        return found

    def add(self, name: str, statistics: Mapping[str, np.ndarray]) -> None:
        """Takes the statistics of one predictor for the patches of a batch."""
        collected = self._statistics.setdefault(name, {})
        for task, values in statistics.items():
            collected.setdefault(task, []).append(values)

    def scores(self, *, seed: int = 0, resamples: int = 1000) -> dict[str, Scores]:
        """Scores by predictor, of all patches so far."""
        if not any(self._statistics.values()):
            raise InvalidArgumentError("`dataset` must hold at least one patch. Received: an empty dataset.")
        columns = {key: as_text(np.concatenate(values)) for key, values in self._metadata.items()}
        options = {"seed": seed, "resamples": resamples}
        return {name: _scores(name, tasks, columns, self._schema, options) for name, tasks in self._statistics.items()}


def as_text(values: np.ndarray) -> np.ndarray:
    """Strings as TensorFlow gives them (bytes, UTF-8) -> str."""
    return np.array([value.decode() if isinstance(value, bytes) else str(value) for value in values])


def _scores(name, statistics, columns, schema, options) -> Scores:
    tasks = {}
    for task, batches in statistics.items():
        groups = columns.get(group_of(task))
        note = "" if groups is not None else f"no {group_of(task)} of each patch, so no groups: no interval"
        if "patch_id" not in columns:
            groups, note = None, "no patch ids, so no groups: no interval"
        tasks[task] = task_score(
            task, kind_of(task), class_names(task, schema), np.concatenate(batches), groups, note=note, **options
        )
    return Scores(name, tasks, columns.get("patch_id"), (), (), getattr(schema, "world", None) is not None)


def class_names(task: str, schema) -> tuple[str, ...]:
    """Class names of a target by the schema; () for regression."""
    kind_of(task)
    return tuple((getattr(schema, "classes", None) or {}).get(task, facts.TARGETS[task].classes))


def check_finite(name: str, task: str, prediction: np.ndarray) -> None:
    """Raises `InvalidArgumentError` naming the predictor and the target of values that are not finite."""
    bad = np.size(prediction) - np.count_nonzero(np.isfinite(prediction))
    if bad:
        raise InvalidArgumentError(
            f"Predictions must be finite. Received: NaN or infinity in {bad} of {np.size(prediction)} values of "
            f"{task!r} by {name!r}."
        )
