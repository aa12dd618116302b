"""Weights learned as the noise of each task.

Letters: K tasks, L_k loss of task k in a batch, s_k the learned number of task k.
"""

from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from eokeras import losses as eokeras_losses
from eokeras.balance.rules import Rule, labelled
from eokeras.ben_ge.schema import TARGETS
from eokeras.errors import InvalidArgumentError, check_choice, check_choices, check_number

# Likelihood -> (c, r): its negative logarithm is c exp(-s) L + r s, up to a constant.
FACTORS = {"softmax": (1.0, 0.5), "gaussian": (0.5, 0.5), "laplace": (1.0, 1.0)}

_LIKELIHOODS = {
    keras.losses.MeanSquaredError: "gaussian",
    keras.losses.MeanAbsoluteError: "laplace",
    eokeras_losses.LabelledMeanAbsoluteError: "laplace",
    keras.losses.SparseCategoricalCrossentropy: "softmax",
    keras.losses.CategoricalCrossentropy: "softmax",
    keras.losses.BinaryCrossentropy: "softmax",
    eokeras_losses.LabelledCrossentropy: "softmax",
    eokeras_losses.FractionCrossentropy: "softmax",
    eokeras_losses.LabelledBinaryCrossentropy: "softmax",
}


@keras.saving.register_keras_serializable(package="eokeras")
class UncertaintyWeighting(Rule):
    """Each task's loss becomes a likelihood whose noise is learned; noisy tasks get small weights.

    The network and s_k minimise the sum over tasks of a negative log-likelihood, with a noise that is one number per
    task (homoscedastic):

        softmax   (cross-entropy, logits divided by sigma^2 = exp(s)):   exp(-s) L + s / 2
        gaussian  (mean squared error, variance sigma^2 = exp(s)):       exp(-s) L / 2 + s / 2
        laplace   (mean absolute error, scale b = exp(s)):               exp(-s) L + s

    The first is the paper's approximation for classes, the second is exact; the third, L / b + log b, is the same
    step for absolute errors. For constant losses s settles where the weight (the factor of L) is 1 / (2 L), 1 / (2 L)
    and 1 / L. The objective may be negative.

    Costs K numbers. They are trained by the model's optimizer: under Adam, s moves by about the learning rate in a
    step, so in a short training the weights stay near their start (1, 1/2 and 1); `speed` makes them faster. Decoupled
    weight decay would pull s to 0; exclude it by
    `optimizer.exclude_from_weight_decay(var_list=model.rule.trainable_variables)`. A batch without labels of a task
    leaves its s as it is: the term in s is left out where L_k is 0.

    Args:
        likelihoods: dict of task -> "softmax", "gaussian" or "laplace", for tasks whose loss does not say it.
            By default it follows from the class of the loss (cross-entropies, mean squared and mean absolute error,
            those of `losses.for_tasks` included); classes, maps, fractions and labels of the schema with another
            loss count as "softmax".
        speed: positive number; s = speed * variable, which under Adam moves s that much faster. 1: the paper's.

    Raises:
        InvalidArgumentError: an argument is out of range; when compiled: the likelihood of a loss is not known.

    Example:
        >>> rule = UncertaintyWeighting({"climate_zone": "softmax", "season": "laplace"})
        >>> rule.prepare(("climate_zone", "season"))
        >>> rule.check_losses({"climate_zone": None, "season": None})
        >>> float(rule.objective(np.array([2.0, 3.0], "float32")))  # s = 0
        5.0

    Reference:
        Kendall et al. 2018, https://arxiv.org/abs/1705.07115
    """

    def __init__(self, likelihoods=None, speed=1.0, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(likelihoods, Mapping | None):
            raise InvalidArgumentError(
                f"`likelihoods` must be a dict of task -> likelihood. Received: likelihoods={likelihoods!r}."
            )
        for task, likelihood in (likelihoods or {}).items():
            check_choice(f"likelihoods[{task!r}]", likelihood, FACTORS)
        self.likelihoods = dict(likelihoods or {})
        self.speed = check_number("speed", speed, above=0)

    def prepare(self, tasks):
        super().prepare(tasks)
        check_choices("likelihoods", self.likelihoods, self.tasks)
        self.noise = self.add_state("noise", trainable=True)

    def check_losses(self, losses):
        found = [self.likelihoods.get(task) or likelihood_of(task, losses[task]) for task in self.tasks]
        self.factors, self.regularisers = np.array([FACTORS[likelihood] for likelihood in found], "float32").T

    def task_weights(self, losses):
        return self.factors * ops.exp(-self.log_noise())

    def log_noise(self):
        """s (K,)."""
        return ops.multiply(self.noise, self.speed)

    def objective(self, losses):
        weights = self.task_weights(losses)
        self.note(ops.stop_gradient(weights))
        regularisers = ops.where(labelled(losses), self.regularisers * self.log_noise(), 0.0)
        return ops.sum(weights * losses + regularisers)

    def get_config(self):
        return super().get_config() | {"likelihoods": self.likelihoods, "speed": self.speed}


def likelihood_of(task, loss):
    """The likelihood whose negative logarithm a loss is; for other losses by the kind of the target.

    Raises:
        InvalidArgumentError: neither tells.
    """
    for kind, likelihood in _LIKELIHOODS.items():
        if isinstance(loss, kind):
            return likelihood
    if task in TARGETS and TARGETS[task].kind not in ("regression", "map_regression"):
        return "softmax"
    raise InvalidArgumentError(
        f"`likelihoods` must name the likelihood of {task!r}, one of {list(FACTORS)}, as its loss does not tell. "
        f"Received: {type(loss).__name__}."
    )
