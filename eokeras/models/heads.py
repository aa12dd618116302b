"""Heads: functions from a dict of levels to the logits of one task.

Each factory returns a function `head(levels, name)`; `name` is the task and the name of the
last layer, which computes in float32 also under mixed precision. Letters: B batch, H rows,
W columns, C channels, N classes.
"""

from keras import layers

from eokeras.errors import InvalidArgumentError, check_choice

POOLINGS = ("average", "flatten")


def scene_head(classes, pooling="average", dropout=None, level="stride_1"):
    """One answer per patch: a class, several labels, or fractions.

    Args:
        classes: number N of classes.
        pooling: "average": mean over the map, dropout, dense. "flatten": the tutorial's head
            (1x1 convolution to one channel, flatten, dropout, dense), which needs a fixed height
            and width.
        dropout: rate in [0, 1). None: 0.5 for "flatten" (the tutorial's), 0 for "average".
        level: which level of the encoder it reads.

    Input shape:
        A dict of levels (B, H, W, C).

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
    _check_classes(classes)
    return _pooled_head(classes, pooling, _dropout_rate(dropout, pooling, flatten_default=0.5), level)


def regression_head(pooling="average", dropout=None, level="stride_1"):
    """One number per patch, without activation.

    Args:
        pooling: as in `scene_head`.
        dropout: rate in [0, 1). None: 0.1 for "flatten" (the tutorial's), 0 for "average".
        level: which level of the encoder it reads.

    Input shape:
        A dict of levels (B, H, W, C).

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


def map_head(classes, level="stride_1"):
    """One class per pixel: a 1x1 convolution.

    Args:
        classes: number N of classes.
        level: which level of the encoder it reads; `stride_1` gives the map at full resolution.

    Input shape:
        A dict of levels (B, H, W, C).

    Output shape:
        Logits (B, H, W, N), float32.

    Returns:
        A function `head(levels, name)`.

    Raises:
        InvalidArgumentError: `classes` is no positive integer, or the encoder lacks `level`.

    Example:
        >>> import keras
        >>> head = map_head(11)
        >>> head({"stride_1": keras.Input((120, 120, 64))}, name="land_cover_map").shape
        (None, 120, 120, 11)
    """
    _check_classes(classes)

    def head(levels, name):
        return layers.Conv2D(classes, 1, dtype="float32", name=name)(_pick(levels, level, name))

    return head


def _pooled_head(units, pooling, dropout, level):
    def head(levels, name):
        x = _pick(levels, level, name)
        if pooling == "average":
            x = layers.GlobalAveragePooling2D(name=f"{name}_pooling")(x)
        else:
            _check_fixed_size(x, name)
            x = layers.Conv2D(1, 1, name=f"{name}_convolution")(x)
            x = layers.Flatten(name=f"{name}_flatten")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
        return layers.Dense(units, dtype="float32", name=name)(x)

    return head


def _pick(levels, level, name):
    if level not in levels:
        raise InvalidArgumentError(
            f"`level` of the head {name!r} must be one of {list(levels)}, the levels of its encoder. "
            f"Received: level={level!r}."
        )
    x = levels[level]
    if len(x.shape) != 4:
        raise InvalidArgumentError(
            f"`level` must be a map of shape (batch, height, width, channels). Received: {level!r} of shape {x.shape}."
        )
    return x


def _check_fixed_size(x, name):
    if None in x.shape[1:3]:
        raise InvalidArgumentError(
            f'`pooling="flatten"` of the head {name!r} needs a fixed height and width: build the encoder with, '
            f'say, shape=(120, 120, channels), or take pooling="average". Received: a level of shape {x.shape}.'
        )


def _check_classes(classes):
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 1:
        raise InvalidArgumentError(f"`classes` must be a positive integer. Received: classes={classes!r}.")


def _dropout_rate(dropout, pooling, flatten_default):
    check_choice("pooling", pooling, POOLINGS)
    if dropout is None:
        return flatten_default if pooling == "flatten" else 0.0
    if not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        raise InvalidArgumentError(f"`dropout` must be a rate in [0, 1) or None. Received: dropout={dropout!r}.")
    return float(dropout)
