"""Early and late fusion: levels, order, names."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from eokeras.errors import InvalidArgumentError
from eokeras.models import early_fusion, late_fusion, multitask, scene_head, unet
from tests.checks import check_model, small_encoder, to_numpy

SHAPES = {"s2": (32, 32, 3), "s1": (32, 32, 2), "dem": (32, 32, 1)}
RNG = np.random.default_rng(0)
DATA = {name: RNG.normal(size=(2, *shape)).astype("float32") for name, shape in SHAPES.items()}


def encoders(names=SHAPES):
    return {name: small_encoder(SHAPES[name], name=name) for name in names}


def levels_of(channels):
    return {"stride_1": (2, 32, 32, channels), "stride_2": (2, 16, 16, channels)}


def test_early_fusion_holds_its_contract(tmp_path):
    check_model(lambda: early_fusion(SHAPES, small_encoder), DATA, levels_of(3), tmp_path, logits=False)


def test_late_fusion_holds_its_contract(tmp_path):
    check_model(lambda: late_fusion(encoders()), DATA, levels_of(9), tmp_path, logits=False)


@pytest.mark.parametrize(
    "fuse", [lambda: early_fusion({"s1": SHAPES["s1"]}, small_encoder), lambda: late_fusion(encoders(["s1"]))]
)
def test_one_modality_is_a_fusion_too(fuse):
    levels = to_numpy(fuse()(DATA))
    assert {name: level.shape for name, level in levels.items()} == levels_of(3)


def test_early_fusion_encodes_the_stack_in_the_given_order():
    model = early_fusion(SHAPES, small_encoder)
    inner = model.get_layer("early_fusion_stack_small")
    stack = np.concatenate([DATA["s2"], DATA["s1"], DATA["dem"]], axis=-1)
    received, expected = to_numpy(model(DATA)), to_numpy(inner([stack]))
    for level in expected:
        np.testing.assert_allclose(received[level], expected[level], rtol=1e-5, atol=1e-6)


def test_late_fusion_joins_what_each_encoder_gives_in_the_given_order():
    parts = encoders()
    received = to_numpy(late_fusion(parts)(DATA))
    for level in received:
        alone = [to_numpy(parts[name](DATA))[level] for name in ("s2", "s1", "dem")]
        np.testing.assert_allclose(received[level], np.concatenate(alone, axis=-1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fuse", [lambda: early_fusion(SHAPES, small_encoder), lambda: late_fusion(encoders())])
def test_gradient_reaches_every_branch(fuse):
    model = fuse()
    inputs = {name: tf.constant(value) for name, value in DATA.items()}
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        levels = model(inputs, training=True).values()
        loss = sum(tf.reduce_mean(tf.square(level - 1.0)) for level in levels)
    gradients = tape.gradient(loss, [inputs, [variable.value for variable in model.trainable_variables]])
    for name in SHAPES:
        assert np.abs(gradients[0][name]).max() > 0, name
    assert all(gradient is not None for gradient in gradients[1])


def test_optical_data_and_elevation_are_stacked_to_one_more_channel():
    model = early_fusion({"s2": (32, 32, 12), "dem": (32, 32, 1)}, small_encoder)
    assert [tensor.name for tensor in model.inputs] == ["s2", "dem"]
    assert model.get_layer("early_fusion_stack_small").input_shape == (None, 32, 32, 13)


def test_weights_at_width_64_are_the_tutorials():
    """The tutorial's classification head: 1x1 convolution to one channel, flatten, dense to 12 classes."""
    heads = {"climate_zone": scene_head(12, pooling="flatten")}
    shapes = {"s2": (120, 120, 12), "s1": (120, 120, 2)}
    late = late_fusion({name: unet(shape, name=name) for name, shape in shapes.items()})
    for backbone, weights in ((early_fusion(shapes), 17_446_541), (late, 34_712_205)):
        model = multitask(backbone, heads)
        assert sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) == weights


def test_a_fusion_may_be_a_branch_of_a_fusion():
    radar_optical = early_fusion({name: SHAPES[name] for name in ("s2", "s1")}, small_encoder, name="radar_optical")
    model = late_fusion({"radar_optical": radar_optical, "dem": small_encoder(SHAPES["dem"], name="dem")})
    assert [tensor.name for tensor in model.inputs] == ["s2", "s1", "dem"]
    assert to_numpy(model(DATA))["stride_1"].shape == (2, 32, 32, 6)


def test_levels_that_not_all_encoders_give_are_left_out():
    image = keras.Input((32, 32, 2), name="s1")
    pooled = keras.layers.AveragePooling2D(2)(image)
    coarse = keras.Model([image], {"stride_2": pooled}, name="coarse")
    model = late_fusion({"s2": small_encoder(SHAPES["s2"], name="s2"), "s1": coarse})
    assert list(model.output) == ["stride_2"]
    assert model.output["stride_2"].shape == (None, 16, 16, 5)

    odd = keras.Model([image], {"stride_3": pooled}, name="odd")
    with pytest.raises(InvalidArgumentError, match=r"a level in common.*stride_3"):
        late_fusion({"s2": small_encoder(SHAPES["s2"], name="s2"), "s1": odd})


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("value", [{}, None, [("s2", (32, 32, 3))], "s2"])
def test_fusions_want_a_dict_with_entries(value):
    with pytest.raises(InvalidArgumentError, match="`shapes` must be a dict"):
        early_fusion(value, small_encoder)
    with pytest.raises(InvalidArgumentError, match="`encoders` must be a dict"):
        late_fusion(value)


def test_early_fusion_refuses_vectors_and_unequal_sizes():
    with pytest.raises(InvalidArgumentError, match=r"`shapes\['era5'\]` must be \(height, width, channels\)"):
        early_fusion({"s2": (32, 32, 3), "era5": (8,)}, small_encoder)
    with pytest.raises(InvalidArgumentError, match=r"one height and width.*'s1': \(16, 16\)"):
        early_fusion({"s2": (32, 32, 3), "s1": (16, 16, 2)}, small_encoder)


def test_late_fusion_refuses_an_encoder_under_another_name():
    with pytest.raises(InvalidArgumentError, match=r"`encoders\['s1'\]` must take the input 's1'.*encoder of 's2'"):
        late_fusion({"s1": small_encoder(SHAPES["s2"], name="s2")})


def test_late_fusion_refuses_two_encoders_of_one_input():
    both = early_fusion({name: SHAPES[name] for name in ("s2", "s1")}, small_encoder, name="both")
    with pytest.raises(InvalidArgumentError, match=r"differ in their inputs\. Received twice: s2"):
        late_fusion({"both": both, "s2": small_encoder(SHAPES["s2"], name="s2")})


def test_late_fusion_refuses_what_gives_no_levels():
    plain = keras.Sequential([keras.Input((32, 32, 2), name="s1"), keras.layers.Conv2D(1, 1)])
    for wrong in (plain, small_encoder, None):
        with pytest.raises(InvalidArgumentError, match=r"`encoders\['s1'\]` must be a functional model"):
            late_fusion({"s1": wrong})
