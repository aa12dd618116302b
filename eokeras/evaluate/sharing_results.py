"""Plain result object of a multitask model against a reference, its text table and its JSON.

The relative change of a task t is (-1)^l (M - B) / B, of the score M of the multitask model against the score B
of its reference, l = 1 where less of the metric is better and 0 elsewhere: positive is better for every task.
Its mean over the tasks is the multitask performance, Delta_MTL.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from eokeras.evaluate.comparison import Comparison, Difference
from eokeras.evaluate.patch_statistics import less_is_better
from eokeras.evaluate.scores import ILLUSTRATION, TaskScore, format_number, metric_name, text_table
from eokeras.evaluate.sharing_costs import SharingCosts

MEAN_OVER_TASKS = "mean over tasks"

RELATIVE_CHANGE = "Relative change: difference / reference, its sign turned so that more is better for every task."

THESE_MODELS = (
    "Intervals over groups are those of these trained models; what sharing does in general is told by several worlds "
    "or seeds: `sharing_over_replicates`."
)


def relative_change(metric: str, multitask, reference) -> np.ndarray:
    """(-1)^l (multitask - reference) / reference: positive where the multitask model is better.

    Args:
        metric: one of `METRICS`, which tells whether less is better (l = 1).
        multitask, reference: scores, numbers or arrays of one shape.

    Returns:
        fractions (0.1 is 10 %), in the shape of the scores; NaN where the reference is 0 or a score is NaN.

    Example:
        >>> float(relative_change("mae", 0.09, 0.10).round(3)), float(relative_change("accuracy", 0.54, 0.60).round(3))
        (0.1, -0.1)

    Reference:
        Maninis et al. 2019, https://arxiv.org/abs/1904.08918
    """
    multitask, reference = np.asarray(multitask, "float64"), np.asarray(reference, "float64")
    sign = -1 if less_is_better(metric) else 1
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(reference > 0, sign * (multitask - reference) / reference, np.nan)


@dataclass(frozen=True)
class RelativeChange(Difference):
    """Relative change of a task's main metric, or its mean over tasks: a fraction, positive where multitask is better.

    `estimate` has the 95 % interval from the draws of groups that the difference has too. `note` says why there
    is no interval or no value.
    """

    @property
    def less_is_better(self) -> bool:
        """False: its sign is turned already."""
        return False

    def __str__(self) -> str:
        return percent_text(self.estimate.value, self.estimate.low, self.estimate.high)


def percent_text(value: float, low: float | None, high: float | None) -> str:
    """A fraction with its interval in percent: "+3.2 % [-1.0, +7.5]"; "-" for NaN."""
    if np.isnan(value):
        return "-"
    bounds = "" if low is None else f" [{_percent(low)}, {_percent(high)}]"
    return f"{_percent(value)} %{bounds}"


def _percent(fraction: float) -> str:
    return f"{round(100 * fraction, 1) + 0.0:+.1f}"  # no minus before 0.0


@dataclass(frozen=True, eq=False)
class SharingComparison:
    """A multitask model against a reference, task by task. `print(comparison)` shows a table.

    Attributes:
        comparison: paired differences, multitask minus reference, of every metric of the tasks that both have.
        scores: task -> (of the multitask model, of the reference) on the same patches.
        changes: task -> relative change of its main metric (`MAIN_METRICS`).
        mean: mean of the changes over the tasks; None where there is one task alone.
        notes: which tasks one side lacks.
        costs: of both sides, where given.
    """

    comparison: Comparison
    scores: Mapping[str, tuple[TaskScore, TaskScore]] = field(repr=False)
    changes: Mapping[str, RelativeChange]
    mean: RelativeChange | None
    notes: tuple[str, ...] = ()
    costs: SharingCosts | None = None

    @property
    def multitask(self) -> str:
        """Name of the multitask model."""
        return self.comparison.first

    @property
    def reference(self) -> str:
        """Name of what it is compared with."""
        return self.comparison.second

    @property
    def simulated(self) -> bool:
        """Whether the data come from the simulator."""
        return self.comparison.simulated

    @property
    def main_values(self) -> dict[str, tuple[float, float]]:
        """Task -> main metric of the multitask model and of the reference: one run of `sharing_over_replicates`."""
        return {
            task: tuple(side.estimates[change.metric].value for side in self.scores[task])
            for task, change in self.changes.items()
        }

    @property
    def missing(self) -> tuple[str, ...]:
        """Which relative changes have no value or no interval, and why, as far as the differences have theirs."""
        told = {score.note for score, _ in self.scores.values()}
        found = [*self.changes.values(), *([self.mean] if self.mean else [])]
        return tuple(f"{item.task}: {item.note}." for item in found if item.note and item.note not in told)

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that must stand beside the numbers, in words."""
        lines = [*self.comparison.sentences, RELATIVE_CHANGE, *self.missing]
        lines += [score.absent_classes for score, _ in self.scores.values() if score.absent_classes]
        lines += [THESE_MODELS, *self.notes, *(self.costs.sentences if self.costs else ())]
        return tuple(dict.fromkeys(lines))

    @property
    def headings(self) -> tuple[str, ...]:
        """Headings of `rows`."""
        *_, bounds, resampled, verdict = self.comparison.headings
        names = self.multitask, self.reference
        return ("target", "metric", *names, "difference", bounds, "relative change", resampled, verdict)

    def rows(self) -> list[tuple[str, ...]]:
        """(target, metric, multitask, reference, difference, 95 % interval, relative change, groups, verdict)."""
        rows = []
        for item, told in zip(self.comparison.differences, self.comparison.rows(), strict=True):
            values = [format_number(side.estimates[item.metric].value) for side in self.scores[item.task]]
            change = self.changes[item.task]
            shown = str(change) if change.metric == item.metric else ""
            rows.append((item.task, metric_name(item.metric), *values, *told[2:4], shown, *told[4:]))
        if self.mean is not None:
            rows.append((MEAN_OVER_TASKS, "", "", "", "", "", str(self.mean), *self._mean_words()))
        return rows

    def _mean_words(self) -> tuple[str, str]:
        mean = self.mean
        if mean.is_illustration:
            return "", ILLUSTRATION
        groups = f"{mean.groups} {mean.group}s"
        if not mean.excludes_zero:
            smallest = f"{100 * mean.smallest_difference:.1f} %"
            return groups, f"does not exclude zero: these groups show about {smallest} or more"
        return groups, f"excludes zero: {self.multitask if mean.first_is_better else self.reference} is better"

    def to_dict(self) -> dict:
        """JSON-able content, by target; `values` are those of the multitask model and of the reference."""
        found = self.comparison.to_dict()
        tasks = {}
        for task, change in self.changes.items():
            pair = [side.to_dict()["metrics"] for side in self.scores[task]]
            tasks[task] = {
                "main_metric": change.metric,
                "values": {metric: [side[metric]["value"] for side in pair] for metric in pair[0]},
                "differences": found["differences"][task],
                "relative_change": change.to_dict(),
            }
        return {
            "multitask": self.multitask,
            "reference": self.reference,
            "simulated": self.simulated,
            "sentences": list(self.sentences),
            "tasks": tasks,
            "main_values": {
                task: [None if np.isnan(value) else value for value in pair] for task, pair in self.main_values.items()
            },
            "mean_relative_change": self.mean.to_dict() if self.mean else None,
            "costs": self.costs.to_dict() if self.costs else None,
        }

    def __str__(self) -> str:
        parts = [text_table(self.headings, self.rows(), repeat=(0,))]
        parts += [f"\n{text_table(self.costs.headings, self.costs.rows())}\n"] if self.costs else []
        return "\n".join([*parts, *self.sentences])
