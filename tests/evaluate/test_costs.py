"""Operations, weights and bytes of small models, counted by hand."""

import keras
import numpy as np
import pytest

from eokeras import evaluate, models
from eokeras.errors import InvalidArgumentError
from tests.checks import small_encoder

layers = keras.layers


def test_convolutions_and_products_by_hand():
    """8 x 8 x 2 -> 3x3 to 4 -> pooled -> strided 3x3 to 5 at 2 x 2 -> depthwise -> transposed to 4 x 4 -> dense."""
    x = inputs = keras.Input((8, 8, 2), name="s1")
    x = layers.Conv2D(4, 3, padding="same")(x)  # 8 x 8
    x = layers.BatchNormalization()(x)
    x = layers.MaxPooling2D()(x)  # 4 x 4
    x = layers.Conv2D(5, 3, strides=2, padding="same")(x)  # 2 x 2
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)  # 2 x 2 x 10
    x = layers.Conv2DTranspose(3, 2, strides=2)(x)  # 4 x 4 x 3
    x = layers.Dense(7)(x)  # at each of the 16 places
    x = layers.Dense(1)(layers.Flatten()(x))
    found = evaluate.cost(keras.Model([inputs], {"season": x}, name="small"), batch_size=3)
    convolutions = 64 * 9 * 2 * 4 + 4 * 9 * 4 * 5 + 4 * 9 * 10 + 4 * (2 * 2) * 10 * 3
    assert found.flops == 2 * (convolutions + 16 * 3 * 7 + 112)
    weights = (9 * 2 * 4 + 4) + 2 * 4 + (9 * 4 * 5 + 5) + (9 * 10 + 10) + (4 * 10 * 3 + 3) + (3 * 7 + 7) + (112 + 1)
    assert found.trainable_weights == weights
    assert found.gradient_bytes == 4 * weights
    assert found.weight_bytes == 4 * (weights + 2 * 4)  # and the moving mean and variance
    outputs = 2 * 64 * 4 + 16 * 4 + 4 * 5 + 4 * 10 + 16 * 3 + 16 * 7 + 16 * 7 + 1
    assert found.activation_bytes == 3 * 4 * outputs
    assert found.optimizer_bytes == 0
    assert found.memory_bytes == 4 * (2 * weights + 8 + 3 * outputs)


def test_attention_by_hand():
    """6 tokens of 8 features, 2 heads of 3: projections, scores, weighted sums, projection back."""
    x = keras.Input((6, 8), name="tokens")
    model = keras.Model([x], {"features": layers.MultiHeadAttention(2, 3)(x, x)})
    projections = 3 * 6 * 8 * (2 * 3) + 6 * (2 * 3) * 8
    attention = 2 * (2 * 6 * 6 * 3)
    assert evaluate.cost(model).flops == 2 * (projections + attention)


@pytest.mark.parametrize("equation", ["...ab,bc->...ac", "nmab,bc->nmac"])
def test_einsum_by_hand(equation):
    x, kernel = keras.Input((3, 4, 5), name="x"), np.ones((5, 2), "float32")
    model = keras.Model([x], {"y": keras.ops.einsum(equation, x, kernel)})
    assert evaluate.cost(model).flops == 2 * (3 * 4 * 5 * 2)


def late_fusion(size):
    encoders = {
        name: small_encoder((size, size, channels), name) for name, channels in (("s2", 5), ("s1", 2))
    }  # 3x3 to 3, and at half the size 3x3 to 3 again
    heads = {"land_cover_map": models.map_head(11), "season": models.regression_head()}
    return models.multitask(models.late_fusion(encoders), heads)


@pytest.mark.parametrize("size", [8, None])
def test_late_fusion_by_hand(size):
    found = evaluate.cost(late_fusion(size), height=8, width=8)
    fine, coarse = 64 * 9 * (5 + 2) * 3, 2 * 16 * 9 * 3 * 3
    assert found.flops == 2 * (fine + coarse + 64 * 6 * 11 + 6)
    weights = (9 * 5 * 3 + 3) + (9 * 2 * 3 + 3) + 2 * (9 * 3 * 3 + 3) + (6 * 11 + 11) + (6 + 1)
    assert found.trainable_weights == weights


def test_operations_grow_with_the_patch_and_not_with_the_batch():
    model = late_fusion(None)
    costs = [evaluate.cost(model, batch, height=height, width=8) for batch, height in ((1, 8), (4, 8), (1, 16))]
    season = 2 * 6
    assert costs[0].flops == costs[1].flops
    assert costs[2].flops - season == 2 * (costs[0].flops - season)
    assert costs[1].activation_bytes == 4 * costs[0].activation_bytes


def test_stored_groups_have_their_own_grid():
    inputs = [keras.Input((None, None, 6), name="s2_20m"), keras.Input((None, None, 2), name="s2_60m")]
    outputs = {tensor.name: layers.Conv2D(1, 1)(tensor) for tensor in inputs}
    found = evaluate.cost(keras.Model(inputs, outputs))
    assert found.flops == 2 * (60 * 60 * 6 + 20 * 20 * 2)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"s2": (32, 24)}, (32, 24)),
        ({"s2_60m": (5, 4), "s2_10m": (30, 24)}, (30, 24)),
        ({"s2_20m": (60, 30)}, (120, 60)),
        ({"s2_60m": (None, None)}, (100, 44)),
        ({"s1": (None, 8)}, (100, 8)),
        ({}, (100, 44)),
    ],
)
def test_the_size_of_the_patch_is_that_of_the_model(sizes, expected):
    inputs = [keras.Input((4,), name="era5"), *(keras.Input((*size, 3), name=name) for name, size in sizes.items())]
    outputs = {tensor.name: layers.Dense(1)(tensor) for tensor in inputs}
    found = evaluate.cost(keras.Model(inputs, outputs), height=100, width=44)
    assert (found.height, found.width) == expected
    assert f"per patch of {expected[0]} x {expected[1]} " in str(found)


def test_slots_of_the_optimizer_and_half_precision():
    x = keras.Input((4,), name="era5")
    dense = layers.Dense(3, dtype="mixed_bfloat16")
    model = keras.Model([x], {"season": layers.Dense(1)(dense(x))})
    model.compile(optimizer=keras.optimizers.Adam())
    found = evaluate.cost(model, batch_size=10)
    weights = 4 * 3 + 3 + 3 + 1
    assert found.optimizer_bytes == 2 * 4 * weights  # a mean and a variance each
    assert found.activation_bytes == 10 * (3 * 2 + 1 * 4)
    assert found.flops == 2 * (4 * 3 + 3)


def test_measuring_leaves_the_model_as_it_was():
    x = keras.Input((4,), name="era5")
    present = keras.Input((1,), name="era5_present")
    model = keras.Model([x, present], {"season": layers.Dense(1)(x * present), "land_cover": layers.Dense(11)(x)})
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss={"season": "mae", "land_cover": loss})
    before = model.get_weights()
    found = evaluate.cost(model, batch_size=2, measure=True, steps=3)
    assert found.training_step_seconds > 0
    assert found.prediction_seconds > 0
    assert int(model.optimizer.iterations) == 0
    assert not any(slot.numpy().any() for slot in model.optimizer.variables if len(slot.shape))
    for value, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)
    assert "s per training step of 2 patches (median)" in str(found)
    assert "call" not in vars(model.layers[-1])


def test_the_sentence_has_units():
    found = evaluate.Cost("late", 1_234_567, 2_310_000_000, 120, 120, 16, 1024**2, 1024**2, 0, 1024**3)
    assert str(found) == (
        "late: 1,234,567 trainable weights; 2.31 GFLOPs per patch of 120 x 120 (forward; multiply-add = 2); "
        "about 1 GiB for a training step of 16 patches"
    )
    assert found.to_dict()["memory_bytes"] == 2 * 1024**2 + 1024**3


def test_other_backends_have_no_operations(monkeypatch):
    model = late_fusion(8)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    found = evaluate.cost(model)
    assert found.flops is None
    assert "FLOPs" not in str(found)


def test_bad_arguments_name_the_rule():
    model = late_fusion(8)
    with pytest.raises(InvalidArgumentError, match=r"`batch_size` must be a positive integer\. Received: batch_size=0"):
        evaluate.cost(model, 0)
    with pytest.raises(InvalidArgumentError, match="needs a compiled model"):
        evaluate.cost(model, measure=True)
