"""GeoTIFFs of many kinds, written by rasterio for tests, and what a reader makes of one."""

import warnings

import numpy as np
import rasterio

from eokeras.ben_ge import rasters
from eokeras.errors import InvalidPatchError

REFERENCE = rasters.read_band
CORNER = (404_400.0, 5_342_400.0)
OTHER_CORNER = (790_236.0403820039, 7_198_039.252334285)
UTM = "EPSG:32633"


def outcome(read, path, raster):
    """What reading gives, to compare: values to the bit and grid, or the error in words."""
    try:
        values, grid = read("some-patch", path, raster)
    except InvalidPatchError as error:
        return str(error)
    assert values.flags.writeable
    assert values.flags.c_contiguous
    assert values.dtype == np.dtype(raster.dtype)
    return values.tobytes(), values.shape, grid


def pixels(dtype, size, seed=0):
    """Random pixels over the whole range of a dtype; NaN and infinities among floats."""
    random = np.random.default_rng(seed)
    if dtype == "float32":
        values = random.normal(-15, 9, (size, size)).astype(dtype)
        values[0, :3] = np.nan, -np.inf, np.inf
        return values
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, (size, size), dtype, endpoint=True)


def write(path, raster, seed=0, corner=CORNER, values=None, pixel=None, before=None, **profile):
    """A GeoTIFF as GDAL writes it; `profile` changes what a plain one has, `before(file)` is called before pixels."""
    size = raster.shape[0]
    values = pixels(raster.dtype, size, seed) if values is None else values
    values = values[None] if values.ndim == 2 else values
    plain = {"driver": "GTiff", "crs": UTM, "dtype": values.dtype, "transform": pixel or place(raster.gsd_m, corner)}
    shape = dict(zip(("count", "height", "width"), values.shape, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files without georeferencing
        with rasterio.open(path, "w", **plain | shape | profile) as file:
            if before:
                before(file)
            file.write(values)
    return path


def place(gsd_m, corner=CORNER):
    return rasterio.Affine(gsd_m, 0, corner[0], 0, -gsd_m, corner[1])


def edit(change):
    """A writer that writes a plain file and has it changed by `change(file)`, opened for update."""

    def write_and_change(path, raster, **options):
        write(path, raster, **options)
        with rasterio.open(path, "r+") as file:
            change(file)

    return write_and_change


def strips_of_zeros(*strips):
    """A writer of a file in which some strips of 34 rows are zero: GDAL puts those behind the others."""

    def write_zeros(path, raster, seed=0, **options):
        values = pixels(raster.dtype, raster.shape[0], seed)
        for strip in strips:
            values[34 * strip : 34 * strip + 34] = 0
        write(path, raster, values=values, blockysize=34, **options)

    return write_zeros


def plain(**profile):
    """A writer of files with these entries of `write`."""
    return lambda path, raster, **options: write(path, raster, **options, **profile)


def stating(**attributes):
    """A writer of files that state these scales or offsets."""
    return plain(before=lambda file: [setattr(file, name, value) for name, value in attributes.items()])
