"""Multitask learning: does one backbone under three heads do better than three networks that take turns?

    python lessons/4_multitask/experiment.py WORK    # resumable; writes `sharing`, `conflict`, `costs` and `weights`

Run card
    question     scores of one network for climate zone, land-cover map and season, relative to those of its three
                 single-task twins
    primary      Delta_MTL: mean over the three tasks of the relative change (accuracy, mean IoU, MAE; positive is
                 better) of the plain sum against twins of equal total wall time, at 10 % of the labels, paired over
                 worlds. It counts only if it excludes zero with roles swapped, too (twins relative to the plain sum),
                 and with the other sign: a relative change is not symmetric, and its mean may be above zero for
                 that alone. All else is exploratory
    reading      a task is learned where the plain sum or its twin beats the answer that does not look (most frequent
                 class, median; of the labels that training saw), paired over worlds. With fewer than two learned
                 tasks a comparison is an illustration, not evidence, whatever its interval
    expected     positive at 10 %, smaller at 100 %; no rule does better than the plain sum
    power        before the run, by tests/experiments/sharing_power.py: between two networks of lesson 3's race the mean
                 relative change varies by about 0.09 (alike) to 0.10 (unlike) from world to world. So eight worlds show
                 a mean of 0.07 to 0.08 and find a true 0.10 to 0.11 in four of five runs; a tenth of the labels is
                 noisier. Effects of a few per cent, as papers report them, are beyond this design
    data         simulated worlds, seeds 21 to 28 (no recipe was developed on them): each 700 patches in tiles and dates
                 held out together, at least 300 of them for testing; the replicate is the world. Sentinel-2 alone. 10 %
                 of the labels are drawn spread over all groups: the optimistic draw
    contestants  contestants.py: U-Net of width 7, 0.2 M weights, as plain sum, under uncertainty weighting and under
                 PCGrad, and as three twins. The training of the twins takes together as long as that of the plain sum.
                 Every rule trains as long as the plain sum: its steps are divided by what its step costs, measured at
                 the start. Other rules, twins of equal steps and the controls: experiment_controls.py
    training     36 x 36 crops, flips and turns, AdamW with cosine decay to 0, batch 16, 640 steps (320 at 10 % of the
                 labels, about 165 epochs), the last is kept; steps come in stages of ten
    rates        of each contestant and budget, chosen of three over the test tiles of worlds 100 to 102: scores
                 averaged over the worlds, then the mean relative change against the best twins, for twins by their own
                 score. Each twin is tuned for itself: a set of them has nine trials to the three of the plain sum
    test         centre 72 x 72 crop of every test patch, opened once; no validation label is used
    hardware     two CPU cores, two processes; quiet while the times are measured, in its first minutes. 108 trials and
                 96 runs

Everything here is simulated: it shows that the method can find an effect, not how large it is in Europe.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
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
    DERIVED,
    DUAL,
    LOTTERY,
    METRICS,
    PLAIN,
    RULES,
    STAMPED,
    TASKS,
    TWINS,
    adapted,
    build,
    scored_tasks,
)  # fmt: skip
from tables import STEPS, TIME

import eokeras as eo
from eokeras import balance, ben_ge, evaluate
from eokeras.ben_ge.records import RecordSchema
from eokeras.ben_ge.schema import VOID

WORLD_SEEDS = (21, 22, 23, 24, 25, 26, 27, 28)
LEARNING_RATES = (3e-3, 1e-2, 3e-2)
RECIPE = laboratory.Recipe()
LENGTHS = {"100": 640, "10": 320}
"""Labels in per cent -> steps of the plain sum, and of twins of equal steps."""

INPUTS = ("s2",)
TIMED = (PLAIN, *RULES, DUAL, *TWINS.values())
ENTRIES = list(product(LENGTHS, (PLAIN, *DERIVED, *TWINS.values()), (TIME,)))
"""(labels, contestant, length) of all runs here."""

Entry = tuple[str, str, str]


def records_of(work: Path, seed: int) -> Path:
    return laboratory.make_records(work, "default", seed, ben_ge.World())


# ----------------------------------------------------------------------- Equal time


def step_seconds(work: Path, rounds: int = 25) -> dict[str, float]:
    """Seconds of a training step of every contestant: its median ratio to the plain sum, timed just before it.

    A machine's pace wanders by a fifth within a minute, so that times taken one after the other do not compare.
    """

    def compute() -> dict:
        tf.config.threading.set_intra_op_parallelism_threads(1)  # as the runs have it
        tf.config.threading.set_inter_op_parallelism_threads(1)
        records = records_of(work, laboratory.TUNING_SEEDS[0])
        stages = {name: _stage_of(records, name) for name in TIMED}
        for stage in stages.values():
            stage()  # traces
        pairs = {name: [(_timed(stages[PLAIN]), _timed(stages[name])) for _ in range(rounds)] for name in TIMED}
        plain = min(seconds for found in pairs.values() for seconds, _ in found) / laboratory.STAGE
        ratios = {name: float(np.median([other / one for one, other in found])) for name, found in pairs.items()}
        return {name: plain * ratio for name, ratio in ratios.items() if name != PLAIN} | {PLAIN: plain}

    return laboratory.remember(work, "step seconds", compute)


def _timed(stage: Callable[[], object]) -> float:
    start = time.perf_counter()
    stage()
    return time.perf_counter() - start


def _stage_of(records: Path, contestant: str):
    """A function that trains one stage of a contestant."""
    model = laboratory.compiled(build, contestant)
    batches = laboratory.training_batches(records, INPUTS, recipe_of(contestant), 0, repeat=True)
    kept = batches.take(4).cache().repeat()
    return lambda: model.fit(kept, steps_per_epoch=laboratory.STAGE, verbose=0, shuffle=False)


def recipe_of(contestant: str) -> laboratory.Recipe:
    return replace(RECIPE, tasks=scored_tasks(contestant))


def steps_of(seconds: dict[str, float], labels: str, contestant: str, length: str) -> int:
    """Steps of a run, in whole stages: as many as fit into the time of the plain sum, or all."""
    contestant = contestant.removeprefix(STAMPED)
    if length == STEPS or contestant in (PLAIN, LOTTERY):
        return LENGTHS[labels]
    share = 1 / len(TWINS) if contestant in TWINS.values() else 1.0
    stages = LENGTHS[labels] * share * seconds[PLAIN] / seconds[contestant] / laboratory.STAGE
    return laboratory.STAGE * max(1, round(stages))


# ----------------------------------------------------------------------- Runs


def budget(labels: str, seed: int) -> dict:
    """Options of `make_dataset` that keep a share of the training labels."""
    return {"label_fraction": 0.1, "label_draw": "spread", "label_seed": seed} if labels == "10" else {}


def fit(work: Path, entry: Entry, seed: int, rate: float, callbacks=()) -> tuple[keras.Model, dict]:
    """Trains a contestant on a budget of labels in one world."""
    labels, contestant, length = entry
    more = budget(labels, seed) | ({"metadata": ("patch_id",)} if contestant == LOTTERY else {})
    steps = steps_of(step_seconds(work), labels, contestant, length)
    model, card = laboratory.fit(
        build, contestant, records_of(work, seed), INPUTS, recipe_of(contestant), seed, rate,
        steps=steps, adapt=adapted(contestant), callbacks=callbacks, **more,
    )  # fmt: skip
    return model, card | {"steps": steps}


def try_rate(work: Path, entry: Entry, rate: float, seed: int) -> dict:
    """Test scores of one learning rate, in a world that no result comes from."""

    def compute() -> dict:
        model, card = fit(work, entry, seed, rate)
        return card | laboratory.test_scores(model, records_of(work, seed), INPUTS, recipe_of(entry[1]))

    return laboratory.remember(work, f"tuning {seed} {' '.join(entry)} {rate}", compute)


def run(work: Path, entry: Entry, seed: int, rate: float) -> dict:
    """Trains one contestant in one world, and tests it."""

    def compute() -> dict:
        records, watched = records_of(work, seed), entry == ("100", PLAIN, TIME)
        batch = gradient_batch(records) if watched else None
        model, card = fit(work, entry, seed, rate, [balance.GradientCosine(batch)] if watched else [])
        card |= {"halves": halves(model, batch)} if watched else {}
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


def blind_answers(work: Path) -> dict[str, Sequence[dict]]:
    """Labels -> what `answer_blindly` gives in every world."""
    found = laboratory.in_parallel(answer_blindly, [(work, *job) for job in product(LENGTHS, WORLD_SEEDS)])
    return dict(zip(LENGTHS, np.reshape(found, (len(LENGTHS), -1)), strict=True))


def answer_blindly(work: Path, labels: str, seed: int) -> dict:
    """Scores of answers that know nothing but the labels that training saw: most frequent class, median."""

    def compute() -> dict:
        records = records_of(work, seed)
        schema = eo.load_schema(records)
        schema = RecordSchema(schema.path, schema.metadata | {"statistics": seen_labels(records, labels, seed)})
        constants, _ = evaluate.predictions.trivial_baselines(TASKS, schema)
        test = laboratory.centre_crops(records, "test", INPUTS, RECIPE, metadata=evaluate.predictions.METADATA)
        found = evaluate.predictions.score_predictors(constants, test, schema)
        return {"baselines": {other.name: laboratory.estimates(other) for other in found}}

    return laboratory.remember(work, f"{seed} {labels} blind", compute)


def seen_labels(records: Path, labels: str, seed: int) -> dict[str, dict]:
    """Counts of classes, and the median season, of the training labels within a budget."""
    batches = eo.make_dataset(records, "train", INPUTS, TASKS, batch_size=RECIPE.batch_size, **budget(labels, seed))
    targets = [targets for _, targets in batches.as_numpy_iterator()]
    zones, covers, seasons = (np.concatenate([batch[task].ravel() for batch in targets]) for task in TASKS)
    return {
        "climate_zone": {"counts": np.bincount(zones[zones != VOID])},
        "land_cover_map": {"counts": np.bincount(covers[covers != VOID])},
        "season": {"median": float(np.nanmedian(seasons))},
    }


# ----------------------------------------------------------------------- Tuning and results


def all_trials(work: Path, entries: Sequence[Entry]) -> Mapping[tuple[Entry, float], dict[str, float]]:
    """(entry, rate) -> task -> score, mean over the tuning worlds."""
    # By contestant, so that each process traces few models.
    trials = sorted(product(entries, LEARNING_RATES), key=lambda trial: (trial[0][1], trial[0], trial[1]))
    given = [(work, *trial, seed) for trial in trials for seed in laboratory.TUNING_SEEDS]
    cards = np.reshape(laboratory.in_parallel(try_rate, given), (len(trials), -1))
    return {trial: averaged(found) for trial, found in zip(trials, cards, strict=True)}


def all_runs(work: Path, entries: Sequence[Entry], rates: Mapping[Entry, float]) -> tables.Runs:
    """Entry -> its answer in every world."""
    jobs = sorted(product(entries, WORLD_SEEDS), key=lambda job: (job[0][1], job[0], job[1]))
    answers = laboratory.in_parallel(run, [(work, entry, seed, rates[entry]) for entry, seed in jobs])
    runs: dict[Entry, list[dict]] = {}
    for (entry, _), answer in zip(jobs, answers, strict=True):
        runs.setdefault(entry, []).append(answer)
    return runs


def training_minutes(work: Path, entries: Sequence[Entry], others: Sequence[str] = ()) -> float:
    """Minutes of training, two at a time, of all trials and runs of these entries and of other runs by name."""
    names = [*others, *(f"{seed} {' '.join(entry)}" for entry, seed in product(entries, WORLD_SEEDS))]
    trials = product(entries, LEARNING_RATES, laboratory.TUNING_SEEDS)
    names += [f"tuning {seed} {' '.join(entry)} {rate}" for entry, rate, seed in trials]
    return round(sum(laboratory.remember(work, name, dict)["seconds"] for name in names) / 60 / 2, 1)


def averaged(cards: Sequence[dict]) -> dict[str, float]:
    """Task -> its main score, mean over the tuning worlds: a change relative to one small score would decide alone."""
    tasks = [task for task in TASKS if task in cards[0]["scores"]]
    return {task: float(np.mean([tables.value(card, task) for card in cards])) for task in tasks}


def choose_rates(found: Mapping[tuple[Entry, float], dict[str, float]]) -> tuple[dict[Entry, float], dict]:
    """The rate of each entry: best mean relative change against the best twins of equal time.

    Args:
        found: (entry, rate) -> task -> score, mean over the tuning worlds.

    Returns:
        (entry -> rate, entry -> mean relative change of every rate).
    """

    def best_twin(labels: str, task: str) -> float:
        values = [found[(labels, TWINS[task], TIME), rate][task] for rate in LEARNING_RATES]
        return min(values) if METRICS[task] == "mae" else max(values)

    def merit(entry: Entry, rate: float) -> float:
        scores = found[entry, rate].items()
        changes = [evaluate.relative_change(METRICS[task], score, best_twin(entry[0], task)) for task, score in scores]
        return float(np.mean(changes))

    table = {entry: [merit(entry, rate) for rate in LEARNING_RATES] for entry, _ in found}
    return {entry: LEARNING_RATES[int(np.argmax(merits))] for entry, merits in table.items()}, table


def cost_table(seconds: dict[str, float], costs: dict[str, dict]) -> dict:
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
    laboratory.in_parallel(records_of, [(work, seed) for seed in (*laboratory.TUNING_SEEDS, *WORLD_SEEDS)])
    (seconds,) = laboratory.in_parallel(step_seconds, [(work,)], processes=1)
    measured = (PLAIN, *TWINS.values())
    given = [(work, build, name, RECIPE.batch_size) for name in measured]
    costs = dict(zip(measured, laboratory.in_parallel(laboratory.cost_of, given, processes=1), strict=True))
    rates, tried = choose_rates(all_trials(work, ENTRIES))
    runs = all_runs(work, ENTRIES, rates)
    sharing = tables.sharing_table(runs, blind_answers(work)) | {
        "worlds": list(WORLD_SEEDS),
        "test_patches": [answer["test_patches"] for answer in runs["100", PLAIN, TIME]],
        "tuning": tables.tuning_table(LEARNING_RATES, rates, tried),
        "minutes": training_minutes(work, ENTRIES),
    }
    content = {
        "sharing": sharing,
        "conflict": tables.conflict_table(runs["100", PLAIN, TIME]),
        "costs": cost_table(seconds, costs),
        "weights": tables.weights_table(runs, DERIVED[0]),
    }
    for name, table in content.items():
        laboratory.write_results(HERE / "results.json", name, table)


if __name__ == "__main__":
    main()
