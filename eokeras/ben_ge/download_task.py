"""One archive on its way from its record to its tree: what is there already, fetching, unpacking, placing."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from eokeras.ben_ge import staging
from eokeras.ben_ge.catalogue import ARCHIVES
from eokeras.ben_ge.download_note import is_whole
from eokeras.ben_ge.part import Part
from eokeras.ben_ge.transfer_bar import TransferBar
from eokeras.ben_ge.unpacking import ArchiveError, unpack
from eokeras.ben_ge.zenodo import RemoteFile, Zenodo
from eokeras.errors import TargetExistsError

_MARGIN = 2  # a tree may be so many times as large as stated; more is no ben-ge


class DownloadTask:
    """One archive on its way. In a `with` statement its files are open, and locked against other processes.

    Args:
        name: of the archive.
        tree: where its content goes.
        keep_archive: whether what is fetched stays beside the tree.

    Attributes:
        files: what its record lists; mostly one tar.gz.
    """

    def __init__(self, name: str, tree: Path, keep_archive: bool):
        self.name, self.archive, self.files = name, ARCHIVES[name], ()
        self._tree, self._work, self._keep = tree, tree.with_name(f".{name}.incomplete"), keep_archive
        self._parts: dict[RemoteFile, Part] = {}
        self._kept: dict[RemoteFile, Path] = {}

    def list_files(self, files: Sequence[RemoteFile]) -> None:
        """Takes what its record lists."""
        self.files = tuple(files)
        for file in files:
            path = f".{self.name}.part" if len(files) == 1 else f".{self.name}.{file.name}.part"
            self._parts[file] = Part(self._tree.with_name(path), file.md5, file.size)

    def __enter__(self) -> "DownloadTask":
        with contextlib.ExitStack() as stack:
            for part in self._parts.values():
                stack.enter_context(part)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    @property
    def is_staged(self) -> bool:
        """Whether an earlier run unpacked it and was killed before all was in its place."""
        return staging.is_staged(self._work)

    def is_done(self) -> bool:
        """Whether the tree has it, whole; what a run left that was killed right then is removed.

        Raises:
            TargetExistsError: something else lies in its place, or it is no longer whole.
        """
        if (self.archive.is_part and self.is_staged) or not is_whole(self._tree, self.name):
            return False
        shutil.rmtree(self._work, ignore_errors=True)
        for pattern in (f".{self.name}.part", f".{self.name}.*.part"):
            for part in self._tree.parent.glob(pattern):
                if not part.stat().st_size:
                    part.unlink(missing_ok=True)
        return True

    @property
    def missing(self) -> dict[RemoteFile, Part]:
        """The files that are fetched, each with its beginning."""
        return {file: part for file, part in self._parts.items() if file not in self._kept}

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    @property
    def size_to_fetch(self) -> int:
        """Bytes of the files that are fetched."""
        return sum(file.size for file in self.missing)

    @property
    def size_here(self) -> int:
        """Bytes that have arrived of them."""
        return sum(part.size for part in self.missing.values())

    def prepare(self) -> None:
        """Removes what a killed run left, whose disk counts as free, and checks archives that lie there."""
        shutil.rmtree(self._work, ignore_errors=True)
        for file in self.files:
            path = self._tree.with_name(file.name)
            if os.path.lexists(path):
                _check_kept(path, file)
                self._kept[file] = path

    def fetch(self, server: Zenodo, bar: TransferBar) -> None:
        """Fetches what is missing."""
        for file, part in self.missing.items():
            server.fetch(file, part, bar.follow(part.size))
            part.flush()
            bar.end()

    def unpack(self, bar: TransferBar, say: Callable[[str], None]) -> None:
        """Unpacks what has arrived, and puts it in its place."""
        limits = {"most_files": _MARGIN * self.archive.files, "most_bytes": _MARGIN * self.archive.tree_bytes}
        content = self._work / "content"
        try:
            for file in self.files:
                path = self._kept.get(file, self._parts[file].path)
                if file.name.endswith(".csv"):
                    content.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, content / file.name)
                else:
                    unpack(path, content / file.name, **limits, progress=bar.follow())
                    bar.end()
            staging.stage(self._work, self.name, self._tree, self.files, say)
        except ArchiveError:
            for part in self._parts.values():
                part.remove()  # fetched again, it would be the same
            raise
        finally:
            if not self.is_staged:
                shutil.rmtree(self._work, ignore_errors=True)
        self.finish()

    def finish(self) -> None:
        """Drops the archive, which is needed no more, and puts what was unpacked in its place.

        In this order, a run that is killed amid it leaves nothing that the next one does not find. A part is emptied,
        and removed when all is in its place: as long as it is open, no other process begins.
        """
        for file, part in self._parts.items():
            target = self._tree.with_name(file.name)
            if self._keep and part.size == file.size and not os.path.lexists(target):
                part.move(target)
                part.remove()
            else:
                part.clear()
        staging.place(self._work, self.name, self._tree)


def _check_kept(path: Path, file: RemoteFile) -> None:
    """Raises unless an archive that lies in the directory is the record's."""
    with path.open("rb") as stream:
        md5 = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if md5 != file.md5:
        raise TargetExistsError(
            f"{path} must have the md5 sum {file.md5} that its record states. Received: {md5}. "
            "Remove it, or give it another name."
        )
