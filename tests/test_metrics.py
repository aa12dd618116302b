"""Metrics against scikit-learn and numbers worked out by hand, over several batches."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics as sklearn_metrics

from eokeras.ben_ge.schema import TARGETS, VOID
from eokeras.errors import InvalidArgumentError
from eokeras.metrics import (
    Accuracy,
    ConfusionMatrix,
    FractionMeanAbsoluteError,
    MacroF1,
    MeanAbsoluteError,
    MeanIoU,
    MultiLabelMacroF1,
    for_tasks,
)
from tests.checks import dtype_policy

CLASSES = 7


def batches(shape, seed=0):
    """Four batches of ids and logits; half void, class 5 never in the reference, classes 5 and 6 predicted."""
    rng = np.random.default_rng(seed)
    for _ in range(4):
        y_true = rng.choice([0, 1, 2, 3, 4, 6], shape, p=[0.4, 0.3, 0.15, 0.1, 0.04, 0.01]).astype("int32")
        logits = rng.normal(size=(*shape, CLASSES)) + 2.0 * np.eye(CLASSES)[y_true]
        y_true[rng.random(shape) < 0.5] = VOID
        yield y_true, logits.astype("float32")


def run(metric, data, traced=False):
    update = tf.function(metric.update_state) if traced else metric.update_state
    for y_true, y_pred in data:
        update(tf.constant(y_true), tf.constant(y_pred))
    return np.asarray(metric.result())


def labelled(data):
    """All labelled elements of the epoch: reference ids, predicted ids."""
    true = np.concatenate([y_true.reshape(-1) for y_true, _ in data])
    predicted = np.concatenate([y_pred.argmax(-1).reshape(-1) for _, y_pred in data])
    return true[true != VOID], predicted[true != VOID]


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("shape", [(40,), (2, 9, 7)])
def test_class_scores_equal_scikit_learn(shape, traced):
    data = list(batches(shape))
    true, predicted = labelled(data)
    present = np.unique(true)
    assert 5 not in present
    assert 5 in predicted  # else the mean over present classes would not be put to the test

    assert run(Accuracy(CLASSES), data, traced) == pytest.approx(sklearn_metrics.accuracy_score(true, predicted))
    f1 = sklearn_metrics.f1_score(true, predicted, labels=present, average="macro")
    assert run(MacroF1(CLASSES), data, traced) == pytest.approx(f1, rel=1e-5)
    iou = sklearn_metrics.jaccard_score(true, predicted, labels=present, average="macro")
    assert run(MeanIoU(CLASSES), data, traced) == pytest.approx(iou, rel=1e-5)
    matrix = sklearn_metrics.confusion_matrix(true, predicted, labels=range(CLASSES))
    np.testing.assert_array_equal(run(ConfusionMatrix(CLASSES), data, traced), matrix)


def test_class_scores_by_hand():
    # reference 0 0 0 1 void, prediction 0 0 2 0 1:
    # class 0: 2 right, 1 missed, 1 false -> F1 4/6, IoU 2/4; class 1: 0; class 2 is absent
    y_true = np.array([0, 0, 0, 1, VOID])
    y_pred = 5.0 * np.eye(3)[[0, 0, 2, 0, 1]]
    assert run(Accuracy(3), [(y_true, y_pred)]) == pytest.approx(2 / 4)
    assert run(MacroF1(3), [(y_true, y_pred)]) == pytest.approx((4 / 6 + 0) / 2)
    assert run(MeanIoU(3), [(y_true, y_pred)]) == pytest.approx((2 / 4 + 0) / 2)


def test_mean_iou_differs_from_keras_where_an_absent_class_is_predicted():
    y_true, y_pred = np.array([[[0, 0, 1, 1]]]), 5.0 * np.eye(3)[[[[0, 0, 1, 2]]]]
    keras_own = keras.metrics.MeanIoU(3, sparse_y_pred=False)
    assert run(MeanIoU(3), [(y_true, y_pred)]) == pytest.approx((1 + 1 / 2) / 2)
    assert run(keras_own, [(y_true, y_pred)]) == pytest.approx((1 + 1 / 2 + 0) / 3)


def test_scores_are_of_the_epoch_and_not_the_mean_of_batches():
    # first batch 1 of 1 right, second 0 of 3
    data = [(np.array([0]), np.array([[1.0, 0.0]])), (np.array([1, 1, 1]), np.array([[1.0, 0.0]] * 3))]
    metric = Accuracy(2)
    assert run(metric, data) == pytest.approx(1 / 4)
    metric.reset_state()
    assert run(metric, data[:1]) == 1.0


def test_sample_weight_weighs_patches_and_pixels():
    y_true, y_pred = np.array([[[0, 1]], [[0, 0]]]), 5.0 * np.eye(2)[[[[0, 1]], [[1, 1]]]]
    per_patch, per_pixel = Accuracy(2), Accuracy(2)
    per_patch.update_state(y_true, y_pred, sample_weight=np.array([3.0, 1.0]))
    assert float(per_patch.result()) == pytest.approx(6 / 8)
    per_pixel.update_state(y_true, y_pred, sample_weight=np.array([[[1.0, 0.0]], [[1.0, 2.0]]]))
    assert float(per_pixel.result()) == pytest.approx(1 / 4)


def test_logits_of_another_number_of_classes_are_refused():
    with pytest.raises(InvalidArgumentError, match=r"logits of 12 classes.*shape=\(1, 11\)"):
        MacroF1(12).update_state(np.array([0]), np.zeros((1, 11)))


def test_mean_absolute_error_leaves_nan_out():
    # |1 - 0.5| = 0.5 and |0 - 0.25| = 0.25 over two batches of unequal numbers of labels
    data = [
        (np.array([0.5, np.nan], "float32"), np.array([[1.0], [7.0]], "float32")),
        (np.array([np.nan, 0.25, 0.25], "float32"), np.array([[9.0], [0.0], [0.25]], "float32")),
    ]
    assert run(MeanAbsoluteError(), data, traced=True) == pytest.approx(0.75 / 3)


def test_fraction_error_compares_the_softmax():
    # softmax of (0, 0) is (1/2, 1/2): errors 1/4 and 1/4; second patch has no fractions
    data = [(np.array([[0.75, 0.25], [np.nan, np.nan]], "float32"), np.zeros((2, 2), "float32"))]
    assert run(FractionMeanAbsoluteError(), data) == pytest.approx(0.25)


@pytest.mark.parametrize("traced", [False, True])
def test_multilabel_macro_f1_equals_scikit_learn(traced):
    rng = np.random.default_rng(1)
    data = []
    for _ in range(3):
        y_true = (rng.random((20, 6)) < 0.3).astype("float32")
        y_true[:, 4] = 0.0  # absent from the reference, predicted all the same
        data.append((y_true, rng.normal(size=(20, 6)).astype("float32")))
    true, predicted = (np.concatenate(part) for part in zip(*data, strict=True))
    present = [label for label in range(6) if true[:, label].any()]
    expected = sklearn_metrics.f1_score(true[:, present], predicted[:, present] > 0, average="macro")
    assert run(MultiLabelMacroF1(6), data, traced) == pytest.approx(expected, rel=1e-5)


def test_multilabel_macro_f1_leaves_nan_out():
    y_true = np.array([[1.0, np.nan], [0.0, 1.0], [np.nan, np.nan]], "float32")
    y_pred = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]], "float32")
    # first label: 1 right, 1 false -> 2/3; second: 1 right -> 1
    assert run(MultiLabelMacroF1(2), [(y_true, y_pred)]) == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize("task", TARGETS)
def test_metrics_of_every_task_survive_serialisation_and_have_no_value_without_labels(task):
    """An error of 0 would be perfect and an accuracy of 0 hopeless: nothing was measured."""
    target = TARGETS[task]
    void = {"class": np.full(2, VOID), "map": np.full((2, 3, 3), VOID)}.get(target.kind)
    shapes = {"map": (2, 3, 3, len(target.classes)), "regression": (2, 1), "map_regression": (2, 3, 3, 1)}
    shape = shapes.get(target.kind, (2, len(target.classes)))
    y_true = np.full(shape, np.nan, "float32") if void is None else void
    for metric in for_tasks([task])[task]:
        twin = keras.metrics.deserialize(keras.metrics.serialize(metric))
        assert twin.get_config() == metric.get_config()
        assert np.isnan(run(metric, [(y_true, np.ones(shape, "float32"))], traced=True))


def test_elevation_error_counts_pixels_with_a_height_by_hand():
    # |3 - 1|, |0 - (-5)| and, in another batch with one pixel of two, |2 - 2|: 7 / 3 m
    data = [
        (np.array([[[1.0, -5.0]]], "float32"), np.array([[[[3.0], [0.0]]]], "float32")),
        (np.array([[[2.0, np.nan]]], "float32"), np.array([[[[2.0], [9.0]]]], "float32")),
    ]
    assert run(MeanAbsoluteError(), data, traced=True) == pytest.approx(7 / 3)


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("weights", [(3.0, 1.0), ((3.0,), (1.0,))])
def test_sample_weights_per_patch_weigh_all_its_elements(weights, traced):
    """Once (B,) and once (B, 1), for a class, a map, numbers of a patch and of a map, and labels."""
    cases = [
        # right and wrong with weights 3 and 1; of the map's pixels three are right
        (Accuracy(2), np.array([0, 1]), np.array([[1.0, 0.0], [1.0, 0.0]]), 3 / 4),
        (Accuracy(2), np.array([[[0, 0]], [[1, 0]]]), np.array([[[[1.0, 0.0]] * 2]] * 2), 7 / 8),
        # errors 1 and 3; per pixel 1, 1, 3 and one missing
        (MeanAbsoluteError(), np.array([1.0, 3.0]), np.zeros((2, 1)), 6 / 4),
        (MeanAbsoluteError(), np.array([[[1.0, 1.0]], [[3.0, np.nan]]]), np.zeros((2, 1, 2, 1)), 9 / 7),
        # one label: a true positive of weight 3, a false one of weight 1
        (MultiLabelMacroF1(1), np.array([[1.0], [0.0]]), np.ones((2, 1)), 6 / 7),
        # a second label that the first patch does not tell: one true positive of weight 1
        (MultiLabelMacroF1(2), np.array([[1.0, np.nan], [0.0, 1.0]]), np.ones((2, 2)), (6 / 7 + 1) / 2),
    ]
    for metric, y_true, y_pred, expected in cases:
        update = tf.function(metric.update_state) if traced else metric.update_state
        update(tf.constant(y_true), tf.constant(y_pred, tf.float32), tf.constant(weights))
        assert float(metric.result()) == pytest.approx(expected)


def test_counts_are_exact_under_mixed_precision():
    """3,000 pixels and one: a count in half precision would stop at 2,048."""
    with dtype_policy("mixed_float16"):
        metric, error = Accuracy(2), MeanAbsoluteError()
        metric.update_state(np.zeros((1, 60, 50), "int32"), np.tile([1.0, 0.0], (1, 60, 50, 1)).astype("float16"))
        metric.update_state(np.array([[[1]]]), np.array([[[[1.0, 0.0]]]], "float16"))
        error.update_state(np.full((1, 60, 50), 4000.5, "float32"), np.zeros((1, 60, 50, 1), "float16"))
    assert float(metric.result()) == pytest.approx(3000 / 3001, abs=1e-6)
    assert float(error.result()) == pytest.approx(4000.5)


def test_names_of_the_metrics():
    names = {task: [metric.name for metric in metrics] for task, metrics in for_tasks(tuple(TARGETS)).items()}
    assert names["climate_zone"] == ["accuracy", "macro_f1"]
    assert names["land_cover_map"] == ["mean_iou", "pixel_accuracy"]
    assert names["season"] == ["mean_absolute_error"]
    assert names["labels"] == ["macro_f1"]


def test_number_of_classes_comes_from_the_records():
    schema = SimpleNamespace(classes={"geocluster": tuple("abcde")})
    assert for_tasks(["geocluster"], schema)["geocluster"][0].classes == 5
    assert for_tasks(["geocluster"])["geocluster"][0].classes == 20
    with pytest.raises(InvalidArgumentError, match="Received: 'climate_zone'"):
        for_tasks(["climate_zone"], schema)


def test_unknown_task_lists_the_valid_ones():
    with pytest.raises(InvalidArgumentError, match=r"land_cover_map.*Received: 'weather'"):
        for_tasks(["weather"])
