"""The beginning of a file that is being fetched: it grows on disk, knows its md5 sum, and outlives its process."""

import contextlib
import errno
import hashlib
import json
import os
from pathlib import Path
from typing import BinaryIO

from eokeras.errors import UnwritableError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class Part:
    """A file's beginning, to be used in a `with` statement; locked against other processes meanwhile.

    A note beside it (`PATH.json`) holds the md5 sum that the whole file must have and the version
    (ETag) that the server gave it. Without a fitting note a beginning is worth nothing and is cleared.
    An empty one is removed in the end.

    Args:
        path: where it lies, or will lie.
        whole_md5: md5 sum that the whole file must have, hexadecimal.
        whole_size: its size in bytes.

    Attributes:
        size: bytes that are there.
        furthest: the largest that `size` has been.
        etag: version of the file, or None where the server gives none that tells bytes apart.

    Raises:
        UnwritableError: another process has it open, or a link lies in its place.
        OSError: it cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.part"
        >>> with Part(path, "900150983cd24fb0d6963f7d28e17f72", 3) as part:
        ...     part.begin('"1"')
        ...     part.write(b"ab")
        >>> with Part(path, "900150983cd24fb0d6963f7d28e17f72", 3) as part:
        ...     print(part.size, part.etag)
        ...     part.write(b"c")
        ...     print(part.md5)
        2 "1"
        900150983cd24fb0d6963f7d28e17f72
    """

    def __init__(self, path: str | Path, whole_md5: str, whole_size: int):
        self.path = Path(path)
        self.size, self.furthest, self.etag = 0, 0, None
        self._whole_md5, self._whole_size = whole_md5, whole_size
        self._note = self.path.with_name(f"{self.path.name}.json")

    def __enter__(self) -> "Part":
        self._file = _open_to_append(self.path)
        try:
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._file.close()
        if not self.size:
            self.remove()

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnwritableError(
                f"`directory` must not be in use. Received: {self.path.parent}, where another process writes "
                f"{self.path.name}. Wait for it or end it."
            ) from None
        except OSError:  # a file system without locks, as some network and cloud drives are
            pass

    def _read(self) -> None:
        """Takes up what an earlier process left, if it is the beginning of the same file."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            etag = note["etag"]
            is_known = note["md5"] == self._whole_md5 and isinstance(etag, str | None)
            fits = is_known and self.path.stat().st_size <= self._whole_size
        except (OSError, ValueError, KeyError, TypeError):
            fits = False
        if not fits:
            self.clear()
            return
        self._digest = hashlib.md5(usedforsecurity=False)
        self._file.seek(0)
        while chunk := self._file.read(1 << 20):
            self._digest.update(chunk)
            self.size += len(chunk)
        self.furthest, self.etag = self.size, etag

    @property
    def md5(self) -> str:
        """The md5 sum of what is there, hexadecimal."""
        return self._digest.hexdigest()

    def begin(self, etag: str | None) -> None:
        """Notes the version of the file whose first bytes follow; nothing where some are there already."""
        if not self.size:
            # A weak version ("W/...") may stay while bytes change, so that nothing can be continued by it.
            self.etag = None if etag is None or etag.startswith("W/") else etag
            self._note.unlink(missing_ok=True)  # a link would be written through
            self._note.write_text(json.dumps({"md5": self._whole_md5, "etag": self.etag}), encoding="utf-8")

    def write(self, chunk: bytes) -> None:
        """Appends bytes."""
        self._file.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)
        self.furthest = max(self.furthest, self.size)

    def flush(self) -> None:
        """Hands all bytes to the file, so that it can be read by its path."""
        self._file.flush()

    def clear(self) -> None:
        """Drops all that is there."""
        self._file.truncate(0)
        self._digest = hashlib.md5(usedforsecurity=False)
        self.size, self.etag = 0, None
        self._note.unlink(missing_ok=True)

    def move(self, target: Path) -> None:
        """Closes it and gives it another name; `remove` then removes the note."""
        self._file.close()  # Windows renames and removes no open file
        self.path.rename(target)

    def remove(self) -> None:
        """Closes it and removes it from the disk."""
        self._file.close()
        for path in (self.path, self._note):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def _open_to_append(path: Path) -> BinaryIO:
    """Opens or makes a file, but follows no link: it would lead to a file that is not ours."""
    no_link = getattr(os, "O_NOFOLLOW", 0)  # Windows has none
    try:
        return open(path, "a+b", opener=lambda name, flags: os.open(name, flags | no_link, 0o666))
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UnwritableError(
            f"`directory` must hold no link named {path.name}. Received: {path.parent}, which does. Remove the link."
        ) from error
