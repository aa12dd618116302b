"""The HTML page is whole, self-contained and escaped."""

import html.parser
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from eokeras import evaluate
from eokeras.errors import InvalidArgumentError, UnwritableError
from eokeras.report import Picture, Section, Table, comparison_section, score_tables, write_report
from tests.evaluate.cases import SHAPES, hand_scores, make_arrays, make_dataset, make_schema, pass_through

VOID_ELEMENTS = ("meta", "img")


class Reader(html.parser.HTMLParser):
    """Collects elements and text, and checks that elements are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def picture(alt="A line that rises"):
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot(np.arange(3))
    return Picture(figure, alt, "Rising <line>")


@pytest.fixture
def page(tmp_path):
    sections = [
        Section("Data & <labels>", "First.\n\nSecond.", notes=["Mind <this>."], figures=[picture()]),
        Section("Time", tables=[Table(("stage", "seconds"), [("simulate", 1.5), ("<b>", "x" * 60)], "Stages")]),
        Section("Command", code="python -m eokeras demo > log"),
    ]
    path = write_report(tmp_path / "sub" / "report.html", title="A & B", sections=sections, footer="made here")
    return Reader(path.read_text(encoding="utf-8")), path


def test_the_page_is_well_formed_and_says_everything(page):
    reader, path = page
    assert reader.open == []
    words = " ".join(reader.text)
    for expected in (
        "A & B",
        "Data & <labels>",
        "First.",
        "Second.",
        "Mind <this>.",
        "Rising <line>",
        "<b>",
        "made here",
    ):
        assert expected in words
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]


def test_the_page_loads_nothing(page):
    reader, path = page
    assert not {"script", "link", "iframe"} & {name for name, _ in reader.elements}
    assert not re.search(r"https?://|url\(|@import", path.read_text(encoding="utf-8"))
    assert all(image["src"].startswith("data:image/png;base64,") for image in reader.named("img"))


def test_images_have_alternative_text_and_links_lead_somewhere(page):
    reader, _ = page
    assert [image["alt"] for image in reader.named("img")] == ["A line that rises"]
    ids = {attributes.get("id") for _, attributes in reader.elements}
    assert [link["href"][1:] in ids for link in reader.named("a")] == [True] * 3


def test_scores_become_tables(tmp_path):
    scores = evaluate.score(pass_through(SHAPES), make_dataset(make_arrays()), make_schema())
    tables = score_tables(scores)
    assert [table.caption.split(":")[0] for table in tables] == ["climate_zone", "land_cover_map", "season"]
    assert sum(len(table.rows) for table in tables) == len(scores.rows())
    path = write_report(tmp_path / "report.html", title="Scores", sections=[Section("All", tables=tables)])
    assert "15 tiles" in " ".join(Reader(path.read_text()).text)


def test_comparisons_become_a_section(tmp_path):
    data, schema = make_dataset(make_arrays()), make_schema(world={"seed": 0})
    model = pass_through(SHAPES)
    sides = [evaluate.score(model, data, schema, name=name) for name in ("late fusion", "S2 alone")]
    replicates = evaluate.paired_over_replicates([0.5, 0.6], [0.4, 0.5], first="late", second="early")
    comparisons = [evaluate.compare(*sides), replicates]
    options = {"modalities": ("zone_logits",), "resamples": 50}
    importance = evaluate.modality_importance(model, data, schema, repeats=1, **options)
    subsets = evaluate.subset_scores(model, data, schema, **options)
    section = comparison_section(comparisons, importance=importance, subsets=subsets, title="Evidence")
    assert [len(table.rows) for table in section.tables] == [7, 1, 7, 14]
    assert section.notes[0] == evaluate.SIMULATED
    assert len(section.notes) == len(set(section.notes))
    path = write_report(tmp_path / "report.html", title="Evidence", sections=[section])
    reader = Reader(path.read_text())
    assert len(reader.named("img")) == 3
    words = " ".join(reader.text)
    assert "late fusion - S2 alone" in words
    assert "late - early" in words
    assert "illustration, not evidence" in words


def test_a_section_of_several_differences_is_exploratory():
    one = evaluate.paired_over_replicates([0.5, 0.6, 0.5, 0.6, 0.5], [0.4] * 5, metric="accuracy")
    sentence = "Several comparisons: all but the one named beforehand are exploratory."
    assert sentence in comparison_section([one, one]).notes
    assert sentence not in comparison_section([one]).notes


@pytest.mark.parametrize("replicates", [False, True])
def test_sharing_becomes_a_section(replicates, tmp_path):
    sides = [hand_scores(name, climate_zone=[1, hit] * 6, season=[hit / 10 + 0.1] * 12, simulated=True)
             for name, hit in (("multitask", 1), ("dual-task", 0))]  # fmt: skip
    cost = evaluate.Cost("model", 10, 100, 120, 120, 32, 40, 40, 0, 10)
    sharing = evaluate.compare_sharing(*sides, costs=(cost, cost))
    if replicates:
        sharing = evaluate.sharing_over_replicates([sharing] * 5)
    section = comparison_section(sharing=sharing)
    assert tuple(section.notes) == sharing.sentences
    assert section.notes[0] == evaluate.SIMULATED
    assert [len(table.rows) for table in section.tables] == [3 if replicates else 6, 4]
    reader = Reader(write_report(tmp_path / "report.html", title="Sharing", sections=[section]).read_text())
    words = " ".join(reader.text)
    assert "multitask against dual-task, task by task" in words
    assert {"+100.0 %", "-100.0 %"} <= {text.split(" [")[0] for text in reader.text}
    assert len(reader.named("img")) == 1


def test_a_section_needs_something_to_compare():
    with pytest.raises(InvalidArgumentError, match="must be given"):
        comparison_section()


def test_a_page_is_replaced_whole(tmp_path):
    path = tmp_path / "report.html"
    for title in ("one", "two"):
        write_report(path, title=title, sections=[])
    assert "two" in path.read_text()


def test_a_failed_page_leaves_the_old_one(tmp_path):
    path = write_report(tmp_path / "report.html", title="old", sections=[])
    with pytest.raises(InvalidArgumentError, match="2 cells"):
        write_report(path, title="new", sections=[Section("T", tables=[Table(("a", "b"), [(1,)])])])
    assert "old" in path.read_text()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_picture_without_words_is_an_error(tmp_path):
    with pytest.raises(InvalidArgumentError, match="`alt`"):
        write_report(tmp_path / "report.html", title="t", sections=[Section("s", figures=[picture(alt=" ")])])


def test_a_path_below_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UnwritableError, match=r"report\.html"):
        write_report(tmp_path / "file" / "report.html", title="t", sections=[])
