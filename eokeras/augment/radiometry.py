"""What the same ground may look like another time: reflectance, backscatter, speckle, sharpness.

Letters: B batch, H rows, W columns, C channels.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from eokeras import programs
from eokeras.augment.composition import Augmentation, Batch, batch_size, by_field, fold
from eokeras.augment.missing import (
    IMAGES,
    check_fields,
    from_averages,
    is_missing,
    present_fields,
    restore,
    to_averages,
)
from eokeras.ben_ge import schema
from eokeras.errors import InvalidArgumentError, check_number

_GRID_M = schema.RASTERS["s2_10m"].gsd_m


def reflectance_jitter(
    gain: float = 0.1,
    offset: float = 0.01,
    by_band: bool = False,
    fields: Sequence[str] = schema.S2_GROUPS,
    reflectance: Mapping[str, Mapping[str, float]] | None = None,
) -> Augmentation:
    """Gain and offset of reflectance: other light, other haze.

    Reflectance r becomes r (1 + g) + o with g uniform in [-gain, gain] and o uniform in [-offset, offset]. Digital
    numbers are rounded and stay between 1 and 65535; 0 (no data) stays 0.

    Args:
        gain: largest relative change, in [0, 1).
        offset: largest shift [reflectance], 0 or more.
        by_band: a draw for every band, which shifts the spectrum; else one for the whole patch.
        fields: rasters of digital numbers (B, H, W, C).
        reflectance: `load_schema(records).reflectance`, whose bands have one scale and offset; by default those of
            BigEarthNet v1 (1e-4, no offset).

    Returns:
        A function (batch, seed of shape (2,)) -> batch with the same shapes and dtypes.

    Raises:
        InvalidArgumentError: an argument is out of range, or a batch holds none of `fields`.

    Example:
        >>> batch = {"s2_10m": tf.fill((1, 2, 2, 4), tf.constant(1000, tf.uint16))}
        >>> jittered = reflectance_jitter(gain=0.0, offset=0.01)(batch, tf.constant([0, 1]))["s2_10m"]
        >>> bool(tf.reduce_all(tf.abs(tf.cast(jittered, tf.int32) - 1000) <= 100))
        True
    """
    gain, offset = check_number("gain", gain, at_least=0), check_number("offset", offset, at_least=0)
    if gain >= 1:
        raise InvalidArgumentError(f"`gain` must be below 1, or light could turn negative. Received: gain={gain}.")
    _check_effect(gain, offset)
    fields = check_fields(fields)
    scale, base = _scale_and_offset(reflectance)

    def apply(batch: Batch, seed: tf.Tensor) -> Batch:
        changed = dict(batch)
        for number, name in enumerate(present_fields(batch, fields, "reflectance_jitter")):
            stored = batch[name]
            own_seed, channels = (fold(seed, 1 + number), stored.shape[-1]) if by_band else (fold(seed, 0), 1)
            draws = tf.random.stateless_uniform((2, batch_size(batch), 1, 1, channels), own_seed, -1.0, 1.0)
            g, o = gain * draws[0], offset * draws[1]
            # ((number * scale + base) (1 + g) + o - base) / scale
            changed[name] = programs.run(_scaled, (stored, 1 + g, (base * g + o) / scale), name)
        return changed

    return apply


def _scaled(stored: tf.Tensor, factor: tf.Tensor, summand: tf.Tensor, name: str) -> tf.Tensor:
    return restore(name, tf.cast(stored, tf.float32) * factor + summand, stored, is_missing(name, stored))


def _scale_and_offset(reflectance: Mapping | None) -> tuple[float, float]:
    """Scale and offset of all bands: reflectance = number * scale + offset."""
    first = schema.S2_BANDS[0]
    stated = {(entry["scale"], entry["offset"]) for entry in (reflectance or {}).values()} or {
        (first.scale, first.offset)
    }
    if len(stated) > 1:
        rule = "`reflectance` must have one scale and offset for all bands."
        raise InvalidArgumentError(f"{rule} Received: {sorted(stated)}.")
    return stated.pop()


def _check_effect(*sizes: float) -> None:
    if not any(sizes):
        raise InvalidArgumentError("An augmentation must be able to change something. Received: sizes of 0 only.")


def backscatter_jitter(gain_db: float = 1.0, by_channel: bool = False, fields: Sequence[str] = ("s1",)) -> Augmentation:
    """Gain of backscatter: another incidence angle, moisture or calibration.

    Adds a number uniform in [-gain_db, gain_db] to backscatter in dB. -inf (zero power) and NaN (no data) stay.

    Args:
        gain_db: largest change [dB], above 0.
        by_channel: a draw for each polarisation, which changes their ratio; else one for the whole patch.
        fields: rasters in dB (B, H, W, C), floating point.

    Returns:
        A function (batch, seed of shape (2,)) -> batch with the same shapes and dtypes.

    Raises:
        InvalidArgumentError: an argument is out of range, or a batch holds none of `fields`.

    Example:
        >>> batch = {"s1": tf.constant([[[[-12.0, -float("inf")]]]])}
        >>> jittered = backscatter_jitter(2.0)(batch, tf.constant([0, 1]))["s1"]
        >>> bool(tf.abs(jittered[0, 0, 0, 0] + 12) <= 2), float(jittered[0, 0, 0, 1])
        (True, -inf)
    """
    gain_db, fields = check_number("gain_db", gain_db, above=0), check_fields(fields)

    def change(name: str, stored: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        _check_decibels(name, stored)
        shape = (tf.shape(stored)[0], 1, 1, stored.shape[-1] if by_channel else 1)
        drawn = tf.cast(tf.random.stateless_uniform(shape, seed, -gain_db, gain_db), stored.dtype)
        return programs.run(tf.add, (stored, drawn))

    return by_field(fields, "backscatter_jitter", change)


def speckle(looks: float = 4.0, fields: Sequence[str] = ("s1",)) -> Augmentation:
    """More speckle: every pixel's power times a gamma-distributed number of mean 1 and variance 1 / looks.

    In dB its standard deviation is about 4.34 / sqrt(looks). Each pixel and polarisation draws for itself, unlike in
    real products, where neighbours correlate. -inf (zero power) and NaN (no data) stay.

    Args:
        looks: number of looks L, at least 1. Ground-range products of Sentinel-1 have about 4.4 already.
        fields: rasters in dB (B, H, W, C), floating point.

    Returns:
        A function (batch, seed of shape (2,)) -> batch with the same shapes and dtypes.

    Raises:
        InvalidArgumentError: an argument is out of range, or a batch holds none of `fields`.

    Example:
        >>> speckle(4.0)({"s1": tf.zeros((1, 8, 8, 2))}, tf.constant([0, 1]))["s1"].shape
        TensorShape([1, 8, 8, 2])

    Reference:
        Multiplicative speckle of L looks: Oliver and Quegan 2004, Understanding Synthetic Aperture Radar Images.
    """
    looks, fields = check_number("looks", looks, at_least=1), check_fields(fields)

    def change(name: str, stored: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        _check_decibels(name, stored)
        power = tf.random.stateless_gamma(tf.shape(stored), seed, alpha=looks, beta=looks)
        return programs.run(_amplified, (stored, power))

    return by_field(fields, "speckle", change)


def _amplified(decibels: tf.Tensor, power: tf.Tensor) -> tf.Tensor:
    return decibels + tf.cast(10 / np.log(10) * tf.math.log(power), decibels.dtype)


def _check_decibels(name: str, values: tf.Tensor) -> None:
    if not values.dtype.is_floating:
        raise InvalidArgumentError(
            f"`fields` must name rasters of backscatter in dB, floating point. Received: {name!r} of "
            f"{values.dtype.name}."
        )


def blur(sigma_m: tuple[float, float] = (5.0, 20.0), fields: Sequence[str] = IMAGES) -> Augmentation:
    """Gaussian blur over the ground: the same metres for every raster of a patch, whatever its resolution.

    Averages reflectance, and of Sentinel-1 power, not decibels, of the pixels that are there; missing ones stay missing
    and have no part.

    Args:
        sigma_m: smallest and largest standard deviation of the Gaussian [m]; each patch draws one, uniformly.
        fields: rasters (B, H, W, C); those that are not in the schema count 10 m per pixel.

    Returns:
        A function (batch, seed of shape (2,)) -> batch with the same shapes and dtypes.

    Raises:
        InvalidArgumentError: an argument is out of range, or a batch holds none of `fields`.

    Example:
        >>> image = tf.reshape(tf.constant([100.0, 0.0, 0.0]), (1, 1, 3, 1))
        >>> smooth = blur((10.0, 10.0), fields=("image",))({"image": image}, tf.constant([0, 1]))["image"]
        >>> [round(float(number)) for number in smooth[0, 0, :, 0]]
        [57, 27, 8]
    """
    low, high = (check_number("sigma_m", number, above=0) for number in sigma_m)
    if low > high:
        raise InvalidArgumentError(f"`sigma_m` must be (smallest, largest). Received: sigma_m={sigma_m!r}.")
    fields = check_fields(fields)

    def apply(batch: Batch, seed: tf.Tensor) -> Batch:
        sigma = tf.random.stateless_uniform([batch_size(batch)], seed, low, high)
        changed = dict(batch)
        for name in present_fields(batch, fields, "blur"):
            gsd_m = schema.RASTERS[name].gsd_m if name in schema.RASTERS else _GRID_M
            changed[name] = _smooth(name, batch[name], sigma / gsd_m)
        return changed

    return apply


def _smooth(name: str, stored: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """A raster (B, H, W, C) under Gaussians of sigma (B,) pixels."""
    missing = is_missing(name, stored)
    rows, columns = (_gaussian(sigma, size) for size in (stored.shape[1], stored.shape[2]))

    def average(x):
        return tf.einsum("bjw,bhwc->bhjc", columns, tf.einsum("bih,bhwc->biwc", rows, x))

    numbers = to_averages(name, stored, missing)
    smooth = tf.cond(
        tf.reduce_any(missing),
        lambda: tf.math.divide_no_nan(average(numbers), average(tf.cast(~missing, tf.float32))),
        lambda: average(numbers),
    )
    return restore(name, from_averages(name, tf.ensure_shape(smooth, stored.shape)), stored, missing)


def _gaussian(sigma: tf.Tensor, size: int) -> tf.Tensor:
    """(B, size, size): weight of pixel j in the average at pixel i; they sum to 1 over j, at the edges too."""
    place = tf.range(size, dtype=tf.float32)
    distance = (place[:, tf.newaxis] - place)[tf.newaxis] / sigma[:, tf.newaxis, tf.newaxis]
    return tf.nn.softmax(-0.5 * tf.square(distance), axis=-1)
