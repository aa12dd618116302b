"""The callback that logs how the tasks' gradients stand to each other."""

import keras
import numpy as np
import pytest

import eokeras.losses
from eokeras.balance import GradientCosine, PCGrad
from eokeras.errors import InvalidArgumentError
from tests.balance.cases import RATE, learner, quadratic, quadratic_batches
from tests.checks import to_numpy

# From theta = (0, 0) the gradients are minus the targets: (1, 0), (-1, 1) and (0, 2).
TARGETS = {"a": [-1.0, 0.0], "b": [1.0, -1.0], "c": [0.0, -2.0]}
BATCH = next(iter(quadratic_batches(TARGETS, 1)))


def plain(theta, tasks="abc", rate=0.0):
    model = quadratic(theta, tuple(tasks))
    model.compile(keras.optimizers.SGD(rate), loss=dict.fromkeys(tasks, "MeanSquaredError"), run_eagerly=True)
    return model


@pytest.mark.parametrize("kind", ["batch", "dataset"])
def test_cosines_by_hand(kind):
    data = BATCH if kind == "batch" else quadratic_batches(TARGETS)
    model = plain([0.0, 0.0])
    history = model.fit(quadratic_batches(TARGETS), epochs=2, verbose=0, callbacks=[GradientCosine(data)]).history
    half = 1 / np.sqrt(2)
    assert history["cosine_a_b"] == pytest.approx([-half, -half])
    assert history["cosine_a_c"] == pytest.approx([0.0, 0.0])
    assert history["cosine_b_c"] == pytest.approx([half, half])


def test_cosines_are_those_at_the_end_of_the_epoch():
    model = learner(PCGrad(0), [0.0, 0.0])
    batches = quadratic_batches({task: TARGETS[task] for task in "ab"}, 1)
    history = model.fit(batches, verbose=0, callbacks=[GradientCosine(batches)]).history
    # as worked out for PCGrad, theta = -0.1 (1/2, 3/2); then the gradients are these
    theta = -RATE * np.array([0.5, 1.5])
    first, second = theta - TARGETS["a"], theta - TARGETS["b"]
    expected = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert history["cosine_a_b"] == pytest.approx([expected], rel=1e-5)


def test_only_shared_weights_count():
    """Each task has a large private layer; and the weights of one encoder serve one task only."""
    inputs = keras.Input((2,), name="s2")
    shared = keras.layers.Dense(2, use_bias=False, name="shared")
    x = shared(inputs)
    outputs = {task: keras.layers.Dense(1, name=task)(x) for task in "ab"}
    model = keras.Model([inputs], outputs)
    model.compile("sgd", loss=dict.fromkeys("ab", "MeanSquaredError"))
    random = np.random.default_rng(0)
    x, y = random.normal(size=(5, 2)), {task: random.normal(size=(5, 1)) for task in "ab"}
    gradients = []
    for task in "ab":
        head = to_numpy(model.get_layer(task).kernel)
        errors = x @ to_numpy(shared.kernel) @ head - y[task]
        gradients.append((2 / 5 * x.T @ errors @ head.T).ravel())
    expected = gradients[0] @ gradients[1] / np.linalg.norm(gradients[0]) / np.linalg.norm(gradients[1])

    callback = GradientCosine(({"s2": x}, y))
    callback.set_model(model)
    callback.on_train_begin()
    logs = {}
    callback.on_epoch_end(0, logs)
    assert logs == {"cosine_a_b": pytest.approx(expected, rel=1e-4)}


def test_measuring_changes_nothing():
    """Neither moving statistics nor seeds of dropout move, and no weight."""
    inputs = keras.Input((2,), name="s2")
    x = keras.layers.Dropout(0.5, seed=0)(keras.layers.BatchNormalization()(keras.layers.Dense(4)(inputs)))
    model = keras.Model([inputs], {task: keras.layers.Dense(1, name=task)(x) for task in "ab"})
    model.compile("sgd", loss=dict.fromkeys("ab", "MeanSquaredError"))
    model.optimizer.build(model.trainable_variables)
    callback = GradientCosine(({"s2": np.ones((3, 2))}, {task: np.ones((3, 1)) for task in "ab"}))
    callback.set_model(model)
    variables = [*model.variables, *model.non_trainable_variables, *model.optimizer.variables]
    before = to_numpy(variables)
    callback.on_train_begin()
    callback.on_epoch_end(0, {})
    for one, other in zip(to_numpy(variables), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_task_without_labels_has_no_cosine():
    model = quadratic([1.0], ("season", "b"))
    losses = eokeras.losses.for_tasks(("season",)) | {"b": "MeanSquaredError"}
    model.compile("sgd", loss=losses, run_eagerly=True)
    batches = quadratic_batches({"season": [np.nan], "b": [0.0]}, 1)
    history = model.fit(batches, verbose=0, callbacks=[GradientCosine(batches)]).history
    assert np.isnan(history["cosine_b_season"]).all()


# ------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize("batch", [None, {"s2": 1}, (np.ones(1), np.ones(1)), ({"s2": np.ones(1)},)])
def test_the_batch_must_be_one(batch):
    with pytest.raises(InvalidArgumentError, match=r"`batch` must be \(inputs, targets\)"):
        GradientCosine(batch)


def test_one_task_is_refused():
    with pytest.raises(InvalidArgumentError, match=r"dict of two outputs or more. Received: outputs \['a'\]"):
        plain([0.0], "a").fit(quadratic_batches({"a": [1.0]}), callbacks=[GradientCosine(BATCH)], verbose=0)


def test_a_model_without_a_dict_of_losses_is_refused():
    model = quadratic([0.0])
    model.compile("sgd", loss=["MeanSquaredError", "MeanSquaredError"])
    with pytest.raises(InvalidArgumentError, match="`loss` must be a dict"):
        model.fit(quadratic_batches({"a": [1.0], "b": [0.0]}), callbacks=[GradientCosine(BATCH)], verbose=0)


def test_tasks_that_share_nothing_are_refused():
    inputs = keras.Input((1,), name="s2")
    model = keras.Model([inputs], {task: keras.layers.Dense(2, name=task)(inputs) for task in "ab"})
    model.compile("sgd", loss=dict.fromkeys("ab", "MeanSquaredError"))
    with pytest.raises(InvalidArgumentError, match="`model` must have trainable weights that two tasks or more share"):
        model.fit(quadratic_batches(TARGETS), callbacks=[GradientCosine(BATCH)], verbose=0)
