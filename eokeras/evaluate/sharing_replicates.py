"""A multitask model against a reference over worlds or seeds: relative changes and their mean with t intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.comparison import family_sentences
from eokeras.evaluate.intervals import FEWEST_REPLICATES, ReplicateComparison, paired_over_replicates
from eokeras.evaluate.patch_statistics import MAIN_METRICS
from eokeras.evaluate.scores import ILLUSTRATION, SIMULATED, format_number, kind_of, metric_name, text_table
from eokeras.evaluate.sharing_costs import SharingCosts
from eokeras.evaluate.sharing_results import (
    MEAN_OVER_TASKS,
    RELATIVE_CHANGE,
    SharingComparison,
    percent_text,
    relative_change,
)


@dataclass(frozen=True, eq=False)
class SharingReplicates:
    """A multitask model against a reference over worlds or seeds. `print(replicates)` shows a table.

    Attributes:
        multitask, reference: names of the two.
        metrics: task -> its main metric (`MAIN_METRICS`).
        values: task -> scores of the multitask model and of the reference, shape (R, 2) for R replicates.
        differences: task -> multitask minus reference, in the unit of the metric.
        changes: task -> relative change, a fraction, positive where multitask is better; without the tasks in which
            some replicate has none.
        mean: mean of the changes over the tasks, taken within each replicate; None where there is one task
            alone, or a task has no change.
        replicates: number R of worlds or seeds.
        missing: which tasks have no change, and why.
        simulated: whether the data come from the simulator.
        costs: of both sides, where given.
    """

    multitask: str
    reference: str
    metrics: Mapping[str, str]
    values: Mapping[str, np.ndarray]
    differences: Mapping[str, ReplicateComparison]
    changes: Mapping[str, ReplicateComparison]
    mean: ReplicateComparison | None
    replicates: int
    missing: tuple[str, ...] = ()
    simulated: bool = False
    costs: SharingCosts | None = None

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that must stand beside the numbers, in words."""
        lines = [SIMULATED] if self.simulated else []
        if self.replicates < FEWEST_REPLICATES:
            lines.append(f"{self.replicates} of at least {FEWEST_REPLICATES} replicates: {ILLUSTRATION}.")
        lines += family_sentences([*self.changes.values(), *([self.mean] if self.mean else [])])
        return (*lines, RELATIVE_CHANGE, *self.missing, *(self.costs.sentences if self.costs else ()))

    @property
    def headings(self) -> tuple[str, ...]:
        """Headings of `rows`."""
        names = self.multitask, self.reference
        change, verdict = "relative change", "verdict on the relative change"
        return ("target", "metric", *names, "difference", "95 % interval", change, "replicates", verdict)

    def rows(self) -> list[tuple[str, ...]]:
        """(target, metric, multitask, reference, difference, 95 % interval, relative change, replicates, verdict).

        Scores are means over the replicates.
        """
        rows = []
        for task, metric in self.metrics.items():
            means = [format_number(float(value)) for value in self.values[task].mean(axis=0)]
            item = self.differences.get(task)
            shown = ("-", "") if item is None else (f"{item.mean:+.3f}", _bounds(item))
            rows.append((task, metric_name(metric), *means, *shown, *self._change_words(self.changes.get(task))))
        if self.mean is not None:
            rows.append((MEAN_OVER_TASKS, "", "", "", "", "", *self._change_words(self.mean)))
        return rows

    def _change_words(self, item: ReplicateComparison | None) -> tuple[str, str, str]:
        if item is None:
            return "-", str(self.replicates), "none"
        text = percent_text(item.mean, item.low, item.high), str(item.replicates)
        if item.is_illustration:
            return (*text, ILLUSTRATION)
        if item.excludes_zero:
            return (*text, f"excludes zero: {self.multitask if item.mean > 0 else self.reference} is better")
        smallest = f"{100 * item.smallest_difference:.1f} %"
        power = f"{100 * item.smallest_difference_power_80:.1f} %"
        return (
            *text,
            f"does not exclude zero: shows {smallest} or more; finds a true {power} in 80 of 100 repetitions",
        )

    def to_dict(self) -> dict:
        """JSON-able content, by target; `values` hold a pair for each replicate."""
        tasks = {
            task: {
                "main_metric": metric,
                "values": [[None if np.isnan(value) else float(value) for value in pair] for pair in self.values[task]],
                "difference": self.differences[task].to_dict() if task in self.differences else None,
                "relative_change": self.changes[task].to_dict() if task in self.changes else None,
            }
            for task, metric in self.metrics.items()
        }
        return {
            "multitask": self.multitask,
            "reference": self.reference,
            "simulated": self.simulated,
            "replicates": self.replicates,
            "sentences": list(self.sentences),
            "tasks": tasks,
            "mean_relative_change": self.mean.to_dict() if self.mean else None,
            "costs": self.costs.to_dict() if self.costs else None,
        }

    def __str__(self) -> str:
        parts = [text_table(self.headings, self.rows())]
        parts += [f"\n{text_table(self.costs.headings, self.costs.rows())}\n"] if self.costs else []
        return "\n".join([*parts, *self.sentences])


Run = SharingComparison | Mapping[str, Sequence[float]]


def sharing_over_replicates(
    runs: Sequence[Run],
    *,
    multitask: str = "multitask",
    reference: str = "single-task",
    simulated: bool = False,
    costs: SharingCosts | None = None,
) -> SharingReplicates:
    """Relative change of every task and their mean over worlds or seeds, with 95 % t intervals.

    The mean over tasks is taken within each replicate, so that its interval holds what chance does to the tasks
    together. An interval over seeds in one world says nothing of other worlds.

    Args:
        runs: one for each world or seed: `SharingComparison` objects, or target -> (main metric of the multitask
            model, of the reference), as `SharingComparison.main_values` and `to_dict()["main_values"]` give.
        multitask, reference, simulated: names, and where the data come from; comparisons know their own.
        costs: from `sharing_costs`; default those of the first comparison.

    Returns:
        `SharingReplicates`; `eokeras.plot.sharing_chart` draws it.

    Raises:
        InvalidArgumentError: there is no run, runs differ in targets or names, hold no pairs, or a target is unknown.

    Example:
        >>> runs = [{"season": (0.09, 0.10), "climate_zone": (0.60, 0.60)},
        ...         {"season": (0.08, 0.10), "climate_zone": (0.57, 0.60)}]
        >>> found = sharing_over_replicates(runs)
        >>> round(found.changes["season"].mean, 3), round(found.mean.mean, 4)  # (10 % + 20 %) / 2; (5 % + 7.5 %) / 2
        (0.15, 0.0625)

    Reference:
        Maninis et al. 2019, https://arxiv.org/abs/1904.08918; Vandenhende et al. 2021, https://arxiv.org/abs/2004.13379
    """
    runs = list(runs)
    compared = [run for run in runs if isinstance(run, SharingComparison)]
    names = {(run.multitask, run.reference, run.simulated) for run in compared} or {(multitask, reference, simulated)}
    if len(names) > 1:
        raise InvalidArgumentError(
            f"`runs` must compare the same two models, all in simulated or all in real data. Received: {sorted(names)}."
        )
    ((multitask, reference, simulated),) = names
    values = _values(runs)
    metrics = {task: MAIN_METRICS[kind_of(task)] for task in values}
    sides = {"first": multitask, "second": reference}
    tables = {task: relative_change(metrics[task], *table.T) for task, table in values.items()}
    defined = {task: table for task, table in tables.items() if not np.isnan(table).any()}
    zeros = np.zeros(len(runs))
    mean = None
    if len(defined) == len(tables) > 1:
        mean = paired_over_replicates(np.mean(list(defined.values()), axis=0), zeros, **sides)
    return SharingReplicates(
        multitask,
        reference,
        metrics,
        values,
        differences={
            task: paired_over_replicates(*table.T, metric=metrics[task], **sides)
            for task, table in values.items()
            if np.isfinite(table).all()
        },
        changes={task: paired_over_replicates(table, zeros, **sides) for task, table in defined.items()},
        mean=mean,
        replicates=len(runs),
        missing=tuple(_undefined(task, tables[task], reference) for task in tables if task not in defined),
        simulated=simulated,
        costs=costs or next((run.costs for run in compared if run.costs), None),
    )


def _values(runs) -> dict[str, np.ndarray]:
    """Task -> scores of both sides, shape (R, 2)."""
    if not runs:
        raise InvalidArgumentError("`runs` must hold at least one replicate. Received: none.")
    pairs = [run.main_values if isinstance(run, SharingComparison) else run for run in runs]
    tasks = list(pairs[0]) if isinstance(pairs[0], Mapping) else []
    for run in pairs:
        if not isinstance(run, Mapping) or not run or set(run) != set(tasks):
            raise InvalidArgumentError(
                "`runs` must hold the same targets, each as (of the multitask model, of the reference). "
                f"Received: {tasks} and {list(run) if isinstance(run, Mapping) else run!r}."
            )
        for task in tasks:
            if np.shape(run[task]) != (2,):
                raise InvalidArgumentError(f"`runs` must hold a pair of scores for {task!r}. Received: {run[task]!r}.")
    return {task: np.array([run[task] for run in pairs], "float64") for task in tasks}


def _undefined(task: str, changes: np.ndarray, reference: str) -> str:
    count = int(np.isnan(changes).sum())
    return (
        f"{task}: no relative change, nor a mean over tasks, since in {count} of {len(changes)} replicates a score "
        f"is missing or {reference} is 0."
    )


def _bounds(item: ReplicateComparison) -> str:
    return "" if item.low is None else f"[{item.low:+.3f}, {item.high:+.3f}]"
