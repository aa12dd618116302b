"""What reading a tree costs with all its checks, relative to a plain loop of rasterio over the same files.

    python -m tests.benchmarks.conversion conversion.json [--tree TREE] [--patches 64] [--rounds 7]

The loop opens, reads and closes a file at a time and checks nothing. `Source.read` checks everything: as it does by
default, and through rasterio alone; loop and reader also in two processes that share the patches. In every round each
contestant takes its turn with the same patches (a tree with fewer is read over and over), in an order that rotates;
the ratio is of patches per second to those of the loop in one process, in the same round. Files are in the page cache,
and everyone has read once before. Without a tree a simulated one is made and removed.
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import statistics
import tempfile
from functools import partial
from pathlib import Path

import rasterio

from eokeras.ben_ge import open_source, rasters, simulate
from eokeras.errors import InvalidPatchError
from tests.benchmarks.timing import in_turns, machine

LOOP = "rasterio loop"
PROCESSES = 2
SHORT = {"patches": 16, "rounds": 2}


def plain_loop(source, patch_ids):
    """Opens, reads and closes every raster of the patches."""
    for path in [path for patch_id in patch_ids for path in _paths(source, patch_id)]:
        with rasterio.open(path) as file:
            file.read(1)


def _paths(source, patch_id):
    return [path for bands in source._files(patch_id).values() for path in bands.values()]


def read_all(source, patch_ids):
    """Reads and checks the patches."""
    for patch_id in patch_ids:
        with contextlib.suppress(InvalidPatchError):  # real trees hold some
            source.read(patch_id)


def reference_of(root):
    """The source, reading through rasterio alone."""
    source = open_source(root)
    source._read_band = rasters.read_band
    return source


class Workers:
    """Processes that hold a source each and read their share of the patches."""

    def __init__(self, work, source, patch_ids):
        context = multiprocessing.get_context("spawn")
        self._connections, self._processes = [], []
        for number in range(PROCESSES):
            own, other = context.Pipe()
            arguments = (other, work, source, patch_ids[number::PROCESSES])
            self._processes.append(context.Process(target=_serve, args=arguments, daemon=True))
            self._connections.append(own)
            self._processes[-1].start()

    def __call__(self):
        for connection in self._connections:
            connection.send(True)
        for connection in self._connections:
            connection.recv()

    def stop(self):
        """Ends the processes."""
        for connection, process in zip(self._connections, self._processes, strict=True):
            connection.send(False)
            process.join()


def _serve(connection, work, source, patch_ids):
    while connection.recv():
        work(source, patch_ids)
        connection.send(True)


def reading_seconds(root, patches, rounds):
    """Contestant -> seconds for `patches` patches, one number per round; and how many files a patch has."""
    source, reference = open_source(root), reference_of(root)
    patch_ids = list(itertools.islice(itertools.cycle(source.patch_ids), patches))
    workers = {name: Workers(work, source, patch_ids) for name, work in ((LOOP, plain_loop), ("eokeras", read_all))}
    work = {
        LOOP: partial(plain_loop, source, patch_ids),
        "eokeras through rasterio": partial(read_all, reference, patch_ids),
        "eokeras": partial(read_all, source, patch_ids),
        **{f"{name}, {PROCESSES} processes": pair for name, pair in workers.items()},
    }
    try:
        in_turns(work, 1)  # warms
        seconds = in_turns(work, rounds)
    finally:
        for pair in workers.values():
            pair.stop()
    return seconds, len(_paths(source, patch_ids[0]))


def speeds(seconds, patches):
    """One dict per contestant: medians and ranges of patches per second, and of their ratio to the loop's."""
    rows = []
    for name, values in seconds.items():
        speed = [patches / value for value in values]
        ratios = [other / value for value, other in zip(values, seconds[LOOP], strict=True)]
        rows.append(
            {
                "reader": name,
                "patches_per_second": statistics.median(speed),
                "patches_per_second_range": [min(speed), max(speed)],
                "ratio": statistics.median(ratios),
                "ratio_range": [min(ratios), max(ratios)],
            }
        )
    return rows


def table(rows):
    """The rows as text."""
    lines = [f"{'reader':<26} {'patches/s':>9} {'(range)':>13} {'ratio':>6} {'(range)':>13}"]
    for row in rows:
        slowest, fastest = row["patches_per_second_range"]
        low, high = row["ratio_range"]
        lines.append(
            f"{row['reader']:<26} {row['patches_per_second']:>9.0f} {f'({slowest:.0f}-{fastest:.0f})':>13} "
            f"{row['ratio']:>6.1f} {f'({low:.1f}-{high:.1f})':>13}"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="JSON file to write")
    parser.add_argument("--tree", type=Path, help="a tree of ben-ge or BigEarthNet; by default a simulated one is made")
    parser.add_argument("--patches", type=int, default=64, help="patches that a round reads")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--short", action="store_true", help="16 patches, two rounds, to see that all works")
    arguments = parser.parse_args()
    if arguments.short:
        vars(arguments).update(SHORT)
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.tree or simulate(Path(folder) / "simulated", patches=arguments.patches, processes=1)
        seconds, files = reading_seconds(root, arguments.patches, arguments.rounds)
    rows = speeds(seconds, arguments.patches)
    settings = {"tree": root.name, "patches": arguments.patches, "files_per_patch": files, "rounds": arguments.rounds}
    content = {"settings": settings, "machine": machine(), "reading": rows}
    arguments.path.write_text(json.dumps(content, indent=2) + "\n")
    print(f"{arguments.patches} patches of {root.name}, {files} files each, {arguments.rounds} rounds")
    print(table(rows))


if __name__ == "__main__":
    main()
