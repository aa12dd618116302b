"""Reading of the csv files of a ben-ge tree: one row per patch, every number checked.

A file that cannot be used at all raises `InvalidSourceError` when it is opened. What is wrong with
the row of one patch is remembered and raises `InvalidPatchError` when that row is asked for, so that
the other patches stay usable.
"""

import csv
import datetime
import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from eokeras.ben_ge.schema import CLIMATE_ZONES, ERA5, ERA5_LEVEL_COLUMN, KOPPEN_GEIGER, LAND_COVER, TARGETS
from eokeras.errors import InvalidPatchError, InvalidSourceError

COLUMNS = {
    "meta": (
        "patch_id",
        "patch_id_s1",
        "timestamp_s2",
        "timestamp_s1",
        "season_s2",
        "season_s1",
        "lon",
        "lat",
    ),
    "era5": ("patch_id", ERA5_LEVEL_COLUMN, *(variable.column for variable in ERA5)),
    "climatezones": ("patch_id", "climatezone"),
    "landcover": ("patch_id", *(entry.column for entry in LAND_COVER)),
    "geoclusters": ("patch_id", "cluster_idx"),
}
"""Kind of csv -> the columns that it must have (others are allowed and ignored)."""

SUM_TOLERANCE = 1e-3
"""Published fractions are rounded to 6 decimals; their sum may miss 1 by this much."""


@dataclass(frozen=True)
class Row:
    """The row of one patch; every getter names file, line and column when its rule is broken."""

    patch_id: str
    path: Path
    line: int
    values: Mapping[str, str]

    def fail(self, column: str, rule: str) -> InvalidPatchError:
        """The error, for the caller to raise, that `column` breaks `rule` ("a finite number")."""
        received = f"{column}={self.values[column]!r} in line {self.line}"
        return InvalidPatchError(self.patch_id, self.path, f"`{column}` must be {rule}. Received: {received}.")

    def text(self, column: str) -> str:
        """Text of a column without surrounding blanks; must not be empty."""
        value = self.values[column].strip()
        if not value:
            raise self.fail(column, "given")
        return value

    def number(self, column: str, low: float = -math.inf, high: float = math.inf) -> float:
        """Finite number of a column, in [low, high]."""
        rule = "a finite number" if low == -math.inf else f"a number in [{low}, {high}]"
        try:
            value = float(self.text(column))
        except ValueError:
            raise self.fail(column, rule) from None
        if not (math.isfinite(value) and low <= value <= high):
            raise self.fail(column, rule)
        return value

    def integer(self, column: str, low: int, high: int) -> int:
        """Whole number of a column, in [low, high]; `3.0` counts as one."""
        value = self.number(column, low, high)
        if value != int(value):
            raise self.fail(column, f"a whole number in [{low}, {high}]")
        return int(value)

    def timestamp(self, column: str) -> str:
        """Time of a column as `YYYY-MM-DD hh:mm:ss`."""
        try:
            return parse_timestamp(self.text(column))
        except ValueError:
            raise self.fail(column, "a time like 2017-06-13 10:10:31") from None


def parse_timestamp(text: str) -> str:
    """A time as `YYYY-MM-DD hh:mm:ss`; ValueError where `text` is no such time."""
    return datetime.datetime.strptime(text.replace("T", " "), "%Y-%m-%d %H:%M:%S").isoformat(sep=" ")


class Table:
    """One csv in memory: one text, whose lines are found by patch id.

    A line is split only when it is asked for. One text and not one for each line, since processes that were forked
    share it as long as they only read it, while taking a string out of a list writes to it (its count of references).

    Args:
        path: the csv, UTF-8 (with or without byte order mark), with a header.
        kind: one of `COLUMNS`.

    Raises:
        InvalidSourceError: the file is missing, empty, binary or not UTF-8; it has no rows; a column is
            missing or stands twice; a row has no patch id.
    """

    def __init__(self, path: Path, kind: str):
        self.path = path
        self._text = read_text(path)
        lines = self._text.split("\n")
        self._starts = array("q", accumulate((len(line) + 1 for line in lines), initial=0))
        rows = csv.reader(lines)
        self.columns = self._check_header(next(rows, []), kind)
        self._first_row = rows.line_num
        self._line_of: dict[str, int] = {}
        self._twice: dict[str, tuple[int, int]] = {}
        self._index(rows)
        if not self._line_of:
            raise InvalidSourceError(f"A csv must hold at least one row below its header. Received: none. File: {path}")

    def _check_header(self, header: list[str], kind: str) -> tuple[str, ...]:
        columns = tuple(column.strip() for column in header)
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise InvalidSourceError(f"Each column must stand once in the header. Twice: {twice}. File: {self.path}")
        missing = [column for column in COLUMNS[kind] if column not in columns]
        if missing:
            rule = f"The header must hold the columns {list(COLUMNS[kind])}."
            raise InvalidSourceError(f"{rule} Missing: {missing}. Received: {list(columns)[:20]}. File: {self.path}")
        return columns

    def _index(self, rows) -> None:
        place = self.columns.index("patch_id")
        for row in self._rows(rows):
            patch_id = row[place].strip() if place < len(row) else ""
            if not patch_id:
                raise InvalidSourceError(
                    f"`patch_id` must be given in every row. Missing in line {rows.line_num}. File: {self.path}"
                )
            if patch_id in self._line_of:
                self._twice.setdefault(patch_id, (self._line_of[patch_id], rows.line_num))
            else:
                self._line_of[patch_id] = rows.line_num

    def _rows(self, rows) -> Iterator[list[str]]:
        try:
            yield from filter(None, rows)  # blank lines are no rows
        except csv.Error as error:
            raise InvalidSourceError(
                f"A csv must be readable as such. Received: {error} in line {rows.line_num}. File: {self.path}"
            ) from None

    def __contains__(self, patch_id: str) -> bool:
        return patch_id in self._line_of

    def __len__(self) -> int:
        return len(self._line_of)

    @property
    def patch_ids(self):
        """The patch ids in file order, each once."""
        return self._line_of.keys()

    def row(self, patch_id: str) -> Row:
        """The one row of a patch.

        Raises:
            InvalidPatchError: there is none, there are several, or it has too few or too many fields.
        """
        rule = "A patch must have exactly one row."
        if patch_id not in self._line_of:
            raise InvalidPatchError(patch_id, self.path, f"{rule} Received: none.")
        if patch_id in self._twice:
            first, second = self._twice[patch_id]
            raise InvalidPatchError(patch_id, self.path, f"{rule} Received: one in line {first}, one in line {second}.")
        line = self._line_of[patch_id]
        values = next(csv.reader([self._text[self._starts[line - 1] : self._starts[line] - 1]]))
        if len(values) != len(self.columns):
            rule = f"A row must have {len(self.columns)} fields like the header."
            raise InvalidPatchError(patch_id, self.path, f"{rule} Received: {len(values)} in line {line}.")
        return Row(patch_id, self.path, line, dict(zip(self.columns, values, strict=True)))

    def column(self, name: str) -> dict[str, str]:
        """Patch id -> text of one column, of every row with as many fields as the header."""
        place, id_place = self.columns.index(name), self.columns.index("patch_id")
        rows = csv.reader(self._text.split("\n")[self._first_row :])
        return {row[id_place].strip(): row[place].strip() for row in rows if len(row) == len(self.columns)}


def read_text(path: Path) -> str:
    """The text of a csv or index file, line ends as `\\n`.

    Raises:
        InvalidSourceError: the file is missing, empty, binary or not UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidSourceError(f"A csv must be UTF-8 text. Received: other bytes. File: {path}") from None
    except OSError as error:
        raise InvalidSourceError(f"A csv must be readable. Received: {error.strerror}. File: {path}") from None
    if "\0" in text:
        raise InvalidSourceError(f"A csv must be text. Received: binary data. File: {path}")
    if not text.strip():
        raise InvalidSourceError(f"A csv must hold a header and rows. Received: an empty file. File: {path}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def meta_fields(row: Row) -> dict:
    """Fields of a record that stand in the row of a patch in `NAME_meta.csv` (the zone apart)."""
    longitude, latitude = row.number("lon", -180, 180), row.number("lat", -90, 90)
    return {
        "patch_id_s1": row.text("patch_id_s1"),
        "timestamp_s2": row.timestamp("timestamp_s2"),
        "timestamp_s1": row.timestamp("timestamp_s1"),
        "season": row.number("season_s2", 0, 1),
        "season_s1": row.number("season_s1", 0, 1),
        "lonlat": (longitude, latitude),
    }


def climate_fields(row: Row) -> dict:
    """`climate_zone`: a Köppen-Geiger code, one of the 12 present in ben-ge."""
    code = row.integer("climatezone", 0, KOPPEN_GEIGER[-1].code)
    present = [zone.code for zone in CLIMATE_ZONES]
    if code not in present:
        zone = KOPPEN_GEIGER[code]
        raise row.fail(
            "climatezone", f"one of the codes present in ben-ge, {present}; {code} is {zone.symbol} ({zone.name})"
        )
    return {"climate_zone": code}


def era5_fields(row: Row) -> dict:
    """`era5` in the order of `schema.ERA5`, and `era5_level` [mbar]."""
    return {
        "era5": tuple(row.number(variable.column) for variable in ERA5),
        "era5_level": row.number(ERA5_LEVEL_COLUMN),
    }


def fraction_fields(row: Row, whole: bool) -> dict:
    """`land_cover_fractions` in the order of `schema.LAND_COVER`.

    Args:
        row: the row of a patch in `NAME_esaworldcover.csv`.
        whole: whether every pixel of the patch is known to have a class. Then the fractions must sum to
            one; otherwise to no more than one.
    """
    fractions = tuple(row.number(entry.column, 0, 1) for entry in LAND_COVER)
    total = math.fsum(fractions)
    if total > 1 + SUM_TOLERANCE or (whole and total < 1 - SUM_TOLERANCE):
        rule = "The land-cover fractions of a patch must sum to 1" if whole else "The fractions must sum to at most 1"
        raise InvalidPatchError(row.patch_id, row.path, f"{rule}. Received: {total:.6f} in line {row.line}.")
    return {"land_cover_fractions": fractions}


def cluster_fields(row: Row) -> dict:
    """`geocluster`: the index of a cluster of longitude and latitude."""
    return {"geocluster": row.integer("cluster_idx", 0, len(TARGETS["geocluster"].classes) - 1)}
