"""What all encoders share: the names of levels and the checks of their arguments.

A level `stride_n` is a map (B, about H / n, about W / n, C) on a grid n times as coarse as the
10 m grid. Letters: B batch, H rows, W columns, C channels.
"""

import re
from collections.abc import Mapping

from eokeras.errors import InvalidArgumentError

VECTOR = "vector"
"""The level of what has no place in the patch: (B, C)."""


def level_name(stride):
    """The name of the level at one n-th of the resolution of the 10 m grid.

    Example:
        >>> level_name(4)
        'stride_4'
    """
    return f"stride_{stride}"


def map_levels(levels):
    """The maps of a dict of levels by their stride, finest first; other entries are left out.

    Args:
        levels: dict of level name -> anything.

    Returns:
        Dict of stride (integer) -> the same values.

    Raises:
        InvalidArgumentError: `levels` is no dict.

    Example:
        >>> map_levels({"stride_16": "coarse", "vector": "no map", "stride_2": "fine"})
        {2: 'fine', 16: 'coarse'}
    """
    if not isinstance(levels, Mapping):
        raise InvalidArgumentError(f"`levels` must be a dict of level name -> map. Received: {levels!r}.")
    strides = {}
    for name, value in levels.items():
        if match := re.fullmatch(r"stride_([1-9]\d*)", name):
            strides[int(match[1])] = value
    return dict(sorted(strides.items()))


def check_positive(argument, value):
    """Raises `InvalidArgumentError` unless `value` is a positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidArgumentError(f"`{argument}` must be a positive integer. Received: {argument}={value!r}.")


def check_map_shape(shape, smallest=1, reason=""):
    """Checks the shape (H, W, C) of a map, in which H and W may be None.

    Args:
        shape: what to check.
        smallest: rows and columns that it must have at least.
        reason: why, as the end of the sentence.

    Returns:
        `shape` as a tuple.

    Raises:
        InvalidArgumentError: `shape` is not (H, W, C), or H or W is below `smallest`.

    Example:
        >>> check_map_shape([120, None, 12])
        (120, None, 12)
    """
    shape = tuple(shape) if isinstance(shape, (list, tuple)) else shape
    if not isinstance(shape, tuple) or len(shape) != 3 or shape[2] is None:
        raise InvalidArgumentError(
            "`shape` must be (height, width, channels); height and width may be None, channels may not. "
            f"Received: shape={shape!r}."
        )
    if any(size is not None and size < smallest for size in shape[:2]):
        raise InvalidArgumentError(
            f"`shape` must have a height and a width of at least {smallest}{reason}. Received: shape={shape}."
        )
    return shape
