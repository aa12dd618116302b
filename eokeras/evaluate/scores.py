"""Plain result objects of an evaluation, their text table and their JSON.

Letters: N patches, C classes.
"""

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eokeras.ben_ge import schema as facts
from eokeras.ben_ge.splits import FEWEST_GROUPS
from eokeras.errors import UnwritableError, check_choice
from eokeras.evaluate import intervals
from eokeras.evaluate.patch_statistics import (
    LOWER_IS_BETTER,
    class_support,
    has_label,
    labelled_elements,
    metrics,
    per_class,
)

SIMULATED = facts.SIMULATED
ILLUSTRATION = "illustration, not evidence"

_GROUPS = {"season": "date"}


def group_of(task: str) -> str:
    """What a target is constant over, which is what intervals resample: "date" for season, else "tile"."""
    return _GROUPS.get(task, "tile")


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, `low` and `high`, which are None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict:
        """JSON-able content; None where the value or a bound is missing."""
        return {name: _plain(getattr(self, name)) for name in ("value", "low", "high")}

    def __str__(self) -> str:
        return format_number(self.value)

    @property
    def interval(self) -> str:
        """The interval as text, `[low, high]` with three decimals; empty where there is none."""
        return "" if self.low is None else f"[{format_number(self.low)}, {format_number(self.high)}]"


@dataclass(frozen=True, eq=False)
class TaskScore:
    """Scores of one target.

    Attributes:
        task, kind: name and kind of the target.
        classes: class names, () for regression.
        estimates: metric name -> `Estimate`.
        group: what was resampled, "tile" or "date"; None where the data name no groups.
        groups: number of groups with a label.
        patches: number of patches with a label.
        note: why there is no interval, or "".
        statistics: per-patch sufficient statistics in the order of `Scores.patch_ids`
            (`eokeras.evaluate.patch_statistics`).
        group_names: group of each patch, shape (N,), or None.
    """

    task: str
    kind: str
    classes: tuple[str, ...]
    estimates: dict[str, Estimate]
    group: str | None
    groups: int
    patches: int
    note: str
    statistics: np.ndarray = field(repr=False)
    group_names: np.ndarray | None = field(repr=False)

    @property
    def totals(self) -> np.ndarray:
        """Statistics summed over the patches."""
        return self.statistics.sum(axis=0)

    @property
    def confusion(self) -> np.ndarray | None:
        """Counts, reference x prediction, shape (C, C), of class and map targets; else None."""
        return np.rint(self.totals).astype("int64") if self.kind in ("class", "map") else None

    @property
    def support(self) -> np.ndarray | None:
        """Patches, pixels or labels of each class in the reference, shape (C,)."""
        return np.rint(class_support(self.kind, self.totals)).astype("int64") if self.classes_scored else None

    @property
    def per_class(self) -> np.ndarray | None:
        """IoU of each class of a map, F1 of scene classes and labels, shape (C,); NaN where a class never occurs."""
        return per_class(self.kind, self.totals)[1] if self.classes_scored else None

    @property
    def per_class_name(self) -> str:
        """ "iou", "f1" or ""."""
        return per_class(self.kind, self.totals)[0] if self.classes_scored else ""

    @property
    def absent_classes(self) -> str:
        """A sentence on classes without a reference here, of which no mean over classes tells; "" where there is none.

        Macro-F1 and mean IoU of few groups average over few of the classes, so their intervals hold the value that
        more groups would give less often than in 95 of 100 cases: 78 to 92 for macro-F1 of climate zone over 10 to 30
        tiles in `lessons/2_supervised_recap/experiment.py`, where those of accuracy hold it in 94 to 97.
        """
        if not self.classes_scored or np.all(self.support):
            return ""
        mean = "mean IoU" if self.kind == "map" else "macro-F1"
        present = f"{np.count_nonzero(self.support)} of {len(self.classes)}"
        words = f"{self.task}: {mean} is over the {present} classes that occur in these patches"
        return (
            f"{words}."
            if self.note
            else f"{words}; its interval tells nothing of the others, and is rather too narrow."
        )

    @property
    def classes_scored(self) -> bool:
        """Whether each class has a score of its own: class, map and label targets."""
        return self.kind in ("class", "map", "multilabel")

    def to_dict(self) -> dict:
        """JSON-able content, without the per-patch statistics."""
        content = {
            "kind": self.kind,
            "metrics": {name: estimate.to_dict() for name, estimate in self.estimates.items()},
            "patches": self.patches,
            "labelled_elements": int(labelled_elements(self.kind, self.statistics).sum()),
            "group": self.group,
            "groups": self.groups,
            "note": self.note,
        }
        if self.classes_scored:
            rows = zip(self.classes, self.per_class, self.support, strict=True)
            content["classes"] = {
                name: {self.per_class_name: _plain(value), "support": int(support)} for name, value, support in rows
            }
        if self.confusion is not None:
            content["confusion"] = self.confusion.tolist()
        return content


def task_score(
    task: str,
    kind: str,
    classes: tuple[str, ...],
    statistics: np.ndarray,
    group_names: np.ndarray | None,
    *,
    note: str = "",
    seed: int = 0,
    resamples: int = 1000,
) -> TaskScore:
    """Metrics of a target with group intervals, from its per-patch statistics.

    Args:
        statistics: shape (N, ...), see `patch_statistics`.
        group_names: group of each patch, shape (N,); None for no intervals, with the reason in `note`.
    """
    used = has_label(kind, statistics)
    totals = statistics.sum(axis=0)
    listed = class_support(kind, totals) > 0 if classes and kind != "fractions" else None
    values = metrics(task, kind, totals, listed)
    groups = len(np.unique(group_names[used])) if group_names is not None else 0
    if not used.any():
        note = "no labels"
    elif group_names is not None and groups < FEWEST_GROUPS:
        note = f"too few groups ({groups})"
    bounds = dict.fromkeys(values)
    if used.any() and group_names is not None and not note:
        sums = intervals.group_sums(statistics[used], group_names[used])
        draws = metrics(task, kind, intervals.resampled_totals(sums, resamples=resamples, seed=seed), listed)
        bounds = {name: intervals.percentile_interval(draws[name], groups) for name in values}
    estimates = {name: Estimate(float(value), *(bounds[name] or (None, None))) for name, value in values.items()}
    group = group_of(task) if group_names is not None else None
    return TaskScore(
        task, kind, tuple(classes), estimates, group, groups, int(used.sum()), note, statistics, group_names
    )


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one predictor on one set of patches. `print(scores)` shows a table.

    Attributes:
        name: who predicted: "model", "most frequent class", ...
        tasks: target name -> `TaskScore`.
        patch_ids: names of the patches in the order read, shape (N,); None where the data name none.
        baselines: scores of other predictors on the same patches, shown beside these.
        notes: sentences that belong to the numbers.
        simulated: whether the data come from the simulator.
    """

    name: str
    tasks: dict[str, TaskScore]
    patch_ids: np.ndarray | None = field(default=None, repr=False)
    baselines: tuple["Scores", ...] = ()
    notes: tuple[str, ...] = ()
    simulated: bool = False

    @property
    def is_illustration(self) -> bool:
        """Whether some target has no interval, so that the run is no evidence for it."""
        return any(score.note for score in self.tasks.values())

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that must stand beside the numbers, in words."""
        lines = [SIMULATED] if self.simulated else []
        by_note = {}
        for score in self.tasks.values():
            by_note.setdefault(score.note, []).append(score.task)
        lines += [f"{', '.join(names)}: {note}: {ILLUSTRATION}." for note, names in by_note.items() if note]
        lines += [score.absent_classes for score in self.tasks.values() if score.absent_classes]
        lines += self.notes
        lines += [f"{other.name}: {note}" for other in self.baselines for note in other.notes]
        return tuple(dict.fromkeys(lines))

    def rows(self) -> list[tuple[str, str, str, str, str, str]]:
        """(target, metric, predictor, value, 95 % interval, resampled groups), these scores before the baselines."""
        rows = []
        for task, score in self.tasks.items():
            for metric in score.estimates:
                for other in (self, *self.baselines):
                    found = other.tasks.get(task)
                    if found is not None and metric in found.estimates:
                        estimate = found.estimates[metric]
                        groups = f"{found.groups} {found.group}s" if found.group and not found.note else found.note
                        rows.append((task, metric_name(metric), other.name, str(estimate), estimate.interval, groups))
        return rows

    def to_dict(self) -> dict:
        """JSON-able content, without the per-patch statistics."""
        return {
            "name": self.name,
            "patches": None if self.patch_ids is None else len(self.patch_ids),
            "simulated": self.simulated,
            "sentences": list(self.sentences),
            "tasks": {task: score.to_dict() for task, score in self.tasks.items()},
            "baselines": [other.to_dict() for other in self.baselines],
        }

    def __str__(self) -> str:
        table = text_table(ROW_NAMES, self.rows(), repeat=(0, 1))
        return "\n".join([table, *self.sentences])


ROW_NAMES = ("target", "metric", "predictor", "value", "95 % interval", "resampled")
"""Headings of `Scores.rows`."""


def metric_name(metric: str) -> str:
    """Metric as a heading: `mean_iou` -> "mean IoU"; says where less is better."""
    text = metric.replace("_", " ").replace("iou", "IoU").replace("f1", "F1").replace("mae", "MAE")
    return f"{text} (less is better)" if metric in LOWER_IS_BETTER else text


def text_table(headings: tuple[str, ...], rows: list[tuple[str, ...]], repeat: tuple[int, ...] = ()) -> str:
    """Aligned text; in the columns `repeat` a value equal to the one above is left blank."""
    shown, above = [], None
    for row in rows:
        same = above is not None
        cells = list(row)
        for column in repeat:
            same = same and row[column] == above[column]
            cells[column] = "" if same else row[column]
        shown.append(cells)
        above = row
    lines = [list(headings), *shown]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([text[0], "-" * max(map(len, text)), *text[1:]])


def format_number(value: float) -> str:
    """Three decimals; "-" for NaN."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def write_scores(scores, path: str | Path) -> Path:
    """Writes `scores.to_dict()` as JSON, whole or not at all; replaces an older file.

    Args:
        scores: any result object with `to_dict`: `Scores`, `Comparison`, `ReplicateComparison`, ...
        path: the file, usually `scores.json`.

    Raises:
        UnwritableError: the file cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.incomplete")
    try:
        unfinished.write_text(json.dumps(scores.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(unfinished, path)
    except OSError as error:
        raise UnwritableError(f"`path` must be writable. Received: {path} ({error.strerror}).") from error
    return path


def kind_of(task: str) -> str:
    """Kind of a target by its name ("class", "map", "regression", "fractions", "multilabel", "map_regression")."""
    check_choice("target", task, facts.TARGETS)
    return facts.TARGETS[task].kind


def _plain(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
