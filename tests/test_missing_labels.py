"""Patches that have only some labels: losses, metrics and the total are those of what is labelled."""

import json
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics as sklearn_metrics

from eokeras import losses, metrics
from eokeras.ben_ge.schema import TARGETS, VOID
from eokeras.models import map_head, multitask, regression_head, scene_head
from tests.checks import small_encoder
from tests.test_losses import value_and_gradient
from tests.test_losses_classes import LOSSES, example

PATCHES = 40
SHAPES = {
    "climate_zone": ((), 12),
    "land_cover_map": ((3, 4), 11),
    "season": ((), 1),
    "land_cover_fractions": ((11,), 11),
    "labels": ((19,), 19),
    "elevation": ((3, 4), 1),
}
"""Shape of a patch's target, and channels of its prediction."""


def whole_labels(task, rng):
    """Targets of all patches without a hole, and predictions."""
    shape, channels = SHAPES[task]
    shape, kind = (PATCHES, *shape), TARGETS[task].kind
    if kind in ("class", "map"):
        return rng.integers(0, channels, shape).astype("int32"), rng.normal(size=(*shape, channels)).astype("float32")
    if kind in ("fractions", "multilabel"):
        y_true = rng.dirichlet(np.ones(channels), PATCHES) if kind == "fractions" else rng.integers(0, 2, shape)
        return y_true.astype("float32"), rng.normal(size=shape).astype("float32")
    return rng.normal(0, 3, shape).astype("float32"), rng.normal(size=(*shape, 1)).astype("float32")


def loss_by_numpy(kind, y_true, y_pred):
    y_pred = y_pred.astype("float64")
    logs = y_pred - np.log(np.exp(y_pred).sum(axis=-1, keepdims=True))
    if kind in ("class", "map"):
        return -np.take_along_axis(logs, y_true[..., None], axis=-1).mean()
    if kind == "fractions":
        return -(y_true * logs).sum(axis=-1).mean()
    if kind == "multilabel":
        probability = 1 / (1 + np.exp(-y_pred))
        return -np.log(np.where(y_true > 0, probability, 1 - probability)).mean()
    return np.abs(y_true - y_pred[..., 0]).mean()


def metric_by_scikit_learn(name, kind, y_true, y_pred):
    if kind == "fractions":
        return np.abs(y_true - tf.nn.softmax(y_pred).numpy()).mean()
    if kind == "multilabel":
        return sklearn_metrics.f1_score(y_true, y_pred > 0, average="macro")
    if kind in ("regression", "map_regression"):
        return np.abs(y_true - y_pred[..., 0]).mean()
    reference, found = y_true.ravel(), y_pred.argmax(-1).ravel()
    present = np.unique(reference)
    if name == "macro_f1":
        return sklearn_metrics.f1_score(reference, found, labels=present, average="macro")
    if name == "mean_iou":
        return sklearn_metrics.jaccard_score(reference, found, labels=present, average="macro")
    return (reference == found).mean()


@pytest.mark.parametrize("task", SHAPES)
def test_half_of_the_labels_removed_leaves_loss_and_metrics_of_the_other_half(task):
    rng, kind = np.random.default_rng(7), TARGETS[task].kind
    y_true, y_pred = whole_labels(task, rng)
    kept = np.isin(np.arange(PATCHES), rng.permutation(PATCHES)[: PATCHES // 2])
    holed = y_true.copy()
    holed[~kept] = VOID if kind in ("class", "map") else np.nan

    value, gradient = value_and_gradient(losses.for_tasks([task])[task], holed, y_pred)
    assert value == pytest.approx(loss_by_numpy(kind, y_true[kept], y_pred[kept]), rel=1e-5)
    assert (gradient[~kept] == 0).all()
    assert np.abs(gradient[kept]).reshape(PATCHES // 2, -1).max(axis=1).all()
    for metric in metrics.for_tasks([task])[task]:
        for start in range(0, PATCHES, 10):  # batches of unequal numbers of labels
            metric.update_state(holed[start : start + 10], y_pred[start : start + 10])
        expected = metric_by_scikit_learn(metric.name, kind, y_true[kept], y_pred[kept])
        assert float(metric.result()) == pytest.approx(expected, rel=1e-5), metric.name


def test_a_task_without_a_label_in_a_batch_adds_nothing():
    """Patch 0 has a zone, 1 a map, 2 a season; each is a batch of the compiled model."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 16, 16, 2)).astype("float32")
    y = {
        "climate_zone": np.array([4, VOID, VOID], "int32"),
        "land_cover_map": np.full((3, 16, 16), VOID, "int32"),
        "season": np.array([np.nan, np.nan, 0.25], "float32"),
    }
    y["land_cover_map"][1] = rng.integers(0, 11, (16, 16))
    heads = {"climate_zone": scene_head(12), "land_cover_map": map_head(11), "season": regression_head()}
    model = multitask(small_encoder((16, 16, 2), "s2"), heads)
    weights = {"climate_zone": 2.0, "land_cover_map": 3.0, "season": 5.0}
    model.compile(keras.optimizers.SGD(0.1), losses.for_tasks(y), loss_weights=weights, metrics=metrics.for_tasks(y))
    for index, task in enumerate(y):
        one = slice(index, index + 1)
        inputs, targets = {"s2": x[one]}, {name: values[one] for name, values in y.items()}
        own = float(losses.for_tasks([task])[task](targets[task], model(inputs)[task]))
        found = model.evaluate(inputs, targets, verbose=0, return_dict=True)
        assert found["loss"] == pytest.approx(weights[task] * own, rel=1e-5)
        without = {f"{other}_{metric.name}" for other in y if other != task for metric in metrics.for_tasks(y)[other]}
        assert {name for name, value in found.items() if np.isnan(value)} == without
        before = {name: model.get_layer(name).get_weights() for name in y}
        assert np.isfinite(model.train_on_batch(inputs, targets, return_dict=True)["loss"])
        moved = [name for name in y if not np.array_equal(before[name][0], model.get_layer(name).get_weights()[0])]
        assert moved == [task]


JAX_SCRIPT = """
    import json, keras, numpy as np
    from eokeras import losses, metrics
    from eokeras.models import dense_regression_head, map_head, multitask, regression_head, scene_head, unet_decoder
    from tests.checks import small_encoder
    from tests.test_losses_classes import LOSSES, example
    assert keras.backend.backend() == "jax"
    values = {kind: float(make()(*example((3, 4, 5)))) for kind, make in LOSSES.items()}
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 16, 16, 2)).astype("float32")
    y = {"climate_zone": np.array([0, 11, 255, 3], "int32"),
         "land_cover_map": rng.integers(0, 11, (4, 16, 16)).astype("int32"),
         "season": np.full(4, np.nan, "float32"),
         "elevation": rng.normal(0, 5, (4, 16, 16)).astype("float32")}
    y["elevation"][0] = np.nan
    heads = {"climate_zone": scene_head(12, level="stride_2"), "land_cover_map": map_head(11),
             "season": regression_head(), "elevation": dense_regression_head(scale=5.0)}
    model = multitask(small_encoder((16, 16, 2), "s2"), heads, decoders={"elevation": unet_decoder(2)},
                      stop_gradient=["climate_zone", "elevation"])
    chosen = losses.for_tasks(y) | {"land_cover_map": losses.LabelledDice(),
                                    "climate_zone": losses.LabelledFocalCrossentropy()}
    model.compile(keras.optimizers.SGD(0.1), chosen, metrics=metrics.for_tasks(y),
                  loss_weights={"climate_zone": 1.0, "land_cover_map": 0.0, "season": 1.0, "elevation": 1.0})
    shared = model.get_layer("s2_small").get_weights()
    history = model.fit({"s2": x}, y, verbose=0).history
    same = all(map(np.array_equal, shared, model.get_layer("s2_small").get_weights()))
    print(json.dumps([values, {name: float(value[0]) for name, value in history.items()}, same]))
"""


def test_jax_gives_the_same_losses_and_stops_the_same_gradients():
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.getcwd()}
    environment["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # halves the time to compile
    command = [sys.executable, "-c", textwrap.dedent(JAX_SCRIPT)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    values, history, backbone_is_the_same = json.loads(done.stdout.splitlines()[-1])
    for kind, make in LOSSES.items():
        assert values[kind] == pytest.approx(float(make()(*example((3, 4, 5)))), rel=1e-5)
    assert [name for name, value in history.items() if np.isnan(value)] == ["season_mean_absolute_error"]
    assert history["season_loss"] == 0
    assert 0 < history["elevation_mean_absolute_error"] < 50
    assert backbone_is_the_same  # the map has weight 0, season no label, the others are stopped
