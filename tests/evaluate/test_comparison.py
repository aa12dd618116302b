"""Paired comparisons over groups and over replicates."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from eokeras import evaluate
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.patch_statistics import METRICS
from tests.evaluate.cases import COVERS, SHAPES, make_arrays, make_dataset, make_schema, pass_through


@pytest.fixture(scope="module")
def model():
    return pass_through(SHAPES)


@pytest.fixture(scope="module")
def arrays():
    return make_arrays()


@pytest.fixture(scope="module")
def worse(arrays):
    """The same patches with noisier maps."""
    inputs, targets, metadata = arrays
    noise = np.random.default_rng(5).normal(0, 0.6, inputs["map_logits"].shape).astype("float32")
    return {**inputs, "map_logits": inputs["map_logits"] + noise}, targets, metadata


@pytest.fixture(scope="module")
def first(model, arrays):
    return evaluate.score(model, make_dataset(arrays), make_schema(), name="clean")


@pytest.fixture(scope="module")
def second(model, worse):
    return evaluate.score(model, make_dataset(worse), make_schema(), name="noisy")


def test_a_difference_is_the_difference_of_the_scores(first, second):
    difference = evaluate.compare(first, second)["land_cover_map", "mean_iou"]
    values = [side.tasks["land_cover_map"].estimates["mean_iou"].value for side in (first, second)]
    assert difference.estimate.value == pytest.approx(values[0] - values[1])
    assert difference.excludes_zero
    assert difference.first_is_better
    assert "difference excludes zero: clean is better" in str(evaluate.compare(first, second))


def test_the_interval_of_the_difference_equals_a_slow_paired_bootstrap(first, second, arrays, worse):
    _, targets, metadata = arrays
    labelled = targets["land_cover_map"] != 255
    right = [(side[0]["map_logits"].argmax(-1) == targets["land_cover_map"]) & labelled for side in (arrays, worse)]
    names = np.unique(metadata["tile"])
    random = np.random.default_rng(11)
    draws = []
    for _ in range(1500):
        patches = np.concatenate(
            [np.flatnonzero(metadata["tile"] == name) for name in random.choice(names, len(names))]
        )
        draws.append((right[0][patches].sum() - right[1][patches].sum()) / labelled[patches].sum())
    share = stats.norm.cdf(-np.sqrt(15 / 14) * stats.t.ppf(0.975, 14))
    low, high = np.quantile(draws, [share, 1 - share])
    found = evaluate.compare(first, second)["land_cover_map", "pixel_accuracy"].estimate
    assert found.low == pytest.approx(low, abs=0.15 * (high - low))
    assert found.high == pytest.approx(high, abs=0.15 * (high - low))


def test_pairing_makes_the_interval_narrow():
    """Two predictors that share what makes a tile hard differ by a constant 0.02 of the season."""
    _, targets, metadata = make_arrays()
    tile_error = np.random.default_rng(2).random(15)[np.arange(90) % 15].astype("float32")

    def day(shift):
        return (np.nan_to_num(targets["season"]) + tile_error + shift)[:, None].astype("float32")

    model, season = pass_through({"season": (1,)}), {"season": targets["season"]}
    metadata = {**metadata, "date": metadata["tile"]}
    sides = [
        evaluate.score(model, make_dataset(({"day": day(shift)}, season, metadata)), make_schema(), name=name)
        for shift, name in ((0.0, "nearer"), (0.02, "farther"))
    ]
    intervals = [side.tasks["season"].estimates["mae"] for side in sides]
    assert intervals[0].high > intervals[1].low  # the separate intervals overlap
    difference = evaluate.compare(*sides)["season", "mae"]
    assert difference.estimate.value == pytest.approx(-0.02, abs=1e-6)
    assert difference.excludes_zero
    assert difference.first_is_better  # less error is better


def test_equal_predictors_do_not_differ(first):
    comparison = evaluate.compare(first, dataclasses.replace(first, name="again"))
    assert not any(item.excludes_zero for item in comparison.differences)
    assert "difference excludes zero" not in str(comparison)
    assert "does not exclude zero: these groups show about 0.000 or more" in str(comparison)


def test_the_order_of_the_patches_does_not_matter(model, first, second, worse):
    backwards = tuple({key: values[::-1] for key, values in part.items()} for part in worse)
    turned = evaluate.score(model, make_dataset(backwards), make_schema(), name="noisy")
    assert evaluate.compare(first, turned).to_dict() == evaluate.compare(first, second).to_dict()


def test_too_few_groups_are_an_illustration(model):
    sides = [
        evaluate.score(model, make_dataset(make_arrays(tiles=4)), make_schema(), name=name) for name in ("one", "two")
    ]
    comparison = evaluate.compare(*sides)
    assert comparison["land_cover_map", "mean_iou"].estimate.low is None
    assert "land_cover_map: too few groups (4): illustration, not evidence." in str(comparison)


def test_other_patches_are_an_error(model, first):
    fewer = evaluate.score(model, make_dataset(make_arrays(patches=80)), make_schema())
    with pytest.raises(InvalidArgumentError, match="same patches"):
        evaluate.compare(first, fewer)


def test_other_labels_are_an_error(model, first, arrays):
    inputs, targets, metadata = arrays
    targets = {**targets, "land_cover_map": (targets["land_cover_map"] + 1) % COVERS}
    other = evaluate.score(model, make_dataset((inputs, targets, metadata)), make_schema())
    with pytest.raises(InvalidArgumentError, match="same labels"):
        evaluate.compare(first, other)


def test_scores_without_patch_ids_cannot_be_paired(first):
    with pytest.raises(InvalidArgumentError, match="must carry patch ids"):
        evaluate.compare(first, dataclasses.replace(first, patch_ids=None))


def test_simulated_and_real_scores_are_not_compared(first):
    with pytest.raises(InvalidArgumentError, match="simulated and real"):
        evaluate.compare(first, dataclasses.replace(first, simulated=True))


def test_replicates_give_the_t_interval():
    first, second = [0.52, 0.55, 0.50, 0.54, 0.53], [0.48, 0.50, 0.49, 0.50, 0.47]
    found = evaluate.paired_over_replicates(first, second)
    # differences 0.04 0.05 0.01 0.04 0.06: mean 0.04, s = 0.0187083, t(4) = 2.776445
    half = 2.776445 * 0.0187083 / 5**0.5
    assert found.mean == pytest.approx(0.04)
    assert (found.low, found.high) == pytest.approx((0.04 - half, 0.04 + half), abs=1e-6)
    assert found.smallest_difference == pytest.approx(half, abs=1e-6)
    assert found.smallest_difference_power_80 > found.smallest_difference
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    assert found.excludes_zero
    assert not found.is_illustration
    assert "difference excludes zero" in str(found)


def test_few_replicates_are_an_illustration():
    assert "illustration, not evidence" in str(evaluate.paired_over_replicates([0.5, 0.6], [0.4, 0.5]))
    single = evaluate.paired_over_replicates([0.5], [0.4])
    assert single.low is None
    assert not single.excludes_zero
    assert "illustration" in str(single)


@pytest.mark.parametrize(("first", "second"), [([0.1, 0.2], [0.1]), ([], []), ([float("nan")], [0.1])])
def test_odd_replicates_are_an_error(first, second):
    with pytest.raises(InvalidArgumentError, match="eplicate"):
        evaluate.paired_over_replicates(first, second)


def test_a_replicate_metric_is_a_known_one_or_none():
    with pytest.raises(
        InvalidArgumentError, match=r"`metric` must be one of \['accuracy', .*Received: metric='season MAE'"
    ):
        evaluate.paired_over_replicates([0.1, 0.2], [0.2, 0.3], metric="season MAE")
    less = {metric: evaluate.paired_over_replicates([0.1], [0.2], metric=metric).less_is_better for metric in METRICS}
    assert {metric for metric, value in less.items() if value} == {"mae"}
    assert evaluate.paired_over_replicates([0.1], [0.2]).less_is_better is None


def test_every_metric_is_known(first):
    """Class, map and number; fractions have the metric of numbers, labels the macro-F1 of classes."""
    assert {name for score in first.tasks.values() for name in score.estimates} == set(METRICS)


def test_a_metric_without_a_value_has_no_verdict(model, arrays):
    """Where every patch is water, the accuracy without water has no value in any resample."""
    inputs, targets, metadata = arrays
    water = {**targets, "climate_zone": np.zeros(90, "int32")}
    score = evaluate.score(model, make_dataset((inputs, water, metadata)), make_schema(), name="wet")
    comparison = evaluate.compare(score, dataclasses.replace(score, name="again"))
    assert comparison["climate_zone", "accuracy_without_water"].is_illustration
    row = next(row for row in comparison.rows() if row[1] == "accuracy without water")
    assert row[-1] == "illustration, not evidence"
