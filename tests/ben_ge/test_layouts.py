"""BigEarthNet v1 and v2, modular ben-ge, and the choice of modalities and bands: opened, converted, read back."""

import json
import pickle
import shutil

import numpy as np
import pytest
import rasterio

import eokeras as eo
from eokeras.ben_ge import schema
from eokeras.ben_ge.source import open_source
from eokeras.errors import InvalidArgumentError, InvalidPatchError, InvalidSourceError
from tests import bigearthnet_trees, trees

V2_FIELDS = {
    *("s2_10m", "s2_20m", "s2_60m", "s1", "reference_map", "labels", "season", "lonlat"),
    *("patch_id", "patch_id_s1", "tile", "cell", "date", "epsg", "upper_left"),
}


def check_patches(source, expected, fields):
    assert set(source.fields) == set(fields)
    assert source.patch_ids == tuple(sorted(expected))
    for patch_id, known in expected.items():
        features = source.read(patch_id).features
        assert set(features) == set(fields)
        for name in set(fields) & set(known) - {"season", "season_s1", "lonlat"}:
            np.testing.assert_array_equal(features[name], known[name], err_msg=name)
            assert np.asarray(features[name]).dtype == np.asarray(known[name]).dtype, name


def every_patch(records, **options):
    """Patch id -> inputs and targets of every split."""
    options = {"metadata": ("patch_id",), "calibrate": None} | options
    patches = {}
    for split in eo.load_schema(records).splits:
        for inputs, targets, metadata in eo.make_dataset(records, split, **options).unbatch().as_numpy_iterator():
            patches[metadata["patch_id"].decode()] = inputs | targets
    return patches


def check_bad_source(root, *rules, **keywords):
    with pytest.raises((InvalidSourceError, InvalidArgumentError)) as caught:
        open_source(root, **keywords)
    for rule in rules:
        assert rule in str(caught.value)


# ---- BigEarthNet v2 ------------------------------------------------------------------------------------------------


def test_v2_from_tree_to_batches(tmp_path):
    expected = bigearthnet_trees.write_v2(tmp_path / "reBEN", 5)
    source = open_source(tmp_path / "reBEN")
    assert source.modalities == ("sentinel_2", "sentinel_1", "reference_maps", "labels")
    check_patches(pickle.loads(pickle.dumps(source)), expected, V2_FIELDS)
    for patch_id, place in source.places.items():
        assert (place.tile, place.cell, place.date) == (
            expected[patch_id]["tile"],
            tuple(expected[patch_id]["cell"]),
            expected[patch_id]["date"],
        )

    with pytest.warns(UserWarning, match="of 5 Sentinel-2 products could not be told"):  # N9999 and random numbers
        records = eo.ben_ge.convert(source, tmp_path / "records", split="official")
    record_schema = eo.load_schema(records)
    sides = {patch_id: features["split"] for patch_id, features in expected.items()}
    assert record_schema.splits == {side: list(sides.values()).count(side) for side in ("train", "val", "test")}
    targets = ("reference_map", "labels", "season")
    patches = every_patch(records, inputs=("s2", "s1"), targets=targets, resolution="stored")
    assert set(patches) == set(expected)
    ids = dict(zip(bigearthnet_trees.REFERENCE_CODES, bigearthnet_trees.REFERENCE_IDS, strict=True))
    for patch_id, patch in patches.items():
        for name in ("s2_10m", "s2_20m", "s2_60m", "s1"):
            np.testing.assert_array_equal(patch[name], expected[patch_id][name].astype("float32"))
        by_hand = np.vectorize(ids.get)(expected[patch_id]["reference_map"])
        np.testing.assert_array_equal(patch["reference_map"], by_hand)
        np.testing.assert_array_equal(patch["labels"], expected[patch_id]["labels"])
        date = expected[patch_id]["date"]
        assert patch["season"] == np.float32(schema.season(int(date[5:7]), int(date[8:])))
    training = [features["reference_map"] for patch_id, features in expected.items() if sides[patch_id] == "train"]
    counted = np.vectorize(ids.get)(np.stack(training))
    statistics = record_schema.statistics["reference_map"]
    assert statistics["counts"] == [int((counted == index).sum()) for index in range(19)]
    assert statistics["void"] == int((counted == 255).sum())
    assert record_schema.classes["reference_map"][4] == "Pastures"


def test_v2_lists_what_its_table_lists(tmp_path):
    root = tmp_path / "reBEN"
    expected = bigearthnet_trees.write_v2(root, 3)
    first, *rest = sorted(expected)
    snowy = [{"patch_id": first, "labels": ["Pastures"], "split": "test", "s1_name": expected[first]["patch_id_s1"]}]
    bigearthnet_trees.write_metadata(tmp_path / "snow.parquet", snowy)
    rows = [
        {"patch_id": name, "labels": [], "split": "train", "s1_name": expected[name]["patch_id_s1"]} for name in rest
    ]
    bigearthnet_trees.write_metadata(root / "metadata.parquet", rows)
    source = open_source(root)
    assert source.patch_ids == tuple(rest)
    assert source.misfits == frozenset()
    assert source.splits == {"train": tuple(rest), "val": (), "test": ()}
    assert open_source(root, patches=rest[:1]).splits["train"] == (rest[0],)
    check_bad_source(root, "Unknown in `patches`", first, patches=[first])
    check_bad_source(root, "`metadata` must be a Parquet file", metadata=tmp_path)
    assert open_source(root, metadata=tmp_path / "snow.parquet").patch_ids == (first,)


def test_v2_folders_alone(tmp_path):
    root = tmp_path / "reBEN"
    expected = bigearthnet_trees.write_v2(root, 2, metadata=False)
    check_bad_source(root, "a csv must state `patch_id,patch_id_s1`", "`metadata=` (v2)", str(root))
    fields = V2_FIELDS - {"s1", "labels", "patch_id_s1"}
    check_patches(open_source(root, modalities=("sentinel_2", "reference_maps")), expected, fields)
    for alone in (open_source(root, modalities=("sentinel_2",)), open_source(root / "BigEarthNet-S2")):
        check_patches(alone, expected, fields - {"reference_map"})
    alone = open_source(root, modalities=("sentinel_1",))
    assert alone.patch_ids == tuple(sorted(features["patch_id_s1"] for features in expected.values()))
    features = alone.read(alone.patch_ids[0]).features
    assert "season" not in features  # of the Sentinel-2 time, which nobody knows here
    assert features["season_s1"] == schema.season(int(features["date"][5:7]), int(features["date"][8:]))


def test_v2_patch_without_a_file_is_bad_and_sound_without_that_modality(tmp_path):
    root = tmp_path / "reBEN"
    expected = bigearthnet_trees.write_v2(root, 3)
    first = min(expected)
    path = bigearthnet_trees.reference_file(root, first)
    path.unlink()
    with pytest.raises(InvalidPatchError, match=rf"Patch {first}: The file {path.name} must exist.*File: {path}"):
        open_source(root).read(first)
    open_source(root, modalities=("sentinel_2", "sentinel_1", "labels")).read(first)


def test_v2_patch_without_a_partner_is_bad_and_sound_without_sentinel_1(tmp_path):
    root = tmp_path / "reBEN"
    expected = bigearthnet_trees.write_v2(root, 2)
    first, second = sorted(expected)
    names = {first: None, second: expected[second]["patch_id_s1"]}
    rows = [{"patch_id": name, "labels": [], "split": "train", "s1_name": names[name]} for name in names]
    bigearthnet_trees.write_metadata(root / "metadata.parquet", rows)
    with pytest.raises(InvalidPatchError, match=rf"Patch {first}: .*Sentinel-1"):
        open_source(root).read(first)
    source = open_source(root, modalities=("sentinel_2",))
    assert "patch_id_s1" not in source.fields
    assert [source.read(name).features["patch_id"] for name in names] == [first, second]


@pytest.mark.parametrize(
    ("code", "dtype", "rule"),
    [
        (50, "uint16", "CORINE level-3 codes must be among [0, 111, 112, "),
        (65535, "uint16", "Received: [65535]"),
        (211, "uint8", "the dtype must be uint16. Received: uint8."),
    ],
)
def test_bad_reference_map(tmp_path, code, dtype, rule):
    root = tmp_path / "reBEN"
    (patch_id,) = bigearthnet_trees.write_v2(root, 1)
    path = bigearthnet_trees.reference_file(root, patch_id)
    trees.rewrite_geotiff(path, values=np.full((120, 120), code, dtype))
    with pytest.raises(InvalidPatchError) as caught:
        open_source(root).read(patch_id)
    assert rule.lower() in str(caught.value).lower()
    assert str(caught.value).endswith(str(path))


ROW = {"patch_id": "a", "labels": ["Pastures"], "split": "train", "s1_name": "b"}


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        (None, "must be Parquet"),
        ([{"patch_id": "a"}], "Missing: ['labels', 'split', 's1_name']"),
        ([ROW, ROW], "2 rows, 1 names"),
        ([ROW | {"patch_id": None}], "1 rows"),
    ],
)
def test_unusable_metadata_table(tmp_path, rows, rule):
    root = tmp_path / "reBEN"
    bigearthnet_trees.write_v2(root, 1)
    path = root / "metadata.parquet"
    if rows:
        bigearthnet_trees.write_metadata(path, rows)
    else:
        path.write_bytes(b"patch_id,labels\n")
    check_bad_source(root, rule, f"File: {path}")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"labels": ["Peatbogs"]}, "must be a list of BigEarthNet-19 names. Received: 'Peatbogs'"),
        ({"labels": None}, "must be a list of BigEarthNet-19 names. Received: None"),
        ({"s1_name": None}, "must be paired with a Sentinel-1 patch. Received: none"),
    ],
)
def test_bad_row_of_the_metadata_table(tmp_path, change, rule):
    root = tmp_path / "reBEN"
    expected = bigearthnet_trees.write_v2(root, 2)
    first, second = sorted(expected)
    rows = [ROW | {"patch_id": name, "s1_name": expected[name]["patch_id_s1"]} for name in (first, second)]
    rows[0] |= change
    bigearthnet_trees.write_metadata(root / "metadata.parquet", rows)
    source = open_source(root)
    with pytest.raises(InvalidPatchError, match=rf"Patch {first}: .*{rule}.*metadata\.parquet"):
        source.read(first)
    source.read(second)


def test_unknown_split_of_the_metadata_table(tmp_path):
    root = tmp_path / "reBEN"
    (patch_id,) = bigearthnet_trees.write_v2(root, 1)
    bigearthnet_trees.write_metadata(root / "metadata.parquet", [ROW | {"patch_id": patch_id, "split": "dev"}])
    with pytest.raises(InvalidSourceError, match=r"`split` must be one of .*Received: \['dev'\].*metadata\.parquet"):
        _ = open_source(root, modalities=("sentinel_2",)).splits


def test_folders_are_flat_or_gathered(tmp_path):
    root = tmp_path / "reBEN"
    expected = bigearthnet_trees.write_v2(root, 1)
    (patch_id,) = expected
    acquisition = patch_id.rsplit("_", 2)[0]
    wrong = root / "BigEarthNet-S2" / acquisition / "patch-one"
    wrong.mkdir()
    source = open_source(root, modalities=("sentinel_2",), patches=None)
    source.read(patch_id)  # the table lists the patches
    (root / "metadata.parquet").unlink()
    source = open_source(root, modalities=("sentinel_2",))
    with pytest.raises(InvalidPatchError, match=r"patch-one: `patch_id` must look like .*_N9999_R022_T33UUP_75_43"):
        source.read("patch-one")
    wrong.rename(root / "BigEarthNet-S2" / "patch-one")
    check_bad_source(root, "either patches or acquisitions", acquisition, "'patch-one'", modalities=("sentinel_2",))
    (root / "BigEarthNet-v1.0").mkdir()
    check_bad_source(root, "pass `sentinel_2=` to choose", "['BigEarthNet-S2', 'BigEarthNet-v1.0']")


# ---- BigEarthNet v1 ------------------------------------------------------------------------------------------------

V1_FIELDS = {
    *("s2_10m", "s2_20m", "s2_60m", "s1", "labels", "season", "lonlat", "timestamp_s2", "timestamp_s1"),
    *("patch_id", "patch_id_s1", "tile", "cell", "date", "epsg", "upper_left"),
}


def test_v1_label_files_pair_the_sensors(tmp_path):
    expected = bigearthnet_trees.write_v1(tmp_path / "v1", 4)
    source = open_source(tmp_path / "v1")
    check_patches(source, expected, V1_FIELDS)
    assert source.misfits == frozenset()
    # Each folder where it is, without a common root.
    apart = open_source(tmp_path / "v1" / "BigEarthNet-v1.0", sentinel_1=tmp_path / "v1" / "BigEarthNet-S1-v1.0")
    check_patches(apart, expected, V1_FIELDS)
    records = eo.ben_ge.convert(source, tmp_path / "records", split="random")
    patches = every_patch(records, inputs=("s1",), targets=("labels",))
    for patch_id, patch in patches.items():
        np.testing.assert_array_equal(patch["s1"], expected[patch_id]["s1"])
        np.testing.assert_array_equal(patch["labels"], expected[patch_id]["labels"])


def test_v1_sentinel_1_alone_has_labels_and_its_own_time(tmp_path):
    expected = bigearthnet_trees.write_v1(tmp_path / "v1", 2)
    by_name = {features["patch_id_s1"]: features for features in expected.values()}
    source = open_source(tmp_path / "v1" / "BigEarthNet-S1-v1.0")
    assert source.modalities == ("sentinel_1", "labels")
    for name in source.patch_ids:
        features = source.read(name).features
        assert features["timestamp_s1"] == by_name[name]["timestamp_s1"]
        for field in ("labels", "s1", "upper_left"):
            np.testing.assert_array_equal(features[field], by_name[name][field])


def test_v1_label_file_that_pairs_nothing(tmp_path):
    root = tmp_path / "v1"
    expected = bigearthnet_trees.write_v1(root, 3)
    first, *others = sorted(expected)
    path = bigearthnet_trees.s1_label_file(root, expected[first])
    content = path.read_text()
    path.write_text(content[:-1])
    source = open_source(root)
    s1_name = expected[first]["patch_id_s1"]
    assert source.misfits == {first, s1_name}
    with pytest.raises(InvalidPatchError, match=rf"Patch {s1_name}: The label file must be whole JSON.*File: {path}"):
        source.read(s1_name)
    with pytest.raises(InvalidPatchError, match=rf"Patch {first}: A patch must be paired with a Sentinel-1 patch"):
        source.read(first)
    for other in others:
        source.read(other)
    path.write_text(content.replace(first, others[0]))
    check_bad_source(root, "must have one Sentinel-1 patch", s1_name, others[0])


def test_malformed_label_file_matters_only_where_labels_are_read(tmp_path):
    expected = trees.write_tree(tmp_path / "small", 2, labels=True)
    first = min(expected)
    trees.label_file(tmp_path / "small", first).write_text('{"labels": []} trailing')
    with pytest.raises(InvalidPatchError, match="must be whole JSON"):
        open_source(tmp_path / "small").read(first)
    source = open_source(tmp_path / "small", modalities=("sentinel_2", "dem"))
    assert "labels" not in source.fields
    source.read(first)


def test_picked_labels_are_asked_of_every_patch(tmp_path):
    expected = trees.write_tree(tmp_path / "small", 2, labels=True)
    check = open_source(tmp_path / "small", modalities=("dem", "labels"))  # label files alone, not the images
    assert check.modalities == ("dem", "meta", "labels")
    np.testing.assert_array_equal(check.read(min(expected)).features["labels"], expected[min(expected)]["labels"])
    trees.label_file(tmp_path / "small", min(expected)).unlink()
    check_bad_source(
        tmp_path / "small", "may hold labels where every patch has", "1 of 2", modalities=("sentinel_2", "labels")
    )


# ---- Modular ben-ge ------------------------------------------------------------------------------------------------


def test_every_part_in_another_root(tmp_path):
    expected = trees.write_tree(tmp_path / "ben-ge", 5, labels=True, climatezones_csv=True)
    names = {
        "sentinel_2": "sentinel-2",
        "sentinel_1": "sentinel-1",
        "dem": "dem",
        "esaworldcover": "esaworldcover",
        "meta": "ben-ge_meta.csv",
        "era5": "ben-ge_era-5.csv",
        "climatezones": "ben-ge_climatezones.csv",
        "landcover": "ben-ge_esaworldcover.csv",
        "geoclusters": "ben-ge_geoclusters_k20.csv",
    }
    parts = {}
    for key, name in names.items():
        (tmp_path / f"disk-{key}").mkdir()
        parts[key] = tmp_path / f"disk-{key}" / name
        shutil.move(tmp_path / "ben-ge" / name, parts[key])
    source = open_source(tmp_path / "ben-ge", **parts)
    check_patches(source, expected, {*schema.RASTERS, *schema.SCALARS} - {"reference_map"})
    without = {key: path for key, path in parts.items() if key not in ("dem", "era5", "climatezones")}
    some = sorted(expected)[:4]
    records = eo.ben_ge.convert(
        open_source(tmp_path / "ben-ge", patches=some, **without), tmp_path / "records", "random"
    )
    assert not {"dem", "era5", "climate_zone"} & set(eo.load_schema(records).fields)
    targets = ("land_cover_map", "land_cover_fractions", "geocluster", "season")
    patches = every_patch(records, inputs=("s2", "s1", "lonlat"), targets=targets, resolution="stored")
    assert set(patches) == set(some)
    codes = [entry.code for entry in schema.LAND_COVER]
    for patch_id, patch in patches.items():
        known = expected[patch_id]
        np.testing.assert_array_equal(patch["s2_20m"], known["s2_20m"].astype("float32"))
        np.testing.assert_array_equal(np.take(codes, patch["land_cover_map"]), known["land_cover_map"])
        np.testing.assert_array_equal(patch["land_cover_fractions"], known["land_cover_fractions"].astype("float32"))
        assert patch["geocluster"] == known["geocluster"]


def test_patch_without_a_modality_is_set_aside_or_sound_without_it(tmp_path):
    expected = trees.write_tree(tmp_path / "small", 5)
    first = min(expected)
    path = tmp_path / "small" / "dem" / f"{first}_dem.tif"
    path.unlink()
    with pytest.raises(InvalidPatchError, match=rf"Patch {first}: The file {path.name} must exist.*File: {path}"):
        eo.ben_ge.convert(tmp_path / "small", tmp_path / "stopped", "random")
    assert not (tmp_path / "stopped").exists()
    records = eo.ben_ge.convert(tmp_path / "small", tmp_path / "skipped", "random", on_error="skip")
    assert first in (records / "skipped.csv").read_text()
    assert sum(eo.load_schema(records).splits.values()) == 4
    source = open_source(tmp_path / "small", modalities=["sentinel_2", "sentinel_1", "era5"])
    assert source.misfits == frozenset()
    assert source.modalities == ("sentinel_2", "sentinel_1", "meta", "era5")
    source.read(first)


def test_modalities_that_there_are_not(tmp_path):
    trees.write_tree(tmp_path / "small", 1, without=("dem",))
    check_bad_source(tmp_path / "small", "`modalities` may hold", "'sentinel2'", modalities=("sentinel2",))
    check_bad_source(tmp_path / "small", "must name what the tree holds", "['dem']", modalities=("sentinel_2", "dem"))
    check_bad_source(tmp_path / "small", "must name what the tree holds", "none", modalities=())
    check_bad_source(tmp_path / "small", "may hold labels where every patch", modalities=("sentinel_2", "labels"))


# ---- Bands ---------------------------------------------------------------------------------------------------------


def test_records_of_some_bands(tmp_path):
    expected = trees.write_tree(tmp_path / "small", 4, non_finite=True)
    for patch_id in expected:  # never opened
        (tmp_path / "small" / "sentinel-2" / patch_id / f"{patch_id}_B12.tif").write_bytes(b"")
    bands = {"s2": ("B11", "B04", "B02"), "s1": ("VH",)}
    source = open_source(tmp_path / "small", bands=bands)
    assert {name: raster.bands for name, raster in source.rasters.items() if raster.bands} == {
        "s2_10m": ("B02", "B04"),
        "s2_20m": ("B11",),
        "s1": ("VH",),
        "dem": ("elevation",),
    }
    records = eo.ben_ge.convert(source, tmp_path / "records", "random", fractions=(1, 0, 0))
    record_schema = eo.load_schema(records)
    assert record_schema.bands["s2"] == ("B02", "B04", "B11")
    assert record_schema["s2"].shape == (None, None, 3)
    assert record_schema.bands["s1"] == ("VH",)
    assert set(record_schema.reflectance) == {"B02", "B04", "B11"}
    inputs = {"inputs": ("s2", "s1"), "masks": True}
    stored = every_patch(records, resolution="stored", **inputs)
    for patch_id, known in expected.items():
        np.testing.assert_array_equal(stored[patch_id]["s2_10m"], known["s2_10m"][..., [0, 2]].astype("float32"))
        np.testing.assert_array_equal(stored[patch_id]["s2_20m"], known["s2_20m"][..., [4]].astype("float32"))
        np.testing.assert_array_equal(stored[patch_id]["s1"], known["s1"][..., [1]])
        np.testing.assert_array_equal(stored[patch_id]["s1_mask"], np.isfinite(known["s1"][..., [1]]))
    check_calibration(records, record_schema, expected)
    with pytest.raises(InvalidArgumentError, match=r"`bands\['s2'\]` may hold .* Received: 'B03'"):
        eo.make_dataset(records, "train", ("s2",), bands={"s2": ("B03",)})


def check_calibration(records, record_schema, expected):
    """Means by hand, and the same numbers with another order of bands."""
    red = np.stack([known["s2_10m"][..., 2] for known in expected.values()]).astype("float64")
    np.testing.assert_allclose(record_schema.statistics["s2"]["mean"][1], red.mean())
    patches = every_patch(records, inputs=("s2",), calibrate="standardise", bands={"s2": ("B11", "B04")})
    for patch_id, known in expected.items():
        by_hand = (known["s2_10m"][..., 2] - red.mean()) / red.std()
        np.testing.assert_allclose(patches[patch_id]["s2"][..., 1], by_hand, atol=1e-5)


def test_exported_model_takes_the_bands_of_the_records(tmp_path):
    import keras

    trees.write_tree(tmp_path / "small", 3)
    source = open_source(tmp_path / "small", modalities=("sentinel_2",), bands={"s2": ("B02", "B04", "B11")})
    records = eo.ben_ge.convert(source, tmp_path / "records", "random", fractions=(1, 0, 0))
    record_schema = eo.load_schema(records)
    image = keras.Input((120, 120, 3), name="s2")
    season = keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(image))
    model = keras.Model([image], {"season": season})
    path = eo.export(model, tmp_path / "exported", schema=record_schema)
    description = json.loads((path / "schema.json").read_text())["inputs"]["s2"]
    assert description["channels"] == ["B02", "B04", "B11"]
    assert len(description["statistics"]["mean"]) == 3
    calibrated, _ = next(iter(eo.make_dataset(records, "train", ("s2",), ("season",))))
    stored, _ = next(iter(eo.make_dataset(records, "train", ("s2",), ("season",), calibrate=None)))
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    np.testing.assert_allclose(loaded.serve(stored)["season"], model(calibrated)["season"][..., 0], atol=1e-4)


@pytest.mark.parametrize(
    ("bands", "rule"),
    [
        ({"s2": ("B4",)}, "`bands['s2']` may hold"),
        ({"s2": ()}, "at least one band"),
        ({"s3": ("B04",)}, "`bands` must be one of ['s2', 's1']"),
        ({"s1": ("VV",)}, "at least one band of a sensor that is read"),
        ({"s2": "B04"}, "must be a sequence of names"),
    ],
)
def test_bands_that_there_are_not(tmp_path, bands, rule):
    trees.write_tree(tmp_path / "small", 1, without=("sentinel_1",))
    check_bad_source(tmp_path / "small", rule, bands=bands)


# ---- Real samples --------------------------------------------------------------------------------------------------


def plain(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def check_sentinel_2(patch, folder):
    for group in schema.S2_GROUPS:
        for channel, band in enumerate(schema.RASTERS[group].bands):
            (path,) = folder.glob(f"*_{band}.tif")
            np.testing.assert_array_equal(patch[group][..., channel], plain(path))


@pytest.mark.parametrize("modality", ["sentinel_2", "sentinel_1", "reference_maps"])
def test_real_v2_samples(real_data, tmp_path, modality):
    root = real_data / "bigearthnet-v2-layout" / "BigEarthNet"  # three folders of three places, so one at a time
    source = open_source(root, modalities=[modality])
    (patch_id,) = source.patch_ids
    records = eo.ben_ge.convert(source, tmp_path / "records")
    if modality == "reference_maps":
        (path,) = root.glob("Reference_Maps/*/*/*.tif")
        read = every_patch(records, inputs=("lonlat",), targets=("reference_map",))[patch_id]
        ids = {211: 2, 231: 4, 311: 8, 313: 10}  # CORINE level 3 -> BigEarthNet-19, by the published table
        np.testing.assert_array_equal(read["reference_map"], np.vectorize(ids.get)(plain(path)))
    elif modality == "sentinel_1":
        read = every_patch(records, inputs=("s1",))[patch_id]
        for channel, band in enumerate(("VV", "VH")):
            (path,) = root.glob(f"BigEarthNet-S1/*/*/*_{band}.tif")
            np.testing.assert_array_equal(read["s1"][..., channel], plain(path))
    else:
        read = every_patch(records, inputs=("s2",), resolution="stored")[patch_id]
        check_sentinel_2(read, root / "BigEarthNet-S2" / patch_id.rsplit("_", 2)[0] / patch_id)
        (found,) = eo.load_schema(records).metadata["digital_numbers"].values()
        assert found == {"offset": 0, "evidence": "67% of the visible pixels of a patch lie below 1000"}


def test_real_v1_pairs_by_label_files(real_data, tmp_path):
    for name, folder in {"BigEarthNet-v1.0": "sentinel-2", "BigEarthNet-S1-v1.0": "sentinel-1"}.items():
        shutil.copytree(real_data / "bigearthnet-mini" / folder, tmp_path / "v1" / name)
    rows = {row[0]: row for row in trees.read_csv(real_data / "bigearthnet-mini" / "bigearthnet-mini_meta.csv")[1:]}
    source = open_source(tmp_path / "v1")
    records = eo.ben_ge.convert(source, tmp_path / "records", "random")
    metadata = ("patch_id", "patch_id_s1", "timestamp_s2", "timestamp_s1")
    (batch,) = eo.make_dataset(records, "train", ("s2", "s1"), calibrate=None, metadata=metadata)
    inputs, _, facts = batch
    assert len(source.patch_ids) == len(rows) == 4
    for index, patch_id in enumerate(facts["patch_id"].numpy().astype(str)):
        found = [facts[name].numpy()[index].decode() for name in metadata]
        assert found == rows[patch_id][:1] + rows[patch_id][1:4]
        folder = tmp_path / "v1" / "BigEarthNet-S1-v1.0" / found[1]
        np.testing.assert_array_equal(inputs["s1"][index, ..., 0], plain(folder / f"{found[1]}_VV.tif"))
        folder = tmp_path / "v1" / "BigEarthNet-v1.0" / patch_id
        np.testing.assert_array_equal(inputs["s2"][index, ..., 1], plain(folder / f"{patch_id}_B02.tif"))
    evidence = {found["evidence"][:14] for found in eo.load_schema(records).metadata["digital_numbers"].values()}
    assert evidence == {"baseline N0205", "baseline N0206"}


def test_real_sea_strip_sets_its_malformed_label_file_aside(real_data, tmp_path):
    root = real_data / "bigearthnet-sea-strip"
    records = eo.ben_ge.convert(root, tmp_path / "records", on_error="skip")
    skipped = trees.read_csv(records / "skipped.csv")
    assert [row[0] for row in skipped] == ["patch_id", "S2A_MSIL2A_20170613T101031_0_46"]
    patches = every_patch(records, inputs=("s2",), targets=("labels",), resolution="stored")
    assert len(patches) == 22
    for patch_id, patch in patches.items():
        check_sentinel_2(patch, root / patch_id)
        assert np.flatnonzero(patch["labels"]).tolist() == [18]
    whole = open_source(root, modalities=("sentinel_2",))
    whole.read("S2A_MSIL2A_20170613T101031_0_46")


def test_real_digital_numbers_that_look_like_an_offset_are_noted(real_data, tmp_path):
    # One of the three places of this sample has none below 1047 in the visible, over vegetation.
    with pytest.warns(UserWarning, match=r"1 of 3 .* begin above 1000, as if .*S2A_MSIL2A_20180210T144731.*1047"):
        eo.ben_ge.convert(real_data / "ben-ge-mini", tmp_path / "records")
