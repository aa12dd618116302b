"""Calibration against numbers worked out by hand, and the layer against the pipeline's arithmetic."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from eokeras import ops
from eokeras.ben_ge.statistics import TrainingStatistics
from eokeras.calibration import apply, calibration_for
from eokeras.errors import InvalidArgumentError
from eokeras.layers import Calibrate

S1_STATISTICS = {
    "s1": {"count": [4, 4], "mean": [-10.0, -16.0], "std": [4.0, 2.0], "p1": [-24.0, -28.0], "p99": [1.0, -3.0]}
}
BACKSCATTER = np.array([[-14.0, -16.0], [np.nan, np.nan], [-np.inf, -np.inf], [np.inf, np.inf]], "float32")


def test_tutorial_backscatter_by_hand():
    constants = calibration_for("s1", "tutorial", {}, ("VH", "VV"))
    x = np.array([[-25.0, 0.0], [-12.5, -30.0], [np.nan, -np.inf], [np.inf, -5.0]], "float32")
    expected = [[0.0, 1.0], [0.5, 0.0], [0.5, 0.0], [1.0, 0.8]]
    np.testing.assert_allclose(apply(x, constants, np), expected, atol=1e-6)


def test_tutorial_reflectance_clips_to_one():
    constants = calibration_for("s2", "tutorial", {}, ("B04", "B01"))
    x = np.array([[0.0, 10_000.0], [2_500.0, 16_000.0]], "float32")
    np.testing.assert_allclose(apply(x, constants, np, has_missing=False), [[0.0, 1.0], [0.25, 1.0]], atol=1e-6)


def test_standardised_missing_numbers_by_hand():
    constants = calibration_for("s1", "standardise", S1_STATISTICS)
    # NaN -> mean -> 0; -inf -> 1st percentile; +inf -> 99th percentile; nothing is clipped.
    expected = [[-1.0, 0.0], [0.0, 0.0], [-3.5, -6.0], [2.75, 6.5]]
    np.testing.assert_allclose(apply(BACKSCATTER, constants, np), expected, atol=1e-6)


def test_standardise_keeps_numbers_beyond_the_percentiles():
    constants = calibration_for("s1", "standardise", S1_STATISTICS)
    np.testing.assert_allclose(apply(np.float32([[-50.0, -36.0]]), constants, np), [[-10.0, -10.0]], atol=1e-5)


@pytest.mark.parametrize("kind", ["tutorial", "standardise"])
@pytest.mark.parametrize("channels", [("VV", "VH"), ("VH", "VV"), ("VH",)])
def test_layer_and_pipeline_agree(kind, channels):
    constants = calibration_for("s1", kind, S1_STATISTICS, channels)
    stored = np.random.default_rng(0).normal(-12, 8, (2, 3, 3, 2)).astype("float32")
    stored[0, 0, 0], stored[0, 1, 1], stored[1, 2, 2] = np.nan, -np.inf, np.inf
    from_pipeline = ops.calibrate("s1", channels, constants)({"s1": tf.constant(stored)})["s1"].numpy()
    from_layer = keras.ops.convert_to_numpy(Calibrate(constants, channels=("VV", "VH"))(stored))
    assert from_layer.shape == (2, 3, 3, len(channels))
    np.testing.assert_allclose(from_layer, from_pipeline, atol=1e-6)
    assert np.isfinite(from_layer).all()


def test_heights_that_are_missing_become_the_mean_of_training():
    """-32768 in a DEM is no height: in the pipeline, in the layer of an exported model, and in the statistics."""
    patches = np.array([[0, 100], [-32768, 200]], "int16").reshape(2, 1, 2, 1)
    statistics = TrainingStatistics()
    for patch in patches:
        statistics.add({"dem": patch})
    found = statistics.result()
    # 0, 100 and 200 m: mean 100, standard deviation sqrt(20,000 / 3)
    assert (found["dem"]["count"], found["dem"]["mean"]) == ([3], [pytest.approx(100)])
    assert found["dem"]["std"] == [pytest.approx((20_000 / 3) ** 0.5)]
    unit = 100 / (20_000 / 3) ** 0.5
    expected = np.array([-unit, 0, 0, unit]).reshape(2, 1, 2, 1)
    constants = calibration_for("dem", "standardise", found)
    from_pipeline = ops.calibrate("dem", ("elevation",), constants)({"dem": tf.constant(patches)})["dem"].numpy()
    layer = Calibrate.from_config(Calibrate(constants, channels=("elevation",)).get_config())
    np.testing.assert_allclose(from_pipeline, expected, atol=1e-6)
    np.testing.assert_allclose(layer(patches.astype("float32")), expected, atol=1e-6)
    # tutorial: -100 .. 4900 m to 0 .. 1, what is missing to the middle
    middle = apply(patches.astype("float32"), calibration_for("dem", "tutorial", {}), np)
    np.testing.assert_allclose(middle.ravel(), [0.02, 0.04, 0.5, 0.06], atol=1e-6)


def test_layer_survives_its_configuration():
    layer = Calibrate(calibration_for("s1", "standardise", S1_STATISTICS, ("VH",)), channels=("VV", "VH"))
    again = Calibrate.from_config(layer.get_config())
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(again(BACKSCATTER)), keras.ops.convert_to_numpy(layer(BACKSCATTER))
    )


def test_layer_refuses_channels_it_does_not_get():
    with pytest.raises(InvalidArgumentError, match="VV"):
        Calibrate(calibration_for("s1", "tutorial", {}, ("VV",)), channels=("VH",))


def test_standardise_needs_training_patches():
    with pytest.raises(InvalidArgumentError, match="training split"):
        calibration_for("s1", "standardise", {})


def test_unknown_kind_lists_the_valid_ones():
    with pytest.raises(InvalidArgumentError, match=r"\['standardise', 'tutorial'\]"):
        calibration_for("s1", "minmax", {})
