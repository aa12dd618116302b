"""Missing sensors: what remains of a score when a modality is gone, with and without DropModality?

    python lessons/3_data_fusion/experiment_sensors.py WORK   # resumable; writes `sensors` of results.json

Run card
    question     scores of one model of three modalities (S2, S1, DEM) for each of their seven subsets, trained with
                 DropModality (rate 0.3) minus trained without
    primary      pixel accuracy of the land-cover map with Sentinel-1 alone, paired over worlds; the rest is exploratory
    expected     positive where a modality is missing; a small loss, if any, where none is
    data         simulated default worlds, seeds 31 to 35; as in experiment.py
    contestants  middle fusion of about 210,000 weights, twice (contestants.py); the information of a missing modality
                 is zeros, the training mean, and for the dropped one also presence 0
    training     as in experiment.py; rate of each chosen of three, all modalities present, over worlds 100 to 102. A
                 first run (worlds 11 to 15; +0.135 [-0.021, +0.291]) chose it in world 100 alone
    hardware     two CPU cores, two processes

Everything here is simulated: it shows that the method can find an effect, not how large it is in Europe.
"""

import argparse
import sys
import time
from itertools import product
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import laboratory
from contestants import INPUTS, build

import eokeras as eo
from eokeras import ben_ge, evaluate

WORLD_SEEDS = (31, 32, 33, 34, 35)
DROPPED, PLAIN = "three middle, dropped", "three middle"
LEARNING_RATES = (3e-3, 1e-2, 3e-2)
RECIPE = laboratory.Recipe()
PRIMARY = ("land_cover_map", "pixel_accuracy")


def records_of(work: Path, seed: int) -> Path:
    return laboratory.make_records(work, "default", seed, ben_ge.World())


def options(contestant: str) -> dict:
    return {"presence": contestant == DROPPED}


def run(work: Path, contestant: str, seed: int, rate: float) -> dict:
    """Trains one contestant in one world, and tests it with every subset of its modalities."""

    def compute() -> dict:
        records, inputs = records_of(work, seed), INPUTS[contestant]
        more = options(contestant)
        model, card = laboratory.fit(build, contestant, records, inputs, RECIPE, seed, rate, **more)
        columns = evaluate.predictions.METADATA
        test = laboratory.centre_crops(records, "test", inputs, RECIPE, metadata=columns, **more)
        table = evaluate.subset_scores(model, test, eo.load_schema(records))
        return card | {"subsets": {"+".join(key): laboratory.estimates(found) for key, found in table.scores.items()}}

    return laboratory.remember(work, f"sensors {seed} {contestant} {rate}", compute)


def with_all_sensors(answer: dict) -> float:
    """The score by which rates are chosen."""
    task, metric = PRIMARY
    return answer["subsets"]["+".join(INPUTS[PLAIN])][task][metric]


def side_by_side(dropped: list[dict], plain: list[dict]) -> dict:
    """Subset -> task -> metric -> mean of both, and their paired difference over worlds."""
    table: dict[str, dict] = {}
    for subset, tasks in dropped[0]["subsets"].items():
        for task, metrics in tasks.items():
            for metric in metrics:
                first, second = ([each["subsets"][subset][task][metric] for each in side] for side in (dropped, plain))
                table.setdefault(subset, {}).setdefault(task, {})[metric] = {
                    "dropped": sum(first) / len(first),
                    "plain": sum(second) / len(second),
                    "difference": evaluate.paired_over_replicates(first, second).to_dict(),
                }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="directory for records and finished runs")
    work = parser.parse_args().work
    start = time.perf_counter()
    laboratory.in_parallel(records_of, [(work, seed) for seed in (*laboratory.TUNING_SEEDS, *WORLD_SEEDS)])
    rates, tried = laboratory.choose_rates(
        run, lambda name, seed, rate: (work, name, seed, rate), (DROPPED, PLAIN), LEARNING_RATES, with_all_sensors
    )
    jobs = list(product((DROPPED, PLAIN), WORLD_SEEDS))
    answers = dict(zip(jobs, laboratory.in_parallel(run, [(work, *job, rates[job[0]]) for job in jobs]), strict=True))
    content = {
        "worlds": list(WORLD_SEEDS),
        "learning_rates": rates,
        "tuning": {"learning_rates": list(LEARNING_RATES), PRIMARY[1]: tried},
        "subsets": side_by_side(*([answers[name, seed] for seed in WORLD_SEEDS] for name in (DROPPED, PLAIN))),
        "minutes": round((time.perf_counter() - start) / 60, 1),
    }
    laboratory.write_results(HERE / "results.json", "sensors", content)


if __name__ == "__main__":
    main()
