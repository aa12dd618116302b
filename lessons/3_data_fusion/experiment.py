"""The fusion ladder: what does each way of joining sensors add, at equal weights and equal tuning?

    python lessons/3_data_fusion/experiment.py WORK    # resumable; writes `ladder` of results.json

Run card
    question     scores of each rung minus those of Sentinel-2 alone, on climate zone, land-cover map and season
    primary      pixel accuracy of the land-cover map, late fusion minus Sentinel-2, in the default world, paired
                 over worlds; all other differences are exploratory
    expected     every fusion of Sentinel-2 and -1 positive on the land-cover map in the default world, and none
                 in the null world, where Sentinel-1 shows another continent
    data         simulated worlds, seeds 11 to 15 (no recipe was developed on them): each 700 patches in tiles and
                 dates held out together, at least 300 of them for testing; the replicate is the world
    contestants  contestants.py: ten of about 210,000 weights each
    training     one model with three heads, loss the plain sum; 36 x 36 crops, flips and turns, AdamW with cosine
                 decay, batch 16, 32 epochs of which the best on validation crops is kept; rate of each contestant
                 chosen on validation in world 100, of three
    test         centre 72 x 72 crop of every test patch, opened once
    hardware     two CPU cores, two processes

Everything here is simulated: it shows that the method can find an effect, not how large it is in Europe.
"""

import argparse
import sys
import time
from functools import partial
from itertools import product
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import laboratory
from contestants import INPUTS, build

from eokeras import ben_ge, evaluate

WORLD_SEEDS = (11, 12, 13, 14, 15)
WORLDS = {"default": ben_ge.World(), "null": ben_ge.World().without("s1")}
CONTESTANTS = (
    "S2", "S1", "early", "middle", "late", "gated", "cross-attention", "S2 + DEM early", "S2 film ERA-5", "all middle",
)  # fmt: skip
NULL_CONTESTANTS = ("S2", "early", "middle", "late", "gated", "cross-attention")
LEARNING_RATES = (3e-3, 1e-2, 3e-2)
RECIPE = laboratory.Recipe()
PRIMARY = ("default", "late", "land_cover_map", "pixel_accuracy")


def records_of(work: Path, world: str, seed: int) -> Path:
    return laboratory.make_records(work, world, seed, WORLDS[world])


def try_rate(work: Path, contestant: str, rate: float) -> dict:
    """Validation loss of one learning rate, in a world that no result comes from."""
    records = records_of(work, "default", laboratory.TUNING_SEED)
    fit = partial(laboratory.fit, build, contestant, records, INPUTS[contestant], RECIPE)
    return laboratory.remember(work, f"tuning {contestant} {rate}", lambda: fit(laboratory.TUNING_SEED, rate)[1])


def run(work: Path, contestant: str, world: str, seed: int, rate: float) -> dict:
    """Trains one contestant in one world, and tests it."""

    def compute() -> dict:
        records, inputs = records_of(work, world, seed), INPUTS[contestant]
        model, card = laboratory.fit(build, contestant, records, inputs, RECIPE, seed, rate)
        return card | laboratory.test_scores(model, records, inputs, RECIPE)

    return laboratory.remember(work, f"{world} {seed} {contestant}", compute)


def cost_of(work: Path, contestant: str) -> dict:
    """What a contestant costs for whole patches, measured while nothing else of this experiment runs."""

    def compute() -> dict:
        model = laboratory.compiled(build, contestant)
        return evaluate.cost(model, RECIPE.batch_size, measure=True).to_dict()

    return laboratory.remember(work, f"cost {contestant}", compute)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="directory for records and finished runs")
    work = parser.parse_args().work
    start = time.perf_counter()
    worlds = [("default", laboratory.TUNING_SEED), *product(WORLDS, WORLD_SEEDS)]
    laboratory.in_parallel(records_of, [(work, *world) for world in worlds])
    trials = list(product(CONTESTANTS, LEARNING_RATES))
    found = laboratory.in_parallel(try_rate, [(work, *trial) for trial in trials])
    losses = {trial: card["validation_loss"] for trial, card in zip(trials, found, strict=True)}
    rates = {name: min(LEARNING_RATES, key=lambda rate: losses[name, rate]) for name in CONTESTANTS}
    rows = [*product(CONTESTANTS, ["default"]), *product(NULL_CONTESTANTS, ["null"])]
    jobs = [(name, world, seed) for name, world in sorted(rows) for seed in WORLD_SEEDS]
    answers = laboratory.in_parallel(run, [(work, *job, rates[job[0]]) for job in jobs])
    costs = laboratory.in_parallel(cost_of, [(work, name) for name in CONTESTANTS], processes=1)
    runs: dict[tuple[str, str], list[dict]] = {}
    for (name, world, _), answer in zip(jobs, answers, strict=True):
        runs.setdefault((world, name), []).append(answer)
    content = {
        "worlds": list(WORLD_SEEDS),
        "test_patches": [answer["test_patches"] for answer in runs["default", "S2"]],
        "oracle": {world: mean_information(runs[world, "S2"]) for world in WORLDS},
        "contestants": summary(runs),
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
