"""Names of inputs: which belong to one modality, and what tells that it is there."""

import re
from collections.abc import Iterable

from eokeras.ben_ge.schema import S2_GROUPS

MASK = "_mask"
"""Ends the name of an input that is 0 where numbers of a raster are missing: `s1_mask`."""

PRESENT = "_present"
"""Ends the name of an input that is 0 where a whole modality is missing: `s1_present`."""

VIEW = "_view_"
"""Stands before the number of a view, counted from 1, at the end of a name: `s2_view_1`, `s1_mask_view_2`."""


def view_name(name: str, number: int) -> str:
    """Name of an entry in a view: `s2`, 1 -> `s2_view_1`."""
    return f"{name}{VIEW}{number}"


def split_view(name: str) -> tuple[str, int | None]:
    """Name without its view, and the number of the view: `s2_view_1` -> `s2`, 1; `s2` -> `s2`, None."""
    match = re.fullmatch(rf"(.+){VIEW}([1-9]\d*)", name)
    return (match[1], int(match[2])) if match else (name, None)


def view_count(names: Iterable[str]) -> int:
    """How many views the named entries belong to; 0 where they are no views."""
    return len({number for _, number in map(split_view, names) if number is not None})


def presence_name(modality: str) -> str:
    """Name of the input that tells whether a modality is there (1) or missing (0): `s2` -> `s2_present`."""
    return f"{modality}{PRESENT}"


def modality_of(name: str) -> str:
    """Modality of an input: `s2` for the stored groups of Sentinel-2, the input itself for all others."""
    return "s2" if name in S2_GROUPS else name


def inputs_by_modality(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Groups inputs by modality, in the order of their first inputs.

    The stored groups of Sentinel-2 are one modality, and the mask and the presence input of a
    modality belong to it.

    Example:
        >>> inputs_by_modality(["s2_10m", "s2_60m", "s1", "s2_present", "s1_present"])
        {'s2': ('s2_10m', 's2_60m', 's2_present'), 's1': ('s1', 's1_present')}
    """
    names = tuple(names)
    known = {modality_of(name) for name in names}
    found: dict[str, list[str]] = {}
    for name in names:
        owner = name.removesuffix(PRESENT).removesuffix(MASK)
        found.setdefault(owner if owner in known else modality_of(name), []).append(name)
    return {modality: tuple(members) for modality, members in found.items()}
