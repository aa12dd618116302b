"""What ties the statistics of records to their shards: cheap to check whenever they are read.

Statistics of other patches calibrate wrongly without a sign of it: when shards were copied over others, when only some
files of a conversion were synchronised, or when `metadata.json` was edited. So `metadata.json` holds a seal:

    files       name of every shard -> its size in bytes, and the checksum of its last record (the four bytes, a masked
                CRC-32C, with which every record of a TFRecord file ends)
    statistics  hash of what was gathered from the shards, as it stands in `metadata.json`

A check reads four bytes of each file, not the patches: it finds whole files that were exchanged, cut or not copied, not
a record in the middle of a file that was replaced by another of the same length. `eokeras.ben_ge.inspect` reads
everything and gathers it anew.

Reference:
    TFRecord: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from eokeras.ben_ge.records import RecordSchema
from eokeras.errors import RecordsError

_GATHERED = ("fields", "bands", "splits", "reflectance", "statistics", "non_finite", "fingerprint")
_CHECKSUM = 4  # bytes


def sealed(metadata: Mapping, shards: Path) -> dict:
    """`metadata` with its seal, for shards that are complete.

    Args:
        metadata: what `metadata.json` will hold.
        shards: directory of the shards.
    """
    return {**metadata, "seal": {"files": _shard_facts(shards), "statistics": _hash(metadata)}}


def check_seal(records: RecordSchema, split: str | None = None) -> None:
    """Raises unless shards and statistics are those that were written together; records without a seal pass.

    With `split` only its own shards must be there, since a machine may hold no others; what is there is looked at.
    (Records that are another split of others have no shards of their own: all must be there.)

    Records of an earlier version have none: what they hold is sound as far as is known, and refusing them would
    only make their owners convert again.

    Raises:
        RecordsError: a shard is missing or another, or `metadata.json` was changed.

    Example:
        >>> check_seal(load_schema("records/ben-ge-800"))  # doctest: +SKIP
    """
    seal = records.metadata.get("seal")
    if seal is None:
        return
    way_out = "Convert the source again, or copy the whole directory again."
    if _hash(records.metadata) != seal["statistics"]:
        rule = f"The statistics in {records.path / 'metadata.json'} must be those that were gathered from the shards."
        raise RecordsError(f"{rule} Received: others; the file was changed after it was written. {way_out}")
    own = "" if split is None or records.is_other_split else f"-{split}.tfrecord"
    for name, facts in seal["files"].items():
        path = records.shards / name
        if not path.is_file():
            if own in name:
                raise RecordsError(f"{records.shards} lacks its shard {name}. {way_out}")
            continue
        if (found := _facts(path)) != facts:
            rule = f"Shard {name} of {records.shards} must be the one that the statistics were gathered from"
            raise RecordsError(f"{rule}: {_words(facts)}. Received: {_words(found)}. {way_out}")


def _shard_facts(shards: Path) -> dict[str, list]:
    return {path.name: _facts(path) for path in sorted(shards.glob("*.tfrecord*"))}


def _facts(path: Path) -> list:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _CHECKSUM, 0))
        return [size, file.read(_CHECKSUM).hex()]


def _words(facts: list) -> str:
    return f"{facts[0]} bytes, last checksum {facts[1]}"


def _hash(metadata: Mapping) -> str:
    gathered = {name: metadata.get(name) for name in _GATHERED}
    return hashlib.sha256(json.dumps(gathered, sort_keys=True).encode()).hexdigest()[:16]
