"""What stands beside the shards of records: all that says what they hold, for TensorFlow Datasets and for eokeras."""

import csv
from importlib.metadata import version
from pathlib import Path

import numpy as np

import eokeras
from eokeras.ben_ge import patch_table, records, schema
from eokeras.ben_ge.gathered import Gathered
from eokeras.ben_ge.index_files import Split, write_split
from eokeras.ben_ge.shards import ShardWriter, Written
from eokeras.ben_ge.source import Source
from eokeras.errors import InvalidSourceError

_SKIPPED, SPLIT_FILE = "skipped.csv", "split.csv"


class Shards:
    """What is known of all shards: the same in whatever order they were written.

    Attributes:
        gathered: of all their patches.
        rows: number of a shard -> rows of its patches, one text.
        sizes: side of the split -> bytes of its records.
    """

    def __init__(self, writer: ShardWriter):
        self._writer, self.gathered = writer, Gathered(writer.source.rasters)
        self.rows: dict[int, str] = {}
        self.sizes: dict[str, int] = {}

    def add(self, number: int, written: Written) -> None:
        """Takes what is known of a shard."""
        side = self._writer.shards[number].side
        self.gathered.merge(written.gathered)
        self.rows[number] = "\n".join(written.rows)
        self.sizes[side] = self.sizes.get(side, 0) + written.size

    def patches(self, number: int) -> int:
        """How many patches a shard holds."""
        return self.rows[number].count("\n") + 1 if self.rows[number] else 0


def write_record_files(writer: ShardWriter, shards: Shards, source: Source, split: Split, numbers: dict) -> None:
    """Names the shards as TFDS does, and writes all that describes them.

    Args:
        writer: that wrote them.
        shards: what is known of all of them.
        source: what the records were made from.
        split: by which they were.
        numbers: what `reflectance.describe` says of digital numbers.

    Raises:
        InvalidSourceError: a side of the split has no patch left.
    """
    path, skipped = writer.directory, shards.gathered.skipped
    kept = _name_shards(writer, shards)
    if not kept or not all(kept.values()):
        raise InvalidSourceError(
            f"Every split must keep at least one sound patch. Received: {source.root}, of whose patches "
            f"{len(skipped)} were set aside: {'; '.join(map(str, list(skipped.values())[:3]))}"
        )
    lengths = {side: [shards.patches(number) for number in found] for side, found in kept.items()}
    sides = {side: sum(found) for side, found in lengths.items()}
    _write_info(path, source, lengths, shards.sizes, _metadata(shards.gathered, source, split, numbers, sides))
    write_split(split, path / SPLIT_FILE)
    rows = ((side, index, shards.rows[n].split("\n")) for side in kept for index, n in enumerate(kept[side]))
    patch_table.write_rows(records.load_schema(path), path / patch_table.FILE, rows)
    _write_skipped(path / _SKIPPED, skipped)


def _name_shards(writer: ShardWriter, shards: Shards) -> dict[str, list[int]]:
    """Side -> numbers of its shards that hold patches, in the order of their names; all others are removed."""
    kept: dict[str, list[int]] = {shard.side: [] for shard in writer.shards}
    for number, shard in enumerate(writer.shards):
        if shards.patches(number):
            kept[shard.side].append(number)
        else:  # every patch of it was set aside
            writer.path(number).unlink()
    for side, numbers in kept.items():
        for index, number in enumerate(numbers):
            name = f"ben_ge-{side}.tfrecord-{index:05}-of-{len(numbers):05}"
            writer.path(number).rename(writer.directory / name)
    return kept


def _write_info(path: Path, source: Source, lengths: dict[str, list[int]], sizes: dict[str, int], metadata) -> None:
    """The files by which TensorFlow Datasets reads the shards, and `metadata.json`."""
    import tensorflow_datasets as tfds

    template = tfds.core.ShardedFileTemplate(data_dir=path, dataset_name="ben_ge", filetype_suffix="tfrecord")
    tfds.folder_dataset.write_metadata(
        data_dir=path,
        features={name: _feature(source.rasters.get(name) or schema.SCALARS[name]) for name in source.fields},
        split_infos=[
            tfds.core.SplitInfo(name=side, shard_lengths=found, num_bytes=sizes[side], filename_template=template)
            for side, found in lengths.items()
        ],
        version="1.0.0",
        filename_template=template,
        check_data=False,
        description="Sentinel-1/2 patches with elevation, land cover, weather and climate zone (ben-ge).",
        homepage="https://github.com/HSG-AIML/ben-ge",
        citation="Mommert et al. 2023, https://arxiv.org/abs/2307.01741",
        metadata=tfds.core.MetadataDict(metadata),
    )


def _feature(field: schema.Raster | schema.Scalar):
    """The TFDS feature of a record's field: text, or a tensor stored as its bytes."""
    import tensorflow_datasets as tfds

    if field.dtype == "string":
        return tfds.features.Text()
    return tfds.features.Tensor(shape=field.shape, dtype=np.dtype(field.dtype).type, encoding="bytes")


def _metadata(gathered: Gathered, source: Source, split: Split, numbers: dict, sides: dict[str, int]) -> dict:
    return {
        "format": records.FORMAT,
        "name": source.name,
        "modalities": list(source.modalities),
        "fields": list(source.fields),
        "splits": {name: sides[name] for name in ("train", "val", "test") if name in sides},
        "split": split.describe(),
        "bands": {name: list(raster.bands) for name, raster in source.rasters.items() if raster.bands},
        "reflectance": numbers["reflectance"],
        "digital_numbers": numbers["products"],
        "statistics": gathered.statistics.result(),
        "notes": [*source.notes, *numbers["notes"]],
        "skipped": len(gathered.skipped),
        "non_finite": gathered.non_finite,  # of all splits; the statistics count those of training
        "world": source.world,
        "versions": {name: version(name) for name in ("tensorflow", "tensorflow-datasets", "rasterio", "numpy")}
        | {"eokeras": eokeras.__version__},
        "fingerprint": gathered.fingerprint,
    }


def _write_skipped(path: Path, skipped: dict) -> None:
    if not skipped:
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("patch_id", "file", "reason"))
        writer.writerows((patch_id, error.path, error.reason) for patch_id, error in sorted(skipped.items()))
