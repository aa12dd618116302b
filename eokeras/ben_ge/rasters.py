"""Checked reading of the GeoTIFFs of one patch.

A raster is returned exactly as rasterio reads it, or `InvalidPatchError` says which file breaks
which rule. Letters: H rows, W columns, C bands.
"""

import contextlib
import functools
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from eokeras.ben_ge.corine import CORINE, CORINE_NO_DATA
from eokeras.ben_ge.places import lonlat_of
from eokeras.ben_ge.schema import LAND_COVER, LAND_COVER_NO_DATA, PATCH_SIZE_M, RASTERS, Raster
from eokeras.errors import InvalidPatchError

POSITION_TOLERANCE_M = 1e-3
"""Corners of a patch's rasters may differ by this much: a ten-thousandth of a pixel, far above rounding."""

KNOWN_CODES = {
    "land_cover_map": ("WorldCover", [LAND_COVER_NO_DATA, *(entry.code for entry in LAND_COVER)]),
    "reference_map": ("CORINE level-3", sorted([*CORINE, *CORINE_NO_DATA])),
}
"""Map -> the nomenclature of its codes, and every code that it may hold."""


class Grid(NamedTuple):
    """Where the rasters of a patch lie."""

    epsg: int  # UTM zone
    west: float  # easting of the upper left corner [m]
    north: float  # northing of the upper left corner [m]


@functools.lru_cache(maxsize=256)
def _utm_epsg(crs_wkt: str) -> int | None:
    epsg = rasterio.crs.CRS.from_wkt(crs_wkt).to_epsg()
    return epsg if epsg and (32601 <= epsg <= 32660 or 32701 <= epsg <= 32760) else None


def _check_shape(dataset, raster: Raster) -> str | None:
    if dataset.count != 1:
        return f"a raster must hold one band. Received: {dataset.count} bands."
    if dataset.scales != (1.0,) or dataset.offsets != (0.0,):
        received = f"scale {dataset.scales[0]}, offset {dataset.offsets[0]}"
        return f"stored numbers must need no scale or offset of their own. Received: {received}."
    if dataset.dtypes[0] != raster.dtype:
        return f"the dtype must be {raster.dtype}. Received: {dataset.dtypes[0]}."
    if dataset.shape != raster.shape[:2]:
        return f"the size must be {raster.shape[:2]} (height, width). Received: {dataset.shape}."
    return None


def _check_grid(dataset, raster: Raster) -> str | None:
    if dataset.crs is None:
        return "a raster must state its coordinate reference system. Received: none."
    if _utm_epsg(dataset.crs.wkt) is None:
        return f"the coordinate reference system must be a WGS 84 UTM zone. Received: {dataset.crs.to_string()}."
    pixel = np.array(dataset.transform[:6])[[0, 1, 3, 4]]
    # A relative rule: over a whole patch the error stays below the tolerance of the corners.
    if np.abs(pixel - (raster.gsd_m, 0, 0, -raster.gsd_m)).max() > POSITION_TOLERANCE_M * raster.gsd_m / PATCH_SIZE_M:
        return f"pixels must be {raster.gsd_m} m x {raster.gsd_m} m, north up. Received: transform={pixel.tolist()}."
    return None


@contextlib.contextmanager
def _quiet():
    """Without rasterio's warning of a file that is not georeferenced: it raises here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def read_band(patch_id: str, path: Path, raster: Raster) -> tuple[np.ndarray, Grid]:
    """One single-band GeoTIFF -> values (H, W) as stored, and its grid.

    Raises:
        InvalidPatchError: the file is missing, empty, truncated or no GeoTIFF; it has another number of
            bands, dtype, size or pixel size than `raster`; it has no UTM coordinate reference system.
    """
    try:
        with _quiet(), rasterio.open(path, driver="GTiff") as dataset:
            reason = _check_shape(dataset, raster)
            # Values before the grid: a truncated file may have lost its georeferencing too.
            values = None if reason else dataset.read(1)
            reason = reason or _check_grid(dataset, raster)
            if reason:
                raise InvalidPatchError(patch_id, path, reason[0].upper() + reason[1:])
            return values, Grid(_utm_epsg(dataset.crs.wkt), dataset.transform.c, dataset.transform.f)
    except (RasterioError, OSError) as error:
        raise InvalidPatchError(patch_id, path, _unreadable(path)) from error


def _unreadable(path: Path) -> str:
    if not path.is_file():
        return f"The file {path.name} must exist. Received: no such file."
    if not os.access(path, os.R_OK):
        return "A raster must be readable. Received: no permission."
    size = path.stat().st_size
    if size == 0:
        return "A raster must be a whole GeoTIFF. Received: an empty file."
    return f"A raster must be a whole GeoTIFF. Received: a truncated or damaged file, or another format ({size} bytes)."


def centre(grid: Grid) -> tuple[float, float]:
    """Longitude and latitude [degrees] of the centre of a patch."""
    return lonlat_of(grid.epsg, grid.west + PATCH_SIZE_M / 2, grid.north - PATCH_SIZE_M / 2)


def read_rasters(
    patch_id: str, files: Mapping[str, Mapping[str, Path]], read: Callable = read_band
) -> tuple[dict[str, np.ndarray], Grid | None]:
    """All rasters of a patch, each checked, all on one extent.

    Args:
        patch_id: named in errors.
        files: raster name of `schema.RASTERS` -> band name -> file; rasters without bands have one file
            under the raster's own name.
        read: `read_band`, or what gives the same.

    Returns:
        Raster name -> array (H, W, C) or (H, W) as stored (NaN and infinities included), and the common grid
        (None without files).

    Raises:
        InvalidPatchError: as `read_band`; rasters differ in UTM zone or by more than 1 mm in their upper
            left corner; a map holds an unknown code.
    """
    arrays, first = {}, None
    for name, paths in files.items():
        raster = RASTERS[name]
        bands = []
        for path in paths.values():
            values, grid = read(patch_id, path, raster)
            bands.append(values)
            first = first or (grid, path)
            _check_same_place(patch_id, path, grid, *first)
        arrays[name] = np.stack(bands, axis=-1) if raster.bands else bands[0]
        if name in KNOWN_CODES:
            check_codes(patch_id, path, name, arrays[name])
    return arrays, first and first[0]


def _check_same_place(patch_id: str, path: Path, grid: Grid, first: Grid, first_path: Path) -> None:
    if grid.epsg != first.epsg:
        rule = "All rasters of a patch must share one UTM zone."
        raise InvalidPatchError(
            patch_id, path, f"{rule} Received: EPSG:{grid.epsg}, and EPSG:{first.epsg} in {first_path.name}."
        )
    if max(abs(grid.west - first.west), abs(grid.north - first.north)) > POSITION_TOLERANCE_M:
        rule = "All rasters of a patch must share one upper left corner."
        corners = f"({grid.west}, {grid.north}), and ({first.west}, {first.north}) in {first_path.name}"
        raise InvalidPatchError(patch_id, path, f"{rule} Received: {corners}.")


def check_codes(patch_id: str, path: Path, name: str, codes: np.ndarray) -> None:
    """Raises `InvalidPatchError` unless every one of `codes` (H, W) is among the `KNOWN_CODES` of the map `name`."""
    nomenclature, valid = KNOWN_CODES[name]
    known = _is_known(name)[codes]
    if not known.all():
        unknown = np.unique(codes[~known]).tolist()
        raise InvalidPatchError(patch_id, path, f"{nomenclature} codes must be among {valid}. Received: {unknown}.")


@functools.cache
def _is_known(name: str) -> np.ndarray:
    """Bool of every number that the dtype of the map can hold."""
    known = np.zeros(1 + np.iinfo(RASTERS[name].dtype).max, bool)
    known[KNOWN_CODES[name][1]] = True
    return known


def count_non_finite(s1: np.ndarray, polarisations: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Counts of NaN (no data) and infinities (zero power) per channel of `s1` (H, W, C) in dB."""
    return {name: non_finite_counts(s1[..., index]) for index, name in enumerate(polarisations)}


def non_finite_counts(values: np.ndarray) -> dict[str, int]:
    """How many of `values`, of any shape, are NaN and infinite."""
    if np.isfinite(values).all():  # one pass for most patches
        return {"nan": 0, "negative_infinity": 0, "positive_infinity": 0}
    return {
        "nan": int(np.isnan(values).sum()),
        "negative_infinity": int(np.isneginf(values).sum()),
        "positive_infinity": int(np.isposinf(values).sum()),
    }
