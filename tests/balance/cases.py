"""Quadratic tasks that share their weights, and the rules once more in NumPy as the papers write them."""

import keras
import numpy as np
import tensorflow as tf

from eokeras.balance import balanced

RATE = 0.1
STEPS = 3


def quadratic(theta, tasks=("a", "b")):
    """A model whose every output is the shared vector theta (D,), so that a mean squared error has gradient
    2 / D (theta - target): for D = 1 the task (theta - a)^2, for D = 2 a gradient of just theta - a.
    """
    inputs = keras.Input((1,), name="s2")
    shared = keras.layers.Dense(len(theta), use_bias=False, name="theta")
    x = shared(inputs)
    model = keras.Model([inputs], {task: keras.layers.Identity(name=task)(x) for task in tasks}, name="quadratic")
    shared.kernel.assign(np.reshape(theta, (1, -1)))
    return model


def theta_of(model):
    return np.array(keras.ops.convert_to_numpy(model.get_layer("theta").kernel))[0]


def quadratic_batches(targets, steps=STEPS):
    """Equal batches of one element: `targets` is task -> vector (D,)."""
    targets = {task: np.tile(np.array(value, "float32"), (steps, 1)) for task, value in targets.items()}
    return tf.data.Dataset.from_tensor_slices(({"s2": np.ones((steps, 1), "float32")}, targets)).batch(1)


def learner(rule, theta, tasks=("a", "b"), optimizer=None, loss="MeanSquaredError", run_eagerly=True, **options):
    """A compiled quadratic model; eager unless told otherwise, as tracing costs more than a few steps."""
    model = balanced(quadratic(theta, tasks), rule)
    optimizer = keras.optimizers.SGD(RATE) if optimizer is None else optimizer
    model.compile(optimizer, loss=dict.fromkeys(tasks, loss), run_eagerly=run_eagerly, **options)
    return model


def fitted(rule, theta, targets, epochs=1, steps=STEPS, **options):
    """(theta, history) after `fit` of quadratic tasks."""
    model = learner(rule, theta, tuple(targets), **options)
    history = model.fit(quadratic_batches(targets, steps), epochs=epochs, verbose=0).history
    return theta_of(model), history


class Transcript:
    """Base of the rules in NumPy: one step on losses (K,) and gradients (K, D) gives the shared gradient (D,)."""

    def step(self, losses, gradients):
        weights = self.weights(losses, gradients)
        return weights @ gradients, weights

    def end_epoch(self):
        pass


class Fixed(Transcript):
    def __init__(self, *weights):
        self.fixed = np.array(weights)

    def weights(self, losses, gradients):
        return self.fixed


class Uncertainty(Transcript):
    """Gaussian: exp(-s) L / 2 + s / 2, s trained by the same gradient descent."""

    def __init__(self, tasks):
        self.s = np.zeros(tasks)

    def weights(self, losses, gradients):
        weights = np.exp(-self.s) / 2
        self.s = self.s - RATE * (0.5 - weights * losses)
        return weights


class Average(Transcript):
    """Dynamic weight average, temperature 2, over the list of all epoch means."""

    def __init__(self, tasks):
        self.means, self.now, self.tasks = [], [], tasks

    def weights(self, losses, gradients):
        self.now.append(losses)
        if len(self.means) < 2:
            return np.ones(self.tasks)
        raised = np.exp(self.means[-1] / self.means[-2] / 2)
        return self.tasks * raised / raised.sum()

    def end_epoch(self):
        self.means.append(np.mean(self.now, axis=0))
        self.now = []


class Normed(Transcript):
    """GradNorm with Adam written out; the norms are over all of the shared vector."""

    def __init__(self, tasks, alpha=1.5, rate=0.025):
        self.w, self.alpha, self.rate = np.ones(tasks), alpha, rate
        self.first, self.t, self.m, self.v = None, 0, np.zeros(tasks), np.zeros(tasks)

    def weights(self, losses, gradients):
        used = self.w
        self.first = losses if self.first is None else self.first
        norms = np.linalg.norm(gradients, axis=1)
        sizes = used * norms
        rates = (losses / self.first) / np.mean(losses / self.first)
        gradient = np.sign(sizes - sizes.mean() * rates**self.alpha) * norms
        self.t += 1
        self.m, self.v = 0.9 * self.m + 0.1 * gradient, 0.999 * self.v + 0.001 * gradient**2
        step = (self.m / (1 - 0.9**self.t)) / (np.sqrt(self.v / (1 - 0.999**self.t)) + 1e-7)
        moved = used - self.rate * step
        self.w = len(used) * moved / moved.sum()
        return used


def surgery(gradients, orders):
    """PCGrad as the paper's algorithm 1: the sum over tasks of their projected gradients."""
    projected = [np.array(g, float) for g in gradients]
    for i, order in enumerate(orders):
        for j in order:
            product = projected[i] @ gradients[j]
            if j != i and product < 0:
                projected[i] = projected[i] - product / (gradients[j] @ gradients[j]) * gradients[j]
    return np.sum(projected, axis=0)


def simulated(transcript, theta, targets, epochs, steps=STEPS):
    """(theta, mean weights (epochs, K)) by gradient descent in NumPy."""
    theta, log = np.array(theta, float), []
    for _ in range(epochs):
        used = []
        for _ in range(steps):
            errors = theta - np.array(list(targets.values()), float)
            gradient, weights = transcript.step(np.mean(errors**2, axis=1), 2 / len(theta) * errors)
            theta = theta - RATE * gradient
            used.append(weights)
        transcript.end_epoch()
        log.append(np.mean(used, axis=0))
    return theta, np.array(log)


def logged_weights(history, tasks=("a", "b")):
    return np.transpose([history[f"weight_{task}"] for task in tasks])
