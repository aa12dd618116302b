"""The TensorFlow Datasets builder: a ben-ge source becomes TFRecord shards with their metadata.

The records keep the stored resolution and the stored numbers (`ben_ge.schema` names the
fields); every number is stored as its bytes, which reads two to three times faster than TFDS's
default encoding of integers. Records are whole or absent: work in progress lies in a sibling
`.<name>.incomplete` that is renamed at the end.
"""

import csv
import hashlib
import math
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import shard_utils

import eokeras
from eokeras.ben_ge import records, schema
from eokeras.ben_ge.patch_table import write_patch_table
from eokeras.ben_ge.provenance import state_provenance
from eokeras.ben_ge.reflectance import describe
from eokeras.ben_ge.source import Source, open_source
from eokeras.ben_ge.splits import GROUPS, Split, make_split, write_split
from eokeras.ben_ge.statistics import TrainingStatistics
from eokeras.errors import (
    EokerasError,
    InvalidPatchError,
    InvalidSourceError,
    TargetExistsError,
    UnwritableError,
    check_choice,
)

_SKIPPED, SPLIT_FILE = "skipped.csv", "split.csv"


class _ShardConfig(shard_utils.ShardConfig):
    """Many small shards early, for parallel reading and shuffling; none above 200 MB.

    TFDS's own rule ignores the sizes that one configures and starts a second shard at 128 MB.
    """

    smallest, largest, wanted = 1_000_000, 200_000_000, 16  # bytes, bytes, shards

    def get_number_shards(self, total_size, num_examples, uses_precise_sharding=True):
        shards = max(min(total_size // self.smallest, self.wanted), math.ceil(total_size / (0.9 * self.largest)))
        return max(1, min(shards, num_examples))


class _DownloadConfig(tfds.download.DownloadConfig):
    def get_shard_config(self):
        return _ShardConfig()


class BenGe(tfds.core.GeneratorBasedBuilder):
    """Writes one example per patch of a source, in the splits of a `Split`.

    Args:
        source: an opened ben-ge tree.
        split: patch ids by split name.
        on_error: "stop" raises at the first bad patch, "skip" sets it aside in `skipped`.
        progress: called with the number of patches done and their total.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, source: Source, split: Split, on_error: str, progress: Callable | None, **kwargs):
        self._source = source
        self._split = split
        self._on_error = on_error
        self._progress = progress or (lambda done, total: None)
        self._done = 0
        self.training_statistics = TrainingStatistics(source.rasters)
        self.skipped: dict[str, InvalidPatchError] = {}
        self.digests: list[str] = []
        self.non_finite: dict[str, dict[str, Counter]] = {}
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Sentinel-1/2 patches with elevation, land cover, weather and climate zone (ben-ge).",
            homepage="https://github.com/HSG-AIML/ben-ge",
            citation="Mommert et al. 2023, https://arxiv.org/abs/2307.01741",
            features=tfds.features.FeaturesDict(
                {name: feature(self._source.rasters.get(name) or schema.SCALARS[name]) for name in self._source.fields}
            ),
            metadata=tfds.core.MetadataDict(),
        )

    def _log_download_bytes(self) -> None:
        """Nothing: TFDS would print that it downloads."""

    def _log_download_done(self) -> None:
        """Nothing: TFDS would name a directory that is renamed later."""

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        del dl_manager  # nothing is downloaded here
        return {name: self._generate_examples(name, ids) for name, ids in self._split.patches.items() if ids}

    def _generate_examples(self, split: str, patch_ids) -> Iterator[tuple[str, dict]]:
        total = sum(map(len, self._split.patches.values()))
        for patch_id in patch_ids:
            self._done += 1
            try:
                patch = self._source.read(patch_id)
            except InvalidPatchError as error:
                if self._on_error == "stop":
                    raise
                self.skipped[patch_id] = error
            else:
                features = patch.features
                self._count_non_finite(patch.non_finite)
                if split == "train":
                    self.training_statistics.add(features)
                self.digests.append(digest(split, features))
                yield patch_id, features
            self._progress(self._done, total)

    def _count_non_finite(self, of_patch) -> None:
        for raster, channels in of_patch.items():
            for channel, counts in channels.items():
                self.non_finite.setdefault(raster, {}).setdefault(channel, Counter()).update(counts)


def feature(field: schema.Raster | schema.Scalar) -> tfds.features.FeatureConnector:
    """The TFDS feature of a record's field: text, or a tensor stored as its bytes."""
    if field.dtype == "string":
        return tfds.features.Text()
    return tfds.features.Tensor(shape=field.shape, dtype=np.dtype(field.dtype).type, encoding="bytes")


def digest(split: str, features: dict) -> str:
    """Hash of one patch: its split and the name and bytes of every field."""
    state = hashlib.sha256(split.encode())
    for name in sorted(features):
        value = features[name]
        state.update(name.encode() + b"\0")
        state.update(value.encode() if isinstance(value, str) else memoryview(_array(name, value)).cast("B"))
    return state.hexdigest()


def _array(name: str, value):
    field = schema.RASTERS.get(name) or schema.SCALARS[name]
    return np.ascontiguousarray(np.atleast_1d(np.asarray(value, field.dtype)))


def convert(
    source: Source | str | Path,
    directory: str | Path,
    split: str | Path = "grouped",
    *,
    group: str = "tile_date",
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    on_error: str = "stop",
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Converts a ben-ge tree into TFRecords.

    Args:
        source: an opened source, or the directory of a ben-ge tree.
        directory: where the records go; must not exist. `dataset_info.json` will lie in it, beside
            `metadata.json`, `split.csv`, an index file that makes the same split again, and `patches.csv`, the
            patches in the order on disk with their places and classes.
        split: "grouped" (default: no group is on two sides), "official" (the tree's own), "random",
            or the path of an index file; see `eokeras.ben_ge.make_split`.
        group: what a grouped split keeps together: "tile_date" (default), "tile" or "date". Countries, blocks, buffers
            and folds: `apply_split`, which needs no other conversion.
        fractions: wanted shares of train, val and test.
        seed: seed of the split.
        on_error: "stop" (default) raises at the first bad patch; "skip" leaves bad patches out and
            lists each with its reason in `skipped.csv` beside the records.
        progress: called as progress(done, total) after every patch.

    Returns:
        The directory of the records, readable by `tfds.builder_from_directory` and `make_dataset`.

    Raises:
        InvalidSourceError, InvalidPatchError: the tree, or a patch of it, breaks a rule; Sentinel-2 acquisitions
            differ in the offset of their digital numbers.
        TargetExistsError: `directory` exists.
        UnwritableError: `directory` cannot be written (permission, space).

    Example:
        >>> records = eo.ben_ge.convert("data/ben-ge-sim", "records/ben-ge-sim")  # doctest: +SKIP
    """
    check_choice("on_error", on_error, ("stop", "skip"))
    check_choice("group", group, GROUPS)
    target = Path(directory)
    if target.exists():
        raise TargetExistsError(
            f"`directory` must not exist yet. Received: {target}, which does. Remove it or choose another."
        )
    if not isinstance(source, Source):
        source = open_source(source)
    numbers = describe(source.digital_numbers, bands=[b for raster in source.rasters.values() for b in raster.bands])
    for note in (*source.notes, *numbers["notes"]):
        warnings.warn(note, stacklevel=2)
    chosen = make_split(source, split, group=group, fractions=fractions, seed=seed)
    work = target.with_name(f".{target.name}.incomplete")
    try:
        shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
        work.mkdir(parents=True)
        written = _write(source, chosen, work, on_error, progress, numbers)
        state_provenance(written, source, split=split, group=group, fractions=fractions, seed=seed, on_error=on_error)
        written.rename(target)
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        cause = error.__cause__ if type(error) is RuntimeError else error  # TFDS wraps what TensorFlow raises
        if isinstance(error, EokerasError) or not isinstance(cause, OSError | tf.errors.OpError):
            raise
        raise UnwritableError(f"Cannot write records to {target}: {_plain(cause)}. Nothing was left there.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _write(source: Source, split: Split, work: Path, on_error: str, progress, numbers: dict) -> Path:
    """Writes whole records somewhere below `work` and returns their directory."""
    builder = BenGe(source=source, split=split, on_error=on_error, progress=progress, data_dir=work)
    bars = tfds.core.utils.tqdm_utils
    shown = getattr(bars, "_active", True)
    if progress:  # one bar is enough, and the caller's knows the total
        tfds.disable_progress_bar()
    try:
        builder.download_and_prepare(download_config=_DownloadConfig())
    except AssertionError as error:  # what TFDS says of a split without examples
        raise InvalidSourceError(
            f"Every split must keep at least one sound patch. Received: {source.root}, of whose patches "
            f"{len(builder.skipped)} were set aside: {'; '.join(map(str, list(builder.skipped.values())[:3]))}"
        ) from error
    finally:
        if progress and shown:
            tfds.enable_progress_bar()
    builder.info.metadata.update(_metadata(builder, source, split, numbers))
    path = Path(builder.data_dir)
    builder.info.write_to_directory(path)
    write_split(split, path / SPLIT_FILE)
    write_patch_table(path)
    _write_skipped(path / _SKIPPED, builder.skipped)
    return path


def _metadata(builder: BenGe, source: Source, split: Split, numbers: dict) -> dict:
    splits = {name: info.num_examples for name, info in builder.info.splits.items()}
    return {
        "format": records.FORMAT,
        "name": source.name,
        "modalities": list(source.modalities),
        "fields": list(source.fields),
        "splits": {name: splits[name] for name in ("train", "val", "test") if name in splits},
        "split": split.describe(),
        "bands": {name: list(raster.bands) for name, raster in source.rasters.items() if raster.bands},
        "reflectance": numbers["reflectance"],
        "digital_numbers": numbers["products"],
        "statistics": builder.training_statistics.result(),
        "notes": [*source.notes, *numbers["notes"]],
        "skipped": len(builder.skipped),
        "non_finite": builder.non_finite,  # of all splits; the statistics count those of training
        "world": source.world,
        "versions": {name: version(name) for name in ("tensorflow", "tensorflow-datasets", "rasterio", "numpy")}
        | {"eokeras": eokeras.__version__},
        "fingerprint": hashlib.sha256("".join(sorted(builder.digests)).encode()).hexdigest()[:16],
    }


def _write_skipped(path: Path, skipped: dict[str, InvalidPatchError]) -> None:
    if not skipped:
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("patch_id", "file", "reason"))
        writer.writerows((patch_id, error.path, error.reason) for patch_id, error in skipped.items())


def _plain(error: Exception) -> str:
    return (getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)).splitlines()[0]
