"""Serialised records: of a split, of some of its patches, or of cells that were seen on several dates.

Each function gives a function from the seed of an epoch to the data set of that epoch; see `eokeras.epochs`.
Letters: N patches of a split, K cells with enough dates, V dates of one element.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from eokeras.augment.composition import fold
from eokeras.ben_ge.patch_table import PatchTable, read_patch_table, shard_files
from eokeras.ben_ge.records import RecordSchema
from eokeras.epochs import shuffled
from eokeras.errors import InvalidArgumentError
from eokeras.label_choice import Choice

_SHUFFLE_BUFFER = 256  # records, 80 MB: they are stored in random order already; this mixes neighbouring shards
_OPEN_PARTS = 8
_READ_BUFFER = 256 * 1024  # bytes; what `tf.data.TFRecordDataset` takes


Epoch = Callable[[tf.Tensor], tf.data.Dataset]
"""Seed (2,) of an epoch -> its elements."""


def serialised_patches(
    records: RecordSchema, split: str, choice: Choice | None, shuffle: bool, cache: str | Path | None
) -> Epoch:
    """Serialised examples () of a split, or of a choice of its patches: read in parallel, cached, then shuffled."""
    files = shard_files(records, split)
    if choice is None:
        parts, read = tf.data.Dataset.from_tensor_slices(files), tf.data.TFRecordDataset
    else:
        paths = tf.constant(files)
        parts = tf.data.Dataset.from_tensor_slices(choice.table.runs(choice.chosen))

        def read(shard, offset, count):
            return _records_at(paths[shard], offset, count)

    count, patches = len(parts), int(choice.chosen.sum()) if choice else records.splits[split]

    def examples(parts):
        dataset = parts.interleave(
            read, cycle_length=min(_OPEN_PARTS, count), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return dataset.apply(tf.data.experimental.assert_cardinality(patches))

    kept = None
    if cache is not None:  # stored bytes: half of the floats, and augmentation stays random
        # A file of another split, subset or of other records must never be taken for this one.
        names = [cache, split, records.fingerprint, *([choice.digest] if choice else [])]
        kept = examples(parts).cache("" if cache == "memory" else "-".join(map(str, names)))

    def epoch(seed: tf.Tensor) -> tf.data.Dataset:
        if not shuffle:
            return kept or examples(parts)
        # A cache would freeze the order of the first epoch. One in memory holds the records that a buffer refers to.
        dataset = kept or examples(shuffled(parts, count, fold(seed, 0)))
        buffer = patches if cache == "memory" else min(patches, _SHUFFLE_BUFFER)
        return shuffled(dataset, buffer, fold(seed, 1))

    return epoch


def _records_at(file: tf.Tensor, offset: tf.Tensor, count: tf.Tensor | int) -> tf.data.Dataset:
    """So many records of a file from one that begins at byte `offset`."""
    # Only the raw operation can begin in the middle of a file; skipping to it would read what lies before.
    variant = tf.raw_ops.TFRecordDatasetV2(
        filenames=[file], compression_type="", buffer_size=_READ_BUFFER, byte_offsets=[offset]
    )
    return tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.string)).take(count)


# ---- Cells on several dates ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cells:
    """Where the patches of K cells lie, cell by cell and by date; of each date of a cell one.

    Args:
        shards, offsets: of all their patches.
        starts, counts: (K,) where a cell begins in these, and how many dates it has.
    """

    shards: np.ndarray
    offsets: np.ndarray
    starts: np.ndarray
    counts: np.ndarray


def cells_on_dates(table: PatchTable, chosen: np.ndarray, dates: int) -> Cells:
    """The cells (column and row of a tile) whose chosen patches (N,) are of `dates` dates or more.

    Raises:
        InvalidArgumentError: there is none.
    """
    found: dict[tuple, dict[str, int]] = {}
    for index, place in enumerate(table.places.values()):
        if chosen[index]:
            found.setdefault((place.tile, place.cell), {}).setdefault(place.date, index)
    members = [[by_date[date] for date in sorted(by_date)] for by_date in found.values() if len(by_date) >= dates]
    if not members:
        most = max(map(len, found.values()), default=0)
        rule = (
            "`dates` must be a number of dates of a cell among the patches that are read: of the split, or of a budget."
        )
        raise InvalidArgumentError(f"{rule} Received: dates={dates}, and no cell of {len(found)} on more than {most}.")
    counts = np.array([len(indices) for indices in members])
    index = np.concatenate(members)
    return Cells(table.shards[index], table.offsets[index], np.cumsum(counts) - counts, counts)


def serialised_cells(records: RecordSchema, split: str, choice: Choice | None, dates: int, shuffle: bool) -> Epoch:
    """V serialised examples of every cell, each of another date: drawn anew in every epoch, or the first ones.

    Raises:
        InvalidArgumentError: no cell has so many dates.
        RecordsError: the records lack `patches.csv`.
    """
    table = choice.table if choice else read_patch_table(records, split)
    chosen = choice.chosen if choice else np.ones(len(table.places), bool)
    cells = cells_on_dates(table, chosen, dates)
    files, shards, offsets = map(tf.constant, (shard_files(records, split), cells.shards, cells.offsets))
    count = len(cells.starts)
    places = tf.data.Dataset.from_tensor_slices((np.arange(count), cells.starts, cells.counts))

    def read(drawn):
        one_each = [_records_at(files[shards[drawn[view]]], offsets[drawn[view]], 1) for view in range(dates)]
        return tf.data.Dataset.zip(tuple(one_each))

    def epoch(seed: tf.Tensor) -> tf.data.Dataset:
        def draw(cell, start, count):
            if not shuffle:
                return start + tf.range(dates, dtype=start.dtype)
            order = tf.argsort(tf.random.stateless_uniform([count], fold(fold(seed, 1), cell)))
            return start + tf.cast(order[:dates], start.dtype)

        dataset = shuffled(places, count, fold(seed, 0)) if shuffle else places
        dataset = dataset.map(draw).interleave(
            read, cycle_length=_OPEN_PARTS, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return dataset.apply(tf.data.experimental.assert_cardinality(count))

    return epoch
