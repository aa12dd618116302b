"""Uncertainty weighting: which likelihood gives which factors, and where the weights settle."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from eokeras import losses
from eokeras.balance import UncertaintyWeighting
from eokeras.errors import InvalidArgumentError
from tests.balance.cases import Uncertainty, fitted, learner, logged_weights, simulated

TARGETS = {"a": [1.0], "b": [-2.0]}
LIKELIHOODS = {"soft": "softmax", "gauss": "gaussian", "laplace": "laplace"}


def prepared(likelihoods=LIKELIHOODS, **options):
    rule = UncertaintyWeighting(likelihoods, **options)
    rule.prepare(tuple(likelihoods))
    rule.check_losses(dict.fromkeys(likelihoods))
    return rule


def test_it_follows_the_transcript():
    theta, history = fitted(UncertaintyWeighting(), [0.5], TARGETS, epochs=3)
    expected, weights = simulated(Uncertainty(2), [0.5], TARGETS, epochs=3)
    np.testing.assert_allclose(theta, expected, rtol=1e-5)
    np.testing.assert_allclose(logged_weights(history), weights, rtol=1e-5)


def test_objective_by_hand():
    rule = prepared()
    rule.noise.assign([np.log(2.0), np.log(4.0), np.log(3.0)])
    # 6 / 2 + log(2) / 2; 6 / 4 / 2 + log(4) / 2; 6 / 3 + log(3)
    expected = (3 + 0.346574) + (0.75 + 0.693147) + (2 + 1.098612)
    assert float(rule.objective(np.full(3, 6.0, "float32"))) == pytest.approx(expected, rel=1e-5)


def test_each_likelihood_is_a_likelihood():
    """The objective differs from the negative log-likelihood by what does not depend on s or the prediction."""
    errors, differences = np.array([0.3, -1.2, 0.7]), {"gauss": [], "laplace": []}
    for s in (-1.0, 0.0, 1.5):
        rule = prepared({"gauss": "gaussian", "laplace": "laplace"})
        mean_losses = np.array([np.mean(errors**2), np.mean(np.abs(errors))], "float32")
        for index, task in enumerate(differences):
            rule.noise.assign(np.full(2, s))
            only = np.where(np.arange(2) == index, mean_losses, 0).astype("float32")
            found = float(rule.objective(only))
            scale = np.exp(s / 2) if task == "gauss" else np.exp(s)
            density = {
                "gauss": np.exp(-(errors**2) / (2 * scale**2)) / np.sqrt(2 * np.pi * scale**2),
                "laplace": np.exp(-np.abs(errors) / scale) / (2 * scale),
            }[task]
            differences[task].append(-np.mean(np.log(density)) - found)
    assert differences["gauss"] == pytest.approx([np.log(2 * np.pi) / 2] * 3, rel=1e-5)
    assert differences["laplace"] == pytest.approx([np.log(2)] * 3, rel=1e-5)


@pytest.mark.parametrize("speed", [1.0, 3.0])
def test_weights_settle_at_the_closed_form(speed):
    """Losses held at 2, 0.5 and 4: weights 1 / (2 L), 1 / (2 L) and 1 / L."""
    rule = prepared(speed=speed)
    constant = np.array([2.0, 0.5, 4.0], "float32")
    optimizer = keras.optimizers.SGD(0.5 / speed**2)
    for _ in range(100):
        with tf.GradientTape() as tape:
            objective = rule.objective(constant)
        optimizer.apply(tape.gradient(objective, rule.trainable_variables), rule.trainable_variables)
    np.testing.assert_allclose(rule.task_weights(constant), [0.25, 1.0, 0.25], rtol=1e-4)


def test_a_batch_without_labels_leaves_the_noise_alone():
    rule = prepared()
    rule.noise.assign([0.5, 0.5, 0.5])
    with tf.GradientTape() as tape:
        objective = rule.objective(np.array([1.0, 0.0, 1.0], "float32"))
    gradient = tape.gradient(objective, rule.trainable_variables)[0].numpy()
    assert gradient[1] == 0
    assert gradient[0] == pytest.approx(0.5 - np.exp(-0.5), rel=1e-5)
    assert gradient[2] == pytest.approx(1 - np.exp(-0.5), rel=1e-5)


def test_likelihoods_follow_from_losses_and_targets():
    found = losses.for_tasks(("climate_zone", "land_cover_map", "season", "labels", "land_cover_fractions"))
    found |= {"squared": keras.losses.MeanSquaredError(), "absolute": keras.losses.MeanAbsoluteError()}
    found |= {"land_cover": keras.losses.CategoricalHinge()}  # unknown loss, known kind of target
    rule = UncertaintyWeighting()
    rule.prepare(tuple(found))
    rule.check_losses(found)
    weights = dict(zip(found, np.array(rule.task_weights(None)), strict=True))
    assert weights.pop("squared") == 0.5
    assert set(weights.values()) == {1.0}
    by_task = dict(zip(found, rule.regularisers, strict=True))
    assert {task for task, value in by_task.items() if value == 1.0} == {"season", "absolute"}


def test_a_given_likelihood_wins():
    rule = UncertaintyWeighting({"a": "laplace"})
    rule.prepare(("a", "b"))
    rule.check_losses({"a": keras.losses.MeanSquaredError(), "b": keras.losses.MeanSquaredError()})
    np.testing.assert_array_equal(rule.task_weights(None), [1.0, 0.5])


@pytest.mark.parametrize("task", ["a", "season", "elevation"])
def test_an_unknown_loss_is_named(task):
    with pytest.raises(InvalidArgumentError, match=f"must name the likelihood of '{task}'.*Received: Huber"):
        learner(UncertaintyWeighting({"other": "laplace"}), [0.5], tasks=(task, "other"), loss="Huber")


def test_a_likelihood_must_be_known():
    with pytest.raises(InvalidArgumentError, match=r"`likelihoods\['a'\]` must be one of \['softmax', 'gaussian'"):
        UncertaintyWeighting({"a": "normal"})


def test_likelihoods_must_be_a_dict():
    with pytest.raises(InvalidArgumentError, match="`likelihoods` must be a dict"):
        UncertaintyWeighting("gaussian")


def test_likelihoods_must_name_tasks_of_the_model():
    with pytest.raises(InvalidArgumentError, match=r"`likelihoods` may hold.*Received: 'c'"):
        learner(UncertaintyWeighting({"c": "gaussian"}), [0.5])


def test_speed_must_be_positive():
    with pytest.raises(InvalidArgumentError, match="`speed` must be a finite number above 0"):
        UncertaintyWeighting(speed=0)
