"""What all kinds of fusion have in common: levels, names, gradients, files, heads."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from eokeras.models import map_head, multitask, regression_head, scene_head
from eokeras.models.fusion import late_fusion, middle_fusion
from tests.checks import assert_same, check_model, small_encoder, to_numpy
from tests.models.fusion_cases import JOINED, KINDS, PATCHES, RASTERS, data, dense_branch, encoders, inputs_of, shake

INPUTS = data()
CHANNELS = dict.fromkeys(KINDS, 4) | dict.fromkeys(("late", "drop"), 12)
WEIGHTS = {
    # A branch of maps: 3x3 convolutions 2 -> 4 (76) and 4 -> 4 (148). A branch of scalars: dense 3 -> 4 (16).
    "early": 148 + 148,  # the first convolution reads 4 channels
    "late": 2 * 224 + 16,
    "middle": 464 + 2 * (12 * 4 + 8),  # at two levels 1x1 without bias and scale and shift of the normalisation
    "gated": 464 + 2 * (3 * 20 + 12 * 3 + 3),  # three projections 4 -> 4 with bias, the gates 12 -> 3
    "attention": 464 + 112 + 3 * (8 + 4 * 16),  # as middle, and three times a normalisation and four 4 x 4 matrices
    "film": 224 + (3 * 5 + 5) + 2 * 2 * (5 * 4 + 4),  # hidden layer 3 -> 5, then gamma and beta at two levels
    "drop": 464,
}


def count(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_holds_the_contract(kind, tmp_path):
    channels = CHANNELS[kind]
    shapes = {"stride_1": (PATCHES, 16, 16, channels), "stride_2": (PATCHES, 8, 8, channels)}
    model = check_model(KINDS[kind], INPUTS, shapes, tmp_path, logits=False)
    assert list(model.output) == ["stride_1", "stride_2"]
    assert count(model) == WEIGHTS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_fusion_never_takes_the_wrong_modality(kind, tmp_path):
    """Same levels whatever the order of the dict and whatever else it holds; other ones for swapped sensors."""
    model = shake(KINDS[kind]())
    model.save(tmp_path / "model.keras")
    for each in (model, keras.models.load_model(tmp_path / "model.keras")):
        each.compile(run_eagerly=True)
        exact = inputs_of(each, INPUTS)
        expected = to_numpy(model(list(exact.values())))
        for variant in (INPUTS, exact, dict(reversed(INPUTS.items())), dict(reversed(exact.items()))):
            assert_same(to_numpy(each(variant)), expected, rtol=1e-5, atol=1e-5)
            assert_same(each.predict(variant, verbose=0), expected, rtol=1e-5, atol=1e-5)
    swapped = INPUTS | {"s2": INPUTS["s1"], "s1": INPUTS["s2"]}
    assert np.abs(to_numpy(model(swapped))["stride_1"] - expected["stride_1"]).max() > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_reaches_every_input_and_every_weight(kind):
    model = shake(KINDS[kind]())
    inputs = {name: tf.constant(value) for name, value in inputs_of(model, INPUTS).items()}
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        levels = model(inputs, training=True).values()
        loss = sum(tf.reduce_mean(tf.square(level - 1.0)) for level in levels)
    to_inputs, to_weights = tape.gradient(loss, [inputs, [weight.value for weight in model.trainable_variables]])
    for name in {"s2", "s1", "era5"} & set(inputs):
        assert np.abs(to_inputs[name]).max() > 1e-6, name
    for weight, gradient in zip(model.trainable_variables, to_weights, strict=True):
        assert gradient is not None, weight.path
        assert np.abs(gradient).max() > 1e-7, weight.path


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_of_unknown_size_takes_several(kind, tmp_path):
    free = shake(KINDS[kind](None, None))
    free.export(str(tmp_path / "exported"), verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    for height, width in ((16, 16), (13, 22)):
        fixed = KINDS[kind](height, width)
        fixed.set_weights(free.get_weights())
        inputs = inputs_of(free, data(2, height, width))
        expected = to_numpy(fixed(inputs))
        assert expected["stride_2"].shape[1:3] == (height // 2, width // 2)
        assert_same(to_numpy(exported.serve(list(inputs.values()))), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_head_reads_every_fusion(kind):
    heads = {"climate_zone": scene_head(12), "land_cover_map": map_head(11), "season": regression_head()}
    outputs = multitask(KINDS[kind](), heads).output
    assert {task: output.shape for task, output in outputs.items()} == {
        "climate_zone": (None, 12),
        "land_cover_map": (None, 16, 16, 11),
        "season": (None, 1),
    }


@pytest.mark.parametrize("kind", JOINED)
def test_a_fusion_may_be_a_branch_of_a_fusion(kind):
    dem = small_encoder((16, 16, 1), "dem")
    model = late_fusion({"others": KINDS[kind](), "dem": dem})
    inputs = INPUTS | {"dem": np.ones((PATCHES, 16, 16, 1), "float32")}
    assert to_numpy(model(inputs))["stride_2"].shape == (PATCHES, 8, 8, CHANNELS[kind] + 3)


# --------------------------------------------------------------- gathering of levels


def image(name, levels):
    """An encoder whose levels are the given functions of its input."""
    inputs = keras.Input((15, 15, 1), name=name)
    return keras.Model([inputs], {level: layer(inputs) for level, layer in levels.items()}, name=f"{name}_image")


def halved(padding):
    return keras.layers.AveragePooling2D(2, padding=padding)


def test_maps_of_sizes_rounded_up_and_down_are_brought_to_the_first_one():
    """15 rows halve to 7 in one encoder, to 8 in the other: the last row is cut off, or one of zeros added."""
    rounds = {"down": halved("valid"), "up": halved("same")}
    inputs = {name: np.random.default_rng(1).normal(size=(1, 15, 15, 1)).astype("float32") for name in rounds}
    alone = {name: to_numpy(layer(inputs[name])) for name, layer in rounds.items()}
    for first, second in (("down", "up"), ("up", "down")):
        model = late_fusion({name: image(name, {"stride_2": rounds[name]}) for name in (first, second)})
        joined = to_numpy(model(inputs))["stride_2"]
        size = alone[first].shape[1]
        by_hand = np.zeros((1, size, size, 1), "float32")
        by_hand[:, :7, :7] = alone[second][:, :7, :7]
        np.testing.assert_array_equal(joined, np.concatenate([alone[first], by_hand], axis=-1))


def test_levels_are_the_common_ones_and_with_a_decoder_all():
    def parts():
        return {
            "fine": image("fine", {"stride_2": halved("valid"), "stride_1": keras.layers.Identity()}),
            "coarse": image("coarse", {"stride_2": halved("valid")}),
            "era5": dense_branch(),
        }

    def decoder(levels, name):
        assert name == "decoder"
        return {f"stride_{2 * number}": level for number, level in enumerate(levels.values(), start=1)}

    without = middle_fusion(parts())
    assert list(without.output) == ["stride_2"]
    assert without.get_layer("join_stride_2_convolution").kernel.shape == (1, 1, 1 + 1 + 4, 1)
    decoded = middle_fusion(parts(), decoder)
    assert [x.shape[1:] for x in decoded.output.values()] == [(15, 15, 1), (7, 7, 1)]
    assert list(decoded.output) == ["stride_2", "stride_4"]
    assert decoded.get_layer("join_stride_1_convolution").kernel.shape == (1, 1, 1 + 4, 1)
    assert decoded.get_layer("join_stride_2_convolution").kernel.shape == (1, 1, 1 + 1 + 4, 1)


def test_strides_are_ordered_as_numbers():
    layers = {f"stride_{stride}": keras.layers.AveragePooling2D(stride) for stride in (8, 10, 2)}
    model = late_fusion({"s2": image("s2", layers)})
    assert list(model.output) == ["stride_2", "stride_8", "stride_10"]


def test_a_vector_is_repeated_over_every_pixel():
    parts = encoders()
    joined = to_numpy(late_fusion(parts)(INPUTS))
    vector = to_numpy(parts["era5"](INPUTS))["vector"]
    for level, size in (("stride_1", 16), ("stride_2", 8)):
        by_hand = np.tile(vector[:, None, None], (1, size, size, 1))
        np.testing.assert_allclose(joined[level][..., -4:], by_hand, rtol=1e-6)
        maps = [to_numpy(parts[name](INPUTS))[level] for name in RASTERS]
        np.testing.assert_allclose(joined[level][..., :-4], np.concatenate(maps, -1), rtol=1e-5, atol=1e-6)
