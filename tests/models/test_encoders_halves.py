"""The U-Net in halves: where stored bands enter, and what its decoder makes of any pyramid."""

import keras
import numpy as np
import pytest

from eokeras.errors import InvalidArgumentError
from eokeras.models import resnet, unet, unet_decoder, unet_encoder, vit
from tests.checks import assert_same, check_gradients, check_model, check_saved_model, count_trainable, to_numpy

RNG = np.random.default_rng(0)


def with_decoder(encoder, width, name="network"):
    return keras.Model(encoder.inputs, unet_decoder(width)(encoder.output), name=name)


def double_convolution(inputs, middle, outputs):
    """Weights of two 3x3 convolutions with bias, each with scale and shift of its normalisation."""
    return 9 * inputs * middle + 3 * middle + 9 * middle * outputs + 3 * outputs


# ------------------------------------------------------------------- contracting path


def test_encoder_holds_its_contract(tmp_path):
    x = RNG.normal(size=(2, 21, 37, 3)).astype("float32")
    shapes = {
        "stride_1": (2, 21, 37, 2),
        "stride_2": (2, 10, 18, 4),
        "stride_4": (2, 5, 9, 8),
        "stride_8": (2, 2, 4, 16),
        "stride_16": (2, 1, 2, 16),
    }
    check_model(lambda: unet_encoder((21, 37, 3), width=2, name="s2"), {"s2": x}, shapes, tmp_path, logits=False)


def test_both_halves_make_the_whole():
    whole = unet((33, 48, 3), width=2, name="s2")
    halves = with_decoder(unet_encoder((33, 48, 3), width=2, name="s2"), 2)
    assert [weight.path for weight in halves.weights] == [weight.path for weight in whole.weights]
    halves.set_weights([RNG.uniform(0.1, 0.5, weight.shape) for weight in whole.weights])
    whole.set_weights(halves.get_weights())
    x = RNG.normal(size=(1, 33, 48, 3)).astype("float32")
    assert list(halves.output) == list(whole.output)
    assert_same(to_numpy(halves({"s2": x})), to_numpy(whole({"s2": x})), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "stride", "levels"),
    [
        ((120, 120, 4), 1, {1: (120, 3), 2: (60, 6), 4: (30, 12), 8: (15, 24), 16: (7, 24)}),
        ((60, 60, 6), 2, {2: (60, 3), 4: (30, 6), 8: (15, 12), 16: (7, 24)}),
        ((20, 20, 2), 6, {4: (30, 3), 8: (15, 6), 16: (7, 12)}),  # enlarged by 6 / 4
        ((40, 40, 1), 3, {2: (60, 3), 4: (30, 6), 8: (15, 12), 16: (7, 24)}),  # 30 m, by 3 / 2
        ((1, 1, 1), 16, {16: (1, 3)}),
    ],
)
def test_stored_bands_enter_where_they_fit(shape, stride, levels):
    model = unet_encoder(shape, width=3, name="bands", stride=stride)
    expected = {f"stride_{n}": (None, size, size, channels) for n, (size, channels) in levels.items()}
    assert {name: level.shape for name, level in model.output.items()} == expected
    pairs = zip([shape[-1], *(channels for _, channels in levels.values())], levels.values(), strict=False)
    assert count_trainable(model) == sum(double_convolution(before, after, after) for before, (_, after) in pairs)
    assert model.name == "bands_unet_encoder"


def test_bands_of_60_m_are_enlarged_to_40_m_first():
    model = unet_encoder((None, None, 1), width=1, name="s2_60m", stride=6)
    enlarged = keras.Model(model.inputs, model.get_layer("encoder_enlarging").output)
    x = np.array([[0, 6], [12, 18]], "float32").reshape(1, 2, 2, 1)
    # centres of the new pixels at -1/6, 1/2 and 7/6 of the old ones
    np.testing.assert_allclose(to_numpy(enlarged(x))[0, :, :, 0], [[0, 3, 6], [6, 9, 12], [12, 15, 18]], atol=1e-5)


@pytest.mark.parametrize(("stride", "smallest"), [(1, 16), (2, 8), (6, 4)])
def test_sizes_must_survive_the_halvings(stride, smallest):
    unet_encoder((smallest, smallest, 1), width=1, stride=stride)
    with pytest.raises(InvalidArgumentError, match=f"`shape` must have a height and a width of at least {smallest},"):
        unet_encoder((smallest, smallest - 1, 1), width=1, stride=stride)


@pytest.mark.parametrize("stride", [0, -1, 1.5, None, True, 17, 32])
def test_stride_is_one_that_the_encoder_reaches(stride):
    with pytest.raises(InvalidArgumentError, match="`stride` must be"):
        unet_encoder((64, 64, 1), width=1, stride=stride)


# --------------------------------------------------------------------- expanding path


def test_decoder_crops_to_the_levels_of_a_residual_network(tmp_path):
    # 120 -> 60, 30, 15, 8, 4; back: 8, 16 cropped to 15, 30, 60 and, without a skip, 120
    encoder = resnet((120, 120, 2), width=2, name="s1")
    model = with_decoder(encoder, 2)
    sizes = {1: (120, 2), 2: (60, 2), 4: (30, 4), 8: (15, 8), 16: (8, 16), 32: (4, 16)}
    assert {name: level.shape for name, level in model.output.items()} == {
        f"stride_{n}": (None, size, size, channels) for n, (size, channels) in sizes.items()
    }
    assert model.get_layer("decoder_8_upsampling").output.shape == (None, 16, 16, 16)
    assert model.get_layer("decoder_8_padding").output.shape == (None, 15, 15, 16)
    # joined: coarser level + skip; at stride 1 there is no skip
    joined = {16: 16 + 8, 8: 16 + 4, 4: 8 + 2, 2: 4 + 2, 1: 2}
    by_hand = sum(double_convolution(n, n // 2, sizes[stride][1]) for stride, n in joined.items())
    assert count_trainable(model) - count_trainable(encoder) == by_hand


def test_decoder_of_unknown_sizes_is_exported(tmp_path):
    model = with_decoder(resnet((None, None, 2), width=1, name="s1"), 1)
    x = RNG.normal(size=(1, 24, 40, 2)).astype("float32")
    check_saved_model(model, {"s1": x}, tmp_path)
    check_gradients(model, {"s1": x})
    assert to_numpy(model({"s1": x}))["stride_1"].shape == (1, 24, 40, 1)


def test_decoder_brings_the_tokens_of_a_transformer_to_full_resolution():
    model = with_decoder(vit((120, 120, 2), patch_size=8, width=8, depth=1, heads=2, mlp_width=8, name="s2"), 2)
    shapes = {name: level.shape[1:] for name, level in model.output.items()}
    assert shapes == {
        "stride_1": (120, 120, 2),
        "stride_2": (60, 60, 2),
        "stride_4": (30, 30, 4),
        "stride_8": (15, 15, 8),
    }


def test_decoder_skips_a_level_that_is_not_there():
    levels = {"stride_8": keras.Input((5, 5, 4)), "stride_2": keras.Input((21, 20, 6))}
    decoded = unet_decoder(width=2)(levels)
    shapes = {name: level.shape[1:] for name, level in decoded.items()}
    assert shapes == {"stride_1": (42, 40, 2), "stride_2": (21, 20, 2), "stride_4": (10, 10, 4), "stride_8": (5, 5, 4)}
    assert decoded["stride_8"] is levels["stride_8"]


def test_several_decoders_may_share_a_model():
    encoder = unet_encoder((16, 16, 1), width=1, name="s2")
    decode = unet_decoder(1)
    levels = {f"{name}_{key}": x for name in ("a", "b") for key, x in decode(encoder.output, name=name).items()}
    keras.Model(encoder.inputs, levels)  # layer names would clash


@pytest.mark.parametrize(
    ("strides", "received"), [(["stride_12"], "stride_12"), (["stride_2", "stride_6"], "stride_6"), ([], "no level")]
)
def test_decoder_refuses_strides_that_are_no_power_of_two(strides, received):
    with pytest.raises(InvalidArgumentError, match=rf"powers? of two.*Received: {received}\. .*patch_size=8 or 16"):
        unet_decoder(2)({name: keras.Input((4, 4, 2)) for name in strides})


def test_decoder_refuses_what_is_no_map_of_a_stride():
    with pytest.raises(InvalidArgumentError, match=r"Received: vector\."):
        unet_decoder(2)({"stride_2": keras.Input((4, 4, 2)), "vector": keras.Input((2,))})
    with pytest.raises(InvalidArgumentError, match="`levels` must be a dict"):
        unet_decoder(2)(keras.Input((4, 4, 2)))


@pytest.mark.parametrize("width", [0, 2.0, None, True])
def test_decoder_width_must_be_a_positive_integer(width):
    with pytest.raises(InvalidArgumentError, match="`width` must be a positive integer"):
        unet_decoder(width)
