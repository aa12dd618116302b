"""Random windows resampled to one size: the same ground for all rasters, missing numbers whole."""

import numpy as np
import pytest
import tensorflow as tf

from eokeras.augment import random_resized_crop
from eokeras.errors import InvalidArgumentError
from tests.checks import check_op

SEED = tf.constant([1, 2])


def ramps(count, rows=120):
    """Rasters whose numbers are their place in metres, row and column, at three resolutions; and a map of cells."""

    def places(size):
        metres = (np.arange(size) + 0.5) * 1200 / size
        grid = np.stack(np.meshgrid(metres, metres, indexing="ij"), axis=-1)
        return np.tile(grid, (count, 1, 1, 1)).astype("float32")

    cells = np.arange(rows)[:, None] // 12 * 10 + np.arange(rows) // 12
    return {
        "fine": tf.constant(places(rows)),
        "coarse": tf.constant(places(rows // 2)),
        "coarsest": tf.constant(places(rows // 6)),
        "land_cover_map": tf.constant(np.tile(cells, (count, 1, 1)), tf.uint8),
        "season": tf.linspace(0.0, 1.0, count),
    }


def test_all_rasters_show_one_ground():
    batch = random_resized_crop(60, area=(0.2, 0.9))(ramps(20), SEED)
    fine, coarse, coarsest = (batch[name].numpy() for name in ("fine", "coarse", "coarsest"))
    assert [x.shape[1] for x in (fine, coarse, coarsest)] == [60, 30, 10]
    # Where nothing is clamped at the edge, the mean place of 2 x 2 fine pixels is that of the coarse one.
    inner = slice(2, -2)
    for image, n in ((coarse, 2), (coarsest, 6)):
        means = fine.reshape(20, 60 // n, n, 60 // n, n, 2).mean(axis=(2, 4))
        np.testing.assert_allclose(image[:, inner, inner], means[:, inner, inner], atol=0.05)
    rows, columns = (fine[..., 0] // 120, fine[..., 1] // 120)
    agrees = batch["land_cover_map"].numpy() == rows * 10 + columns
    # Nearest pixel and blended place may disagree within half a pixel of the edge of a cell.
    assert agrees.mean() > 0.9
    np.testing.assert_array_equal(batch["season"], np.linspace(0, 1, 20, dtype="float32"))


def test_windows_have_the_areas_and_shapes_asked_for():
    fine = random_resized_crop(area=(0.25, 0.5), aspect=(0.5, 2.0))(ramps(400, 24), SEED)["fine"].numpy()
    step_m = np.stack([fine[:, 12, 12, 0] - fine[:, 11, 12, 0], fine[:, 12, 12, 1] - fine[:, 12, 11, 1]])
    height, width = step_m * 24 / 1200
    area, ratio = height * width, width / height
    assert area.min() > 0.249
    assert area.max() < 0.501
    assert np.mean(area) == pytest.approx(0.375, abs=0.015)
    assert ratio.min() > 0.49
    assert ratio.max() < 2.01
    assert np.median(np.log(ratio)) == pytest.approx(0, abs=0.12)
    assert len(np.unique(fine[:, 0, 0, 0])) > 390  # the few that begin at the edge repeat it


def test_a_window_by_hand():
    """The whole of four pixels on two: half-pixel centres give the means of neighbours."""
    batch = {"image": tf.reshape(tf.range(16.0), (1, 4, 4, 1))}
    crop = random_resized_crop(2, area=(1.0, 1.0), aspect=(1.0, 1.0))
    np.testing.assert_allclose(crop(batch, SEED)["image"][0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]], atol=1e-4)
    np.testing.assert_allclose(
        random_resized_crop(8, area=(1.0, 1.0), aspect=(1.0, 1.0))(batch, SEED)["image"][0, 0, :4, 0],
        [0.0, 0.25, 0.75, 1.25],
        atol=1e-4,
    )


def test_the_whole_window_changes_nothing():
    rng = np.random.default_rng(0)
    batch = {
        "s2_10m": tf.constant(rng.integers(0, 2000, (2, 12, 12, 4)), tf.uint16),
        "dem": tf.constant(rng.integers(-50, 200, (2, 12, 12, 1)), tf.int16),
        "land_cover_map": tf.constant(rng.integers(0, 100, (2, 12, 12)), tf.uint8),
    }
    whole = random_resized_crop(area=(1.0, 1.0), aspect=(1.0, 1.0))(batch, SEED)
    for name, values in batch.items():
        np.testing.assert_array_equal(whole[name], values)


def test_missing_numbers_stay_and_do_not_spread():
    s1 = np.full((4, 24, 24, 2), -10.0, "float32")
    s1[:, 6:14, 6:14, 0], s1[:, 14:20, 2:8, 1] = np.nan, -np.inf
    s2, dem = np.full((4, 24, 24, 4), 500, "uint16"), np.full((4, 24, 24, 1), 700, "int16")
    s2[:, 6:14, 6:14], dem[:, 6:14, 6:14] = 0, -32768
    batch = {"s1": tf.constant(s1), "s2_10m": tf.constant(s2), "dem": tf.constant(dem)}
    cropped = random_resized_crop(area=(0.4, 0.9))(batch, SEED)
    s1, s2, dem = (cropped[name].numpy() for name in ("s1", "s2_10m", "dem"))
    assert np.isnan(s1[..., 0]).any()
    assert np.isneginf(s1[..., 1]).any()
    np.testing.assert_allclose(s1[np.isfinite(s1)], -10, atol=1e-5)
    assert set(np.unique(s2)) == {0, 500}
    assert set(np.unique(dem)) == {-32768, 700}
    np.testing.assert_array_equal(np.isnan(s1[..., 0]), s2[..., 0] == 0)  # one window for all
    np.testing.assert_array_equal(s2[..., 0] == 0, dem[..., 0] == -32768)


def test_maps_keep_their_classes_and_fractions_follow():
    codes = np.random.default_rng(0).choice([10, 80, 100], (6, 24, 24)).astype("uint8")
    batch = {"land_cover_map": tf.constant(codes), "land_cover_fractions": tf.zeros((6, 11), tf.float64)}
    cropped = random_resized_crop(16)(batch, SEED)
    image = cropped["land_cover_map"].numpy()
    assert set(np.unique(image)) == {10, 80, 100}
    np.testing.assert_allclose(cropped["land_cover_fractions"][:, 0], (image == 10).mean(axis=(1, 2)))


def test_eager_equals_mapped():
    check_op(lambda batch: random_resized_crop(12)(batch, SEED), ramps(3, 24))


@pytest.mark.parametrize(
    "wrong",
    [{"size": 0}, {"size": 9.0}, {"area": (0, 1)}, {"area": (0.5, 1.5)}, {"area": (0.9, 0.5)}, {"aspect": 1.0}],
)
def test_arguments_out_of_range_are_named(wrong):
    with pytest.raises(InvalidArgumentError, match=f"`{next(iter(wrong))}` must be"):
        random_resized_crop(**wrong)


def test_views_are_cropped_inside_and_not_after():
    batch = {"s1_view_1": tf.zeros((2, 12, 12, 2)), "s1_view_2": tf.zeros((2, 12, 12, 2))}
    with pytest.raises(InvalidArgumentError, match="must hold no views yet: crop inside of `views`"):
        random_resized_crop()(batch, tf.constant([0, 1]))


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(InvalidArgumentError, match="whole number of pixels"):
        random_resized_crop(63)(ramps(1), SEED)
    with pytest.raises(InvalidArgumentError, match="square rasters"):
        random_resized_crop()({"image": tf.zeros((1, 4, 6, 1))}, SEED)
    with pytest.raises(InvalidArgumentError, match="square rasters"):
        random_resized_crop()({"season": tf.zeros(3)}, SEED)


def test_backscatter_is_resampled_in_power():
    # The whole patch at twice its size: a pixel between -10 dB and -20 dB has 3/4 of one power and 1/4 of the other.
    image = tf.constant([[[[-10.0]], [[-20.0]]], [[[-10.0]], [[-20.0]]]])
    whole = random_resized_crop(4, area=(1.0, 1.0), aspect=(1.0, 1.0))
    found = whole({"s1": tf.reshape(image, (1, 2, 2, 1))}, tf.constant([0, 1]))["s1"].numpy()[0, :, :, 0]
    powers = np.array([0.1, 0.75 * 0.1 + 0.25 * 0.01, 0.25 * 0.1 + 0.75 * 0.01, 0.01])
    np.testing.assert_allclose(found, np.tile(10 * np.log10(powers), (4, 1)), atol=1e-4)
