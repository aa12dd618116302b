"""The TensorFlow Datasets builder: a ben-ge source becomes TFRecord shards with their metadata.

The records keep the stored resolution and the stored numbers (`ben_ge.schema` names the
fields); every number is stored as its bytes, which reads two to three times faster than TFDS's
default encoding of integers. Records are whole or absent: work in progress lies in a sibling
`.<name>.incomplete` that is renamed at the end.
"""

import contextlib
import csv
import math
import os
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import example_serializer, shuffle
from tensorflow_datasets.core.utils import shard_utils

import eokeras
from eokeras.ben_ge import records, schema
from eokeras.ben_ge.gathered import Gathered, read_patches
from eokeras.ben_ge.patch_table import write_patch_table
from eokeras.ben_ge.provenance import state_provenance
from eokeras.ben_ge.reflectance import describe
from eokeras.ben_ge.source import Source, open_source
from eokeras.ben_ge.splits import GROUPS, Split, make_split, write_split
from eokeras.ben_ge.workers import parallel_map
from eokeras.ben_ge.workplace import workplace
from eokeras.errors import (
    EokerasError,
    InvalidArgumentError,
    InvalidPatchError,
    InvalidSourceError,
    UnwritableError,
    check_choice,
)

_SKIPPED, SPLIT_FILE = "skipped.csv", "split.csv"
_PART = 16  # patches that a worker reads at a time: about 5 MB on their way
_WORTH_A_WORKER = 4  # parts: reading them takes a good part of the second that a process takes to start
_SHUFFLED_IN_MEMORY = 128 << 20
"""Bytes of records that wait in memory to be put into random order; more are sorted on disk. TFDS waits for a gigabyte,
which with all that hangs on it doubles what a conversion needs."""


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
        on_error: "stop" raises at the first bad patch, "skip" sets it aside.
        workers: processes that read; 1 reads in this one.
        progress: called with the number of patches done and their total.

    Attributes:
        gathered: what is known of all patches that were read.
        running: ends the workers; an error keeps what it passed through, and them, as long as somebody keeps it.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(
        self, *, source: Source, split: Split, on_error: str, workers: int, progress: Callable | None, **kwargs
    ):
        self._source, self._split, self._workers = source, split, workers
        self._read = partial(read_patches, source, on_error == "skip")
        self._progress = progress or (lambda done, total: None)
        self._done = 0
        self.running = contextlib.ExitStack()
        self.gathered = Gathered(source.rasters)
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
        parts = [(split, patch_ids[start : start + _PART]) for start in range(0, len(patch_ids), _PART)]
        workers = max(1, min(self._workers, len(parts) // _WORTH_A_WORKER))
        # TFDS writes in an order of its own, so that of the parts, which depends on the workers, is lost.
        results = parallel_map(self._read, parts, workers)
        self.running.callback(results.close)
        for _, (gathered, found) in results:
            self.gathered.merge(gathered)
            for features in found:
                yield features["patch_id"], features
                self._tell(1, total)
            self._tell(len(gathered.skipped), total)

    def _tell(self, count: int, total: int) -> None:
        if count:
            self._done += count
            self._progress(self._done, total)


def feature(field: schema.Raster | schema.Scalar) -> tfds.features.FeatureConnector:
    """The TFDS feature of a record's field: text, or a tensor stored as its bytes."""
    if field.dtype == "string":
        return tfds.features.Text()
    return tfds.features.Tensor(shape=field.shape, dtype=np.dtype(field.dtype).type, encoding="bytes")


def convert(
    source: Source | str | Path,
    directory: str | Path,
    split: str | Path = "grouped",
    *,
    group: str = "tile_date",
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    on_error: str = "stop",
    workers: int | None = None,
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
        workers: processes that read and check patches, beside this one, which writes; by default one for each core
            that this process may use. The records are the same to the byte whatever their number. 1: no other process.
        progress: called as progress(done, total) after every patch.

    Returns:
        The directory of the records, readable by `tfds.builder_from_directory` and `make_dataset`.

    Raises:
        InvalidSourceError, InvalidPatchError: the tree, or a patch of it, breaks a rule; Sentinel-2 acquisitions
            differ in the offset of their digital numbers.
        TargetExistsError: `directory` exists.
        UnwritableError: `directory` cannot be written (permission, space), or another process is making records there.
        WorkerError: a worker process died.

    Example:
        >>> records = eo.ben_ge.convert("data/ben-ge-sim", "records/ben-ge-sim")  # doctest: +SKIP
    """
    check_choice("on_error", on_error, ("stop", "skip"))
    check_choice("group", group, GROUPS)
    workers = _checked(workers)
    target = Path(directory)
    with _unwritable(target), workplace(target, "records") as work:
        if not isinstance(source, Source):
            source = open_source(source)
        bands = [band for raster in source.rasters.values() for band in raster.bands]
        numbers = describe(source.digital_numbers, bands=bands)
        for note in (*source.notes, *numbers["notes"]):
            warnings.warn(note, stacklevel=2)
        chosen = make_split(source, split, group=group, fractions=fractions, seed=seed)
        written = _write(source, chosen, work, on_error, workers, progress, numbers)
        state_provenance(written, source, split=split, group=group, fractions=fractions, seed=seed, on_error=on_error)
        written.rename(target)
    return target


def _checked(workers: int | None) -> int:
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise InvalidArgumentError(f"`workers` must be a positive integer. Received: workers={workers!r}.")
    return workers


@contextlib.contextmanager
def _unwritable(target: Path):
    """Says in plain words that `target` cannot be written."""
    try:
        yield
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        cause = error.__cause__ if type(error) is RuntimeError else error  # TFDS wraps what TensorFlow raises
        if isinstance(error, EokerasError) or not isinstance(cause, OSError | tf.errors.OpError):
            raise
        raise UnwritableError(f"Cannot write records to {target}: {_plain(cause)}. Nothing was left there.") from error


@contextlib.contextmanager
def _repeatable():
    """TFDS writes the same bytes in every process, and holds less in memory, neither of which is an option of it.

    The fields of an example are a protobuf map, whose order on disk otherwise changes from process to process.
    """
    serializer = example_serializer.ExampleSerializer
    held = serializer.serialize_example, shuffle.MAX_MEM_BUFFER_SIZE
    serializer.serialize_example = lambda self, example: self.get_tf_example(example).SerializeToString(
        deterministic=True
    )
    shuffle.MAX_MEM_BUFFER_SIZE = _SHUFFLED_IN_MEMORY
    try:
        yield
    finally:
        serializer.serialize_example, shuffle.MAX_MEM_BUFFER_SIZE = held


def _write(source: Source, split: Split, work: Path, on_error: str, workers: int, progress, numbers: dict) -> Path:
    """Writes whole records somewhere below `work` and returns their directory."""
    builder = BenGe(source=source, split=split, on_error=on_error, workers=workers, progress=progress, data_dir=work)
    bars = tfds.core.utils.tqdm_utils
    shown = getattr(bars, "_active", True)
    if progress:  # one bar is enough, and the caller's knows the total
        tfds.disable_progress_bar()
    try:
        with _repeatable(), builder.running:
            builder.download_and_prepare(download_config=_DownloadConfig())
    except AssertionError as error:  # what TFDS says of a split without examples
        skipped = builder.gathered.skipped
        raise InvalidSourceError(
            f"Every split must keep at least one sound patch. Received: {source.root}, of whose patches "
            f"{len(skipped)} were set aside: {'; '.join(map(str, list(skipped.values())[:3]))}"
        ) from error
    finally:
        if progress and shown:
            tfds.enable_progress_bar()
    builder.info.metadata.update(_metadata(builder, source, split, numbers))
    path = Path(builder.data_dir)
    builder.info.write_to_directory(path)
    write_split(split, path / SPLIT_FILE)
    write_patch_table(path)
    _write_skipped(path / _SKIPPED, builder.gathered.skipped)
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
        "statistics": builder.gathered.statistics.result(),
        "notes": [*source.notes, *numbers["notes"]],
        "skipped": len(builder.gathered.skipped),
        "non_finite": builder.gathered.non_finite,  # of all splits; the statistics count those of training
        "world": source.world,
        "versions": {name: version(name) for name in ("tensorflow", "tensorflow-datasets", "rasterio", "numpy")}
        | {"eokeras": eokeras.__version__},
        "fingerprint": builder.gathered.fingerprint,
    }


def _write_skipped(path: Path, skipped: dict[str, InvalidPatchError]) -> None:
    if not skipped:
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("patch_id", "file", "reason"))
        writer.writerows((patch_id, error.path, error.reason) for patch_id, error in sorted(skipped.items()))


def _plain(error: Exception) -> str:
    return (getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)).splitlines()[0]
