"""The published archives of ben-ge: fetched, checked, unpacked, and nothing half-done taken for whole.

DIRECTORY/NAME/                    the tree, whole
DIRECTORY/NAME/NAME_archive.json   where it came from, and how many files it had
DIRECTORY/.NAME.part               what has arrived of an unfinished download; the next call goes on there
DIRECTORY/.NAME.incomplete/        being unpacked; removed by the next call
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from eokeras.ben_ge.layout import find_layout
from eokeras.ben_ge.part import Part
from eokeras.ben_ge.unpacking import ArchiveError, unpack
from eokeras.ben_ge.zenodo import ADDRESS, RemoteFile, Zenodo
from eokeras.errors import EokerasError, InvalidSourceError, TargetExistsError, UnwritableError, check_choice

_MARGIN = 2  # a tree may be so many times as large as stated; more is no ben-ge
_FILES_PER_PATCH = 20  # 12 Sentinel-2, 2 Sentinel-1, 1 elevation, 1 land cover, 2 label files, 2 directories


@dataclass(frozen=True)
class Archive:
    """A published archive.

    Args:
        record: number of its Zenodo record.
        file: name of the tar.gz in that record, which states its size and md5 sum.
        patches: how many the tree holds.
        tree_bytes: about how much disk the unpacked tree takes.
    """

    record: int
    file: str
    patches: int
    tree_bytes: int

    @property
    def doi(self) -> str:
        """Digital object identifier of the record."""
        return f"10.5281/zenodo.{self.record}"


ARCHIVES = {
    "ben-ge-800": Archive(12941231, "ben-ge-800.tar.gz", 800, 420_000_000),
    "ben-ge-8k": Archive(8121208, "ben-ge-8k.tar.gz", 8000, 4_200_000_000),
}
"""Name -> archive; 4.2 GB is what ben-ge's documentation says of ben-ge-8k, a tenth of it is taken for ben-ge-800."""


def download(
    name: str,
    directory: str | Path,
    *,
    keep_archive: bool = False,
    progress: bool = True,
    base: str = ADDRESS,
    attempts: int = 6,
    wait_s: float = 1.0,
    timeout_s: float = 30.0,
) -> Path:
    """Fetches a published ben-ge tree into a directory, or finds it there.

    The record says how large the archive is and what md5 sum it has; both are checked. A download that
    was cut goes on where it ended, in this call or in the next. The tree appears under its name when it is
    whole, and a whole one is returned without any request. The disk that archive and tree take is checked
    beforehand; an archive that unpacks to more than twice what its tree should take is refused on the way.

    Args:
        name: "ben-ge-800" (183 MB packed) or "ben-ge-8k" (4.2 GB unpacked).
        directory: where `directory/name` goes; made where it does not exist.
        keep_archive: leaves the tar.gz in `directory`. One that lies there already is unpacked instead of
            fetched, if it is the record's, and is never removed.
        progress: says what is fetched and how much disk it needs, and shows bars with rate and time left.
        base: address of a server that serves the same records in the same form as Zenodo.
        attempts: how many failures in a row are too many; a cut, a timeout or a busy server is one.
        wait_s: pause in seconds before the second attempt; doubles with each. A server's Retry-After counts instead.
        timeout_s: seconds without a byte after which an attempt has failed.

    Returns:
        Path of the tree, as `open_source` and `convert` take it.

    Raises:
        InvalidArgumentError: an argument breaks its rule.
        TargetExistsError: `directory/name` exists and is not a whole tree that was downloaded, or an archive of
            that name is another file.
        DownloadError: the archive cannot be fetched, or its content is not what the record states.
        ArchiveError: it is no ben-ge tree, or holds what must not be unpacked.
        UnwritableError: `directory` cannot be written, lacks space, or is in use by another download.

    Example:
        >>> tree = eo.ben_ge.download("ben-ge-800", "data")  # doctest: +SKIP
        >>> records = eo.ben_ge.convert(tree, "records/ben-ge-800")  # doctest: +SKIP

    Reference:
        Mommert et al. 2023, https://arxiv.org/abs/2307.01741
    """
    check_choice("name", name, ARCHIVES)
    archive, directory = ARCHIVES[name], Path(directory)
    tree = directory / name
    if os.path.lexists(tree):
        return _check_whole(tree)
    say = tqdm.write if progress else (lambda sentence: None)  # a plain print would go through the bar
    server = Zenodo(base, attempts=attempts, wait_s=wait_s, timeout_s=timeout_s, say=say)
    file = server.find(archive.record, archive.file)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with Part(directory / f".{name}.part", file.md5, file.size) as part:
            if os.path.lexists(tree):  # of another process that has just ended
                return _check_whole(tree)
            _obtain(server, file, part, archive, tree, keep_archive, progress, say)
    except EokerasError:
        raise
    except OSError as error:
        raise UnwritableError(
            f"`directory` must be writable. Received: {directory} ({error.strerror or error}). "
            "What has arrived stays for the next call."
        ) from error
    return tree


def _obtain(
    server: Zenodo,
    file: RemoteFile,
    part: Part,
    archive: Archive,
    tree: Path,
    keep_archive: bool,
    progress: bool,
    say: Callable[[str], None],
) -> None:
    """Fetches what is missing and makes the tree."""
    kept = tree.parent / archive.file
    is_kept = os.path.lexists(kept)
    if is_kept:
        _check_kept(kept, file)
    work = tree.with_name(f".{tree.name}.incomplete")
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed; its disk counts as free
    here = file.size if is_kept else part.size
    needed, free = file.size - here + archive.tree_bytes, shutil.disk_usage(tree.parent).free
    say(
        f"{tree.name}: {_size(file.size)} from {server.base}/records/{file.record}, {_size(here)} of it are here; "
        f"about {_size(archive.tree_bytes)} unpacked. Needs {_size(needed)} in {tree.parent}; {_size(free)} are free."
    )
    if needed > free:
        raise UnwritableError(
            f"`directory` must have {_size(needed)} free. Received: {tree.parent}, which has {_size(free)}."
        )
    if not is_kept:
        with _bar("download", file.size, part.size, progress) as show:
            server.fetch(file, part, show)
        part.flush()
    try:
        _make_tree(kept if is_kept else part.path, work, tree, archive, file, progress)
    except ArchiveError:
        part.remove()  # fetched again, it would be the same
        raise
    if keep_archive and not is_kept:
        part.move(kept)
    part.remove()


def _check_kept(path: Path, file: RemoteFile) -> None:
    """Raises unless an archive that lies in the directory is the record's."""
    with path.open("rb") as stream:
        md5 = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if md5 != file.md5:
        raise TargetExistsError(
            f"{path} must have the md5 sum {file.md5} that its record states. Received: {md5}. "
            "Remove it, or give it another name."
        )


def _make_tree(source: Path, work: Path, tree: Path, archive: Archive, file: RemoteFile, progress: bool) -> None:
    """Unpacks beside the target and renames."""
    limits = {
        "most_files": _MARGIN * _FILES_PER_PATCH * archive.patches,
        "most_bytes": _MARGIN * archive.tree_bytes,
    }
    try:
        with _bar("unpack", file.size, 0, progress) as show:
            unpack(source, work, **limits, progress=show)
        found = _find_tree(work)
        note = _note_of(found, tree.name)
        content = {"name": tree.name, "doi": archive.doi, **asdict(file), "files": _inventory(found, note)}
        note.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        found.rename(tree)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _find_tree(directory: Path) -> Path:
    """The ben-ge tree that an archive holds: its content, or that of the only directory in it."""
    entries = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    try:
        find_layout(directory, None, {})
    except InvalidSourceError as error:
        folders = [path for path in entries if path.is_dir()]
        if len(folders) == 1:
            return _find_tree(folders[0])
        names = [path.name for path in entries[:5]]
        raise ArchiveError(f"The archive must hold a ben-ge tree. Received: {names}.") from error
    return directory


def _note_of(tree: Path, name: str) -> Path:
    return tree / f"{name}_archive.json"


def _inventory(tree: Path, note: Path) -> dict[str, dict[str, int]]:
    """Ending of file names -> number and bytes of such files in a tree, its note apart."""
    found: dict[str, dict[str, int]] = {}
    for folder, _, names in os.walk(tree):
        for path in (Path(folder, name) for name in names):
            if path != note:
                entry = found.setdefault(path.suffix, {"count": 0, "bytes": 0})
                entry["count"] += 1
                entry["bytes"] += path.stat().st_size
    return found


def _check_whole(tree: Path) -> Path:
    """A tree that is there, if it was made by `download` and has at least the files that it had then."""
    note = _note_of(tree, tree.name)
    way_out = "Open it with `open_source` if you trust it; else remove it and download again."
    try:
        wanted = json.loads(note.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TargetExistsError(
            f"`directory` must hold no {tree.name} or one that was downloaded whole. Received: {tree}, which lacks a "
            f"readable {note.name}. {way_out}"
        ) from error
    present = _inventory(tree, note)
    for ending, entry in wanted.items():
        here = present.get(ending, {"count": 0, "bytes": 0})
        if any(here[key] < entry[key] for key in entry):
            raise TargetExistsError(
                f"`directory` must hold no {tree.name} or a whole one. Received: {tree}, which has {here['count']} of "
                f"{entry['count']} {ending} files, {here['bytes']} of {entry['bytes']} bytes. {way_out}"
            )
    return tree


@contextlib.contextmanager
def _bar(description: str, total: int, initial: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar over bytes as a function of the bytes done; in a log file it writes every ten seconds."""
    interval_s = 0.1 if sys.stderr.isatty() else 10
    options = {"unit": "B", "unit_scale": True, "file": sys.stderr, "mininterval": interval_s, "disable": not shown}
    with tqdm(desc=description, total=total, initial=initial, **options) as bar:
        yield lambda done: bar.update(done - bar.n)


def _size(count: int) -> str:
    """Bytes as a reader says them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
