"""`patches.csv` beside the shards: every patch with its place on disk, its place on the ground and its classes.

It lets a subset be drawn and read without a pass over the shards: `convert` writes

    # fingerprint: 0123456789abcdef
    patch_id,split,shard,offset,tile,column,row,date,climate_zone,land_cover,geocluster

in the order on disk; the class targets that the records have stand as class ids, `VOID` where there is none. The
fingerprint is that of the records: the offsets of others would lead into the middle of a record, or to another patch.
`shard` counts the files of a split from 0, `offset` is the record's first byte in its file. In records that are another
split of others (`apply_split`) `shard` counts all files of those, and `split` is empty for patches that are left out.
"""

import contextlib
import csv
import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern

import numpy as np

from eokeras.ben_ge import schema
from eokeras.ben_ge.places import Place
from eokeras.ben_ge.records import RecordSchema, load_schema, shard_lengths
from eokeras.errors import RecordsError, UnwritableError

FILE = "patches.csv"

_PLACE = ("tile", "column", "row", "date")
_STORED_PLACE = ("tile", "cell", "date")
_FIXED = ("patch_id", "split", "shard", "offset", *_PLACE)
_HEADER, _CHECKSUM = 12, 4  # bytes around a record in a TFRecord file: its length with a checksum, and another
_ANEW = "`eokeras.ben_ge.write_patch_table(records)` (one pass over the shards)"


@dataclass(frozen=True)
class PatchTable:
    """The patches of one split, in the order on disk. Letter: N patches.

    Args:
        places: patch id -> `Place`.
        shards: (N,) file of the split that holds a patch, from 0.
        offsets: (N,) first byte of its record in that file.
        classes: class target -> (N,) class ids, `VOID` where a patch has none.
        rows: (N,) row of the file, which holds every record in the order on disk.
    """

    places: dict[str, Place]
    shards: np.ndarray
    offsets: np.ndarray
    classes: dict[str, np.ndarray]
    rows: np.ndarray

    def runs(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the chosen patches lie: shard, offset and number of records of each stretch without a gap.

        Args:
            chosen: (N,) bool.
        """
        index = np.flatnonzero(chosen)
        is_first = np.ones(len(index), bool)
        is_first[1:] = (np.diff(self.rows[index]) > 1) | (np.diff(self.shards[index]) != 0)
        firsts = np.flatnonzero(is_first)
        counts = np.diff(np.append(firsts, len(index)))
        return self.shards[index[firsts]], self.offsets[index[firsts]], counts


def class_targets(fields: Sequence[str]) -> tuple[str, ...]:
    """The class targets that records with these fields can give."""
    return tuple(name for name, target in schema.TARGETS.items() if target.kind == "class" and target.feature in fields)


def shard_files(records: RecordSchema, split: str) -> list[str]:
    """The files of a split in order; of records that are another split of others, all files of those.

    Raises:
        RecordsError: one of them is missing.
    """
    import tensorflow_datasets as tfds

    splits = tfds.builder_from_directory(records.shards).info.splits
    names = shard_counts(records) if records.is_other_split else (split,)
    files = [file for name in names for file in sorted(map(str, splits[name].filepaths))]
    for file in files:
        if not Path(file).is_file():
            raise RecordsError(f"{records.shards} lacks its shard {Path(file).name}. Convert the source again.")
    return files


def shard_counts(records: RecordSchema) -> dict[str, int]:
    """Split that the shards themselves were written in -> number of files before its own, in the order of counting."""
    lengths = shard_lengths(records.shards)
    return dict(zip(lengths, np.cumsum([0, *map(len, lengths.values())]).tolist(), strict=False))


# ---- Reading -------------------------------------------------------------------------------------------------------


def read_patch_table(records: RecordSchema, split: str) -> PatchTable:
    """Reads what `patches.csv` says of one split.

    Raises:
        RecordsError: the records have no such file, it is of other records, or it lacks some of their patches.
    """
    path, targets = records.path / FILE, class_targets(records.fields)
    header = [*_FIXED, *targets]
    try:
        with path.open(newline="", encoding="utf-8") as file:
            owner = file.readline().rstrip("\n")
            if owner != table_owner(records):
                rule = f"{path} must be of these records: its first line `{table_owner(records)}`."
                raise RecordsError(f"{rule} Received: {owner[:60]!r}. {_way_out(records)}")
            places, values = _read_rows(csv.reader(file), header, split)
    except FileNotFoundError:
        raise RecordsError(
            f"Label budgets and other splits are made from {FILE}, which {records.path} lacks: an earlier version made "
            f"these records. {_way_out(records)}"
        ) from None
    except OSError as error:
        raise RecordsError(f"{path} must be readable. Received: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise RecordsError(f"{path} must be UTF-8 text. Received: other bytes. {_way_out(records)}") from None
    patches, files = records.splits[split], _shard_count(records, split)
    shards = 1 + int(values[:, 0].max(initial=-1))
    is_whole = shards <= files if records.is_other_split else shards == files
    if len(places) != patches or not is_whole:
        rule = f"{path} must hold a row of {','.join(header)} for each of the {patches} patches of {split}"
        received = f"Received: {len(places)} (shards: {shards})"
        raise RecordsError(f"{rule} (shards: {files}). {received}. {_way_out(records)}")
    by_target = {name: values[:, 3 + index] for index, name in enumerate(targets)}
    return PatchTable(places, values[:, 0], values[:, 1], by_target, values[:, 2])


def _read_rows(rows: Iterator[list[str]], header: list[str], split: str) -> tuple[dict[str, Place], np.ndarray]:
    """Places, and numbers (N, shard, offset, row, classes), of the patches of a split; none of a damaged table."""
    places: dict[str, Place] = {}
    numbers = array("q")
    try:
        is_whole = next(rows, None) == header
        lines = enumerate(rows if is_whole else ())
        for line, (patch_id, side, shard, offset, tile, column, row, date, *classes) in lines:
            if side == split:
                # Few tiles and dates, many patches: one string each.
                places[patch_id] = Place(intern(tile), (int(column), int(row)), intern(date))
                numbers.extend(map(int, (shard, offset, line, *classes)))
        return places, np.array(numbers, "int64").reshape(len(places), 3 + len(header) - len(_FIXED))
    except (ValueError, csv.Error):  # a line that was cut, or words for numbers
        return {}, np.zeros((0, 3), "int64")


def table_owner(records: RecordSchema) -> str:
    """The first line of the table of these records."""
    return f"# fingerprint: {records.fingerprint}"


def _way_out(records: RecordSchema) -> str:
    if records.is_other_split:
        return "Make the split again with `eokeras.ben_ge.apply_split`."
    return f"Write it anew with {_ANEW}."


def _shard_count(records: RecordSchema, split: str) -> int:
    """Number of files that `shard_files` gives, without TensorFlow, whose import takes longer than a draw."""
    lengths = shard_lengths(records.shards)
    return sum(map(len, lengths.values())) if records.is_other_split else len(lengths[split])


# ---- Writing -------------------------------------------------------------------------------------------------------


def write_patch_table(records: str | Path | RecordSchema) -> Path:
    """Reads every record once and writes `patches.csv` beside the shards.

    For records of an earlier version, which have none: `convert` writes it with the shards. It appears whole or not at
    all, and replaces an older one.

    Raises:
        RecordsError: no whole records here, or a shard that was cut.
        UnwritableError: their directory cannot be written.
    """
    records = records if isinstance(records, RecordSchema) else load_schema(records)
    path = records.path / FILE
    if records.is_other_split:
        raise RecordsError(f"{path} comes from no shards of its own. {_way_out(records)}")
    temporary = records.path / f".{FILE}.{os.getpid()}.incomplete"
    shards = ((side, shard, file) for side in records.splits for shard, file in enumerate(shard_files(records, side)))
    try:
        write_rows(records, temporary, ((side, shard, _rows(file, records.fields)) for side, shard, file in shards))
        temporary.replace(path)
    except OSError as error:
        raise UnwritableError(f"{path} must be writable. Received: {error.strerror}.") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return path


def write_rows(records: RecordSchema, path: Path, shards: Iterable[tuple[str, int, Iterable[str]]]) -> None:
    """Writes the table of records to a path.

    Args:
        records: what it is of.
        path: where it goes.
        shards: split, number in it, and the rows as `patch_row` gives them, of every shard in the order on disk.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"{table_owner(records)}\n")
        file.write(",".join((*_FIXED, *class_targets(records.fields))) + "\n")
        for side, shard, rows in shards:
            for row in rows:
                patch_id, rest = row.split(",", 1)
                file.write(f"{patch_id},{side},{shard},{rest}\n")


def patch_row(offset: int, stored: Mapping[str, bytes], targets: Sequence[str]) -> str:
    """What the table says of a patch, but for its split and shard.

    Args:
        offset: first byte of its record in its file.
        stored: field -> bytes as in the record; fields that the table does not need are passed over.
        targets: those of `class_targets`.
    """
    read = ("patch_id", *_STORED_PLACE, *(schema.TARGETS[name].feature for name in targets))
    patch = {name: _decode(name, stored[name]) for name in read}
    classes = [_CLASS_OF[name](patch[schema.TARGETS[name].feature]) for name in targets]
    return ",".join(map(str, (patch["patch_id"], offset, patch["tile"], *patch["cell"], patch["date"], *classes)))


def _rows(file: str, fields: Sequence[str]) -> Iterator[str]:
    targets = class_targets(fields)
    read = ("patch_id", *_STORED_PLACE, *(schema.TARGETS[name].feature for name in targets))
    for offset, example in _records_of(file):
        yield patch_row(offset, {name: example[name].bytes_list.value[0] for name in read}, targets)


def _records_of(path: str) -> Iterator[tuple[int, Mapping]]:
    """Offset and fields of every record of a shard: for one pass over few fields much faster than tf.data."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    with open(path, "rb") as file:
        offset = 0
        while header := file.read(_HEADER):
            length = int.from_bytes(header[:8], "little")
            content = file.read(length + _CHECKSUM)
            try:
                if len(content) < length + _CHECKSUM:
                    raise DecodeError
                yield offset, tf.train.Example.FromString(content[:length]).features.feature
            except DecodeError:
                raise RecordsError(f"{path} must be a whole shard. Convert the source again.") from None
            offset += _HEADER + length + _CHECKSUM


def _decode(name: str, raw: bytes):
    field = schema.SCALARS[name]
    return raw.decode() if field.dtype == "string" else np.frombuffer(raw, field.dtype).tolist()


def _zone(codes: Sequence[int]) -> int:
    return _ZONES[codes[0]]


def _top_class(fractions: Sequence[float]) -> int:
    return int(np.argmax(fractions)) if sum(fractions) > 0 else schema.VOID


_ZONES = {zone.code: index for index, zone in enumerate(schema.CLIMATE_ZONES)}
_CLASS_OF = {"climate_zone": _zone, "land_cover": _top_class, "geocluster": lambda clusters: clusters[0]}
