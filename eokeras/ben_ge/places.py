"""Where and when a patch lies, from its name or its georeferencing.

BigEarthNet names hold the acquisition *date*, the cell (column, row) of 1200 m in the
Sentinel-2 tile and, for Sentinel-1 and for BigEarthNet v2, the tile. Their time of day is
never used: published names drop its zeros (`T94132` is 09:41:32) and one says second 61.

Reference:
    MGRS lettering: NGA.STND.0037, Universal Grids and the Transverse Mercator.
"""

import datetime
import functools
import math
import re
from typing import NamedTuple

import numpy as np
from rasterio.warp import transform as warp

from eokeras.ben_ge.schema import PATCH_SIZE_M

TILE_SIZE_M = 109_800
"""Edge of a Sentinel-2 tile; neighbours overlap, its 100 km square gives the name."""

_COLUMN_LETTERS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")  # by zone modulo 3
_ROW_LETTERS = "ABCDEFGHJKLMNPQRSTUV"
_BAND_LETTERS = "CDEFGHJKLMNPQRSTUVWX"
_NORTHERN_TILE = re.compile(r"(\d{2})([N-X])([A-Z])([A-HJ-NP-V])")

_CELL = re.compile(r"(.*)_(\d+)_(\d+)")
_PRODUCTS = (
    re.compile(r"S2[A-D]_MSIL2A_(?P<date>\d{8})T\d{1,6}"),
    re.compile(r"S2[A-D]_MSIL2A_(?P<date>\d{8})T\d{1,6}_N\d{4}_R\d{3}_T(?P<tile>\d{2}[A-Z]{3})"),
    re.compile(r"S1[A-D]_IW_GRDH_1SDV_(?P<date>\d{8})T\d{1,6}_(?P<tile>\d{2}[A-Z]{3})"),
)
_ACQUISITIONS = (
    re.compile(r"S2[A-D]_MSIL2A_\d{8}T\d{1,6}_N\d{4}_R\d{3}_T\d{2}[A-Z]{3}"),
    re.compile(r"S1[A-D]_IW_GRDH_1SDV_\d{8}T\d{1,6}"),
)
NAME_RULE = (
    "`patch_id` must look like S2A_MSIL2A_20170613T101031_45_62, S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_75_43 "
    "or S1A_IW_GRDH_1SDV_20170613T165043_33UUP_45_62."
)


class PatchName(NamedTuple):
    """What a BigEarthNet patch name says. `tile` is None in Sentinel-2 names of v1."""

    product: str  # the acquisition: the name without tile (v1) and cell
    tile: str | None
    cell: tuple[int, int]  # column, row
    date: str  # YYYY-MM-DD


class Place(NamedTuple):
    """Where and when a patch was taken: what splits are grouped by."""

    tile: str  # MGRS, such as 33UUP
    cell: tuple[int, int]  # column (eastward) and row (southward) of 1200 m cells in the tile
    date: str  # Sentinel-2 acquisition date, YYYY-MM-DD


@functools.lru_cache(maxsize=4096)  # few acquisitions, many patches
def _parse_product(product: str) -> tuple[str | None, str] | None:
    """Tile (or None) and date of an acquisition; None where the name has another form."""
    for pattern in _PRODUCTS:
        if match := pattern.fullmatch(product):
            part = match.groupdict()
            return part.get("tile"), datetime.datetime.strptime(part["date"], "%Y%m%d").date().isoformat()
    return None


def parse_name(patch_id: str) -> PatchName:
    """Reads a BigEarthNet patch name: Sentinel-2 of v1 or v2, or Sentinel-1.

    Raises:
        ValueError: the name has another form, or its date does not exist.

    Example:
        >>> parse_name("S1A_IW_GRDH_1SDV_20170613T165043_33UUP_45_62").tile
        '33UUP'
        >>> parse_name("S2A_MSIL2A_20171101T94132_78_77").cell
        (78, 77)
    """
    match = _CELL.fullmatch(patch_id)
    try:
        found = _parse_product(match[1]) if match else None
    except ValueError:
        raise ValueError(f"The date in a patch name must exist. Received: {patch_id!r}.") from None
    if found is None:
        raise ValueError(f"{NAME_RULE} Received: {patch_id!r}.")
    tile, date = found
    return PatchName(match[1], tile, (int(match[2]), int(match[3])), date)


def product_of(patch_id: str) -> str:
    """The acquisition that a patch was cut from; its own name where that has another form."""
    product = patch_id.rsplit("_", 2)[0]
    try:
        return product if _parse_product(product) else patch_id
    except ValueError:  # a date that does not exist
        return patch_id


def is_patch_name(name: str, sensor: str) -> bool:
    """Whether `name` is a patch of `sensor` ("S1" or "S2")."""
    match = _CELL.fullmatch(name)
    return bool(match) and name.startswith(sensor) and any(pattern.fullmatch(match[1]) for pattern in _PRODUCTS)


def is_acquisition(name: str) -> bool:
    """Whether `name` is a folder in which BigEarthNet v2 gathers the patches of one acquisition."""
    return any(pattern.fullmatch(name) for pattern in _ACQUISITIONS)


def acquisition_of(name: str) -> str:
    """The folder in which BigEarthNet v2 keeps a patch: its name without cell and, for Sentinel-1, tile.

    Example:
        >>> acquisition_of("S1A_IW_GRDH_1SDV_20170613T165043_33UUP_70_48")
        'S1A_IW_GRDH_1SDV_20170613T165043'
    """
    return name.rsplit("_", 3 if name.startswith("S1") else 2)[0]


def tile_of(epsg: int, west: float, north: float, cell: tuple[int, int]) -> str:
    """MGRS name of the Sentinel-2 tile that holds a patch, from its georeferencing.

    The cell counts 1200 m steps from the tile's upper left corner, so the corner follows from
    the patch; the tile carries the name of the 100 km square that holds its centre. Used where
    no name states the tile (BigEarthNet v1 without Sentinel-1). All patches of one tile get one
    name; the latitude letter is that of the tile's centre.

    Args:
        epsg: EPSG code of the UTM zone, 326xx (north) or 327xx (south).
        west: easting of the patch's upper left corner [m].
        north: northing of the patch's upper left corner [m].
        cell: column and row of the patch in the tile.

    Example:
        >>> tile_of(32633, 404400.0, 5342400.0, (87, 48))
        '33UUP'
    """
    zone = epsg % 100
    easting = west - cell[0] * PATCH_SIZE_M + TILE_SIZE_M / 2
    northing = north + cell[1] * PATCH_SIZE_M - TILE_SIZE_M / 2
    _, latitude = lonlat_of(epsg, easting, northing)
    band = _BAND_LETTERS[min(max(int((latitude + 80) // 8), 0), 19)]
    column = _COLUMN_LETTERS[zone % 3][min(max(int(easting // 100_000) - 1, 0), 7)]
    row = _ROW_LETTERS[(int(northing // 100_000) + (0 if zone % 2 else 5)) % 20]
    return f"{zone:02d}{band}{column}{row}"


def epsg_of(tile: str) -> int:
    """EPSG code of the (northern) UTM zone of an MGRS tile.

    Example:
        >>> epsg_of("33UUP")
        32633
    """
    return 32600 + int(tile[:2])


@functools.lru_cache(maxsize=1024)  # few tiles, many patches
def upper_left(tile: str) -> tuple[int, int]:
    """Easting and northing in metres of the upper left corner of a Sentinel-2 tile, of the northern hemisphere.

    The tile begins at the corner of its 100 km square, widened to a multiple of 60 m.

    Raises:
        ValueError: `tile` is no MGRS tile of the northern hemisphere.

    Example:
        >>> upper_left("29SND")
        (499980, 4400040)
    """
    match = _NORTHERN_TILE.fullmatch(tile)
    zone, band, column, row = (int(match[1]), *match.groups()[1:]) if match else (0, "", "", "")
    if not match or column not in _COLUMN_LETTERS[zone % 3]:
        raise ValueError(f"A tile must be an MGRS name of the northern hemisphere, like 33UUP. Received: {tile!r}.")
    easting = (_COLUMN_LETTERS[zone % 3].index(column) + 1) * 100_000
    northing = (_ROW_LETTERS.index(row) - (0 if zone % 2 else 5)) % 20 * 100_000
    # Row letters repeat every 2000 km; the latitude band tells which repetition.
    bottom = (-80 + 8 * _BAND_LETTERS.index(band)) * 110_600.0 - 100_000
    northing += math.ceil((bottom - northing) / 2_000_000) * 2_000_000
    return easting // 60 * 60, -(-(northing + 100_000) // 60) * 60


def cell_corner(tile: str, cell: tuple[int, int]) -> tuple[int, int]:
    """UTM easting and northing in metres of a cell's upper left corner."""
    easting, northing = upper_left(tile)
    return easting + PATCH_SIZE_M * cell[0], northing - PATCH_SIZE_M * cell[1]


def lonlat_of(epsg: int, easting: float, northing: float) -> tuple[float, float]:
    """Longitude and latitude [degrees, WGS 84] of a point in a UTM zone [m]."""
    longitudes, latitudes = warp(f"EPSG:{epsg}", "EPSG:4326", [easting], [northing])
    return longitudes[0], latitudes[0]


def unit_vectors(lonlat: np.ndarray) -> np.ndarray:
    """Longitude and latitude in degrees (N, 2) -> points on the unit sphere (N, 3).

    Straight distances between them order places as distances along the ground do, also across the poles
    and the 180th meridian.
    """
    longitude, latitude = np.deg2rad(np.asarray(lonlat, "float64")).T
    return np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1
    )
