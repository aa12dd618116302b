"""Class weights, focal and Dice losses: against slow loops, the papers, Keras' own and scikit-learn."""

import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

import eokeras as eo
from eokeras.ben_ge.schema import LAND_COVER, TARGETS, VOID
from eokeras.errors import InvalidArgumentError
from eokeras.losses import LabelledCrossentropy, LabelledDice, LabelledFocalCrossentropy, balanced_weights, for_tasks
from tests.checks import dtype_policy
from tests.test_losses import log_softmax, value_and_gradient

CLASSES = 5
WEIGHTS = (0.5, 2.0, 1.0, 4.0, 0.0)
GAMMA = 1.5
LOSSES = {
    "crossentropy": lambda: LabelledCrossentropy(WEIGHTS),
    "focal": lambda: LabelledFocalCrossentropy(GAMMA, class_weights=WEIGHTS),
    "dice": LabelledDice,
}


def example(shape, seed=0, void=0.5):
    """Class ids of which the share `void` is missing, and logits."""
    rng = np.random.default_rng(seed)
    y_true = rng.integers(0, CLASSES, shape).astype("int32")
    y_true[rng.random(shape) < void] = VOID
    return y_true, rng.normal(0, 2, (*shape, CLASSES)).astype("float32")


def elements(y_true, y_pred):
    """(class id, probabilities) of every labelled element, as Python numbers."""
    for label, logits in zip(y_true.reshape(-1).tolist(), y_pred.reshape(-1, CLASSES).tolist(), strict=True):
        if label != VOID:
            yield label, [math.exp(log) for log in log_softmax(logits)]


# ------------------------------------------------------------ slow transcriptions


def crossentropy_by_loop(y_true, y_pred):
    costs = [-WEIGHTS[label] * math.log(p[label]) for label, p in elements(y_true, y_pred)]
    return sum(costs) / len(costs)


def focal_by_loop(y_true, y_pred):
    """Lin et al. 2017, equation 5, with an alpha for each class."""
    costs = [-WEIGHTS[label] * (1 - p[label]) ** GAMMA * math.log(p[label]) for label, p in elements(y_true, y_pred)]
    return sum(costs) / len(costs)


def dice_by_loop(y_true, y_pred, power=1):
    """1 - D for each class that is present; D as in Milletari et al. 2016, section 3, where power = 2."""
    pairs = list(elements(y_true, y_pred))
    costs = []
    for name in range(CLASSES):
        truth = [float(label == name) for label, _ in pairs]
        found = [p[name] for _, p in pairs]
        if any(truth):
            overlap = sum(g * p for g, p in zip(truth, found, strict=True))
            costs.append(1 - 2 * overlap / (sum(g**power for g in truth) + sum(p**power for p in found)))
    return sum(costs) / len(costs)


BY_LOOP = {"crossentropy": crossentropy_by_loop, "focal": focal_by_loop, "dice": dice_by_loop}


@pytest.mark.parametrize("shape", [(9,), (3, 4, 5)])
@pytest.mark.parametrize("kind", LOSSES)
def test_losses_equal_slow_loops_over_labelled_elements(kind, shape):
    y_true, y_pred = example(shape)
    value, gradient = value_and_gradient(LOSSES[kind](), y_true, y_pred)
    assert value == pytest.approx(BY_LOOP[kind](y_true, y_pred), rel=1e-5)
    assert (gradient[y_true == VOID] == 0).all()
    assert np.isfinite(gradient).all()
    weighty = (y_true != VOID) & ((y_true != WEIGHTS.index(0)) | (kind == "dice"))
    assert (np.abs(gradient[weighty]).sum(axis=-1) > 0).all()


@pytest.mark.parametrize("kind", LOSSES)
def test_gradients_are_those_of_finite_differences(kind):
    y_true, y_pred = example((4,), seed=3, void=0.25)
    _, gradient = value_and_gradient(LOSSES[kind](), y_true, y_pred)
    for place in np.ndindex(y_pred.shape):
        step = np.zeros(y_pred.shape)
        step[place] = 1e-4
        slope = (BY_LOOP[kind](y_true, y_pred + step) - BY_LOOP[kind](y_true, y_pred - step)) / 2e-4
        assert gradient[place] == pytest.approx(slope, abs=1e-4)


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_are_keras_own_where_nothing_is_missing(kind):
    y_true, y_pred = example((2, 4, 5), void=0)
    assert set(np.unique(y_true)) == set(range(CLASSES))
    reference = np.eye(CLASSES, dtype="float32")[y_true]
    if kind == "dice":
        each = keras.losses.Dice(axis=(0, 1, 2), reduction="none")(reference, tf.nn.softmax(y_pred))
        expected = float(np.mean(each))
    elif kind == "focal":
        own = keras.losses.CategoricalFocalCrossentropy(list(WEIGHTS), GAMMA, from_logits=True)
        expected = float(own(reference, y_pred))
    else:
        own = keras.losses.CategoricalCrossentropy(from_logits=True)
        expected = float(own(reference, y_pred, np.array(WEIGHTS, "float32")[y_true]))
    assert value_and_gradient(LOSSES[kind](), y_true, y_pred)[0] == pytest.approx(expected, rel=1e-5)


def test_hard_predictions_have_the_dice_of_milletari():
    y_true, _ = example((2, 6, 6), seed=1)
    found = np.random.default_rng(2).integers(0, CLASSES, y_true.shape)
    y_pred = (60 * np.eye(CLASSES)[found]).astype("float32")
    value, _ = value_and_gradient(LabelledDice(), y_true, y_pred)
    assert value == pytest.approx(dice_by_loop(y_true, y_pred, power=2), rel=1e-5)


def test_keras_dice_without_axis_knows_no_classes():
    """What the docstring says of Keras' default: it is 1 - (mean probability of the truth)."""
    y_true, y_pred = example((40,), void=0)
    value = keras.losses.Dice()(np.eye(CLASSES)[y_true], tf.nn.softmax(y_pred))
    assert float(value) == pytest.approx(1 - np.mean([p[label] for label, p in elements(y_true, y_pred)]), rel=1e-5)


def test_dice_leaves_classes_out_that_are_not_there():
    # class 0 only, probability 1/2 twice: 1 - 2 x 1 / (2 + 1)
    value, _ = value_and_gradient(LabelledDice(), np.array([0, 0, VOID]), np.zeros((3, 2)))
    assert value == pytest.approx(1 / 3, rel=1e-5)


def test_focal_with_gamma_0_is_the_crossentropy():
    y_true, y_pred = example((30,))
    focal = value_and_gradient(LabelledFocalCrossentropy(0, class_weights=WEIGHTS), y_true, y_pred)
    plain = value_and_gradient(LabelledCrossentropy(WEIGHTS), y_true, y_pred)
    assert focal[0] == pytest.approx(plain[0], rel=1e-5)
    np.testing.assert_allclose(focal[1], plain[1], atol=1e-5)


def test_focal_by_hand():
    # p = 9/10: (1/10)^2 x -ln 0.9; p = 1/2: (1/2)^2 x ln 2; the third has no label
    logits = np.array([[math.log(9.0), 0.0], [0.0, 0.0], [5.0, 0.0]], "float32")
    value, _ = value_and_gradient(LabelledFocalCrossentropy(), np.array([0, 1, VOID]), logits)
    assert value == pytest.approx((-0.01 * math.log(0.9) + 0.25 * math.log(2)) / 2, rel=1e-5)


def test_without_weights_it_is_the_loss_of_for_tasks():
    y_true, y_pred = example((4, 3, 3))
    expected, _ = value_and_gradient(for_tasks(["land_cover_map"])["land_cover_map"], y_true, y_pred)
    assert value_and_gradient(LabelledCrossentropy(), y_true, y_pred)[0] == pytest.approx(expected, rel=1e-6)


# ---------------------------------------------------------------------- class weights


def test_weights_divide_by_the_number_of_labels_by_hand():
    # ln 2 each: (1 x ln 2 + 3 x ln 2) / 2; divided by the sum of the weights it would be ln 2 whatever they are
    value, gradient = value_and_gradient(LabelledCrossentropy((1.0, 3.0)), np.array([0, 1, VOID]), np.zeros((3, 2)))
    assert value == pytest.approx(2 * math.log(2), rel=1e-6)
    # at the truth dL / dlogit = w (p - 1) / n
    np.testing.assert_allclose(gradient, [[-0.25, 0.25], [0.75, -0.75], [0.0, 0.0]], atol=1e-6)


def test_the_mean_over_batches_is_the_loss_of_the_epoch():
    """The reason to divide by the number of labels: with the sum of their weights this would fail."""
    y_true, y_pred = example((40,), void=0)
    loss = LabelledCrossentropy(WEIGHTS)
    batches = [float(loss(y_true[start : start + 10], y_pred[start : start + 10])) for start in range(0, 40, 10)]
    assert np.mean(batches) == pytest.approx(float(loss(y_true, y_pred)), rel=1e-5)


def test_sample_weights_multiply_class_weights():
    y_true, y_pred = np.array([0, VOID, 1, 1]), np.zeros((4, 2), "float32")
    loss = LabelledCrossentropy((1.0, 3.0))
    weighted = loss(y_true, y_pred, sample_weight=np.array([2.0, 9.0, 0.0, 1.0], "float32"))
    assert float(weighted) == pytest.approx((2 * 1 + 0 * 3 + 1 * 3) * math.log(2) / 3, rel=1e-6)


def schema_of(counts, task="land_cover_map"):
    return SimpleNamespace(classes={task: TARGETS[task].classes}, statistics={task: {"counts": counts, "void": 7}})


def test_balanced_weights_equal_scikit_learn():
    counts = [50, 3, 20, 0, 1, 0, 0, 9, 2, 0, 4]
    labels = np.repeat(np.arange(11), counts)
    present = np.unique(labels)
    expected = np.ones(11)
    expected[present] = compute_class_weight("balanced", classes=present, y=labels)
    found = np.array(balanced_weights("land_cover_map", schema_of(counts)))
    np.testing.assert_allclose(found, expected)
    assert found[labels].mean() == pytest.approx(1)  # the loss keeps its size


def test_balanced_weights_come_from_the_training_patches(known_records):
    schema = eo.load_schema(known_records.path)
    losses = for_tasks(("land_cover_map", "season"), schema, class_weights={"land_cover_map": "balanced"})
    (file,) = (known_records.tree / "splits").glob("*_train.csv")
    codes = np.stack([known_records.features[patch]["land_cover_map"] for patch in file.read_text().split()])
    counts = np.array([(codes == entry.code).sum() for entry in LAND_COVER])
    np.testing.assert_allclose(losses["land_cover_map"].class_weights, counts.sum() / (11 * counts), rtol=1e-6)
    assert type(losses["season"]) is type(for_tasks(["season"])["season"])


def test_weights_by_name_are_1_for_classes_not_named():
    losses = for_tasks(("land_cover_map",), class_weights={"land_cover_map": {"mangroves": 0, "built-up": 2.5}})
    expected = [1.0] * 11
    expected[4], expected[9] = 2.5, 0.0
    assert losses["land_cover_map"].class_weights == tuple(expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"season": "balanced"}, r"`class_weights` may hold \['climate_zone'\]\. Received: 'season'"),
        ({"land_cover_map": "balanced"}, r"`class_weights` may hold \['climate_zone'\]\. Received: 'land_cover_map'"),
        ({"climate_zone": "balanced"}, "need `schema` with counts of the classes.*none for 'climate_zone'"),
        ({"climate_zone": [1.0] * 12}, r"`class_weights\['climate_zone'\]` must be \"balanced\" or a dict"),
        ({"climate_zone": {"Dfb": -1}}, "finite numbers from 0 on"),
        ({"climate_zone": {"Dfb": float("nan")}}, "finite numbers from 0 on"),
        ({"climate_zone": {"Xyz": 1}}, r"`class_weights\['climate_zone'\]` may hold \['water', .*Received: 'Xyz'"),
    ],
)
def test_bad_class_weights_name_the_rule(arguments, words):
    with pytest.raises(InvalidArgumentError, match=words):
        for_tasks(("climate_zone", "season"), class_weights=arguments)


def test_balanced_weights_need_counts():
    for counts in ([], [0] * 11):
        with pytest.raises(InvalidArgumentError, match="none for 'land_cover_map'"):
            balanced_weights("land_cover_map", schema_of(counts))
    with pytest.raises(InvalidArgumentError, match="none for 'labels'"):
        balanced_weights("labels", SimpleNamespace(statistics={"labels": {"counts": [3] * 19}}))


def test_a_weight_for_each_class_is_needed():
    with pytest.raises(InvalidArgumentError, match=r"one number for each of 3 classes\. Received: 2 numbers"):
        LabelledCrossentropy((1.0, 2.0))(np.array([0]), np.zeros((1, 3)))


@pytest.mark.parametrize("gamma", [-1, "2", None, float("inf")])
def test_gamma_must_be_a_number(gamma):
    with pytest.raises(InvalidArgumentError, match="`gamma` must be a number from 0 on"):
        LabelledFocalCrossentropy(gamma)


# ------------------------------------------------------------------------------- form


@pytest.mark.parametrize("kind", LOSSES)
def test_a_batch_without_labels_costs_nothing(kind):
    logits = np.random.default_rng(0).normal(size=(2, 3, 3, CLASSES))
    value, gradient = value_and_gradient(LOSSES[kind](), np.full((2, 3, 3), VOID, "int32"), logits)
    assert value == 0.0
    assert (gradient == 0).all()


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_survive_serialisation_and_trace_with_unknown_sizes(kind):
    loss = LOSSES[kind]()
    twin = keras.losses.deserialize(keras.losses.serialize(loss))
    assert twin.get_config() == loss.get_config()
    y_true, y_pred = example((2, 4, 5))
    signature = [tf.TensorSpec([None] * 3, tf.int32), tf.TensorSpec([None, None, None, CLASSES], tf.float32)]
    traced = tf.function(twin, input_signature=signature)
    assert float(traced(y_true, y_pred)) == pytest.approx(float(loss(y_true, y_pred)), rel=1e-6)


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_compute_in_float32_under_mixed_precision(kind):
    y_true, y_pred = example((6, 40, 40))
    with dtype_policy("mixed_float16"):
        half = LOSSES[kind]()(y_true, y_pred.astype("float16"))
    assert keras.backend.standardize_dtype(half.dtype) == "float32"
    assert float(half) == pytest.approx(float(LOSSES[kind]()(y_true, y_pred)), rel=2e-3)
