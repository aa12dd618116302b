"""Draws figures/*.svg: `python lessons/build.py figures 2_supervised_recap` (a minute; patches simulated once).

Measured numbers come from results.json.
"""

import json
from functools import cache
from pathlib import Path

import charts
import numpy as np
import sketches
from drawing import GREY, INK, colour_of
from matplotlib.figure import Figure
from sketches import BLUE, ORANGE

from eokeras.ben_ge import schema

STYLE = {
    "font.size": 21,  # points: 28 pixels
    "lines.linewidth": 2.5,
    "lines.markersize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
SIZE_INCHES = (12.08, 4.7)  # 1160 x 451 pixels: the room on a slide
WRONG = "#B00020"
UNITS = (("group", BLUE, "o", "over tiles"), ("patch", ORANGE, "s", "over patches"))


@cache
def results() -> dict:
    return json.loads(Path("results.json").read_text(encoding="utf-8"))


def _plot(columns: int = 1, **options):
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    return figure, figure.subplots(1, columns, **options)


def toy():
    """Two points, the line before the step and the line after it."""
    figure, axis = _plot()
    h, y, line = np.array([1.0, 3.0]), np.array([2.0, 4.0]), np.array([0.0, 3.6])
    axis.plot(line, 0 * line, color=GREY, ls="--", label="before: w = 0, b = 0; loss 10")
    axis.plot(line, 1.4 * line + 0.6, color=BLUE, label="after: w = 1.4, b = 0.6; loss 0.32")
    axis.vlines(h, 0, y, color=GREY, lw=1.2, ls=":")
    axis.plot(h, y, "o", color=colour_of("labels"), ms=15, label="the two examples")
    axis.set(xlabel="feature h", ylabel="answer", xlim=(0, 3.6), ylim=(-0.4, 5.4))
    axis.legend(loc="upper left")
    return figure, "One step by hand", "before the step the line lies at zero; after it, close to both examples"


def curves():
    """Losses without augmentation."""
    found = results()["curves"]["plain"]
    figure, axis = _plot()
    _losses(axis, found["history"])
    best = found["best_epoch"]
    axis.axvline(best, color=GREY, lw=1.2, ls=":")
    axis.annotate(f"lowest: epoch {best}", (best, axis.get_ylim()[1]), (6, -6), textcoords="offset points", va="top")
    axis.legend(loc="upper right")
    words = "the training loss falls on; the validation loss falls, stops and rises again"
    return figure, "Training and validation loss without augmentation", words


def curves_augmented():
    """The same beside the training with augmentation."""
    figure, axes = _plot(2, sharey=True)
    for axis, (kind, title) in zip(
        axes, (("plain", "as they are"), ("augmented", "turned, flipped, cut")), strict=True
    ):
        _losses(axis, results()["curves"][kind]["history"])
        axis.set_title(title, fontsize=21)
    axes[1].set_ylabel("")
    axes[0].legend(loc="upper right")
    words = "with augmentation the training loss falls more slowly and the validation loss rises later or not at all"
    return figure, "Losses without and with augmentation", words


def _losses(axis, history):
    epochs = np.arange(1, len(history["loss"]) + 1)
    axis.plot(epochs, history["loss"], color=BLUE, marker="o", ms=10, label="training")
    axis.plot(epochs, history["val_loss"], color=ORANGE, marker="s", ms=7, ls="--", label="validation")
    axis.set(xlabel="epoch", ylabel="loss (cross-entropy)", ylim=(0, 1.05 * min(3, max(history["val_loss"]))))


def scores():
    """The network beside those who never look at the picture."""
    found = results()["curves"]["augmented"]["scores"]
    figure, axis = _plot()
    names = list(found["predictors"])[::-1]
    for row, name in enumerate(names):
        one = found["predictors"][name]
        colour, marker = (BLUE, "o") if name == "U-Net" else (GREY, "s")
        axis.plot([one["low"], one["high"]], [row, row], color=colour, lw=6)
        axis.plot(one["value"], row, marker, color=colour, ms=17)
        axis.annotate(f"{one['value']:.2f}", (one["value"], row), (0, 16), textcoords="offset points", ha="center")
    axis.set_yticks(range(len(names)), [name.replace("nearest neighbours", "nearest") for name in names])
    axis.set(xlim=(0, 1), ylim=(-0.5, len(names) - 0.3), xlabel=f"accuracy, 95 % interval over {found['tiles']} tiles")
    words = "accuracy of the U-Net, the most frequent class and the nearest neighbours on the map, with wide intervals"
    return figure, "The score beside its baselines", words


def witnesses():
    """Where the patches lie, and which climate zone they have."""
    figure, axis = _plot()
    place = np.array([patch["lonlat"] for patch in sketches.patches()])
    code = np.array([int(patch["climate_zone"]) for patch in sketches.patches()])
    common = [number for number in np.argsort(-np.bincount(code)) if number][:5]
    looks = zip(common, ("o", "s", "^", "D", "v"), (BLUE, ORANGE, "#009E73", "#B8860B", "#A8467C"), strict=True)
    axis.plot(*place[~np.isin(code, common)].T, "x", color=GREY, ms=10, label="others")
    for number, marker, colour in looks:
        symbol = next(zone.symbol for zone in schema.CLIMATE_ZONES if zone.code == number)
        axis.plot(*place[code == number].T, marker, color=colour, ms=11, mfc="none", mew=2, label=symbol)
    axis.set(xlabel="longitude [°]", ylabel="latitude [°]")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    words = "400 patches lie in 56 clumps, the tiles; nearly every clump has one climate zone"
    return figure, "Patches on the map, by climate zone", words


def coverage():
    """How often intervals hold the truth, by number of tiles."""
    table = results()["coverage"]["climate_zone"]["scene"]["accuracy"]
    figure, axis = _plot()
    for unit, colour, marker, name in UNITS:
        cells = [table[f"tiles_{count}"][unit] for count in (10, 15, 30)]
        values = np.array([cell["coverage"] for cell in cells])
        bars = np.array([[cell["coverage"] - cell["low"], cell["high"] - cell["coverage"]] for cell in cells]).T
        axis.errorbar((10, 15, 30), values, bars, color=colour, marker=marker, ms=15, lw=2.5, capsize=6, label=name)
        axis.annotate(f"{values[1]:.0%}", (15, values[1]), (14, -38), textcoords="offset points")
    axis.axhline(0.95, color=INK, ls="--", lw=1.5)
    axis.annotate("promised: 95 %", (22.5, 0.95), (0, 12), textcoords="offset points", ha="center")
    axis.set(xlabel="tiles in the test set, 20 patches each", ylabel="hold the truth", ylim=(0, 1.12), xlim=(8, 31.5))
    axis.set_xticks([10, 15, 20, 25, 30])
    axis.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axis.legend(loc="lower right")
    words = "intervals over tiles hold the truth nearly as often as they promise, intervals over patches far less often"
    return figure, "Coverage of 95 % intervals", words


def forty():
    """The intervals of the first forty worlds, minus the truth."""
    rows = results()["coverage"]["examples"]
    figure, axes = _plot(2, sharey=True)
    for axis, unit, name in zip(axes, ("group", "patch"), ("over 15 tiles", "over 300 patches"), strict=True):
        truth, value, low, high = np.array(rows[unit]).T
        missed = (low > truth) | (high < truth)
        for world in range(len(truth)):
            colour, style = (WRONG, "-") if missed[world] else (BLUE, "-")
            ends = [low[world] - truth[world], high[world] - truth[world]]
            axis.plot([world, world], ends, style, color=colour, lw=6 if missed[world] else 4)
        axis.plot(np.arange(len(truth)), value - truth, ".", color=INK, ms=7)
        axis.axhline(0, color=INK, lw=1.2)
        axis.set_title(f"{name}: {missed.sum()} of {len(truth)} miss", fontsize=21)
        axis.set(xlabel="simulated world", xticks=[])
    axes[0].set_ylabel("accuracy − truth")
    words = "forty intervals each: those over patches are short, and far more of them miss the truth"
    return figure, "Forty worlds, forty intervals", words


def claims():
    """What the test side of each split claims, and what the same predictor reaches on new tiles."""
    table = results()["splits"]
    figure, axis = _plot()
    rows = [(kind, name) for kind in ("random", "grouped") for name in ("map", "scene")]
    names = {"map": "neighbours on the map", "scene": "what the image shows"}
    sides = {"random": "random", "grouped": "by tile"}
    for row, (kind, name) in enumerate(rows[::-1]):
        one = table[kind][name]
        axis.plot([one["truth"], one["claim"]], [row, row], color=GREY, lw=3)
        axis.plot(
            one["claim"],
            row,
            "s",
            color=ORANGE,
            ms=17,
            mfc="white",
            mew=3,
            label="its test set claims" if not row else "",
        )
        axis.plot(one["truth"], row, "o", color=BLUE, ms=17, label="new tiles" if not row else "")
    axis.set_yticks(range(4), [f"{sides[kind]}: {names[name]}" for kind, name in rows[::-1]])
    axis.set(xlim=(0, 1), ylim=(-0.6, 3.6), xlabel="accuracy, mean over simulated worlds")
    axis.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2)
    words = "random splits claim far more than new tiles bear out; splits by tile do not"
    return figure, "Claims of two splits", words


def transfer():
    """Accuracy by world, from scratch and from loaded weights."""
    figure, axes = _plot(2, sharey=True)
    for axis, labels, title in zip(axes, ("labels_48", "labels_all"), ("48 labels", "all labels"), strict=True):
        row = results()["transfer"]["climate_zone"][labels]
        for scratch, loaded in zip(*(row["by_world"][name] for name in ("scratch", "loaded")), strict=True):
            axis.plot((0, 1), (scratch, loaded), "o-", color=BLUE, ms=13, lw=2)
        difference = row["difference"]
        words = f"{title}: {difference['mean']:+.2f} [{difference['low']:+.2f}, {difference['high']:+.2f}]"
        axis.set_title(words.replace("-", "−"), fontsize=21)
        axis.axhline(results()["transfer"]["climate_zone"]["trivial"], color=GREY, ls="--", lw=1.5)
        axis.set(xticks=[0, 1], xticklabels=["random weights", "loaded weights"], xlim=(-0.3, 1.3), ylim=(0, 1))
    axes[0].set_ylabel("accuracy")
    axes[0].annotate(
        "most frequent zone",
        (-0.25, results()["transfer"]["climate_zone"]["trivial"]),
        (0, -32),
        textcoords="offset points",
    )
    words = "each line is a simulated world: accuracy from random and from loaded weights, with few and with all labels"
    return figure, "What loaded weights are worth", words


DRAWINGS = (
    sketches.cover,
    sketches.examples,
    sketches.function,
    sketches.cycle,
    sketches.unet,
    sketches.splits,
    sketches.travel,
)
PLOTS = (toy, curves, curves_augmented, scores, witnesses, coverage, forty, claims, transfer)


if __name__ == "__main__":
    charts.write(DRAWINGS, PLOTS, STYLE)
