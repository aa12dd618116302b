"""Hidden bands and windows: how many, where, with which number."""

import numpy as np
import pytest
import tensorflow as tf

from eokeras.augment import cutout, drop_bands
from eokeras.errors import InvalidArgumentError
from tests.checks import check_op

SEED = tf.constant([5, 6])


def ones(count, size=12):
    return {
        "s2_10m": tf.ones((count, size, size, 4), tf.uint16),
        "s2_60m": tf.ones((count, size // 6, size // 6, 2), tf.uint16),
        "s1": tf.ones((count, size, size, 2)),
        "land_cover_map": tf.ones((count, size, size), tf.uint8),
    }


def test_bands_are_dropped_as_often_as_asked_and_one_stays():
    dropped = drop_bands(0.4)(ones(3000), SEED)
    for name, channels in (("s2_10m", 4), ("s2_60m", 2)):
        image = dropped[name].numpy()
        np.testing.assert_array_equal(image, np.broadcast_to(image[:, :1, :1], image.shape))  # whole bands
        gone = image[:, 0, 0] == 0
        assert not gone.all(axis=1).any()
        assert gone.mean() == pytest.approx(0.4 - 0.4**channels / channels, abs=0.015)
    s1 = dropped["s1"].numpy()[:, 0, 0]
    assert np.isnan(s1).mean() == pytest.approx(0.32, abs=0.02)
    assert np.isnan(drop_bands(0.99, fields=("s1",))(ones(50), SEED)["s1"].numpy()[:, 0, 0]).sum() == 50


def test_dropped_numbers_can_be_training_means():
    statistics = {
        "s2_10m": {"mean": [1.4, 2.6, 300, 70000 / 7]},
        "s2_60m": {"mean": [5, 6]},
        "s1": {"mean": [-9, -16.5]},
    }
    for operation in (drop_bands(0.5, statistics=statistics), cutout(0.5, statistics=statistics)):
        erased = operation(ones(50), SEED)
        for name, expected in (("s2_10m", [1, 3, 300, 10000]), ("s1", [-9, -16.5])):
            for channel, number in enumerate(expected):
                assert set(np.unique(erased[name].numpy()[..., channel])) <= {1, number}
        assert (erased["s1"].numpy() == -16.5).any()
    with pytest.raises(InvalidArgumentError, match=r"means of the 2 channels of 's2_60m'.*Received: 0 means"):
        drop_bands(0.5, statistics={"s2_10m": {"mean": [1, 2, 3, 4]}})(ones(1), SEED)


def test_one_window_is_cut_out_of_all_rasters():
    erased = cutout(0.25)(ones(200, 48), SEED)
    hidden = {name: np.isnan(x.numpy()) if name == "s1" else x.numpy() == 0 for name, x in erased.items()}
    assert not hidden.pop("land_cover_map").any()
    coarse = hidden["s2_60m"][..., 0]
    assert (coarse.sum(axis=(1, 2)) == 4).all()  # 2 x 2 of 8 x 8
    for name, n in (("s2_10m", 6), ("s1", 6), ("s2_60m", 1)):
        expected = coarse.repeat(n, axis=1).repeat(n, axis=2)[..., None]
        np.testing.assert_array_equal(hidden[name], np.broadcast_to(expected, hidden[name].shape))
    rows, columns = (np.argmax(coarse.any(axis=axis), axis=1) for axis in (2, 1))
    counts = np.histogram2d(rows, columns, bins=[np.arange(8), np.arange(8)])[0]
    assert counts.sum() == 200
    assert (counts > 0).mean() > 0.9  # 49 places, 4 patches each
    assert counts.max() < 15


@pytest.mark.parametrize("operation", [drop_bands(0.5), cutout(0.3)])
def test_eager_equals_mapped(operation):
    made = check_op(lambda batch: operation(batch, SEED), ones(3))
    np.testing.assert_array_equal(made["land_cover_map"], 1)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: drop_bands(0), "`rate` must be"),
        (lambda: drop_bands(1), "`rate` must be"),
        (lambda: cutout(1.0), "`edge` must be"),
        (lambda: cutout(fields=()), "`fields` must be"),
        (lambda: cutout()({"dem": tf.zeros((1, 2, 2, 1))}, SEED), "would do nothing here"),
        (lambda: cutout(fields=("codes",))({"codes": tf.ones((1, 2, 2, 1), tf.int32)}, SEED), "no number for missing"),
        (
            lambda: cutout(fields=("a", "b"))({"a": tf.zeros((1, 4, 4, 1)), "b": tf.zeros((1, 6, 6, 1))}, SEED),
            "multiples of the coarsest",
        ),
    ],
)
def test_wrong_arguments_are_named(make, match):
    with pytest.raises(InvalidArgumentError, match=match):
        make()
