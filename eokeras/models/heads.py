"""Heads: functions from a dict of levels to the logits, or numbers, of one task.

Each factory returns a function `head(levels, name)`; `name` is the task and the name of the
last layer, which computes in float32 also under mixed precision. Unless told which level to read,
heads fit every encoder and fusion. Letters: B batch, H rows, W columns, C channels, N classes.
"""

from keras import layers

from eokeras.errors import InvalidArgumentError, check_choice, check_number
from eokeras.layers import Enlarge
from eokeras.models.encoders.contract import VECTOR, check_positive, level_name, map_levels

POOLINGS = ("average", "flatten")


def scene_head(classes, pooling="average", dropout=None, level=None):
    """One answer per patch: a class, several labels, or fractions.

    Args:
        classes: number N of classes.
        pooling: "average": mean over the map, dropout, dense. "flatten": the tutorial's head
            (1x1 convolution to one channel, flatten, dropout, dense), which needs a fixed height
            and width.
        dropout: rate in [0, 1). None: 0.5 for "flatten" (the tutorial's), 0 for "average".
        level: which level of the encoder it reads. None: `vector` where there is one (nothing is
            pooled then), else `stride_1`, else the coarsest map.

    Input shape:
        A dict of levels: maps (B, H, W, C) or a `vector` (B, C).

    Output shape:
        Logits (B, N), float32.

    Returns:
        A function `head(levels, name)`.

    Raises:
        InvalidArgumentError: an argument is out of range, the encoder lacks `level` (the message lists its
            levels), or "flatten" meets an unknown height or width.

    Example:
        >>> import keras
        >>> head = scene_head(12)
        >>> logits = head({"stride_1": keras.Input((120, 120, 64))}, name="climate_zone")
        >>> logits.shape
        (None, 12)
    """
    check_positive("classes", classes)
    return _pooled_head(classes, pooling, _dropout_rate(dropout, pooling, flatten_default=0.5), level)


def regression_head(pooling="average", dropout=None, level=None):
    """One number per patch, without activation.

    Args:
        pooling: as in `scene_head`.
        dropout: rate in [0, 1). None: 0.1 for "flatten" (the tutorial's), 0 for "average".
        level: as in `scene_head`.

    Input shape:
        A dict of levels: maps (B, H, W, C) or a `vector` (B, C).

    Output shape:
        (B, 1), float32, in the unit of the target.

    Returns:
        A function `head(levels, name)`.

    Raises:
        InvalidArgumentError: as in `scene_head`.

    Example:
        >>> import keras
        >>> head = regression_head()
        >>> head({"stride_1": keras.Input((120, 120, 64))}, name="season").shape
        (None, 1)
    """
    return _pooled_head(1, pooling, _dropout_rate(dropout, pooling, flatten_default=0.1), level)


def map_head(classes, level=None):
    """One class per pixel of the 10 m grid: a 1x1 convolution, enlarged where the level is coarser.

    Args:
        classes: number N of classes.
        level: which level of the encoder it reads. None: the finest map.

    Input shape:
        A dict of levels; the one read is `stride_n` (B, H / n, W / n, C). Where n is not 1, it must
        divide H and W.

    Output shape:
        Logits (B, H, W, N), float32; from a coarser level enlarged n times, bilinearly.

    Returns:
        A function `head(levels, name)`.

    Raises:
        InvalidArgumentError: `classes` is no positive integer, or the encoder lacks `level` or has no map.

    Example:
        >>> import keras
        >>> head = map_head(11)
        >>> head({"stride_1": keras.Input((120, 120, 64))}, name="land_cover_map").shape
        (None, 120, 120, 11)
        >>> head({"stride_12": keras.Input((10, 10, 256))}, name="land_cover_map").shape
        (None, 120, 120, 11)
    """
    check_positive("classes", classes)

    def head(levels, name):
        return _pointwise_map(levels, classes, level, name, name)

    return head


def dense_regression_head(level=None, scale=1.0):
    """One number per pixel of the 10 m grid, as elevation: a 1x1 convolution without activation.

    Args:
        level: as in `map_head`.
        scale: what the network's 1 means in the unit of the target. Networks start near 0 and
            learn numbers of order 1 soonest; for metres of relief take their standard deviation
            in training, `schema.statistics["elevation"]["std"]`.

    Input shape:
        As in `map_head`.

    Output shape:
        (B, H, W, 1), float32, in the unit of the target.

    Returns:
        A function `head(levels, name)`.

    Raises:
        InvalidArgumentError: `scale` is no finite number above 0, or the encoder lacks `level` or has no map.

    Example:
        >>> import keras
        >>> head = dense_regression_head(scale=20.0)
        >>> head({"stride_1": keras.Input((120, 120, 64))}, name="elevation").shape
        (None, 120, 120, 1)
    """
    scale = check_number("scale", scale, above=0)

    def head(levels, name):
        if scale == 1:
            return _pointwise_map(levels, 1, level, name, name)
        x = _pointwise_map(levels, 1, level, name, f"{name}_unscaled")
        return layers.Rescaling(scale, dtype="float32", name=name)(x)

    return head


def _pointwise_map(levels, units, level, task, name):
    """A 1x1 convolution of a level to `units` channels, enlarged to stride 1; `name` is that of its last layer."""
    maps = map_levels(levels)
    chosen = level or level_name(min(maps, default=1))
    x = _pick(levels, chosen, task)
    _check_map(x, chosen)
    stride = {level_name(stride): stride for stride in maps}.get(chosen, 1)
    if stride == 1:
        return layers.Conv2D(units, 1, dtype="float32", name=name)(x)
    x = layers.Conv2D(units, 1, dtype="float32", name=f"{name}_{chosen}")(x)
    return Enlarge(stride, dtype="float32", name=name)(x)


def _pooled_head(units, pooling, dropout, level):
    def head(levels, name):
        chosen = level or scene_level(levels)
        x = _pick(levels, chosen, name)
        if chosen != VECTOR:
            _check_map(x, chosen)
            x = _pool(x, pooling, name)
        if dropout:
            x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
        return layers.Dense(units, dtype="float32", name=name)(x)

    return head


def _pool(x, pooling, name):
    if pooling == "average":
        return layers.GlobalAveragePooling2D(name=f"{name}_pooling")(x)
    _check_fixed_size(x, name)
    x = layers.Conv2D(1, 1, name=f"{name}_convolution")(x)
    return layers.Flatten(name=f"{name}_flatten")(x)


def scene_level(levels):
    """Which level describes the whole patch best: no map, or the map that was made from all others."""
    maps = map_levels(levels)
    if VECTOR in levels:
        return VECTOR
    return level_name(1 if 1 in maps else max(maps, default=1))


def _pick(levels, level, name):
    if level not in levels:
        raise InvalidArgumentError(
            f"`level` of the head {name!r} must be one of {list(levels)}, the levels of its encoder. "
            f"Received: level={level!r}."
        )
    return levels[level]


def _check_map(x, level):
    if len(x.shape) != 4:
        raise InvalidArgumentError(
            f"`level` must be a map of shape (batch, height, width, channels). Received: {level!r} of shape {x.shape}."
        )


def _check_fixed_size(x, name):
    if None in x.shape[1:3]:
        raise InvalidArgumentError(
            f'`pooling="flatten"` of the head {name!r} needs a fixed height and width: build the encoder with, '
            f'say, shape=(120, 120, channels), or take pooling="average". Received: a level of shape {x.shape}.'
        )


def _dropout_rate(dropout, pooling, flatten_default):
    check_choice("pooling", pooling, POOLINGS)
    if dropout is None:
        return flatten_default if pooling == "flatten" else 0.0
    if not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        raise InvalidArgumentError(f"`dropout` must be a rate in [0, 1) or None. Received: dropout={dropout!r}.")
    return float(dropout)
