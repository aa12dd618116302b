"""Where patches lie on the ground, across tiles that overlap and across UTM zones.

Sentinel-2 tiles are 109.8 km wide and stand 100 km apart, so neighbours share a strip: a cell of one tile can show the
ground of a cell of another. Distances between patches are therefore taken on the ground, not in the tile.
Letter: N places.
"""

from collections.abc import Iterable

import numpy as np
from rasterio.warp import transform
from scipy.spatial import cKDTree

from eokeras.ben_ge.places import Place, cell_corner, epsg_of
from eokeras.ben_ge.schema import PATCH_SIZE_M

SAME_GROUND_M = 0.99 * PATCH_SIZE_M
"""Centres nearer than this show the same ground at least in part; those of abutting cells are a patch apart.

Squares of two UTM zones are turned against each other and may touch by a corner up to a diagonal apart, 1697 m: of the
cells of BigEarthNet 152 pairs do so from 1200 m on (tiles 35VPK, 36VVQ, 36VVR). These are not counted.
"""


def zones_and_centres(places: Iterable[Place]) -> tuple[np.ndarray, np.ndarray]:
    """EPSG codes of the UTM zones (N,), and easting and northing [m] of the centres of the patches (N, 2).

    Raises:
        ValueError: a tile is no MGRS tile of the northern hemisphere.

    Example:
        >>> zones_and_centres([Place("29SND", (0, 0), "2017-06-13")])[1].tolist()
        [[500580.0, 4399440.0]]
    """
    places = list(places)
    corners = np.array([cell_corner(place.tile, place.cell) for place in places], "float64").reshape(-1, 2)
    zones = np.array([epsg_of(place.tile) for place in places], "int64")
    to_centre = np.array([PATCH_SIZE_M / 2, -PATCH_SIZE_M / 2])
    return zones, corners + to_centre


def ground_points(places: Iterable[Place]) -> np.ndarray:
    """Centres of patches as points (N, 3) [m] on the WGS 84 ellipsoid, from the centre of the Earth (EPSG:4978).

    Straight distances between them are those along the ground to a metre in 100 km, whatever their tiles and zones.

    Raises:
        ValueError: a tile is no MGRS tile of the northern hemisphere.

    Example:
        >>> west, east = ground_points([Place("33UUP", (0, 0), ""), Place("33UUP", (10, 0), "")])
        >>> round(float(np.linalg.norm(east - west)) / 1200, 2)
        10.0
    """
    places = list(places)
    numbers: dict[tuple, int] = {}  # cells repeat on other dates
    index = np.array([numbers.setdefault(place[:2], len(numbers)) for place in places], "int64")
    zones, centres = zones_and_centres(Place(*cell, "") for cell in numbers)
    points = np.empty((len(numbers), 3))
    for epsg in np.unique(zones).tolist():
        members = zones == epsg
        easting, northing = centres[members].T.tolist()
        heights = [0.0] * len(easting)
        points[members] = np.transpose(transform(f"EPSG:{epsg}", "EPSG:4978", easting, northing, heights))
    return points[index]


def nearest_m(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance [m] from each point (N, 3) to the nearest of `others` (M, 3); inf where there is none."""
    if not len(points) or not len(others):
        return np.full(len(points), np.inf)
    return cKDTree(others).query(points)[0]
