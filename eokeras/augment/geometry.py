"""Symmetries of the square, and windows of whole pixels: geometry that invents no numbers.

Letters: B batch, H rows, W columns, C channels.
"""

import tensorflow as tf

from eokeras import programs
from eokeras.augment.composition import Augmentation, Batch, batch_size
from eokeras.ben_ge import schema
from eokeras.errors import InvalidArgumentError

_PATCH = schema.RASTERS["s2_10m"].shape[0]  # rows, and columns, of a patch on the 10 m grid
_STEP = _PATCH // schema.RASTERS["s2_60m"].shape[0]  # 10 m pixels along one of 60 m


def random_crop(size: int) -> Augmentation:
    """One random square window per patch, the same ground for all its rasters.

    Windows begin and end on 60 m pixels, so that rasters of 10, 20 and 60 m still cover one extent:
    every raster of the batch is cut, maps included. The shares of land cover are counted anew in the
    window's map. Labels of the scene (climate zone, season, BigEarthNet-19) pass unchanged, though
    what one of the 19 labels names may lie outside of the window.

    Args:
        size: rows and columns of the window on the 10 m grid: a multiple of 6, 6 to 120.

    Returns:
        A function (batch of stored fields, seed of shape (2,)) -> batch with rasters of size / 120 of their
        height and width.

    Raises:
        InvalidArgumentError: `size` is no such number, a raster is no whole patch (it may have been cropped
            before), or there are shares of land cover but no map to count them in.

    Example:
        >>> cropped = random_crop(24)({"s2_60m": tf.zeros((1, 20, 20, 2))}, tf.constant([0, 1]))
        >>> cropped["s2_60m"].shape
        TensorShape([1, 4, 4, 2])
    """
    if not isinstance(size, int) or isinstance(size, bool) or size not in range(_STEP, _PATCH + 1, _STEP):
        raise InvalidArgumentError(f"`size` must be a multiple of {_STEP} up to {_PATCH}. Received: size={size!r}.")
    places = (_PATCH - size) // _STEP + 1  # where a window may begin, in 60 m pixels

    def apply(batch: Batch, seed: tf.Tensor) -> Batch:
        corners = tf.random.stateless_uniform((2, batch_size(batch)), seed, maxval=places, dtype=tf.int32)
        cropped = {
            name: _window(name, values, corners, size) if values.shape.rank >= 3 else values
            for name, values in batch.items()
        }
        if "land_cover_fractions" in batch:
            cropped["land_cover_fractions"] = recount_fractions(cropped)
        return cropped

    return apply


def _window(name: str, values: tf.Tensor, corners: tf.Tensor, size: int) -> tf.Tensor:
    stored = schema.RASTERS[name].shape[:2] if name in schema.RASTERS else "a stored raster"
    if tuple(values.shape[1:3]) != stored:
        raise InvalidArgumentError(
            "A random crop needs whole patches as stored. "
            f"Received: {name!r} of {tuple(values.shape[1:3])}, not {stored}."
        )
    per_cell = stored[0] * _STEP // _PATCH  # pixels of this raster along one 60 m pixel
    inside = tf.range(size // _STEP * per_cell)
    rows, columns = (first[:, tf.newaxis] * per_cell + inside for first in tf.unstack(corners, num=2))
    return programs.run(_pixels, (values, rows, columns))


def _pixels(values: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Those of `values` (B, H, W[, C]) in some rows (B, R) and columns (B, S)."""
    return tf.gather(tf.gather(values, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


def recount_fractions(batch: Batch) -> tf.Tensor:
    """(B, 11) share of every class in the map of a batch.

    Raises:
        InvalidArgumentError: the batch holds no map.
    """
    if "land_cover_map" not in batch:
        raise InvalidArgumentError(
            "A random crop counts land-cover fractions anew in the map: add the target `land_cover_map`. "
            f"Received: {', '.join(batch)}."
        )
    codes = tf.constant([entry.code for entry in schema.LAND_COVER], batch["land_cover_map"].dtype)
    is_class = batch["land_cover_map"][..., tf.newaxis] == codes
    return tf.reduce_mean(tf.cast(is_class, batch["land_cover_fractions"].dtype), axis=(1, 2))


def dihedral() -> Augmentation:
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
        draws = tf.random.stateless_uniform((3, batch_size(batch)), seed, maxval=2, dtype=tf.int32) == 1
        return {
            name: programs.run(_move, (values, draws)) if values.shape.rank >= 3 else values
            for name, values in batch.items()
        }

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
