"""A directory to work in beside what is to be made: nothing is there, or all of it."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from eokeras.errors import TargetExistsError, UnwritableError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextlib.contextmanager
def workplace(target: Path, what: str) -> Iterator[Path]:
    """An empty directory `.NAME.incomplete` beside `target`, on its file system, so that a result can be renamed.

    It is this process's alone: the kernel holds a lock on it until the process ends, however it ends. What an earlier
    run left that was killed is removed, and so is the directory in the end. On Windows, and on file systems without
    locks (some network and cloud drives), there is no lock: then two runs into one directory must not meet.

    Args:
        target: what is to be made, by renaming something in the directory.
        what: of `target`, for messages ("records").

    Raises:
        TargetExistsError: `target` exists.
        UnwritableError: another process works on the same target.
        OSError: the directory cannot be made.
    """
    _check_free(target)
    work = target.with_name(f".{target.name}.incomplete")
    held = _hold(work, what)
    try:
        _check_free(target)  # another process may have made it while this one came
        for entry in work.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if held is not None:
            os.close(held)


def _check_free(target: Path) -> None:
    if target.exists() or target.is_symlink():
        rule = "`directory` must not exist yet."
        raise TargetExistsError(f"{rule} Received: {target}, which does. Remove it or choose another.")


def _hold(work: Path, what: str) -> int | None:
    """Makes the directory and locks it; its descriptor, which holds the lock."""
    while True:
        work.mkdir(parents=True, exist_ok=True)
        if fcntl is None:
            return None
        try:
            directory = os.open(work, os.O_RDONLY)
        except FileNotFoundError:  # another process is just done
            continue
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(directory)
            name = work.name.removeprefix(".").removesuffix(".incomplete")
            raise UnwritableError(
                f"`directory` must not be in use. Received: {work.parent / name}, for which another process is making "
                f"{what}. Wait for it or end it."
            ) from None
        except OSError:  # a file system without locks
            return directory
        # Whoever held it before may have removed it meanwhile: then this is a lock on nothing.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(directory), work.stat()):
                return directory
        os.close(directory)
