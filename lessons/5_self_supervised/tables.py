"""From the runs of experiment.py to the tables of results.json."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest

import numpy as np
from contestants import ARCHITECTURES, METHODS, SCRATCH, TARGET

from eokeras import evaluate
from eokeras.pretrain import chance_loss

Runs = Mapping[tuple[str, float], Sequence[dict]]
"""(contestant, share of the pool) -> the answer of every world."""

READINGS = ("fine-tuned", "probe")
PRIMARY = ("SimCLR", "fine-tuned", "spread", 0.1)


def efficiency_table(runs: Runs, draws: Mapping[str, Sequence[float]]) -> dict:
    """How labels are drawn -> reading -> scores by contestant, world and budget, and differences from the twin."""
    table: dict = {
        draw: {reading: read(runs, draw, fractions, reading) for reading in READINGS}
        for draw, fractions in draws.items()
    }
    name, reading, draw, fraction = PRIMARY
    table["primary"] = table[draw][reading]["differences"][name][percent(fraction)]
    neighbours = {name: [run["neighbours"] for run in found] for (name, pool), found in runs.items() if pool == 1}
    table["neighbours"] = {
        name: {"mean": float(np.mean(values)), "values": values} for name, values in neighbours.items()
    }
    plain = runs[SCRATCH["ResNet"], 1.0]
    return table | {
        "trivial": float(np.mean([run["trivial"] for run in plain])),
        "test_patches": [run["test_patches"] for run in plain],
        "pool": [run["pool"] for run in plain],
    }


def read(runs: Runs, draw: str, fractions: Sequence[float], reading: str) -> dict:
    """Scores of all contestants for one way to draw labels; each method minus scratch of its architecture.

    For a probe the twin is the frozen encoder of random weights. `equal_labels`: which share of the labels scratch
    needs for the score of each method.
    """
    found = evaluate.LabelEfficiency(
        TARGET, "accuracy", tuple(fractions), values(runs, draw, fractions, reading), draw, True
    )
    table = found.to_dict() | {"mean": {name: rows.mean(axis=0).tolist() for name, rows in found.values.items()}}
    table["differences"], table["equal_labels"] = {}, {}
    for name in METHODS:
        twin = SCRATCH[ARCHITECTURES[name]]
        pairs = zip(fractions, found.difference(name, twin), strict=True)
        table["differences"][name] = {percent(fraction): each.to_dict() for fraction, each in pairs}
        if len(fractions) > 1:
            table["equal_labels"][name] = {
                percent(fraction): str(found.equal_labels(name, twin, fraction)) for fraction in fractions
            }
    return table


def percent(fraction: float) -> str:
    """Name of a share of the labels, such as "10": paths in text are split at every dot."""
    return f"{100 * fraction:g}"


def values(runs: Runs, draw: str, fractions: Sequence[float], reading: str) -> dict[str, np.ndarray]:
    """Contestant -> accuracies (worlds, budgets)."""
    return {
        name: np.array([[run[reading][f"{draw} {fraction}"] for fraction in fractions] for run in found])
        for (name, pool), found in runs.items()
        if pool == 1
    }


def pools_table(runs: Runs, pools: Sequence[float]) -> dict:
    """SimCLR by the share of the pool that it saw: accuracy with 10 % of the labels, and its slope per tenfold pool."""
    table: dict = {"pools": list(pools)}
    for reading in READINGS:
        rows = np.array([[run[reading]["spread 0.1"] for run in runs["SimCLR", pool]] for pool in pools])
        slopes = np.polyfit(np.log10(pools), rows, 1)[0]
        slope = evaluate.paired_over_replicates(slopes, np.zeros(len(slopes)))
        table[reading] = {"values": rows.tolist(), "mean": rows.mean(axis=1).tolist(), "slope": slope.to_dict()}
    return table


def mean_by_epoch(losses: Sequence[Sequence[float]]) -> list[float]:
    """Mean over the worlds whose run came so far: the guard ends a collapsed one early."""
    rows = zip_longest(*losses)
    return [round(float(np.mean([loss for loss in row if loss is not None])), 4) for row in rows]


def pretraining_table(cards: Mapping[str, Sequence[dict]], batch_size: int) -> dict:
    """Method -> what pretraining took, and what its guard saw at the end; means over worlds."""
    table: dict = {"chance_loss": chance_loss(batch_size)}
    for name, found in cards.items():
        watched = found[0]["watched"]
        table[name] = {
            "seconds": float(np.median([card["seconds"] for card in found])),
            "loss": mean_by_epoch([card["loss"] for card in found]),
            "collapsed": [card["collapsed"] for card in found if card["collapsed"]],
            "at_the_end": {key: float(np.mean([card["watched"][key][-1] for card in found])) for key in watched},
        }
    return table
