"""The dihedral group and crops on batches: one draw for all rasters of a patch."""

import numpy as np
import pytest
import tensorflow as tf

from eokeras import augment
from eokeras.errors import InvalidArgumentError
from tests.checks import check_op

SQUARE = np.arange(16).reshape(4, 4)
ELEMENTS = [np.rot90(SQUARE, turns) for turns in range(4)] + [np.rot90(SQUARE.T, turns) for turns in range(4)]


def batch_of(size):
    """Maps of place numbers at two resolutions; the fine one says which coarse pixel it lies in."""
    coarse = np.tile(SQUARE, (size, 1, 1))
    fine = coarse.repeat(2, axis=1).repeat(2, axis=2)
    return {
        "s2_20m": tf.constant(coarse[..., None].repeat(3, axis=-1), tf.uint16),
        "land_cover_map": tf.constant(fine, tf.uint8),
        "season": tf.linspace(0.0, 1.0, size),
    }


def test_every_result_is_a_symmetry_and_all_eight_occur():
    moved = augment.dihedral()(batch_of(400), tf.constant([1, 2]))["s2_20m"].numpy()[..., 0]
    found = [next(i for i, element in enumerate(ELEMENTS) if np.array_equal(element, image)) for image in moved]
    counts = np.bincount(found, minlength=8)
    assert counts.sum() == 400
    # Binomial(400, 1/8) has mean 50 and standard deviation 6.6.
    assert counts.min() > 20
    assert counts.max() < 80


def test_one_draw_for_all_rasters_of_a_patch():
    moved = augment.dihedral()(batch_of(50), tf.constant([3, 4]))
    coarse, fine = moved["s2_20m"].numpy()[..., 0], moved["land_cover_map"].numpy()
    np.testing.assert_array_equal(coarse.repeat(2, axis=1).repeat(2, axis=2), fine)


def test_vectors_pass_and_dtypes_stay():
    batch = batch_of(5)
    moved = augment.dihedral()(batch, tf.constant([5, 6]))
    np.testing.assert_array_equal(moved["season"], batch["season"])
    assert {name: value.dtype for name, value in moved.items()} == {name: value.dtype for name, value in batch.items()}


def test_seed_decides():
    first, again = (augment.dihedral()(batch_of(20), tf.constant([7, 8]))["s2_20m"] for _ in range(2))
    other = augment.dihedral()(batch_of(20), tf.constant([7, 9]))["s2_20m"]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_eager_equals_mapped():
    check_op(lambda batch: augment.dihedral()(batch, tf.constant([1, 2])), batch_of(3))


# --------------------------------------------------------------------------- crops


def patches_of(count):
    """Rasters that hold the number of the 60 m pixel they lie in, at three resolutions; and a vector."""
    cells = np.arange(400, dtype="int32").reshape(20, 20)
    rasters = {"s2_60m": 1, "s2_20m": 3, "land_cover_map": 6}
    batch = {name: cells.repeat(n, axis=0).repeat(n, axis=1)[None].repeat(count, axis=0) for name, n in rasters.items()}
    batch["s2_60m"] = batch["s2_60m"][..., None].repeat(2, axis=-1)
    return {name: tf.constant(values) for name, values in batch.items()} | {"season": tf.linspace(0.0, 1.0, count)}


def test_crop_cuts_one_window_of_neighbouring_pixels_from_all_rasters():
    batch = augment.random_crop(24)(patches_of(60), tf.constant([1, 2]))
    coarse = batch["s2_60m"].numpy()
    assert coarse.shape == (60, 4, 4, 2)
    corners = coarse[:, 0, 0, 0]
    window = 20 * np.arange(4)[:, None] + np.arange(4)  # numbers of a 4 x 4 window that begins at 0
    np.testing.assert_array_equal(coarse, (corners[:, None, None] + window)[..., None].repeat(2, axis=-1))
    for name, n in {"s2_20m": 3, "land_cover_map": 6}.items():
        np.testing.assert_array_equal(batch[name], coarse[..., 0].repeat(n, axis=1).repeat(n, axis=2))
    np.testing.assert_array_equal(batch["season"], np.linspace(0, 1, 60, dtype="float32"))


def test_crop_begins_anywhere_equally_often():
    batch = augment.random_crop(108)(patches_of(900), tf.constant([5, 6]))
    corners = batch["s2_60m"].numpy()[:, 0, 0, 0]
    places, counts = np.unique(corners, return_counts=True)
    np.testing.assert_array_equal(places, [0, 1, 2, 20, 21, 22, 40, 41, 42])
    # Binomial(900, 1/9) has mean 100 and standard deviation 9.4.
    assert counts.min() > 60
    assert counts.max() < 140


def test_crop_of_the_whole_patch_changes_nothing():
    batch = patches_of(3)
    whole = augment.random_crop(120)(batch, tf.constant([1, 2]))
    for name, values in batch.items():
        np.testing.assert_array_equal(whole[name], values)


def test_eager_crop_equals_mapped():
    check_op(lambda batch: augment.random_crop(48)(batch, tf.constant([1, 2])), patches_of(3))


@pytest.mark.parametrize("size", [0, 5, 126, 48.0, None, True, -6])
def test_crop_size_must_fit_the_60_m_grid(size):
    with pytest.raises(InvalidArgumentError, match="`size` must be a multiple of 6 up to 120"):
        augment.random_crop(size)


def test_a_crop_of_a_crop_is_refused_whatever_its_size():
    twice = augment.chain(augment.random_crop(60), augment.random_crop(24))
    with pytest.raises(InvalidArgumentError, match=r"'land_cover_map' of \(60, 60\), not \(120, 120\)"):
        twice({"land_cover_map": patches_of(2)["land_cover_map"]}, tf.constant([1, 2]))


def test_crop_counts_land_cover_anew():
    codes = np.array([10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100], "uint8")
    half = np.full((8, 120, 120), 40, "uint8")
    half[:, :, 60:] = 0  # no data
    half[:, :30] = 80
    batch = {"land_cover_map": tf.constant(half), "land_cover_fractions": tf.ones((8, 11), tf.float64)}
    cropped = augment.random_crop(48)(batch, tf.constant([1, 2]))
    by_hand = [
        [np.count_nonzero(image == code) / 48**2 for code in codes] for image in cropped["land_cover_map"].numpy()
    ]
    np.testing.assert_allclose(cropped["land_cover_fractions"], by_hand, rtol=1e-12)
    assert len(np.unique(cropped["land_cover_fractions"], axis=0)) > 1
    with pytest.raises(InvalidArgumentError, match="add the target `land_cover_map`"):
        augment.random_crop(48)({"land_cover_fractions": batch["land_cover_fractions"]}, tf.constant([1, 2]))


def test_chain_applies_in_order_with_a_seed_each():
    batch, seed = patches_of(40), tf.constant([3, 4])
    both = augment.chain(augment.random_crop(48), augment.random_crop(48))
    with pytest.raises(InvalidArgumentError, match=r"whole patches as stored.*'s2_60m' of \(8, 8\), not \(20, 20\)"):
        both(batch, seed)  # the second crop meets no whole patch: it did run after the first
    seeds = []
    record = lambda batch, seed: seeds.append(tuple(seed.numpy())) or batch  # noqa: E731
    augment.chain(record, record)(batch, seed)
    assert len(set(seeds)) == 2
    moved = augment.chain(augment.random_crop(48), augment.dihedral())(batch, seed)["land_cover_map"].numpy()
    corners = np.sort(moved[:, [0, 0, -1, -1], [0, -1, 0, -1]], axis=1)
    np.testing.assert_array_equal(corners - corners[:, :1], np.tile([0, 7, 140, 147], (40, 1)))
