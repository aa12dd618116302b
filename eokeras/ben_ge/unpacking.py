"""Unpacking a tar.gz from elsewhere: plain files and directories, inside one new directory, within limits.

Everything else is refused before it touches the disk. Members are written as new files with the
user's own permissions, so that no mode, owner or link of the archive has any effect.
"""

import contextlib
import errno
import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from eokeras.errors import EokerasError, TargetExistsError

_LARGEST_READ = 1 << 22  # bytes; tarfile reads a member's extended header in one piece
_HEADER_BYTES = 4096  # of a member, padding included; a plain one has 512 and up to 511
_DEEPEST = 16  # directories of a name; each is made


class ArchiveError(EokerasError, ValueError):
    """An archive is damaged or holds what must not be unpacked."""


class _BoundedGzip(gzip.GzipFile):
    """Decompresses forwards and up to a limit alone, wherever the headers inside send tarfile."""

    def __init__(self, path: Path, most_bytes: int):
        super().__init__(path, "rb")
        self._most_bytes = most_bytes

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _LARGEST_READ or self.tell() + size > self._most_bytes:
            raise ArchiveError("A header of the archive must be of a plausible size. Received: one that is not.")
        return super().read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        # tarfile steps back by one byte to see that a member is whole. Further back, what was counted is read again.
        if whence == os.SEEK_SET and not self.tell() - 1 <= offset <= self._most_bytes:
            raise ArchiveError("A member of the archive must end at a plausible place. Received: one that does not.")
        return super().seek(offset, whence)


def unpack(
    archive: str | Path,
    directory: str | Path,
    *,
    most_files: int,
    most_bytes: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Unpacks a tar.gz into a new directory; leaves nothing there where it fails.

    Refused are absolute names, `..`, a backslash or colon in a name, links, devices, pipes, sparse files, a name
    that occurs twice, and more members or bytes than the limits. Modes, owners and times are not taken over.

    Args:
        archive: path of the tar.gz.
        directory: made here; must not exist.
        most_files: limit of the number of members, directories included.
        most_bytes: limit of the sum of the files' sizes.
        progress: called as progress(bytes of the archive that were read) after every member.

    Raises:
        ArchiveError: the archive is damaged, holds what is refused, or exceeds a limit.
        TargetExistsError: `directory` exists.
        OSError: `directory` cannot be written (permission, space).

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.csv").write_text("patch_id")
        >>> with tarfile.open(folder / "a.tar.gz", "w:gz") as tar:
        ...     tar.add(folder / "a.csv", "tree/a.csv")
        >>> unpack(folder / "a.tar.gz", folder / "out", most_files=10, most_bytes=100)
        >>> (folder / "out" / "tree" / "a.csv").read_text()
        'patch_id'
    """
    directory = Path(directory)
    try:
        directory.mkdir(parents=True)
    except FileExistsError:
        raise TargetExistsError(f"`directory` must not exist. Received: {directory}, which does.") from None
    try:
        with contextlib.closing(_unpack(Path(archive), directory, most_files, most_bytes)) as steps:
            for done in steps:
                if progress is not None:
                    progress(done)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def _unpack(archive: Path, directory: Path, most_files: int, most_bytes: int) -> Iterator[int]:
    """Writes member after member; after each, the bytes of the archive that were read."""
    files, size = 0, 0
    try:
        with (
            _BoundedGzip(archive, most_bytes + _HEADER_BYTES * (most_files + 1)) as stream,
            tarfile.open(fileobj=stream, mode="r:") as tar,
        ):
            while (member := tar.next()) is not None:
                tar.members.clear()  # tarfile keeps every header it has read
                if member.size < 0:
                    raise ArchiveError(
                        f"A size in the archive must not be negative. Received: {member.size} bytes of {member.name!r}."
                    )
                files, size = files + 1, size + member.size
                if files > most_files or size > most_bytes:
                    raise ArchiveError(
                        f"The archive must hold at most {most_files} members of at most {most_bytes} bytes in all. "
                        f"Received: more, at {member.name!r}."
                    )
                _write(tar, member, directory)
                yield stream.fileobj.tell()
    except ArchiveError:
        raise
    # The last two escape tarfile where a header holds a word for a number, or headers stand before headers.
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile, ValueError, RecursionError) as error:
        raise ArchiveError(f"The archive must be a whole tar.gz. Received: a damaged one ({error}).") from error
    if not files:
        raise ArchiveError("The archive must hold files. Received: an empty one.")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, directory: Path) -> None:
    path = directory.joinpath(*_checked_parts(member.name))
    try:
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
        elif member.isreg() and not member.issparse():
            path.parent.mkdir(parents=True, exist_ok=True)
            # "x" writes through no link and over no file, should the archive hold a name twice.
            with tar.extractfile(member) as content, path.open("xb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
        else:
            raise ArchiveError(
                f"The archive must hold plain files and directories only. Received: {member.name!r}, a {_kind(member)}."
            )
    except (FileExistsError, NotADirectoryError) as error:
        raise ArchiveError(f"A name must occur once in the archive. Received: {member.name!r} twice.") from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise ArchiveError(
            f"A name in the archive must be short enough for this disk. Received: {member.name[:200]!r}..."
        ) from error


def _checked_parts(name: str) -> tuple[str, ...]:
    """The parts of a relative name that stays inside; on Windows backslash and colon lead out, wherever they stand."""
    path = PurePosixPath(name)
    strange = any(mark in name for mark in ("\\", ":", "\0"))
    if path.is_absolute() or ".." in path.parts or strange or len(path.parts) > _DEEPEST:
        raise ArchiveError(
            f"A name in the archive must lead to a place inside it, at most {_DEEPEST} directories deep. "
            f"Received: {name[:200]!r}."
        )
    return path.parts


def _kind(member: tarfile.TarInfo) -> str:
    kinds = {"issym": "symbolic link", "islnk": "hard link", "isdev": "device or pipe", "issparse": "sparse file"}
    return next((kind for test, kind in kinds.items() if getattr(member, test)()), f"member of type {member.type!r}")
