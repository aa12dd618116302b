"""How batches are made beside training: several at once, in order, a few ahead."""

from collections.abc import Callable

import tensorflow as tf

_AHEAD = 2  # batches that wait ready, beside those in the making: more would only take memory


def map_ahead(dataset: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
    """`function` of every element, in order, for as many at once as there are cores (16 at most).

    tf.data's tuner is off, in all that is derived from the data set too. Its thread sleeps twice as long after every
    look, and an iterator cannot end before it wakes: an epoch of `fit` may take up to twice its time (TensorFlow 2.21).
    Without the tuner `AUTOTUNE` stands for the number of cores.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.prefetch(_AHEAD).with_options(options)
