"""A random window of the ground, enlarged to the size of the patch, or to another.

Letters: B batch, H rows, W columns, C channels.
"""

import tensorflow as tf

from eokeras.augment.composition import Augmentation, Batch, batch_size
from eokeras.augment.geometry import recount_fractions
from eokeras.augment.missing import from_averages, is_missing, restore, to_averages
from eokeras.ben_ge.input_names import view_count
from eokeras.errors import InvalidArgumentError, check_number


def random_resized_crop(
    size: int | None = None,
    area: tuple[float, float] = (0.25, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> Augmentation:
    """One random window per patch, the same ground for all its rasters, resampled to one size.

    Images are resampled bilinearly with half-pixel centres, maps of classes (B, H, W) by nearest neighbour. A pixel
    whose nearest stored pixel is missing takes over that number (0, NaN, -inf, -32768); all others are averages of
    pixels that are there, of Sentinel-1 in power and not in decibels. Shares of land cover are counted anew in the
    window's map. Labels of the scene pass unchanged.

    A window of a quarter of the area doubles the size of everything in it: what 10 m pixels measure, a network
    trained so may not use. Where absolute size matters, take `area=(0.5, 1)`, or `random_crop`. There is no smoothing
    where a window shrinks: choose `size` no smaller than half the patch.

    Args:
        size: rows and columns that the finest raster gets; coarser ones in proportion. None: as they are.
        area: smallest and largest area of the window in areas of the patch, in (0, 1]; drawn uniformly.
        aspect: smallest and largest width over height; drawn uniformly on a logarithmic scale. A window that would
            stand out of the patch is cut to its edge.

    Returns:
        A function (batch, seed of shape (2,)) -> batch with the same dtypes.

    Raises:
        InvalidArgumentError: an argument is out of range, a raster is not square, `size` gives one a broken number
            of pixels, the batch holds views already, or there are shares of land cover but no map to count them in.

    Example:
        >>> batch = {"s2_10m": tf.ones((2, 120, 120, 4), tf.uint16), "land_cover_map": tf.ones((2, 120, 120), tf.uint8)}
        >>> cropped = random_resized_crop(96)(batch, tf.constant([0, 1]))
        >>> cropped["s2_10m"].shape, cropped["land_cover_map"].dtype
        (TensorShape([2, 96, 96, 4]), tf.uint8)

    Reference:
        Szegedy et al. 2014, https://arxiv.org/abs/1409.4842; as a view: Chen et al. 2020,
        https://arxiv.org/abs/2002.05709
    """
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
        raise InvalidArgumentError(f"`size` must be a positive integer or None. Received: size={size!r}.")
    area, aspect = _ascending("area", area), _ascending("aspect", aspect)
    if area[1] > 1:
        raise InvalidArgumentError(f"`area` must be at most 1, the whole patch. Received: area={area}.")

    def apply(batch: Batch, seed: tf.Tensor) -> Batch:
        if view_count(batch):
            rule = "`batch` must hold no views yet: crop inside of `views`, or before."
            raise InvalidArgumentError(f"{rule} Received: {', '.join(batch)}.")
        sizes = _sizes(batch, size)
        window = _draw_window(batch_size(batch), seed, area, aspect)
        cropped = {
            name: _resample(name, values, window, sizes[name]) if name in sizes else values
            for name, values in batch.items()
        }
        if "land_cover_fractions" in batch:
            cropped["land_cover_fractions"] = recount_fractions(cropped)
        return cropped

    return apply


def _ascending(argument: str, pair) -> tuple[float, float]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise InvalidArgumentError(f"`{argument}` must be (smallest, largest). Received: {argument}={pair!r}.")
    low, high = (check_number(argument, number, above=0) for number in pair)
    if low > high:
        raise InvalidArgumentError(f"`{argument}` must be (smallest, largest). Received: {argument}={pair!r}.")
    return low, high


def _sizes(batch: Batch, size: int | None) -> dict[str, int]:
    """Raster -> rows and columns that it gets."""
    shapes = {name: tuple(values.shape[1:3]) for name, values in batch.items() if values.shape.rank >= 3}
    if not shapes or any(rows is None or rows != columns for rows, columns in shapes.values()):
        raise InvalidArgumentError(f"A resized crop needs square rasters of known size. Received: {shapes}.")
    finest = max(rows for rows, _ in shapes.values())
    size = finest if size is None else size
    broken = {name: rows for name, (rows, _) in shapes.items() if rows * size % finest}
    if broken:
        raise InvalidArgumentError(
            f"`size` must give every raster a whole number of pixels. Received: size={size}, of {finest} rows; rasters "
            f"of other rows: {broken}."
        )
    return {name: rows * size // finest for name, (rows, _) in shapes.items()}


def _draw_window(count, seed, area, aspect) -> tf.Tensor:
    """(4, B): top, left, height and width of a window in edges of the patch."""
    draws = tf.random.stateless_uniform((4, count), seed)
    wanted = area[0] + (area[1] - area[0]) * draws[0]
    low, high = (tf.math.log(tf.constant(number, tf.float32)) for number in aspect)
    ratio = tf.exp(low + (high - low) * draws[1])
    height, width = tf.minimum(tf.sqrt(wanted / ratio), 1.0), tf.minimum(tf.sqrt(wanted * ratio), 1.0)
    return tf.stack([draws[2] * (1 - height), draws[3] * (1 - width), height, width])


def _resample(name: str, stored: tf.Tensor, window: tf.Tensor, size: int) -> tf.Tensor:
    """The window of a raster (B, H, W[, C]) as `size` rows and columns, in its dtype."""
    is_map = stored.shape.rank == 3
    values = stored[..., tf.newaxis] if is_map else stored
    boxes = _boxes(window, values.shape[1], size)
    nearest = tf.cast(_sample(values, boxes, size, "nearest"), stored.dtype)
    if is_map:
        return nearest[..., 0]
    missing = is_missing(name, values)
    numbers = to_averages(name, values, missing)
    blended = tf.cond(
        tf.reduce_any(missing),
        # Weights of the pixels that are there; the nearest has a quarter at least.
        lambda: tf.math.divide_no_nan(
            _sample(numbers, boxes, size, "bilinear"), _sample(tf.cast(~missing, tf.float32), boxes, size, "bilinear")
        ),
        lambda: _sample(numbers, boxes, size, "bilinear"),
    )
    blended = from_averages(name, tf.ensure_shape(blended, nearest.shape))
    return restore(name, blended, nearest, is_missing(name, nearest))


def _boxes(window: tf.Tensor, rows: int, size: int) -> tf.Tensor:
    """(B, 4) first and last sampled place of the rows and columns, for `_sample` of a raster of so many rows.

    The operation takes places in units of the raster less one pixel, and puts the first and the last sample on them.
    `_sample` adds a pixel on all sides.
    """
    top, left, height, width = tf.unstack(window)
    ends = []
    for start, extent in ((top, height), (left, width)):
        step = extent * rows / size
        first = start * rows + step / 2 + 0.5  # half-pixel centres, and the added pixel
        ends.append((first / (rows + 1), (first + (size - 1) * step) / (rows + 1)))
    (first_row, last_row), (first_column, last_column) = ends
    return tf.stack([first_row, first_column, last_row, last_column], axis=1)


def _sample(values: tf.Tensor, boxes: tf.Tensor, size: int, method: str) -> tf.Tensor:
    """(B, size, size, C) float32; edges repeated."""
    padded = tf.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="SYMMETRIC")
    places = tf.range(tf.shape(values)[0])
    return tf.image.crop_and_resize(padded, boxes, places, (size, size), method=method)
