"""What the patches on one side of a split share with those on another."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from eokeras.ben_ge.ground import SAME_GROUND_M, ground_points, nearest_m
from eokeras.ben_ge.places import Place, product_of

_APART = 1e6  # cells between two tiles in the tree: more than any tile has


class LeakageWarning(UserWarning):
    """A split lets patches of one place or date stand on both sides."""


@dataclass(frozen=True)
class Leakage:
    """Of `patches` patches on one side, how many have a counterpart on the other side that shares ...

    Attributes:
        patches: patches on the side.
        product: ... the Sentinel-2 acquisition (and with it the date).
        tile: ... the tile.
        date: ... the date.
        cell: ... tile, column and row: the same ground on another date.
        adjacent: ... the cell, or has an abutting one of the tile (corners included).
        within_5_cells: ... the tile, at most 5 columns and 5 rows away.
        ground: ... the ground at least in part (centres nearer than `SAME_GROUND_M`), overlapping tiles included; a
            lower bound across UTM zones.
        nearest_cells: smallest distance in cells, of all pairs in one tile; None without any.
        nearest_m: smallest distance between centres on the ground, whatever the tile; None without any.
    """

    patches: int
    product: int
    tile: int
    date: int
    cell: int
    adjacent: int
    within_5_cells: int
    ground: int | None = None
    nearest_cells: int | None = None
    nearest_m: float | None = None

    def sentence(self, side: str = "test", against: str = "training") -> str:
        """The counts in words, with the names of the two sides."""
        return (
            f"Of {self.patches} {side} patches {self.product} share their acquisition, {self.date} their date and "
            f"{self.tile} their tile with a {against} patch; {self.adjacent} abut or repeat one's cell, "
            f"{self.cell} show the same cell on another date.{self.ground_sentence(against)}"
        )

    def ground_sentence(self, against: str = "training") -> str:
        """What overlapping tiles add, with a blank in front; "" where they add nothing."""
        if not self.ground or self.ground == self.cell:
            return ""
        return f" {self.ground} share ground with a {against} patch, those of overlapping tiles included."


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
        A `Leakage`. Between the sides of a split by both tile and date the counts of product, tile, date and cells are
        0. What is measured on the ground is None where a tile has no MGRS name.
    """
    here = [patch_id for patch_id in patches.get(side, ()) if patch_id in places]
    there = [patch_id for patch_id in patches.get(against, ()) if patch_id in places]
    products = set(map(product_of, there))
    here_places = [places[patch_id] for patch_id in here]
    dates = {places[patch_id].date for patch_id in there}
    # Cells repeat on other dates: each is measured once.
    other_cells = [Place(*cell, "") for cell in {places[patch_id][:2] for patch_id in there}]
    own_cells: dict[tuple, int] = {}
    number = np.array([own_cells.setdefault(place[:2], len(own_cells)) for place in here_places], "int64")
    cells_to, metres_to = (
        measure([Place(*cell, "") for cell in own_cells], other_cells) for measure in (_cell_distances, _metres)
    )
    cells, metres = cells_to[number], None if metres_to is None else metres_to[number]
    return Leakage(
        patches=len(here),
        product=sum(product_of(patch_id) in products for patch_id in here),
        tile=int(np.isfinite(cells).sum()),
        date=sum(place.date in dates for place in here_places),
        cell=int((cells == 0).sum()),
        adjacent=int((cells <= 1).sum()),
        within_5_cells=int((cells <= 5).sum()),
        ground=None if metres is None else int((metres < SAME_GROUND_M).sum()),
        nearest_cells=_smallest(cells, int),
        nearest_m=None if metres is None else _smallest(metres, float),
    )


def _smallest(distances: np.ndarray, kind: type):
    smallest = distances.min(initial=np.inf)
    return kind(smallest) if np.isfinite(smallest) else None


def _cell_distances(here: Sequence[Place], there: Sequence[Place]) -> np.ndarray:
    """Cells (larger of columns and rows) to the nearest place of the other side in the tile; inf without one."""
    if not here or not there:
        return np.full(len(here), np.inf)
    numbers: dict[str, int] = {}
    points, others = (
        np.array([(numbers.setdefault(tile, len(numbers)) * _APART, *cell) for tile, cell, _ in side], "float64")
        for side in (here, there)
    )
    return cKDTree(others).query(points, p=np.inf, distance_upper_bound=_APART / 2)[0]


def _metres(here: Sequence[Place], there: Sequence[Place]) -> np.ndarray | None:
    """Metres on the ground to the nearest place of the other side."""
    try:
        return nearest_m(ground_points(here), ground_points(there))
    except ValueError:
        return None
