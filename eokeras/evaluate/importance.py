"""What a trained model loses when one modality is shuffled across the patches.

Letters: N patches, B batch.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eokeras.ben_ge.input_names import inputs_by_modality
from eokeras.errors import InvalidArgumentError, check_choices
from eokeras.evaluate.comparison import Comparison, compare, family_sentences
from eokeras.evaluate.predictions import check_outputs, model_predictor, with_metadata
from eokeras.evaluate.scores import Scores, text_table
from eokeras.evaluate.tally import Tally

OF_THE_MODEL = (
    "Importance is what this model loses, not what a modality could give: another that tells the same may stand in "
    "for it."
)
"""What must stand beside every importance."""


@dataclass(frozen=True, eq=False)
class ModalityImportance:
    """Scores of a model and their drops, modality by modality. `print(importance)` shows a table.

    Attributes:
        intact: `Scores` on the patches as they are.
        comparisons: modality -> `Comparison`, intact minus shuffled. A drop is positive where more is
            better and negative for errors.
        repeats: number of shuffles, over which the statistics of each patch were averaged.
    """

    intact: Scores
    comparisons: Mapping[str, Comparison]
    repeats: int

    def __getitem__(self, modality: str) -> Comparison:
        """The comparison of intact and shuffled scores of a modality."""
        if modality not in self.comparisons:
            raise InvalidArgumentError(
                f"`modality` must be one of {list(self.comparisons)}. Received: modality={modality!r}."
            )
        return self.comparisons[modality]

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that must stand beside the numbers, in words."""
        own = (OF_THE_MODEL, f"Statistics of each patch averaged over {self.repeats} shuffles.")
        told = [sentence for comparison in self.comparisons.values() for sentence in comparison.sentences]
        return tuple(dict.fromkeys([*told, *family_sentences(self.comparisons.values()), *own]))

    @property
    def headings(self) -> tuple[str, ...]:
        """Headings of `rows`."""
        return ("target", "metric", "shuffled", "intact", "intact - shuffled", "95 % interval", "resampled", "verdict")

    def rows(self) -> list[tuple[str, ...]]:
        """(target, metric, modality, intact score, difference, 95 % interval, resampled groups, verdict)."""
        by_modality = {modality: comparison.rows() for modality, comparison in self.comparisons.items()}
        values = [
            str(estimate) for score in self.intact.tasks.values() for estimate in score.estimates.values()
        ]  # in the order of the comparisons' rows
        return [
            (task, metric, modality, value, *rest)
            for index, value in enumerate(values)
            for modality, rows in by_modality.items()
            for task, metric, *rest in [rows[index]]
        ]

    def to_dict(self) -> dict:
        """JSON-able content."""
        return {
            "intact": self.intact.to_dict(),
            "modalities": {modality: comparison.to_dict() for modality, comparison in self.comparisons.items()},
            "repeats": self.repeats,
            "sentences": list(self.sentences),
        }

    def __str__(self) -> str:
        return "\n".join([text_table(self.headings, self.rows(), repeat=(0, 1)), *self.sentences])


def modality_importance(
    model,
    dataset,
    schema,
    *,
    modalities: Sequence[str] | None = None,
    repeats: int = 5,
    seed: int = 0,
    resamples: int = 1000,
    buffer: int = 512,
) -> ModalityImportance:
    """Drop in score when one modality is shuffled across the patches: permutation importance.

    Each patch gets the modality of another patch, and keeps its other inputs, its targets and its
    metadata. The stored groups of Sentinel-2, and the mask and presence input of a modality, move
    together with it. Both sides are scored on the same patches, so the interval is a paired one,
    over whole groups. With several repeats the statistics of each patch are averaged over the
    shuffles before groups are resampled: the interval tells how sure the drop is over tiles (dates),
    not how much one shuffle differs from the next.

    What it does not show: what a modality could add to another model, or that it is needed.
    Modalities that tell of the same thing stand in for each other (elevation and ERA-5 weather
    share the place), so each may drop little alone while both together matter; and a shuffled
    patch shows combinations, such as snow at 30 °C, that the model never met, which can make a drop
    larger than the loss of the modality would be. Train without the modality to learn that. The other
    patch may come from the same tile (date), so over G equal groups the drop is too small by about 1/G
    for what is constant within a group: 0.9 where it should be 1 with ten tiles.

    Patches are read once and shuffled in blocks of about `buffer`, so memory stays bounded: a block
    is shuffled when it is full (one patch stays for the next block, so that none ends up alone),
    and exchanges nothing with the others. Records of `convert` are stored in random order; where
    yours are sorted by place, take a `buffer` as large as the data set, or neighbours get exchanged.

    Args:
        model: as in `score`.
        dataset: as in `score`.
        schema: of the records.
        modalities: which to shuffle, one at a time; default all that the model takes.
        repeats: number of shuffles of each; no patch keeps its own in any (but the only one of a data set).
        seed: of the shuffles and of the intervals. A modality is shuffled alike whichever others are asked for.
        resamples: of the intervals.
        buffer: patches in memory, at least 3. A patch of 15 bands at 10 m takes 0.9 MB.

    Raises:
        InvalidArgumentError: a modality is none of the model's, a number is out of range, or as in `score`.

    Example:
        >>> print(modality_importance(model, test, schema))  # doctest: +SKIP

    Reference:
        Breiman 2001, https://doi.org/10.1023/A:1010933404324; Fisher, Rudin and Dominici 2019,
        https://arxiv.org/abs/1801.01489
    """
    _check_counts(repeats=(repeats, 1), buffer=(buffer, 3))
    dataset = with_metadata(dataset)
    tasks = tuple(dataset.element_spec[1])
    check_outputs(model, tasks)
    known = model_modalities(model, dataset)
    check_choices("modalities", modalities or (), known)
    # A generator each, so that the shuffles of one modality do not depend on the others.
    generators = {name: np.random.default_rng([seed, index]) for index, name in enumerate(known)}
    chosen = {name: known[name] for name in (known if modalities is None else modalities)}
    if not chosen:
        raise InvalidArgumentError("`modalities` must name at least one. Received: none.")
    predict, tally = model_predictor(model, tasks), Tally(schema)
    for block in _blocks(dataset, [name for names in known.values() for name in names], buffer):
        orders = {name: [_no_fixed_point(generators[name], block.size) for _ in range(repeats)] for name in chosen}
        for rows in block.batches():
            _score_rows(tally, predict, block, rows, chosen, orders)
    return _result(tally.scores(seed=seed, resamples=resamples), chosen, repeats, seed, resamples)


def model_modalities(model, dataset) -> dict[str, tuple[str, ...]]:
    """Modality -> its inputs, of the inputs that `model` takes; of all in `dataset` where it names none."""
    names = [tensor.name for tensor in model.inputs] if getattr(model, "inputs", None) else dataset.element_spec[0]
    return inputs_by_modality(names)


def _check_counts(**values):
    for name, (value, least) in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InvalidArgumentError(f"`{name}` must be an integer of at least {least}. Received: {name}={value!r}.")


def _score_rows(tally: Tally, predict, block: "_Block", rows: slice, chosen, orders) -> None:
    """Scores some rows of a block: intact, then with each modality shuffled, averaged over the shuffles."""
    inputs, targets = _rows(block.inputs, rows), _rows(block.targets, rows)
    shapes = {task: reference.shape for task, reference in targets.items()}
    tally.add_patches(_rows(block.metadata, rows))
    tally.add("intact", tally.statistics("intact", targets, predict(inputs, shapes)))
    for modality, names in chosen.items():
        repeats = []
        for order in orders[modality]:
            shuffled = inputs | {name: block.inputs[name][order[rows]] for name in names}
            repeats.append(tally.statistics(modality, targets, predict(shuffled, shapes)))
        tally.add(modality, {task: np.mean([found[task] for found in repeats], axis=0) for task in repeats[0]})


def _result(scores: Mapping[str, Scores], chosen, repeats, seed, resamples) -> ModalityImportance:
    intact = scores["intact"]
    count = len(next(iter(intact.tasks.values())).statistics)
    # Both sides come from one pass, so they pair by position where patches have no names.
    names = np.arange(count).astype(str) if intact.patch_ids is None else intact.patch_ids
    comparisons = {
        modality: compare(
            dataclasses.replace(intact, patch_ids=names),
            dataclasses.replace(scores[modality], name=f"{modality} shuffled", patch_ids=names),
            seed=seed,
            resamples=resamples,
        )
        for modality in chosen
    }
    return ModalityImportance(intact, comparisons, repeats)


# --- Blocks ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Block:
    """Patches in memory that are shuffled among themselves."""

    inputs: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]
    metadata: dict[str, np.ndarray]
    batch_size: int

    @property
    def size(self) -> int:
        return len(next(iter(self.targets.values())))

    def batches(self) -> Iterator[slice]:
        """Rows of at most `batch_size` patches each."""
        for start in range(0, self.size, self.batch_size):
            yield slice(start, min(start + self.batch_size, self.size))


def _blocks(dataset, names: Sequence[str], size: int) -> Iterator[_Block]:
    """Blocks of at least two patches (of a data set that has two), in order, each patch in one of them."""
    held: list[tuple[dict, dict, dict]] = []
    count = batch_size = 0
    for inputs, targets, *metadata in dataset.as_numpy_iterator():
        found = len(next(iter(targets.values())))
        batch_size = max(batch_size, found)
        if count >= size:
            parts = _joined(held)
            yield _Block(*(_rows(part, slice(0, -1)) for part in parts), batch_size)
            # A copy, because a view would keep the whole block in memory.
            held, count = [tuple({key: values[-1:].copy() for key, values in part.items()} for part in parts)], 1
        # What the data set lacks is left for the predictor, whose message names it.
        held.append(({name: inputs[name] for name in names if name in inputs}, targets, *(metadata or ({},))))
        count += found
    if held:
        yield _Block(*_joined(held), batch_size)


def _joined(batches) -> list[dict[str, np.ndarray]]:
    parts = zip(*batches, strict=True)
    return [{key: np.concatenate([part[key] for part in same]) for key in same[0]} for same in parts]


def _rows(part: Mapping[str, np.ndarray], rows) -> dict[str, np.ndarray]:
    return {key: values[rows] for key, values in part.items()}


def _no_fixed_point(random: np.random.Generator, size: int) -> np.ndarray:
    """A random cycle through all `size` rows: a permutation in which none stays in its place."""
    cycle = random.permutation(size)
    order = np.empty(size, "int64")
    order[cycle] = np.roll(cycle, 1)
    return order
