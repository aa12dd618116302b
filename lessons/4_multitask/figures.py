"""Draws figures/*.svg: `python lessons/build.py figures 4_multitask` (a minute; patches simulated once).

Every patch is simulated, and chosen by a rule, not by its number. Measured numbers come from results.json; without
it (the experiments take two hours) their figures are left out.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import sketches
from charts import SIZE_INCHES, forest, measured, write
from drawing import GREY, INK, colour_of, drawing, note, photograph
from matplotlib.figure import Figure
from views import land_cover, most_varied, optical

import eokeras as eo
from eokeras.ben_ge import schema

RESULTS = Path("results.json")
TREE = Path("work") / "figures"
NAMES = {"climate_zone": "climate zone", "land_cover_map": "land-cover map", "season": "season"}
SHORT = {"climate_zone": "zone", "land_cover_map": "map", "season": "season"}
MAIN = {"climate_zone": "accuracy", "land_cover_map": "mean_iou", "season": "mae"}


# --- Patches -------------------------------------------------------------------------------------------


@cache
def hero() -> dict:
    """The place that is shown, of one in each of 30 tiles."""
    if not TREE.exists():
        eo.ben_ge.simulate(TREE, patches=30, seed=4, tiles=30)
    source = eo.ben_ge.open_source(TREE)
    patches = [source.read(name).features for name in source.patch_ids]
    return patches[most_varied(patches)]


def zone(patch) -> str:
    return next(zone.symbol for zone in schema.CLIMATE_ZONES if zone.code == int(patch["climate_zone"]))


def cover() -> str:
    patch = hero()
    shapes = [photograph(optical(patch), 0, 180, 576, 360, colour="#0E2233")]
    shapes.append(photograph(land_cover(patch), 0, 540, 288, 360, colour="#0E2233"))
    shapes.append(note(432, 470, zone(patch), size=84, anchor="middle", bold=True, colour=colour_of("labels")))
    shapes.append(note(432, 620, f"{float(patch['season']):.2f}", size=84, anchor="middle", bold=True, colour=INK))
    words = "one simulated place, its land-cover map, its climate zone and its season as a number."
    return drawing(shapes, 576, 720, "One picture, three answers", words)


def answers() -> str:
    patch, labels = hero(), colour_of("labels")
    x = photograph(optical(patch), 30, 175, 310, colour=colour_of("s2"))
    covers = photograph(land_cover(patch), 420, 175, 310, colour=labels)
    shapes = [x, covers, note(185, 360, "*x*: twelve bands", anchor="middle", colour=colour_of("s2"), bold=True)]
    shapes.append(note(575, 360, "*y*: a class per pixel", anchor="middle", colour=labels, bold=True))
    shapes += [note(960, 80, zone(patch), size=72, anchor="middle", bold=True)]
    shapes += [note(960, 140, "*y*: a class", anchor="middle", colour=labels, bold=True)]
    shapes += [note(960, 240, f"{float(patch['season']):.2f}", size=72, anchor="middle", bold=True)]
    shapes += [note(960, 300, "*y*: a number,", anchor="middle", colour=labels, bold=True)]
    shapes += [note(960, 336, "0 winter, 1 summer", anchor="middle")]
    words = "an optical patch and its three targets: land-cover map, climate zone, season."
    return drawing(shapes, 1160, 390, "One picture, three kinds of answer", words)


# --- Measured ------------------------------------------------------------------------------------------


@cache
def results() -> dict:
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def _by_task(table) -> list:
    """Rows of the mean over tasks and of every task."""
    tasks = [(NAMES[task], found["relative_change"]) for task, found in table["tasks"].items()]
    return [("mean of three", table["mean_relative_change"]), *tasks]


def sharing():
    figure, table = Figure(figsize=SIZE_INCHES, layout="constrained"), results()["sharing"]
    left, right = figure.subplots(1, 2, sharey=True, sharex=True)
    for axis, labels, words in ((left, "10", "a tenth of the labels"), (right, "100", "all labels")):
        named = "mean of three" if labels == "10" else ""
        forest(axis, _by_task(table[labels]["plain sum"]), "change against the twins [%]", named, scale=100)
        axis.set_title(words, fontsize=22, loc="left")
    words = "relative changes of the plain sum against twins of equal total time, with 95 % intervals over worlds"
    return figure, "Sharing against taking turns", words


def steps():
    figure, table = Figure(figsize=SIZE_INCHES, layout="constrained"), results()["steps"]
    left, right = figure.subplots(1, 2, sharey=True, sharex=True)
    for axis, labels, words in ((left, "10", "a tenth of the labels"), (right, "100", "all labels")):
        forest(axis, _by_task(table[labels]["plain sum"]), "change against the twins [%]", scale=100)
        axis.set_title(words, fontsize=22, loc="left")
    words = "relative changes of the plain sum against twins of equal steps, with 95 % intervals over worlds"
    return figure, "Sharing against three times the training", words


def scores():
    figure, table = Figure(figsize=SIZE_INCHES, layout="constrained"), results()["sharing"]
    sides = (("plain sum", "plain sum", "o"), ("twins", "twins, equal time", "s"))
    for axis, (task, metric) in zip(figure.subplots(1, 3), MAIN.items(), strict=True):
        for labels, place in (("10", 0), ("100", 1)):
            axis.plot((place - 0.4, place + 0.4), [table["baselines"][labels][task]] * 2, color=GREY, ls="--", lw=3)
            for offset, (name, words, look) in zip((-0.1, 0.1), sides, strict=True):
                values = table["scores"][labels][name][task]["values"]
                fill = INK if name == "plain sum" else "white"
                axis.plot([place + offset] * len(values), values, look, color=GREY, ms=5, alpha=0.5)
                axis.plot(
                    place + offset, np.mean(values), look, color=INK, markerfacecolor=fill, ms=14, mew=3,
                    label=words if place and task == "land_cover_map" else None,
                )  # fmt: skip
        axis.set_xticks((0, 1), ("10 %", "all"))
        words = {"mae": "error", "mean_iou": "mean IoU"}.get(metric, metric)
        axis.set(title=f"{NAMES[task]}: {words}", xlim=(-0.5, 1.5))
        axis.title.set_fontsize(20)
    figure.legend(loc="outside lower center", ncols=2)
    words = "scores of the plain sum and of its twins by budget; dashed: an answer that does not look at the picture"
    return figure, "Better than not looking?", words


def rules():
    figure, table = Figure(figsize=SIZE_INCHES, layout="constrained"), results()["rules"]
    rows = [(name, found["mean_relative_change"]) for name, found in table["100"].items()]
    rows += [(f"{name}, 10 % of labels", found["mean_relative_change"]) for name, found in table["10"].items()]
    forest(figure.subplots(), rows, "mean change over three tasks against the plain sum [%]", scale=100)
    return figure, "Rules against the plain sum", "relative changes of five rules with 95 % intervals over worlds"


def conflict():
    figure, table = Figure(figsize=SIZE_INCHES, layout="constrained"), results()["conflict"]
    axis = figure.subplots()
    for (name, values), look in zip(table["by_epoch"].items(), ("-", "--", ":"), strict=True):
        array = np.asarray(values)  # (worlds, epochs)
        epochs = np.arange(1, array.shape[1] + 1)
        axis.fill_between(epochs, array.min(0), array.max(0), color=GREY, alpha=0.12, lw=0)
        words = " and ".join(SHORT[task] for task in name.split("+"))
        axis.plot(epochs, array.mean(0), look, color=INK, lw=4, label=words)
    axis.axhline(0, color=INK, lw=2)
    axis.set(xlabel="stage of ten steps", ylabel="cosine", ylim=(-1, 1.5), yticks=(-1, -0.5, 0, 0.5, 1))
    axis.legend(loc="upper center", ncols=3)  # above what a cosine can be
    words = "cosines of the gradients of every two tasks over the epochs; line: mean of the worlds, shade: their range"
    return figure, "Do tasks conflict?", words


def stamp():
    figure, table = Figure(figsize=SIZE_INCHES, layout="constrained"), results()["stamp"]
    axis, names = figure.subplots(), ("untrained", "twins", "plain sum")
    for place, name in enumerate(names):
        values = table[name]["values"]
        axis.plot(values, [place] * len(values), "o", color=GREY, ms=9, alpha=0.6)
        axis.plot([np.mean(values)] * 2, [place - 0.3, place + 0.3], color=INK, lw=6)
    axis.set_yticks(range(len(names)), ("untrained", "mean of twins", "plain sum"))
    axis.set(xlabel="R² of the stamp, read linearly from the features", xlim=(-0.05, 1.05), ylim=(2.6, -0.6))
    axis.tick_params(axis="y", length=0)
    return figure, "Is the stamp thrown out?", "R² of the stamp in features before training, of the twins, and shared"


MEASURED = {
    "sharing": (sharing, scores), "steps": (steps,), "rules": (rules,), "conflict": (conflict,), "stamp": (stamp,),
}  # fmt: skip


if __name__ == "__main__":
    write((cover, answers, *sketches.FIGURES), measured(MEASURED, results() if RESULTS.exists() else {}))
