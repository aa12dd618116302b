"""Pictures of experiments: scores by subset of modalities, and scores against a dose.

Letters: R replicates (worlds, seeds), K doses.
"""

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.intervals import FEWEST_REPLICATES, paired_over_replicates
from eokeras.evaluate.patch_statistics import LOWER_IS_BETTER
from eokeras.evaluate.scores import ILLUSTRATION, metric_name
from eokeras.evaluate.subsets import SubsetScores
from eokeras.plot.differences import chosen_metrics
from eokeras.plot.style import CONTESTANT_STYLES, MODALITY_COLOURS, STYLE, contestant_styles, finish, task_text

_MISSING_COLOUR = "#BBBBBB"
_ROW_INCHES = 0.36


def subset_chart(
    first: SubsetScores, second: SubsetScores | None = None, *, metrics: Sequence[str] | None = None, title: str = ""
) -> Figure:
    """Scores of every subset of modalities as rows of dots, for one model or two side by side.

    The dots on the left say which modalities are there; a panel for each target shows the scores
    with their 95 % intervals, and the trivial baseline as a line.

    Args:
        first: from `eokeras.evaluate.subset_scores`.
        second: another model on the same patches, such as one trained without DropModality; the targets
            that both have are shown.
        metrics: those to show; default the first of each target (accuracy, mean IoU, MAE, ...).
        title: default names the models.

    Raises:
        InvalidArgumentError: no target has any of `metrics`, or the models have other modalities or share no target.
    """
    sides = [first] if second is None else [first, second]
    if any(set(side.modalities) != set(first.modalities) for side in sides):
        raise InvalidArgumentError(
            f"`second` must have the modalities of `first`, {first.modalities}. Received: {second.modalities}."
        )
    rows = list(reversed(first.scores))  # all modalities on top
    shown = chosen_metrics(_shared_metrics(sides), metrics)
    widths = [0.34 * len(first.modalities) + 0.35, *[2.2] * len(shown)]
    with mpl.rc_context(STYLE):
        size = (sum(widths) + 0.5, _ROW_INCHES * len(rows) + 1.95)
        figure = Figure(figsize=size, layout="constrained")
        matrix, *axes = figure.subplots(1, len(widths), width_ratios=widths, sharey=True)
        _matrix(matrix, rows, first.modalities)
        for axis, pair in zip(axes, shown, strict=True):
            _subset_panel(axis, pair, rows, sides)
        figure.legend(handles=_subset_legend(sides, shown), loc="outside lower center", ncols=3, frameon=False)
    names = " and ".join(side.name for side in sides)
    finish(figure, title or f"Every subset of modalities: {names}", None, simulated=first.simulated)
    return figure


def dose_response(
    doses: Sequence[float],
    scores: Mapping[str, Sequence],
    *,
    oracle: Sequence | None = None,
    dose_name: str = "dose",
    score_name: str = "score",
    simulated: bool = True,
    title: str = "",
) -> Figure:
    """Scores against a dose: a thin line for each world, the mean with its 95 % t interval on top.

    Args:
        doses: K numbers, ascending.
        scores: contestant -> scores, shape (R, K): a row for each world or seed.
        oracle: what could be reached at each dose, shape (K,) or (R, K), whose mean is drawn.
        dose_name, score_name: labels of the axes, with units.
        simulated: whether the data come from the simulator.
        title: default names the axes.

    Raises:
        InvalidArgumentError: no scores, shapes that do not fit, or doses that do not ascend.

    Example:
        >>> runs = {"S2 alone": [[0.7, 0.6], [0.72, 0.58]], "late fusion": [[0.71, 0.66], [0.73, 0.67]]}
        >>> figure = dose_response([0.0, 0.5], runs, dose_name="cloud fraction", score_name="pixel accuracy")
    """
    doses = np.asarray(doses, "float64")
    if doses.ndim != 1 or not doses.size or (np.diff(doses) <= 0).any():
        raise InvalidArgumentError(f"`doses` must be ascending numbers. Received: doses={doses.tolist()}.")
    tables = {name: np.asarray(values, "float64") for name, values in scores.items()}
    for name, table in tables.items():
        if table.ndim != 2 or not table.size or table.shape[1] != len(doses) or not np.isfinite(table).all():
            raise InvalidArgumentError(
                f"`scores[{name!r}]` must be finite numbers of shape (worlds, {len(doses)}). "
                f"Received: shape={table.shape}."
            )
    if not tables:
        raise InvalidArgumentError("`scores` must hold at least one contestant. Received: none.")
    fewest = min(len(table) for table in tables.values())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.9), layout="constrained")
        axis = figure.subplots()
        step = np.diff(doses).min() if len(doses) > 1 else 1.0
        shifts = (np.arange(len(tables)) - (len(tables) - 1) / 2) * 0.05 * step
        styles = contestant_styles(len(tables))
        for order, (name, table) in enumerate(tables.items()):
            response(axis, doses + shifts[order], name, table, styles[order])
        if oracle is not None:
            _oracle(axis, doses, oracle)
        axis.set_xlabel(dose_name)
        axis.set_ylabel(score_name)
        axis.set_xticks(doses)
        axis.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        axis.set_axisbelow(True)
        found = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        labels = [*tables, *(label for label in found if label not in tables)]  # contestants before the oracle
        words = response_words(fewest)
        look = {"loc": "outside lower center", "ncols": 3, "frameon": False, "title": words, "title_fontsize": 8}
        figure.legend([found[label] for label in labels], labels, **look)
    finish(figure, title or f"{score_name} against {dose_name}", None, simulated=simulated)
    return figure


# --- Subsets -----------------------------------------------------------------------------------------


def _shared_metrics(sides) -> list[tuple[str, str]]:
    """(target, metric) of the targets that every model has, in the order of the first."""
    wholes = [side[side.modalities].tasks for side in sides]
    shared = [task for task in wholes[0] if all(task in tasks for tasks in wholes)]
    if not shared:
        raise InvalidArgumentError(
            f"`second` must share a target with `first`, {list(wholes[0])}. Received: {list(wholes[-1])}."
        )
    return [(task, metric) for task in shared for metric in wholes[0][task].estimates]


def _matrix(axis, rows, modalities) -> None:
    for position, subset in enumerate(rows):
        for column, modality in enumerate(modalities):
            there = modality in subset
            colour = MODALITY_COLOURS.get(modality, "#4D4D4D") if there else _MISSING_COLOUR
            fill = colour if there else "white"
            axis.plot(column, position, "o", color=colour, markerfacecolor=fill, markersize=9 if there else 5)
    axis.set_xlim(-0.6, len(modalities) - 0.4)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xticks(range(len(modalities)), modalities, rotation=90)
    axis.xaxis.tick_top()
    axis.set_yticks([])
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _subset_panel(axis, pair, rows, sides) -> None:
    task, metric = pair
    for order, side in enumerate(sides):
        colour, marker, _ = CONTESTANT_STYLES[order]
        shift = (order - (len(sides) - 1) / 2) * 0.3
        for position, subset in enumerate(rows):
            estimate = side[subset].tasks[task].estimates[metric]
            if math.isnan(estimate.value):
                continue
            if estimate.low is not None:
                axis.plot([estimate.low, estimate.high], [position + shift] * 2, color=colour, linewidth=1.6)
            fill = colour if order == 0 else "white"
            axis.plot(estimate.value, position + shift, marker, color=colour, markerfacecolor=fill, markersize=5.5)
    baseline = _baseline(sides[0], task, metric)
    if baseline is not None:
        axis.axvline(baseline, color="#4D4D4D", linestyle=(0, (4, 3)), linewidth=1.0, zorder=0.5)
    for position in range(1, len(rows)):
        axis.axhline(position - 0.5, color="#EEEEEE", linewidth=0.8, zorder=0.4)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines["left"].set_visible(False)
    axis.set_title(task_text(task), loc="left")
    axis.set_xlabel(metric_name(metric) if metric in LOWER_IS_BETTER else f"{metric_name(metric)} (more is better)")


def _baseline(side: SubsetScores, task: str, metric: str) -> float | None:
    found = [other.tasks[task].estimates[metric].value for other in side.baselines if task in other.tasks]
    return found[0] if found and not math.isnan(found[0]) else None


def _subset_legend(sides, shown) -> list[Line2D]:
    handles = []
    for order, side in enumerate(sides):
        colour, marker, _ = CONTESTANT_STYLES[order]
        fill = colour if order == 0 else "white"
        handles.append(Line2D([], [], color=colour, marker=marker, markerfacecolor=fill, label=side.name))
    used = [other.name for other in sides[0].baselines if any(task in other.tasks for task, _ in shown)]
    if used:
        label = f"trivial: {', '.join(used)}"
        handles.append(Line2D([], [], color="#4D4D4D", linestyle=(0, (4, 3)), linewidth=1.0, label=label))
    return handles


# --- Doses -------------------------------------------------------------------------------------------


def response(axis, places, name: str, table: np.ndarray, style) -> None:
    """A contestant's thin line for each row of `table` (R, K), and their means with 95 % t intervals."""
    colour, marker, line = style
    for row in table:
        axis.plot(places, row, color=colour, linewidth=0.7, alpha=0.45)
    means = [paired_over_replicates(column, np.zeros(len(column))) for column in table.T]
    values = [found.mean for found in means]
    look = {"color": colour, "linestyle": line, "linewidth": 2.0, "marker": marker, "markersize": 6, "label": name}
    if len(table) > 1:
        half = [found.high - found.mean for found in means]
        _, _, bars = axis.errorbar(places, values, half, capsize=3, elinewidth=1.6, **look)
        for bar in bars:
            bar.set_linestyle("-")
    else:
        axis.plot(places, values, **look)


def _oracle(axis, doses, oracle) -> None:
    ceiling = np.asarray(oracle, "float64")
    ceiling = ceiling.mean(axis=0) if ceiling.ndim == 2 else ceiling
    if ceiling.shape != doses.shape:
        raise InvalidArgumentError(
            f"`oracle` must have shape ({len(doses)},) or (worlds, {len(doses)}). Received: {np.shape(oracle)}."
        )
    axis.plot(doses, ceiling, color="black", linewidth=1.2, linestyle=(0, (6, 2, 1, 2)), label="oracle (best possible)")


def response_words(replicates: int, unit: str = "world") -> str:
    """What the thin and thick lines are."""
    if replicates == 1:
        return f"one {unit}, no interval: {ILLUSTRATION}"
    words = f"thin: each of {replicates} {unit}s; thick: their mean with its 95 % t interval"
    return words if replicates >= FEWEST_REPLICATES else f"{words} ({ILLUSTRATION})"
