"""Reading a ben-ge tree: GeoTIFFs and csvs -> one checked patch as NumPy at stored resolution.

This is the reader of record: slow, strict, and the reference for everything faster.

The patch list:
    - `patches` (ids, or an index file) if given;
    - else, in a self-contained tree, every patch that any csv or folder names: csvs and folders must agree
      exactly, so a patch that one of them lacks raises when it is read;
    - else (a modality folder or csv was given apart, as the full ben-ge needs) the rows of the meta csv, or the
      Sentinel folders where there is none. Other csvs and folders may then hold more.

Reference:
    ben-ge: Mommert et al. 2023, https://arxiv.org/abs/2307.01741
    BigEarthNet: Sumbul et al. 2021, https://arxiv.org/abs/2105.07921
"""

import functools
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eokeras.ben_ge import rasters, schema, tables
from eokeras.ben_ge.index_files import read_index
from eokeras.ben_ge.labels import LABELS_ENDING, read_labels
from eokeras.ben_ge.layout import (
    FILE_ENDINGS,
    RASTERS_OF_FOLDER,
    Layout,
    find_layout,
    patch_files,
    patch_folders,
    raster_files,
)
from eokeras.ben_ge.places import PatchName, Place, is_patch_name, parse_name, tile_of
from eokeras.errors import InvalidArgumentError, InvalidPatchError, InvalidSourceError

_FIELDS_OF_CSV = {
    "meta": ("patch_id_s1", "timestamp_s2", "timestamp_s1", "season", "season_s1", "lonlat"),
    "climatezones": ("climate_zone",),
    "landcover": ("land_cover_fractions",),
    "era5": ("era5", "era5_level"),
    "geoclusters": ("geocluster",),
}


@dataclass(frozen=True)
class Patch:
    """One patch of a source.

    Args:
        patch_id: its name.
        features: field of `schema.RASTERS` or `schema.SCALARS` -> array, number or text as stored.
        non_finite: `{"s1": {"VV": {"nan": n, "negative_infinity": n, "positive_infinity": n}, "VH": ...}}`.
    """

    patch_id: str
    features: Mapping[str, object]
    non_finite: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)


class Source:
    """A ben-ge tree, opened by `open_source`. It can be pickled; it opens rasters only in `read`.

    Attributes:
        name: the NAME in front of the tree's csvs.
        root: its directory.
        modalities: what it holds, by the keywords of `open_source`, and "labels".
        fields: the features that every patch of it has, in the order of the schema.
        patch_ids: every patch, sorted.
        misfits: patches of a self-contained tree that some csv or folder lacks; `read` raises for each.
        notes: sentences about what was left out and why.
    """

    def __init__(self, layout: Layout, patches: str | os.PathLike | Iterable[str] | None = None):
        self.name, self.root = layout.name, layout.root
        self._layout = layout
        self._selected = patches is not None
        self._tables = {key: tables.Table(path, key) for key, path in layout.csvs.items()}
        self._s1_names = self._pair_sensors()
        folders = self._scan()
        self._strays = {} if self._selected or layout.modular else self._find_strays(folders)
        self.patch_ids = tuple(sorted(self._select(patches, folders) if self._selected else self._list(folders)))
        if not self.patch_ids:
            raise InvalidSourceError(f"A tree must hold at least one patch. Received: none in {str(self.root)!r}.")
        self._known = frozenset(self.patch_ids)
        self.misfits = frozenset() if self._selected or layout.modular else self._find_misfits(folders)
        self.notes: tuple[str, ...] = ()
        self._labelled = self._find_labels(folders.get("sentinel_2", ()))
        self.modalities = (*layout.folders, *layout.csvs, *(("labels",) if self._labelled else ()))
        self.fields = self._list_fields()

    def __repr__(self) -> str:
        return f"<Source {self.name}: {len(self.patch_ids)} patches of {', '.join(self.modalities)} in {self.root}>"

    # ---- Open: which patches and fields there are -----------------------------------------------------------

    def _pair_sensors(self) -> dict[str, str]:
        """Patch id -> Sentinel-1 name, from the csvs that state it."""
        for key in ("meta", "era5"):
            if key in self._tables and "patch_id_s1" in self._tables[key].columns:
                return self._tables[key].column("patch_id_s1")
        if "sentinel_1" in self._layout.folders and (set(self._layout.folders) != {"sentinel_1"} or self._tables):
            raise InvalidSourceError(
                "Sentinel-1 patches have names of their own, so a csv must state `patch_id,patch_id_s1`: pass `meta=`. "
                f"Received: no such csv in {str(self.root)!r}."
            )
        return {}

    def _scan(self) -> dict[str, set[str]]:
        """Modality -> names of the patches in its folder. The only walk over the tree."""
        names = {}
        for key, folder in self._layout.folders.items():
            if key in FILE_ENDINGS:
                names[key] = set(patch_files(folder, FILE_ENDINGS[key]))
                continue
            names[key] = set(patch_folders(folder))
            if folder == self.root:  # bare BigEarthNet: other folders may lie beside the patches
                names[key] = {name for name in names[key] if is_patch_name(name, f"S{key[-1]}")}
        return names

    def _list(self, folders: Mapping[str, set[str]]) -> Iterable[str]:
        meta = self._tables.get("meta")
        if self._layout.modular and meta is not None:
            return meta.patch_ids
        named = {key: names for key, names in folders.items() if key != "sentinel_1" or not self._s1_names}
        if self._layout.modular:
            return next(iter(named.values())) if named else next(iter(self._tables.values())).patch_ids
        return set().union(*named.values(), *(table.patch_ids for table in self._tables.values()), self._strays)

    def _find_strays(self, folders: Mapping[str, set[str]]) -> dict[str, Path]:
        """Sentinel-1 folders that no row names, where csvs and tree must agree."""
        if not self._s1_names:
            return {}
        folder = self._layout.folders.get("sentinel_1")
        return {name: folder / name for name in folders.get("sentinel_1", set()) - set(self._s1_names.values())}

    def _find_misfits(self, folders: Mapping[str, set[str]]) -> frozenset[str]:
        parts = [table.patch_ids for table in self._tables.values()]
        for key, names in folders.items():
            by_row = key == "sentinel_1" and self._s1_names
            parts.append({i for i, name in self._s1_names.items() if name in names} if by_row else names)
        return frozenset(self._known.difference(set(parts[0]).intersection(*parts)))

    def _select(self, patches, folders: Mapping[str, set[str]]) -> Iterable[str]:
        given = f"patches={str(patches)!r}" if isinstance(patches, str | os.PathLike) else "`patches`"
        ids = read_index(Path(patches))[0] if isinstance(patches, str | os.PathLike) else list(patches)
        twice = [patch_id for patch_id, count in Counter(ids).items() if count > 1]
        if twice:
            raise InvalidSourceError(f"`patches` must name a patch once. Twice in {given}: {twice[:5]}.")
        known = self._tables["meta"].patch_ids if "meta" in self._tables else set(self._list(folders))
        unknown = [patch_id for patch_id in ids if patch_id not in known]
        if unknown:
            raise InvalidSourceError(
                f"`patches` must name patches of the tree. Unknown in {given}: {unknown[:5]} ({len(unknown)} in all)."
            )
        return ids

    def _find_labels(self, folders: Iterable[str]) -> bool:
        """Whether every listed patch with a Sentinel-2 folder has a BigEarthNet label file."""
        present = self._known & set(folders)
        missing = [patch_id for patch_id in present if not self._label_file(patch_id).is_file()]
        if missing and len(missing) < len(present):
            self.notes += (
                f"Labels are left out: {len(missing)} of {len(present)} Sentinel-2 folders have no label file "
                f"(such as {min(missing)}).",
            )
        return bool(present) and not missing

    def _list_fields(self) -> tuple[str, ...]:
        folders = self._layout.folders
        fields = {"patch_id", "tile", "cell", "date"}
        fields |= {name for key in folders for name in RASTERS_OF_FOLDER[key]}
        fields |= {name for key in self._tables for name in _FIELDS_OF_CSV[key]}
        fields |= {"epsg", "upper_left", "lonlat"} if folders else set()
        fields |= {"labels", "timestamp_s2", "season"} if self._labelled else set()
        fields |= {"patch_id_s1"} if self._s1_names or "sentinel_1" in folders else set()
        fields |= {"climate_zone"} if self._climate_table() else set()
        return tuple(name for name in (*schema.RASTERS, *schema.SCALARS) if name in fields)

    def _climate_table(self) -> tables.Table | None:
        meta = self._tables.get("meta")
        return self._tables.get("climatezones") or (meta if meta and "climatezone" in meta.columns else None)

    def _label_file(self, patch_id: str) -> Path:
        return self._layout.folders["sentinel_2"] / patch_id / f"{patch_id}{LABELS_ENDING}"

    # ---- Read: one patch -------------------------------------------------------------------------------------

    def read(self, patch_id: str) -> Patch:
        """One patch at stored resolution and dtype, every rule checked.

        Args:
            patch_id: one of `patch_ids`.

        Returns:
            A `Patch` whose features are exactly `fields`: rasters (H, W, C) or (H, W) as rasterio gives them,
            Sentinel-1 with its NaN (no data) and infinities (zero power), units as in the schema.

        Raises:
            InvalidArgumentError: the source holds no such patch.
            InvalidPatchError: a file, a csv row or the label file of this patch breaks a rule.
        """
        name = self._check_name(patch_id)
        features: dict[str, object] = {"patch_id": patch_id}
        features |= self._read_csvs(patch_id)
        arrays, grid = rasters.read_rasters(patch_id, raster_files(self._layout, patch_id, features.get("patch_id_s1")))
        features |= arrays
        if self._labelled:
            features |= read_labels(patch_id, self._label_file(patch_id), with_time="timestamp_s2" not in features)
        if "landcover" in self._tables:
            whole = "land_cover_map" in arrays and schema.LAND_COVER_NO_DATA not in arrays["land_cover_map"]
            features |= tables.fraction_fields(self._tables["landcover"].row(patch_id), whole)
        if grid:
            features |= {"epsg": grid.epsg, "upper_left": (grid.west, grid.north)}
            features.setdefault("lonlat", rasters.centre(grid))
        tile = self._tile(patch_id, name, features.get("patch_id_s1"), grid)
        features |= {"tile": tile, "cell": name.cell, "date": name.date}
        non_finite = {"s1": rasters.count_non_finite(arrays["s1"], schema.S1_POLARISATIONS)} if "s1" in arrays else {}
        return Patch(patch_id, {field: _typed(field, features[field]) for field in self.fields}, non_finite)

    def _check_name(self, patch_id: str) -> PatchName:
        if patch_id not in self._known:
            raise InvalidArgumentError(
                f"`patch_id` must be one of the {len(self.patch_ids)} patches of {self.name}. Received: {patch_id!r}."
            )
        if patch_id in self._strays:
            reason = "A Sentinel-1 folder must be named by a row (`patch_id_s1`). Received: none."
            raise InvalidPatchError(patch_id, self._strays[patch_id], reason)
        try:
            return parse_name(patch_id)
        except ValueError as error:
            parts = (*self._layout.csvs.values(), *self._layout.folders.values())
            raise InvalidPatchError(patch_id, parts[0], str(error)) from None

    def _read_csvs(self, patch_id: str) -> dict[str, object]:
        """Fields of all csvs but the land-cover fractions, whose rule needs the map."""
        features = {}
        if "meta" in self._tables:
            features |= tables.meta_fields(self._tables["meta"].row(patch_id))
        if climate := self._climate_table():
            features |= tables.climate_fields(climate.row(patch_id))
        if "era5" in self._tables:
            row = self._tables["era5"].row(patch_id)
            features |= tables.era5_fields(row)
            if "patch_id_s1" in row.values:
                name = features.setdefault("patch_id_s1", row.text("patch_id_s1"))
                if name != row.text("patch_id_s1"):
                    raise row.fail("patch_id_s1", f"{name}, as in the meta csv")
        if "geoclusters" in self._tables:
            features |= tables.cluster_fields(self._tables["geoclusters"].row(patch_id))
        if "patch_id_s1" in self.fields:
            features.setdefault("patch_id_s1", self._s1_names.get(patch_id, patch_id))
        return features

    # ---- Places, splits, world ---------------------------------------------------------------------------------

    def _tile(self, patch_id: str, name: PatchName, s1_name: str | None, grid: rasters.Grid | None) -> str:
        """MGRS tile from the names, else from the georeferencing."""
        if name.tile:
            return name.tile
        if s1_name is not None:
            try:
                return parse_name(s1_name).tile
            except ValueError as error:
                path = next(iter(self._layout.csvs.values()))
                raise InvalidPatchError(patch_id, path, f"{error}".replace("`patch_id`", "`patch_id_s1`")) from None
        if grid is None:
            reason = "A patch without Sentinel-1 name must have a raster, which tells its tile. Received: none."
            raise InvalidPatchError(patch_id, self.root, reason)
        return tile_of(grid.epsg, grid.west, grid.north, name.cell)

    @functools.cached_property
    def places(self) -> dict[str, Place]:
        """Patch id -> `Place`, of every patch whose place can be told.

        Names tell it; one raster a patch is opened only where no name holds a tile (BigEarthNet v1 without
        Sentinel-1). A patch that is absent here (malformed name, no csv row, unreadable raster) raises the
        reason in `read`.
        """
        places = {}
        for patch_id in self.patch_ids:
            try:
                name = self._check_name(patch_id)
                s1_name = self._s1_names.get(patch_id)
                grid = None if name.tile or s1_name else self._grid(patch_id)
                places[patch_id] = Place(self._tile(patch_id, name, s1_name, grid), name.cell, name.date)
            except InvalidPatchError:
                continue
        return places

    def _grid(self, patch_id: str) -> rasters.Grid | None:
        files = {name: paths for name, paths in raster_files(self._layout, patch_id, patch_id).items() if name != "s1"}
        if not files:
            return None
        name = min(files, key=lambda name: schema.RASTERS[name].shape)  # the smallest raster tells as much
        return rasters.read_band(patch_id, next(iter(files[name].values())), schema.RASTERS[name])[1]

    @functools.cached_property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """The published split: "train", "val", "test" -> sorted patch ids; empty where the tree has none.

        Under `patches` the split is narrowed to the selected ones.

        Raises:
            InvalidSourceError: a split names a patch that the source lacks, or two splits share one.
        """
        splits, owner = {}, {}
        for split, path in self._layout.splits.items():
            ids = read_index(path)[0]
            unknown = [] if self._selected else [patch_id for patch_id in ids if patch_id not in self._known]
            if unknown:
                rule = "A split must name patches of the tree."
                raise InvalidSourceError(f"{rule} Unknown: {unknown[:5]} ({len(unknown)} in all). File: {path}")
            shared = [patch_id for patch_id in ids if patch_id in owner]
            if shared:
                rule = "Splits must not overlap."
                other = self._layout.splits[owner[shared[0]]]
                raise InvalidSourceError(f"{rule} In both: {shared[:5]} ({len(shared)} in all). Files: {path}, {other}")
            owner.update(dict.fromkeys(ids, split))
            splits[split] = tuple(sorted(patch_id for patch_id in ids if patch_id in self._known))
        return splits

    @functools.cached_property
    def world(self) -> dict | None:
        """What the simulator wrote about the world it made; None for real data."""
        path = self._layout.world
        if path is None:
            return None
        try:
            return json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidSourceError(f"The world file must be JSON. Received: {error}. File: {path}") from None


def _typed(name: str, value: object) -> object:
    """A feature in the dtype that the schema states."""
    scalar = schema.SCALARS.get(name)
    if scalar is None or scalar.dtype == "string":
        return value
    return np.asarray(value, scalar.dtype) if scalar.shape else np.dtype(scalar.dtype).type(value)


def open_source(
    root: str | os.PathLike,
    *,
    name: str | None = None,
    sentinel_2: str | os.PathLike | None = None,
    sentinel_1: str | os.PathLike | None = None,
    dem: str | os.PathLike | None = None,
    esaworldcover: str | os.PathLike | None = None,
    meta: str | os.PathLike | None = None,
    era5: str | os.PathLike | None = None,
    climatezones: str | os.PathLike | None = None,
    landcover: str | os.PathLike | None = None,
    geoclusters: str | os.PathLike | None = None,
    splits: str | os.PathLike | None = None,
    patches: str | os.PathLike | Iterable[str] | None = None,
) -> Source:
    """Opens a ben-ge tree, or BigEarthNet v1 alone, with any subset of the modalities.

    Without a meta csv longitude and latitude come from the georeferencing of the patch centre, time and
    season from the BigEarthNet label files where every patch has one.

    Args:
        root: directory of the tree.
        name: the NAME in front of its csvs; by default the one that they share.
        sentinel_2, sentinel_1, dem, esaworldcover: folder of that modality, where it lies apart.
        meta, era5, climatezones, landcover, geoclusters: csv, where it lies apart.
        splits: folder with NAME_train.csv, NAME_val.csv, NAME_test.csv, where it lies apart.
        patches: patch ids, or the path of an index file (one id a line), to use only some of the tree.

    Returns:
        A `Source`. What is wrong with a single patch raises later, in `read`.

    Raises:
        InvalidSourceError: `root` is no ben-ge tree or an empty one; a csv is unreadable, empty, binary or
            lacks a column; csvs of several names; `patches` names one that the tree lacks.

    Example:
        >>> source = open_source("data/ben-ge-800")                           # doctest: +SKIP
        >>> source.read(source.patch_ids[0]).features["s2_10m"].shape        # doctest: +SKIP
        (120, 120, 4)

    Reference:
        https://github.com/HSG-AIML/ben-ge
    """
    given = {
        "sentinel_2": sentinel_2,
        "sentinel_1": sentinel_1,
        "dem": dem,
        "esaworldcover": esaworldcover,
        "meta": meta,
        "era5": era5,
        "climatezones": climatezones,
        "landcover": landcover,
        "geoclusters": geoclusters,
        "splits": splits,
    }
    return Source(find_layout(root, name, given), patches)
