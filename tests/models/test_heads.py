"""Heads: logits, weights counted by hand, errors."""

import keras
import numpy as np
import pytest

from eokeras.errors import InvalidArgumentError
from eokeras.models import dense_encoder, map_head, regression_head, resnet, scene_head, unet_encoder, vit
from tests.checks import dtype_policy

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


FINE, MIDDLE, COARSE = (16, 16, 6), (8, 8, 4), (4, 4, 3)


@pytest.mark.parametrize(
    ("levels", "channels"),
    [
        ({"stride_1": FINE, "stride_2": MIDDLE}, 6),
        ({"stride_2": MIDDLE, "stride_4": COARSE}, 3),
        ({"stride_16": COARSE, "stride_2": MIDDLE}, 3),  # by number, neither by order nor by letters
        ({"stride_12": COARSE}, 3),
        ({"vector": (5,)}, 5),
        ({"stride_1": FINE, "vector": (5,)}, 5),
    ],
)
@pytest.mark.parametrize("factory", [lambda: scene_head(2), regression_head])
def test_heads_of_a_patch_read_the_vector_or_full_resolution_or_the_coarsest_map(factory, levels, channels):
    assert attach(factory(), levels=levels).get_layer("task").get_weights()[0].shape[0] == channels


@pytest.mark.parametrize("pooling", ["average", "flatten"])
def test_nothing_is_pooled_of_a_vector(pooling):
    model = attach(scene_head(3, pooling=pooling), levels={"vector": (5,)})
    kernel, bias = model.get_layer("task").get_weights()
    x = RNG.normal(size=(2, 5)).astype("float32")
    np.testing.assert_allclose(model.predict({"vector": x}, verbose=0), x @ kernel + bias, rtol=1e-4, atol=1e-5)
    assert model.count_params() == 5 * 3 + 3


def test_map_head_reads_the_finest_map():
    model = attach(map_head(3), levels={"stride_16": COARSE, "stride_2": MIDDLE, "vector": (5,)})
    assert model.get_layer("task_stride_2").get_weights()[0].shape == (1, 1, 4, 3)
    assert model.output.shape == (None, 16, 16, 3)


@pytest.mark.parametrize(("head", "sizes"), [(map_head(2), (4, 5)), (map_head(2, level="stride_3"), (None, None))])
def test_map_of_a_coarser_level_is_enlarged_bilinearly(head, sizes):
    model = attach(head, levels={"stride_3": (*sizes, 3)})
    kernel, bias = model.get_layer("task_stride_3").get_weights()
    x = RNG.normal(size=(1, 4, 5, 3)).astype("float32")
    coarse = x[0] @ kernel[0, 0] + bias
    by_hand = np.zeros((12, 15, 2))
    for row in range(12):
        for column in range(15):
            y, z = ((place + 0.5) / 3 - 0.5 for place in (row, column))
            for i in range(4):
                for j in range(5):  # hat functions; beyond the outermost centres the edge repeats
                    y_in, z_in = min(max(y, 0), 3), min(max(z, 0), 4)
                    by_hand[row, column] += max(0, 1 - abs(y_in - i)) * max(0, 1 - abs(z_in - j)) * coarse[i, j]
    assert model.output.shape == (None, *(size and 3 * size for size in sizes), 2)
    np.testing.assert_allclose(np.asarray(model({"stride_3": x}))[0], by_hand, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "encoder",
    [
        lambda: dense_encoder((8,), width=4, name="x"),
        lambda: resnet((24, 24, 2), width=1, name="x"),
        lambda: unet_encoder((24, 24, 2), width=1, name="x", stride=2),
        lambda: vit((24, 24, 2), patch_size=12, width=4, depth=1, heads=1, mlp_width=4, name="x"),
    ],
)
def test_heads_fit_every_encoder(encoder):
    with dtype_policy("mixed_bfloat16"):
        levels = encoder().output
        outputs = [scene_head(3)(levels, name="scene"), regression_head()(levels, name="number")]
        if "vector" not in levels:
            outputs.append(map_head(3)(levels, name="map"))
    stride = 2 if "stride_2" in levels and levels["stride_2"].shape[1] == 24 else 1  # the encoder that begins there
    shapes = [(None, 3), (None, 1), (None, 24 * stride, 24 * stride, 3)]
    assert [output.shape for output in outputs] == shapes[: len(outputs)]
    assert {output.dtype for output in outputs} == {"float32"}


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


@pytest.mark.parametrize("head", [scene_head(3), map_head(3)])
def test_a_level_must_be_a_map(head):
    with pytest.raises(InvalidArgumentError, match="`level` must be a map"):
        attach(head, levels={"stride_1": (6,)})


def test_scalars_have_no_map():
    with pytest.raises(InvalidArgumentError, match=r"head 'task' must be one of \['vector'\]"):
        attach(map_head(3), levels={"vector": (6,)})
    with pytest.raises(InvalidArgumentError, match=r"`level` must be a map.*'vector' of shape \(None, 6\)"):
        attach(map_head(3, level="vector"), levels={"vector": (6,)})
