"""Layers for building models, against values worked out by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from eokeras.calibration import calibration_for
from eokeras.errors import InvalidArgumentError
from eokeras.layers import Calibrate, Double, PadLike
from tests.checks import check_layer, dtype_policy, to_numpy


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


def double_by_hand(x):
    """Bilinear with half-pixel centres: output pixel i lies at (i - 0.5) / 2, edges repeat."""

    def along(x, axis):
        size = x.shape[axis]
        pixels = []
        for i in range(2 * size):
            below = (i - 1) // 2
            weight = (i - 0.5) / 2 - below
            first, second = (np.take(x, min(max(pixel, 0), size - 1), axis) for pixel in (below, below + 1))
            pixels.append((1 - weight) * first + weight * second)
        return np.stack(pixels, axis)

    return along(along(x.astype("float64"), 1), 2)


def test_double_of_two_pixels_by_hand():
    row = np.array([0, 1], "float32").reshape(1, 1, 2, 1)
    by_hand = np.array([[0, 0.25, 0.75, 1], [0, 0.25, 0.75, 1]], "float32")
    for pixels, expected in ((row, by_hand), (row.transpose(0, 2, 1, 3), by_hand.T)):
        np.testing.assert_array_equal(to_numpy(Double()(pixels))[0, :, :, 0], expected)


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (5, 2)])
def test_double_equals_interpolation_by_hand_and_upsampling_of_keras(size, tmp_path):
    x = np.random.default_rng(1).normal(size=(2, *size, 3)).astype("float32")
    doubled = check_layer(Double(), x, (2, 2 * size[0], 2 * size[1], 3), tmp_path)
    np.testing.assert_allclose(doubled, double_by_hand(x), rtol=1e-6, atol=1e-6)
    upsampled = to_numpy(keras.layers.UpSampling2D(interpolation="bilinear")(x))
    np.testing.assert_allclose(doubled, upsampled, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_double_in_a_graph_of_unknown_height_and_width(policy):
    with dtype_policy(policy):
        layer = Double()
    traced = tf.function(layer, input_signature=[tf.TensorSpec([None, None, None, 2], "float32")])
    for size in ((2, 3), (5, 1)):
        x = np.arange(2 * size[0] * size[1], dtype="float32").reshape(1, *size, 2)  # small whole numbers: exact in half
        output = traced(x)
        assert keras.backend.standardize_dtype(output.dtype) == layer.compute_dtype
        np.testing.assert_array_equal(to_numpy(keras.ops.cast(output, "float32")), double_by_hand(x))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_double_in_a_model_of_unknown_height_and_width(policy):
    with dtype_policy(policy):
        symbol = keras.Input((None, None, 2))
        model = keras.Model(symbol, Double()(symbol))
    assert model.output.shape == (None, None, None, 2)
    assert keras.backend.standardize_dtype(model.output.dtype) == policy.removeprefix("mixed_")
    x = np.arange(12, dtype="float32").reshape(1, 2, 3, 2)
    np.testing.assert_array_equal(to_numpy(keras.ops.cast(model(x), "float32")), double_by_hand(x))


def test_calibrate_selects_scales_and_replaces_by_hand(tmp_path):
    layer = Calibrate(calibration_for("s1", "tutorial", {}, ("VH", "VV")), channels=("VV", "VH"))
    x = np.array([[-25, -12.5], [0, -20], [5, -30], [-np.inf, np.nan], [np.inf, -5]], "float32")  # VV, VH in dB
    by_hand = [[0.5, 0], [0.2, 1], [0, 1], [0.5, 0], [0.8, 1]]  # VH, VV: (x + 25) / 25, clipped
    np.testing.assert_allclose(check_layer(layer, x, (5, 2), tmp_path), by_hand, atol=1e-6)


def test_calibrate_of_maps(tmp_path):
    statistics = {"s2": {"mean": [2000.0] * 12, "std": [500.0] * 12, "p1": [0.0] * 12, "p99": [4000.0] * 12}}
    statistics["s2"]["count"] = [1] * 12
    layer = Calibrate(calibration_for("s2", "standardise", statistics, ("B04", "B02")), channels=("B02", "B03", "B04"))
    x = np.full((2, 3, 4, 3), [1000, np.nan, 3001], "float32")
    by_hand = np.full((2, 3, 4, 2), [2.002, -2.0])
    np.testing.assert_allclose(check_layer(layer, x, (2, 3, 4, 2), tmp_path), by_hand, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_calibrate_does_not_round_stored_numbers_under_mixed_precision(policy, tmp_path):
    with dtype_policy(policy):
        layer = Calibrate(calibration_for("s2", "tutorial", {}, ("B04",)), channels=("B04",))
        calibrated = check_layer(layer, np.array([[3001]], "float32"), (1, 1), tmp_path)  # bfloat16 knows 3008 only
    assert calibrated.dtype == np.float32
    np.testing.assert_allclose(calibrated, [[0.3001]], rtol=0, atol=1e-6)


def test_calibrate_refuses_a_channel_that_the_input_lacks():
    with pytest.raises(InvalidArgumentError, match="VH"):
        Calibrate(calibration_for("s1", "tutorial", {}), channels=("VV",))
