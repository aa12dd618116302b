"""Controls of the multitask race: all rules, twins with three times the training, and tasks that cannot help.

    python lessons/4_multitask/experiment_controls.py WORK    # after experiment.py, whose runs in WORK it goes on from;
                                                              # writes `rules`, `steps`, `dual`, `lottery` and `stamp`

Run card
    question     what the answers of experiment.py hang on: the rule, the training of the twins, the tasks themselves
    primary      none: all is exploratory. The comparisons of rules with the plain sum are a family of seven (five rules
                 with all labels, two at 10 %), with Holm's correction
    expected     no rule beats the plain sum, random weights lose nothing; none beats twins of equal steps, which train
                 three times as long; the lottery costs something or nothing; the stamp is forgotten more by a shared
                 backbone, if the claim holds that it focuses
    data         the worlds of experiment.py; those of the stamp are its first five
    contestants  dynamic weight average, GradNorm and random weights, the control of all rules, for as long as the plain
                 sum; twins of as many steps each as the plain sum; dual: two heads, without the map. Lottery: a fourth
                 head whose class is computed from the patch's name; as many steps as the plain sum, so that the other
                 three tasks are trained alike. Stamp: a thirteenth band of one random number per patch, read from the
                 features by a linear probe; plain sum and twins at equal steps
    rates        as in experiment.py; lottery and stamped networks take the rates of those without
    hardware     two CPU cores, two processes; 90 trials, 88 runs and 20 stamped runs

Everything here is simulated: it shows that the method can find an effect, not how large it is in Europe.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import experiment
import keras
import laboratory
import numpy as np
import tables
import tensorflow as tf
from contestants import (
    DERIVED,
    DUAL,
    LOTTERY,
    PLAIN,
    RULES,
    STAMPED,
    STAMPED_TWINS,
    TWINS,
    adapted,
    build,
    stamp,
    tasks_of,
)  # fmt: skip
from experiment import INPUTS, RECIPE, Entry, fit, records_of
from tables import STEPS, TIME

STAMP_SEEDS = experiment.WORLD_SEEDS[:5]
ENTRIES = [
    *product(("100",), (*(rule for rule in RULES if rule not in DERIVED), DUAL), (TIME,)),
    *product(experiment.LENGTHS, TWINS.values(), (STEPS,)),
]
"""(labels, contestant, length) of the runs whose rate is chosen here."""


# ----------------------------------------------------------------------- Lottery


def run_lottery(work: Path, seed: int, rate: float) -> dict:
    """Trains three heads and a lottery in one world, and tests the three."""

    def compute() -> dict:
        model, card = fit(work, ("100", LOTTERY, TIME), seed, rate)
        records = records_of(work, seed)
        card |= {"lottery_loss": lottery_loss(model, records)}
        return card | laboratory.test_scores(model, records, INPUTS, experiment.recipe_of(LOTTERY))

    return laboratory.remember(work, f"{seed} 100 {LOTTERY}", compute)


def lottery_loss(model: keras.Model, records: Path) -> float:
    """Cross-entropy of the lottery on its training patches: ln 11 = 2.40 where nothing was learned by heart."""
    middle = replace(RECIPE, test_crop=36)
    crops = laboratory.centre_crops(records, "train", INPUTS, middle, metadata=("patch_id",))
    return float(model.evaluate(adapted(LOTTERY)(crops), verbose=0, return_dict=True)["land_cover_loss"])


# ----------------------------------------------------------------------- Stamp


def run_stamped(work: Path, contestant: str, seed: int, rate: float) -> dict:
    """Trains a stamped contestant as many steps as any other, and reads the stamp from its features before and after.

    Equal steps: the twins must not keep the stamp for having been trained less.
    """

    def compute() -> dict:
        records = records_of(work, seed)
        keras.utils.set_random_seed(seed)
        untrained = readable(build(contestant), records, seed)
        model, card = fit(work, ("100", contestant, STEPS), seed, rate)
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


def stamp_runs(work: Path, rates: Mapping[Entry, float]) -> dict:
    """Runs of the stamped contestants, at the rates of those without a stamp, and their table."""
    lengths = {STAMPED + PLAIN: TIME, **dict.fromkeys(STAMPED_TWINS.values(), STEPS)}
    jobs = list(product(lengths, STAMP_SEEDS))
    given = [(work, name, seed, rates["100", name.removeprefix(STAMPED), lengths[name]]) for name, seed in jobs]
    found = np.reshape(laboratory.in_parallel(run_stamped, given), (len(lengths), -1))
    return tables.stamp_table(found[0], found[1:])


def own_runs() -> list[str]:
    """Names of the runs that are of no entry."""
    lottery = [f"{seed} 100 {LOTTERY}" for seed in experiment.WORLD_SEEDS]
    stamped = product(STAMP_SEEDS, (STAMPED + PLAIN, *STAMPED_TWINS.values()))
    return lottery + [f"{seed} {name}" for seed, name in stamped]


# ----------------------------------------------------------------------- Results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="directory of the records and finished runs of experiment.py")
    work = parser.parse_args().work
    if not (work / "runs" / "step seconds.json").exists():
        parser.error(f"{work} holds no runs of experiment.py, which comes first")
    entries = [*experiment.ENTRIES, *ENTRIES]
    rates, tried = experiment.choose_rates(experiment.all_trials(work, entries))
    runs = experiment.all_runs(work, entries, rates)
    plain = ("100", PLAIN, TIME)
    jobs = [(work, seed, rates[plain]) for seed in experiment.WORLD_SEEDS]
    content = {
        "rules": tables.rules_table(runs),
        "steps": tables.steps_table(runs, experiment.blind_answers(work)),
        "dual": tables.trimmed(
            tables.between(runs[plain], runs["100", DUAL, TIME], tasks_of(DUAL), ("three tasks", "two tasks"))
        ),
        "lottery": tables.lottery_table(laboratory.in_parallel(run_lottery, jobs), runs[plain]),
        "stamp": stamp_runs(work, rates),
    }
    own = {entry: rates[entry] for entry in ENTRIES}
    content["rules"] |= {
        "tuning": tables.tuning_table(experiment.LEARNING_RATES, own, tried),
        "minutes": experiment.training_minutes(work, ENTRIES, own_runs()),
    }
    for name, table in content.items():
        laboratory.write_results(HERE / "results.json", name, table)


if __name__ == "__main__":
    main()
