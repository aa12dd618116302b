"""Pictures of differences: paired comparisons, and what a model loses when a modality is shuffled."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.comparison import Comparison, Difference, family_sentences
from eokeras.evaluate.importance import ModalityImportance
from eokeras.evaluate.intervals import ReplicateComparison
from eokeras.evaluate.patch_statistics import LOWER_IS_BETTER
from eokeras.evaluate.scores import ILLUSTRATION, metric_name
from eokeras.plot.style import MODALITY_COLOURS, STYLE, finish, task_text

_COLOUR, _BAND = "#0072B2", "#E4E4E4"
_OTHER_COLOUR = "#4D4D4D"
_ROW_INCHES = 0.42
_AROUND_INCHES = 0.72  # labels above and below a panel


@dataclass(frozen=True)
class _Row:
    """One difference: its names and numbers, and the result that says what they mean."""

    first: str
    second: str
    label: str
    value: float
    low: float | None
    high: float | None
    units: str
    result: Difference | ReplicateComparison

    @property
    def found(self) -> bool:
        """Whether it excludes zero and may be said to."""
        return self.result.excludes_zero and not self.result.is_illustration

    @property
    def smallest(self) -> float | None:
        """The smallest difference that the design can show; None where it can show nothing."""
        return None if self.result.is_illustration else self.result.smallest_difference

    @property
    def words(self) -> str:
        text = _signed(self.value)
        if self.low is not None:
            text += f" [{_signed(self.low)}, {_signed(self.high)}]"
        if self.result.is_illustration:
            return f"{text}\n{self.units}: {ILLUSTRATION}"
        return f"{text}\n{self.units}; show {self.smallest:.3f} or more"


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
    panels = [[row for row in rows if row.result.less_is_better is less] for less in (False, True, None)]
    panels = [panel for panel in panels if panel]
    heights = [_ROW_INCHES * len(panel) for panel in panels]
    with mpl.rc_context({**STYLE, "axes.spines.left": False}):
        size = (8.4, sum(heights) + _AROUND_INCHES * len(panels) + 1.2)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, panel in zip(axes, panels, strict=True):
            _forest(axis, panel, names_differ=len(pairs) > 1)
        figure.legend(handles=_forest_legend(rows), loc="outside lower center", ncols=2, frameon=False)
    simulated = simulated or any(getattr(comparison, "simulated", False) for comparison in comparisons)
    notes = family_sentences(comparisons)
    finish(figure, title or _comparison_title(rows, pairs), None, simulated=simulated, notes=notes)
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
            _dot_handle(_OTHER_COLOUR, True, "95 % interval excludes zero"),
            _dot_handle(_OTHER_COLOUR, False, "does not exclude zero, or no interval"),
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


# --- Forest plot -------------------------------------------------------------------------------------


def _signed(value: float) -> str:
    return f"{round(value, 3) + 0.0:+.3f}"  # no minus before 0.000


def _rows(comparison: Comparison | ReplicateComparison) -> list[_Row]:
    if isinstance(comparison, ReplicateComparison):
        label = metric_name(comparison.metric).split(" (")[0] if comparison.metric else ""
        units = f"{comparison.replicates} replicate{'s' * (comparison.replicates > 1)}"
        return [
            _Row(
                comparison.first, comparison.second, label, comparison.mean, comparison.low, comparison.high, units,
                comparison,
            )
        ]  # fmt: skip
    return [_row_of(item, comparison) for item in comparison.differences if not math.isnan(item.estimate.value)]


def _row_of(item: Difference, comparison: Comparison) -> _Row:
    label = f"{task_text(item.task)}\n{metric_name(item.metric).split(' (')[0]}"
    units = item.note or f"{item.groups} {item.group}s"
    estimate = item.estimate
    return _Row(
        comparison.first, comparison.second, label, estimate.value, estimate.low, estimate.high, units, item,
    )  # fmt: skip


def _forest(axis, rows: list[_Row], names_differ: bool) -> None:
    for position, row in enumerate(rows):
        if row.smallest:
            axis.barh(position, 2 * row.smallest, left=-row.smallest, height=0.62, color=_BAND, zorder=1)
        if row.low is not None:
            axis.plot([row.low, row.high], [position] * 2, color=_COLOUR, linewidth=2.2, solid_capstyle="butt")
        fill = _COLOUR if row.found else "white"
        marker = "D" if row.result.is_illustration else "o"
        axis.plot(row.value, position, marker, color=_COLOUR, markerfacecolor=fill, markersize=7)
    axis.axvline(0, color="black", linewidth=1.0, zorder=1.5)
    labels = [_forest_label(row, names_differ) for row in rows]
    axis.set_yticks(range(len(rows)), labels)
    axis.set_ylim(len(rows) - 0.45, -0.55)
    axis.tick_params(axis="y", length=0)
    words = axis.secondary_yaxis("right")
    words.set_yticks(range(len(rows)), [row.words for row in rows])
    words.tick_params(length=0, labelsize=8)
    words.spines["right"].set_visible(False)
    _widen(axis, rows)
    _name_sides(axis, rows)


def _name_sides(axis, rows: list[_Row]) -> None:
    """The difference below, and above on which side which one is better, where the metric tells."""
    first, second = (
        names.pop() if len(names) == 1 else word
        for names, word in (({row.first for row in rows}, "first"), ({row.second for row in rows}, "second"))
    )
    less = rows[0].result.less_is_better
    axis.set_xlabel(f"{first} − {second}" + (", mean absolute error" if less else ""))
    if less is not None:
        left, right = (first, second) if less else (second, first)
        axis.set_title(f"← {left} better", loc="left")
        axis.set_title(f"{right} better →", loc="right")


def _forest_label(row: _Row, names_differ: bool) -> str:
    names = f"{row.first} − {row.second}"
    if not names_differ:
        return row.label or names
    return f"{names}\n{row.label.replace(chr(10), ' ')}" if row.label else names


def _widen(axis, rows: list[_Row]) -> None:
    """Zero in sight, with room for the largest interval on either side."""
    ends = [end for row in rows for end in (row.value, row.low, row.high, row.smallest, -(row.smallest or 0)) if end]
    low, high = min([0, *ends]), max([0, *ends])
    margin = 0.08 * (high - low) or 0.01
    axis.set_xlim(low - margin, high + margin)


def _forest_legend(rows: list[_Row]) -> list:
    handles = []
    illustrations = [row for row in rows if row.result.is_illustration]
    if any(row.found for row in rows):
        handles.append(_dot_handle(_COLOUR, True, "95 % interval excludes zero"))
    if any(not row.found and not row.result.is_illustration for row in rows):
        handles.append(_dot_handle(_COLOUR, False, "95 % interval does not exclude zero"))
    if illustrations:
        line = any(row.low is not None for row in illustrations)
        handles.append(_dot_handle(_COLOUR, False, ILLUSTRATION, marker="D", line=line))
    if any(row.smallest for row in rows):
        handles.append(Patch(color=_BAND, label="too small a difference for this design to show"))
    return handles


def _dot_handle(colour: str, filled: bool, label: str, marker: str = "o", line: bool = True) -> Line2D:
    fill = colour if filled else "white"
    style = "-" if line else "none"
    return Line2D([], [], color=colour, marker=marker, markerfacecolor=fill, linestyle=style, label=label)


def _comparison_title(rows: list[_Row], pairs: set) -> str:
    names = f"{rows[0].first} against {rows[0].second}: " if len(pairs) == 1 else ""
    evidence = [row for row in rows if not row.result.is_illustration]
    if not evidence:
        return f"{names}{ILLUSTRATION}"
    count, others = sum(row.found for row in evidence), len(rows) - len(evidence)
    few = f", {others} illustration{'s' * (others > 1)}" if others else ""
    verb = "excludes" if count == 1 else "exclude"
    return f"{names}{count} of {len(evidence)} paired differences {verb} zero{few}"


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
