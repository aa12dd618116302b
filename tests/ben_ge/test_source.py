"""Sound trees: every feature equals what was written, or what plain rasterio and csv reading give."""

import csv
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from eokeras.ben_ge import schema
from eokeras.ben_ge.places import Place, is_patch_name, lonlat_of, parse_name, tile_of
from eokeras.ben_ge.source import open_source
from eokeras.errors import InvalidArgumentError, InvalidPatchError
from tests import trees

real = os.environ.get("EOKERAS_REAL_DATA")
needs_real_data = pytest.mark.skipif(not real, reason="EOKERAS_REAL_DATA names no directory of real patches")

ALL_FIELDS = {*schema.RASTERS, *schema.SCALARS} - {"reference_map"}  # which BigEarthNet v2 has
CSVS = ("meta", "era5", "landcover", "geoclusters")


def check_patch(patch, expected, fields):
    assert set(patch.features) == set(fields)
    for field, value in patch.features.items():
        np.testing.assert_array_equal(value, expected[field], err_msg=field)
        assert np.asarray(value).dtype == np.asarray(expected[field]).dtype, field


def test_every_field_equals_what_was_written(tmp_path):
    expected = trees.write_tree(tmp_path / "small", 6, labels=True, splits=True, no_data=True)
    source = open_source(tmp_path / "small")
    assert source.name == "small"
    assert source.root == tmp_path / "small"
    assert source.patch_ids == tuple(sorted(expected))
    assert set(source.fields) == ALL_FIELDS
    assert source.modalities == (
        *("sentinel_2", "sentinel_1", "dem", "esaworldcover"),
        *("meta", "era5", "landcover", "geoclusters", "labels"),
    )
    assert source.notes == ()
    assert source.world is None
    for patch_id in source.patch_ids:
        check_patch(source.read(patch_id), expected[patch_id], ALL_FIELDS)


def test_shapes_and_dtypes_are_those_of_the_schema(tmp_path):
    trees.write_tree(tmp_path / "small", 1, labels=True)
    source = open_source(tmp_path / "small")
    features = source.read(source.patch_ids[0]).features
    for name in ALL_FIELDS & set(schema.RASTERS):
        raster = schema.RASTERS[name]
        assert features[name].shape == raster.shape
        assert features[name].dtype == raster.dtype
    for name, scalar in schema.SCALARS.items():
        if scalar.dtype == "string":
            assert isinstance(features[name], str)
        else:
            assert features[name].shape == scalar.shape
            assert features[name].dtype == scalar.dtype


def test_places_come_from_names(tmp_path):
    places = [("33UUP", 87, 48, "2017-06-13"), ("29SND", 0, 1, "2018-02-03")]
    expected = trees.write_tree(tmp_path / "small", places=places)
    source = open_source(tmp_path / "small")
    for patch_id, features in expected.items():
        assert source.places[patch_id] == Place(features["tile"], tuple(features["cell"]), features["date"])


def test_non_finite_backscatter_is_kept_and_counted(tmp_path):
    expected = trees.write_tree(tmp_path / "small", 1, non_finite=True)
    (patch_id,) = expected
    patch = open_source(tmp_path / "small").read(patch_id)
    np.testing.assert_array_equal(patch.features["s1"], expected[patch_id]["s1"])
    assert patch.non_finite == {
        "s1": {
            "VV": {"nan": 1, "negative_infinity": 2, "positive_infinity": 0},
            "VH": {"nan": 0, "negative_infinity": 0, "positive_infinity": 1},
        }
    }


@pytest.mark.parametrize(
    ("without", "absent"),
    [
        (["sentinel_2"], {"s2_10m", "s2_20m", "s2_60m", "labels"}),
        (["sentinel_1"], {"s1"}),
        (["dem", "esaworldcover"], {"dem", "land_cover_map"}),
        (["era5", "landcover", "geoclusters"], {"era5", "era5_level", "land_cover_fractions", "geocluster"}),
        (
            ["sentinel_2", "sentinel_1", "dem", "esaworldcover"],
            {*schema.RASTERS, "labels", "epsg", "upper_left"},
        ),
    ],
)
def test_any_subset_of_modalities(tmp_path, without, absent):
    labels = "sentinel_2" not in without
    expected = trees.write_tree(tmp_path / "small", 2, without=without, labels=labels)
    source = open_source(tmp_path / "small")
    assert set(source.fields) == ALL_FIELDS - absent
    for patch_id in source.patch_ids:
        check_patch(source.read(patch_id), expected[patch_id], ALL_FIELDS - absent)


def test_sentinel_2_alone_takes_place_and_time_from_rasters_and_labels(tmp_path):
    expected = trees.write_tree(
        tmp_path / "small", 5, labels=True, without=("sentinel_1", "dem", "esaworldcover", *CSVS)
    )
    # BigEarthNet itself has its patch folders in the root.
    source = open_source(tmp_path / "small" / "sentinel-2")
    assert set(source.fields) == {
        *schema.S2_GROUPS,
        *("patch_id", "tile", "cell", "date", "timestamp_s2", "epsg", "upper_left", "lonlat", "season", "labels"),
    }
    for patch_id, features in expected.items():
        patch = source.read(patch_id)
        for name in ("tile", "cell", "date", "timestamp_s2", "epsg", "upper_left", "labels"):
            np.testing.assert_array_equal(patch.features[name], features[name])
        np.testing.assert_allclose(patch.features["lonlat"], features["lonlat"], atol=6e-6)  # written to 5 decimals
        np.testing.assert_allclose(patch.features["season"], features["season"], atol=6e-6)
        assert source.places[patch_id] == Place(features["tile"], tuple(features["cell"]), features["date"])


def test_season_comes_from_the_date_in_the_name_where_nothing_states_it(tmp_path):
    expected = trees.write_tree(tmp_path / "small", 2, without=("sentinel_1", "dem", "esaworldcover", *CSVS))
    source = open_source(tmp_path / "small")
    assert not {"timestamp_s2", "labels"} & set(source.fields)
    for patch_id, features in expected.items():
        season = source.read(patch_id).features["season"]
        np.testing.assert_allclose(season, features["season"], atol=6e-6)  # written to 5 decimals


def test_sentinel_1_alone_is_named_by_its_own_names(tmp_path):
    expected = trees.write_tree(tmp_path / "small", 2, without=("sentinel_2", "dem", "esaworldcover", *CSVS))
    source = open_source(tmp_path / "small")
    assert source.patch_ids == tuple(sorted(features["patch_id_s1"] for features in expected.values()))
    features = source.read(source.patch_ids[0]).features
    assert features["patch_id_s1"] == features["patch_id"] == source.patch_ids[0]
    assert source.places[source.patch_ids[0]].tile in {"33UUP", "29UPU"}


def test_labels_are_left_out_with_a_note_unless_every_patch_has_them(tmp_path):
    expected = trees.write_tree(tmp_path / "small", 3, labels=True)
    first = min(expected)
    trees.label_file(tmp_path / "small", first).unlink()
    source = open_source(tmp_path / "small")
    assert "labels" not in source.fields
    (note,) = source.notes
    assert "1 of 3" in note
    assert first in note


def test_renamed_directory_and_separate_climate_zones(tmp_path):
    expected = trees.write_tree(tmp_path / "renamed", 3, name="ben-ge-3", climatezones_csv=True, splits=True)
    source = open_source(tmp_path / "renamed")
    assert source.name == "ben-ge-3"
    assert "climatezones" in source.modalities
    assert set(source.splits) == {"train", "val"}
    for patch_id in source.patch_ids:
        assert source.read(patch_id).features["climate_zone"] == expected[patch_id]["climate_zone"]


def test_name_chooses_among_csvs(tmp_path):
    expected = trees.write_tree(tmp_path / "small", 2)
    shutil.copy(tmp_path / "small" / "small_meta.csv", tmp_path / "small" / "other_meta.csv")
    assert open_source(tmp_path / "small", name="small").patch_ids == tuple(sorted(expected))


def test_parts_may_lie_apart(tmp_path):
    expected = trees.write_tree(tmp_path / "small", 4, splits=True)
    apart = tmp_path / "apart"
    apart.mkdir()
    small = tmp_path / "small"
    for part in ("sentinel-1", "dem", "esaworldcover", "splits"):
        shutil.move(small / part, apart / part)
    for csv_name in ("small_era-5.csv", "small_esaworldcover.csv", "small_geoclusters_k20.csv"):
        shutil.move(small / csv_name, apart / csv_name)
    source = open_source(
        small,
        sentinel_1=apart / "sentinel-1",
        dem=str(apart / "dem"),
        esaworldcover=apart / "esaworldcover",
        era5=apart / "small_era-5.csv",
        landcover=apart / "small_esaworldcover.csv",
        geoclusters=apart / "small_geoclusters_k20.csv",
        splits=apart / "splits",
    )
    assert {side: len(ids) for side, ids in source.splits.items()} == {"train": 2, "val": 1, "test": 1}
    for patch_id in source.patch_ids:
        check_patch(source.read(patch_id), expected[patch_id], ALL_FIELDS - {"labels"})


def test_modular_side_csvs_may_hold_more_than_meta(tmp_path):
    expected = trees.write_tree(tmp_path / "small", 4)
    small, first = tmp_path / "small", min(expected)
    trees.drop_row(small / "small_meta.csv", first)
    assert first in open_source(small).patch_ids  # self-contained: reading it says that meta lacks it
    source = open_source(small, dem=small / "dem")
    assert source.patch_ids == tuple(sorted(set(expected) - {first}))
    source.read(source.patch_ids[0])


def test_patches_select_by_ids_or_index_file(tmp_path):
    expected = trees.write_tree(tmp_path / "small", 4, splits=True)
    some = sorted(expected)[1:3]
    index = tmp_path / "some.csv"
    index.write_text("\n".join(some))
    for patches in (some, str(index), index):
        source = open_source(tmp_path / "small", patches=patches)
        assert source.patch_ids == tuple(some)
        assert source.splits == {"train": (some[0],), "val": (some[1],), "test": ()}


def test_csv_may_have_a_byte_order_mark_other_order_and_line_ends(tmp_path):
    expected = trees.write_tree(tmp_path / "small", 2)
    path = tmp_path / "small" / "small_meta.csv"
    rows = [row[::-1] for row in trees.read_csv(path)]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(",".join(row) for row in rows).encode() + b"\r\n\r\n")
    source = open_source(tmp_path / "small")
    for patch_id in source.patch_ids:
        check_patch(source.read(patch_id), expected[patch_id], ALL_FIELDS - {"labels"})


def test_world_of_a_simulated_tree(tmp_path):
    trees.write_tree(tmp_path / "small", 1)
    (tmp_path / "small" / "small_world.json").write_text(json.dumps({"seed": 3}))
    assert open_source(tmp_path / "small").world == {"seed": 3}


def test_source_can_be_pickled(tmp_path):
    expected = trees.write_tree(tmp_path / "small", 2)
    source = pickle.loads(pickle.dumps(open_source(tmp_path / "small")))
    for patch_id in source.patch_ids:
        check_patch(source.read(patch_id), expected[patch_id], ALL_FIELDS - {"labels"})


def test_a_pickled_source_leaves_behind_what_it_remembers(tmp_path):
    """Also within its parts: those that read labels know the source that they belong to."""
    trees.write_tree(tmp_path / "small", 2)
    fresh, used = open_source(tmp_path / "small"), open_source(tmp_path / "small")
    places, numbers = used.places, used.digital_numbers
    assert pickle.dumps(used) == pickle.dumps(fresh)
    again = pickle.loads(pickle.dumps(used))
    assert (again.places, again.digital_numbers) == (places, numbers)
    assert used.places is places


def test_errors_can_be_pickled():
    error = pickle.loads(pickle.dumps(InvalidPatchError("a", "b.tif", "Why.")))
    assert (error.patch_id, error.path, error.reason) == ("a", Path("b.tif"), "Why.")


def test_unknown_patch_is_refused(tmp_path):
    trees.write_tree(tmp_path / "small", 1)
    with pytest.raises(InvalidArgumentError, match=r"`patch_id` must be one of the 1 patches of small.*'nowhere'"):
        open_source(tmp_path / "small").read("nowhere")


# ---- Names and places ----------------------------------------------------------------------------------------------


def test_names_of_all_three_forms():
    v1 = parse_name("S2A_MSIL2A_20171101T94132_78_7")
    assert v1 == ("S2A_MSIL2A_20171101T94132", None, (78, 7), "2017-11-01")
    v2 = parse_name("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_75_43")
    assert v2 == ("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP", "33UUP", (75, 43), "2017-06-13")
    s1 = parse_name("S1B_IW_GRDH_1SDV_20170929T045327_34TCR_64_46")
    assert s1 == ("S1B_IW_GRDH_1SDV_20170929T045327_34TCR", "34TCR", (64, 46), "2017-09-29")
    assert is_patch_name("S2A_MSIL2A_20171101T94132_78_7", "S2")
    assert not is_patch_name("S2A_MSIL2A_20171101T94132_78_7", "S1")


@pytest.mark.parametrize("name", ["", "patch_1", "S2A_MSIL2A_20171301T094132_1_2", "S2A_MSIL2A_20170613T101031_1"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="patch"):
        parse_name(name)


@pytest.mark.parametrize(
    ("epsg", "west", "north", "cell", "tile"),
    [
        # Corners and tiles as published in BigEarthNet label files.
        (32633, 404400.0, 5342400.0, (87, 48), "33UUP"),
        (32635, 682800.0, 6971220.0, (69, 24), "35VPK"),
        (32629, 567180.0, 4358040.0, (56, 35), "29SND"),
        (32629, 643200.0, 5798040.0, (36, 85), "29UPU"),
        (32634, 499980.0, 7046040.0, (0, 45), "34VER"),
    ],
)
def test_tile_from_georeferencing(epsg, west, north, cell, tile):
    assert tile_of(epsg, west, north, cell) == tile


def test_lonlat_of_a_published_patch():
    # ben-ge's published longitude and latitude of S2A_MSIL2A_20170613T101031_87_48.
    np.testing.assert_allclose(lonlat_of(32633, 405000, 5341800), (13.72095, 48.22231), atol=6e-6)


# ---- Real data -----------------------------------------------------------------------------------------------------


def plain(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


@needs_real_data
@pytest.mark.parametrize("name", ["ben-ge-mini", "bigearthnet-mini"])
def test_real_patches_equal_plain_reading(name):
    root = Path(real) / name
    source = open_source(root)
    with open(root / f"{name}_meta.csv", newline="") as file:
        rows = {row["patch_id"]: row for row in csv.DictReader(file)}
    assert source.patch_ids == tuple(sorted(rows))
    for patch_id, row in rows.items():
        features = source.read(patch_id).features
        for file, raster, channel in (
            entry
            for key, entries in trees.raster_files(root, row).items()
            if key in source.modalities
            for entry in entries
        ):
            stored = features[raster] if channel is None else features[raster][..., channel]
            np.testing.assert_array_equal(stored, plain(file))
        for field, column in {"timestamp_s2": "timestamp_s2", "patch_id_s1": "patch_id_s1"}.items():
            assert features[field] == row[column]
        assert features["lonlat"].tolist() == [float(row["lon"]), float(row["lat"])]
        assert features["climate_zone"] == int(row["climatezone"])
        assert features["season"] == float(row["season_s2"])
        assert features["tile"] == row["patch_id_s1"].split("_")[5]


@needs_real_data
def test_real_malformed_label_file_is_named_and_the_others_read():
    source = open_source(Path(real) / "bigearthnet-sea-strip")
    assert len(source.patch_ids) == 23
    bad = "S2A_MSIL2A_20170613T101031_0_46"
    for patch_id in set(source.patch_ids) - {bad}:
        features = source.read(patch_id).features
        assert features["labels"].tolist() == [0] * 18 + [1]  # marine waters
        assert features["tile"] == "34VER"
    with pytest.raises(InvalidPatchError, match=rf"Patch {bad}: .*whole JSON.*File: .*{bad}_labels_metadata\.json"):
        source.read(bad)
