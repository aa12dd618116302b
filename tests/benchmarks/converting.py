"""What making records costs, relative to a plain loop of rasterio over the same files, and how much memory it takes.

    python -m tests.benchmarks.converting converting.json [--tree TREE] [--patches 400] [--rounds 3]
    python -m tests.benchmarks.converting converting.json --memory 5000 20000        # takes 0.6 MB of disk a patch

The loop opens, reads and closes a file at a time and makes nothing. `convert` reads with all checks, gathers statistics
and fingerprint, and writes shards and tables: with one process, and with two that read beside the one that writes. In
every round each takes its turn with the same patches, in an order that rotates; the ratio is of patches per second to
the loop's of the same round. Files are in the page cache. Without a tree a simulated one is made and removed.

Memory: a process of its own for each number of patches, which are those of the tree over and over under other names.
Peak resident set after converting minus the resident set before it, of the process and of its largest worker.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path

from eokeras.ben_ge import convert, open_source, simulate
from tests.benchmarks.conversion import plain_loop
from tests.benchmarks.repeated import Repeated
from tests.benchmarks.timing import against, in_turns, machine

LOOP = "rasterio loop"
WORKERS = (1, 2)


def converted(source, workers, progress=lambda done, total: None):
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")  # such a split leaks, which is no matter here
        convert(source, Path(folder) / "records", split="random", workers=workers, progress=progress)


def rates(tree, patches, rounds):
    """Rows of contestant, patches per second and ratio to the loop."""
    source = Repeated(open_source(tree), patches)
    originals = sorted(set(source.originals.values()))[:100]
    work = {LOOP: partial(plain_loop, open_source(tree), originals)}
    work |= {f"convert, {workers} reading": partial(converted, source, workers) for workers in WORKERS}
    for run in work.values():
        run()
    count = {name: len(originals) if name == LOOP else patches for name in work}
    seconds = {name: [taken / count[name] for taken in found] for name, found in in_turns(work, rounds).items()}
    rows = []
    for name, found in seconds.items():
        compared = against(seconds[LOOP], found)  # the loop's time over ours: our rate over the loop's
        row = {"way": name, "patches_per_second": 1 / statistics.median(found)}
        rows.append(row | {key: compared[key] for key in ("ratio", "ratio_range")})
    return rows


def peak(tree, patches):
    """MiB that converting so many patches takes: of the process, of its largest worker."""
    command = [sys.executable, "-m", "tests.benchmarks.converting", "--peak", str(tree), str(patches)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    return json.loads(answer)


def print_peak(tree, patches):
    """What `peak` asks of its process."""
    source, workers = Repeated(open_source(tree), patches), [0.0]
    before = _peak_of("self", "VmRSS")

    def look(done, total):
        if done % 500 == 0:
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            workers.extend(_peak_of(child, "VmHWM") for child in children)

    converted(source, WORKERS[-1], look)
    after = _peak_of("self", "VmHWM")
    print(
        json.dumps({"patches": patches, "before_mib": before, "grown_mib": after - before, "worker_mib": max(workers)})
    )


def _peak_of(process, key):
    """MiB by a line of the process's status (Linux)."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return int(lines[key].split()[0]) / 2**10


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", help="path of the JSON to write")
    parser.add_argument("--tree", type=Path, help="a ben-ge tree; by default one is simulated")
    parser.add_argument("--patches", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs="+", help="measure memory, at these numbers of patches")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print_peak(options.peak[0], int(options.peak[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = options.tree or simulate(Path(folder) / "tree", patches=100)
        if options.memory:
            rows = [peak(tree, patches) for patches in options.memory]
            for row in rows:
                own, worker = row["grown_mib"], row["worker_mib"]
                print(f"{row['patches']:>8,} patches: {own:+.0f} MiB; the largest worker {worker:.0f} MiB in all")
        else:
            rows = rates(tree, options.patches, options.rounds)
            for row in rows:
                low, high = row["ratio_range"]
                rate = row["patches_per_second"]
                print(f"{row['way']:<22}{rate:>8,.0f} patches/s   x {row['ratio']:.1f} ({low:.1f}-{high:.1f})")
    options.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
