"""Finding the parts of a ben-ge tree: which folders and csvs there are, and where.

NAME/NAME_meta.csv  NAME_era-5.csv  NAME_esaworldcover.csv  NAME_climatezones.csv  NAME_geoclusters_k20.csv
NAME/splits/NAME_{train,val,test}.csv
NAME/{sentinel-2,sentinel-1,dem,esaworldcover}/
NAME/NAME_world.json                            (simulated trees only)
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eokeras.ben_ge.places import is_patch_name
from eokeras.ben_ge.schema import RASTERS, S2_GROUPS
from eokeras.errors import InvalidSourceError

FOLDERS = {
    "sentinel_2": "sentinel-2",
    "sentinel_1": "sentinel-1",
    "dem": "dem",
    "esaworldcover": "esaworldcover",
}
"""Raster modality (the keyword of `open_source`) -> its folder in a tree."""

RASTERS_OF_FOLDER = {
    "sentinel_2": S2_GROUPS,
    "sentinel_1": ("s1",),
    "dem": ("dem",),
    "esaworldcover": ("land_cover_map",),
}
"""Raster modality -> the rasters of a record that lie in its folder."""

CSVS = {
    "meta": re.compile(r"(.+)_meta\.csv"),
    "era5": re.compile(r"(.+)_era-5\.csv"),
    "landcover": re.compile(r"(.+)_esaworldcover\.csv"),
    "climatezones": re.compile(r"(.+)_climatezones\.csv"),
    "geoclusters": re.compile(r"(.+)_geoclusters_k\d+\.csv"),
}
"""Csv (the keyword of `open_source`) -> its file name, with the tree's name in front."""

SPLITS = ("train", "val", "test")
FILE_ENDINGS = {"dem": "_dem.tif", "esaworldcover": "_esaworldcover.tif"}


@dataclass(frozen=True)
class Layout:
    """Where the parts of a tree lie. Absent parts are absent from the mappings."""

    root: Path
    name: str
    folders: Mapping[str, Path]
    csvs: Mapping[str, Path]
    splits: Mapping[str, Path]
    world: Path | None
    modular: bool  # whether a part was given apart, as those of the full ben-ge are


def find_layout(root: str | os.PathLike, name: str | None, given: Mapping[str, str | os.PathLike | None]) -> Layout:
    """Finds out what a tree holds.

    Args:
        root: directory of the tree.
        name: the NAME in front of its csvs; by default the one that they share.
        given: keyword of `open_source` -> folder or csv that lies elsewhere, or None.

    Raises:
        InvalidSourceError: `root` is no ben-ge tree; a given path does not exist; csvs of several names
            lie in `root`; an empty modality folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise InvalidSourceError(f"`root` must be a directory that holds a ben-ge tree. Received: root={str(root)!r}.")
    paths = {key: Path(path) for key, path in given.items() if path is not None}
    for key, path in paths.items():
        if not path.exists():
            raise InvalidSourceError(f"`{key}` must exist. Received: {key}={str(path)!r}.")
    entries = sorted(entry.name for entry in os.scandir(root))
    names = _names(entries)
    if name is not None and names and name not in names:
        raise InvalidSourceError(f"`name` must be one of {names} in {str(root)!r}. Received: name={name!r}.")
    name = name or _shared_name(root, names)
    folders = {key: root / folder for key, folder in FOLDERS.items() if (root / folder).is_dir()}
    folders = (folders or _bare_folders(root, entries)) | {key: paths[key] for key in FOLDERS if key in paths}
    csvs = _find_csvs(root, entries, name) | {key: paths[key] for key in CSVS if key in paths}
    if not folders and not csvs:
        looked = f"folders {list(FOLDERS.values())}, csvs {name}_*.csv, or BigEarthNet patch folders"
        raise InvalidSourceError(f"`root` must be a ben-ge tree. Looked for {looked} in {str(root)!r}. Found: none.")
    for folder in folders.values():
        _check_not_empty(folder)
    world = root / f"{name}_world.json"
    return Layout(
        root=root,
        name=name,
        folders={key: folders[key] for key in FOLDERS if key in folders},
        csvs={key: csvs[key] for key in CSVS if key in csvs},
        splits=_find_splits(paths.get("splits", root / "splits"), name, "splits" in paths),
        world=world if world.is_file() else None,
        modular=bool(set(paths) - {"splits"}),
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
    """BigEarthNet itself has its patch folders directly in the root."""
    sensors = {"sentinel_2": "S2", "sentinel_1": "S1"}
    return {key: root for key, sensor in sensors.items() if any(is_patch_name(entry, sensor) for entry in entries)}


def _check_not_empty(folder: Path) -> None:
    if not folder.is_dir():
        raise InvalidSourceError(f"A modality must be a folder. Received: {str(folder)!r}.")
    if next(os.scandir(folder), None) is None:
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


def patch_folders(folder: Path) -> list[str]:
    """Names of the patch folders in a Sentinel folder (hidden ones left out)."""
    return [entry.name for entry in os.scandir(folder) if not entry.name.startswith(".") and entry.is_dir()]


def patch_files(folder: Path, ending: str) -> list[str]:
    """Patch ids that have a file with this ending in a folder."""
    names = (entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    return [name.removesuffix(ending) for name in names if name.endswith(ending)]


def raster_files(layout: Layout, patch_id: str, s1_name: str | None) -> dict[str, dict[str, Path]]:
    """Raster of `schema.RASTERS` -> band -> file of one patch, whether it exists or not.

    A raster without bands has one file, under its own name.
    """
    files = {}
    for key, folder in layout.folders.items():
        for name in RASTERS_OF_FOLDER[key]:
            if key in FILE_ENDINGS:
                files[name] = {name: folder / f"{patch_id}{FILE_ENDINGS[key]}"}
            else:
                stem = s1_name if key == "sentinel_1" else patch_id
                files[name] = {band: folder / stem / f"{stem}_{band}.tif" for band in RASTERS[name].bands}
    return files
