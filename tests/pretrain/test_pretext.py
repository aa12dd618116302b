"""Pretext tasks: their data against the tree, what is refused, a fit of all of them on both backends."""

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

import eokeras as eo
from eokeras.errors import InvalidArgumentError, RecordsError
from eokeras.models import multitask
from eokeras.pretrain import geoclusters, pretext_tasks
from eokeras.pretrain.pretext import MADE_FROM
from tests.checks import small_encoder

ROOT = Path(eo.__file__).parents[1]
ALL = tuple(MADE_FROM)


@pytest.fixture(scope="module")
def schema(known_records):
    return eo.load_schema(known_records.path)


@pytest.fixture(scope="module")
def clusters(known_records):
    return geoclusters(known_records.path, clusters=3)


# ---- Data ----------------------------------------------------------------------------------------------------------


def test_targets_are_those_of_the_tree(schema, known_records, clusters):
    tasks = pretext_tasks(ALL, schema, ("s2",), clusters=clusters)
    options = {"batch_size": 2, "metadata": ("patch_id",)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # weather is a target here, and no shortcut to one
        data = tasks.dataset("train", **options)
    with pytest.warns(UserWarning, match="Input 'era5' is a shortcut"):
        plain = eo.make_dataset(
            known_records.path, "train", ("s2", "s1", "era5"), ("season", "elevation"), masks=True, **options
        )
    seen = 0
    for ours, theirs in zip(data, plain, strict=True):
        inputs, targets, metadata = ({name: x.numpy() for name, x in part.items()} for part in ours)
        expected_inputs, expected = ({name: x.numpy() for name, x in part.items()} for part in theirs[:2])
        assert set(inputs) == {"s2"}
        assert tuple(targets) == ALL
        assert set(metadata) == {"patch_id"}
        np.testing.assert_array_equal(inputs["s2"], expected_inputs["s2"])
        for name in ("season", "elevation"):
            np.testing.assert_array_equal(targets[name], expected[name])
        np.testing.assert_array_equal(targets["era5"], expected_inputs["era5"])
        missing = expected_inputs["s1_mask"] == 0
        np.testing.assert_array_equal(targets["s1"], np.where(missing, np.nan, expected_inputs["s1"]))
        places = [known_records.features[name.decode()]["lonlat"] for name in metadata["patch_id"]]
        np.testing.assert_array_equal(targets["geocluster"], clusters.assign(places))
        seen += missing.any()
    assert seen  # the records do hold missing backscatter


def test_without_own_clusters_those_of_the_records_are_taken(schema, known_records):
    tasks = pretext_tasks(("geocluster",), schema, ("s1",))
    for inputs, targets, metadata in tasks.dataset("train", metadata=("patch_id",)).as_numpy_iterator():
        assert set(inputs) == {"s1"}
        expected = [known_records.features[name.decode()]["geocluster"] for name in metadata["patch_id"]]
        np.testing.assert_array_equal(targets["geocluster"], expected)
    assert tasks.losses.keys() == tasks.heads.keys() == {"geocluster"}


def test_a_data_set_can_be_made_again(schema, clusters):
    data = pretext_tasks(("geocluster", "era5"), schema, ("s1",), clusters=clusters).dataset("train", batch_size=2)
    again = data.recipe(batch_size=4, presence=True)
    assert set(again.element_spec[0]) == {"s1", "s1_present"}
    assert set(again.element_spec[1]) == {"geocluster", "era5"}
    assert len(list(again)) == 2
    assert data.options().autotune.enabled is False


def test_targets_of_views_are_those_of_the_first(schema):
    seen = False
    tasks = pretext_tasks(("s1", "era5", "season"), schema, ("s2",))
    views = eo.augment.views(eo.augment.dihedral(), eo.augment.dihedral())
    data = tasks.dataset("train", augment=views, seed=0, batch_size=3, metadata=("patch_id",))
    again = eo.make_dataset(
        schema.path, "train", ("s2", "s1", "era5"), ("season",), augment=views, seed=0, batch_size=3, masks=True
    )  # fmt: skip
    for (inputs, targets, _), (expected, seasons) in zip(
        data.as_numpy_iterator(), again.as_numpy_iterator(), strict=True
    ):
        assert {name for name in inputs if not name.startswith("s2_mask")} == {"s2_view_1", "s2_view_2"}
        missing = expected["s1_mask_view_1"] == 0
        np.testing.assert_array_equal(targets["s1"], np.where(missing, np.nan, expected["s1_view_1"]))
        seen = seen or missing.any()
        np.testing.assert_array_equal(targets["season"], seasons["season"])
        era5 = expected.get("era5", expected.get("era5_view_1"))
        np.testing.assert_array_equal(targets["era5"], era5)
    assert seen  # the records do hold missing backscatter


def test_clusters_of_other_records_are_warned_about(schema, clusters):
    with pytest.warns(UserWarning, match="`clusters` were made from other records"):
        pretext_tasks(("geocluster",), schema, ("s2",), clusters=dataclasses.replace(clusters, fingerprint="other"))


# ---- Models --------------------------------------------------------------------------------------------------------


def test_all_tasks_train_and_the_backbone_goes_on(schema, clusters):
    tasks = pretext_tasks(ALL, schema, ("s2",), ("land_cover_map",), clusters)
    keras.utils.set_random_seed(0)
    encoder = small_encoder((None, None, 12), "s2")
    model = multitask(encoder, tasks.heads)
    assert model.output["geocluster"].shape == (None, 3)
    assert model.output["era5"].shape == (None, 8)
    assert model.output["s1"].shape == (None, None, None, 2)
    model.compile(keras.optimizers.Adam(1e-2), tasks.losses, tasks.loss_weights, tasks.metrics)
    data = tasks.dataset("train", augment=eo.augment.random_crop(24), seed=0, batch_size=3)
    history = model.fit(data, epochs=4, verbose=0).history
    assert np.isfinite(list(history.values())).all()
    assert history["loss"][-1] < history["loss"][0]
    assert {f"{name}_loss" for name in ALL} < set(history)
    assert tasks.loss_weights["elevation"] == pytest.approx(1 / schema.statistics["elevation"]["std"])
    fine_tuned = multitask(encoder, {"land_cover_map": eo.models.map_head(11)})
    assert fine_tuned.get_layer(encoder.name) is encoder


ON_JAX = textwrap.dedent("""
    import json, sys
    import keras
    import eokeras as eo
    from eokeras.pretrain import geoclusters, pretext_tasks
    assert keras.backend.backend() == "jax"
    keras.utils.set_random_seed(0)
    names = ("geocluster", "season", "elevation", "era5", "s1")
    clusters = geoclusters(sys.argv[1], clusters=3)
    tasks = pretext_tasks(names, eo.load_schema(sys.argv[1]), ("s2",), clusters=clusters)
    model = eo.models.multitask(eo.models.unet((24, 24, 12), width=1, name="s2"), tasks.heads)
    model.compile(keras.optimizers.Adam(1e-2), tasks.losses, tasks.loss_weights, tasks.metrics)
    data = tasks.dataset("train", augment=eo.augment.random_crop(24), seed=0)
    print(json.dumps(model.fit(data, epochs=4, verbose=0).history["loss"]))
""")


@pytest.mark.slow
def test_fit_on_jax(known_records):
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", ON_JAX, str(known_records.path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    losses = json.loads(done.stdout.splitlines()[-1])
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


# ---- What is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "inputs", "downstream", "message"),
    [
        (("climate_zone",), ("s2",), (), r"`names` may hold .*'climate_zone'"),
        ((), ("s2",), (), "must not be empty"),
        (("season",), (), (), "must not be empty"),
        (("season",), ("sentinel2",), (), "`inputs` may hold"),
        (("season",), ("s2",), ("crops",), "`downstream` may hold"),
        (("season", "s1"), ("s2",), ("season",), "must not be a downstream target.*season"),
        (("elevation",), ("s2",), ("elevation",), "must not be a downstream target.*elevation"),
        (("geocluster",), ("s2", "lonlat"), (), "input 'lonlat', task 'geocluster'"),
        (("s1",), ("s2", "s1"), (), "input 's1', task 's1'"),
        (("era5",), ("era5",), (), "input 'era5', task 'era5'"),
        (("elevation",), ("dem",), (), "input 'dem', task 'elevation'"),
        (("season",), ("s2", "season_input"), (), "input 'season_input', task 'season'"),
    ],
)
def test_what_would_make_the_result_worthless_is_refused(schema, names, inputs, downstream, message):
    with pytest.raises(InvalidArgumentError, match=message):
        pretext_tasks(names, schema, inputs, downstream)


@pytest.mark.parametrize(
    ("names", "inputs", "downstream", "message"),
    [
        (("geocluster",), ("s2", "era5"), (), "Input 'era5' is a shortcut to target 'geocluster'.*reveals the place"),
        (("season",), ("s2", "era5"), (), "Input 'era5' is a shortcut to target 'season'.*reveals the date"),
        (("era5",), ("s2",), ("season",), "'era5' comes near the downstream target 'season'"),
        (("geocluster",), ("s2",), ("climate_zone",), "'geocluster' comes near the downstream target 'climate_zone'"),
    ],
)
def test_shortcuts_are_warned_about(schema, names, inputs, downstream, message):
    with pytest.warns(UserWarning, match=message):
        pretext_tasks(names, schema, inputs, downstream)


def test_sound_choices_are_silent(schema):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pretext_tasks(ALL, schema, ("s2",), ("land_cover", "land_cover_map", "labels"))


def test_channels_of_targets_are_not_chosen(schema):
    tasks = pretext_tasks(("s1",), schema, ("s2",))
    with pytest.raises(InvalidArgumentError, match=r"`bands` may choose channels of inputs, not of targets.*s1"):
        tasks.dataset("train", bands={"s1": ("VV",)})
    assert tasks.dataset("train", bands={"s2": ("B02",)}).element_spec[0]["s2"].shape[-1] == 1


def test_mixed_images_are_not_given_one_place(schema, clusters):
    tasks = pretext_tasks(("geocluster",), schema, ("s2",), clusters=clusters)
    with pytest.raises(InvalidArgumentError, match="`mix` must be None with `clusters`"):
        tasks.dataset("train", mix=eo.augment.cutmix())


def test_records_without_clusters_say_how_to_make_some(schema, clusters):
    lacking = eo.ben_ge.records.RecordSchema(
        schema.path, schema.metadata | {"fields": [name for name in schema.fields if name != "geocluster"]}
    )
    with pytest.raises(RecordsError, match=r"lacks 'geocluster'.*Make clusters with `geoclusters\(records\)`"):
        pretext_tasks(("geocluster",), lacking, ("s2",))
    assert pretext_tasks(("geocluster",), lacking, ("s2",), clusters=clusters).names == ("geocluster",)
