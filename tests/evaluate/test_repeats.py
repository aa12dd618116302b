"""Comparisons over several trainings: equal to `compare` where trainings are equal, honest where they are not."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from eokeras import evaluate
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.efficiency import LabelEfficiency
from eokeras.evaluate.intervals import tail
from eokeras.evaluate.repeats import by_group, repeat_differences
from tests.evaluate.cases import hand_scores


def errors(name, values, **others):
    return hand_scores(name, season=values, **others)


def test_equal_trainings_give_what_one_gives():
    random = np.random.default_rng(0)
    first, second = (hand_scores(name, climate_zone=random.random(20) > 0.4) for name in ("a", "b"))
    one, several = evaluate.compare(first, second), evaluate.compare_repeats([first] * 5, [second] * 5)
    for found, expected in zip(several.differences, one.differences, strict=True):
        np.testing.assert_allclose(
            dataclasses.astuple(found.estimate), dataclasses.astuple(expected.estimate), atol=1e-12
        )
    assert (several.repeats, several.to_dict()["repeats"]) == (5, 5)
    assert "Means over 5 trainings of each; intervals resample groups, then trainings." in str(several)


def test_intervals_equal_a_slow_loop():
    random = np.random.default_rng(1)
    tables = random.random((2, 3, 12))  # two methods, three trainings, twelve dates of one patch
    found = evaluate.compare_repeats(*([errors("x", row) for row in side] for side in tables), seed=7, resamples=50)
    by_date = np.random.default_rng(7).multinomial(12, np.full(12, 1 / 12), size=50)
    by_training = np.random.default_rng((7, 1)).multinomial(3, np.full(3, 1 / 3), size=50)
    stretch = np.sqrt(3 / 2) * stats.t.ppf(0.975, 2) / (np.sqrt(12 / 11) * stats.t.ppf(0.975, 11))
    draws = []
    for dates, trainings in zip(by_date, by_training, strict=True):
        total = 0.0
        for training, times in enumerate(trainings):
            weight = 1 / 3 + stretch * (times / 3 - 1 / 3)
            for date, count in enumerate(dates):
                total += weight * count * (tables[0, training, date] - tables[1, training, date]) / 12
        draws.append(total)
    estimate = found["season", "mae"].estimate
    assert estimate.value == pytest.approx((tables[0] - tables[1]).mean())
    share = tail(12)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(draws, [share, 1 - share])))


@pytest.mark.parametrize(("trainings", "groups", "by_date"), [(5, 40, 0.02), (5, 40, 0.1), (5, 20, 0.3), (2, 20, 0.1)])
def test_the_interval_holds_the_difference_of_the_methods_where_one_training_does_not(trainings, groups, by_date):
    # Methods differ by 0.1; every training adds luck of its own, every date is harder or easier for one of them.
    random, covered = np.random.default_rng(2), {"several": 0, "one": 0}
    for _ in range(150):
        dates = random.normal(0, by_date, groups)
        lifts = ((0.1, dates), (0, np.zeros(groups)))
        sides = [[5 + lift + random.normal(0, 0.1) + each for _ in range(trainings)] for lift, each in lifts]
        first, second = ([errors("x", values) for values in side] for side in sides)
        several = evaluate.compare_repeats(first, second, resamples=200)["season", "mae"].estimate
        one = evaluate.compare(first[0], second[0], resamples=200)["season", "mae"].estimate
        covered["several"] += several.low <= 0.1 <= several.high
        covered["one"] += one.low <= 0.1 <= one.high
    assert covered["several"] / 150 > 0.92  # 0.95, less 1.7 standard errors of 150 runs
    assert covered["one"] / 150 < 0.8


def test_trainings_are_paired_whatever_the_order_of_the_patches():
    random = np.random.default_rng(3)
    first, second = ([errors(name, random.random(12)) for _ in range(3)] for name in ("a", "b"))
    turned = [_reversed(scores) for scores in second]
    assert evaluate.compare_repeats(first, turned).differences == evaluate.compare_repeats(first, second).differences


def _reversed(scores):
    task = scores.tasks["season"]
    turned = dataclasses.replace(task, statistics=task.statistics[::-1], group_names=task.group_names[::-1])
    return dataclasses.replace(scores, tasks={"season": turned}, patch_ids=scores.patch_ids[::-1])


def test_sums_by_group_tell_the_same():
    random = np.random.default_rng(4)
    names = {"climate_zone": [f"tile {index % 11}" for index in range(44)]}
    values = random.random((2, 3, 44)) > 0.4
    sides = [
        [hand_scores("x", groups=names, climate_zone=row).tasks["climate_zone"] for row in side] for side in values
    ]
    small = [[by_group(score) for score in side] for side in sides]
    assert small[0][0].statistics.shape[0] == 11
    for found, expected in zip(repeat_differences(*small), repeat_differences(*sides), strict=True):
        np.testing.assert_allclose(
            dataclasses.astuple(found.estimate), dataclasses.astuple(expected.estimate), atol=1e-12
        )


def test_few_trainings_are_an_illustration():
    first, second = ([errors(name, [0.1 * index] * 12) for index in range(4)] for name in ("a", "b"))
    assert "4 of at least 5 trainings: illustration, not evidence." in str(evaluate.compare_repeats(first, second))


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ([errors("a", [0.1] * 12)], [errors("b", [0.1] * 12)], "two or more. Received: 1 and 1"),
        ([errors("a", [0.1] * 12)] * 3, [errors("b", [0.1] * 12)] * 2, "Received: 3 and 2"),
        ([errors("a", [0.1] * 12)] * 2, [errors("b", [0.1] * 11)] * 2, "scores of the same patches"),
        ([errors("a", [0.1] * 12), errors("a", [0.1] * 11)], [errors("b", [0.1] * 12)] * 2, "others"),
        ([errors("a", [0.1] * 12)] * 2, [hand_scores("b", land_cover=[1.0] * 12)] * 2, "must share a target"),
    ],
)
def test_bad_sides_name_the_rule(first, second, words):
    with pytest.raises(InvalidArgumentError, match=words):
        evaluate.compare_repeats(first, second)


def test_label_efficiency_compares_over_groups_too():
    random = np.random.default_rng(5)
    values = random.random((2, 5, 2, 12)) > 0.5
    scores = {
        name: {
            (row, column): by_group(hand_scores(name, climate_zone=values[side, row, column]).tasks["climate_zone"])
            for row in range(5)
            for column in range(2)
        }
        for side, name in enumerate(("pretrained", "scratch"))
    }
    means = {name: values[side].mean(axis=-1) for side, name in enumerate(scores)}
    found = LabelEfficiency("climate_zone", "accuracy", (0.1, 1.0), means, "spread", False, True, scores)
    for column, comparison in enumerate(found.group_difference("pretrained", "scratch")):
        sides = [
            [hand_scores(name, climate_zone=values[side, row, column]) for row in range(5)]
            for side, name in enumerate(scores)
        ]
        expected = evaluate.compare_repeats(*sides)["climate_zone", "accuracy"]
        assert comparison.differences[0].estimate == expected.estimate
        assert expected.estimate.value == pytest.approx(values[0, :, column].mean() - values[1, :, column].mean())
    one = dataclasses.replace(found, values={name: table[:1] for name, table in means.items()})
    with pytest.raises(InvalidArgumentError, match=r"two replicates or more.*Received: 1"):
        one.group_difference("pretrained", "scratch")
    with pytest.raises(InvalidArgumentError, match="need the scores of one test set"):
        dataclasses.replace(found, scores={}).group_difference("pretrained", "scratch")
