"""Intervals: whole groups resampled within one set of patches, and Student's t over replicates.

Patches of one tile, or of one date, are alike, so a patch is not the unit of evidence: its group is.
Letters: N patches, G groups, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.patch_statistics import METRICS, less_is_better

CONFIDENCE = 0.95

FEWEST_REPLICATES = 5
"""With fewer replicates (worlds, seeds) than this a comparison is an illustration."""


def group_sums(statistics: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Sums per-patch statistics (N, ...) over the groups named by `groups` (N,): shape (G, ...)."""
    names, index = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(names), *statistics.shape[1:]))
    np.add.at(sums, index, statistics)
    return sums


def resampled_totals(sums: np.ndarray, *, resamples: int, seed: int) -> np.ndarray:
    """Totals of `resamples` draws of G groups out of G with replacement.

    Equal `seed` and G give equal draws, so that two models scored on the same patches are resampled alike.

    Args:
        sums: statistics per group, shape (G, ...).

    Returns:
        shape (R, ...).
    """
    count = len(sums)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return (draws @ sums.reshape(count, -1)).reshape(resamples, *sums.shape[1:])


def tail(groups: int) -> float:
    """Share of the resamples below (and above) a 95 % interval over `groups` groups.

    2.5 % in the limit of many groups, less for few: plain percentiles are too narrow then. In a
    simulation of accuracies that vary by tile, 10 groups cover 89 % with plain percentiles and
    93 % with these; 15 groups 93 % and 95 %.

    Reference:
        Hesterberg 2015, https://doi.org/10.1080/00031305.2015.1089789 (expanded percentile interval).
    """
    from scipy import stats  # 0.3 s; only intervals need it

    return float(stats.norm.cdf(-expansion(groups)))


def expansion(count: int) -> float:
    """Half the width of a 95 % interval in standard deviations that a bootstrap of `count` draws shows.

    1.96 in the limit, more for few: such a deviation is too small by sqrt((n - 1) / n), and itself uncertain.
    """
    from scipy import stats

    return float(np.sqrt(count / (count - 1)) * stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))


def percentile_interval(values: np.ndarray, groups: int) -> tuple[float, float] | None:
    """95 % interval (low, high) of resampled values (R,); None where no resample has a value."""
    values = values[~np.isnan(values)]
    if not values.size:
        return None
    low, high = np.quantile(values, [tail(groups), 1 - tail(groups)])
    return float(low), float(high)


def excludes_zero(low: float | None, high: float | None) -> bool:
    """Whether an interval lies wholly above or below zero; False where there is none."""
    return low is not None and (low > 0 or high < 0)


@dataclass(frozen=True)
class ReplicateComparison:
    """Paired difference of two methods over replicates (`first` minus `second`).

    Attributes:
        mean: mean difference.
        low, high: its 95 % t interval; None with a single replicate.
        replicates: number of worlds or seeds.
        smallest_difference: half the width of the interval: a smaller observed mean difference
            would not have excluded zero.
        smallest_difference_power_80: the true difference that such a design finds in 80 % of its
            repetitions.
        first, second: names of the methods.
        metric: name of the score, which tells whether less is better; "" where not given.
    """

    mean: float
    low: float | None
    high: float | None
    replicates: int
    smallest_difference: float | None
    smallest_difference_power_80: float | None
    first: str = "first"
    second: str = "second"
    metric: str = ""

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies wholly above or below zero; False with a single replicate."""
        return excludes_zero(self.low, self.high)

    @property
    def less_is_better(self) -> bool | None:
        """Whether less of the metric is better; None where the metric is not given."""
        return less_is_better(self.metric)

    @property
    def is_illustration(self) -> bool:
        """Whether there are too few replicates for a claim."""
        return self.replicates < FEWEST_REPLICATES

    def to_dict(self) -> dict:
        """JSON-able content."""
        return {
            "first": self.first,
            "second": self.second,
            "metric": self.metric,
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "replicates": self.replicates,
            "excludes_zero": self.excludes_zero,
            "smallest_difference": self.smallest_difference,
            "smallest_difference_power_80": self.smallest_difference_power_80,
            "illustration": self.is_illustration,
        }

    def __str__(self) -> str:
        text = f"mean difference {self.mean:+.3f}"
        if self.low is None:
            return f"{text} (one replicate: no interval; illustration, not evidence)"
        text += f" [{self.low:+.3f}, {self.high:+.3f}] over {self.replicates} replicates"
        text += "; difference excludes zero" if self.excludes_zero else "; difference does not exclude zero"
        text += f"; smallest difference that this design can show: {self.smallest_difference:.3f}"
        if self.is_illustration:
            text += f"; illustration, not evidence: fewer than {FEWEST_REPLICATES} replicates"
        return text


def paired_over_replicates(
    first_values: Sequence[float],
    second_values: Sequence[float],
    *,
    first: str = "first",
    second: str = "second",
    metric: str = "",
) -> ReplicateComparison:
    """Mean paired difference over replicates with its 95 % t interval.

    Args:
        first_values, second_values: one score per replicate (world or training seed), in the same order.
        first, second: names of the methods, for tables and charts.
        metric: name of the score as in `Scores`, such as "mean_iou" or "mae", which tells whether less is
            better; "" for any other score.

    Raises:
        InvalidArgumentError: lengths differ, nothing was given, a value is not finite, or `metric` is unknown.

    Example:
        >>> print(paired_over_replicates([0.52, 0.55, 0.50, 0.54, 0.53], [0.48, 0.50, 0.49, 0.50, 0.47]).mean)
        0.04
    """
    if metric and metric not in METRICS:
        raise InvalidArgumentError(
            f'`metric` must be one of {list(METRICS)}, or "" for any other score. Received: metric={metric!r}.'
        )
    one, other = (np.asarray(values, "float64") for values in (first_values, second_values))
    if one.ndim != 1 or one.shape != other.shape or not one.size:
        raise InvalidArgumentError(
            "`first_values` and `second_values` must hold one number per replicate each, in the same order. "
            f"Received: shapes {one.shape} and {other.shape}."
        )
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise InvalidArgumentError(f"Scores of replicates must be finite. Received: {one} and {other}.")
    from scipy import stats

    differences, count, names = one - other, len(one), (first, second, metric)
    mean = round(float(differences.mean()), 12)  # hides the rounding error of decimal scores
    if count == 1:
        return ReplicateComparison(mean, None, None, 1, None, None, *names)
    error = float(differences.std(ddof=1)) / np.sqrt(count)
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)
    half = float(quantile * error)
    power = float((quantile + stats.t.ppf(0.8, count - 1)) * error)
    return ReplicateComparison(mean, mean - half, mean + half, count, half, power, *names)
