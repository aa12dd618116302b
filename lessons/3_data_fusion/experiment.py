"""The fusion ladder: what does each way of joining sensors add, at equal weights and equal tuning?

    python lessons/3_data_fusion/experiment.py WORK    # resumable; writes `ladder` of results.json

Run card
    question     scores of each rung minus those of Sentinel-2 alone, on climate zone, land-cover map and season
    primary      pixel accuracy of the land-cover map, late fusion minus Sentinel-2, in the default world, paired
                 over worlds; all other differences are exploratory
    expected     every fusion of Sentinel-2 and -1 positive on the land-cover map in the default world, and none
                 in the null world, where Sentinel-1 shows another continent
    power        before the run: tests/experiments/fusion_gain.py found differences that vary by 0.038 from world to
                 world; so eight worlds can show a mean difference of 0.032 and would miss one of 0.045 in one run
                 of five (five worlds: 0.047, missed in one of two)
    data         simulated worlds, seeds 31 to 38 (no recipe was developed on them): each 700 patches in tiles and
                 dates held out together, at least 300 of them for testing; the replicate is the world.
                 The null world is made of the first five seeds
    contestants  contestants.py: ten of about 214,000 weights each. Sentinel-2 alone is the same in both worlds, whose
                 optical images do not differ, and is trained once
    training     one model with three heads, loss the plain sum; 36 x 36 crops, flips and turns, AdamW with cosine
                 decay to 0, batch 16, 32 epochs, the last is kept; rate of each contestant chosen of three by the
                 map's pixel accuracy, mean over the test tiles of worlds 100 to 102
    test         centre 72 x 72 crop of every test patch, opened once
    hardware     two CPU cores, two processes; 152 minutes beside other work
    before it    a first race (worlds 11 to 18; late minus Sentinel-2 +0.074 [+0.041, +0.107]) chose its rates in world
                 100 alone. Sentinel-2 got the smallest of the three there, which served it badly elsewhere: with the
                 largest it did as well as late fusion in clear worlds (0.587 and 0.589). So rates are chosen over three
                 worlds now, on new worlds. Before that, a recipe that kept the epoch of the lowest summed validation
                 loss was dropped unread: that epoch was anything from the 2nd to the 31st

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

from eokeras import ben_ge, evaluate

WORLD_SEEDS = (31, 32, 33, 34, 35, 36, 37, 38)
WORLDS = {"default": ben_ge.World(), "null": ben_ge.World().without("s1")}
CONTESTANTS = (
    "S2", "S1", "early", "middle", "late", "gated", "cross-attention", "S2 + DEM early", "S2 film ERA-5", "all middle",
)  # fmt: skip
NULL_CONTESTANTS, NULL_SEEDS = ("early", "middle", "late", "gated", "cross-attention"), WORLD_SEEDS[:5]
LEARNING_RATES = (3e-3, 1e-2, 3e-2)
RECIPE = laboratory.Recipe()
PRIMARY = ("land_cover_map", "pixel_accuracy")


def records_of(work: Path, world: str, seed: int) -> Path:
    return laboratory.make_records(work, world, seed, WORLDS[world])


def run(work: Path, contestant: str, world: str, seed: int, rate: float) -> dict:
    """Trains one contestant in one world, and tests it."""

    def compute() -> dict:
        records, inputs = records_of(work, world, seed), INPUTS[contestant]
        model, card = laboratory.fit(build, contestant, records, inputs, RECIPE, seed, rate)
        return card | laboratory.test_scores(model, records, inputs, RECIPE)

    return laboratory.remember(work, f"{world} {seed} {contestant} {rate}", compute)


def primary(answer: dict) -> float:
    """What the primary comparison compares, and what rates are chosen by."""
    task, metric = PRIMARY
    return answer["scores"][task][metric]


def summary(runs: dict[tuple[str, str], list[dict]]) -> dict:
    """Mean scores of every contestant in each world, and the paired differences from Sentinel-2 alone."""
    table: dict[str, dict] = {}
    for (world, contestant), found in runs.items():
        row = {"weights": found[0]["weights"], "learning_rate": found[0]["learning_rate"], "tasks": {}}
        for task, metrics in found[0]["scores"].items():
            row["tasks"][task] = {}
            for metric in metrics:
                values, reference = (
                    [each["scores"][task][metric] for each in side] for side in (found, runs[world, "S2"])
                )
                row["tasks"][task][metric] = {
                    "mean": sum(values) / len(values),
                    "values": values,
                    "minus_s2": evaluate.paired_over_replicates(values, reference).to_dict(),
                }
        table.setdefault(world, {})[contestant] = row
    return table


def radar_minus_decoy(runs: dict[tuple[str, str], list[dict]]) -> dict:
    """Map accuracy where Sentinel-1 belongs to the place minus that where it shows another one, on the shared seeds."""
    table = {}
    for contestant in NULL_CONTESTANTS:
        sides = [runs[world, contestant][: len(NULL_SEEDS)] for world in ("default", "null")]
        radar, decoy = ([primary(each) for each in side] for side in sides)
        found = evaluate.paired_over_replicates(radar, decoy, first="radar", second="decoy", metric=PRIMARY[1])
        table[contestant] = found.to_dict()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="directory for records and finished runs")
    work = parser.parse_args().work
    start = time.perf_counter()
    seeds = {"default": WORLD_SEEDS, "null": NULL_SEEDS}
    tuning = [("default", seed) for seed in laboratory.TUNING_SEEDS]
    worlds = [*tuning, *((world, seed) for world in WORLDS for seed in seeds[world])]
    laboratory.in_parallel(records_of, [(work, *world) for world in worlds])
    rates, tried = laboratory.choose_rates(
        run, lambda name, seed, rate: (work, name, "default", seed, rate), CONTESTANTS, LEARNING_RATES, primary
    )
    rows = [*product(CONTESTANTS, ["default"]), *product(NULL_CONTESTANTS, ["null"])]
    jobs = [(name, world, seed) for name, world in sorted(rows) for seed in seeds[world]]
    answers = laboratory.in_parallel(run, [(work, *job, rates[job[0]]) for job in jobs])
    measured = [(work, build, name, RECIPE.batch_size) for name in CONTESTANTS]
    costs = laboratory.in_parallel(laboratory.cost_of, measured, processes=1)
    runs: dict[tuple[str, str], list[dict]] = {}
    for (name, world, _), answer in zip(jobs, answers, strict=True):
        runs.setdefault((world, name), []).append(answer)
    runs["null", "S2"] = runs["default", "S2"][: len(NULL_SEEDS)]
    content = {
        "worlds": {world: list(found) for world, found in seeds.items()},
        "test_patches": [answer["test_patches"] for answer in runs["default", "S2"]],
        "oracle": {world: mean_information(runs[world, "late"]) for world in WORLDS},
        "tuning": {"learning_rates": list(LEARNING_RATES), "pixel_accuracy": tried},
        "contestants": summary(runs),
        "radar_minus_decoy": radar_minus_decoy(runs),
        "costs": dict(zip(CONTESTANTS, costs, strict=True)),
        "minutes": round((time.perf_counter() - start) / 60, 1),
    }
    laboratory.write_results(HERE / "results.json", "ladder", content)


def mean_information(runs: list[dict]) -> dict[str, dict[str, float]]:
    """The oracle's score by target and set of modalities, averaged over worlds."""
    tables = [each["information"] for each in runs]
    return {
        task: {name: sum(table[task][name] for table in tables) / len(tables) for name in tables[0][task]}
        for task in tables[0]
    }


if __name__ == "__main__":
    main()
