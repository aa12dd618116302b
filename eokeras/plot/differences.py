"""Pictures of differences: paired comparisons, and what a model loses when a modality is shuffled."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.figure import Figure

from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.comparison import Comparison, Difference, family_sentences
from eokeras.evaluate.importance import ModalityImportance
from eokeras.evaluate.intervals import ReplicateComparison
from eokeras.evaluate.patch_statistics import LOWER_IS_BETTER
from eokeras.evaluate.scores import metric_name
from eokeras.plot.forest import ROW_INCHES, ForestRow, count_found, dot_handle, draw_forest, forest_legend, name_sides
from eokeras.plot.style import MODALITY_COLOURS, STYLE, finish, task_text

_OTHER_COLOUR = "#4D4D4D"
_AROUND_INCHES = 0.72  # labels above and below a panel


@dataclass(frozen=True)
class _Row(ForestRow):
    """One difference of two named predictors; `less_is_better` of its metric, None where that is not known."""

    first: str = ""
    second: str = ""
    less_is_better: bool | None = None


def comparison_chart(
    comparisons: Comparison | ReplicateComparison | Sequence[Comparison | ReplicateComparison],
    *,
    simulated: bool = False,
    title: str = "",
) -> Figure:
    """Paired differences with their 95 % intervals against a zero line: a forest plot.

    A filled dot excludes zero, an open one does not; an open diamond is an illustration: too few groups
    or replicates for a claim. The grey band around zero is as wide as the smallest difference that
    the design can show, which the text beside it states. Which side is better stands above the dots
    where the metric is known.

    Args:
        comparisons: of `eokeras.evaluate.compare` or `paired_over_replicates` (with names), one or several.
        simulated: whether the data come from the simulator; a `Comparison` knows.
        title: default counts the differences that exclude zero.

    Raises:
        InvalidArgumentError: there is no difference to show.
    """
    if isinstance(comparisons, Comparison | ReplicateComparison):
        comparisons = [comparisons]
    rows = [row for comparison in comparisons for row in _rows(comparison)]
    if not rows:
        raise InvalidArgumentError("`comparisons` must hold at least one difference with a value. Received: none.")
    pairs = {(row.first, row.second) for row in rows}
    panels = [[row for row in rows if row.less_is_better is less] for less in (False, True, None)]
    panels = [panel for panel in panels if panel]
    heights = [ROW_INCHES * len(panel) for panel in panels]
    with mpl.rc_context({**STYLE, "axes.spines.left": False}):
        size = (8.4, sum(heights) + _AROUND_INCHES * len(panels) + 1.2)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, panel in zip(axes, panels, strict=True):
            _panel(axis, panel, names_differ=len(pairs) > 1)
        figure.legend(handles=forest_legend(rows), loc="outside lower center", ncols=2, frameon=False)
    simulated = simulated or any(getattr(comparison, "simulated", False) for comparison in comparisons)
    notes = family_sentences(comparisons)
    finish(figure, title or _title(rows, pairs), None, simulated=simulated, notes=notes)
    return figure


def importance_chart(importance: ModalityImportance, metrics: Sequence[str] | None = None) -> Figure:
    """What the model loses, target by target, when one modality is shuffled across the patches.

    Losses point to the right: the drop of a score, the rise of an error.

    Args:
        importance: from `eokeras.evaluate.modality_importance`.
        metrics: those to show; default the first of each target (accuracy, mean IoU, MAE, ...).

    Raises:
        InvalidArgumentError: no target has any of `metrics`.
    """
    first = next(iter(importance.comparisons.values()))
    shown = chosen_metrics([(item.task, item.metric) for item in first.differences], metrics)
    panels = [[pair for pair in shown if (pair[1] in LOWER_IS_BETTER) is less] for less in (False, True)]
    panels = [panel for panel in panels if panel]
    count = len(importance.comparisons)
    heights = [(0.24 * count + 0.2) * len(panel) for panel in panels]
    with mpl.rc_context({**STYLE, "axes.spines.left": False}):
        figure = Figure(figsize=(7.6, sum(heights) + 0.5 * len(panels) + 1.1), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, panel in zip(axes, panels, strict=True):
            _losses(axis, panel, importance)
        handles = [
            dot_handle(_OTHER_COLOUR, True, "95 % interval excludes zero"),
            dot_handle(_OTHER_COLOUR, False, "does not exclude zero, or no interval"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    title = "What the model loses when one modality is shuffled"
    notes = family_sentences(importance.comparisons.values())
    finish(figure, title, None, simulated=importance.intact.simulated, notes=notes)
    return figure


def chosen_metrics(pairs: Sequence[tuple[str, str]], metrics: Sequence[str] | None) -> list[tuple[str, str]]:
    """(target, metric) to show: those named by `metrics`, or the first metric of each target."""
    if metrics is None:
        return [(task, next(metric for other, metric in pairs if other == task)) for task in dict(pairs)]
    shown = [pair for pair in pairs if pair[1] in metrics]
    if not shown:
        known = list(dict.fromkeys(metric for _, metric in pairs))
        raise InvalidArgumentError(f"`metrics` may hold {known}. Received: {list(metrics)}.")
    return shown


# --- Paired differences ------------------------------------------------------------------------------


def _rows(comparison: Comparison | ReplicateComparison) -> list[_Row]:
    if isinstance(comparison, ReplicateComparison):
        label = metric_name(comparison.metric).split(" (")[0] if comparison.metric else ""
        bounds = comparison.mean, comparison.low, comparison.high
        units = f"{comparison.replicates} replicate{'s' * (comparison.replicates > 1)}"
        return [_row(label, bounds, units, comparison, comparison)]
    return [
        _row(
            f"{task_text(item.task)}\n{metric_name(item.metric).split(' (')[0]}",
            (item.estimate.value, item.estimate.low, item.estimate.high),
            item.note or f"{item.groups} {item.group}s",
            item,
            comparison,
        )
        for item in comparison.differences
        if not math.isnan(item.estimate.value)
    ]


def _row(label, bounds, units, item: Difference | ReplicateComparison, comparison) -> _Row:
    smallest = None if item.is_illustration else item.smallest_difference
    said = item.excludes_zero, item.is_illustration, units
    return _Row(label, *bounds, smallest, *said, False, comparison.first, comparison.second, item.less_is_better)


def _panel(axis, rows: list[_Row], names_differ: bool) -> None:
    """Rows of metrics of which all, or none, are better where they are less."""
    draw_forest(axis, [dataclasses.replace(row, label=_label(row, names_differ)) for row in rows])
    first, second = (
        names.pop() if len(names) == 1 else word
        for names, word in (({row.first for row in rows}, "first"), ({row.second for row in rows}, "second"))
    )
    less = rows[0].less_is_better
    axis.set_xlabel(f"{first} − {second}" + (", mean absolute error" if less else ""))
    if less is not None:
        name_sides(axis, *((first, second) if less else (second, first)))


def _label(row: _Row, names_differ: bool) -> str:
    names = f"{row.first} − {row.second}"
    if not names_differ:
        return row.label or names
    return f"{names}\n{row.label.replace(chr(10), ' ')}" if row.label else names


def _title(rows: list[_Row], pairs: set) -> str:
    names = f"{rows[0].first} against {rows[0].second}: " if len(pairs) == 1 else ""
    return names + count_found(rows, "paired differences")


# --- Importance --------------------------------------------------------------------------------------


def _losses(axis, panel, importance: ModalityImportance) -> None:
    position, ticks, names, blocks = 0.0, [], [], []
    less = panel[0][1] in LOWER_IS_BETTER
    for task, metric in panel:
        top = position
        for modality, comparison in importance.comparisons.items():
            item = comparison[task, metric]
            if not math.isnan(item.estimate.value):
                _loss(axis, item, position, MODALITY_COLOURS.get(modality, _OTHER_COLOUR), -1 if less else 1)
            ticks.append(position)
            names.append(modality)
            position += 0.24
        blocks.append(((top + position - 0.24) / 2, f"{task_text(task)}\n{metric_name(metric).split(' (')[0]}"))
        position += 0.2
        if (task, metric) != panel[-1]:
            axis.axhline(position - 0.22, color="#DDDDDD", linewidth=0.8)
    axis.axvline(0, color="black", linewidth=1.0, zorder=0.5)
    axis.set_yticks(ticks, names)
    for label, modality in zip(axis.get_yticklabels(), names, strict=True):
        label.set_color(MODALITY_COLOURS.get(modality, _OTHER_COLOUR))
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(position - 0.25, -0.2)
    targets = axis.secondary_yaxis(-0.07)
    targets.set_yticks(*zip(*blocks, strict=True))
    targets.tick_params(length=0)
    targets.spines["left"].set_visible(False)
    axis.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.set_xlabel("rise of the mean absolute error" if less else "drop of the score")


def _loss(axis, item: Difference, position: float, colour: str, sign: int) -> None:
    estimate = item.estimate
    if estimate.low is not None:
        axis.plot([sign * estimate.low, sign * estimate.high], [position] * 2, color=colour, linewidth=2.2)
    fill = colour if item.excludes_zero else "white"
    axis.plot(sign * estimate.value, position, "o", color=colour, markerfacecolor=fill, markersize=6)
