"""Which patches a tree holds, and which Sentinel-1 patch belongs to each.

The rules:
    - `patches` (ids, or an index file) if given;
    - else, in a self-contained tree, every patch that any table or folder names: tables and folders must agree
      exactly, so a patch that one of them lacks raises when it is read;
    - else (a part was given apart, as the full ben-ge needs, or `metadata.parquet` of BigEarthNet v2 lists the
      patches) the rows of the meta csv or of `metadata.parquet`, or the folders where there is neither. Other
      tables and folders may then hold more.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eokeras.ben_ge.index_files import read_index
from eokeras.ben_ge.labels import read_pair
from eokeras.ben_ge.layout import CSVS, FOLDERS, Layout
from eokeras.ben_ge.metadata_table import MetadataTable
from eokeras.ben_ge.patch_files import Folder
from eokeras.ben_ge.tables import Table
from eokeras.errors import InvalidPatchError, InvalidSourceError, check_choices

LABELS = "labels"
_LISTS = ("meta", "metadata")
"""The tables that list the patches of a tree, in the order in which they are asked."""

Tables = Mapping[str, Table | MetadataTable]
Names = Mapping[str, set[str]]


@dataclass(frozen=True)
class PatchList:
    """The patches of a tree.

    Args:
        patch_ids: every patch, sorted.
        strays: Sentinel-1 patches of a self-contained tree that belong to no patch -> the reason.
        misfits: patches of a self-contained tree that some table or folder lacks.
    """

    patch_ids: tuple[str, ...]
    strays: Mapping[str, InvalidPatchError]
    misfits: frozenset[str]


def pick_parts(layout: Layout, modalities: Sequence[str] | None) -> Layout:
    """The layout with the picked folders and csvs alone; the tables that list patches always stay.

    Raises:
        InvalidArgumentError: an unknown modality.
        InvalidSourceError: the tree lacks one of them.
    """
    if modalities is None:
        return layout
    check_choices("modalities", modalities, (*FOLDERS, *CSVS, LABELS))
    held = {*layout.folders, *layout.csvs}
    lacking = [name for name in modalities if name not in {*held, LABELS}]
    if lacking or not modalities:
        rule = f"`modalities` must name what the tree holds, {sorted(held)}."
        raise InvalidSourceError(f"{rule} Received: {lacking or 'none'}, of {str(layout.root)!r}.")
    folders = {key: path for key, path in layout.folders.items() if key in modalities}
    csvs = {key: path for key, path in layout.csvs.items() if key in modalities or key in _LISTS}
    return replace(layout, folders=folders, csvs=csvs)


def pair_sensors(
    root: Path, tables: Tables, folders: Mapping[str, Folder], names: Names
) -> tuple[dict[str, str], dict[str, InvalidPatchError]]:
    """Which Sentinel-1 patch belongs to each patch.

    A table tells it, else the label files of Sentinel-1, which BigEarthNet v1 has. Sentinel-1 alone needs no pairs.

    Returns:
        Patch id -> Sentinel-1 name, and Sentinel-1 name -> why its label file tells no pair.

    Raises:
        InvalidSourceError: nothing tells the pairs, or two Sentinel-1 patches claim one patch.
    """
    for key in (*_LISTS, "era5"):
        if key in tables and "patch_id_s1" in tables[key].columns:
            return tables[key].column("patch_id_s1"), {}
    s1_names = sorted(names.get("sentinel_1", ()))
    if not s1_names or (set(folders) == {"sentinel_1"} and not tables):
        return {}, {}
    folder = folders["sentinel_1"]
    if not any(folder.label_file(name).is_file() for name in s1_names[:3]):
        raise InvalidSourceError(
            "Sentinel-1 patches have names of their own, so a csv must state `patch_id,patch_id_s1`: pass `meta=`. In "
            "BigEarthNet alone label files (v1) or `metadata=` (v2) state it, and `modalities=` reads one sensor "
            f"without the other. Received: none of them in {str(root)!r}."
        )
    pairs, unpaired = {}, {}
    for name in s1_names:
        try:
            patch_id = read_pair(name, folder.label_file(name))
        except InvalidPatchError as error:
            unpaired[name] = error
            continue
        if patch_id in pairs:
            rule = "Each Sentinel-2 patch must have one Sentinel-1 patch."
            raise InvalidSourceError(f"{rule} Received: {pairs[patch_id]} and {name} of {patch_id}.")
        pairs[patch_id] = name
    return pairs, unpaired


def list_patches(
    layout: Layout,
    tables: Tables,
    names: Names,
    pairs: Mapping[str, str],
    unpaired: Mapping[str, InvalidPatchError],
    patches: str | os.PathLike | Iterable[str] | None,
) -> PatchList:
    """The patches of a tree by the rules above.

    Raises:
        InvalidSourceError: there are none; `patches` is malformed, names a patch twice or one that there is not.
    """
    own = {key: of_folder for key, of_folder in names.items() if key != "sentinel_1" or not pairs}
    if patches is not None:
        ids, strays, misfits = _select(patches, tables, own), {}, frozenset()
    elif layout.modular:
        ids, strays, misfits = _listed(tables, own), {}, frozenset()
    else:
        strays = _find_strays(layout, names, pairs, unpaired)
        ids = set().union(*own.values(), *(table.patch_ids for table in tables.values()), pairs, strays)
        misfits = _find_misfits(ids, tables, names, pairs)
    if not ids:
        raise InvalidSourceError(f"A tree must hold at least one patch. Received: none in {str(layout.root)!r}.")
    return PatchList(tuple(sorted(ids)), strays, misfits)


def _listed(tables: Tables, own: Names) -> Iterable[str]:
    """The patches of the table that lists them, else of the first folder, else of the first table."""
    for key in _LISTS:
        if key in tables:
            return tables[key].patch_ids
    return next(iter(own.values())) if own else next(iter(tables.values())).patch_ids


def _find_strays(layout: Layout, names: Names, pairs, unpaired) -> dict[str, InvalidPatchError]:
    """Sentinel-1 folders that belong to no patch, where tables and tree must agree."""
    if not pairs:
        return dict(unpaired)
    reason = "A Sentinel-1 folder must be named by a row (`patch_id_s1`). Received: none."
    paired = set(pairs.values())
    alone = names.get("sentinel_1", set()) - paired
    return {name: unpaired.get(name) or _stray(layout, name, reason) for name in alone}


def _stray(layout: Layout, name: str, reason: str) -> InvalidPatchError:
    return InvalidPatchError(name, layout.folders["sentinel_1"] / name, reason)


def _find_misfits(ids: Iterable[str], tables: Tables, names: Names, pairs) -> frozenset[str]:
    parts = [table.patch_ids for table in tables.values()]
    for key, of_folder in names.items():
        by_pair = key == "sentinel_1" and pairs
        parts.append({patch_id for patch_id, name in pairs.items() if name in of_folder} if by_pair else of_folder)
    return frozenset(set(ids).difference(set(parts[0]).intersection(*parts)))


def _select(patches, tables: Tables, own: Names) -> list[str]:
    is_file = isinstance(patches, str | os.PathLike)
    given = f"patches={str(patches)!r}" if is_file else "`patches`"
    ids = read_index(Path(patches))[0] if is_file else list(patches)
    twice = [patch_id for patch_id, count in Counter(ids).items() if count > 1]
    if twice:
        raise InvalidSourceError(f"`patches` must name a patch once. Twice in {given}: {twice[:5]}.")
    known = _known(tables, own)
    unknown = [patch_id for patch_id in ids if patch_id not in known]
    if unknown:
        raise InvalidSourceError(
            f"`patches` must name patches of the tree. Unknown in {given}: {unknown[:5]} ({len(unknown)} in all)."
        )
    return ids


def _known(tables: Tables, own: Names) -> Iterable[str]:
    """The patches that may be picked: the rows of the table that lists them, else whatever anything names."""
    for key in _LISTS:
        if key in tables:
            return tables[key].patch_ids
    return set().union(*own.values(), *(table.patch_ids for table in tables.values()))
