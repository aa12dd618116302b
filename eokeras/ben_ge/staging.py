"""From unpacked archives to their place: what belongs there is gathered, noted, and moved when it is whole.

WORK/content/   what was unpacked
WORK/staged/    what of it goes into the tree, being gathered
WORK/whole/     the same, complete and with its note: from here on only renaming is left, whoever does it
"""

import filecmp
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from eokeras.ben_ge.catalogue import ARCHIVES, FULL
from eokeras.ben_ge.download_note import note_of, write_note
from eokeras.ben_ge.layout import CSVS, FOLDERS, find_layout
from eokeras.ben_ge.patch_files import FILE_ENDINGS
from eokeras.ben_ge.unpacking import ArchiveError
from eokeras.ben_ge.zenodo import RemoteFile
from eokeras.errors import InvalidSourceError


def stage(work: Path, name: str, tree: Path, files: Iterable[RemoteFile], say: Callable[[str], None]) -> None:
    """Makes `work/whole` of `work/content`.

    Args:
        work: directory of unfinished work.
        name: of the archive.
        tree: where its content will go.
        files: what was unpacked.
        say: told, in a sentence, what is left out.

    Raises:
        ArchiveError: the content is not what the archive must hold.
    """
    archive, content, staged = ARCHIVES[name], work / "content", work / "staged"
    if archive.is_part:
        staged.mkdir()
        _gather_part(content, name, staged)
        _leave_out_what_is_there(staged, tree, say)
    else:
        _find_tree(content).rename(staged)
    write_note(staged, name, files)
    staged.rename(work / "whole")


def is_staged(work: Path) -> bool:
    """Whether only renaming is left to do."""
    return (work / "whole").is_dir()


def place(work: Path, name: str, tree: Path) -> None:
    """Moves `work/whole` to its tree, what is left of it after an interruption too, and removes `work`."""
    whole = work / "whole"
    shutil.rmtree(work / "content", ignore_errors=True)
    if ARCHIVES[name].is_part:
        tree.mkdir(parents=True, exist_ok=True)
        note = note_of(whole, name)
        for entry in sorted(whole.iterdir(), key=lambda path: path == note):  # the note, by which it counts, comes last
            entry.rename(tree / entry.name)
    else:
        whole.rename(tree)
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


def _gather_part(content: Path, name: str, staged: Path) -> None:
    """Moves the csvs of the full ben-ge and the raster folder, wherever they lie, and leaves all else."""
    archive = ARCHIVES[name]
    ending = FILE_ENDINGS[archive.folder] if archive.folder else None
    of_other_parts = {other.csv for other in ARCHIVES.values()} - {archive.csv}
    kinds = [kind for kind in CSVS if kind not in of_other_parts]
    folders, csvs, others = [], [], []
    for folder, _, files in os.walk(content):
        visible = [file for file in files if not file.startswith(".")]
        rasters = [file for file in visible if ending and file.endswith(ending)]
        tables = [file for file in visible if any(_is_full(file, kind) for kind in kinds)]
        folders += [Path(folder)] if rasters else []
        csvs += [Path(folder, file) for file in tables]
        others += sorted({*visible}.difference(rasters, tables))[:5] if len(others) < 5 else []
    received = f"Received: {[path.name for path in csvs]} and others, such as {others[:5]}."
    if archive.folder and len(folders) != 1:
        raise ArchiveError(f"{name} must hold rasters *{ending} in one folder, not {len(folders)}. {received}")
    if archive.csv and not any(_is_full(path.name, archive.csv) for path in csvs):
        raise ArchiveError(f"{name} must hold the csv `{archive.csv}` of {FULL}. {received}")
    for path in csvs:
        path.replace(staged / path.name)
    if archive.folder:
        folders[0].rename(staged / FOLDERS[archive.folder][0])


def _is_full(name: str, kind: str) -> bool:
    match = CSVS[kind].fullmatch(name)
    return match is not None and match[1] == FULL


def _leave_out_what_is_there(staged: Path, tree: Path, say: Callable[[str], None]) -> None:
    """Every part may bring the same csvs; the first stay."""
    for path in staged.glob("*.csv"):
        there = tree / path.name
        if there.exists():
            if not filecmp.cmp(path, there, shallow=False):
                say(f"{there} stays as it is; the archive brings another one, which is left out.")
            path.unlink()
