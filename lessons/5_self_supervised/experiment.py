"""Label efficiency: how many labels does pretraining without labels save?

    python lessons/5_self_supervised/experiment.py WORK    # resumable; writes `efficiency`, `pools`, `pretraining`

Run card
    question     accuracy of the most frequent land cover of a patch, of networks pretrained without labels minus that
                 of the same network from scratch, with 1, 10 and 100 % of the training labels
    primary      SimCLR, fine-tuned, minus scratch, at 10 % of the labels spread over all groups, paired over worlds;
                 all else is exploratory
    expected     positive for all methods with few labels, and smaller with all of them; none where pretraining saw
                 noise; more for a larger pool
    data         simulated worlds, seeds 41 to 45 (no recipe was developed on them): each 900 patches in tiles and dates
                 held out together, about 270 of them for testing; the replicate is the world. The pool for pretraining
                 are all training patches, without labels; labels of validation are not used. Sentinel-2's 20 m bands
    contestants  contestants.py: ResNet-18 of width 9 or ViT, 0.22 M weights each. Scratch; random weights, frozen;
                 places (20 clusters of the training places), SimCLR, S1-S2 contrast, masked autoencoder; SimCLR on
                 noise
    pretraining  400 steps of 64 patches, AdamW with cosine decay; rate of each method, one of three
    with labels  probe: logistic regression on frozen features; nearest neighbours, 20, with all labels; fine-tuning:
                 200 steps of 32 patches, turned and mirrored, AdamW with cosine decay, of pretrained encoders at rates
                 that grow tenfold from the first to the last layer; rate of each contestant, one of three
    tuning       over worlds 100 and 101, by test accuracy with 10 % of the labels: first the rate of pretraining by the
                 probe, then that of fine-tuning. Labels of those worlds are not in the budgets: hyperparameters are
                 fixed before worlds 41 to 45 are opened. Every contestant has as many trials at every stage that it has
    hardware     two CPU cores, two processes

Everything here is simulated: it shows that the method can find an effect, not how large it is in Europe.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from functools import cache
from itertools import product
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import keras
import laboratory
import numpy as np
import tables
from contestants import ARCHITECTURES, BATCH_SIZE, CLASSES, ENCODERS, METHODS, READ, TARGET, TURN

import eokeras as eo
from eokeras import ben_ge, evaluate, models, pretrain

WORLD_SEEDS, TUNING_SEEDS = (41, 42, 43, 44, 45), (100, 101)
PATCHES, SHARES = 900, (0.66, 0.04, 0.3)
PRETRAINING_RATES, RATES = (1e-3, 3e-3, 1e-2), (1e-3, 3e-3, 1e-2)
PRETRAINING_STEPS, STEPS, STAGES = 400, 200, 10
BUDGETS = (("spread", 0.01), ("spread", 0.1), ("spread", 1.0), ("clustered", 0.1))
"""How labels are drawn, and which share of them."""

TUNED = ("spread", 0.1)
POOLS = (0.1, 0.3)
"""Shares of the pool on which SimCLR is pretrained, beside all of it."""


def records_of(work: Path, seed: int) -> Path:
    return laboratory.make_records(work, "pool", seed, ben_ge.World(), PATCHES, SHARES)


# ----------------------------------------------------------------------- Pretraining


def weights_of(work: Path, method: str, seed: int, rate: float, pool: float) -> Path:
    return work / "encoders" / f"{method} {seed} {rate} {pool}.weights.h5"


def pretrained(work: Path, method: str, seed: int, rate: float, pool: float = 1.0) -> dict:
    """Trains an encoder without labels, keeps its weights, and tells what came of it."""

    def compute() -> dict:
        records = records_of(work, seed)
        keras.utils.set_random_seed(seed)
        options = {"batch_size": BATCH_SIZE, "shuffle": True, "seed": seed, "repeat": True, "cache": "memory"}
        if pool < 1:
            options |= {"label_fraction": pool, "label_seed": seed}
        model, arguments, batches, encoder = METHODS[method].prepare(records, options)
        model.compile(keras.optimizers.AdamW(rate), **arguments)
        callbacks, guard = [falling(rate)], pretrain.CollapseGuard(batches)
        if method != "places":  # a supervised network of free labels cannot collapse
            callbacks.append(guard)
        start = time.perf_counter()
        history = model.fit(
            batches,
            epochs=STAGES,
            steps_per_epoch=PRETRAINING_STEPS // STAGES,
            callbacks=callbacks,
            verbose=0,
        ).history
        seconds = time.perf_counter() - start
        path = weights_of(work, method, seed, rate, pool)
        path.parent.mkdir(parents=True, exist_ok=True)
        encoder.save_weights(path)
        watched = {name: values for name, values in history.items() if name.startswith(("embedding", "matching"))}
        return {"seconds": round(seconds, 1), "loss": history["loss"], "watched": watched, "collapsed": guard.collapsed}

    return laboratory.remember(work, f"pretrained {method} {seed} {rate} {pool}", compute)


def falling(rate: float) -> keras.callbacks.Callback:
    """A cosine decay to 0 in stages."""
    return keras.callbacks.LearningRateScheduler(lambda epoch: rate * 0.5 * (1 + np.cos(np.pi * epoch / STAGES)))


# ----------------------------------------------------------------------- Scores


def encoder_of(work: Path, contestant: str, seed: int, pretraining_rate: float | None, pool: float = 1.0):
    """An encoder with the weights that pretraining left, or fresh ones."""
    keras.utils.set_random_seed(seed)
    encoder = ENCODERS[ARCHITECTURES[contestant]]()
    if pretraining_rate is not None:
        encoder.load_weights(weights_of(work, contestant, seed, pretraining_rate, pool))
    return encoder


@cache
def classifier(architecture: str, is_pretrained: bool, rate: float) -> keras.Model:
    """A compiled network to be started anew: tracing it takes as long as training it."""
    encoder = ENCODERS[architecture]()
    model = models.multitask(encoder, {TARGET: models.scene_head(CLASSES)})
    decay = keras.optimizers.schedules.CosineDecay(rate, STEPS)
    optimizer = (
        models.LayerwiseAdamW(models.layer_rates(encoder), learning_rate=decay)
        if is_pretrained
        else keras.optimizers.AdamW(decay)
    )
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, eo.losses.for_tasks((TARGET,)))
    return model


def fine_tuning(encoder: keras.Model, contestant: str, rate: float) -> evaluate.efficiency.Contestant:
    """Trains a copy of the encoder under a fresh head on the labels that there are."""

    def build() -> keras.Model:
        fresh = models.multitask(encoder, {TARGET: models.scene_head(CLASSES)})
        model = classifier(ARCHITECTURES[contestant], contestant in METHODS, rate)
        laboratory.restart(model, fresh)
        return model

    return evaluate.fine_tuning(build, steps=STEPS, augment=TURN, name=contestant)


def labelled(work: Path, seed: int, draw: str, fraction: float):
    """Training patches with their labels within a budget."""
    budget = {"label_fraction": fraction, "label_draw": draw, "label_seed": seed}
    return eo.make_dataset(records_of(work, seed), "train", ("s2",), (TARGET,), **READ, **budget)


def test_of(work: Path, seed: int):
    return eo.make_dataset(records_of(work, seed), "test", ("s2",), (TARGET,), **READ)


def probed(work: Path, method: str, seed: int, rate: float) -> float:
    """Accuracy by which the rate of pretraining is chosen."""
    pretrained(work, method, seed, rate)

    def compute() -> dict:
        encoder, schema = encoder_of(work, method, seed, rate), eo.load_schema(records_of(work, seed))
        found = evaluate.linear_probe(encoder, labelled(work, seed, *TUNED), test_of(work, seed), schema, resamples=10)
        return {"accuracy": accuracy(found)}

    return laboratory.remember(work, f"probed {method} {seed} {rate}", compute)["accuracy"]


def tuned(work: Path, contestant: str, seed: int, pretraining_rate: float | None, rate: float) -> float:
    """Accuracy by which the rate of fine-tuning is chosen."""

    def compute() -> dict:
        encoder = encoder_of(work, contestant, seed, pretraining_rate)
        train, test = labelled(work, seed, *TUNED), test_of(work, seed)
        schema = eo.load_schema(records_of(work, seed))
        return {"accuracy": accuracy(fine_tuning(encoder, contestant, rate)(train, test, schema, seed=seed))}

    return laboratory.remember(work, f"tuned {contestant} {seed} {rate}", compute)["accuracy"]


def accuracy(scores: evaluate.Scores) -> float:
    return scores.tasks[TARGET].estimates["accuracy"].value


def scored(work: Path, contestant: str, seed: int, pretraining_rate, rate: float, pool: float, budgets) -> dict:
    """What an encoder reaches in one world, frozen and fine-tuned, with every budget."""
    if pretraining_rate is not None:
        pretrained(work, contestant, seed, pretraining_rate, pool)

    def compute() -> dict:
        encoder = encoder_of(work, contestant, seed, pretraining_rate, pool)
        test, schema = test_of(work, seed), eo.load_schema(records_of(work, seed))
        found = {"probe": {}, "fine-tuned": {}}
        for draw, fraction in budgets:
            train = labelled(work, seed, draw, fraction)
            probe = evaluate.linear_probe(encoder, train, test, schema, resamples=10)
            found["probe"][f"{draw} {fraction}"] = accuracy(probe)
            tuned = fine_tuning(encoder, contestant, rate)(train, test, schema, seed=seed)
            found["fine-tuned"][f"{draw} {fraction}"] = accuracy(tuned)
        everything = labelled(work, seed, "spread", 1.0)
        found["neighbours"] = accuracy(evaluate.neighbour_probe(encoder, everything, test, schema, resamples=10))
        found["trivial"] = max(accuracy(each) for each in tuned.baselines if TARGET in each.tasks)
        return found | {"test_patches": schema.splits["test"], "pool": round(pool * schema.splits["train"])}

    return laboratory.remember(work, f"scored {contestant} {seed} {pool}", compute)


# ----------------------------------------------------------------------- The run


def best(values: Mapping, choices, names) -> dict:
    """Name -> the choice of the best mean over the tuning worlds; `values`: (name, choice) -> scores."""
    return {name: max(choices, key=lambda choice: float(np.mean(values[name, choice]))) for name in names}


def in_worlds(function, work: Path, jobs) -> dict:
    """Job -> answers of the tuning worlds; a job is (name, *arguments after the seed)."""
    given = [(work, name, seed, *more) for name, *more in jobs for seed in TUNING_SEEDS]
    answers = np.reshape(laboratory.in_parallel(function, given), (len(jobs), -1))
    return dict(zip(jobs, answers.tolist(), strict=True))


def chosen_rates(work: Path) -> tuple[dict, dict, dict]:
    """(method -> rate of pretraining, contestant -> rate of fine-tuning, what was tried)."""
    first = in_worlds(probed, work, list(product(METHODS, PRETRAINING_RATES)))
    pretraining = best(first, PRETRAINING_RATES, METHODS)
    jobs = [(name, pretraining.get(name), rate) for name, rate in product(ARCHITECTURES, RATES)]
    second = {(name, rate): values for (name, _, rate), values in in_worlds(tuned, work, jobs).items()}
    tried = [{f"{name} {rate}": values for (name, rate), values in found.items()} for found in (first, second)]
    return pretraining, best(second, RATES, ARCHITECTURES), {"pretraining": tried[0], "fine_tuning": tried[1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="directory for records, encoders and finished runs")
    work = parser.parse_args().work
    laboratory.in_parallel(records_of, [(work, seed) for seed in (*TUNING_SEEDS, *WORLD_SEEDS)])
    pretraining, rates, tried = chosen_rates(work)
    jobs = [(name, 1.0, BUDGETS) for name in ARCHITECTURES] + [("SimCLR", pool, (TUNED,)) for pool in POOLS]
    given = [
        (work, name, seed, pretraining.get(name), rates[name], pool, budgets)
        for name, pool, budgets in jobs
        for seed in WORLD_SEEDS
    ]
    answers = np.reshape(laboratory.in_parallel(scored, given), (len(jobs), -1))
    runs = {(name, pool): list(row) for (name, pool, _), row in zip(jobs, answers, strict=True)}
    cards = {name: [pretrained(work, name, seed, rate) for seed in WORLD_SEEDS] for name, rate in pretraining.items()}
    efficiency = tables.efficiency_table(runs, {"spread": (0.01, 0.1, 1.0), "clustered": (0.1,)}) | {
        "worlds": list(WORLD_SEEDS),
        "rates": {"pretraining": pretraining, "fine_tuning": rates},
        "tuning": tried,
        "minutes": laboratory.minutes_of(work),
    }
    content = {
        "efficiency": efficiency,
        "pools": tables.pools_table(runs, (*POOLS, 1.0)),
        "pretraining": tables.pretraining_table(cards, BATCH_SIZE),
    }
    for name, table in content.items():
        laboratory.write_results(HERE / "results.json", name, table)


if __name__ == "__main__":
    main()
