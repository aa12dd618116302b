"""Guards: spreads worked out by hand, collapses provoked on purpose, and silence on healthy runs."""

import math
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from eokeras import models
from eokeras.errors import InvalidArgumentError
from eokeras.pretrain import (
    CollapseGuard,
    ContrastivePretrainer,
    Inpainter,
    MaskedAutoencoder,
    OnlineProbe,
    VICRegPretrainer,
    check_views,
    embedding_health,
)
from tests.evaluate.cases import hand_scores
from tests.pretrain.cases import DECODER

PROJECTION = (8, 4)


def encoder(name="x"):
    """Two convolutions: enough to learn colours, and to forget them."""
    x = keras.Input((16, 16, 3), name=name)
    h = keras.layers.Conv2D(16, 3, strides=2, activation="relu", padding="same")(x)
    return keras.Model([x], {"stride_2": keras.layers.Conv2D(16, 3, activation="relu", padding="same")(h)})


def views(patches=16, seed=0, noise=0.3, tint=0.0):
    """A dataset of one batch: two views of patches with colours of their own, tinted anew in each view."""
    random = np.random.default_rng(seed)
    colours = random.normal(size=(1, patches, 1, 1, 3)) + tint * random.normal(size=(2, patches, 1, 1, 3))
    first, second = (colours + noise * random.normal(size=(2, patches, 16, 16, 3))).astype("float32")
    return tf.data.Dataset.from_tensor_slices(({"x_view_1": first, "x_view_2": second}, {})).batch(patches)


# --- Measures ----------------------------------------------------------------------------------------------


def test_measures_of_a_square():
    # Corners of a square around the origin, each patch twice.
    corners = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]])
    health = embedding_health(np.stack([corners, corners], axis=1))
    assert health.deviation == pytest.approx(1.0)
    assert health.effective_rank == pytest.approx(2.0)
    assert health.mean_cosine == pytest.approx(-1 / 3)  # twice 0 and once -1 for every corner
    assert health.alignment == 0
    # Distances at length 1: twice sqrt(2), once 2.
    assert health.uniformity == pytest.approx(math.log((2 * math.exp(-4) + math.exp(-8)) / 3))


def test_alignment_is_the_distance_of_the_views():
    first, second = np.array([[1.0, 0.0], [0.0, 3.0]]), np.array([[0.0, 1.0], [0.0, 1.0]])
    assert embedding_health(np.stack([first, second], axis=1)).alignment == pytest.approx((2 + 0) / 2)
    assert math.isnan(embedding_health(first).alignment)


def test_measures_of_collapses():
    point = embedding_health(np.full((5, 3), 2.0))
    assert (point.deviation, point.effective_rank, point.mean_cosine) == (0, 1, pytest.approx(1))
    assert point.uniformity == pytest.approx(0)
    line = embedding_health(np.outer([1.0, 2.0, 3.0, -4.0], [1.0, 1.0, 1.0]))
    assert line.effective_rank == pytest.approx(1)
    assert embedding_health(np.zeros((5, 3))).mean_cosine == 1


@pytest.mark.parametrize("bad", [np.ones((1, 3)), np.ones(3), np.array([[1.0, np.nan], [0.0, 1.0]])])
def test_what_cannot_be_measured_is_named(bad):
    with pytest.raises(InvalidArgumentError, match="`embeddings` must be finite numbers of shape"):
        embedding_health(bad)


# --- Views ---------------------------------------------------------------------------------------------------


def test_equal_views_are_an_error():
    x = np.random.default_rng(0).normal(size=(6, 4, 4, 2))
    x[0, 0, 0, 0] = np.nan
    same = {"s2_view_1": x, "s2_view_2": x.copy()}
    with pytest.raises(InvalidArgumentError, match=r"views that differ.*equal views of 100% of the patches"):
        check_views(same)
    check_views({"s2_view_1": x, "s2_view_2": x + 1e-3})
    check_views(same | {"s1_view_1": x, "s1_view_2": x + 1})  # one sensor that differs is a difference
    with pytest.raises(InvalidArgumentError, match="equal views of 100%"):  # the second differs, the third does not
        check_views({"s2_view_1": x, "s2_view_2": x + 1, "s2_view_3": x})
    with pytest.raises(InvalidArgumentError, match="equal views of 100%"):  # the second and the third are the same
        check_views({"s2_view_1": x, "s2_view_2": x + 1, "s2_view_3": x + 1})
    half = x.copy()
    half[:3] += 1  # three of six patches: an augmentation by chance
    check_views({"s2_view_1": x, "s2_view_2": half})
    check_views({"s2": x})


def test_patches_without_anything_to_change_do_not_count():
    random = np.random.default_rng(0)
    x = random.normal(size=(10, 4, 4, 2)).astype("float32")
    x[:6] = 0  # a sensor that is missing
    x[6] = np.nan
    turned = x[:, ::-1].copy()
    check_views({"s1_view_1": x, "s1_view_2": turned})
    check_views({"era5_view_1": x[:, 0, 0], "era5_view_2": x[:, 0, 0]})  # no augmentation changes a vector
    turned[7:] = x[7:]
    with pytest.raises(InvalidArgumentError, match="equal views of 100% of the patches in s1"):
        check_views({"s1_view_1": x, "s1_view_2": turned})


def test_fit_refuses_equal_views_before_the_first_step():
    model = ContrastivePretrainer(encoder(), projection=PROJECTION)
    model.compile("adam")
    data = views(noise=0.0)
    before = model.get_weights()
    with pytest.raises(InvalidArgumentError, match="equal views of 100%"):
        model.fit(data, verbose=0, callbacks=[CollapseGuard(data)])
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_fit_refuses_equal_views_of_one_sensor_of_two():
    model = ContrastivePretrainer({name: encoder(name) for name in ("x", "y")}, projection=PROJECTION)
    model.compile("adam")
    ((inputs, _),) = views().as_numpy_iterator()
    inputs |= {f"y_view_{number}": inputs["x_view_1"] for number in (1, 2)}
    with pytest.raises(InvalidArgumentError, match=r"equal views of 100% of the patches in y\."):
        model.fit(inputs, verbose=0, callbacks=[CollapseGuard(inputs)])


# --- Collapse --------------------------------------------------------------------------------------------------


def run(model, epochs=12, data=None, **options):
    """(guard, history) of a run; warnings are errors, but for the guard's own."""
    data = data or views().repeat(10)
    guard = CollapseGuard(data, **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Collapsed")
        warnings.filterwarnings("ignore", message="Whether this run has collapsed was not judged")
        history = model.fit(data, epochs=epochs, verbose=0, callbacks=[guard])
    return guard, history.history


@pytest.mark.parametrize("kind", [ContrastivePretrainer, VICRegPretrainer])
def test_a_healthy_run_is_left_alone(kind):
    keras.utils.set_random_seed(0)
    model = kind(encoder(), projection=PROJECTION)
    model.compile(keras.optimizers.Adam(0.01))
    guard, history = run(model, epochs=25)
    assert guard.collapsed is None
    assert len(history["loss"]) == len(history["embedding_effective_rank"]) == 25
    assert history["loss"][-1] < history["loss"][0]


def test_a_constant_encoder_is_caught_though_the_loss_is_finite():
    keras.utils.set_random_seed(0)
    x = keras.Input((16, 16, 3), name="x")
    silent = keras.Model([x], {"stride_1": keras.layers.Conv2D(2, 1, kernel_initializer="zeros", trainable=False)(x)})
    model = ContrastivePretrainer(silent, projection=PROJECTION)
    model.compile("adam")
    guard, history = run(model, settle_steps=30)
    assert "Collapsed: embeddings" in guard.collapsed
    assert len(history["loss"]) == 4  # 30 steps, and patience
    assert history["loss"][-1] == pytest.approx(math.log(2 * 16 - 1), rel=1e-3)


def test_vicreg_without_its_variance_is_caught():
    keras.utils.set_random_seed(0)
    model = VICRegPretrainer(encoder(), variance=0.0, covariance=0.0, projection=PROJECTION)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9))
    guard, history = run(model, epochs=100, data=views(tint=2.0).repeat(10))
    assert guard.collapsed is not None
    assert history["loss"][-1] < 0.2 * history["loss"][0]  # and the loss falls all the while
    assert len(history["loss"]) < 100


def test_an_exploding_rate_is_caught_at_once():
    keras.utils.set_random_seed(0)
    model = VICRegPretrainer(encoder(), projection=PROJECTION)
    model.compile(keras.optimizers.SGD(1e12))
    guard, history = run(model)
    assert guard.collapsed is not None
    assert len(history["loss"]) <= 3


def test_a_line_is_a_collapse_and_steps_are_counted():
    class Line(keras.layers.Layer):
        """Brings every embedding onto one line, through its first number."""

        def call(self, z):
            return keras.ops.concatenate([z[:, :1]] * 4, axis=1) - 0.5

    model = ContrastivePretrainer(encoder(), projection=PROJECTION)
    model.projector = keras.Sequential([model.projector, Line()])
    model.compile(keras.optimizers.SGD(0.0))
    data = views().repeat(6)
    guard, history = run(model, epochs=1, data=data, steps=2, patience=3, largest_cosine=2.0, settle_steps=0)
    assert "lie on a line (effective rank 1.00)" in guard.collapsed
    assert len(guard.history) == 3
    assert "embedding_effective_rank" in history


def test_one_dead_sensor_beside_a_live_one_is_caught():
    x = keras.Input((16, 16, 3), name="y")
    dead = keras.layers.Conv2D(16, 3, kernel_initializer="zeros", trainable=False)(x)
    encoders = {"live": encoder(), "dead": keras.Model([x], {"stride_1": dead})}
    model = ContrastivePretrainer(encoders, views=1, projection=PROJECTION)
    model.compile(keras.optimizers.Adam(1e-3))
    random = np.random.default_rng(0).normal(size=(2, 16, 16, 16, 3)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices(({"x": random[0], "y": random[1]}, {})).batch(16).repeat(10)
    guard, _ = run(model, epochs=6, data=data)
    assert "Collapsed: embeddings of dead have shrunk to a point" in guard.collapsed
    assert guard.history[-1].mean_cosine < 0.99  # in the mean over both nothing is wrong


def test_steps_are_those_of_the_whole_run():
    model = ContrastivePretrainer(encoder(), projection=PROJECTION)
    model.compile("adam")
    guard, history = run(model, epochs=5, data=views().repeat(3), steps=4)
    assert len(guard.history) == 3  # after 4, 8 and 12 of 15 steps
    assert len(history["embedding_deviation"]) == 4  # from the second epoch on
    model.fit(views().repeat(3), epochs=1, verbose=0, callbacks=[guard])
    assert len(guard.history) == 4  # after 16: the count goes on


def test_spread_before_training_is_remembered_when_fit_goes_on():
    model = VICRegPretrainer(encoder(), projection=PROJECTION)
    model.compile(keras.optimizers.SGD(0.0))
    guard = CollapseGuard(views(), settle_steps=0)  # two checks in a row, of one `fit` each
    model.fit(views(), epochs=2, verbose=0, callbacks=[guard])
    assert guard.collapsed is None
    last = model.projector.get_layer("embedding")
    last.set_weights([1e-3 * weight for weight in last.get_weights()])
    model.fit(views(), verbose=0, callbacks=[guard])
    assert guard.collapsed is None
    with pytest.warns(UserWarning, match="shrunk to a point"):
        model.fit(views(), verbose=0, callbacks=[guard])


def test_a_run_too_short_to_be_judged_says_so():
    model = ContrastivePretrainer(encoder(), projection=PROJECTION)
    model.compile("adam")
    with pytest.warns(UserWarning, match="not judged: it had 1 of the 2 checks that it takes after 20 steps"):
        model.fit(views().repeat(10), epochs=2, verbose=0, callbacks=[CollapseGuard(views())])


def test_watching_leaves_the_model_as_it_is():
    x = keras.Input((16, 16, 3), name="x")
    h = keras.layers.BatchNormalization()(keras.layers.Dropout(0.5)(x))
    model = ContrastivePretrainer(keras.Model([x], {"stride_1": h}), projection=PROJECTION)
    guard = CollapseGuard(views())
    guard.set_model(model)
    before = [np.array(variable) for variable in model.variables]
    guard.on_train_begin()
    for variable, old in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, old)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("kind", ["MAE", "inpainting", "pretext"])
def test_healthy_runs_of_other_kinds_are_left_alone_though_numbers_are_missing(kind):
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    x = random.normal(size=(16, 16, 16, 3)) + 2 * random.normal(size=(16, 1, 1, 3))
    x[random.random(x.shape) < 0.1] = np.nan
    inputs, options = {"x": x.astype("float32")}, {}
    if kind == "MAE":
        vit = models.vit((16, 16, 3), patch_size=4, name="x", width=8, depth=1, heads=2, mlp_width=16)
        model = MaskedAutoencoder(vit, **DECODER)
    elif kind == "inpainting":
        model = Inpainter(models.unet((16, 16, 3), width=2, name="x"), square=4)
    else:
        backbone = encoder()
        model, options = models.multitask(backbone, {"season": models.regression_head()}), {"encoder": backbone}
    model.compile(keras.optimizers.Adam(1e-3), **({"loss": {"season": "mae"}} if options else {}))
    guard = CollapseGuard(inputs, settle_steps=0, **options)
    if options:
        inputs = {"x": np.nan_to_num(inputs["x"])}
    targets = {"season": np.linspace(0, 1, 16)} if options else None
    history = model.fit(inputs, targets, batch_size=16, epochs=4, verbose=0, callbacks=[guard]).history
    assert guard.collapsed is None
    assert len(history["embedding_deviation"]) == 4
    assert np.isfinite(history["embedding_effective_rank"]).all()


def test_embeddings_are_those_of_training_and_not_of_inference():
    model = ContrastivePretrainer(encoder(), projection=PROJECTION)
    model.compile(keras.optimizers.SGD(0.0))
    model.projector.get_layer("normalisation").moving_variance.assign(np.full(8, 1e12))  # at inference all is one point
    guard, _ = run(model, epochs=3, settle_steps=0)
    assert guard.collapsed is None


def test_steps_that_run_together_are_counted():
    model = ContrastivePretrainer(encoder(), projection=PROJECTION)
    model.compile("adam", steps_per_execution=2)
    guard, _ = run(model, epochs=2, data=views().repeat(6), steps=3)
    assert len(guard.history) == 4  # after 4, 6, 10 and 12 steps


def test_after_a_collapse_patience_begins_anew():
    model = VICRegPretrainer(encoder(), projection=PROJECTION)
    model.compile(keras.optimizers.SGD(0.0))
    guard = CollapseGuard(views(), settle_steps=0, smallest_rank=100.0)
    counts = []
    for _ in range(2):
        with pytest.warns(UserWarning, match="lie on a line"):
            counts.append(len(model.fit(views(), epochs=9, verbose=0, callbacks=[guard]).history["loss"]))
    assert counts == [2, 2]


def test_what_is_refused_can_be_mended():
    backbone = encoder()
    model = models.multitask(backbone, {"season": models.regression_head()})
    model.compile("adam", "mae")
    x, y = {"x": np.ones((8, 16, 16, 3), "float32")}, {"season": np.zeros(8)}
    guard = CollapseGuard(x, patience=9)
    with pytest.raises(InvalidArgumentError, match="`encoder` must be given"):
        model.fit(x, y, verbose=0, callbacks=[guard])
    guard.encoder = backbone
    with pytest.warns(UserWarning, match="was not judged"):
        model.fit(x, y, verbose=0, callbacks=[guard])
    pretrainer = ContrastivePretrainer(encoder(), projection=PROJECTION)
    pretrainer.compile("adam")
    with pytest.raises(InvalidArgumentError, match="`encoder` must be None where a model has embeddings"):
        pretrainer.fit(views(), verbose=0, callbacks=[CollapseGuard(views(), encoder=pretrainer.encoder)])


def test_models_without_an_encoder_need_one():
    model = models.multitask(encoder(), {"season": models.regression_head()})
    model.compile("adam", "mae")
    x = {"x": np.zeros((8, 16, 16, 3), "float32")}
    with pytest.raises(InvalidArgumentError, match="`encoder` must be given where a model has neither"):
        model.fit(x, {"season": np.zeros(8)}, verbose=0, callbacks=[CollapseGuard(x)])


def test_a_batch_of_few_patches_is_refused():
    with pytest.raises(InvalidArgumentError, match=r"first batch of 8 patches or more.*Received: 7\."):
        CollapseGuard({"x": np.zeros((7, 4, 4, 1))})


def test_the_warning_says_what_happened():
    model = VICRegPretrainer(encoder(), projection=PROJECTION)
    model.compile(keras.optimizers.SGD(1e12))
    data = views()
    with pytest.warns(UserWarning, match=r"Collapsed: .*Training was stopped"):
        model.fit(data, epochs=5, verbose=0, callbacks=[CollapseGuard(data)])


def test_models_without_embeddings_are_watched_by_their_features():
    class Other(keras.Model):
        """A pretrainer of another kind: it has an encoder."""

        def __init__(self):
            super().__init__()
            self.encoder = encoder()

        def call(self, inputs):
            return self.encoder(inputs)["stride_2"]

    model = Other()
    model.compile("adam", "mse")
    x = {"x": np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype("float32")}
    guard = CollapseGuard(x)
    logs = model.fit(x, np.zeros((8, 8, 8, 16)), epochs=2, verbose=0, callbacks=[guard]).history
    assert len(logs["embedding_deviation"]) == 2
    assert "embedding_alignment" not in logs


@pytest.mark.parametrize(
    ("options", "words"),
    [({"patience": 0}, "`patience`"), ({"steps": 0}, "`steps`"), ({"largest_cosine": 0}, "`largest_cosine`")],
)
def test_bad_options_name_the_rule(options, words):
    with pytest.raises(InvalidArgumentError, match=words):
        CollapseGuard(views(), **options)
    with pytest.raises(InvalidArgumentError, match="`dataset` must give"):
        CollapseGuard(np.ones(3))


# --- Online probes ---------------------------------------------------------------------------------------------


def test_probes_are_logged_with_one_number_for_each_epoch():
    seen = []

    def probe(given, train, validation, schema):
        seen.append((given, train, validation, schema))
        return hand_scores("probe", climate_zone=[1.0] * len(seen) + [0.0] * (10 - len(seen)))

    model = ContrastivePretrainer(encoder(), projection=PROJECTION)
    model.compile("adam")
    online = OnlineProbe(probe, "train", "val", "schema", epochs=2, name="knn")
    history = model.fit(views(), epochs=4, verbose=0, callbacks=[online]).history
    assert history["knn_climate_zone_accuracy"] == [0.1, 0.2, 0.2, 0.3]  # after epochs 1, 2 and 4
    assert seen[0] == (model.encoder, "train", "val", "schema")
