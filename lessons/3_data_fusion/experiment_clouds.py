"""Dose and response: does radar gain in worth as clouds hide the ground from Sentinel-2?

    python lessons/3_data_fusion/experiment_clouds.py WORK    # resumable; writes `clouds` of results.json

Run card
    question     pixel accuracy of the land-cover map, late fusion minus Sentinel-2, by the share of cloudy pixels
    primary      the slope of that difference over the cloud fraction (least squares in each world), over worlds;
                 all else is exploratory
    expected     positive: the more cloud, the more radar is worth
    data         simulated worlds, seeds 31 to 35, each with 1.5 (the default world), 20, 40 and 80 % of the
                 Sentinel-2 pixels under cloud and otherwise the same; 700 patches, tiles and dates held out together
    contestants  Sentinel-2 alone, Sentinel-1 alone (which no cloud touches: trained once per world), late fusion
                 (contestants.py, about 210,000 weights each), trained and tested under the same clouds
    training     as in experiment.py, whose runs in the default world are those of the clearest dose here; rate of
                 each contestant at each dose chosen of three, over worlds 100 to 102. A first run (worlds 11 to 15;
                 doses 0 to 80 %; slope +0.29 [+0.19, +0.40]) chose one for all doses, in world 100 at 40 %
    hardware     two CPU cores, two processes

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

import experiment
import laboratory
import numpy as np
from contestants import INPUTS, build

from eokeras import ben_ge, evaluate

WORLD_SEEDS = (31, 32, 33, 34, 35)
DOSES = (ben_ge.World().cloud_fraction, 0.2, 0.4, 0.8)
CONTESTANTS = ("S2", "S1", "late")
LEARNING_RATES = experiment.LEARNING_RATES
CELLS = [*product(("S2", "late"), DOSES), ("S1", DOSES[0])]
"""Contestants and the doses at which they are trained."""

RECIPE = experiment.RECIPE
TASK, METRIC = "land_cover_map", "pixel_accuracy"


def records_of(work: Path, dose: float, seed: int) -> Path:
    return laboratory.make_records(work, f"clouds-{dose}", seed, replace(ben_ge.World(), cloud_fraction=dose))


def run(work: Path, contestant: str, dose: float, seed: int, rate: float) -> dict:
    """Trains one contestant under one dose of cloud, and tests it under the same."""
    if dose == DOSES[0]:
        return experiment.run(work, contestant, "default", seed, rate)

    def compute() -> dict:
        records, inputs = records_of(work, dose, seed), INPUTS[contestant]
        model, card = laboratory.fit(build, contestant, records, inputs, RECIPE, seed, rate)
        return card | laboratory.test_scores(model, records, inputs, RECIPE)

    return laboratory.remember(work, f"clouds {dose} {seed} {contestant} {rate}", compute)


def named(by_cell: dict) -> dict:
    """With names that JSON can hold."""
    return {f"{name} {dose}": value for (name, dose), value in by_cell.items()}


def accuracy(answer: dict) -> float:
    return answer["scores"][TASK][METRIC]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="directory for records and finished runs")
    work = parser.parse_args().work
    start = time.perf_counter()
    worlds = product(DOSES[1:], (*laboratory.TUNING_SEEDS, *WORLD_SEEDS))
    laboratory.in_parallel(records_of, [(work, *world) for world in worlds])
    rates, tried = laboratory.choose_rates(
        run, lambda cell, seed, rate: (work, *cell, seed, rate), CELLS, LEARNING_RATES, accuracy
    )
    jobs = [(*cell, seed) for cell in sorted(CELLS) for seed in WORLD_SEEDS]
    answers = laboratory.in_parallel(run, [(work, *job, rates[job[:2]]) for job in jobs])
    scores = {job: accuracy(answer) for job, answer in zip(jobs, answers, strict=True)}
    values = {
        name: [[scores[name, dose if name != "S1" else DOSES[0], seed] for seed in WORLD_SEEDS] for dose in DOSES]
        for name in CONTESTANTS
    }
    gains = np.subtract(values["late"], values["S2"])  # (doses, worlds)
    slopes = np.polyfit(DOSES, gains, 1)[0]
    content = {
        "worlds": list(WORLD_SEEDS),
        "doses": list(DOSES),
        "learning_rates": named(rates),
        "tuning": {"learning_rates": list(LEARNING_RATES), METRIC: named(tried)},
        METRIC: values,
        "gain": [
            evaluate.paired_over_replicates(late, s2).to_dict()
            for late, s2 in zip(values["late"], values["S2"], strict=True)
        ],
        "slope": evaluate.paired_over_replicates(slopes, np.zeros(len(slopes))).to_dict(),
        "minutes": round((time.perf_counter() - start) / 60, 1),
    }
    laboratory.write_results(HERE / "results.json", "clouds", content)


if __name__ == "__main__":
    main()
