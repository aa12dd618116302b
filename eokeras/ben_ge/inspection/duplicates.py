"""Patches that are the same image, or look like it, and on which sides of a split they stand.

Letters: N patches, U distinct hashes, S splits.

Images look alike where their difference hashes (`image_hashes`) differ in at most 3 of 64 bits. Such pairs are
found without comparing all with all: cut into 4 words of 16 bits, two hashes that differ in 3 bits agree in one word.

Reference:
    Manku, Jain and Das Sarma 2007, Detecting near-duplicates for web crawling, https://doi.org/10.1145/1242572.1242592
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

LARGEST_DISTANCE = 3
"""Bits in which the difference hashes of images that look alike may differ."""

_WORD = 16  # bits
_EXAMPLES = 10
_BITS = np.array([bin(value).count("1") for value in range(1 << _WORD)], "uint8")


def count_shared(groups: np.ndarray, sides: np.ndarray, splits: Sequence[str]) -> dict:
    """Patches that share a group with another, over all and between splits.

    Args:
        groups: (N,) number of the group of each patch, such as of its hash or cell; -1 where it has none.
        sides: (N,) which of `splits` each stands in.

    Returns:
        `patches` that are not alone in their group, `groups` of two or more, and `between`: "test and train" -> how
        many test patches have a partner in train.
    """
    has_group = groups >= 0
    table = np.zeros((1 + groups.max(initial=-1), len(splits)), "int64")
    np.add.at(table, (groups[has_group], sides[has_group]), 1)
    members = table.sum(axis=1)
    shared = {"patches": int(members[members > 1].sum()), "groups": int((members > 1).sum())}
    return shared | {"between": _between(splits, lambda side, other: table[table[:, other] > 0, side].sum())}


def find_identical(hashes: Sequence[bytes | None], ids: Sequence[str], sides: np.ndarray, splits) -> dict:
    """Counts of `count_shared` for patches with equal content, how many were compared, and a few of them by name."""
    groups = np.full(len(hashes), -1, "int64")
    number: dict[bytes, int] = {}
    for index, content in enumerate(hashes):
        if content is not None:
            groups[index] = number.setdefault(content, len(number))
    found = {"compared": int((groups >= 0).sum())} | count_shared(groups, sides, splits)
    sizes = np.bincount(groups[groups >= 0], minlength=1)
    examples = [np.flatnonzero(groups == group)[:5] for group in np.flatnonzero(sizes > 1)[:_EXAMPLES]]
    return found | {"examples": [_named(members, ids, sides, splits) for members in examples]}


def find_alike(hashes: Sequence[int | None], ids: Sequence[str], sides: np.ndarray, cells: np.ndarray, splits) -> dict:
    """Counts of patches that look like another one.

    Args:
        hashes: difference hash of each patch, or None.
        ids: their names.
        sides: (N,) which of `splits` each stands in.
        cells: (N,) number of the cell that each shows. A partner in the same cell is the same ground on another date,
            which is no fault of the data; it is counted apart.

    Returns:
        `compared`; `patches` with a partner in another cell, `same_cell` with one in their own; `between`: "test and
        train" -> test patches with a partner in another cell that is in train; `examples` of partners in other cells.
    """
    members: dict[int, list[int]] = {}
    for index, look in enumerate(hashes):
        if look is not None:
            members.setdefault(look, []).append(index)
    looks = np.array(list(members), "uint64")
    partners: dict[int, list[int]] = {}
    for first, second in near_pairs(looks).tolist():
        partners.setdefault(first, []).append(second)
        partners.setdefault(second, []).append(first)
    patches_of = list(members.values())
    elsewhere, here = np.zeros((len(ids), len(splits)), bool), np.zeros(len(ids), bool)
    examples: list[list[str]] = []
    for look, own in enumerate(patches_of):
        if len(own) == 1 and look not in partners:
            continue
        reach = [*own, *(patch for other in partners.get(look, ()) for patch in patches_of[other])]
        by_side = Counter(sides[reach].tolist())
        by_cell = Counter(zip(sides[reach].tolist(), cells[reach].tolist(), strict=True))
        for patch in own:
            cell = int(cells[patch])
            for side in range(len(splits)):
                elsewhere[patch, side] = by_side[side] > by_cell[side, cell]
            here[patch] = sum(by_cell[side, cell] for side in range(len(splits))) > 1
        partner = next((patch for patch in reach if cells[patch] != cells[own[0]] and patch > own[0]), None)
        if partner is not None and len(examples) < _EXAMPLES:
            examples.append(_named((own[0], partner), ids, sides, splits))
    return {
        "compared": sum(map(len, patches_of)),
        "patches": int(elsewhere.any(axis=1).sum()),
        "same_cell": int(here.sum()),
        "between": _between(splits, lambda side, other: (elsewhere[:, other] & (sides == side)).sum()),
        "examples": examples,
    }


def near_pairs(hashes: np.ndarray) -> np.ndarray:
    """Pairs (P, 2), first below second, of places in `hashes` (U,) uint64 that differ in 1 to 3 bits.

    Example:
        >>> near_pairs(np.array([0b0000, 0b0111, 0b11111], "uint64")).tolist()
        [[0, 1], [1, 2]]
    """
    words = np.stack([(hashes >> np.uint64(shift)) & np.uint64((1 << _WORD) - 1) for shift in (0, 16, 32, 48)])
    words = words.astype("uint16")
    found = [np.zeros((0, 2), "int64")]
    for word in words:
        order = np.argsort(word, kind="stable")
        ordered, step = word[order], 1
        left = np.flatnonzero(ordered[1:] == ordered[:-1])
        while left.size:  # neighbours in the order, then those two places apart, as long as the word is the same
            first, second = order[left], order[left + step]
            bits = sum(_BITS[word[first] ^ word[second]].astype("int64") for word in words)
            near = (bits > 0) & (bits <= LARGEST_DISTANCE)
            found.append(np.sort(np.stack([first[near], second[near]], axis=1), axis=1))
            step += 1
            left = left[left + step < len(ordered)]
            left = left[ordered[left + step] == ordered[left]]
    return np.unique(np.concatenate(found), axis=0)


def pairs_of(splits: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs (side, against) of splits that are compared: what is held out against what is learned from."""
    return [pair for pair in (("test", "train"), ("val", "train"), ("test", "val")) if {*pair} <= {*splits}]


def _between(splits, count) -> dict[str, int]:
    splits = list(splits)
    return {f"{a} and {b}": int(count(splits.index(a), splits.index(b))) for a, b in pairs_of(splits)}


def _named(members, ids, sides, splits) -> list[str]:
    return [f"{ids[index]} ({splits[sides[index]]})" for index in members]
