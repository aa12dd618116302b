"""What making records costs, relative to a plain loop of rasterio over the same files, and how much memory it takes.

    python -m tests.benchmarks.converting converting.json [--tree TREE] [--patches 400] [--rounds 3]
    python -m tests.benchmarks.converting converting.json --memory 5000 20000        # takes 0.35 MB of disk a patch

The loop opens, reads and closes a file at a time and makes nothing. `convert` reads with all checks, gathers statistics
and fingerprint, and writes shards and tables: in one process, in two, and where Apache Beam is installed in two of its
DirectRunner. In every round each takes its turn with the same patches, in an order that rotates; the ratio is that of
patches per second to the loop's of the same round. Files are in the page cache. Without a tree a simulated one is made
and removed. Starting workers (a second; on Beam some seconds) is timed too, and weighs less on more patches.

On a machine that does something else too, CPU time tells more: of the process and all that come from it, by patch, with
its own ratio. Several processes then stand for what they cost together.

Memory: a process of its own for each number of patches, of random pixels made in memory, while the tables of all
590,326 patches of ben-ge are loaded, over which the patches are spread. Proportional set sizes, which count once what
processes share, ten times a second: of the process that was started, and of it and all others together (Linux).
"""

import argparse
import contextlib
import importlib.util
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from functools import partial
from pathlib import Path

from eokeras.ben_ge import convert, open_source, simulate
from tests.benchmarks.conversion import plain_loop
from tests.benchmarks.made_up_source import MadeUpSource, write_index
from tests.benchmarks.repeated import Repeated
from tests.benchmarks.timing import against, in_turns, machine

LOOP = "rasterio loop"
WORKERS = (1, 2)
BEAM = {
    "beam_runner": "DirectRunner",
    "beam_options": ("--direct_running_mode=multi_processing", "--direct_num_workers=2"),
}


def converted(source, **options):
    """CPU seconds of other processes: those at work as the last patch is done, and those that ended before."""
    ended, others = sum(os.times()[2:4]), []

    def look(done, total):
        if done == total:
            *running, _ = _family(os.getpid())
            others.append(sum(map(_cpu_seconds, running)) + sum(os.times()[2:4]) - ended)

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")  # such a split leaks, which is no matter here
        convert(source, Path(folder) / "records", split="random", progress=look, **options)
    return others[0]


def measured(run, cpu_seconds):
    """Runs it and adds the CPU seconds that it took."""
    before = time.process_time()
    others = run() or 0.0
    cpu_seconds.append(time.process_time() - before + others)


def rates(tree, patches, rounds):
    """Rows of contestant, patches per second and ratio to the loop."""
    source = Repeated(open_source(tree), patches)
    originals = sorted(set(source.originals.values()))[:100]
    work = {LOOP: partial(plain_loop, open_source(tree), originals)}
    work |= {f"convert, workers={workers}": partial(converted, source, workers=workers) for workers in WORKERS}
    if importlib.util.find_spec("apache_beam"):
        work["convert, Beam Direct, 2"] = partial(converted, source, **BEAM)
    cpu = {name: [] for name in work}
    work = {name: partial(measured, run, cpu[name]) for name, run in work.items()}
    for name, run in work.items():
        run()
        cpu[name].clear()
    count = {name: len(originals) if name == LOOP else patches for name in work}
    seconds = {name: [taken / count[name] for taken in found] for name, found in in_turns(work, rounds).items()}
    cpu = {name: [taken / count[name] for taken in found] for name, found in cpu.items()}
    return [{"way": name, "wall": _rate(seconds, name), "cpu": _rate(cpu, name)} for name in work]


def _rate(seconds, name):
    compared = against(seconds[LOOP], seconds[name])  # the loop's time over ours: our rate over the loop's
    rate = {"patches_per_second": 1 / statistics.median(seconds[name])}
    return rate | {key: compared[key] for key in ("ratio", "ratio_range")}


def peak(index, patches):
    """MiB before, and at most while converting: of the process, of it and its workers."""
    command = [sys.executable, "-m", "tests.benchmarks.converting", "--peak", str(index), str(patches)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    return json.loads(answer)


def print_peak(index, patches):
    """What `peak` asks of its process."""
    source, seen, ended = MadeUpSource(patches, index), [], threading.Event()
    before = _mib(os.getpid())

    def watch():
        while not ended.wait(0.1):
            seen.append((_mib(os.getpid()), sum(map(_mib, _family(os.getpid())))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        converted(source, workers=WORKERS[-1])
    finally:
        ended.set()
        watcher.join()
    own, together = (max(sizes) for sizes in zip(*seen, strict=True))
    print(json.dumps({"patches": patches, "before_mib": before, "own_mib": own, "together_mib": together}))


def _family(process):
    """A process and all that come from it."""
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
            yield from _family(child)
    yield process


def _cpu_seconds(process):
    """Of one process alone (Linux); 0 of one that is gone."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _mib(process):
    """Proportional set size; 0 of a process that is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 2**10
    return 0.0


def _words(rate, clock):
    low, high = rate["ratio_range"]
    return f"{rate['patches_per_second']:>8,.0f} patches/s {clock} x {rate['ratio']:.1f} ({low:.1f}-{high:.1f})"


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
        print_peak(Path(options.peak[0]), int(options.peak[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.memory:
            index = write_index(Path(folder) / "index")
            rows = [peak(index, patches) for patches in options.memory]
            for row in rows:
                before, own, together = (f"{row[f'{key}_mib']:.0f} MiB" for key in ("before", "own", "together"))
                print(f"{row['patches']:>8,} patches: {before} before, at most {own}; with workers {together}")
        else:
            tree = options.tree.resolve() if options.tree else simulate(Path(folder) / "tree", patches=100)
            rows = rates(tree, options.patches, options.rounds)
            for row in rows:
                print(f"{row['way']:<24}", *(_words(row[clock], clock) for clock in ("wall", "cpu")))
    options.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
