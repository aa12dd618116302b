"""Statistics of exactly the labels that a data set holds: by hand, and of all labels those of the schema."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import eokeras as eo
from eokeras.ben_ge.schema import DEM_NO_DATA, LAND_COVER, VOID
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.predictions import trivial_baselines

CLIMATE_CODES = (0, 7, 8, 9, 14, 15, 16, 18, 25, 26, 27, 29)
TARGETS = ("climate_zone", "land_cover", "land_cover_map", "land_cover_fractions", "season", "geocluster", "labels")
TARGETS += ("elevation",)
BUDGET = {"label_fraction": 0.5, "label_draw": "clustered", "label_seed": 3}


@pytest.fixture(scope="module")
def schema(known_records):
    return eo.load_schema(known_records.path)


def train_set(known_records, targets=TARGETS, **options):
    return eo.make_dataset(known_records.path, "train", ("s1",), targets, batch_size=2, **options)


def close(values):
    return {key: pytest.approx(value, rel=1e-5, abs=1e-6) for key, value in values.items()}


def test_of_all_labels_they_are_those_of_the_schema(known_records, schema):
    found = eo.count_labels(train_set(known_records), schema)
    assert found.statistics.keys() == schema.statistics.keys()
    for name, values in found.statistics.items():
        assert values == (close(schema.statistics[name]) if name in TARGETS else schema.statistics[name])
    assert (found.fingerprint, found.classes, dict(found)) == (schema.fingerprint, schema.classes, dict(schema))


def test_a_budget_by_hand(known_records, schema):
    data = train_set(known_records, **BUDGET)
    found = eo.count_labels(data, schema).statistics
    chosen = eo.ben_ge.draw_labels(known_records.path, **BUDGET).patches["train"]
    patches = [known_records.features[patch_id] for patch_id in chosen]
    assert len(patches) == 3
    zones = [CLIMATE_CODES.index(patch["climate_zone"]) for patch in patches]
    assert found["climate_zone"] == {"counts": [zones.count(index) for index in range(12)], "void": 0}
    fractions = np.array([patch["land_cover_fractions"] for patch in patches])
    tops = fractions.argmax(axis=1).tolist()
    assert found["land_cover"] == {"counts": [tops.count(index) for index in range(11)], "void": 0}
    assert found["land_cover_fractions"] == close({"mean": fractions.mean(axis=0).tolist()})
    pixels = np.stack([patch["land_cover_map"] for patch in patches])
    counts = [int((pixels == entry.code).sum()) for entry in LAND_COVER]
    assert found["land_cover_map"] == {"counts": counts, "void": 3 * 120 * 3}  # three rows of no data in each
    clusters = [int(patch["geocluster"]) for patch in patches]
    assert found["geocluster"] == {"counts": [clusters.count(index) for index in range(20)], "void": 0}
    assert found["labels"] == {"counts": np.sum([patch["labels"] for patch in patches], axis=0).tolist()}
    seasons = [float(patch["season"]) for patch in patches]
    expected = {"count": 3, "mean": np.mean(seasons), "median": np.median(seasons), "std": np.std(seasons)}
    assert found["season"] == close(expected)
    assert all((patch["dem"] != DEM_NO_DATA).all() for patch in patches)
    relief = np.stack([patch["dem"] - patch["dem"].mean() for patch in patches])
    expected = {"count": relief.size, "mean": 0, "mean_absolute": np.abs(relief).mean(), "std": relief.std()}
    assert found["elevation"] == close(expected)


def test_order_augmentation_and_cache_do_not_count(known_records, schema):
    expected = eo.count_labels(train_set(known_records, **BUDGET), schema).statistics
    options = {"shuffle": True, "seed": 1, "augment": eo.augment.random_crop(60), "cache": "memory"}
    data = train_set(known_records, **options, repeat=True, drop_remainder=True, **BUDGET)
    assert eo.count_labels(data, schema).statistics == expected


def test_budgets_by_target_and_targets_left_out(known_records, schema):
    shares = {"season": 0.5, "climate_zone": 1.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing to say that `make_dataset` has not said
        data = train_set(known_records, tuple(shares), label_fraction=shares)
        found = eo.count_labels(data, schema).statistics
    assert found["season"]["count"] == 3
    assert sum(found["climate_zone"]["counts"]) == 6
    assert set(TARGETS) & set(found) == set(shares)  # of the others no label is known


def test_balanced_weights_of_a_budget(known_records, schema):
    known = eo.count_labels(train_set(known_records, ("land_cover_map",), **BUDGET), schema)
    losses = eo.losses.for_tasks(("land_cover_map",), known, class_weights={"land_cover_map": "balanced"})
    chosen = eo.ben_ge.draw_labels(known_records.path, **BUDGET).patches["train"]
    codes = np.stack([known_records.features[patch_id]["land_cover_map"] for patch_id in chosen])
    counts = np.array([(codes == entry.code).sum() for entry in LAND_COVER])
    np.testing.assert_allclose(losses["land_cover_map"].class_weights, counts.sum() / (11 * counts), rtol=1e-6)


def test_labels_that_are_missing(schema):
    targets = {
        "climate_zone": np.array([3, VOID, 3], "int32"),
        "land_cover": np.full(3, VOID, "int32"),
        "season": np.array([0.25, np.nan, 0.75], "float32"),
        "land_cover_fractions": np.full((3, 11), np.nan, "float32"),
        "labels": np.stack([np.full(19, np.nan), np.ones(19), np.eye(19)[2]]).astype("float32"),
        "elevation": np.full((3, 4, 4), np.nan, "float32"),
    }
    data = tf.data.Dataset.from_tensors(({}, targets))
    data.recipe = lambda **_: data
    found = eo.count_labels(data, schema).statistics
    assert found["climate_zone"] == {"counts": [0, 0, 0, 2, *[0] * 8], "void": 1}
    assert found["land_cover"] == {"counts": [0] * 11, "void": 3}
    assert found["season"] == {"count": 2, "mean": 0.5, "median": 0.5, "std": 0.25}
    assert found["labels"] == {"counts": [1, 1, 2, *[1] * 16]}
    assert (found["land_cover_fractions"], found["elevation"]) == ({}, {"count": 0})
    constants, notes = trivial_baselines(("season", "land_cover"), eo.count_labels(data, schema))
    assert (list(constants), len(notes)) == (["median"], 1)


def test_other_data_sets_are_refused(schema):
    with pytest.raises(InvalidArgumentError, match=r"`dataset` must be a dataset of `make_dataset`.*without it"):
        eo.count_labels(tf.data.Dataset.range(3), schema)
