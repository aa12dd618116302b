"""The exported model: same answers as `model.predict`, any batch and scene size, nothing half-written."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, softmax

import eokeras as eo
from eokeras import models
from eokeras.errors import InvalidArgumentError, TargetExistsError, UnwritableError
from tests.checks import small_encoder

TARGETS = ("climate_zone", "land_cover_map", "season", "labels", "land_cover_fractions")
BANDS = {"s2": ("B08", "B04", "B01"), "s1": ("VH", "VV")}


def make_model(schema, bands=None, width=2):
    """A fusion model with every kind of head; its normalisations and biases are far from their start values."""
    keras.utils.set_random_seed(1)
    channels = {name: len((bands or {}).get(name, schema[name].channels)) for name in ("s2", "s1")}
    encoders = {name: models.unet((None, None, count), width=width, name=name) for name, count in channels.items()}
    heads = {
        "climate_zone": models.scene_head(12),
        "land_cover_map": models.map_head(11),
        "season": models.regression_head(),
        "labels": models.scene_head(19),
        "land_cover_fractions": models.scene_head(11),
    }
    model = models.multitask(models.late_fusion(encoders), heads)
    random = np.random.default_rng(0)
    for variable in model.variables:
        if "kernel" not in variable.path:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


def batches(records, calibrate, bands=None):
    data = eo.make_dataset(records, "test", ("s2", "s1"), calibrate=calibrate, bands=bands, batch_size=3)
    return next(iter(data))[0]


@pytest.fixture(scope="module")
def exported(known_records, tmp_path_factory):
    schema = eo.load_schema(known_records.path)
    model = make_model(schema)
    path = eo.export(model, tmp_path_factory.mktemp("export") / "model", schema, scores="accuracy 0.5")
    return model, path


@pytest.mark.parametrize(("calibrate", "bands"), [("standardise", None), ("tutorial", BANDS)])
def test_agrees_with_predict(known_records, tmp_path, calibrate, bands):
    schema = eo.load_schema(known_records.path)
    model = make_model(schema, bands)
    path = eo.export(model, tmp_path / "model", schema, calibrate=calibrate, bands=bands)
    logits = model.predict(batches(known_records.path, calibrate, bands), verbose=0)
    loaded = tf.saved_model.load(path)
    served = {key: value.numpy() for key, value in loaded.serve(dict(batches(known_records.path, None))).items()}
    for task in ("climate_zone", "land_cover_map"):
        np.testing.assert_allclose(served[f"{task}_probabilities"], softmax(logits[task], -1), atol=1e-4)
        np.testing.assert_array_equal(served[task], served[f"{task}_probabilities"].argmax(-1))
        assert served[task].dtype == np.uint8
    assert served["land_cover_map"].shape == (3, 120, 120)
    np.testing.assert_allclose(served["season"], logits["season"][:, 0], atol=1e-4)
    np.testing.assert_allclose(served["labels_probabilities"], expit(logits["labels"]), atol=1e-4)
    np.testing.assert_array_equal(served["labels"], logits["labels"] > 0)
    np.testing.assert_allclose(served["land_cover_fractions"], softmax(logits["land_cover_fractions"], -1), atol=1e-4)


def test_answers_depend_on_the_image(known_records, exported):
    loaded = tf.saved_model.load(exported[1])
    stored = dict(batches(known_records.path, None))
    changed = stored | {"s1": stored["s1"] + 3.0}
    first, second = loaded.serve(stored), loaded.serve(changed)
    assert np.abs(first["season"] - second["season"]).max() > 1e-3


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 240, 240), (5, 120, 120), (2, 96, 152)])
def test_other_batches_and_scenes(exported, batch, height, width):
    loaded = tf.saved_model.load(exported[1])
    random = np.random.default_rng(0)
    inputs = {
        "s2": random.uniform(0, 4000, (batch, height, width, 12)).astype("float32"),
        "s1": random.normal(-12, 5, (batch, height, width, 2)).astype("float32"),
    }
    inputs["s1"][0, :2, :2] = np.nan
    inputs["s1"][0, 3, 3] = -np.inf
    served = loaded.serve({name: tf.constant(values) for name, values in inputs.items()})
    assert served["land_cover_map"].shape == (batch, height, width)
    assert served["climate_zone"].shape == (batch,)
    assert all(np.isfinite(value.numpy().astype("float64")).all() for value in served.values())


def test_serving_default_takes_names(known_records, exported):
    loaded = tf.saved_model.load(exported[1])
    stored = batches(known_records.path, None)
    by_name = loaded.signatures["serving_default"](s1=stored["s1"], s2=stored["s2"])
    np.testing.assert_array_equal(by_name["season"], loaded.serve(dict(stored))["season"])


def test_serves_in_a_process_without_eokeras(known_records, exported, tmp_path):
    stored = {name: value.numpy() for name, value in batches(known_records.path, None).items()}
    np.savez(tmp_path / "given.npz", **stored)
    code = textwrap.dedent("""
        import sys, numpy as np, tensorflow as tf
        loaded = tf.saved_model.load(sys.argv[1])
        outputs = loaded.serve({name: tf.constant(x) for name, x in np.load(sys.argv[2]).items()})
        np.save(sys.argv[3], outputs["climate_zone_probabilities"].numpy())
        assert "eokeras" not in sys.modules
    """)
    arguments = [str(exported[1]), str(tmp_path / "given.npz"), str(tmp_path / "answers.npy")]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, cwd=tmp_path, env=environment)
    logits = exported[0].predict(batches(known_records.path, "standardise"), verbose=0)["climate_zone"]
    np.testing.assert_allclose(np.load(tmp_path / "answers.npy"), softmax(logits, -1), atol=1e-4)


def test_schema_beside_the_model(known_records, exported):
    content = json.loads((exported[1] / "schema.json").read_text("utf-8"))
    assert content["inputs"]["s2"]["channels"][8] == "B8A"
    assert content["inputs"]["s2"]["reflectance"]["B8A"] == {"scale": 1e-4, "offset": 0.0}
    assert content["inputs"]["s1"]["channels"] == ["VV", "VH"]
    assert content["outputs"]["land_cover_map"]["classes"][7] == "permanent water bodies"
    assert content["outputs"]["climate_zone"]["classes"][0] == "water"
    assert content["records"]["fingerprint"] == eo.load_schema(known_records.path).fingerprint
    assert content["calibrate"] == "standardise"
    assert content["simulated"] is False
    card = (exported[1] / "MODEL_CARD.md").read_text("utf-8")
    assert "accuracy 0.5" in card
    assert "VV, VH" in card


# ---- missing modalities --------------------------------------------------------------------------------------------


def model_with_presence():
    """Season = (mean of s2, or 5 where s2 is missing) + 10 x (mean of s1, or 7), in calibrated numbers."""
    names = ("s2_20m", "s1")
    rasters = {name: keras.Input((None, None, count), name=name) for name, count in zip(names, (6, 2), strict=True)}
    presence = {name: keras.Input((1,), name=name) for name in ("s2_present", "s1_present")}
    means = [keras.ops.mean(tensor, axis=(1, 2, 3))[:, None] for tensor in rasters.values()]
    s2, s1 = (
        keras.ops.where(there > 0.5, mean, instead)
        for mean, there, instead in zip(means, presence.values(), (5.0, 7.0), strict=True)
    )
    return keras.Model([*rasters.values(), *presence.values()], {"season": s2 + 10 * s1}, name="season")


def test_presence_inputs_are_served(known_records, tmp_path):
    schema = eo.load_schema(known_records.path)
    path = eo.export(model_with_presence(), tmp_path / "model", schema, bands={"s1": ("VH", "VV")})
    read = {"inputs": ("s2", "s1"), "resolution": "stored", "batch_size": 3, "bands": {"s2": schema["s2_20m"].channels}}
    calibrated, stored = (
        {name: value.numpy() for name, value in data.items()}
        for data, _ in (
            next(iter(eo.make_dataset(known_records.path, "test", calibrate=kind, **read)))
            for kind in ("standardise", None)
        )
    )
    stored["s1"][1] = np.nan
    stored |= {"s2_present": np.array([[1], [1], [0]], "float32"), "s1_present": np.array([[1], [0], [1]], "float32")}
    loaded = tf.saved_model.load(path)
    served = loaded.serve({name: tf.cast(value, tf.float32) for name, value in stored.items()})["season"]
    s2, s1 = (calibrated[name].mean(axis=(1, 2, 3)) for name in ("s2_20m", "s1"))
    np.testing.assert_allclose(served, [s2[0] + 10 * s1[0], s2[1] + 70, 5 + 10 * s1[2]], rtol=1e-4)

    content = json.loads((path / "schema.json").read_text("utf-8"))
    assert list(content["inputs"]) == ["s2_20m", "s1", "s2_present", "s1_present"]
    assert content["inputs"]["s1_present"]["shape"] == ["batch", 1]
    assert content["inputs"]["s1_present"]["unit"].startswith("1 where s1 is there, 0 where it is missing")
    assert "- `s2_present` (batch, 1) float32" in (path / "MODEL_CARD.md").read_text("utf-8")


def test_a_missing_raster_does_not_leak(known_records, tmp_path):
    """With DropModality, whatever stands in the place of a missing modality, NaN too, changes nothing."""
    schema = eo.load_schema(known_records.path)
    encoders = {name: small_encoder(schema[name].shape, name) for name in ("s2", "s1")}
    heads = {"season": models.regression_head(), "land_cover_map": models.map_head(11)}
    model = models.multitask(models.drop_modality(models.late_fusion(encoders)), heads)
    path = eo.export(model, tmp_path / "model", schema)
    stored = {name: value.numpy() for name, value in batches(known_records.path, None).items()}
    calibrated = {name: value.numpy() for name, value in batches(known_records.path, "standardise").items()}
    one, none = np.ones((3, 1), "float32"), np.zeros((3, 1), "float32")
    loaded = tf.saved_model.load(path)
    answers = []
    for fill in (np.nan, -np.inf, 1e6, -12.0):
        given = stored | {"s1": np.full_like(stored["s1"], fill), "s2_present": one, "s1_present": none}
        answers.append(loaded.serve({name: tf.constant(value) for name, value in given.items()}))
    for answer in answers[1:]:
        for name, value in answer.items():
            np.testing.assert_array_equal(value, answers[0][name])
    expected = model.predict_on_batch(calibrated | {"s2_present": one, "s1_present": none})["season"][:, 0]
    np.testing.assert_allclose(answers[0]["season"], expected, atol=1e-4)
    there = loaded.serve(
        {name: tf.constant(v) for name, v in (stored | {"s2_present": one, "s1_present": one}).items()}
    )
    assert np.abs(there["season"] - answers[0]["season"]).max() > 1e-4


def test_presence_of_an_unknown_modality_is_named(known_records, tmp_path):
    schema = eo.load_schema(known_records.path)
    inputs = [keras.Input((None, None, 2), name="s1"), keras.Input((1,), name="dem_present")]
    outputs = {"season": keras.ops.mean(inputs[0], axis=(1, 2, 3))[:, None] + inputs[1]}
    with pytest.raises(InvalidArgumentError, match=r"`model inputs` may hold .*'s1_present'.*Received: 'dem_present'"):
        eo.export(keras.Model(inputs, outputs), tmp_path / "model", schema)


# ---- bad input -----------------------------------------------------------------------------------------------------


def test_existing_target_stays(known_records, tmp_path):
    schema = eo.load_schema(known_records.path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("mine")
    with pytest.raises(TargetExistsError, match=r"`path` must not exist yet\. Received: .*model"):
        eo.export(make_model(schema), tmp_path / "model", schema)
    assert (tmp_path / "model" / "mine").read_text() == "mine"


def test_target_below_a_file(known_records, tmp_path):
    schema = eo.load_schema(known_records.path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError, match=r"Cannot write the model to .*file/model"):
        eo.export(make_model(schema), tmp_path / "file" / "model", schema)


def test_full_disk_leaves_nothing(known_records, tmp_path):
    """A limit on the size of a file stands in for a full disk: TensorFlow fails half-way with an error of its own."""
    schema = eo.load_schema(known_records.path)
    model = make_model(schema)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        with pytest.raises(UnwritableError, match=r"Cannot write the model to .*model.*Nothing was left there"):
            eo.export(model, tmp_path / "model", schema)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("bands", "words"),
    [
        ({"S1": ("VH", "VV")}, r"`bands` may hold \['s2', 's1'\]\. Received: 'S1'"),
        ({"s1": ("VH", "HH")}, r"`bands\['s1'\]` may hold \['VV', 'VH'\]\. Received: 'HH'"),
        ({"s1": ("VH",)}, r"`bands` must name the 2 channels of the model's input 's1'.*Received: VH"),
    ],
)
def test_wrong_bands_are_named(known_records, tmp_path, bands, words):
    schema = eo.load_schema(known_records.path)
    with pytest.raises(InvalidArgumentError, match=words):
        eo.export(make_model(schema), tmp_path / "model", schema, bands=bands)


def test_a_model_of_fixed_size_says_so(known_records, tmp_path):
    schema = eo.load_schema(known_records.path)
    backbone = models.unet((120, 120, 2), width=2, name="s1")
    model = models.multitask(backbone, {"season": models.regression_head(pooling="flatten")})
    path = eo.export(model, tmp_path / "model", schema)
    content = json.loads((path / "schema.json").read_text("utf-8"))
    assert content["inputs"]["s1"]["shape"] == ["batch", 120, 120, 2]
    assert "(batch, 120, 120, 2)" in (path / "MODEL_CARD.md").read_text("utf-8")


def test_stored_resolution(known_records, tmp_path):
    schema = eo.load_schema(known_records.path)
    read = {"inputs": ("s2",), "resolution": "stored", "batch_size": 3}
    backbone = models.unet((60, 60, 6), width=2, name="s2_20m")
    model = models.multitask(backbone, {"season": models.regression_head()})
    path = eo.export(model, tmp_path / "model", schema)
    calibrated = next(iter(eo.make_dataset(known_records.path, "test", **read)))[0]
    stored = next(iter(eo.make_dataset(known_records.path, "test", calibrate=None, **read)))[0]
    loaded = tf.saved_model.load(path)
    served = loaded.serve({"s2_20m": tf.cast(stored["s2_20m"], tf.float32)})["season"]
    expected = model.predict({"s2_20m": calibrated["s2_20m"]}, verbose=0)["season"][:, 0]
    np.testing.assert_allclose(served, expected, atol=1e-4)


def test_strange_inputs_and_outputs_are_named(known_records, tmp_path):
    schema = eo.load_schema(known_records.path)
    strange = models.multitask(models.unet((None, None, 3), width=2, name="rgb"), {"season": models.regression_head()})
    with pytest.raises(InvalidArgumentError, match=r"`model inputs` may hold \['s2', 's1'.*Received: 'rgb'"):
        eo.export(strange, tmp_path / "model", schema)
    strange = models.multitask(models.unet((None, None, 2), width=2, name="s1"), {"yield": models.regression_head()})
    with pytest.raises(InvalidArgumentError, match=r"`model outputs` may hold .*Received: 'yield'"):
        eo.export(strange, tmp_path / "model", schema)
    assert list(tmp_path.iterdir()) == []


def test_other_backends_are_told_what_to_do(known_records, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(InvalidArgumentError, match="KERAS_BACKEND=tensorflow"):
        eo.export(None, tmp_path / "model", eo.load_schema(known_records.path))
