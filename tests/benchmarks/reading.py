"""How fast `make_dataset` reads, against the loader of the original tutorial and against what the bytes allow.

    pip install "eokeras[bench]"                                  # PyTorch, for the baseline only
    python -m tests.benchmarks.reading reading.json [--patches 1200] [--rounds 5] [--seconds 2] [--short]
    python -m tests.benchmarks.reading reading.json --memory 5000 20000       # takes 0.35 MB of disk a patch

Sentinel-2, Sentinel-1, land-cover map and three numbers of simulated patches, batches of 32, files in the page cache.
The patches are some simulated ones over and over under other names; there are enough that what is done to their pixels
is compiled, as it is for all but the smallest records.
The baseline opens and reads every GeoTIFF of a patch with rasterio, enlarges Sentinel-2 to 10 m and scales it in a
`torch.utils.data.Dataset` under a `DataLoader` with 0, 2 and 4 workers; the best of the three counts. All contestants
keep running and take turns: in every round each hands out batches for `--seconds`, which includes no start, and the
order rotates; a turn begins when the batches that others still prefetch are made and the machine rests. Ratios are of
patches per second in the same round.

Memory: a process of its own for each number of patches reads them all in two epochs, with shuffle and augmentation.
Resident set at the first batch, and at most.
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
import time
import warnings
from itertools import cycle
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # one NumPy thread is one

import numpy as np

from tests.benchmarks.repeated import Repeated
from tests.benchmarks.timing import write

BATCH = 32
INPUTS, TARGETS = ("s2", "s1"), ("land_cover_map", "climate_zone", "season", "land_cover")
WORKERS = (0, 2, 4)
PREFETCHED = 2 * max(WORKERS) + 2  # batches: what a `DataLoader` holds ready at most, and a little more
SHORT = {"rounds": 1, "seconds": 0.5}
PLACES = 48  # simulated patches: making one takes longer than all else that is done to it


# ---- Baseline: a file at a time ------------------------------------------------------------------------------------


def loader(tree, workers):
    """Endless batches of the tutorial's way of reading."""
    import torch

    from tests.benchmarks.torch_loader import PatchDataset

    context = "spawn" if workers else None  # TensorFlow's threads do not survive a fork
    patches = PatchDataset(tree)
    data = torch.utils.data.DataLoader(
        torch.utils.data.ConcatDataset([patches] * (1 + 1000 // len(patches))),  # long epochs: workers never run dry
        BATCH,
        num_workers=workers,
        multiprocessing_context=context,
        persistent_workers=bool(workers),
        drop_last=True,
    )
    while True:
        yield from data


# ---- Ours, and what bounds it --------------------------------------------------------------------------------------


def dataset(records, **options):
    """Endless batches of `make_dataset`."""
    import eokeras as eo

    options = {"batch_size": BATCH, "repeat": True, "drop_remainder": True} | options
    return iter(eo.make_dataset(records, "train", INPUTS, TARGETS, **options))


def unparsed(records):
    """The serialised records, read as `make_dataset` reads them, in batches of strings."""
    from eokeras.ben_ge.records import load_schema
    from eokeras.parallel import map_ahead
    from eokeras.serialised import serialised_patches

    data = serialised_patches(load_schema(records), "train", None, shuffle=False, cache=None)(None)
    return iter(map_ahead(data.repeat().batch(BATCH, drop_remainder=True), lambda batch: batch))


def one_numpy_thread(records, folder):
    """Calibrated float32 on the 10 m grid from a memory map of stored numbers, by NumPy in one thread."""
    import eokeras as eo

    stored = eo.make_dataset(
        records, "train", INPUTS, ("land_cover_map",), batch_size=BATCH, calibrate=None, resolution="stored",
        drop_remainder=True,
    )  # fmt: skip
    dtypes = {"s2_10m": "uint16", "s2_20m": "uint16", "s2_60m": "uint16", "s1": "float32", "land_cover_map": "uint8"}
    pieces = {name: [] for name in dtypes}
    for inputs, targets in stored:
        for name, values in (inputs | targets).items():
            pieces[name].append(values.numpy().astype(dtypes[name]))
    maps = {}
    for name, found in pieces.items():
        np.save(folder / name, np.concatenate(found))
        maps[name] = np.load(folder / f"{name}.npy", mmap_mode="r")
    return _numpy_batches(maps, eo.load_schema(records))


def _numpy_batches(maps, schema):
    """Few passes over long rows, which NumPy likes: a product for each group of bands permutes and scales them."""
    from eokeras.ben_ge.schema import S2_GROUPS

    names = schema["s2"].channels
    mean, std = (np.array(schema.statistics["s2"][key], "float32") for key in ("mean", "std"))
    scales = {}
    for name in S2_GROUPS:
        columns = [names.index(band) for band in schema.stored_bands[name]]
        scales[name] = np.zeros((len(columns), len(names)), "float32")
        scales[name][range(len(columns)), columns] = 1 / std[columns]
    offset = np.tile(mean / std, 120)
    mean_s1, std_s1 = (np.tile(np.array(schema.statistics["s1"][key], "float32"), 120) for key in ("mean", "std"))
    for start in cycle(range(0, len(maps["s1"]), BATCH)):
        part = slice(start, start + BATCH)
        s2 = np.zeros((BATCH * 120 * 120, len(names)), "float32")
        for name, scale in scales.items():
            s2 += enlarged(maps[name][part], 120 // maps[name].shape[1]).reshape(-1, len(scale)) @ scale
        rows = s2.reshape(BATCH * 120, -1)
        rows -= offset
        s1 = np.array(maps["s1"][part]).reshape(BATCH * 120, -1)
        np.copyto(s1, mean_s1, where=~np.isfinite(s1))
        s1 -= mean_s1
        s1 /= std_s1
        yield (
            s2.reshape(BATCH, 120, 120, -1),
            s1.reshape(BATCH, 120, 120, -1),
            maps["land_cover_map"][part].astype("int32"),
        )


def enlarged(values, factor):
    """(B, H, W, C) bilinearly to (B, f H, f W, C) float32, half-pixel centres, edges repeated."""
    values = values.astype("float32")
    if factor == 1:
        return values
    count, rows, columns, channels = values.shape
    wide = np.empty((count, rows, factor * columns, channels), "float32")
    _blend(values, wide, factor, axis=2)
    out = np.empty((count, factor * rows, factor * columns * channels), "float32")
    _blend(wide.reshape(count, rows, -1), out, factor, axis=1)
    return out


def _blend(values, out, factor, axis):
    """Linearly along an axis: each phase of the fine pixels is one sum of shifted coarse ones."""
    values, out = np.moveaxis(values, axis, 0), np.moveaxis(out, axis, 0)
    for phase in range(factor):
        offset = (phase + 0.5) / factor - 0.5
        near, far = np.float32(1 - abs(offset)), np.float32(abs(offset))
        fine = out[phase::factor]
        np.multiply(values, near, out=fine)
        if offset < 0:
            fine[1:] += far * values[:-1]
            fine[0] += far * values[0]
        else:
            fine[:-1] += far * values[1:]
            fine[-1] += far * values[-1]


# ---- The run -------------------------------------------------------------------------------------------------------


def contestants(records, tree, folder):
    """Name -> endless batches."""
    from eokeras import augment

    change = augment.chain(augment.dihedral(), augment.reflectance_jitter(), augment.backscatter_jitter())
    found = {f"tutorial, {workers} workers": loader(tree, workers) for workers in WORKERS} if tree else {}
    return found | {
        "unparsed": unparsed(records),
        "one NumPy thread": one_numpy_thread(records, folder),
        "make_dataset": dataset(records),
        'cache="memory"': dataset(records, cache="memory"),
        "stored, not calibrated": dataset(records, calibrate=None, resolution="stored"),
        "stored, calibrated": dataset(records, resolution="stored"),
        "with shuffle": dataset(records, shuffle=True, seed=0),
        "with augmentation": dataset(records, augment=change, seed=0),
    }


def rates(batches, rounds, seconds):
    """Contestant -> patches per second, one number per round."""
    found, names = {name: [] for name in batches}, list(batches)
    for turn in range(-1, rounds):  # the first round warms up
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            rest()
            for _ in range(PREFETCHED):  # were made while others had their turn, or the machine rested
                next(batches[name])
            start, count = time.perf_counter(), 0
            while (passed := time.perf_counter() - start) < seconds:
                next(batches[name])
                count += BATCH
            if turn >= 0:
                found[name].append(count / passed)
    return found


def rest(longest=5.0):
    """Waits until nothing runs: workers and threads go on making batches that they hold ready. Long at most, if others
    use the machine."""
    import psutil

    psutil.cpu_percent()
    end = time.perf_counter() + longest
    while time.perf_counter() < end and psutil.cpu_percent(interval=0.25) > 10:
        pass


COMPARED = (
    ("make_dataset", "tutorial"),
    ('cache="memory"', "tutorial"),
    ("stored, not calibrated", "tutorial"),
    ("stored, not calibrated", "unparsed"),
    ("make_dataset", "one NumPy thread"),
    ("with augmentation", "make_dataset"),
    ("with shuffle", "make_dataset"),
)


def compared(found, pairs):
    """Rows of contestant, reference and the ratio of their rates in the same round, for pairs of these two."""
    names = [name for name in found if name.startswith("tutorial")]
    if names:
        found = found | {"tutorial": max((found[name] for name in names), key=statistics.median)}
    rows = []
    for name, reference in pairs:
        if reference in found:
            ratios = [ours / other for ours, other in zip(found[name], found[reference], strict=True)]
            rows.append(
                {
                    "contestant": name,
                    "reference": reference,
                    "ratio": statistics.median(ratios),
                    "ratio_range": [min(ratios), max(ratios)],
                }
            )
    return rows


def peak(records):
    """MiB at the first batch and at most in two epochs, of a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.reading", "-", "--peak", str(records)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def print_peak(records):
    """What `peak` asks of its process."""
    import eokeras as eo

    data = eo.make_dataset(
        records, "train", INPUTS, TARGETS, batch_size=BATCH, shuffle=True, augment=eo.augment.dihedral(), seed=0
    )
    first, count = None, 0
    for _ in range(2):
        for inputs, _ in data:
            first = first or _mib("VmRSS")
            count += inputs["s1"].shape[0]
    print(json.dumps({"patches": count // 2, "first_mib": first, "peak_mib": _mib("VmHWM")}))


def _mib(key):
    """MiB by a line of the process's status (Linux)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[key].split()[0]) / 2**10


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="path of the JSON to write")
    parser.add_argument("--patches", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--data", type=Path, help="folder to keep the simulated patches in, for another run")
    parser.add_argument("--without-torch", action="store_true", help="leave out the baseline")
    parser.add_argument("--memory", type=int, nargs="+", metavar="PATCHES", help="measure peak memory instead")
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--short", action="store_true", help="one short round, to see that all works")
    options = parser.parse_args()
    if options.short:
        vars(options).update(SHORT)
    if options.peak:
        print_peak(options.peak)
        return
    if options.memory:
        measure_memory(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        tree, records = made(options.data or folder, options.patches)
        found = rates(
            contestants(records, None if options.without_torch else tree, folder), options.rounds, options.seconds
        )
    rows = compared(found, COMPARED)
    print_rates(found, rows)
    write(options.out, options, patches_per_second=found, ratios=rows)


def print_rates(found, rows):
    """Patches per second, then the rows of `compared`."""
    print(f"{'way of reading':<36}{'patches/s':>12}{'(range)':>18}")
    for name, values in found.items():
        span = f"({min(values):,.0f}-{max(values):,.0f})"
        print(f"{name:<36}{statistics.median(values):>12,.0f}{span:>18}")
    print()
    for row in rows:
        low, high = row["ratio_range"]
        print(f"{row['contestant']:<36}{row['ratio']:>8.2f} x {row['reference']:<20}({low:.2f}-{high:.2f})")


def measure_memory(options):
    """Prints and writes the peak for each number of patches."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for patches in options.memory:
            rows.append(peak(made(options.data or Path(folder), patches)[1]))
            print(
                "{patches:>8,} patches: {first_mib:.0f} MiB at the first batch, {peak_mib:.0f} at most".format(
                    **rows[-1]
                )
            )
    write(options.out, options, memory=rows)


def made(folder, patches, places=PLACES):
    """A tree of so many simulated places, and records of so many patches, most in training; kept where they are."""
    from eokeras import ben_ge

    places = min(patches, places)
    tree, records = folder / f"tree-{places}", folder / f"records-{places}-{patches}"
    if not tree.exists():
        ben_ge.simulate(tree, patches=places, seed=0)
    if not records.exists():
        source = Repeated(ben_ge.open_source(tree), patches)
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # bars
            warnings.simplefilter("ignore")  # such a split leaks, which is no matter here
            ben_ge.convert(source, records, split="random", fractions=(0.96, 0.02, 0.02))
    return tree, records


if __name__ == "__main__":
    main()
