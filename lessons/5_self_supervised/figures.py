"""Draws figures/*.svg: `python lessons/build.py figures 5_self_supervised` (a minute; patches simulated once).

Every patch is simulated, and chosen by a rule, not by its number. Measured numbers come from results.json; without
it (the experiment takes about an hour) their figures are left out.
"""

import json
from functools import cache
from pathlib import Path

import contestants
import matplotlib as mpl
import numpy as np
import sketches
import tensorflow as tf
from charts import SIZE_INCHES, forest, measured, write
from drawing import GREY, INK, Shape, arrow, colour_of, drawing, note, photograph
from matplotlib.figure import Figure
from svg import rectangle
from views import elevation, land_cover, most_varied, optical, radar

import eokeras as eo
from eokeras import pretrain
from eokeras.ben_ge import schema

RESULTS = Path("results.json")
TREE = Path("work") / "figures"
HIDDEN, SEED = 0.75, 4
MAP_INCHES = (5.0, 5.5)
SCRATCH = contestants.SCRATCH["ResNet"]


# --- Patches -------------------------------------------------------------------------------------------


@cache
def patches() -> list[dict]:
    """Two simulated places in each of 56 tiles."""
    if not TREE.exists():
        eo.ben_ge.simulate(TREE, patches=112, seed=SEED, tiles=56)
    source = eo.ben_ge.open_source(TREE)
    return [source.read(name).features for name in source.patch_ids]


def hero() -> dict:
    """The place that is shown."""
    return patches()[most_varied(patches())]


def masked(pixels) -> np.ndarray:
    """Three quarters of the squares of twelve pixels in light grey, as the masked autoencoder hides them."""
    rows = len(pixels) // 12
    hidden = np.random.default_rng(SEED).permutation(rows * rows) < round(HIDDEN * rows * rows)
    wide = np.kron(hidden.reshape(rows, rows), np.ones((12, 12))) > 0
    return np.where(wide[..., None], 226, pixels).astype("uint8")


def two_views(patch) -> list[np.ndarray]:
    """Two views as those on which the experiment pretrains."""
    made = contestants.TWO_VIEWS({"s2_10m": tf.constant(patch["s2_10m"][None])}, tf.constant([SEED, 1]))
    return [optical({"s2_10m": made[f"s2_10m_view_{view}"][0].numpy()}) for view in (1, 2)]


def cover() -> str:
    shown = optical(hero())
    shapes = [photograph(masked(shown)[:75], 0, 180, 576, colour="#0E2233")]
    shapes += [photograph(shown[:, :96], 0, 540, 288, colour="#0E2233")]
    shapes += [photograph(radar(hero())[:, :96], 288, 540, 288, colour="#0E2233")]
    words = "one simulated place with three quarters hidden, whole, and as radar sees it."
    return drawing(shapes, 576, 720, "A place that asks questions of itself", words)


def free() -> str:
    """What comes with an image for nothing, and what a person must give."""
    patch, labels = hero(), colour_of("labels")
    longitude, latitude = patch["lonlat"]
    shapes = [photograph(optical(patch), 20, 170, 250, colour=colour_of("s2"))]
    shapes += [note(145, 330, "an image", anchor="middle", bold=True, colour=colour_of("s2"))]
    for x, pixels, name, words in ((340, radar(patch), "s1", "radar"), (560, elevation(patch), "dem", "height")):
        shapes += [photograph(pixels, x, 135, 180, colour=colour_of(name))]
        shapes += [note(x + 90, 248, words, anchor="middle", colour=colour_of(name), bold=True)]
    shapes += [note(340, 294, f"place: {longitude:.1f}° E, {latitude:.1f}° N"), note(340, 332, "date, weather")]
    shapes += [photograph(land_cover(patch), 870, 170, 250, colour=labels)]
    shapes += [note(995, 330, "14,400 labels", anchor="middle", colour=labels, bold=True)]
    shapes += [
        note(340, 24, "comes with it", bold=True),
        note(995, 24, "somebody draws it", anchor="middle", bold=True),
    ]
    words = "radar, height, place, date and weather come with an image; a map of land cover somebody must draw."
    return drawing(shapes, 1160, 360, "What is free and what is not", words)


def two() -> str:
    first, second = two_views(hero())
    shapes = [photograph(optical(hero()), 20, 190, 290, colour=colour_of("s2"))]
    shapes += [note(165, 372, "*x*: one place", anchor="middle", bold=True)]
    for x, pixels, words in ((460, first, "view 1"), (840, second, "view 2")):
        shapes += [photograph(pixels, x, 190, 290, colour=colour_of("s2"))]
        shapes += [note(x + 145, 372, words, anchor="middle", bold=True)]
    shapes.append(arrow((330, 190), (440, 190), modality="s2"))
    words = "a patch and two views of it: other window, other side up, other light."
    return drawing(shapes, 1160, 400, "Two views of one place", words)


def invariance() -> str:
    """Changes of a patch and whether land cover survives them."""
    stored = hero()["s2_10m"]
    window = np.kron(stored[:40, :40], np.ones((3, 3, 1))).astype(stored.dtype)
    changed = (
        (np.rot90(stored), "turned", "yes"),
        ((stored * 1.4).astype(stored.dtype), "brighter", "a little"),
        (window, "three times\nas large", "careful"),
        (stored[..., [2, 0, 1, 3]], "bands\nswapped", "no"),
        (np.random.default_rng(SEED).permutation(stored.reshape(-1, 4)).reshape(stored.shape), "shuffled", "no"),
    )
    shapes = []
    for index, (values, words, answer) in enumerate(changed):
        x = 15 + 230 * index
        shapes += [photograph(optical({"s2_10m": values}), x, 130, 205, colour=colour_of("s2"))]
        shapes += [note(x + 102, 278 if "\n" in words else 261, words, anchor="middle", colour=GREY)]
        shapes += [note(x + 102, 345, answer, anchor="middle", bold=True, size=36)]
    words = (
        "turning leaves land cover as it is, brightness nearly; size is delicate, colour and pattern are the message."
    )
    return drawing(shapes, 1160, 380, "What must stay the same?", words)


def negatives() -> str:
    """A place and seven others of a batch; those with the same commonest land cover are marked."""
    chosen = sorted(patches(), key=lambda patch: -float(patch["land_cover_fractions"].max()))
    chosen = [patch for patch in chosen if np.percentile(patch["s2_10m"][..., 0], 98) < 2000]  # clear, by their blue
    tops = [int(np.argmax(patch["land_cover_fractions"])) for patch in chosen]
    common = schema.LAND_COVER.index(next(cover for cover in schema.LAND_COVER if cover.name == "cropland"))
    like = [index for index, top in enumerate(tops) if top == common][:3]
    unlike = [index for index, top in enumerate(tops) if top != common][-5:]
    order = [like[0], unlike[0], like[1], unlike[1], unlike[2], like[2], unlike[3], unlike[4]]
    shapes = [note(20, 30, "this place", bold=True), note(310, 30, "pushed away from all of these", bold=True)]
    for place, index in enumerate(order):
        x, y = (20, 165) if place == 0 else (310 + 210 * ((place - 1) % 4), 150 + 205 * ((place - 1) // 4))
        size = 220 if place == 0 else 180
        same = tops[index] == common and place > 0
        shapes.append(photograph(optical(chosen[index]), x, y, size, colour=colour_of("s2")))
        if same:
            edge = rectangle(x, y - size / 2, size, size, 0, fill="none", stroke=sketches.WARNING, stroke_width=10)
            shapes.append(Shape(edge, x, y, size, size))
    name = schema.LAND_COVER[common].name
    shapes += [
        note(20, 320, f"mostly\n{name}"),
        note(930, 330, "red: mostly\nthe same", bold=True, colour=sketches.WARNING),
    ]
    words = "a place and seven others of its batch, of which two have the same land cover and are pushed away too."
    return drawing(shapes, 1160, 450, "False negatives", words)


def hide() -> str:
    shown = optical(hero())
    shapes = []
    for x, pixels, words in ((40, shown, "what there is"), (610, masked(shown), "what the encoder gets")):
        shapes += [photograph(pixels, x, 205, 390, colour=colour_of("s2"))]
        shapes += [note(x + 195, 428, words, anchor="middle", bold=True)]
    shapes.append(arrow((450, 205), (590, 205), "hide 75 %", modality="s2"))
    words = "a simulated patch, and the same with 75 of its 100 squares hidden."
    return drawing(shapes, 1040, 455, "Three quarters hidden", words)


def clusters():
    """Regions by k-means on the sphere, from the simulated places."""
    figure = Figure(figsize=MAP_INCHES, layout="constrained")
    axis, places = figure.subplots(), np.array([patch["lonlat"] for patch in patches()])
    found = pretrain.geoclusters(places, clusters=20)
    (west, south), (east, north) = places.min(axis=0) - 1.5, places.max(axis=0) + 1.5
    longitudes, latitudes = np.meshgrid(np.linspace(west, east, 400), np.linspace(south, north, 400))
    regions = found.assign(np.stack([longitudes.ravel(), latitudes.ravel()], axis=-1)).reshape(longitudes.shape)
    tints = mpl.colors.ListedColormap([mpl.colormaps["tab20"](index % 20) for index in range(20)])
    axis.pcolormesh(longitudes, latitudes, regions, cmap=tints, alpha=0.35, shading="nearest", rasterized=True)
    for index in range(20):
        axis.contour(longitudes, latitudes, regions == index, levels=[0.5], colors="white", linewidths=3)
    axis.plot(*places.T, "o", color=INK, ms=8)
    axis.plot(*np.transpose(found.centres), "P", color="white", markeredgecolor=INK, ms=15)
    axis.set(xlabel="longitude [° E]", ylabel="latitude [° N]", xlim=(west, east), ylim=(south, north))
    axis.set_aspect(1 / np.cos(np.deg2rad((south + north) / 2)))
    return (
        figure,
        "Twenty regions of Europe",
        "places of simulated patches, and the region of the nearest cluster centre",
    )


# --- Measured ------------------------------------------------------------------------------------------


@cache
def results() -> dict:
    return json.loads(RESULTS.read_text(encoding="utf-8"))


LOOKS = {
    SCRATCH: ("o", "--"), "places": ("v", ":"), "SimCLR": ("s", "-"), "S1-S2": ("D", "-."), "noise": ("x", ":"),
}  # fmt: skip


def efficiency():
    """ResNets by budget; the masked autoencoder has an architecture of its own and is in the table of differences."""
    figure, table = Figure(figsize=SIZE_INCHES, layout="constrained"), results()["efficiency"]
    axes = figure.subplots(1, 2, sharey=True)
    for axis, (reading, words) in zip(axes, (("fine-tuned", "fine-tuned"), ("probe", "linear probe")), strict=True):
        found = table["spread"][reading]["mean"]
        for name, (marker, line) in LOOKS.items():
            colour = GREY if name in (SCRATCH, "noise") else INK
            label = {SCRATCH: "scratch / random"}.get(name, name)
            axis.plot(
                range(3), found[name], marker + line, color=colour, ms=11, label=label if axis is axes[0] else None
            )
        axis.axhline(table["trivial"], color=GREY, lw=2, zorder=0)
        axis.set_xticks(range(3), ("1", "10", "100"))
        axis.set_xlabel("share of the labels [%]")
        axis.set_title(words, fontsize=22, loc="left")
    axes[0].set_ylabel("accuracy")
    figure.legend(loc="outside right upper")
    words = (
        "accuracy of land cover by share of the labels, for pretrained encoders and from scratch; line: commonest class"
    )
    return figure, "Label efficiency", words


def _rows(reading: str, share: str) -> list:
    table = results()["efficiency"]["spread"][reading]["differences"]
    return [({"MAE": "MAE (ViT)"}.get(name, name), table[name][share]) for name in contestants.METHODS]


def differences():
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    forest(left, _rows("fine-tuned", "10"), "accuracy − scratch", "SimCLR")
    forest(right, _rows("probe", "10"), "accuracy − random frozen")
    for axis in (left, right):
        axis.locator_params(axis="x", nbins=4)
    left.set_title("fine-tuned", fontsize=22, loc="left")
    right.set_title("linear probe", fontsize=22, loc="left")
    return figure, "What pretraining adds", "differences with 10 % of the labels and 95 % intervals over worlds"


def null():
    figure, axes_of = Figure(figsize=SIZE_INCHES, layout="constrained"), results()["efficiency"]["spread"]
    axes = figure.subplots(1, 2, sharey=True)
    for axis, (reading, words) in zip(axes, (("fine-tuned", "fine-tuned"), ("probe", "linear probe")), strict=True):
        found = axes_of[reading]["differences"]["noise"]
        forest(axis, [(f"{share} % of the labels", found[share]) for share in ("1", "10", "100")], "noise − its twin")
        axis.locator_params(axis="x", nbins=4)
        axis.set_title(words, fontsize=22, loc="left")
    return figure, "The null", "differences of an encoder pretrained on noise, with 95 % intervals over worlds"


def pools():
    figure, table = Figure(figsize=SIZE_INCHES, layout="constrained"), results()["pools"]
    axes = figure.subplots(1, 2, sharey=True)
    for axis, reading in zip(axes, ("fine-tuned", "probe"), strict=True):
        values = np.array(table[reading]["values"])
        axis.plot(range(len(values)), values, "o-", color=GREY, ms=6, alpha=0.5, lw=1)
        axis.plot(range(len(values)), values.mean(axis=1), "s-", color=INK, ms=13, lw=4)
        axis.set_xticks(range(len(values)), [f"{100 * pool:.0f}" for pool in table["pools"]])
        axis.set_xlabel("share of the pool [%]")
        axis.set_title({"probe": "linear probe"}.get(reading, reading), fontsize=22, loc="left")
    axes[0].set_ylabel("accuracy, 10 % of the labels")
    return figure, "How large must the pool be?", "accuracy of SimCLR by the share of the pool it was pretrained on"


MEASURED = {"efficiency": (efficiency, differences, null), "pools": (pools,)}


if __name__ == "__main__":
    drawn = (cover, free, two, invariance, negatives, hide, *sketches.FIGURES)
    write(drawn, (clusters, *measured(MEASURED, results() if RESULTS.exists() else {})))
