"""Epochs whose order and draws follow from a seed and the number of the epoch alone.

A run that was interrupted after epoch k and goes on with `first_epoch=k` in another process sees what an unbroken one
would have seen: nothing hangs on how often a data set was iterated before, or on a global seed.
"""

import itertools
import random
from collections.abc import Callable
from functools import partial

import numpy as np
import tensorflow as tf

from eokeras.augment.composition import fold


def numbered_epochs(
    epoch: Callable[[tf.Tensor], tf.data.Dataset], seed: int | None, first_epoch: int, repeat: bool
) -> tf.data.Dataset:
    """Elements of one epoch after the other, each with what its draws follow from.

    Args:
        epoch: seed (2,) int64 of an epoch -> its elements.
        seed: of all epochs; None draws one, which `keras.utils.set_random_seed` makes repeatable.
        first_epoch: number of the first one. Every iteration goes on with the next number.
        repeat: endless epochs in one iteration.

    Returns:
        A data set of (element, seed (2,) int64 of its epoch, position () int64 within the epoch).
    """
    seed = random.getrandbits(31) if seed is None else seed
    count = itertools.count(first_epoch)  # no variable: within a strategy's scope it would lie on the accelerators
    number = partial(tf.numpy_function, lambda: np.int64(next(count)), [], tf.int64)
    numbers = tf.data.Dataset.from_tensors(0).map(lambda _: tf.ensure_shape(number(), ()))
    numbers = numbers.repeat() if repeat else numbers

    def elements(number: tf.Tensor) -> tf.data.Dataset:
        own = tf.stack([tf.constant(seed, tf.int64), number])
        return tf.data.Dataset.zip(epoch(own), tf.data.Dataset.from_tensors(own).repeat(), tf.data.Dataset.counter())

    size = tf.data.INFINITE_CARDINALITY if repeat else epoch(tf.zeros(2, tf.int64)).cardinality()
    return numbers.flat_map(elements).apply(tf.data.experimental.assert_cardinality(size))


def seed_of_batch(seeds: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Seed (2,) for draws of a batch, from the seeds (B, 2) and positions (B,) of its elements."""
    return fold(seeds[0], positions[0])


def shuffled(dataset: tf.data.Dataset, size: int, seed: tf.Tensor) -> tf.data.Dataset:
    """`Dataset.shuffle` with a buffer of `size` elements by a seed (2,) that may be computed in a graph.

    The public method mixes the global seed in, and fails on a computed seed where that is 0.
    """
    seed, specs = tf.cast(seed, tf.int64), tf.nest.flatten(dataset.element_spec)
    variant = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(dataset),
        buffer_size=size,
        seed=seed[0],
        seed2=seed[1],
        output_types=[spec.dtype for spec in specs],
        output_shapes=[spec.shape for spec in specs],
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(variant, dataset.element_spec)
