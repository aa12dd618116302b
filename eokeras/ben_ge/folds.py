"""Leave-groups-out folds: every group is tested once, where there are too few for an interval from a single split."""

from collections.abc import Mapping

import numpy as np

from eokeras.ben_ge.groups import SPLIT_GROUPS, group_patches
from eokeras.ben_ge.index_files import Split
from eokeras.ben_ge.splits import in_words, sides_with_buffer, usable_places
from eokeras.errors import InvalidArgumentError, check_choice

_TRAIN, _VAL, _TEST = range(3)
_FEWEST = 3  # a fold to test on, one to validate on, one to train on


def make_folds(
    source,
    folds: int = 5,
    group: str = "tile_date",
    seed: int = 0,
    *,
    countries: Mapping[str, str] | None = None,
    block_m: float | None = None,
    buffer_m: float = 0.0,
) -> tuple[Split, ...]:
    """Splits for leave-groups-out cross-validation: in fold k part k is test, the part after it val, the rest train.

    Whole groups are dealt out, largest first, each to the part that holds the fewest patches. As many folds as there
    are groups leave out one group at a time.

    Args:
        source: an opened `Source` (what is used: `patch_ids`, `places`, `misfits`).
        folds: number of splits, from 3.
        group: what stays together; see `eokeras.ben_ge.groups`.
        seed: the same seed gives the same folds.
        countries, block_m, buffer_m: as in `make_split`.

    Returns:
        A `Split` for each fold. Every patch that can be placed is in test exactly once.

    Raises:
        InvalidArgumentError: `folds` is no integer of 3 or more, or exceeds the number of groups; and as `make_split`.

    Example:
        >>> from eokeras.ben_ge.source import open_source                          # doctest: +SKIP
        >>> folds = make_folds(open_source("data/ben-ge-800"), 5, group="tile")    # doctest: +SKIP
    """
    if isinstance(folds, bool) or not isinstance(folds, int | np.integer) or folds < _FEWEST:
        raise InvalidArgumentError(f"`folds` must be an integer of {_FEWEST} or more. Received: folds={folds!r}.")
    check_choice("group", group, SPLIT_GROUPS)
    group_of = group_patches(usable_places(source), group, countries=countries, block_m=block_m)
    sizes = np.bincount(list(group_of.values())) if group_of else np.zeros(0, int)
    if len(sizes) < folds:
        rule = f"`folds` must be at most the number of groups, {len(sizes)} by {in_words(group)}."
        raise InvalidArgumentError(f"{rule} Received: folds={folds}.")
    part_of = _deal(sizes, folds, seed)
    splits = []
    for fold in range(folds):
        side_of = np.full(len(sizes), _TRAIN)
        side_of[part_of == (fold + 1) % folds] = _VAL
        side_of[part_of == fold] = _TEST
        held = np.bincount(side_of, sizes, minlength=3) / sizes.sum()
        note = (
            f"Fold {fold + 1} of {folds} by {in_words(group)} ({len(sizes)} groups): train {held[_TRAIN]:.1%}, "
            f"val {held[_VAL]:.1%}, test {held[_TEST]:.1%} in {np.count_nonzero(part_of == fold)} groups."
        )
        plan = Split({}, "fold", group, seed, notes=(note,))
        splits.append(sides_with_buffer(source, group_of, side_of, buffer_m, plan))
    return tuple(splits)


def _deal(sizes: np.ndarray, parts: int, seed: int) -> np.ndarray:
    """Part of every group: largest groups first, each to the smallest part so far."""
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.permutation(len(sizes)), -sizes))  # a drawn order among groups of one size
    part_of, held = np.empty(len(sizes), int), np.zeros(parts)
    shuffled = rng.permutation(parts)
    for number in order:
        part = shuffled[held[shuffled].argmin()]
        part_of[number] = part
        held[part] += sizes[number]
    return part_of
