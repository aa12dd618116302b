"""GradNorm and PCGrad: against NumPy on quadratic tasks, and gradients made by hand."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from eokeras.balance import GradNorm, PCGrad, balanced
from eokeras.balance.gradient_rules import inverse_rates, projection_weights, target_norms
from eokeras.errors import InvalidArgumentError
from tests.balance.cases import RATE, Normed, fitted, learner, logged_weights, quadratic_batches, simulated, surgery
from tests.checks import dtype_policy

RNG = np.random.default_rng(0)
TARGETS = {"a": [1.0], "b": [-2.0]}
# From theta = (0, 0) the gradients are minus the targets: (1, 0) and (-1, 1).
CONFLICT = {"a": [-1.0, 0.0], "b": [1.0, -1.0]}


def orders_of(tasks):
    """All ways in which each task can meet all others."""
    return itertools.product(itertools.permutations(range(tasks)), repeat=tasks)


# --------------------------------------------------------------------------- GradNorm


@pytest.mark.parametrize("on", ["last", "all"])
@pytest.mark.parametrize("theta", [[0.5], [0.5, -1.0]])
def test_gradnorm_follows_the_transcript(theta, on):
    targets = {"a": [1.0] * len(theta), "b": [-2.0] * len(theta), "c": [6.5] * len(theta)}
    found, history = fitted(GradNorm(on=on), theta, targets, epochs=4)
    expected, weights = simulated(Normed(3), theta, targets, epochs=4)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(logged_weights(history, "abc"), weights, rtol=1e-4)
    assert np.abs(weights[-1] - 1).max() > 0.1


def test_rates_and_targets_by_hand():
    every = np.array([True, True, True])
    # left of the first losses: 1/2, 1/4, 3/4; their mean is 1/2
    rates = inverse_rates(np.array([1.0, 1.0, 3.0], "float32"), np.array([2.0, 4.0, 4.0], "float32"), every)
    np.testing.assert_allclose(rates, [1.0, 0.5, 1.5])
    # mean norm 2; 2 * rate ^ 2
    targets = target_norms(np.array([1.0, 2.0, 3.0], "float32"), rates, 2.0, every)
    np.testing.assert_allclose(targets, [2.0, 0.5, 4.5])
    two = np.array([True, False, True])
    rates = inverse_rates(np.array([1.0, 0.0, 3.0], "float32"), np.array([2.0, 0.0, 4.0], "float32"), two)
    np.testing.assert_allclose(rates, [0.8, 0.0, 1.2])
    np.testing.assert_allclose(target_norms(np.array([1.0, 0.0, 3.0], "float32"), rates, 1.0, two), [1.6, 0.0, 2.4])


def test_first_step_of_gradnorm_by_hand():
    """All rates are 1: the larger gradient loses weight, the smaller wins it, by the learning rate of Adam."""
    _, history = fitted(GradNorm(learning_rate=0.1), [0.5], TARGETS, epochs=2, steps=1)
    np.testing.assert_allclose(logged_weights(history), [[1.0, 1.0], [1.1, 0.9]], rtol=1e-5)


def test_gradnorm_keeps_the_weight_of_a_task_without_labels():
    rule = GradNorm(learning_rate=0.1)
    rule.prepare(("a", "b", "c"))
    rule.values.assign([0.5, 1.5, 1.0])
    rule.update(np.array([1.0, 2.0, 0.0], "float32"), np.array([1.0, 1.0, 0.0], "float32"))
    # sizes 0.5 and 1.5, both targets 1: up and down by 0.1, which leaves their sum at 2
    np.testing.assert_allclose(rule.values, [0.6, 1.4, 1.0], rtol=1e-5)
    np.testing.assert_allclose(rule.first_losses, [1.0, 2.0, 0.0])
    rule.update(np.array([1.0, 2.0, 3.0], "float32"), np.array([1.0, 1.0, 1.0], "float32"))
    np.testing.assert_allclose(rule.first_losses, [1.0, 2.0, 3.0])


def test_gradnorm_ignores_what_is_not_finite():
    rule = GradNorm()
    rule.prepare(("a", "b"))
    rule.update(np.array([1.0, np.nan], "float32"), np.array([np.inf, 1.0], "float32"))
    np.testing.assert_array_equal(rule.values, [1.0, 1.0])
    np.testing.assert_array_equal(rule.first_losses, [0.0, 0.0])


def test_gradnorm_weights_stay_positive_and_sum_to_the_number_of_tasks():
    rule = GradNorm(learning_rate=5.0)
    rule.prepare(("a", "b"))
    rule.update(np.array([1.0, 1.0], "float32"), np.array([1.0, 9.0], "float32"))
    values = np.array(rule.values)
    assert values.sum() == pytest.approx(2.0)
    assert values[1] == pytest.approx(2 * 0.001 / 6.001, rel=1e-4)


def two_layers():
    """Shared kernels of 2 and of 3 columns, and one of task "a" alone."""
    inputs = keras.Input((4,), name="s2")
    x = keras.layers.Dense(3, name="late")(keras.layers.Dense(2, name="early")(inputs))
    outputs = {"a": keras.layers.Dense(1, name="a")(keras.layers.Dense(5, name="own")(x))}
    outputs["b"] = keras.layers.Dense(1, name="b")(x)
    return keras.Model([inputs], outputs, name="layers")


@pytest.mark.parametrize(("on", "layers"), [("last", ("late",)), ("all", ("early", "late"))])
def test_gradnorm_reads_the_weights_it_says(on, layers):
    """The norms, by a tape of the test's own over kernels (and for "all" biases) of these layers."""
    x = {"s2": RNG.normal(size=(6, 4)).astype("float32")}
    y = {task: RNG.normal(size=(6, 1)).astype("float32") for task in "ab"}
    network = two_layers()
    norms = []
    for task in "ab":
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((network(x)[task] - y[task]) ** 2)
        kernels = [network.get_layer(name).kernel.value for name in layers]
        biases = [network.get_layer(name).bias.value for name in layers] if on == "all" else []
        norms.append(np.sqrt(sum(float(tf.reduce_sum(g**2)) for g in tape.gradient(loss, kernels + biases))))

    class Spy(GradNorm):
        def update(self, losses, norms):
            self.seen = np.array(norms)

    model = balanced(network, Spy(on=on))
    scaling = keras.optimizers.SGD(loss_scale_factor=1024.0)
    model.compile(scaling, loss=dict.fromkeys("ab", "MeanSquaredError"), run_eagerly=True)
    model.fit(x, y, batch_size=6, verbose=0)
    np.testing.assert_allclose(model.rule.seen, norms, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": "first"}, r"`on` must be one of \['last', 'all'\]"),
        ({"alpha": -1}, "`alpha` must be a finite number of 0 or more"),
        ({"learning_rate": 0}, "`learning_rate` must be a finite number above 0"),
    ],
)
def test_arguments_of_gradnorm(options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        GradNorm(**options)


# ----------------------------------------------------------------------------- PCGrad


def test_conflicting_gradients_by_hand():
    """(1, 0) becomes (1/2, 1/2), (-1, 1) becomes (0, 1); the step is along (1/2, 3/2)."""
    theta, history = fitted(PCGrad(seed=0), [0.0, 0.0], CONFLICT, steps=1)
    np.testing.assert_allclose(theta, [-0.5 * RATE, -1.5 * RATE], rtol=1e-5)
    np.testing.assert_allclose(logged_weights(history), [[2.0, 1.5]], rtol=1e-5)


def test_gradients_that_do_not_conflict_stay():
    theta, history = fitted(PCGrad(seed=0), [0.0, 0.0], {"a": [-1.0, 0.0], "b": [-1.0, -2.0]}, steps=1)
    np.testing.assert_allclose(theta, [-2 * -RATE * -1, -RATE * 2], rtol=1e-6)
    np.testing.assert_array_equal(logged_weights(history), [[1.0, 1.0]])


@pytest.mark.parametrize("tasks", [2, 3, 4])
def test_projections_are_those_of_the_paper(tasks):
    for trial in range(20):
        gradients = RNG.normal(size=(tasks, 3))
        orders = np.array([RNG.permutation(tasks) for _ in range(tasks)])
        weights = projection_weights(keras.ops.convert_to_tensor(gradients @ gradients.T, "float32"), orders)
        expected = surgery(gradients, orders)
        np.testing.assert_allclose(np.array(weights) @ gradients, expected, rtol=1e-3, atol=1e-4, err_msg=str(trial))


def test_three_tasks_meet_in_random_orders():
    """Three gradients in the plane that conflict: every step is one of the paper's, and not always the same."""
    targets = {"a": [-1.0, 0.0], "b": [1.0, -1.0], "c": [0.5, 2.0]}
    gradients = -np.array(list(targets.values()))
    possible = np.array([surgery(gradients, orders) for orders in orders_of(3)])
    steps = []
    for seed in range(6):
        theta, _ = fitted(PCGrad(seed), [0.0, 0.0], targets, steps=1)
        steps.append(-theta / RATE)
        assert np.abs(possible - steps[-1]).max(axis=1).min() < 1e-4
    assert len(np.unique(np.round(steps, 3), axis=0)) > 1
    again, _ = fitted(PCGrad(5), [0.0, 0.0], targets, steps=1)
    np.testing.assert_allclose(-again / RATE, steps[-1])


def test_a_gradient_of_zero_is_not_projected_on():
    gram = np.array([[1.0, 0.0, -1.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 2.0]], "float32")
    orders = np.array([[1, 2, 0], [0, 2, 1], [1, 0, 2]])
    np.testing.assert_allclose(projection_weights(keras.ops.convert_to_tensor(gram), orders), [2.0, 1.0, 1.5])


def test_private_weights_take_their_plain_gradient():
    """The task "a" has a factor of its own: theta is projected, the factor is not."""
    inputs = keras.Input((1,), name="s2")
    theta = keras.layers.Dense(2, use_bias=False, name="theta")
    own = keras.layers.Dense(2, use_bias=False, name="a")
    network = keras.Model([inputs], {"a": own(theta(inputs)), "b": keras.layers.Identity(name="b")(theta.output)})
    theta.kernel.assign([[1.0, 2.0]])
    own.kernel.assign(np.eye(2))
    x, y = {"s2": np.ones((1, 1), "float32")}, {"a": np.array([[0.0, 2.0]]), "b": np.array([[2.0, 1.0]])}
    model = balanced(network, PCGrad(seed=0))
    model.compile(keras.optimizers.SGD(RATE), loss=dict.fromkeys("ab", "MeanSquaredError"), run_eagerly=True)
    model.fit(x, y, verbose=0)
    # errors (1, 0) and (-1, 1): on theta as by hand above; on the factor theta^T error_a, which nothing touches
    np.testing.assert_allclose(theta.kernel, [[1 - 0.5 * RATE, 2 - 1.5 * RATE]], rtol=1e-5)
    np.testing.assert_allclose(own.kernel, [[1 - RATE, 0.0], [-2 * RATE, 1.0]], rtol=1e-5, atol=1e-7)


# -------------------------------------------------------------- both, in all ways to train


@pytest.mark.parametrize("rule", [GradNorm, PCGrad])
def test_a_model_that_shares_nothing_is_refused(rule):
    inputs = keras.Input((1,), name="s2")
    network = keras.Model([inputs], {task: keras.layers.Dense(1, name=task)(inputs) for task in "ab"})
    model = balanced(network, rule())
    model.compile("sgd", loss=dict.fromkeys("ab", "MeanSquaredError"), run_eagerly=True)
    with pytest.raises(InvalidArgumentError, match=r"`model` must have.*share"):
        model.fit(quadratic_batches(TARGETS), verbose=0)


@pytest.mark.parametrize("rule", [GradNorm, lambda: PCGrad(0)])
@pytest.mark.parametrize("options", [{}, {"jit_compile": True}, {"steps_per_execution": 2}])
def test_eager_traced_compiled_and_several_steps_are_alike(rule, options):
    expected, _ = fitted(rule(), [0.3, 0.1], CONFLICT, epochs=2, steps=4)
    found, _ = fitted(rule(), [0.3, 0.1], CONFLICT, epochs=2, steps=4, run_eagerly=False, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("rule", [GradNorm, lambda: PCGrad(0)])
def test_gradient_accumulation_waits_and_takes_the_mean(rule):
    sgd = {"optimizer": keras.optimizers.SGD(RATE, gradient_accumulation_steps=2)}
    waiting, _ = fitted(rule(), [0.0, 0.0], CONFLICT, steps=1, **sgd)
    np.testing.assert_array_equal(waiting, [0.0, 0.0])
    model = learner(rule(), [0.0, 0.0], optimizer=keras.optimizers.SGD(RATE, gradient_accumulation_steps=2))
    history = model.fit(quadratic_batches(CONFLICT, 1), epochs=2, verbose=0).history
    # theta has stood still, so the mean gradient is the mean of the two steps' weights times one set of gradients
    mean = logged_weights(history).mean(axis=0)
    np.testing.assert_allclose(
        model.get_layer("theta").kernel[0], -RATE * (mean @ np.array([[1.0, 0.0], [-1.0, 1.0]])), rtol=1e-5
    )


@pytest.mark.parametrize("rule", [GradNorm, lambda: PCGrad(0)])
def test_loss_scaling_changes_no_step(rule):
    with dtype_policy("mixed_float16"):
        model = learner(rule(), [0.0, 0.0])
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    history = model.fit(quadratic_batches(CONFLICT), epochs=2, verbose=0).history
    expected, reference = fitted(rule(), [0.0, 0.0], CONFLICT, epochs=2)
    np.testing.assert_allclose(model.get_layer("theta").kernel[0], expected, rtol=5e-3)
    np.testing.assert_allclose(logged_weights(history), logged_weights(reference), rtol=5e-3)


@pytest.mark.parametrize("rule", [GradNorm, lambda: PCGrad(0)])
def test_an_overflow_skips_the_step(rule):
    """A loss that half precision cannot scale: the optimizer leaves out the step and halves its scale."""
    with dtype_policy("mixed_float16"):
        model = learner(rule(), [0.5, 0.5])
    far = {"a": [6e4, 6e4], "b": [-6e4, 6e4]}
    before = np.array(model.get_layer("theta").kernel)
    model.fit(quadratic_batches(far, 1), verbose=0)
    np.testing.assert_array_equal(model.get_layer("theta").kernel, before)
    assert float(model.optimizer.dynamic_scale) == 2.0**14
    assert np.isfinite([np.array(variable, "float64") for variable in model.rule.trainable_variables]).all()
    for variable in model.rule.variables[2:]:
        assert np.isfinite(np.array(variable, "float64")).all()


@pytest.mark.parametrize("rule", [GradNorm, lambda: PCGrad(0)])
def test_regularisers_join_the_gradient(rule):
    inputs = keras.Input((1,), name="s2")
    shared = keras.layers.Dense(2, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.5), name="theta")
    x = shared(inputs)
    network = keras.Model([inputs], {task: keras.layers.Identity(name=task)(x) for task in "ab"})
    shared.kernel.assign([[1.0, 1.0]])
    model = balanced(network, rule())
    model.compile(keras.optimizers.SGD(RATE), loss=dict.fromkeys("ab", "MeanSquaredError"), run_eagerly=True)
    history = model.fit(quadratic_batches({"a": [0.0, 0.0], "b": [0.0, 0.0]}, 1), verbose=0).history
    # both tasks' gradients are (1, 1), the regulariser's is 2 * 0.5 * (1, 1); its value is 0.5 * 2
    np.testing.assert_allclose(shared.kernel, [[1 - 3 * RATE, 1 - 3 * RATE]], rtol=1e-5)
    assert history["loss"] == pytest.approx([1.0 + 1.0 + 1.0])
