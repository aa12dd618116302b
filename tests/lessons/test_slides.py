"""Slides are built from all their sources, show everything without network, and small or overflowing text is seen."""

import re
import shutil

import pytest
from building import slides
from building.course import LessonError

from tests.lessons.conftest import LESSONS

MARP = LESSONS / "node_modules" / "@marp-team" / "marp-cli"


def test_images_are_found_with_the_text_that_marp_shows():
    text = (
        "![w:900 h:40% A field in May](figures/a.svg)\n\n![bg right:40% contain](b.png)\n"
        '<img src="c.svg" width="9" alt="A map">\n<img src="d.svg">\n![](e.svg "title")'
    )
    assert slides.images(text) == [
        (1, "figures/a.svg", "A field in May"),
        (3, "b.png", ""),
        (4, "c.svg", "A map"),
        (5, "d.svg", ""),
        (6, "e.svg", ""),
    ]


def test_seal_knows_every_source(course, lesson):
    seals = [slides.seal(course, lesson)]
    assert slides.seal(course, lesson) == seals[0]
    assert re.fullmatch("built from [0-9a-f]{64}", seals[0])
    for path in (lesson.slides, lesson.results, course.theme, lesson.folder / "figures" / "square.svg"):
        path.write_text(re.sub("0.12345|720|#0072B2|slowly", "0.98", path.read_text()))
        seals.append(slides.seal(course, lesson))
    assert len(set(seals)) == 5


def test_images_from_the_network_and_missing_ones_are_refused(course, lesson):
    for path, message in (
        ("https://example.org/a.png", "https://example.org/a.png lies in the network, slides are shown offline"),
        ("figures/none.svg", r"there is no figures/none.svg \(figures.py draws the figures\)"),
    ):
        lesson.slides.write_text(f"# One\n\n![a picture]({path})\n")
        with pytest.raises(LessonError, match=f"^5_tiny/slides.md, line 3: {message}"):
            slides.seal(course, lesson)
    lesson.slides.write_text("# One\n\n<!-- _backgroundImage: url('figures/none.svg') -->\n")
    with pytest.raises(LessonError, match=r"^5_tiny/slides.md, line 3: there is no figures/none.svg"):
        slides.seal(course, lesson)


def test_without_marp_the_error_says_how_to_get_it(course, lesson):
    with pytest.raises(LessonError, match="Marp CLI: install Node 20 or later, then `npm ci --prefix lessons`"):
        slides.build(course, lesson)


@pytest.mark.slow
@pytest.mark.skipif(not MARP.exists(), reason="Marp CLI is an author's tool: npm ci --prefix lessons")
def test_slides_hold_everything_and_findings_are_reported(course, lesson):
    (course.folder / "node_modules").symlink_to(LESSONS / "node_modules")
    shutil.copy(LESSONS / "theme.css", course.theme)
    lines = "\n".join(f"- line {number}" for number in range(30))
    with lesson.slides.open("a") as text:
        text.write(f'\n---\n\n# Long\n\n{lines}\n\n---\n\n<span style="font-size: 12px">tiny</span> $x^2$\n')
    findings = slides.build(course, lesson)
    assert len(findings) == 2
    assert findings[0].startswith("5_tiny/slides.md: slide 2: content is larger than the slide (1280 x ")
    assert findings[1] == "5_tiny/slides.md: slide 3: text smaller than 28 px (12 px: tiny)"
    page = (lesson.folder / "slides.html").read_text()
    assert "The score is 0.12" in page
    assert "say it slowly" in page  # the speaker's notes
    assert "<mjx-container" in page
    assert "data:image/svg+xml;base64," in page
    assert "figures/square.svg" not in page
    assert page.endswith(f"<!-- {slides.seal(course, lesson)} -->\n")
    printed = (lesson.folder / "slides.pdf").read_bytes()
    assert printed.startswith(b"%PDF-")
    assert printed.endswith(f"% {slides.seal(course, lesson)}\n".encode())
    pictures = slides.pictures(course, lesson)
    assert [path.name for path in pictures] == ["slide.001.png", "slide.002.png", "slide.003.png"]
    # Width and height stand in the header of a PNG file, as 32-bit numbers after 16 bytes.
    assert {path.read_bytes()[16:24] for path in pictures} == {(1280).to_bytes(4) + (720).to_bytes(4)}
