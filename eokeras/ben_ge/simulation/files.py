"""Files of a ben-ge tree: uncompressed GeoTIFF, label JSON, csv."""

import csv
import json
import struct
from functools import lru_cache
from pathlib import Path

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin


@lru_cache
def projection_text(epsg: int) -> str:
    """Well-known text (GDAL flavour) as in the label JSON of BigEarthNet."""
    return CRS.from_epsg(epsg).to_wkt(version="WKT1_GDAL")


def write_raster(path: Path, image: np.ndarray, epsg: int, corner: tuple[int, int], gsd_m: int) -> None:
    """Writes a (H, W) array as a single-band, uncompressed GeoTIFF.

    Args:
        path: file to make, in an existing directory.
        image: array in its stored dtype.
        epsg: EPSG code of the UTM zone.
        corner: easting and northing of the upper left corner in metres.
        gsd_m: pixel size in metres.
    """
    frame = _frame(epsg, image.shape, image.dtype.name, gsd_m)
    data = frame.replace(_corner_bytes(*_MARK), _corner_bytes(*corner))
    path.write_bytes(data + image.astype(image.dtype.newbyteorder("<")).tobytes())


_MARK = (123_456_789, 987_654_321)  # a corner that no file has


def _corner_bytes(easting: float, northing: float) -> bytes:
    return struct.pack("<2d", easting, northing)


@lru_cache(maxsize=1024)
def _frame(epsg: int, shape: tuple[int, int], dtype: str, gsd_m: int) -> bytes:
    """All bytes of a GeoTIFF before its pixels, with `_MARK` for a corner.

    GDAL takes ten times as long to write such a header as to write the pixels, and the
    headers of a zone differ in their corner only; GDAL writes each kind once.
    """
    profile = {
        "driver": "GTiff", "count": 1, "dtype": dtype, "height": shape[0], "width": shape[1], "blockysize": shape[0],
        "crs": CRS.from_epsg(epsg), "transform": from_origin(*_MARK, gsd_m, gsd_m), "endianness": "LITTLE",
    }  # fmt: skip
    image = np.random.default_rng(0).integers(1, 250, shape).astype(dtype)
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile) as target:
            target.write(image, 1)
        data = memory.read()
    pixels = image.astype(image.dtype.newbyteorder("<")).tobytes()
    if not data.endswith(pixels) or data.count(_corner_bytes(*_MARK)) != 1:
        raise RuntimeError("GDAL laid out a GeoTIFF in an unexpected way.")
    return data[: -len(pixels)]


def write_csv(path: Path, header: list[str], rows: list[list]) -> None:
    """Writes a csv with a header line."""
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_json(path: Path, content: dict, indent: int | None = None) -> None:
    """Writes a JSON object with its keys in the given order."""
    path.write_text(json.dumps(content, indent=indent) + ("\n" if indent else ""), encoding="utf-8")
