"""Groups: patches that resemble each other and stay together on one side of a split.

    "tile"       a Sentinel-2 tile: for targets that hardly vary inside one (climate zone, land cover)
    "date"       an acquisition date: for season. Dates that photographed the same cell are one group.
    "tile_date"  tiles and dates that hang together: neither a tile nor a date is on two sides (mixed tasks)
    "country"    a country, from a published table: does it work where nobody labelled?
    "block"      a square of the UTM grid, smaller than a tile; it takes a buffer to keep neighbours apart

A cell (tile, column, row) is never in two groups. Neighbouring tiles overlap, so ground can be: a buffer of a patch's
diagonal leaves out the patches that it happens to.

Reference:
    Roberts et al. 2017, Cross-validation strategies for data with temporal, spatial, hierarchical, or
    phylogenetic structure, https://doi.org/10.1111/ecog.02881
"""

from collections.abc import Iterable, Mapping

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from eokeras.ben_ge.ground import zones_and_centres
from eokeras.ben_ge.places import Place
from eokeras.ben_ge.schema import PATCH_SIZE_M
from eokeras.errors import InvalidArgumentError, InvalidSourceError, check_choice, check_number

GROUPS = ("tile_date", "tile", "date")
"""Groups that places alone tell."""

SPLIT_GROUPS = (*GROUPS, "country", "block")


def group_patches(
    places: Mapping[str, Place],
    group: str = "tile_date",
    *,
    countries: Mapping[str, str] | None = None,
    block_m: float | None = None,
) -> dict[str, int]:
    """Patch id -> number of its group, from 0; see the module for what groups are.

    Args:
        places: patch id -> `Place`.
        group: one of `SPLIT_GROUPS`.
        countries: patch id -> country, for "country"; see `eokeras.ben_ge.read_published`.
        block_m: edge of a block in metres, for "block"; a patch's width or more.

    Raises:
        InvalidArgumentError: an unknown group, or one that lacks what it is made from.
        InvalidSourceError: a patch has no country, or, for "block", a tile has no MGRS name.

    Example:
        >>> places = {"a": Place("33UUP", (0, 0), "2017-06-13"), "b": Place("33UUP", (0, 0), "2017-09-01"),
        ...           "c": Place("34VER", (5, 5), "2017-09-01"), "d": Place("29SND", (5, 5), "2018-01-01")}
        >>> group_patches(places, "tile"), group_patches(places, "date")
        ({'a': 0, 'b': 0, 'c': 1, 'd': 2}, {'a': 0, 'b': 0, 'c': 0, 'd': 1})
    """
    check_choice("group", group, SPLIT_GROUPS)
    _check_made_from(group, countries, block_m)
    if not places:
        return {}
    if group == "block":
        numbers = _numbers(_blocks(places, block_m))
    else:
        tiles = _numbers(place.tile for place in places.values())
        if group == "tile":
            numbers = tiles
        elif group == "tile_date":
            numbers = _connected(tiles, _numbers(place.date for place in places.values()))
        else:
            kept = _countries(places, countries) if group == "country" else (place.date for place in places.values())
            numbers = _connected(_numbers(place[:2] for place in places.values()), _numbers(kept))
    return dict(zip(places, numbers.tolist(), strict=True))


def _check_made_from(group: str, countries, block_m) -> None:
    if group == "country" and countries is None:
        rule = "`countries` must say the country of every patch: of a published table with the column `country`."
        raise InvalidArgumentError(f"{rule} Received: none, with group='country'.")
    if group != "block":
        return
    if block_m is None:
        rule = "`block_m` must be the edge of a block in metres, at least the correlation length."
        raise InvalidArgumentError(f"{rule} Received: none, with group='block'.")
    check_number("block_m", block_m, at_least=PATCH_SIZE_M)


def _connected(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Numbers of the groups in which patches hang together that share either value."""
    size = int(first.max()) + int(second.max()) + 2
    edges = coo_array((np.ones(len(first), bool), (first, first.max() + 1 + second)), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    return _numbers(component[first].tolist())


def _countries(places: Mapping[str, Place], countries: Mapping[str, str]) -> list[str]:
    missing = [patch_id for patch_id in places if not countries.get(patch_id)]
    if missing:
        rule = "`countries` must say the country of every patch."
        raise InvalidSourceError(f"{rule} Missing: {missing[:5]} ({len(missing)} of {len(places)}).")
    return [countries[patch_id] for patch_id in places]


def _blocks(places: Mapping[str, Place], block_m: float) -> Iterable[tuple]:
    """Zone, column and row of the block that holds the centre of each patch, whatever its tile."""
    try:
        zones, centres = zones_and_centres(places.values())
    except ValueError as error:
        raise InvalidSourceError(f"Blocks need places on the ground. {error}") from None
    return zip(zones.tolist(), *np.floor(centres / block_m).astype("int64").T.tolist(), strict=True)


def _numbers(values: Iterable) -> np.ndarray:
    """Numbers from 0 in order of first appearance."""
    first: dict = {}
    return np.array([first.setdefault(value, len(first)) for value in values])
