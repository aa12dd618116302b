"""Diagrams of lesson 5 that hold no measured data: functions that return SVG; figures.py writes them."""

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
    loss,
    note,
    tensor,
    tile,
    tokens,
)
from svg import circle, number, path, rectangle, tint

LABELS, S2, S1 = colour_of("labels"), colour_of("s2"), colour_of("s1")
COSINES = (("partner", 0.9), ("another place", 0.5), ("another place", 0.1))
"""One row of a batch of two places, as the lesson works it by hand."""


def cell(x, y, size, fill, stroke=INK, width=2, dashed=False) -> Shape:
    """A square, its upper left corner at `x`, `y`."""
    svg = rectangle(x, y, size, size, 0, fill=fill, stroke=stroke, stroke_width=width, dashed=dashed)
    return Shape(svg, x, y + size / 2, size, size)


def dot(x, y, colour=INK, radius=12, fill=None) -> Shape:
    svg = circle(x, y, radius, fill=colour if fill is None else fill, stroke=colour)
    return Shape(svg, x - radius, y, 2 * radius, 2 * radius)


def ring(x, y, radius) -> Shape:
    """The circle on which embeddings of length 1 lie."""
    svg = circle(x, y, radius, fill="#FFFFFF", stroke=GREY)
    return Shape(svg, x - radius, y, 2 * radius, 2 * radius)


def on_ring(x, y, radius, degrees) -> tuple[float, float]:
    turn = math.radians(degrees)
    return x + radius * math.cos(turn), y - radius * math.sin(turn)


def bar(x, y, width, fill, height=36) -> Shape:
    svg = rectangle(x, y - height / 2, max(width, 2), height, 0, fill=fill, stroke=INK, stroke_width=2)
    return Shape(svg, x, y, width, height)


# --- Pretext and probe ---------------------------------------------------------------------------------


def pretext() -> str:
    shapes, rows = [], ((100, "first: no labels", "which of 20 regions?"), (330, "then: few labels", "land cover?"))
    networks = []
    for index, (y, words, answer) in enumerate(rows):
        x = tile("s2", 240, y, "", size=90)
        f = encoder(400, y, "*f*", "s2", width=130, height=120)
        h = tensor(600, y, "" if index == 0 else "*h*", height=84, width=40, modality="s2")
        g = head(740, y, "*g*_{place}" if index == 0 else "*g*", "labels", width=120, dashed=index == 0)
        networks.append(f)
        shapes += [x, f, h, g, arrow(x, f, modality="s2"), arrow(f, h, modality="s2"), arrow(h, g)]
        shapes += [note(10, y, words, bold=True), note(g.after(18), y, answer, colour=LABELS, bold=True)]
    shapes += [arrow(networks[0], networks[1], sides=("bottom", "top"), modality="s2")]
    shapes += [note(485, 212, "keep these weights", colour=S2), note(800, 168, "thrown away", anchor="middle")]
    words = "an encoder learns to say where a patch lies; then its weights serve a head for land cover."
    return drawing(shapes, 1190, 430, "A pretext task", words)


def probing() -> str:
    shapes = []
    for y, words, detail in ((90, "pretrained", "frozen"), (300, "never trained", "frozen: the floor")):
        x = tile("s2", 300, y, "", size=90)
        f = encoder(470, y, "*f*", "s2", width=130, height=120, dashed=True)
        h = tensor(670, y, "*h*", height=84, width=40, modality="s2")
        g = block(810, y, "linear", modality="labels", width=130)
        shapes += [x, f, h, g, arrow(x, f, modality="s2"), arrow(f, h, modality="s2"), arrow(h, g)]
        shapes += [arrow(g, (1010, y)), note(1020, y, "*ŷ*, score", bold=True)]
        shapes += [note(10, y - 18, words, bold=True), note(10, y + 18, detail, colour=GREY)]
    words = "a linear layer reads the answer from features of a frozen encoder, pretrained or random."
    return drawing(shapes, 1180, 390, "A linear probe and its floor", words)


def readings() -> str:
    """Nearest neighbours, linear probe, fine-tuning: what learns from the labels."""
    shapes = []
    rows = (
        ("nearest neighbours", "20 nearest", True, "Do like things lie together?"),
        ("linear probe", "linear", True, "Is it easy to read?"),
        ("fine-tuning", "*g*", False, "Is it a good start?"),
    )
    for index, (name, last, frozen, question) in enumerate(rows):
        y = 75 + 140 * index
        f = encoder(320, y, "*f*", "s2", width=120, height=100, dashed=frozen)
        h = tensor(505, y, "", height=64, width=34, depth=18, modality="s2")
        make = block if frozen else head
        g = make(625, y, last, modality="labels", width=150, height=68)
        shapes += [note(10, y, name, bold=True), f, h, g, arrow(f, h, modality="s2"), arrow(h, g)]
        shapes.append(note(810, y, question))
    shapes.append(note(380, 452, "dashed: frozen", anchor="middle", colour=GREY))
    words = "nearest neighbours and a linear probe read a frozen encoder; fine-tuning trains all of it."
    return drawing(shapes, 1200, 475, "Three readings", words)


# --- Contrast ------------------------------------------------------------------------------------------


def pull() -> str:
    """Two views of one place meet, other places are pushed away: a sketch on the circle of unit length."""
    shapes, radius = [], 160
    before = ((70, INK, "a"), (-30, INK, "a′"), (100, GREY, ""), (20, GREY, ""), (190, GREY, ""), (260, GREY, ""))
    after = ((34, INK, "a"), (14, INK, "a′"), (110, GREY, ""), (165, GREY, ""), (225, GREY, ""), (290, GREY, ""))
    for left, words, places in ((190, "before", before), (720, "after", after)):
        y = 215
        shapes += [ring(left, y, radius), note(left, y, words, anchor="middle", bold=True)]
        for degrees, colour, name in places:
            shapes.append(dot(*on_ring(left, y, radius, degrees), colour))
            if name:
                x, height = on_ring(left, y, radius + 36, degrees)
                shapes.append(note(x, height, f"*{name}*", anchor="middle", bold=True))
    shapes.append(arrow((400, 215), (520, 215)))
    shapes.append(note(975, 150, "one place,\ntwo views", bold=True))
    shapes.append(note(975, 290, "grey: others", colour=GREY))
    words = "two views of one place move together on the circle of embeddings, other places move away."
    return drawing(shapes, 1160, 430, "Together and apart", words)


def matrix() -> str:
    """All cosines of a batch of four places in two views."""
    size, count, left, top, shapes = 46, 4, 90, 56, []
    names = [str(index + 1) for index in range(count)] + [f"{index + 1}′" for index in range(count)]
    for row in range(2 * count):
        middle = top + size * (row + 0.5)
        shapes.append(note(left - 14, middle, f"*z*_{{{names[row]}}}", anchor="end"))
        shapes.append(note(left + size * (row + 0.5), top - 26, f"*z*_{{{names[row]}}}", anchor="middle"))
        for column in range(2 * count):
            x, y = left + size * column, top + size * row
            if row == column:
                shapes.append(cell(x, y, size, "#FFFFFF", GREY, 1, dashed=True))
            else:
                partner = (column - row) % (2 * count) == count
                shapes.append(cell(x, y, size, ACCENT if partner else tint(ACCENT, 0.12), "#FFFFFF"))
    legend = (
        (ACCENT, INK, "partner: should be large", False),
        (tint(ACCENT, 0.12), ACCENT, "other places: should be small", False),
        ("#FFFFFF", GREY, "itself: left out", True),
    )
    for index, (fill, stroke, words, dashed) in enumerate(legend):
        y = 110 + 76 * index
        shapes += [cell(560, y - 20, 40, fill, stroke, 2, dashed), note(620, y, words)]
    shapes.append(note(560, 350, "each row: 1 partner, 2*N* − 2 others", bold=True))
    words = "eight embeddings against each other: the partner's cosine should be large, all others small."
    return drawing(shapes, 1160, 440, "Every embedding against every other", words)


def row() -> str:
    """One row of the matrix, at two temperatures."""
    shapes = [note(20, 110 + 80 * i, name, bold=not i) for i, (name, _) in enumerate(COSINES)]
    shapes += [note(310, 110 + 80 * i, f"{value:.1f}", anchor="end") for i, (_, value) in enumerate(COSINES)]
    shapes.append(note(310, 40, "*s*", anchor="end", bold=True))
    for left, temperature, name in ((390, 1.0, "1"), (790, 0.1, "0.1")):
        powers = [math.exp(value / temperature) for _, value in COSINES]
        shares = [power / sum(powers) for power in powers]
        shapes.append(note(left, 40, f"share, *τ* = {name}", bold=True))
        for index, share in enumerate(shares):
            y = 110 + 80 * index
            one = bar(left, y, 230 * share, INK if index == 0 else tint(ACCENT, 0.3))
            shapes += [one, note(one.after(12), y, f"{share:.3f}" if share >= 0.001 else "0.0003")]
        shapes.append(note(left, 350, f"−ln {shares[0]:.3f} = {-math.log(shares[0]):.2f}", bold=True, colour=LABELS))
    shapes.append(note(20, 350, "loss of the row", bold=True, colour=LABELS))
    words = "cosines 0.9, 0.5, 0.1 become shares; the loss is minus the logarithm of the partner's share."
    return drawing(shapes, 1160, 390, "One row becomes a loss", words)


def sensors() -> str:
    shapes, middle = [], 235
    joint = block(650, middle, "projector\n*p*", width=150, height=110)
    meet = loss(1010, middle, "NT-Xent", width=160, modality=None)
    for name, y, bands in (("s2", 115, "12 bands"), ("s1", 345, "VV, VH")):
        x = tile(name, 20, y - 20, detail=bands, size=100)
        f = encoder(240, y, f"*f*_{{{name.upper()}}}", name, width=130, height=120)
        h = tensor(450, y, f"*h*_{{{name.upper()}}}", height=80, width=40, modality=name)
        z = tokens(880, y, 5, modality=name, size=22, gap=4, vertical=True)
        shapes += [x, f, h, z, arrow((x.after(0), y), f, modality=name), arrow(f, h, modality=name)]
        shapes += [arrow(h, joint, modality=name), arrow(joint, z, modality=name), arrow(z, meet, modality=name)]
        shapes.append(note(891, y + (-92 if name == "s2" else 92), f"*z*_{{{name.upper()}}}", anchor="middle"))
    shapes += [joint, meet, note(725, 336, "thrown away\nafterwards", anchor="middle", colour=GREY)]
    words = "an encoder for each sensor, one shared projector, and a loss that wants both embeddings to match."
    return drawing(shapes, 1200, 470, "Two sensors are two views", words)


# --- Collapse ------------------------------------------------------------------------------------------


def collapse() -> str:
    shapes, radius = [], 140
    for left, words, angles in ((300, "healthy", range(9, 369, 30)), (780, "collapsed", [40] * 12)):
        shapes += [ring(left, 190, radius), note(left, 190, words, anchor="middle", bold=True)]
        colour = WARNING if words == "collapsed" else INK
        shapes += [dot(*on_ring(left, 190, radius, degrees), colour) for degrees in angles]
    x, y = on_ring(780, 190, radius, 40)
    shapes.append(note(x + 30, y, "12 patches,\none point", colour=WARNING, bold=True))
    shapes += [note(300, 385, "cosines average near 0", anchor="middle")]
    shapes += [note(780, 385, "every cosine is 1: loss log(2*N* − 1)", anchor="middle")]
    words = "twelve embeddings spread over a circle, and twelve in one point."
    return drawing(shapes, 1160, 420, "Healthy and collapsed", words)


def spread_terms() -> str:
    """VICReg's three wishes as point clouds."""
    shapes, grey = [], tint(GREY, 0.5)
    panels = (
        ("invariance", "views of a place: close", ((-60, -50), (10, 55), (70, -30))),
        ("variance", "each number: spread", ((-95, 0), (-48, 0), (0, 0), (48, 0), (95, 0))),
        ("covariance", "numbers: not redundant", ((-80, -60), (-70, 70), (0, 5), (75, -70), (80, 60))),
    )
    for index, (name, words, points) in enumerate(panels):
        x, y = 190 + 390 * index, 180
        cross = f"M{number(x - 130)} {y}H{number(x + 130)}M{x} {y - 100}V{y + 100}"
        shapes.append(Shape(path(cross, stroke=grey, stroke_width=2), x, y, 0, 0))
        shapes.append(note(x, 36, name, anchor="middle", bold=True, colour=ACCENT))
        shapes.append(note(x, 322, words, anchor="middle"))
        for right, down in points:
            if index == 0:
                shapes += [dot(x + right, y + down, INK, 11), dot(x + right + 26, y + down - 8, INK, 11, "#FFFFFF")]
            else:
                shapes.append(dot(x + right, y + down, INK, 11))
    words = "views of one place close together, every number spread out, numbers not correlated."
    return drawing(shapes, 1160, 350, "Three wishes", words)


# --- Masked autoencoding -------------------------------------------------------------------------------

VISIBLE = (1, 6, 11, 12)
"""Of 16 patches, the quarter that is seen."""


def grid(x, y, visible, modality="s2", size=44, gap=6, ink=()) -> list[Shape]:
    """Sixteen patches, four by four, the visible ones filled; those in `ink` with a thick edge. Corner at `x`, `y`."""
    colour, shapes = colour_of(modality), []
    for index in range(16):
        left, top = x + (size + gap) * (index % 4), y + (size + gap) * (index // 4)
        seen = index in visible
        fill = tint(colour, 0.5) if seen else "#FFFFFF"
        edge = WARNING if index in ink else colour
        shapes.append(cell(left, top, size, fill, edge, 6 if index in ink else 2, dashed=not seen and index not in ink))
    return shapes


def mae() -> str:
    shapes = [*grid(10, 95, VISIBLE, size=40), note(105, 315, "4 of 16 seen", anchor="middle")]
    seen = tokens(260, 187, 4, modality="s2", vertical=True)
    f = encoder(350, 187, "*f*: ViT", "s2", width=190, height=210)
    shapes += [seen, f, arrow((196, 187), seen, modality="s2"), arrow(seen, f, modality="s2")]
    whole = [(620 + 34 * (index % 4), 120 + 34 * (index // 4), index in VISIBLE) for index in range(16)]
    for x, y, own in whole:
        shapes.append(cell(x, y, 28, tint(S2, 0.5) if own else tint(GREY, 0.3), S2 if own else GREY, 2))
    shapes += [arrow(f, (615, 187), modality="s2"), note(688, 315, "back in place,\nholes filled", anchor="middle")]
    d = decoder(790, 187, "decoder", "s2", width=140, height=110)
    shapes += [d, arrow((756, 187), d, modality="s2")]
    shapes += [arrow(d, (980, 187), modality="s2")]
    shapes += grid(985, 95, [i for i in range(16) if i not in VISIBLE], "labels", size=40)
    shapes.append(note(1210, 315, "loss: the 12 hidden", anchor="end", colour=LABELS, bold=True))
    shapes.append(note(860, 60, "thrown away afterwards", anchor="middle", colour=GREY))
    words = "the encoder reads four visible patches of sixteen; a small decoder paints the twelve hidden ones."
    return drawing(shapes, 1220, 385, "A masked autoencoder", words)


def leaking() -> str:
    """Two bands on one grid: masks of their own, or one mask for both."""
    shapes, other = [], (0, 5, 10, 12)
    panels = (("each band its own mask", VISIBLE, other, other[:3]), ("one mask for both", VISIBLE, VISIBLE, ()))
    for index, (words, first, second, leaks) in enumerate(panels):
        left = 40 + 580 * index
        shapes.append(note(left + 240, 30, words, anchor="middle", bold=True))
        shapes += [*grid(left, 80, first, ink=leaks), *grid(left + 270, 80, second)]
        shapes += [note(left + 97, 300, "band A", anchor="middle"), note(left + 367, 300, "band B", anchor="middle")]
    shapes.append(note(280, 350, "red: hidden in A, shown by B", anchor="middle", colour=WARNING, bold=True))
    shapes.append(note(860, 350, "nothing to copy", anchor="middle", bold=True))
    words = "with masks of their own, band B shows what is hidden in band A; with one mask it does not."
    return drawing(shapes, 1160, 380, "Masks that leak", words)


FIGURES = (
    pretext, probing, readings, pull, matrix, row, sensors, collapse, spread_terms, mae, leaking,
)  # fmt: skip
