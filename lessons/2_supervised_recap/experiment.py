"""How often does a 95 % interval hold the truth, and what does a random split claim?

    python lessons/2_supervised_recap/experiment.py [WORK]   # goes on where it was killed; writes results.json

Run card
    question     over simulated worlds, how often the 95 % interval of `eokeras.evaluate` contains the true score,
                 once with whole tiles (dates for season) resampled, once with every patch its own group
    primary      accuracy of climate zone by a classifier that sees what Sentinel-2 shows, 15 tiles of 20 patches
    expected     about 95 % with whole groups, far less with patches
    truth        a world has 300 tiles of 20 patches; the truth is the score of a fixed predictor on all 6,000. A
                 test set is 10, 15 or 30 of these tiles, drawn with replacement, so that the truth is exact
    predictors   fitted on 40 other tiles of the same world: the most frequent class (median for season), the five
                 nearest patches on the map, the 15 nearest in what a Sentinel-2 scene shows
    splits       the same world's 50 training tiles, split 80/20 by tile and at random by patch: what either test
                 side claims, against the score of that very predictor on the 300 tiles
    data         400 worlds, seeds 1000 to 1399: places, climate and dates of the simulator, no pixels. Seeds below
                 10 served to write this file
    hardware     two CPU cores, two processes; no GPU

Everything here is simulated: it shows how intervals behave, not how good any network is in Europe.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # lessons/, for laboratory

import laboratory
import numpy as np
from scipy import stats
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from eokeras import evaluate
from eokeras.ben_ge import schema
from eokeras.ben_ge.simulation import latents, noise
from eokeras.ben_ge.simulation.climate import Climate, climate_at, zone_code
from eokeras.ben_ge.simulation.terrain import continental, macro_elevation
from eokeras.ben_ge.simulation.tiles import CELLS_PER_EDGE, TILES, latitude_of, sun_elevation, world_corner
from eokeras.evaluate.patch_statistics import patch_statistics
from eokeras.evaluate.scores import TaskScore, task_score

WORLDS, WORLDS_PER_FILE = range(1000, 1400), 20
PATCHES_PER_TILE, POPULATION_TILES, TRAINING_TILES, SPLIT_TILES = 20, 300, 40, 50
TEST_TILES = (10, 15, 30)
EXAMPLES = 40  # worlds whose intervals are kept one by one, for a figure
NEIGHBOURS_ON_MAP, NEIGHBOURS_IN_SCENE = 5, 15
ZONES = np.array([zone.code for zone in schema.CLIMATE_ZONES])
CLASSES = schema.TARGETS["climate_zone"].classes


# ----------------------------------------------------------------------- A world without pixels


@dataclass(frozen=True)
class Patches:
    """N patches; `shown` (N, D) is what a Sentinel-2 scene tells of each, noise included."""

    tile: np.ndarray  # index of the tile
    day: np.ndarray  # of the year, 1..365
    place: np.ndarray  # (N, 2) world coordinates in metres
    shown: np.ndarray
    zone: np.ndarray  # class id of the climate zone
    season: np.ndarray

    def __getitem__(self, rows) -> "Patches":
        return Patches(**{name: values[rows] for name, values in vars(self).items()})


def draw_patches(seed: int, tiles: int, random: np.random.Generator) -> Patches:
    """`PATCHES_PER_TILE` patches in each of `tiles` tiles, which lie anywhere on the land of world `seed`."""
    world = noise.key_of(seed, "world")
    corners = _tile_corners(world, tiles, random)
    cells = np.stack([random.permutation(CELLS_PER_EDGE**2)[: 2 * PATCHES_PER_TILE] for _ in range(tiles)])
    steps = np.stack([cells % CELLS_PER_EDGE + 0.5, -(cells // CELLS_PER_EDGE) - 0.5], axis=-1) * schema.PATCH_SIZE_M
    places = corners[:, None, :] + steps
    # One sea patch in six is kept, as the simulator does; the others come last and are left out.
    at_sea = continental(world, places[..., 0].ravel(), places[..., 1].ravel()).reshape(cells.shape) < 0
    order = np.argsort(at_sea & (random.random(cells.shape) > 1 / 6), axis=1, kind="stable")[:, :PATCHES_PER_TILE]
    place = np.take_along_axis(places, order[..., None], axis=1).reshape(-1, 2)
    sea = np.take_along_axis(at_sea, order, axis=1).ravel()
    days = np.stack([_days_of_tile(corner, random) for corner in corners]).ravel()
    return _patches(world, np.repeat(np.arange(tiles), PATCHES_PER_TILE), place, sea, days, random)


def _tile_corners(world: int, tiles: int, random) -> np.ndarray:
    """Upper left corners (tiles, 2) between the outermost tiles of BigEarthNet, centred on land."""
    known = np.array([world_corner(tile, (0, 0)) for tile in TILES])
    half = CELLS_PER_EDGE * schema.PATCH_SIZE_M / 2
    corners = random.uniform(known.min(axis=0), known.max(axis=0), (3 * tiles, 2))
    on_land = continental(world, corners[:, 0] + half, corners[:, 1] - half) > 0
    return corners[on_land][:tiles]


def _days_of_tile(corner, random) -> np.ndarray:
    """Day of the year of each patch of a tile: one to three dates with the sun 10 degrees up at 10:45."""
    latitude, wanted, dates = latitude_of(corner[1]), int(random.integers(1, 4)), []
    while len(dates) < wanted:
        day = int(random.integers(1, 366))
        if sun_elevation(latitude, datetime(2016, 12, 31, 10, 45) + timedelta(day), 0) > 10:
            dates.append(day)
    return np.resize(dates, PATCHES_PER_TILE)


def _patches(world: int, tile, place, sea, day, random) -> Patches:
    x, y = place.T
    latitude = np.array([latitude_of(value) for value in y])
    climate = climate_at(world, x, y, latitude, macro_elevation(world, x, y))
    codes = np.array([zone_code(Climate(*values)) for values in zip(*vars(climate).values(), strict=True)])
    zone = np.searchsorted(ZONES, np.where(sea, ZONES[0], codes))
    mean, deviation = latents.scene_vectors("s2", climate, latitude, day)
    shown = np.column_stack([mean / deviation + random.standard_normal(mean.shape), 10.0 * sea])
    dates = [datetime(2017, 1, 1) + timedelta(int(number) - 1) for number in day]
    return Patches(tile, day, place, shown, zone, np.array([schema.season(date.month, date.day) for date in dates]))


# ----------------------------------------------------------------------- Predictors and their scores

Predictor = Callable[[Patches], np.ndarray]


def on_map(train: Patches) -> Predictor:
    """Climate zone of the nearest training patches."""
    model = KNeighborsClassifier(NEIGHBOURS_ON_MAP).fit(train.place, train.zone)
    return lambda patches: model.predict(patches.place)


def in_scene(train: Patches) -> Predictor:
    """Climate zone of the training patches whose scenes look most alike."""
    model = KNeighborsClassifier(NEIGHBOURS_IN_SCENE).fit(train.shown, train.zone)
    return lambda patches: model.predict(patches.shown)


def season_in_scene(train: Patches) -> Predictor:
    """Mean season of the training patches whose scenes look most alike."""
    model = KNeighborsRegressor(NEIGHBOURS_IN_SCENE).fit(train.shown, train.season)
    return lambda patches: model.predict(patches.shown)


def constant(value) -> Predictor:
    """The same answer for every patch."""
    return lambda patches: np.full(len(patches.tile), value)


def predictors(train: Patches) -> dict[tuple[str, str], Predictor]:
    """(target, name) -> predictor fitted on `train`."""
    return {
        ("climate_zone", "majority"): constant(np.bincount(train.zone).argmax()),
        ("climate_zone", "map"): on_map(train),
        ("climate_zone", "scene"): in_scene(train),
        ("season", "median"): constant(np.median(train.season)),
        ("season", "scene"): season_in_scene(train),
    }


def statistics_of(target: str, predict: Predictor, patches: Patches) -> np.ndarray:
    """Per-patch statistics of a predictor, as `eokeras.evaluate` keeps them."""
    if target == "season":
        return patch_statistics("regression", patches.season, predict(patches), 0)
    return patch_statistics("class", patches.zone, predict(patches), len(CLASSES))


def scored(target: str, statistics: np.ndarray, groups: np.ndarray | None, seed: int = 0) -> TaskScore:
    """The score of `eokeras.evaluate` with its intervals over `groups`."""
    kind, classes = ("regression", ()) if target == "season" else ("class", CLASSES)
    return task_score(target, kind, classes, statistics, groups, seed=seed)


# ----------------------------------------------------------------------- One world


def one_world(seed: int) -> dict:
    """Truth, intervals and split claims of one world."""
    random = np.random.default_rng([seed, noise.key_of("coverage")])
    known, population = (draw_patches(seed, tiles, random) for tiles in (SPLIT_TILES, POPULATION_TILES))
    train = known[known.tile < TRAINING_TILES]
    answer = {"intervals": [], "splits": _splits(known, population, random)}
    tiles = random.integers(POPULATION_TILES, size=max(TEST_TILES))
    rows = (tiles[:, None] * PATCHES_PER_TILE + np.arange(PATCHES_PER_TILE)).ravel()
    place_in_draw = np.repeat(np.arange(len(tiles)), PATCHES_PER_TILE)  # a tile drawn twice counts as two
    for (target, name), predict in predictors(train).items():
        statistics = statistics_of(target, predict, population)
        truth = scored(target, statistics, None).estimates
        groups = population.day[rows] if target == "season" else place_in_draw
        for count in TEST_TILES:
            used = rows[: count * PATCHES_PER_TILE]
            units = {"group": groups[: len(used)], "patch": np.arange(len(used))}
            for unit, names in units.items():
                estimates = scored(target, statistics[used], names.astype(str), seed).estimates
                for metric in ("mae",) if target == "season" else ("accuracy", "macro_f1"):
                    found, true = estimates[metric], truth[metric].value
                    row = [target, name, metric, count, unit, true, found.value, found.low, found.high]
                    answer["intervals"].append(row)
    return answer


def _splits(known: Patches, population: Patches, random) -> dict:
    """Accuracy that a split by tile and a random split claim, and what the same predictors reach on new tiles."""
    held_out = {"grouped": known.tile >= TRAINING_TILES}
    held_out["random"] = random.permutation(held_out["grouped"])
    answer = {}
    for kind, test in held_out.items():
        for name, fit in (("map", on_map), ("scene", in_scene)):
            predict = fit(known[~test])
            sides = {"claim": known[test], "truth": population}
            answer[f"{kind}.{name}"] = {
                side: float(np.mean(predict(patches) == patches.zone)) for side, patches in sides.items()
            }
    return answer


def some_worlds(work: Path, first: int) -> dict:
    """`WORLDS_PER_FILE` worlds from `first` on, from their file where they were computed before."""
    seeds = range(first, first + WORLDS_PER_FILE)
    return laboratory.remember(work, f"coverage {first}", lambda: {"worlds": [one_world(seed) for seed in seeds]})


# ----------------------------------------------------------------------- All worlds


def coverage_table(worlds: list[dict]) -> dict:
    """target -> predictor -> metric -> tiles -> unit -> how often the interval held the truth, and its width."""
    found: dict[tuple, list[tuple[float, ...]]] = {}
    for world in worlds:
        for target, name, metric, count, unit, *numbers in world["intervals"]:
            found.setdefault((target, name, metric, f"tiles_{count}", unit), []).append(numbers)
    table: dict = {}
    for path, rows in found.items():
        *parents, last = path
        place = table
        for key in parents:
            place = place.setdefault(key, {})
        place[last] = _coverage(np.array(rows, "float64"))
    return table


def _coverage(rows: np.ndarray) -> dict:
    """Coverage of the rows (truth, value, low, high) with its own 95 % interval (Wilson)."""
    truth, value, low, high = rows.T
    inside = (low <= truth) & (truth <= high)
    own = stats.binomtest(int(inside.sum()), len(rows)).proportion_ci(0.95, "wilson")
    return {
        "coverage": float(inside.mean()),
        "low": own.low,
        "high": own.high,
        "width": float(np.mean(high - low)),
        "error": float(np.sqrt(np.mean((value - truth) ** 2))),
        "truth": float(truth.mean()),
    }


def examples(worlds: list[dict], tiles: int = 15) -> dict:
    """Intervals of the primary question, world by world: unit -> [(truth, value, low, high), ...]."""
    wanted = ["climate_zone", "scene", "accuracy", tiles]
    rows = [row for world in worlds[:EXAMPLES] for row in world["intervals"] if row[:4] == wanted]
    return {unit: [[round(x, 4) for x in row[5:]] for row in rows if row[4] == unit] for unit in ("group", "patch")}


def splits_table(worlds: list[dict]) -> dict:
    """split -> predictor -> mean claim and truth over worlds, and their paired difference."""
    table: dict = {}
    for path in worlds[0]["splits"]:
        kind, name = path.split(".")
        claim, truth = ([world["splits"][path][side] for world in worlds] for side in ("claim", "truth"))
        flattery = evaluate.paired_over_replicates(claim, truth).to_dict()
        row = {"claim": float(np.mean(claim)), "truth": float(np.mean(truth))}
        row["flattery"] = {key: flattery[key] for key in ("mean", "low", "high")}
        table.setdefault(kind, {})[name] = row
    return table


def report(coverage: dict, splits: dict) -> str:
    """Both tables as text."""
    lines = [f"{'':44}{'by group':>26}{'by patch':>26}"]
    for target, names in coverage.items():
        for name, metrics in names.items():
            for metric, sizes in metrics.items():
                for size, units in sizes.items():
                    cells = [
                        f"{cell['coverage']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" for cell in units.values()
                    ]
                    lines.append(f"{target:13} {name:9} {metric:9} {size:9} {cells[0]:>26}{cells[1]:>26}")
    for kind, names in splits.items():
        for name, row in names.items():
            lines.append(f"{kind:8} split, {name:6}: claims {row['claim']:.3f}, reaches {row['truth']:.3f}")
    return "\n".join([*lines, evaluate.SIMULATED])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, nargs="?", default=HERE / "work" / "experiment", help="for finished parts")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    start = time.perf_counter()
    parts = [(options.work, first) for first in WORLDS[::WORLDS_PER_FILE]]
    found = laboratory.in_parallel(some_worlds, parts, options.processes)
    worlds = [world for part in found for world in part["worlds"]]
    coverage, splits = coverage_table(worlds), splits_table(worlds)
    design = {
        "worlds": len(worlds), "patches_per_tile": PATCHES_PER_TILE, "population_tiles": POPULATION_TILES,
        "training_tiles": TRAINING_TILES, "statement": evaluate.SIMULATED,
    }  # fmt: skip
    laboratory.write_results(HERE / "results.json", "coverage", design | coverage | {"examples": examples(worlds)})
    laboratory.write_results(HERE / "results.json", "splits", design | splits)
    print(report(coverage, splits))
    print(f"{(time.perf_counter() - start) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
