"""How much does the kind of split change the score of the same cheap predictor on the same patches?

    python tests/experiments/split_scores.py WORK    # prints the tables, writes WORK/results.json

What is finished lies in WORK: killed, the same command goes on.

Run card
    question     score under random and official-like folds minus score under folds grouped by tile and date
    primary      accuracy of land cover by a random forest on bands, random minus tile and date, paired over worlds; all
                 others are exploratory
    expected     random and official-like flatter; folds by tile lie near those by tile and date for land cover and
                 climate zone, folds by date for season
    data         simulated worlds, seeds 11 to 16, 800 patches in 20 tiles each; the replicate is the world. The script
                 was developed on world 3
    folds        five of each kind; every patch is tested once under each, so that all scores are of the same patches.
                 "official-like" deals the patches of every acquisition to the folds at random: as in ben-ge-8k, every
                 test patch shares acquisition and tile with training patches. "blocks" are those of 15 km without a
                 buffer, and those whose buffer is the correlation length of the land-cover fractions of that world,
                 three buffers wide; what a buffer leaves out is missed in training
    contestants  five nearest neighbours on the map (as `evaluate.baselines`); random forest on mean and deviation of
                 every band of Sentinel-2 and -1; for season also random forest on ERA-5 (as `evaluate.baselines`)
    hardware     two shared CPU cores, no network training

Everything here is simulated: it shows that the method can find an effect, not how large it is in Europe.
"""

import argparse
import json
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.neighbors import KNeighborsClassifier

from eokeras import ben_ge
from eokeras.ben_ge import schema
from eokeras.ben_ge.buffers import keep_distance
from eokeras.ben_ge.correlation import variogram
from eokeras.ben_ge.folds import make_folds
from eokeras.ben_ge.places import Place, product_of, unit_vectors
from eokeras.ben_ge.record_patches import RecordPatches
from eokeras.ben_ge.splits import leakage
from eokeras.evaluate import paired_over_replicates
from eokeras.evaluate.baseline_models import NEIGHBOURS

WORLD_SEEDS = tuple(range(11, 17))
PATCHES, TILES, FOLDS, TREES = 800, 20, 5, 30
BLOCK_M = 15_000.0
REFERENCE = "tile and date"
KINDS = ("random", "official-like", "blocks", "blocks, buffer", "date", "tile", REFERENCE)
CLASSES = ("land_cover", "climate_zone")
METRICS = {**dict.fromkeys(CLASSES, "accuracy"), "season": "mae"}


@dataclass(frozen=True)
class World:
    """The patches of a world (N) as arrays."""

    ids: tuple[str, ...]
    places: dict[str, Place]
    bands: np.ndarray  # (N, 28) mean and standard deviation of every band
    lonlat: np.ndarray  # (N, 2)
    era5: np.ndarray  # (N, 8)
    fractions: np.ndarray  # (N, 11)
    targets: dict[str, np.ndarray]


def make_world(work: Path, seed: int) -> World:
    """Simulates a world, keeps what the predictors need and removes the tree."""
    path, tree = work / f"world-{seed}.npz", work / f"world-{seed}"
    if not path.exists():
        if not tree.exists():
            ben_ge.simulate(tree, PATCHES, seed, tiles=TILES)
        read_tree(tree, path)
        shutil.rmtree(tree)
    with np.load(path) as stored:
        values = {name: stored[name] for name in stored.files}
    ids = tuple(values["ids"].tolist())
    places = {
        patch_id: Place(tile, tuple(cell), date)
        for patch_id, tile, cell, date in zip(
            ids, values["tile"].tolist(), values["cell"].tolist(), values["date"].tolist(), strict=True
        )
    }
    codes = [zone.code for zone in schema.CLIMATE_ZONES]
    targets = {
        "land_cover": values["fractions"].argmax(axis=1),
        "climate_zone": np.array([codes.index(code) for code in values["zone"].tolist()]),
        "season": values["season"],
    }
    arrays = (values[name] for name in ("bands", "lonlat", "era5", "fractions"))
    return World(ids, places, *arrays, targets)


def read_tree(tree: Path, path: Path) -> None:
    """Reads every patch once and stores means, deviations, places and targets."""
    source = ben_ge.open_source(tree)
    rows: dict[str, list] = {}
    for patch_id in source.patch_ids:
        features = source.read(patch_id).features
        s1 = np.where(np.isfinite(features["s1"]), features["s1"], np.nan)
        images = [*(features[group].astype("float64") for group in schema.S2_GROUPS), s1]
        bands = np.concatenate([np.concatenate([f(x, axis=(0, 1)) for f in (np.nanmean, np.nanstd)]) for x in images])
        row = {"ids": patch_id, "bands": bands, "fractions": features["land_cover_fractions"]}
        row |= {name: features[name] for name in ("lonlat", "era5", "season", "tile", "cell", "date")}
        row["zone"] = int(features["climate_zone"])
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
    np.savez(path, **{name: np.array(values) for name, values in rows.items()})


# ---- Folds -----------------------------------------------------------------------------------------------------------


def folds_of(world: World, seed: int) -> tuple[dict[str, list[tuple[np.ndarray, np.ndarray]]], float, dict]:
    """Kind -> (training, test) places in `ids` of every fold; the buffer in metres; leaks of every kind."""
    source = RecordPatches("simulated", world.ids, world.places, {})
    values = dict(zip(world.ids, world.fractions, strict=True))
    buffer_m = variogram(world.places, values).range_m
    tests = {"random": deal(np.zeros(len(world.ids), int), seed)}
    products = np.unique([product_of(patch_id) for patch_id in world.ids], return_inverse=True)[1]
    tests["official-like"] = deal(products, seed)
    groups = {"date": "date", "tile": "tile", REFERENCE: "tile_date"}
    options = {"blocks": BLOCK_M, "blocks, buffer": max(BLOCK_M, 3 * buffer_m)}
    made = {kind: make_folds(source, FOLDS, "block", seed, block_m=block_m) for kind, block_m in options.items()}
    made |= {kind: make_folds(source, FOLDS, group, seed) for kind, group in groups.items()}
    tests |= {kind: [split.patches["test"] for split in splits] for kind, splits in made.items()}
    number = {patch_id: index for index, patch_id in enumerate(world.ids)}
    folds, leaks = {}, {}
    for kind in KINDS:
        parts = []
        for test in tests[kind]:
            ids = [world.ids[index] for index in test] if kind in ("random", "official-like") else test
            rest = sorted(set(world.ids) - set(ids))
            sides, _ = keep_distance({"train": rest, "test": ids}, world.places, buffer_m if "," in kind else 0)
            counts = leakage(world.places, sides)
            shared = (counts.product, counts.adjacent, counts.within_5_cells)
            leaks.setdefault(kind, []).append((*shared, len(sides["train"])))
            parts.append(tuple(np.array([number[i] for i in sides[side]]) for side in ("train", "test")))
        folds[kind] = parts
    return folds, buffer_m, leaks


def deal(strata: np.ndarray, seed: int) -> list[np.ndarray]:
    """Deals the members of each stratum to the folds at random: places in the array, by fold."""
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(strata)), strata))
    fold_of = np.empty(len(strata), int)
    fold_of[order] = np.arange(len(strata)) % FOLDS
    return [np.flatnonzero(fold_of == fold) for fold in range(FOLDS)]


# ---- Scores ----------------------------------------------------------------------------------------------------------


def predictors(seed: int) -> dict[str, dict]:
    """Target -> name -> (input of `World`, predictor)."""
    forest = {"n_estimators": TREES, "min_samples_leaf": 2, "max_features": "sqrt", "random_state": seed}
    by_class = {
        "random forest on bands": ("bands", RandomForestClassifier(**forest)),
        "nearest neighbours on the map": ("lonlat", KNeighborsClassifier(NEIGHBOURS)),
    }
    by_season = {
        "random forest on bands": ("bands", RandomForestRegressor(**forest)),
        "random forest on ERA-5": ("era5", RandomForestRegressor(**forest)),
    }
    return {**dict.fromkeys(CLASSES, by_class), "season": by_season}


def scores_of(world: World, folds, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """Target -> predictor -> kind of split -> score of all patches, each predicted in the fold that tests it."""
    found: dict = {}
    for target, models in predictors(seed).items():
        truth = world.targets[target]
        for name, (inputs, model) in models.items():
            values = getattr(world, inputs)
            values = unit_vectors(values) if inputs == "lonlat" else values
            for kind, parts in folds.items():
                predicted = np.empty(len(truth))
                for train, test in parts:
                    predicted[test] = model.fit(values[train], truth[train]).predict(values[test])
                score = np.abs(predicted - truth).mean() if target == "season" else (predicted == truth).mean()
                found.setdefault(target, {}).setdefault(name, {})[kind] = float(score)
    return found


def majority(world: World) -> dict[str, float]:
    """Accuracy of the commonest class, mean absolute error of the median."""
    found = {target: float(np.bincount(world.targets[target]).max() / len(world.ids)) for target in CLASSES}
    season = world.targets["season"]
    return {**found, "season": float(np.abs(season - np.median(season)).mean())}


def run(work: Path, seed: int) -> dict:
    """Scores, leaks and the trivial score of one world."""
    path = work / f"scores-{seed}.json"
    if not path.exists():
        world = make_world(work, seed)
        folds, buffer_m, leaks = folds_of(world, seed)
        total = len(world.ids) * np.array([1, 1, 1, FOLDS])  # tested once, trained on in every fold
        shares = {kind: (np.sum(counts, axis=0) / total).tolist() for kind, counts in leaks.items()}
        content = {"seed": seed, "buffer_m": buffer_m, "trivial": majority(world), "leaks": shares}
        content["scores"] = scores_of(world, folds, seed)
        path.write_text(json.dumps(content), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


# ---- Tables ----------------------------------------------------------------------------------------------------------


def print_tables(results: list[dict]) -> None:
    """Leaks, scores, and paired differences with 95 % t intervals over worlds."""
    lengths = ", ".join(f"{result['buffer_m'] / 1000:.1f}" for result in results)
    seeds = [result["seed"] for result in results]
    print(f"Worlds {seeds}; correlation lengths of land-cover fractions: {lengths} km\n")
    print("| folds | same acquisition | same or abutting cell | within 5 cells | trained on |\n|---|---|---|---|---|")
    for kind in KINDS:
        values = np.mean([result["leaks"][kind] for result in results], axis=0)
        print(f"| {kind} | {' | '.join(f'{100 * value:.0f} %' for value in values)} |")
    for target, metric in METRICS.items():
        print(f"\n| {target}, {metric} | {' | '.join(KINDS)} | trivial |\n|{'---|' * (len(KINDS) + 2)}")
        for name in results[0]["scores"][target]:
            means = [np.mean([result["scores"][target][name][kind] for result in results]) for kind in KINDS]
            trivial = np.mean([result["trivial"][target] for result in results])
            print(f"| {name} | {' | '.join(f'{mean:.3f}' for mean in means)} | {trivial:.3f} |")
    print(f"\n| folds minus {REFERENCE} | {' | '.join(KINDS[:-1])} |\n|{'---|' * len(KINDS)}")
    for target, metric in METRICS.items():
        for name in results[0]["scores"][target]:
            cells = []
            for kind in KINDS[:-1]:
                pair = ([result["scores"][target][name][k] for result in results] for k in (kind, REFERENCE))
                found = paired_over_replicates(*pair, metric=metric)
                interval = "" if found.low is None else f" [{found.low:+.3f}, {found.high:+.3f}]"
                cells.append(f"{found.mean:+.3f}{interval}")
            print(f"| {target}, {metric}, {name} | {' | '.join(cells)} |")


def main() -> None:
    """Runs all worlds and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=WORLD_SEEDS, help="of the worlds (default: 11 to 16)")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore", UserWarning)
    results = [run(arguments.work, seed) for seed in arguments.seeds]
    (arguments.work / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print_tables(results)


if __name__ == "__main__":
    main()
