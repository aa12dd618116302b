"""Gradients of single tasks: which weights tasks share, how their gradients stand to each other.

TensorFlow backend only. Letters: K tasks, g_k gradient of task k on the shared weights.
"""

import keras
from keras import ops

from eokeras.errors import InvalidArgumentError


def check_backend(name):
    """Raises `InvalidArgumentError` unless Keras runs on TensorFlow, where gradients of single tasks can be had."""
    if keras.backend.backend() != "tensorflow":
        raise InvalidArgumentError(
            f"`{name}` needs the gradient of each task, which is taken on the TensorFlow backend only. Received: "
            f"backend {keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow, or take a rule that needs losses only."
        )


def task_gradients(tape, losses, weights):
    """Gradient of each of K losses for each weight: a list per loss, None where a loss does not depend on a weight.

    Args:
        tape: a persistent `tf.GradientTape` that has recorded the losses.
        losses: list of K scalars.
        weights: list of variables.
    """
    import tensorflow as tf

    gradients = [tape.gradient(loss, weights) for loss in losses]
    return [[None if value is None else tf.convert_to_tensor(value) for value in row] for row in gradients]


def shared_weights(gradients):
    """Indices of the weights that the gradient of two tasks or more reaches.

    Raises:
        InvalidArgumentError: there are none.
    """
    reached = [sum(value is not None for value in column) for column in zip(*gradients, strict=True)]
    shared = [index for index, tasks in enumerate(reached) if tasks > 1]
    if not shared:
        raise InvalidArgumentError(
            "`model` must have trainable weights that two tasks or more share. Received: a model without any."
        )
    return shared


def last_common_kernel(gradients, weights):
    """Index of the last kernel (rank 2 or more) that the gradients of all tasks reach, in the order of the model.

    Raises:
        InvalidArgumentError: there is none.
    """
    columns = list(zip(*gradients, strict=True))
    common = [
        index
        for index, column in enumerate(columns)
        if len(weights[index].shape) > 1 and all(value is not None for value in column)
    ]
    if not common:
        raise InvalidArgumentError("`model` must have a trainable kernel that all tasks share. Received: none.")
    return common[-1]


def gram_matrix(gradients, indices):
    """Inner products (K, K) of the tasks' gradients over the weights at `indices`; a missing gradient counts as 0."""
    tasks = range(len(gradients))
    products = {(a, b): _inner_product(gradients[a], gradients[b], indices) for a in tasks for b in tasks if a <= b}
    return ops.stack([ops.stack([products[min(a, b), max(a, b)] for b in tasks]) for a in tasks])


def _inner_product(first, second, indices):
    pairs = [(first[index], second[index]) for index in indices]
    products = [
        ops.sum(ops.cast(a, "float32") * ops.cast(b, "float32")) for a, b in pairs if a is not None and b is not None
    ]
    return sum(products, ops.zeros((), "float32"))


def cosines(gram):
    """Cosines (K, K) from inner products; NaN beside a gradient of 0."""
    norms = ops.sqrt(ops.diagonal(gram))
    return gram / (ops.expand_dims(norms, 0) * ops.expand_dims(norms, 1))
