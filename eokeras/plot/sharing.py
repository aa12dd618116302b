"""Picture of a multitask model against its single-task twins: what it gains task by task, and what it saves."""

import math
import textwrap

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.comparison import family_sentences
from eokeras.evaluate.intervals import ReplicateComparison
from eokeras.evaluate.scores import metric_name
from eokeras.evaluate.sharing_costs import SharingCosts
from eokeras.evaluate.sharing_replicates import SharingReplicates
from eokeras.evaluate.sharing_results import MEAN_OVER_TASKS, RelativeChange, SharingComparison
from eokeras.plot.forest import ROW_INCHES, ForestRow, count_found, draw_forest, forest_legend, name_sides
from eokeras.plot.style import STYLE, finish, task_text

_COST_COLOUR = "#4D4D4D"
_FOREST_INCHES, _COSTS_INCHES = 7.2, 4.8
_AROUND_INCHES = 2.0  # title, labels, legend


def sharing_chart(found: SharingComparison | SharingReplicates, *, title: str = "") -> Figure:
    """Relative change of every task with its 95 % interval, their mean below a rule, cost ratios beside.

    Positive is better for every task. Dots as in `comparison_chart`: filled where the interval excludes zero,
    open where not, an open diamond for an illustration. A cost ratio below 1 is cheaper than the reference.

    Args:
        found: of `eokeras.evaluate.compare_sharing` or `sharing_over_replicates`. Tasks without a relative change
            are named above the chart.
        title: default counts the changes that exclude zero.

    Raises:
        InvalidArgumentError: no task has a relative change.
    """
    rows = [_row(task_text(task), item, found) for task, item in found.changes.items() if not math.isnan(_value(item))]
    if not rows:
        raise InvalidArgumentError("`found` must hold a task with a relative change. Received: none.")
    with_mean = found.mean is not None and not math.isnan(_value(found.mean))
    shown = [*rows, _row(MEAN_OVER_TASKS, found.mean, found)] if with_mean else rows
    costs = [item for item in found.costs.ratios if item.ratio] if found.costs else []
    height = ROW_INCHES * max(len(shown), len(costs), 2) + _AROUND_INCHES
    with mpl.rc_context({**STYLE, "axes.spines.left": False}):
        widths = [_FOREST_INCHES, *([_COSTS_INCHES] if costs else [])]
        figure = Figure(figsize=(sum(widths), height), layout="constrained")
        figure.get_layout_engine().set(wspace=0.04)
        axes = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
        _changes(axes[0], shown, found, with_mean)
        if costs:
            _cost_ratios(axes[1], costs, found.costs)
        figure.legend(handles=forest_legend(shown), loc="outside lower left", ncols=2, frameon=False)
    notes = [*family_sentences([*found.changes.values(), *([found.mean] if found.mean else [])]), *found.missing]
    words = f"{found.multitask} against {found.reference}: {count_found(rows, 'relative changes')}"
    finish(figure, title or words, None, simulated=found.simulated, notes=notes)
    return figure


def _value(item: RelativeChange | ReplicateComparison) -> float:
    return item.mean if isinstance(item, ReplicateComparison) else item.estimate.value


def _row(label: str, item: RelativeChange | ReplicateComparison, found) -> ForestRow:
    if isinstance(item, ReplicateComparison):
        bounds = item.mean, item.low, item.high
        units = f"{item.replicates} replicate{'s' * (item.replicates > 1)}"
        metric = found.metrics.get(next((task for task, other in found.changes.items() if other is item), ""), "")
    else:
        bounds, metric = (item.estimate.value, item.estimate.low, item.estimate.high), item.metric
        few = found.scores[item.task][0].note if item.task in found.scores else ""
        units = f"{item.groups} {item.group}s" if item.estimate.low is not None else few or "no interval"
    if metric:
        label = f"{label}\n{metric_name(metric).split(' (')[0]}"
    smallest = None if item.is_illustration else item.smallest_difference
    return ForestRow(label, *bounds, smallest, item.excludes_zero, item.is_illustration, units, percent=True)


def _changes(axis, rows: list[ForestRow], found, with_mean: bool) -> None:
    draw_forest(axis, rows)
    if with_mean:
        axis.axhline(len(rows) - 1.5, color="black", linewidth=0.8)
        axis.get_yticklabels()[-1].set_fontweight("bold")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:+.3g}" if value else "0"))
    axis.set_xlabel(f"change relative to {found.reference} [%], more is better")
    name_sides(axis, found.reference, found.multitask)


def _cost_ratios(axis, ratios, costs: SharingCosts) -> None:
    """Dots on a logarithmic axis: half and double are equally far from 1."""
    for position, item in enumerate(ratios):
        axis.plot([1, item.ratio], [position] * 2, color=_COST_COLOUR, linewidth=2.2, solid_capstyle="butt")
        axis.plot(item.ratio, position, "s", color=_COST_COLOUR, markersize=7)
    axis.axvline(1, color="black", linewidth=1.0, zorder=1.5)
    axis.set_xscale("log")
    ends = [1, *(item.ratio for item in ratios)]
    axis.set_xlim(min(*ends, 0.5) / 1.15, max(*ends, 1.3) * 1.15)
    axis.xaxis.set_major_locator(LogLocator(base=2))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_yticks(range(len(ratios)), [textwrap.fill(item.name, 15) for item in ratios])
    axis.set_ylim(len(ratios) - 0.45, -0.55)
    axis.tick_params(axis="y", length=0)
    words = axis.secondary_yaxis("right")
    words.set_yticks(range(len(ratios)), [f"× {item.ratio:.2f}\n{' / '.join(item.texts)}" for item in ratios])
    words.tick_params(length=0, labelsize=8)
    words.spines["right"].set_visible(False)
    axis.set_xlabel(f"cost, {costs.multitask} / {costs.reference}")
    axis.set_title("← cheaper", loc="left")
    axis.set_title("dearer →", loc="right")
