"""Mixing of patches with their labels: mixup and CutMix, for `make_dataset(mix=...)`.

They act on what a network sees, (inputs, targets) as `make_dataset` gives them: labels must mix as the images do. Class
ids become shares of classes, which `eokeras.losses` and `eokeras.metrics` take in place of ids. (Keras' layers of these
names draw for one image; here all rasters of a patch need one draw, and a label may be missing.)

Letters: B batch, H rows, W columns, C channels, N classes.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from eokeras import programs
from eokeras.augment.composition import fold
from eokeras.ben_ge import schema
from eokeras.ben_ge.input_names import MASK, PRESENT, view_count
from eokeras.errors import InvalidArgumentError, check_number

Tensors = dict[str, tf.Tensor]
Mixing = Callable[[Tensors, Tensors, tf.Tensor], tuple[Tensors, Tensors]]


def mixup(alpha: float = 0.2) -> Mixing:
    """Every patch becomes a mean of itself and another patch of the batch, and so do its labels.

    x becomes l x + (1 - l) x', y becomes l y + (1 - l) y', with l from Beta(alpha, alpha), one draw per patch; x' is
    the patch before it in the batch, so shuffle. Labels of classes and maps become shares, (B, N) and (B, H, W, N):
    they sum to less than 1 where one of the two has no label. Numbers (season, elevation) are missing where either is.
    Backscatter counts as there (`s1_mask`) where both patches have it.

    Args:
        alpha: above 0; small values leave most patches nearly as they are.

    Returns:
        A function (inputs, targets, seed of shape (2,)) -> (inputs, targets).

    Raises:
        InvalidArgumentError: `alpha` is no number above 0; inputs are views, or of whole numbers.

    Example:
        >>> inputs, targets = {"era5": tf.constant([[0.0], [1.0]])}, {"land_cover": tf.constant([3, 5])}
        >>> inputs, targets = mixup(1.0)(inputs, targets, tf.constant([0, 1]))
        >>> bool(tf.abs(inputs["era5"][0, 0] - targets["land_cover"][0, 5]) < 1e-6)
        True

    Reference:
        Zhang et al. 2018, https://arxiv.org/abs/1710.09412
    """
    alpha = check_number("alpha", alpha, above=0)

    def apply(inputs: Tensors, targets: Tensors, seed: tf.Tensor) -> tuple[Tensors, Tensors]:
        inputs, targets = _checked(inputs, targets)
        if whole := [f"{name} ({values.dtype.name})" for name, values in inputs.items() if values.dtype.is_integer]:
            rule = "Mixup needs calibrated inputs: a mean of whole numbers is none."
            raise InvalidArgumentError(f"{rule} Received: {', '.join(whole)}.")
        share = _beta(alpha, seed, _size(inputs))
        mixed = {
            name: programs.run(_both, (values,))
            if name.endswith((MASK, PRESENT))
            else programs.run(_mean, (values, share))
            for name, values in inputs.items()
        }
        return mixed, {name: programs.run(_mean, (values, share)) for name, values in targets.items()}

    return apply


def cutmix(alpha: float = 1.0) -> Mixing:
    """A window of every patch is replaced by that of another patch of the batch, in all rasters and maps alike.

    The window takes the share 1 - l of the patch, l from Beta(alpha, alpha), less where it reaches over the edge; its
    place is uniform. It begins and ends on whole pixels of all rasters. Maps keep class ids; labels of the scene are
    mixed by the share that is left of a patch, as in the paper: what was cut out may have been what they named.

    Args:
        alpha: above 0; 1 draws the share uniformly.

    Returns:
        A function (inputs, targets, seed of shape (2,)) -> (inputs, targets).

    Raises:
        InvalidArgumentError: `alpha` is no number above 0; inputs are views, or hold no raster.

    Example:
        >>> inputs, targets = {"dem": tf.reshape([0.0, 1.0], (2, 1, 1, 1)) * tf.ones((1, 12, 12, 1))}, {}
        >>> mixed, _ = cutmix()(inputs, targets, tf.constant([0, 1]))
        >>> sorted(set(mixed["dem"].numpy().ravel().tolist()))
        [0.0, 1.0]

    Reference:
        Yun et al. 2019, https://arxiv.org/abs/1905.04899
    """
    alpha = check_number("alpha", alpha, above=0)

    def apply(inputs: Tensors, targets: Tensors, seed: tf.Tensor) -> tuple[Tensors, Tensors]:
        sizes = [int(values.shape[1]) for values in inputs.values() if values.shape.rank == 4]
        if not sizes:
            rule = "CutMix needs an input that is a raster."
            raise InvalidArgumentError(f"{rule} Received: {', '.join(inputs)}.")
        inside = _windows(math.gcd(*sizes), _beta(alpha, fold(seed, 0), _size(inputs)), fold(seed, 1))
        share = 1 - tf.reduce_mean(tf.cast(inside, tf.float32), axis=(1, 2))
        scenes = {name: values for name, values in targets.items() if values.shape.rank < 3}
        inputs, scenes = _checked(inputs, scenes)

        def mix(values: tf.Tensor) -> tf.Tensor:
            return programs.run(_pasted, (values, inside)) if values.shape.rank >= 3 else _mean(values, share)

        return {name: mix(values) for name, values in inputs.items()}, {
            name: mix(values) for name, values in (targets | scenes).items()
        }

    return apply


def _checked(inputs: Tensors, targets: Tensors) -> tuple[Tensors, Tensors]:
    """Inputs, and targets with class ids as shares; raises for views."""
    if view_count(inputs):
        rule = "Patches cannot be mixed where they come as views."
        raise InvalidArgumentError(f"{rule} Received: {', '.join(sorted(inputs))}.")
    return inputs, {name: _shares(name, y) if y.dtype.is_integer else y for name, y in targets.items()}


def _shares(name: str, ids: tf.Tensor) -> tf.Tensor:
    """Class ids (...) -> shares (..., N) float32: 1 of their class, all 0 for VOID."""
    return tf.one_hot(ids, len(schema.TARGETS[name].classes))


def _size(inputs: Tensors) -> tf.Tensor:
    return tf.shape(next(iter(inputs.values())))[0]


def _beta(alpha: float, seed: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """(B,) draws of Beta(alpha, alpha)."""
    first, second = tf.unstack(tf.random.stateless_gamma((2, size), seed, alpha), num=2)
    # Both draws of a small alpha may be zero in single precision: then either patch alone, with equal chance.
    either = tf.cast(tf.random.stateless_uniform((size,), fold(seed, 1)) < 0.5, tf.float32)
    return tf.where(first + second > 0, tf.math.divide_no_nan(first, first + second), either)


def _partner(values: tf.Tensor) -> tf.Tensor:
    return tf.roll(values, 1, axis=0)


def _both(values: tf.Tensor) -> tf.Tensor:
    return tf.minimum(values, _partner(values))


def _mean(values: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    share, partner = tf.reshape(share, (-1, *[1] * (values.shape.rank - 1))), _partner(values)
    # A share of 0 must not bring in what is missing: 0 times NaN is NaN.
    mean = tf.where(share == 1, values, share * values + (1 - share) * partner)
    return tf.where(share == 0, partner, mean)


def _pasted(values: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
    """`values` (B, H, W) or (B, H, W, C) with those of the partner where a cell is `inside` (B, n, n)."""
    cell = values.shape[1] // inside.shape[1]
    inside = functools.reduce(lambda mask, axis: tf.repeat(mask, cell, axis), (1, 2), inside)
    inside = inside[..., tf.newaxis] if values.shape.rank == 4 else inside
    return tf.where(inside, _partner(values), values)


def _windows(cells: int, share: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """(B, n, n) bool: cells of a square window of about (1 - share) n^2 cells, cut off at the edges."""
    side = tf.sqrt(1 - share) * cells
    centres = tf.random.stateless_uniform((2, tf.size(share)), seed, maxval=float(cells))
    places = np.arange(cells, dtype="float32") + 0.5

    def covered(centre):
        return tf.abs(places - centre[:, tf.newaxis]) < side[:, tf.newaxis] / 2

    rows, columns = map(covered, tf.unstack(centres, num=2))
    return rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :]
