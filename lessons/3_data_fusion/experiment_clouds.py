"""Dose and response: does radar gain in worth as clouds hide the ground from Sentinel-2?

    python lessons/3_data_fusion/experiment_clouds.py WORK    # after experiment.py; writes `clouds` of results.json

Run card
    question     pixel accuracy of the land-cover map, late fusion minus Sentinel-2, by the share of cloudy pixels
    primary      the slope of that difference over the cloud fraction (least squares in each world), over worlds;
                 all else is exploratory
    expected     positive: the more cloud, the more radar is worth
    data         simulated worlds, seeds 31 to 35, each with 1.5 (the default world), 40 and 80 % of the Sentinel-2
                 pixels under cloud and otherwise the same; 700 patches, tiles and dates held out together
    contestants  Sentinel-2 alone, Sentinel-1 alone (which no cloud touches: trained once per world), late fusion
                 (contestants.py, about 210,000 weights each), trained and tested under the same clouds
    training     as in experiment.py, of which the clearest dose is read: it is the default world. Rate of each
                 contestant at each dose chosen of three, over worlds 100 to 102. A first run (worlds 11 to 15;
                 0, 20, 40, 60 and 80 %; slope +0.29 [+0.19, +0.40]) chose one for all doses, in world 100 at 40 %
    hardware     two CPU cores, two processes, about half an hour a dose. Resumable: a finished run is kept in WORK, a
                 finished dose in results.json

Everything here is simulated: it shows that the method can find an effect, not how large it is in Europe.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
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

WORLD_SEEDS = experiment.WORLD_SEEDS[:5]
CLEAR, DOSES = ben_ge.World().cloud_fraction, (0.8, 0.4)
"""Share of cloudy pixels in the default world, and in those that are run here, in this order."""

CONTESTANTS = ("S2", "late")
"""Those that clouds touch."""

LEARNING_RATES, RECIPE = experiment.LEARNING_RATES, experiment.RECIPE
TASK, METRIC = experiment.PRIMARY
RESULTS = HERE / "results.json"


def records_of(work: Path, dose: float, seed: int) -> Path:
    return laboratory.make_records(work, f"clouds-{dose}", seed, replace(ben_ge.World(), cloud_fraction=dose))


def run(work: Path, contestant: str, dose: float, seed: int, rate: float) -> dict:
    """Trains one contestant under one dose of cloud, and tests it under the same."""

    def compute() -> dict:
        records, inputs = records_of(work, dose, seed), INPUTS[contestant]
        model, card = laboratory.fit(build, contestant, records, inputs, RECIPE, seed, rate)
        return card | laboratory.test_scores(model, records, inputs, RECIPE)

    return laboratory.remember(work, f"clouds {dose} {seed} {contestant} {rate}", compute)


def under(work: Path, dose: float) -> dict:
    """Contestant -> its rate, the scores by which that was chosen, and its map accuracy in every world of a dose."""
    start = time.perf_counter()
    seeds = (*laboratory.TUNING_SEEDS, *WORLD_SEEDS)
    laboratory.in_parallel(records_of, [(work, dose, seed) for seed in seeds])
    rates, tried = laboratory.choose_rates(
        run, lambda name, seed, rate: (work, name, dose, seed, rate), CONTESTANTS, LEARNING_RATES, experiment.primary
    )
    jobs = list(product(CONTESTANTS, WORLD_SEEDS))
    answers = laboratory.in_parallel(run, [(work, name, dose, seed, rates[name]) for name, seed in jobs])
    values = dict(zip(jobs, map(experiment.primary, answers), strict=True))
    table = {
        name: {
            "learning_rate": rates[name],
            "tuning": tried[name],
            METRIC: [values[name, seed] for seed in WORLD_SEEDS],
        }
        for name in CONTESTANTS
    }
    return table | {"minutes": round((time.perf_counter() - start) / 60, 1)}


def clear(race: Mapping) -> dict:
    """The same for the default world, from the results of experiment.py."""
    rows = {name: race["contestants"]["default"][name] for name in (*CONTESTANTS, "S1")}
    return {
        name: {
            "learning_rate": row["learning_rate"],
            "tuning": race["tuning"][METRIC][name],
            METRIC: row["tasks"][TASK][METRIC]["values"][: len(WORLD_SEEDS)],
        }
        for name, row in rows.items()
    }


def summary(by_dose: Mapping[str, dict]) -> dict:
    """Accuracies (doses, worlds), the gain of each dose, and the slope of the gain over the doses."""
    doses = sorted(by_dose, key=float)
    found = {name: [by_dose[dose][name][METRIC] for dose in doses] for name in CONTESTANTS}
    shares = [float(dose) for dose in doses]
    slopes = np.polyfit(shares, np.subtract(found["late"], found["S2"]), 1)[0]
    return {
        "worlds": list(WORLD_SEEDS),
        "doses": shares,
        METRIC: found | {"S1": [by_dose[doses[0]]["S1"][METRIC]] * len(doses)},
        "gain": [
            evaluate.paired_over_replicates(late, s2).to_dict()
            for late, s2 in zip(found["late"], found["S2"], strict=True)
        ],
        "slope": evaluate.paired_over_replicates(slopes, np.zeros(len(slopes))).to_dict(),
        "learning_rates": list(LEARNING_RATES),
        "by_dose": dict(by_dose),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="directory for records and finished runs")
    work = parser.parse_args().work
    results = json.loads(RESULTS.read_text("utf-8"))
    by_dose = results.get("clouds", {}).get("by_dose", {}) | {str(CLEAR): clear(results["ladder"])}
    for dose in DOSES:
        if str(dose) not in by_dose:
            by_dose[str(dose)] = under(work, dose)
            laboratory.write_results(RESULTS, "clouds", summary(by_dose))


if __name__ == "__main__":
    main()
