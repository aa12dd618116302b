"""What lesson 1 quotes: patches per second at every step of the pipeline, and what the clip at -25 dB cuts off.

Command:  python lessons/1_patches_to_pipelines/experiment.py [--work DIRECTORY]
Time:     a few minutes on two cores that do nothing else; goes on where it was killed
Expected: reading alone is an order of magnitude faster than the whole pipeline, and the whole pipeline an order
          of magnitude faster than reading the GeoTIFFs; about three in ten water pixels in VH lie below -25 dB

Speed: all steps run in turn, round after round, so that whatever else the machine does meets all of them; the
first round only warms the page cache. Medians and ranges over rounds. Clip: every simulated world counts once.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import rasterio
import tensorflow as tf
import tensorflow_datasets as tfds
from rasterio.enums import Resampling

import eokeras as eo
from eokeras import calibration, ops
from eokeras.ben_ge import schema

PATCHES, SEED, BATCH, ROUNDS = 400, 0, 32, 7
FIELDS = (*schema.S2_GROUPS, "s1", "land_cover_map")
STEP_SECONDS = 0.025  # a training step that keeps an accelerator busy and leaves the processor free
WORLDS, WORLD_PATCHES = (1, 2, 3, 4, 5), 80
WATER = next(entry.code for entry in schema.LAND_COVER if entry.name == "permanent water bodies")
LOWEST_DB, HIGHEST_DB = calibration.fixed_range("s1")[0]
EDGES_DB = np.arange(-45.0, 10.5, 0.5)


# --- Speed -------------------------------------------------------------------------------------------


def make_steps(tree: Path, records: Path) -> dict[str, tuple[Iterable, int]]:
    """Step -> (what to iterate, patches in one pass of it). Each step does all that the one before does."""
    known = eo.load_schema(records)
    shards = tfds.builder_from_directory(records).info.splits["train"].filepaths
    files, patches = sorted(map(str, shards)), known.splits["train"]
    parse, to_grid, normalise = _operations()
    whole = {"inputs": ("s2", "s1"), "targets": ("land_cover_map",), "batch_size": BATCH, "calibrate": "tutorial"}

    def read(passes):
        return tf.data.TFRecordDataset(files).repeat(passes).batch(BATCH)

    def parallel(passes):
        names = tf.data.Dataset.from_tensor_slices(files).repeat(passes)
        serialised = names.interleave(tf.data.TFRecordDataset, cycle_length=8, num_parallel_calls=tf.data.AUTOTUNE)
        dataset = serialised.batch(BATCH)
        for operation in (parse, to_grid, normalise):
            dataset = dataset.map(operation, num_parallel_calls=tf.data.AUTOTUNE)
        return dataset

    def made(passes, **options):
        return eo.make_dataset(records, "train", repeat=True, **whole, **options).take(passes * patches // BATCH)

    one_by_one = tf.data.TFRecordDataset(files).repeat(8).map(partial(_parse_one, parse)).batch(BATCH)
    return {
        "geotiff": (map(_read_geotiffs, sorted((tree / "sentinel-2").iterdir())[:60]), 60),
        "read": (read(12), 12 * patches),
        "parse_one_by_one": (one_by_one, 8 * patches),
        "parse": (read(8).map(parse), 8 * patches),
        "resample": (read(4).map(parse).map(to_grid), 4 * patches),
        "normalise": (read(4).map(parse).map(to_grid).map(normalise), 4 * patches),
        "parallel": (parallel(4), 4 * patches),
        "prefetch": (parallel(4).prefetch(tf.data.AUTOTUNE), 4 * patches),
        "make_dataset": (made(4), 4 * patches // BATCH * BATCH),
        "shuffle": (made(4, shuffle=True, seed=0), 4 * patches // BATCH * BATCH),
    }


def _read_geotiffs(folder: Path) -> list[np.ndarray]:
    """The bands of a Sentinel-2 patch, file by file."""
    arrays = []
    for path in folder.glob("*.tif"):
        with rasterio.open(path) as file:
            arrays.append(file.read(1))
    return arrays


def _operations() -> tuple[Callable, Callable, Callable]:
    """Parse, resample to the 10 m grid, normalise: what `make_dataset(calibrate="tutorial")` does, step by step."""
    to_s2, to_ids = ops.assemble_s2(schema.CHANNELS["s2"], None), ops.make_target("land_cover_map")
    middle, span = (LOWEST_DB + HIGHEST_DB) / 2, HIGHEST_DB - LOWEST_DB

    def to_grid(batch):
        return to_s2(batch) | {"s1": batch["s1"], "land_cover_map": batch["land_cover_map"]}

    def normalise(batch):
        s1 = tf.where(tf.math.is_nan(batch["s1"]), middle, batch["s1"])
        s1 = (tf.clip_by_value(s1, LOWEST_DB, HIGHEST_DB) - LOWEST_DB) / span
        return {"s2": tf.clip_by_value(batch["s2"] * 1e-4, 0, 1), "s1": s1} | to_ids(batch)

    return ops.parse(FIELDS), to_grid, normalise


def _parse_one(parse, serialised):
    return {name: values[0] for name, values in parse(serialised[tf.newaxis]).items()}


def seconds_of(iterable: Iterable) -> float:
    """Time to the last element; ending an iterator that tunes itself can block, and is left out."""
    begin = end = time.perf_counter()
    for _ in iterable:
        end = time.perf_counter()
    return end - begin


def measure_speed(tree: Path, records: Path) -> dict:
    load, rates = os.getloadavg(), {}
    for turn in range(ROUNDS + 1):
        for name, (iterable, patches) in make_steps(tree, records).items():
            rate = patches / seconds_of(iterable)
            if turn:
                rates.setdefault(name, []).append(rate)
    steps = {name: summary(values) for name, values in rates.items()}
    times_geotiff = {name: steps[name]["median"] / steps["geotiff"]["median"] for name in steps}
    for name, ratio in times_geotiff.items():
        steps[name]["times_geotiff"] = ratio
    return {"steps": steps, "rounds": ROUNDS, "batch": BATCH, "load_average_before": load[0]}


def measure_prefetch(records: Path) -> dict:
    """Milliseconds per batch with a training step of 25 ms that does not need the processor."""
    known = eo.load_schema(records)
    files = sorted(map(str, tfds.builder_from_directory(records).info.splits["train"].filepaths))
    parse, to_grid, normalise = _operations()

    literal = tf.data.Options()  # else TensorFlow makes the maps parallel and adds a prefetch by itself
    literal.experimental_optimization.apply_default_optimizations = False
    literal.autotune.enabled = False

    def pipeline(**options):
        dataset = tf.data.TFRecordDataset(files).repeat(6).batch(BATCH)
        for operation in (parse, to_grid, normalise):
            dataset = dataset.map(operation, **options)
        return dataset

    ways = {
        "in_turn": lambda: pipeline().with_options(literal),
        "prefetch": lambda: pipeline().prefetch(2).with_options(literal),
        "parallel": lambda: pipeline(num_parallel_calls=tf.data.AUTOTUNE),
    }
    batches = -(-6 * known.splits["train"] // BATCH)
    load, times = os.getloadavg(), {}
    for turn in range(5 + 1):
        for name, make in ways.items():
            spent = seconds_of(map(_train_step, make()))
            if turn:
                times.setdefault(name, []).append(1000 * spent / batches)
    answer = {name: summary(values) for name, values in times.items()}
    return {"ms_per_batch": answer, "step_ms": 1000 * STEP_SECONDS, "rounds": 5, "load_average_before": load[0]}


def _train_step(batch):
    time.sleep(STEP_SECONDS)
    return batch


def summary(values) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


# --- Resampling: ours against GDAL's -----------------------------------------------------------------


def measure_grid(tree: Path) -> dict:
    """Largest difference between our resampling and GDAL's bilinear read, in digital numbers, over 20 patches."""
    size, largest = schema.RASTERS["s2_10m"].shape[0], 0.0
    for folder in sorted((tree / "sentinel-2").iterdir())[:20]:
        for band in schema.S2_BANDS:
            with rasterio.open(folder / f"{folder.name}_{band.name}.tif") as file:
                stored = file.read(1)
                read = file.read(1, out_shape=(size, size), resampling=Resampling.bilinear)
            ours = ops.resample_to_10m(tf.constant(stored[np.newaxis, ..., np.newaxis]), band.gsd_m)[0, ..., 0]
            largest = max(largest, float(np.abs(ours - read.astype("float32")).max()))
    return {"largest_difference_to_gdal": largest, "patches": 20}


# --- The clip at -25 dB ------------------------------------------------------------------------------


def measure_clip(work: Path) -> dict:
    """Per cent of finite pixels below thresholds, per world, and the histograms of all worlds together."""
    shares: dict[str, list[float]] = {}
    histograms = {name: np.zeros(len(EDGES_DB) - 1, int) for name in ("water_vh", "water_vv", "land_vh", "land_vv")}
    for seed in WORLDS:
        tree = work / f"world-{seed}"
        if not tree.exists():
            eo.ben_ge.simulate(tree, patches=WORLD_PATCHES, seed=seed)
        pixels = _pixels(tree)
        for name, values in pixels.items():
            histograms[name] += np.histogram(np.clip(values, EDGES_DB[0], EDGES_DB[-1] - 1e-6), EDGES_DB)[0]
            for threshold in (LOWEST_DB, -30.0, -35.0):
                shares.setdefault(f"{name}_below_{-threshold:.0f}", []).append(100 * float((values < threshold).mean()))
    return {
        "worlds": len(WORLDS),
        "patches_per_world": WORLD_PATCHES,
        "percent_over_worlds": {name: summary(values) for name, values in shares.items()},
        "edges_db": EDGES_DB.tolist(),
        "counts": {name: counts.tolist() for name, counts in histograms.items()},
        "statement": schema.SIMULATED,
    }


def _pixels(tree: Path) -> dict[str, np.ndarray]:
    source, values = eo.ben_ge.open_source(tree), {}
    for patch_id in source.patch_ids:
        features = source.read(patch_id).features
        is_water = features["land_cover_map"] == WATER
        for channel, polarisation in enumerate(schema.S1_POLARISATIONS):
            backscatter = features["s1"][..., channel]
            finite = np.isfinite(backscatter)
            for ground, chosen in (("water", is_water), ("land", ~is_water)):
                values.setdefault(f"{ground}_{polarisation.lower()}", []).append(backscatter[chosen & finite])
    return {name: np.concatenate(parts) for name, parts in values.items()}


# --- All together ------------------------------------------------------------------------------------


def processor() -> str:
    """The processor's name as Linux states it, or what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def run_card() -> dict:
    return {
        "command": "python lessons/1_patches_to_pipelines/experiment.py",
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": "none",
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "patches": PATCHES,
        "seed": SEED,
        "statement": schema.SIMULATED,
    }


def describe_records(records: Path) -> dict:
    known = eo.load_schema(records)
    rasters = [schema.RASTERS[name] for name in known.fields if name in schema.RASTERS]
    stored = {raster.name: int(np.prod(raster.shape)) * np.dtype(raster.dtype).itemsize for raster in rasters}
    shards = [Path(path) for path in tfds.builder_from_directory(records).info.splits["train"].filepaths]
    size = sum(path.stat().st_size for path in shards)
    return {
        "patches": sum(known.splits.values()),
        "train": known.splits["train"],
        "shards": len(shards),
        "bytes_per_patch": size / known.splits["train"],
        "bytes_by_raster": stored,
        "s2_bytes_stored": sum(stored[name] for name in schema.S2_GROUPS),
        "s2_bytes_at_10m": 120 * 120 * len(schema.S2_BANDS) * 2,
        "s2_bytes_at_10m_float32": 120 * 120 * len(schema.S2_BANDS) * 4,
    }


def once(path: Path, make: Callable[[], dict]) -> dict:
    """What `make` returned when this ran last, or returns now; a killed run leaves no half-written file."""
    if not path.exists():
        unfinished = path.with_suffix(".incomplete")
        unfinished.write_text(json.dumps(make(), indent=1), encoding="utf-8")
        unfinished.rename(path)
    return json.loads(path.read_text(encoding="utf-8"))


def warning(results: dict) -> str:
    """What to say when the machine did other work beside; empty for a quiet one."""
    load = max(results[part]["load_average_before"] for part in ("speed", "prefetch"))
    is_busy = load > results["run_card"]["cores"]
    return f"The machine was busy (load {load:.1f}): measure speeds again on a quiet one.\n" if is_busy else ""


def main() -> None:
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=here / "work" / "experiment", help="trees, records, parts")
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    tfds.disable_progress_bar()
    tree, records = work / "ben-ge-sim", work / "records"
    if not tree.exists():
        eo.ben_ge.simulate(tree, patches=PATCHES, seed=SEED)
    if not records.exists():
        eo.ben_ge.convert(tree, records, group="tile")
    results = {
        "run_card": run_card(),
        "records": once(work / "records.json", partial(describe_records, records)),
        "grid": once(work / "grid.json", partial(measure_grid, tree)),
        "clip": once(work / "clip.json", partial(measure_clip, work)),
        "prefetch": once(work / "prefetch.json", partial(measure_prefetch, records)),
        "speed": once(work / "speed.json", partial(measure_speed, tree, records)),
    }
    (here / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(end=warning(results))
    for name, step in results["speed"]["steps"].items():
        print(f"{name:18s} {step['median']:8,.0f} patches/s ({step['low']:,.0f} to {step['high']:,.0f})")


if __name__ == "__main__":
    main()
