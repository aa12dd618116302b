"""Pieces of SVG, as strings: words, boxes, polygons, images. The ink of `drawing.py`.

The same call gives the same bytes: numbers have at most two decimals, and nothing has an id or a date.
"""

import base64
import re
import struct
import zlib
from html import escape

from eokeras.errors import InvalidArgumentError

INK = "#1B2733"
FONT = "Arial, Helvetica, 'Liberation Sans', 'DejaVu Sans', sans-serif"
TEXT = 28
LINE = 1.22  # line spacing, in text heights
_MARK = re.compile(r"\*([^*]+)\*|([_^])\{([^}]*)\}")


def document(body, width, height, title, description) -> str:
    """A white sheet with `body` on it; `title` and `description` are read out in place of the picture."""
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" width="{number(width)}" height="{number(height)}"'
    opening += (
        f' viewBox="0 0 {number(width)} {number(height)}" {alternative(title, description)} font-family="{FONT}">'
    )
    words = f"<title>{escape(title)}</title>\n<desc>{escape(description)}</desc>"
    sheet = f'<rect width="{number(width)}" height="{number(height)}" fill="#FFFFFF"/>'
    return f"{opening}\n{words}\n{sheet}\n{body}\n</svg>\n"


def alternative(title: str, description: str) -> str:
    """The attributes that say what a picture shows; both must have words."""
    for name, words in (("title", title), ("description", description)):
        if not words.strip():
            raise InvalidArgumentError(f"`{name}` must say what the picture shows. Received: {name}={words!r}.")
    return f'role="img" aria-label="{escape(f"{title}: {description}", quote=True)}"'


def number(value: float) -> str:
    """At most two decimals, without trailing zeros.

    >>> number(12.5), number(3.0), number(-0.001)
    ('12.5', '3', '0')
    """
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")


def tint(colour: str, amount: float) -> str:
    """`colour` (#RRGGBB) mixed with white: amount 1 is the colour, 0 is white."""
    parts = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{round(255 - (255 - part) * amount):02X}" for part in parts)


# --- Lines and areas -----------------------------------------------------------------------------------


def paint(fill, stroke, stroke_width=2.5, dashed=False) -> str:
    """Attributes of a shape."""
    dashes = ' stroke-dasharray="9 7"' if dashed else ""
    return f'fill="{fill}" stroke="{stroke}" stroke-width="{number(stroke_width)}" stroke-linejoin="round"{dashes}'


def rectangle(x, y, width, height, radius=8, *, fill, stroke, stroke_width=2.5, dashed=False) -> str:
    """Upper left corner at `x`, `y`."""
    box = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" rx="{number(radius)}"'
    return f"<rect {box} {paint(fill, stroke, stroke_width, dashed)}/>"


def polygon(corners, colour, amount, stroke_width=2.5, dashed=False) -> str:
    """Outlined in `colour`, filled with `amount` of it."""
    points = " ".join(f"{number(x)},{number(y)}" for x, y in corners)
    return f'<polygon points="{points}" {paint(tint(colour, amount), colour, stroke_width, dashed)}/>'


def path(steps: str, *, fill="none", stroke=INK, stroke_width=3, dashed=False, move="") -> str:
    """`steps` as SVG writes paths; `move` is a transform."""
    moved = f' transform="{move}"' if move else ""
    return f'<path d="{steps}"{moved} {paint(fill, stroke, stroke_width, dashed)}/>'


def circle(x, y, radius, *, fill, stroke=INK, stroke_width=3) -> str:
    """Centre at `x`, `y`."""
    return f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}" {paint(fill, stroke, stroke_width)}/>'


def image(pixels, x, y, width, height=None) -> str:
    """Pixels (H, W, 3) of 0..255, as nested sequences or an array; upper left corner at `x`, `y`."""
    source = "data:image/png;base64," + base64.b64encode(_png(pixels)).decode()
    size = f'width="{number(width)}" height="{number(height or width)}" preserveAspectRatio="none"'
    return f'<image x="{number(x)}" y="{number(y)}" {size} style="image-rendering: pixelated" href="{source}"/>'


def _png(pixels) -> bytes:
    lines = [b"\0" + bytes(int(value) for pixel in line for value in pixel) for line in pixels]
    header = struct.pack(">IIBBBBB", len(pixels[0]), len(lines), 8, 2, 0, 0, 0)  # 8 bits, three colours
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(lines), 9)), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


# --- Words ---------------------------------------------------------------------------------------------


def text(words, x, y, size=TEXT, anchor="start", colour=INK, bold_lines=0, below=False, halo=False) -> str:
    """Lines of words, centred on `y` or hanging from it (`below`).

    Args:
        anchor: "start", "middle" or "end" says what `x` is.
        bold_lines: this many lines are bold and in `colour`; the rest is then ink.
        halo: white around the letters, for words on a line.
    """
    if not words:
        return ""
    lines, svg = words.split("\n"), ""
    first = y + size * 0.8 if below else y + size * 0.35 - (len(lines) - 1) * size * LINE / 2
    for index, line in enumerate(lines):
        weight = ' font-weight="bold"' if index < bold_lines else ""
        fill = INK if bold_lines and not weight else colour
        place = f'x="{number(x)}" y="{number(first + index * size * LINE)}" font-size="{number(size)}"'
        inside = f'{place} text-anchor="{anchor}"{weight}', _marked_up(line, size)
        if halo:  # below all letters, so that no letter's halo covers its neighbour
            look = 'fill="#FFFFFF" stroke="#FFFFFF" stroke-width="9" stroke-linejoin="round"'
            svg += f"<text {inside[0]} {look}>{inside[1]}</text>"
        svg += f'<text {inside[0]} fill="{fill}">{inside[1]}</text>'
    return svg


def length(words: str) -> int:
    """Letters in the longest line, marks not counted.

    >>> length("*f*_{S2}\\nshort")
    5
    """
    return max(len(_MARK.sub(lambda match: match[1] or match[3], line)) for line in words.split("\n"))


def _marked_up(line: str, size: float) -> str:
    """`*italic*`, `_{below}` and `^{above}` as tspans; what follows a shifted one returns to the line."""
    svg, position, shifted = "", 0, 0.0
    for match in [*_MARK.finditer(line), None]:
        plain = line[position : match.start() if match else None]
        if plain:
            svg, shifted = svg + _span(plain, -shifted), 0.0
        if match and match[1]:
            svg, shifted = svg + _span(match[1], -shifted, ' font-style="italic"'), 0.0
        elif match:
            shift = size * (0.22 if match[2] == "_" else -0.35)
            svg, shifted = svg + _span(match[3], shift - shifted, f' font-size="{number(size * 0.72)}"'), shift
        position = match.end() if match else position
    return svg


def _span(words: str, shift: float, style: str = "") -> str:
    moved = f' dy="{number(shift)}"' if shift else ""
    return f"<tspan{moved}{style}>{escape(words)}</tspan>" if moved or style else escape(words)
