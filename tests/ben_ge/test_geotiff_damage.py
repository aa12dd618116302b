"""Damaged GeoTIFFs: what the fast reader makes of one is what rasterio makes of it, values or words."""

import struct

import numpy as np
import pytest

from eokeras.ben_ge import geotiff
from eokeras.ben_ge.plain_tiff import parse_plain
from eokeras.ben_ge.schema import RASTERS
from tests.geotiffs import CORNER, REFERENCE, outcome, write

HEADER = 380  # bytes, at most, before the pixels of the files below

pytestmark = pytest.mark.filterwarnings("ignore")  # rasterio's, of what the damage took away

FILES = {
    "stored": ("s2_60m", {}),
    "in strips": ("s2_60m", {"blockysize": 3}),
    "deflated": ("s2_60m", {"compress": "deflate", "predictor": 2, "blockysize": 7}),
    "deflated in one strip": ("s2_60m", {"compress": "deflate"}),
}


@pytest.fixture
def sound(tmp_path, asked):
    """A function that writes a file of some kind, of which the fast reader has seen another: (path, content)."""

    def make(kind):
        raster, profile = RASTERS[FILES[kind][0]], FILES[kind][1]
        for seed in (0, 1):
            path = write(tmp_path / f"{seed}.tif", raster, seed=seed, nodata=0, **profile)
            outcome(geotiff.read_band, path, raster)
        assert len(asked) == 1
        return path, path.read_bytes()

    return make


@pytest.fixture
def check_damaged(asked):
    """A function that compares the readers on each of `contents`, put into `path`.

    It returns how many were read as values, and how many of these without rasterio. What rasterio makes of some
    damaged headers changes from one reading to the next, so where it was asked the comparison is with that answer.
    """

    def check(path, contents, raster=RASTERS["s2_60m"]):
        read = fast = 0
        for content in contents:
            path.write_bytes(content)
            expected, known = outcome(REFERENCE, path, raster), len(geotiff._KNOWN)
            for _ in range(2):  # it may have learnt from the first
                asked.clear()
                found = outcome(geotiff.read_band, path, raster)
                assert asked or found == expected, content
                if asked and len(geotiff._KNOWN) == known:
                    break
            read += isinstance(found, tuple)
            fast += not asked
        return read, fast

    return check


def flipped(content, place, mask):
    return content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]


@pytest.mark.parametrize(("kind", "mask"), [("stored", 0x01), ("stored", 0xFF), ("deflated", 0x01)])
def test_every_byte_of_the_header(sound, check_damaged, kind, mask):
    path, content = sound(kind)
    check_damaged(path, [flipped(content, place, mask) for place in range(HEADER)])


@pytest.mark.parametrize("kind", FILES)
def test_bytes_anywhere(sound, check_damaged, kind):
    path, content = sound(kind)
    random = np.random.default_rng(1)
    damaged = []
    for _ in range(80):
        new = bytearray(content)
        for place in random.integers(0, len(content), random.integers(1, 4)):
            new[place] = random.integers(256)
        damaged.append(bytes(new))
    _, fast = check_damaged(path, damaged)
    assert (fast > 20) == (kind in ("stored", "in strips"))  # a deflated strip has a checksum


@pytest.mark.parametrize("kind", FILES)
def test_lengths(sound, check_damaged, kind):
    path, content = sound(kind)
    random = np.random.default_rng(2)
    ends = [*random.integers(0, len(content), 60), *range(len(content) - 6, len(content))]
    _, fast = check_damaged(path, [content[:end] for end in ends])
    assert fast == 0
    behind = [content + bytes(1), content + content, content + b"II*\0"]
    assert check_damaged(path, behind) == (3, 0)


@pytest.mark.parametrize("kind", FILES)
def test_pieces_that_moved(sound, check_damaged, kind):
    path, content = sound(kind)
    random = np.random.default_rng(3)
    damaged = []
    for _ in range(30):
        start, stop, to = sorted(random.integers(0, len(content), 3))
        piece = content[start : start + 16]
        damaged += [
            content[:to] + piece + content[to + len(piece) :],  # written over something
            content[:start] + content[stop:],  # cut out
        ]
    check_damaged(path, damaged)


def test_exchanged_strips_are_read_exchanged(sound, check_damaged):
    path, content = sound("in strips")
    start, strip = len(content) - 20 * 20 * 2, 3 * 20 * 2
    places = [start + strip * number for number in range(7)]
    stored, exchanged, doubled = (
        np.array(order, "<u4").tobytes()
        for order in (places, [places[1], places[0], *places[2:]], [start, *places[:6]])
    )
    assert content.count(stored) == 1
    values = np.frombuffer(content[start:], "<u2").reshape(20, 20)
    assert check_damaged(path, [content.replace(stored, exchanged)]) == (1, 1)
    read, _ = geotiff.read_band("some-patch", path, RASTERS["s2_60m"])
    np.testing.assert_array_equal(read, np.concatenate([values[3:6], values[:3], values[6:]]))
    assert check_damaged(path, [content.replace(stored, doubled)]) == (1, 0)


def test_a_tie_point_that_overlaps_another_array_is_not_plain(sound):
    _, content = sound("stored")
    entry = content.index(struct.pack("<HHI", 33922, 12, 6)) + 8
    (tie_point,) = struct.unpack_from("<I", content, entry)
    moved = content[:entry] + struct.pack("<I", tie_point - 8) + content[entry + 4 :]
    assert struct.unpack_from("<2d", moved, tie_point - 8) == (0, 0)  # column and row, as they should be
    assert parse_plain(content, (20, 20)) is not None
    assert parse_plain(moved, (20, 20)) is None


@pytest.mark.parametrize("corner", [(404_400.0, np.nan), (np.nan, 5_342_400.0), (np.inf, 5_342_400.0)])
def test_a_corner_that_is_no_place_is_left_to_rasterio(sound, check_damaged, corner):
    path, content = sound("stored")
    place = struct.pack("<2d", *CORNER)
    assert content.count(place) == 1
    _, fast = check_damaged(path, [content.replace(place, struct.pack("<2d", *corner))])
    assert fast == 0
