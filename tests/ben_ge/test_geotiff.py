"""The fast reader of GeoTIFFs against the one through rasterio: the same bits, grid and words, whatever the file."""

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS

from eokeras.ben_ge import geotiff
from eokeras.ben_ge.schema import RASTERS
from tests.geotiffs import (
    CORNER,
    OTHER_CORNER,
    REFERENCE,
    edit,
    outcome,
    pixels,
    place,
    plain,
    stating,
    strips_of_zeros,
    write,
)

# ---- Kinds of files ------------------------------------------------------------------------------------------------

SERVED = {
    "as GDAL writes it": ("s2_10m", plain()),
    "one strip": ("s2_60m", plain()),
    "rows of their own": ("s2_20m", plain(blockysize=1)),
    "strips that do not divide the rows": ("dem", plain(blockysize=50)),
    "a strip longer than the image": ("dem", plain(blockysize=500)),
    "floats": ("s1", plain()),
    "bytes": ("land_cover_map", plain()),
    "no data": ("dem", plain(nodata=-32768)),
    "no data that is not a number": ("s1", plain(nodata=np.nan)),
    "scale of one": ("dem", stating(scales=(1.0,))),
    "deflated": ("s1", plain(compress="deflate")),
    "deflated differences": ("reference_map", plain(compress="deflate", predictor=2)),
    "deflated differences with a sign": ("dem", plain(compress="deflate", predictor=2, blockysize=7)),
    "deflated differences of bytes": ("land_cover_map", plain(compress="deflate", predictor=2)),
    "deflated differences of floats": ("s1", plain(compress="deflate", predictor=2)),
    "deflated in one strip": ("dem", plain(compress="deflate", blockysize=120)),
    "strip of zeros": ("dem", strips_of_zeros(1)),
    "strips of zeros": ("s2_10m", strips_of_zeros(0, 2)),
    "last strip of zeros": ("dem", strips_of_zeros(3)),
    "first and last strip of zeros": ("dem", strips_of_zeros(0, 3)),
    "nothing but zeros": ("reference_map", strips_of_zeros(0, 1, 2, 3)),
    "southern zone": ("dem", plain(crs="EPSG:32722")),
    "zone in words": ("dem", plain(crs=CRS.from_epsg(32633).to_wkt())),
    "UTM without a code": ("dem", plain(crs="+proj=tmerc +lon_0=15 +k=0.9996 +x_0=500000 +datum=WGS84 +units=m")),
    "tags": ("dem", plain(before=lambda file: file.update_tags(source="a satellite"))),
}
"""Kinds that are read without rasterio once one of them was seen: what it is -> its raster, and its writer."""

LEFT_TO_RASTERIO = {
    "LZW": ("dem", plain(compress="lzw")),
    "LZW differences": ("dem", plain(compress="lzw", predictor=2)),
    "PackBits": ("land_cover_map", plain(compress="packbits")),
    "ZSTD": ("dem", plain(compress="zstd")),
    "floating-point predictor": ("s1", plain(compress="deflate", predictor=3)),
    "tiles": ("dem", plain(tiled=True, blockxsize=64, blockysize=32)),
    "deflated tiles": ("dem", plain(tiled=True, blockxsize=128, blockysize=128, compress="deflate")),
    "big-endian": ("dem", plain(endianness="big")),
    "BigTIFF": ("dem", plain(bigtiff="yes")),
    "sparse": ("dem", lambda path, raster, **options: strips_of_zeros(1)(path, raster, sparse_ok=True, **options)),
    "point instead of area": ("dem", plain(before=lambda file: file.update_tags(AREA_OR_POINT="Point"))),
    "overviews": ("dem", edit(lambda file: file.build_overviews([2]))),
    "tags written later": ("dem", edit(lambda file: file.update_tags(note="later"))),
    "much metadata": ("dem", plain(before=lambda file: file.update_tags(note="x" * 5000))),
    "Cloud-optimised": ("dem", plain(driver="COG")),
    "12 bits": ("s2_10m", lambda path, raster, **options: write(path, raster, values=twelve_bits(raster), nbits=12)),
    "white is zero": ("land_cover_map", plain(photometric="miniswhite")),
    "colour table": ("land_cover_map", plain(photometric="palette")),
    "far corner": ("dem", lambda path, raster, **options: write(path, raster, corner=(1e12, 5e6))),
    # What the reference refuses
    "scale": ("dem", stating(scales=(0.1,))),
    "offset": ("dem", stating(offsets=(-1000.0,))),
    "two bands": ("dem", lambda path, raster, **options: write(path, raster, values=np.zeros((2, 120, 120), "int16"))),
    "other dtype": ("dem", lambda path, raster, **options: write(path, raster, values=np.zeros((120, 120), "uint16"))),
    "doubles": ("s1", lambda path, raster, **options: write(path, raster, values=np.zeros((120, 120), "float64"))),
    "other size": ("dem", lambda path, raster, **options: write(path, raster, values=np.zeros((120, 119), "int16"))),
    "larger": ("dem", lambda path, raster, **options: write(path, raster, values=np.zeros((480, 480), "int16"))),
    "other pixels": ("dem", plain(pixel=place(20))),
    "south up": ("dem", plain(pixel=rasterio.Affine(10, 0, 404400, 0, 10, 5342400))),
    "rotated": ("dem", plain(pixel=rasterio.Affine(9.9985, 0.1745, 404400, 0.1745, -9.9985, 5342400))),
    "no transform": ("dem", plain(pixel=rasterio.Affine.identity())),
    "no reference system": ("dem", plain(crs=None)),
    "degrees": ("dem", plain(crs="EPSG:4326")),
    "another grid": ("dem", plain(crs="EPSG:3035")),
    "UTM on another datum": ("dem", plain(crs="EPSG:25833")),
    "UTM in feet": ("dem", plain(crs="+proj=utm +zone=33 +datum=WGS84 +units=us-ft")),
}
"""The same of kinds about which rasterio is asked each time."""


def twelve_bits(raster):
    return pixels(raster.dtype, raster.shape[0]) % 4096


def check_kind(tmp_path, asked, raster, writer):
    """Writes two files of a kind that differ in corner and pixels; how often rasterio was asked about each."""
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for seed, (path, corner) in enumerate(zip(paths, (CORNER, OTHER_CORNER), strict=True)):
        writer(path, raster, seed=seed, corner=corner)
    for path in (*paths, *paths):
        assert outcome(geotiff.read_band, path, raster) == outcome(REFERENCE, path, raster)
    return [asked.count(path) for path in paths]


@pytest.mark.parametrize(("raster", "writer"), SERVED.values(), ids=SERVED)
def test_plain_kinds_are_asked_about_once(tmp_path, asked, raster, writer):
    assert check_kind(tmp_path, asked, RASTERS[raster], writer) == [1, 0]


@pytest.mark.filterwarnings("ignore")  # rasterio's, of files without georeferencing
@pytest.mark.parametrize(("raster", "writer"), LEFT_TO_RASTERIO.values(), ids=LEFT_TO_RASTERIO)
def test_other_kinds_are_left_to_rasterio(tmp_path, asked, raster, writer):
    assert check_kind(tmp_path, asked, RASTERS[raster], writer) == [2, 2]


# ---- Files beside a file -------------------------------------------------------------------------------------------

PLACE = "<GeoTransform>1e5, 10, 0, 5e6, 0, -10</GeoTransform>"
AUXILIARY = {
    "another place": (PLACE, True),
    "another reference system": ("<SRS>EPSG:32634</SRS>", True),
    "another pixel size": (PLACE.replace("10", "20"), False),
    "a scale": ('<PAMRasterBand band="1"><Scale>0.5</Scale></PAMRasterBand>', False),
    "statistics": (
        '<PAMRasterBand band="1"><Metadata><MDI key="STATISTICS_MEAN">3</MDI></Metadata></PAMRasterBand>',
        True,
    ),
}
"""What an .aux.xml states -> its content, and whether the file can still be read."""


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(("content", "is_sound"), AUXILIARY.values(), ids=AUXILIARY)
def test_auxiliary_files_are_noticed(tmp_path, asked, content, is_sound, is_first):
    raster = RASTERS["dem"]
    path, other = write(tmp_path / "a.tif", raster), write(tmp_path / "b.tif", raster, seed=1)
    auxiliary = tmp_path / "a.tif.aux.xml"
    without = outcome(REFERENCE, path, raster)
    if not is_first:
        assert outcome(geotiff.read_band, other, raster) == outcome(REFERENCE, other, raster)
    auxiliary.write_text(f"<PAMDataset>{content}</PAMDataset>")
    with_it = outcome(REFERENCE, path, raster)
    assert isinstance(with_it, tuple) == is_sound
    assert (with_it == without) == ("STATISTICS" in content)
    for file in (path, other, path):
        assert outcome(geotiff.read_band, file, raster) == outcome(REFERENCE, file, raster)
    auxiliary.unlink()
    assert outcome(geotiff.read_band, path, raster) == without


@pytest.mark.parametrize(
    "name",
    ["a.tfw", "a.tifw", "a.wld", "a.tab", "a.aux", "a.prj", "a.tif.prj", "a_rpc.txt", "a.rpb", "a.tif.xml", "a.msk"],
)
def test_other_files_beside_change_nothing(tmp_path, asked, name):
    raster = RASTERS["dem"]
    path = write(tmp_path / "a.tif", raster)
    without = outcome(geotiff.read_band, path, raster)
    (tmp_path / name).write_text("20\n0\n0\n-20\n100000\n5000000\n")
    assert outcome(REFERENCE, path, raster) == without
    assert outcome(geotiff.read_band, path, raster) == without
    assert len(asked) == 1


def test_masks_and_overviews_beside_change_nothing(tmp_path, asked):
    raster = RASTERS["dem"]
    path = write(tmp_path / "a.tif", raster)
    without = outcome(geotiff.read_band, path, raster)
    beside = {"TIFF_USE_OVR": True, "GDAL_TIFF_INTERNAL_MASK": False}
    with rasterio.Env(**beside), rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])
        file.write_mask(pixels("uint8", 120) > 100)
    assert {beside.name for beside in tmp_path.iterdir()} == {"a.tif", "a.tif.ovr", "a.tif.msk"}
    for read in (REFERENCE, geotiff.read_band):
        assert outcome(read, path, raster) == without


# ---- What is known -------------------------------------------------------------------------------------------------


def test_a_header_is_known_for_the_raster_that_it_passed_for(tmp_path, asked):
    path = write(tmp_path / "a.tif", RASTERS["s2_20m"])
    assert isinstance(outcome(geotiff.read_band, path, RASTERS["s2_20m"]), tuple)
    for name in ("s2_10m", "s2_60m", "s1"):
        assert outcome(geotiff.read_band, path, RASTERS[name]) == outcome(REFERENCE, path, RASTERS[name])
        assert isinstance(outcome(geotiff.read_band, path, RASTERS[name]), str)


def test_a_zone_is_not_taken_for_another(tmp_path, asked):
    raster = RASTERS["dem"]
    for epsg in (32633, 32634, 32733, 32633, 32733):
        path = write(tmp_path / "a.tif", raster, seed=epsg, crs=f"EPSG:{epsg}")
        assert geotiff.read_band("some-patch", path, raster)[1].epsg == epsg


def test_few_headers_are_kept(tmp_path, asked, monkeypatch):
    monkeypatch.setattr(geotiff, "_MAX_KNOWN", 3)
    raster = RASTERS["s2_60m"]
    for number in range(8):
        path = write(tmp_path / "a.tif", raster, before=lambda file, number=number: file.update_tags(number=number))
        assert outcome(geotiff.read_band, path, raster) == outcome(REFERENCE, path, raster)
        assert 1 <= len(geotiff._KNOWN) <= 3
