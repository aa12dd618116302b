"""Label efficiency: how a score grows with the labels, for several contestants on the same label budgets.

Letters: R replicates (seeds, worlds), K label budgets.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from eokeras.ben_ge.label_subsets import DRAWS, check_fraction
from eokeras.ben_ge.records import load_schema
from eokeras.errors import InvalidArgumentError, check_choice
from eokeras.evaluate.comparison import Comparison
from eokeras.evaluate.intervals import FEWEST_REPLICATES, ReplicateComparison, paired_over_replicates
from eokeras.evaluate.patch_statistics import MAIN_METRICS, METRICS, less_is_better
from eokeras.evaluate.predictions import score
from eokeras.evaluate.repeats import by_group, repeat_differences
from eokeras.evaluate.scores import (
    ILLUSTRATION,
    SIMULATED,
    Scores,
    TaskScore,
    format_number,
    kind_of,
    metric_name,
    text_table,
)
from eokeras.models.encoders.contract import check_positive
from eokeras.pipeline import make_dataset

CHOSEN_HERE = {
    "label_fraction", "label_draw", "label_seed", "label_shots", "labels", "subset",
    "shuffle", "seed", "repeat", "augment", "metadata",
}  # fmt: skip
"""Options of `make_dataset` that `label_efficiency` and its contestants set themselves, or that contradict those."""

Contestant = Callable[..., Scores]
"""(train, test, schema, seed) -> `Scores` on `test`, having seen no labels but those of `train`."""


@dataclass(frozen=True)
class EqualLabels:
    """The share of labels at which a reference scores what another contestant does with a given share.

    Attributes:
        first, reference: names of the two.
        fraction: share of the labels that the first has.
        equal: the share at which the reference scores the same, interpolated over the logarithm of the share;
            infinite where it does not get there with all budgets tried, 0 where its smallest is enough.
        low, high: 95 % interval of `equal`, over resampled replicates; None with fewer than five.
        smallest, largest: shares tried.
        replicates: number R.
    """

    first: str
    reference: str
    fraction: float
    equal: float
    low: float | None
    high: float | None
    smallest: float
    largest: float
    replicates: int

    def __str__(self) -> str:
        text = (
            f"{self.first} with {_percent(self.fraction)} of the labels equals {self.reference} with "
            f"{self._share(self.equal)}"
        )
        if self.low is None:
            return f"{text} ({self.replicates} replicates, no interval: {ILLUSTRATION})."
        return f"{text} (95 % interval: {self._share(self.low)} to {self._share(self.high)})."

    def _share(self, share: float) -> str:
        if np.isclose(share, [self.smallest, self.largest]).any():  # exp(log(share)) may miss an end by a rounding
            return _percent(share)
        if share < self.smallest:
            return f"less than {_percent(self.smallest)}"
        return f"more than {_percent(self.largest)}" if share > self.largest else _percent(share)


@dataclass(frozen=True, eq=False)
class LabelEfficiency:
    """Scores of contestants by label budget and replicate. `print(efficiency)` shows tables.

    Attributes:
        target, metric: what was scored.
        fractions: K shares of the training labels, ascending.
        values: contestant -> scores, shape (R, K).
        draw: "spread" or "clustered".
        simulated: whether the data come from the simulator.
        one_test_set: whether all replicates were scored on the same patches, and not in worlds of their own.
        scores: contestant -> (replicate, budget) -> `TaskScore` by group, where they are known.
    """

    target: str
    metric: str
    fractions: tuple[float, ...]
    values: Mapping[str, np.ndarray]
    draw: str
    simulated: bool = False
    one_test_set: bool = False
    scores: Mapping[str, Mapping[tuple[int, int], TaskScore]] = field(default_factory=dict, repr=False)

    @property
    def replicates(self) -> int:
        """Number R of seeds or worlds."""
        return len(next(iter(self.values.values())))

    def difference(self, first: str, second: str) -> tuple[ReplicateComparison, ...]:
        """First minus second at every budget, paired over the replicates, with 95 % t intervals.

        On one test set, replicates in which neither score varies drew nothing anew, as probes with all labels: they
        count as one, without an interval.
        """
        one, other = (self._scores(argument, name) for argument, name in (("first", first), ("second", second)))
        names = {"first": first, "second": second, "metric": self.metric}
        pairs = zip(one.T, other.T, strict=True)
        if self.one_test_set:
            pairs = (pair if np.ptp(pair, axis=1).any() else [scores[:1] for scores in pair] for pair in pairs)
        return tuple(paired_over_replicates(*pair, **names) for pair in pairs)

    def group_difference(
        self, first: str, second: str, *, seed: int = 0, resamples: int = 1000
    ) -> tuple[Comparison, ...]:
        """First minus second at every budget, with intervals over the groups of the test set and over the replicates.

        Where `difference` tells what other draws of labels and other trainings would give on this test set, this tells
        what other tiles (or dates) would give, too. See `compare_repeats`.

        Raises:
            InvalidArgumentError: an unknown contestant, a single replicate, or scores that do not come from
                `label_efficiency`.
        """
        for argument, name in (("first", first), ("second", second)):
            check_choice(argument, name, self.values)
        if self.replicates < 2:
            rule = "Differences over groups need two replicates or more, which tell how trainings vary."
            raise InvalidArgumentError(f"{rule} Received: {self.replicates}.")
        if not self.scores:
            rule = "Differences over groups need the scores of one test set, as `label_efficiency` gives them."
            raise InvalidArgumentError(f"{rule} Received: numbers alone.")
        found = []
        for column in range(len(self.fractions)):
            sides = [[self.scores[name][row, column] for row in range(self.replicates)] for name in (first, second)]
            chosen = [item for item in repeat_differences(*sides, seed, resamples) if item.metric == self.metric]
            found.append(Comparison(first, second, tuple(chosen), self.simulated, repeats=self.replicates))
        return tuple(found)

    def equal_labels(
        self, first: str, reference: str, fraction: float, *, seed: int = 0, resamples: int = 2000
    ) -> EqualLabels:
        """How many labels the reference needs for the score that `first` has with `fraction` of them.

        The reference's mean scores are made monotone over the budgets (isotonic regression) and interpolated over the
        logarithm of the share. The interval resamples replicates, the same for both.

        Raises:
            InvalidArgumentError: an unknown contestant, or a fraction that was not tried.
        """
        check_choice("fraction", fraction, self.fractions)
        one = self._scores("first", first)[:, self.fractions.index(fraction)]
        other = self._scores("reference", reference)
        equal, bounds, count = self._share_of(one, other), (None, None), len(one)
        if count >= FEWEST_REPLICATES:
            draws = np.random.default_rng(seed).integers(count, size=(resamples, count))
            shares = np.sort([self._share_of(one[draw], other[draw]) for draw in draws])
            # Of the sorted shares themselves: between a number and infinity there is nothing to interpolate.
            bounds = tuple(float(shares[round(place * (resamples - 1))]) for place in (0.025, 0.975))
        ends = min(self.fractions), max(self.fractions)
        return EqualLabels(first, reference, fraction, equal, *bounds, *ends, count)

    def _share_of(self, first: np.ndarray, reference: np.ndarray) -> float:
        from scipy import optimize  # half a second; not needed to import the library

        sign = -1.0 if less_is_better(self.metric) else 1.0
        places, wanted = np.log(self.fractions), sign * float(first.mean())
        curve = optimize.isotonic_regression(sign * reference.mean(axis=0)).x
        if wanted > curve[-1]:
            return float("inf")
        if wanted < curve[0]:
            return 0.0
        above = int(np.argmax(curve >= wanted))  # the fewest labels that are enough
        if above == 0:
            return float(self.fractions[0])
        part = (wanted - curve[above - 1]) / (curve[above] - curve[above - 1])
        return float(np.exp(places[above - 1] + part * (places[above] - places[above - 1])))

    def _scores(self, argument: str, name: str) -> np.ndarray:
        check_choice(argument, name, self.values)
        return self.values[name]

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that must stand beside the numbers, in words."""
        lines = [SIMULATED] if self.simulated else []
        if self.replicates < FEWEST_REPLICATES:
            lines.append(f"{self.replicates} of at least {FEWEST_REPLICATES} replicates: {ILLUSTRATION}.")
        places = "spread over all groups (optimistic)" if self.draw == "spread" else "clustered in few groups"
        if self.one_test_set:
            lines.append(
                "Replicates are draws of labels and trainings on one test set, and tell nothing of other places; "
                "`group_difference` does."
            )
        return (*lines, f"Labels are {places}; nested, seeded, and the same for every contestant.")

    @property
    def headings(self) -> tuple[str, ...]:
        """Headings of `rows`."""
        return ("contestant", *(_percent(fraction) for fraction in self.fractions))

    def rows(self) -> list[tuple[str, ...]]:
        """(contestant, mean score at every budget)."""
        return [(name, *map(format_number, table.mean(axis=0))) for name, table in self.values.items()]

    def to_dict(self) -> dict:
        """JSON-able content; `values` hold a row for each replicate."""
        return {
            "target": self.target,
            "metric": self.metric,
            "draw": self.draw,
            "simulated": self.simulated,
            "fractions": list(self.fractions),
            "values": {name: table.tolist() for name, table in self.values.items()},
            "sentences": list(self.sentences),
        }

    def __str__(self) -> str:
        title = (
            f"{self.target}, {metric_name(self.metric)}, by share of the training labels; {self.replicates} replicates"
        )
        return "\n".join([title, text_table(self.headings, self.rows()), *self.sentences])


def label_efficiency(
    contestants: Mapping[str, Contestant],
    records: str | Path,
    inputs: Sequence[str],
    target: str,
    *,
    fractions: Sequence[float] = (0.01, 0.1, 1.0),
    draw: str = "spread",
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    metric: str | None = None,
    batch_size: int = 32,
    progress: Callable[[str], None] = print,
    **options,
) -> LabelEfficiency:
    """Scores every contestant at every label budget and seed: who needs fewer labels?

    For each seed the budgets are nested, and all contestants get the same patches. A contestant that stops early or
    tunes takes its validation data from `train.recipe(split="val")`, which has the same budget, so that validation
    labels count (Oliver et al. 2018).

    Args:
        contestants: name -> function `(train, test, schema, seed)` -> `Scores`, such as
            `functools.partial(linear_probe, encoder)` or what `fine_tuning` gives.
        records: directory that `eokeras.ben_ge.convert` returned.
        inputs: of `make_dataset`.
        target: the target to score.
        fractions: shares of the training labels, ascending, each above 0 and at most 1.
        draw: "spread" over all groups (optimistic) or "clustered" in few (realistic).
        seeds: of the draws and of training, the replicates; headlines need at least five.
        metric: of the target; default its main one (`MAIN_METRICS`).
        batch_size: of the data sets.
        progress: takes a line when a score is there.
        options: of `make_dataset`, for all contestants alike: `bands`, `resolution`, `calibrate`, `cache`, ...

    Returns:
        `LabelEfficiency`. Its replicates share one test set: intervals are over draws of labels and over training, and
        at 1.0 over training alone. For other places: `LabelEfficiency.group_difference`, or simulated worlds.

    Raises:
        InvalidArgumentError: no contestants or seeds, fractions that do not ascend, an unknown metric, or an option
            that is chosen here.

    Example:
        >>> contestants = {                                                          # doctest: +SKIP
        ...     "probe": functools.partial(evaluate.linear_probe, encoder),
        ...     "scratch": evaluate.fine_tuning(build, steps=400),
        ... }
        >>> efficiency = evaluate.label_efficiency(contestants, records, ("s2",), "land_cover")  # doctest: +SKIP
        >>> print(efficiency.equal_labels("probe", "scratch", 0.01))                 # doctest: +SKIP
        probe with 1 % of the labels equals scratch with 7 % (95 % interval: 5 % to 12 %).

    Reference:
        Oliver et al. 2018, https://arxiv.org/abs/1804.09170
    """
    fractions, metric = tuple(fractions), metric or MAIN_METRICS[kind_of(target)]
    _check(contestants, fractions, draw, seeds, metric)
    if chosen_here := sorted(CHOSEN_HERE & set(options)):
        raise InvalidArgumentError(f"`options` must not hold what is chosen here. Received: {', '.join(chosen_here)}.")
    schema = load_schema(records)
    test = make_dataset(records, "test", inputs, (target,), batch_size=batch_size, **options)
    values = {name: np.zeros((len(seeds), len(fractions))) for name in contestants}
    scores: dict[str, dict[tuple[int, int], TaskScore]] = {name: {} for name in contestants}
    for row, seed in enumerate(seeds):
        for column, fraction in enumerate(fractions):
            budget = {"label_fraction": fraction, "label_draw": draw, "label_seed": seed}
            train = make_dataset(records, "train", inputs, (target,), batch_size=batch_size, **budget, **options)
            for name, contestant in contestants.items():
                try:
                    found = contestant(train, test, schema, seed=seed).tasks[target]
                except Exception as error:  # hours of training may lie behind: whoever reads it needs the place
                    error.add_note(f"Contestant {name!r}, seed {seed}, {_percent(fraction)} of the labels.")
                    raise
                if metric not in found.estimates:
                    rule = f"`metric` must be one of {list(found.estimates)}."
                    raise InvalidArgumentError(f"{rule} Received: metric={metric!r}.")
                values[name][row, column] = found.estimates[metric].value
                scores[name][row, column] = by_group(found)
                progress(f"seed {seed}, {_percent(fraction)}, {name}: {values[name][row, column]:.3f}")
    return LabelEfficiency(target, metric, fractions, values, draw, schema.world is not None, True, scores)


def fine_tuning(
    build: Callable[[], keras.Model], *, steps: int, augment: Callable | None = None, name: str = "fine-tuning"
) -> Contestant:
    """A contestant that trains a network on the labels that there are: pretrained, frozen or from scratch.

    Every budget and every contestant gets the same number of steps, so that none is trained longer; few patches come
    round more often.

    Args:
        build: function () -> compiled model with named inputs and an output for every target; called anew for each
            training, after Keras' seeds are set. Whether weights are loaded, frozen, or trained at lower rates
            (`eokeras.models.LayerwiseAdamW`) stands in it. It must begin from the same weights each time: an encoder
            that is shared and not cloned (`keras.models.clone_model`, `set_weights`) would bring along what it
            learned from the labels of an earlier training.
        steps: batches to train on.
        augment: as in `make_dataset`.
        name: stands beside the scores.

    Returns:
        A function `(train, test, schema, seed)` -> `Scores`.

    Raises:
        InvalidArgumentError: `steps` is no positive integer; or, when it is trained, `build` gives other
            weights after a training than before it.
    """
    check_positive("steps", steps)
    is_checked = False

    def contestant(train, test, schema, seed: int = 0) -> Scores:
        nonlocal is_checked
        keras.utils.set_random_seed(seed)
        model = build()
        beginning = _fingerprint(model)
        batches = train.recipe(shuffle=True, seed=seed, repeat=True, augment=augment)
        model.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False)
        found = score(model, test, schema, name=name)
        if not is_checked:  # after the first training: an encoder that is shared has learned now
            keras.utils.set_random_seed(seed)
            if _fingerprint(build()) != beginning:
                raise InvalidArgumentError(
                    "`build` must begin from the same weights each time: clone an encoder, or load its weights. "
                    f"Received: other weights for {name}, seed {seed}, after it was trained."
                )
            is_checked = True
        return found

    return contestant


def _fingerprint(model: keras.Model) -> str:
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()


def _check(contestants, fractions, draw, seeds, metric) -> None:
    check_choice("draw", draw, DRAWS)
    for fraction in fractions:
        check_fraction(fraction)
    if not fractions or list(fractions) != sorted(set(fractions)):
        raise InvalidArgumentError(f"`fractions` must ascend. Received: fractions={fractions!r}.")
    for argument, given in (("contestants", contestants), ("seeds", seeds)):
        if not len(given):
            raise InvalidArgumentError(f"`{argument}` must not be empty. Received: {argument}={given!r}.")
    if metric not in METRICS:
        raise InvalidArgumentError(f"`metric` must be one of {list(METRICS)}. Received: metric={metric!r}.")


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.3g} %"
