"""Published tables of a whole data set: the country of every patch, and the split of reBEN.

    metadata.parquet of reBEN (BigEarthNet v2): patch_id, labels, split, country, s1_name, s2v1_name, ...
    s1_s2_name_country_season.csv.bz2 of bigearthnet-common: s1_name, s2_name, country, season

Such a table may hold more patches than a tree, and may be read for a tree of either version: a row of reBEN is found
under its own name and under that of v1.

Reference:
    Clasen et al. 2024, https://arxiv.org/abs/2407.03653; https://pypi.org/project/bigearthnet-common
"""

import bz2
import csv
import gzip
import os
import zlib
from pathlib import Path

from eokeras.ben_ge.layout import SPLITS
from eokeras.ben_ge.places import is_patch_name
from eokeras.errors import InvalidSourceError

NAMES = ("patch_id", "s2_name", "s2v1_name")
"""Columns that name a patch."""

_OPEN = {".bz2": bz2.open, ".gz": gzip.open}
_SIDES = {**{side: side for side in SPLITS}, "validation": "val"}


def is_published_table(path: str | os.PathLike) -> bool:
    """Whether a file is a table of this kind, by its ending; a plain `.csv` that splits is an index file."""
    return Path(path).suffix in (".parquet", *_OPEN)


def read_published(path: str | os.PathLike, column: str) -> dict[str, str]:
    """Patch id -> text of one column of a published table; patches without a value are left out.

    Args:
        path: a `.parquet`, `.csv`, `.csv.bz2` or `.csv.gz` file with a header, one patch a row.
        column: such as "country" or "split".

    Raises:
        InvalidSourceError: the file cannot be read, lacks the column or one of `NAMES`, or names a patch twice with
            different values.

    Example:
        >>> countries = read_published("metadata.parquet", "country")  # doctest: +SKIP
    """
    path = Path(path)
    try:
        columns = _read_parquet(path, column) if path.suffix == ".parquet" else _read_csv(path, column)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidSourceError(f"A published table must be readable. Received: {reason}. File: {path}") from None
    values = columns.pop(column)
    found: dict[str, str] = {}
    for names in columns.values():
        for name, value in zip(names, values, strict=True):
            if name and value and found.setdefault(name, value) != value:
                rule = f"A published table must state one `{column}` for a patch."
                raise InvalidSourceError(f"{rule} Received: {found[name]!r} and {value!r} for {name}. File: {path}")
    return found


def read_published_split(path: str | os.PathLike) -> dict[str, str]:
    """Patch id -> "train", "val" or "test", of a published table with the column `split` ("validation" is "val").

    Raises:
        InvalidSourceError: as `read_published`, or the table states another split.
    """
    stated = read_published(path, "split")
    unknown = sorted(set(stated.values()) - _SIDES.keys())
    if unknown:
        raise InvalidSourceError(f"A split must be one of {list(_SIDES)}. Received: {unknown[:5]}. File: {path}")
    return {patch_id: _SIDES[side] for patch_id, side in stated.items()}


def read_listed(path: str | os.PathLike, column: str) -> frozenset[str]:
    """Patch ids that a published list names, one a line, or that a table with a column of true and false marks.

    Args:
        path: a list such as `patches_with_seasonal_snow.csv`, or a table as for `read_published`; `.csv` may be
            compressed (`.bz2`, `.gz`).
        column: of the table, such as "contains_seasonal_snow".

    Raises:
        InvalidSourceError: the file cannot be read, or is neither.

    Example:
        >>> snow = read_listed("patches_with_seasonal_snow.csv", "contains_seasonal_snow")  # doctest: +SKIP
    """
    path = Path(path)
    if path.suffix != ".parquet":
        try:
            with _OPEN.get(path.suffix, open)(path, "rt", encoding="utf-8-sig") as file:
                lines = [line.strip() for line in file if line.strip() and not line.startswith("#")]
        except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InvalidSourceError(f"A list of patches must be readable. Received: {reason}. File: {path}") from None
        if not lines or column not in lines[0].split(","):
            odd = [line for line in lines if not (is_patch_name(line, "S2") or is_patch_name(line, "S1"))]
            if odd:
                rule = f"A list of patches must hold a name a line, or be a table with the column `{column}`."
                raise InvalidSourceError(f"{rule} Received: {odd[0][:80]!r}. File: {path}")
            return frozenset(lines)
    marked = read_published(path, column)
    return frozenset(patch_id for patch_id, value in marked.items() if str(value).lower() in ("true", "1"))


def _chosen(header: list[str], column: str, path: Path) -> list[str]:
    """The columns to read: those that name a patch, and `column`."""
    names = [name for name in NAMES if name in header]
    if not names or column not in header:
        rule = f"A published table must have the column `{column}` and one of {list(NAMES)}."
        raise InvalidSourceError(f"{rule} Received: {header[:20]}. File: {path}")
    return [*names, column]


def _read_parquet(path: Path, column: str) -> dict[str, list]:
    from pyarrow import ArrowException, parquet

    try:
        header = parquet.read_schema(path).names
        return parquet.read_table(path, columns=_chosen(header, column, path)).to_pydict()
    except ArrowException as error:
        raise InvalidSourceError(f"A published table must be Parquet. Received: {error}. File: {path}") from None


def _read_csv(path: Path, column: str) -> dict[str, list]:
    with _OPEN.get(path.suffix, open)(path, "rt", encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        chosen = _chosen(header, column, path)
        places = [header.index(name) for name in chosen]
        lists: dict[str, list] = {name: [] for name in chosen}
        for row in filter(None, rows):
            if len(row) != len(header):
                rule = f"A row of a published table must have {len(header)} fields like its header."
                raise InvalidSourceError(f"{rule} Received: {len(row)} in line {rows.line_num}. File: {path}")
            for name, place in zip(chosen, places, strict=True):
                lists[name].append(row[place])
    return lists
