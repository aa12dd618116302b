"""Does one model for several tasks do better than another on the same patches, such as its single-task twins?"""

from collections.abc import Mapping

import numpy as np

from eokeras.errors import InvalidArgumentError
from eokeras.evaluate import intervals
from eokeras.evaluate.comparison import Comparison, Pairs, paired_metrics, pairing, task_differences
from eokeras.evaluate.costs import Cost
from eokeras.evaluate.patch_statistics import MAIN_METRICS, has_label
from eokeras.evaluate.scores import Estimate, Scores, TaskScore, metric_name
from eokeras.evaluate.sharing_costs import SharingCosts, sharing_costs
from eokeras.evaluate.sharing_results import MEAN_OVER_TASKS, RelativeChange, SharingComparison, relative_change

SINGLE_TASK = "single-task"
"""Name of the twins, one model for each task."""

_ARGUMENTS = ("multitask", "reference")


def compare_sharing(
    multitask: Scores,
    reference: Scores | Mapping[str, Scores],
    *,
    costs: tuple[Cost, Cost | Mapping[str, Cost]] | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> SharingComparison:
    """Compares a model for several tasks with its single-task twins, or with a model for other tasks.

    For every metric of a task the paired difference, and for its main metric (accuracy, mean IoU, mean absolute
    error, macro-F1 of labels) the relative change, both with 95 % intervals from the same draws of whole groups.
    The mean over tasks has an interval only where all tasks are labelled in the same groups: dates (season) and
    tiles cut the patches differently, and one test set does not tell how chance on the one goes with chance on
    the other. Worlds or seeds as replicates do (`sharing_over_replicates`). A relative change weighs a task by
    how small its reference is: read the differences beside it.

    Args:
        multitask: scores of the model for several tasks, as from `score(..., name="multitask")`.
        reference: target -> scores of its single-task twin; or scores of another model, such as one for two of
            three tasks. Targets that only one side has are left out and named.
        costs: (of the multitask model, of the reference), each from `cost`; of twins a dict, target -> cost.
            See `SharingCosts` for how they add up.
        seed, resamples: of the intervals.

    Returns:
        `SharingComparison`; `eokeras.plot.sharing_chart` draws it.

    Raises:
        InvalidArgumentError: the two sides bear one name or share no target, a twin lacks its target, `costs` are
            not those of both sides, or patches and labels differ as in `compare`.

    Example:
        >>> twins = {task: score(model, test[task], schema) for task, model in models.items()}  # doctest: +SKIP
        >>> print(compare_sharing(score(both, test, schema, name="multitask"), twins))  # doctest: +SKIP

    Reference:
        Maninis et al. 2019, https://arxiv.org/abs/1904.08918; Vandenhende et al. 2021, https://arxiv.org/abs/2004.13379
    """
    others, name = _by_task(reference)
    if name == multitask.name:
        raise InvalidArgumentError(
            f"`multitask` and `reference` must have different names; `score(name=...)` sets one. "
            f"Received: {name!r} twice."
        )
    shared = [task for task in multitask.tasks if task in others]
    if not shared:
        raise InvalidArgumentError(
            f"`multitask` and `reference` must share a target. Received: {list(multitask.tasks)} and {list(others)}."
        )
    differences, scores, changes, draws = [], {}, {}, {}
    for task in shared:
        one, other = multitask.tasks[task], others[task].tasks[task]
        order = pairing(multitask, others[task], _ARGUMENTS)
        pairs = paired_metrics(one, other.statistics[order], seed=seed, resamples=resamples, names=_ARGUMENTS)
        differences += task_differences(one, *pairs)
        scores[task] = one, other
        changes[task], draws[task] = _change(one, *pairs, name)
    comparison = Comparison(multitask.name, name, tuple(differences), multitask.simulated)
    mean = _mean_change(changes, draws, scores) if len(shared) > 1 else None
    of_twins = isinstance(reference, Mapping)
    costs = _costs(costs, shared, of_twins, (multitask.name, name)) if costs is not None else None
    notes = _notes(multitask, others, name, costs is not None)
    return SharingComparison(comparison, scores, changes, mean, notes, costs)


def _by_task(reference) -> tuple[dict[str, Scores], str]:
    """Scores by target, and the name of the reference."""
    if isinstance(reference, Scores):
        return dict.fromkeys(reference.tasks, reference), reference.name
    if not isinstance(reference, Mapping) or not all(isinstance(other, Scores) for other in reference.values()):
        raise InvalidArgumentError(
            "`reference` must be `Scores`, or a dict of target -> `Scores` of its single-task twin. "
            f"Received: {type(reference).__name__}."
        )
    for task, other in reference.items():
        if task not in other.tasks:
            raise InvalidArgumentError(
                f"`reference[{task!r}]` must be scores of {task!r}. Received: scores of {list(other.tasks)}."
            )
    return dict(reference), SINGLE_TASK


def _change(score: TaskScore, values: Pairs, draws: Pairs, name: str) -> tuple[RelativeChange, np.ndarray | None]:
    """Relative change of the main metric, and its draws where it has an interval."""
    metric, note, drawn = MAIN_METRICS[score.kind], score.note, None
    value = float(relative_change(metric, *values[metric]))
    if values[metric][1] == 0:
        note = f"no relative change, since {metric_name(metric).split(' (')[0]} of {name} is 0"
    elif not note and np.any(draws[metric][1] == 0):
        note = f"no interval of the relative change, since {name} is 0 in some draws of {score.group}s"
    elif not note:
        drawn = relative_change(metric, *draws[metric])
    bounds = intervals.percentile_interval(drawn, score.groups) if drawn is not None else None
    estimate = Estimate(value, *(bounds or (None, None)))
    return RelativeChange(score.task, metric, estimate, score.group, score.groups, note), drawn


def _mean_change(changes, draws, scores) -> RelativeChange:
    """Mean over the tasks; with an interval where all tasks were drawn by the same groups."""
    value = float(np.mean([change.estimate.value for change in changes.values()]))
    note = _why_not(changes, draws, scores)
    if note:
        return RelativeChange(MEAN_OVER_TASKS, "", Estimate(value), None, 0, note)
    first = next(iter(changes.values()))
    bounds = intervals.percentile_interval(np.mean(list(draws.values()), axis=0), first.groups)
    return RelativeChange(MEAN_OVER_TASKS, "", Estimate(value, *bounds), first.group, first.groups, "")


def _why_not(changes, draws, scores) -> str:
    """Why the mean over the tasks has no value or no interval; "" where it has both."""
    undefined = [task for task, change in changes.items() if np.isnan(change.estimate.value)]
    if undefined:
        return f"no value, since that of {', '.join(undefined)} has none"
    without = [task for task, drawn in draws.items() if drawn is None]
    if without:
        return f"no interval, since {', '.join(without)} has none"
    first, *others = (set(one.group_names[has_label(one.kind, one.statistics)]) for one, _ in scores.values())
    if all(names == first for names in others):
        return ""
    units = sorted({change.group for change in changes.values()}, reverse=True)
    unlike = " and ".join(f"{unit}s" for unit in units) if len(units) > 1 else f"unlike {units[0]}s"
    return f"no interval from one test set, whose tasks are drawn by {unlike}"


def _costs(costs, shared: list[str], of_twins: bool, names: tuple[str, str]) -> SharingCosts:
    """Costs of both sides; of twins those of the tasks compared."""
    if not isinstance(costs, tuple | list) or len(costs) != 2:
        raise InvalidArgumentError(
            "`costs` must be a pair: of the multitask model, and of the reference (of twins a dict, target -> `Cost`). "
            f"Received: {type(costs).__name__}."
        )
    first, second = costs
    if isinstance(second, Mapping) != of_twins:
        raise InvalidArgumentError(
            "`costs` must hold, second, a dict of target -> `Cost` for twins and one `Cost` for another model. "
            f"Received: {type(second).__name__}."
        )
    if of_twins:
        lacking = [task for task in shared if task not in second]
        if lacking:
            raise InvalidArgumentError(
                f"`costs` must hold a `Cost` of the twin of every target compared. Received: {list(second)}, "
                f"which lack {', '.join(map(repr, lacking))}."
            )
        second = [second[task] for task in shared]
    return sharing_costs(first, second, names=names)


def _notes(multitask: Scores, others: Mapping[str, Scores], name: str, with_costs: bool) -> tuple[str, ...]:
    """Targets that one side lacks, which are left out."""
    notes = []
    only_first = [task for task in multitask.tasks if task not in others]
    only_second = [task for task in others if task not in multitask.tasks]
    if only_first:
        words = f"{', '.join(only_first)}: left out, since {name} lacks it"
        notes.append(f"{words}; the costs of {multitask.name} hold its head." if with_costs else f"{words}.")
    if only_second:
        words = f"{', '.join(only_second)}: left out, since {multitask.name} lacks it"
        model = with_costs and name != SINGLE_TASK
        notes.append(f"{words}; the costs of {name} hold its head." if model else f"{words}.")
    return tuple(notes)
