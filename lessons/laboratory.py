"""What the lessons' long runs share: worlds as replicates, one recipe for all contestants, runs that outlive a kill.

A run trains one contestant in one simulated world and scores it once. Its answer lies in a file
of its own, so that an experiment goes on where it was killed. Contestants are compared over worlds
(`eokeras.evaluate.paired_over_replicates`); learning rates are chosen in worlds that no result comes from.
"""

import json
import math
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise, product
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import eokeras as eo
from eokeras import ben_ge, evaluate, models

PATCHES, FRACTIONS = 700, (0.44, 0.1, 0.46)
"""Patches of a world, and the shares of its train, val and test split: at least 300 patches to test on."""

TUNING_SEEDS = (100, 101, 102)
"""Worlds that no result comes from: learning rates are chosen on their test tiles, about 26 each. A validation split
has five or six, and one world alone chose rates that served badly in others."""

HEADS = {
    "climate_zone": partial(models.scene_head, 12),
    "land_cover_map": partial(models.map_head, 11),
    "season": models.regression_head,
}
"""Task -> what makes its head: those of the tutorial, in every contestant that answers the task."""

_PAUSE = 1200  # seconds without an answer: nothing ran

STAGE = 10
"""Steps after which the rate falls, where a run is as long as a number of steps says and not of epochs."""


@dataclass(frozen=True)
class Recipe:
    """How every contestant of an experiment is trained and tested; sizes in pixels of 10 m."""

    tasks: tuple[str, ...] = tuple(HEADS)
    training_crop: int = 36
    test_crop: int = 72
    epochs: int = 32
    batch_size: int = 16


# ----------------------------------------------------------------------- Worlds


def make_records(
    work: Path, name: str, seed: int, world: ben_ge.World, patches: int = PATCHES, fractions=FRACTIONS
) -> Path:
    """Records of one simulated world, made once; the tree is deleted when they are."""
    records = work / "records" / f"{name}-{seed}"
    if not records.exists():
        tree = work / "trees" / f"{name}-{seed}"
        shutil.rmtree(tree, ignore_errors=True)
        ben_ge.simulate(tree, patches, seed, world, processes=1)
        ben_ge.convert(tree, records, fractions=fractions, seed=seed)
        shutil.rmtree(tree)
    return records


# ----------------------------------------------------------------------- Data


def training_batches(records: Path, inputs: Sequence[str], recipe: Recipe, seed: int, **options) -> tf.data.Dataset:
    """Shuffled batches of random crops, flipped and turned; stored numbers are kept in memory."""
    crops = eo.augment.chain(eo.augment.random_crop(recipe.training_crop), eo.augment.dihedral())
    return eo.make_dataset(
        records, "train", inputs, recipe.tasks, batch_size=recipe.batch_size, shuffle=True, seed=seed,
        augment=crops, cache="memory", **options,
    )  # fmt: skip


def centre_crops(records: Path, split: str, inputs: Sequence[str], recipe: Recipe, **options) -> tf.data.Dataset:
    """The middle of every patch, inputs and maps alike."""
    first = (120 - recipe.test_crop) // 2
    inner = slice(first, first + recipe.test_crop)

    def crop(*parts):
        return tuple(
            {name: value[:, inner, inner] if value.shape.rank >= 3 else value for name, value in part.items()}
            for part in parts
        )

    return eo.make_dataset(records, split, inputs, recipe.tasks, **options).map(crop)


# ----------------------------------------------------------------------- Training


@cache
def compiled(build: Callable[[str], keras.Model], contestant: str) -> keras.Model:
    """One compiled model per contestant and process: tracing it costs as much as training it."""
    model = build(contestant)
    model.compile(optimizer=keras.optimizers.AdamW(), loss=eo.losses.for_tasks(tuple(model.output)))
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return model


def restart(model: keras.Model, fresh: keras.Model) -> None:
    """Gives `model` the weights of `fresh`, and an optimizer and a rule of loss weights that have seen nothing."""
    model.set_weights(fresh.get_weights())
    _forget(model.optimizer)
    if hasattr(model, "rule"):
        if hasattr(model.rule, "optimizer"):
            _forget(model.rule.optimizer, keep=model.rule.optimizer.learning_rate)
        if hasattr(model.rule, "seed_generator"):
            model.rule.seed_generator.state.assign(fresh.rule.seed_generator.state)


def _forget(optimizer: keras.optimizers.Optimizer, keep=None) -> None:
    for variable in optimizer.variables:
        if variable is not keep:
            variable.assign(tf.zeros_like(variable))


def fit(
    build: Callable[[str], keras.Model],
    contestant: str,
    records: Path,
    inputs: Sequence[str],
    recipe: Recipe,
    seed: int,
    learning_rate: float,
    *,
    steps: int | None = None,
    adapt: Callable | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **options,
) -> tuple[keras.Model, dict]:
    """Trains with a cosine decay to 0, for as many epochs as the recipe says.

    No epoch is chosen on validation: with several tasks that choice would be the noisiest task's.

    Args:
        steps: instead of epochs, for budgets of labels or time: batches of patches that repeat, in stages of `STAGE`.
        adapt: function dataset -> dataset, between augmentation and `fit`.
        callbacks: of `fit`.
        options: of `make_dataset`.
    """
    model = compiled(build, contestant)
    keras.utils.set_random_seed(seed)
    restart(model, build(contestant))
    batches = training_batches(records, inputs, recipe, seed, repeat=steps is not None, **options)
    epochs, stage = (recipe.epochs, len(batches)) if steps is None else (max(1, round(steps / STAGE)), STAGE)
    if steps is None:
        batches = batches.repeat()  # one iterator for all epochs: to close one takes up to two seconds
    cosine = keras.callbacks.LearningRateScheduler(
        lambda epoch: learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    )
    start = time.perf_counter()
    history = model.fit(
        adapt(batches) if adapt else batches,
        epochs=epochs,
        steps_per_epoch=stage,
        callbacks=[cosine, *callbacks],
        verbose=0,
        shuffle=False,
    )
    return model, {
        "training_loss": history.history["loss"][-1],
        "history": {name: values for name, values in history.history.items() if name.startswith(("cosine", "weight"))},
        "seconds": round(time.perf_counter() - start, 1),
        "learning_rate": learning_rate,
        "weights": sum(math.prod(weight.shape) for weight in model.trainable_weights),
    }


def test_scores(model: keras.Model, records: Path, inputs: Sequence[str], recipe: Recipe, **options) -> dict:
    """Scores on the test split, and what is needed to judge them."""
    schema = eo.load_schema(records)
    test = centre_crops(records, "test", inputs, recipe, metadata=evaluate.predictions.METADATA, **options)
    scores = evaluate.score(model, test, schema)
    return {
        "scores": estimates(scores),
        "baselines": {other.name: estimates(other) for other in scores.baselines},
        "test_patches": schema.splits["test"],
        "world": schema.world["fingerprint"],
        "information": schema.world["information"],
    }


def estimates(scores: evaluate.Scores) -> dict[str, dict[str, float]]:
    """Task -> metric -> value."""
    return {
        task: {name: estimate.value for name, estimate in score.estimates.items()}
        for task, score in scores.tasks.items()
    }


# ----------------------------------------------------------------------- Running


def remember(work: Path, name: str, compute: Callable[[], dict]) -> dict:
    """What `compute` gives, from its file where it was computed before."""
    path = work / "runs" / f"{name}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(compute(), indent=1) + "\n", encoding="utf-8")
        unfinished.rename(path)
        print(name, flush=True)
    return json.loads(path.read_text("utf-8"))


def minutes_of(work: Path) -> float:
    """What the runs of an experiment took by the clock: from answer to answer, but for pauses of a third of an hour."""
    times = sorted(path.stat().st_mtime for path in (work / "runs").glob("*.json"))
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return round(sum(gap for gap in gaps if gap < _PAUSE) / 60, 1)


def in_parallel(function: Callable, arguments: Iterable[tuple], processes: int = 2) -> list:
    """`function(*each)` for each of `arguments`, in order; several processes use one thread each."""
    # Two processes of two threads each wait for one another: measured a quarter slower on two cores.
    first = _use_one_thread if processes > 1 else None
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=first) as pool:
        return [future.result() for future in [pool.submit(function, *each) for each in arguments]]


def _use_one_thread() -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def cost_of(work: Path, build: Callable[[str], keras.Model], contestant: str, batch_size: int) -> dict:
    """What a contestant costs for whole patches; to be measured while nothing else runs."""

    def compute() -> dict:
        return evaluate.cost(compiled(build, contestant), batch_size, measure=True).to_dict()

    return remember(work, f"cost {contestant}", compute)


def choose_rates(
    run: Callable[..., dict],
    arguments: Callable[[Hashable, int, float], tuple],
    contestants: Sequence[Hashable],
    rates: Sequence[float],
    score: Callable[[dict], float],
) -> tuple[dict, dict]:
    """The rate of each contestant: the best mean score over the tuning worlds.

    Args:
        run: trains and tests a contestant.
        arguments: contestant, world seed and rate -> the arguments of `run`.
        contestants: names, or whatever tells one from another.
        rates: learning rates to choose from.
        score: answer of `run` -> number, of which more is better.

    Returns:
        (contestant -> rate, contestant -> mean score of every rate).
    """
    trials = list(product(contestants, rates, TUNING_SEEDS))
    answers = in_parallel(run, [arguments(name, seed, rate) for name, rate, seed in trials])
    means = np.reshape([score(answer) for answer in answers], (len(contestants), len(rates), -1)).mean(axis=-1)
    table = {name: row.tolist() for name, row in zip(contestants, means, strict=True)}
    return {name: rates[int(np.argmax(row))] for name, row in table.items()}, table


def write_results(path: Path, table: str, content: dict) -> None:
    """Puts `content` under the name of its table into a lesson's results, leaving the other tables alone."""
    results = json.loads(path.read_text("utf-8")) if path.exists() else {}
    unfinished = path.with_name(f".{path.name}.incomplete")
    unfinished.write_text(json.dumps(results | {table: content}, indent=1) + "\n", encoding="utf-8")
    unfinished.rename(path)
