"""The simulated tree: layout, csvs, georeferencing, determinism, bad arguments."""

import csv
import hashlib
import json
import math
from datetime import datetime

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform

from eokeras.ben_ge import schema
from eokeras.ben_ge.corine import corine_to_19
from eokeras.ben_ge.simulator import World, simulate
from eokeras.errors import InvalidArgumentError, TargetExistsError, UnwritableError

PATCHES = 15


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("simulated") / "world-a", patches=PATCHES, seed=3, processes=1)


def rows(tree, name):
    with open(tree / f"{tree.name}_{name}.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def raster(path):
    with rasterio.open(path) as source:
        return source.read(1), source.profile


def digest(tree):
    """File name (without the tree's name) -> hash of its bytes."""
    return {
        str(path.relative_to(tree)).replace(tree.name, "NAME"): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in tree.rglob("*")
        if path.is_file()
    }


def test_tree_has_the_files_of_ben_ge_and_no_others(tree):
    expected = {"meta", "esaworldcover", "era-5", "geoclusters_k20"}
    files = {f"{tree.name}_{name}.csv" for name in expected} | {f"{tree.name}_world.json"}
    for row in rows(tree, "meta"):
        s2, s1 = row["patch_id"], row["patch_id_s1"]
        bands = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
        files |= {f"sentinel-2/{s2}/{s2}_{band}.tif" for band in bands}
        files |= {f"sentinel-2/{s2}/{s2}_labels_metadata.json"}
        files |= {f"sentinel-1/{s1}/{s1}_{name}.tif" for name in ("VV", "VH")}
        files |= {f"dem/{s2}_dem.tif", f"esaworldcover/{s2}_esaworldcover.tif"}
    assert {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()} == files
    assert len(rows(tree, "meta")) == PATCHES
    assert [path.name for path in tree.parent.iterdir()] == [tree.name]


def test_rasters_have_stored_size_dtype_and_no_compression(tree):
    sizes = {"B02": 10, "B03": 10, "B04": 10, "B08": 10, "B01": 60, "B09": 60}
    for path in tree.rglob("*.tif"):
        image, profile = raster(path)
        kind = path.stem.rsplit("_", 1)[1]
        gsd = sizes.get(kind, 20 if kind.startswith("B") else 10)
        dtype = {"VV": "float32", "VH": "float32", "dem": "int16", "esaworldcover": "uint8"}.get(kind, "uint16")
        assert (image.shape, profile["dtype"], profile["count"]) == ((1200 // gsd,) * 2, dtype, 1), path
        assert profile.get("compress") is None
        assert profile["transform"].a == gsd
        assert profile["transform"].e == -gsd


def test_georeferencing_agrees_with_tile_cell_and_lonlat(tree):
    # Corners of Sentinel-2 tiles as published, for the squares whose letters are easy by hand:
    # zones 1, 4, .. use letters A-H for 100..800 km, zones 2, 5, .. J-R, zones 3, 6, .. S-Z.
    letters = {0: "STUVWXYZ", 1: "ABCDEFGH", 2: "JKLMNPQR"}
    for row in rows(tree, "meta"):
        *_, tile, column, line = row["patch_id_s1"].split("_")
        assert row["patch_id"].split("_")[3:] == [column, line]
        zone = int(tile[:2])
        _, profile = raster(tree / "dem" / f"{row['patch_id']}_dem.tif")
        left, top = profile["transform"].c, profile["transform"].f
        assert profile["crs"].to_epsg() == 32600 + zone
        tile_left = left - 1200 * int(column)
        assert math.ceil(tile_left / 100_000) - 1 == letters[zone % 3].index(tile[3])
        assert left % 60 == top % 60 == 0
        longitude, latitude = transform(profile["crs"], "EPSG:4326", [left + 600], [top - 600])
        assert float(row["lon"]) == pytest.approx(longitude[0], abs=6e-6)
        assert float(row["lat"]) == pytest.approx(latitude[0], abs=6e-6)
        bands = dict(zip("STUVWX", range(32, 80, 8), strict=True))
        assert bands[tile[2]] - 1.1 < latitude[0] < bands[tile[2]] + 8 + (4 if tile[2] == "X" else 0.1)


@pytest.mark.parametrize(
    ("tile", "corner"),
    [  # from published BigEarthNet patches of these tiles
        ("33UUP", (300_000, 5_400_000)),
        ("29UPU", (600_000, 5_900_040)),
        ("29SND", (499_980, 4_400_040)),
        ("35VPK", (600_000, 7_000_020)),
    ],
)
def test_tile_corners_are_the_published_ones(tile, corner):
    from eokeras.ben_ge.places import upper_left

    assert upper_left(tile) == corner


def test_all_rasters_of_a_patch_cover_the_same_square(tree):
    for row in rows(tree, "meta"):
        s2, s1 = row["patch_id"], row["patch_id_s1"]
        paths = [*(tree / "sentinel-2" / s2).glob("*.tif"), *(tree / "sentinel-1" / s1).glob("*.tif")]
        paths += [tree / "dem" / f"{s2}_dem.tif", tree / "esaworldcover" / f"{s2}_esaworldcover.tif"]
        squares = set()
        for path in paths:
            with rasterio.open(path) as source:
                squares.add((source.crs.to_epsg(), *source.bounds))
        assert len(squares) == 1
        corner = next(iter(squares))
        label = json.loads((tree / "sentinel-2" / s2 / f"{s2}_labels_metadata.json").read_text())
        assert label["coordinates"] == {"ulx": corner[1], "uly": corner[4], "lrx": corner[3], "lry": corner[2]}
        assert rasterio.crs.CRS.from_wkt(label["projection"]).to_epsg() == corner[0]


def test_labels_are_corine_names_that_fit_the_map(tree):
    needs = {"Sea and ocean": 80, "Water bodies": 80, "Coniferous forest": 10, "Pastures": 30}
    keys = ["labels", "coordinates", "projection", "tile_source", "acquisition_date"]
    checked = 0
    for row in rows(tree, "meta"):
        name = row["patch_id"]
        label = json.loads((tree / "sentinel-2" / name / f"{name}_labels_metadata.json").read_text())
        assert list(label) == keys
        assert label["labels"]
        corine_to_19(label["labels"])  # raises on a name outside the 43
        assert label["acquisition_date"] == row["timestamp_s2"]
        codes, _ = raster(tree / "esaworldcover" / f"{name}_esaworldcover.tif")
        for corine in set(label["labels"]) & set(needs):
            assert np.mean(codes == needs[corine]) > 0.04
            checked += 1
    assert checked > 3


def test_fractions_are_those_of_the_map(tree):
    codes_of = {entry.column: entry.code for entry in schema.LAND_COVER}
    for row in rows(tree, "esaworldcover"):
        codes, _ = raster(tree / "esaworldcover" / f"{row['patch_id']}_esaworldcover.tif")
        assert list(row)[1:] == list(codes_of)
        for column, code in codes_of.items():
            assert float(row[column]) == pytest.approx(np.count_nonzero(codes == code) / 14400, abs=1e-6)
        assert set(np.unique(codes)) <= set(codes_of.values())


def test_meta_values_follow_their_definitions(tree):
    zones = {zone.code for zone in schema.CLIMATE_ZONES}
    for row in rows(tree, "meta"):
        s2, s1 = (datetime.strptime(row[f"timestamp_{name}"], "%Y-%m-%d %H:%M:%S") for name in ("s2", "s1"))
        assert row["patch_id"].split("_")[2] == f"{s2:%Y%m%dT%H%M%S}"
        assert row["patch_id_s1"].split("_")[4] == f"{s1:%Y%m%dT%H%M%S}"
        assert 9 <= s2.hour < 12
        assert abs((s1.date() - s2.date()).days) <= 3
        assert datetime(2017, 6, 1) <= s2 < datetime(2018, 6, 1)
        for name, time in (("s2", s2), ("s1", s1)):
            days = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[time.month - 1]
            fraction = ((time.month - 1) + time.day / days) / 12 + 9 / 365
            assert row[f"season_{name}"] == f"{math.sin(math.pi * (fraction % 1)):.5f}"
        assert int(row["climatezone"]) in zones


def test_weather_is_plausible_and_ids_match(tree):
    ids = {row["patch_id"]: row["patch_id_s1"] for row in rows(tree, "meta")}
    for row in rows(tree, "era-5"):
        assert ids[row["patch_id"]] == row["patch_id_s1"]
        for variable in schema.ERA5:
            assert variable.low <= float(row[variable.column]) <= variable.high
        assert 600 <= int(row["atmpressure_level"]) <= 1000


def test_geoclusters_join_neighbours_and_split_tiles(tree):
    cluster = {row["patch_id"]: int(row["cluster_idx"]) for row in rows(tree, "geoclusters_k20")}
    assert set(cluster) == {row["patch_id"] for row in rows(tree, "meta")}
    assert max(cluster.values()) < 20
    tiles = {}
    for row in rows(tree, "meta"):
        tiles.setdefault(row["patch_id_s1"].split("_")[5], set()).add(cluster[row["patch_id"]])
    first, *others = tiles.values()
    assert all(not first & other for other in others)


def test_open_source_reads_the_tree_whole(tree):
    from eokeras.ben_ge.source import open_source

    source = open_source(tree)
    assert len(source.patch_ids) == PATCHES
    patch = source.read(source.patch_ids[0])
    assert patch.features["s2_20m"].shape == (60, 60, 6)
    assert source.world["simulated"] is True


def test_bytes_do_not_depend_on_the_number_of_processes(tmp_path):
    one = simulate(tmp_path / "one", patches=4, seed=5, tiles=2, processes=1)
    two = simulate(tmp_path / "two", patches=4, seed=5, tiles=2, processes=2)
    other = simulate(tmp_path / "other", patches=4, seed=6, tiles=2, processes=1)
    assert digest(one) == digest(two)
    assert not set(digest(one).values()) & set(digest(other).values())


def test_progress_counts_every_patch(tmp_path):
    seen = []
    simulate(tmp_path / "tree", patches=3, processes=1, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("processes", [1, 2])
def test_nothing_is_left_behind_where_it_fails(tmp_path, processes):
    def stop(done, total):
        raise RuntimeError("stopped by the test")

    with pytest.raises(RuntimeError, match="stopped by the test"):
        simulate(tmp_path / "tree", patches=4, processes=processes, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_existing_target_is_refused_and_kept(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "mine.txt").write_text("keep")
    with pytest.raises(TargetExistsError, match="tree"):
        simulate(tmp_path / "tree", patches=1)
    assert (tmp_path / "tree" / "mine.txt").read_text() == "keep"


def test_target_below_a_file_is_unwritable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError, match="file"):
        simulate(tmp_path / "file" / "tree", patches=1)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"patches": 0}, "patches"),
        ({"patches": 2.5}, "patches"),
        ({"patches": True}, "patches"),
        ({"patches": 10_000, "tiles": 1}, "patches"),
        ({"seed": -1}, "seed"),
        ({"seed": "zero"}, "seed"),
        ({"tiles": 57}, "tiles"),
        ({"processes": 0}, "processes"),
        ({"world": {"cloud_fraction": 1}}, "world"),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, name):
    with pytest.raises(InvalidArgumentError, match=rf"`{name}` must be"):
        simulate(tmp_path / "tree", **{"patches": 2, **arguments})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "0.5", None, True])
def test_bad_knobs_are_named(value):
    with pytest.raises(InvalidArgumentError, match="`season_from_s2` must be a number"):
        World(season_from_s2=value)
