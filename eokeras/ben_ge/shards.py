"""TFRecord shards, each written from its first record to its last by one process, whichever that is.

A patch's place follows from its name: the patches of a side of the split are ordered by the hash of side and name by
which TensorFlow Datasets shuffles, and cut into shards before any is read. So nothing has to wait in memory or on disk
until it is sorted, processes and machines share the shards among them without a word to each other, and a shard is the
same to the byte whoever writes it. TFDS would write the same files, unless patches are set aside: they make their shard
shorter here, while TFDS would cut what is left evenly.

Examples are TensorFlow's, with every field as its bytes, in an order of fields that is always the same (a protobuf map
has none). They are written without TensorFlow, which would take some 700 MB in every process.

Reference:
    TFRecord: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
"""

import hashlib
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np

# Another module than TensorFlow's own, of the same message; importing it takes 20 MB instead of 700.
from tensorflow_datasets.proto import tf_example_pb2

from eokeras.ben_ge import schema
from eokeras.ben_ge.gathered import Gathered
from eokeras.ben_ge.patch_table import class_targets, patch_row
from eokeras.ben_ge.source import Source
from eokeras.errors import InvalidPatchError

_SMALLEST, _LARGEST, _WANTED = 1_000_000, 200_000_000, 16  # bytes, bytes, shards
_SCALARS = 1000  # bytes of a record that are no raster, about
_WRITE = 1 << 20  # bytes at a time


@dataclass(frozen=True)
class Shard:
    """What goes into a shard: patches of a side of the split, in the order on disk."""

    side: str
    patch_ids: tuple[str, ...]


@dataclass
class Written:
    """What is known of a shard that was written.

    Args:
        gathered: of its patches.
        size: bytes of its records, without what frames them.
        rows: of its patches, as `patch_table.write_rows` takes them.
    """

    gathered: Gathered
    size: int = 0
    rows: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ShardWriter:
    """Writes any of the shards of a source; can be pickled.

    Args:
        source: an opened tree.
        shards: all of them.
        directory: where they go, a file named by its number for each.
        skips: whether a bad patch is set aside.
    """

    source: Source
    shards: tuple[Shard, ...]
    directory: Path
    skips: bool

    def path(self, number: int) -> Path:
        """The file of a shard."""
        return self.directory / f"{number:05}.shard"

    def __call__(self, number: int) -> Iterator[int | Written]:
        """Writes a shard, giving 1 for every patch that is done, and in the end what was written.

        Raises:
            InvalidPatchError: a patch is bad and not set aside.
            OSError: the file cannot be written.
        """
        written = Written(Gathered(self.source.rasters))
        with self.path(number).open("wb", buffering=_WRITE) as file:
            for patch_id in self.shards[number].patch_ids:
                self._add(file, self.shards[number].side, patch_id, written)
                yield 1
        yield written

    def _add(self, file: BinaryIO, side: str, patch_id: str, written: Written) -> None:
        try:
            patch = self.source.read(patch_id)
        except InvalidPatchError as error:
            if not self.skips:
                raise
            written.gathered.skipped[patch_id] = error
            return
        written.gathered.add(side, patch.features, patch.non_finite)
        stored = encode(patch.features, self.source.rasters)
        example = serialise(stored)
        written.rows.append(patch_row(file.tell(), stored, class_targets(self.source.fields)))
        written.size += len(example)
        file.writelines(_framed(example))


# ---- Which patches go where ----------------------------------------------------------------------------------------


def cut(sides: Mapping[str, tuple[str, ...]], rasters: Mapping[str, schema.Raster]) -> tuple[Shard, ...]:
    """The shards of a split.

    Args:
        sides: side of the split -> patch ids.
        rasters: those of the records.
    """
    size = _SCALARS + sum(math.prod(raster.shape) * np.dtype(raster.dtype).itemsize for raster in rasters.values())
    shards = []
    for side, patch_ids in ((side, patch_ids) for side, patch_ids in sides.items() if patch_ids):
        shuffled = sorted(patch_ids, key=partial(_place, side))
        count = shard_count(size * len(shuffled), len(shuffled))
        ends = [round(len(shuffled) * number / count) for number in range(count + 1)]  # as TFDS rounds
        shards += [Shard(side, tuple(shuffled[ends[number] : ends[number + 1]])) for number in range(count)]
    return tuple(shards)


def _place(side: str, patch_id: str) -> bytes:
    """What TFDS orders by."""
    return hashlib.md5(f"{side}{patch_id}".encode(), usedforsecurity=False).digest()


def shard_count(total_bytes: int, patches: int) -> int:
    """Many small shards early, for parallel reading and shuffling; none above 200 MB."""
    shards = max(min(total_bytes // _SMALLEST, _WANTED), math.ceil(total_bytes / (0.9 * _LARGEST)))
    return max(1, min(shards, patches))


# ---- Bytes ---------------------------------------------------------------------------------------------------------


def encode(features: Mapping[str, object], rasters: Mapping[str, schema.Raster]) -> dict[str, bytes]:
    """Every field as the bytes that a record holds.

    Args:
        features: field -> array, number or text.
        rasters: those of the records.

    Raises:
        ValueError: an array has another shape than its field.
    """
    return {name: _bytes_of(name, value, rasters.get(name) or schema.SCALARS[name]) for name, value in features.items()}


def _bytes_of(name: str, value, expected: schema.Raster | schema.Scalar) -> bytes:
    if isinstance(value, str):
        return value.encode()
    array = np.asarray(value, expected.dtype)
    if array.shape != expected.shape:
        raise ValueError(f"`{name}` must have shape {expected.shape}. Received: shape={array.shape}.")
    return array.tobytes()


def serialise(stored: Mapping[str, bytes]) -> bytes:
    """A `tf.train.Example` of fields that are bytes."""
    example = tf_example_pb2.Example()
    for name, value in stored.items():  # in place: a message that is handed to another is copied
        example.features.feature[name].bytes_list.value.append(value)
    return example.SerializeToString(deterministic=True)


def _framed(record: bytes) -> tuple[bytes, bytes, bytes]:
    """A record as a TFRecord file holds it: length with checksum, content, checksum."""
    length = struct.pack("<Q", len(record))
    return length + _checksum(length), record, _checksum(record)


def _checksum(content: bytes) -> bytes:
    value = google_crc32c.value(content)
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)
