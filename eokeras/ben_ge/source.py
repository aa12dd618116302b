"""Reading a tree of ben-ge or BigEarthNet: GeoTIFFs and tables -> one checked patch as NumPy at stored resolution.

This is the reader of record. `layout` says which trees it knows, `patch_list` which patches they hold, `rasters` what a
raster must be; `geotiff` reads it fast, or has rasterio read it.

What is missing: every record holds every field, so a patch that lacks a file or row of a modality that is read is bad
(`InvalidPatchError`, or set aside by `convert(on_error="skip")`); without that modality (`modalities=`) it is sound.
Numbers that are missing inside a raster stay as stored (NaN of Sentinel-1, code 0 of a map).

Reference:
    ben-ge: Mommert et al. 2023, https://arxiv.org/abs/2307.01741
    BigEarthNet: Sumbul et al. 2021, https://arxiv.org/abs/2105.07921
    BigEarthNet v2 (reBEN): Clasen et al. 2024, https://arxiv.org/abs/2407.03653
"""

import functools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from eokeras.ben_ge import geotiff, rasters, schema
from eokeras.ben_ge.csv_source import CsvSource
from eokeras.ben_ge.index_files import read_split_lists
from eokeras.ben_ge.label_source import LabelSource
from eokeras.ben_ge.labels import read_source_tile
from eokeras.ben_ge.layout import Layout, find_layout
from eokeras.ben_ge.metadata_table import MetadataTable
from eokeras.ben_ge.patch_files import choose_bands, raster_files, scan_folders
from eokeras.ben_ge.patch_list import LABELS, list_patches, pair_sensors, pick_parts
from eokeras.ben_ge.places import PatchName, Place, parse_name, tile_of
from eokeras.ben_ge.reflectance import ProductOffset, product_offset
from eokeras.errors import InvalidArgumentError, InvalidPatchError, InvalidSourceError

_VISIBLE = ("B02", "B03", "B04")


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
    """A tree, opened by `open_source`. It opens rasters only in `read`.

    It can be pickled, as for workers that read: what it remembers of all patches (places, ...) stays behind, and is
    worked out again where it is asked for.

    Attributes:
        name: the NAME in front of the tree's csvs.
        root: its directory.
        modalities: what is read of it, by the keywords of `open_source`, and "labels".
        rasters: the rasters of its patches by name, each with the bands that are read.
        fields: the features that every patch of it has, in the order of the schema.
        patch_ids: every patch, sorted.
        misfits: patches of a self-contained tree that some table or folder lacks; `read` raises for each.
        notes: sentences about what was left out and why.
    """

    _read_band = staticmethod(geotiff.read_band)  # `rasters.read_band` is the reference

    def __init__(
        self,
        layout: Layout,
        patches: str | os.PathLike | Iterable[str] | None = None,
        modalities: Sequence[str] | None = None,
        bands: Mapping[str, Sequence[str]] | None = None,
    ):
        whole, layout = layout, pick_parts(layout, modalities)
        self.name, self.root = layout.name, layout.root
        self._layout = replace(layout, in_root=frozenset())  # many names, of which scanning has the last use
        self._selected = patches is not None
        self._csvs = CsvSource(layout.csvs)
        self._metadata = MetadataTable(layout.metadata) if layout.metadata else None
        listed = self._csvs.tables | ({"metadata": self._metadata} if self._metadata else {})
        self._folders, names = scan_folders(layout)
        self.rasters = choose_bands(layout, bands or {})
        self._s1_names, unpaired = pair_sensors(self.root, listed, self._folders, names)
        found = list_patches(layout, listed, names, self._s1_names, unpaired, patches)
        self.patch_ids, self.misfits, self._strays = found.patch_ids, found.misfits, found.strays
        self._known = frozenset(self.patch_ids)
        self._is_s1_alone = not listed and set(layout.folders) == {"sentinel_1"}
        timed = ("s2", "s1") if "meta" in layout.csvs else ()
        self._labels = LabelSource(
            whole, self._folders, names, self._metadata, timed, modalities, self._own_name, self.patch_ids
        )
        self.notes: tuple[str, ...] = self._labels.notes
        self.modalities = (*layout.folders, *layout.csvs, *((LABELS,) if LABELS in self._labels.fields else ()))
        self.fields = self._list_fields()

    def __repr__(self) -> str:
        return f"<Source {self.name}: {len(self.patch_ids)} patches of {', '.join(self.modalities)} in {self.root}>"

    def __getstate__(self) -> dict:
        cached = {key for key in vars(self) if isinstance(getattr(type(self), key, None), functools.cached_property)}
        return {key: value for key, value in vars(self).items() if key not in cached}

    # ---- Open: which fields there are --------------------------------------------------------------------------

    def _list_fields(self) -> tuple[str, ...]:
        fields = {"patch_id", "tile", "cell", "date", "season_s1" if self._is_s1_alone else "season", *self.rasters}
        fields |= {"epsg", "upper_left", "lonlat"} if self.rasters else set()
        fields |= self._csvs.fields | self._labels.fields
        # In BigEarthNet v2 a patch without a partner is sound where Sentinel-1 is not read.
        is_paired = self._s1_names and (not self._metadata or self._s1_names.keys() >= self._known)
        fields |= {"patch_id_s1"} if is_paired or "sentinel_1" in self._folders else set()
        return tuple(name for name in (*schema.RASTERS, *schema.SCALARS) if name in fields)

    def _own_name(self, patch_id: str, sensor: str) -> str | None:
        """The name under which a sensor keeps a patch; None where it has none."""
        if sensor == "s2" or self._is_s1_alone:
            return patch_id
        return self._s1_names.get(patch_id)

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
        features |= self._csvs.read(patch_id)
        if "patch_id_s1" in self.fields:
            features.setdefault("patch_id_s1", self._paired_name(patch_id))
        files = raster_files(self._folders, self.rasters, patch_id, features.get("patch_id_s1"))
        arrays, grid = rasters.read_rasters(patch_id, files, self._read_band)
        features |= arrays
        features |= self._labels.read(patch_id)
        features |= self._csvs.read_fractions(patch_id, arrays.get("land_cover_map"))
        if grid:
            features |= {"epsg": grid.epsg, "upper_left": (grid.west, grid.north)}
            if "lonlat" not in features:
                features["lonlat"] = rasters.centre(grid)
        tile = self._tile(patch_id, name, features.get("patch_id_s1"), grid)
        features |= {"tile": tile, "cell": name.cell, "date": name.date}
        features.setdefault("season_s1" if self._is_s1_alone else "season", _season(name.date))
        non_finite = {}
        if "s1" in arrays:
            non_finite["s1"] = rasters.count_non_finite(arrays["s1"], self.rasters["s1"].bands)
        return Patch(patch_id, {field: _typed(field, features[field]) for field in self.fields}, non_finite)

    def _check_name(self, patch_id: str) -> PatchName:
        if patch_id not in self._known:
            raise InvalidArgumentError(
                f"`patch_id` must be one of the {len(self.patch_ids)} patches of {self.name}. Received: {patch_id!r}."
            )
        if patch_id in self._strays:
            raise self._strays[patch_id]
        try:
            return parse_name(patch_id)
        except ValueError as error:
            parts = (*self._layout.csvs.values(), *self._layout.folders.values())
            raise InvalidPatchError(patch_id, parts[0], str(error)) from None

    def _paired_name(self, patch_id: str) -> str:
        name = self._own_name(patch_id, "s1")
        if name is None:
            path = self._layout.metadata or self._layout.folders.get("sentinel_1", self.root)
            raise InvalidPatchError(patch_id, path, "A patch must be paired with a Sentinel-1 patch. Received: none.")
        return name

    # ---- Places, digital numbers, splits, world ---------------------------------------------------------------

    def _tile(self, patch_id: str, name: PatchName, s1_name: str | None, grid: rasters.Grid | None) -> str:
        """MGRS tile from the names, else from the georeferencing."""
        if name.tile:
            return name.tile
        if s1_name is not None:
            try:
                return parse_name(s1_name).tile
            except ValueError as error:
                path = next(iter(self._layout.csvs.values()), self.root)
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
        files = {name: paths for name, paths in self._files(patch_id).items() if name != "s1"}
        if not files:
            return None
        name = min(files, key=lambda name: schema.RASTERS[name].shape)  # the smallest raster tells as much
        return self._read_band(patch_id, next(iter(files[name].values())), schema.RASTERS[name])[1]

    def _files(self, patch_id: str) -> dict[str, dict[str, Path]]:
        return raster_files(self._folders, self.rasters, patch_id, self._s1_names.get(patch_id, patch_id))

    @functools.cached_property
    def digital_numbers(self) -> dict[str, ProductOffset]:
        """Sentinel-2 acquisition -> the offset of its digital numbers, and what told it; see `reflectance`."""
        patches: dict[str, list[str]] = {}
        for patch_id in self.patch_ids if "sentinel_2" in self._folders else ():
            try:
                patches.setdefault(self._check_name(patch_id).product, []).append(patch_id)
            except InvalidPatchError:
                continue
        return {
            product: product_offset(product, ids, self._source_tile, self._read_visible)
            for product, ids in patches.items()
        }

    def _source_tile(self, patch_id: str) -> str:
        return read_source_tile(patch_id, self._folders["sentinel_2"].label_file(patch_id))

    def _read_visible(self, patch_id: str) -> np.ndarray:
        bands = self._files(patch_id).get("s2_10m", {})
        found = [
            self._read_band(patch_id, path, schema.RASTERS["s2_10m"])[0]
            for band, path in bands.items()
            if band in _VISIBLE
        ]
        return np.array(found)

    @functools.cached_property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """The published split: "train", "val", "test" -> sorted patch ids; empty where the tree has none.

        It stands in the tree's `splits/`, in BigEarthNet v2 in `metadata.parquet`. Under `patches` it is narrowed to
        the selected ones.

        Raises:
            InvalidSourceError: a split names a patch that the source lacks, or two splits share one.
        """
        splits = read_split_lists(self._layout.splits, self._known, self._selected)
        if splits or not self._metadata:
            return splits
        # The published table may list more patches than were picked, never fewer.
        return {
            side: tuple(sorted(patch_id for patch_id in ids if patch_id in self._known))
            for side, ids in self._metadata.splits().items()
        }

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


def _season(date: str) -> float:
    """Season of a date YYYY-MM-DD."""
    return schema.season(int(date[5:7]), int(date[8:10]))


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
    reference_maps: str | os.PathLike | None = None,
    meta: str | os.PathLike | None = None,
    era5: str | os.PathLike | None = None,
    climatezones: str | os.PathLike | None = None,
    landcover: str | os.PathLike | None = None,
    geoclusters: str | os.PathLike | None = None,
    metadata: str | os.PathLike | None = None,
    splits: str | os.PathLike | None = None,
    patches: str | os.PathLike | Iterable[str] | None = None,
    modalities: Sequence[str] | None = None,
    bands: Mapping[str, Sequence[str]] | None = None,
) -> Source:
    """Opens a tree of ben-ge, BigEarthNet v1 or BigEarthNet v2 (reBEN), with any subset of the modalities.

    Without a meta csv longitude and latitude come from the georeferencing of the patch centre, the season from the
    date in the patch name, and times and Sentinel-1 names from BigEarthNet label files or `metadata.parquet`.

    Args:
        root: directory of the tree.
        name: the NAME in front of its csvs; by default the one that they share.
        sentinel_2, sentinel_1, dem, esaworldcover, reference_maps: folder of that modality, where it lies apart.
        meta, era5, climatezones, landcover, geoclusters: csv, where it lies apart.
        metadata: the `metadata.parquet` of BigEarthNet v2, where it lies apart.
        splits: folder with NAME_train.csv, NAME_val.csv, NAME_test.csv, where it lies apart.
        patches: patch ids, or the path of an index file (one id a line), to use only some of the tree.
        modalities: the modalities to read, by the keywords above, and "labels"; by default all. A patch need not have
            the others. The tables that list patches (`meta`, `metadata`) are read in any case.
        bands: sensor ("s2", "s1") -> names of the bands to read; by default all. Records keep them in canonical order.

    Returns:
        A `Source`. What is wrong with a single patch raises later, in `read`.

    Raises:
        InvalidSourceError: `root` is no such tree or an empty one; a table is unreadable, empty, binary or
            lacks a column; csvs of several names; nothing pairs Sentinel-1 with Sentinel-2; `patches` or `modalities`
            names one that the tree lacks.
        InvalidArgumentError: an unknown modality or band.

    Example:
        >>> source = open_source("data/ben-ge-800")                           # doctest: +SKIP
        >>> source.read(source.patch_ids[0]).features["s2_10m"].shape        # doctest: +SKIP
        (120, 120, 4)
        >>> options = {"modalities": ["sentinel_2", "reference_maps"], "bands": {"s2": ("B04", "B03", "B02")}}
        >>> open_source("data/BigEarthNet-v2", **options).rasters["s2_10m"].bands        # doctest: +SKIP
        ('B02', 'B03', 'B04')

    Reference:
        https://github.com/HSG-AIML/ben-ge
    """
    given = {
        "sentinel_2": sentinel_2,
        "sentinel_1": sentinel_1,
        "dem": dem,
        "esaworldcover": esaworldcover,
        "reference_maps": reference_maps,
        "meta": meta,
        "era5": era5,
        "climatezones": climatezones,
        "landcover": landcover,
        "geoclusters": geoclusters,
        "metadata": metadata,
        "splits": splits,
    }
    return Source(find_layout(root, name, given), patches, modalities, bands)
