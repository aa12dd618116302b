"""Jitter, speckle and blur of stored numbers against hand values, moments and missing numbers."""

import numpy as np
import pytest
import tensorflow as tf

from eokeras.augment import backscatter_jitter, blur, reflectance_jitter, speckle
from eokeras.errors import InvalidArgumentError
from tests.checks import check_op

SEED = tf.constant([3, 4])
MISSING = np.array([np.nan, -np.inf, np.inf], "float32")


def digital_numbers(count=300):
    """Two groups: a ramp of digital numbers, with no data in the first pixel."""
    ramp = np.tile(np.array([0, 1000, 2000, 4000], "uint16")[None, :, None, None], (count, 1, 1, 1))
    return {"s2_10m": tf.constant(ramp.repeat(4, axis=-1)), "s2_20m": tf.constant(ramp.repeat(6, axis=-1))}


def test_reflectance_gain_and_offset_by_hand():
    batch = digital_numbers()
    jittered = {name: x.numpy().astype(float) for name, x in reflectance_jitter(0.2, 0.02)(batch, SEED).items()}
    image = jittered["s2_10m"][:, :, 0]
    gain = (image[:, 3] - image[:, 1]) / 3000  # slope of new against old numbers
    offset = (image[:, 1] - 1000 * gain) * 1e-4
    assert (image[:, 0] == 0).all()  # no data
    np.testing.assert_allclose(image[:, 2], 2000 * gain + offset * 1e4, atol=1.1)
    for values, width in ((gain - 1, 0.2), (offset, 0.02)):  # uniform: standard deviation = width / sqrt(3)
        assert np.abs(values).max() < width * 1.02
        assert values.std() == pytest.approx(width / np.sqrt(3), rel=0.1)
        assert values.mean() == pytest.approx(0, abs=width * 0.12)
    assert abs(np.corrcoef(gain[:, 0], offset[:, 0])[0, 1]) < 0.15
    np.testing.assert_array_equal(image, image[..., :1].repeat(4, axis=-1))  # one draw for all bands ...
    np.testing.assert_array_equal(jittered["s2_20m"][..., 0], jittered["s2_10m"][..., 0])  # ... of all groups


def test_bands_may_draw_for_themselves():
    jittered = reflectance_jitter(0.2, by_band=True)(digital_numbers(3), SEED)
    numbers = np.concatenate([jittered[name].numpy()[:, 3, 0] for name in ("s2_10m", "s2_20m")], axis=1)
    assert all(len(np.unique(row)) == 10 for row in numbers)


def test_reflectance_never_becomes_no_data_nor_overflows():
    batch = {"s2_10m": tf.constant(np.array([0, 1, 65535], "uint16").reshape(1, 3, 1, 1).repeat(200, axis=0))}
    image = reflectance_jitter(0.9, 0.5)(batch, SEED)["s2_10m"].numpy()[:, :, 0, 0]
    assert (image[:, 0] == 0).all()
    assert image[:, 1].min() == 1
    assert image[:, 2].max() == 65535


def test_backscatter_gain_moves_whole_patches_and_keeps_what_is_missing():
    stored = np.full((400, 3, 3, 2), -12.0, "float32")
    stored[:, 0, :, 0] = MISSING
    image = backscatter_jitter(1.5)({"s1": tf.constant(stored)}, SEED)["s1"].numpy()
    np.testing.assert_array_equal(image[:, 0, :, 0], np.tile(MISSING, (400, 1)))
    gain = image[:, 1, 1, 0] + 12
    np.testing.assert_allclose(image[:, 1:] + 12, np.broadcast_to(gain[:, None, None, None], (400, 2, 3, 2)), atol=1e-5)
    assert gain.std() == pytest.approx(1.5 / np.sqrt(3), rel=0.1)
    assert np.abs(gain).max() <= 1.5
    each = backscatter_jitter(1.5, by_channel=True)({"s1": tf.constant(stored)}, SEED)["s1"].numpy()[:, 2, 2]
    assert abs(np.corrcoef(each.T)[0, 1]) < 0.15


@pytest.mark.parametrize("looks", [1.0, 4.0, 20.0])
def test_speckle_has_the_moments_of_its_looks(looks):
    stored = np.full((10, 60, 60, 2), -15.0, "float32")
    stored[0, 0, :3, 0] = MISSING
    image = speckle(looks)({"s1": tf.constant(stored)}, SEED)["s1"].numpy()
    np.testing.assert_array_equal(image[0, 0, :3, 0], MISSING)
    power = 10 ** ((image[1:].astype(float) + 15) / 10)
    assert power.mean() == pytest.approx(1, abs=0.02)
    assert power.var() == pytest.approx(1 / looks, rel=0.05)
    assert abs(np.corrcoef(power[..., 0].ravel(), power[..., 1].ravel())[0, 1]) < 0.03


def test_blur_of_a_point_is_a_gaussian_of_the_same_metres():
    fine, coarse = np.zeros((1, 41, 41, 1), "float32"), np.zeros((1, 21, 21, 1), "uint16")
    fine[0, 20, 20], coarse[0, :] = 1.0, 1
    coarse[0, 10, 10] = 60001
    batch = {"image": tf.constant(fine), "s2_20m": tf.constant(coarse)}
    smooth = blur((20.0, 20.0), fields=("image", "s2_20m"))(batch, SEED)
    image, group = (smooth[name].numpy()[0, :, :, 0].astype(float) for name in ("image", "s2_20m"))
    distance = np.arange(-20, 21)
    gaussian = np.exp(-0.5 * (distance / 2) ** 2)
    gaussian /= gaussian.sum()
    np.testing.assert_allclose(image, np.outer(gaussian, gaussian), atol=1e-6)
    gaussian = np.exp(-0.5 * np.arange(-10, 11) ** 2)
    gaussian /= gaussian.sum()
    np.testing.assert_allclose(group, 1 + 60000 * np.outer(gaussian, gaussian), atol=0.51)


def test_blur_draws_for_every_patch_and_leaves_missing_numbers_out():
    stored = np.full((5, 16, 16, 2), -10.0, "float32")
    stored[:, 3:6, 3:6, 0], stored[:, 8, 8, 1] = np.nan, -np.inf
    stored[:, 12, 12] = 0
    image = blur((5.0, 30.0))({"s1": tf.constant(stored)}, SEED)["s1"].numpy()
    np.testing.assert_array_equal(np.isnan(image), np.isnan(stored))
    np.testing.assert_array_equal(np.isneginf(image), np.isneginf(stored))
    np.testing.assert_allclose(image[:, 4, 2, 0], -10, atol=0.2)  # beside a hole
    assert len(np.unique(image[:, 12, 12, 1])) == 5
    constant = np.full((1, 6, 6, 4), 1234, "uint16")
    np.testing.assert_array_equal(blur()({"s2_10m": tf.constant(constant)}, SEED)["s2_10m"], constant)


def test_backscatter_is_blurred_in_power():
    # A very wide Gaussian averages -10 dB and -20 dB: powers 0.1 and 0.01, mean 0.055, -12.6 dB and not -15.
    image = tf.constant([[[[-10.0]], [[-20.0]]]])
    found = blur((1e5, 1e5))({"s1": tf.reshape(image, (1, 1, 2, 1))}, SEED)["s1"].numpy().ravel()
    np.testing.assert_allclose(found, 10 * np.log10(0.055), atol=1e-3)


@pytest.mark.parametrize("operation", [reflectance_jitter(), backscatter_jitter(), speckle(), blur()])
def test_eager_equals_mapped(operation):
    rng = np.random.default_rng(0)
    s1 = rng.normal(-12, 3, (2, 6, 6, 2)).astype("float32")
    s1[0, 0, 0] = np.nan, -np.inf
    batch = {
        "s1": s1,
        "s2_10m": rng.integers(0, 3000, (2, 6, 6, 4)).astype("uint16"),
        "land_cover_map": rng.integers(0, 100, (2, 6, 6)).astype("uint8"),
        "season": np.zeros(2, "float32"),
    }
    made = check_op(lambda batch: operation(batch, SEED), batch)
    assert list(made) == list(batch)
    np.testing.assert_array_equal(made["land_cover_map"], batch["land_cover_map"])
    changed = {name for name in batch if not np.array_equal(made[name], batch[name], equal_nan=True)}
    assert changed
    assert changed <= {"s1", "s2_10m"}
    first, other = (operation({k: tf.constant(v) for k, v in batch.items()}, tf.constant([3, n])) for n in (4, 5))
    assert any(not np.array_equal(first[name], other[name], equal_nan=True) for name in changed)


def test_what_would_do_nothing_is_refused():
    """An augmenter that changes nothing is the classic way to a contrastive loss that means nothing."""
    only_s1, only_map = {"s1": tf.zeros((1, 2, 2, 2))}, {"land_cover_map": tf.zeros((1, 2, 2))}
    for operation, batch in ((reflectance_jitter(), only_s1), (speckle(), only_map), (blur(), only_map)):
        with pytest.raises(InvalidArgumentError, match="would do nothing here"):
            operation(batch, SEED)
    with pytest.raises(InvalidArgumentError, match="able to change something"):
        reflectance_jitter(0, 0)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: reflectance_jitter(gain=1.0), "`gain` must be below 1"),
        (lambda: reflectance_jitter(gain=-0.1), "`gain` must be a finite number of 0 or more"),
        (lambda: reflectance_jitter(fields="s2_10m"), "`fields` must be a sequence"),
        (lambda: backscatter_jitter(0), "`gain_db` must be"),
        (lambda: speckle(0.5), "`looks` must be"),
        (lambda: blur((0, 1)), "`sigma_m` must be"),
        (lambda: blur((2, 1)), "`sigma_m` must be"),
    ],
)
def test_arguments_out_of_range_are_named(make, match):
    with pytest.raises(InvalidArgumentError, match=match):
        make()


def test_backscatter_must_be_in_decibels():
    with pytest.raises(InvalidArgumentError, match="dB, floating point"):
        speckle(fields=("s2_10m",))({"s2_10m": tf.zeros((1, 2, 2, 4), tf.uint16)}, SEED)
