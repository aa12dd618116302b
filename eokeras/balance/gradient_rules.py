"""Rules that weigh tasks by their gradients. TensorFlow backend only.

Letters: K tasks, L_k loss of task k in a batch, w_k its weight, g_k its gradient on weights that tasks share.
"""

import keras
from keras import ops

from eokeras.balance.gradients import (
    gram_matrix,
    last_common_kernel,
    shared_weights,
    task_gradients,
)
from eokeras.balance.rules import DrawingRule, Rule
from eokeras.errors import check_choice, check_number

_LEAST_WEIGHT = 1e-3


@keras.saving.register_keras_serializable(package="eokeras")
class GradNorm(Rule):
    """Weights under which all tasks' gradients are of like size, and slower tasks' larger.

    On weights W that all tasks share, with L_k(0) the first loss of task k and means over tasks,

        G_k = |grad_W w_k L_k|,    r_k = (L_k / L_k(0)) / mean_i(L_i / L_i(0)),    target_k = mean_i(G_i) r_k ^ alpha.

    After each step the w_k take one Adam step of their own on sum_k |G_k - target_k|, the targets held constant, whose
    derivative is sign(G_k - target_k) |grad_W L_k|. Then they are scaled to sum to K. They start at 1, and none falls
    under 0.001 before the scaling, which the paper leaves open.

    Costs one backward pass per task down to W, beside the usual one: `on="last"`, the paper's choice, takes for W the
    last kernel that all tasks share, so the passes through the heads are all; `on="all"` takes all shared weights
    and pays a whole backward pass per task. A task without labels in a batch (L_k = 0) keeps its weight, and
    the means are over the others. Under gradient accumulation the w_k move with every batch.

    Args:
        alpha: strength of the pull on slow tasks, 0 or more.
        learning_rate: of the weights' own Adam.
        on: "last" or "all", see above.

    Raises:
        InvalidArgumentError: an argument is out of range; in training: the tasks share no such weights.

    Example:
        >>> rule = GradNorm(alpha=1.5)
        >>> losses, first = ops.array([1.0, 3.0]), ops.array([2.0, 2.0])
        >>> inverse_rates(losses, first, losses > 0).numpy().tolist()  # 0.5 and 1.5 of the mean of both, 1
        [0.5, 1.5]

    Reference:
        Chen et al. 2018, https://arxiv.org/abs/1711.02257
    """

    uses_gradients = True

    def __init__(self, alpha=1.5, learning_rate=0.025, on="last", **kwargs):
        super().__init__(**kwargs)
        check_choice("on", on, ("last", "all"))
        self.alpha, self.on = check_number("alpha", alpha, at_least=0), on
        self.learning_rate = check_number("learning_rate", learning_rate, above=0)

    def prepare(self, tasks):
        super().prepare(tasks)
        self.values = self.add_state("values", initializer="ones")
        self.first_losses = self.add_state("first_losses")  # 0 stands for "not known yet"
        self.optimizer = keras.optimizers.Adam(self.learning_rate)
        self.optimizer.build([self.values])

    def combine(self, tape, losses, scale, weights):
        """The gradient of a step and the weights in it; see `GradientBalancedModel.train_step`."""
        gradients = task_gradients(tape, losses, weights)
        chosen = [last_common_kernel(gradients, weights)] if self.on == "last" else shared_weights(gradients)
        norms = ops.sqrt(ops.diagonal(gram_matrix(gradients, chosen))) / scale
        # One pass for the sum: in a traced step those parts of the single gradients that nobody reads fall away.
        used = ops.convert_to_tensor(self.values) * 1.0
        combined = tape.gradient(losses, weights, output_gradients=ops.unstack(used, num=len(losses)))
        self.update(ops.stack(losses) / scale, norms)
        return combined, used

    def update(self, losses, norms):
        """One step of the weights, given the losses (K,) and the norms (K,) of their gradients on W."""
        active = ops.logical_and(losses > 0, norms > 0)
        active = ops.logical_and(active, ops.logical_and(ops.isfinite(losses), ops.isfinite(norms)))
        losses, norms = ops.where(active, losses, 0.0), ops.where(active, norms, 0.0)
        self.first_losses.assign(ops.where(self.first_losses > 0, self.first_losses, losses))
        before = ops.convert_to_tensor(self.values) * 1.0
        sizes = before * norms
        targets = target_norms(sizes, inverse_rates(losses, self.first_losses, active), self.alpha, active)
        self.optimizer.apply([ops.where(active, ops.sign(sizes - targets) * norms, 0.0)], [self.values])
        moved = ops.maximum(self.values, _LEAST_WEIGHT)
        # What the inactive hold stays theirs: the others are scaled to sum to the rest of K.
        total, held = _sum_where(active, moved), _sum_where(ops.logical_not(active), before)
        scaled = moved * (len(self.tasks) - held) / ops.where(total > 0, total, 1.0)
        self.values.assign(ops.where(active, scaled, before))

    def get_config(self):
        return super().get_config() | {"alpha": self.alpha, "learning_rate": self.learning_rate, "on": self.on}


def inverse_rates(losses, first_losses, active):
    """r (K,): how much of its first loss each task still has, over the mean of that; 0 where not active."""
    left = ops.where(active, losses / ops.where(active, first_losses, 1.0), 0.0)
    mean = _mean_where(active, left)
    return left / ops.where(mean > 0, mean, 1.0)


def target_norms(norms, rates, alpha, active):
    """Norms (K,) that the weighted gradients should have: the mean of the active ones times r ^ alpha."""
    return _mean_where(active, norms) * ops.power(rates, alpha)


def _sum_where(active, values):
    return ops.sum(ops.where(active, values, 0.0))


def _mean_where(active, values):
    count = ops.sum(ops.cast(active, "float32"))
    return _sum_where(active, values) / ops.maximum(count, 1.0)


@keras.saving.register_keras_serializable(package="eokeras")
class PCGrad(DrawingRule):
    """Where gradients of two tasks conflict, each loses its part against the other ("gradient surgery").

    On the weights that tasks share, for every task i and all others j in random order,

        g_i' <- g_i' - (g_i' . g_j) / |g_j|^2 g_j    where g_i' . g_j < 0,

    starting from g_i' = g_i; the step is along sum_i g_i'. Gradients that do not conflict are left as they are.
    Weights of single tasks take their plain gradient.

    All projections lie in the span of the g_k, so they are worked out on the K x K inner products, and the step is
    sum_k w_k g_k with w_k = 1 where nothing conflicts; these are logged. Costs a backward pass per task
    and their K gradients in memory at once. A task without labels in a batch has g_k = 0: it neither changes
    nor is projected on. Under gradient accumulation each batch is projected for itself.

    Args:
        seed: of the orders; None takes a new one.

    Raises:
        InvalidArgumentError: in training: the tasks share no weights.

    Example:
        >>> gram = ops.array([[1.0, -1.0], [-1.0, 2.0]])  # of g_1 = (1, 0) and g_2 = (-1, 1)
        >>> orders = ops.array([[0, 1], [0, 1]])
        >>> projection_weights(gram, orders).numpy().tolist()  # (1/2, 1/2) + (0, 1) = 3/2 g_1 + ... = (1/2, 3/2)
        [2.0, 1.5]

    Reference:
        Yu et al. 2020, https://arxiv.org/abs/2001.06782
    """

    uses_gradients = True

    def combine(self, tape, losses, scale, weights):
        """The gradient of a step and the weights in it; see `GradientBalancedModel.train_step`."""
        gradients = task_gradients(tape, losses, weights)
        shared = shared_weights(gradients)
        draws = keras.random.uniform((len(losses), len(losses)), dtype="float32", seed=self.seed_generator)
        # A common factor, as of loss scaling, changes no projection.
        factors = projection_weights(gram_matrix(gradients, shared), ops.argsort(draws, axis=1))
        combined = []
        for index, column in enumerate(zip(*gradients, strict=True)):
            terms = [
                value * ops.cast(factors[task], value.dtype) if index in shared else value
                for task, value in enumerate(column)
                if value is not None
            ]
            combined.append(sum(terms[1:], terms[0]) if terms else None)
        return combined, factors


def projection_weights(gram, orders):
    """w (K,) with sum_k w_k g_k = sum_i g_i' of `PCGrad`.

    Args:
        gram: inner products (K, K) of the g_k.
        orders: (K, K) int; row i holds all tasks in the order in which g_i is projected.
    """
    tasks = gram.shape[0]
    squares = ops.diagonal(gram)
    projected = ops.eye(tasks, dtype=gram.dtype)  # row i: g_i' as factors of the g_k
    for turn in range(tasks):
        others = orders[:, turn]
        products = ops.sum(projected * ops.take(gram, others, axis=0), axis=1)
        square = ops.take(squares, others)
        conflicts = ops.logical_and(ops.logical_and(products < 0, square > 0), others != ops.arange(tasks))
        steps = ops.where(conflicts, products / ops.where(square > 0, square, 1.0), 0.0)
        projected = projected - ops.expand_dims(steps, 1) * ops.one_hot(others, tasks, dtype=gram.dtype)
    return ops.sum(projected, axis=0)
