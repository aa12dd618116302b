"""The page about records: whole, self-contained, every warning on it; and the figures, which show what was counted."""

import re

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from eokeras import ben_ge, plot
from eokeras.ben_ge.statistics import Histogram
from eokeras.plot.style import MODALITY_COLOURS, SPLIT_STYLES
from eokeras.records_page import write_records_page
from tests.test_plot_differences import texts


@pytest.fixture(scope="module")
def inspection(known_records):
    return ben_ge.inspect(known_records.path)


@pytest.fixture(scope="module")
def page(inspection, tmp_path_factory):
    return write_records_page(inspection, tmp_path_factory.mktemp("page") / "inspection.html").read_text("utf-8")


def words_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.split("</head>")[1]))


def test_the_page_says_everything_and_loads_nothing(page, inspection):
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert "<script" not in page
    said = words_of(page)
    for sentence in inspection.warnings:
        assert sentence in said.replace("&#x27;", "'").replace("&quot;", '"')
    for entry in inspection.facts["provenance"]["sources"]:
        assert entry["citation"] in said
    assert f"Fingerprint {inspection.records.fingerprint}" in said
    assert "12 patches of 1.2 km by 1.2 km: 6 train, 3 val, 3 test" in said


def test_numbers_of_the_page_are_those_that_were_counted(page, inspection):
    counts = inspection.facts["classes"]["land_cover_map"]["counts"]
    cells = "".join(f'<td class="number">{counts[side][0]:,}</td>' for side in ("train", "val", "test"))
    assert f"<td>tree cover</td>{cells}" in page
    mean = inspection.records.statistics["s1"]["mean"][0]
    assert f'<td>VV</td><td class="number">{round(mean, 1)}</td>' in page


def test_a_page_of_elevation_alone(known_records, tmp_path):
    source = ben_ge.open_source(known_records.tree, modalities=("dem",))
    records = ben_ge.convert(source, tmp_path / "records", split="random", fractions=(1, 0, 0))
    content = write_records_page(ben_ge.inspect(records), tmp_path / "page.html").read_text("utf-8")
    assert "hillshade" in content or "Images of a few patches of train" in content
    assert "There is no test split." in content


def test_splits_have_colours_of_their_own():
    colours = {to_hex(colour) for colour, _ in SPLIT_STYLES.values()}
    assert len(colours) == len({marker for _, marker in SPLIT_STYLES.values()}) == 3
    assert not colours & {to_hex(colour) for colour in MODALITY_COLOURS.values()}
    luminance = sorted(np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722)) for colour, _ in SPLIT_STYLES.values())
    assert min(np.diff(luminance)) > 0.1  # told apart in grey


def test_the_map_shows_every_place():
    lonlat = {"train": np.array([[10.0, 50.0], [11.0, 51.0], [10.0, 50.0]]), "test": np.array([[12.0, 52.0]])}
    (axis,) = plot.split_map(lonlat).axes
    shown = [collection.get_offsets().tolist() for collection in axis.collections]
    assert shown == [[[10.0, 50.0], [11.0, 51.0]], [[12.0, 52.0]]]  # dates of a place lie on each other
    assert [to_hex(c.get_facecolor()[0]) for c in axis.collections] == [
        to_hex(SPLIT_STYLES[side][0]) for side in lonlat
    ]
    assert axis.get_aspect() == pytest.approx(1 / np.cos(np.radians(51)))


def test_class_shares_by_hand():
    entry = {"classes": ["a", "b", "c"], "unit": "patches", "counts": {"train": [1, 3, 0], "test": [2, 0, 0]}}
    figure = plot.class_chart({"land_cover": entry})
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]  # by count; none has c
    dots = {}
    for line in axis.lines:
        if line.get_linestyle() == "None" and line.get_marker() in ("o", "D"):
            dots.setdefault(line.get_marker(), []).append((line.get_xdata()[0], line.get_markerfacecolor() == "white"))
    assert dots == {"o": [(0.25, False), (0.75, False)], "D": [(1.0, False), (0.0, True)]}
    assert "land cover: share of the patches with a class" in texts(figure) or axis.get_title(loc="left")


def test_bands_are_shown_as_reflectance(inspection):
    counts = np.zeros(65536, "int64")
    counts[1000], counts[2000] = 30, 10
    histograms = {"train": {"B04": Histogram(0.0, 1.0, counts)}}
    figure = plot.band_chart(histograms, {"B04": {"raster": "s2_10m", "unit": ""}}, inspection.records)
    axis = figure.axes[0]
    heights, edges, _ = axis.patches[0].get_data()
    assert (edges[0], heights.sum()) == (pytest.approx(0.1), pytest.approx(1.0))
    assert [heights[place] for place in np.flatnonzero(heights)] == pytest.approx([0.75, 0.25])
    assert edges[np.flatnonzero(heights)[1]] <= 0.2 < edges[np.flatnonzero(heights)[1] + 1] + 1e-9
    assert axis.get_title(loc="left") == "B04 [reflectance]"


def test_a_mosaic_has_an_image_and_a_map_for_every_patch(inspection):
    figure = plot.mosaic(inspection.samples["val"], "val", inspection.records)
    shown = [axis for axis in figure.axes if axis.images]
    assert len(shown) == 6  # three patches
    titles = [axis.get_title() for axis in shown if axis.get_title()]
    assert titles == [f"{sample['tile']}, {sample['date']}" for sample in inspection.samples["val"]]
    expected = plot.true_colour(inspection.samples["val"][0]["s2_10m"], ("B02", "B03", "B04", "B08"))
    np.testing.assert_allclose(shown[0].images[0].get_array(), expected)
