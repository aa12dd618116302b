"""Scores with intervals over groups, paired comparisons, baselines; what a modality is worth; what a model costs."""

from eokeras.evaluate.baseline_models import baselines
from eokeras.evaluate.comparison import Comparison, Difference, compare
from eokeras.evaluate.costs import Cost, cost
from eokeras.evaluate.importance import ModalityImportance, modality_importance
from eokeras.evaluate.intervals import ReplicateComparison, paired_over_replicates
from eokeras.evaluate.predictions import score
from eokeras.evaluate.scores import ILLUSTRATION, SIMULATED, Estimate, Scores, TaskScore, write_scores
from eokeras.evaluate.subsets import SubsetComparison, SubsetScores, compare_subsets, subset_scores

__all__ = [
    "ILLUSTRATION",
    "SIMULATED",
    "Comparison",
    "Cost",
    "Difference",
    "Estimate",
    "ModalityImportance",
    "ReplicateComparison",
    "Scores",
    "SubsetComparison",
    "SubsetScores",
    "TaskScore",
    "baselines",
    "compare",
    "compare_subsets",
    "cost",
    "modality_importance",
    "paired_over_replicates",
    "score",
    "subset_scores",
    "write_scores",
]
