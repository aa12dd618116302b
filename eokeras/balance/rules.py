"""Rules that weigh the losses of several tasks from the losses alone; they run on every backend.

A rule gives each training step one weight per task, and the network minimises sum_k w_k L_k. Letters: K tasks,
L_k loss of task k in a batch, w_k its weight, t epoch, T temperature.
"""

from collections.abc import Mapping

import keras
import numpy as np
from keras import ops

from eokeras.errors import InvalidArgumentError, check_number


@keras.saving.register_keras_serializable(package="eokeras")
class Rule(keras.layers.Layer):
    """Base of all rules: the state, its place in the model, the weights that are logged.

    It is a layer so that its state is saved and restored with the model that follows it. Subclasses implement
    `task_weights`; what they keep from step to step they make in `prepare`.

    Attributes:
        tasks: names of the tasks in the order of all (K,) arrays; None before a model has taken the rule.
        uses_gradients: whether it needs the gradient of each task, which takes the TensorFlow backend. Such a rule
            implements `combine` instead of `task_weights`.
    """

    uses_gradients = False

    def __init__(self, **kwargs):
        # Whatever the policy: half precision would lose sums over an epoch.
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.tasks = None

    def prepare(self, tasks):
        """Makes the state for these tasks; the model calls it once.

        Raises:
            InvalidArgumentError: another model has taken the rule.
        """
        if self.tasks is not None:
            raise InvalidArgumentError(
                "`rule` must be a new one for every model, as it keeps state. Received: a rule that another model took."
            )
        self.tasks = tuple(tasks)
        self.weight_sum = self.add_state("weight_sum")
        self.steps = self.add_state("steps", shape=())
        self.built = True

    def add_state(self, name, shape=None, initializer="zeros", trainable=False):
        """A variable of the rule, one number per task unless `shape` says otherwise."""
        shape = (len(self.tasks),) if shape is None else shape
        return self.add_weight(shape=shape, initializer=initializer, trainable=trainable, name=name)

    def check_losses(self, losses):
        """Told the `keras.losses.Loss` of every task when the model is compiled."""

    def task_weights(self, losses):
        """Weights (K,) of this step, given its losses (K,); subclasses implement it."""
        raise NotImplementedError

    def objective(self, losses):
        """What a training step minimises, given the losses (K,) of its batch."""
        weights = ops.stop_gradient(self.task_weights(losses))
        self.note(weights)
        return ops.sum(weights * losses)

    def note(self, weights):
        """Keeps the weights of this step for the mean that is logged; those of a step that overflowed do not count."""
        finite = ops.all(ops.isfinite(weights))
        self.weight_sum.assign_add(ops.where(finite, weights, 0.0))
        self.steps.assign_add(ops.cast(finite, "float32"))

    def begin_epoch(self):
        """Forgets what an unfinished epoch left; `fit` calls it."""
        reset(self.weight_sum)
        reset(self.steps)

    def end_epoch(self):
        """Ends an epoch of training; `fit` calls it. Gives `weight_<task>`: the means over the epoch's steps."""
        weights = as_numpy(self.weight_sum) / max(float(as_numpy(self.steps)), 1.0)
        return {f"weight_{task}": float(weight) for task, weight in zip(self.tasks, weights, strict=True)}


@keras.saving.register_keras_serializable(package="eokeras")
class FixedWeights(Rule):
    """The plain weighted sum: w_k never changes.

    The rule that others have to beat: at equal tuning it often does as well (Kurin et al. 2022, Xin et al. 2022).
    Costs nothing. A batch without labels of a task has L_k = 0, and its weight goes to no other.

    Args:
        weights: dict of every task -> number of 0 or more. None: 1 for each.

    Raises:
        InvalidArgumentError: `weights` is no dict of such numbers, or names other tasks than the model has.

    Example:
        >>> rule = FixedWeights({"climate_zone": 1.0, "season": 0.5})
        >>> rule.prepare(("climate_zone", "season"))
        >>> float(rule.objective(np.array([2.0, 3.0], "float32")))
        3.5

    Reference:
        Kurin et al. 2022, https://arxiv.org/abs/2201.04122; Xin et al. 2022, https://arxiv.org/abs/2209.11379
    """

    def __init__(self, weights=None, **kwargs):
        super().__init__(**kwargs)
        self.fixed = None if weights is None else checked_weights("weights", weights)

    def prepare(self, tasks):
        super().prepare(tasks)
        self.values = weights_in_order("weights", self.fixed, self.tasks)

    def task_weights(self, losses):
        return ops.convert_to_tensor(self.values)

    def get_config(self):
        return super().get_config() | {"weights": self.fixed}


@keras.saving.register_keras_serializable(package="eokeras")
class DynamicWeightAverage(Rule):
    """More weight to tasks whose loss falls more slowly than that of the others.

    With m_k(t) the mean loss of epoch t,

        r_k(t) = m_k(t-1) / m_k(t-2),    w_k(t) = K exp(r_k(t) / T) / sum_i exp(r_i(t) / T),

    and r_k = 1, so w_k = 1, in the first two epochs. Costs nothing. Means are over the batches that have labels of
    the task; an epoch without any leaves r_k to the last two that had some. `fit` ends the epochs of the
    rule; in a loop of `train_on_batch` call `model.rule.begin_epoch()` and `end_epoch()`.

    Args:
        temperature: T > 0; the larger, the more equal the weights.

    Raises:
        InvalidArgumentError: `temperature` is no positive number.

    Example:
        >>> rule = DynamicWeightAverage(temperature=2.0)
        >>> rule.prepare(("climate_zone", "season"))
        >>> rule.begin_epoch()
        >>> float(rule.objective(np.array([2.0, 3.0], "float32")))
        5.0

    Reference:
        Liu et al. 2019, https://arxiv.org/abs/1803.10704
    """

    def __init__(self, temperature=2.0, **kwargs):
        super().__init__(**kwargs)
        self.temperature = check_number("temperature", temperature, above=0)

    def prepare(self, tasks):
        super().prepare(tasks)
        self.loss_sum = self.add_state("loss_sum")
        self.labelled_steps = self.add_state("labelled_steps")
        # 0 stands for "not known yet".
        self.last_mean = self.add_state("last_mean")
        self.mean_before = self.add_state("mean_before")

    def task_weights(self, losses):
        has_labels = labelled(losses)
        self.loss_sum.assign_add(ops.where(has_labels, losses, 0.0))
        self.labelled_steps.assign_add(ops.cast(has_labels, "float32"))
        last, before = ops.convert_to_tensor(self.last_mean), ops.convert_to_tensor(self.mean_before)
        known = ops.logical_and(last > 0, before > 0)
        ratios = ops.where(known, last / ops.where(known, before, 1.0), 1.0)
        return len(self.tasks) * ops.softmax(ratios / self.temperature)

    def begin_epoch(self):
        super().begin_epoch()
        reset(self.loss_sum)
        reset(self.labelled_steps)

    def end_epoch(self):
        sums, steps, last, before = map(
            as_numpy, (self.loss_sum, self.labelled_steps, self.last_mean, self.mean_before)
        )
        self.mean_before.assign(np.where(steps > 0, last, before))
        self.last_mean.assign(np.where(steps > 0, sums / np.maximum(steps, 1), last))
        return super().end_epoch()

    def get_config(self):
        return super().get_config() | {"temperature": self.temperature}


@keras.saving.register_keras_serializable(package="eokeras")
class DrawingRule(Rule):
    """Base of rules that draw random numbers: goes on with the draws after save and load.

    Args:
        seed: of the draws; None takes a new one. Equal seeds give equal draws on one backend, with and without
            `jit_compile` other ones.
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store["seed_state"] = as_numpy(self.seed_generator.state)  # Keras saves no state of seed generators

    def load_own_variables(self, store):
        self.seed_generator.state.assign(store["seed_state"][()])
        super().load_own_variables({key: store[key] for key in store.keys() if key != "seed_state"})  # noqa: SIM118

    def get_config(self):
        return super().get_config() | {"seed": self.seed}


@keras.saving.register_keras_serializable(package="eokeras")
class RandomLossWeighting(DrawingRule):
    """New random weights in every step; the control for rules that claim to choose weights well.

        w = K softmax(z),    z_k ~ N(0, 1).

    The paper's weights sum to 1; here they sum to K, so that the mean of each is 1 and learning rates carry over
    from the plain sum. Costs nothing. A batch without labels of a task has L_k = 0, and its weight goes to no other.

    Args:
        seed: of the draws; None takes a new one.

    Example:
        >>> rule = RandomLossWeighting(seed=0)
        >>> rule.prepare(("climate_zone", "season"))
        >>> round(float(ops.sum(rule.task_weights(None))), 5)
        2.0

    Reference:
        Lin et al. 2022, https://arxiv.org/abs/2111.10603
    """

    def task_weights(self, losses):
        draws = keras.random.normal((len(self.tasks),), dtype="float32", seed=self.seed_generator)
        return len(self.tasks) * ops.softmax(draws)


def labelled(losses):
    """Which of the losses (K,) come from labels: one of exactly 0 has none, and one not finite says nothing."""
    return ops.logical_and(ops.isfinite(losses), losses > 0)


def reset(variable):
    """Sets a variable to 0."""
    variable.assign(ops.zeros(variable.shape, variable.dtype))


def as_numpy(variable):
    """The value of a variable as a NumPy array."""
    return np.array(ops.convert_to_numpy(variable))


def checked_weights(argument, weights):
    """The dict task -> number as floats; raises `InvalidArgumentError` for anything else."""
    if not isinstance(weights, Mapping):
        raise InvalidArgumentError(f"`{argument}` must be a dict of task -> number. Received: {argument}={weights!r}.")
    return {task: check_number(f"{argument}[{task!r}]", value, at_least=0) for task, value in weights.items()}


def weights_in_order(argument, weights, tasks):
    """float32 (K,) in the order of `tasks`, 1 each where `weights` is None; all tasks must be named, and no other."""
    if weights is not None and set(weights) != set(tasks):
        raise InvalidArgumentError(
            f"`{argument}` must name every task of the model, {list(tasks)}, and no other. Received: {list(weights)}."
        )
    return np.array([1.0 if weights is None else weights[task] for task in tasks], "float32")
