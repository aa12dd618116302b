"""Every patch of records, read back from their shards as it was written: in the order on disk, in stored numbers."""

from collections.abc import Iterable, Iterator

import numpy as np

from eokeras.ben_ge import schema
from eokeras.ben_ge.patch_table import read_patch_table, shard_files
from eokeras.ben_ge.records import RecordSchema
from eokeras.errors import RecordsError

_BATCH = 16  # of about 0.35 MB each


def read_stored(records: RecordSchema) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Patch id and stored bytes by field of every record in the shards; of another split those of all its shards.

    Raises:
        RecordsError: a shard is missing or was cut, or its records lack a field.
    """
    names = list(records.splits)[:1] if records.is_other_split else records.splits  # any of them gives all files
    for name in names:
        yield from _read(records, shard_files(records, name))


def read_patches(records: RecordSchema) -> Iterator[tuple[str, dict]]:
    """Split and features of every patch of the records, as a source gives them.

    Raises:
        RecordsError: as `read_stored`; or `patches.csv` of records that are another split of others is unusable.
    """
    if records.is_other_split:
        side_of = {patch_id: side for side in records.splits for patch_id in read_patch_table(records, side).places}
        for patch_id, stored in read_stored(records):
            if patch_id in side_of:
                yield side_of[patch_id], decode(records, stored)
    else:
        for side in records.splits:
            for _, stored in _read(records, shard_files(records, side)):
                yield side, decode(records, stored)


def decode(records: RecordSchema, stored: dict[str, bytes]) -> dict:
    """Stored bytes by field -> features."""
    return {name: _decode(records.rasters.get(name) or schema.SCALARS[name], raw) for name, raw in stored.items()}


def _read(records: RecordSchema, files: Iterable[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    import tensorflow as tf

    specification = {name: tf.io.FixedLenFeature([], tf.string) for name in records.fields}
    batches = tf.data.TFRecordDataset(list(files)).batch(_BATCH)
    batches = batches.map(lambda serialised: tf.io.parse_example(serialised, specification)).prefetch(2)
    try:
        for batch in batches.as_numpy_iterator():
            for index, patch_id in enumerate(batch["patch_id"]):
                yield patch_id.decode(), {name: values[index] for name, values in batch.items()}
    except tf.errors.DataLossError:
        rule = f"The shards in {records.shards} must be whole."
        raise RecordsError(f"{rule} Received: a record that was cut or changed. Convert the source again.") from None
    except tf.errors.InvalidArgumentError as error:
        rule = f"The shards in {records.shards} must hold the fields {list(records.fields)}."
        raise RecordsError(f"{rule} Received: {error.message.splitlines()[0][:200]}") from None


def _decode(field: schema.Raster | schema.Scalar, raw: bytes):
    return raw.decode() if field.dtype == "string" else np.frombuffer(raw, field.dtype).reshape(field.shape)
