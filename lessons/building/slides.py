"""`slides.md` (Marp Markdown) -> `slides.html` and `slides.pdf`, which need no network, and pictures of the slides.

Marp CLI (Node) sets the slides, a local Chromium prints them. Both are tools of authors: learners, tests and CI read
the committed files. What the slides were built from is written into them as a hash, which `--check` compares.
"""

import base64
import contextlib
import hashlib
import html
import json
import mimetypes
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from building import quotes
from building.course import Course, Lesson, LessonError

_IMAGE = re.compile(
    r"!\[(?P<alt>[^\]]*)\]\((?P<path>[^)\s]+)[^)]*\)|<img\b[^>]*\bsrc=[\"'](?P<source>[^\"']+)[\"'][^>]*>"
)
_BACKGROUND = re.compile(r"\burl\([\"']?([^)\"']+)[\"']?\)")  # of a directive or a style: decoration, without text
# Words that Marp takes out of an image's alternative text because they place it.
_PLACING = re.compile(
    r"^(bg|fit|auto|contain|cover|left|right|vertical|\d+(\.\d+)?%|(left|right|w|h|width|height|blur|brightness|contrast|"
    r"drop-shadow|grayscale|hue-rotate|invert|opacity|saturate|sepia):\S*)$"
)
_SEAL = "built from {}"
SMALLEST_TEXT_PX = 28


def filled(course: Course, lesson: Lesson, draft: bool = False) -> str:
    """The text of the slides with the numbers of the lesson's results."""
    read = quotes.reader(course, lesson, draft)
    return quotes.fill(lesson.slides.read_text(), read, lesson.show(lesson.slides))


def images(text: str) -> list[tuple[int, str, str]]:
    """Line, path and alternative text (without Marp's placing words) of every image in Markdown."""
    found = []
    for match in _IMAGE.finditer(text):
        alt = match["alt"]
        if alt is None:
            written = re.search(r"\balt=[\"']([^\"']*)[\"']", match[0])
            alt = written[1] if written else ""
        words = [word for word in alt.split() if not _PLACING.match(word)]
        found.append((text.count("\n", 0, match.start()) + 1, match["path"] or match["source"], " ".join(words)))
    return found


def seal(course: Course, lesson: Lesson, draft: bool = False) -> str:
    """Hash of all that the slides are built from: text, numbers, theme and figures.

    Raises:
        LessonError: A number or a figure is missing.
    """
    text = filled(course, lesson, draft)
    digest = hashlib.sha256(text.encode())
    digest.update(course.theme.read_bytes())
    for name, content in sorted(_local_images(lesson, text).items()):
        digest.update(name.encode() + b"\0" + content)
    return _SEAL.format(digest.hexdigest())


def _local_images(lesson: Lesson, text: str) -> dict[str, bytes]:
    found = {}
    backgrounds = [(text.count("\n", 0, match.start()) + 1, match[1]) for match in _BACKGROUND.finditer(text)]
    for line, path in [(line, path) for line, path, _ in images(text)] + backgrounds:
        where = f"{lesson.show(lesson.slides)}, line {line}"
        if path.startswith("data:"):
            continue
        if re.match(r"[a-z]+:", path):
            raise LessonError(f"{where}: {path} lies in the network, slides are shown offline: put it into figures/.")
        if not (lesson.folder / path).is_file():
            raise LessonError(f"{where}: there is no {path} (figures.py draws the figures)")
        found[path] = (lesson.folder / path).read_bytes()
    return found


def build(course: Course, lesson: Lesson, draft: bool = False) -> list[str]:
    """Write `slides.html` and `slides.pdf`; returns what an author should look at (overflow, small text, errors)."""
    mark = seal(course, lesson, draft)
    with _workshop(course, lesson, draft) as folder:
        _marp(course, folder, "--output", "slides.html")
        _marp(course, folder, "--pdf", "--pdf-outlines", "--allow-local-files", "--output", "slides.pdf")
        page = _with_images_inside((folder / "slides.html").read_text(), folder)
        # Readers of PDF pass over a comment line after the end mark.
        printed = (folder / "slides.pdf").read_bytes().rstrip() + f"\n% {mark}\n".encode()
        findings = inspect(course, folder) + [f"{address} is not in the page" for address in _outside(page)]
    (lesson.folder / "slides.html").write_text(f"{page.rstrip()}\n<!-- {mark} -->\n")
    (lesson.folder / "slides.pdf").write_bytes(printed)
    print(f"{lesson.name}/slides.html and slides.pdf: {len(page) / 1e6:.1f} and {len(printed) / 1e6:.1f} MB")
    return [f"{lesson.show(lesson.slides)}: {finding}" for finding in findings]


def pictures(course: Course, lesson: Lesson, draft: bool = False) -> list[Path]:
    """Draw every slide as a PNG picture of 1280 x 720 pixels into a new temporary directory."""
    target = Path(tempfile.mkdtemp(prefix=f"slides-{lesson.name}-"))
    with _workshop(course, lesson, draft) as folder:
        _marp(course, folder, "--images", "png", "--allow-local-files", "--output", "slide.png")
        for path in folder.glob("slide.*.png"):
            shutil.move(path, target / path.name)
        for finding in inspect(course, folder):
            print(f"{lesson.show(lesson.slides)}: {finding}")
    return sorted(target.glob("*.png"))


@contextlib.contextmanager
def _workshop(course: Course, lesson: Lesson, draft: bool) -> Iterator[Path]:
    """A temporary directory with the filled slides, the theme, and the images beside them."""
    with tempfile.TemporaryDirectory() as name:
        folder, text = Path(name), filled(course, lesson, draft)
        (folder / "slides.md").write_text(text)
        shutil.copy(course.theme, folder / "theme.css")
        # Pictures of emoji would come from a server; the fonts of the reader's machine do.
        options = {"themeSet": "theme.css", "options": {"emoji": {"unicode": False}, "math": "mathjax"}}
        (folder / ".marprc.json").write_text(json.dumps(options))
        for path, content in _local_images(lesson, text).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        yield folder


def _marp(course: Course, folder: Path, *arguments: str) -> None:
    program = course.folder / "node_modules" / "@marp-team" / "marp-cli" / "marp-cli.js"
    node = shutil.which("node")
    if node is None or not program.exists():
        raise LessonError("Slides are set by Marp CLI: install Node 20 or later, then `npm ci --prefix lessons`.")
    command = [node, str(program), "slides.md", "--config-file", ".marprc.json", "--html", *arguments]
    finished = subprocess.run(
        command, cwd=folder, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if finished.returncode:
        raise LessonError(f"Marp CLI failed: {' '.join(arguments)}\n{finished.stderr.strip()}")


def _chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = os.environ.get("CHROME_PATH") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise LessonError("Slides are printed by Chromium or Chrome: install one, or name it in CHROME_PATH.")
    return found


def _environment() -> dict[str, str]:
    # A superuser's Chromium (in a container) starts only without its sandbox.
    sandbox = {"CHROME_NO_SANDBOX": "1"} if os.geteuid() == 0 else {}
    return {**os.environ, "CHROME_PATH": _chromium(), **sandbox}


def _with_images_inside(page: str, folder: Path) -> str:
    """`page` with every local image as a data address."""

    def inside(match: re.Match) -> str:
        path = folder / html.unescape(match["path"])
        if not path.is_file():
            return match[0]
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return f"{match['before']}data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}{match['after']}"

    page = re.sub(r'(?P<before>\bsrc=")(?P<path>[^":]+)(?P<after>")', inside, page)
    return re.sub(r"(?P<before>url\((?:&quot;|['\"])?)(?P<path>[^)'\"&:]+)(?P<after>(?:&quot;|['\"])?\))", inside, page)


def _outside(page: str) -> list[str]:
    """What a browser would have to fetch to show `page`; links that a reader may follow do not count."""
    fetched = re.findall(r"<(?:img|script|iframe|source)\b[^>]*?\bsrc=[\"']([^\"']+)", page)
    fetched += re.findall(r"<link\b[^>]*?\bhref=[\"']([^\"']+)", page)
    fetched += re.findall(r"@import\s+(?:url\()?[\"']?([^\"');]+)", page)
    fetched += re.findall(r"\burl\((?:&quot;|[\"'])?([^\"'&)]+)", page)
    return [address for address in fetched if not address.startswith(("data:", "#"))]


_RULER = """<script>
addEventListener("load", () => {
  const found = [];
  document.querySelectorAll("section").forEach((slide, index) => {
    const number = slide.id || String(index + 1);
    if (slide.scrollHeight > slide.clientHeight + 1 || slide.scrollWidth > slide.clientWidth + 1)
      found.push(`slide ${number}: content is larger than the slide (${slide.scrollWidth} x ${slide.scrollHeight})`);
    const texts = document.createTreeWalker(slide, NodeFilter.SHOW_TEXT), small = new Set();
    while (texts.nextNode()) {
      const parent = texts.currentNode.parentElement;
      const aside = parent.closest("header, footer, small, figcaption, mjx-container, style, script");
      if (aside || !texts.currentNode.data.trim()) continue;
      const size = parseFloat(getComputedStyle(parent).fontSize);
      if (size < SMALLEST) small.add(`${size.toFixed(0)} px: ${texts.currentNode.data.trim().slice(0, 30)}`);
    }
    small.forEach((text) => found.push(`slide ${number}: text smaller than SMALLEST px (${text})`));
  });
  const report = document.createElement("pre");
  report.id = "findings";
  report.textContent = JSON.stringify(found);
  document.body.append(report);
});
</script>"""


def inspect(course: Course, folder: Path) -> list[str]:
    """What a browser without network finds in the slides of `folder`: overflow, small text, errors of the page."""
    _marp(course, folder, "--template", "bare", "--output", "inspected.html")
    page = _with_images_inside((folder / "inspected.html").read_text(), folder)
    ruler = _RULER.replace("SMALLEST", str(SMALLEST_TEXT_PX))
    (folder / "inspected.html").write_text(page.replace("</body>", f"{ruler}</body>"))
    command = [_chromium(), "--headless", "--disable-gpu", "--window-size=1280,720", "--virtual-time-budget=5000"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr"]
    command += ["--no-sandbox"] if os.geteuid() == 0 else []
    command += ["--dump-dom", (folder / "inspected.html").as_uri()]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    report = re.search(r'<pre id="findings">(.*?)</pre>', finished.stdout, re.DOTALL)
    errors = [line.strip() for line in finished.stderr.splitlines() if "CONSOLE" in line]
    if report is None:
        raise LessonError(f"Chromium did not show the slides:\n{finished.stderr[-2000:]}")
    return json.loads(html.unescape(report[1])) + errors
