"""Weights of other bands: kernels by name, means where there is no name, nothing else changed."""

import keras
import numpy as np
import pytest

from eokeras.errors import InvalidArgumentError
from eokeras.models import dense_encoder, early_fusion, film, late_fusion, load_by_band, resnet, unet_encoder, vit
from tests.checks import small_encoder, to_numpy

RNG = np.random.default_rng(0)
S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
TEN_METRES = ("B04", "B03", "B02", "B08")


def build_unet(channels, name="s2"):
    return unet_encoder((16, 16, channels), width=2, name=name)


def build_vit(channels, name="s2"):
    return vit((8, 8, channels), patch_size=4, width=8, depth=1, heads=2, mlp_width=8, name=name)


def build_resnet(channels, name="s2"):
    return resnet((None, None, channels), width=1, name=name)


def build_dense(channels, name="s2"):
    return dense_encoder((channels,), width=3, name=name)


def build_early(channels, name="s2"):
    return early_fusion({name: (16, 16, channels - 1), "dem": (16, 16, 1)}, small_encoder)


def with_random_weights(model):
    model.set_weights([RNG.uniform(0.1, 1, weight.shape) for weight in model.weights])
    return model


@pytest.mark.parametrize("build", [build_unet, build_resnet, build_vit, build_dense, build_early])
def test_kernels_follow_the_names_of_their_bands(build):
    source, model = with_random_weights(build(12)), build(4)
    before = source.get_weights()
    assert load_by_band(model, source, TEN_METRES, S2_BANDS) == ()

    first = before[0][..., [3, 2, 1, 7], :]  # B04, B03, B02 and B08 of the twelve
    np.testing.assert_array_equal(model.get_weights()[0], first)
    for received, expected in zip(model.get_weights()[1:], before[1:], strict=True):
        np.testing.assert_array_equal(received, expected)
    for after, unchanged in zip(source.get_weights(), before, strict=True):
        np.testing.assert_array_equal(after, unchanged)


def test_bands_that_the_source_lacks_take_the_mean_and_are_named():
    source, model = with_random_weights(build_unet(3)), build_unet(4)
    assert load_by_band(model, source, ("VV", "B03", "B02", "VH"), ("B02", "B03", "B04")) == ("VV", "VH")
    kernel, received = source.get_weights()[0], model.get_weights()[0]
    mean = (kernel[:, :, 0] + kernel[:, :, 1] + kernel[:, :, 2]) / 3
    for channel, expected in enumerate((mean, kernel[:, :, 1], kernel[:, :, 0], mean)):
        np.testing.assert_allclose(received[:, :, channel], expected, rtol=1e-6)


@pytest.mark.parametrize("build", [build_unet, build_vit])
def test_with_its_bands_in_another_order_a_model_answers_the_same(build):
    source, model = with_random_weights(build(4)), build(4)
    load_by_band(model, source, ("B08", "B02", "B04", "B03"), ("B02", "B03", "B04", "B08"))
    x = RNG.normal(size=(2, *source.input_shape[1:])).astype("float32")
    expected, received = to_numpy(source([x])), to_numpy(model([x[..., [3, 0, 2, 1]]]))
    for level in expected:
        np.testing.assert_allclose(received[level], expected[level], rtol=1e-4, atol=1e-5)


def test_names_of_the_models_do_not_matter():
    assert load_by_band(build_unet(2, "s1"), build_unet(12), ("VV", "VH"), S2_BANDS) == ("VV", "VH")


# ---- Bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "received"),
    [
        (unet_encoder((16, 16, 12), width=3, name="s2"), r"encoder_1_convolution_1/kernel \(3, 3, 4, 2\) and .*12, 3"),
        (build_resnet(12), "60 and"),
        (build_dense(12), "60 and 4 weights"),
    ],
)
def test_models_of_unequal_layout_are_refused_and_left_alone(source, received):
    model = build_unet(4)
    before = model.get_weights()
    # five double convolutions: two kernels, two biases and two normalisations of four each
    assert len(before) == 5 * 2 * (2 + 4)
    with pytest.raises(InvalidArgumentError, match=f"`source` must be built as `model`.*{received}"):
        load_by_band(model, source, TEN_METRES, S2_BANDS)
    for after, unchanged in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(after, unchanged)


def test_a_deeper_layer_of_another_shape_is_named():
    one, other = (keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(n)]) for n in (5, 6))
    with pytest.raises(InvalidArgumentError, match=r"kernel \(3, 5\) and .*kernel \(3, 6\)"):
        load_by_band(one, other, "abcd", "abcd")


@pytest.mark.parametrize("bands", [TEN_METRES[:3], (*TEN_METRES, "B05"), ("B04", "B03", "B02", "B02"), ()])
def test_bands_are_as_many_as_the_first_layer_takes_and_distinct(bands):
    with pytest.raises(InvalidArgumentError, match="`bands` must name the 4 bands of the first layer, each once"):
        load_by_band(build_dense(4), build_dense(12), bands, S2_BANDS)


def test_source_bands_too():
    with pytest.raises(InvalidArgumentError, match=r"`source_bands` must name the 12 bands.*Received: B04, B03"):
        load_by_band(build_dense(4), build_dense(12), TEN_METRES, TEN_METRES)


@pytest.mark.parametrize("value", [None, "weights.h5", keras.Sequential()])
def test_arguments_are_built_models(value):
    with pytest.raises(InvalidArgumentError, match="`model` must be a built model"):
        load_by_band(value, build_dense(4), TEN_METRES, TEN_METRES)
    with pytest.raises(InvalidArgumentError, match="`source` must be a built model"):
        load_by_band(build_dense(4), value, TEN_METRES, TEN_METRES)


def test_a_model_without_kernel_is_refused():
    bare = keras.Sequential([keras.Input((4,)), keras.layers.LayerNormalization()])
    with pytest.raises(InvalidArgumentError, match="`model` must have a layer with a kernel"):
        load_by_band(bare, bare, TEN_METRES, TEN_METRES)


def test_models_whose_first_layer_reads_one_input_of_several_are_refused():
    def steered():
        return film(small_encoder((8, 8, 2), "s1"), {"lonlat": (2,)})

    def fused():
        return late_fusion({"era5": build_dense(4, "era5"), "s2": small_encoder((8, 8, 4), "s2")})

    for build, bands in ((steered, ("VV", "VH")), (fused, TEN_METRES)):
        model = with_random_weights(build())
        before = model.get_weights()
        with pytest.raises(InvalidArgumentError, match="`model` must read all of its inputs in one first layer"):
            load_by_band(model, with_random_weights(build()), bands[::-1], bands)
        for after, unchanged in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(after, unchanged)
