"""Drawings are well formed, say in words what they show, are the same on every run, and can be read."""

import base64
import inspect
import re
import struct
import xml.etree.ElementTree as ElementTree
import zlib

import drawing
import numpy as np
import pytest
import svg
from matplotlib.figure import Figure

from eokeras.errors import InvalidArgumentError
from eokeras.plot import MODALITY_COLOURS
from tests.lessons.conftest import LESSONS

SPACE = "{http://www.w3.org/2000/svg}"


def parse(shapes) -> ElementTree.Element:
    return ElementTree.fromstring(drawing.drawing(shapes, 400, 300, "A title", "A description."))


def one_of_each() -> list[drawing.Shape]:
    s2 = drawing.tile("s2", 20, 100, detail="12 bands")
    f = drawing.encoder(s2.after(), 100, "*f*_{S2}", "s2")
    return [
        drawing.frame([f], "encoder"),
        s2,
        f,
        drawing.tensor(10, 60, "60 × 60", modality="dem"),
        *drawing.pyramid(10, 60, 4),
        drawing.tokens(10, 60, 4, masked=(1,), vertical=True),
        drawing.decoder(10, 60),
        drawing.head(10, 60),
        drawing.loss(10, 60),
        drawing.block(10, 60, "attention"),
        *(drawing.join(10, 60, kind) for kind in ("concat", "add", "multiply")),
        drawing.cross(s2),
        drawing.note(10, 60, "x² < 1 & more"),
        drawing.photograph([[(0, 0, 0), (255, 255, 255)]], 10, 60, 40),
        drawing.arrow(s2, f, "*x*", dashed=True),
    ]


def test_every_shape_is_drawn_here():
    """So that the tests below miss none."""
    makers = {
        name for name, maker in vars(drawing).items() if inspect.isfunction(maker) and maker.__module__ == "drawing"
    }
    source = inspect.getsource(one_of_each)
    others = {"colour_of", "drawing", "save", "save_plot"}
    assert {name for name in makers if not name.startswith("_") and f"drawing.{name}(" not in source} == others


def test_drawing_is_well_formed_and_has_no_ids():
    root = parse(one_of_each())
    assert root.tag == f"{SPACE}svg"
    assert not [element for element in root.iter() if "id" in element.attrib]
    assert len(list(root.iter(f"{SPACE}text"))) > 8


def test_same_call_gives_same_bytes():
    first, second = (drawing.drawing(one_of_each(), 400, 300, "A title", "Words.") for _ in range(2))
    assert first == second


def test_example_of_the_module_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = "\n".join(line.strip() for line in drawing.__doc__.splitlines() if line.startswith("    "))
    exec(example, dict(vars(drawing)))
    root = ElementTree.parse("figures/late.svg").getroot()
    words = {"".join(text.itertext()) for text in root.iter(f"{SPACE}text")}
    assert {"Sentinel-2", "12 bands", "fS2", "fS1", "hS1", "g", "y"} <= words


def test_words_stand_for_the_picture():
    root = parse([])
    assert root.get("role") == "img"
    assert root.get("aria-label") == "A title: A description."
    assert root.find(f"{SPACE}title").text == "A title"
    assert root.find(f"{SPACE}desc").text == "A description."


@pytest.mark.parametrize(("title", "description"), [("", "words"), ("words", " ")])
def test_drawing_without_words_is_refused(title, description):
    with pytest.raises(InvalidArgumentError, match="must say what the picture shows"):
        drawing.drawing([], 10, 10, title, description)


# --- Places ----------------------------------------------------------------------------------------


def test_shapes_stand_on_their_middle_line():
    block = drawing.block(100, 50, "words", width=80, height=40)
    assert [block.side(name) for name in ("left", "right", "top", "bottom")] == [
        (100, 50),
        (180, 50),
        (140, 30),
        (140, 70),
    ]
    assert block.after(20) == 200
    assert 'x="100" y="30" width="80" height="40"' in block.svg


def test_columns_stay_in_line_whatever_the_number_of_sheets():
    assert drawing.tile("s2", 0, 0).after() == drawing.tile("dem", 0, 0).after()


def test_level_arrow_runs_straight_from_side_to_side():
    start, end = drawing.block(0, 50, "", width=100), drawing.block(200, 50, "", width=100)
    arrow = drawing.arrow(start, end)
    numbers = [float(value) for value in re.search(r'd="M([^"]*)"', arrow.svg)[1].replace("C", " ").split()]
    assert numbers[:2] == [100, 50]
    assert numbers[-2:] == [188, 50]  # the point, 12 long, comes after the line
    assert set(numbers[1::2]) == {50}
    assert 'points="200,50 ' in arrow.svg


def test_arrow_arrives_square_to_its_side():
    arrow = drawing.arrow((0, 0), (100, 200), sides=("right", "top"))
    assert 'd="M0 0C50 0 100 94 100 188"' in arrow.svg
    assert 'points="100,200 ' in arrow.svg


def test_pyramid_halves_from_level_to_level():
    assert [level.width for level in drawing.pyramid(0, 0, 4, width=160)] == [160, 80, 40, 20]


# --- Words -----------------------------------------------------------------------------------------


def test_marks_become_styles_and_the_line_comes_back():
    root = parse([drawing.note(0, 50, "a_{1}*f*^{2}c & d")])
    text = next(root.iter(f"{SPACE}text"))
    assert "".join(text.itertext()) == "a1f2c & d"
    shifts = [float(span.get("dy", 0)) for span in text]
    assert shifts == [6.16, -6.16, -9.8, 9.8]  # 0.22 and 0.35 of 28, down positive
    assert [span.get("font-style") for span in text] == [None, "italic", None, None]


def test_neighbouring_shifts_are_relative_to_each_other():
    spans = next(parse([drawing.note(0, 50, "x_{i}^{2}")]).iter(f"{SPACE}text"))
    assert [float(span.get("dy")) for span in spans] == [6.16, -15.96]  # from +6.16 to -9.8


def test_lines_are_centred():
    tops = [float(text.get("y")) for text in parse([drawing.note(0, 100, "one\ntwo", size=100)]).iter(f"{SPACE}text")]
    assert tops == [74, 196]  # base lines: 100 + 35 ± 61


@pytest.mark.parametrize(
    ("value", "written"), [(12.5, "12.5"), (3.0, "3"), (-0.001, "0"), (100, "100"), (1 / 3, "0.33")]
)
def test_numbers_are_short(value, written):
    assert svg.number(value) == written


# --- Colours ---------------------------------------------------------------------------------------


def test_tint():
    assert svg.tint("#204060", 1) == "#204060"
    assert svg.tint("#204060", 0) == "#FFFFFF"
    assert svg.tint("#00FF33", 0.2) == "#CCFFD6"  # 255 - 0.2 * (255, 0, 204)


@pytest.mark.parametrize("modality", MODALITY_COLOURS)
def test_modalities_have_their_colours_and_names(modality):
    tile = drawing.tile(modality, 0, 0)
    assert f'stroke="{MODALITY_COLOURS[modality]}"' in tile.svg
    assert drawing.NAMES[modality] in tile.svg


@pytest.mark.parametrize(
    "colour", [*MODALITY_COLOURS.values(), drawing.INK, drawing.GREY, drawing.ACCENT, drawing.WARNING]
)
def test_words_in_colour_can_be_read_on_white(colour):
    """Large text needs a contrast of 3 (WCAG 2.2, criterion 1.4.3)."""
    parts = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 3


# --- Pixels and plots ------------------------------------------------------------------------------


def test_pixels_survive():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), "uint8")
    data = base64.b64decode(re.search(r'base64,([^"]*)"', svg.image(pixels, 0, 0, 10))[1])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (5, 3)
    length = struct.unpack(">I", data[33:37])[0]  # of the chunk after the header
    rows = np.frombuffer(zlib.decompress(data[41 : 41 + length]), "uint8").reshape(3, 1 + 15)
    assert (rows[:, 0] == 0).all()  # stored unfiltered
    np.testing.assert_array_equal(rows[:, 1:].reshape(3, 5, 3), pixels)


def test_plots_are_the_same_on_every_run(tmp_path):
    def plot(name):
        figure = Figure()
        axes = figure.subplots()
        axes.plot([0, 1], [1, 0], "o-")
        axes.set_title("Falls & rises")
        return drawing.save_plot(tmp_path / "figures" / name, figure, "A line", 'It "falls".')

    first, second = plot("first.svg").read_text(), plot("second.svg").read_text()
    assert first == second
    assert "<dc:date>" not in first
    root = ElementTree.fromstring(first)
    assert root.get("aria-label") == 'A line: It "falls".'
    words = [text for text in root.iter(f"{SPACE}text") if "".join(text.itertext()).strip() == "Falls & rises"]
    assert len(words) == 1  # as text, not as outlines
    assert "Arial" in words[0].get("style")


# --- Theme -----------------------------------------------------------------------------------------


def test_only_footers_and_sources_are_smaller_than_28_pixels():
    style = re.sub(r"/\*.*?\*/", "", (LESSONS / "theme.css").read_text(), flags=re.DOTALL)
    small = {
        selector.strip()
        for selector, rules in re.findall(r"([^{}]+)\{([^{}]*)\}", style)
        if any(float(size) < 28 for size in re.findall(r"font(?:-size)?: *(?:max\()?(\d+)px", rules))
    }
    assert small == {"small", "p:has(> small)", "footer", "section::after"}


def test_theme_has_the_colours_of_the_modalities():
    style = (LESSONS / "theme.css").read_text()
    for modality, colour in MODALITY_COLOURS.items():
        assert f"--{modality}: {colour};" in style
