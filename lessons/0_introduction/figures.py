"""Draws figures/*.svg: `python lessons/build.py figures 0_introduction` (about a minute; patches are simulated once).

Every patch shown is simulated, and chosen by a rule, not by its number. Diagrams marked as sketches hold no data.
"""

import calendar
import math
from functools import cache
from pathlib import Path

import charts
import numpy as np
import sketches
from drawing import INK, Shape, arrow, colour_of, drawing, encoder, head, note, photograph, tensor, tile
from svg import number, path, rectangle, tint
from views import elevation, land_cover, optical, radar

import eokeras as eo
from eokeras.ben_ge import schema

TREE = Path("work/ben-ge-sim")
CLEAR = 0.02  # share of bright pixels below which a patch counts as free of clouds and snow
CORINE_SIDE = 500 / schema.PATCH_SIZE_M  # 25 ha are 500 m x 500 m


# --- Patches -------------------------------------------------------------------------------------------


@cache
def patches() -> list[dict]:
    """Features of every simulated patch, and what the rules below ask for."""
    if not TREE.exists():
        eo.ben_ge.simulate(TREE, patches=150, seed=3)
    source = eo.ben_ge.open_source(TREE)
    return [describe(source.read(name).features) for name in source.patch_ids]


def describe(features) -> dict:
    """The features with shares of bright and of snowy pixels, and the variety of land cover (entropy)."""
    bands = schema.RASTERS["s2_10m"].bands
    blue, green = (features["s2_10m"][..., bands.index(name)].astype(float) for name in ("B02", "B03"))
    infrared = features["s2_20m"][..., schema.RASTERS["s2_20m"].bands.index("B11")].astype(float)
    infrared = infrared.repeat(2, axis=0).repeat(2, axis=1)
    snow = (green - infrared) / (green + infrared) > 0.4  # normalised difference snow index
    bright, fractions = blue > 2000, np.asarray(features["land_cover_fractions"])
    kinds = fractions[fractions > 0]
    return {
        **features,
        "bright": float(bright.mean()),
        "snow": float((bright & snow).mean()),
        "relief": float(np.ptp(features["dem"])),
        "variety": -float((kinds * np.log(kinds)).sum()),
        "mostly": schema.LAND_COVER[int(fractions.argmax())].name,
    }


def most(of, among=lambda patch: True) -> dict:
    """The patch with the most `of` something, among those that pass."""
    return max(filter(among, patches()), key=lambda patch: patch[of])


def hero() -> dict:
    """The clear patch of the most varied land cover, which stands for "a place" throughout."""
    return most("variety", lambda patch: patch["bright"] < CLEAR)


# --- Figures of patches --------------------------------------------------------------------------------


def cover() -> str:
    clear = sorted((p for p in patches() if p["bright"] < CLEAR), key=lambda p: p["variety"], reverse=True)
    rows, seen = [], set()
    for patch in clear:  # one patch of a tile
        if patch["tile"] not in seen and len(rows) < 5:
            seen.add(patch["tile"])
            rows.append(patch)
    views, side = (optical, radar, elevation, land_cover), 144
    shapes = [
        Shape(photograph(view(patch), column * side, row * side + side / 2, side, colour="#0E2233").svg, 0, 0, 0, 0)
        for row, patch in enumerate(rows)
        for column, view in enumerate(views)
    ]
    words = "Five simulated places in rows; optical image, radar image, elevation and land cover in columns."
    return drawing(shapes, 576, 720, "A mosaic of places and sensors", words)


def views() -> str:
    patch, side, step = hero(), 200, 234
    weather = dict(zip(schema.CHANNELS["era5"], patch["era5"], strict=True))
    wind = math.hypot(weather["wind-u_s2"], weather["wind-v_s2"])
    numbers = (
        f"{weather['temperature_s2'] - 273.15:.0f} °C\n{wind:.0f} m/s wind\n{weather['relhumidity_s2']:.0f} % humid"
    )
    shapes = [
        tile("s2", 14, 150, detail="12 bands of light", size=side, pixels=optical(patch)),
        tile("s1", 14 + step, 150, detail="radar echo, dB", size=side, pixels=radar(patch)),
        tile("dem", 14 + 2 * step, 150, detail="metres", size=side, pixels=elevation(patch)),
        tile("era5", 14 + 3 * step, 150, detail="8 numbers", size=side),
        tile("labels", 14 + 4 * step, 150, detail="to be predicted", size=side, pixels=land_cover(patch)),
        note(14 + 3 * step + side / 2, 150, numbers, anchor="middle"),
    ]
    words = "the same simulated place as optical image, radar image, elevation, weather and land-cover map."
    return drawing(shapes, 1160, 340, "One place, five kinds of data", words)


def faces() -> str:
    def forest(patch):
        return patch["mostly"] == "tree cover"

    def place(patch):
        return patch["tile"], *patch["cell"]

    summer = most("season", lambda patch: forest(patch) and patch["bright"] < CLEAR)
    slope = most("relief", lambda patch: forest(patch) and patch["bright"] < CLEAR)
    winter = most("snow", lambda patch: place(patch) == place(slope))
    cloudy = most("bright", lambda patch: forest(patch) and patch["snow"] < 0.1 and patch["bright"] < 0.6)
    shapes = []
    for column, (patch, words) in enumerate(((summer, ""), (slope, ""), (winter, ", snow"), (cloudy, ", clouds"))):
        shown = photograph(optical(patch), 10 + column * 292, 135, 262)
        month = calendar.month_name[int(patch["date"][5:7])]
        shapes += [shown, note(shown.x + 131, 296, month + words, anchor="middle")]
    words = (
        "four simulated patches with much forest: green in summer, on a steep slope, the same under snow, under clouds."
    )
    return drawing(shapes, 1160, 320, "One class, four faces", words)


def shuffled() -> str:
    image = optical(hero())
    order = np.random.default_rng(0).permutation(120 * 120)
    mixed = image.reshape(-1, 3)[order].reshape(image.shape)
    left, right = photograph(image, 130, 176, 340), photograph(mixed, 690, 176, 340)
    shapes = [left, right, arrow(left, right, "shuffle")]
    shapes += [note(300, 372, "a place", anchor="middle"), note(860, 372, "the same pixels", anchor="middle")]
    words = "a simulated patch, and the same pixels in random order: the same numbers, and no landscape."
    return drawing(shapes, 1160, 395, "Arrangement carries the meaning", words)


def heads() -> str:
    patch, rows = hero(), (54, 168, 282, 396)
    x = tile("s2", 14, 225, "*x*", size=140, pixels=optical(patch))
    f = encoder(x.after(48), 225, "*f*", width=130, height=190)
    h = tensor(f.after(48), 225, "*h*", height=120)
    symbol = schema.KOPPEN_GEIGER[int(patch["climate_zone"])].symbol
    season = float(patch["season"])
    answers = (
        ("classification", f"climate zone: {symbol}", _bars),
        ("regression", f"season: {season:.2f}", lambda left, y: _gauge(left, y, season)),
        ("segmentation", "a class for each pixel", lambda left, y: photograph(land_cover(patch), left, y, 96)),
        ("object detection", "boxes; not in this course", lambda left, y: _boxes(optical(patch), left, y)),
    )
    shapes = [x, f, h, arrow(x, f), arrow(f, h)]
    for y, (kind, detail, icon) in zip(rows, answers, strict=True):
        g = head(h.after(80), y, "*g*", "labels", width=96, dashed=kind == "object detection")
        answer = icon(g.after(42), y)
        words = note(answer.after(20), y - 18, kind, colour=colour_of("labels"), bold=True)
        shapes += [arrow(h, g), g, arrow(g, answer), answer, words, note(answer.after(20), y + 18, detail)]
    words = "an input x passes the backbone f; the features h go to heads g for a class, a number, a map or boxes."
    return drawing(shapes, 1160, 450, "One backbone, four heads", words)


def _icon(svg: str, left: float, y: float) -> Shape:
    frame = rectangle(left, y - 48, 96, 96, 0, fill="#FFFFFF", stroke=INK, stroke_width=3)
    return Shape(frame + svg, left, y, 96, 96)


def _bars(left, y):
    heights, colour = (16, 30, 66, 22, 10), colour_of("labels")
    bars = (
        rectangle(left + 10 + 16 * index, y + 40 - high, 11, high, 0, fill=tint(colour, 0.6), stroke=colour)
        for index, high in enumerate(heights)
    )
    return _icon("".join(bars), left, y)


def _gauge(left, y, share):
    """A dial: `share` 0 points left, 1 right."""
    ends = f"M{left + 14} {y + 18}A34 34 0 0 1 {left + 82} {y + 18}"
    tip = left + 48 - 30 * math.cos(math.pi * share), y + 18 - 30 * math.sin(math.pi * share)
    hand = f"M{left + 48} {y + 18}L{number(tip[0])} {number(tip[1])}"
    return _icon(path(ends, stroke_width=4) + path(hand, stroke=colour_of("labels"), stroke_width=7), left, y)


def _boxes(image, left, y):
    boxes = ((20, -30, 38, 30), (48, 8, 34, 30))
    marks = (rectangle(left + a, y + b, c, d, 0, fill="none", stroke="#FFFFFF", stroke_width=4) for a, b, c, d in boxes)
    shown = photograph(image, left, y, 96)
    return Shape(shown.svg + "".join(marks), left, y, 96, 96)


def smallest_area() -> str:
    edge = 340
    shown = photograph(optical(hero()), 90, 176, edge)
    side = edge * CORINE_SIDE
    left, y = shown.x + edge - side - 14, shown.y + 40
    outline = rectangle(left, y - side / 2, side, side, 0, fill="none", stroke="#FFFFFF", stroke_width=6)
    square = Shape(outline, left, y, side, side)
    shapes = [
        shown,
        square,
        note(580, 80, "a patch of ben-ge", bold=True),
        note(580, 118, "1200 m × 1200 m = 144 ha"),
        note(580, y - 19, "the smallest area that CORINE maps", bold=True),
        note(580, y + 19, "500 m × 500 m = 25 ha"),
        arrow((570, 98), (434, 98), sides=("left", "right")),
        arrow((570, y), square, sides=("left", "right")),
    ]
    words = "a simulated patch of 144 hectares, and on it a square of 25 hectares, the smallest area in the CORINE map."
    return drawing(shapes, 1160, 352, "A patch and the smallest mapped area", words)


if __name__ == "__main__":
    charts.write((cover, views, faces, shuffled, heads, smallest_area, *sketches.FIGURES))
