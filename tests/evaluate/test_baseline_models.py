"""Strong and cheap baselines, on data whose answers are known."""

import functools
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from eokeras import evaluate
from eokeras.ben_ge.places import unit_vectors
from eokeras.ben_ge.schema import CHANNELS, TARGETS, VOID
from eokeras.errors import InvalidArgumentError

TASKS = ("climate_zone", "land_cover_map", "season")


def world(patches, seed, size=12):
    """Zone by longitude, season by temperature, land cover and height by the near infrared."""
    random = np.random.default_rng(seed)
    longitude, latitude = random.uniform(-179, 179, patches), random.uniform(-80, 80, patches)
    zone = np.where(longitude < 0, 1, 2)
    season = random.random(patches)
    era5 = random.normal(0, 1, (patches, 8)) * 0.1
    era5[:, 0] = 270 + 30 * season
    cover = random.integers(0, 3, (patches, size, size))
    s2 = random.normal(0, 100, (patches, size, size, 12)) + 1000
    s2[..., CHANNELS["s2"].index("B08")] += 1000 * cover
    elevation = np.where(np.arange(size)[:, None] < 2, np.nan, 10.0 * cover)
    cover[:, :2] = VOID
    zone[0], season[1] = VOID, np.nan
    inputs = {"s2": s2, "era5": era5, "lonlat": np.stack([longitude, latitude], 1)}
    targets = {"climate_zone": zone.astype("int32"), "land_cover_map": cover.astype("int32")}
    metadata = {
        "patch_id": np.array([f"{seed}_{index}" for index in range(patches)]),
        "tile": np.array([f"T{index % 12}" for index in range(patches)]),
        "date": np.array([f"D{index % 11}" for index in range(patches)]),
    }
    inputs = {key: values.astype("float32") for key, values in inputs.items()}
    targets |= {"season": season.astype("float32"), "elevation": elevation.astype("float32")}
    return inputs, targets, metadata


def make_dataset(arrays, *, inputs=("s2",), targets=TASKS, bands=None, metadata=(), **others):
    found = {name: arrays[0][name] for name in inputs}
    for name, chosen in (bands or {}).items():
        found[name] = found[name][..., [CHANNELS[name].index(band) for band in chosen]]
    parts = (found, {name: arrays[1][name] for name in targets}, {name: arrays[2][name] for name in metadata})
    dataset = tf.data.Dataset.from_tensor_slices(parts if metadata else parts[:2]).batch(16)
    dataset.recipe = functools.partial(make_dataset, arrays, inputs=inputs, targets=targets, bands=bands)
    return dataset


def make_schema(bands=("s2", "era5", "lonlat")):
    return SimpleNamespace(
        classes={name: TARGETS[name].classes for name in TASKS if TARGETS[name].classes},
        statistics={},
        world=None,
        bands={name: CHANNELS[name] for name in bands},
    )


@pytest.fixture(scope="module")
def found():
    train, test = make_dataset(world(80, seed=1)), make_dataset(world(40, seed=2))
    return {scores.name: scores for scores in evaluate.baselines(train, test, make_schema(), pixels=2000)}


def test_neighbours_on_the_map_find_the_zone(found):
    scores = found["nearest neighbours on the map"].tasks
    assert list(scores) == ["climate_zone"]
    assert scores["climate_zone"].estimates["accuracy"].value > 0.9
    assert scores["climate_zone"].patches == 39  # one patch has no zone


def test_weather_finds_the_season(found):
    scores = found["random forest on ERA-5"].tasks
    assert scores["season"].estimates["mae"].value < 0.05
    assert (scores["season"].group, scores["season"].groups) == ("date", 11)


def test_pixels_find_the_land_cover(found):
    scores = found["random forest per pixel"]
    assert scores.tasks["land_cover_map"].estimates["mean_iou"].value > 0.95
    assert scores.tasks["land_cover_map"].support.sum() == 40 * 10 * 12
    assert "2,000 training pixels" in scores.notes[0]


def test_pixels_find_the_elevation_and_missing_heights_are_left_out():
    train, test = (make_dataset(world(20, seed=seed), targets=("elevation",)) for seed in (1, 2))
    (scores,) = evaluate.baselines(train, test, make_schema(), pixels=1000)
    assert scores.name == "random forest per pixel, elevation"
    assert scores.tasks["elevation"].estimates["mae"].value < 1  # of 0, 10 and 20 m
    assert scores.tasks["elevation"].to_dict()["labelled_elements"] == 20 * 10 * 12
    assert "1,000 training pixels" in scores.notes[0]


def test_baselines_stand_beside_the_model(found):
    tensors = keras.Input((12, 12, 12), name="s2")
    outputs = {
        "climate_zone": keras.layers.Dense(12)(keras.layers.GlobalAveragePooling2D()(tensors)),
        "land_cover_map": keras.layers.Conv2D(11, 1)(tensors),
        "season": keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(tensors)),
    }
    model = keras.Model([tensors], outputs)
    test = make_dataset(world(40, seed=2))
    scores = evaluate.score(model, test, make_schema(), baselines=tuple(found.values()))
    predictors = {row[2] for row in scores.rows()}
    assert predictors == {"model", *found}
    assert "random forest per pixel: 20 trees on the 10 m bands of S2" in str(scores)
    difference = evaluate.compare(found["random forest per pixel"], scores)["land_cover_map", "mean_iou"]
    assert difference.first_is_better
    other = make_dataset(world(40, seed=3))
    with pytest.raises(InvalidArgumentError, match="same patches"):
        evaluate.score(model, other, make_schema(), baselines=tuple(found.values()))


def test_a_missing_modality_leaves_the_baseline_out_in_words():
    train, test = make_dataset(world(30, seed=1)), make_dataset(world(30, seed=2))
    scores = evaluate.baselines(train, test, make_schema(bands=("s2",)), pixels=500)
    notes = {item.name: item.notes[0] for item in scores if not item.tasks}
    assert notes == {
        "nearest neighbours on the map": "left out: the records hold no longitude and latitude.",
        "random forest on ERA-5": "left out: the records hold no ERA-5 weather.",
    }


def test_simulated_baselines_stand_beside_a_simulated_model():
    """Also the one that is left out: places would give the cluster away."""
    inputs, targets, metadata = world(30, seed=1)
    targets = {"geocluster": targets["climate_zone"]}
    make = functools.partial(make_dataset, (inputs, targets, metadata), targets=("geocluster",))
    schema = make_schema()
    schema.world = {"seed": 0}
    found = evaluate.baselines(make(), make(), schema)
    tensors = keras.Input((12, 12, 12), name="s2")
    outputs = {"geocluster": keras.layers.Dense(20)(keras.layers.GlobalAveragePooling2D()(tensors))}
    scores = evaluate.score(keras.Model([tensors], outputs), make(), schema, baselines=found)
    assert "left out: clusters are made from longitude and latitude, so it would copy the target." in str(scores)


def test_datasets_without_a_recipe_are_an_error():
    plain = tf.data.Dataset.from_tensor_slices(world(8, seed=1)[:2]).batch(4)
    with pytest.raises(InvalidArgumentError, match="`train` must be a dataset of `make_dataset`"):
        evaluate.baselines(plain, plain, make_schema())


def test_unit_vectors_join_at_the_180th_meridian():
    east, west, origin = unit_vectors([[179.9, 10.0], [-179.9, 10.0], [0.0, 0.0]])
    assert np.linalg.norm(east - west) < 0.01
    np.testing.assert_allclose(origin, [1, 0, 0], atol=1e-12)
