"""Charts of comparisons, importance, subsets and doses show the numbers that they were given."""

import dataclasses
import warnings

import matplotlib as mpl
import numpy as np
import pytest
from scipy import stats

from eokeras import evaluate, plot
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate import ReplicateComparison
from eokeras.evaluate.comparison import EXPLORATORY
from eokeras.evaluate.scores import SIMULATED
from tests.evaluate.cases import ZONES, NumpyModel, make_arrays, make_dataset, make_schema


def texts(figure):
    found = [item.get_text() for item in figure.findobj(mpl.text.Text) if item.get_text()]
    return [*found, *(text.replace("\n", " ") for text in found)]  # long sentences are wrapped


def drawn(figure, path):
    """Saves the figure, with every warning an error, and tells that something was drawn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(path)
    return path.stat().st_size > 5000


def dots(axis, markers="oD"):
    """(x, y, filled) of every dot of an axis, from top to bottom."""
    lines = [line for line in axis.lines if line.get_marker() in markers]
    found = [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]), line.get_markerfacecolor() != "white")
        for line in lines
    ]
    return sorted(found, key=lambda dot: dot[1])


def titles(axis):
    """What stands above an axis on the left and on the right."""
    return axis.get_title(loc="left"), axis.get_title(loc="right")


def upright_lines(axis):
    """Where `axvline` drew."""
    places = [list(line.get_xdata()) for line in axis.lines]
    return [place[0] for place in places if len(place) == 2 and place[0] == place[1]]


@pytest.fixture(scope="module")
def data():
    """Season by s2 exactly, zone by s1 exactly; s1 says nothing about the season."""
    _, targets, metadata = make_arrays(patches=60)
    season, zone = np.nan_to_num(targets["season"]), targets["climate_zone"] % ZONES
    inputs = {"s2": season[:, None], "s1": np.eye(ZONES, dtype="float32")[zone]}
    return make_dataset((inputs, {name: targets[name] for name in ("season", "climate_zone")}, metadata))


MODEL = NumpyModel(("s2", "s1"), lambda given: {"season": given["s2"], "climate_zone": given["s1"]})
WORLD = make_schema(world={"seed": 0})


# ---- comparisons ---------------------------------------------------------------------------------------------------


def replicates(values, **names):
    return evaluate.paired_over_replicates(values, [0.0] * len(values), **names)


def test_a_forest_plot_says_all_of_a_comparison(data, tmp_path):
    sides = evaluate.subset_scores(MODEL, data, WORLD)
    pair = [dataclasses.replace(sides[key], name=key) for key in ("s2+s1", "s2")]
    comparison = evaluate.compare(*pair)
    figure = plot.comparison_chart(comparison)
    assert drawn(figure, tmp_path / "forest.png")
    higher, lower = figure.axes
    zone = comparison["climate_zone", "accuracy"]
    first = dots(higher)[0]
    assert first == (pytest.approx(zone.estimate.value), 0, True)
    assert dots(lower) == [(0, 0, False)]  # season does not differ
    shown = texts(figure)
    interval = f"{zone.estimate.value:+.3f} [{zone.estimate.low:+.3f}, {zone.estimate.high:+.3f}]"
    assert f"{interval} 15 tiles; show {zone.smallest_difference:.3f} or more" in shown
    assert {"← s2 better", "s2+s1 better →", "← s2+s1 better", "s2 better →", SIMULATED} <= set(shown)
    assert any("s2+s1 against s2: 4 of 5 paired differences exclude zero" in text for text in shown)


def test_the_grey_band_is_what_the_design_can_show():
    comparison = replicates([0.01, 0.03, 0.02, 0.05, 0.04, 0.01], first="late fusion", second="S2 alone")
    axis = plot.comparison_chart(comparison).axes[0]
    (band,) = axis.patches
    assert (band.get_x(), band.get_width()) == pytest.approx(
        (-comparison.smallest_difference, 2 * comparison.smallest_difference)
    )
    assert 0 in upright_lines(axis)


def test_comparisons_of_several_pairs_name_each(tmp_path):
    found = [
        replicates([0.03, 0.02, 0.04, 0.03, 0.03], first="late fusion", second="S2 alone", metric="mean_iou"),
        replicates([0.01, -0.02, 0.02, 0.0, -0.01], first="early fusion", second="S2 alone", metric="mean_iou"),
        replicates([-0.1], first="late fusion", second="S2 alone", metric="mae"),
    ]
    figure = plot.comparison_chart(found, simulated=True)
    assert drawn(figure, tmp_path / "forest.png")
    shown = texts(figure)
    assert {"late fusion − S2 alone mean IoU", "early fusion − S2 alone mean IoU", SIMULATED} <= set(shown)
    assert [titles(axis) for axis in figure.axes] == [
        ("← S2 alone better", "first better →"),
        ("← late fusion better", "S2 alone better →"),
    ]
    assert [axis.get_xlabel() for axis in figure.axes] == [
        "first − S2 alone",
        "late fusion − S2 alone, mean absolute error",
    ]
    assert "-0.100 1 replicate: illustration, not evidence" in shown
    assert any("1 of 2 paired differences excludes zero, 1 illustration" in text for text in shown)
    assert [filled for *_, filled in dots(figure.axes[0])] == [True, False]
    assert SIMULATED not in texts(plot.comparison_chart(found))


def test_no_side_is_better_where_the_metric_is_unknown():
    values, names = [0.03, 0.02, 0.04, 0.03, 0.03], {"first": "late fusion", "second": "S2 alone"}
    figure = plot.comparison_chart([replicates(values, **names), replicates(values, metric="mae", **names)])
    known, unknown = figure.axes
    assert titles(known) == ("← late fusion better", "S2 alone better →")
    assert titles(unknown) == ("", "")
    assert unknown.get_xlabel() == "late fusion − S2 alone"


@pytest.mark.parametrize("count", [2, 4, 5])
def test_few_replicates_are_an_illustration(count, tmp_path):
    """Their interval excludes zero, and still they are no evidence before there are five."""
    few = replicates([0.30, 0.31, 0.30, 0.31, 0.30][:count], first="late", second="S2", metric="accuracy")
    assert few.excludes_zero
    figure = plot.comparison_chart(few)
    assert drawn(figure, tmp_path / "forest.png")
    axis, shown = figure.axes[0], texts(figure)
    evidence = count >= 5
    assert dots(axis, "o" if evidence else "D") == [(pytest.approx(few.mean), 0, evidence)]
    assert any(f"{count} replicates: illustration, not evidence" in text for text in shown) is not evidence
    assert any("paired differences" in text for text in shown) is evidence
    assert any("late against S2: illustration, not evidence" in text for text in shown) is not evidence
    assert bool(axis.patches) is evidence  # no difference that this design could show
    assert [line for line in axis.lines if list(line.get_xdata()) == [few.low, few.high]]
    both = texts(plot.comparison_chart([few, replicates([0.1, 0.2, 0.1, 0.2, 0.1], first="late", second="S2")]))
    title = (
        "2 of 2 paired differences exclude zero" if evidence else "1 of 1 paired differences excludes zero, 1 illust"
    )
    assert any(title in text for text in both)


def test_several_differences_are_exploratory(data):
    one = replicates([0.03, 0.02, 0.04, 0.03, 0.03], metric="accuracy")
    assert EXPLORATORY in texts(plot.comparison_chart([one, one]))
    assert EXPLORATORY not in texts(plot.comparison_chart(one))
    importance = evaluate.modality_importance(MODEL, data, WORLD, repeats=1, resamples=50)
    assert EXPLORATORY in texts(plot.importance_chart(importance, metrics=("mae",)))


def test_a_zero_has_no_sign():
    assert "+0.000" in " ".join(texts(plot.comparison_chart(ReplicateComparison(-1e-5, -0.1, 0.1, 6, 0.1, 0.2))))


def test_nothing_to_compare_is_an_error():
    with pytest.raises(InvalidArgumentError, match="at least one difference"):
        plot.comparison_chart([])


# ---- importance ----------------------------------------------------------------------------------------------------


def test_losses_point_to_the_right(data, tmp_path):
    importance = evaluate.modality_importance(MODEL, data, WORLD, repeats=2)
    figure = plot.importance_chart(importance)
    assert drawn(figure, tmp_path / "importance.png")
    zone, season = figure.axes
    drop = importance["s1"]["climate_zone", "accuracy"].estimate.value
    rise = -importance["s2"]["season", "mae"].estimate.value
    assert min(drop, rise) > 0.1
    assert [dot[0] for dot in dots(zone)] == pytest.approx([0, drop])
    assert [dot[0] for dot in dots(season)] == pytest.approx([rise, 0])
    assert [dot[2] for dot in dots(zone)] == [False, True]
    assert [label.get_text() for label in zone.get_yticklabels()] == ["s2", "s1"]
    assert {SIMULATED, "climate zone accuracy", "rise of the mean absolute error"} <= set(texts(figure))
    chosen = plot.importance_chart(importance, metrics=("macro_f1", "accuracy"))
    assert len(dots(chosen.axes[0])) == 4
    with pytest.raises(InvalidArgumentError, match=r"`metrics` may hold \['mae', 'accuracy'.*Received: \['rmse'\]"):
        plot.importance_chart(importance, metrics=["rmse"])


# ---- subsets -------------------------------------------------------------------------------------------------------


def test_subsets_are_rows_of_dots(data, tmp_path):
    first = evaluate.subset_scores(MODEL, data, WORLD, name="with")
    second = evaluate.subset_scores(MODEL, data, WORLD, name="without")
    figure = plot.subset_chart(first, second)
    assert drawn(figure, tmp_path / "subsets.png")
    matrix, season, _ = figure.axes
    present = [(x, y) for x, y, filled in dots(matrix) if filled]
    assert present == [(0, 0), (1, 0), (1, 1), (0, 2)]  # both on top, then s1, then s2
    expected = [first[key].tasks["season"].estimates["mae"].value for key in ("s2+s1", "s1", "s2")]
    for markers in "os":  # the second model's dots are open squares
        assert [dot[0] for dot in dots(season, markers)] == pytest.approx(expected)
    assert [dot[2] for dot in dots(season, "os")] == [True, False] * 3
    median = first.baselines[0].tasks["season"].estimates["mae"].value
    assert median in upright_lines(season)
    assert {SIMULATED, "with", "without", "trivial: median, most frequent class"} <= set(texts(figure))
    alone = plot.subset_chart(first, metrics=("mae",))
    assert len(alone.axes) == 2
    other = evaluate.subset_scores(MODEL, data, WORLD, modalities=("s2",))
    with pytest.raises(InvalidArgumentError, match="must have the modalities of `first`"):
        plot.subset_chart(first, other)


def with_targets(table, *tasks):
    """The same subsets with some of the targets alone."""
    kept = {
        subset: dataclasses.replace(scores, tasks={task: scores.tasks[task] for task in tasks})
        for subset, scores in table.scores.items()
    }
    return dataclasses.replace(table, scores=kept)


def test_shared_targets_are_shown(data):
    table = evaluate.subset_scores(MODEL, data, WORLD, name="both", resamples=50)
    season, zone = (with_targets(table, task) for task in ("season", "climate_zone"))
    for pair in ((table, season), (season, table)):
        panels = plot.subset_chart(*pair).axes[1:]
        assert [titles(panel)[0] for panel in panels] == ["season"]
    with pytest.raises(
        InvalidArgumentError, match=r"`second` must share a target with `first`, \['season'\]\. .*\['climate_zone'\]"
    ):
        plot.subset_chart(season, zone)


# ---- doses ---------------------------------------------------------------------------------------------------------


def test_doses_show_worlds_means_intervals_and_the_oracle(tmp_path):
    doses = [0.0, 0.5, 1.0]
    table = np.array([[0.7, 0.6, 0.5], [0.72, 0.63, 0.48], [0.68, 0.6, 0.52], [0.7, 0.58, 0.5], [0.71, 0.61, 0.51]])
    figure = plot.dose_response(
        doses, {"S2 alone": table}, oracle=[[0.8, 0.7, 0.6], [0.82, 0.72, 0.62]], dose_name="cloud fraction"
    )
    assert drawn(figure, tmp_path / "dose.png")
    (axis,) = figure.axes
    lines = [line.get_ydata() for line in axis.lines if len(line.get_ydata()) == 3]
    np.testing.assert_allclose(lines[:5], table)
    assert any(np.allclose(line, table.mean(axis=0)) for line in lines)
    assert any(np.allclose(line, [0.81, 0.71, 0.61]) for line in lines)
    low, high = stats.t.interval(0.95, 4, table[:, 1].mean(), stats.sem(table[:, 1]))
    segments = axis.collections[0].get_segments()
    np.testing.assert_allclose(segments[1][:, 1], [low, high])
    shown = texts(figure)
    assert "thin: each of 5 worlds; thick: their mean with its 95 % t interval" in shown
    assert {SIMULATED, "cloud fraction", "S2 alone", "oracle (best possible)"} <= set(shown)


def test_few_worlds_are_an_illustration(tmp_path):
    single = plot.dose_response([0, 1], {"a": [[0.5, 0.6]], "b": [[0.4, 0.4]]}, simulated=False)
    assert drawn(single, tmp_path / "dose.png")
    assert "one world, no interval: illustration, not evidence" in texts(single)
    assert SIMULATED not in texts(single)
    assert any("(illustration, not evidence)" in text for text in texts(plot.dose_response([0], {"a": [[1], [2]]})))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1, 0], {"a": [[1, 2]]}), "must be ascending"),
        (([], {"a": [[1]]}), "must be ascending"),
        (([0, 1], {"a": [[1, 2, 3]]}), r"`scores\['a'\]` must be finite numbers of shape \(worlds, 2\)"),
        (([0, 1], {"a": [[1, np.nan]]}), "finite"),
        (([0, 1], {}), "at least one contestant"),
    ],
)
def test_bad_doses_name_the_rule(arguments, words):
    with pytest.raises(InvalidArgumentError, match=words):
        plot.dose_response(*arguments)
    with pytest.raises(InvalidArgumentError, match=r"`oracle` must have shape \(2,\)"):
        plot.dose_response([0, 1], {"a": [[1, 2]]}, oracle=[1, 2, 3])
