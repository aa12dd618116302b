"""Draws figures/*.svg: `python lessons/build.py figures 3_data_fusion` (three minutes; patches simulated once).

Every patch is simulated, and chosen by a rule, not by its number. Measured numbers come from results.json; without
it (the experiments take hours) their figures are left out.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import sketches
from charts import SIZE_INCHES, forest, measured, write
from drawing import GREY, INK, colour_of, drawing, note, photograph, tile
from matplotlib.figure import Figure
from views import elevation, land_cover, most_varied, optical, radar

import eokeras as eo
from eokeras.ben_ge import World, schema

RESULTS = Path("results.json")
DOSES = (World().cloud_fraction, 0.4, 0.8)
WORLDS = {"default": World(), "null": World().without("s1")} | {
    f"clouds-{dose}": World(cloud_fraction=dose) for dose in DOSES
}


# --- Patches -------------------------------------------------------------------------------------------


@cache
def patches(world: str) -> list[dict]:
    """The same places in every world, one in each of 30 tiles."""
    tree = Path("work") / f"figures-{world}"
    if not tree.exists():
        eo.ben_ge.simulate(tree, patches=30, seed=3, world=WORLDS[world], tiles=30)
    source = eo.ben_ge.open_source(tree)
    return [source.read(name).features for name in source.patch_ids]


@cache
def hero() -> int:
    """Index of the place that is shown."""
    return most_varied(patches("default"))


# --- Figures of patches --------------------------------------------------------------------------------


def cover() -> str:
    patch, shapes = patches("default")[hero()], []
    for index, view in enumerate((optical, radar, elevation, land_cover)):
        x, y = 288 * (index % 2), 180 + 360 * (index // 2)
        shapes.append(photograph(view(patch), x, y, 288, 360, colour="#0E2233"))
    words = "one simulated place as optical image, radar image, elevation and land cover."
    return drawing(shapes, 576, 720, "Four views of one place", words)


def senses() -> str:
    patch, side, step = patches("default")[hero()], 200, 290
    weather = dict(zip(schema.CHANNELS["era5"], patch["era5"], strict=True))
    numbers = f"{weather['temperature_s2'] - 273.15:.0f} °C\n{weather['relhumidity_s2']:.0f} % humid\n8 numbers"
    shapes = [
        tile("s2", 40, 125, detail="colour\nblind: clouds", size=side, pixels=optical(patch)),
        tile("s1", 40 + step, 125, detail="roughness, leaves\nblind: colour", size=side, pixels=radar(patch)),
        tile("dem", 40 + 2 * step, 125, detail="height of tops\nblind: time", size=side, pixels=elevation(patch)),
        tile("era5", 40 + 3 * step, 125, detail="the day's air\nblind: the picture", size=side),
        note(40 + 3 * step + side / 2, 125, numbers, anchor="middle"),
    ]
    words = (
        "optical: colour, no ground under clouds; radar: roughness, no colour; elevation: no time; weather: no picture."
    )
    return drawing(shapes, 1160, 370, "Four senses", words)


def through_clouds() -> str:
    index = max(range(30), key=lambda i: _whiteness(patches("clouds-0.4")[i], 0.45))
    patch, shapes = patches("clouds-0.4")[index], []
    views = ((optical, "s2", "Sentinel-2"), (radar, "s1", "Sentinel-1 VV"), (land_cover, "labels", "what is there"))
    for column, (view, name, words) in enumerate(views):
        shown = photograph(view(patch), 30 + 390 * column, 165, 320, colour=colour_of(name))
        shapes += [shown, note(shown.x + 160, 352, words, anchor="middle", colour=colour_of(name), bold=True)]
    words = "clouds hide more than half of the optical image; the radar image and the land-cover map know no clouds."
    return drawing(shapes, 1160, 375, "Through the clouds", words)


def _whiteness(patch, wanted: float) -> float:
    """How close the share of white pixels is to the wanted one; 0 for patches of a single class."""
    share = float(np.mean(patch["s2_10m"][..., 0] > 2500))
    return -abs(share - wanted) - (np.max(patch["land_cover_fractions"]) > 0.7)


def two_radars() -> str:
    place, decoy = (patches(world)[hero()] for world in ("default", "null"))
    shapes = []
    views = (
        (optical(place), "s2", "Sentinel-2"),
        (radar(place), "s1", "its Sentinel-1"),
        (radar(decoy), "s1", "null world"),
    )
    for column, (pixels, name, words) in enumerate(views):
        shown = photograph(pixels, 30 + 390 * column, 165, 320, colour=colour_of(name))
        shapes += [shown, note(shown.x + 160, 352, words, anchor="middle", colour=colour_of(name), bold=True)]
    words = (
        "an optical image, the radar image of the same place, and one of another continent, which looks like radar too."
    )
    return drawing(shapes, 1160, 375, "Two radar images, one of them a decoy", words)


def doses() -> str:
    shares = [[np.mean(patches(f"clouds-{dose}")[i]["s2_10m"][..., 0] > 2500) for dose in DOSES] for i in range(30)]
    index = min(range(30), key=lambda i: float(np.abs(np.subtract(shares[i], DOSES)).sum()))
    shapes = []
    for column, dose in enumerate(DOSES):
        shown = photograph(
            optical(patches(f"clouds-{dose}")[index]), 10 + 390 * column, 165, 320, colour=colour_of("s2")
        )
        shapes += [shown, note(shown.x + 160, 362, f"{100 * dose:g} %", anchor="middle", bold=True)]
    words = "one simulated patch in worlds with 1.5, 40 and 80 percent of the pixels under cloud."
    return drawing(shapes, 1160, 390, "Three doses of cloud", words)


# --- Measured ------------------------------------------------------------------------------------------


@cache
def results() -> dict:
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def _rows(world: str, task: str, metric: str) -> list:
    """Differences from Sentinel-2 alone, every world's contestants in one order: panels share their names."""
    ladder = results()["ladder"]
    table = ladder["contestants"][world]
    names = [name for name in ladder["costs"] if name in table and name != "S2"]
    return [(name, table[name]["tasks"][task][metric]["minus_s2"]) for name in names]


def ladder():
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    forest(
        figure.subplots(), _rows("default", "land_cover_map", "pixel_accuracy"), "pixel accuracy minus S2 alone", "late"
    )
    return (
        figure,
        "The race",
        "paired differences of map accuracy from Sentinel-2 alone with 95 % intervals over worlds",
    )


def others():
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    forest(left, _rows("default", "climate_zone", "accuracy"), "climate zone: accuracy")
    forest(right, _rows("default", "season", "mae"), "season: error (less is better)")
    return figure, "Climate zone and season", "paired differences from Sentinel-2 alone with 95 % intervals over worlds"


def null():
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, sharex=True)
    decoy = _rows("null", "land_cover_map", "pixel_accuracy")
    forest(left, decoy, "with a decoy: minus S2")
    found = results()["ladder"]["radar_minus_decoy"]
    forest(right, [(name, found[name]) for name, _ in decoy], "true radar minus decoy")
    return (
        figure,
        "The decoy",
        "differences from Sentinel-2 alone where the radar image is a decoy, and true radar minus decoy",
    )


def dose():
    figure, table = Figure(figsize=SIZE_INCHES, layout="constrained"), results()["clouds"]
    axis = figure.subplots()
    looks = {"S2": (colour_of("s2"), "o-"), "S1": (colour_of("s1"), "s--"), "late": (INK, "^-.")}
    for name, (colour, look) in looks.items():
        values = np.asarray(table["pixel_accuracy"][name])  # (doses, worlds)
        axis.plot(table["doses"], values, color=colour, lw=1, alpha=0.35)
        axis.plot(table["doses"], values.mean(axis=1), look, color=colour, ms=12, label=name)
    axis.set(xlabel="expected share of S2 pixels under cloud", ylabel="pixel accuracy")
    axis.set_xticks(table["doses"], [f"{100 * dose:g} %" for dose in table["doses"]])
    axis.legend(loc="lower left")
    return (
        figure,
        "Dose and response",
        "map accuracy against cloud for Sentinel-2, Sentinel-1 and late fusion, five worlds",
    )


def subsets():
    figure, table = Figure(figsize=SIZE_INCHES, layout="constrained"), results()["sensors"]["subsets"]
    axis, names = figure.subplots(), list(reversed(table))
    for side, colour, look in (("dropped", INK, "o"), ("plain", GREY, "s")):
        values = [table[name]["land_cover_map"]["pixel_accuracy"][side] for name in names]
        label = "with DropModality" if side == "dropped" else "without"
        fill = colour if side == "dropped" else "white"
        axis.plot(values, range(len(names)), look, color=colour, markerfacecolor=fill, ms=14, mew=3, label=label)
    axis.set_yticks(range(len(names)), [name.replace("+", " + ").upper() for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlabel("pixel accuracy of the map")
    axis.grid(axis="y", color="#DDDDDD")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return (
        figure,
        "Every subset of sensors",
        "map accuracy by sensors present, with and without DropModality in training",
    )


def costs():
    figure, table = Figure(figsize=SIZE_INCHES, layout="constrained"), results()["ladder"]["costs"]
    axes, names = figure.subplots(1, 3, sharey=True), list(table)
    panels = (
        ("weights [thousand]", "trainable_weights", 1e-3),
        ("MFLOPs a patch", "flops", 1e-6),
        ("s a training step", "training_step_seconds", 1.0),
    )
    for axis, (words, key, scale) in zip(axes, panels, strict=True):
        axis.barh(range(len(names)), [table[name][key] * scale for name in names], color="#34506A")
        axis.set(xlabel=words, ylim=(len(names) - 0.4, -0.6))
        axis.set_yticks(range(len(names)), names, fontsize=19)
        axis.tick_params(axis="y", length=0)
    return figure, "Equal weights, unequal cost", "weights, operations and seconds of the ten contestants"


MEASURED = {"ladder": (ladder, others, null, costs), "clouds": (dose,), "sensors": (subsets,)}


if __name__ == "__main__":
    drawings = (cover, senses, through_clouds, two_radars, doses, *sketches.FIGURES)
    write(drawings, measured(MEASURED, results() if RESULTS.exists() else {}))
