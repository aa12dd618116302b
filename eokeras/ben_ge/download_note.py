"""The note in a downloaded tree: where it came from, and how many files it had, by which it is known to be whole."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from eokeras.ben_ge.catalogue import ARCHIVES
from eokeras.ben_ge.layout import CSVS, FOLDERS
from eokeras.ben_ge.zenodo import RemoteFile
from eokeras.errors import TargetExistsError

_WAY_OUT = "Open it with `open_source` if you trust it; else remove it and download again."


def note_of(tree: Path, name: str) -> Path:
    """Where the note of an archive lies in its tree."""
    return tree / f"{name}_archive.json"


def write_note(tree: Path, name: str, files: Iterable[RemoteFile]) -> None:
    """Notes what lies in a new tree."""
    files, note = list(files), note_of(tree, name)
    entries = sorted(path.name for path in tree.iterdir())
    content = {
        "name": name,
        "doi": f"10.5281/zenodo.{files[0].record}",
        "record": files[0].record,
        "archives": [{"name": file.name, "size": file.size, "md5": file.md5} for file in files],
        "entries": entries,
        "files": _inventory(tree / entry for entry in entries),
    }
    note.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_note(tree: Path, name: str) -> dict:
    """What the note in a downloaded tree says: `name`, `doi`, `record`, `archives`, `entries`, `files`.

    Raises:
        TargetExistsError: there is no readable note.
    """
    note = note_of(tree, name)
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
        dict(content["files"]), [tree / entry for entry in content["entries"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TargetExistsError(
            f"`directory` must hold no {name} or one that was downloaded whole. Received: {tree}, which lacks a "
            f"readable {note.name}. {_WAY_OUT}"
        ) from error
    return content


def is_whole(tree: Path, name: str) -> bool:
    """Whether an archive was downloaded into a tree and has at least the files that it had then.

    False where nothing of it is there.

    Raises:
        TargetExistsError: something lies in its place that was not downloaded, or is no longer whole.
    """
    if not _is_there(tree, name):
        return False
    content = read_note(tree, name)
    present = _inventory(tree / entry for entry in content["entries"])
    for ending, entry in content["files"].items():
        here = present.get(ending, {"count": 0, "bytes": 0})
        if any(here[key] < entry[key] for key in entry):
            raise TargetExistsError(
                f"`directory` must hold no {name} or a whole one. Received: {tree}, which has {here['count']} of "
                f"{entry['count']} {ending} files, {here['bytes']} of {entry['bytes']} bytes. {_WAY_OUT}"
            )
    return True


def _is_there(tree: Path, name: str) -> bool:
    """Whether anything lies where an archive goes: its tree, or its folder, csv or note in the shared one."""
    archive = ARCHIVES[name]
    if not archive.is_part or not tree.is_dir():
        return os.path.lexists(tree)
    names = os.listdir(tree)
    own = (*FOLDERS.get(archive.folder, ()), note_of(tree, name).name)
    return any(entry in own or (archive.csv and CSVS[archive.csv].fullmatch(entry)) for entry in names)


def _inventory(entries: Iterable[Path]) -> dict[str, dict[str, int]]:
    """Ending of file names -> number and bytes of such files in the entries of a tree."""
    found: dict[str, dict[str, int]] = {}

    def count(name: str, size: int) -> None:
        entry = found.setdefault(os.path.splitext(name)[1], {"count": 0, "bytes": 0})
        entry["count"] += 1
        entry["bytes"] += size

    def walk(folder: str | Path) -> None:
        with os.scandir(folder) as items:
            for item in items:
                if item.is_dir(follow_symlinks=False):
                    walk(item.path)
                elif item.is_file():
                    count(item.name, item.stat().st_size)

    for path in entries:
        if path.is_dir():
            walk(path)
        elif path.is_file():
            count(path.name, path.stat().st_size)
    return found
