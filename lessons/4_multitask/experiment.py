"""Multitask learning: does one backbone under three heads do better than three networks that take turns?

    python lessons/4_multitask/experiment.py WORK    # resumable; writes the tables of results.json

Run card
    question     scores of one network for climate zone, land-cover map and season, relative to those of its three
                 single-task twins
    primary      Delta_MTL: mean over the three tasks of the relative change (accuracy, mean IoU, MAE; positive is
                 better) of the plain sum against twins of equal total wall time, at 10 % of the labels, paired over
                 worlds. All else is exploratory; the five rules are a family, with Holm's correction
    expected     positive at 10 %, smaller at 100 %, none where twins have three times the time; no rule beats the plain
                 sum; the lottery costs something or nothing
    power        before the run: between two networks of the fusion race of lesson 3 the same mean relative change
                 varied by 0.13 to 0.23 from world to world (standard deviations of four pairs, worlds 11 to 18). So
                 eight worlds show a mean of 0.11 to 0.19 and find a true 0.15 to 0.26 in four of five runs. Effects of
                 a few per cent, as papers report them, are beyond this design
    data         simulated worlds, seeds 21 to 28 (no recipe was developed on them): each 700 patches in tiles and dates
                 held out together, at least 300 of them for testing; the replicate is the world. Sentinel-2 alone. 10 %
                 of the labels are drawn spread over all groups: the optimistic draw
    contestants  contestants.py: U-Net of width 7, 0.2 M weights. Twins have the same width; their training takes
                 together as long as that of the plain sum (equal time), or as many steps each (equal steps: three times
                 the time). Every rule trains as long as the plain sum: its steps are divided by what its step costs,
                 measured at the start. Lottery: a fourth head whose class is computed from the patch's name. Stamp: a
                 thirteenth band of one random number per patch, read from the features by a linear probe
    training     36 x 36 crops, flips and turns, AdamW with cosine decay to 0, batch 16, 640 steps (320 at 10 % of the
                 labels, about 165 epochs), the last is kept. Rate of each contestant, budget and length chosen of
                 three, in world 100, whose validation split is labelled in full: by the mean relative change against
                 the best twins of equal steps, for twins by their own score. In the other worlds nothing is chosen;
                 their validation labels are not used. The stamped networks take the rates of those without
    test         centre 72 x 72 crop of every test patch, opened once
    hardware     two CPU cores, two processes, about an hour; quiet while the times are measured, in its first minutes

Everything here is simulated: it shows that the method can find an effect, not how large it is in Europe.
"""

import argparse
import sys
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import keras
import laboratory
import numpy as np
import tables
import tensorflow as tf
from contestants import (
    DUAL,
    LOTTERY,
    METRICS,
    PLAIN,
    RULES,
    STAMPED,
    STAMPED_TWINS,
    TASKS,
    TWINS,
    adapted,
    build,
    scored_tasks,
    stamp,
    tasks_of,
)  # fmt: skip
from tables import STEPS, TIME

import eokeras as eo
from eokeras import balance, ben_ge, evaluate

WORLD_SEEDS = (21, 22, 23, 24, 25, 26, 27, 28)
STAMP_SEEDS = WORLD_SEEDS[:5]
LEARNING_RATES = (3e-3, 1e-2, 3e-2)
RECIPE = laboratory.Recipe()
LENGTHS = {"100": 640, "10": 320}
"""Labels in per cent -> steps of the plain sum, and of twins of equal steps."""

INPUTS = ("s2",)
TIMED = (PLAIN, *RULES, DUAL, LOTTERY, *TWINS.values())
ENTRIES = [
    *product(("100",), (PLAIN, *RULES, DUAL, LOTTERY), (TIME,)),
    *product(("10",), (PLAIN, "uncertainty", "PCGrad", LOTTERY), (TIME,)),
    *product(("100", "10"), TWINS.values(), (TIME, STEPS)),
]
"""(labels, contestant, length) of all runs but the stamped ones."""


def records_of(work: Path, seed: int) -> Path:
    return laboratory.make_records(work, "default", seed, ben_ge.World())


# ----------------------------------------------------------------------- Equal time


def step_seconds(work: Path, rounds: int = 21) -> dict[str, float]:
    """Seconds of a training step of every contestant: the least disturbed stage of many, measured in turns."""

    def compute() -> dict:
        tf.config.threading.set_intra_op_parallelism_threads(1)  # as the runs have it
        tf.config.threading.set_inter_op_parallelism_threads(1)
        records = records_of(work, laboratory.TUNING_SEED)
        fits = {name: _stage_of(records, name) for name in TIMED}
        found: dict[str, list[float]] = {name: [] for name in TIMED}
        for _ in range(rounds):
            for name, stage in fits.items():
                start = time.perf_counter()
                stage()
                found[name].append((time.perf_counter() - start) / laboratory.STAGE)
        return {name: min(seconds[1:]) for name, seconds in found.items()}  # the first round traces

    return laboratory.remember(work, "step seconds", compute)


def _stage_of(records: Path, contestant: str):
    """A function that trains one stage of a contestant."""
    model = laboratory.compiled(build, contestant)
    more = {"metadata": ("patch_id",)} if contestant == LOTTERY else {}
    recipe = recipe_of(contestant)
    batches = laboratory.training_batches(records, INPUTS, recipe, 0, repeat=True, **more)
    ready = adapted(contestant)(batches) if contestant == LOTTERY else batches
    kept = ready.take(4).cache().repeat()
    return lambda: model.fit(kept, steps_per_epoch=laboratory.STAGE, verbose=0, shuffle=False)


def recipe_of(contestant: str) -> laboratory.Recipe:
    return replace(RECIPE, tasks=scored_tasks(contestant))


def steps_of(seconds: dict[str, float], labels: str, contestant: str, length: str) -> int:
    """Steps of a run: as many as fit into the time of the plain sum, or all."""
    contestant = contestant.removeprefix(STAMPED)
    if length == STEPS or contestant in (PLAIN, LOTTERY):
        return LENGTHS[labels]
    share = 1 / len(TWINS) if contestant in TWINS.values() else 1.0
    return round(LENGTHS[labels] * share * seconds[PLAIN] / seconds[contestant])


# ----------------------------------------------------------------------- Runs


def fit(work: Path, entry: tuple[str, str, str], seed: int, rate: float, callbacks=()) -> tuple[keras.Model, dict]:
    """Trains a contestant on a budget of labels in one world."""
    labels, contestant, length = entry
    more = {"label_fraction": 0.1, "label_draw": "spread", "label_seed": seed} if labels == "10" else {}
    more |= {"metadata": ("patch_id",)} if contestant == LOTTERY else {}
    steps = steps_of(step_seconds(work), labels, contestant, length)
    model, card = laboratory.fit(
        build, contestant, records_of(work, seed), INPUTS, recipe_of(contestant), seed, rate,
        steps=steps, adapt=adapted(contestant), callbacks=callbacks, **more,
    )  # fmt: skip
    return model, card | {"steps": steps}


def try_rate(work: Path, entry: tuple[str, str, str], rate: float) -> dict:
    """Validation scores of one learning rate, in a world that no result comes from."""

    def compute() -> dict:
        model, card = fit(work, entry, laboratory.TUNING_SEED, rate)
        records = records_of(work, laboratory.TUNING_SEED)
        return card | {"validation": laboratory.validation_scores(model, records, INPUTS, recipe_of(entry[1]))}

    return laboratory.remember(work, f"tuning {' '.join(entry)} {rate}", compute)


def run(work: Path, entry: tuple[str, str, str], seed: int, rate: float) -> dict:
    """Trains one contestant in one world, and tests it."""

    def compute() -> dict:
        records, watched = records_of(work, seed), entry == ("100", PLAIN, TIME)
        batch = gradient_batch(records) if watched else None
        model, card = fit(work, entry, seed, rate, [balance.GradientCosine(batch)] if watched else [])
        card |= {"halves": halves(model, batch)} if watched else {}
        card |= {"lottery_loss": lottery_loss(model, records, entry, seed)} if entry[1] == LOTTERY else {}
        return card | laboratory.test_scores(model, records, INPUTS, recipe_of(entry[1]))

    return laboratory.remember(work, f"{seed} {' '.join(entry)}", compute)


def gradient_batch(records: Path) -> tuple[dict, dict]:
    """32 training patches on which gradients are compared, always the same."""
    crops = laboratory.centre_crops(records, "train", INPUTS, replace(RECIPE, test_crop=36), batch_size=32)
    return next(iter(crops))


def halves(model: keras.Model, batch: tuple[dict, dict]) -> list[list[float]]:
    """Cosine (T, T) of the gradient of a task on every second patch with that of a task on the others."""
    losses, arrows = eo.losses.for_tasks(TASKS), []
    weights = model.get_layer("s2_unet").trainable_weights
    for first in (0, 1):
        inputs, targets = ({name: values[first::2] for name, values in part.items()} for part in batch)
        with tf.GradientTape(persistent=True) as tape:
            outputs = model(inputs, training=False)
            found = [losses[task](targets[task], outputs[task]) for task in TASKS]
        arrows.append([np.concatenate([g.numpy().ravel() for g in tape.gradient(loss, weights)]) for loss in found])
    units = [[arrow / np.linalg.norm(arrow) for arrow in half] for half in arrows]
    return [[float(a @ b) for b in units[1]] for a in units[0]]


def lottery_loss(model: keras.Model, records: Path, entry, seed: int) -> float:
    """Cross-entropy of the lottery on its training patches: ln 11 = 2.40 where nothing was learned by heart."""
    more = {"label_fraction": 0.1, "label_draw": "spread", "label_seed": seed} if entry[0] == "10" else {}
    crops = laboratory.centre_crops(
        records, "train", INPUTS, replace(RECIPE, test_crop=36), metadata=("patch_id",), **more
    )
    return float(model.evaluate(adapted(LOTTERY)(crops), verbose=0, return_dict=True)["land_cover_loss"])


def run_stamped(work: Path, contestant: str, seed: int, rate: float) -> dict:
    """Trains a stamped contestant, and reads the stamp from its features before and after."""

    def compute() -> dict:
        records = records_of(work, seed)
        keras.utils.set_random_seed(seed)
        untrained = readable(build(contestant), records, seed)
        model, card = fit(work, ("100", contestant, TIME), seed, rate)
        return card | {"untrained": untrained, "readable": readable(model, records, seed)}

    return laboratory.remember(work, f"{seed} {contestant}", compute)


def readable(model: keras.Model, records: Path, seed: int) -> float:
    """Squared correlation of the stamp with a linear reading of the averaged features, fitted on every second patch."""
    tf.random.set_seed(seed)
    backbone, features, stamps = model.get_layer("s2_unet"), [], []
    for inputs, _ in laboratory.centre_crops(records, "test", INPUTS, RECIPE).map(stamp):
        features.append(backbone(inputs)["stride_1"].numpy().mean(axis=(1, 2)))
        stamps.append(inputs["s2"][:, 0, 0, -1].numpy())
    h, number = np.concatenate(features), np.concatenate(stamps)
    h = np.concatenate([h, np.ones((len(h), 1))], axis=1)
    weights, *_ = np.linalg.lstsq(h[::2], number[::2], rcond=None)
    reading = h[1::2] @ weights
    # Not 1 - error / variance: one patch of extreme features, as under cloud, would decide it.
    return float(np.corrcoef(reading, number[1::2])[0, 1] ** 2) if np.std(reading) > 0 else 0.0


def cost_of(work: Path, contestant: str) -> dict:
    """What a contestant costs for whole patches, measured while nothing else of this experiment runs."""

    def compute() -> dict:
        model = laboratory.compiled(build, contestant)
        return evaluate.cost(model, RECIPE.batch_size, measure=True).to_dict()

    return laboratory.remember(work, f"cost {contestant}", compute)


# ----------------------------------------------------------------------- Tuning and results


def choose_rates(found: dict[tuple, dict]) -> dict[tuple[str, str, str], float]:
    """The rate of each entry: best mean relative change on validation against the best twins of equal steps."""

    def score(entry, rate, task) -> float:
        return found[entry, rate]["validation"][task][METRICS[task]]

    def best_twin(labels: str, task: str) -> float:
        values = [score((labels, TWINS[task], STEPS), rate, task) for rate in LEARNING_RATES]
        return min(values) if METRICS[task] == "mae" else max(values)

    def merit(entry, rate) -> float:
        changes = [
            evaluate.relative_change(METRICS[task], score(entry, rate, task), best_twin(entry[0], task))
            for task in scored_tasks(entry[1])
        ]
        return float(np.mean(changes))

    return {entry: max(LEARNING_RATES, key=lambda rate: merit(entry, rate)) for entry, _ in found}


def cost_table(work: Path, seconds: dict[str, float], costs: dict[str, dict]) -> dict:
    """Steps and seconds of every contestant, and what serving all tasks costs with one network and with three."""
    contestants = {
        name: {
            "step_seconds": seconds[name],
            "step_ratio": seconds[name] / seconds[PLAIN],
            "steps": {labels: steps_of(seconds, labels, name, TIME) for labels in LENGTHS},
        }
        for name in TIMED
    }
    shared, *twins = [evaluate.Cost(**_fields(costs[name])) for name in (PLAIN, *TWINS.values())]
    return {"contestants": contestants, "serving": evaluate.sharing_costs(shared, twins).to_dict()["ratios"]}


def _fields(cost: dict) -> dict:
    return {name: value for name, value in cost.items() if name != "memory_bytes"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="directory for records and finished runs")
    work = parser.parse_args().work
    start = time.perf_counter()
    laboratory.in_parallel(records_of, [(work, seed) for seed in (laboratory.TUNING_SEED, *WORLD_SEEDS)])
    (seconds,) = laboratory.in_parallel(step_seconds, [(work,)], processes=1)
    costs = laboratory.in_parallel(cost_of, [(work, name) for name in (PLAIN, *TWINS.values())], processes=1)
    # By contestant, so that each process traces few models.
    trials = sorted(product(ENTRIES, LEARNING_RATES), key=lambda trial: (trial[0][1], trial[0], trial[1]))
    found = laboratory.in_parallel(try_rate, [(work, *trial) for trial in trials])
    rates = choose_rates(dict(zip(trials, found, strict=True)))
    jobs = sorted(product(ENTRIES, WORLD_SEEDS), key=lambda job: (job[0][1], job[0], job[1]))
    answers = laboratory.in_parallel(run, [(work, entry, seed, rates[entry]) for entry, seed in jobs])
    runs: dict[tuple[str, str, str], list[dict]] = {}
    for (entry, _), answer in zip(jobs, answers, strict=True):
        runs.setdefault(entry, []).append(answer)
    stamped = [STAMPED + PLAIN, *STAMPED_TWINS.values()]
    stamp_jobs = list(product(stamped, STAMP_SEEDS))
    given = [(work, name, seed, rates["100", name.removeprefix(STAMPED), TIME]) for name, seed in stamp_jobs]
    marks = laboratory.in_parallel(run_stamped, given)
    by_name = {
        name: [mark for (other, _), mark in zip(stamp_jobs, marks, strict=True) if other == name] for name in stamped
    }

    content = {
        "sharing": tables.sharing_table(runs)
        | {
            "worlds": list(WORLD_SEEDS),
            "test_patches": [answer["test_patches"] for answer in runs["100", PLAIN, TIME]],
            "learning_rates": {" ".join(entry): rate for entry, rate in rates.items()},
        },
        "rules": tables.rules_table(runs),
        "costs": cost_table(work, seconds, dict(zip((PLAIN, *TWINS.values()), costs, strict=True))),
        "dual": tables.trimmed(
            tables.between(
                runs["100", PLAIN, TIME], runs["100", DUAL, TIME], tasks_of(DUAL), ("three tasks", "two tasks")
            )
        ),
        "lottery": tables.lottery_table(runs),
        "stamp": tables.stamp_table(by_name[stamped[0]], [by_name[name] for name in stamped[1:]]),
        "conflict": tables.conflict_table(runs["100", PLAIN, TIME]),
    }
    content["sharing"]["minutes"] = round((time.perf_counter() - start) / 60, 1)
    for name, table in content.items():
        laboratory.write_results(HERE / "results.json", name, table)


if __name__ == "__main__":
    main()
