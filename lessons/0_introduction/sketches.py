"""The introduction's diagrams and sketches that hold no data: functions that return SVG; figures.py writes them."""

import itertools
import math

from drawing import (
    ACCENT,
    GREY,
    INK,
    Shape,
    arrow,
    colour_of,
    drawing,
    encoder,
    head,
    join,
    note,
    tile,
)
from svg import circle, number, path, rectangle, tint

LABELS = colour_of("labels")


def curve(points, colour=INK, width=5, dashed=False) -> Shape:
    """A line through points."""
    steps = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return Shape(path(steps, stroke=colour, stroke_width=width, dashed=dashed), *points[0], 0, 0)


def axes(left, bottom, width, height, across, up) -> list[Shape]:
    """Two arrows from one corner, and what they mean."""
    return [
        arrow((left, bottom), (left + width, bottom)),
        arrow((left, bottom), (left, bottom - height), sides=("top", "bottom")),
        note(left + width, bottom + 30, across, anchor="end"),
        note(left + 20, bottom - height + 8, up),
    ]


def scaling() -> str:
    left, bottom = 60, 340
    points = [(left + 40, 60), (left + 250, 66)]
    points += [(left + 250 + step * 50, 66 + step * 21) for step in range(1, 11)]
    points += [(left + 790, 279), (left + 1040, 281)]
    shapes = [*axes(left, bottom, 1080, 320, "training data (logarithmic)", "error (logarithmic)")]
    for border in (left + 250, left + 750):
        shapes.append(curve([(border, 60), (border, bottom)], GREY, 2, dashed=True))
    shapes += [
        curve(_smooth(points), ACCENT, 7),
        note(left + 145, 300, "guessing", anchor="middle", colour=GREY),
        note(left + 560, 110, "a power of the data", bold=True, anchor="middle", colour=ACCENT),
        note(left + 910, 240, "what cannot be known", anchor="middle", colour=GREY),
    ]
    words = "a sketch: with more training data the error stays flat, then falls as a straight line, then flattens."
    return drawing(shapes, 1160, 395, "Error against training data", words)


def _smooth(points, rounds=4):
    """Corners cut (Chaikin), ends kept."""
    for _ in range(rounds):
        cut = [points[0]]
        for (x1, y1), (x2, y2) in itertools.pairwise(points):
            cut += [(0.75 * x1 + 0.25 * x2, 0.75 * y1 + 0.25 * y2), (0.25 * x1 + 0.75 * x2, 0.25 * y1 + 0.75 * y2)]
        points = [*cut, points[-1]]
    return points


def efficiency() -> str:
    left, bottom, top = 60, 345, 45

    def score(x, shift):  # logistic in the logarithm of labels
        return bottom - 40 - 250 / (1 + math.exp(-(x - shift) / 110))

    xs = range(left + 30, left + 1020, 10)
    plain, better = ([(x, score(x, shift)) for x in xs] for shift in (690, 330))
    few, many, same = 380, 740, score(740, 690)
    shapes = [
        *axes(left, bottom, 1080, bottom - top + 30, "labels (logarithmic)", "score"),
        curve(plain, INK, 6, dashed=True),
        curve(better, LABELS, 7),
        arrow((many - 10, same), (few + 12, same), sides=("left", "right")),
        note(few + 120, same + 46, "same score,\nfewer labels", anchor="middle", bold=True),
        arrow((many + 10, same - 14), (many + 10, score(many + 10, 330) + 10), sides=("top", "bottom")),
        note(many + 60, same + 40, "same labels,\nbetter score", bold=True),
        note(490, score(490, 330) - 50, "efficient", anchor="end", colour=LABELS, bold=True),
        note(670, bottom - 72, "from scratch", colour=GREY, bold=True),
    ]
    words = "a sketch of score against labels: the efficient model reaches the same score with fewer labels."
    return drawing(shapes, 1160, 398, "Two ways to read a label-efficiency curve", words)


def supply() -> str:
    """Images along time, a label for one of them."""
    shapes, step = [], 92
    for index in range(12):
        shapes.append(tile("s2", 30 + index * step, 110, "", size=62, sheets=2))
    shapes += [
        note(20, 30, "an image: every five days, of every place, free for everyone", bold=True, colour=colour_of("s2"))
    ]
    shapes += [arrow((20, 190), (1140, 190)), note(1140, 218, "time", anchor="end", colour=GREY)]
    label = tile("labels", 30 + 3 * step, 300, "", size=62)
    shapes += [arrow((label.x + 31, 268), (label.x + 31, 150), sides=("top", "bottom"), modality="labels"), label]
    shapes.append(note(label.after(20), 282, "a label: somebody who knows,", bold=True, colour=LABELS))
    shapes.append(note(label.after(20), 318, "at the right place, on the right day", bold=True, colour=LABELS))
    words = "along time twelve images arrive, one every five days; only one of them has a label."
    return drawing(shapes, 1160, 360, "Images come by themselves", words)


def answers() -> str:
    """Fusion, multitask learning, self-supervision, side by side."""
    shapes, tops = [], (20, 410, 800)
    for left, name, gain in zip(
        tops,
        ("fusion", "multitask", "self-supervision"),
        ("more sensors\nper place", "more answers\nper place", "places without\nlabels"),
        strict=True,
    ):
        shapes += [note(left + 165, 24, name, anchor="middle", bold=True, size=32)]
        shapes += [note(left + 165, 400, gain, anchor="middle")]
    small = {"width": 74, "height": 74}

    s2, s1 = tile("s2", 20, 130, "", size=66), tile("s1", 20, 290, "", size=66)
    f2, f1 = encoder(126, 130, "*f*", "s2", **small), encoder(126, 290, "*f*", "s1", **small)
    both, g = join(228, 210, size=48), head(302, 210, "*g*", "labels", width=60, height=60)
    shapes += [s2, s1, f2, f1, both, g, arrow(s2, f2), arrow(s1, f1), arrow(f2, both), arrow(f1, both), arrow(both, g)]

    x, f = tile("s2", 410, 210, "", size=66), encoder(516, 210, "*f*", **small)
    shapes += [x, f, arrow(x, f)]
    for y in (115, 210, 305):
        g = head(668, y, "*g*", "labels", width=60, height=60)
        shapes += [g, arrow(f, g)]

    many = [tile("s2", 806 + 12 * index, 130 - 8 * index, "", size=60, sheets=1) for index in (3, 2, 1, 0)]
    f, few = encoder(940, 130, "*f*", **small), tile("s2", 806, 300, "", size=60, sheets=1)
    same, g = encoder(940, 300, "*f*", **small), head(1062, 300, "*g*", "labels", width=60, height=60)
    shapes += [*many, f, few, same, g, arrow((906, 130), f), arrow(few, same), arrow(same, g)]
    shapes += [arrow(f, same, sides=("bottom", "top"), dashed=True), note(1030, 130, "no labels", colour=GREY)]
    for border in (385, 775):
        shapes.insert(0, curve([(border, 20), (border, 430)], "#D5DBE0", 3))
    words = (
        "fusion joins sensors, multitask learning shares a backbone, self-supervision learns from unlabelled patches."
    )
    return drawing(shapes, 1160, 440, "Three ways to learn more from less", words)


def split() -> str:
    """Cells of three tiles: a random split, and one by whole tiles."""
    side, shapes = 34, []
    random_test = {(3, 0), (8, 1), (12, 0), (1, 2), (6, 3), (10, 3), (14, 2), (4, 4), (7, 0), (11, 1), (0, 4), (13, 4)}
    for left, name, is_test in (
        (20, "random: neighbours on both sides", lambda cell: cell in random_test),
        (610, "grouped: whole tiles on one side", lambda cell: cell[0] >= 10),
    ):
        shapes.append(note(left, 30, name, bold=True))
        for column in range(15):
            for row in range(5):
                x, y = left + column * side + (column // 5) * 12, 80 + row * side
                fill = LABELS if is_test((column, row)) else tint(INK, 0.14)
                svg = rectangle(x, y, side, side, 0, fill=fill, stroke="#FFFFFF", stroke_width=2)
                shapes.append(Shape(svg, x, y, side, side))
    for x, fill, words in ((20, tint(INK, 0.14), "training patch"), (300, LABELS, "test patch")):
        shapes.append(Shape(rectangle(x, 285, side, side, 0, fill=fill, stroke=fill), x, 285, side, side))
        shapes.append(note(x + side + 14, 302, words))
    words = (
        "in a random split test patches touch training patches; in a grouped split a whole tile is kept for the test."
    )
    return drawing(shapes, 1160, 330, "Random and grouped splits", words)


def null_world() -> str:
    """Two intervals of a paired difference."""
    zero, shapes = 610, []
    shapes.append(curve([(zero, 50), (zero, 300)], GREY, 3, dashed=True))
    shapes.append(note(zero, 22, "no gain", anchor="middle", colour=GREY))
    for y, name, low, middle, high, verdict, colour in (
        (110, "radar tells something", 680, 780, 880, "found", colour_of("s1")),
        (230, "null world: radar tells nothing", 520, 625, 730, "silent", INK),
    ):
        shapes.append(note(20, y, name, colour=colour, bold=True))
        shapes.append(curve([(low, y), (high, y)], colour, 6))
        shapes += [curve([(end, y - 16), (end, y + 16)], colour, 5) for end in (low, high)]
        shapes.append(Shape(circle(middle, y, 12, fill=colour, stroke=colour), middle, y, 24, 24))
        shapes.append(note(930, y, verdict, colour=colour, bold=True))
    shapes.append(arrow((zero, 300), (1120, 300)))
    shapes.append(note(1120, 332, "gain in score, with its 95 % interval", anchor="end"))
    words = (
        "a sketch: where radar is informative the interval of the gain excludes zero; in the null world it holds zero."
    )
    return drawing(shapes, 1160, 360, "A method that finds, and one that stays silent", words)


def timetable() -> str:
    """Three hours: introduction, recap and fusion, multitask around the break, self-supervision."""
    parts = (  # minutes, name inside, shade (0 for the break)
        (0, 15, "0", 0.35),
        (15, 60, "2 recap\n3 fusion", 0.08),
        (60, 85, "4 multi-\ntask", 0.22),
        (85, 115, "break", 0.0),
        (115, 135, "4", 0.22),
        (135, 180, "5 self-\nsupervision", 0.08),
    )
    minute, left, top, high, shapes = 6.2, 20, 120, 140, []
    for start, end, words, shade in parts:
        x, width = left + start * minute, (end - start) * minute
        fill, colour = tint(ACCENT, shade), INK if shade else GREY
        svg = rectangle(x, top, width, high, 6, fill=fill, stroke=colour, stroke_width=3, dashed=not shade)
        shapes.append(Shape(svg, x, top + high / 2, width, high))
        shapes.append(note(x + width / 2, top + high / 2, words, anchor="middle", colour=colour, bold=bool(shade)))
    for name, middle in (("introduction", 7.5), ("multitask", 125)):
        x = left + middle * minute
        shapes.append(note(max(left, x - 90), 40, name, bold=True))
        shapes.append(arrow((x, 62), (x, top - 2), sides=("bottom", "top")))
    for when, anchor in ((0, "start"), *((start, "middle") for start, *_ in parts[1:]), (180, "end")):
        x = left + when * minute
        shapes.append(curve([(x, top + high + 8), (x, top + high + 24)], INK, 3))
        shapes.append(note(x, top + high + 50, f"{when} min" if when == 180 else str(when), anchor=anchor))
    words = "introduction 15 minutes, recap and fusion 45, multitask 45 around a break of 30, self-supervision 45."
    return drawing(shapes, 1160, 340, "Three hours", words)


FIGURES = (scaling, efficiency, supply, answers, split, null_world, timetable)
