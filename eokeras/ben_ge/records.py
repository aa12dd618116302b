"""What a directory of records holds, read from its JSON files alone (no TensorFlow).

`convert` writes `metadata.json` beside the TFRecord shards; `load_schema` reads it back.
Letters: B batch, H rows, W columns, C channels.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from eokeras.ben_ge import schema
from eokeras.errors import RecordsError, check_choice

FORMAT = 1
"""Version of the layout of `metadata.json`."""


@dataclass(frozen=True)
class InputSpec:
    """One network input: `shape` without the batch axis, channel names in canonical order."""

    name: str
    shape: tuple[int | None, ...]  # (H, W, C) with H = W = None for rasters, (C,) for vectors
    channels: tuple[str, ...]


class RecordSchema(Mapping[str, InputSpec]):
    """The schema of a set of records: inputs, targets, splits and statistics.

    A mapping from the name of an input that these records can give to its `InputSpec`.

    Attributes:
        path: the directory of the records.
        shards: the directory of their TFRecord shards: the same, or that of the records which these are another split
            of (`apply_split`).
        name: name of the ben-ge tree they were made from.
        splits: split name -> number of patches, the non-empty ones.
        stored_bands, rasters: raster of a record -> its bands, and with these as a `schema.Raster`.
        reflectance: Sentinel-2 band -> `scale` and `offset` of its digital numbers.
        statistics: per input (training split, stored numbers, per channel of the input) `mean`, `std`,
            `p1`, `p2`, `p98`, `p99`, `count`, `nan`, `negative_infinity`, `positive_infinity`; per target
            `counts` and `void` (classes), `median` and `mean` (regression), `mean` (fractions), `std` and
            `mean_absolute` (elevation, metres above the mean of the patch).
        split: how the split was made: `kind`, `group`, `seed`, `notes`.
        world: the simulator's knobs and information table, or None for real data.
        fingerprint: hash of every patch's content and its split.

    Example:
        >>> schema = eo.load_schema("records/ben-ge-sim")  # doctest: +SKIP
        >>> schema["s2"].shape  # doctest: +SKIP
        (None, None, 12)
    """

    def __init__(self, path: str | Path, metadata: dict):
        self.path = Path(path)
        self.metadata = metadata

    def __getitem__(self, name: str) -> InputSpec:
        check_choice("input", name, self._specs)
        return self._specs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def __contains__(self, name) -> bool:  # Mapping's own would swallow only KeyError
        return name in self._specs

    @cached_property
    def _specs(self) -> dict[str, InputSpec]:
        # Of Sentinel-2 any group will do: records may hold only some of the bands.
        names = [name for name, fields in schema.INPUTS.items() if set(fields) & set(self.fields)]
        names += [name for name in schema.S2_GROUPS if name in self.fields]
        return {name: input_spec(name, self.stored_bands) for name in names}

    @cached_property
    def stored_bands(self) -> dict[str, tuple[str, ...]]:
        """Raster of a record -> the bands along its last axis, in order."""
        stated = self.metadata.get("bands", {})  # records of an earlier version hold all
        rasters = {name: schema.RASTERS[name].bands for name in self.fields if name in schema.RASTERS}
        return {name: tuple(stated.get(name, bands)) for name, bands in rasters.items() if bands}

    @cached_property
    def rasters(self) -> dict[str, schema.Raster]:
        """The rasters of a record by name, each with the bands that it has there."""
        names = [name for name in self.fields if name in schema.RASTERS]
        return {name: replace(schema.RASTERS[name], bands=self.stored_bands.get(name, ())) for name in names}

    @property
    def reflectance(self) -> dict[str, dict[str, float]]:
        """Sentinel-2 band -> `scale` and `offset`: reflectance = scale * stored number + offset."""
        return self.metadata["reflectance"]

    @property
    def shards(self) -> Path:
        """Directory of the TFRecord shards."""
        return shards_of(self.path, self.metadata)

    @property
    def is_other_split(self) -> bool:
        """Whether the shards are those of other records, whose patches are split otherwise there."""
        return "shards" in self.metadata

    @property
    def name(self) -> str:
        """Name of the ben-ge tree that the records were made from."""
        return self.metadata["name"]

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of every record, by the names in `ben_ge.schema`."""
        return tuple(self.metadata["fields"])

    @property
    def splits(self) -> dict[str, int]:
        """Split name -> number of patches, the non-empty splits only."""
        return dict(self.metadata["splits"])

    @property
    def statistics(self) -> dict[str, dict]:
        """Input or target -> its statistics over the training split, in stored numbers (keys as listed above)."""
        return self.metadata["statistics"]

    @property
    def split(self) -> dict:
        """How the split was made: `kind`, `group`, `seed`, `notes`."""
        return self.metadata["split"]

    @property
    def world(self) -> dict | None:
        """The simulator's knobs and information table; None for real data."""
        return self.metadata.get("world")

    @property
    def fingerprint(self) -> str:
        """Hash of every patch's content and its split; equal for records that hold the same."""
        return self.metadata["fingerprint"]

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets that these records can give."""
        return tuple(name for name, target in schema.TARGETS.items() if target.feature in self.fields)

    @cached_property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Class names of every target that has classes, in the order of their ids."""
        return {name: schema.TARGETS[name].classes for name in self.targets if schema.TARGETS[name].classes}

    @property
    def bands(self) -> dict[str, tuple[str, ...]]:
        """Channel names of every input in canonical order."""
        return {name: spec.channels for name, spec in self._specs.items()}


def input_spec(name: str, stored_bands: Mapping[str, tuple[str, ...]]) -> InputSpec:
    """The spec of an input by its name, for records whose rasters hold these bands."""
    held = {band for bands in stored_bands.values() for band in bands}
    is_sensor = name in (*schema.S2_GROUPS, "s2", "s1")
    channels = tuple(channel for channel in schema.CHANNELS[name] if channel in held or not is_sensor)
    is_raster = name in schema.RASTER_INPUTS or name in schema.RASTERS
    shape = (None, None, len(channels)) if is_raster else (len(channels),)
    return InputSpec(name, shape, channels)


def shards_of(path: Path, metadata: dict) -> Path:
    """Directory of the shards of records with this `metadata.json`."""
    return path / metadata["shards"]["path"] if "shards" in metadata else path


def load_schema(records: str | Path) -> RecordSchema:
    """Reads the schema of the records in a directory.

    Args:
        records: the directory that `eokeras.ben_ge.convert` or `apply_split` returned.

    Raises:
        RecordsError: there are no whole records here, another version wrote them, or they are another split of records
            that are gone or were made anew.
    """
    path = Path(records)
    metadata, info = path / "metadata.json", "dataset_info.json"
    if not metadata.is_file():
        raise _unfinished(path, metadata.name if (path / info).is_file() else info)
    content = _read_metadata(metadata)
    shards = shards_of(path, content)
    if "shards" in content:
        _check_shards(path, shards, content["shards"])
    if not (shards / info).is_file():
        raise _unfinished(shards, info)
    return RecordSchema(path, content)


def _unfinished(path: Path, missing: str) -> RecordsError:
    return RecordsError(
        f"`records` must be a directory of finished records. Received: {path}, which lacks {missing}. "
        f"Make records with `python data_prep/convert.py SOURCE {path}`."
    )


def _read_metadata(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordsError(f"{path} must be JSON. Received: {error}.") from error
    if content.get("format") != FORMAT:
        raise RecordsError(
            f"{path} must have format {FORMAT}. Received: format={content.get('format')!r}. Convert again."
        )
    return content


def shard_lengths(path: Path) -> dict[str, list[int]]:
    """Split -> records in each of its files, of records with shards of their own."""
    entries = json.loads((path / "dataset_info.json").read_text(encoding="utf-8"))["splits"]
    return {entry["name"]: [int(length) for length in entry["shardLengths"]] for entry in entries}


def _check_shards(path: Path, shards: Path, expected: dict) -> None:
    """Raises unless the records that these are another split of are there, and still the same."""
    way_out = "Move it back, or make the split again with `eokeras.ben_ge.apply_split`."
    metadata = shards / "metadata.json"
    if not metadata.is_file():
        raise RecordsError(f"{path} is another split of the records in {shards}, which are not there. {way_out}")
    received = _read_metadata(metadata)["fingerprint"]
    if received != expected["fingerprint"]:
        rule = f"{path} is another split of records with the fingerprint {expected['fingerprint']}."
        raise RecordsError(f"{rule} Received: {received} in {shards}. Make the split again.")
    if (found := shard_lengths(shards)) != expected["lengths"]:  # the same patches, elsewhere in the files
        counts = [sum(map(len, lengths.values())) for lengths in (expected["lengths"], found)]
        rule = f"{path} is another split of records in {counts[0]} files, each with its number of records."
        raise RecordsError(f"{rule} Received: others, {counts[1]} files in {shards}. Make the split again.")
