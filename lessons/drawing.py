"""One visual language for the diagrams of every lesson: functions that make SVG.

A diagram is a list of shapes on a white sheet, in the pixels of a slide (room for a figure: 1160 x 480), so that
text of 28 stays readable from the last row. A shape is placed by its left edge `x` and its *middle line* `y`:
shapes of one row share `y`, and arrows between them run straight. `shape.after(gap)` is the `x` of the next one.

    s2, s1 = tile("s2", 40, 80, detail="12 bands"), tile("s1", 40, 310, detail="VV, VH")
    f2, f1 = encoder(s2.after(), 80, "*f*_{S2}", "s2"), encoder(s1.after(), 310, "*f*_{S1}", "s1")
    fused = join(f2.after(120), 195, "concat")
    g = head(fused.after(), 195, "*g*")
    shapes = [s2, s1, f2, f1, fused, g, note(g.after(), 195, "*y*")]
    shapes += [arrow(s2, f2), arrow(s1, f1), arrow(f2, fused, "*h*_{S2}"), arrow(f1, fused, "*h*_{S1}")]
    shapes += [arrow(fused, g, "*h*"), arrow(g, (g.after(60), 195))]
    save("figures/late.svg", drawing(shapes, 900, 460, "Late fusion", "Each sensor has its own encoder; ..."))

Data are stacked sheets (`tile`), features cuboids (`tensor`), slabs (`pyramid`) or squares (`tokens`); encoders
narrow, decoders widen, heads are round on their way out, losses are hexagons, joins are circles, and any other
operation is a `block`. What has seen one modality has its colour; what has seen several is ink (`modality=None`).
Dashed is what may be absent or does not learn. Each shape also says in words what it is, so grey loses nothing.
Labels know `*italic*`, `_{below}`, `^{above}` and line ends. The same call gives the same bytes, and no shape has an
id, so any number of drawings fit on one page. `save_plot` does the same for a Matplotlib figure.

A lesson's figures.py is run by `python lessons/build.py figures`, which puts this folder on the path.
"""

import re
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from svg import (
    FONT,
    INK,
    LINE,
    TEXT,
    alternative,
    circle,
    document,
    image,
    length,
    number,
    path,
    polygon,
    rectangle,
    text,
    tint,
)

from eokeras.plot import MODALITY_COLOURS

GREY = "#5B6770"
ACCENT = "#34506A"  # for what is no modality and must stand out
WARNING = "#B00020"
NAMES = {"s2": "Sentinel-2", "s1": "Sentinel-1", "dem": "elevation", "era5": "weather", "labels": "labels"}
_SHEETS = {"s2": 3, "s1": 2}
_OUTWARD = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}


@dataclass(frozen=True)
class Shape:
    """A piece of SVG and the box that arrows meet: left edge `x`, middle line `y`."""

    svg: str
    x: float
    y: float
    width: float
    height: float

    def after(self, gap: float = 70) -> float:
        """The `x` of what stands `gap` to the right."""
        return self.x + self.width + gap

    def side(self, name: str) -> tuple[float, float]:
        """Middle of a side: "left", "right", "top" or "bottom"."""
        across, down = _OUTWARD[name]
        return self.x + self.width * (1 + across) / 2, self.y + self.height * down / 2


def colour_of(modality: str | None) -> str:
    """Colour of a modality; ink for what has seen several (None)."""
    return INK if modality is None else MODALITY_COLOURS[modality]


# --- Data ----------------------------------------------------------------------------------------------


def tile(modality, x, y, label=None, detail="", size=110, pixels=None, sheets=None, dashed=False) -> Shape:
    """One modality's data as stacked sheets; its name and `detail` (such as its shape) below.

    Args:
        label: in place of the modality's name; "" for none.
        pixels: (H, W, 3) of 0..255, the picture on the front sheet.
        dashed: it may be absent.
    """
    colour, step = colour_of(modality), 7
    sheets = _SHEETS.get(modality, 1) if sheets is None else sheets
    look = {"stroke": colour, "stroke_width": 3, "dashed": dashed}
    svg = ""
    for behind in reversed(range(sheets)):
        corner = x + behind * step, y - size / 2 - behind * step
        svg += rectangle(*corner, size, size, fill=tint(colour, 0.16), **look)
    if pixels is not None:
        svg += image(pixels, x, y - size / 2, size) + rectangle(x, y - size / 2, size, size, 0, fill="none", **look)
    name = NAMES.get(modality, "") if label is None else label
    words = "\n".join(part for part in (name, detail) if part)
    svg += text(
        words, x + size / 2, y + size / 2 + 8, anchor="middle", below=True, bold_lines=bool(name), colour=colour
    )
    return Shape(svg, x, y, size + 2 * step, size)  # as wide for one sheet as for three, so columns stay in line


def tensor(x, y, label="", width=60, height=100, depth=24, modality=None) -> Shape:
    """Features as a cuboid: face `width` x `height`, channels going back by `depth`; `label` below."""
    colour, top = colour_of(modality), y - height / 2
    right, bottom = x + width, y + height / 2
    lid = [(x, top), (x + depth, top - depth), (right + depth, top - depth), (right, top)]
    flank = [(right, top), (right + depth, top - depth), (right + depth, bottom - depth), (right, bottom)]
    svg = polygon(lid, colour, 0.12) + polygon(flank, colour, 0.45)
    svg += rectangle(x, top, width, height, 0, fill=tint(colour, 0.25), stroke=colour)
    svg += text(label, x + (width + depth) / 2, bottom + 8, anchor="middle", below=True)
    return Shape(svg, x, y, width + depth, height)


def pyramid(x, y, levels=3, width=190, thickness=26, gap=44, modality=None) -> list[Shape]:
    """An encoder's levels as slabs, the finest (widest) on top, a `Shape` each; `y` is the middle of the first."""
    shapes, colour = [], colour_of(modality)
    for level in range(levels):
        span, middle = width / 2**level, y + level * (thickness + gap)
        left = x + (width - span) / 2
        svg = rectangle(left, middle - thickness / 2, span, thickness, 4, fill=tint(colour, 0.3), stroke=colour)
        shapes.append(Shape(svg, left, middle, span, thickness))
    return shapes


def tokens(x, y, count=5, label="", modality=None, masked=(), size=30, gap=8, vertical=False) -> Shape:
    """A row (or column) of squares, one per token or number; those in `masked` are empty and dashed."""
    step, colour, svg = size + gap, colour_of(modality), ""
    extent = count * step - gap
    for index in range(count):
        left = x if vertical else x + index * step
        top = (y - extent / 2 + index * step) if vertical else y - size / 2
        hidden = index in masked
        fill = "#FFFFFF" if hidden else tint(colour, 0.45)
        svg += rectangle(left, top, size, size, 4, fill=fill, stroke=colour, stroke_width=2, dashed=hidden)
    wide, high = (size, extent) if vertical else (extent, size)
    svg += text(label, x + wide / 2, y + high / 2 + 8, anchor="middle", below=True)
    return Shape(svg, x, y, wide, high)


# --- What is done to them ------------------------------------------------------------------------------


def encoder(x, y, label="*f*", modality=None, width=130, height=120, dashed=False) -> Shape:
    """A trapezium that narrows; `dashed` where its weights do not learn."""
    return _trapezium(x, y, label, modality, width, height, (1.0, 0.5), dashed)


def decoder(x, y, label="decoder", modality=None, width=150, height=120, dashed=False) -> Shape:
    """A trapezium that widens."""
    return _trapezium(x, y, label, modality, width, height, (0.5, 1.0), dashed)


def _trapezium(x, y, label, modality, width, height, ends, dashed):
    left, right = (height / 2 * end for end in ends)
    corners = [(x, y - left), (x + width, y - right), (x + width, y + right), (x, y + left)]
    svg = polygon(corners, colour_of(modality), 0.2, 3, dashed) + text(label, x + width / 2, y, anchor="middle")
    return Shape(svg, x, y, width, height)


def head(x, y, label="*g*", modality=None, width=120, height=72, dashed=False) -> Shape:
    """Straight where features enter, round where the answer leaves."""
    colour, radius = colour_of(modality), height / 2
    turn = f"a{number(radius)} {number(radius)} 0 0 1 0 {number(height)}"
    outline = f"M{number(x)} {number(y - radius)}H{number(x + width - radius)}{turn}H{number(x)}Z"
    svg = path(outline, fill=tint(colour, 0.12), stroke=colour, dashed=dashed)
    return Shape(svg + text(label, x + (width - radius * 0.4) / 2, y, anchor="middle"), x, y, width, height)


def loss(x, y, label="loss", width=130, height=76, modality="labels") -> Shape:
    """A hexagon: where an answer meets its target."""
    cut, half = 22, height / 2
    above = [(x, y), (x + cut, y - half), (x + width - cut, y - half)]
    under = [(x + width, y), (x + width - cut, y + half), (x + cut, y + half)]
    svg = polygon(above + under, colour_of(modality), 0.14, 3) + text(label, x + width / 2, y, anchor="middle")
    return Shape(svg, x, y, width, height)


def block(x, y, label, width=190, height=76, modality=None, dashed=False) -> Shape:
    """Any other operation, named by its label: attention, DropModality, 1 × 1 convolution."""
    colour = colour_of(modality)
    svg = rectangle(x, y - height / 2, width, height, 10, fill=tint(colour, 0.07), stroke=colour, dashed=dashed)
    return Shape(svg + text(label, x + width / 2, y, anchor="middle"), x, y, width, height)


def join(x, y, kind="concat", size=56, modality=None) -> Shape:
    """Where features meet: "concat" (two bars, side by side), "add" (+) or "multiply" (×)."""
    colour, radius = colour_of(modality), size / 2
    sign = {"concat": "M-5 -11V11M5 -11V11", "add": "M-12 0H12M0 -12V12", "multiply": "M-9 -9L9 9M-9 9L9 -9"}[kind]
    svg = circle(x + radius, y, radius, fill="#FFFFFF", stroke=colour)
    svg += path(sign, stroke=colour, stroke_width=4, move=f"translate({number(x + radius)} {number(y)})")
    return Shape(svg, x, y, size, size)


# --- Lines and words -----------------------------------------------------------------------------------


def arrow(start, end, label="", sides=("right", "left"), modality=None, dashed=False) -> Shape:
    """From one shape (or point) to another, leaving and arriving square to `sides`.

    The label stands above a level arrow, and on any other arrow's middle.
    """
    colour, (leave, arrive) = colour_of(modality), (_OUTWARD[side] for side in sides)
    (x1, y1), tip = (
        shape.side(side) if isinstance(shape, Shape) else shape for shape, side in zip((start, end), sides, strict=True)
    )
    x2, y2 = tip[0] + 12 * arrive[0], tip[1] + 12 * arrive[1]  # where the line ends and the point begins
    bend1, bend2 = (
        (x + across * max(abs(x2 - x1) / 2, 20), y + down * max(abs(y2 - y1) / 2, 20))
        for x, y, (across, down) in ((x1, y1, leave), (x2, y2, arrive))
    )
    points = " ".join(f"{number(px)} {number(py)}" for px, py in (bend1, bend2, (x2, y2)))
    svg = path(f"M{number(x1)} {number(y1)}C{points}", stroke=colour, dashed=dashed)
    wings = [(x2 - 8 * arrive[1], y2 + 8 * arrive[0]), (x2 + 8 * arrive[1], y2 - 8 * arrive[0])]
    svg += polygon([tip, *wings], colour, 1.0, stroke_width=1)
    level = abs(y1 - tip[1]) < 1
    middle = [(a + 3 * b + 3 * c + d) / 8 for a, b, c, d in zip((x1, y1), bend1, bend2, (x2, y2), strict=True)]
    svg += text(label, middle[0], middle[1] - 24 * level, anchor="middle", colour=colour, halo=not level)
    return Shape(svg, min(x1, tip[0]), (y1 + tip[1]) / 2, abs(tip[0] - x1), abs(tip[1] - y1))


def frame(shapes, label="", margin=24, colour=GREY) -> Shape:
    """A dashed box round some shapes, `label` above its left corner. Put it before them, so that it lies below."""
    left, right = min(shape.x for shape in shapes) - margin, max(shape.x + shape.width for shape in shapes) + margin
    top = min(shape.y - shape.height / 2 for shape in shapes) - margin
    bottom = max(shape.y + shape.height / 2 for shape in shapes) + margin
    look = {"fill": "#F6F8F9", "stroke": colour, "stroke_width": 2, "dashed": True}
    svg = rectangle(left, top, right - left, bottom - top, 14, **look) + text(label, left + 4, top - 22, colour=colour)
    return Shape(svg, left, (top + bottom) / 2, right - left, bottom - top)


def cross(shape: Shape) -> Shape:
    """A red cross over a shape: it is not there."""
    left, right = shape.side("left")[0], shape.side("right")[0]
    top, bottom = shape.side("top")[1], shape.side("bottom")[1]
    ends = [(left, top, right, bottom), (left, bottom, right, top)]
    strokes = "".join(f"M{number(a)} {number(b)}L{number(c)} {number(d)}" for a, b, c, d in ends)
    svg = path(strokes, stroke=WARNING, stroke_width=6)
    return Shape(svg, shape.x, shape.y, shape.width, shape.height)


def note(x, y, words, size=TEXT, anchor="start", colour=INK, bold=False) -> Shape:
    """Words alone, their middle line at `y`; `anchor` "start", "middle" or "end" says what `x` is."""
    width, lines = length(words) * size * 0.52, words.count("\n") + 1  # 0.52: an average letter of Arial
    left = x - {"start": 0, "middle": width / 2, "end": width}[anchor]
    svg = text(words, x, y, size, anchor, colour, bold_lines=lines * bold)
    return Shape(svg, left, y, width, lines * size * LINE)


def photograph(pixels, x, y, width, height=None, colour=INK) -> Shape:
    """An image (H, W, 3) of 0..255 with a thin edge; `height` as wide as the pixels are square."""
    high = width * len(pixels) / len(pixels[0]) if height is None else height
    svg = image(pixels, x, y - high / 2, width, high)
    svg += rectangle(x, y - high / 2, width, high, 0, fill="none", stroke=colour, stroke_width=3)
    return Shape(svg, x, y, width, high)


# --- The sheet -----------------------------------------------------------------------------------------


def drawing(shapes, width, height, title, description) -> str:
    """SVG document of the shapes in their order, with the words that stand for the picture."""
    return document("\n".join(shape.svg for shape in shapes), width, height, title, description)


def save(file, svg: str) -> Path:
    """Writes a drawing; folders are made where missing."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(svg, encoding="utf-8", newline="\n")
    return file


def save_plot(file, figure, title, description) -> Path:
    """Writes a Matplotlib figure as the same SVG on every run: words as text, no date, no random ids."""
    import matplotlib as mpl

    buffer, facts = StringIO(), {"Date": None, "Creator": None, "Title": title, "Description": description}
    with mpl.rc_context({"svg.hashsalt": "eokeras", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata=facts)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", FONT.replace('"', "'"), buffer.getvalue())
    return save(file, svg.replace("<svg ", f"<svg {alternative(title, description)} ", 1))
