"""Pictures of patches and diagrams for figures.py. Patches are simulated, and chosen by a rule, not by their number."""

from functools import cache
from pathlib import Path

import numpy as np
from drawing import (
    GREY,
    Shape,
    arrow,
    block,
    colour_of,
    cross,
    drawing,
    encoder,
    frame,
    head,
    loss,
    note,
    photograph,
    tensor,
    tile,
)
from svg import path, rectangle
from views import optical

import eokeras as eo
from eokeras.ben_ge import schema

TREE = Path("work/ben-ge-sim")
BLUE, ORANGE = "#0072B2", "#D55E00"


@cache
def patches() -> list[dict]:
    """Features of every patch of the tree that the notebook uses."""
    if not TREE.exists():
        eo.ben_ge.simulate(TREE, patches=400, seed=0, tiles=56)
    source = eo.ben_ge.open_source(TREE)
    return [source.read(name).features for name in source.patch_ids]


# --- Patches -----------------------------------------------------------------------------------------


def zone_of(patch) -> schema.ClimateZone:
    return next(zone for zone in schema.CLIMATE_ZONES if zone.code == int(patch["climate_zone"]))


def varied(candidates: list[dict]) -> dict:
    """The summer patch without cloud or snow that has most land covers in notable shares."""
    blue = schema.RASTERS["s2_10m"].bands.index("B02")
    clear = [patch for patch in candidates if np.percentile(patch["s2_10m"][..., blue], 98) < 2000]
    summer = [patch for patch in clear if patch["season"] > 0.7] or clear or candidates
    return max(summer, key=lambda patch: np.count_nonzero(np.asarray(patch["land_cover_fractions"]) > 0.08))


def hero() -> dict:
    return varied(patches())


def examples() -> str:
    by_zone: dict[str, list[dict]] = {}
    for patch in patches():
        if int(patch["climate_zone"]):
            by_zone.setdefault(zone_of(patch).symbol, []).append(patch)
    chosen = sorted(by_zone, key=lambda symbol: -len(by_zone[symbol]))[:4]
    shapes = []
    for column, symbol in enumerate(sorted(chosen)):
        shown = photograph(optical(varied(by_zone[symbol])), 20 + 290 * column, 140, 250, colour=colour_of("s2"))
        words = zone_of(by_zone[symbol][0]).name.split(", ")
        shapes += [shown, note(shown.x + 125, 300, symbol, anchor="middle", bold=True, colour=colour_of("labels"))]
        shapes += [note(shown.x + 125, 338 + 36 * row, line, anchor="middle") for row, line in enumerate(words[:3])]
    words = "four simulated patches in true colour, each with the climate zone of its place."
    return drawing(shapes, 1160, 430, "Annotated examples", words)


def cover() -> str:
    """Each row three patches of one tile and date, in four climate zones."""
    by_tile: dict[tuple, list[dict]] = {}
    for patch in patches():
        if int(patch["climate_zone"]) and patch["season"] > 0.6:
            by_tile.setdefault((zone_of(patch).symbol, patch["tile"], patch["date"]), []).append(patch)
    rows: dict[str, list[dict]] = {}
    for (symbol, *_), members in sorted(by_tile.items(), key=lambda item: -len(item[1])):
        if len(members) >= 3 and symbol not in rows and len(rows) < 4:
            rows[symbol] = members
    shapes = []
    for row, members in enumerate(rows.values()):
        for column, patch in enumerate(members[:3]):
            shapes.append(photograph(optical(patch), 14 + 186 * column, 92 + 178 * row, 172, colour=colour_of("s2")))
    words = "four rows of three simulated patches; each row is one tile in one climate zone."
    return drawing(shapes, 576, 720, "Tiles and their patches", words)


# --- Diagrams ----------------------------------------------------------------------------------------


def function() -> str:
    x = tile("s2", 90, 150, label="*x*", detail="120 × 120 × 12", size=150, pixels=optical(hero()))
    f = encoder(x.after(60), 150, "*f*", "s2", 170, 150)
    h = tensor(f.after(60), 150, "*h*\nfeatures", 80, 130, 26, "s2")
    g = head(h.after(60), 150, "*g*", width=130)
    answer = note(g.after(64), 150, "*g*(*f*(*x*))", size=32)
    miss = loss(g.after(50), 345, "loss", width=150)
    y = note(miss.x - 60, 345, "*y*: the true zone", anchor="end", colour=colour_of("labels"), bold=True)
    shapes = [x, f, h, g, answer, miss, y]
    shapes += [arrow(x, f, modality="s2"), arrow(f, h, modality="s2"), arrow(h, g), arrow(g, (answer.x - 8, 150))]
    shapes += [arrow((miss.x + 75, 180), miss, sides=("bottom", "top"))]
    shapes += [arrow((y.x + y.width + 6, 345), miss, modality="labels")]
    words = (
        "a patch x passes the encoder f, whose features h the head g turns into an answer; the loss compares it with y."
    )
    return drawing(shapes, 1160, 400, "A network is two functions", words)


def cycle() -> str:
    words = ("forward\npredict", "loss\nhow wrong?", "backward\nwhich way?", "step\ngo a little")
    places = ((150, 90), (700, 90), (700, 320), (150, 320))
    shapes = [block(x, y, word, 300, 120) for word, (x, y) in zip(words, places, strict=True)]
    forward, wrong, backward, step = shapes
    shapes += [
        arrow(forward, wrong),
        arrow(wrong, backward, sides=("bottom", "top")),
        arrow(backward, step, sides=("left", "right")),
        arrow(step, forward, "next batch", sides=("top", "bottom")),
    ]
    text = "forward, loss, backward, step, and round again with the next batch."
    return drawing(shapes, 1160, 410, "The four moves of learning", text)


def unet() -> str:
    """The backbone: five sizes down, four up, skips between equals, and the head."""
    widths, heights = (24, 26, 40, 60, 60), (190, 140, 100, 66, 40)
    x, down, up = 105, [], []
    for level in range(5):
        down.append(tensor(x, 120 + 42 * level, "", widths[level], heights[level], 12, "s2"))
        x = down[-1].after(34)
    for level in (3, 2, 1, 0):
        up.append((level, tensor(x, 120 + 42 * level, "", widths[level] - 6 * (level == 3), heights[level], 12, "s2")))
        x = up[-1][1].after(36)
    shapes = [note(20, 120, "*x*", size=34), arrow((48, 120), down[0], modality="s2"), *down]
    for level, shape in up:
        y = shape.y - heights[level] / 2 + 12
        shapes += [arrow((down[level].after(4), y), (shape.x - 4, y), modality="s2", dashed=True), shape]
    finest = up[-1][1]
    g = head(finest.after(62), 120, "*g*", width=110)
    shapes += [arrow(finest, g, "*h*", modality="s2"), g, arrow(g, (g.after(44), 120)), note(g.after(52), 120, "ŷ")]
    for level, shape in [*enumerate(down), *up]:
        words = "1" if not level else f"1/{2**level}"
        shapes.append(note(shape.x + shape.width / 2, 385, words, anchor="middle", colour=GREY))
    shapes += [note(20, 385, "size", colour=GREY), note(960, 300, "dashed: skip\nconnections", colour=GREY)]
    text = "the U-Net halves the map four times, doubles it four times, joins equal sizes; a head reads the finest."
    return drawing(shapes, 1160, 415, "The U-Net as a backbone, with a head", text)


def splits() -> str:
    """Two maps of tiles with patches, scattered and by tile."""
    random, shapes = np.random.default_rng(4), []
    for panel, (title, left) in enumerate((("random split", 60), ("split by tile", 640))):
        for index in range(6):
            x, y = left + 156 * (index % 3), 90 + 156 * (index // 3)
            shapes.append(frame([note(x + 60, y + 55, " ", size=1)], margin=58))
            for place in range(9):
                is_test = bool(random.random() < 0.25) if panel == 0 else index in (1, 5)
                sign = "test" if is_test else "train"
                centre = x + 22 + 38 * (place % 3), y + 17 + 38 * (place // 3)
                shapes.append(dot(*centre, sign))
        shapes.append(note(left + 215, 22, title, anchor="middle", bold=True))
    legend = [
        dot(330, 418, "train"),
        note(350, 418, "training patch"),
        dot(640, 418, "test"),
        note(660, 418, "test patch"),
    ]
    words = "left, test patches lie among the training patches of their tile; right, whole tiles are held out."
    return drawing([*shapes, *legend], 1160, 445, "Two ways to split", words)


def travel() -> str:
    there = tile("s2", 60, 105, label="", size=110, pixels=optical(patches()[5]))
    here = tile("s2", 60, 330, label="", size=110, pixels=optical(hero()))
    f1, f2 = encoder(there.after(60), 105, "*f*", "s2", 160), encoder(here.after(60), 330, "*f*", "s2", 160)
    g1, g2 = head(f1.after(70), 105, "*g*_{1}"), head(f2.after(70), 330, "new *g*", width=150)
    shapes = [there, here, f1, f2, g1, g2, cross(g1)]
    shapes += [note(g1.after(40), 105, "many labels,\nanother continent"), note(g2.after(36), 330, "48 labels, here")]
    shapes += [arrow(there, f1, modality="s2"), arrow(here, f2, modality="s2"), arrow(f1, g1), arrow(f2, g2)]
    shapes += [arrow(f1, f2, "copy the weights", sides=("bottom", "top"))]
    words = "the weights of f, trained elsewhere, are copied; the old head stays behind and a new one is put on."
    return drawing(shapes, 1160, 420, "Weights travel", words)


def dot(x, y, kind: str):
    """A patch on a map: a filled circle to train on, an open orange square to test on."""
    if kind == "train":
        svg = path(f"M{x - 11} {y}a11 11 0 1 1 0 0.01Z", fill=BLUE, stroke=BLUE)
    else:
        svg = rectangle(x - 12, y - 12, 24, 24, 2, fill="#FFFFFF", stroke=ORANGE, stroke_width=5)
    return Shape(svg, x - 12, y, 24, 24)
