"""The contestants of the self-supervised lesson, its choice of rates, and its tables."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

LESSONS = Path(__file__).resolve().parents[2] / "lessons"
OWN = ("contestants", "experiment", "laboratory", "tables")


@pytest.fixture(scope="module")
def lesson():
    """The lesson's experiment; other lessons have modules of the same names."""
    before = {name: sys.modules.pop(name, None) for name in OWN}
    path = list(sys.path)
    sys.path[:0] = [str(LESSONS / "5_self_supervised"), str(LESSONS)]
    import experiment

    yield experiment
    sys.path[:] = path
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


def test_encoders_have_about_as_many_weights(lesson):
    counts = {name: make().count_params() for name, make in lesson.ENCODERS.items()}
    assert max(counts.values()) < 300_000
    assert max(counts.values()) < 1.05 * min(counts.values())


def test_noise_leaves_nothing_of_the_picture(lesson):
    field = sys.modules["contestants"].INPUT
    seed = tf.constant([1, 2])
    batches = [{field: tf.fill((2, 8, 8, 6), tf.constant(number, tf.uint16))} for number in (0, 900)]
    first, second = (sys.modules["contestants"].noise(batch, seed)[field].numpy() for batch in batches)
    np.testing.assert_array_equal(first, second)
    assert first.min() >= 1
    assert first.dtype == np.uint16
    assert len(np.unique(first)) > 600


def test_rates_are_chosen_by_the_mean_over_worlds(lesson):
    values = {
        ("SimCLR", 1e-3): [0.2, 0.6],
        ("SimCLR", 1e-2): [0.5, 0.1],
        ("MAE", 1e-3): [0.1, 0.1],
        ("MAE", 1e-2): [0.1, 0.2],
    }
    assert lesson.best(values, (1e-3, 1e-2), ("SimCLR", "MAE")) == {"SimCLR": 1e-3, "MAE": 1e-2}


BUDGETS = ("spread 0.01", "spread 0.1", "spread 1.0", "clustered 0.1")


def run(*accuracies):
    """One world's answer, the same frozen and fine-tuned."""
    return {
        "probe": dict(zip(BUDGETS, accuracies, strict=True)),
        "fine-tuned": dict(zip(BUDGETS, accuracies, strict=True)),
        "neighbours": accuracies[2],
        "trivial": 0.2,
        "test_patches": 270,
        "pool": 594,
    }


@pytest.fixture
def runs(lesson):
    """Five worlds: scratch has 0.3, 0.4 and 0.5, pretrained networks 0.1 more, MAE the same as scratch."""
    found = {}
    for name in lesson.ARCHITECTURES:
        more = 0.1 if name in ("places", "SimCLR", "S1-S2") else 0.0
        found[name, 1.0] = [
            run(0.3 + more, 0.4 + more, 0.5 + more + world / 1000, 0.35 + 2 * more) for world in range(5)
        ]
    found["SimCLR", 0.1] = [run(0, 0.40 + world / 1000, 0, 0) for world in range(5)]
    return found


def test_differences_are_from_the_twin_of_the_same_architecture(lesson, runs):
    table = lesson.tables.efficiency_table(runs, {"spread": (0.01, 0.1, 1.0), "clustered": (0.1,)})
    found = table["spread"]["fine-tuned"]["differences"]
    assert [found["SimCLR"][share]["mean"] for share in ("1", "10", "100")] == pytest.approx([0.1] * 3)
    assert found["MAE"]["10"]["mean"] == pytest.approx(0)
    assert table["clustered"]["probe"]["differences"]["S1-S2"]["10"]["mean"] == pytest.approx(0.2)
    assert table["primary"] == found["SimCLR"]["10"]
    # 0.4 with 1 % is what scratch has with 10 %
    assert (
        "with 1 % of the labels equals scratch (ResNet) with 10 %"
        in table["spread"]["probe"]["equal_labels"]["SimCLR"]["1"]
    )
    assert table["neighbours"]["places"]["mean"] == pytest.approx(0.602)
    assert table["trivial"] == pytest.approx(0.2)


def test_pools_have_a_slope_per_tenfold(lesson, runs):
    table = lesson.tables.pools_table(runs, (0.1, 1.0))
    # from 0.402 to 0.5 in the mean; world by world 0.1, 0.099, ... 0.096
    assert table["probe"]["mean"] == pytest.approx([0.402, 0.5])
    assert table["probe"]["slope"]["mean"] == pytest.approx(0.098)


def test_pretraining_is_told_beside_chance(lesson):
    cards = {
        "SimCLR": [
            {"seconds": seconds, "loss": [4.0, loss], "collapsed": None, "watched": {"matching_accuracy": [0.1, 0.5]}}
            for seconds, loss in ((10.0, 2.0), (30.0, 3.0), (20.0, 1.0))
        ]
    }
    table = lesson.tables.pretraining_table(cards, 64)
    assert table["chance_loss"] == pytest.approx(np.log(127))
    assert table["SimCLR"]["seconds"] == 20.0
    assert table["SimCLR"]["loss"] == [4.0, 2.0]
    assert table["SimCLR"]["at_the_end"] == {"matching_accuracy": 0.5}


def test_loss_by_epoch_is_of_the_runs_that_came_so_far(lesson):
    assert sys.modules["tables"].mean_by_epoch([[3.0, 1.0], [1.0, 0.0, 0.0]]) == [2.0, 0.5, 0.0]


def test_minutes_leave_pauses_out(lesson, tmp_path):
    (tmp_path / "runs").mkdir()
    for name, seconds in (("a", 0), ("b", 60), ("c", 5000), ("d", 5090)):
        (tmp_path / "runs" / f"{name}.json").touch()
        os.utime(tmp_path / "runs" / f"{name}.json", (seconds, seconds))
    assert sys.modules["laboratory"].minutes_of(tmp_path) == 2.5
