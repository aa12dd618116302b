"""Does a small late-fusion U-Net find what Sentinel-1 was planted to add to the land-cover map?

    python tests/experiments/fusion_gain.py WORK    # prints the table, writes WORK/results.json

A run keeps about one core busy, so two processes share the work. What is finished lies in WORK: killed, the
same command goes on.

Run card
    question     pixel accuracy of late fusion minus that of Sentinel-2 alone, on the land-cover map
    primary      that difference in the default world, paired over worlds; all others are exploratory
    expected     positive at dose 1, none at dose 0 (there Sentinel-1 shows another continent)
    data         simulated worlds, seeds 6 to 10; each 700 patches in tiles and dates held out together, at
                 least 300 of them for testing; the replicate is the world. The recipe was developed on worlds
                 1 to 5 and 100 and fixed before any of these was made
    contestants  late fusion of two width-8 U-Nets; one width-11 U-Net on S2; one on S1: equal weights to 7 %
    training     32 x 32 crops, flips and turns, AdamW with cosine decay, batch 16, 32 epochs of which the best on
                 validation crops is kept; rate of each contestant chosen on validation in world 100, of four
    test         centre 64 x 64 crop of every test patch, opened once
    hardware     two CPU cores, two processes; 54 minutes on a machine that did other work beside it

Everything here is simulated: it shows that the method can find an effect, not how large it is in Europe.
"""

import argparse
import json
import math
import multiprocessing
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from itertools import product
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

import eokeras as eo
from eokeras import ben_ge, evaluate, models

TASK = "land_cover_map"
WORLD_SEEDS = (6, 7, 8, 9, 10)
TUNING_SEED = 100
CONTESTANTS = {"s2+s1": ("s2", "s1"), "s2": ("s2",), "s1": ("s1",)}
DOSES = (1.0, 0.0)  # how strongly Sentinel-1 is linked to the rest; 0 is the null world
CHANNELS = {"s2": 12, "s1": 2}
WIDTHS = {"s2+s1": 8, "s2": 11, "s1": 11}
LEARNING_RATES = (1e-3, 3e-3, 1e-2, 3e-2)
PATCHES, FRACTIONS = 700, (0.44, 0.1, 0.46)
TRAINING_CROP, TEST_CROP = 32, 64
EPOCHS, BATCH = 32, 16


def make_records(work: Path, seed: int, dose: float) -> Path:
    """Records of one world in which Sentinel-1 tells of anything with strength `dose`."""
    records = work / f"records-{seed}-{dose}"
    if not records.exists():
        default = ben_ge.World()
        world = replace(default, **{name: dose for name in default.names() if name.endswith("_from_s1")})
        tree = work / f"world-{seed}-{dose}"
        shutil.rmtree(tree, ignore_errors=True)
        ben_ge.simulate(tree, PATCHES, seed, world)
        ben_ge.convert(tree, records, fractions=FRACTIONS, seed=seed)
        shutil.rmtree(tree)
    return records


def centre_crop(size: int):
    """Keeps the middle `size` x `size` pixels of inputs and map."""

    def apply(inputs, targets, *metadata):
        first = (120 - size) // 2
        inner = slice(first, first + size)
        inputs = {name: image[:, inner, inner] for name, image in inputs.items()}
        return inputs, {TASK: targets[TASK][:, inner, inner]}, *metadata

    return apply


def random_crop(size: int):
    """One random window of one patch, the same for inputs and map."""

    def apply(patch, seed):
        inputs, targets = patch
        corner = tf.random.stateless_uniform((2,), seed, 0, 120 - size + 1, tf.int32)
        window = (*tf.unstack(corner, num=2), size, size)
        cropped = {name: tf.image.crop_to_bounding_box(image, *window) for name, image in inputs.items()}
        label = tf.image.crop_to_bounding_box(targets[TASK][..., tf.newaxis], *window)
        return cropped | {TASK: label[..., 0]}

    return apply


def training_crops(records: Path, contestant: str, seed: int) -> tf.data.Dataset:
    """Shuffled batches of random crops. Calibrated patches are kept in memory: they are small here."""

    def zip_seeds(data, number):
        seeds = tf.data.Dataset.random(seed=10 * seed + number, rerandomize_each_iteration=True).batch(2)
        return tf.data.Dataset.zip(data, seeds)

    count = eo.load_schema(records).splits["train"]
    patches = eo.make_dataset(records, "train", CONTESTANTS[contestant], (TASK,)).unbatch()
    patches = patches.apply(tf.data.experimental.assert_cardinality(count)).cache().shuffle(count, seed=seed)
    batches = zip_seeds(patches, 1).map(random_crop(TRAINING_CROP), tf.data.AUTOTUNE).batch(BATCH)
    turned = zip_seeds(batches, 2).map(eo.augment.dihedral())
    return turned.map(lambda batch: (batch, {TASK: batch.pop(TASK)})).prefetch(2)


def build(contestant: str) -> keras.Model:
    """Late fusion, or one U-Net for a single sensor, with a map head."""
    unet = partial(models.unet, width=WIDTHS[contestant])
    encoders = {name: unet((None, None, CHANNELS[name]), name=name) for name in CONTESTANTS[contestant]}
    backbone = models.late_fusion(encoders) if len(encoders) > 1 else next(iter(encoders.values()))
    return models.multitask(backbone, {TASK: models.map_head(11)})


@cache
def compiled(contestant: str) -> keras.Model:
    """One compiled model per contestant for the whole experiment: tracing it costs as much as training it."""
    model = build(contestant)
    model.compile(optimizer=keras.optimizers.AdamW(), loss=eo.losses.for_tasks((TASK,)))
    model.optimizer.build(model.trainable_variables)
    return model


def restart(model: keras.Model, contestant: str, seed: int, learning_rate: float) -> None:
    """Gives the model fresh weights and an optimizer that has seen nothing."""
    keras.utils.set_random_seed(seed)
    model.set_weights(build(contestant).get_weights())
    for variable in model.optimizer.variables:
        variable.assign(tf.zeros_like(variable))
    model.optimizer.learning_rate = learning_rate  # where the cosine starts


def fit(records: Path, contestant: str, seed: int, learning_rate: float) -> tuple[keras.Model, dict]:
    """Trains, and keeps the weights of the epoch with the lowest validation loss."""
    model = compiled(contestant)
    restart(model, contestant, seed, learning_rate)
    validation = eo.make_dataset(records, "val", CONTESTANTS[contestant], (TASK,)).map(centre_crop(TEST_CROP)).cache()
    keep_best = keras.callbacks.EarlyStopping(patience=EPOCHS, restore_best_weights=True)
    cosine = keras.callbacks.LearningRateScheduler(
        lambda epoch: learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / EPOCHS))
    )
    start = time.perf_counter()
    history = model.fit(
        training_crops(records, contestant, seed),
        validation_data=validation,
        epochs=EPOCHS,
        callbacks=[cosine, keep_best],
        verbose=0,
        shuffle=False,
    )
    losses = history.history["val_loss"]
    return model, {
        "best_epoch": 1 + losses.index(min(losses)),
        "validation_loss": min(losses),
        "seconds": time.perf_counter() - start,
        "weights": sum(int(tf.size(weight)) for weight in model.trainable_weights),
    }


def remember(work: Path, name: str, compute) -> dict:
    """What `compute` gives, from its file where it was computed before; so a killed experiment goes on."""
    path = work / "runs" / f"{name}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(compute(), indent=1) + "\n", encoding="utf-8")
        part.rename(path)
        print(name, flush=True)
    return json.loads(path.read_text("utf-8"))


def try_rate(work: Path, contestant: str, rate: float) -> float:
    """Validation loss of one learning rate, in a world that no result comes from."""
    records = make_records(work, TUNING_SEED, 1.0)
    compute = partial(lambda *of: fit(records, *of)[1], contestant, TUNING_SEED, rate)
    return remember(work, f"tuning {contestant} {rate}", compute)["validation_loss"]


def run(work: Path, contestant: str, seed: int, dose: float, learning_rate: float) -> dict:
    """Trains and tests one contestant in one world."""
    compute = partial(train_and_test, work, contestant, seed, dose, learning_rate)
    return remember(work, f"{seed} {dose} {contestant}", compute)


def train_and_test(work: Path, contestant: str, seed: int, dose: float, learning_rate: float) -> dict:
    """What `run` remembers: the scores, and all that is needed to judge them."""
    records = make_records(work, seed, dose)
    schema = eo.load_schema(records)
    model, card = fit(records, contestant, seed, learning_rate)
    test = eo.make_dataset(
        records, "test", CONTESTANTS[contestant], (TASK,), metadata=evaluate.predictions.METADATA
    ).map(centre_crop(TEST_CROP))
    scores = evaluate.score(model, test, schema)
    estimates = {name: estimate.value for name, estimate in scores.tasks[TASK].estimates.items()}
    world = {"fingerprint": schema.world["fingerprint"], "information": schema.world["information"][TASK]}
    return card | estimates | {"test_patches": schema.splits["test"], "learning_rate": learning_rate, "world": world}


def report(runs_by_name: dict[str, dict]) -> str:
    """Per dose: mean scores beside the oracle's, then the paired differences over worlds."""
    lines = []
    for dose in DOSES:
        runs = {name: [runs_by_name[f"{seed} {dose} {name}"] for seed in WORLD_SEEDS] for name in CONTESTANTS}
        patches = [run["test_patches"] for run in runs["s2"]]
        lines.append(
            f"Sentinel-1 linked with strength {dose}: {len(patches)} worlds, "
            f"{min(patches)} to {max(patches)} test patches each"
        )
        lines.append(
            f"{'':8}{'accuracy':>10}{'oracle':>10}{'mean IoU':>10}{'weights':>10}{'best epoch':>12}{'seconds':>9}"
        )
        for name, found in runs.items():
            values = [[run[key] for run in found] for key in ("pixel_accuracy", "mean_iou", "best_epoch", "seconds")]
            accuracy, iou, epoch, seconds = (sum(column) / len(column) for column in values)
            oracle = sum(run["world"]["information"][name] for run in found) / len(found)
            lines.append(
                f"{name:8}{accuracy:10.3f}{oracle:10.3f}{iou:10.3f}{found[0]['weights']:10,}{epoch:12.0f}{seconds:9.0f}"
            )
        for metric in ("pixel_accuracy", "mean_iou"):
            for other in ("s2", "s1"):
                pair = ([run[metric] for run in runs[name]] for name in ("s2+s1", other))
                kind = "primary" if (dose, metric, other) == (1.0, "pixel_accuracy", "s2") else "exploratory"
                lines.append(f"  {metric}, s2+s1 minus {other} ({kind}): {evaluate.paired_over_replicates(*pair)}")
    for metric in ("pixel_accuracy", "mean_iou"):
        pair = ([runs_by_name[f"{seed} {dose} s2+s1"][metric] for seed in WORLD_SEEDS] for dose in DOSES)
        change = evaluate.paired_over_replicates(*pair)
        lines.append(f"{metric}, s2+s1 where Sentinel-1 is linked minus where it is not (exploratory): {change}")
    return "\n".join([*lines, evaluate.SIMULATED])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="directory for worlds (deleted when used), records and results")
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        worlds = [(work, TUNING_SEED, 1.0), *((work, *of) for of in product(WORLD_SEEDS, DOSES))]
        list(pool.map(make_records, *zip(*worlds, strict=True)))
        trials = list(product(CONTESTANTS, LEARNING_RATES))
        found = pool.map(try_rate, *zip(*((work, *trial) for trial in trials), strict=True))
        losses = dict(zip(trials, found, strict=True))
        rates = {name: min(LEARNING_RATES, key=lambda rate: losses[name, rate]) for name in CONTESTANTS}
        runs = [(work, *of, rates[of[0]]) for of in product(CONTESTANTS, WORLD_SEEDS, DOSES)]
        list(pool.map(run, *zip(*runs, strict=True)))
    results = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((work / "runs").glob("*.json"))}
    (work / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(report(results))
    print(f"learning rates {rates}; {(time.perf_counter() - start) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
