"""Diagrams of lesson 1 that hold no data: functions that return SVG; figures.py writes them."""

import math

import numpy as np
from drawing import GREY, INK, WARNING, Shape, arrow, block, colour_of, drawing, note, tile
from svg import number, path, polygon, rectangle, tint

S2, S1, DEM, LABELS = (colour_of(name) for name in ("s2", "s1", "dem", "labels"))
_GROUND = 330
_TILT = math.tan(math.radians(38))


def piece(svg: str, x=0.0, y=0.0, width=0.0, height=0.0) -> Shape:
    return Shape(svg, x, y, width, height)


def _line(points, colour=INK, width=4, dashed=False) -> Shape:
    steps = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return piece(path(steps, stroke=colour, stroke_width=width, dashed=dashed))


# --- Sensors -----------------------------------------------------------------------------------------


def _ray(start, end, colour, width=4) -> Shape:
    """A straight arrow."""
    (x1, y1), (x2, y2) = start, end
    length = math.hypot(x2 - x1, y2 - y1)
    east, south = (x2 - x1) / length, (y2 - y1) / length
    back = x2 - 16 * east, y2 - 16 * south
    wings = [(back[0] - 9 * south, back[1] + 9 * east), (back[0] + 9 * south, back[1] - 9 * east)]
    line = path(f"M{number(x1)} {number(y1)}L{number(back[0])} {number(back[1])}", stroke=colour, stroke_width=width)
    return piece(line + polygon([(x2, y2), *wings], colour, 1, stroke_width=1))


def radar() -> str:
    centres = {"water": 170, "field": 450, "forest": 705, "houses": 980}
    answers = {
        "water": "mirror: dark",
        "field": "rough: grey",
        "forest": "leaves: light in VH",
        "houses": "corners: bright",
    }
    strengths = {"field": 2, "forest": 3, "houses": 5}
    shapes = [piece(rectangle(0, _GROUND, 1160, 16, 0, fill="#E8E2D8", stroke="#E8E2D8"))]
    shapes += [piece(rectangle(40, _GROUND - 2, 260, 18, 0, fill=tint(S2, 0.5), stroke=S2))]
    shapes += [_rough(350, 550), *_trees(centres["forest"]), *_houses(centres["houses"])]
    for name, centre in centres.items():  # the pulse falls from the left, 38 degrees off the vertical
        foot = _GROUND - (70 if name == "forest" else 8)
        shapes.append(_ray((centre - _TILT * (foot - 20), 20), (centre, foot), INK))
        for index in range(strengths.get(name, 0)):  # the way back, as many arrows as it is strong
            x = centre - 20 - 17 * index
            shapes.append(_ray((x, foot), (x - _TILT * 150, foot - 150), S1, 3))
        under = centre + (60 if name == "houses" else 0)
        shapes.append(note(under, _GROUND + 48, name, anchor="middle", bold=True))
        shapes.append(note(under, _GROUND + 84, answers[name], anchor="middle"))
    shapes.append(_ray((centres["water"], _GROUND - 8), (centres["water"] + _TILT * 130, _GROUND - 138), S1))
    text = (
        "pulses fall slantwise on water, which mirrors them away, on a field and on leaves, which scatter some back, "
        "and on houses, whose corners send most back."
    )
    return drawing(shapes, 1160, 440, "Four answers to one radar pulse", text)


def _rough(left, right) -> Shape:
    steps = [(x, _GROUND - (10 if index % 2 else 0)) for index, x in enumerate(range(left, right, 12))]
    return _line(steps, "#8A6F4E", 5)


def _trees(centre) -> list[Shape]:
    shapes = []
    for offset in (-90, -30, 30, 90):
        x = centre + offset
        shapes.append(_line([(x, _GROUND), (x, _GROUND - 34)], "#6B4F35", 6))
        crown = [(x - 32, _GROUND - 30), (x, _GROUND - 96), (x + 32, _GROUND - 30)]
        shapes.append(piece(polygon(crown, "#2E7D32", 0.5)))
    return shapes


def _houses(centre) -> list[Shape]:
    shapes = []
    for offset in (6, 96):
        x = centre + offset
        shapes.append(piece(rectangle(x, _GROUND - 60, 76, 60, 0, fill="#F3D9D5", stroke=INK)))
        shapes.append(piece(polygon([(x - 8, _GROUND - 60), (x + 38, _GROUND - 98), (x + 84, _GROUND - 60)], INK, 0.4)))
    return shapes


def surface() -> str:
    xs = np.arange(40, 1121, 8)
    ground = 290 + 26 * np.sin(xs / 170) - 0.05 * (xs - 40)
    top = ground.copy()
    top[(xs > 330) & (xs < 600)] -= 90
    top[(xs > 780) & (xs < 850)] -= 62
    top[(xs > 900) & (xs < 970)] -= 62
    shapes = []
    for x in range(350, 600, 50):
        y = float(np.interp(x, xs, ground))
        shapes += [_line([(x, y), (x, y - 30)], "#6B4F35", 6)]
        shapes.append(piece(polygon([(x - 27, y - 26), (x, y - 88), (x + 27, y - 26)], "#2E7D32", 0.4)))
    for x in (784, 904):
        y = float(np.interp(x + 30, xs, ground))
        shapes.append(piece(rectangle(x, y - 58, 62, 58, 0, fill="#F3D9D5", stroke=INK)))
    shapes += [_line(zip(xs, ground, strict=True), GREY, 4, dashed=True), _line(zip(xs, top, strict=True), DEM, 7)]
    shapes += [
        note(60, 70, "surface: what the DEM holds", colour=DEM, bold=True),
        note(60, 360, "bare ground: what one often thinks it holds", colour=GREY),
        note(464, 140, "forest, +15 m", anchor="middle"),
        note(876, 140, "houses, +6 m", anchor="middle"),
    ]
    text = "a profile with trees and houses; the elevation stored runs over their tops, above the dashed bare ground."
    return drawing(shapes, 1160, 400, "A surface model", text)


# --- Pipeline ----------------------------------------------------------------------------------------


def conveyor() -> str:
    names = ("read", "batch", "parse", "to 10 m", "normalise", "prefetch")
    flows = ("bytes", "32 × bytes", "uint16\n3 grids", "float32\n1 grid", "0 to 1", "ready")
    shapes, previous = [], None
    for index, (name, flow) in enumerate(zip(names, flows, strict=True)):
        here = block(14 + index * 195, 120, name, width=154, modality="s2" if index in (3, 4) else None)
        shapes += [here, note(here.x + 77, 216, flow, anchor="middle", colour=GREY)]
        if previous:
            shapes.append(arrow(previous, here))
        previous = here
    shapes.append(note(14, 40, "tf.data: nothing moves until somebody asks for a batch", colour=GREY))
    text = "read, batch, parse, resample to 10 m, normalise, prefetch; under each what comes out of it."
    return drawing(shapes, 1160, 270, "The pipeline as a conveyor belt", text)


def order() -> str:
    """Two epochs of six patches after three orders of the same words."""
    random = np.random.default_rng(4)
    six = list("ABCDEF")
    mixed = [str(letter) for letter in random.permutation(six * 2)]
    pairs = [["A", "B"], ["C", "D"], ["E", "F"]]
    mates = [letter for _ in range(2) for index in random.permutation(3) for letter in pairs[index]]
    right = [str(letter) for _ in range(2) for letter in random.permutation(six)]
    rows = (
        ("repeat, shuffle, batch", mixed, "some twice, some never"),
        ("batch, shuffle, repeat", mates, "always the same pairs"),
        ("shuffle, repeat, batch", right, "right"),
    )
    shapes = []
    for row, (words, letters, verdict) in enumerate(rows):
        y = 90 + 120 * row
        shapes.append(note(14, y, words, bold=row == 2))
        for index, letter in enumerate(letters):
            x = 350 + 44 * index + 14 * (index // 2) + 24 * (index // 6)
            epoch = letters[6 * (index // 6) : 6 * (index // 6) + 6]
            twice = epoch.count(letter) > 1
            fill = tint(WARNING, 0.25) if twice else tint(S2, 0.25)
            box = rectangle(x, y - 22, 42, 44, 5, fill=fill, stroke=WARNING if twice else S2)
            shapes += [piece(box), note(x + 21, y, letter, anchor="middle")]
        shapes.append(note(350, y + 46, verdict, colour=GREY if row == 2 else WARNING))
    shapes += [note(480, 34, "first epoch", anchor="middle", colour=GREY)]
    shapes += [note(838, 34, "second epoch", anchor="middle", colour=GREY)]
    text = "six patches in two epochs of three batches: only shuffle, repeat, batch shows each once, with new mates."
    return drawing(shapes, 1160, 400, "Shuffle, repeat and batch in three orders", text)


# --- Grids -------------------------------------------------------------------------------------------


def half_pixel() -> str:
    left, wide = 220, 220  # one pixel of 20 m
    shapes = []
    for row, (step, label, y) in enumerate(((wide, "20 m", 110), (wide / 2, "10 m", 290))):
        shapes.append(note(190, y, label, anchor="end", bold=True))
        for index in range(int(4 * wide / step)):
            box = rectangle(left + index * step, y - 34, step, 68, 0, fill=tint(S2, 0.12 + 0.1 * row), stroke=S2)
            shapes += [piece(box), _dot(left + (index + 0.5) * step, y, INK)]
    target = left + 3.5 * wide / 2  # a pixel between the first two centres of the coarse grid
    for index, weight in ((1, "3/4"), (2, "1/4")):
        centre = left + (index + 0.5) * wide
        shapes.append(arrow((centre, 120), (target, 278), weight, sides=("bottom", "top")))
    shapes += [_dot(target, 290, S1, 11), note(left, 372, "a number belongs to the centre of its pixel", colour=GREY)]
    text = "centres of the 10 m pixels lie a quarter and three quarters into a 20 m pixel; weights are 3/4 and 1/4."
    return drawing(shapes, 1160, 400, "Pixel centres of two grids", text)


def _dot(x, y, colour, radius=7) -> Shape:
    circle = f"M{number(x - radius)} {number(y)}a{radius} {radius} 0 1 1 0 0.01Z"
    return piece(path(circle, fill=colour, stroke=colour, stroke_width=1))


# --- Records -----------------------------------------------------------------------------------------


def record(sizes: dict[str, int], shards: int, patches: int) -> str:
    """A folder of files becomes one example; `sizes` are the bytes of its rasters."""
    names = {"s2_10m": "s2", "s2_20m": "s2", "s2_60m": "s2", "s1": "s1", "dem": "dem", "land_cover_map": "labels"}
    folder = tile(None, 14, 130, label="17 files", detail="one patch", size=130, sheets=3)
    shard = tile(None, 1000, 130, label=f"{shards} shards", detail=f"{patches} patches", size=130, sheets=3)
    shapes = [folder, shard]
    x, scale = 250.0, 640 / sum(sizes.values())
    for name, size in sizes.items():
        modality, width = names[name], size * scale
        look = {"fill": tint(colour_of(modality), 0.3), "stroke": colour_of(modality)}
        shapes.append(piece(rectangle(x, 85, width, 90, 0, **look)))
        middle = x + width / 2
        if size > 20_000:
            shapes.append(note(middle, 130, f"{size / 1000:.0f}", anchor="middle"))
        x += width
    shapes += [arrow(folder, (248, 130)), arrow((892, 130), shard)]
    shapes += [
        note(250, 50, "one example, kB per raster", colour=GREY),
        note(250, 225, "12 bands, 3 grids", colour=S2, bold=True),
        note(575, 225, "radar", colour=S1, bold=True),
        note(700, 225, "height", colour=DEM, bold=True),
        note(830, 225, "map", colour=LABELS, bold=True),
    ]
    text = "seventeen files become one example of byte strings, and examples follow one another in shards."
    return drawing(shapes, 1160, 290, "From files to records", text)


FIGURES = (radar, surface, conveyor, order, half_pixel)
