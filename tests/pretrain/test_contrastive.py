"""Contrastive pretrainers: which embeddings they compare, tasks beside them, and travelling weights."""

import json
import os
import subprocess
import sys
import textwrap
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import eokeras as eo
from eokeras import models
from eokeras.errors import InvalidArgumentError
from eokeras.pretrain import ContrastivePretrainer, VICRegPretrainer, nt_xent, vicreg
from tests.checks import assert_same, to_numpy

ROOT = Path(eo.__file__).parents[1]
BANDS = {"s2": 12, "s1": 2}
PROJECTION = (8, 4)


def unet(name, width=2):
    return models.unet((16, 16, BANDS[name]), width=width, name=name)


def batch(patches, *names, views=1, seed=0):
    random = np.random.default_rng(seed)
    keys = [key for name in names for key in ([name] if views == 1 else [f"{name}_view_{i + 1}" for i in range(views)])]
    return {key: random.normal(size=(patches, 16, 16, BANDS[key[:2]])).astype("float32") for key in keys}


def shaken(patches, seed=0):
    """Two views of Sentinel-2 patches with colours of their own."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(patches, 1, 1, 12)) + random.normal(0, 0.3, (2, patches, 16, 16, 12))
    return {f"s2_view_{i + 1}": x[i].astype("float32") for i in range(2)}


def test_the_loss_is_that_of_the_two_views_of_a_patch():
    model = ContrastivePretrainer(unet("s2"), temperature=0.2, projection=PROJECTION)
    x = batch(5, "s2", views=2)
    z = to_numpy(model(x)["embeddings"])
    assert z.shape == (5, 2, 4)
    projected = [to_numpy(model.projector(model.trunks[""]({"s2": x[f"s2_view_{i}"]})["embeddings"])) for i in (1, 2)]
    np.testing.assert_allclose(z, np.stack(projected, axis=1), atol=1e-6)
    model.compile("adam")
    logs = model.evaluate(x, batch_size=5, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(float(nt_xent(*projected, 0.2)), rel=1e-5)


@pytest.mark.parametrize(("views", "pairs"), [(1, 1), (2, 6)])
def test_sensors_and_views_are_compared_in_all_pairs(views, pairs):
    encoders = {name: unet(name) for name in BANDS}
    model = VICRegPretrainer(encoders, views=views, projection=PROJECTION)
    model.compile("adam")
    x = batch(4, *BANDS, views=views)
    z = to_numpy(model(x)["embeddings"])
    assert z.shape == (4, 2 * views, 4)
    losses = [float(vicreg(z[:, i], z[:, j])) for i in range(2 * views) for j in range(i)]
    assert len(losses) == pairs
    logs = model.evaluate(x, batch_size=4, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.usefixtures("eagerly")
def test_all_encoders_share_the_projector_and_learn():
    model = ContrastivePretrainer({name: unet(name) for name in BANDS}, views=1, projection=PROJECTION)
    model.compile(keras.optimizers.SGD(0.1))
    before = [np.array(weight) for weight in model.trainable_weights]
    hidden = sum("projector" in weight.path or weight.path.startswith(("hidden", "embedding", "normalisation"))
                 for weight in model.trainable_weights)  # fmt: skip
    assert hidden == 5  # kernel; scale and shift; kernel and bias
    model.fit(batch(8, *BANDS), batch_size=8, verbose=0)
    moved = [not np.array_equal(weight, old) for weight, old in zip(model.trainable_weights, before, strict=True)]
    for encoder in model.encoders.values():
        assert any(
            change for change, weight in zip(moved, model.trainable_weights, strict=True)
            if any(weight is own for own in encoder.trainable_weights)
        )  # fmt: skip


def test_training_finds_partners():
    keras.utils.set_random_seed(0)
    model = ContrastivePretrainer(unet("s2"), projection=PROJECTION)
    model.compile(keras.optimizers.Adam(0.01))
    logs = model.fit(shaken(16), batch_size=8, epochs=30, shuffle=False, verbose=0).history
    assert logs["loss"][-1] < 0.5 * ContrastivePretrainer.chance_loss(16) < logs["loss"][0] * 1.2
    assert logs["matching_accuracy"][-1] > 0.8


@pytest.mark.usefixtures("eagerly")
def test_pretext_tasks_add_their_losses():
    heads = {"climate_zone": models.scene_head(12), "season": models.regression_head()}
    model = ContrastivePretrainer(unet("s2"), projection=PROJECTION, heads=heads)
    plain = ContrastivePretrainer(model.encoder, projection=PROJECTION)
    plain.projector.set_weights(model.projector.get_weights())
    weights = {"climate_zone": 0.5, "season": 2.0}
    model.compile("adam", eo.losses.for_tasks(heads), loss_weights=weights, metrics=eo.metrics.for_tasks(heads))
    plain.compile("adam")
    x, zone, season = batch(8, "s2", views=2), np.arange(8, dtype="int32"), np.linspace(0, 1, 8).astype("float32")
    y = {"climate_zone": zone, "season": season}
    found = model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
    alone = plain.evaluate(x, batch_size=8, verbose=0, return_dict=True)
    outputs = to_numpy(model.trunks[""]({"s2": x["s2_view_1"]}))  # targets are of the first view
    logits = outputs["climate_zone"]
    entropy = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(8), zone])
    error = np.mean(np.abs(outputs["season"][:, 0] - season))
    assert found["loss"] == pytest.approx(alone["loss"] + 0.5 * entropy + 2 * error, rel=1e-4)
    assert found["season_mean_absolute_error"] == pytest.approx(error, rel=1e-5)
    assert found["matching_accuracy"] == alone["matching_accuracy"]
    model.fit(x, y, batch_size=8, verbose=0)


@pytest.mark.parametrize("kind", [ContrastivePretrainer, VICRegPretrainer])
@pytest.mark.parametrize("sensors", [("s2",), ("s2", "s1")])
@pytest.mark.usefixtures("eagerly")
def test_a_pretrainer_is_saved_whole(kind, sensors, tmp_path):
    encoders = {name: unet(name) for name in sensors} if len(sensors) > 1 else unet("s2")
    heads = {"climate_zone": models.scene_head(12)} if len(sensors) == 1 else None
    model = kind(encoders, projection=PROJECTION, heads=heads, level="stride_4")
    loss = {"loss": eo.losses.for_tasks(heads)} if heads else {}
    model.compile("adam", **loss)
    x, y = batch(8, *sensors, views=2), {"climate_zone": np.arange(8)}
    model.fit(x, y if heads else None, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same(to_numpy(loaded(x)), to_numpy(model(x)))
    assert len(loaded.weights) == len(model.weights)
    assert (loaded.views, loaded.projection, loaded.level) == (2, PROJECTION, "stride_4")
    logs = [
        each.fit(x, y if heads else None, batch_size=8, shuffle=False, verbose=0).history for each in (model, loaded)
    ]
    assert logs[0] == logs[1]


def test_the_encoder_goes_on_in_other_models():
    model = ContrastivePretrainer(unet("s2"), projection=PROJECTION)
    model.compile(keras.optimizers.SGD(0.1))
    model.fit(batch(8, "s2", views=2), batch_size=8, verbose=0)
    fused = models.multitask(
        models.late_fusion({"s2": model.encoder, "s1": unet("s1")}), {"climate_zone": models.scene_head(12)}
    )
    x = batch(3, "s2", "s1")
    own = to_numpy(model.encoder({"s2": x["s2"]}))
    inner = next(layer for layer in fused._flatten_layers() if layer is model.encoder)
    assert_same(to_numpy(inner({"s2": x["s2"]})), own)


def test_extra_inputs_change_nothing():
    model = ContrastivePretrainer(unet("s2"), projection=PROJECTION)
    x = batch(6, "s2", "s1", views=2)
    assert_same(to_numpy(model(x)), to_numpy(model({name: x[name] for name in reversed(x) if "s2" in name})))


def test_views_that_are_missing_are_named():
    model = ContrastivePretrainer(unet("s2"), projection=PROJECTION)
    with pytest.raises(InvalidArgumentError, match=r"must hold s2_view_1, s2_view_2\. Received: s2\. Make it with"):
        model(batch(6, "s2"))


@pytest.mark.usefixtures("eagerly")
def test_a_third_part_of_batches_is_refused():
    model = ContrastivePretrainer(unet("s2"), projection=PROJECTION)
    model.compile("adam")
    data = tf.data.Dataset.from_tensor_slices((batch(8, "s2", views=2), {}, {"weight": np.ones(8)})).batch(8)
    with pytest.raises(InvalidArgumentError, match="Received: a third part"):
        model.fit(data, verbose=0)


CODE = textwrap.dedent("""
    import json
    import numpy as np
    import keras
    assert keras.backend.backend() == "jax"
    import jax
    assert jax.device_count() == 2
    from eokeras import models
    from eokeras.pretrain import CollapseGuard, ContrastivePretrainer, VICRegPretrainer

    random = np.random.default_rng(0)
    x = {f"s2_view_{i}": random.normal(size=(8, 16, 16, 12)).astype("float32") for i in (1, 2)}

    def losses(kind, guards=()):
        keras.utils.set_random_seed(0)
        model = kind(models.unet((16, 16, 12), width=2, name="s2"), projection=(8, 4))
        model.compile(keras.optimizers.SGD(1e-3 if kind is ContrastivePretrainer else 1e-4))
        return model.fit(x, batch_size=8, epochs=3, shuffle=False, verbose=0, callbacks=guards).history["loss"]

    kinds = (ContrastivePretrainer, VICRegPretrainer)
    guards = [CollapseGuard(x, steps=1, settle_steps=0) for kind in kinds]
    one = [losses(kind, [guard]) for kind, guard in zip(kinds, guards)]
    assert [len(guard.history) for guard in guards] == [3, 3]
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    two = [losses(kind) for kind in kinds]  # no guard: it changes nothing
    print(json.dumps([one, two]))
""")


def test_fit_on_jax_and_a_batch_over_two_devices_is_one_batch():
    environment = os.environ | {
        "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = json.loads(done.stdout.splitlines()[-1])
    for alone, parallel in zip(one, two, strict=True):
        assert alone[-1] < alone[0]
        np.testing.assert_allclose(parallel, alone, rtol=1e-3)


@pytest.mark.parametrize(("kind", "refused"), [(ContrastivePretrainer, True), (VICRegPretrainer, False)])
def test_replicas_that_would_see_their_own_negatives_are_refused(kind, refused, monkeypatch):
    model = kind(unet("s2"), projection=PROJECTION)
    outputs = model(batch(6, "s2", views=2))
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: SimpleNamespace(num_replicas_in_sync=2))
    expected = pytest.raises(InvalidArgumentError, match="Received: 2 replicas") if refused else nullcontext()
    with expected:
        model.compute_loss(y_pred=outputs)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ContrastivePretrainer(unet("s2"), views=1), "`views` must be 2 or more where there is one encoder"),
        (lambda: ContrastivePretrainer(unet("s2"), views=0), "`views` must be a positive integer"),
        (lambda: ContrastivePretrainer(unet("s2"), temperature=0), "`temperature` must be a finite number above 0"),
        (lambda: VICRegPretrainer(unet("s2"), variance=-1), "`variance` must be a finite number of 0 or more"),
        (
            lambda: ContrastivePretrainer({"s2": unet("s2"), "s1": unet("s1", 3)}, views=1),
            r"`encoders` must give levels of equal width.*\{'s2': 2, 's1': 3\}",
        ),
        (
            lambda: ContrastivePretrainer({n: unet(n) for n in BANDS}, heads={"season": models.regression_head()}),
            "`heads` must come with one encoder alone. Received: encoders s2, s1",
        ),
        (lambda: ContrastivePretrainer(unet("s2"), level="stride_7"), "`level` must be one of"),
        (lambda: ContrastivePretrainer({n: unet(n) for n in BANDS}, views=1).encoder, "Take one of `encoders`: s2, s1"),
    ],
)
def test_bad_arguments_name_the_rule(make, words):
    with pytest.raises(InvalidArgumentError, match=words):
        make()
