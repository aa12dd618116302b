"""Models of equal size: which width gives as many weights as another model has."""

import math
from collections.abc import Callable, Iterable

import keras

from eokeras.errors import InvalidArgumentError


def match_parameters(build: Callable, weights: int, widths: Iterable[int] = range(1, 129)) -> int:
    """The width at which a model has as many trainable weights as wanted.

    A comparison of two ways to build a network is fair only between networks of one size. Few models
    are built: widths are tried at doubling distance until they reach `weights`, then by halving; no
    model much larger than wanted is ever made. Equal weights are not equal compute: report both.

    Args:
        build: function `width -> keras.Model`, or a list of models that count together. A larger width
            must not give fewer weights.
        weights: trainable weights wanted, for example those of the model to compare with.
        widths: widths allowed, in any order.

    Returns:
        The width of `widths` whose model comes closest; the smaller where two come equally close.

    Raises:
        InvalidArgumentError: an argument is out of range, `weights` lies outside what `widths` can
            reach (the message says what they can), `build` gives no model, or more width gave
            fewer weights.

    Example:
        >>> from eokeras.models import unet
        >>> wanted = sum(math.prod(v.shape) for v in unet((32, 32, 12), width=3, name="s2").trainable_variables)
        >>> match_parameters(lambda width: unet((32, 32, 2), width=width, name="s1"), wanted)
        3
    """
    if not isinstance(weights, int) or isinstance(weights, bool) or weights < 1:
        raise InvalidArgumentError(f"`weights` must be a positive integer. Received: weights={weights!r}.")
    if not callable(build):
        raise InvalidArgumentError(f"`build` must be a function width -> model. Received: build={build!r}.")
    counts = _Counts(build, _checked_widths(widths))
    last = len(counts.widths) - 1

    high, step = 0, 1
    while counts[high] < weights and high < last:
        high, step = min(high + step, last), 2 * step
    _check_reach(counts, weights, high)
    above = counts.first_with(weights)
    if above and weights - counts[above - 1] <= counts[above] - weights:
        return counts.widths[counts.first_with(counts[above - 1])]
    return counts.widths[above]


class _Counts:
    """Trainable weights by index of width, each counted once."""

    def __init__(self, build, widths):
        self.build, self.widths, self.known = build, widths, {}

    def __getitem__(self, index):
        if index not in self.known:
            self.known[index] = _trainable_weights(self.build(self.widths[index]), self.widths[index])
            counts = [self.known[known] for known in sorted(self.known)]
            if counts != sorted(counts):
                by_width = {self.widths[known]: self.known[known] for known in sorted(self.known)}
                raise InvalidArgumentError(
                    f"`build` must not give fewer weights for more width. Received: weights by width {by_width}."
                )
        return self.known[index]

    def first_with(self, weights):
        """The first index with at least `weights`, between what is known already."""
        low = max((index + 1 for index, count in self.known.items() if count < weights), default=0)
        high = min(index for index, count in self.known.items() if count >= weights)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self[middle] >= weights else (middle + 1, high)
        return high


def _check_reach(counts, weights, high):
    # Too small a number is told without the largest model, which may not even fit into memory.
    if weights < counts[0]:
        raise InvalidArgumentError(
            f"`weights` must be at least {counts[0]:,}, the trainable weights at width {counts.widths[0]}. "
            f"Received: weights={weights:,}."
        )
    if weights > counts[high]:
        raise InvalidArgumentError(
            f"`weights` must lie between {counts[0]:,} and {counts[high]:,}, the trainable weights at widths "
            f"{counts.widths[0]} and {counts.widths[high]}. Received: weights={weights:,}."
        )


def _checked_widths(widths):
    found = sorted(set(widths))
    if not found or any(not isinstance(width, int) or isinstance(width, bool) or width < 1 for width in found):
        raise InvalidArgumentError(f"`widths` must hold positive integers, one or more. Received: widths={widths!r}.")
    return found


def _trainable_weights(built, width):
    models = built if isinstance(built, (list, tuple)) else [built]
    if not models or any(not isinstance(model, keras.Model) for model in models):
        raise InvalidArgumentError(f"`build` must give a keras.Model. Received: build({width}) = {built!r}.")
    return trainable_weights(*models)


def trainable_weights(*models):
    """Number of trainable weights of all `models` together."""
    return sum(math.prod(variable.shape) for model in models for variable in model.trainable_variables)
