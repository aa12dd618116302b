"""Scores of one model for every subset of its modalities, and two such tables side by side."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eokeras.errors import InvalidArgumentError, check_choices
from eokeras.evaluate.comparison import Comparison, compare, family_sentences
from eokeras.evaluate.importance import model_modalities
from eokeras.evaluate.predictions import (
    check_outputs,
    model_predictor,
    score_predictors,
    trivial_baselines,
    with_metadata,
)
from eokeras.evaluate.scores import SIMULATED, Scores, metric_name, text_table

_ZEROS = 'Missing modalities are zeros, which are the training mean after calibrate="standardise" only. Received: '


@dataclass(frozen=True, eq=False)
class SubsetScores:
    """Scores by subset of modalities, of one model on one set of patches. `print(...)` shows a table.

    Attributes:
        name: of the model.
        modalities: in the order of the model's inputs.
        scores: subset -> `Scores`, single modalities first, all of them last.
        baselines: trivial baselines on the same patches: what no modality at all would give.
        notes: sentences that belong to the numbers.
    """

    name: str
    modalities: tuple[str, ...]
    scores: Mapping[tuple[str, ...], Scores]
    baselines: tuple[Scores, ...] = ()
    notes: tuple[str, ...] = ()

    def __getitem__(self, subset: str | Iterable[str]) -> Scores:
        """Scores of a subset: names in any order, or joined by "+" ("s2+s1")."""
        names = set(subset.split("+") if isinstance(subset, str) else subset)
        key = tuple(name for name in self.modalities if name in names)
        if len(key) != len(names) or key not in self.scores:
            valid = ["+".join(known) for known in self.scores]
            raise InvalidArgumentError(f"`subset` must be one of {valid}. Received: subset={subset!r}.")
        return self.scores[key]

    @property
    def simulated(self) -> bool:
        """Whether the data come from the simulator."""
        return next(iter(self.scores.values())).simulated

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that must stand beside the scores, in words."""
        told = [sentence for scores in self.scores.values() for sentence in scores.sentences]
        return tuple(dict.fromkeys([*told, *self.notes]))

    @property
    def headings(self) -> tuple[str, ...]:
        """Headings of `rows`."""
        return ("target", "metric", "modalities", "value", "95 % interval", "resampled")

    def rows(self) -> list[tuple[str, ...]]:
        """(target, metric, modalities, value, 95 % interval, resampled groups), trivial baselines after the subsets."""
        first, *others = self.scores.values()
        return dataclasses.replace(first, baselines=(*others, *self.baselines)).rows()

    def to_dict(self) -> dict:
        """JSON-able content, subsets as "s2+s1"."""
        return {
            "name": self.name,
            "modalities": list(self.modalities),
            "simulated": self.simulated,
            "sentences": list(self.sentences),
            "subsets": {"+".join(subset): scores.to_dict()["tasks"] for subset, scores in self.scores.items()},
            "baselines": {other.name: other.to_dict()["tasks"] for other in self.baselines},
        }

    def __str__(self) -> str:
        return "\n".join([self.name, text_table(self.headings, self.rows(), repeat=(0, 1)), *self.sentences])


def subset_scores(
    model,
    dataset,
    schema,
    *,
    modalities: Sequence[str] | None = None,
    name: str = "model",
    seed: int = 0,
    resamples: int = 1000,
) -> SubsetScores:
    """Scores a model with every non-empty subset of its modalities, the others missing.

    The inputs of a missing modality are zeros, its presence input (`s1_present`) and its mask
    (`s1_mask`) too, where the model has them. Zero is the training mean after
    `calibrate="standardise"`, so a model without a presence input sees an average, featureless
    patch. The stored groups of Sentinel-2 are one modality. Each batch is read once and predicted
    2^M - 1 times for M modalities.

    Args:
        model, dataset, schema, seed, resamples: as in `score`.
        modalities: those to take away; others of the model are always there. Default all.
        name: of the model, for tables and charts.

    Returns:
        `SubsetScores`; `compare_subsets` puts two side by side.

    Raises:
        InvalidArgumentError: a modality is none of the model's, or as in `score`.

    Example:
        >>> robust = subset_scores(model, test, schema, name="with DropModality")  # doctest: +SKIP
        >>> robust["s1"].tasks["season"].estimates["mae"]  # doctest: +SKIP

    Reference:
        Neverova et al. 2015, https://arxiv.org/abs/1501.00102
    """
    recipe = getattr(dataset, "recipe", None)
    dataset = with_metadata(dataset)
    tasks = tuple(dataset.element_spec[1])
    check_outputs(model, tasks)
    known = model_modalities(model, dataset)
    check_choices("modalities", modalities or (), known)
    chosen = tuple(known if modalities is None else [name for name in known if name in modalities])
    if not chosen:
        raise InvalidArgumentError("`modalities` must name at least one. Received: none.")
    subsets = [subset for size in range(1, len(chosen) + 1) for subset in itertools.combinations(chosen, size)]
    predict = model_predictor(model, tasks)
    predictors = {"+".join(subset): _without(set(chosen) - set(subset), known, predict) for subset in subsets}
    constants, notes = trivial_baselines(tasks, schema)
    scores = score_predictors({**predictors, **constants}, dataset, schema, seed=seed, resamples=resamples)
    notes = (*notes, *_zero_notes(recipe))
    by_subset = dict(zip(subsets, scores, strict=False))
    return SubsetScores(name, chosen, by_subset, scores[len(subsets) :], notes)


def _zero_notes(recipe) -> tuple[str, ...]:
    """What zeros mean, unless the recipe of the data set says that they are the training mean."""
    options = getattr(recipe, "keywords", {})
    if "calibrate" not in options:
        return (f"{_ZEROS}a data set that does not tell its calibration.",)
    calibrate = options["calibrate"]
    return () if calibrate == "standardise" else (f"{_ZEROS}calibrate={calibrate!r}.",)


def _without(missing, known, predict):
    """The predictor with the inputs of some modalities set to zero."""
    names = [name for modality in known if modality in missing for name in known[modality]]

    def predict_without(inputs, shapes):
        # What the data set lacks is left for the predictor, whose message names it.
        zeros = {name: np.zeros_like(inputs[name]) for name in names if name in inputs}
        return predict({**inputs, **zeros}, shapes)

    return predict_without


# --- Two side by side --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SubsetComparison:
    """Two `SubsetScores` with their paired differences, `first` minus `second`. `print(...)` shows a table.

    Attributes:
        first, second: the tables that are compared.
        comparisons: subset -> `Comparison`.
    """

    first: SubsetScores
    second: SubsetScores
    comparisons: Mapping[tuple[str, ...], Comparison]

    def __getitem__(self, subset: str | Iterable[str]) -> Comparison:
        """The comparison for a subset: names in any order, or joined by "+" ("s2+s1")."""
        found = self.first[subset]
        return next(self.comparisons[key] for key, scores in self.first.scores.items() if scores is found)

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that must stand beside the differences, in words."""
        told = [sentence for comparison in self.comparisons.values() for sentence in comparison.sentences]
        simulated = [SIMULATED] if self.first.simulated else []
        family = family_sentences(self.comparisons.values())
        return tuple(dict.fromkeys([*simulated, *told, *family, *self.first.notes, *self.second.notes]))

    @property
    def headings(self) -> tuple[str, ...]:
        """Headings of `rows`."""
        names = self.first.name, self.second.name
        return ("target", "metric", "modalities", *names, " - ".join(names), "95 % interval", "resampled", "verdict")

    def rows(self) -> list[tuple[str, ...]]:
        """(target, metric, modalities, first, second, difference, 95 % interval, resampled groups, verdict)."""
        rows = []
        order = {(item.task, item.metric): None for comparison in self.comparisons.values() for item in
                 comparison.differences}  # fmt: skip
        for task, metric in order:
            for subset, comparison in self.comparisons.items():
                pair = [side[subset].tasks[task].estimates[metric] for side in (self.first, self.second)]
                index = [(item.task, item.metric) for item in comparison.differences].index((task, metric))
                rest = comparison.rows()[index][2:]
                rows.append((task, metric_name(metric), "+".join(subset), *map(str, pair), *rest))
        return rows

    def to_dict(self) -> dict:
        """JSON-able content, subsets as "s2+s1"."""
        return {
            "first": self.first.to_dict(),
            "second": self.second.to_dict(),
            "differences": {"+".join(key): item.to_dict()["differences"] for key, item in self.comparisons.items()},
            "sentences": list(self.sentences),
        }

    def __str__(self) -> str:
        return "\n".join([text_table(self.headings, self.rows(), repeat=(0, 1)), *self.sentences])


def compare_subsets(
    first: SubsetScores, second: SubsetScores, *, seed: int = 0, resamples: int = 1000
) -> SubsetComparison:
    """Paired differences of two models, subset by subset, with intervals over groups.

    Args:
        first, second: tables on the same patches, such as those of a model that was trained with
            DropModality and of its twin without; the subsets that both have are compared.
        seed, resamples: of the intervals.

    Raises:
        InvalidArgumentError: the tables share a name or no subset, or as in `compare`.

    Example:
        >>> print(compare_subsets(robust, plain))  # doctest: +SKIP
    """
    if first.name == second.name:
        raise InvalidArgumentError(
            f"`first` and `second` must have different names; `subset_scores(name=...)` sets one. "
            f"Received: {first.name!r} twice."
        )
    orders = {frozenset(subset): subset for subset in second.scores}
    shared = [subset for subset in first.scores if frozenset(subset) in orders]
    if not shared:
        names = [["+".join(subset) for subset in side.scores] for side in (first, second)]
        raise InvalidArgumentError(f"`first` and `second` must share a subset. Received: {names[0]} and {names[1]}.")
    comparisons = {}
    for subset in shared:
        pair = first.scores[subset], second.scores[orders[frozenset(subset)]]
        named = [dataclasses.replace(one, name=side.name) for one, side in zip(pair, (first, second), strict=True)]
        comparisons[subset] = compare(*named, seed=seed, resamples=resamples)
    return SubsetComparison(first, second, comparisons)
