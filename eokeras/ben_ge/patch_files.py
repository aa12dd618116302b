"""The files of a patch: where they lie in the folders of a tree, flat or gathered by acquisition."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eokeras.ben_ge.layout import Layout
from eokeras.ben_ge.places import acquisition_of, is_acquisition, is_patch_name
from eokeras.ben_ge.schema import CHANNELS, RASTERS, S2_GROUPS, Raster
from eokeras.errors import InvalidArgumentError, InvalidSourceError, check_choice, check_choices

RASTERS_OF_FOLDER = {
    "sentinel_2": S2_GROUPS,
    "sentinel_1": ("s1",),
    "dem": ("dem",),
    "esaworldcover": ("land_cover_map",),
    "reference_maps": ("reference_map",),
}
"""Raster modality -> the rasters of a record that lie in its folder."""

FILE_ENDINGS = {"dem": "_dem.tif", "esaworldcover": "_esaworldcover.tif"}
"""Modality whose folder holds one file a patch, without a folder of its own -> what follows the patch id."""

_SENSORS = {"sentinel_2": "S2", "sentinel_1": "S1", "reference_maps": "S2"}
_REFERENCE_ENDING = "_reference_map.tif"
LABELS_ENDING = "_labels_metadata.json"


@dataclass(frozen=True)
class Folder:
    """The folder of one modality. `nested`: patch folders lie in one folder per acquisition, as in BigEarthNet v2."""

    path: Path
    nested: bool

    def of_patch(self, name: str) -> Path:
        """The folder of a patch, whether it exists or not."""
        return self.path / acquisition_of(name) / name if self.nested else self.path / name

    def label_file(self, name: str) -> Path:
        """The BigEarthNet label file of a patch, whether it exists or not."""
        return self.of_patch(name) / f"{name}{LABELS_ENDING}"


def scan_folders(layout: Layout) -> tuple[dict[str, Folder], dict[str, set[str]]]:
    """Walks over the folders of a tree; each is listed once, the root by `find_layout` alone.

    Returns:
        Modality -> its `Folder`, and modality -> the names of the patches in it.

    Raises:
        InvalidSourceError: a folder holds both patches and acquisitions.
    """
    folders, names = {}, {}
    for key, path in layout.folders.items():
        if key in FILE_ENDINGS:
            folders[key], names[key] = Folder(path, nested=False), set(patches_in(path, FILE_ENDINGS[key]))
            continue
        nested, found = _patch_folders(path, _visible(layout.in_root) if path == layout.root else _directories(path))
        if path == layout.root:  # BigEarthNet v1 itself: other folders may lie beside the patches
            found = {name for name in found if is_patch_name(name, _SENSORS[key])}
        folders[key], names[key] = Folder(path, nested), set(found)
    return folders, names


def _patch_folders(path: Path, outer: list[str]) -> tuple[bool, set[str]]:
    acquisitions = [name for name in outer if is_acquisition(name)]
    if not acquisitions:
        return False, set(outer)
    if len(acquisitions) < len(outer):
        other = min(set(outer) - set(acquisitions))
        rule = "A folder must hold either patches or acquisitions that hold patches."
        raise InvalidSourceError(f"{rule} Received: {acquisitions[0]!r} and {other!r} in {str(path)!r}.")
    return True, {name for acquisition in acquisitions for name in _directories(path / acquisition)}


def _directories(path: Path) -> list[str]:
    with os.scandir(path) as entries:
        return _visible(entry.name for entry in entries if entry.is_dir())


def _visible(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith(".")]


def patches_in(path: Path, ending: str) -> list[str]:
    """Patch ids that have a file with this ending in a folder."""
    with os.scandir(path) as entries:
        names = _visible(entry.name for entry in entries)
    return [name.removesuffix(ending) for name in names if name.endswith(ending)]


def choose_bands(layout: Layout, bands: Mapping[str, Sequence[str]]) -> dict[str, Raster]:
    """The rasters of a tree by name, each with the chosen bands in canonical order; rasters without any are left out.

    Args:
        layout: the tree.
        bands: "s2" or "s1" -> names of bands; a sensor that is not named keeps all.

    Raises:
        InvalidArgumentError: an unknown sensor or band, none, or a sensor that the tree lacks.
    """
    rasters = {name: RASTERS[name] for key in layout.folders for name in RASTERS_OF_FOLDER[key]}
    for sensor, names in bands.items():
        check_choice("bands", sensor, ("s2", "s1"))
        check_choices(f"bands[{sensor!r}]", names, CHANNELS[sensor])
        own = [name for name in rasters if name.split("_")[0] == sensor]
        if not own or not names:
            rule = "`bands` must name at least one band of a sensor that is read."
            raise InvalidArgumentError(f"{rule} Received: {tuple(names)} of {sensor}, from {str(layout.root)!r}.")
        for name in own:
            chosen = tuple(band for band in rasters[name].bands if band in names)
            rasters[name] = replace(rasters[name], bands=chosen)
    return {name: raster for name, raster in rasters.items() if raster.bands or not RASTERS[name].bands}


def raster_files(
    folders: Mapping[str, Folder], rasters: Mapping[str, Raster], patch_id: str, s1_name: str | None
) -> dict[str, dict[str, Path]]:
    """Raster of a record -> band -> file of one patch, whether it exists or not.

    A raster without bands has one file, under its own name.

    Args:
        folders: modality -> `Folder`.
        rasters: the wanted rasters, each with the wanted bands.
        patch_id: name of the patch.
        s1_name: its Sentinel-1 name, where there is a Sentinel-1 folder.
    """
    files = {}
    for key, folder in folders.items():
        wanted = [name for name in RASTERS_OF_FOLDER[key] if name in rasters]
        if key in FILE_ENDINGS:
            files |= {name: {name: folder.path / f"{patch_id}{FILE_ENDINGS[key]}"} for name in wanted}
            continue
        stem = s1_name if key == "sentinel_1" else patch_id
        own = folder.of_patch(stem)
        for name in wanted:
            endings = {name: _REFERENCE_ENDING} if key == "reference_maps" else _band_endings(rasters[name].bands)
            files[name] = {band: own / f"{stem}{ending}" for band, ending in endings.items()}
    return files


def _band_endings(bands: Sequence[str]) -> dict[str, str]:
    return {band: f"_{band}.tif" for band in bands}
