"""What is missing in a stored raster, and how it stays so: 0 in Sentinel-2, NaN and infinities, -32768 of elevation.

Letters: B batch, H rows, W columns, C channels.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from eokeras.ben_ge import schema
from eokeras.errors import InvalidArgumentError

IMAGES = (*schema.S2_GROUPS, "s1")
"""The rasters that photometric augmentations change unless told otherwise."""

_LEAST_POWER = 1e-30  # -300 dB: no logarithm of the 0 of pixels that stay missing


def no_data(name: str, dtype: tf.DType) -> int | float | None:
    """The number that stands for "missing" in a raster; None where there is none.

    Integers: 0 for every name that begins with `s2`, -32768 for `dem`. Floating point: NaN (infinities count too).
    """
    if dtype.is_floating:
        return np.nan
    if name.startswith("s2"):
        return 0
    return schema.DEM_NO_DATA if name == "dem" else None


def is_missing(name: str, values: tf.Tensor) -> tf.Tensor:
    """Bool of the shape of `values`: where a stored raster holds no number."""
    if values.dtype.is_floating:
        return tf.logical_not(tf.math.is_finite(values))
    number = no_data(name, values.dtype)
    return tf.zeros_like(values, tf.bool) if number is None else tf.equal(values, number)


def restore(name: str, changed: tf.Tensor, stored: tf.Tensor, missing: tf.Tensor) -> tf.Tensor:
    """Changed float32 numbers in the dtype of `stored`, whose missing numbers they take over.

    Integers are rounded and clipped, so that no number turns into one that means "missing".
    """
    if stored.dtype.is_integer:
        number = no_data(name, stored.dtype)
        low = stored.dtype.min if number is None else number + 1
        changed = tf.clip_by_value(tf.round(changed), low, stored.dtype.max)
    return tf.where(missing, stored, tf.cast(changed, stored.dtype))


def to_averages(name: str, stored: tf.Tensor, missing: tf.Tensor) -> tf.Tensor:
    """Stored numbers as what may be averaged, float32 and 0 where missing: power for decibels, else the numbers."""
    numbers = tf.where(missing, 0.0, tf.cast(stored, tf.float32))
    return tf.where(missing, 0.0, 10 ** (numbers / 10)) if _is_decibels(name) else numbers


def from_averages(name: str, averages: tf.Tensor) -> tf.Tensor:
    """Undoes `to_averages`: averages as numbers of the raster, float32."""
    if not _is_decibels(name):
        return averages
    return 10 / np.log(10) * tf.math.log(tf.maximum(averages, _LEAST_POWER))


def _is_decibels(name: str) -> bool:
    return name in schema.RASTERS and "[dB]" in schema.RASTERS[name].unit


def present_fields(batch: Mapping, fields: Iterable[str], what: str) -> list[str]:
    """Those of `fields` that a batch holds; an error where an augmentation would change nothing.

    Raises:
        InvalidArgumentError: the batch holds none of them.
    """
    fields = tuple(fields)
    found = [name for name in fields if name in batch]
    if not found:
        raise InvalidArgumentError(
            f"`{what}` changes {', '.join(fields)} and would do nothing here. Received: a batch of {', '.join(batch)}."
        )
    return found


def check_fields(fields: Sequence[str]) -> tuple[str, ...]:
    """`fields` as a tuple of names, at least one.

    Raises:
        InvalidArgumentError: it is one string or empty.
    """
    if isinstance(fields, str) or not len(fields):
        raise InvalidArgumentError(f"`fields` must be a sequence of names of rasters. Received: fields={fields!r}.")
    return tuple(fields)


def filling(name: str, values: tf.Tensor, statistics: Mapping | None) -> np.ndarray:
    """(C,) numbers that stand for nothing: no data, or the means of training (which "standardise" turns into 0).

    Raises:
        InvalidArgumentError: the statistics lack the raster or do not fit its channels, or it has no number that
            means no data.
    """
    channels, dtype = values.shape[-1], values.dtype
    if statistics is not None:
        means = (statistics.get(name) or {}).get("mean", ())
        if len(means) != channels:
            raise InvalidArgumentError(
                f"`statistics` must hold the means of the {channels} channels of {name!r}, as "
                f"`load_schema(records).statistics` does. Received: {len(means)} means."
            )
        means = np.rint(means) if dtype.is_integer else np.array(means)
        return means.astype(dtype.as_numpy_dtype)
    number = no_data(name, dtype)
    if number is None:
        raise InvalidArgumentError(
            f"`statistics` must be given for a raster that has no number for missing data. Received: {name!r} of "
            f"{dtype.name}."
        )
    return np.full(channels, number, dtype.as_numpy_dtype)
