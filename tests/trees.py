"""Small ben-ge trees with known values, written by script for tests, and ways to break them.

Nothing here uses the reader or the simulator: rasters are written by rasterio, csvs by the csv module.
"""

import csv
import json
from pathlib import Path

import numpy as np
import rasterio
from rasterio.warp import transform as warp

from eokeras.ben_ge import schema

TILES = {
    "33UUP": (32633, 300_000.0, 5_400_000.0),
    "29UPU": (32629, 600_000.0, 5_900_040.0),
    "35VPK": (32635, 600_000.0, 7_000_020.0),
    "34VER": (32634, 499_980.0, 7_100_040.0),
    "29SND": (32629, 499_980.0, 4_400_040.0),
}
"""Real Sentinel-2 tile -> EPSG code, easting and northing of its upper left corner [m]."""

DATES = ("2017-06-13", "2017-09-24", "2017-12-21", "2018-02-03", "2018-04-29")
CORINE = ("Pastures", "Coniferous forest", "Sea and ocean", "Airports", "Peatbogs")


def patch_name(index, tile, column, row, date):
    """Sentinel-2 and Sentinel-1 names of a patch; the first drops a zero of its time, as published ones do."""
    day = date.replace("-", "")
    return (
        f"S2A_MSIL2A_{day}T9{index % 10}032_{column}_{row}",
        f"S1B_IW_GRDH_1SDV_{day}T164{index % 10}43_{tile}_{column}_{row}",
    )


def default_places(patches):
    """(tile, column, row, date) of each patch: every tile has a date of its own."""
    return [(list(TILES)[i % 5], 10 + i // 5, 20, DATES[i % 5]) for i in range(patches)]


def write_tree(
    directory,
    patches=4,
    *,
    seed=0,
    places=None,
    without=(),
    labels=False,
    splits=False,
    climatezones_csv=False,
    no_data=False,
    non_finite=False,
    name=None,
):
    """Writes a whole valid ben-ge tree of seeded random values.

    Args:
        directory: made here; its own name stands in front of the csvs unless `name` is given.
        patches: how many.
        seed: of the random values.
        places: (tile, column, row, date) of each patch, instead of `default_places`.
        without: parts to leave out: "sentinel_2", "sentinel_1", "dem", "esaworldcover", "meta", "era5", "landcover",
            "geoclusters".
        labels: write BigEarthNet label files.
        splits: write `splits/`: of every four patches in sorted order the third is "val", the fourth "test".
        climatezones_csv: write the zone to a csv of its own instead of a column of meta.
        no_data: some pixels of every map have no class (code 0).
        non_finite: put one NaN and two -inf into VV, one +inf into VH.

    Returns:
        patch_id -> features, exactly as `source.read` must give them (those of parts left out included).
    """
    directory = Path(directory)
    directory.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    expected = {}
    for index, place in enumerate(places or default_places(patches)):
        features = _draw(rng, index, place, no_data, non_finite)
        expected[features["patch_id"]] = features
        _write_rasters(directory, features, without)
        if labels:
            _write_labels(directory, features, index)
    name = name or directory.name
    _write_csvs(directory, name, expected, without, climatezones_csv)
    if splits:
        _write_splits(directory, name, sorted(expected))
    return expected


def _draw(rng, index, place, no_data, non_finite):
    tile, column, row, date = place
    epsg, west, north = TILES[tile]
    west, north = west + column * 1200, north - row * 1200
    (longitude,), (latitude,) = warp(f"EPSG:{epsg}", "EPSG:4326", [west + 600], [north - 600])
    patch_id, patch_id_s1 = patch_name(index, tile, column, row, date)
    s1 = rng.uniform(-30, 5, (120, 120, 2)).astype("float32")
    if non_finite:
        s1[0, 0, 0], s1[1, 1:3, 0], s1[2, 2, 1] = np.nan, -np.inf, np.inf
    codes = np.array([entry.code for entry in schema.LAND_COVER], "uint8")
    land_cover = rng.choice(codes, (120, 120))
    if no_data:
        land_cover[:3] = schema.LAND_COVER_NO_DATA
    season = round(schema.season(int(date[5:7]), int(date[8:])), 5)
    return {
        "patch_id": patch_id,
        "patch_id_s1": patch_id_s1,
        "tile": tile,
        "cell": np.array([column, row], "int32"),
        "date": date,
        "timestamp_s2": f"{date} 09:3{index % 10}:32",
        "timestamp_s1": f"{date} 16:4{index % 10}:43",
        "epsg": np.int32(epsg),
        "upper_left": np.array([west, north]),
        "lonlat": np.array([round(longitude, 5), round(latitude, 5)]),
        "season": np.float64(season),
        "season_s1": np.float64(season),
        "climate_zone": np.uint8(schema.CLIMATE_ZONES[index % 12].code),
        "land_cover_fractions": np.array([(land_cover == code).sum() / 14400 for code in codes]),
        "era5": np.round(rng.uniform([250, 250, -9, -9, -9, -9, 5, 5], [310, 310, 9, 9, 9, 9, 99, 99]), 3),
        "era5_level": np.float64(1000),
        "geocluster": np.int32(index % 20),
        "labels": _labels(index),
        "s2_10m": rng.integers(0, 10000, (120, 120, 4), "uint16"),
        "s2_20m": rng.integers(0, 10000, (60, 60, 6), "uint16"),
        "s2_60m": rng.integers(0, 10000, (20, 20, 2), "uint16"),
        "s1": s1,
        "dem": rng.integers(-10, 3000, (120, 120, 1), "int16"),
        "land_cover_map": land_cover,
    }


def _labels(index):
    """Two names a patch; their BigEarthNet-19 ids by hand (airports have none)."""
    ids = {"Pastures": 4, "Coniferous forest": 9, "Sea and ocean": 18, "Peatbogs": 15}
    present = np.zeros(19, "uint8")
    for label in (CORINE[index % 5], CORINE[(index + 1) % 5]):
        if label in ids:
            present[ids[label]] = 1
    return present


def write_geotiff(path, values, epsg, west, north, gsd_m, **profile):
    """An uncompressed single-band GeoTIFF of `values` (H, W), as ben-ge has them. No CRS where `epsg` is None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    profile |= {
        "driver": "GTiff",
        "height": values.shape[0],
        "width": values.shape[1],
        "count": 1,
        "dtype": values.dtype,
        "transform": rasterio.Affine(gsd_m, 0, west, 0, -gsd_m, north),
    }
    if epsg is not None:
        profile["crs"] = f"EPSG:{epsg}"
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values, 1)


def raster_files(directory, features):
    """Folder keyword -> [(file, raster name, channel or None)] of one patch."""
    directory, s2, s1 = Path(directory), features["patch_id"], features["patch_id_s1"]
    groups = {
        "s2_10m": ("B02", "B03", "B04", "B08"),
        "s2_20m": ("B05", "B06", "B07", "B8A", "B11", "B12"),
        "s2_60m": ("B01", "B09"),
    }
    return {
        "sentinel_2": [
            (directory / "sentinel-2" / s2 / f"{s2}_{band}.tif", group, channel)
            for group, bands in groups.items()
            for channel, band in enumerate(bands)
        ],
        "sentinel_1": [
            (directory / "sentinel-1" / s1 / f"{s1}_{band}.tif", "s1", channel)
            for channel, band in enumerate(("VV", "VH"))
        ],
        "dem": [(directory / "dem" / f"{s2}_dem.tif", "dem", 0)],
        "esaworldcover": [(directory / "esaworldcover" / f"{s2}_esaworldcover.tif", "land_cover_map", None)],
    }


def _write_rasters(directory, features, without):
    for key, files in raster_files(directory, features).items():
        if key in without:
            continue
        for path, raster, channel in files:
            values = features[raster] if channel is None else features[raster][..., channel]
            gsd_m = {120: 10, 60: 20, 20: 60}[values.shape[0]]
            write_geotiff(path, values, int(features["epsg"]), *features["upper_left"], gsd_m)


def _write_labels(directory, features, index):
    content = {"labels": [CORINE[index % 5], CORINE[(index + 1) % 5]], "acquisition_date": features["timestamp_s2"]}
    path = label_file(directory, features["patch_id"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def label_file(directory, patch_id):
    return Path(directory) / "sentinel-2" / patch_id / f"{patch_id}_labels_metadata.json"


def _write_csvs(directory, name, expected, without, climatezones_csv):
    rows = expected.values()
    meta = ["patch_id", "patch_id_s1", "timestamp_s2", "timestamp_s1", "season_s2", "season_s1", "lon", "lat"]
    era5 = ["patch_id", "patch_id_s1", "atmpressure_level", *(variable.column for variable in schema.ERA5)]
    tables = {
        "meta": (
            f"{name}_meta.csv",
            meta if climatezones_csv else [*meta, "climatezone"],
            [_meta_row(row, not climatezones_csv) for row in rows],
        ),
        "era5": (
            f"{name}_era-5.csv",
            era5,
            [[row["patch_id"], row["patch_id_s1"], 1000, *row["era5"].tolist()] for row in rows],
        ),
        "landcover": (
            f"{name}_esaworldcover.csv",
            ["patch_id", *(entry.column for entry in schema.LAND_COVER)],
            [[row["patch_id"], *row["land_cover_fractions"].tolist()] for row in rows],
        ),
        "geoclusters": (
            f"{name}_geoclusters_k20.csv",
            ["patch_id", "cluster_idx"],
            [[row["patch_id"], row["geocluster"]] for row in rows],
        ),
    }
    if climatezones_csv:
        zones = [[row["patch_id"], row["climate_zone"]] for row in rows]
        tables["climatezones"] = (f"{name}_climatezones.csv", ["patch_id", "climatezone"], zones)
    for key, (file, header, values) in tables.items():
        if key not in without:
            write_csv(directory / file, [header, *values])


def _meta_row(row, with_zone):
    numbers = [row["season"], row["season_s1"], *row["lonlat"], *([row["climate_zone"]] if with_zone else [])]
    return [row["patch_id"], row["patch_id_s1"], row["timestamp_s2"], row["timestamp_s1"], *map(str, numbers)]


def _write_splits(directory, name, patch_ids):
    (directory / "splits").mkdir()
    sides = {"train": [0, 1], "val": [2], "test": [3]}
    for split, places in sides.items():
        ids = [patch_id for index, patch_id in enumerate(patch_ids) if index % 4 in places]
        if ids:
            (directory / "splits" / f"{name}_{split}.csv").write_text("".join(f"{patch_id}\n" for patch_id in ids))


# ---- Breaking one thing ----------------------------------------------------------------------------------------


def write_csv(path, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def set_field(path, patch_id, column, value):
    """Changes one field of the row of `patch_id`."""
    rows = read_csv(path)
    row = next(row for row in rows if row[rows[0].index("patch_id")] == patch_id)
    row[rows[0].index(column)] = str(value)
    write_csv(path, rows)


def drop_row(path, patch_id):
    write_csv(path, [row for row in read_csv(path) if row[0] != patch_id])


def repeat_row(path, patch_id):
    rows = read_csv(path)
    write_csv(path, [*rows, next(row for row in rows if row[0] == patch_id)])


def drop_column(path, column):
    rows = read_csv(path)
    place = rows[0].index(column)
    write_csv(path, [row[:place] + row[place + 1 :] for row in rows])


def rewrite_geotiff(path, *, values=None, **changes):
    """Writes a GeoTIFF again with other `values` ((H, W) or (C, H, W)) or profile entries (crs, transform, ...)."""
    with rasterio.open(path) as dataset:
        profile, values = dataset.profile, dataset.read() if values is None else values
    values = values[None] if values.ndim == 2 else values
    shape = dict(zip(("count", "height", "width"), values.shape, strict=True))
    profile = {**profile, **shape, "dtype": values.dtype, **changes}
    path.unlink()
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values)


def truncate(path, keep):
    """Keeps the first `keep` bytes of a file, or all but `-keep`."""
    path.write_bytes(path.read_bytes()[:keep])
