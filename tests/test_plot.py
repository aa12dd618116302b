"""Figures show what they were given: colours and numbers are checked, not looks."""

import warnings
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest

from eokeras import evaluate, plot
from eokeras.ben_ge.schema import CHANNELS, LAND_COVER, VOID
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.scores import SIMULATED
from tests.evaluate.cases import SHAPES, make_arrays, make_dataset, make_schema, pass_through

REAL, SIMULATION = (SimpleNamespace(world=world, bands=dict(CHANNELS), reflectance={}) for world in (None, {"seed": 0}))


def make_batch(patches=3, size=24, seed=0):
    random = np.random.default_rng(seed)
    shape = (patches, size, size)
    s1 = random.uniform(-30, 2, (*shape, 2)).astype("float32")
    s1[0, :3, :3], s1[1:2, :3, :3] = np.nan, -np.inf
    cover = random.integers(0, len(LAND_COVER), shape)
    cover[:, :2] = VOID
    inputs = {
        "s2": random.integers(0, 4000, (*shape, 12)).astype("float32"),
        "s1": s1,
        "dem": random.integers(-5, 900, (*shape, 1)).astype("float32"),
        "era5": np.tile(np.array([283.15, 280, 3, 0, 4, 0, 70, 80], "float32"), (patches, 1)),
        "lonlat": np.tile(np.array([-9.1, 38.7], "float32"), (patches, 1)),
    }
    targets = {
        "land_cover_map": cover.astype("int32"),
        "climate_zone": np.array([2, VOID, 3], "int32")[:patches],
        "season": np.array([0.25, np.nan, 1], "float32")[:patches],
    }
    metadata = {"date": np.array([b"2017-06-13"] * patches), "tile": np.array([b"29SMC"] * patches)}
    return inputs, targets, metadata


def texts(figure):
    found = [item.get_text() for item in figure.findobj(mpl.text.Text) if item.get_text()]
    return [*found, *(text.replace("\n", " ") for text in found)]  # long sentences are wrapped


def drawn(figure, path):
    """Saves the figure, with every warning an error, and tells that something was drawn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(path)
    return path.stat().st_size > 5000


@pytest.fixture(scope="module")
def scores():
    return evaluate.score(pass_through(SHAPES), make_dataset(make_arrays()), make_schema(world={"seed": 0}))


def test_true_colour_is_stretched_reflectance():
    s2 = np.zeros((1, 3, 12), "float32")
    s2[0, 0, CHANNELS["s2"].index("B04")] = 1500  # reflectance 0.15, half of 0.3
    s2[0, 1, CHANNELS["s2"].index("B03")] = 9000
    np.testing.assert_allclose(plot.true_colour(s2)[0], [[0.5**0.7, 0, 0], [0, 1, 0], [0, 0, 0]], atol=1e-6)
    reordered = np.array([[[3000.0, 0.0, 0.0]]])
    np.testing.assert_allclose(plot.true_colour(reordered, ("B02", "B03", "B04"))[0, 0], [0, 0, 1], atol=1e-6)


def test_true_colour_needs_its_bands():
    with pytest.raises(InvalidArgumentError, match="B04"):
        plot.true_colour(np.zeros((2, 2, 2)), ("B02", "B03"))


def test_hillshade_lights_slopes_that_face_north_west():
    rows, columns = np.mgrid[0:9, 0:9].astype(float)
    flat = plot.hillshade(np.full((9, 9), 100.0))
    np.testing.assert_allclose(flat, np.sqrt(0.5))
    # north up: row 0 is north; ground that falls towards the north-west rises with row and column
    assert (plot.hillshade((rows + columns) * 3) > flat).all()
    assert (plot.hillshade(-(rows + columns) * 3) < flat).all()
    # 45° towards the north-west, at right angles to the light
    slope = (rows + columns) * 10 / np.sqrt(2)
    np.testing.assert_allclose(plot.hillshade(slope, relief=1), 1.0)


def test_land_cover_has_its_official_colours():
    ids = np.array([[0, 7, VOID]])
    expected = np.array([[[0, 100, 0], [0, 100, 200], [0, 0, 0]]]) / 255
    np.testing.assert_allclose(plot.land_cover_rgb(ids), expected)


def test_samples_show_every_modality_and_label(tmp_path):
    figure = plot.samples(make_batch(), SIMULATION)
    assert drawn(figure, tmp_path / "samples.png")
    shown = texts(figure)
    for expected in ("Sentinel-1\nVV", "Sentinel-1\nVH", "WorldCover", "elevation [m]", "backscatter [dB]", "no label"):
        assert expected in shown
    words = next(text for text in shown if "29SMC" in text)
    assert words.splitlines() == [
        "2017-06-13, 29SMC",
        "9.10° W, 38.70° N",
        "10.0 °C, wind 5.0 m/s",
        "relative humidity 70 %",
        "climate Csa",
        "season 0.25 (1 = midsummer)",
    ]
    assert SIMULATED in shown


def test_samples_show_what_there_is(tmp_path):
    inputs, targets, _ = make_batch(patches=1)
    figure = plot.samples(({"s1": inputs["s1"]}, {"season": targets["season"]}), REAL)
    assert drawn(figure, tmp_path / "samples.png")
    assert SIMULATED not in texts(figure)


def test_zero_power_is_dark_and_no_data_is_not():
    inputs, _, _ = make_batch()
    figure = plot.samples(({"s1": inputs["s1"]}, {}), REAL)
    images = [image for axis in figure.axes for image in axis.get_images()]
    assert images[0].get_array().mask[:3, :3].all()
    assert not images[1].get_array().mask.any()
    assert images[1].get_array()[0, 0] == -25


def test_an_empty_batch_is_an_error():
    with pytest.raises(InvalidArgumentError, match="at least one patch"):
        plot.samples(({"s1": np.zeros((0, 4, 4, 2))}, {}), REAL)


def test_maps_take_ids_or_logits_and_count_agreement(tmp_path):
    batch = make_batch()
    reference = batch[1]["land_cover_map"]
    predicted = np.where(reference == VOID, 0, reference)
    predicted[0, 2:13] = (predicted[0, 2:13] + 1) % len(LAND_COVER)  # 11 of 22 labelled rows
    logits = np.eye(len(LAND_COVER))[predicted]
    for prediction in (predicted, logits, {"land_cover_map": logits}):
        figure = plot.maps(batch, prediction, SIMULATION)
        assert {"50% of pixels agree", "100% of pixels agree"} <= set(texts(figure))
    assert drawn(figure, tmp_path / "maps.png")


def test_elevation_is_shown_beside_its_reference_with_the_error_of_flat_ground(tmp_path):
    inputs, _, _ = make_batch()
    reference = np.tile(np.array([-8.0, 8.0], "float32"), (3, 24, 12))
    reference[0, 0], reference[2] = np.nan, np.nan
    batch = (inputs, {"elevation": reference})
    predicted = np.where(np.isnan(reference), 0, reference) + np.array([2, 4, 6], "float32")[:, None, None]
    for prediction in (predicted, predicted[..., None], {"elevation": predicted}):
        figure = plot.maps(batch, prediction, SIMULATION, target="elevation")
        shown = texts(figure)
        for caption in ("MAE 2.0 m (flat ground: 8.0 m)", "MAE 4.0 m (flat ground: 8.0 m)", "no reference"):
            assert caption in shown
    assert {"above mean [m]", SIMULATED} <= set(shown)
    assert any(text.startswith("Elevation: reference against prediction") for text in shown)
    images = [image for axis in figure.axes for image in axis.get_images()][3:]  # after three of Sentinel-2
    assert {(image.norm.vmin, image.norm.vmax) for image in images} == {(-12.0, 12.0)}
    assert images[0].get_array().mask[0].all()
    assert drawn(figure, tmp_path / "elevation.png")
    with pytest.raises(InvalidArgumentError, match=r"`target` must be one of .*'season'"):
        plot.maps(batch, predicted, REAL, target="season")


def test_samples_show_elevation_and_fractions(tmp_path):
    inputs, _, _ = make_batch(patches=2)
    fractions = np.zeros((2, len(LAND_COVER)), "float32")
    fractions[0, [0, 3]], fractions[1] = (0.25, 0.75), np.nan
    targets = {"elevation": np.full((2, 24, 24), np.nan, "float32"), "land_cover_fractions": fractions}
    figure = plot.samples(({"s1": inputs["s1"]}, targets), REAL)
    assert {"75% cropland, 25% tree cover", "fractions: no label", "elevation\n(target)"} <= set(texts(figure))
    assert drawn(figure, tmp_path / "samples.png")


def test_curves_take_the_least_error_for_the_best():
    history = {name: [0.2, 0.1, 0.3] for name in ("season_mean_absolute_error", "val_season_mean_absolute_error")}
    assert any("best validation 0.100 at epoch 2" in text for text in texts(plot.curves(history)))


def test_maps_of_another_shape_are_an_error():
    with pytest.raises(InvalidArgumentError, match="must have shape"):
        plot.maps(make_batch(), np.zeros((3, 5, 5)), REAL)
    with pytest.raises(InvalidArgumentError, match="land_cover_map"):
        plot.maps(({"s1": np.zeros((1, 4, 4, 2))}, {}), np.zeros((1, 4, 4)), REAL)


def test_curves_name_the_best_epoch(tmp_path):
    history = {
        "loss": [2.0, 1.0, 0.5],
        "val_loss": [2.1, 1.2, 1.4],
        "climate_zone_accuracy": [0.2, 0.5, 0.6],
        "val_climate_zone_accuracy": [0.2, 0.4, 0.5],
        "season_mae": [0.5, 0.2, 0.1],
        "val_season_mae": [0.5, 0.1, 0.2],
    }
    figure = plot.curves(SimpleNamespace(history=history), SIMULATION)
    assert drawn(figure, tmp_path / "curves.png")
    assert {
        "loss\nbest validation 1.200 at epoch 2",
        "climate zone accuracy\nbest validation 0.500 at epoch 3",
        "season MAE\nbest validation 0.100 at epoch 2",
        SIMULATED,
    } <= set(texts(figure))


def test_curves_of_one_epoch_without_validation(tmp_path):
    assert drawn(plot.curves({"loss": [1.0]}), tmp_path / "curves.png")
    with pytest.raises(InvalidArgumentError, match="at least one epoch"):
        plot.curves({})


def test_confusion_matrix_shows_shares_of_the_reference(scores, tmp_path):
    figure = plot.confusion_matrix(scores, "climate_zone")
    assert drawn(figure, tmp_path / "confusion.png")
    counts = scores.tasks["climate_zone"].confusion
    shown = figure.axes[0].get_images()[0].get_array()
    rows = np.flatnonzero(counts.sum(axis=1))
    np.testing.assert_allclose(shown.sum(axis=1), 1)
    assert len(shown) == len(rows)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[0] == f"water ({counts[0].sum()})"
    with pytest.raises(InvalidArgumentError, match=r"must be one of \['climate_zone', 'land_cover_map'\]"):
        plot.confusion_matrix(scores, "season")


def test_results_without_labels_are_drawn_all_the_same(tmp_path):
    inputs, targets, metadata = make_arrays()
    targets = {"climate_zone": np.full_like(targets["climate_zone"], VOID)}
    dataset = make_dataset(({"zone_logits": inputs["zone_logits"]}, targets, metadata))
    scores = evaluate.score(pass_through({"climate_zone": (12,)}), dataset, make_schema())
    figure = plot.confusion_matrix(scores, "climate_zone")
    assert drawn(figure, tmp_path / "confusion.png")
    assert "climate zone: no labels" in texts(figure)
    assert drawn(plot.score_chart(scores), tmp_path / "scores.png")


def test_score_chart_has_a_dot_per_predictor_and_metric(scores, tmp_path):
    figure = plot.score_chart(scores)
    assert drawn(figure, tmp_path / "scores.png")
    dots = [line for axis in figure.axes for line in axis.lines if line.get_marker() in "osD"]
    assert len(dots) == len(scores.rows())
    assert SIMULATED in texts(figure)
    value = scores.tasks["climate_zone"].estimates["accuracy"].value
    assert dots[0].get_xdata()[0] == pytest.approx(value)


def test_score_chart_without_intervals_is_an_illustration():
    few = evaluate.score(pass_through(SHAPES), make_dataset(make_arrays(tiles=3, dates=3)), make_schema())
    assert "Scores beside baselines (no intervals: illustration, not evidence)" in texts(plot.score_chart(few))


def test_figures_change_nothing_global():
    before = dict(mpl.rcParams)
    plot.samples(make_batch(), REAL)
    assert dict(mpl.rcParams) == before
