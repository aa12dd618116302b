"""`make_dataset` against independent readings: NumPy on known values, rasterio on real pixels."""

import csv
import json
import shutil
import warnings

import keras
import numpy as np
import pytest
import rasterio
import tensorflow as tf
from rasterio.enums import Resampling

import eokeras as eo
from eokeras import programs
from eokeras.ben_ge.corine import corine_to_19
from eokeras.ben_ge.schema import VOID
from eokeras.errors import InvalidArgumentError, RecordsError
from tests.trees import rewrite_geotiff, set_field, write_tree

ALL_INPUTS = ("s2", "s1", "dem", "era5", "lonlat")
S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
WORLDCOVER_CODES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100)
CLIMATE_CODES = (0, 7, 8, 9, 14, 15, 16, 18, 25, 26, 27, 29)
LAND_COVER_COLUMNS = [entry.column for entry in eo.ben_ge.schema.LAND_COVER]
ERA5 = ("temperature", "wind-u", "wind-v", "relhumidity")


@pytest.fixture(params=["plain", "compiled"])
def program(request, monkeypatch):
    """Pixels are worked on operation by operation, as in few patches, and by compiled programs, as in many."""
    monkeypatch.setattr("eokeras.pipeline._WORTH_COMPILING", 0 if request.param == "compiled" else 10**9)


in_both_programs = pytest.mark.usefixtures("program")


def dataset(records, split="train", inputs=ALL_INPUTS, targets=(), **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shortcuts are meant here
        return eo.make_dataset(records, split, inputs, targets, **options)


def by_patch(data):
    """patch id -> one dict of everything about it."""
    patches = {}
    for parts in data.as_numpy_iterator():
        merged = {key: value for part in parts for key, value in part.items()}
        for index, patch_id in enumerate(merged["patch_id"]):
            patches[patch_id.decode()] = {key: value[index] for key, value in merged.items()}
    return patches


def every_patch(records, **options):
    schema = eo.load_schema(records)
    options = {"metadata": ("patch_id",)} | options
    merged = {}
    for split in schema.splits:
        merged |= by_patch(dataset(records, split, **options))
    return merged


# ---- the tutorial's preprocessing, transcribed with rasterio and NumPy ---------------------------------------------


def read_tif(path, **options):
    with rasterio.open(path) as file:
        return file.read(1, **options)


def tutorial_patch(tree, patch_id, patch_id_s1):
    """What the tutorial feeds to its networks: bands on the 10 m grid in [0, 1]; VH, VV in [0, 1]."""
    on_grid = {"out_shape": (120, 120), "resampling": Resampling.bilinear}
    folder = tree / "sentinel-2" / patch_id
    s2 = np.stack([read_tif(folder / f"{patch_id}_{band}.tif", **on_grid) for band in S2_BANDS], axis=-1)
    folder = tree / "sentinel-1" / patch_id_s1
    s1 = np.stack([read_tif(folder / f"{patch_id_s1}_{channel}.tif") for channel in ("VH", "VV")], axis=-1)
    return {"s2": np.clip(s2 / 10_000, 0, 1), "s1": (np.clip(s1, -25, 0) + 25) / 25}


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return {row["patch_id"]: row for row in csv.DictReader(file)}


@in_both_programs
@pytest.mark.parametrize("name", ["ben-ge-mini", "bigearthnet-mini"])
def test_equals_the_tutorials_preprocessing_on_real_pixels(real_data, tmp_path, name):
    tree = real_data / name
    records = eo.ben_ge.convert(tree, tmp_path / "records")
    whole = name == "ben-ge-mini"  # the other has no elevation, land cover or weather
    inputs = ALL_INPUTS if whole else ("s2", "s1", "lonlat")
    targets = ("climate_zone", "season", *(("land_cover_map", "land_cover", "geocluster") if whole else ("labels",)))
    options = {"inputs": inputs, "targets": targets, "metadata": ("patch_id", "patch_id_s1", "timestamp_s2")}
    patches = every_patch(records, calibrate="tutorial", bands={"s1": ("VH", "VV")}, **options)
    stored = every_patch(records, calibrate=None, **options)
    meta = read_rows(tree / f"{name}_meta.csv")
    assert set(patches) == set(meta)
    for patch_id, row in meta.items():
        expected = tutorial_patch(tree, patch_id, row["patch_id_s1"])
        for key, image in expected.items():
            np.testing.assert_allclose(patches[patch_id][key], image, atol=1e-4, rtol=0)
        assert patches[patch_id]["climate_zone"] == CLIMATE_CODES.index(int(row["climatezone"]))
        assert patches[patch_id]["season"] == np.float32(row["season_s2"])
        assert patches[patch_id]["timestamp_s2"].decode() == row["timestamp_s2"]
        np.testing.assert_array_equal(stored[patch_id]["lonlat"], np.float32([row["lon"], row["lat"]]))
        if whole:
            check_map_and_tables(tree, patch_id, stored[patch_id])
        else:
            content = json.loads(
                (tree / "sentinel-2" / patch_id / f"{patch_id}_labels_metadata.json").read_text("utf-8")
            )
            expected_ids = set(corine_to_19(content["labels"]))
            assert set(np.flatnonzero(patches[patch_id]["labels"])) == expected_ids


def check_map_and_tables(tree, patch_id, patch):
    codes = read_tif(tree / "esaworldcover" / f"{patch_id}_esaworldcover.tif")
    expected = np.select([codes == code for code in WORLDCOVER_CODES], range(11), default=VOID)
    np.testing.assert_array_equal(patch["land_cover_map"], expected)
    np.testing.assert_array_equal(patch["dem"][..., 0], read_tif(tree / "dem" / f"{patch_id}_dem.tif"))
    weather = read_rows(tree / f"{tree.name}_era-5.csv")[patch_id]
    expected = np.float32([weather[f"{name}_{sensor}"] for name in ERA5 for sensor in ("s2", "s1")])
    np.testing.assert_array_equal(patch["era5"], expected)
    fractions = list(read_rows(tree / f"{tree.name}_esaworldcover.csv")[patch_id].values())[1:]
    assert patch["land_cover"] == np.argmax(np.float64(fractions))
    clusters = read_rows(tree / f"{tree.name}_geoclusters_k20.csv")
    assert patch["geocluster"] == int(clusters[patch_id]["cluster_idx"])


# ---- known values --------------------------------------------------------------------------------------------------


@in_both_programs
def test_stored_numbers_come_back_exactly(known_records):
    targets = ("climate_zone", "land_cover_map", "land_cover_fractions", "season", "geocluster", "labels")
    patches = every_patch(
        known_records.path, inputs=ALL_INPUTS, targets=targets, calibrate=None, resolution="stored",
        metadata=("patch_id", "tile", "date", "cell", "epsg", "upper_left"),
    )  # fmt: skip
    assert set(patches) == set(known_records.features)
    for patch_id, features in known_records.features.items():
        found = patches[patch_id]
        for name in ("s2_10m", "s2_20m", "s2_60m", "s1", "dem", "era5", "lonlat"):
            stored_dtype = "uint16" if name.startswith("s2") else "int16" if name == "dem" else "float32"
            assert found[name].dtype == stored_dtype
            np.testing.assert_array_equal(found[name], np.float32(features[name]), err_msg=name)
        assert found["climate_zone"] == CLIMATE_CODES.index(features["climate_zone"])
        codes = features["land_cover_map"]
        expected = np.select([codes == code for code in WORLDCOVER_CODES], range(11), default=VOID)
        np.testing.assert_array_equal(found["land_cover_map"], expected)
        assert (found["land_cover_map"] == VOID).any()
        np.testing.assert_array_equal(found["labels"], features["labels"])
        np.testing.assert_array_equal(found["upper_left"], features["upper_left"])
        assert (found["tile"].decode(), found["date"].decode()) == (features["tile"], features["date"])
        assert tuple(found["cell"]) == tuple(features["cell"])
        assert found["epsg"] == features["epsg"]


@in_both_programs
def test_standardised_by_the_training_patches_alone(known_records):
    schema = eo.load_schema(known_records.path)
    train_ids = by_patch(dataset(known_records.path, metadata=("patch_id",)))
    stack = np.stack([known_records.features[patch_id]["s2_20m"] for patch_id in train_ids]).astype("float64")
    band = 3  # B8A
    place = S2_BANDS.index("B8A")
    assert schema.statistics["s2"]["mean"][place] == pytest.approx(stack[..., band].mean(), rel=1e-9)
    assert schema.statistics["s2"]["std"][place] == pytest.approx(stack[..., band].std(), rel=1e-9)
    data = dataset(known_records.path, inputs=("s2",), resolution="stored", metadata=("patch_id",))
    standardised = np.stack([patch["s2_20m"] for patch in by_patch(data).values()])
    np.testing.assert_allclose(standardised.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(standardised.std((0, 1, 2)), 1, atol=1e-4)


@in_both_programs
def test_bands_by_name_in_the_order_asked_for(known_records):
    chosen = ("B12", "B04", "B01")
    canonical = every_patch(known_records.path, inputs=("s2", "s1"))
    picked = every_patch(known_records.path, inputs=("s2", "s1"), bands={"s2": chosen, "s1": ("VH", "VV")})
    for patch_id, patch in picked.items():
        expected = canonical[patch_id]["s2"][..., [S2_BANDS.index(band) for band in chosen]]
        np.testing.assert_allclose(patch["s2"], expected, atol=1e-6)
        np.testing.assert_array_equal(patch["s1"], canonical[patch_id]["s1"][..., ::-1])


@in_both_programs
def test_resampling_is_gdals_bilinear_to_one_digital_number(known_records):
    patches = every_patch(known_records.path, inputs=("s2",), calibrate=None)
    for patch_id in list(patches)[:3]:
        for band in ("B05", "B01"):
            path = known_records.tree / "sentinel-2" / patch_id / f"{patch_id}_{band}.tif"
            by_gdal = read_tif(path, out_shape=(120, 120), resampling=Resampling.bilinear).astype("float64")
            difference = patches[patch_id]["s2"][..., S2_BANDS.index(band)] - by_gdal
            assert np.abs(difference).max() <= 1.0


@in_both_programs
def test_missing_backscatter_is_replaced_and_masked(known_records):
    low, middle, high = 0.0, 0.5, 1.0
    patches = every_patch(known_records.path, inputs=("s1",), calibrate="tutorial", masks=True)
    for patch in patches.values():
        assert np.isfinite(patch["s1"]).all()
        assert patch["s1"][0, 0, 0] == middle  # NaN
        assert (patch["s1"][1, 1:3, 0] == low).all()  # -inf: zero power
        assert patch["s1"][2, 2, 1] == high  # +inf
        assert patch["s1_mask"].sum() == 120 * 120 * 2 - 4
        assert patch["s1_mask"][0, 0].tolist() == [0.0, 1.0]


def test_missing_numbers_are_counted_in_the_statistics(known_records):
    statistics = eo.load_schema(known_records.path).statistics["s1"]
    assert statistics["nan"] == [6, 0]  # one in VV of each of the six training patches
    assert statistics["negative_infinity"] == [12, 0]
    assert statistics["positive_infinity"] == [0, 6]


# ---- order ---------------------------------------------------------------------------------------------------------


def order(data):
    return [patch_id for *_, metadata in data.as_numpy_iterator() for patch_id in metadata["patch_id"]]


@pytest.mark.parametrize("cache", [None, "memory", "file"])
def test_shuffle_is_repeatable_and_new_every_epoch(known_records, tmp_path, cache):
    def make(seed):
        place = str(tmp_path / f"cache{seed}{len(list(tmp_path.iterdir()))}") if cache == "file" else cache
        return dataset(
            known_records.path,
            inputs=("dem",),
            shuffle=True,
            seed=seed,
            cache=place,
            metadata=("patch_id",),
            batch_size=2,
        )

    first = make(1)
    epochs = [order(first) for _ in range(4)]
    again = make(1)
    assert [order(again) for _ in range(4)] == epochs
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert {frozenset(epoch) for epoch in epochs} == {frozenset(epochs[0])}
    other = make(2)
    assert [order(other) for _ in range(4)] != epochs


def test_a_cache_file_serves_its_own_split_only(known_records, tmp_path):
    place = str(tmp_path / "cache")
    ids = {
        split: set(order(dataset(known_records.path, split, ("dem",), cache=place, metadata=("patch_id",))))
        for split in ("train", "test")
    }
    assert ids["train"].isdisjoint(ids["test"])
    assert len(ids["test"]) == 3


@in_both_programs
def test_patches_without_land_cover_have_no_label(tmp_path):
    patch_id = next(iter(write_tree(tmp_path / "tree", 3)))
    path = tmp_path / "tree" / "esaworldcover" / f"{patch_id}_esaworldcover.tif"
    rewrite_geotiff(path, values=np.zeros((120, 120), "uint8"))
    for column in LAND_COVER_COLUMNS:
        set_field(tmp_path / "tree" / "tree_esaworldcover.csv", patch_id, column, 0)
    records = eo.ben_ge.convert(tmp_path / "tree", tmp_path / "records")
    targets = ("land_cover", "land_cover_fractions", "land_cover_map")
    patches = by_patch(dataset(records, inputs=("dem",), targets=targets, metadata=("patch_id",)))
    assert patches[patch_id]["land_cover"] == VOID
    assert np.isnan(patches[patch_id]["land_cover_fractions"]).all()
    assert (patches[patch_id]["land_cover_map"] == VOID).all()
    assert sum(patch["land_cover"] == VOID for patch in patches.values()) == 1
    assert eo.load_schema(records).statistics["land_cover"]["void"] == 1


def test_every_epoch_of_a_repeated_set_holds_every_patch_once(known_records):
    data = dataset(
        known_records.path, inputs=("dem",), shuffle=True, seed=3, repeat=True, metadata=("patch_id",), batch_size=3
    ).take(6)
    ids = order(data)
    assert len(set(ids[:6])) == len(set(ids[6:12])) == 6


def test_augmentation_moves_inputs_and_maps_together(known_records):
    data = dataset(
        known_records.path, inputs=("s2", "s1", "dem"), targets=("land_cover_map",), metadata=("patch_id",),
        calibrate=None, resolution="stored", augment=eo.augment.dihedral(), seed=5,
    )  # fmt: skip
    moved = 0
    for patch_id, patch in by_patch(data).items():
        features = known_records.features[patch_id]
        original = np.select([features["land_cover_map"] == code for code in WORLDCOVER_CODES], range(11), default=VOID)
        moves = [lambda x, k=k, t=t: np.rot90(x.swapaxes(0, 1) if t else x, k) for k in range(4) for t in (0, 1)]
        (match,) = [
            index for index, move in enumerate(moves) if np.array_equal(move(original), patch["land_cover_map"])
        ]
        for name in ("s2_10m", "s2_20m", "s2_60m", "s1", "dem"):
            np.testing.assert_array_equal(patch[name], np.float32(moves[match](features[name])), err_msg=name)
        moved += match != 0
    assert moved > 0


@in_both_programs
def test_a_crop_is_a_window_of_the_patch_on_the_10_m_grid(known_records):
    names = {"inputs": ("s2", "s1"), "targets": ("land_cover_map",), "metadata": ("patch_id",), "calibrate": None}
    whole = every_patch(known_records.path, **names)
    for patch_id, crop in every_patch(known_records.path, **names, augment=eo.augment.random_crop(48), seed=4).items():
        assert {name: crop[name].shape[:2] for name in ("s2", "s1", "land_cover_map")} == {
            "s2": (48, 48), "s1": (48, 48), "land_cover_map": (48, 48)
        }  # fmt: skip
        patch = whole[patch_id]
        (corner,) = [
            (row, column)
            for row in range(0, 73, 6)
            for column in range(0, 73, 6)
            if np.array_equal(patch["s1"][row : row + 48, column : column + 48], crop["s1"], equal_nan=True)
        ]
        window = np.s_[corner[0] : corner[0] + 48, corner[1] : corner[1] + 48]
        np.testing.assert_array_equal(crop["land_cover_map"], patch["land_cover_map"][window])
        # Up to half a 60 m pixel from its border the crop cannot know the neighbours that the patch has.
        inner = np.s_[3:-3, 3:-3]
        np.testing.assert_allclose(crop["s2"][inner], patch["s2"][window][inner], rtol=1e-4)


def test_augmentation_is_seeded_and_new_every_epoch(known_records):
    def epochs(seed):
        data = dataset(known_records.path, inputs=("dem",), augment=eo.augment.dihedral(), seed=seed)
        return [np.concatenate([inputs["dem"] for inputs, _ in data.as_numpy_iterator()]) for _ in range(3)]

    first, again = epochs(1), epochs(1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])


# ---- epochs --------------------------------------------------------------------------------------------------------


def seen(data):
    """Ids and heights of every batch of an iteration."""
    return [
        (metadata["patch_id"].tolist(), inputs["dem"].tobytes()) for inputs, _, metadata in data.as_numpy_iterator()
    ]


@pytest.mark.parametrize("cache", [None, "memory"])
def test_a_run_that_goes_on_sees_what_an_unbroken_one_would(known_records, cache):
    options = {"shuffle": True, "augment": eo.augment.dihedral(), "seed": 3, "cache": cache, "batch_size": 2}

    def make(**more):
        return dataset(known_records.path, inputs=("dem",), metadata=("patch_id",), **options, **more)

    unbroken = make()
    epochs = [seen(unbroken) for _ in range(5)]
    assert len({str(epoch) for epoch in epochs}) == 5
    keras.utils.set_random_seed(99)  # of another process, say
    later = make(first_epoch=3)
    assert [seen(later), seen(later)] == epochs[3:]
    assert len(later) == 3
    # Endless epochs are the same ones; their batches may reach over the end of an epoch, here they do not.
    assert seen(make(repeat=True).take(15)) == [batch for epoch in epochs for batch in epoch]
    assert make(repeat=True).cardinality() == tf.data.INFINITE_CARDINALITY


def test_an_unseeded_order_follows_the_global_seed(known_records):
    def first():
        keras.utils.set_random_seed(4)
        return seen(dataset(known_records.path, inputs=("dem",), metadata=("patch_id",), shuffle=True, batch_size=1))

    assert first() == first()
    orders = {
        str(seen(dataset(known_records.path, inputs=("dem",), metadata=("patch_id",), shuffle=True, batch_size=1)))
        for _ in range(4)
    }
    assert len(orders) > 1


def test_a_cache_in_memory_is_shuffled_as_a_whole(known_records, monkeypatch):
    monkeypatch.setattr("eokeras.serialised._SHUFFLE_BUFFER", 2)
    options = {"inputs": ("era5",), "metadata": ("patch_id",), "cache": "memory"}
    stored = order(dataset(known_records.path, **options))
    data = dataset(known_records.path, shuffle=True, seed=0, **options)
    firsts = {stored.index(order(data)[0]) for _ in range(12)}
    assert max(firsts) >= 2  # a buffer of two begins with one of the first two


def test_epochs_are_counted_outside_of_any_strategy(known_records):
    def refused(*_, **__):
        raise AssertionError("within a strategy's scope a variable would be of its devices")

    with tf.variable_creator_scope(refused):
        data = dataset(known_records.path, inputs=("era5",), metadata=("patch_id",), shuffle=True, seed=0)
    unbroken = dataset(known_records.path, inputs=("era5",), metadata=("patch_id",), shuffle=True, seed=0)
    assert [order(data) for _ in range(3)] == [order(unbroken) for _ in range(3)]


def test_a_cache_in_memory_reads_the_records_once(known_records, tmp_path):
    records = tmp_path / "records"
    shutil.copytree(known_records.path, records)
    data = dataset(records, inputs=("dem",), metadata=("patch_id",), shuffle=True, seed=0, cache="memory")
    first = seen(data)
    for shard in records.glob("*train.tfrecord*"):
        shard.unlink()
    assert sorted(seen(data)[0][0]) == sorted(first[0][0])  # from memory


# ---- form ----------------------------------------------------------------------------------------------------------


def test_names_shapes_and_dtypes(known_records):
    targets = ("climate_zone", "land_cover", "land_cover_map", "season", "labels")
    data = dataset(known_records.path, inputs=ALL_INPUTS, targets=targets)
    inputs, outputs = data.element_spec
    assert {name: (tuple(spec.shape), spec.dtype) for name, spec in inputs.items()} == {
        "s2": ((None, 120, 120, 12), tf.float32),
        "s1": ((None, 120, 120, 2), tf.float32),
        "dem": ((None, 120, 120, 1), tf.float32),
        "era5": ((None, 8), tf.float32),
        "lonlat": ((None, 2), tf.float32),
    }
    assert {name: (tuple(spec.shape), spec.dtype) for name, spec in outputs.items()} == {
        "climate_zone": ((None,), tf.int32),
        "land_cover": ((None,), tf.int32),
        "land_cover_map": ((None, 120, 120), tf.int32),
        "season": ((None,), tf.float32),
        "labels": ((None, 19), tf.float32),
    }


def test_presence_is_one_per_patch_and_modality(known_records):
    options = {"inputs": ("s1", "s2", "era5"), "batch_size": 4, "presence": True, "masks": True}
    batches = [inputs for inputs, _ in dataset(known_records.path, **options)]
    assert list(batches[0]) == ["s1", "s2", "era5", "s1_mask", "s1_present", "s2_present", "era5_present"]
    for name in ("s1_present", "s2_present", "era5_present"):
        assert batches[0][name].dtype == tf.float32
        assert [batch[name].numpy().tolist() for batch in batches] == [[[1.0]] * 4, [[1.0]] * 2]
    without = next(iter(dataset(known_records.path, **{**options, "presence": False})))[0]
    np.testing.assert_array_equal(batches[0]["s2"], without["s2"])


def test_stored_groups_share_one_presence(known_records):
    options = {"inputs": ("s2", "s1"), "resolution": "stored", "presence": True}
    spec = dataset(known_records.path, bands={"s2": ("B11", "B01")}, **options).element_spec[0]
    assert list(spec) == ["s2_20m", "s2_60m", "s1", "s2_present", "s1_present"]
    assert tuple(spec["s2_present"].shape) == (None, 1)
    again = dataset(known_records.path, **options).recipe(metadata=("patch_id",))
    assert "s2_present" in again.element_spec[0]


def test_augmentation_leaves_presence_alone(known_records):
    data = dataset(known_records.path, inputs=("dem",), presence=True, augment=eo.augment.dihedral(), seed=1)
    assert all((inputs["dem_present"].numpy() == 1).all() for inputs, _ in data)


def test_last_batch_is_kept_unless_dropped(known_records):
    sizes = [len(inputs["dem"]) for inputs, _ in dataset(known_records.path, inputs=("dem",), batch_size=4)]
    assert sizes == [4, 2]
    dropped = dataset(known_records.path, inputs=("dem",), batch_size=4, drop_remainder=True)
    assert [len(inputs["dem"]) for inputs, _ in dropped] == [4]
    assert int(dropped.cardinality()) == 1


def test_where_tensorflow_has_no_compiler_nothing_is_compiled(known_records, monkeypatch):
    monkeypatch.setattr("eokeras.pipeline._WORTH_COMPILING", 0)
    function, asked = tf.function, []

    def without_compiler(python_function, jit_compile=None, **options):
        asked.append(jit_compile)

        def call(*arguments):
            raise tf.errors.UnimplementedError(None, None, "XLA_CPU_JIT is not linked in")

        return call if jit_compile else function(python_function, **options)

    programs._can_compile.cache_clear()
    monkeypatch.setattr(tf, "function", without_compiler)
    try:
        inputs, _ = next(iter(dataset(known_records.path, inputs=("s2",))))
    finally:
        programs._can_compile.cache_clear()
    assert inputs["s2"].shape[1:] == (120, 120, 12)
    assert asked.count(True) == 1


def test_parts_are_equal_and_hold_every_patch_once(known_records):
    options = {"inputs": ("era5",), "metadata": ("patch_id",)}
    whole = order(dataset(known_records.path, **options))
    parts = [order(dataset(known_records.path, part=(index, 4), **options)) for index in range(4)]
    seen_by_all = [patch_id for part in parts for patch_id in part]
    assert sorted(seen_by_all) == sorted(whole)
    assert len(set(seen_by_all)) == len(whole)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    few = [
        order(dataset(known_records.path, targets=("season",), part=(index, 2), label_fraction=0.5, **options))
        for index in range(2)
    ]
    budget = order(dataset(known_records.path, targets=("season",), label_fraction=0.5, **options))
    assert sorted(few[0] + few[1]) == sorted(budget)
    with pytest.raises(InvalidArgumentError, match=r"part=\(0, 1000\), and \d+ patches"):
        dataset(known_records.path, part=(0, 1000), **options)


@pytest.mark.parametrize(
    "options", [{}, {"shuffle": True, "repeat": True}, {"cache": "memory"}, {"label_fraction": 0.5}]
)
def test_ending_an_epoch_waits_for_no_tuner(known_records, options):
    data = dataset(known_records.path, targets=("season",), **options)
    for handed_out in (data, data.map(lambda *parts: parts), data.take(2)):
        assert handed_out.options().autotune.enabled is False


def test_recipe_makes_the_same_set_with_other_keywords(known_records):
    data = dataset(known_records.path, inputs=("dem",), shuffle=True, seed=1)
    again = data.recipe(shuffle=False, metadata=("patch_id",), inputs=("s1",))
    assert list(again.element_spec[0]) == ["s1"]
    assert len(order(again)) == 6


def test_season_as_input_is_the_stored_number(known_records):
    patches = every_patch(known_records.path, inputs=("season_input",), calibrate="tutorial")
    for patch_id, patch in patches.items():
        assert patch["season_input"].tolist() == [np.float32(known_records.features[patch_id]["season"])]


# ---- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"split": "valid"}, r"`split` must be one of \['train', 'val', 'test'\].*'valid'"),
        ({"inputs": ("s3",)}, r"`inputs` may hold \['s2', 's1', 'dem', .*Received: 's3'"),
        ({"inputs": "s2"}, "must be a sequence of names, not one string"),
        ({"inputs": ()}, "at least one input"),
        ({"targets": ("landcover",)}, r"`targets` may hold .*'land_cover_map'.*Received: 'landcover'"),
        ({"metadata": ("id",)}, r"`metadata` may hold .*'patch_id'"),
        ({"bands": {"s2": ("B10",)}}, r"`bands\['s2'\]` may hold \['B01', .*Received: 'B10'"),
        ({"bands": {"s2": ("B02", "B02")}}, "once each"),
        ({"bands": {"s2": ()}}, "once each"),
        ({"bands": {"s1": ("VV",)}, "inputs": ("s2",)}, r"`bands` may hold"),
        ({"first_epoch": -1}, "`first_epoch` must be 0 or a positive integer. Received: first_epoch=-1"),
        ({"part": (4, 4)}, r"`part` must be \(index, count\) with 0 <= index < count.* Received: part=\(4, 4\)"),
        ({"part": 2}, "`part` must be"),
        ({"part": (0, 2), "dates": 2}, "None with `dates`"),
        ({"cache": "disk"}, '`cache` must be None, "memory" or a path'),
        ({"batch_size": 0}, "`batch_size` must be a positive integer. Received: batch_size=0"),
        ({"batch_size": -4}, "positive integer"),
        ({"batch_size": 2.5}, "positive integer"),
        ({"batch_size": "8"}, "positive integer"),
        ({"batch_size": True}, "positive integer"),
        ({"calibrate": "minmax"}, r"`calibrate` must be one of \['standardise', 'tutorial'\]"),
        ({"resolution": "20m"}, r"`resolution` must be one of \['10m', 'stored'\]"),
        ({"cache": 3}, "`cache`"),
        (
            {"inputs": ("s2", "season_input"), "targets": ("season",)},
            "target. Received: input season_input, target season",
        ),
        ({"inputs": ("s2", "dem"), "targets": ("season", "elevation")}, "Received: input dem, target elevation"),
    ],
)
def test_bad_arguments_name_the_rule(known_records, arguments, words):
    with pytest.raises((InvalidArgumentError, RecordsError), match=words):
        dataset(known_records.path, **arguments)


def test_records_without_a_modality_say_what_they_have(tmp_path):
    write_tree(tmp_path / "tree", 3, without=("dem", "sentinel_1"))
    records = eo.ben_ge.convert(tmp_path / "tree", tmp_path / "records")
    with pytest.raises(RecordsError, match=r"lacks what 's1' is made from.*\['s2', 'era5', 'lonlat'"):
        eo.make_dataset(records, "train", ("s2", "s1"))
    assert "dem" not in eo.load_schema(records)


def test_no_records_here(tmp_path):
    with pytest.raises(RecordsError, match=r"dataset_info.json.*data_prep/convert.py"):
        eo.make_dataset(tmp_path, "train", ("s2",))


def test_missing_shard(known_records, tmp_path):
    import shutil

    copy = shutil.copytree(known_records.path, tmp_path / "records")
    next(copy.glob("*-val.tfrecord*")).unlink()
    with pytest.raises(RecordsError, match=r"lacks its shard ben_ge-val\.tfrecord"):
        eo.make_dataset(copy, "val", ("s2",))


def test_shortcuts_are_warned_about(known_records):
    with pytest.warns(UserWarning, match="shortcut to target 'geocluster'"):
        eo.make_dataset(known_records.path, "train", ("lonlat",), ("geocluster",))
