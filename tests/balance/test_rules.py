"""Rules that look at losses alone: against NumPy on quadratic tasks, and numbers worked out by hand."""

import math

import keras
import numpy as np
import pytest

from eokeras.balance import DynamicWeightAverage, FixedWeights, RandomLossWeighting
from eokeras.errors import InvalidArgumentError
from tests.balance.cases import (
    RATE,
    STEPS,
    Average,
    Fixed,
    fitted,
    learner,
    logged_weights,
    quadratic,
    quadratic_batches,
    simulated,
    theta_of,
)

TARGETS = {"a": [1.0], "b": [-2.0]}


def prepared(rule, tasks=("a", "b")):
    rule.prepare(tasks)
    rule.begin_epoch()
    return rule


def epoch(rule, *losses):
    """One epoch of the rule, one step per array of losses; gives its logged weights as a list."""
    rule.begin_epoch()
    for step in losses:
        rule.objective(np.array(step, "float32"))
    return list(rule.end_epoch().values())


# --------------------------------------------------------------------- fixed weights


def test_fixed_weights_are_a_plain_weighted_sum():
    theta, history = fitted(FixedWeights({"b": 0.25, "a": 1.0}), [0.5], TARGETS, epochs=2)
    expected, weights = simulated(Fixed(1.0, 0.25), [0.5], TARGETS, epochs=2)
    np.testing.assert_allclose(theta, expected, rtol=1e-5)
    np.testing.assert_allclose(logged_weights(history), weights)

    plain = quadratic([0.5])
    plain.compile(
        keras.optimizers.SGD(RATE),
        loss=dict.fromkeys(TARGETS, "MeanSquaredError"),
        loss_weights={"a": 1.0, "b": 0.25},
    )
    plain.fit(quadratic_batches(TARGETS), epochs=2, verbose=0)
    np.testing.assert_allclose(theta, theta_of(plain), rtol=1e-6)


def test_one_step_by_hand():
    # losses (0.5 - 1)^2 and (0.5 + 2)^2; gradients -1 and 5; step -0.1 (-1 + 0.25 * 5)
    theta, history = fitted(FixedWeights({"a": 1.0, "b": 0.25}), [0.5], TARGETS, steps=1)
    assert theta == pytest.approx([0.475])
    assert history["a_loss"] == pytest.approx([0.25])
    assert history["b_loss"] == pytest.approx([6.25])


def test_fixed_weights_default_to_one():
    assert float(prepared(FixedWeights()).objective(np.array([2.0, 3.0], "float32"))) == 5.0


@pytest.mark.parametrize("weights", [[1.0, 2.0], 1.0])
def test_fixed_weights_must_be_a_dict(weights):
    with pytest.raises(InvalidArgumentError, match="`weights` must be a dict of task -> number"):
        FixedWeights(weights)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, "1", None, True])
def test_fixed_weights_must_be_numbers(value):
    with pytest.raises(InvalidArgumentError, match=r"`weights\['a'\]` must be a finite number of 0 or more"):
        FixedWeights({"a": value})


@pytest.mark.parametrize("weights", [{"a": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}])
def test_fixed_weights_must_name_the_tasks(weights):
    with pytest.raises(InvalidArgumentError, match=r"`weights` must name every task of the model, \['a', 'b'\]"):
        FixedWeights(weights).prepare(("a", "b"))


# -------------------------------------------------------------- dynamic weight average


def test_average_follows_the_transcript():
    theta, history = fitted(DynamicWeightAverage(), [0.5], TARGETS, epochs=5)
    expected, weights = simulated(Average(2), [0.5], TARGETS, epochs=5)
    np.testing.assert_allclose(theta, expected, rtol=1e-5)
    np.testing.assert_allclose(logged_weights(history), weights, rtol=1e-5)
    assert np.abs(weights[2:] - 1).max() > 0.02


def test_average_by_hand():
    rule = prepared(DynamicWeightAverage())
    assert epoch(rule, [3.0, 8.0], [5.0, 8.0]) == [1.0, 1.0]  # means 4 and 8
    assert epoch(rule, [2.0, 8.0]) == [1.0, 1.0]
    # ratios 2 / 4 and 8 / 8, over T = 2: exp(0.25) = 1.284025 and exp(0.5) = 1.648721
    assert epoch(rule, [2.0, 2.0]) == pytest.approx([0.875647, 1.124353], rel=1e-5)
    # ratios 2 / 2 and 2 / 8: exp(0.5) and exp(0.125) = 1.133148
    assert epoch(rule, [1.0, 1.0]) == pytest.approx([1.185333, 0.814667], rel=1e-5)


def test_a_high_temperature_makes_weights_equal():
    rule = prepared(DynamicWeightAverage(temperature=1e6))
    for losses in ([4.0, 8.0], [2.0, 8.0]):
        epoch(rule, losses)
    assert epoch(rule, [1.0, 1.0]) == pytest.approx([1.0, 1.0], abs=1e-5)


def test_average_leaves_out_what_has_no_labels():
    """Batches without labels count in no mean; an epoch without any leaves the last two that had some."""
    rule = prepared(DynamicWeightAverage())
    epoch(rule, [4.0, 0.0], [4.0, 16.0], [4.0, np.nan])
    epoch(rule, [4.0, 8.0])
    # ratios 4 / 4 and 8 / 16: exp(0.5) and exp(0.25), the other way round than above
    assert epoch(rule, [4.0, 0.0]) == pytest.approx([1.124353, 0.875647], rel=1e-5)
    assert epoch(rule, [4.0, 0.0]) == pytest.approx([1.124353, 0.875647], rel=1e-5)


def test_average_of_a_task_that_never_has_labels():
    rule = prepared(DynamicWeightAverage())
    for _ in range(3):
        weights = epoch(rule, [1.0, 0.0])
    assert weights == [1.0, 1.0]


def test_an_unfinished_epoch_counts_nowhere():
    rule = prepared(DynamicWeightAverage())
    rule.objective(np.array([100.0, 1.0], "float32"))
    epoch(rule, [4.0, 8.0])
    epoch(rule, [2.0, 8.0])
    assert epoch(rule, [2.0, 2.0]) == pytest.approx([0.875647, 1.124353], rel=1e-5)


@pytest.mark.parametrize("temperature", [0, -1.0, math.inf, "2"])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(InvalidArgumentError, match="`temperature` must be a finite number above 0"):
        DynamicWeightAverage(temperature)


# --------------------------------------------------------------- random loss weighting


def test_random_weights_are_those_of_the_seed():
    rule = prepared(RandomLossWeighting(seed=7), "abc")
    twin = keras.random.SeedGenerator(7)
    for _ in range(3):
        raised = np.exp(np.array(keras.random.normal((3,), dtype="float32", seed=twin)))
        np.testing.assert_allclose(rule.task_weights(None), 3 * raised / raised.sum(), rtol=1e-5)


def test_random_weights_have_mean_one_and_the_spread_of_a_softmax():
    rule = prepared(RandomLossWeighting(seed=0))
    weights = np.array([rule.task_weights(None) for _ in range(600)])
    np.testing.assert_allclose(weights.sum(axis=1), 2, rtol=1e-5)
    # w = 2 / (1 + exp(-d)), d ~ N(0, 2): its standard deviation by a sum over the density
    d = np.linspace(-10, 10, 20001)
    density = np.exp(-(d**2) / 4) / np.sqrt(4 * np.pi) * (d[1] - d[0])
    deviation = np.sqrt(np.sum(density * (2 / (1 + np.exp(-d)) - 1) ** 2))
    assert weights[:, 0].mean() == pytest.approx(1.0, abs=4 * deviation / np.sqrt(600))
    assert weights[:, 0].std() == pytest.approx(deviation, rel=0.12)


def test_random_weights_weigh_the_gradient():
    theta, history = fitted(RandomLossWeighting(seed=3), [0.5], TARGETS, steps=1)
    (first, second) = logged_weights(history)[0]
    assert first != pytest.approx(1.0, abs=1e-3)
    assert theta == pytest.approx([0.5 - RATE * (-first + 5 * second)], rel=1e-5)


def test_equal_seeds_train_alike():
    runs = [fitted(RandomLossWeighting(seed), [0.5], TARGETS)[0] for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


# ------------------------------------------------------------------------------- logs


def test_logged_weights_are_means_over_the_steps_of_one_epoch():
    model = learner(RandomLossWeighting(seed=0), [0.5])
    history = model.fit(quadratic_batches(TARGETS), epochs=2, verbose=0).history
    twin = prepared(RandomLossWeighting(seed=0))
    expected = [np.mean([twin.task_weights(None) for _ in range(STEPS)], axis=0) for _ in range(2)]
    np.testing.assert_allclose(logged_weights(history), expected, rtol=1e-5)


def test_a_rule_serves_one_model():
    rule = FixedWeights()
    learner(rule, [0.5])
    with pytest.raises(InvalidArgumentError, match="`rule` must be a new one for every model"):
        learner(rule, [0.5])
