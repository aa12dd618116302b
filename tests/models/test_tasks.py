"""Whole models: weights, matching of inputs by name, training, the JAX backend."""

import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

import eokeras.losses
import eokeras.metrics
from eokeras.ben_ge.schema import VOID
from eokeras.errors import InvalidArgumentError
from eokeras.models import (
    early_fusion,
    late_fusion,
    map_head,
    multitask,
    regression_head,
    resnet,
    scene_head,
    unet,
    unet_decoder,
)
from tests.checks import assert_same, check_model, small_encoder, to_numpy

TASKS = ("climate_zone", "land_cover_map", "season")
RNG = np.random.default_rng(0)
PATCHES = 4
SHAPE = (16, 16, 2)
# Two modalities of one shape, so that nothing but the name can tell them apart, and one that no model takes.
INPUTS = {
    name: (shift + RNG.normal(size=(PATCHES, *SHAPE))).astype("float32")
    for name, shift in {"s2": -5.0, "s1": 0.0, "another": 5.0}.items()
}
TARGETS = {
    "climate_zone": np.array([0, 11, VOID, 3], "int32"),
    "land_cover_map": RNG.integers(0, 11, (PATCHES, 16, 16)).astype("int32"),
    "season": np.array([0.5, np.nan, 1.0, np.nan], "float32"),
}
TARGETS["land_cover_map"][:, ::2] = VOID


def heads(**kwargs):
    return {
        "climate_zone": scene_head(12, **kwargs),
        "land_cover_map": map_head(11),
        "season": regression_head(**kwargs),
    }


def late():
    return multitask(late_fusion({name: small_encoder(SHAPE, name) for name in ("s2", "s1")}), heads())


def early():
    return multitask(early_fusion(dict.fromkeys(("s2", "s1"), SHAPE), small_encoder), heads())


def single():
    return multitask(small_encoder(SHAPE, "s2"), heads())


BUILDERS = {"late": late, "early": early, "single": single}


def compiled(model, **kwargs):
    model.compile(keras.optimizers.SGD(1e-3), loss=eokeras.losses.for_tasks(TASKS), **kwargs)
    return model


# -------------------------------------------------------------------------- weights


def count(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def test_trainable_weights_are_the_tutorials():
    """Every number by hand from the U-Net's 17,272,512 at 12 inputs (tests of the encoder)."""
    encoder = 17_272_512
    map_weights = 64 * 11 + 11
    scene_weights = (64 + 1) + (120 * 120 * 12 + 12)
    season_weights = (64 + 1) + (120 * 120 + 1)
    fewer_inputs = 9 * 10 * 64  # first convolution: 2 inputs instead of 12
    more_inputs = 9 * 2 * 64  # 14 instead of 12

    s2 = unet((120, 120, 12), name="s2")
    tutorial = heads(pooling="flatten")
    assert count(s2) == encoder
    assert count(multitask(s2, {"land_cover_map": tutorial["land_cover_map"]})) == encoder + map_weights
    three = count(multitask(s2, tutorial))
    assert three == encoder + map_weights + scene_weights + season_weights
    assert round(three / 1e6, 2) == 17.46
    assert round((3 * encoder + map_weights + scene_weights + season_weights) / 1e6, 2) == 52.01

    scene = {"climate_zone": tutorial["climate_zone"]}
    stacked = multitask(early_fusion({"s2": (120, 120, 12), "s1": (120, 120, 2)}), scene)
    assert count(stacked) == encoder + more_inputs + scene_weights
    assert round(count(stacked) / 1e6, 1) == 17.4
    pair = multitask(late_fusion({"s2": s2, "s1": unet((120, 120, 2), name="s1")}), scene)
    assert count(pair) == 2 * encoder - fewer_inputs + scene_weights + 64  # the head's convolution reads 128 channels
    assert round(count(pair) / 1e6, 1) == 34.7


# ------------------------------------------------------------------------- contract


@pytest.mark.parametrize("build", [late, early])
def test_multitask_holds_its_contract(build, tmp_path):
    shapes = {"climate_zone": (PATCHES, 12), "land_cover_map": (PATCHES, 16, 16, 11), "season": (PATCHES, 1)}
    model = check_model(build, INPUTS, shapes, tmp_path)
    assert list(model.output) == model.output_names == list(TASKS)


def test_flatten_heads_hold_the_contract(tmp_path):
    shapes = {"climate_zone": (PATCHES, 12), "land_cover_map": (PATCHES, 16, 16, 11), "season": (PATCHES, 1)}
    check_model(lambda: multitask(small_encoder(SHAPE, "s2"), heads(pooling="flatten")), INPUTS, shapes, tmp_path)


def test_the_backbone_is_shared_with_the_model():
    encoder = unet(SHAPE, width=2, name="s2")
    model = multitask(encoder, heads())
    assert model.get_layer("s2_unet") is encoder


# -------------------------------------------------------- inputs are matched by name


@pytest.mark.parametrize(
    ("kind", "reloaded", "traced"),
    [
        *((kind, False, False) for kind in BUILDERS),
        ("late", True, False),
        ("single", True, False),
        ("late", False, True),
    ],
)
def test_a_model_never_takes_the_wrong_modality(kind, reloaded, traced, tmp_path):
    """Same answers whatever the order of the dict and whatever else it holds: call, predict, evaluate, fit."""
    model = BUILDERS[kind]()
    if reloaded:
        model.save(tmp_path / "model.keras")
        model = keras.models.load_model(tmp_path / "model.keras")
    compiled(model, run_eagerly=not traced)
    names = [tensor.name for tensor in model.inputs]
    exact = {name: INPUTS[name] for name in names}
    variants = [dict(reversed(INPUTS.items())), {"another": INPUTS["another"], **exact}, dict(reversed(exact.items()))]

    expected = to_numpy(model(exact))
    score = model.evaluate(exact, TARGETS, verbose=0, return_dict=True)
    for data in variants:
        assert_same(to_numpy(model(data)), expected, rtol=1e-5, atol=1e-5)
        assert_same(model.predict(data, verbose=0), expected, rtol=1e-4, atol=1e-4)
        batches = tf.data.Dataset.from_tensor_slices((data, TARGETS)).batch(2)
        assert_same(model.predict(batches, verbose=0), expected, rtol=1e-4, atol=1e-4)
        assert model.evaluate(data, TARGETS, verbose=0, return_dict=True) == pytest.approx(score, rel=1e-4)

    if len(names) > 1:  # the wrong modality would show
        swapped = dict(zip(names, reversed(exact.values()), strict=True))
        assert np.abs(to_numpy(model(swapped))["season"] - expected["season"]).max() > 1e-3

    weights = model.get_weights()
    losses = []
    for data in (exact, *variants):
        model.set_weights(weights)
        losses.append(model.fit(data, TARGETS, batch_size=PATCHES, verbose=0).history["loss"][0])
    assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-4)


@pytest.mark.parametrize("kind", BUILDERS)
def test_a_missing_or_misnamed_input_is_named(kind):
    model = compiled(BUILDERS[kind]())
    for data in ({name: INPUTS[name] for name in ("s1", "another")}, {"S2": INPUTS["s2"], "s1": INPUTS["s1"]}):
        batches = tf.data.Dataset.from_tensor_slices((data, TARGETS)).batch(2)
        for use in (
            lambda data=data: model(data),
            lambda data=data: model.predict(data, verbose=0),
            lambda data=data: model.fit(data, TARGETS, verbose=0),
            lambda batches=batches: model.fit(batches, verbose=0),
            lambda batches=batches: model.evaluate(batches, verbose=0),
        ):
            with pytest.raises(ValueError, match='Missing data for input "s2"'):
                use()


def test_another_number_of_channels_is_refused():
    with pytest.raises(ValueError, match=r"expected shape=\(None, 16, 16, 2\), found shape=\(4, 16, 16, 3\)"):
        late()({"s2": INPUTS["s2"], "s1": np.zeros((4, 16, 16, 3))})


# ------------------------------------------------------------------------- training


def test_fit_lowers_the_loss_with_half_of_the_labels_missing():
    model = early()
    model.compile(
        keras.optimizers.Adam(1e-2), loss=eokeras.losses.for_tasks(TASKS), metrics=eokeras.metrics.for_tasks(TASKS)
    )
    batches = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(PATCHES)
    history = model.fit(batches.repeat(10), steps_per_epoch=5, epochs=2, verbose=0).history
    assert {"climate_zone_macro_f1", "land_cover_map_mean_iou", "season_mean_absolute_error"} <= set(history)
    assert np.isfinite(list(history.values())).all()
    assert history["loss"][-1] < history["loss"][0]


JAX_SCRIPT = """
    import keras, numpy as np, tensorflow as tf
    import eokeras.losses, eokeras.metrics
    from eokeras.models import late_fusion, map_head, multitask, regression_head, scene_head, unet
    from tests.checks import small_encoder
    assert keras.backend.backend() == "jax"
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=(4, 24, 24, 2)).astype("float32") for name in ("s1", "s2", "another")}
    targets = {
        "climate_zone": np.array([0, 11, 255, 3], "int32"),
        "land_cover_map": rng.integers(0, 11, (4, 24, 24)).astype("int32"),
        "season": np.array([0.5, np.nan, np.nan, 0.1], "float32"),
        "land_cover_fractions": rng.dirichlet(np.ones(11), 4).astype("float32"),
        "labels": rng.integers(0, 2, (4, 19)).astype("float32"),
    }
    batches = tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(2)
    backbone = late_fusion({name: small_encoder((None, None, 2), name) for name in ("s2", "s1")})
    model = multitask(backbone, {
        "climate_zone": scene_head(12), "land_cover_map": map_head(11), "season": regression_head(),
        "land_cover_fractions": scene_head(11), "labels": scene_head(19)})
    model.compile("adam", eokeras.losses.for_tasks(targets), metrics=eokeras.metrics.for_tasks(targets))
    history = model.fit(batches, verbose=0).history
    assert np.isfinite(list(history.values())).all(), history
    assert 0 < history["land_cover_map_pixel_accuracy"][0] < 1
    model.save("MODEL")
    network = unet((None, None, 2), width=1, name="s2")
    network.save("UNET")
    inputs["s2"] = rng.normal(size=(4, 17, 19, 2)).astype("float32")
    inputs["s1"] = rng.normal(size=(4, 17, 19, 2)).astype("float32")
    outputs = {**model(inputs), **network(inputs)}
    np.savez("MODEL.npz", **{f"in_{k}": v for k, v in inputs.items()}, **outputs)
"""


def test_fit_on_the_jax_backend_and_reload_on_tensorflow(tmp_path):
    path = tmp_path / "model.keras"
    script = textwrap.dedent(JAX_SCRIPT).replace("MODEL", str(path)).replace("UNET", str(tmp_path / "unet.keras"))
    # Compiling takes nearly all of the time; what is tested does not need it optimised.
    fast = {"XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"}
    environment = {**os.environ, **fast, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]

    arrays = np.load(f"{path}.npz")
    inputs = {name[3:]: arrays[name] for name in arrays if name.startswith("in_")}
    for saved in (path, tmp_path / "unet.keras"):
        for name, output in keras.models.load_model(saved)(inputs).items():
            np.testing.assert_allclose(output, arrays[name], rtol=1e-3, atol=1e-3)


# ------------------------------------------------------------------------ bad input


@pytest.mark.parametrize("value", [{}, None, scene_head(3), [("season", regression_head())]])
def test_heads_must_be_a_dict_with_entries(value):
    with pytest.raises(InvalidArgumentError, match="`heads` must be a dict"):
        multitask(unet(SHAPE, width=2, name="s2"), value)


def test_a_head_must_be_a_function():
    with pytest.raises(InvalidArgumentError, match=r"`heads\['season'\]` must be a function.*Received: 12"):
        multitask(unet(SHAPE, width=2, name="s2"), {"season": 12})


@pytest.mark.parametrize("task", ["s2", "s2_unet"])
def test_a_task_must_not_bear_the_name_of_an_input_or_of_the_backbone(task):
    with pytest.raises(InvalidArgumentError, match=f"must not name a task like an input.*Received: {task}"):
        multitask(unet(SHAPE, width=2, name="s2"), {task: regression_head()})


@pytest.mark.parametrize("backbone", [None, unet, keras.Sequential([keras.Input((32, 32, 2)), keras.layers.Flatten()])])
def test_the_backbone_must_give_levels(backbone):
    with pytest.raises(InvalidArgumentError, match="`backbone` must be a functional model"):
        multitask(backbone, heads())


def test_maps_of_another_size_than_the_input_are_refused():
    encoder = resnet((33, 32, 2), width=1, name="s1")
    decoded = keras.Model(encoder.inputs, unet_decoder(1)(encoder.output), name="decoded")
    with pytest.raises(InvalidArgumentError, match=r"\(34, 32\) for 's1' of \(33, 32\).*needs even sizes"):
        multitask(decoded, {"land_cover_map": map_head(11)})
    assert multitask(decoded, {"season": regression_head()}).output["season"].shape == (None, 1)
