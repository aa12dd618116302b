"""A multitask model against its twins, in numbers small enough to work out by hand."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

import eokeras as eo
from eokeras import evaluate, models
from eokeras.ben_ge.schema import TARGETS
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.comparison import EXPLORATORY
from eokeras.evaluate.patch_statistics import MAIN_METRICS, metrics
from eokeras.evaluate.sharing_results import THESE_MODELS
from tests.checks import small_encoder
from tests.evaluate.cases import NumpyModel, hand_scores

SEASON = {"multitask": [0.06, 0.12] * 6, "twin": [0.10] * 12}
"""Mean absolute error 0.09 against 0.10: 10 % better."""

ZONE = {"multitask": [1] * 9 + [0] * 3, "twin": [1] * 6 + [0] * 2 + [1] * 4}
"""9 of 12 right against 10 of 12: 10 % worse."""

MAP = {"multitask": [0.9] * 12, "twin": [0.75] * 12}
"""Two classes in equal parts, p of each right: IoU is p / (2 - p), 9 / 11 against 3 / 5: 36.36 % better."""


def both(**options):
    return hand_scores(
        "multitask", climate_zone=ZONE["multitask"], land_cover_map=MAP["multitask"], season=SEASON["multitask"],
        **options,
    )  # fmt: skip


def twins(**options):
    return {
        "climate_zone": hand_scores("zone", climate_zone=ZONE["twin"], **options),
        "land_cover_map": hand_scores("map", land_cover_map=MAP["twin"], **options),
        "season": hand_scores("model", season=SEASON["twin"], **options),
    }


@pytest.fixture(scope="module")
def found():
    return evaluate.compare_sharing(both(), twins())


def draws(groups=12, resamples=1000, seed=0):
    """How often each group is drawn, as the intervals of `compare` draw them."""
    return np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=resamples)


def bounds(values, groups=12):
    share = stats.norm.cdf(-np.sqrt(groups / (groups - 1)) * stats.t.ppf(0.975, groups - 1))
    return np.quantile(values, [share, 1 - share])


def mean_iou(hits, counts):
    """Slow: pixels of class 1 (even patches) and 2 (odd ones), a miss goes to the other class."""
    hits, odd = np.asarray(hits), np.arange(len(hits)) % 2
    scores = []
    for truth in (0, 1):
        mine, others = counts * (odd == truth), counts * (odd != truth)
        union = mine.sum() + (others * (1 - hits)).sum()
        scores.append((mine * hits).sum() / union if union else np.nan)
    return np.nanmean(scores)


# ---- changes -------------------------------------------------------------------------------------------------------


def test_the_relative_change_points_up_where_sharing_is_better(found):
    values = {task: change.estimate.value for task, change in found.changes.items()}
    assert values == pytest.approx({"climate_zone": -0.1, "land_cover_map": 9 / 11 * 5 / 3 - 1, "season": 0.1})
    assert found.mean.estimate.value == pytest.approx((9 / 11 * 5 / 3 - 1) / 3)
    assert found.main_values["season"] == pytest.approx((0.09, 0.10))
    assert [change.metric for change in found.changes.values()] == ["accuracy", "mean_iou", "mae"]


def test_differences_are_those_of_compare(found):
    for task, twin in twins().items():
        expected = evaluate.compare(both(), dataclasses.replace(twin, name="single-task"))
        mine = [item for item in found.comparison.differences if item.task == task]
        assert mine == [item for item in expected.differences if item.task == task]


def test_the_interval_of_the_change_comes_from_the_same_draws_on_both_sides(found):
    errors = np.array(SEASON["multitask"])
    changes = [(0.10 - (count * errors).sum() / 12) / 0.10 for count in draws()]
    assert (found.changes["season"].estimate.low, found.changes["season"].estimate.high) == pytest.approx(
        tuple(bounds(changes))
    )
    accuracies = [(draws() @ np.array(ZONE[side])) / 12 for side in ("multitask", "twin")]
    expected = bounds((accuracies[0] - accuracies[1]) / accuracies[1])
    estimate = found.changes["climate_zone"].estimate
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected))
    assert not found.changes["climate_zone"].excludes_zero
    assert found.changes["land_cover_map"].first_is_better


def test_the_mean_has_no_interval_where_tasks_are_drawn_by_tiles_and_dates(found):
    assert found.mean.estimate.low is None
    assert found.mean.is_illustration
    sentence = "mean over tasks: no interval from one test set, whose tasks are drawn by tiles and dates."
    assert sentence in found.sentences


def test_the_mean_has_an_interval_where_all_tasks_are_drawn_by_the_same_tiles():
    alone = {task: scores for task, scores in twins().items() if task != "season"}
    mean = evaluate.compare_sharing(both(), alone).mean
    changes = []
    for count in draws():
        zone = [(count @ np.array(ZONE[side])) for side in ("multitask", "twin")]
        cover = [mean_iou(MAP[side], count) for side in ("multitask", "twin")]
        changes.append(((zone[0] - zone[1]) / zone[1] + (cover[0] - cover[1]) / cover[1]) / 2)
    assert (mean.estimate.low, mean.estimate.high) == pytest.approx(tuple(bounds(changes)))
    assert (mean.group, mean.groups) == ("tile", 12)


def test_the_mean_has_no_interval_where_tasks_are_labelled_in_other_tiles():
    others = {"land_cover_map": [f"other tile {index}" for index in range(12)]}
    alone = {task: scores for task, scores in twins().items() if task != "season"}
    found = evaluate.compare_sharing(both(groups=others), alone)
    assert found.mean.estimate.low is None
    assert "drawn by unlike tiles." in str(found)


def test_every_kind_has_a_main_metric_and_it_is_the_first_of_its_metrics():
    assert {target.kind for target in TARGETS.values()} <= set(MAIN_METRICS)
    totals = {"class": np.eye(3), "map": np.eye(3), "multilabel": np.ones((3, 3))}
    for target in TARGETS.values():
        given = totals.get(target.kind, np.ones(2))
        assert next(iter(metrics("", target.kind, given, np.ones(3, bool)))) == MAIN_METRICS[target.kind]


# ---- without a value -----------------------------------------------------------------------------------------------


def test_a_reference_of_zero_has_no_relative_change():
    alone = {**twins(), "season": hand_scores("season", season=[0.0] * 12)}
    found = evaluate.compare_sharing(both(), alone)
    assert np.isnan(found.changes["season"].estimate.value)
    assert "season: no relative change, since MAE of single-task is 0." in found.sentences
    assert "mean over tasks: no value, since that of season has none." in found.sentences
    assert found.comparison["season", "mae"].estimate.value == pytest.approx(0.09)
    assert "inf" not in json.dumps(found.to_dict()) + str(found)


def test_a_reference_that_is_zero_in_some_draws_has_no_interval():
    """One tile alone is right, and about a third of the draws lack it."""
    alone = hand_scores("alone", climate_zone=[1] + [0] * 11)
    found = evaluate.compare_sharing(hand_scores("multitask", climate_zone=ZONE["multitask"]), {"climate_zone": alone})
    change = found.changes["climate_zone"]
    assert change.estimate.value == pytest.approx(8.0)
    assert change.estimate.low is None
    assert "climate_zone: no interval of the relative change, since single-task is 0 in some draws of tiles." in str(
        found
    )


def test_a_reference_of_zero_is_told_with_few_groups_too():
    sides = [hand_scores(name, season=[error] * 4) for name, error in (("multitask", 0.1), ("alone", 0.0))]
    found = evaluate.compare_sharing(*sides)
    assert "season: no relative change, since MAE of alone is 0." in found.sentences
    assert "season: too few groups (4): illustration, not evidence." in found.sentences


def test_few_groups_are_an_illustration():
    found = evaluate.compare_sharing(
        hand_scores("multitask", season=[0.1] * 4), {"season": hand_scores("s", season=[0.2] * 4)}
    )
    assert found.changes["season"].estimate.value == pytest.approx(0.5)
    assert found.changes["season"].is_illustration
    assert found.mean is None
    assert str(found).count("too few groups (4): illustration, not evidence.") == 1


# ---- table and JSON ------------------------------------------------------------------------------------------------


def test_the_table_says_all(found):
    text = str(found)
    rows = {(row[0], row[1]): row for row in found.rows()}
    zone = rows["climate_zone", "accuracy"]
    assert zone[2:5] == ("0.750", "0.833", "-0.083")
    assert zone[6].startswith("-10.0 % [")
    assert rows["climate_zone", "macro F1"][6] == ""  # one relative change per task
    assert rows["season", "MAE (less is better)"][8] == "difference does not exclude zero"[11:] + (
        f": these groups show about {found.comparison['season', 'mae'].smallest_difference:.3f} or more"
    )
    assert rows["mean over tasks", ""][6:] == ("+12.1 %", "", "illustration, not evidence")
    assert {EXPLORATORY, THESE_MODELS} <= set(found.sentences)
    assert "climate_zone: macro-F1 is over the 2 of 12 classes" in text
    assert evaluate.SIMULATED not in text
    assert evaluate.SIMULATED in str(evaluate.compare_sharing(both(simulated=True), twins(simulated=True)))


def test_the_table_survives_json(found, tmp_path):
    path = evaluate.write_scores(found, tmp_path / "sharing.json")
    told = json.loads(path.read_text())
    assert told == json.loads(json.dumps(found.to_dict()))
    season = told["tasks"]["season"]
    assert season["main_metric"] == "mae"
    assert season["values"]["mae"] == pytest.approx([0.09, 0.10])
    assert season["relative_change"]["value"] == pytest.approx(0.1)
    assert season["differences"]["mae"]["value"] == pytest.approx(-0.01)
    again = evaluate.sharing_over_replicates([told["main_values"]] * 5)
    assert again.changes["season"].mean == pytest.approx(0.1)


# ---- other models, and costs ---------------------------------------------------------------------------------------


def test_two_multitask_models_are_compared_by_the_tasks_that_both_have():
    dual = hand_scores("dual-task", climate_zone=ZONE["twin"], season=SEASON["twin"])
    found = evaluate.compare_sharing(both(), dual)
    assert list(found.changes) == ["climate_zone", "season"]
    assert (found.multitask, found.reference) == ("multitask", "dual-task")
    assert "land_cover_map: left out, since dual-task lacks it." in found.sentences
    turned = evaluate.compare_sharing(dual, both())
    assert "land_cover_map: left out, since dual-task lacks it." in turned.sentences
    assert turned.changes["climate_zone"].estimate.value == pytest.approx(1 / 9)


def cost(weights, seconds=None, batch_size=32):
    return evaluate.Cost(
        "model", weights, 1000 * weights, 120, 120, batch_size, 4 * weights, 4 * weights, 0, 50 * weights,
        training_step_seconds=seconds, prediction_seconds=seconds and seconds / 4,
    )  # fmt: skip


def test_weights_operations_and_seconds_of_twins_add_up_and_memory_does_not():
    costs = (
        cost(1000, 0.5),
        {"climate_zone": cost(800, 0.4), "land_cover_map": cost(900, 0.4), "season": cost(300, 0.2)},
    )
    found = evaluate.compare_sharing(both(), twins(), costs=costs)
    told = {item.name: (item.first, item.second, item.ratio) for item in found.costs.ratios}
    assert told == {
        "trainable weights": (1000, 2000, 0.5),
        "operations to predict a patch": (1_000_000, 2_000_000, 0.5),
        "time to predict a batch": (0.125, pytest.approx(0.25), pytest.approx(0.5)),
        "time of a training step": (0.5, pytest.approx(1.0), pytest.approx(0.5)),
        "memory of all weights": (4000, 8000, 0.5),
        "memory of a training step": (58 * 1000, 58 * 900, pytest.approx(10 / 9)),
    }
    assert found.costs.rows()[:3] == [
        ("trainable weights", "1,000", "2,000", "0.50"),
        ("operations to predict a patch", "1 MFLOPs", "2 MFLOPs", "0.50"),
        ("time to predict a batch", "0.125 s", "0.250 s", "0.50"),
    ]
    assert "weights, operations and times of the 3 models of single-task add up" in str(found)
    assert found.to_dict()["costs"]["ratios"]["trainable weights"]["ratio"] == 0.5


def test_costs_of_tasks_that_are_not_compared_are_left_out_or_told():
    alone = {task: scores for task, scores in twins().items() if task != "season"}
    costs = cost(1000), {"climate_zone": cost(800), "land_cover_map": cost(900), "season": cost(300)}
    found = evaluate.compare_sharing(both(), alone, costs=costs)
    assert found.costs.ratios[0].second == 1700
    assert "season: left out, since single-task lacks it; the costs of multitask hold its head." in found.sentences
    assert [item.name for item in found.costs.ratios if "time" in item.name] == []  # not measured


def test_a_cost_that_one_side_lacks_has_no_ratio():
    found = evaluate.sharing_costs(cost(1000, 0.5), [cost(800)])
    row = next(row for row in found.rows() if row[0] == "time to predict a batch")
    assert row[1:] == ("0.125 s", "-", "-")
    assert "models" not in str(found.sentences)


def test_one_backbone_serves_all_heads():
    """Twins of one backbone cost what the multitask model costs, and the backbone once more for each further task."""
    heads = {"land_cover_map": models.map_head(11), "season": models.regression_head(), "climate_zone": None}
    heads["climate_zone"] = models.scene_head(12)

    def build(*tasks):
        return models.multitask(small_encoder((24, 24, 5), "s2"), {task: heads[task] for task in tasks})

    together, alone = evaluate.cost(build(*heads)), {task: evaluate.cost(build(task)) for task in heads}
    backbone = evaluate.cost(small_encoder((24, 24, 5), "s2"))
    weights, operations = evaluate.sharing_costs(together, alone).ratios[:2]
    assert weights.second == weights.first + 2 * backbone.trainable_weights
    assert operations.second == operations.first + 2 * backbone.flops


def test_datasets_of_one_target_are_paired_with_those_of_all(known_records):
    """A predictor of class 3 everywhere against one of class 5, on data sets that differ in their targets alone."""

    def scores(name, zone, *tasks):
        answers = {"climate_zone": np.eye(12, dtype="float32")[zone], "season": np.full(1, 0.5, "float32")}
        model = NumpyModel(
            ("s2",), lambda given: {task: np.stack([answers[task]] * len(given["s2"])) for task in tasks}
        )
        data = eo.make_dataset(known_records.path, "train", ("s2",), tasks, batch_size=4)
        return evaluate.score(model, data, eo.load_schema(known_records.path), name=name)

    both = scores("multitask", 3, "climate_zone", "season")
    alone = {task: scores(task, 5, task) for task in ("climate_zone", "season")}
    found = evaluate.compare_sharing(both, alone)
    assert found.changes["season"].estimate.value == 0
    for task in ("climate_zone", "season"):
        metric = found.changes[task].metric
        expected = both.tasks[task].estimates[metric].value, alone[task].tasks[task].estimates[metric].value
        assert found.main_values[task] == expected


# ---- bad arguments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (lambda: both(), r"`multitask` and `reference` must have different names.*Received: 'multitask' twice"),
        (lambda: [both()], "`reference` must be `Scores`, or a dict of target -> `Scores`.*Received: list"),
        (lambda: {"season": 0.1}, "`reference` must be `Scores`, or a dict"),
        (
            lambda: {"season": twins()["climate_zone"]},
            r"`reference\['season'\]` must be scores of 'season'. Received: scores of \['climate_zone'\]",
        ),
        (
            lambda: hand_scores("other", land_cover=ZONE["twin"]),
            r"`multitask` and `reference` must share a target. Received: .*\['land_cover'\]",
        ),
        (lambda: twins(simulated=True), "`multitask` and `reference` must not mix scores of simulated and real"),
        (
            lambda: {"season": hand_scores("s", season=[0.1] * 11)},
            "`multitask` and `reference` must be scores of the same patches",
        ),
        (
            lambda: {"season": hand_scores("s", season=[0.1] * 11 + [np.nan])},
            "`multitask` and `reference` must be scored against the same labels. 'season' differs",
        ),
    ],
)
def test_bad_references_name_the_rule(reference, words):
    with pytest.raises(InvalidArgumentError, match=words):
        evaluate.compare_sharing(both(), reference())


@pytest.mark.parametrize(
    ("costs", "words"),
    [
        (cost(10), "`costs` must be a pair.*Received: Cost"),
        (
            (cost(10), {"season": cost(5)}),
            r"of every target compared. Received: \['season'\], which lack 'climate_zone'",
        ),
        ((cost(10), cost(5)), r"`costs` must hold, second, a dict of target -> `Cost` for twins.*Received: Cost"),
        ((cost(10), [cost(5)] * 3), r"`costs` must hold, second, a dict .*Received: list"),
        ((cost(10), dict.fromkeys(twins(), 5)), r"`costs` must hold a `Cost` .*Received: \['Cost', 'int'"),
        (
            (cost(10), dict.fromkeys(twins(), cost(5, batch_size=16))),
            r"`costs` must be for patches and batches of one size.*\(120, 120, 16\), \(120, 120, 32\)",
        ),
    ],
)
def test_bad_costs_name_the_rule(costs, words):
    with pytest.raises(InvalidArgumentError, match=words):
        evaluate.compare_sharing(both(), twins(), costs=costs)
