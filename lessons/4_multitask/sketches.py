"""Diagrams of lesson 4 that hold no measured data: functions that return SVG; figures.py writes them."""

import math

from drawing import (
    ACCENT,
    GREY,
    INK,
    WARNING,
    Shape,
    arrow,
    block,
    colour_of,
    decoder,
    drawing,
    encoder,
    head,
    join,
    loss,
    note,
    tensor,
    tile,
    tokens,
)
from svg import number, path, polygon, rectangle, tint

from eokeras.ben_ge.schema import LAND_COVER

LABELS = colour_of("labels")
TUTORIAL_WEIGHTS = (("one network, three heads", 17_460_570), ("three networks", 52_005_594))
"""U-Nets of width 64 with the tutorial's heads; the notebook counts them."""
TASKS = (("zone", "a class"), ("map", "a class per pixel"), ("season", "a number"))
COLOURS = {cover.name: "#{:02X}{:02X}{:02X}".format(*cover.colour) for cover in LAND_COVER}
TREES, WATER = COLOURS["tree cover"], COLOURS["permanent water bodies"]


def line(points, colour=INK, width=4, dashed=False) -> Shape:
    steps = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return Shape(path(steps, stroke=colour, stroke_width=width, dashed=dashed), *points[0], 0, 0)


def box(x, y, width, height, fill, stroke=INK) -> Shape:
    """Upper left corner at `x`, `y`."""
    return Shape(rectangle(x, y, width, height, 0, fill=fill, stroke=stroke), x, y + height / 2, width, height)


def vector(start, end, colour=INK, width=6, dashed=False) -> Shape:
    """A straight arrow from point to point, as vectors are drawn."""
    (x1, y1), (x2, y2) = start, end
    length = math.hypot(x2 - x1, y2 - y1)
    along = (x2 - x1) / length, (y2 - y1) / length
    neck = x2 - 22 * along[0], y2 - 22 * along[1]
    wings = [(neck[0] - 11 * along[1], neck[1] + 11 * along[0]), (neck[0] + 11 * along[1], neck[1] - 11 * along[0])]
    shaft = f"M{number(x1)} {number(y1)}L{number(neck[0])} {number(neck[1])}"
    svg = path(shaft, stroke=colour, stroke_width=width, dashed=dashed)
    return Shape(svg + polygon([end, *wings], colour, 1.0, stroke_width=1), x1, y1, 0, 0)


# --- The idea ------------------------------------------------------------------------------------------


def idea() -> str:
    x = tile("s2", 20, 200, label="*x*", detail="12 bands")
    f, d = encoder(205, 200, "*f*", "s2", width=130, height=170), decoder(350, 200, "", "s2", width=130, height=170)
    h = tensor(550, 200, "*h*", height=110, modality="s2")
    shapes = [x, f, d, h, arrow(x, f, modality="s2"), arrow(d, h, modality="s2")]
    for index, (name, words) in enumerate(TASKS, start=1):
        y = 70 + 130 * (index - 1)
        g = head(750, y, f"*g*_{{{index}}}", "labels", width=110)
        shapes += [g, arrow(h, g), arrow(g, (g.after(50), y))]
        shapes += [note(g.after(60), y - 18, name, bold=True, colour=LABELS), note(g.after(60), y + 18, words)]
    words = "one backbone f turns a patch into features h; three heads read them: a class, a map, a number."
    return drawing(shapes, 1180, 400, "One backbone, three heads", words)


def sizes() -> str:
    shapes = []
    for row, (name, weights) in enumerate(TUTORIAL_WEIGHTS):
        y, width = 70 + 130 * row, weights / TUTORIAL_WEIGHTS[1][1] * 560
        shapes += [note(20, y, name, bold=True), box(400, y - 36, width, 72, tint(ACCENT, 0.35), ACCENT)]
        shapes.append(note(420 + width, y, f"{weights / 1e6:.2f} M", bold=True))
        shapes += [line([(400 + width * cut / 3, y - 36), (400 + width * cut / 3, y + 36)]) for cut in (1, 2) if row]
    words = "one network with three heads has 17.46 million weights, three networks have 52.01 million."
    return drawing(shapes, 1160, 270, "Weights of one network and of three", words)


# --- Metrics and losses --------------------------------------------------------------------------------


def overlap() -> str:
    """Six pixels: reference, a lazy prediction, and the IoU of both classes."""
    shapes, side = [], 84
    panels = (("reference", (0, 0, 0, 0, 0, 1)), ("lazy: all trees", (0,) * 6))
    for panel, (name, pixels) in enumerate(panels):
        left = 20 + 300 * panel
        shapes.append(note(left + 1.5 * side, 40, name, anchor="middle", bold=True))
        for index, pixel in enumerate(pixels):
            x, y = left + side * (index % 3), 90 + side * (index // 3)
            shapes.append(box(x, y, side, side, WATER if pixel else TREES, "#FFFFFF"))
    rows = (
        ("pixel accuracy", "5 / 6 = 0.83", INK),
        ("IoU trees", "5 / (5 + 1 + 0) = 0.83", TREES),
        ("IoU water", "0 / (0 + 0 + 1) = 0", WATER),
        ("mean IoU", "0.42", INK),
    )
    for row, (name, value, colour) in enumerate(rows):
        y = 80 + 62 * row
        shapes += [note(640, y, name, bold=True, colour=colour), note(850, y, value)]
    words = "five pixels of trees and one of water, all called trees: accuracy 0.83, mean IoU 0.42."
    return drawing(shapes, 1160, 300, "A lazy map", words)


def losses() -> str:
    shapes = []
    total = join(820, 200, "add", size=70)
    for index, (name, unit) in enumerate((("zone", "nats"), ("map", "nats a pixel"), ("season", "0 … 1")), start=1):
        y = 70 + 130 * (index - 1)
        g = head(30, y, f"*g*_{{{index}}}", "labels", width=110)
        miss = loss(250, y, f"*L*_{{{index}}}", width=130)
        shapes += [g, miss, arrow(g, miss), note(miss.after(24), y - 26, f"{name}: {unit}")]
        times = join(690, y, "multiply", modality="labels")
        shapes += [
            times,
            arrow(miss, times),
            arrow(times, total),
            note(718, y - 48, f"*w*_{{{index}}}", anchor="middle"),
        ]
    shapes += [total, arrow(total, (960, 200)), note(975, 200, "*L*", size=40, bold=True)]
    words = "each head has a loss in a unit of its own; weights turn them into one sum."
    return drawing(shapes, 1060, 400, "One loss from three", words)


def units() -> str:
    """The step as the unit of season gets finer: the same two arrows, one of them longer."""
    shapes, zone, lefts = [], (70, -100), (60, 400, 760)
    for left, words, factor in zip(lefts, ("season in 0 … 1", "a finer unit", "in per cent"), (1, 3, 9), strict=True):
        origin = (left, 200)
        season = (30 * factor, 12 * factor)
        step = (origin[0] + zone[0] + season[0], origin[1] + zone[1] + season[1])
        shapes.append(vector(origin, (origin[0] + zone[0], origin[1] + zone[1]), GREY))
        shapes.append(vector(origin, (origin[0] + season[0], origin[1] + season[1]), LABELS))
        shapes.append(vector(origin, step, INK, 8))
        shapes.append(note(left, 30, words, bold=True))
    shapes += [
        note(60, 370, "map and zone", colour=GREY, bold=True),
        note(400, 370, "season", colour=LABELS, bold=True),
    ]
    shapes.append(note(760, 370, "their sum: the step", bold=True))
    words = "the finer the unit of season, the larger its loss, and the closer the common step to what season wants."
    return drawing(shapes, 1160, 395, "Units are weights", words)


# --- Conflict and rules --------------------------------------------------------------------------------


def angle() -> str:
    shapes = []
    cases = (("agree", 0.87, 30), ("do not meet", 0.0, 90), ("conflict", -0.71, 135))
    for panel, (words, cosine, degrees) in enumerate(cases):
        x, y = 170 + 380 * panel, 270
        turn = math.radians(degrees)
        shapes.append(vector((x, y), (x + 170, y)))
        shapes.append(vector((x, y), (x + 170 * math.cos(turn), y - 170 * math.sin(turn)), LABELS))
        shapes.append(note(x + 90, 340, words, anchor="middle", bold=True, colour=WARNING if cosine < 0 else INK))
        shapes.append(note(x + 90, 382, f"cosine {cosine:.2f}".replace("-", "−"), anchor="middle"))
        shapes += [note(x + 150, y + 34, "∇*L*_{a}")] if panel == 0 else []
        shapes += [note(x + 110, y - 116, "∇*L*_{b}", colour=LABELS)] if panel == 0 else []
    words = "two gradients at 30 degrees agree, at 90 do not meet, at 135 degrees conflict."
    return drawing(shapes, 1160, 410, "The cosine of two tasks' gradients", words)


def surgery() -> str:
    """The pair of the notebook: a = (1, 0), b = (-1, 1); a' = (1/2, 1/2), b' = (0, 1)."""
    shapes, unit = [], 150
    for panel, (title, first, second) in enumerate((("plain sum", (1, 0), (-1, 1)), ("PCGrad", (0.5, 0.5), (0, 1)))):
        x, y = 300 + 560 * panel, 320

        def to(point, x=x, y=y):
            return x + unit * point[0], y - unit * point[1]

        total = first[0] + second[0], first[1] + second[1]
        if panel:
            shapes += [
                vector((x, y), to((1, 0)), GREY, 3, dashed=True),
                vector((x, y), to((-1, 1)), LABELS, 3, dashed=True),
            ]
        shapes += [vector((x, y), to(total), INK, 9)]
        shapes += [vector((x, y), to(first), GREY), vector((x, y), to(second), LABELS)]
        primed = "′" if panel else ""
        shapes += [note(*_beside(to(first), 14, 26), f"*a*{primed}", colour=GREY, bold=True)]
        shapes += [note(*_beside(to(second), -46 if panel else -44, 0), f"*b*{primed}", colour=LABELS, bold=True)]
        shapes += [note(to(total)[0] + 18, to(total)[1], "step", bold=True)]
        shapes.append(note(x, 30, title, anchor="middle", bold=True))
        gains = "*a* gains nothing" if not panel else "both gain"
        shapes.append(note(x, 375, gains, anchor="middle", colour=GREY))
    words = "the sum of two conflicting gradients does nothing for a; without their conflicting parts both gain."
    return drawing(shapes, 1160, 400, "Gradient surgery", words)


def _beside(point, right, down):
    return point[0] + right, point[1] + down


# --- Claims, labels, time ------------------------------------------------------------------------------


def stamped() -> str:
    x = tile("s2", 20, 120, detail="12 bands")
    mark = tile(None, 34, 320, label="stamp", size=84)
    both = join(240, 200)
    f, h = encoder(380, 200, "*f*", width=150, height=150), tensor(620, 200, "*h*", height=110)
    g = head(820, 90, "*g*_{1..3}", "labels", width=130)
    probe = block(820, 310, "linear probe", width=210)
    shapes = [x, mark, both, f, h, g, probe, arrow(x, both), arrow(mark, both), arrow(both, f, "13")]
    shapes += [note(76, 320, "0.7", anchor="middle", bold=True), arrow(f, h), arrow(h, g), arrow(h, probe)]
    shapes += [arrow(g, (1000, 90)), note(1012, 90, "*ŷ*"), arrow(probe, (1080, 310))]
    shapes.append(note(1090, 310, "0.7?", bold=True))
    words = "a random number is stamped on each patch as a 13th band; a probe tries to read it from the features."
    return drawing(shapes, 1180, 420, "A test that can fail", words)


def lottery() -> str:
    x = tile("s2", 20, 200, detail="12 bands")
    f, h = encoder(200, 200, "*f*", "s2", width=140, height=160), tensor(400, 200, "*h*", height=110, modality="s2")
    shapes = [x, f, h, arrow(x, f, modality="s2"), arrow(f, h, modality="s2")]
    for index in range(4):
        y, last = 50 + 100 * index, index == 3
        g = head(570, y, f"*g*_{{{index + 1}}}", None if last else "labels", width=110, dashed=last)
        words = "a lottery by the patch's name" if last else TASKS[index][0]
        shapes += [g, arrow(h, g, dashed=last), note(g.after(30), y, words, colour=WARNING if last else INK, bold=True)]
    words = "a fourth head must answer a lottery that no picture tells; it shares the backbone with the other three."
    return drawing(shapes, 1160, 400, "A task that cannot help", words)


def serving() -> str:
    shapes = []
    for panel, title in enumerate(("three networks: three passes", "one network: one pass")):
        left = 30 + 590 * panel
        shapes.append(note(left, 26, title, bold=True))
        for index in range(3):
            y = 110 + 125 * index
            if panel == 0 or index == 1:
                x = tile("s2", left, y, "", size=70)
                f = encoder(left + 130, y, "*f*" + (f"_{{{index + 1}}}" if not panel else ""), "s2", 110, 96)
                shapes += [x, f, arrow(x, f, modality="s2")]
            g = head(left + 330, y, f"*g*_{{{index + 1}}}", "labels", width=100)
            source = f if panel == 0 else (left + 240, 235)
            shapes += [g, arrow(source, g), arrow(g, (left + 480, y))]
    words = "three networks compute three backbones for every patch; one network computes one and reads it three times."
    return drawing(shapes, 1160, 420, "What serving costs", words)


def partly() -> str:
    shapes, size = [], 34
    rows = (("zone", range(24)), ("season", range(24)), ("map", (3, 17)))
    for row, (name, known) in enumerate(rows):
        y = 60 + 90 * row
        shapes.append(note(20, y, name, bold=True))
        masked = [index for index in range(24) if index not in known]
        shapes.append(tokens(160, y, 24, modality="labels", masked=masked, size=size, gap=7))
    shapes.append(note(160, 320, "24 patches; filled: a label, dashed: none (VOID or NaN)", colour=GREY))
    words = "of 24 patches all have a climate zone and a season, and two have a map."
    return drawing(shapes, 1160, 350, "Labels for some questions only", words)


def clocks() -> str:
    """A sketch of three validation losses with their lowest points at different epochs."""
    left, bottom, width = 60, 340, 1040
    shapes = [arrow((left, bottom), (left + width, bottom)), note(left + width, bottom + 30, "epoch", anchor="end")]
    shapes.append(arrow((left, bottom), (left, 20), sides=("top", "bottom")))
    shapes.append(note(left + 20, 30, "validation loss"))
    curves = (("season", 0.22, 60, INK), ("zone", 0.45, 130, GREY), ("map", 0.85, 200, LABELS))
    for name, lowest, lift, colour in curves:
        points = []
        for step in range(0, 101):
            t = step / 100
            rise = 130 * (t - lowest) ** 2 if t > lowest else 95 * ((lowest - t) / lowest) ** 2
            points.append((left + 20 + t * (width - 180), bottom - lift + 20 - rise))
        x, y = left + 20 + lowest * (width - 180), bottom - lift + 20
        shapes += [line(points, colour, 5), line([(x, y - 14), (x, y + 14)], colour, 7)]
        shapes.append(note(points[-1][0] + 14, points[-1][1], name, bold=True, colour=colour))
    words = "a sketch: the validation losses of season, zone and map are lowest at different epochs."
    return drawing(shapes, 1160, 390, "Three clocks", words)


FIGURES = (
    idea, sizes, overlap, losses, units, angle, surgery, stamped, lottery, serving, partly, clocks,
)  # fmt: skip
