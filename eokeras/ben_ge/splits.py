"""Splits into train, val and test: grouped (default), official, random, or from an index file.

Patches of one tile or one date resemble each other, so a split that scatters them over its sides claims
too much. A group is what stays on one side whole:

    "tile"       a Sentinel-2 tile: for targets that hardly vary inside one (climate zone, land cover)
    "date"       an acquisition date: for season. Dates that photographed the same cell are one group.
    "tile_date"  tiles and dates that hang together: neither a tile nor a date is on two sides (mixed tasks)

A cell (tile, column, row) is never on two sides of a grouped split, whatever the group.

Reference:
    Roberts et al. 2017, Cross-validation strategies for data with temporal, spatial, hierarchical, or
    phylogenetic structure, https://doi.org/10.1111/ecog.02881
"""

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from eokeras.ben_ge.index_files import Split, read_split, sorted_sides, write_split
from eokeras.ben_ge.layout import SPLITS
from eokeras.ben_ge.places import Place, parse_name
from eokeras.errors import InvalidArgumentError, InvalidSourceError, check_choice

__all__ = [
    "Leakage",
    "LeakageWarning",
    "Split",
    "group_patches",
    "leakage",
    "make_split",
    "read_split",
    "write_split",
]

KINDS = ("grouped", "official", "random")
GROUPS = ("tile_date", "tile", "date")
FEWEST_GROUPS = 10
"""Below about this many groups no interval over groups is worth printing."""

_TRIALS = 64
_FRACTION_SLACK = 0.005  # trials this close (share of all patches) to the best count as equal; more groups win


class LeakageWarning(UserWarning):
    """A split lets patches of one place or date stand on both sides."""


@dataclass(frozen=True)
class Leakage:
    """Of `patches` patches on one side, how many have a counterpart on the other side that shares ..."""

    patches: int
    product: int  # the Sentinel-2 acquisition (and with it the date)
    tile: int
    date: int
    cell: int  # tile, column and row: the same ground on another date
    adjacent: int  # the same or an abutting cell of the tile (corners included)
    within_5_cells: int  # a cell of the tile at most 5 columns and 5 rows away

    def sentence(self, side: str = "test", against: str = "training") -> str:
        """The counts in words, with the names of the two sides."""
        return (
            f"Of {self.patches} {side} patches {self.product} share their acquisition, {self.date} their date and "
            f"{self.tile} their tile with a {against} patch; {self.adjacent} abut or repeat one's cell, "
            f"{self.cell} show the same cell on another date."
        )


def make_split(
    source,
    kind: str | os.PathLike = "grouped",
    group: str = "tile_date",
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> Split:
    """Splits the patches of a source.

    Args:
        source: an opened `Source` (what is used: `name`, `patch_ids`, `places`, `misfits`, `splits`).
        kind: "grouped"; "official" (the tree's own files) and "random", which warn about what they leak; or the
            path of an index file.
        group: "tile_date", "tile" or "date"; only a grouped split uses it.
        fractions: shares of train, val and test; they sum to 1, the first is above 0.
        seed: the same seed gives the same split.

    Returns:
        A `Split`. Patches that cannot be read or placed (`Source.misfits`, `Source.places`) are in train, where
        reading them says why. With fewer groups than sides all patches are in train, and a note says so.

    Raises:
        InvalidArgumentError: an unknown `kind` or `group`, or bad `fractions`.
        InvalidSourceError: the official split is missing, overlaps or names unknown patches; so does the index file.

    Example:
        >>> from eokeras.ben_ge.source import open_source                             # doctest: +SKIP
        >>> make_split(open_source("data/ben-ge-800"), group="date", seed=3).notes   # doctest: +SKIP
    """
    if kind == "official":
        return _official(source)
    if isinstance(kind, os.PathLike) or (isinstance(kind, str) and (kind.endswith(".csv") or os.path.isfile(kind))):
        return _from_index(source, Path(kind))
    if kind not in KINDS:
        rule = f"`split` must be one of {list(KINDS)} or the path of an index file."
        raise InvalidArgumentError(f"{rule} Received: split={str(kind)!r}.")
    fractions = _check_fractions(fractions)
    if kind == "random":
        return _random(source, fractions, seed)
    check_choice("group", group, GROUPS)
    return _grouped(source, group, fractions, seed)


def _check_fractions(fractions: Sequence[float]) -> tuple[float, float, float]:
    try:
        values = tuple(float(value) for value in fractions)
    except (TypeError, ValueError):
        values = ()
    if len(values) != 3 or not min(values) >= 0 or abs(sum(values) - 1) > 1e-9 or values[0] == 0:
        rule = "`fractions` must be three shares (train above 0, val, test) that sum to 1."
        raise InvalidArgumentError(f"{rule} Received: fractions={fractions!r}.")
    return values


# ---- Grouped -------------------------------------------------------------------------------------------------------


def group_patches(places: Mapping[str, Place], group: str = "tile_date") -> dict[str, int]:
    """Patch id -> number of its group, from 0; see the module for what groups are.

    Example:
        >>> places = {"a": Place("33UUP", (0, 0), "2017-06-13"), "b": Place("33UUP", (0, 0), "2017-09-01"),
        ...           "c": Place("34VER", (5, 5), "2017-09-01"), "d": Place("29SND", (5, 5), "2018-01-01")}
        >>> group_patches(places, "tile"), group_patches(places, "date")
        ({'a': 0, 'b': 0, 'c': 1, 'd': 2}, {'a': 0, 'b': 0, 'c': 0, 'd': 1})
    """
    check_choice("group", group, GROUPS)
    if not places:
        return {}
    tiles = _numbers(place.tile for place in places.values())
    if group == "tile":
        return dict(zip(places, tiles.tolist(), strict=True))
    dates = _numbers(place.date for place in places.values())
    cells = _numbers((place.tile, place.cell) for place in places.values())
    others = tiles if group == "tile_date" else cells
    size = int(others.max()) + int(dates.max()) + 2
    edges = coo_array((np.ones(len(dates), bool), (others, others.max() + 1 + dates)), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    return dict(zip(places, _numbers(component[others].tolist()).tolist(), strict=True))


def _numbers(values: Iterable) -> np.ndarray:
    """Numbers from 0 in order of first appearance."""
    first: dict = {}
    return np.array([first.setdefault(value, len(first)) for value in values])


def _grouped(source, group: str, fractions: tuple[float, float, float], seed: int) -> Split:
    unusable = _unusable(source)
    aside = set(unusable)
    # In the order of the ids, so that the draw depends on nothing but names and seed.
    group_of = group_patches({i: source.places[i] for i in source.patch_ids if i not in aside}, group)
    sizes = np.bincount(list(group_of.values())) if group_of else np.zeros(0, int)
    sides = [side for side, fraction in zip(SPLITS, fractions, strict=True) if fraction > 0]
    notes = _unusable_notes(unusable)
    if len(sizes) < len(sides):
        notes.append(
            f"Too few groups ({len(sizes)} by {group.replace('_', ' and ')}) for {len(sides)} splits: "
            "all patches are in train, and there is nothing to test on."
        )
        side_of = np.zeros(len(sizes), int)
    else:
        side_of = _allocate(sizes, fractions, seed)
        notes.extend(_allocation_notes(sizes, side_of, fractions, group))
    patches = {side: [] for side in SPLITS}
    for patch_id in source.patch_ids:
        number = group_of.get(patch_id)
        patches["train" if number is None else SPLITS[side_of[number]]].append(patch_id)
    return Split(sorted_sides(patches), "grouped", group, seed, fractions, tuple(notes))


def _allocate(sizes: np.ndarray, fractions: tuple[float, float, float], seed: int) -> np.ndarray:
    """Side (place in `SPLITS`) of every group.

    Small groups, in a drawn order, fill val and test; what would overshoot goes to train. Of many draws the one
    nearest to the fractions is kept, and among the near ones that with most groups in val and test.
    """
    rng = np.random.default_rng(seed)
    wanted = np.array(fractions) * sizes.sum()
    trials = []
    for _ in range(_TRIALS):
        side_of = _fill(sizes, np.argsort(sizes * rng.uniform(1, 2, len(sizes)), kind="stable"), wanted)
        held = np.bincount(side_of, sizes, minlength=3)
        trials.append((np.abs(held - wanted).sum() / sizes.sum(), np.count_nonzero(side_of), side_of))
    best = min(miss for miss, _, _ in trials)
    near = [trial for trial in trials if trial[0] <= best + _FRACTION_SLACK]
    return max(near, key=lambda trial: (trial[1], -trial[0]))[2]


def _fill(sizes: np.ndarray, order: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    side_of = np.zeros(len(sizes), int)
    missing = wanted.copy()
    sides = [side for side in (2, 1) if wanted[side] > 0]
    empty = list(sides)
    for number in order[:-1]:  # the last, one of the largest, is always for train
        side = empty.pop(0) if empty else max(sides, key=lambda side: missing[side], default=0)
        # Adding a group helps as long as it does not overshoot by more than what was missing.
        if missing[side] == wanted[side] or sizes[number] < 2 * missing[side]:
            side_of[number] = side
            missing[side] -= sizes[number]
    return side_of


def _allocation_notes(sizes, side_of, fractions, group: str) -> list[str]:
    groups, held = np.bincount(side_of, minlength=3), np.bincount(side_of, sizes, minlength=3) / sizes.sum()
    parts = [f"{side} {share:.1%} in {count}" for side, share, count in zip(SPLITS, held, groups, strict=True)]
    notes = [f"Grouped by {group.replace('_', ' and ')} ({len(sizes)} groups): {', '.join(parts)}."]
    if fractions[2] and groups[2] < FEWEST_GROUPS:
        notes.append(f"Groups in test: {groups[2]}, too few for an interval (it takes about {FEWEST_GROUPS}).")
    if np.abs(held - fractions).max() > 0.05:
        asked = ", ".join(f"{fraction:.0%}" for fraction in fractions)
        notes.append(f"Whole groups do not come nearer to the shares asked for ({asked}).")
    return notes


def _unusable(source) -> list[str]:
    """Patches that `read` raises for: they stay in train, so that whoever reads the split learns why."""
    return [i for i in source.patch_ids if i in source.misfits or i not in source.places]


def _unusable_notes(unusable: Sequence[str]) -> list[str]:
    if not unusable:
        return []
    return [f"{len(unusable)} patches that cannot be read or placed are in train (such as {unusable[0]})."]


# ---- Official, random, from a file -----------------------------------------------------------------------------------


def _official(source) -> Split:
    if not source.splits:
        raise InvalidSourceError(
            f"An official split must be in the tree (splits/{source.name}_train.csv, ...) or passed as `splits=` to "
            f"`open_source`. Received: none in {source.name}."
        )
    named = set().union(*source.splits.values())
    unusable = [patch_id for patch_id in _unusable(source) if patch_id not in named]
    patches = {**source.splits, "train": (*source.splits.get("train", ()), *unusable)}
    notes = (*_unusable_notes(unusable), *_left_out(source, patches))
    return _warn_of_leaks(source, Split(sorted_sides(patches), "official", notes=notes))


def _random(source, fractions: tuple[float, float, float], seed: int) -> Split:
    order = np.random.default_rng(seed).permutation(len(source.patch_ids))
    ends = np.round(np.cumsum(fractions) * len(order)).astype(int)
    parts = np.split(order, ends[:2])
    patches = {side: [source.patch_ids[i] for i in part] for side, part in zip(SPLITS, parts, strict=True)}
    return _warn_of_leaks(source, Split(sorted_sides(patches), "random", None, seed, fractions))


def _from_index(source, path: Path) -> Split:
    split = read_split(path)
    known = set(source.patch_ids)
    unknown = [patch_id for ids in split.patches.values() for patch_id in ids if patch_id not in known]
    if unknown:
        rule = f"An index file must name patches of {source.name}."
        raise InvalidSourceError(f"{rule} Unknown: {unknown[:5]} ({len(unknown)} in all). File: {path}")
    notes = (*split.notes, *_left_out(source, split.patches))
    return Split(split.patches, "index", split.group, split.seed, split.fractions, notes)


def _left_out(source, patches: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    named = {patch_id for ids in patches.values() for patch_id in ids}
    rest = [patch_id for patch_id in source.patch_ids if patch_id not in named]
    return (f"{len(rest)} patches of {source.name} are in no split and are left out.",) if rest else ()


def _warn_of_leaks(source, split: Split) -> Split:
    counts = leakage(source.places, split.patches)
    note = f"The {split.kind} split leaks. {counts.sentence()} Its scores flatter: prefer kind='grouped'."
    if not any((counts.product, counts.tile, counts.date)):
        note = f"The {split.kind} split shares no acquisition, tile or date between training and test here."
    else:
        warnings.warn(note, LeakageWarning, stacklevel=4)
    return Split(split.patches, split.kind, split.group, split.seed, split.fractions, (*split.notes, note))


def leakage(
    places: Mapping[str, Place], patches: Mapping[str, Iterable[str]], side: str = "test", against: str = "train"
) -> Leakage:
    """Counts what the patches on one side of a split share with those on another.

    Args:
        places: patch id -> `Place`; patches without one are not counted.
        patches: split -> patch ids.
        side: the split whose patches are counted.
        against: the split that they are compared with.

    Returns:
        A `Leakage`; all counts but `patches` are 0 in a split by both tile and date.
    """
    here = [patch_id for patch_id in patches.get(side, ()) if patch_id in places]
    there = [patch_id for patch_id in patches.get(against, ()) if patch_id in places]
    products = {_product(patch_id) for patch_id in there}
    dates = {places[patch_id].date for patch_id in there}
    distances = _cell_distances([places[i] for i in here], [places[i] for i in there])
    return Leakage(
        patches=len(here),
        product=sum(_product(patch_id) in products for patch_id in here),
        tile=int(np.isfinite(distances).sum()),
        date=sum(places[patch_id].date in dates for patch_id in here),
        cell=int((distances == 0).sum()),
        adjacent=int((distances <= 1).sum()),
        within_5_cells=int((distances <= 5).sum()),
    )


def _product(patch_id: str) -> str:
    """The acquisition that a patch was cut from; its own name where that has another form."""
    try:
        return parse_name(patch_id).product
    except ValueError:
        return patch_id


def _cell_distances(here: Sequence[Place], there: Sequence[Place]) -> np.ndarray:
    """Cells (larger of columns and rows) to the nearest place of the other side in the tile; inf without one."""
    trees: dict[str, list] = {}
    for place in there:
        trees.setdefault(place.tile, []).append(place.cell)
    distances = np.full(len(here), np.inf)
    for tile in {place.tile for place in here} & trees.keys():
        members = [index for index, place in enumerate(here) if place.tile == tile]
        distances[members] = cKDTree(trees[tile]).query([here[index].cell for index in members], p=np.inf)[0]
    return distances
