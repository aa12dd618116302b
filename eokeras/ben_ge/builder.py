"""From a ben-ge source to TFRecord shards with their metadata, which TensorFlow Datasets reads.

The records keep the stored resolution and the stored numbers (`ben_ge.schema` names the fields); every number is stored
as its bytes, which reads two to three times faster than TFDS's default encoding of integers. Records are whole or
absent: work in progress lies in a sibling `.<name>.incomplete` and is renamed at the end.

`shards` says how a shard is written; here they are shared out among processes, in `beam_runner` among machines.
"""

import contextlib
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from eokeras.ben_ge.beam_runner import run_on_beam
from eokeras.ben_ge.provenance import state_provenance
from eokeras.ben_ge.record_files import Shards, write_record_files
from eokeras.ben_ge.reflectance import describe
from eokeras.ben_ge.shards import ShardWriter, Written, cut
from eokeras.ben_ge.source import Source, open_source
from eokeras.ben_ge.splits import GROUPS, make_split
from eokeras.ben_ge.workers import parallel_map, usable_cores
from eokeras.ben_ge.workplace import workplace
from eokeras.errors import EokerasError, InvalidArgumentError, UnwritableError, check_choice

_WORTH_A_WORKER = 64  # patches: making records of them takes a good part of the second that a process takes to start


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
    beam_runner: str | None = None,
    beam_options: Sequence[str] = (),
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
        workers: processes that read, check and write patches; by default one for each core that this process may use,
            fewer where there are few patches. The records are the same to the byte whatever their number. 1: all is
            done in this process.
        beam_runner: runs on Apache Beam instead: "DirectRunner", "DataflowRunner", "FlinkRunner", "SparkRunner", ...
            Source and `directory` must lie on a file system that every machine sees under the same path.
        beam_options: options of the runner, as on a command line ("--direct_num_workers=2").
        progress: called as progress(done, total) after every patch; on Beam when all are done.

    Returns:
        The directory of the records, readable by `tfds.builder_from_directory` and `make_dataset`.

    Raises:
        InvalidSourceError, InvalidPatchError: the tree, or a patch of it, breaks a rule; Sentinel-2 acquisitions
            differ in the offset of their digital numbers.
        TargetExistsError: `directory` exists.
        UnwritableError: `directory` cannot be written (permission, space), or another process is making records there.
        WorkerError: a worker process died, or the pipeline on Beam failed.
        InvalidArgumentError: an argument breaks its rule, or Apache Beam is not installed.

    Example:
        >>> records = eo.ben_ge.convert("data/ben-ge-sim", "records/ben-ge-sim")  # doctest: +SKIP
    """
    check_choice("on_error", on_error, ("stop", "skip"))
    check_choice("group", group, GROUPS)
    workers = _checked(workers)
    if beam_options and beam_runner is None:
        raise InvalidArgumentError(f"`beam_options` must come with `beam_runner`. Received: {list(beam_options)}.")
    target = Path(directory)
    with _unwritable(target), workplace(target, "records") as work:
        if not isinstance(source, Source):
            source = open_source(source)
        bands = [band for raster in source.rasters.values() for band in raster.bands]
        numbers = describe(source.digital_numbers, bands=bands)
        for note in (*source.notes, *numbers["notes"]):
            warnings.warn(note, stacklevel=2)
        chosen = make_split(source, split, group=group, fractions=fractions, seed=seed)
        # A name that no other run has: a worker of one that was killed may yet open a file, and must find no directory.
        made = work / uuid.uuid4().hex
        made.mkdir()
        writer = ShardWriter(source, cut(chosen.patches, source.rasters), made, on_error == "skip")
        on_beam = beam_runner is not None
        results = run_on_beam(writer, work, beam_runner, beam_options) if on_beam else _run(writer, workers)
        with contextlib.closing(results):  # an error that is kept would keep the workers
            shards = _collect(writer, results, progress or (lambda done, total: None))
        write_record_files(writer, shards, source, chosen, numbers)
        state_provenance(made, source, split=split, group=group, fractions=fractions, seed=seed, on_error=on_error)
        made.rename(target)
    return target


def _checked(workers: int | None) -> int:
    if workers is None:
        return usable_cores()
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise InvalidArgumentError(f"`workers` must be a positive integer. Received: workers={workers!r}.")
    return workers


@contextlib.contextmanager
def _unwritable(target: Path):
    """Says in plain words that `target` cannot be written."""
    try:
        yield
    except OSError as error:
        if isinstance(error, EokerasError):
            raise
        reason = (error.strerror or str(error)).splitlines()[0]
        raise UnwritableError(f"Cannot write records to {target}: {reason}. Nothing was left there.") from error


def _run(writer: ShardWriter, workers: int) -> Iterator[tuple[int, int | Written]]:
    """Number of a shard and what its writing gives, of all shards, by processes of this machine."""
    patches = sum(len(shard.patch_ids) for shard in writer.shards)
    workers = max(1, min(workers, patches // _WORTH_A_WORKER, len(writer.shards)))
    return parallel_map(writer, range(len(writer.shards)), workers)


def _collect(writer: ShardWriter, results: Iterator[tuple[int, int | Written]], progress: Callable) -> Shards:
    shards, done, total = Shards(writer), 0, sum(len(shard.patch_ids) for shard in writer.shards)
    for number, result in results:
        if isinstance(result, Written):
            shards.add(number, result)
        else:
            done += result
            progress(done, total)
    return shards
