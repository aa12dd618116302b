"""Every target from records to picture: trained, scored, exported and drawn; elevation against NumPy."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import eokeras as eo
from eokeras import models
from eokeras.ben_ge.schema import DEM_NO_DATA, TARGETS, VOID
from eokeras.programs import compiling
from tests.checks import check_op, small_encoder
from tests.trees import rewrite_geotiff, write_tree

HEADS = {
    "climate_zone": models.scene_head(12),
    "land_cover": models.scene_head(11),
    "land_cover_map": models.map_head(11),
    "land_cover_fractions": models.scene_head(11),
    "season": models.regression_head(),
    "geocluster": models.scene_head(20),
    "labels": models.scene_head(19),
    "elevation": models.dense_regression_head(scale=800.0),
}
METRICS = {"mean_absolute_error": "mae"}
"""Keras' names of metrics -> those of `evaluate`, where they differ."""


def test_there_is_a_head_for_every_target():
    assert set(HEADS) == set(TARGETS) - {"reference_map"}  # of BigEarthNet v2: a map as land cover is one


@pytest.fixture(scope="module")
def trained(known_records):
    """A model of all targets after two epochs, and its schema."""
    schema = eo.load_schema(known_records.path)
    keras.utils.set_random_seed(0)
    model = models.multitask(small_encoder((None, None, 2), "s1"), HEADS)
    model.compile(
        keras.optimizers.Adam(1e-2),
        eo.losses.for_tasks(tuple(HEADS), schema),
        metrics=eo.metrics.for_tasks(tuple(HEADS), schema),
        loss_weights=dict.fromkeys(HEADS, 1.0) | {"elevation": 1e-3},
    )
    history = model.fit(dataset(known_records, "train"), epochs=2, verbose=0).history
    assert np.isfinite(list(history.values())).all()
    assert history["loss"][1] < history["loss"][0]
    return model, schema


def dataset(records, split, inputs=("s1",), **options):
    return eo.make_dataset(records.path, split, inputs, tuple(HEADS), batch_size=3, **options)


def test_metrics_of_fit_and_of_evaluate_are_one(trained, known_records):
    model, schema = trained
    by_keras = model.evaluate(dataset(known_records, "test"), verbose=0, return_dict=True)
    scores = eo.evaluate.score(model, dataset(known_records, "test"), schema)
    compared = 0
    for task in HEADS:
        for metric in eo.metrics.for_tasks([task])[task]:
            estimate = scores.tasks[task].estimates[METRICS.get(metric.name, metric.name)]
            assert estimate.value == pytest.approx(by_keras[f"{task}_{metric.name}"], rel=1e-4, abs=1e-6), task
            compared += 1
    assert compared == 12
    assert "flat ground" in str(scores)


def test_flat_ground_has_the_mean_relief_for_its_error(trained, known_records):
    scores = eo.evaluate.score(trained[0], dataset(known_records, "test"), trained[1])
    (flat,) = [other for other in scores.baselines if other.name == "flat ground"]
    (file,) = (known_records.tree / "splits").glob("*_test.csv")
    heights = np.stack([known_records.features[patch]["dem"] for patch in file.read_text().split()]).astype("float64")
    expected = np.abs(heights - heights.mean(axis=(1, 2), keepdims=True)).mean()
    assert flat.tasks["elevation"].estimates["mae"].value == pytest.approx(expected, rel=1e-5)


def test_the_export_answers_for_every_target(trained, known_records, tmp_path):
    model, schema = trained
    path = eo.export(model, tmp_path / "model", schema)
    stored, calibrated = (
        next(iter(dataset(known_records, "test", calibrate=kind)))[0] for kind in (None, "standardise")
    )
    loaded = tf.saved_model.load(path)
    served = {name: value.numpy() for name, value in loaded.serve(dict(stored)).items()}
    expected = model.predict(calibrated, verbose=0)
    for task, values in expected.items():
        kind = TARGETS[task].kind
        if kind in ("class", "map"):
            np.testing.assert_array_equal(served[task], values.argmax(-1))
        elif kind in ("regression", "map_regression"):
            np.testing.assert_allclose(served[task], values[..., 0], rtol=1e-4, atol=1e-3)
        elif kind == "multilabel":
            np.testing.assert_array_equal(served[task], values > 0)
        else:
            np.testing.assert_allclose(served[task].sum(axis=-1), 1, rtol=1e-5)
            np.testing.assert_array_equal(served[task].argmax(-1), values.argmax(-1))
    card = (path / "MODEL_CARD.md").read_text("utf-8")
    assert "- `elevation`: map_regression, m above the mean of the patch." in card
    assert "- `labels`: multilabel, 19 classes." in card


def test_every_target_is_drawn(trained, known_records, tmp_path):
    model, schema = trained
    batch = next(iter(dataset(known_records, "test", calibrate=None)))
    eo.plot.samples(batch, schema).savefig(tmp_path / "samples.png")
    predictions = model.predict(next(iter(dataset(known_records, "test")))[0], verbose=0)
    for target in ("land_cover_map", "elevation"):
        eo.plot.maps(batch, predictions, schema, target=target).savefig(tmp_path / f"{target}.png")
    scores = eo.evaluate.score(model, dataset(known_records, "test"), schema)
    eo.plot.score_chart(scores).savefig(tmp_path / "scores.png")
    for task in ("land_cover", "geocluster"):
        eo.plot.confusion_matrix(scores, task).savefig(tmp_path / f"{task}.png")
    assert len(list(tmp_path.iterdir())) == 6


def test_baselines_and_costs_know_every_target(trained, known_records):
    train, test = (dataset(known_records, split) for split in ("train", "test"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = eo.evaluate.baselines(train, test, trained[1], pixels=500)
    assert {task for scores in found for task in scores.tasks} == set(HEADS) - {"geocluster"}
    measured = eo.evaluate.cost(trained[0], batch_size=2, height=24, width=24, measure=True, steps=1)
    assert measured.training_step_seconds > 0


# -------------------------------------------------------------------------- elevation


def by_patch(data):
    found = {}
    for _, targets, metadata in data.as_numpy_iterator():
        found |= dict(zip((name.decode() for name in metadata["patch_id"]), targets["elevation"], strict=True))
    return found


def test_elevation_is_metres_above_the_mean_of_the_patch(known_records):
    data = eo.make_dataset(known_records.path, "train", ("s1",), ("elevation",), metadata=("patch_id",))
    assert data.element_spec[1]["elevation"] == tf.TensorSpec((None, 120, 120), tf.float32)
    for patch_id, elevation in by_patch(data).items():
        heights = known_records.features[patch_id]["dem"][..., 0].astype("float64")
        np.testing.assert_allclose(elevation, heights - heights.mean(), atol=2e-3)


@pytest.mark.parametrize("is_compiled", [False, True])
def test_elevation_by_hand_with_holes(is_compiled):
    stored = np.array([[[10, 20], [30, DEM_NO_DATA]], [[DEM_NO_DATA] * 2] * 2, [[4800] * 2] * 2], "int16")[..., None]
    with compiling(is_compiled):
        found = check_op(eo.ops.make_target("elevation"), {"dem": stored})["elevation"]
    nan = np.nan
    np.testing.assert_array_equal(found, np.float32([[[-10, 0], [10, nan]], [[nan] * 2] * 2, [[0] * 2] * 2]))


def test_elevation_of_a_crop_is_counted_from_the_mean_of_the_crop(known_records):
    options = {"metadata": ("patch_id",), "augment": eo.augment.random_crop(24), "seed": 3}
    data = eo.make_dataset(known_records.path, "train", ("s1",), ("elevation",), **options)
    for patch_id, elevation in by_patch(data).items():
        heights = known_records.features[patch_id]["dem"][..., 0].astype("float64")
        windows = np.lib.stride_tricks.sliding_window_view(heights, (24, 24))[::6, ::6]
        relief = windows - windows.mean(axis=(2, 3), keepdims=True)
        assert np.abs(relief - elevation).max(axis=(2, 3)).min() < 2e-3


def test_elevation_moves_with_the_image(known_records):
    """Relief and backscatter of a patch after one of the eight symmetries: the same one for both."""
    data = eo.make_dataset(
        known_records.path, "train", ("s1",), ("elevation",), calibrate=None, metadata=("patch_id",),
        augment=eo.augment.dihedral(), seed=5,
    )  # fmt: skip
    moved = 0
    for inputs, targets, metadata in data.as_numpy_iterator():
        for s1, elevation, name in zip(inputs["s1"], targets["elevation"], metadata["patch_id"], strict=True):
            features = known_records.features[name.decode()]
            heights = features["dem"][..., 0].astype("float64")
            moves = [lambda x, k=k, t=t: np.rot90(x.swapaxes(0, 1) if t else x, k) for k in range(4) for t in (0, 1)]
            near = [np.abs(move(heights) - heights.mean() - elevation).max() < 2e-3 for move in moves]
            assert sum(near) == 1
            np.testing.assert_array_equal(s1, moves[near.index(True)](features["s1"]))
            moved += not near[0]
    assert moved > 0


def test_statistics_of_elevation_leave_missing_heights_out(tmp_path):
    features = write_tree(tmp_path / "tree", 3)
    heights = {patch_id: patch["dem"][..., 0].copy() for patch_id, patch in features.items()}
    for patch_id, values in heights.items():
        values[:30] = DEM_NO_DATA
        rewrite_geotiff(tmp_path / "tree" / "dem" / f"{patch_id}_dem.tif", values=values)
    records = eo.ben_ge.convert(tmp_path / "tree", tmp_path / "records")
    data = by_patch(eo.make_dataset(records, "train", ("s1",), ("elevation",), metadata=("patch_id",)))
    assert all(np.isnan(elevation[:30]).all() and np.isfinite(elevation[30:]).all() for elevation in data.values())
    relief = np.stack([heights[patch_id][30:].astype("float64") for patch_id in data])
    relief -= relief.mean(axis=(1, 2), keepdims=True)
    assert eo.load_schema(records).statistics["elevation"] == {
        "count": len(data) * 90 * 120,
        "mean": 0.0,
        "mean_absolute": pytest.approx(np.abs(relief).mean()),
        "std": pytest.approx(relief.std()),
    }


def test_void_and_nan_are_all_that_is_missing(known_records):
    """What the losses and metrics leave out is what the pipeline writes."""
    for _, targets in dataset(known_records, "train").as_numpy_iterator():
        for task, values in targets.items():
            if TARGETS[task].kind in ("class", "map"):
                assert ((values < len(TARGETS[task].classes)) | (values == VOID)).all()
            else:
                assert not np.isinf(values).any()
