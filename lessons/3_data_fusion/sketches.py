"""Diagrams of lesson 3 that hold no measured data: functions that return SVG; figures.py writes them."""

import itertools
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
    cross,
    decoder,
    drawing,
    encoder,
    frame,
    head,
    join,
    note,
    pyramid,
    tensor,
    tile,
    tokens,
)
from svg import circle, number, path, rectangle, tint

S2, S1, ERA5 = (colour_of(name) for name in ("s2", "s1", "era5"))
WORK = "#5B6770"
TUTORIAL = (("Sentinel-2 alone", 0.45), ("early fusion", 0.36), ("late fusion", 0.36))  # of 100 test patches
TUTORIAL_WEIGHTS = (("Sentinel-2 alone", 17_445_389), ("early fusion", 17_446_541), ("late fusion", 34_712_205))
"""U-Nets of width 64 with the tutorial's head for climate zones: 64 to 1 channel, then 14,400 to 12 classes."""


def line(points, colour=INK, width=4, dashed=False) -> Shape:
    steps = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return Shape(path(steps, stroke=colour, stroke_width=width, dashed=dashed), *points[0], 0, 0)


def box(x, y, width, height, fill, stroke=INK) -> Shape:
    """Upper left corner at `x`, `y`."""
    return Shape(rectangle(x, y, width, height, 0, fill=fill, stroke=stroke), x, y + height / 2, width, height)


def answer(shape: Shape, gap=56) -> list[Shape]:
    """An arrow out of a head, and the answer."""
    x = shape.after(gap)
    return [arrow(shape, (x - 6, shape.y)), note(x, shape.y, "*ŷ*")]


# --- Where modalities meet -----------------------------------------------------------------------------


def where() -> str:
    rows, shapes = (("s2", 130), ("s1", 320)), []
    for x, name, words in ((200, "early", "pixels"), (468, "middle", "features"), (898, "late", "before the head")):
        shapes.append(line([(x, 20), (x, 400)], ACCENT, 4, dashed=True))
        shapes += [note(x, 430, name, anchor="middle", bold=True, colour=ACCENT), note(x, 466, words, anchor="middle")]
    for name, y in rows:
        index = name.upper()
        x = tile(name, 20, y, "", size=96)
        f = encoder(270, y, f"*f*_{{{index}}}", name, width=130, height=130)
        d = decoder(540, y, "", name, width=130, height=130)
        h = tensor(800, y, f"*h*_{{{index}}}", width=46, height=76, depth=18, modality=name)
        shapes += [x, f, d, h, arrow(x, f), arrow(f, d), arrow(d, h)]
    g = head(970, 225, "*g*", "labels")
    shapes += [g, arrow((866, 130), g), arrow((866, 320), g), *answer(g)]
    words = "two tracks, one per sensor, from pixels to the head; they can meet early, in the middle or late."
    return drawing(shapes, 1180, 490, "Where two sensors can meet", words)


def early() -> str:
    s2, s1 = tile("s2", 20, 90, detail="12 bands"), tile("s1", 20, 305, detail="VV, VH")
    both = join(265, 200)
    f = encoder(440, 200, "*f*", width=170, height=190)
    h, g = tensor(690, 200, "*h*", height=110), head(870, 200, "*g*", "labels")
    shapes = [s2, s1, both, f, h, g, arrow(s2, both), arrow(s1, both)]
    shapes += [arrow(both, f, "14"), arrow(f, h), arrow(h, g), *answer(g)]
    words = "the channels of both sensors are stacked and one encoder reads all 14."
    return drawing(shapes, 1100, 430, "Early fusion", words)


def late() -> str:
    s2, s1 = tile("s2", 20, 90, detail="12 bands"), tile("s1", 20, 305, detail="VV, VH")
    f2, f1 = (
        encoder(230, y, f"*f*_{{{name.upper()}}}", name, width=150, height=140) for name, y in (("s2", 90), ("s1", 305))
    )
    h2, h1 = (tensor(450, y, "", height=90, modality=name) for name, y in (("s2", 90), ("s1", 305)))
    both, g = join(660, 198), head(860, 198, "*g*", "labels")
    shapes = [s2, s1, f2, f1, h2, h1, both, g, arrow(s2, f2), arrow(s1, f1), arrow(f2, h2), arrow(f1, h1)]
    shapes += [arrow(h2, both, "*h*_{S2}"), arrow(h1, both, "*h*_{S1}"), arrow(both, g, "*h*"), *answer(g)]
    words = "each sensor has its own encoder; the features are put side by side before the head."
    return drawing(shapes, 1100, 430, "Late fusion", words)


def middle() -> str:
    shapes, tops = [], (70, 190, 310)
    for name, y in (("s2", 60), ("s1", 250)):
        x = 150
        source = tile(name, 10, y, "", size=84)
        slabs = pyramid(x, y, 3, 190, 24, 28, name)
        shapes += [source, *slabs, arrow(source, slabs[0], modality=name)]
        for finer, coarser in itertools.pairwise(slabs):
            shapes.append(arrow(finer, coarser, sides=("bottom", "top"), modality=name))
        for slab, top in zip(slabs, tops, strict=True):
            shapes.append(arrow(slab, (470, top + (-8 if name == "s2" else 8)), modality=name))
    for index, top in enumerate(tops):
        both = join(470, top)
        mixed = block(590, top, f"*W*^{{({index + 1})}}, BN, ReLU", width=220, height=62)
        shapes += [both, mixed, arrow(both, mixed), arrow(mixed, (878, 190 + 34 * (index - 1)))]
    d, g = decoder(880, 190, "decoder", width=150, height=200), head(1070, 190, "*g*", "labels", width=84, height=64)
    shapes += [d, g, arrow(d, g)]
    words = "the features of both sensors are mixed at every level by a 1 x 1 convolution; one decoder reads them."
    return drawing(shapes, 1160, 400, "Middle fusion", words)


def gated() -> str:
    rows, shapes = (("s2", 80), ("s1", 300)), []
    total = join(880, 190, "add")
    gate = block(250, 190, "softmax *U*[*h*_{1}, *h*_{2}]", width=250)
    for index, (name, y) in enumerate(rows, start=1):
        h = tensor(30, y, f"*h*_{{{index}}}", height=90, modality=name)
        squash = block(300, y, f"tanh *W*_{{{index}}}*h*_{{{index}}}", width=200, modality=name)
        times = join(690, y, "multiply", modality=name)
        shapes += [h, squash, times, arrow(h, squash, modality=name), arrow(squash, times, modality=name)]
        shapes += [arrow(h, gate), arrow(times, total)]
        sides = ("right", "bottom" if name == "s2" else "top")
        shapes.append(arrow(gate, times, f"*a*_{{{index}}}", sides=sides))
    h = tensor(1020, 190, "*h*", height=90)
    shapes += [gate, total, h, arrow(total, h)]
    words = "at every pixel a softmax gives each sensor a share; the shares weigh the features, which are added."
    return drawing(shapes, 1140, 400, "Gated fusion", words)


def attention() -> str:
    first = tokens(250, 80, 7, modality="s2", size=54, gap=18)
    second = tokens(250, 320, 7, modality="s1", size=54, gap=18)
    query = (250 + 2 * 72 + 27, 107)
    shapes = [note(20, 80, "tokens of S2", colour=S2, bold=True), note(20, 320, "tokens of S1", colour=S1, bold=True)]
    weights = (0.1, 0.15, 0.2, 0.9, 0.35, 0.1, 0.1)
    for index, weight in enumerate(weights):
        x = 250 + index * 72 + 27
        straight = f"M{number(query[0])} {number(query[1])}L{number(x)} 293"
        shapes.append(Shape(path(straight, stroke=INK, stroke_width=1 + 9 * weight), x, 200, 0, 0))
    ring = rectangle(250 + 2 * 72 - 6, 47, 66, 66, 6, fill="none", stroke=INK, stroke_width=5)
    shapes += [first, second, Shape(ring, 0, 0, 0, 0)]
    shapes += [
        note(800, 80, "asks: query *Q*_{1}"),
        note(800, 200, "how well they fit:\nsoftmax(*Q*_{1}*K*_{2}^{⊤} / √*d*)"),
        note(800, 320, "answer: keys *K*_{2}, values *V*_{2}"),
    ]
    words = "one token of Sentinel-2 looks at all tokens of Sentinel-1 and takes most from the one that fits best."
    return drawing(shapes, 1180, 390, "Cross-attention", words)


def film() -> str:
    x = tile("s2", 20, 100, detail="12 bands")
    f, h = encoder(230, 100, "*f*", "s2", width=130, height=120), tensor(440, 100, "*h*", height=90, modality="s2")
    times, plus = join(640, 100, "multiply"), join(800, 100, "add")
    steered = tensor(960, 100, "*h′*", height=90)
    weather = tokens(20, 320, 8, modality="era5", size=22, gap=5)
    dense = block(330, 320, "dense, ReLU", width=210, modality="era5")
    shapes = [x, f, h, times, plus, steered, weather, dense, arrow(x, f), arrow(f, h), arrow(h, times)]
    shapes += [arrow(times, plus), arrow(plus, steered), arrow(weather, dense, modality="era5")]
    shapes += [note(20, 366, "weather *s*: 8 numbers", colour=ERA5, bold=True)]
    shapes += [arrow(dense, times, "1 + γ", sides=("right", "bottom"), modality="era5")]
    shapes += [arrow(dense, plus, "β", sides=("right", "bottom"), modality="era5")]
    words = "eight numbers of weather become a scale and a shift for every channel of the image features."
    return drawing(shapes, 1120, 400, "FiLM", words)


# --- Fair comparison -----------------------------------------------------------------------------------


def tutorial() -> str:
    left, scale, shapes = 330, 1150, []

    def place(share):
        return left + (share - 0.2) * scale

    for share in (0.2, 0.4, 0.6, 0.8):
        shapes.append(line([(place(share), 30), (place(share), 300)], "#D5DBE0", 2))
        shapes.append(note(place(share), 332, f"{share:.0%}".replace("%", " %"), anchor="middle"))
    for row, (name, share) in enumerate(TUTORIAL):
        y, half = 70 + 90 * row, 1.96 * math.sqrt(share * (1 - share) / 100)
        shapes.append(note(20, y, name, bold=True))
        shapes.append(line([(place(share - half), y), (place(share + half), y)], INK, 6))
        shapes.append(Shape(circle(place(share), y, 12, fill=ACCENT, stroke=ACCENT), place(share), y, 24, 24))
    words = "accuracies of 45, 36 and 36 percent of 100 patches; the 95 percent intervals are about 19 points wide."
    return drawing(shapes, 1160, 360, "The tutorial's fusion scores with intervals", words)


def sizes() -> str:
    shapes = []
    for row, (name, weights) in enumerate(TUTORIAL_WEIGHTS):
        y, width = 60 + 100 * row, weights / 34_712_205 * 640
        fill = tint(ACCENT, 0.35)
        shapes += [note(20, y, name, bold=True), box(310, y - 30, width, 60, fill, ACCENT)]
        shapes.append(note(330 + width, y, f"{weights / 1e6:.1f} M", bold=True))
    words = "weights of the three models: 17.4 million, 17.4 million and 34.7 million."
    return drawing(shapes, 1160, 330, "Three models of unequal size", words)


def compute() -> str:
    width, channels = 7, 12
    kernels = {1: 4 + channels / width, 2: 16, 4: 64, 8: 256, 16: 128}  # by stride, in units of 9 * width ** 2
    operations = {stride: count * (120 // stride) ** 2 for stride, count in kernels.items()}
    shapes = [note(290, 24, "weights", bold=True, colour=ACCENT)]
    shapes.append(note(750, 24, "multiplications", bold=True, colour=WORK))
    for row, stride in enumerate(kernels):
        y, size = 84 + 68 * row, 120 // stride
        shapes.append(note(20, y, f"stride {stride}: {size} × {size}"))
        for left, shares, colour in ((290, kernels, ACCENT), (750, operations, WORK)):
            share = shares[stride] / sum(shares.values())
            shapes.append(box(left, y - 24, 500 * share, 48, tint(colour, 0.35), colour))
            shapes.append(note(left + 500 * share + 12, y, f"{100 * share:.0f} %"))
    words = "the finest level holds one percent of the weights and does a third of the work."
    return drawing(shapes, 1160, 400, "Weights and work by level", words)


# --- Missing sensors, importance, shortcuts ------------------------------------------------------------


def presence() -> str:
    shapes, backbone = [], block(640, 200, "any backbone", width=230, height=300)
    for name, y, here in (("s2", 70, 1), ("s1", 200, 0), ("dem", 330, 1)):
        x = tile(name, 20, y, "", size=84, dashed=not here)
        times = join(360, y, "multiply", modality=name)
        words = f"*p*_{{{name.upper()}}} = {here}"
        shapes += [x, times, note(200, y - 30, words, colour=colour_of(name), bold=True)]
        shapes += [arrow(x, times, modality=name), arrow(times, (634, y), modality=name, dashed=not here)]
        shapes.append(note(500, y - 30, "*x*" if here else "zeros", anchor="middle"))
        if not here:
            shapes.append(cross(x))
    g = head(950, 200, "*g*", "labels")
    shapes += [backbone, g, arrow(backbone, g), *answer(g)]
    words = "each input is multiplied by its presence, 1 or 0; in training presences are set to 0 at random."
    return drawing(shapes, 1160, 400, "Presence inputs", words)


def importance() -> str:
    shapes, order = [], (2, 0, 3, 1)
    for row in range(4):
        y = 50 + 95 * row
        shapes += [note(20, y, f"patch {row + 1}"), tile("s2", 160, y, "", size=58, sheets=2)]
        shapes += [tile("s1", 330, y, "", size=58, sheets=2), tile("s1", 640, y, "", size=58, sheets=2)]
        shapes.append(arrow((412, 50 + 95 * order[row]), (634, y), modality="s1"))
        shapes += [note(718, y, f"of patch {order[row] + 1}", colour=S1)]
    shapes.append(note(900, 190, "score before\n− score after\n= importance", bold=True))
    words = "every patch keeps its optical image and gets the radar image of another patch; the drop in score counts."
    return drawing(shapes, 1160, 400, "Shuffling one modality", words)


def shortcut() -> str:
    x, f = tile("s2", 20, 250, detail="the picture"), encoder(300, 250, "*f*", "s2", width=150, height=130)
    weather = tokens(20, 70, 8, modality="era5", size=22, gap=5)
    where_when = block(500, 70, "which place, which day", width=340, modality="era5")
    g = head(880, 160, "*g*", "labels")
    shapes = [x, f, weather, where_when, g, note(20, 116, "8 numbers of weather", colour=ERA5, bold=True)]
    shapes += [arrow(x, f), arrow(f, g, dashed=True), arrow(weather, where_when, modality="era5")]
    shapes += [arrow(where_when, g, modality="era5"), *answer(g), note(560, 320, "no need to look", colour=GREY)]
    words = "weather tells place and date, and these the climate zone and the season; the image is not needed."
    return drawing(shapes, 1120, 400, "A shortcut", words)


def circle_of_agreement() -> str:
    s2, s1 = tile("s2", 30, 100, "", size=90), tile("s1", 30, 270, "", size=90)
    both = [s2, s1]
    made = block(330, 100, "WorldCover's classifier", width=350)
    ours = block(330, 270, "our network", width=350)
    labels, prediction = (tile("labels", 830, y, "", size=90, dashed=y > 100) for y in (100, 270))
    shapes = [*both, made, ours, labels, prediction]
    shapes += [arrow(source, target) for source in both for target in (made, ours)]
    shapes += [arrow(made, labels), arrow(ours, prediction)]
    shapes += [note(945, 100, "“truth” *y*", bold=True), note(945, 270, "*ŷ*", bold=True)]
    shapes += [line([(875, 155), (875, 215)], WARNING, 6), note(900, 185, "agree?", colour=WARNING, bold=True)]
    shapes.insert(0, frame([s2, s1], "the same two sensors"))
    words = "WorldCover was made from Sentinel-1 and -2 by another classifier, which a network can copy."
    return drawing(shapes, 1160, 360, "Whose truth is it?", words)


FIGURES = (
    where, early, late, middle, gated, attention, film, tutorial, sizes, compute, presence, importance, shortcut,
    circle_of_agreement,
)  # fmt: skip
