"""Splits into train, val and test: grouped (default), official, random, or from a file.

Patches of one tile or one date resemble each other, so a split that scatters them over its sides claims too much. A
group is what stays on one side whole; `eokeras.ben_ge.groups` says which there are.
"""

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from eokeras.ben_ge.buffers import keep_distance
from eokeras.ben_ge.groups import GROUPS, SPLIT_GROUPS, group_patches
from eokeras.ben_ge.index_files import Split, read_split, sorted_sides, write_split
from eokeras.ben_ge.layout import SPLITS
from eokeras.ben_ge.leaks import Leakage, LeakageWarning, leakage
from eokeras.ben_ge.places import Place
from eokeras.ben_ge.published import is_published_table, read_published_split
from eokeras.errors import InvalidArgumentError, InvalidSourceError, check_choice

__all__ = [
    "GROUPS",
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
FEWEST_GROUPS = 10
"""Below about this many groups no interval over groups is worth printing."""

_TRIALS = 64
_FRACTION_SLACK = 0.005  # trials this close (share of all patches) to the best count as equal; more groups win


def make_split(
    source,
    kind: str | os.PathLike = "grouped",
    group: str = "tile_date",
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    *,
    countries: Mapping[str, str] | None = None,
    block_m: float | None = None,
    buffer_m: float = 0.0,
) -> Split:
    """Splits the patches of a source.

    Args:
        source: an opened `Source` (what is used: `name`, `patch_ids`, `places`, `misfits`, `splits`).
        kind: "grouped"; "official" (the tree's own files) and "random", which warn about what they leak; or the
            path of an index file or of a published table with the column `split` (reBEN's `metadata.parquet`).
        group: "tile_date", "tile", "date", "country" or "block"; only a grouped split uses it, and what follows.
        fractions: shares of train, val and test; they sum to 1, the first is above 0. A random split uses them too.
        seed: the same seed gives the same split. A random split uses it too.
        countries: patch id -> country, for "country"; see `read_published`.
        block_m: edge of a block in metres, for "block".
        buffer_m: distance in metres that is kept between the sides, by leaving patches out of train and val; for
            blocks the measured correlation length (`correlation_length`). Tiles overlap, so that some ground is on two
            sides of any split without a buffer of a patch's diagonal, 1700.

    Returns:
        A `Split`. Patches that cannot be read or placed (`Source.misfits`, `Source.places`) are in train, where
        reading them says why. With fewer groups than sides all patches are in train, and a note says so.

    Raises:
        InvalidArgumentError: an unknown `kind` or `group`, bad `fractions`, a group without what it is made from, or
            a buffer that leaves nothing of a side.
        InvalidSourceError: the official split is missing, overlaps or names unknown patches; so does the index file.

    Example:
        >>> from eokeras.ben_ge.source import open_source                             # doctest: +SKIP
        >>> make_split(open_source("data/ben-ge-800"), group="date", seed=3).notes   # doctest: +SKIP
    """
    _check_options(kind, group, countries, block_m, buffer_m)
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
    check_choice("group", group, SPLIT_GROUPS)
    made_from = {"countries": countries, "block_m": block_m}
    return _grouped(source, group, fractions, seed, made_from, buffer_m)


def _check_options(kind, group, countries, block_m, buffer_m) -> None:
    """Raises where an option is given that would be passed over: a buffer that is not there must not be believed in."""
    owners = {"countries": (countries, "country"), "block_m": (block_m, "block")}
    for name, (value, owner) in owners.items():
        if value is not None and (kind != "grouped" or group != owner):
            rule = f"`{name}` must come with a grouped split by {owner}."
            raise InvalidArgumentError(f"{rule} Received: split={str(kind)!r}, group={group!r}.")
    if buffer_m and kind != "grouped":
        rule = "`buffer_m` must come with a grouped split."
        raise InvalidArgumentError(f"{rule} Received: split={str(kind)!r}, buffer_m={buffer_m!r}.")


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


def _grouped(source, group: str, fractions: tuple[float, float, float], seed: int, made_from, buffer_m) -> Split:
    unusable = _unusable(source)
    # In the order of the ids, so that the draw depends on nothing but names and seed.
    group_of = group_patches(usable_places(source), group, **made_from)
    sizes = np.bincount(list(group_of.values())) if group_of else np.zeros(0, int)
    sides = [side for side, fraction in zip(SPLITS, fractions, strict=True) if fraction > 0]
    notes = _unusable_notes(unusable)
    if len(sizes) < len(sides):
        notes.append(
            f"Too few groups ({len(sizes)} by {in_words(group)}) for {len(sides)} splits: "
            "all patches are in train, and there is nothing to test on."
        )
        side_of = np.zeros(len(sizes), int)
    else:
        side_of = _allocate(sizes, fractions, seed, small_first=group != "block")
        notes.extend(_allocation_notes(sizes, side_of, fractions, group))
    return sides_with_buffer(source, group_of, side_of, buffer_m, Split({}, "grouped", group, seed, fractions, notes))


def sides_with_buffer(source, group_of: Mapping[str, int], side_of: np.ndarray, buffer_m: float, plan: Split) -> Split:
    """The split in which every group stands on its side, less what a buffer leaves out.

    Args:
        source: as in `make_split`; patches without a group are in train.
        group_of: patch id -> number of its group.
        side_of: group -> place of its side in `SPLITS`.
        buffer_m: distance in metres that is kept between the sides.
        plan: all that the split says of itself.
    """
    patches = {side: [] for side in SPLITS}
    for patch_id in source.patch_ids:
        number = group_of.get(patch_id)
        patches["train" if number is None else SPLITS[side_of[number]]].append(patch_id)
    patches, left_out = keep_distance(patches, source.places, buffer_m)
    patches = sorted_sides(patches)
    notes = (*plan.notes, *left_out, *_ground_notes(source, patches))
    return Split(patches, plan.kind, plan.group, plan.seed, plan.fractions, notes)


def _ground_notes(source, patches) -> list[str]:
    """A sentence where tiles that overlap, or blocks that abut, bring ground to both sides."""
    counts = leakage(source.places, patches)
    if not counts.ground and not counts.adjacent:
        return []
    facts = [f"{counts.ground} share ground with a training patch (tiles overlap)"] if counts.ground else []
    facts += [f"{counts.adjacent} abut the cell of one"] if counts.adjacent else []
    what = f"Of {counts.patches} test patches {' and '.join(facts)}"
    return [f"{what}: a buffer (`buffer_m`) leaves such training patches out."]


def _allocate(sizes: np.ndarray, fractions: tuple[float, float, float], seed: int, small_first: bool) -> np.ndarray:
    """Side (place in `SPLITS`) of every group.

    Groups, in a drawn order, fill val and test; what would overshoot goes to train. Of many draws the one nearest to
    the fractions is kept. With `small_first` small groups tend to come first, and among the near draws the one with
    most groups in val and test is kept: intervals over groups need many. Blocks are many and alike, and small ones
    are slivers at the edge of a tile or of the sea.
    """
    rng = np.random.default_rng(seed)
    wanted = np.array(fractions) * sizes.sum()
    trials = []
    for _ in range(_TRIALS):
        keys = rng.uniform(1, 2, len(sizes))
        side_of = _fill(sizes, np.argsort(sizes * keys if small_first else keys, kind="stable"), wanted)
        held = np.bincount(side_of, sizes, minlength=3)
        trials.append((np.abs(held - wanted).sum() / sizes.sum(), np.count_nonzero(side_of), side_of))
    best = min(miss for miss, _, _ in trials)
    if not small_first:
        return next(side_of for miss, _, side_of in trials if miss == best)
    near = [trial for trial in trials if trial[0] <= best + _FRACTION_SLACK]
    return max(near, key=lambda trial: (trial[1], -trial[0]))[2]


def _fill(sizes: np.ndarray, order: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    side_of = np.zeros(len(sizes), int)
    missing = wanted.copy()
    sides = [side for side in (2, 1) if wanted[side] > 0]
    empty = list(sides)
    for number in order[:-1]:  # the last, one of the largest where small ones come first, is always for train
        side = empty.pop(0) if empty else max(sides, key=lambda side: missing[side], default=0)
        # Adding a group helps as long as it does not overshoot by more than what was missing.
        if missing[side] == wanted[side] or sizes[number] < 2 * missing[side]:
            side_of[number] = side
            missing[side] -= sizes[number]
    return side_of


def _allocation_notes(sizes, side_of, fractions, group: str) -> list[str]:
    groups, held = np.bincount(side_of, minlength=3), np.bincount(side_of, sizes, minlength=3) / sizes.sum()
    parts = [f"{side} {share:.1%} in {count}" for side, share, count in zip(SPLITS, held, groups, strict=True)]
    notes = [f"Grouped by {in_words(group)} ({len(sizes)} groups): {', '.join(parts)}."]
    if fractions[2] and groups[2] < FEWEST_GROUPS:
        notes.append(f"Groups in test: {groups[2]}, too few for an interval (it takes about {FEWEST_GROUPS}).")
    if np.abs(held - fractions).max() > 0.05:
        asked = ", ".join(f"{fraction:.0%}" for fraction in fractions)
        notes.append(f"Whole groups do not come nearer to the shares asked for ({asked}).")
    return notes


def in_words(group: str) -> str:
    """A group as sentences name it."""
    return group.replace("_", " and ")


def usable_places(source) -> dict[str, Place]:
    """Patch id -> place of the patches that can be read and placed, in the order of the ids."""
    aside = set(_unusable(source))
    return {patch_id: source.places[patch_id] for patch_id in source.patch_ids if patch_id not in aside}


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
    if is_published_table(path):
        return _from_published(source, path)
    split = read_split(path)
    known = set(source.patch_ids)
    unknown = [patch_id for ids in split.patches.values() for patch_id in ids if patch_id not in known]
    if unknown:
        rule = f"An index file must name patches of {source.name}."
        raise InvalidSourceError(f"{rule} Unknown: {unknown[:5]} ({len(unknown)} in all). File: {path}")
    notes = (*split.notes, *_left_out(source, split.patches))
    return Split(split.patches, "index", split.group, split.seed, split.fractions, notes)


def _from_published(source, path: Path) -> Split:
    """The split that a table of a whole data set states, of the patches that the source holds."""
    side_of = read_published_split(path)
    patches: dict[str, list[str]] = {side: [] for side in SPLITS}
    for patch_id in source.patch_ids:
        if patch_id in side_of:
            patches[side_of[patch_id]].append(patch_id)
    if not any(patches.values()):
        rule = f"A published table must name patches of {source.name}."
        raise InvalidSourceError(f"{rule} Received: {len(side_of)} names and none of them. File: {path}")
    notes = (f"As {path.name} states it.", *_left_out(source, patches))
    return _warn_of_leaks(source, Split(sorted_sides(patches), "official", notes=notes))


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
