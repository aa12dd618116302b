"""Curves of one training, and what weights are worth that were trained on another continent.

    python lessons/2_supervised_recap/experiment_training.py [WORK]   # goes on where it was killed

Writes backbone.weights.h5, and the tables `curves` and `transfer` of results.json.

Run card of `curves`, an illustration
    shows        losses by epoch without and with augmentation; scores of the latter beside baselines
    data         the notebook's: world 0, 400 patches, tiles held out; middle 60 x 60 pixels
    training     as in the notebook: width-8 U-Net, AdamW at 0.001, batch 16, 30 epochs, one seed

Run card of `transfer`
    question     accuracy of climate zone, and pixel accuracy of the land-cover map, each by a network of its own:
                 weights of f loaded minus weights drawn at random
    primary      that difference for climate zone with 48 labelled patches, paired over worlds; all else is exploratory
    expected     positive with 48 labels, smaller with all
    pretraining  world 200: about 300 patches with climate zone and land-cover map, 32 epochs
    worlds       201 to 205, none seen before; each 350 patches in tiles and dates held out together, about 150 to
                 train on and 160 to test on. The 48 labelled patches are drawn from all training tiles. The worlds
                 share their rules (climate, spectra, seasons): that is what can transfer here
    training     width-8 U-Net (f) and a new head (g) on 36 x 36 crops, flips and turns; AdamW with cosine decay,
                 batch 16, 60 epochs, no early stopping, so that no further labels are spent; rate of each
                 contestant chosen of three by the loss on the test tiles of one world, 100. (Later lessons choose
                 over three worlds: one alone may choose badly for others, and did in lesson 3)
    test         centre 72 x 72 crop of every test patch, opened once
    hardware     two CPU cores, two processes; no GPU

Everything here is simulated: it shows that the method can find an effect, not how large it is in Europe.
"""

import argparse
import math
import os
import shutil
import sys
from functools import partial
from itertools import product
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # lessons/, for laboratory

import keras
import laboratory
import tensorflow as tf

import eokeras as eo
from eokeras import ben_ge, evaluate, models
from eokeras.evaluate.scores import task_score

WORLD_SEEDS, PRETRAINING_SEED, PATCHES = (201, 202, 203, 204, 205), 200, 350
TUNING_SEED = laboratory.TUNING_SEEDS[0]
CONTESTANTS, LABELS, LEARNING_RATES = ("scratch", "loaded"), (48, "all"), (1e-3, 3e-3, 1e-2)
WIDTH, EPOCHS, PRETRAINING_RATE = 8, 60, 3e-3
INPUTS, TASK = ("s2",), "climate_zone"
HEADS = {TASK: partial(models.scene_head, 12), "land_cover_map": partial(models.map_head, 11)}
METRICS = {TASK: "accuracy", "land_cover_map": "pixel_accuracy"}
RECIPES = {task: laboratory.Recipe(tasks=(task,)) for task in HEADS}
OPTIONS = {"calibrate": "tutorial"}  # fixed ranges: weights travel, so the scale of their inputs must not change
WEIGHTS = HERE / "backbone.weights.h5"
NOTEBOOK_SEED, NOTEBOOK_PATCHES, NOTEBOOK_SIZE = 0, 400, 60
NOTEBOOK_RATE, NOTEBOOK_EPOCHS = 1e-3, 30


def build(kind: str) -> keras.Model:
    """f, and g for one task; for the pretraining, g for both."""
    heads = {task: head() for task, head in HEADS.items() if kind in (task, "pretraining")}
    return models.multitask(models.unet((None, None, 12), width=WIDTH, name="s2"), heads)


# ----------------------------------------------------------------------- Curves


def notebook_records(work: Path) -> Path:
    """The records that the notebook makes."""
    records = work / "records" / "notebook"
    if not records.exists():
        tree = work / "trees" / "notebook"
        shutil.rmtree(tree, ignore_errors=True)
        ben_ge.simulate(tree, NOTEBOOK_PATCHES, NOTEBOOK_SEED, processes=1)
        ben_ge.convert(tree, records, group="tile", fractions=(0.55, 0.15, 0.3))
        shutil.rmtree(tree)
    return records


def curve(work: Path, kind: str) -> dict:
    """Trains as the notebook does, "plain" or "augmented"; the latter is scored at its best validation epoch."""

    def cut(inputs, *rest):
        return {"s2": tf.image.resize_with_crop_or_pad(inputs["s2"], NOTEBOOK_SIZE, NOTEBOOK_SIZE)}, *rest

    def compute() -> dict:
        records = notebook_records(work)
        schema = eo.load_schema(records)
        read = partial(eo.make_dataset, records, inputs=INPUTS, targets=(TASK,), **OPTIONS)
        crops = eo.augment.chain(eo.augment.random_crop(NOTEBOOK_SIZE), eo.augment.dihedral())
        augment = crops if kind == "augmented" else None
        keras.utils.set_random_seed(NOTEBOOK_SEED)
        model = build(TASK)
        optimizer = keras.optimizers.AdamW(NOTEBOOK_RATE)
        model.compile(
            optimizer=optimizer, loss=eo.losses.for_tasks((TASK,)), metrics=eo.metrics.for_tasks((TASK,), schema)
        )
        best = keras.callbacks.EarlyStopping(patience=NOTEBOOK_EPOCHS, restore_best_weights=True)
        train = read(split="train", batch_size=16, shuffle=True, seed=0, augment=augment).map(cut)
        val = read(split="val", batch_size=16).map(cut).cache()
        found = model.fit(
            train, validation_data=val, epochs=NOTEBOOK_EPOCHS, callbacks=[best], verbose=0, shuffle=False
        )
        answer = {
            "history": found.history,
            "best_epoch": 1 + found.history["val_loss"].index(min(found.history["val_loss"])),
        }
        if kind == "augmented":
            others = evaluate.baselines(read(split="train"), read(split="test"), schema)
            test = read(split="test", metadata=evaluate.predictions.METADATA).map(cut)
            answer["scores"] = accuracies(evaluate.score(model, test, schema, name="U-Net", baselines=others))
        return answer

    return laboratory.remember(work, f"curve {kind}", compute)


def accuracies(scores: evaluate.Scores) -> dict:
    """Accuracy of the network and its baselines over tiles, and of the network over patches."""
    answer = {"patches": len(scores.patch_ids), "predictors": {}}
    for one in (scores, *scores.baselines):
        found = one.tasks[TASK]
        answer["predictors"][one.name] = found.estimates["accuracy"].to_dict()
    found = scores.tasks[TASK]
    alone = task_score(TASK, "class", found.classes, found.statistics, scores.patch_ids)
    return answer | {"tiles": found.groups, "by_patch": alone.estimates["accuracy"].to_dict()}


# ----------------------------------------------------------------------- Transfer


def records_of(work: Path, seed: int) -> Path:
    patches = laboratory.PATCHES if seed == PRETRAINING_SEED else PATCHES
    return laboratory.make_records(work, "default", seed, ben_ge.World(), patches)


def pretrain(work: Path) -> dict:
    """Trains f on the pretraining world and writes its weights."""

    def compute() -> dict:
        recipe = laboratory.Recipe(tasks=tuple(HEADS))
        records = records_of(work, PRETRAINING_SEED)
        model, card = laboratory.fit(
            build, "pretraining", records, INPUTS, recipe, PRETRAINING_SEED, PRETRAINING_RATE, **OPTIONS
        )
        unfinished = WEIGHTS.with_name(f"unfinished.{os.getpid()}.weights.h5")
        model.get_layer("s2_unet").save_weights(unfinished)
        unfinished.rename(WEIGHTS)
        return card | {"training_patches": eo.load_schema(records).splits["train"]}

    if not WEIGHTS.exists():
        (work / "runs" / "pretraining.json").unlink(missing_ok=True)
    return laboratory.remember(work, "pretraining", compute)


def labelled_batches(records: Path, task: str, labels: int | str, seed: int) -> tuple[tf.data.Dataset, int]:
    """Endless cropped and turned batches, and how many make an epoch.

    Of all training patches, or of the first `labels` (records lie in random order).
    """
    recipe = RECIPES[task]
    crops = eo.augment.chain(eo.augment.random_crop(recipe.training_crop), eo.augment.dihedral())
    read = partial(eo.make_dataset, records, "train", INPUTS, (task,), batch_size=recipe.batch_size, **OPTIONS)
    if labels == "all":
        steps = math.ceil(eo.load_schema(records).splits["train"] / recipe.batch_size)
        return read(augment=crops, seed=seed, shuffle=True, repeat=True, cache="memory"), steps
    steps = labels // recipe.batch_size
    return read(augment=crops, seed=seed).take(steps).repeat(), steps


def fit(records: Path, contestant: str, task: str, labels: int | str, seed: int, learning_rate: float) -> keras.Model:
    """Trains from loaded or random weights for a number of epochs that is fixed beforehand."""
    keras.utils.set_random_seed(seed)
    fresh = build(task)
    if contestant == "loaded":
        fresh.get_layer("s2_unet").load_weights(WEIGHTS)
    model = laboratory.compiled(build, task)
    laboratory.restart(model, fresh)
    cosine = keras.callbacks.LearningRateScheduler(
        lambda epoch: learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / EPOCHS))
    )
    batches, steps = labelled_batches(records, task, labels, seed)
    model.fit(batches, epochs=EPOCHS, steps_per_epoch=steps, callbacks=[cosine], verbose=0, shuffle=False)
    return model


def try_rate(work: Path, contestant: str, task: str, labels: int | str, learning_rate: float) -> float:
    """Loss of a learning rate on the held-out tiles of a world that no result comes from."""

    def compute() -> dict:
        records = records_of(work, TUNING_SEED)
        model = fit(records, contestant, task, labels, TUNING_SEED, learning_rate)
        held_out = laboratory.centre_crops(records, "test", INPUTS, RECIPES[task], **OPTIONS)
        return {"loss": float(model.evaluate(held_out, verbose=0))}

    return laboratory.remember(work, f"tuning {contestant} {task} {labels} {learning_rate}", compute)["loss"]


def run(work: Path, contestant: str, task: str, labels: int | str, seed: int, learning_rate: float) -> dict:
    """Trains and tests one contestant in one world."""

    def compute() -> dict:
        records = records_of(work, seed)
        model = fit(records, contestant, task, labels, seed, learning_rate)
        card = {"learning_rate": learning_rate, "training_patches": eo.load_schema(records).splits["train"]}
        return card | laboratory.test_scores(model, records, INPUTS, RECIPES[task], **OPTIONS)

    return laboratory.remember(work, f"{contestant} {task} {labels} {seed}", compute)


def table(runs: dict[tuple, list[dict]], pretraining: dict) -> dict:
    """task -> labels -> scores of both contestants by world, their means and their paired difference."""
    content: dict = {"worlds": len(WORLD_SEEDS), "statement": evaluate.SIMULATED, "pretraining": pretraining}
    for task, metric in METRICS.items():
        content[task] = {f"labels_{labels}": row(runs, task, labels, metric) for labels in LABELS}
        first = runs["scratch", task, LABELS[0]]
        trivial = [next(iter(found["baselines"].values()))[task][metric] for found in first]
        content[task]["trivial"] = sum(trivial) / len(trivial)
    for key in ("test_patches", "training_patches"):
        content[key] = {"low": min(found[key] for found in first), "high": max(found[key] for found in first)}
    return content


def row(runs: dict[tuple, list[dict]], task: str, labels: int | str, metric: str) -> dict:
    """Scores of both contestants by world, their means and their paired difference."""
    pair = {name: runs[name, task, labels] for name in CONTESTANTS}
    values = {name: [run["scores"][task][metric] for run in found] for name, found in pair.items()}
    difference = evaluate.paired_over_replicates(
        values["loaded"], values["scratch"], first="loaded", second="scratch", metric=metric
    )
    return {name: sum(numbers) / len(numbers) for name, numbers in values.items()} | {
        "by_world": values,
        "difference": difference.to_dict(),
        "learning_rates": {name: found[0]["learning_rate"] for name, found in pair.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, nargs="?", default=HERE / "work" / "experiment", help="records and runs")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    parallel = partial(laboratory.in_parallel, processes=options.processes)
    work = options.work
    parallel(notebook_records, [(work,)])  # before two processes want them
    plain, augmented = parallel(curve, [(work, "plain"), (work, "augmented")])
    content = {"plain": plain, "augmented": augmented, "statement": evaluate.SIMULATED}
    laboratory.write_results(HERE / "results.json", "curves", content)
    seeds = (PRETRAINING_SEED, TUNING_SEED, *WORLD_SEEDS)
    parallel(records_of, [(work, seed) for seed in seeds])
    (pretraining,) = parallel(pretrain, [(work,)])
    trials = list(product(CONTESTANTS, HEADS, LABELS, LEARNING_RATES))
    losses = dict(zip(trials, parallel(try_rate, [(work, *trial) for trial in trials]), strict=True))
    best = {
        case: min(LEARNING_RATES, key=lambda rate, case=case: losses[*case, rate])
        for case in product(CONTESTANTS, HEADS, LABELS)
    }
    cases = [(*case, seed) for case in best for seed in WORLD_SEEDS]
    found = parallel(run, [(work, *case, best[case[:3]]) for case in cases])
    runs: dict[tuple, list[dict]] = {}
    for (*case, _), answer in zip(cases, found, strict=True):
        runs.setdefault(tuple(case), []).append(answer)
    content = table(runs, pretraining)
    laboratory.write_results(HERE / "results.json", "transfer", content)
    for task, labels in product(HEADS, LABELS):
        found = content[task][f"labels_{labels}"]
        pair = (found["by_world"][name] for name in ("loaded", "scratch"))
        print(f"{task}, {labels} labels: scratch {found['scratch']:.3f}, loaded {found['loaded']:.3f};", end=" ")
        print(evaluate.paired_over_replicates(*pair))
    print(evaluate.SIMULATED)


if __name__ == "__main__":
    main()
