"""Augmentation for any number of channels, written for batches inside `Dataset.map`.

Letters: B batch, H rows, W columns, C channels.
"""

from collections.abc import Callable

import tensorflow as tf

Batch = dict[str, tf.Tensor]


def dihedral() -> Callable[[Batch, tf.Tensor], Batch]:
    """Flips and quarter turns: one of the eight symmetries of the square per patch.

    One draw serves all rasters of a patch, whatever their resolution: every entry of shape
    (B, H, W) or (B, H, W, C) moves, maps and masks included; others pass unchanged.

    Returns:
        A function (batch, seed of shape (2,)) -> batch with the same shapes and dtypes.
        Rasters must be square.

    Example:
        >>> batch = {"s2": tf.random.normal((2, 4, 4, 12)), "land_cover_map": tf.zeros((2, 4, 4), tf.int32)}
        >>> sorted(dihedral()(batch, tf.constant([0, 1])))
        ['land_cover_map', 's2']
    """

    def apply(batch: Batch, seed: tf.Tensor) -> Batch:
        size = tf.shape(next(iter(batch.values())))[0]
        draws = tf.random.stateless_uniform((3, size), seed, maxval=2, dtype=tf.int32) == 1
        return {name: _move(values, draws) if values.shape.rank >= 3 else values for name, values in batch.items()}

    return apply


def _move(values: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    # Two mirrors and a transposition generate the whole group, each element from one draw.
    rest = range(3, values.shape.rank)
    moves = (
        lambda x: tf.reverse(x, axis=[1]),
        lambda x: tf.reverse(x, axis=[2]),
        lambda x: tf.transpose(x, (0, 2, 1, *rest)),
    )
    for draw, move in zip(tf.unstack(draws, num=3), moves, strict=True):
        chosen = tf.reshape(draw, (-1,) + (1,) * (values.shape.rank - 1))
        values = tf.where(chosen, move(values), values)
    return values
