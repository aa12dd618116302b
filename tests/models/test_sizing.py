"""Equal parameters: against brute force, with few models built."""

import functools
import math

import keras
import pytest

from eokeras.errors import InvalidArgumentError
from eokeras.models import unet
from eokeras.models.sizing import match_parameters


@functools.cache
def dense(width):
    """3 -> width -> 2 with biases: 6 width + 2 weights."""
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(width), keras.layers.Dense(2)])


def brute_force(counts, weights):
    """Closest, and of two that are equally close the smaller: counts is a dict of width -> weights."""
    return min(counts, key=lambda width: (abs(counts[width] - weights), width))


def test_the_width_is_that_of_brute_force_for_every_target():
    counts = {width: 6 * width + 2 for width in range(1, 41)}
    for weights in range(8, 243):
        assert match_parameters(dense, weights, range(1, 41)) == brute_force(counts, weights)


@pytest.mark.parametrize("widths", [(4, 9, 10, 30), [30, 4, 10, 9, 4], {9, 4, 30, 10}])
def test_any_widths_in_any_order_serve(widths):
    counts = {width: 6 * width + 2 for width in sorted(set(widths))}
    for weights in range(26, 183):
        assert match_parameters(dense, weights, widths) == brute_force(counts, weights)


def test_a_tie_goes_to_the_smaller_width():
    # Widths 5 and 6 give 32 and 38 weights; 35 lies in the middle.
    assert match_parameters(dense, 35) == 5
    assert match_parameters(dense, 36) == 6


def test_of_widths_that_give_the_same_weights_the_smallest_is_taken():
    def in_steps(width):  # as where a number of heads must divide the width
        return dense(4 * math.ceil(width / 4))

    counts = {width: 6 * 4 * math.ceil(width / 4) + 2 for width in range(1, 41)}
    for weights in range(26, 243):
        assert match_parameters(in_steps, weights, range(1, 41)) == brute_force(counts, weights)


def test_few_models_are_built_and_none_much_larger_than_wanted():
    for wanted in range(1, 129):
        built = []

        def build(width, built=built):
            built.append(width)
            return dense(width)

        assert match_parameters(build, 6 * wanted + 2) == wanted
        assert len(built) == len(set(built)) <= 2 * math.log2(2 * wanted) + 2
        assert max(built) <= 2 * wanted


def test_one_u_net_of_the_size_of_two():
    """Two of width 8 (12 and 2 inputs) against one of 11; weights by the formula of double convolutions."""

    def double(inputs, middle, outputs):
        return 9 * inputs * middle + 3 * middle + 9 * middle * outputs + 3 * outputs

    def weights(channels, width):
        down = [(channels, width), (width, 2 * width), (2 * width, 4 * width), (4 * width, 8 * width)]
        down.append((8 * width, 8 * width))
        up = [(16 * width, 4 * width), (8 * width, 2 * width), (4 * width, width), (2 * width, width)]
        return sum(double(a, b, b) for a, b in down) + sum(double(a, a // 2, b) for a, b in up)

    assert weights(12, 64) == 17_272_512
    wanted = weights(12, 8) + weights(2, 8)
    counts = {width: weights(12, width) for width in range(8, 17)}
    found = match_parameters(lambda width: unet((16, 16, 12), width=width, name="s2"), wanted, counts)
    assert found == brute_force(counts, wanted) == 11


# ----------------------------------------------------------------------------- bad input


def test_what_widths_cannot_reach_is_an_error_that_says_what_they_can():
    assert match_parameters(dense, 8) == 1
    assert match_parameters(dense, 6 * 128 + 2) == 128
    with pytest.raises(
        InvalidArgumentError, match=r"`weights` must be at least 8, .* at width 1\. Received: weights=7"
    ):
        match_parameters(dense, 7)
    with pytest.raises(
        InvalidArgumentError, match=r"between 8 and 770, .* at widths 1 and 128\. Received: weights=1,000"
    ):
        match_parameters(dense, 1000)


@pytest.mark.parametrize("weights", [0, -5, 1e6, "many", None, True])
def test_weights_must_be_a_positive_integer(weights):
    with pytest.raises(InvalidArgumentError, match="`weights` must be a positive integer"):
        match_parameters(dense, weights)


@pytest.mark.parametrize("widths", [(), (0, 1), (1, 2.5), (True,), range(-3, 3)])
def test_widths_must_be_positive_integers(widths):
    with pytest.raises(InvalidArgumentError, match="`widths` must hold positive integers"):
        match_parameters(dense, 100, widths)


def test_build_must_give_models_that_grow():
    with pytest.raises(InvalidArgumentError, match="`build` must be a function"):
        match_parameters(64, 100)
    with pytest.raises(InvalidArgumentError, match=r"`build` must give a keras.Model. Received: build\(1\) = 1"):
        match_parameters(lambda width: width, 100)
    with pytest.raises(InvalidArgumentError, match=r"`build` must not give fewer weights .*{1: 122, 2: 116}"):
        match_parameters(lambda width: dense(21 - width), 200, range(1, 21))
