"""Label budgets: nested, seeded subsets of the patches whose labels may be used.

A draw puts all patches of a split in one order, of which every budget takes the beginning: so the patches of
a smaller budget are among those of a larger one. What a group is says `eokeras.ben_ge.splits`.

    "spread"     patches of all groups in turn: one of each group, then in proportion to its size (Adams' method).
                 Optimistic: whoever labels patches rarely travels that far.
    "clustered"  whole groups, one after the other in drawn order; the last is cut. A group of several tiles and
                 dates is itself taken tile by tile and date by date. Realistic.

Both count the labels of training and of validation: early stopping or tuning on all validation labels with 1 % of
the training labels spends far more than 1 %.

Reference:
    Oliver et al. 2018, Realistic evaluation of deep semi-supervised learning algorithms,
    https://arxiv.org/abs/1804.09170
    Adams' method, which gives every party a seat before any gets a second: Balinski and Young 1982, Fair
    representation.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np

from eokeras.ben_ge.index_files import read_sides, sorted_sides, write_index
from eokeras.ben_ge.places import Place
from eokeras.ben_ge.schema import TARGETS, VOID
from eokeras.ben_ge.splits import GROUPS, group_patches
from eokeras.errors import InvalidArgumentError, InvalidSourceError, check_choice

SIDES = ("train", "val")
"""The splits whose labels a budget counts. Those of test are read once, at the end, and belong to none."""

DRAWS = ("spread", "clustered")


@dataclass(frozen=True)
class LabelSubset:
    """The patches whose labels a budget pays for, and how they were drawn.

    Args:
        patches: "train", "val" -> sorted patch ids.
        draw: "spread" or "clustered"; None where the file does not say.
        seed: of the draw.
        group: what the draw took for a group.
        fraction: share of the patches of each split, or None.
        target: class target of a k-shot subset, or None.
        shots: patches per class and split of a k-shot subset, or None.
        totals: split -> number of its patches, labelled or not.
        fingerprint: of the records that it was drawn from (`RecordSchema.fingerprint`).
        notes: sentences on how it turned out.
    """

    patches: Mapping[str, tuple[str, ...]]
    draw: str | None = None
    seed: int | None = None
    group: str | None = None
    fraction: float | None = None
    target: str | None = None
    shots: int | None = None
    totals: Mapping[str, int] | None = None
    fingerprint: str | None = None
    notes: tuple[str, ...] = ()


# ---- Drawing -------------------------------------------------------------------------------------------------------


def draw_order(
    places: Mapping[str, Place], label_draw: str = "spread", label_group: str = "tile", label_seed: int = 0
) -> tuple[str, ...]:
    """All patches in the order in which a growing budget takes them.

    It depends on the names, the places and the seed alone, not on the order of the mapping.

    Args:
        places: patch id -> `Place`, of one split.
        label_draw: "spread" or "clustered".
        label_group: "tile", "date" or "tile_date".
        label_seed: 0 or above.

    Raises:
        InvalidArgumentError: an unknown draw or group, or a seed that is none.

    Example:
        >>> places = {f"{tile}{i}": Place(tile, (i, 0), "2017-06-13") for tile in "AB" for i in range(2)}
        >>> draw_order(places, "clustered", "tile", label_seed=1)
        ('A0', 'A1', 'B0', 'B1')
        >>> draw_order(places, "spread", "tile", label_seed=1)
        ('B0', 'A0', 'A1', 'B1')
    """
    check_draw(label_draw, label_group, label_seed)
    ids = sorted(places)
    if not ids:
        return ()
    groups = np.array(list(group_patches({patch_id: places[patch_id] for patch_id in ids}, label_group).values()))
    rng = np.random.default_rng(label_seed)
    within, ties = rng.permutation(len(ids)), rng.permutation(len(ids))
    if label_draw == "spread":
        keys = (ties, _turns(groups, within))
    else:
        # A cut group must not be sampled at random: by tile and date one component can hold half of all tiles.
        parts = ("date", "tile") if label_group == "date" else ("tile", "date")
        outer, inner = (_shuffled([getattr(places[patch_id], part) for patch_id in ids], rng) for part in parts)
        keys = (within, inner, outer, _shuffled(groups.tolist(), rng))
    return tuple(ids[index] for index in np.lexsort(keys))


def check_draw(label_draw: str, label_group: str, label_seed: int) -> None:
    """Raises `InvalidArgumentError` unless these are a draw, a group and a seed."""
    check_choice("label_draw", label_draw, DRAWS)
    check_choice("label_group", label_group, GROUPS)
    if isinstance(label_seed, bool) or not isinstance(label_seed, int | np.integer) or label_seed < 0:
        raise InvalidArgumentError(
            f"`label_seed` must be 0 or a positive integer. Received: label_seed={label_seed!r}."
        )


def _turns(groups: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Adams' method: the patch at place j of a group of n takes its turn at j / n."""
    order = np.lexsort((within, groups))
    sizes = np.bincount(groups)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    turns = np.empty(len(groups))
    turns[order] = (np.arange(len(groups)) - starts) / sizes[groups[order]]
    return turns


def _shuffled(values: Sequence, rng: np.random.Generator) -> np.ndarray:
    """A drawn number for each value, the same for equal ones."""
    different = sorted(set(values))
    drawn = dict(zip(different, rng.permutation(len(different)).tolist(), strict=True))
    return np.array([drawn[value] for value in values])


def take_fraction(order: Sequence[str], label_fraction: float) -> tuple[str, ...]:
    """The beginning of a draw: `label_fraction` of its patches, rounded half up, at least one.

    Raises:
        InvalidArgumentError: `label_fraction` is not above 0 and at most 1.

    Example:
        >>> take_fraction(("a", "b", "c", "d", "e"), 0.5)
        ('a', 'b', 'c')
    """
    check_fraction(label_fraction)
    # In decimals, as it was written: 0.29 * 50 is 14.499999999999998 in binary and 14.5 on paper.
    share = Decimal(str(label_fraction)) * len(order)
    return tuple(order[: max(1, int(share.quantize(Decimal(1), ROUND_HALF_UP)))])


def check_fraction(label_fraction: float, argument: str = "label_fraction") -> None:
    """Raises `InvalidArgumentError` unless it is a number above 0 and at most 1."""
    is_number = isinstance(label_fraction, int | float | np.number) and not isinstance(label_fraction, bool)
    if not is_number or not 0 < label_fraction <= 1:
        rule = f"`{argument}` must be a number above 0 and at most 1."
        raise InvalidArgumentError(f"{rule} Received: {argument}={label_fraction!r}.")


def take_shots(order: Iterable[str], classes: Mapping[str, int], label_shots: int) -> tuple[str, ...]:
    """The first `label_shots` patches of every class in a draw; all where a class has fewer.

    Args:
        order: patch ids as drawn.
        classes: patch id -> class id; `VOID` is no class.
        label_shots: patches per class, from 1.

    Raises:
        InvalidArgumentError: `label_shots` is no positive integer.

    Example:
        >>> take_shots(("a", "b", "c", "d"), {"a": 0, "b": 0, "c": 255, "d": 3}, 1)
        ('a', 'd')
    """
    if isinstance(label_shots, bool) or not isinstance(label_shots, int | np.integer) or label_shots < 1:
        rule = "`label_shots` must be a positive number of patches per class."
        raise InvalidArgumentError(f"{rule} Received: {label_shots!r}.")
    taken: Counter = Counter({VOID: label_shots})
    chosen = []
    for patch_id in order:
        if taken[classes[patch_id]] < label_shots:
            taken[classes[patch_id]] += 1
            chosen.append(patch_id)
    return tuple(chosen)


# ---- Index files ---------------------------------------------------------------------------------------------------


def write_label_subset(subset: LabelSubset, path: str | os.PathLike) -> Path:
    """Writes an index file of a label budget: how it was drawn as `# ` lines, then `patch_id,split` rows.

    It appears whole or not at all, and equal subsets give equal bytes. `make_dataset(..., labels=path)` reads it.

    Raises:
        TargetExistsError: `path` exists.
        UnwritableError: it cannot be written.
    """
    stated = {
        "draw": subset.draw,
        "fraction": subset.fraction,
        "target": subset.target,
        "shots": subset.shots,
        "group": subset.group,
        "seed": subset.seed,
        "fingerprint": subset.fingerprint,
    }
    stated |= {side: f"{len(subset.patches.get(side, ()))} of {total}" for side, total in (subset.totals or {}).items()}
    return write_index(path, stated, subset.notes, subset.patches)


def read_label_subset(path: str | os.PathLike) -> LabelSubset:
    """Reads an index file of a label budget: one of `write_label_subset`, or hand-made `patch_id,split` rows.

    Raises:
        InvalidSourceError: the file cannot be read, holds labels of test, a patch twice, or another number of
            patches than it states.
    """
    path = Path(path)
    patches, stated, notes = read_sides(path, SIDES)
    numbers = {"fraction": float, "shots": int, "seed": int}
    try:
        read = {key: make(stated[key]) for key, make in numbers.items() if key in stated}
        counts = {side: tuple(map(int, stated[side].split(" of "))) for side in SIDES if side in stated}
        totals = {side: total for side, (_, total) in counts.items()}
    except ValueError:
        rule = "`# fraction:`, `# shots:` and `# seed:` must be numbers, `# train:` and `# val:` like `32 of 320`."
        raise InvalidSourceError(f"{rule} Received: {stated}. File: {path}") from None
    for side, (count, _) in counts.items():
        if len(patches[side]) != count:
            rule = f"An index file must hold the patches that it states: {count} in {side}."
            raise InvalidSourceError(f"{rule} Received: {len(patches[side])}. File: {path}")
    target = stated.get("target")
    if target is not None and target not in TARGETS:
        raise InvalidSourceError(f"`# target:` must be one of {list(TARGETS)}. Received: {target!r}. File: {path}")
    return LabelSubset(
        patches={side: ids for side, ids in sorted_sides(patches).items() if side in SIDES},
        draw=stated.get("draw"),
        group=stated.get("group"),
        target=target,
        totals=totals or None,
        fingerprint=stated.get("fingerprint"),
        notes=notes,
        **read,
    )
