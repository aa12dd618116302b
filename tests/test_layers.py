"""Layers for building models, against padding worked out by hand."""

import numpy as np
import pytest

from eokeras.errors import InvalidArgumentError
from eokeras.layers import PadLike
from tests.checks import check_layer


def pad_by_hand(x, height, width):
    """The padding of the published U-Net, written out: the smaller half above and to the left."""
    rows, columns = height - x.shape[1], width - x.shape[2]
    padded = np.zeros((x.shape[0], height, width, x.shape[3]), x.dtype)
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            padded[:, row + rows // 2, column + columns // 2] = x[:, row, column]
    return padded


@pytest.mark.parametrize(("size", "target"), [((4, 4), (4, 4)), ((4, 6), (5, 6)), ((4, 4), (7, 6)), ((2, 8), (3, 9))])
def test_pad_like_equals_padding_by_hand(size, target, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *size, 3)).astype("float32")
    reference = np.ones((2, *target, 5), "float32")
    padded = check_layer(PadLike(), [x, reference], (2, *target, 3), tmp_path)
    np.testing.assert_array_equal(padded, pad_by_hand(x, *target))


def test_pad_like_puts_an_odd_row_below_and_an_odd_column_to_the_right():
    padded = np.asarray(PadLike()([np.ones((1, 2, 2, 1), "float32"), np.zeros((1, 3, 5, 1), "float32")]))
    by_hand = [[0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(padded[0, :, :, 0], by_hand)


def test_pad_like_refuses_a_smaller_reference():
    with pytest.raises(InvalidArgumentError, match="`reference` must be at least as large"):
        PadLike()([np.ones((1, 4, 4, 1)), np.ones((1, 3, 4, 1))])


def test_pad_like_refuses_what_is_no_pair_of_maps():
    with pytest.raises(InvalidArgumentError, match=r"two maps \[x, reference\]"):
        PadLike()([np.ones((1, 4, 4)), np.ones((1, 4, 4, 1))])
