"""Two methods that were trained several times each, compared on one set of patches: places and trainings both vary.

Letters: S trainings, N patches, G groups, R resamples.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from eokeras.errors import InvalidArgumentError
from eokeras.evaluate import intervals
from eokeras.evaluate.comparison import Comparison, Difference, paired_metrics, pairing, task_differences
from eokeras.evaluate.intervals import group_sums
from eokeras.evaluate.patch_statistics import has_label
from eokeras.evaluate.scores import Scores, TaskScore


def compare_repeats(
    first: Sequence[Scores], second: Sequence[Scores], *, seed: int = 0, resamples: int = 1000
) -> Comparison:
    """Paired differences of two methods, averaged over their trainings, with intervals over groups and trainings.

    Every resample draws whole groups, and then trainings, with replacement, the same for both sides. Where the
    trainings vary little this is `compare`; where they vary much it is wider, as it must be: one training each tells
    which *network* is better, and not which method. What varies between trainings is stretched as Student's t asks of
    so few (`intervals.expansion`).

    Args:
        first, second: S `Scores` each, on the same patches; those of one place belong together (same seed, same
            labels) and are paired.
        seed, resamples: of the intervals.

    Returns:
        `Comparison`: the mean of first minus second, for each target and metric that all have.

    Raises:
        InvalidArgumentError: there are fewer than two of each, or not equally many; or as `compare`.

    Example:
        >>> fused = [evaluate.score(train("late", seed), test, schema) for seed in range(5)]     # doctest: +SKIP
        >>> optical = [evaluate.score(train("s2", seed), test, schema) for seed in range(5)]     # doctest: +SKIP
        >>> print(evaluate.compare_repeats(fused, optical))                                      # doctest: +SKIP
    """
    if len(first) != len(second) or len(first) < 2:
        raise InvalidArgumentError(
            "`first` and `second` must hold scores of equally many trainings, two or more. "
            f"Received: {len(first)} and {len(second)}."
        )
    for other in first[1:]:
        pairing(first[0], other, ("first[0]", "others"))
    orders = [pairing(*pair) for pair in zip(first, second, strict=True)]
    tasks = [task for task in first[0].tasks if all(task in scores.tasks for scores in (*first, *second))]
    if not tasks:
        raise InvalidArgumentError("`first` and `second` must share a target. Received: none that all have.")
    differences = []
    for task in tasks:
        others = [
            replace(scores.tasks[task], statistics=scores.tasks[task].statistics[order])
            for scores, order in zip(second, orders, strict=True)
        ]
        differences += repeat_differences([scores.tasks[task] for scores in first], others, seed, resamples)
    return Comparison(first[0].name, second[0].name, tuple(differences), first[0].simulated, repeats=len(first))


def repeat_differences(
    first: Sequence[TaskScore], second: Sequence[TaskScore], seed: int = 0, resamples: int = 1000
) -> list[Difference]:
    """Mean of first minus second for every metric of a target; scores of one place belong together.

    Raises:
        InvalidArgumentError: the two sides of a pair were scored against other labels.
    """
    found = [
        paired_metrics(one, other.statistics, seed=seed, resamples=resamples)  # equal draws of groups for all
        for one, other in zip(first, second, strict=True)
    ]
    values = {name: tuple(np.mean([pairs[name] for pairs, _ in found], axis=0)) for name in found[0][0]}
    count = len(found)
    shares = np.random.default_rng((seed, 1)).multinomial(count, np.full(count, 1 / count), size=resamples) / count
    if found[0][1] and count > 1:  # the interval will be stretched for the number of groups, this part for its own
        stretch = intervals.expansion(count) / intervals.expansion(first[0].groups)
        shares = 1 / count + stretch * (shares - 1 / count)
    draws = {
        name: tuple(np.einsum("rs,skr->kr", shares, np.stack([drawn[name] for _, drawn in found])))
        for name in found[0][1]
    }
    return task_differences(first[0], values, draws)


def by_group(score: TaskScore) -> TaskScore:
    """The same score with statistics summed over its groups (G, ...): all that intervals need, and small."""
    if score.group_names is None:
        return replace(score, statistics=score.totals[None])
    used = has_label(score.kind, score.statistics)
    names = score.group_names[used]
    return replace(score, statistics=group_sums(score.statistics[used], names), group_names=np.unique(names))
