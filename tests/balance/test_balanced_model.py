"""The model that follows a rule: what it logs, saves, refuses, and how it stands to the network inside."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import eokeras as eo
from eokeras.balance import (
    BalancedModel,
    DynamicWeightAverage,
    FixedWeights,
    GradientBalancedModel,
    GradNorm,
    PCGrad,
    RandomLossWeighting,
    UncertaintyWeighting,
    balanced,
)
from eokeras.balance.balanced_model import LossMeans
from eokeras.ben_ge.schema import VOID
from eokeras.errors import InvalidArgumentError
from tests.balance.cases import learner, quadratic, quadratic_batches, theta_of
from tests.checks import assert_same, dtype_policy, small_encoder, to_numpy

TASKS = ("climate_zone", "season")
RULES = {
    "fixed": lambda: FixedWeights({"climate_zone": 0.5, "season": 2.0}),
    "uncertainty": lambda: UncertaintyWeighting(speed=10.0),
    "average": DynamicWeightAverage,
    "random": RandomLossWeighting,
    "gradnorm": GradNorm,
    "pcgrad": PCGrad,
}
RNG = np.random.default_rng(0)
INPUTS = {name: RNG.normal(size=(6, 4)).astype("float32") for name in ("s2", "s1", "another")}
TARGETS = {
    "climate_zone": np.array([0, 11, VOID, 3, 4, 5], "int32"),
    "season": np.array([0.5, np.nan, 1.0, 0.2, np.nan, np.nan], "float32"),
}
BATCHES = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(2)  # the last one has no season


def network():
    """Two inputs, a shared layer, two heads."""
    keras.utils.set_random_seed(0)
    inputs = [keras.Input((4,), name=name) for name in ("s2", "s1")]
    x = keras.layers.Dense(3, activation="relu")(keras.layers.Concatenate()(inputs))
    outputs = {
        task: keras.layers.Dense(units, name=task, dtype="float32")(x)
        for task, units in zip(TASKS, (12, 1), strict=True)
    }
    return keras.Model(inputs, outputs, name="network")


def compiled(rule, reported_weights=None, run_eagerly=True, **options):
    """Eager unless told otherwise, as tracing costs more than a few steps."""
    model = balanced(network(), rule, reported_weights)
    model.compile(keras.optimizers.Adam(1e-2), eo.losses.for_tasks(TASKS), run_eagerly=run_eagerly, **options)
    return model


# -------------------------------------------------------------------- save and resume


def assert_same_training(received, expected):
    for one, other in zip(received.variables, expected.variables, strict=True):
        np.testing.assert_allclose(to_numpy(one), to_numpy(other), rtol=1e-4, atol=1e-6, err_msg=other.path)


@pytest.mark.parametrize("kind", RULES)
def test_training_goes_on_as_if_never_broken_off(kind, tmp_path):
    unbroken = compiled(RULES[kind]())
    unbroken.fit(BATCHES, epochs=2, verbose=0)
    unbroken.save(tmp_path / "model.keras")
    unbroken.save_weights(tmp_path / "model.weights.h5")
    expected = unbroken.fit(BATCHES, epochs=4, initial_epoch=2, verbose=0).history

    reloaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(reloaded) is type(unbroken)
    assert reloaded.rule.get_config() == unbroken.rule.get_config()
    history = reloaded.fit(BATCHES, epochs=4, initial_epoch=2, verbose=0).history
    assert list(history) == list(expected)
    assert_same(history, expected, rtol=1e-4, atol=1e-6)
    assert_same_training(reloaded, unbroken)
    assert_same_training(reloaded.rule, unbroken.rule)

    restored = compiled(RULES[kind]())
    restored.load_weights(tmp_path / "model.weights.h5")
    restored.fit(BATCHES, epochs=4, initial_epoch=2, verbose=0)
    assert_same_training(restored.rule, unbroken.rule)
    assert_same_training(restored, unbroken)


def test_the_order_of_outputs_does_not_matter():
    """The arrays of a rule are in alphabetical order, whatever order a file brings the outputs in."""
    model = learner(UncertaintyWeighting(), [0.5], tasks=("b", "a"))
    assert model.tasks == model.rule.tasks == ("a", "b")
    history = model.fit(quadratic_batches({"b": [-2.0], "a": [1.0]}, 2), verbose=0).history
    # losses 0.25 and 6.25 in the first step: the first weight rises, the second falls
    assert history["weight_a"][0] > 0.5 > history["weight_b"][0]


def test_checkpoints_hold_the_epoch_that_has_ended(tmp_path):
    """A callback of the user runs after the rule has ended its epoch."""
    model = learner(DynamicWeightAverage(), [0.5])
    save = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.weights.h5"), save_weights_only=True)
    model.fit(quadratic_batches({"a": [1.0], "b": [-2.0]}), epochs=2, verbose=0, callbacks=save)
    twin = learner(DynamicWeightAverage(), [0.5])
    twin.load_weights(tmp_path / "2.weights.h5")
    np.testing.assert_array_equal(to_numpy(twin.rule.last_mean), to_numpy(model.rule.last_mean))
    assert (to_numpy(twin.rule.mean_before) > 0).all()


# --------------------------------------------------------------------- what is logged


def test_loss_and_val_loss_are_the_same_sum_under_every_rule():
    """Untrained (learning rate 0), every rule reports the plain sum of the task losses, in training and validation."""
    expected = None
    for kind, rule in RULES.items():
        model = compiled(rule())
        model.optimizer.learning_rate.assign(0.0)
        history = model.fit(BATCHES, validation_data=BATCHES, verbose=0).history
        plain = sum(history[f"val_{task}_loss"][0] for task in TASKS)
        assert history["val_loss"][0] == pytest.approx(plain, rel=1e-5), kind
        assert history["loss"][0] == pytest.approx(plain, rel=1e-5), kind
        expected = plain if expected is None else expected
        assert plain == pytest.approx(expected, rel=1e-5), kind
        assert {key for key in history if "weight" in key} == {f"weight_{task}" for task in TASKS}
        assert model.evaluate(BATCHES, verbose=0, return_dict=True)["loss"] == pytest.approx(plain, rel=1e-5)


def test_means_over_the_epoch_weigh_batches_by_their_patches():
    metric = LossMeans(TASKS)
    metric.update_state(np.array([0.5, 1.0], "float32"), 1.5, 8)
    metric.update_state(np.array([2.0, 0.0], "float32"), 2.0, 2)
    # (8 x 0.5 + 2 x 2) / 10, 8 x 1 / 10, (8 x 1.5 + 2 x 2) / 10
    means = {name: float(value) for name, value in metric.result().items()}
    assert means == pytest.approx({"climate_zone_loss": 0.8, "season_loss": 0.8, "loss": 1.6})


def test_reported_weights_are_those_of_the_log_alone():
    targets = {"a": [1.0], "b": [-2.0]}
    model = balanced(quadratic([0.5]), FixedWeights(), reported_weights={"a": 2.0, "b": 0.1})
    model.compile(keras.optimizers.SGD(0.1), loss=dict.fromkeys(targets, "MeanSquaredError"), run_eagerly=True)
    batches = quadratic_batches(targets, steps=1)
    history = model.fit(batches, validation_data=batches, verbose=0).history
    # losses 0.25 and 6.25, gradients -1 and 5: then theta is 0.1, losses 0.81 and 4.41
    assert history["loss"] == pytest.approx([2 * 0.25 + 0.1 * 6.25])
    assert history["val_loss"] == pytest.approx([2 * 0.81 + 0.1 * 4.41])
    assert theta_of(model) == pytest.approx([0.1])
    assert BalancedModel.from_config(model.get_config()).reported_weights == {"a": 2.0, "b": 0.1}


def test_task_losses_are_those_of_keras():
    """Plain and balanced by fixed weights: same losses, metrics and weights after two epochs, traced."""
    weights = {"climate_zone": 1.0, "season": 2.0}
    model = compiled(FixedWeights(weights), weights, run_eagerly=False, metrics=eo.metrics.for_tasks(TASKS))
    plain = network()
    plain.compile(
        keras.optimizers.Adam(1e-2),
        loss=eo.losses.for_tasks(TASKS),
        loss_weights=weights,
        metrics=eo.metrics.for_tasks(TASKS),
    )
    history = model.fit(BATCHES, validation_data=BATCHES, epochs=2, verbose=0).history
    expected = plain.fit(BATCHES, validation_data=BATCHES, epochs=2, verbose=0).history
    assert set(expected) < set(history)
    assert_same({key: history[key] for key in expected}, expected, rtol=1e-4)
    assert_same(to_numpy(model(INPUTS)), to_numpy(plain(INPUTS)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", [UncertaintyWeighting, PCGrad])
def test_a_multitask_model_with_maps_trains(rule):
    """Traced, with one more input and target than it has, in a network of this library."""
    tasks = ("climate_zone", "land_cover_map", "season")
    encoders = {name: small_encoder((8, 8, 2), name) for name in ("s2", "s1")}
    heads = (eo.models.scene_head(12), eo.models.map_head(11), eo.models.regression_head())
    keras.utils.set_random_seed(0)
    inside = eo.models.multitask(eo.models.late_fusion(encoders), dict(zip(tasks, heads, strict=True)))
    model = balanced(inside, rule())
    model.compile(keras.optimizers.Adam(1e-2), eo.losses.for_tasks(tasks), metrics=eo.metrics.for_tasks(tasks))
    inputs = {name: RNG.normal(size=(6, 8, 8, 2)).astype("float32") for name in ("s2", "s1", "another")}
    targets = TARGETS | {"land_cover_map": RNG.integers(0, 11, (6, 8, 8)), "geocluster": np.zeros(6)}
    batches = tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(3)
    history = model.fit(batches, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert {"land_cover_map_mean_iou", "weight_land_cover_map"} <= set(history)


@pytest.mark.parametrize("rule", [FixedWeights, PCGrad])
def test_sample_weights_weigh(rule):
    """One element of weight 2 and one of weight 0 are two elements like the first, in the mean over both."""
    inputs = {"s2": np.ones((2, 1), "float32")}
    targets = {"a": np.array([[1.0], [9.0]]), "b": np.array([[0.0], [0.0]])}
    for weight in (np.array([2.0, 0.0]), {task: np.array([2.0, 0.0]) for task in "ab"}):
        model = learner(rule(), [0.5])
        history = model.fit(inputs, targets, sample_weight=weight, batch_size=2, verbose=0).history
        assert history["a_loss"] == pytest.approx([0.25])
        assert history["b_loss"] == pytest.approx([0.25])


# -------------------------------------------------------------------- the network inside


def test_the_network_learns_with_it():
    inside = network()
    model = balanced(inside, PCGrad(0))
    model.compile("sgd", loss=eo.losses.for_tasks(TASKS), run_eagerly=True)
    before = to_numpy(inside(INPUTS))
    model.fit(BATCHES, verbose=0)
    after = to_numpy(inside(INPUTS))
    assert np.abs(after["season"] - before["season"]).max() > 1e-4
    assert_same(to_numpy(model(INPUTS)), after)
    assert_same(to_numpy(model.inner(INPUTS)), after)
    assert model.inner.name == inside.name


def test_inner_counts_the_weights_of_the_network():
    inside = network()
    model = balanced(inside, UncertaintyWeighting())
    assert model.inner.count_params() == inside.count_params()
    assert len(model.trainable_variables) == len(inside.trainable_variables) + 1


@pytest.mark.parametrize("reload", [False, True])
def test_it_never_takes_the_wrong_modality(reload, tmp_path):
    """A network built from a dict of inputs would, given one key more; the balanced model is built from a list."""
    first, second = keras.Input((1,), name="s2"), keras.Input((1,), name="s1")
    total = keras.layers.Add(name="a")([first, keras.layers.Rescaling(100.0)(second)])
    model = balanced(keras.Model({"s2": first, "s1": second}, {"a": total}), FixedWeights())
    if reload:
        model.save(tmp_path / "model.keras")
        model = keras.models.load_model(tmp_path / "model.keras")
    data = {"another": np.full((1, 1), 7.0), "s1": np.full((1, 1), 2.0), "s2": np.full((1, 1), 1.0)}
    assert float(model(data)["a"][0, 0]) == 201.0
    assert model.predict(data, verbose=0)["a"][0, 0] == 201.0


@pytest.mark.parametrize("rule", [UncertaintyWeighting, PCGrad])
def test_export_score_and_cost_take_it(rule, known_records, tmp_path):
    schema = eo.load_schema(known_records.path)
    tasks = ("climate_zone", "season")
    channels = schema["s2"].shape[-1]
    inside = eo.models.multitask(
        small_encoder((None, None, channels), "s2"),
        {"climate_zone": eo.models.scene_head(12), "season": eo.models.regression_head()},
    )
    model = balanced(inside, rule())
    model.compile("adam", loss=eo.losses.for_tasks(tasks, schema))
    train, test = (
        eo.make_dataset(known_records.path, split, ("s2",), tasks, batch_size=3) for split in ("train", "test")
    )
    model.fit(train, verbose=0)

    scores = eo.evaluate.score(model, test, schema)
    expected = eo.evaluate.score(inside, test, schema)
    mae = scores.tasks["season"].estimates["mae"].value
    assert mae == pytest.approx(expected.tasks["season"].estimates["mae"].value)

    cost = eo.evaluate.cost(model, batch_size=2, height=12, width=12, measure=True, steps=1)
    assert cost.flops == eo.evaluate.cost(inside, height=12, width=12).flops
    assert cost.training_step_seconds > 0

    path = eo.export(model, tmp_path / "exported", schema)
    loaded = tf.saved_model.load(path)
    stored = next(iter(eo.make_dataset(known_records.path, "test", ("s2",), tasks, calibrate=None, batch_size=3)))[0]
    served = loaded.serve(dict(stored))
    inputs = next(iter(test))[0]
    np.testing.assert_allclose(served["season"], inside(inputs)["season"][:, 0], atol=1e-4)


def test_half_precision_trains():
    with dtype_policy("mixed_float16"):
        model = compiled(UncertaintyWeighting())
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert {variable.dtype for variable in model.rule.variables} == {"float32"}
    history = model.fit(BATCHES, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize("kind", ["uncertainty", "average"])
def test_xla_changes_nothing(kind):
    histories = []
    for jit_compile in (False, True):
        model = learner(RULES[kind](), [0.5], run_eagerly=False, jit_compile=jit_compile)
        histories.append(model.fit(quadratic_batches({"a": [1.0], "b": [-2.0]}), epochs=3, verbose=0).history)
    assert_same(histories[1], histories[0], rtol=1e-4)


# ------------------------------------------------------------------------------ bad input


def test_the_kind_of_model_follows_the_rule():
    assert type(learner(FixedWeights(), [0.5])) is BalancedModel
    assert type(learner(PCGrad(), [0.5])) is GradientBalancedModel


@pytest.mark.parametrize("model", [None, keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])])
def test_the_model_must_have_a_dict_of_outputs(model):
    with pytest.raises(InvalidArgumentError, match="`model` must be a functional model with a dict of outputs"):
        balanced(model, FixedWeights())


@pytest.mark.parametrize("rule", ["uncertainty", UncertaintyWeighting, None])
def test_the_rule_must_be_one(rule):
    with pytest.raises(InvalidArgumentError, match=r"`rule` must be a rule of `eokeras.balance`"):
        balanced(quadratic([0.5]), rule)


def test_loss_weights_are_refused():
    with pytest.raises(InvalidArgumentError, match=r"`loss_weights` must be None.*`FixedWeights`"):
        learner(PCGrad(), [0.5], loss_weights={"a": 1.0, "b": 1.0})


@pytest.mark.parametrize("loss", [None, "MeanSquaredError", {"a": "MeanSquaredError"}])
def test_every_task_must_have_a_loss(loss):
    model = balanced(quadratic([0.5]), FixedWeights())
    with pytest.raises(
        InvalidArgumentError, match=r"`loss` must be a dict with the loss of every output, \['a', 'b'\]"
    ):
        model.compile("sgd", loss=loss)


@pytest.mark.parametrize("loss", ["mse", None])
def test_a_loss_must_be_one(loss):
    with pytest.raises(InvalidArgumentError, match=r"`loss\['a'\]` must be a `keras.losses.Loss`"):
        learner(FixedWeights(), [0.5], loss=loss)


def test_targets_of_a_task_must_be_there():
    model = learner(FixedWeights(), [0.5])
    with pytest.raises(InvalidArgumentError, match=r"`y` must be a dict with the targets of every task.*\['a'\]"):
        model.fit({"s2": np.ones((1, 1))}, {"a": np.ones((1, 1))}, verbose=0)


def test_reported_weights_must_name_the_tasks():
    with pytest.raises(InvalidArgumentError, match="`reported_weights` must name every task"):
        balanced(quadratic([0.5]), FixedWeights(), reported_weights={"a": 1.0})


def test_a_callback_list_is_refused():
    model = learner(FixedWeights(), [0.5])
    with pytest.raises(InvalidArgumentError, match="`callbacks` must be a list of callbacks"):
        model.fit(quadratic_batches({"a": [1.0], "b": [0.0]}), callbacks=keras.callbacks.CallbackList())


def test_several_replicas_are_refused():
    class TwoReplicas(BalancedModel):
        distribute_strategy = type("Strategy", (), {"num_replicas_in_sync": 2})()

    inside = quadratic([0.5])
    with pytest.raises(InvalidArgumentError, match=r"trains on one device.*2 replicas"):
        TwoReplicas(inputs=inside.inputs, outputs=inside.output, rule=FixedWeights())
