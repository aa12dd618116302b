"""The U-Net: sizes, padding, weights counted by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from eokeras.errors import InvalidArgumentError
from eokeras.models import unet
from tests.checks import assert_same, check_gradients, check_model, count_trainable, to_numpy

STRIDES = (1, 2, 4, 8, 16)


def expected_shapes(batch, height, width, multiple):
    channels = {1: 1, 2: 1, 4: 2, 8: 4, 16: 8}
    return {
        f"stride_{stride}": (batch, height // stride, width // stride, channels[stride] * multiple)
        for stride in STRIDES
    }


def test_unet_holds_its_contract(tmp_path):
    x = np.random.default_rng(0).normal(size=(2, 37, 61, 3)).astype("float32")
    shapes = expected_shapes(2, 37, 61, 2)
    check_model(lambda: unet((37, 61, 3), width=2, name="s2"), {"s2": x}, shapes, tmp_path, logits=False)


def test_unet_takes_any_size_when_sizes_are_unknown():
    free = unet((None, None, 3), width=2, name="s2")
    for height, width in [(16, 16), (17, 31), (100, 60), (120, 120), (240, 240)]:
        fixed = unet((height, width, 3), width=2, name="s2")
        fixed.set_weights(free.get_weights())
        assert {name: (1, *tensor.shape[1:]) for name, tensor in fixed.output.items()} == expected_shapes(
            1, height, width, 2
        )
        x = np.random.default_rng(1).normal(size=(1, height, width, 3)).astype("float32")
        levels = to_numpy(free({"s2": x}))
        assert {name: level.shape for name, level in levels.items()} == expected_shapes(1, height, width, 2)
        assert_same(levels, to_numpy(fixed({"s2": x})), rtol=1e-4, atol=1e-5)


def test_one_traced_unet_takes_several_sizes():
    model = unet((None, None, 3), width=2, name="s2")
    traced = tf.function(model, input_signature=[{"s2": tf.TensorSpec((None, None, None, 3))}])
    for height, width in [(32, 32), (120, 75)]:
        x = np.random.default_rng(1).normal(size=(1, height, width, 3)).astype("float32")
        assert_same(to_numpy(traced({"s2": x})), to_numpy(model({"s2": x})), rtol=1e-4, atol=1e-5)


def test_upsampled_map_is_padded_below_and_to_the_right():
    # 30 -> 15 -> 7: back from 7 to 14 rows, the skip has 15, and the missing one is added at the end.
    model = unet((120, 120, 1), width=1, name="s2")
    inside = keras.Model(
        model.inputs,
        {name: model.get_layer(f"decoder_8_{name}").output for name in ("upsampling", "padding", "skip")},
    )
    x = np.random.default_rng(2).normal(size=(1, 120, 120, 1)).astype("float32")
    levels = to_numpy(inside({"s2": x}))
    assert levels["upsampling"].shape == (1, 14, 14, 8)
    by_hand = np.zeros((1, 15, 15, 8), "float32")
    by_hand[:, :14, :14] = levels["upsampling"]
    np.testing.assert_array_equal(levels["padding"], by_hand)
    # the skip's 8 channels come first, then the padded map
    np.testing.assert_array_equal(levels["skip"][..., 8:], by_hand)


def double_convolution(inputs, middle, outputs):
    """Weights of two 3x3 convolutions with bias, each with scale and shift of its normalisation."""
    return 9 * inputs * middle + 3 * middle + 9 * middle * outputs + 3 * outputs


def count_by_hand(channels, width):
    down = [(channels, width), (width, 2 * width), (2 * width, 4 * width), (4 * width, 8 * width)]
    down.append((8 * width, 8 * width))
    up = [(16 * width, 4 * width), (8 * width, 2 * width), (4 * width, width), (2 * width, width)]
    return sum(double_convolution(inputs, outputs, outputs) for inputs, outputs in down) + sum(
        double_convolution(inputs, inputs // 2, outputs) for inputs, outputs in up
    )


@pytest.mark.parametrize(("channels", "width"), [(12, 4), (2, 6)])
def test_trainable_weights_follow_the_formula(channels, width):
    assert count_trainable(unet((32, 32, channels), width=width, name="s2")) == count_by_hand(channels, width)


def test_formula_gives_the_tutorials_number_at_width_64():
    # layer by layer: 44160 + 221952 + 886272 + 3542016 + 4721664 down, 5900544 + 1475712 + 369216 + 110976 up
    assert count_by_hand(12, 64) == 17_272_512


def test_gradient_reaches_every_weight():
    x = np.random.default_rng(3).normal(size=(2, 33, 32, 2)).astype("float32")
    model = unet((33, 32, 2), width=2, name="s2")
    check_gradients(model, {"s2": x})
    assert len([weight for weight in model.trainable_variables if weight.name == "kernel"]) == 18


@pytest.mark.parametrize("shape", [(15, 120, 12), (120, 8, 12), (None, 1, 12)])
def test_sizes_below_16_are_refused(shape):
    with pytest.raises(InvalidArgumentError, match=r"`shape` must have a height and a width of at least 16"):
        unet(shape, width=2, name="s2")


@pytest.mark.parametrize("shape", [(120, 120), (120, 120, None), (1, 120, 120, 12), 120, "s2"])
def test_shapes_that_are_no_map_are_refused(shape):
    with pytest.raises(InvalidArgumentError, match=r"`shape` must be \(height, width, channels\)"):
        unet(shape, width=2, name="s2")


@pytest.mark.parametrize("width", [0, -4, 2.5, None, True])
def test_width_must_be_a_positive_integer(width):
    with pytest.raises(InvalidArgumentError, match="`width` must be a positive integer"):
        unet((32, 32, 3), width=width, name="s2")
