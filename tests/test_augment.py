"""The dihedral group on batches: all eight elements, one draw for all rasters."""

import numpy as np
import tensorflow as tf

from eokeras import augment
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
