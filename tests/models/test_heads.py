"""Heads: logits, weights counted by hand, errors."""

import keras
import numpy as np
import pytest

from eokeras.errors import InvalidArgumentError
from eokeras.models import map_head, regression_head, scene_head

LEVELS = {"stride_1": (16, 16, 6), "stride_2": (8, 8, 4)}
RNG = np.random.default_rng(0)
DATA = {name: RNG.normal(size=(2, *shape)).astype("float32") for name, shape in LEVELS.items()}


def attach(head, name="task", levels=LEVELS):
    inputs = {level: keras.Input(shape, name=level) for level, shape in levels.items()}
    return keras.Model(list(inputs.values()), head(inputs, name=name))


def rates(model):
    return [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]


def test_average_scene_head_is_a_dense_layer_on_the_mean():
    model = attach(scene_head(5))
    kernel, bias = model.get_layer("task").get_weights()
    assert kernel.shape == (6, 5)
    logits = DATA["stride_1"].mean(axis=(1, 2)) @ kernel + bias
    np.testing.assert_allclose(model.predict(DATA, verbose=0), logits, rtol=1e-4, atol=1e-5)
    assert rates(model) == []


def test_flatten_scene_head_is_the_tutorials():
    model = attach(scene_head(5, pooling="flatten"))
    assert rates(model) == [0.5]
    # 1x1 convolution 6 + 1, dense 256 x 5 + 5
    assert model.count_params() == 7 + 16 * 16 * 5 + 5
    to_one, shift = model.get_layer("task_convolution").get_weights()
    kernel, bias = model.get_layer("task").get_weights()
    one = (DATA["stride_1"] @ to_one[0, 0] + shift).reshape(2, -1)
    np.testing.assert_allclose(model.predict(DATA, verbose=0), one @ kernel + bias, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("pooling", "weights", "dropout"), [("average", 6 + 1, []), ("flatten", 7 + 256 + 1, [0.1])])
def test_regression_head_gives_one_number(pooling, weights, dropout):
    model = attach(regression_head(pooling=pooling))
    assert model.output.shape == (None, 1)
    assert model.count_params() == weights
    assert rates(model) == dropout


def test_map_head_is_a_pointwise_linear_map():
    model = attach(map_head(3))
    kernel, bias = model.get_layer("task").get_weights()
    logits = DATA["stride_1"] @ kernel[0, 0] + bias
    np.testing.assert_allclose(model.predict(DATA, verbose=0), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", [scene_head(3, level="stride_2"), regression_head(level="stride_2")])
def test_heads_read_the_level_they_are_told(head):
    assert attach(head).get_layer("task").get_weights()[0].shape[0] == 4


def test_dropout_can_be_chosen():
    assert rates(attach(scene_head(3, dropout=0.3))) == [0.3]
    assert rates(attach(scene_head(3, pooling="flatten", dropout=0))) == []


# --------------------------------------------------------------------------- bad input


def test_unknown_pooling_lists_the_valid_ones():
    for head in (lambda: scene_head(3, pooling="max"), lambda: regression_head(pooling="max")):
        with pytest.raises(InvalidArgumentError, match=r"`pooling` must be one of \['average', 'flatten'\].*'max'"):
            head()


@pytest.mark.parametrize("dropout", [-0.1, 1.0, "half"])
def test_dropout_must_be_a_rate(dropout):
    with pytest.raises(InvalidArgumentError, match=r"`dropout` must be a rate in \[0, 1\)"):
        scene_head(3, dropout=dropout)


@pytest.mark.parametrize("head", [scene_head, map_head])
@pytest.mark.parametrize("classes", [0, -1, 2.0, "12", True])
def test_classes_must_be_a_positive_integer(head, classes):
    with pytest.raises(InvalidArgumentError, match="`classes` must be a positive integer"):
        head(classes)


@pytest.mark.parametrize(
    "head", [scene_head(3, level="stride_4"), regression_head(level="stride_4"), map_head(3, "stride_4")]
)
def test_missing_level_names_the_levels_there_are(head):
    with pytest.raises(
        InvalidArgumentError, match=r"head 'season' must be one of \['stride_1', 'stride_2'\].*stride_4"
    ):
        attach(head, name="season")


def test_flatten_needs_a_fixed_size():
    with pytest.raises(
        InvalidArgumentError, match=r"head 'season' needs a fixed height and width.*\(None, None, None, 6\)"
    ):
        attach(regression_head(pooling="flatten"), name="season", levels={"stride_1": (None, None, 6)})


def test_a_level_must_be_a_map():
    with pytest.raises(InvalidArgumentError, match="`level` must be a map"):
        attach(scene_head(3), levels={"stride_1": (6,)})
