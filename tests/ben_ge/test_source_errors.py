"""Bad input: every message names the patch or file and the rule."""

import json
import shutil
import warnings

import numpy as np
import pytest
import rasterio

from eokeras.ben_ge import rasters
from eokeras.ben_ge.source import open_source
from eokeras.errors import InvalidPatchError, InvalidSourceError
from tests import trees

CSVS = ("meta", "era5", "landcover", "geoclusters")


@pytest.fixture(scope="module")
def whole_tree(tmp_path_factory):
    """A sound tree of 3 patches and its features; only copies of it are broken."""
    root = tmp_path_factory.mktemp("whole") / "small"
    return root, trees.write_tree(root, 3, labels=True)


@pytest.fixture
def tree(whole_tree, tmp_path):
    """A copy of the sound tree, its first patch and all features."""
    root, expected = whole_tree
    shutil.copytree(root, tmp_path / "small")
    return tmp_path / "small", min(expected), expected


def check_bad_patch(root, patch_id, file, *rules, others=None):
    """Reading the patch raises with its name, the file and the rule; the other patches read."""
    source = open_source(root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InvalidPatchError) as caught:
            source.read(patch_id)
    message = str(caught.value)
    assert message.startswith(f"Patch {patch_id}: ")
    assert message.endswith(str(file))
    assert "Received: " in message or "Twice" in message
    for rule in rules:
        assert rule in message
    for other in others if others is not None else set(source.patch_ids) - {patch_id}:
        source.read(other)


def files(root, features):
    return {raster: path for entries in trees.raster_files(root, features).values() for path, raster, _ in entries}


# ---- Rasters -------------------------------------------------------------------------------------------------------

RASTERS = ("s2_10m", "s2_60m", "s1", "dem", "land_cover_map")


@pytest.mark.parametrize("raster", RASTERS)
def test_missing_file(tree, raster):
    root, patch_id, expected = tree
    path = files(root, expected[patch_id])[raster]
    path.unlink()
    check_bad_patch(root, patch_id, path, f"The file {path.name} must exist")


@pytest.mark.parametrize("keep", [-1, -300, 400, 100, 7])
@pytest.mark.parametrize("raster", RASTERS)
def test_truncated_file(tree, raster, keep):
    root, patch_id, expected = tree
    path = files(root, expected[patch_id])[raster]
    trees.truncate(path, keep)
    check_bad_patch(root, patch_id, path, "A raster must be a whole GeoTIFF", "truncated or damaged")


def test_zero_byte_file(tree):
    root, patch_id, expected = tree
    path = files(root, expected[patch_id])["s2_20m"]
    trees.truncate(path, 0)
    check_bad_patch(root, patch_id, path, "A raster must be a whole GeoTIFF", "an empty file")


@pytest.mark.parametrize("content", [b"garbage" * 500, b"\x00" * 4000, b"II*\x00" + b"\xff" * 4000])
def test_garbage_file(tree, content):
    root, patch_id, expected = tree
    path = files(root, expected[patch_id])["dem"]
    path.write_bytes(content)
    check_bad_patch(root, patch_id, path, "A raster must be a whole GeoTIFF")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_other_image_format(tree):
    root, patch_id, expected = tree
    path = files(root, expected[patch_id])["land_cover_map"]
    path.unlink()
    with rasterio.open(path, "w", driver="PNG", width=120, height=120, count=1, dtype="uint8") as dataset:
        dataset.write(np.full((1, 120, 120), 10, "uint8"))
    check_bad_patch(root, patch_id, path, "or another format")


@pytest.mark.parametrize(
    ("raster", "values", "rule"),
    [
        ("s2_10m", np.zeros((60, 60), "uint16"), "the size must be (120, 120) (height, width). Received: (60, 60)."),
        ("s2_20m", np.zeros((60, 59), "uint16"), "the size must be (60, 60) (height, width). Received: (60, 59)."),
        ("s2_60m", np.zeros((20, 20), "int16"), "the dtype must be uint16. Received: int16."),
        ("s1", np.zeros((120, 120), "float64"), "the dtype must be float32. Received: float64."),
        ("dem", np.zeros((120, 120), "float32"), "the dtype must be int16. Received: float32."),
        ("land_cover_map", np.full((120, 120), 10, "int16"), "the dtype must be uint8. Received: int16."),
        ("dem", np.zeros((2, 120, 120), "int16"), "a raster must hold one band. Received: 2 bands."),
    ],
)
def test_wrong_size_dtype_or_number_of_bands(tree, raster, values, rule):
    root, patch_id, expected = tree
    path = files(root, expected[patch_id])[raster]
    trees.rewrite_geotiff(path, values=values)
    check_bad_patch(root, patch_id, path, rule[0].upper() + rule[1:])


def test_rasters_of_different_places(tree):
    root, patch_id, expected = tree
    path = files(root, expected[patch_id])["s1"]
    west, north = expected[patch_id]["upper_left"]
    trees.rewrite_geotiff(path, transform=rasterio.Affine(10, 0, west, 0, -10, north - 10))
    check_bad_patch(root, patch_id, path, "must share one upper left corner", f"{north - 10}", f"{north}")


def test_corners_may_differ_by_rounding_only(tree):
    root, patch_id, expected = tree
    path = files(root, expected[patch_id])["dem"]
    west, north = expected[patch_id]["upper_left"]
    trees.rewrite_geotiff(path, transform=rasterio.Affine(10, 0, west + 0.0009, 0, -10, north))
    open_source(root).read(patch_id)
    trees.rewrite_geotiff(path, transform=rasterio.Affine(10, 0, west + 0.0011, 0, -10, north))
    check_bad_patch(root, patch_id, path, "must share one upper left corner")


def test_rasters_of_different_zones(tree):
    root, patch_id, expected = tree
    path = files(root, expected[patch_id])["land_cover_map"]
    trees.rewrite_geotiff(path, crs="EPSG:32634")
    check_bad_patch(root, patch_id, path, "must share one UTM zone", "EPSG:32634", "EPSG:32633")


@pytest.mark.parametrize("raster", ["s2_10m", "dem"])
def test_no_reference_system(tree, raster):
    root, patch_id, expected = tree
    path = files(root, expected[patch_id])[raster]
    trees.rewrite_geotiff(path, crs=None)
    check_bad_patch(root, patch_id, path, "must state its coordinate reference system")


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3035", "EPSG:25833"])
def test_other_reference_system(tree, crs):
    root, patch_id, expected = tree
    path = files(root, expected[patch_id])["s2_10m"]
    trees.rewrite_geotiff(path, crs=crs)
    check_bad_patch(root, patch_id, path, "must be a WGS 84 UTM zone", crs)


@pytest.mark.parametrize("transform", [(20, 0, 0, -20), (10, 0, 0, 10), (10, 0.5, 0, -10)])
def test_wrong_pixels(tree, transform):
    root, patch_id, expected = tree
    path = files(root, expected[patch_id])["dem"]
    west, north = expected[patch_id]["upper_left"]
    a, b, d, e = transform
    trees.rewrite_geotiff(path, transform=rasterio.Affine(a, b, west, d, e, north))
    check_bad_patch(root, patch_id, path, "Pixels must be 10 m x 10 m, north up")


def test_raster_with_a_scale_of_its_own(tree):
    root, patch_id, expected = tree
    path = files(root, expected[patch_id])["s2_10m"]
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (1e-4,), (-0.1,)
    check_bad_patch(root, patch_id, path, "must need no scale or offset of their own", "scale 0.0001, offset -0.1")


def test_unknown_land_cover_code(tree):
    root, patch_id, expected = tree
    path = files(root, expected[patch_id])["land_cover_map"]
    codes = expected[patch_id]["land_cover_map"].copy()
    codes[5, 5:7] = 15, 255
    trees.rewrite_geotiff(path, values=codes)
    check_bad_patch(root, patch_id, path, "WorldCover codes must be among [0, 10, 20, ", "Received: [15, 255]")


# ---- Csv rows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "column", "value", "rule"),
    [
        ("small_meta.csv", "lat", "90.01", "`lat` must be a number in [-90, 90]. Received: lat='90.01' in line "),
        ("small_meta.csv", "lat", "north", "`lat` must be a number in [-90, 90]"),
        ("small_meta.csv", "lon", "-180.5", "`lon` must be a number in [-180, 180]"),
        ("small_meta.csv", "lon", "nan", "`lon` must be a number in [-180, 180]"),
        ("small_meta.csv", "lon", "", "`lon` must be"),
        ("small_meta.csv", "season_s2", "1.2", "`season_s2` must be a number in [0, 1]"),
        ("small_meta.csv", "season_s1", "-0.1", "`season_s1` must be a number in [0, 1]"),
        ("small_meta.csv", "timestamp_s2", "2017-02-30 10:00:00", "`timestamp_s2` must be a time like"),
        ("small_meta.csv", "timestamp_s1", "yesterday", "`timestamp_s1` must be a time like"),
        ("small_meta.csv", "timestamp_s2", "", "`timestamp_s2` must be"),
        ("small_meta.csv", "climatezone", "31", "`climatezone` must be a number in [0, 30]"),
        ("small_meta.csv", "climatezone", "3", "3 is Aw (tropical, savannah)"),
        ("small_meta.csv", "climatezone", "14.5", "`climatezone` must be a whole number"),
        ("small_meta.csv", "climatezone", "", "`climatezone` must be"),
        ("small_era-5.csv", "temperature_s2", "warm", "`temperature_s2` must be a finite number"),
        ("small_era-5.csv", "wind-u_s1", "inf", "`wind-u_s1` must be a finite number"),
        ("small_era-5.csv", "relhumidity_s1", "", "`relhumidity_s1` must be"),
        ("small_era-5.csv", "patch_id_s1", "S1A", "as in the meta csv"),
        ("small_esaworldcover.csv", "cropland", "1.5", "`cropland` must be a number in [0, 1]"),
        ("small_esaworldcover.csv", "cropland", "-0.1", "`cropland` must be a number in [0, 1]"),
        ("small_esaworldcover.csv", "cropland", "0.5", "The land-cover fractions of a patch must sum to 1"),
        ("small_esaworldcover.csv", "cropland", "0.0", "The land-cover fractions of a patch must sum to 1"),
        ("small_geoclusters_k20.csv", "cluster_idx", "20", "`cluster_idx` must be a number in [0, 19]"),
    ],
)
def test_bad_field(tree, file, column, value, rule):
    root, patch_id, _ = tree
    trees.set_field(root / file, patch_id, column, value)
    check_bad_patch(root, patch_id, root / file, rule, repr(value) if "sum" not in rule else "in line ")


def test_fractions_may_miss_one_where_the_map_has_no_data(tmp_path):
    expected = trees.write_tree(tmp_path / "small", 1, no_data=True)
    (patch_id,) = expected
    assert expected[patch_id]["land_cover_fractions"].sum() == pytest.approx(117 / 120)  # 3 of 120 rows without class
    open_source(tmp_path / "small").read(patch_id)
    path = tmp_path / "small" / "small_esaworldcover.csv"
    trees.set_field(path, patch_id, "mangroves", 0.5)
    check_bad_patch(tmp_path / "small", patch_id, path, "must sum to at most 1")


def test_bad_sentinel_1_name(tree):
    root, patch_id, expected = tree
    for file in ("small_meta.csv", "small_era-5.csv"):
        trees.set_field(root / file, patch_id, "patch_id_s1", "S1")
    old = root / "sentinel-1" / expected[patch_id]["patch_id_s1"]
    for path in old.iterdir():
        path.rename(old / f"S1_{path.name[-6:]}")
    old.rename(root / "sentinel-1" / "S1")
    check_bad_patch(root, patch_id, root / "small_meta.csv", "`patch_id_s1` must look like", "'S1'")


@pytest.mark.parametrize("file", ["meta", "era-5", "esaworldcover", "geoclusters_k20"])
def test_duplicated_row(tree, file):
    root, patch_id, _ = tree
    path = root / f"small_{file}.csv"
    trees.repeat_row(path, patch_id)
    check_bad_patch(root, patch_id, path, "A patch must have exactly one row. Received: one in line 2, one in line 5.")


@pytest.mark.parametrize("file", ["era-5", "esaworldcover", "geoclusters_k20"])
def test_missing_row(tree, file):
    root, patch_id, _ = tree
    path = root / f"small_{file}.csv"
    trees.drop_row(path, patch_id)
    check_bad_patch(root, patch_id, path, "A patch must have exactly one row. Received: none.")
    assert open_source(root).misfits == {patch_id}


def test_missing_meta_row_leaves_two_strays(tree):
    root, patch_id, expected = tree
    s1_name = expected[patch_id]["patch_id_s1"]
    trees.drop_row(root / "small_meta.csv", patch_id)
    others = set(expected) - {patch_id}
    check_bad_patch(root, patch_id, root / "small_meta.csv", "exactly one row. Received: none.", others=others)
    check_bad_patch(root, s1_name, root / "sentinel-1" / s1_name, "must be named by a row", others=others)
    assert open_source(root).misfits == {patch_id, s1_name}


@pytest.mark.parametrize("change", [["one too many"], None])
def test_row_of_other_length(tree, change):
    root, _, _ = tree
    path = root / "small_meta.csv"
    rows = trees.read_csv(path)
    trees.write_csv(path, [rows[0], rows[1] + change if change else rows[1][:-2], *rows[2:]])
    others = [row[0] for row in rows[2:]]
    source = open_source(root)
    with pytest.raises(InvalidPatchError, match=r"A row must have 9 fields like the header. Received: \d+ in line 2."):
        source.read(rows[1][0])
    for other in others:
        source.read(other)


def test_extra_patch_folder(tree):
    root, patch_id, _ = tree
    extra = "S2B_MSIL2A_20180101T100000_1_2"
    for path in (root / "sentinel-2" / patch_id).iterdir():
        target = root / "sentinel-2" / extra / path.name.replace(patch_id, extra)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    check_bad_patch(root, extra, root / "small_meta.csv", "exactly one row. Received: none.")
    assert open_source(root).misfits == {extra}


def test_missing_patch_folder(tree):
    root, patch_id, _ = tree
    folder = root / "sentinel-2" / patch_id
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    check_bad_patch(root, patch_id, folder / f"{patch_id}_B02.tif", "must exist")
    assert open_source(root).misfits == {patch_id}


def test_patches_without_a_place_are_absent_from_places_and_raise_in_read(tmp_path):
    expected = trees.write_tree(tmp_path / "small", 3, without=("sentinel_1", "dem", "esaworldcover", *CSVS))
    first, second, third = sorted(expected)
    for patch_id, change in ((first, {"crs": None}), (second, {"crs": "EPSG:3035"})):
        folder = tmp_path / "small" / "sentinel-2" / patch_id
        for path in folder.iterdir():
            trees.rewrite_geotiff(path, **change)
    source = open_source(tmp_path / "small")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(source.places) == [third]
    check_bad_patch(tmp_path / "small", first, folder.parent / first / f"{first}_B02.tif", "none", others=[third])


def test_malformed_patch_name(tmp_path):
    trees.write_tree(tmp_path / "small", 2)
    path = tmp_path / "small" / "small_meta.csv"
    rows = trees.read_csv(path)
    rows[1][0] = "patch-one"
    trees.write_csv(path, rows)
    source = open_source(tmp_path / "small", patches=["patch-one", rows[2][0]])
    assert set(source.places) == {rows[2][0]}
    with pytest.raises(InvalidPatchError, match=r"patch-one: `patch_id` must look like .* File: .*small_meta.csv"):
        source.read("patch-one")


# ---- Label files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ('{"labels": ["Pastures"]', "must be whole JSON"),
        ('{"labels": []} trailing', "must be whole JSON"),
        ("", "must be whole JSON"),
        ("[1, 2]", "must hold an object"),
        ('{"names": []}', "`labels` must be a list of names. Received: None."),
        ('{"labels": "Pastures"}', "`labels` must be a list of names"),
        ('{"labels": ["Pastures", "Moon"]}', "must be CORINE level-3 names. Received: 'Moon'."),
    ],
)
def test_malformed_label_file(tree, content, rule):
    root, patch_id, _ = tree
    path = trees.label_file(root, patch_id)
    path.write_text(content)
    check_bad_patch(root, patch_id, path, rule)


def test_binary_label_file(tree):
    root, patch_id, _ = tree
    path = trees.label_file(root, patch_id)
    path.write_bytes(b"\xff\xfe\x00garbage")
    check_bad_patch(root, patch_id, path, "must be whole JSON")


@pytest.mark.parametrize("time", [None, "2017-13-01 00:00:00"])
def test_label_file_without_time_where_no_csv_has_it(tmp_path, time):
    expected = trees.write_tree(tmp_path / "small", 2, labels=True, without=("sentinel_1", *CSVS))
    patch_id = min(expected)
    path = trees.label_file(tmp_path / "small", patch_id)
    path.write_text(json.dumps({"labels": ["Pastures"], "acquisition_date": time}))
    check_bad_patch(tmp_path / "small", patch_id, path, "`acquisition_date` must be a time like")


# ---- Trees ---------------------------------------------------------------------------------------------------------


def check_bad_source(root, *rules, **keywords):
    with pytest.raises(InvalidSourceError) as caught:
        open_source(root, **keywords)
    for rule in rules:
        assert rule in str(caught.value)


def test_no_directory(tmp_path):
    check_bad_source(tmp_path / "nowhere", "`root` must be a directory", "nowhere")
    (tmp_path / "file").write_text("text")
    check_bad_source(tmp_path / "file", "`root` must be a directory", "file")


def test_no_tree(tmp_path):
    check_bad_source(tmp_path, "`root` must be a ben-ge tree", "sentinel-2", str(tmp_path), "Found: none.")
    (tmp_path / "photos").mkdir()
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    check_bad_source(tmp_path, "`root` must be a ben-ge tree")


def test_empty_tree(tmp_path):
    (tmp_path / "sentinel-2").mkdir()
    check_bad_source(tmp_path, "must hold patches", str(tmp_path / "sentinel-2"))
    (tmp_path / "sentinel-2" / "readme.txt").write_text("no patch")
    check_bad_source(tmp_path, "must hold at least one patch", str(tmp_path))


@pytest.mark.parametrize("file", ["meta", "era-5", "esaworldcover", "geoclusters_k20"])
@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "an empty file"),
        (b"\n\n \n", "an empty file"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe\x80", "must be UTF-8 text"),
        (b"patch_id,lat\0\n1,2\n", "binary data"),
        (b"name;lon;lat\n1;2;3\n", "must hold the columns"),
    ],
)
def test_unusable_csv(tree, file, content, rule):
    root, _, _ = tree
    path = root / f"small_{file}.csv"
    path.write_bytes(content)
    check_bad_source(root, rule, f"File: {path}")


def test_csv_without_rows(tree):
    root, _, _ = tree
    path = root / "small_meta.csv"
    trees.write_csv(path, trees.read_csv(path)[:1])
    check_bad_source(root, "must hold at least one row", f"File: {path}")


@pytest.mark.parametrize(
    ("file", "column"),
    [("meta", "lat"), ("era-5", "wind-u_s1"), ("esaworldcover", "mangroves"), ("geoclusters_k20", "cluster_idx")],
)
def test_missing_column(tree, file, column):
    root, _, _ = tree
    path = root / f"small_{file}.csv"
    trees.drop_column(path, column)
    check_bad_source(root, f"Missing: ['{column}']", f"File: {path}")


def test_duplicated_column(tree):
    root, _, _ = tree
    path = root / "small_meta.csv"
    trees.write_csv(path, [[*row, row[-1]] for row in trees.read_csv(path)])
    check_bad_source(root, "Each column must stand once", "['climatezone']", f"File: {path}")


def test_row_without_patch_id(tree):
    root, patch_id, _ = tree
    path = root / "small_meta.csv"
    trees.set_field(path, patch_id, "patch_id", "")
    check_bad_source(root, "`patch_id` must be given in every row. Missing in line 2.", f"File: {path}")


def test_ambiguous_csvs(tree):
    root, _, _ = tree
    (root / "other_meta.csv").write_bytes((root / "small_meta.csv").read_bytes())
    check_bad_source(root, "must share one name; pass `name=`", "['other', 'small']")
    check_bad_source(root, "`name` must be one of ['other', 'small']", "name='third'", name="third")
    (root / "other_meta.csv").unlink()
    (root / "small_geoclusters_k40.csv").write_bytes((root / "small_geoclusters_k20.csv").read_bytes())
    check_bad_source(root, "pass `geoclusters=` to choose", "small_geoclusters_k20.csv", "small_geoclusters_k40.csv")


def test_part_that_does_not_exist(tree):
    root, _, _ = tree
    check_bad_source(root, "`dem` must exist", "nowhere", dem="nowhere")
    check_bad_source(root, "`splits` must hold NAME_train.csv", splits=root)
    check_bad_source(root, "A modality must be a folder", dem=root / "small_meta.csv")


def test_sentinel_1_without_pairing(tmp_path):
    trees.write_tree(tmp_path / "small", 2, without=CSVS)
    check_bad_source(tmp_path / "small", "a csv must state `patch_id,patch_id_s1`", "pass `meta=`", "small")


def test_selection_that_the_tree_lacks(tree, tmp_path):
    root, patch_id, _ = tree
    check_bad_source(root, "Unknown in `patches`: ['nowhere'] (1 in all)", patches=[patch_id, "nowhere"])
    check_bad_source(root, "`patches` must name a patch once", patch_id, patches=[patch_id, patch_id])
    index = tmp_path / "index.csv"
    index.write_text(f"{patch_id}\nnowhere\n")
    check_bad_source(root, "Unknown in patches=", "index.csv", "nowhere", patches=index)
    index.write_text("")
    check_bad_source(root, "an empty file", "index.csv", patches=index)
    check_bad_source(root, "at least one patch", patches=[])


@pytest.mark.parametrize(("content", "rule"), [("{", "must be JSON")])
def test_malformed_world(tree, content, rule):
    root, _, _ = tree
    (root / "small_world.json").write_text(content)
    with pytest.raises(InvalidSourceError, match=rf"{rule}.*small_world\.json"):
        _ = open_source(root).world


def write_splits(root, **ids):
    (root / "splits").mkdir()
    for split, patch_ids in ids.items():
        (root / "splits" / f"small_{split}.csv").write_text("\n".join(patch_ids) + "\n")


@pytest.mark.parametrize("case", ["unknown", "overlap", "twice"])
def test_bad_splits(tree, case):
    root, _, expected = tree
    first, second, third = sorted(expected)
    splits = {
        "unknown": {"train": [first, second], "test": ["nowhere", third]},
        "overlap": {"train": [first, second], "test": [second]},
        "twice": {"train": [first, second, first]},
    }
    rule = {
        "unknown": r"A split must name patches of the tree. Unknown: \['nowhere'\].*small_test.csv",
        "overlap": rf"Splits must not overlap. In both: \['{second}'\].*small_test.csv.*small_train.csv",
        "twice": rf"must stand once in an index file.*{first} in lines 1 and 3.*small_train.csv",
    }
    write_splits(root, **splits[case])
    source = open_source(root)  # other uses of the tree do not need its split
    source.read(first)
    with pytest.raises(InvalidSourceError, match=rule[case]):
        _ = source.splits


def test_reader_names_a_file_without_permission(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    path.write_bytes(b"x")
    monkeypatch.setattr(rasters.os, "access", lambda *_: False)
    with pytest.raises(InvalidPatchError, match="no permission"):
        rasters.read_band("a", path, rasters.RASTERS["dem"])
