"""What may be hidden: whole bands, and a window of the ground.

Letters: B batch, H rows, W columns, C channels.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from eokeras import programs
from eokeras.augment.composition import Augmentation, Batch, batch_size, by_field
from eokeras.augment.missing import IMAGES, check_fields, filling, present_fields
from eokeras.errors import InvalidArgumentError, check_number


def drop_bands(rate: float = 0.2, fields: Sequence[str] = IMAGES, statistics: Mapping | None = None) -> Augmentation:
    """Hides whole bands of whole patches; of every raster at least one band stays.

    Args:
        rate: probability in (0, 1) that a band is hidden. Of a raster of C bands one is hidden with probability
            rate - rate ** C / C, as one always stays.
        fields: rasters (B, H, W, C).
        statistics: `load_schema(records).statistics`: hidden numbers become the means of training, which
            `calibrate="standardise"` turns into 0. None: they become "no data" (0 in Sentinel-2, NaN in floating
            point), which calibration turns into black and into the mean.

    Returns:
        A function (batch, seed of shape (2,)) -> batch with the same shapes and dtypes.

    Raises:
        InvalidArgumentError: an argument is out of range, or a batch holds none of `fields`.

    Example:
        >>> batch = {"s2_10m": tf.ones((1, 2, 2, 4), tf.uint16)}
        >>> dropped = drop_bands(0.9)(batch, tf.constant([0, 1]))["s2_10m"]
        >>> int(tf.reduce_max(dropped))
        1
    """
    rate, fields = check_number("rate", rate, above=0), check_fields(fields)
    if rate >= 1:
        raise InvalidArgumentError(f"`rate` must be a probability below 1. Received: rate={rate}.")

    def change(name: str, values: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        draws = tf.random.stateless_uniform((tf.shape(values)[0], 1, 1, values.shape[-1]), seed)
        kept = (draws >= rate) | tf.equal(draws, tf.reduce_max(draws, axis=-1, keepdims=True))
        return programs.run(tf.where, (kept, values, filling(name, values, statistics)))

    return by_field(fields, "drop_bands", change)


def cutout(edge: float = 0.25, fields: Sequence[str] = IMAGES, statistics: Mapping | None = None) -> Augmentation:
    """Hides one square window of every patch, the same ground in all its rasters.

    The window begins and ends on pixels of the coarsest raster, so that rasters of 10, 20 and 60 m lose one extent.
    Targets are left alone: classes and elevation under the window are still asked for.

    Args:
        edge: of the window in edges of the patch, in (0, 1); rounded to pixels of the coarsest raster, at least one.
        fields: square rasters (B, H, W, C) whose sizes are multiples of the coarsest one's.
        statistics: as in `drop_bands`.

    Returns:
        A function (batch, seed of shape (2,)) -> batch with the same shapes and dtypes.

    Raises:
        InvalidArgumentError: an argument is out of range, a batch holds none of `fields`, or their sizes do not fit.

    Example:
        >>> batch = {"s2_10m": tf.ones((1, 12, 12, 4), tf.uint16), "s2_60m": tf.ones((1, 2, 2, 2), tf.uint16)}
        >>> cut = cutout(0.5)(batch, tf.constant([0, 1]))
        >>> {name: float(tf.reduce_mean(tf.cast(values, tf.float32))) for name, values in cut.items()}
        {'s2_10m': 0.75, 's2_60m': 0.75}

    Reference:
        DeVries and Taylor 2017, https://arxiv.org/abs/1708.04552
    """
    edge, fields = check_number("edge", edge, above=0), check_fields(fields)
    if edge >= 1:
        raise InvalidArgumentError(f"`edge` must be below 1, or nothing would be left. Received: edge={edge}.")

    def apply(batch: Batch, seed: tf.Tensor) -> Batch:
        names = present_fields(batch, fields, "cutout")
        cells = _coarsest(batch, names)
        wide = min(max(1, round(edge * cells)), cells)
        corners = tf.random.stateless_uniform((2, batch_size(batch), 1), seed, maxval=cells - wide + 1, dtype=tf.int32)
        place = tf.range(cells)
        inside = (place >= corners) & (place < corners + wide)  # (2, B, cells): rows and columns
        changed = dict(batch)
        for name in names:
            values = batch[name]
            rows, columns = tf.unstack(tf.repeat(inside, values.shape[1] // cells, axis=-1), num=2)
            hidden = rows[:, :, tf.newaxis, tf.newaxis] & columns[:, tf.newaxis, :, tf.newaxis]
            changed[name] = programs.run(tf.where, (hidden, filling(name, values, statistics), values))
        return changed

    return apply


def _coarsest(batch: Batch, names: Sequence[str]) -> int:
    """Rows of the coarsest of the named rasters."""
    sizes = {name: tuple(batch[name].shape[1:3]) for name in names}
    cells = min(rows for rows, _ in sizes.values())
    if any(rows != columns or rows % cells for rows, columns in sizes.values()):
        raise InvalidArgumentError(
            "`fields` must be square rasters whose sizes are multiples of the coarsest one's. "
            f"Received: {', '.join(f'{name} of {size}' for name, size in sizes.items())}."
        )
    return cells
