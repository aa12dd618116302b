"""How fast `make_dataset` reads, against the loader of the original tutorial and against what the bytes allow.

    pip install "eokeras[bench]"                                  # PyTorch, for the baseline only
    python -m tests.benchmarks.reading reading.json [--patches 320] [--rounds 5] [--seconds 2] [--short]

Sentinel-2, Sentinel-1, land-cover map and three numbers of simulated patches, batches of 32, files in the page cache.
The patches are some simulated ones over and over under other names; there are enough that what is done to their pixels
is compiled, as it is for all but the smallest records.
The baseline opens and reads every GeoTIFF of a patch with rasterio, enlarges Sentinel-2 to 10 m and scales it in a
`torch.utils.data.Dataset` under a `DataLoader` with 0, 2 and 4 workers; the best of the three counts. All contestants
keep running and take turns: in every round each hands out batches for `--seconds`, which includes neither a start nor
what was made ahead before its turn, and the order rotates. Ratios are of patches per second in the same round.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
import warnings
from itertools import cycle
from pathlib import Path

import numpy as np

from tests.benchmarks.repeated import Repeated
from tests.benchmarks.timing import write

BATCH = 32
INPUTS, TARGETS = ("s2", "s1"), ("land_cover_map", "climate_zone", "season", "land_cover")
WORKERS = (0, 2, 4)
SHORT = {"rounds": 1, "seconds": 0.5}
REST = {False: 0.5, True: 3.0}  # seconds until all that is made ahead is made, which would disturb the next turn
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
    from eokeras.serialised import serialised_patches

    data = serialised_patches(load_schema(records), "train", None, shuffle=False, cache=None)(None)
    return iter(data.repeat().batch(BATCH, drop_remainder=True).prefetch(-1))


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
    from eokeras.ben_ge.schema import S2_GROUPS

    bands = [band for name in S2_GROUPS for band in schema.stored_bands[name]]
    order = [bands.index(band) for band in schema["s2"].channels]
    mean, std = (np.array(schema.statistics["s2"][key], "float32") for key in ("mean", "std"))
    mean_s1, std_s1 = (np.array(schema.statistics["s1"][key], "float32") for key in ("mean", "std"))
    starts = range(0, len(maps["s1"]), BATCH)
    for start in cycle(starts):
        part = slice(start, start + BATCH)
        s2 = np.empty((BATCH, 120, 120, len(order)), "float32")
        first = 0
        for name in S2_GROUPS:
            values = enlarged(maps[name][part].astype("float32"), 120 // maps[name].shape[1])
            last = first + values.shape[-1]
            columns = [order.index(index) for index in range(first, last)]
            s2[..., columns] = (values - mean[columns]) / std[columns]
            first = last
        s1 = np.array(maps["s1"][part])
        s1 = (np.where(np.isfinite(s1), s1, mean_s1) - mean_s1) / std_s1
        yield s2, s1, maps["land_cover_map"][part].astype("int32")


def enlarged(values, factor):
    """(B, H, W, C) bilinearly to (B, factor H, factor W, C), half-pixel centres, edges repeated."""
    if factor == 1:
        return values
    for axis in (1, 2):
        size = values.shape[axis]
        position = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
        low = np.minimum(position.astype(int), size - 2)
        weight = (position - low).astype("float32").reshape([-1 if a == axis else 1 for a in range(4)])
        values = np.take(values, low, axis) * (1 - weight) + np.take(values, low + 1, axis) * weight
    return values


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
            start, count = time.perf_counter(), 0
            while time.perf_counter() - start < seconds / 3:  # what was made ahead is not counted
                next(batches[name])
            start = time.perf_counter()
            while (passed := time.perf_counter() - start) < seconds:
                next(batches[name])
                count += BATCH
            if turn >= 0:
                found[name].append(count / passed)
            time.sleep(REST["workers" in name])
    return found


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="path of the JSON to write")
    parser.add_argument("--patches", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--data", type=Path, help="folder to keep the simulated patches in, for another run")
    parser.add_argument("--without-torch", action="store_true", help="leave out the baseline")
    parser.add_argument("--short", action="store_true", help="one short round, to see that all works")
    options = parser.parse_args()
    if options.short:
        vars(options).update(SHORT)
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
