"""Which mean relative change over three tasks can eight worlds find? From the spread that lesson 3's race measured.

    python tests/experiments/sharing_power.py [RESULTS]    # lessons/3_data_fusion/results.json

For two of the race's networks (equal weights, equal training) the relative changes of accuracy, mean IoU and MAE are
averaged within each world of the default kind; s is their standard deviation over worlds. R worlds then find a true
mean of

    (t_{0.975, R - 1} + t_{0.8, R - 1}) s / sqrt(R)

in four of five runs (as `eokeras.evaluate.paired_over_replicates`), and exclude zero from the first term on.
Printed: the lower quartile, the median and the upper quartile over the pairs of networks that are alike (two fusions
of Sentinel-2 and -1) and of such that are not (a fusion and Sentinel-2 alone). Lesson 4 quotes them before its run.

Simulated: shows that the method can find an effect, not how large the effect is in Europe.
"""

import json
import sys
from itertools import permutations, product
from pathlib import Path

import numpy as np
from scipy import stats

from eokeras.evaluate import relative_change

METRICS = {"climate_zone": "accuracy", "land_cover_map": "mean_iou", "season": "mae"}
FUSIONS = ("early", "middle", "late", "gated", "cross-attention")
PAIRS = {"alike": list(permutations(FUSIONS, 2)), "unlike": list(product(FUSIONS, ("S2",)))}
WORLDS = 8
RESULTS = Path(__file__).resolve().parents[2] / "lessons" / "3_data_fusion" / "results.json"


def spread(contestants: dict, first: str, second: str) -> float:
    """Standard deviation over worlds of the mean relative change of `first` against `second`."""
    changes = [
        relative_change(
            metric, *(np.array(contestants[name]["tasks"][task][metric]["values"]) for name in (first, second))
        )
        for task, metric in METRICS.items()
    ]
    return float(np.mean(changes, axis=0).std(ddof=1))


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    contestants = json.loads(path.read_text("utf-8"))["ladder"]["contestants"]["default"]
    shown, found = stats.t.ppf((0.975, 0.8), WORLDS - 1) / np.sqrt(WORLDS)
    for kind, pairs in PAIRS.items():
        spreads = np.quantile([spread(contestants, *pair) for pair in pairs], (0.25, 0.5, 0.75))
        for words, factor in (("varies by", 1.0), ("shown from", shown), ("found in four of five from", shown + found)):
            print(f"{kind:8s}{words:28s}" + " ".join(f"{value:.3f}" for value in factor * spreads))


if __name__ == "__main__":
    main()
