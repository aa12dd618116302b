"""Loss weighting for several tasks in plain `compile` and `fit`: rules, the model that follows one, cosines."""

from eokeras.balance.balanced_model import BalancedModel, GradientBalancedModel, balanced
from eokeras.balance.cosines import GradientCosine
from eokeras.balance.gradient_rules import GradNorm, PCGrad
from eokeras.balance.rules import DynamicWeightAverage, FixedWeights, RandomLossWeighting
from eokeras.balance.uncertainty import UncertaintyWeighting

__all__ = [
    "BalancedModel",
    "DynamicWeightAverage",
    "FixedWeights",
    "GradNorm",
    "GradientBalancedModel",
    "GradientCosine",
    "PCGrad",
    "RandomLossWeighting",
    "UncertaintyWeighting",
    "balanced",
]
