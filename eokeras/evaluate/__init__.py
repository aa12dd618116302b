"""Scores with intervals over groups, paired comparisons, and baselines to stand beside them."""

from eokeras.evaluate.baseline_models import baselines
from eokeras.evaluate.comparison import Comparison, Difference, compare
from eokeras.evaluate.intervals import ReplicateComparison, paired_over_replicates
from eokeras.evaluate.predictions import score
from eokeras.evaluate.scores import ILLUSTRATION, SIMULATED, Estimate, Scores, TaskScore, write_scores

__all__ = [
    "ILLUSTRATION",
    "SIMULATED",
    "Comparison",
    "Difference",
    "Estimate",
    "ReplicateComparison",
    "Scores",
    "TaskScore",
    "baselines",
    "compare",
    "paired_over_replicates",
    "score",
    "write_scores",
]
