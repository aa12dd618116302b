"""Views of a batch, and augmentation of some patches only; views through the whole pipeline."""

import numpy as np
import pytest
import tensorflow as tf

import eokeras as eo
from eokeras import augment
from eokeras.ben_ge.input_names import split_view, view_count, view_name
from eokeras.errors import InvalidArgumentError
from tests.checks import check_op

SEED = tf.constant([7, 8])


def test_names_of_views():
    assert view_name("s1_mask", 2) == "s1_mask_view_2"
    assert split_view("s2_10m_view_12") == ("s2_10m", 12)
    assert [split_view(name) for name in ("s2", "s2_view_0", "_view_1", "s2_view_x")] == [
        ("s2", None), ("s2_view_0", None), ("_view_1", None), ("s2_view_x", None)
    ]  # fmt: skip
    assert view_count(["s2_view_1", "s2_view_2", "season"]) == 2


def test_views_differ_and_each_has_one_geometry():
    cells = np.tile(np.arange(16).reshape(4, 4), (60, 1, 1))
    batch = {"s2_20m": tf.constant(cells[..., None], tf.uint16), "land_cover_map": tf.constant(cells, tf.uint8)}
    made = augment.views(augment.dihedral(), augment.dihedral(), augment.dihedral())(batch, SEED)
    assert view_count(made) == 3
    for number in (1, 2, 3):
        image, classes = (made[view_name(name, number)].numpy() for name in batch)
        np.testing.assert_array_equal(image[..., 0], classes)
    same = (made["s2_20m_view_1"].numpy() == made["s2_20m_view_2"].numpy()).all(axis=(1, 2, 3)).mean()
    assert 0.02 < same < 0.3  # one in eight
    check_op(lambda batch: augment.views(augment.dihedral(), augment.dihedral())(batch, SEED), batch)


@pytest.mark.parametrize("wrong", [(), (augment.dihedral(),), (augment.dihedral(), None)])
def test_views_need_two_functions(wrong):
    with pytest.raises(InvalidArgumentError, match="`augmentations` must be two functions"):
        augment.views(*wrong)


def test_views_of_views_are_refused():
    two = augment.views(augment.dihedral(), augment.dihedral())
    with pytest.raises(InvalidArgumentError, match="no views yet"):
        augment.chain(two, two)({"s1": tf.zeros((1, 2, 2, 2))}, SEED)


def test_sometimes_takes_whole_patches_of_all_rasters():
    batch = {"s1": tf.zeros((2000, 3, 3, 2)), "another": tf.zeros((2000, 2, 2, 1)), "season": tf.zeros(2000)}

    def add(batch, seed):
        return batch | {"s1": batch["s1"] + 1, "another": batch["another"] + 1}

    made = augment.sometimes(0.3, add)(batch, SEED)
    chosen = made["s1"].numpy()[:, 0, 0, 0]
    np.testing.assert_array_equal(made["s1"], np.broadcast_to(chosen[:, None, None, None], (2000, 3, 3, 2)))
    np.testing.assert_array_equal(made["another"][:, 1, 1, 0], chosen)
    assert chosen.mean() == pytest.approx(0.3, abs=0.04)
    assert made["season"] is batch["season"]
    with pytest.raises(InvalidArgumentError, match="must keep shapes"):
        augment.sometimes(0.5, augment.random_resized_crop(2))({"s1": tf.zeros((1, 4, 4, 2))}, SEED)
    for wrong in (0, 1.1, True, None):
        with pytest.raises(InvalidArgumentError, match="`probability` must be"):
            augment.sometimes(wrong, add)


def test_views_through_the_pipeline(known_records):
    """Each view is finished as a batch of its own; targets and metadata are those of the first."""
    first = augment.chain(augment.random_resized_crop(60), augment.reflectance_jitter(), augment.backscatter_jitter())
    second = augment.chain(augment.random_resized_crop(48), augment.drop_bands(0.5), augment.speckle())
    options = {
        "targets": ("land_cover_map", "climate_zone"), "masks": True, "presence": True, "batch_size": 3, "seed": 0
    }  # fmt: skip
    read = lambda **more: eo.make_dataset(known_records.path, "train", ("s2", "s1", "era5"), **options, **more)  # noqa: E731
    dataset = read(augment=augment.views(first, second), metadata=("patch_id",))
    inputs, targets, metadata = next(iter(dataset))
    names = ("s2", "s1", "era5", "s1_mask", "s2_present", "s1_present", "era5_present")
    assert set(inputs) == {view_name(name, number) for name in names for number in (1, 2)}
    assert inputs["s2_view_1"].shape == (3, 60, 60, 12)
    assert inputs["s1_view_2"].shape == (3, 48, 48, 2)
    assert all(np.isfinite(values).all() for values in inputs.values())
    assert targets["land_cover_map"].shape == (3, 60, 60)
    assert list(metadata) == ["patch_id"]
    np.testing.assert_array_equal(inputs["era5_view_1"], inputs["era5_view_2"])

    # A view that changes nothing is the batch without views.
    nothing = lambda batch, seed: batch  # noqa: E731
    two = next(iter(read(augment=augment.views(nothing, nothing))))
    plain = next(iter(read()))
    for name in names:
        np.testing.assert_array_equal(two[0][f"{name}_view_2"], plain[0][name])
    for name in targets:
        np.testing.assert_array_equal(two[1][name], plain[1][name])
