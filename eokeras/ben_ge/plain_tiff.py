"""Plain single-band TIFFs from their bytes: pixels, and everything else as one key to compare files by.

Plain is what GDAL writes where it is not asked for more: little-endian, one directory behind the first 8 bytes, strips,
uncompressed or deflated (with or without differences of neighbours), nothing behind them. What this module does not
know is not plain; whether a plain file is right for its purpose is not decided here. Letters: H rows, W columns.

Reference:
    TIFF 6.0 (Adobe, 1992) and its supplement 2 (2002); GeoTIFF 1.1, https://docs.ogc.org/is/19-008r4/19-008r4.html
"""

import functools
import itertools
import struct
import zlib
from typing import NamedTuple

import numpy as np

_TAGS = {
    256: "width",
    257: "height",
    258: "bits",
    259: "compression",
    262: "photometric",
    273: "strip_offsets",
    277: "bands",
    278: "rows_per_strip",
    279: "strip_lengths",
    284: "planar",
    317: "predictor",
    339: "sample_format",
    33550: "pixel_scale",
    33922: "tie_point",
    34735: "geo_keys",
    34736: "geo_doubles",
    34737: "geo_texts",
    42112: "gdal_metadata",
    42113: "gdal_no_data",
}
"""The tags that a file may have to be plain. Of the last seven only the place of the tie point is read."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 12: 8}  # bytes of the TIFF types BYTE, ASCII, SHORT, LONG, RATIONAL, DOUBLE
_INTEGERS = {3: "H", 4: "I"}  # SHORT and LONG -> struct
_DOUBLE = 12
_DEFLATE, _DIFFERENCES = 8, 2
_CODINGS = {(1, 1), (_DEFLATE, 1), (_DEFLATE, _DIFFERENCES)}  # compression, predictor
_DTYPES = {(1, 8): "u1", (1, 16): "<u2", (2, 16): "<i2", (3, 32): "<f4"}  # sample format, bits -> NumPy
_MAX_COORDINATE_M = 1e8  # no UTM coordinate is as large, no NaN or infinity smaller

MAX_HEADER = 4096
"""Bytes that a plain file may have besides its pixels."""


class PlainTiff(NamedTuple):
    """What a plain file holds.

    Two files with the same `header` differ in nothing but corner and values, whatever their header means.
    """

    header: bytes  # all that is not pixels, without corner and without places and lengths of the strips
    corner: tuple[float, float]  # easting and northing [m] of its tie point, which belongs to column 0 and row 0
    values: np.ndarray  # (H, W)


class _Array(NamedTuple):
    """Where the numbers of a tag stand in the file."""

    start: int
    format: str  # of struct

    @property
    def stop(self) -> int:
        return self.start + struct.calcsize(self.format)


class _Layout(NamedTuple):
    """What a directory says about the pixels, and where it says that the rest stands."""

    dtype: np.dtype
    shape: tuple[int, int]  # rows, columns
    rows_per_strip: int
    compression: int
    predictor: int
    tie_point: _Array
    strip_offsets: _Array
    strip_lengths: _Array
    fixed: tuple[slice, ...]  # everything but pixels, corner, and places and lengths of strips
    stop: int  # of everything but pixels


def parse_plain(data: bytes, shape: tuple[int, int]) -> PlainTiff | None:
    """The content of a TIFF; None unless it is plain, whole (no byte missing, checksums right) and of shape (H, W)."""
    try:
        return _parse(data, shape)
    except (struct.error, zlib.error):
        return None


def _parse(data: bytes, shape: tuple[int, int]) -> PlainTiff | None:
    entries = int.from_bytes(data[8:10], "little")
    layout = _layout(data[: 14 + 12 * entries]) if entries <= len(_TAGS) else None
    if layout is None or layout.shape != shape:
        return None
    offsets, lengths, tie_point = (
        struct.unpack_from(array.format, data, array.start)
        for array in (layout.strip_offsets, layout.strip_lengths, layout.tie_point)
    )
    # In any order: GDAL writes strips of nothing but zeros last.
    spans = sorted((offset, offset + length) for offset, length in zip(offsets, lengths, strict=True))
    is_filled = spans[-1][1] == len(data) and all(before[1] == after[0] for before, after in itertools.pairwise(spans))
    header = data[: spans[0][0]]
    column, row, _, west, north, _ = tie_point
    has_corner = column == row == 0 and abs(west) < _MAX_COORDINATE_M and abs(north) < _MAX_COORDINATE_M
    if not (is_filled and has_corner and layout.stop <= len(header) <= MAX_HEADER):
        return None
    values = _read_strips(data, layout, offsets, lengths)
    if values is None:
        return None
    return PlainTiff(b"".join([header[part] for part in layout.fixed]), (west, north), values)


@functools.lru_cache(maxsize=1024)
def _layout(directory: bytes) -> _Layout | None:
    """Reads the first bytes of a TIFF, up to the end of its directory. None unless all of it is plain."""
    if directory[:8] != b"II*\0\x08\0\0\0" or directory[-4:] != bytes(4):  # little-endian; one directory, here
        return None
    found = {}
    try:
        for place in range(10, len(directory) - 4, 12):
            tag, kind, count = struct.unpack_from("<HHI", directory, place)
            start = place + 8
            if _SIZES[kind] * count > 4:
                start = int.from_bytes(directory[start : start + 4], "little")
            found[_TAGS[tag]] = (kind, count, start)
        is_plain = len(found) == int.from_bytes(directory[8:10], "little") and _are_apart(len(directory), found)
        return _layout_of(directory, found) if is_plain else None
    except (KeyError, struct.error):  # a tag, or something in it, is missing or unusual
        return None


def _are_apart(stop: int, found: dict[str, tuple[int, int, int]]) -> bool:
    """Whether nothing overlaps of the directory, which ends at `stop`, and the arrays of its tags."""
    spans = sorted((start, start + _SIZES[kind] * count) for kind, count, start in found.values())
    spans = [(0, stop), *(span for span in spans if span[1] - span[0] > 4)]
    return all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def _layout_of(directory: bytes, found: dict[str, tuple[int, int, int]]) -> _Layout | None:
    def integers(name: str) -> _Array:
        kind, count, start = found[name]
        return _Array(start, f"<{count}{_INTEGERS[kind]}")

    def number(name: str) -> int:
        kind, count, start = found[name]
        if count != 1:
            raise KeyError(name)
        return struct.unpack_from(f"<{_INTEGERS[kind]}", directory, start)[0]

    height, rows, predictor = number("height"), number("rows_per_strip"), 1
    if "predictor" in found:
        predictor = number("predictor")
    is_plain = (
        number("photometric") == number("bands") == number("planar") == 1
        and (number("compression"), predictor) in _CODINGS
        and found["strip_offsets"][1] == found["strip_lengths"][1] == -(-height // max(rows, 1)) > 0
        and found["tie_point"][:2] == (_DOUBLE, 6)
    )
    if not is_plain:
        return None
    tie_point, places = _Array(found["tie_point"][2], "<6d"), (integers("strip_offsets"), integers("strip_lengths"))
    gaps = sorted([(tie_point.start + 24, tie_point.start + 40), *((array.start, array.stop) for array in places)])
    starts, stops = zip(*gaps, strict=True)
    return _Layout(
        dtype=np.dtype(_DTYPES[number("sample_format"), number("bits")]),
        shape=(height, number("width")),
        rows_per_strip=rows,
        compression=number("compression"),
        predictor=predictor,
        tie_point=tie_point,
        strip_offsets=places[0],
        strip_lengths=places[1],
        fixed=tuple(slice(start, stop) for start, stop in zip((0, *stops), (*starts, None), strict=True)),
        stop=max(start + _SIZES[kind] * count for kind, count, start in found.values()),
    )


def _read_strips(data: bytes, layout: _Layout, offsets: tuple[int, ...], lengths: tuple[int, ...]) -> np.ndarray | None:
    """Values (H, W); None where a strip is shorter or longer than it may be."""
    height, width = layout.shape
    row = layout.dtype.itemsize * width
    whole = row * min(layout.rows_per_strip, height)
    strips = [memoryview(data)[offset : offset + length] for offset, length in zip(offsets, lengths, strict=True)]
    if layout.compression == _DEFLATE:
        strips = [_inflate(strip, whole) for strip in strips]
    *others, last = map(len, strips)
    # The last one may be as long as the others: GDAL writes it so where all of it is zero.
    if others != [whole] * len(others) or last not in (row * height - sum(others), whole):
        return None
    values = np.frombuffer(bytearray().join(strips), layout.dtype, height * width).reshape(layout.shape)
    if layout.predictor == _DIFFERENCES:
        bits = values.view(f"<u{layout.dtype.itemsize}")  # sums wrap around
        values = np.cumsum(bits, axis=1, dtype=bits.dtype).view(layout.dtype)
    return values


def _inflate(strip: memoryview, size: int) -> bytes:
    """Up to `size` bytes, or one more, of a deflated strip; `zlib.error` where it is damaged or not a single stream."""
    decoder = zlib.decompressobj()
    content = decoder.decompress(strip, size + 1)
    if not decoder.eof or decoder.unused_data:
        raise zlib.error("no end, or something behind it")
    return content
