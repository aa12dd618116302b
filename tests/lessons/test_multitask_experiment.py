"""The contestants, the equal times and the tables of the multitask lesson, and the fresh starts of the laboratory."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy import stats

import eokeras as eo

LESSONS = Path(__file__).resolve().parents[2] / "lessons"
METRICS = {"climate_zone": "accuracy", "land_cover_map": "mean_iou", "season": "mae"}
OWN = ("contestants", "experiment", "experiment_controls", "laboratory", "tables")


@pytest.fixture(scope="module")
def lesson():
    """The lesson's experiment with its tables; other lessons have modules of the same names."""
    before = {name: sys.modules.pop(name, None) for name in OWN}
    path = list(sys.path)
    sys.path[:0] = [str(LESSONS / "4_multitask"), str(LESSONS)]
    import experiment
    import experiment_controls

    experiment.controls = experiment_controls
    yield experiment
    sys.path[:] = path
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


def weights(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def test_contestants_differ_in_heads_alone(lesson):
    backbone, zone, cover, season = 208_593, 7 * 12 + 12, 7 * 11 + 11, 7 + 1
    assert weights(lesson.build("plain sum")) == backbone + zone + cover + season
    assert weights(lesson.build("dual")) == backbone + zone + season
    assert weights(lesson.build("lottery")) == backbone + zone + cover + season + cover
    assert weights(lesson.build("season alone")) == backbone + season
    assert weights(lesson.build("stamped season alone")) == backbone + season + 9 * 7 * 1
    assert weights(lesson.build("uncertainty").inner) == weights(lesson.build("plain sum"))


def test_twins_share_the_time_of_the_plain_sum(lesson):
    seconds = {"plain sum": 3.0, "PCGrad": 4.0, "season alone": 2.0}
    steps = lambda *entry: lesson.steps_of(seconds, *entry)  # noqa: E731
    assert steps("100", "plain sum", "equal_time") == steps("100", "lottery", "equal_time") == 640
    assert steps("100", "PCGrad", "equal_time") == 480  # 640 x 3 / 4
    assert steps("100", "season alone", "equal_time") == 320  # a third of 640 x 3 s, at 2 s a step
    assert steps("10", "season alone", "equal_time") == steps("10", "stamped season alone", "equal_time") == 160
    assert steps("10", "season alone", "equal_steps") == 320
    assert steps("100", "stamped season alone", "equal_steps") == 640
    assert lesson.steps_of({"plain sum": 3.0, "PCGrad": 4.1}, "100", "PCGrad", "equal_time") == 470  # 468.3, in stages


def test_lottery_is_a_function_of_the_name(lesson):
    names = np.array(["a", "b", "a"])
    _, targets = sys.modules["contestants"].draw_lottery({}, {"season": 1}, {"patch_id": names})
    drawn = targets["land_cover"].numpy()
    assert drawn[0] == drawn[2]
    assert (drawn >= 0).all()
    assert (drawn < 11).all()
    assert targets["season"] == 1


def test_stamp_is_one_number_per_patch_beside_the_bands(lesson):
    inputs, targets = lesson.controls.stamp({"s2": np.ones((3, 4, 5, 12), "float32")}, {"season": 1})
    band = inputs["s2"].numpy()[..., 12]
    assert inputs["s2"].shape == (3, 4, 5, 13)
    assert targets == {"season": 1}
    assert (band == band[:, :1, :1]).all()
    assert len(np.unique(band)) == 3


def card(zone, iou, error, baselines=(0.3, 0.1, 0.2)):
    """What a run leaves of its scores."""

    def by_task(values):
        return {task: {METRICS[task]: value} for task, value in zip(METRICS, values, strict=True)}

    return {
        "scores": by_task((zone, iou, error)),
        "baselines": {"trivial": by_task(baselines)},
        "information": {"climate_zone": {"s2": 0.9}, "season": {"s2": 0.05}},
    }


def test_scores_are_averaged_over_worlds_before_they_are_compared(lesson):
    found = lesson.averaged([card(0.4, 0.1, 0.2), card(0.6, 0.3, 0.1)])
    assert found == pytest.approx({"climate_zone": 0.5, "land_cover_map": 0.2, "season": 0.15})
    alone = {"scores": {"season": {"mae": 0.1}}}
    assert lesson.averaged([alone, alone]) == pytest.approx({"season": 0.1})


def test_rate_is_chosen_by_relative_change_against_the_best_twins(lesson):
    slow, middle, fast = lesson.LEARNING_RATES
    twins = {"climate_zone": 0.5, "land_cover_map": 0.2, "season": 0.1}
    found = {
        (("100", name, "equal_time"), rate): {task: twins[task]}
        for task, name in lesson.TWINS.items()
        for rate in lesson.LEARNING_RATES
    }
    found[("100", "season alone", "equal_time"), fast] = {"season": 0.05}  # the least error
    shared = ("100", "plain sum", "equal_time")
    # against 0.5, 0.2 and 0.05: 0, 0, -1; +0.2, 0, -1; 0, +1.5, -1
    found |= {(shared, slow): twins, (shared, middle): twins | {"climate_zone": 0.6}}
    found |= {(shared, fast): twins | {"land_cover_map": 0.5}}
    rates, merits = lesson.choose_rates(found)
    assert rates[shared] == fast
    assert rates["100", "season alone", "equal_time"] == fast
    assert merits[shared] == pytest.approx([-1 / 3, -0.8 / 3, 0.5 / 3])
    assert merits["100", "season alone", "equal_time"] == pytest.approx([-1, -1, 0])


@pytest.fixture
def runs(lesson):
    """Five worlds in which the plain sum doubles the twins' mean IoU in one world and halves it in the next."""
    ious = ((0.4, 0.2), (0.2, 0.4), (0.4, 0.2), (0.2, 0.4), (0.4, 0.4))
    found = {}
    for labels in ("100", "10"):
        for name in ("plain sum", "uncertainty", "PCGrad"):
            found[labels, name, "equal_time"] = [card(0.5, shared, 0.1) for shared, _ in ious]
        for name in lesson.TWINS.values():
            for length in ("equal_time", "equal_steps"):
                found[labels, name, length] = [card(0.5, alone, 0.1) for _, alone in ious]
    return found


def test_relative_change_is_not_symmetric_and_the_table_tells(lesson, runs):
    blind = {labels: [card(0, 0, 0)] * 5 for labels in ("100", "10")}
    table = lesson.tables.sharing_table(runs, blind)
    # (1 - 1/2 + 1 - 1/2 + 0) / 5 / 3 tasks either way: no sign is kept
    assert table["primary"]["mean"] == table["primary_swapped"]["mean"] == pytest.approx(1 / 15)
    assert table["verdict"] == "does not exclude zero both ways"
    # Zone (0.5 against 0.3 in all worlds) and map are learned: the same mean over two tasks instead of three
    assert [table["learned"]["10"][task]["learned"] for task in lesson.TASKS] == [True, True, True]
    assert table["primary_learned"]["mean"] == pytest.approx(1 / 15)
    assert table["10"]["plain sum"]["tasks"]["season"]["relative_change"]["mean"] == 0
    assert table["baselines"]["10"] == pytest.approx({"climate_zone": 0.3, "land_cover_map": 0.1, "season": 0.2})


def test_rules_are_one_family_over_budgets(lesson, runs):
    better = [card(0.55 + 0.001 * world, 0.6, 0.05) for world in range(5)]
    runs |= {("100", rule, "equal_time"): better for rule in ("DWA", "random", "GradNorm")}
    table = lesson.tables.rules_table(runs)
    assert {labels: set(found) for labels, found in table.items()} == {
        "100": {"uncertainty", "PCGrad", "DWA", "random", "GradNorm"},
        "10": {"uncertainty", "PCGrad"},
        "control": {"uncertainty", "PCGrad", "DWA", "GradNorm"},
    }
    assert table["control"]["DWA"]["mean_relative_change"]["mean"] == 0  # the control got the same scores
    # p of "DWA" by hand: changes +10 % and more, IoU +50 % or +200 % in turn, error -50 %; t over five worlds
    changes = [(0.1 + 0.002 * world + (0.5, 2, 0.5, 2, 0.5)[world] + 0.5) / 3 for world in range(5)]
    assert table["100"]["DWA"]["mean_relative_change"]["mean"] == pytest.approx(np.mean(changes))
    p = 2 * stats.t.sf(np.mean(changes) / (np.std(changes, ddof=1) / 5**0.5), 4)
    assert table["100"]["DWA"]["holm"] == (p <= 0.05 / 7)  # three rules are alike and the smallest of seven
    assert not table["10"]["PCGrad"]["holm"]


def test_last_weights_are_means_over_the_worlds(lesson):
    tasks = sys.modules["contestants"].TASKS
    logged = [
        {"history": {f"weight_{task}": [1.0, last + place] for place, task in enumerate(tasks)}} for last in (2, 4)
    ]
    found = lesson.tables.weights_table(
        {("10", "DWA", "equal_time"): logged, ("10", "PCGrad", "equal_time"): []}, "DWA"
    )
    assert found == {"10": dict(zip(tasks, (3.0, 4.0, 5.0), strict=True))}


def test_training_minutes_count_two_at_a_time(lesson, tmp_path):
    def wait(work, name, compute):
        assert compute is dict  # never computed here
        return {"seconds": 60.0 if name.startswith("tuning") else 120.0}

    before, lesson.laboratory.remember = lesson.laboratory.remember, wait
    try:  # 9 trials of 60 s and 8 runs of 120 s
        assert lesson.training_minutes(tmp_path, [("10", "DWA", "equal_time")]) == 12.5
    finally:
        lesson.laboratory.remember = before


def test_controls_are_tuned_against_the_same_twins(lesson):
    assert not set(lesson.ENTRIES) & set(lesson.controls.ENTRIES)
    assert len(lesson.ENTRIES) == 2 * (1 + 2 + 3)
    assert len(lesson.controls.ENTRIES) == 3 + 1 + 2 * 3


def test_verdict_needs_both_signs_and_two_learned_tasks(lesson):
    pair = lesson.evaluate.paired_over_replicates
    changes = ([1, 1.1, 1, 1, 1], [-1, -1.1, -1, -1, -1], [1, -1, 1, -1, 0])
    up, down, zero = (pair(values, [0] * 5) for values in changes)
    assert lesson.tables.verdict(up, down, 2) == "excludes zero, with roles swapped, too"
    assert lesson.tables.verdict(up, down, 1) == "illustration, not evidence"
    for swapped in (up, zero):
        assert lesson.tables.verdict(up, swapped, 3) == "does not exclude zero both ways"


def test_the_learned_tasks_alone_and_what_longer_training_gives(lesson, runs):
    blind = {labels: [card(0, 0, 0, (0.3, 0.1, 0.05))] * 5 for labels in ("100", "10")}  # nobody beats this median
    table = lesson.tables.sharing_table(runs, blind)
    assert table["learned"]["10"]["count"] == 2
    assert table["primary_learned"]["mean"] == table["primary_learned_swapped"]["mean"] == pytest.approx(1 / 10)
    runs["10", "land_cover_map alone", "equal_steps"] = [card(0.5, 2 * 0.2, 0.1)] * 5
    runs["10", "land_cover_map alone", "equal_time"] = [card(0.5, 0.2, 0.1)] * 5
    longer = lesson.tables.steps_table(runs, blind)["longer"]
    assert longer["10"]["land_cover_map"]["mean"] == pytest.approx(1.0)
    assert longer["10"]["season"]["mean"] == 0


def test_a_task_is_learned_where_one_side_beats_what_does_not_look(lesson, runs):
    blind = {"10": [card(0, 0, 0, (0.45 - 0.001 * world, 0.5, 0.05)) for world in range(5)]}
    found = lesson.tables.learned(runs, blind, "10", "equal_time")
    assert [found[task]["learned"] for task in METRICS] == [True, False, False]  # IoU and error are worse than blind
    assert found["reading"] == "1 of 3 tasks learned: illustration, not evidence"
    better = runs | {("10", "season alone", "equal_time"): [card(0, 0, 0.01 + 0.001 * world) for world in range(5)]}
    found = lesson.tables.learned(better, blind, "10", "equal_time")
    assert not found["season"]["plain sum"]["beats"]
    assert found["season"]["twin"]["beats"]
    assert (found["count"], found["reading"]) == (2, "2 of 3 tasks learned")


def test_holm_stops_at_the_first_that_does_not_reject(lesson):
    # sorted: 0.01 <= 0.05 / 3; 0.03 > 0.05 / 2; 0.04 <= 0.05 / 1, but comes after one that did not reject
    assert lesson.tables.holm({"a": 0.04, "b": 0.01, "c": 0.03}) == {"b": True, "c": False, "a": False}


@pytest.mark.usefixtures("eagerly")
def test_a_restarted_rule_trains_as_a_fresh_one(lesson):
    laboratory = lesson.laboratory
    rng = np.random.default_rng(0)
    inputs = {"s2": rng.normal(size=(4, 16, 16, 12)).astype("float32")}
    targets = {"climate_zone": np.arange(4), "land_cover_map": np.zeros((4, 16, 16), "int32")}
    targets["season"] = rng.random(4).astype("float32")
    for rule in ("GradNorm", "PCGrad"):

        def build(name):
            keras.utils.set_random_seed(1)
            heads = {task: sys.modules["contestants"].HEADS[task]() for task in targets}
            network = eo.models.multitask(eo.models.unet((None, None, 12), 1, "s2"), heads)
            return eo.balance.balanced(network, lesson.RULES[name]())

        laboratory.compiled.cache_clear()
        model = laboratory.compiled(build, rule)
        losses = []
        for _ in range(2):
            laboratory.restart(model, build(rule))
            model.optimizer.learning_rate = 1e-2
            losses.append(model.fit(inputs, targets, epochs=3, shuffle=False, verbose=0).history["loss"])
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
        if rule == "GradNorm":
            assert float(model.rule.optimizer.learning_rate) == pytest.approx(0.025)
