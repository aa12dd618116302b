"""Losses against NumPy loops and numbers worked out by hand; half of the labels missing."""

import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from eokeras.ben_ge.schema import TARGETS, VOID
from eokeras.errors import InvalidArgumentError
from eokeras.losses import FractionCrossentropy, LabelledBinaryCrossentropy, LabelledMeanAbsoluteError, for_tasks

RNG = np.random.default_rng(0)


def value_and_gradient(loss, y_true, y_pred):
    prediction = tf.Variable(y_pred, dtype=tf.float32)
    with tf.GradientTape() as tape:
        value = loss(tf.constant(y_true), prediction)
    return float(value), tape.gradient(value, prediction).numpy()


def log_softmax(logits):
    return [x - math.log(sum(math.exp(other) for other in logits)) for x in logits]


# ------------------------------------------------------------------ classes and maps


@pytest.mark.parametrize(("task", "shape"), [("climate_zone", (8,)), ("land_cover_map", (2, 5, 4))])
def test_class_loss_is_the_mean_over_labelled_elements(task, shape):
    classes = len(TARGETS[task].classes)
    y_true = RNG.integers(0, classes, shape).astype("int32")
    y_true.reshape(-1)[::2] = VOID
    y_pred = RNG.normal(size=(*shape, classes)).astype("float32")

    losses = [
        -log_softmax(logits)[label]
        for label, logits in zip(y_true.reshape(-1), y_pred.reshape(-1, classes).tolist(), strict=True)
        if label != VOID
    ]
    value, gradient = value_and_gradient(for_tasks([task])[task], y_true, y_pred)
    assert value == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert np.isfinite(gradient).all()
    assert (gradient[y_true == VOID] == 0).all()
    assert (np.abs(gradient[y_true != VOID]).sum(axis=-1) > 0).all()


def test_class_loss_by_hand():
    # two classes, logits 0 and 0: probability one half, loss ln 2; the second patch has no label
    value, _ = value_and_gradient(
        for_tasks(["climate_zone"])["climate_zone"], np.array([0, VOID], "int32"), np.array([[0.0, 0.0], [9.0, -9.0]])
    )
    assert value == pytest.approx(math.log(2), rel=1e-6)


# ------------------------------------------------------------------------ regression


def test_mean_absolute_error_leaves_nan_out_by_hand():
    # |1.0 - 0.5| = 0.5, |0.0 - 0.25| = 0.25, two missing: (0.5 + 0.25) / 2
    y_true = np.array([0.5, np.nan, 0.25, np.nan], "float32")
    y_pred = np.array([[1.0], [7.0], [0.0], [-3.0]], "float32")
    value, gradient = value_and_gradient(LabelledMeanAbsoluteError(), y_true, y_pred)
    assert value == pytest.approx(0.375)
    np.testing.assert_allclose(gradient[:, 0], [0.5, 0.0, -0.5, 0.0])


def test_mean_absolute_error_does_not_broadcast_patches_against_patches():
    y_true = np.arange(4, dtype="float32")
    value, _ = value_and_gradient(LabelledMeanAbsoluteError(), y_true, y_true[:, None])
    assert value == 0.0


def test_sample_weights_weigh_labelled_elements():
    loss = LabelledMeanAbsoluteError()
    y_true, y_pred = np.array([1.0, np.nan, 2.0, 4.0], "float32"), np.zeros((4, 1), "float32")
    weighted = loss(y_true, y_pred, sample_weight=np.array([1.0, 1.0, 0.0, 0.5], "float32"))
    assert float(weighted) == pytest.approx((1.0 + 0.0 + 2.0) / 3)


def test_sum_reduction_adds_labelled_elements():
    loss = LabelledMeanAbsoluteError(reduction="sum")
    y_true, y_pred = np.array([1.0, np.nan, 2.0], "float32"), np.zeros((3, 1), "float32")
    assert float(loss(y_true, y_pred)) == pytest.approx(3.0)


def test_mean_absolute_error_of_a_map_leaves_its_holes_out_by_hand():
    # |3 - 1| = 2 and |0 - (-5)| = 5 m, two pixels without a height
    y_true = np.array([[[1.0, np.nan], [-5.0, np.nan]]], "float32")
    y_pred = np.array([[[[3.0], [7.0]], [[0.0], [7.0]]]], "float32")
    value, gradient = value_and_gradient(for_tasks(["elevation"])["elevation"], y_true, y_pred)
    assert value == pytest.approx(3.5)
    np.testing.assert_allclose(gradient[0, ..., 0], [[0.5, 0.0], [0.5, 0.0]])


# --------------------------------------------------------------- fractions and labels


def test_fraction_crossentropy_equals_numpy_loop():
    y_true = RNG.dirichlet(np.ones(11), 6).astype("float32")
    y_true[1::2] = np.nan
    y_pred = RNG.normal(size=(6, 11)).astype("float32")
    losses = [
        -sum(fraction * log for fraction, log in zip(y_true[patch], log_softmax(y_pred[patch].tolist()), strict=True))
        for patch in (0, 2, 4)
    ]
    value, gradient = value_and_gradient(FractionCrossentropy(), y_true, y_pred)
    assert value == pytest.approx(sum(losses) / 3, rel=1e-5)
    assert (gradient[1::2] == 0).all()


def test_fraction_crossentropy_is_least_at_the_fractions():
    fractions = np.array([[0.7, 0.2, 0.1]], "float32")
    _, gradient = value_and_gradient(FractionCrossentropy(), fractions, np.log(fractions))
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


def test_binary_crossentropy_equals_numpy_loop():
    y_true = RNG.integers(0, 2, (6, 19)).astype("float32")
    y_true[RNG.random((6, 19)) < 0.5] = np.nan
    y_pred = RNG.normal(size=(6, 19)).astype("float32") * 3
    losses = []
    for label, logit in zip(y_true.reshape(-1), y_pred.reshape(-1), strict=True):
        if not math.isnan(label):
            probability = 1 / (1 + math.exp(-logit))
            losses.append(-math.log(probability) if label else -math.log(1 - probability))
    value, gradient = value_and_gradient(LabelledBinaryCrossentropy(), y_true, y_pred)
    assert value == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert (gradient[np.isnan(y_true)] == 0).all()


def test_binary_crossentropy_stays_finite_for_large_logits():
    y_true, y_pred = np.array([[1.0, 0.0]], "float32"), np.array([[-500.0, 500.0]], "float32")
    value, gradient = value_and_gradient(LabelledBinaryCrossentropy(), y_true, y_pred)
    assert value == pytest.approx(500.0)
    assert np.isfinite(gradient).all()


# -------------------------------------------------------------------- nothing labelled

EMPTY = {
    "climate_zone": (np.full(3, VOID, "int32"), (3, 12)),
    "land_cover_map": (np.full((2, 4, 4), VOID, "int32"), (2, 4, 4, 11)),
    "season": (np.full(3, np.nan, "float32"), (3, 1)),
    "land_cover_fractions": (np.full((3, 11), np.nan, "float32"), (3, 11)),
    "labels": (np.full((3, 19), np.nan, "float32"), (3, 19)),
    "elevation": (np.full((2, 4, 4), np.nan, "float32"), (2, 4, 4, 1)),
}


@pytest.mark.parametrize("task", EMPTY)
def test_a_batch_without_labels_costs_nothing(task):
    y_true, shape = EMPTY[task]
    value, gradient = value_and_gradient(for_tasks([task])[task], y_true, RNG.normal(size=shape))
    assert value == 0.0
    assert (gradient == 0).all()


# ----------------------------------------------------------------------- dictionaries


def test_every_target_has_a_loss_that_survives_serialisation():
    losses = for_tasks(tuple(TARGETS))
    assert list(losses) == list(TARGETS)
    for loss in losses.values():
        twin = keras.losses.deserialize(keras.losses.serialize(loss))
        assert type(twin) is type(loss)
        assert twin.get_config() == loss.get_config()


def test_unknown_task_lists_the_valid_ones():
    with pytest.raises(InvalidArgumentError, match=r"climate_zone.*Received: 'weather'"):
        for_tasks(["weather"])
    with pytest.raises(InvalidArgumentError, match="sequence of names"):
        for_tasks("season")


def test_task_without_classes_in_the_records_is_refused():
    schema = SimpleNamespace(classes={"climate_zone": tuple("abc")})
    assert list(for_tasks(["climate_zone", "season"], schema)) == ["climate_zone", "season"]
    with pytest.raises(InvalidArgumentError, match=r"\['climate_zone'\].*Received: 'geocluster'"):
        for_tasks(["geocluster"], schema)
