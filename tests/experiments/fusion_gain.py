"""Does a small late-fusion U-Net find what Sentinel-1 was planted to add to the land-cover map?

    python tests/experiments/fusion_gain.py WORK          # resumable; prints the table, writes results.json

Run card
    question     pixel accuracy of late fusion minus that of Sentinel-2 alone, on the land-cover map
    primary      that difference in the default world, paired over worlds; all others are exploratory
    expected     positive at dose 1, smaller at dose 0.5, none at dose 0 (there S1 shows another continent)
    data         simulated worlds, seeds 1 to 5; each 700 patches in tiles and dates held out together, at
                 least 300 of them for testing; the replicate is the world
    contestants  late fusion of two width-8 U-Nets; one width-11 U-Net on S2; one on S1: equal weights to 7 %
    training     32 x 32 crops, flips and turns, AdamW, batch 32, stopped early on validation crops; learning
                 rate of each contestant chosen on the validation patches of world 100, of three
    test         centre 64 x 64 crop of every test patch, opened once per world, dose and contestant
    hardware     two CPU cores, about 50 minutes

Everything here is simulated: it shows that the method can find an effect, not how large it is in Europe.
"""

import argparse
import json
import os
import shutil
import time
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

import eokeras as eo
from eokeras import ben_ge, evaluate, models

TASK = "land_cover_map"
WORLD_SEEDS = (1, 2, 3, 4, 5)
TUNING_SEED = 100
DOSES = (1.0, 0.0, 0.5)
CONTESTANTS = {"s2+s1": ("s2", "s1"), "s2": ("s2",), "s1": ("s1",)}
CHANNELS = {"s2": 12, "s1": 2}
WIDTHS = {"s2+s1": 8, "s2": 11, "s1": 11}
LEARNING_RATES = (1e-3, 3e-3, 1e-2)
PATCHES, FRACTIONS = 700, (0.44, 0.1, 0.46)
TRAINING_CROP, TEST_CROP = 32, 64
EPOCHS, PATIENCE, BATCH = 30, 8, 32


def make_records(work: Path, seed: int, dose: float) -> Path:
    """Records of one world in which Sentinel-1 tells of anything with strength `dose`."""
    records = work / f"records-{seed}-{dose}"
    if not records.exists():
        default = ben_ge.World()
        world = replace(default, **{name: dose for name in default.names() if name.endswith("_from_s1")})
        tree = work / f"world-{seed}"
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

    def apply(inputs, targets):
        row, column = tf.unstack(tf.random.uniform((2,), 0, 120 - size + 1, tf.int32), num=2)
        cropped = {
            name: tf.image.crop_to_bounding_box(image, row, column, size, size) for name, image in inputs.items()
        }
        label = tf.image.crop_to_bounding_box(targets[TASK][..., tf.newaxis], row, column, size, size)
        return cropped | {TASK: label[..., 0]}

    return apply


def training_crops(records: Path, contestant: str, seed: int) -> tf.data.Dataset:
    """Shuffled batches of random crops. Calibrated patches are kept in memory: they are small here."""
    count = eo.load_schema(records).splits["train"]
    patches = eo.make_dataset(records, "train", CONTESTANTS[contestant], (TASK,)).unbatch()
    patches = patches.apply(tf.data.experimental.assert_cardinality(count)).cache()
    batches = patches.shuffle(1000, seed=seed).map(random_crop(TRAINING_CROP), tf.data.AUTOTUNE).batch(BATCH)
    turn = eo.augment.dihedral()
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)
    turned = tf.data.Dataset.zip(batches, seeds).map(turn)
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
    model.optimizer.learning_rate = learning_rate


def fit(records: Path, contestant: str, seed: int, learning_rate: float) -> tuple[keras.Model, dict]:
    """Trains to early stopping on validation crops."""
    model = compiled(contestant)
    restart(model, contestant, seed, learning_rate)
    validation = eo.make_dataset(records, "val", CONTESTANTS[contestant], (TASK,)).map(centre_crop(TEST_CROP)).cache()
    stop = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    start = time.perf_counter()
    history = model.fit(
        training_crops(records, contestant, seed),
        validation_data=validation,
        epochs=EPOCHS,
        callbacks=[stop],
        verbose=0,
        shuffle=False,
    )
    losses = history.history["val_loss"]
    return model, {
        "epochs": len(losses),
        "validation_loss": min(losses),
        "seconds": time.perf_counter() - start,
        "weights": sum(int(tf.size(weight)) for weight in model.trainable_weights),
    }


def tune(work: Path, results: dict) -> dict[str, float]:
    """The learning rate of each contestant, on a world that no result comes from."""
    records = make_records(work, TUNING_SEED, 1.0)
    for contestant in CONTESTANTS:
        for rate in LEARNING_RATES:
            key = f"{contestant} {rate}"
            if key not in results["tuning"]:
                results["tuning"][key] = fit(records, contestant, TUNING_SEED, rate)[1]["validation_loss"]
                save(work, results)
                print("tuning", key, round(results["tuning"][key], 4), flush=True)
    return {
        contestant: min(LEARNING_RATES, key=lambda rate, c=contestant: results["tuning"][f"{c} {rate}"])
        for contestant in CONTESTANTS
    }


def run(work: Path, seed: int, dose: float, contestant: str, learning_rate: float) -> dict:
    """Trains and tests one contestant in one world."""
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


def save(work: Path, results: dict) -> None:
    part = work / "results.json.part"
    part.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    part.rename(work / "results.json")


def report(results: dict) -> str:
    """The table: per dose the mean scores, the paired differences over worlds, the oracle's table."""
    runs = results["runs"]
    lines = []
    for dose in sorted(DOSES, reverse=True):
        of_dose = {name: [runs.get(f"{seed} {dose} {name}") for seed in WORLD_SEEDS] for name in CONTESTANTS}
        of_dose = {name: found for name, found in of_dose.items() if all(found)}
        if not of_dose:
            continue
        lines.append(f"Sentinel-1 linked with strength {dose}: {len(WORLD_SEEDS)} worlds")
        for metric in ("pixel_accuracy", "mean_iou"):
            for name, found in of_dose.items():
                mean = sum(run[metric] for run in found) / len(found)
                oracle = sum(run["world"]["information"][name] for run in found) / len(found)
                ceiling = f"   oracle {oracle:.3f}" if metric == "pixel_accuracy" else ""
                lines.append(f"  {metric:14} {name:6} {mean:.3f}{ceiling}")
            for other in ("s2", "s1"):
                if other in of_dose and "s2+s1" in of_dose:
                    pair = ([run[metric] for run in of_dose[name]] for name in ("s2+s1", other))
                    lines.append(f"  {metric:14} s2+s1 minus {other}: {evaluate.paired_over_replicates(*pair)}")
    return "\n".join([*lines, evaluate.SIMULATED])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="directory for worlds (deleted when used), records and results.json")
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    path = work / "results.json"
    results = json.loads(path.read_text("utf-8")) if path.exists() else {"tuning": {}, "runs": {}}
    rates = tune(work, results)
    for dose in DOSES:
        for seed in WORLD_SEEDS:
            for contestant in CONTESTANTS:
                key = f"{seed} {dose} {contestant}"
                if key in results["runs"] or (dose == 0.5 and contestant == "s1"):
                    continue
                result = results["runs"][key] = run(work, seed, dose, contestant, rates[contestant])
                save(work, results)
                print(key, f"accuracy {result['pixel_accuracy']:.3f}, {result['epochs']} epochs,",
                      f"{result['seconds']:.0f} s", flush=True)  # fmt: skip
    print(report(results))


if __name__ == "__main__":
    main()
