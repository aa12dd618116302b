"""A source that reads no files: what writing costs by itself, and a large index without its 165 GB of rasters."""

import csv
import zlib
from pathlib import Path

import numpy as np

from eokeras.ben_ge import schema
from eokeras.ben_ge.csv_source import CsvSource
from eokeras.ben_ge.places import Place
from eokeras.ben_ge.source import Patch, Source
from eokeras.ben_ge.tables import COLUMNS

_TEMPLATES = 8
_TILES = ("33UUP", "29UPU", "35VPK", "34VER", "29SND")
_DATES = ("2017-06-13", "2017-09-24", "2017-12-21", "2018-02-03", "2018-04-29")
_OF_ROWS = ("lonlat", "season", "season_s1", "patch_id_s1", "timestamp_s2", "timestamp_s1", "era5", "era5_level")
FULL_SET = 590_326


class MadeUpSource(Source):
    """Patches of a few templates of random pixels under many names.

    Args:
        patches: how many, evenly spread over the full set.
        index: folder of csvs that `write_index` wrote, whose rows are held in memory and read; by default none.
    """

    def __init__(self, patches: int, index: Path | None = None):
        self.name, self.root, self.world, self.notes, self.splits = "made-up", Path("made-up"), None, (), {}
        self.modalities, self.misfits, self.digital_numbers = ("sentinel_2", "sentinel_1", "dem"), {}, {}
        self.rasters = {name: raster for name, raster in schema.RASTERS.items() if name != "reference_map"}
        self.patch_ids = tuple(patch_name(number) for number in _spread(patches))
        self.places = {name: _place(number) for number, name in zip(_spread(patches), self.patch_ids, strict=True)}
        self._csvs = CsvSource({kind: index / f"{kind}.csv" for kind in ("meta", "era5")}) if index else None
        self.fields = tuple(name for name in (*self.rasters, *schema.SCALARS) if name != "labels")
        rng = np.random.default_rng(0)
        self._templates = [self._draw(rng) for _ in range(_TEMPLATES)]

    def _draw(self, rng) -> dict:
        codes = np.array([entry.code for entry in schema.LAND_COVER], "uint8")
        features = {
            name: rng.gamma(4, 400, (*raster.shape,)).astype(raster.dtype)
            for name, raster in self.rasters.items()
            if name != "land_cover_map"
        }
        features["s1"] = rng.normal(-12, 4, features["s1"].shape).astype("float32")
        features["land_cover_map"] = rng.choice(codes, self.rasters["land_cover_map"].shape)
        for name in self.fields:
            if name not in self.rasters and schema.SCALARS[name].dtype != "string":
                scalar = schema.SCALARS[name]
                features[name] = rng.uniform(0, 1, scalar.shape).astype(scalar.dtype)
        features["climate_zone"] = np.uint8(schema.CLIMATE_ZONES[0].code)
        return features

    def read(self, patch_id: str) -> Patch:
        """The pixels of a template under this name."""
        template = self._templates[zlib.crc32(patch_id.encode()) % _TEMPLATES]
        place = _place(int(patch_id.split("_")[3]))
        features = template | {"patch_id": patch_id, "tile": place.tile, "date": place.date}
        features |= {"cell": np.array(place.cell, "int32"), "timestamp_s2": "2017-06-13 10:10:31"}
        features |= {"timestamp_s1": "2017-06-13 16:50:43", "patch_id_s1": f"S1A_{patch_id}"}
        if self._csvs:
            features |= {name: value for name, value in self._csvs.read(patch_id).items() if name in _OF_ROWS}
        dtypes = {name: field.dtype for name, field in schema.SCALARS.items() if field.dtype != "string"}
        typed = {
            name: np.asarray(features[name], dtypes[name]) if name in dtypes else features[name] for name in features
        }
        return Patch(patch_id, {name: typed[name] for name in self.fields})


def patch_name(number: int) -> str:
    """Sentinel-2 name of a patch by its number."""
    return f"S2A_MSIL2A_20170613T101031_{number}_0"


def _spread(patches: int) -> list[int]:
    return [index * FULL_SET // patches for index in range(patches)]


def _place(number: int) -> Place:
    """Of a grid of 90 x 90 cells in each of a few tiles, as on the ground, on a few dates."""
    rest, tile = divmod(number, len(_TILES))
    rest, column = divmod(rest, 90)
    rest, row = divmod(rest, 90)
    return Place(_TILES[tile], (column, row), _DATES[rest % len(_DATES)])


def write_index(folder: Path, rows: int = FULL_SET) -> Path:
    """Writes csvs with the columns and about the bytes of the full set."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    s1_names = [f"S1A_IW_GRDH_1SDV_20170613T165043_33UUP_{number}_0" for number in range(rows)]
    with (folder / "meta.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS["meta"])
        places = rng.uniform((-9, 37), (30, 68), (rows, 2)).round(5).tolist()
        for number, (lon, lat) in enumerate(places):
            times = "2017-06-13 10:10:31", "2017-06-13 16:50:43"
            writer.writerow((patch_name(number), s1_names[number], *times, 0.98765, 0.98765, lon, lat))
    with (folder / "era5.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS["era5"])
        low, high = zip(*((variable.low, variable.high) for variable in schema.ERA5), strict=True)
        for number, values in enumerate(rng.uniform(low, high, (rows, len(low))).round(5).tolist()):
            writer.writerow((patch_name(number), 1000, *values))
    return folder
