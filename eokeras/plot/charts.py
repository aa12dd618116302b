"""Pictures of result objects: training curves, confusion matrices, scores beside baselines."""

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.patch_statistics import LOWER_IS_BETTER
from eokeras.evaluate.scores import Scores, metric_name
from eokeras.plot.style import STYLE, finish, task_text

_BASELINE_STYLES = (("#4D4D4D", "s"), ("#4D4D4D", "D"), ("#4D4D4D", "^"), ("#4D4D4D", "v"), ("#4D4D4D", "h"))


def curves(history, schema=None) -> Figure:
    """Loss and metrics by epoch, training against validation.

    Args:
        history: what `model.fit` returns, or its `.history`: name -> one value per epoch, with `val_` names.
        schema: tells simulated data, where given.

    Raises:
        InvalidArgumentError: `history` holds no epoch.
    """
    values = {name: list(numbers) for name, numbers in dict(getattr(history, "history", history)).items()}
    names = [name for name in values if not name.startswith("val_") and name != "learning_rate" and values[name]]
    if not names:
        raise InvalidArgumentError("`history` must hold at least one epoch. Received: none.")
    names.sort(key=lambda name: (name != "loss", name.endswith("_loss")))
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.4 * columns, 2.5 * rows + 0.5), layout="constrained")
        axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
        for axis, name in zip(axes, names, strict=False):
            _curve(axis, name, values)
        for axis in axes[len(names) :]:
            axis.set_axis_off()
        axes[0].legend(frameon=False)
    finish(figure, "Training, epoch by epoch", schema)
    return figure


def confusion_matrix(scores: Scores, task: str) -> Figure:
    """Confusion matrix of a class or map target: rows are the reference and sum to 100 %.

    Args:
        scores: from `eokeras.evaluate.score`.
        task: one of its class or map targets.

    Raises:
        InvalidArgumentError: `scores` has no such target, or it has no classes.
    """
    found = scores.tasks.get(task)
    if found is None or found.confusion is None:
        valid = [name for name, score in scores.tasks.items() if score.confusion is not None]
        raise InvalidArgumentError(f"`task` must be one of {valid}. Received: task={task!r}.")
    counts = found.confusion
    rows = np.flatnonzero(counts.sum(axis=1))
    columns = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    shown = counts[np.ix_(rows, columns)]
    share = shown / shown.sum(axis=1, keepdims=True) if rows.size else np.zeros((1, 1))
    size = max(5.4, 0.48 * len(columns) + 3), 0.4 * len(rows) + 2.6
    with mpl.rc_context({**STYLE, "axes.spines.top": True, "axes.spines.right": True}):
        figure = Figure(figsize=size, layout="constrained")
        axis = figure.subplots()
        image = axis.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for row, column in np.ndindex(shown.shape):
            if shown[row, column]:
                percent = 100 * share[row, column]
                text = f"{percent:.0f}" if percent >= 0.5 else "<1"
                colour = "white" if percent > 55 else "black"
                axis.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
        unit = "pixels" if found.kind == "map" else "patches"
        names = [found.classes[index] for index in columns]
        axis.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        support = [f"{found.classes[index]} ({_short(counts[index].sum())})" for index in rows]
        axis.set_yticks(range(len(rows)), support)
        axis.set_xlabel("predicted")
        axis.set_ylabel(f"reference ({unit})")
        bar = figure.colorbar(image, ax=axis, shrink=0.8, label="of the reference [%]")
        bar.set_ticks([0, 0.5, 1], labels=["0", "50", "100"])
    finish(figure, _confusion_title(found), None, simulated=scores.simulated)
    return figure


def score_chart(scores: Scores, baselines: Sequence[Scores] | None = None) -> Figure:
    """Every metric as a dot with its 95 % interval, beside its baselines.

    Args:
        scores: from `eokeras.evaluate.score`.
        baselines: others on the same patches; default `scores.baselines`.
    """
    others = scores.baselines if baselines is None else tuple(baselines)
    everyone = [scores, *[other for other in others if other.tasks]]
    metrics = [(task, name) for task, score in scores.tasks.items() for name in score.estimates]
    higher = [pair for pair in metrics if pair[1] not in LOWER_IS_BETTER]
    panels = [pairs for pairs in (higher, [pair for pair in metrics if pair[1] in LOWER_IS_BETTER]) if pairs]
    heights = [0.55 + sum(_block_height(everyone, pair) for pair in pairs) for pairs in panels]
    with mpl.rc_context({**STYLE, "axes.spines.left": False}):
        figure = Figure(figsize=(7.6, sum(heights) + 1.1), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, pairs in zip(axes, panels, strict=True):
            _dots(axis, pairs, everyone)
            less = pairs[0][1] in LOWER_IS_BETTER
            axis.set_xlabel("mean absolute error (less is better)" if less else "score (more is better)")
            axis.set_xlim(0, None if less else 1)
        handles = {
            label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, frameon=False)
    finish(figure, _chart_title(scores), None, simulated=scores.simulated)
    return figure


# --- Charts ------------------------------------------------------------------------------------------


def _curve(axis, name, values):
    epochs = range(1, len(values[name]) + 1)
    axis.plot(epochs, values[name], color="#0072B2", marker="o", markersize=3, label="training")
    best = ""
    if values.get(f"val_{name}"):
        checked = values[f"val_{name}"]
        axis.plot(
            range(1, len(checked) + 1),
            checked,
            color="#D55E00",
            marker="s",
            markersize=3,
            linestyle="--",
            label="validation",
        )
        less = name.endswith(("loss", "error", *LOWER_IS_BETTER))  # Keras' names, and those of `evaluate`
        if not np.all(np.isnan(checked)):
            place = int(np.nanargmin(checked) if less else np.nanargmax(checked))
            best = f"\nbest validation {checked[place]:.3f} at epoch {place + 1}"
    axis.set_title(task_text(name) + best, loc="left")
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axis.set_xlim(0.5, max(len(values[name]), 2) + 0.5)
    axis.grid(axis="y", color="#DDDDDD", linewidth=0.6)


def _confusion_title(found) -> str:
    counts, names = found.confusion, found.classes
    metric = "pixel_accuracy" if found.kind == "map" else "accuracy"
    estimate = found.estimates[metric]
    if not counts.any():
        return f"{task_text(found.task)}: no labels"
    title = f"{task_text(found.task)}: {metric_name(metric)} {estimate} {estimate.interval}".rstrip()
    wrong = counts - np.diag(np.diag(counts))
    if wrong.any():
        row, column = np.unravel_index(wrong.argmax(), wrong.shape)
        title += f"\nmost often confused: {names[row]}, taken for {names[column]} ({_short(wrong[row, column])})"
    return title


def _block_height(everyone, pair) -> float:
    return 0.2 * sum(pair[1] in other.tasks[pair[0]].estimates for other in everyone if pair[0] in other.tasks) + 0.28


def _dots(axis, pairs, everyone):
    position, ticks, labels = 0.0, [], []
    for task, metric in pairs:
        top = position
        for order, other in enumerate(everyone):
            found = other.tasks.get(task)
            if found is None or metric not in found.estimates or math.isnan(found.estimates[metric].value):
                continue
            _dot(axis, found.estimates[metric], position, order, other.name)
            position += 0.2
        ticks.append((top + position - 0.2) / 2)
        labels.append(f"{task_text(task)}\n{metric_name(metric).split(' (')[0]}")
        position += 0.28
        axis.axhline(position - 0.24, color="#EEEEEE", linewidth=0.8)
    axis.set_yticks(ticks, labels)
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(position - 0.24, -0.25)
    axis.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axis.set_axisbelow(True)


def _dot(axis, estimate, position, order, name):
    colour, marker = ("#0072B2", "o") if order == 0 else _BASELINE_STYLES[(order - 1) % len(_BASELINE_STYLES)]
    if estimate.low is not None:
        axis.plot([estimate.low, estimate.high], [position] * 2, color=colour, linewidth=2.2 if order == 0 else 1.2)
    fill = colour if order == 0 else "white"
    axis.plot(
        estimate.value,
        position,
        marker,
        color=colour,
        markerfacecolor=fill,
        markersize=6 if order == 0 else 5,
        label=name,
        linestyle="none",
    )


def _chart_title(scores) -> str:
    if any(estimate.low is not None for score in scores.tasks.values() for estimate in score.estimates.values()):
        return "Scores with 95 % intervals over groups, beside baselines"
    return "Scores beside baselines (no intervals: illustration, not evidence)"


def _short(number: int) -> str:
    for limit, suffix in ((10**6, " M"), (10**4, " k")):
        if number >= limit:
            return f"{number / 10 ** (6 if suffix == ' M' else 3):.3g}{suffix}"
    return f"{number:,}"
