"""Where the lessons lie, what each holds, and the one address of the repository."""

import dataclasses
import re
import tomllib
from pathlib import Path

LESSON_NAME = re.compile(r"\d+_[a-z0-9_]+")


class LessonError(Exception):
    """A lesson's source is wrong. The message names the file, the place in it, and what to do."""


@dataclasses.dataclass(frozen=True)
class Lesson:
    """One lesson's folder. A lesson with `lesson.py` has notebooks, one with `slides.md` has slides."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def source(self) -> Path:
        return self.folder / "lesson.py"

    @property
    def slides(self) -> Path:
        return self.folder / "slides.md"

    @property
    def results(self) -> Path:
        return self.folder / "results.json"

    @property
    def notebooks(self) -> dict[str, Path]:
        """Path of each notebook by its kind: `lesson` with blank exercises, `solution` with filled ones."""
        return {kind: self.folder / f"{kind}.ipynb" for kind in ("lesson", "solution")}

    def show(self, path: Path) -> str:
        """`path` as messages print it: `3_data_fusion/slides.md`."""
        return path.relative_to(self.folder.parent).as_posix()


@dataclasses.dataclass(frozen=True)
class Course:
    """The course in a checkout of the repository: `root` holds `pyproject.toml` and `lessons/`."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / "lessons"

    @property
    def theme(self) -> Path:
        return self.folder / "theme.css"

    @property
    def repository(self) -> str:
        """Address of the repository, which stands in `pyproject.toml` alone."""
        return tomllib.loads((self.root / "pyproject.toml").read_text())["project"]["urls"]["Repository"]

    @property
    def lessons(self) -> dict[str, Lesson]:
        """All lessons by name, in the order of their numbers."""
        folders = [path for path in self.folder.iterdir() if path.is_dir() and LESSON_NAME.fullmatch(path.name)]
        return {
            path.name: Lesson(path) for path in sorted(folders, key=lambda path: (int(path.name.split("_")[0]), path))
        }

    @property
    def published(self) -> dict[str, Lesson]:
        """The lessons that the course's README links: the others are in preparation, and nobody promises anything."""
        text = (self.folder / "README.md").read_text()
        return {name: lesson for name, lesson in self.lessons.items() if f"]({name}/" in text}

    def setup_cell(self, lesson: str) -> str:
        """The first code cell of a lesson, as `lesson.py` holds it (the address is filled in for notebooks)."""
        return f'LESSON = "{lesson}"\n' + (self.folder / "setup_cell.py").read_text().rstrip("\n")

    def badge(self, lesson: str, kind: str = "lesson") -> str:
        """Markdown of the picture that opens a notebook in Colab."""
        path = self.repository.removeprefix("https://github.com/")
        address = f"https://colab.research.google.com/github/{path}/blob/main/lessons/{lesson}/{kind}.ipynb"
        return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({address})"
