"""Dose and response: does radar gain in worth as clouds hide the ground from Sentinel-2?

    python lessons/3_data_fusion/experiment_clouds.py WORK    # resumable; writes `clouds` of results.json

Run card
    question     pixel accuracy of the land-cover map, late fusion minus Sentinel-2, by the share of cloudy pixels
    primary      the slope of that difference over the cloud fraction (least squares in each world), over worlds;
                 all else is exploratory
    expected     positive: the more cloud, the more radar is worth
    data         simulated worlds, seeds 11 to 15, each with 0, 20, 40, 60 and 80 % of the Sentinel-2 pixels under
                 cloud and otherwise the same; 700 patches, tiles and dates held out together
    contestants  Sentinel-2 alone, Sentinel-1 alone (which no cloud touches: trained once per world), late fusion
                 (contestants.py, about 210,000 weights each), trained and tested under the same clouds
    training     as in experiment.py; rate of each contestant chosen on validation at 40 % in world 100, of three
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

import laboratory
import numpy as np
from contestants import INPUTS, build

from eokeras import ben_ge, evaluate

WORLD_SEEDS = (11, 12, 13, 14, 15)
DOSES = (0.0, 0.2, 0.4, 0.6, 0.8)
TUNING_DOSE = 0.4
CONTESTANTS = ("S2", "S1", "late")
LEARNING_RATES = (3e-3, 1e-2, 3e-2)
RECIPE = laboratory.Recipe()
TASK, METRIC = "land_cover_map", "pixel_accuracy"


def records_of(work: Path, dose: float, seed: int) -> Path:
    return laboratory.make_records(work, f"clouds-{dose}", seed, replace(ben_ge.World(), cloud_fraction=dose))


def try_rate(work: Path, contestant: str, rate: float) -> dict:
    """Validation score of one learning rate, in a world that no result comes from."""

    def compute() -> dict:
        records, inputs = records_of(work, TUNING_DOSE, laboratory.TUNING_SEED), INPUTS[contestant]
        model, card = laboratory.fit(build, contestant, records, inputs, RECIPE, laboratory.TUNING_SEED, rate)
        return card | {"validation": laboratory.validation_score(model, records, inputs, RECIPE, TASK, METRIC)}

    return laboratory.remember(work, f"cloud tuning {contestant} {rate}", compute)


def run(work: Path, contestant: str, dose: float, seed: int, rate: float) -> dict:
    """Trains one contestant under one dose of cloud, and tests it under the same."""

    def compute() -> dict:
        records, inputs = records_of(work, dose, seed), INPUTS[contestant]
        model, card = laboratory.fit(build, contestant, records, inputs, RECIPE, seed, rate)
        return card | laboratory.test_scores(model, records, inputs, RECIPE)

    return laboratory.remember(work, f"clouds {dose} {seed} {contestant}", compute)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="directory for records and finished runs")
    work = parser.parse_args().work
    start = time.perf_counter()
    worlds = [(TUNING_DOSE, laboratory.TUNING_SEED), *product(DOSES, WORLD_SEEDS)]
    laboratory.in_parallel(records_of, [(work, *world) for world in worlds])
    trials = list(product(CONTESTANTS, LEARNING_RATES))
    found = laboratory.in_parallel(try_rate, [(work, *trial) for trial in trials])
    tried = {trial: card["validation"] for trial, card in zip(trials, found, strict=True)}
    rates = {name: max(LEARNING_RATES, key=lambda rate: tried[name, rate]) for name in CONTESTANTS}
    jobs = [(name, dose, seed) for name, dose, seed in product(CONTESTANTS, DOSES, WORLD_SEEDS)]
    jobs = [job for job in jobs if job[0] != "S1" or job[1] == DOSES[0]]
    answers = laboratory.in_parallel(run, [(work, *job, rates[job[0]]) for job in jobs])
    scores = {job: answer["scores"][TASK][METRIC] for job, answer in zip(jobs, answers, strict=True)}
    values = {
        name: [[scores[name, dose if name != "S1" else DOSES[0], seed] for seed in WORLD_SEEDS] for dose in DOSES]
        for name in CONTESTANTS
    }
    gains = np.subtract(values["late"], values["S2"])  # (doses, worlds)
    slopes = np.polyfit(DOSES, gains, 1)[0]
    content = {
        "worlds": list(WORLD_SEEDS),
        "doses": list(DOSES),
        "learning_rates": rates,
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
