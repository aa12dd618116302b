"""Scores with intervals over groups, paired comparisons, baselines; what a modality and sharing are worth; costs."""

from eokeras.evaluate.baseline_models import baselines
from eokeras.evaluate.comparison import Comparison, Difference, compare
from eokeras.evaluate.costs import Cost, cost
from eokeras.evaluate.efficiency import EqualLabels, LabelEfficiency, fine_tuning, label_efficiency
from eokeras.evaluate.embeddings import Embeddings, embed
from eokeras.evaluate.importance import ModalityImportance, modality_importance
from eokeras.evaluate.intervals import ReplicateComparison, paired_over_replicates
from eokeras.evaluate.predictions import score
from eokeras.evaluate.probes import linear_probe, neighbour_probe
from eokeras.evaluate.repeats import compare_repeats
from eokeras.evaluate.scores import ILLUSTRATION, SIMULATED, Estimate, Scores, TaskScore, write_scores
from eokeras.evaluate.sharing import compare_sharing
from eokeras.evaluate.sharing_costs import SharingCosts, sharing_costs
from eokeras.evaluate.sharing_replicates import SharingReplicates, sharing_over_replicates
from eokeras.evaluate.sharing_results import RelativeChange, SharingComparison, relative_change
from eokeras.evaluate.subsets import SubsetComparison, SubsetScores, compare_subsets, subset_scores

__all__ = [
    "ILLUSTRATION",
    "SIMULATED",
    "Comparison",
    "Cost",
    "Difference",
    "Embeddings",
    "EqualLabels",
    "Estimate",
    "LabelEfficiency",
    "ModalityImportance",
    "RelativeChange",
    "ReplicateComparison",
    "Scores",
    "SharingComparison",
    "SharingCosts",
    "SharingReplicates",
    "SubsetComparison",
    "SubsetScores",
    "TaskScore",
    "baselines",
    "compare",
    "compare_repeats",
    "compare_sharing",
    "compare_subsets",
    "cost",
    "embed",
    "fine_tuning",
    "label_efficiency",
    "linear_probe",
    "modality_importance",
    "neighbour_probe",
    "paired_over_replicates",
    "relative_change",
    "score",
    "sharing_costs",
    "sharing_over_replicates",
    "subset_scores",
    "write_scores",
]
