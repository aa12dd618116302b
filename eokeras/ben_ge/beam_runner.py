"""Shards written by the workers of an Apache Beam runner, on one machine or on many.

Every worker writes whole shards, as the processes of one machine do. What a worker needs (the opened source, which
patches go where) and what it answers lie as files beside the shards, since runners limit what may travel with a
pipeline (Dataflow: 10 MB) and bring nothing back to where it was started. So all machines must see the source and the
directory under the same path, as on NFS or Lustre.

Those files are pickled. Only this run's processes write them, in a directory that it made under a name of its own; what
anybody else wrote is never unpickled.
"""

import functools
import os
import pickle
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from eokeras.ben_ge.shards import ShardWriter, Written
from eokeras.errors import EokerasError, InvalidArgumentError, WorkerError

_WRITER, _FAILED = "writer.pickle", "failed.pickle"


def run_on_beam(
    writer: ShardWriter, work: Path, runner: str, options: Sequence[str]
) -> Iterator[tuple[int, int | Written]]:
    """Number of a shard and what its writing gives, of all shards, once the pipeline has written them.

    Args:
        writer: of the shards.
        work: directory for what workers are told and answer; all of them must see it.
        runner: name of the runner.
        options: of the pipeline, as on a command line.

    Raises:
        InvalidArgumentError: Apache Beam is not installed, or does not know the runner or an option's value; the path
            of the source is not absolute.
        WorkerError: the pipeline failed.
        EokerasError: what stopped a worker, such as a bad patch.
    """
    if not writer.source.root.is_absolute():
        raise InvalidArgumentError(
            f"`source` must have an absolute path on Beam, where workers may start anywhere. Received: "
            f"{str(writer.source.root)!r}."
        )
    answers = work.resolve() / f"{writer.directory.name}.answers"
    pipeline = _make_pipeline(runner, options, answers, len(writer.shards))
    answers.mkdir()
    _write(answers / _WRITER, writer)
    try:
        pipeline.run().wait_until_finish()
    except Exception as error:
        raise WorkerError(f"The pipeline on {runner} failed: {' '.join(str(error).split())[-300:]}") from error
    if (answers / _FAILED).exists():
        raise _read(answers / _FAILED)
    for number, shard in enumerate(writer.shards):
        if not _answer(answers, number).exists():
            raise WorkerError(f"Shard {number} was not written. Every machine must see {answers.parent} by this path.")
        made, written = _read(_answer(answers, number))
        made.rename(writer.path(number))
        for _ in shard.patch_ids:
            yield number, 1
        yield number, written


def _make_pipeline(runner: str, options: Sequence[str], answers: Path, shards: int):
    """A pipeline that writes the shards."""
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise InvalidArgumentError(
            "`beam_runner` must be None where Apache Beam is not installed: pip install 'apache-beam>=2.60'. "
            f"Received: beam_runner={runner!r} ({error})."
        ) from error
    found = PipelineOptions(list(options))
    try:
        found.get_all_options()  # parses them; Beam itself would do so piece by piece later
    except SystemExit:  # argparse, which has said why
        raise InvalidArgumentError(f"`beam_options` must be Beam's. Received: {list(options)}.") from None
    try:
        pipeline = beam.Pipeline(runner=runner, options=found)
    except ValueError as error:
        raise InvalidArgumentError(f"`beam_runner` must be one of Beam's. Received: {runner!r} ({error}).") from error
    numbers = pipeline | "Shards" >> beam.Create(range(shards)) | beam.Reshuffle()
    _ = numbers | "Write" >> beam.Map(write_shard, str(answers))
    return pipeline


def write_shard(number: int, answers: str) -> None:
    """Writes a shard, as a worker of Beam does, and leaves its answer; nothing where another shard has failed."""
    folder = Path(answers)
    if (folder / _FAILED).exists():
        return
    # A runner may try a shard twice, even at a time: each writes a file of its own, and the caller takes one of them.
    attempt = replace(_writer(folder / _WRITER), directory=folder / uuid.uuid4().hex)
    try:
        attempt.directory.mkdir()
        *_, written = attempt(number)
        _write(_answer(folder, number), (attempt.path(number), written))
    except EokerasError as error:  # the same again however often a runner tries
        _write(folder / _FAILED, error)


def _answer(answers: Path, number: int) -> Path:
    return answers / f"{number}.pickle"


@functools.lru_cache(maxsize=1)
def _writer(path: Path) -> ShardWriter:
    """Read once in every process."""
    return _read(path)


def _read(path: Path):
    return pickle.loads(path.read_bytes())  # one of this run's own, see above


def _write(path: Path, content) -> None:
    """Appears whole."""
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    temporary.write_bytes(pickle.dumps(content))
    os.replace(temporary, path)
