"""Finding the parts of a tree: which folders and tables there are, and where.

ben-ge, and its modular parts:

    NAME/NAME_meta.csv  NAME_era-5.csv  NAME_esaworldcover.csv  NAME_climatezones.csv  NAME_geoclusters_k20.csv
    NAME/splits/NAME_{train,val,test}.csv
    NAME/{sentinel-2,sentinel-1,dem,esaworldcover}/
    NAME/NAME_world.json                            (simulated trees only)

BigEarthNet v1, whose two folders may lie side by side or alone:

    BigEarthNet-v1.0/<patch>/  BigEarthNet-S1-v1.0/<patch>/

BigEarthNet v2 (reBEN), whose folders gather the patches of an acquisition once more:

    BigEarthNet-S2/<acquisition>/<patch>/  BigEarthNet-S1/...  Reference_Maps/...  metadata.parquet
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eokeras.ben_ge.places import is_acquisition, is_patch_name
from eokeras.errors import InvalidSourceError

FOLDERS = {
    "sentinel_2": ("sentinel-2", "BigEarthNet-S2", "BigEarthNet-v1.0"),
    "sentinel_1": ("sentinel-1", "BigEarthNet-S1", "BigEarthNet-S1-v1.0"),
    "dem": ("dem",),
    "esaworldcover": ("esaworldcover",),
    "reference_maps": ("Reference_Maps",),
}
"""Raster modality (the keyword of `open_source`) -> the names that its folder has in ben-ge and in BigEarthNet."""

CSVS = {
    "meta": re.compile(r"(.+)_meta\.csv"),
    "era5": re.compile(r"(.+)_era-5\.csv"),
    "landcover": re.compile(r"(.+)_esaworldcover\.csv"),
    "climatezones": re.compile(r"(.+)_climatezones\.csv"),
    "geoclusters": re.compile(r"(.+)_geoclusters_k\d+\.csv"),
}
"""Csv (the keyword of `open_source`) -> its file name, with the tree's name in front."""

METADATA_FILE = "metadata.parquet"
"""The metadata table of BigEarthNet v2 (keyword `metadata`)."""

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Layout:
    """Where the parts of a tree lie. Absent parts are absent from the mappings."""

    root: Path
    name: str
    folders: Mapping[str, Path]
    csvs: Mapping[str, Path]
    metadata: Path | None
    splits: Mapping[str, Path]
    world: Path | None
    in_root: frozenset[str]  # directories in the root, which for BigEarthNet itself are the patches
    modular: bool  # whether folders and side tables may hold more patches than the table that lists them


def find_layout(root: str | os.PathLike, name: str | None, given: Mapping[str, str | os.PathLike | None]) -> Layout:
    """Finds out what a tree holds.

    Args:
        root: directory of the tree.
        name: the NAME in front of its csvs; by default the one that they share.
        given: keyword of `open_source` -> folder or table that lies elsewhere, or None.

    Raises:
        InvalidSourceError: `root` is no tree; a given path does not exist; csvs of several names, or two folders
            of one modality, lie in `root`; an empty modality folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise InvalidSourceError(f"`root` must be a directory that holds a ben-ge tree. Received: root={str(root)!r}.")
    paths = {key: Path(path) for key, path in given.items() if path is not None}
    for key, path in paths.items():
        if not path.exists():
            raise InvalidSourceError(f"`{key}` must exist. Received: {key}={str(path)!r}.")
    with os.scandir(root) as listing:
        is_directory = {entry.name: entry.is_dir() for entry in listing}
    entries = sorted(is_directory)
    names = _names(entries)
    if name is not None and names and name not in names:
        raise InvalidSourceError(f"`name` must be one of {names} in {str(root)!r}. Received: name={name!r}.")
    name = name or _shared_name(root, names)
    folders = _find_folders(root, entries, paths) or _bare_folders(root, entries)
    folders |= {key: paths[key] for key in FOLDERS if key in paths}
    csvs = _find_csvs(root, entries, name) | {key: paths[key] for key in CSVS if key in paths}
    metadata = paths.get("metadata", root / METADATA_FILE)
    if "metadata" in paths and not metadata.is_file():
        raise InvalidSourceError(f"`metadata` must be a Parquet file. Received: metadata={str(metadata)!r}.")
    if not folders and not csvs:
        names = [folder for names in FOLDERS.values() for folder in names]
        looked = f"folders {names}, csvs {name}_*.csv, or BigEarthNet patch folders"
        raise InvalidSourceError(f"`root` must be a ben-ge tree. Looked for {looked} in {str(root)!r}. Found: none.")
    for folder in folders.values():
        _check_not_empty(folder)
    world = root / f"{name}_world.json"
    return Layout(
        root=root,
        name=name,
        folders={key: folders[key] for key in FOLDERS if key in folders},
        csvs={key: csvs[key] for key in CSVS if key in csvs},
        metadata=metadata if metadata.is_file() else None,
        splits=_find_splits(paths.get("splits", root / "splits"), name, "splits" in paths),
        world=world if world.is_file() else None,
        in_root=frozenset(name for name in entries if is_directory[name]),
        # The folders of BigEarthNet v2 hold patches of snow and clouds too, which its table leaves out.
        modular=bool(set(paths) - {"splits"}) or metadata.is_file(),
    )


def _names(entries: list[str]) -> list[str]:
    """Every NAME that stands in front of a csv."""
    return sorted({match[1] for entry in entries for pattern in CSVS.values() if (match := pattern.fullmatch(entry))})


def _shared_name(root: Path, names: list[str]) -> str:
    """The NAME of all csvs of a tree, which is not the directory's own after a renaming."""
    if len(names) > 1:
        raise InvalidSourceError(
            f"The csvs of a tree must share one name; pass `name=` to choose. Received: {names} in {str(root)!r}."
        )
    return names[0] if names else root.resolve().name


def _find_folders(root: Path, entries: list[str], paths: Mapping[str, Path]) -> dict[str, Path]:
    found = {}
    for key, names in FOLDERS.items():
        present = [name for name in names if name in entries and (root / name).is_dir()]
        if len(present) > 1 and key not in paths:
            raise InvalidSourceError(
                f"A tree may hold one folder of a modality; pass `{key}=` to choose. Received: {present} in "
                f"{str(root)!r}."
            )
        if present:
            found[key] = root / present[0]
    return found


def _find_csvs(root: Path, entries: list[str], name: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for entry in entries:
        for key, pattern in CSVS.items():
            if (match := pattern.fullmatch(entry)) and match[1] == name:
                if key in found:
                    raise InvalidSourceError(
                        f"A tree may hold one such csv; pass `{key}=` to choose. Received: "
                        f"{found[key].name} and {entry} in {str(root)!r}."
                    )
                found[key] = root / entry
    return found


def _bare_folders(root: Path, entries: list[str]) -> dict[str, Path]:
    """A folder of BigEarthNet itself: patch folders (v1), or acquisitions of one sensor (v2), directly in the root."""
    sensors = {"sentinel_2": "S2", "sentinel_1": "S1"}
    return {
        key: root
        for key, sensor in sensors.items()
        if any(
            is_patch_name(entry, sensor) or (entry.startswith(sensor) and is_acquisition(entry)) for entry in entries
        )
    }


def _check_not_empty(folder: Path) -> None:
    if not folder.is_dir():
        raise InvalidSourceError(f"A modality must be a folder. Received: {str(folder)!r}.")
    with os.scandir(folder) as listing:
        is_empty = next(listing, None) is None
    if is_empty:
        raise InvalidSourceError(f"A modality folder must hold patches. Received: an empty folder {str(folder)!r}.")


def _find_splits(folder: Path, name: str, given: bool) -> dict[str, Path]:
    """Split files of the tree's own name; in a folder given apart also of another one, if it is the only one."""
    found: dict[str, Path] = {}
    for split in SPLITS:
        own = folder / f"{name}_{split}.csv"
        others = sorted(folder.glob(f"*_{split}.csv")) if given else []
        if own.is_file():
            found[split] = own
        elif len(others) > 1:
            names = [path.name for path in others]
            raise InvalidSourceError(f"`splits` must hold one split; pass `name=` to choose. Received: {names}.")
        elif others:
            found[split] = others[0]
    if given and not found:
        raise InvalidSourceError(f"`splits` must hold NAME_train.csv and so on. Received: none in {str(folder)!r}.")
    return found
