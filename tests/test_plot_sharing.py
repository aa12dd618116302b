"""The chart of a multitask model against its twins shows the numbers that it was given."""

import numpy as np
import pytest

from eokeras import evaluate, plot
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.comparison import EXPLORATORY
from eokeras.evaluate.scores import SIMULATED
from tests.evaluate.cases import hand_scores
from tests.evaluate.test_sharing import both, cost, twins
from tests.test_plot_differences import dots, drawn, texts, titles, upright_lines

COSTS = cost(1000, 0.5), {task: cost(800, 0.4) for task in ("climate_zone", "land_cover_map", "season")}

RUNS = [{"climate_zone": (0.60 + step / 100, 0.60), "season": (0.09 + step / 1000, 0.10)} for step in (-2, -1, 0, 1, 2)]
"""Changes of -1/30 .. 1/30 and of 12 .. 8 %."""


def rules(axis):
    """Heights of the lines across the axis that `axhline` drew."""
    return [line.get_ydata()[0] for line in axis.lines if list(line.get_xdata()) == [0, 1]]


def test_changes_of_one_test_set(tmp_path):
    found = evaluate.compare_sharing(both(simulated=True), twins(simulated=True), costs=COSTS)
    figure = plot.sharing_chart(found)
    assert drawn(figure, tmp_path / "sharing.png")
    forest, costs = figure.axes
    changes = [change.estimate.value for change in found.changes.values()]
    assert [dot[0] for dot in dots(forest, "o")] == pytest.approx(changes)
    assert [dot[2] for dot in dots(forest, "o")] == [False, True, False]
    assert dots(forest, "D") == [(pytest.approx(found.mean.estimate.value), 3, False)]
    assert rules(forest) == [2.5]  # the mean stands below it
    assert titles(forest) == ("← single-task better", "multitask better →")
    labels = [label.get_text() for label in forest.get_yticklabels()]
    assert labels == ["climate zone\naccuracy", "land cover map\nmean IoU", "season\nMAE", "mean over tasks"]
    shown = texts(figure)
    estimate = found.changes["season"].estimate
    words = f"+10.0 % [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}] 12 dates; show 20.0 % or more"
    assert words in shown
    assert "+12.1 % no interval: illustration, not evidence" in shown
    assert {SIMULATED, EXPLORATORY, *found.missing, "← cheaper", "cost, multitask / single-task"} <= set(shown)
    assert any("multitask against single-task: 1 of 3 relative changes excludes zero" in text for text in shown)
    ratios = [item.ratio for item in found.costs.ratios]
    assert [dot[0] for dot in dots(costs, "s")] == pytest.approx(ratios)
    assert 1 in upright_lines(costs)
    assert "× 0.42 1,000 / 2,400" in shown


def test_changes_over_replicates(tmp_path):
    found = evaluate.sharing_over_replicates(RUNS, multitask="shared", reference="alone")
    figure = plot.sharing_chart(found)
    assert drawn(figure, tmp_path / "sharing.png")
    (forest,) = figure.axes
    assert [dot[0] for dot in dots(forest)] == pytest.approx([0, 0.1, 0.05])
    assert [dot[2] for dot in dots(forest)] == [False, True, True]
    bands = [end for band in forest.patches for end in (band.get_x(), band.get_width())]
    smallest = [item.smallest_difference for item in (*found.changes.values(), found.mean)]
    assert bands == pytest.approx([end for value in smallest for end in (-value, 2 * value)])
    shown = texts(figure)
    assert "5 replicates; show" in " ".join(shown)
    assert SIMULATED not in shown
    few = plot.sharing_chart(evaluate.sharing_over_replicates(RUNS[:3], simulated=True))
    assert [dot[2] for dot in dots(few.axes[0], "D")] == [False] * 3
    assert any("3 replicates: illustration, not evidence" in text for text in texts(few))
    assert SIMULATED in texts(few)


def test_a_task_without_a_change_is_named_and_not_drawn(tmp_path):
    alone = {**twins(), "season": hand_scores("season", season=[0.0] * 12)}
    figure = plot.sharing_chart(evaluate.compare_sharing(both(), alone), title="Sharing")
    assert drawn(figure, tmp_path / "sharing.png")
    assert len(dots(figure.axes[0])) == 2
    assert rules(figure.axes[0]) == []
    shown = texts(figure)
    assert "season: no relative change, since MAE of single-task is 0." in shown
    assert "Sharing" in " ".join(shown)


def test_one_task_has_no_mean():
    figure = plot.sharing_chart(evaluate.compare_sharing(both(), {"season": twins()["season"]}))
    assert rules(figure.axes[0]) == []
    assert len(dots(figure.axes[0])) == 1
    assert EXPLORATORY not in texts(figure)


def test_nothing_to_draw_is_an_error():
    found = evaluate.sharing_over_replicates([{"season": (np.nan, 0.1)}] * 5)
    with pytest.raises(InvalidArgumentError, match=r"`found` must hold a task with a relative change\. Received: none"):
        plot.sharing_chart(found)
