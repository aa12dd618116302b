"""Paired comparison of two predictors on the same patches.

Letters: N patches, G groups.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from eokeras.errors import InvalidArgumentError
from eokeras.evaluate import intervals
from eokeras.evaluate.patch_statistics import class_support, has_label, less_is_better, metrics
from eokeras.evaluate.scores import ILLUSTRATION, SIMULATED, Estimate, Scores, TaskScore, metric_name, text_table

EXPLORATORY = "Several comparisons: all but the one named beforehand are exploratory."
"""What must stand beside two differences or more."""

_ARGUMENTS = ("first", "second")


def family_sentences(comparisons: Iterable) -> tuple[str, ...]:
    """`EXPLORATORY` where results shown together hold two differences or more, else nothing.

    Args:
        comparisons: `Comparison` objects, and `ReplicateComparison` objects, which hold one difference each.
    """
    count = sum(len(getattr(comparison, "differences", (comparison,))) for comparison in comparisons)
    return (EXPLORATORY,) if count > 1 else ()


@dataclass(frozen=True)
class Difference:
    """Difference of one metric, `first` minus `second`, with its 95 % interval over groups."""

    task: str
    metric: str
    estimate: Estimate
    group: str | None
    groups: int
    note: str

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies wholly above or below zero; False where there is none."""
        return intervals.excludes_zero(self.estimate.low, self.estimate.high)

    @property
    def is_illustration(self) -> bool:
        """Whether there is no interval, so that the difference is no evidence."""
        return self.estimate.low is None

    @property
    def less_is_better(self) -> bool | None:
        """Whether less of the metric is better."""
        return less_is_better(self.metric)

    @property
    def smallest_difference(self) -> float | None:
        """Half the width of the interval: about the smallest difference that these groups can show."""
        return None if self.estimate.low is None else (self.estimate.high - self.estimate.low) / 2

    @property
    def first_is_better(self) -> bool | None:
        """Whether the difference favours the first; None where it does not exclude zero."""
        if not self.excludes_zero:
            return None
        return (self.estimate.value > 0) != self.less_is_better

    def to_dict(self) -> dict:
        """JSON-able content, without `task` and `metric`."""
        return {
            **self.estimate.to_dict(),
            "group": self.group,
            "groups": self.groups,
            "excludes_zero": self.excludes_zero,
            "smallest_difference": self.smallest_difference,
            "note": self.note,
        }


@dataclass(frozen=True)
class Comparison:
    """Differences of two predictors, `first` minus `second`. `print(comparison)` shows a table.

    `repeats` is the number of trainings that each difference is a mean over; `compare_repeats` gives more than one.
    """

    first: str
    second: str
    differences: tuple[Difference, ...]
    simulated: bool = False
    repeats: int = 1

    def __getitem__(self, task_metric: tuple[str, str]) -> Difference:
        """The difference of `comparison[task, metric]`."""
        for difference in self.differences:
            if (difference.task, difference.metric) == tuple(task_metric):
                return difference
        names = [(difference.task, difference.metric) for difference in self.differences]
        raise InvalidArgumentError(f"A comparison holds {names}. Received: {tuple(task_metric)!r}.")

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that must stand beside the differences, in words."""
        lines = [SIMULATED] if self.simulated else []
        lines += [f"{item.task}: {item.note}: {ILLUSTRATION}." for item in self.differences if item.note]
        if self.repeats > 1:
            lines.append(f"Means over {self.repeats} trainings of each; intervals resample groups, then trainings.")
        if 1 < self.repeats < intervals.FEWEST_REPLICATES:
            lines.append(f"{self.repeats} of at least {intervals.FEWEST_REPLICATES} trainings: {ILLUSTRATION}.")
        return tuple(dict.fromkeys([*lines, *family_sentences([self])]))

    def to_dict(self) -> dict:
        """JSON-able content, differences by target and metric."""
        tasks: dict[str, dict] = {}
        for item in self.differences:
            tasks.setdefault(item.task, {})[item.metric] = item.to_dict()
        return {
            "first": self.first,
            "second": self.second,
            "simulated": self.simulated,
            "repeats": self.repeats,
            "sentences": list(self.sentences),
            "differences": tasks,
        }

    @property
    def headings(self) -> tuple[str, ...]:
        """Headings of `rows`."""
        return ("target", "metric", f"{self.first} - {self.second}", "95 % interval", "resampled", "verdict")

    def rows(self) -> list[tuple[str, ...]]:
        """(target, metric, difference, 95 % interval, resampled groups, what it says)."""
        rows = []
        for item in self.differences:
            value = item.estimate.value
            bounds = "" if item.estimate.low is None else f"[{item.estimate.low:+.3f}, {item.estimate.high:+.3f}]"
            groups = item.note or f"{item.groups} {item.group}s"
            shown = "-" if np.isnan(value) else f"{value:+.3f}"
            rows.append((item.task, metric_name(item.metric), shown, bounds, groups, self._verdict(item)))
        return rows

    def _verdict(self, item: Difference) -> str:
        if item.is_illustration:
            return ILLUSTRATION
        if not item.excludes_zero:
            return f"does not exclude zero: these groups show about {item.smallest_difference:.3f} or more"
        return f"difference excludes zero: {self.first if item.first_is_better else self.second} is better"

    def __str__(self) -> str:
        return "\n".join([text_table(self.headings, self.rows(), repeat=(0,)), *self.sentences])


def compare(first: Scores, second: Scores, *, seed: int = 0, resamples: int = 1000) -> Comparison:
    """Paired differences of two predictors, with intervals over groups.

    Both sides are resampled by the same draws of whole groups, so what makes a tile easy or hard for
    both cancels. "A beats B" may be said only where the 95 % interval of the difference excludes zero.

    Args:
        first, second: `Scores` on the same patches (in any order). Targets that only one side has are left out.
        seed, resamples: of the intervals.

    Returns:
        `Comparison`: first minus second, for each target and metric.

    Raises:
        InvalidArgumentError: the patches or their labels differ, the scores carry no patch ids, share no
            target, or mix simulated and real data.

    Example:
        >>> print(compare(score(fused, test, schema), score(optical, test, schema)))  # doctest: +SKIP
    """
    order = pairing(first, second)
    tasks = [task for task in first.tasks if task in second.tasks]
    if not tasks:
        raise InvalidArgumentError(
            f"`first` and `second` must share a target. Received: {list(first.tasks)} and {list(second.tasks)}."
        )
    differences = []
    for task in tasks:
        one, other = first.tasks[task], second.tasks[task].statistics[order]
        differences += task_differences(one, *paired_metrics(one, other, seed=seed, resamples=resamples))
    return Comparison(first.name, second.name, tuple(differences), first.simulated)


def pairing(first: Scores, second: Scores, names: Sequence[str] = _ARGUMENTS) -> np.ndarray:
    """Index that brings the patches of `second` into the order of `first`, shape (N,).

    Args:
        names: of the two arguments, for errors.

    Raises:
        InvalidArgumentError: the patches differ, the scores carry no patch ids, or simulated and real data are mixed.
    """
    both = " and ".join(f"`{name}`" for name in names)
    if first.simulated != second.simulated:
        raise InvalidArgumentError(f"{both} must not mix scores of simulated and real data.")
    if first.patch_ids is None or second.patch_ids is None:
        raise InvalidArgumentError(
            f"{both} must carry patch ids, so that they can be paired. Score datasets of `make_dataset`, "
            "or with `patch_id`, `tile` and `date` in a third dict."
        )
    place = {patch: index for index, patch in enumerate(second.patch_ids)}
    lacking = [patch for patch in first.patch_ids if patch not in place]
    if lacking or len(place) != len(first.patch_ids) or len(place) != len(second.patch_ids):
        example = f" The second lacks {lacking[0]}." if lacking else ""
        raise InvalidArgumentError(
            f"{both} must be scores of the same patches, each once. Received: "
            f"{len(first.patch_ids)} and {len(second.patch_ids)} patches.{example}"
        )
    return np.array([place[patch] for patch in first.patch_ids])


Pairs = dict[str, tuple[np.ndarray, np.ndarray]]
"""Metric -> (first, second)."""


def paired_metrics(
    first: TaskScore, second_statistics: np.ndarray, *, seed: int, resamples: int, names: Sequence[str] = _ARGUMENTS
) -> tuple[Pairs, Pairs]:
    """Metrics of both sides of one target: of all patches, and of draws of whole groups, the same for both.

    Args:
        first: one side, which knows the groups.
        second_statistics: per-patch statistics of the other, in the order of `first`.
        names: of the two arguments, for errors.

    Returns:
        (values, draws): metric -> numbers (), and metric -> resampled values (R,); no draws where
        `first` has no intervals. Equal `seed` and groups give equal draws for every target.

    Raises:
        InvalidArgumentError: the two sides were scored against other labels.
    """
    task, kind = first.task, first.kind
    if not _same_labels(kind, first.statistics, second_statistics):
        both = " and ".join(f"`{name}`" for name in names)
        raise InvalidArgumentError(f"{both} must be scored against the same labels. {task!r} differs.")
    sides = first.statistics, second_statistics
    listed = class_support(kind, first.totals) > 0 if first.classes_scored else None
    values = _pairs(task, kind, [side.sum(axis=0) for side in sides], listed)
    if first.note:
        return values, {}
    used = has_label(kind, first.statistics)
    sums = [intervals.group_sums(side[used], first.group_names[used]) for side in sides]
    totals = [intervals.resampled_totals(side, resamples=resamples, seed=seed) for side in sums]  # equal draws
    return values, _pairs(task, kind, totals, listed)


def _pairs(task, kind, totals, listed) -> Pairs:
    first, second = (metrics(task, kind, side, listed) for side in totals)
    return {name: (first[name], second[name]) for name in first}


def task_differences(score: TaskScore, values: Pairs, draws: Pairs) -> list[Difference]:
    """First minus second for every metric of a target, of what `paired_metrics` gives; `score` knows the groups."""
    differences = []
    for name, (first, second) in values.items():
        drawn = draws.get(name)
        bounds = intervals.percentile_interval(drawn[0] - drawn[1], score.groups) if drawn else None
        estimate = Estimate(float(first - second), *(bounds or (None, None)))
        differences.append(Difference(score.task, name, estimate, score.group, score.groups, score.note))
    return differences


def _same_labels(kind, first, second) -> bool:
    if first.shape != second.shape:
        return False
    if kind in ("class", "map"):
        counts = first.sum(axis=-1), second.sum(axis=-1)
    elif kind == "multilabel":
        counts = first[..., 0] + first[..., 2], second[..., 0] + second[..., 2]
    else:
        counts = first[..., 1], second[..., 1]
    return np.allclose(*counts, rtol=0, atol=1e-6)  # averages over repeats are whole numbers but for rounding
