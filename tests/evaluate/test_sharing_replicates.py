"""Relative changes over replicates, by hand and against SciPy's paired t interval."""

import json

import numpy as np
import pytest
from scipy import stats

from eokeras import evaluate
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.comparison import EXPLORATORY
from tests.evaluate.cases import hand_scores
from tests.evaluate.test_sharing import both, cost, twins

RUNS = [
    {"climate_zone": (0.66, 0.60), "season": (0.09, 0.10)},  # 10 % and 10 %
    {"climate_zone": (0.60, 0.60), "season": (0.08, 0.10)},  # 0 and 20 %
    {"climate_zone": (0.54, 0.60), "season": (0.10, 0.10)},  # -10 % and 0
    {"climate_zone": (0.63, 0.60), "season": (0.07, 0.10)},  # 5 % and 30 %
    {"climate_zone": (0.57, 0.60), "season": (0.12, 0.15)},  # -5 % and 20 %
]
"""Means of the two: 10, 10, -5, 17.5 and 7.5 %."""


@pytest.fixture(scope="module")
def found():
    return evaluate.sharing_over_replicates(RUNS)


@pytest.mark.parametrize(
    ("task", "changes"),
    [("climate_zone", [0.1, 0, -0.1, 0.05, -0.05]), ("season", [0.1, 0.2, 0, 0.3, 0.2]),
     ("mean", [0.1, 0.1, -0.05, 0.175, 0.075])],
)  # fmt: skip
def test_changes_and_their_mean_have_t_intervals(found, task, changes):
    item = found.mean if task == "mean" else found.changes[task]
    mean, error = np.mean(changes), np.std(changes, ddof=1) / 5**0.5
    assert item.mean == pytest.approx(mean)
    assert (item.low, item.high) == pytest.approx(stats.t.interval(0.95, 4, mean, error))
    assert item.smallest_difference == pytest.approx(2.776445 * error, rel=1e-5)
    assert item.smallest_difference_power_80 == pytest.approx((2.776445 + stats.t.ppf(0.8, 4)) * error, rel=1e-5)
    assert item.replicates == 5


def test_differences_stay_in_the_unit_of_the_metric(found):
    expected = stats.ttest_rel([0.09, 0.08, 0.10, 0.07, 0.12], [0.10, 0.10, 0.10, 0.10, 0.15]).confidence_interval()
    item = found.differences["season"]
    assert (item.low, item.high) == pytest.approx(tuple(expected))
    assert item.metric == "mae"
    assert item.less_is_better


def test_the_table_says_what_holds_and_what_the_design_can_show(found):
    rows = {row[0]: row for row in found.rows()}
    assert list(rows) == ["climate_zone", "season", "mean over tasks"]
    assert rows["season"][2:5] == ("0.092", "0.110", "-0.018")
    assert rows["season"][-1] == "excludes zero: multitask is better"
    smallest = 100 * found.changes["climate_zone"].smallest_difference
    assert rows["climate_zone"][-1].startswith(f"does not exclude zero: shows {smallest:.1f} % or more")
    assert EXPLORATORY in found.sentences
    worse = evaluate.sharing_over_replicates([{"season": (0.12 + step / 1000, 0.10)} for step in range(5)])
    assert worse.rows()[0][-1] == "excludes zero: single-task is better"
    assert worse.mean is None
    assert EXPLORATORY not in worse.sentences


def test_few_replicates_are_an_illustration():
    found = evaluate.sharing_over_replicates(RUNS[:3], simulated=True)
    assert {row[-1] for row in found.rows()} == {"illustration, not evidence"}
    assert "3 of at least 5 replicates: illustration, not evidence." in found.sentences
    assert found.sentences[0] == evaluate.SIMULATED
    assert evaluate.sharing_over_replicates(RUNS[:1]).mean.low is None


def test_comparisons_are_runs_too():
    costs = cost(1000), {task: cost(800) for task in twins()}
    runs = [evaluate.compare_sharing(both(simulated=True), twins(simulated=True), costs=costs)] * 5
    found = evaluate.sharing_over_replicates(runs)
    assert {task: item.mean for task, item in found.changes.items()} == pytest.approx(
        {"climate_zone": -0.1, "land_cover_map": 9 / 11 * 5 / 3 - 1, "season": 0.1}
    )
    assert (found.multitask, found.reference, found.simulated) == ("multitask", "single-task", True)
    assert found.costs is runs[0].costs
    assert "trainable weights" in str(found)


def test_a_replicate_without_a_change_leaves_the_task_and_the_mean_without_one():
    runs = [
        *RUNS,
        {"climate_zone": (0.6, 0.6), "season": (0.1, 0.0)},
        {"climate_zone": (0.6, 0.6), "season": (None, 0.1)},
    ]
    found = evaluate.sharing_over_replicates(runs)
    assert list(found.changes) == ["climate_zone"]
    assert found.mean is None
    sentence = "season: no relative change, nor a mean over tasks, since in 2 of 7 replicates a score"
    assert any(told.startswith(sentence) for told in found.sentences)
    row = next(row for row in found.rows() if row[0] == "season")
    assert row[4:] == ("-", "", "-", "7", "none")
    content = found.to_dict()
    assert content["tasks"]["season"]["values"][6] == [None, 0.1]
    assert content["tasks"]["season"]["difference"] is None


def test_the_table_survives_json(found, tmp_path):
    told = json.loads(evaluate.write_scores(found, tmp_path / "sharing.json").read_text())
    assert told["tasks"]["season"]["relative_change"]["mean"] == pytest.approx(0.16)
    assert told["tasks"]["season"]["main_metric"] == "mae"
    assert told["mean_relative_change"]["mean"] == pytest.approx(0.08)
    assert told["tasks"]["climate_zone"]["values"][0] == [0.66, 0.6]


def named(name):
    return evaluate.compare_sharing(
        hand_scores(name, season=[0.1] * 12), {"season": hand_scores("season", season=[0.2] * 12)}
    )


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([], "`runs` must hold at least one replicate. Received: none"),
        ([{"season": (0.1, 0.1)}, {"climate_zone": (0.1, 0.1)}], r"same targets.*\['season'\] and \['climate_zone'\]"),
        ([{}], "`runs` must hold the same targets"),
        ([0.1], "`runs` must hold the same targets.* and 0.1"),
        ([{"season": (0.1, 0.1, 0.1)}], r"`runs` must hold a pair of scores for 'season'. Received: \(0.1, 0.1, 0.1\)"),
        ([{"seasons": (0.1, 0.1)}], "`target` must be one of .*Received: target='seasons'"),
        ([named("one"), named("two")], "`runs` must compare the same two models"),
    ],
)
def test_bad_runs_name_the_rule(runs, words):
    with pytest.raises(InvalidArgumentError, match=words):
        evaluate.sharing_over_replicates(runs)
