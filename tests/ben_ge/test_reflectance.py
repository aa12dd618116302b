"""The offset of digital numbers: what names, label files and dark pixels tell, and what records make of it."""

import numpy as np
import pytest
import tensorflow as tf

import eokeras as eo
from eokeras.ben_ge.reflectance import ProductOffset, describe, product_offset
from eokeras.ben_ge.source import open_source
from eokeras.errors import InvalidPatchError, InvalidSourceError
from tests import bigearthnet_trees

V1, V2 = "S2A_MSIL2A_20170613T101031", "S2A_MSIL2A_20170613T101031_{}_R022_T33UUP"
TILE = "S2A_MSIL1C_20170613T101031_{}_R022_T33UUP_20170613T101608.SAFE"
DARK, BRIGHT, MEADOW = np.full((3, 4, 4), 400), np.full((3, 4, 4), 6000), np.full((3, 4, 4), 1500)
MIXED = np.array([400] * 4 + [1500] * 6)


def found(product, visible=BRIGHT, tile=""):
    return product_offset(product, ["patch"], lambda patch_id: tile, lambda patch_id: visible)


@pytest.mark.parametrize(
    ("product", "visible", "tile", "offset", "is_told", "words"),
    [
        (V2.format("N0214"), BRIGHT, "", 0, True, "baseline N0214 in the name"),
        (V2.format("N0399"), BRIGHT, "", 0, True, "baseline N0399 in the name"),
        (V2.format("N0400"), BRIGHT, "", -1000, True, "baseline N0400 in the name"),
        (V2.format("N0510"), MIXED, "", -1000, True, "baseline N0510 in the name"),
        (V2.format("N0510"), DARK, "", 0, True, "100% of the visible pixels of a patch lie below 1000, so the offset"),
        (V2.format("N9999"), DARK, "", 0, True, "100% of the visible"),
        (V2.format("N9999"), BRIGHT, "", 0, False, "nothing tells it (0% of the visible"),
        (V1, BRIGHT, TILE.format("N0205"), 0, True, "baseline N0205 of the Level-1C product in the label file"),
        (V1, BRIGHT, TILE.format("N0500"), -1000, True, "baseline N0500 of the Level-1C product"),
        (V1, BRIGHT, "", 0, True, "a name of BigEarthNet v1"),
        ("S2A_MSIL2A_20220613T101031", BRIGHT, "", 0, False, "nothing tells it"),
        (V1, np.zeros((0, 4, 4)), "", 0, True, "a name of BigEarthNet v1"),  # no visible band is read
    ],
)
def test_what_tells_the_offset(product, visible, tile, offset, is_told, words):
    result = found(product, visible, tile)
    assert (result.offset, result.is_told) == (offset, is_told)
    assert words in result.evidence


def test_no_data_counts_for_nothing():
    half_missing = np.array([0, 0, 0, 0, 6000, 6000])
    assert not found(V2.format("N9999"), half_missing).is_told


def test_numbers_that_look_like_an_offset_are_doubtful():
    assert found(V1, MEADOW).floor == 1500
    assert found(V1, BRIGHT).floor is None  # snow or cloud
    assert found(V1, MIXED).floor is None
    assert found(V2.format("N0400"), MEADOW).floor is None  # as it should be
    (note,) = describe({V1: found(V1, MEADOW)}, ["B04"])["notes"]
    assert "1 of 1 Sentinel-2 products begin above 1000" in note
    assert V1 in note
    assert "1500" in note


def test_other_patches_are_asked_where_one_is_bad():
    def read(patch_id):
        if patch_id == "bad":
            raise InvalidPatchError("bad", "bad.tif", "Why.")
        return {"bright": BRIGHT, "dark": DARK, "fourth": DARK}[patch_id]

    def no_label_file(patch_id):
        raise InvalidPatchError(patch_id, "labels.json", "Why.")

    product = V2.format("N9999")
    assert product_offset(product, ["bad", "bright", "dark"], no_label_file, read).is_told
    assert not product_offset(
        product, ["bad", "bright", "bright", "fourth"], no_label_file, read
    ).is_told  # three looks
    assert not product_offset(product, ["bad"], no_label_file, read).is_told


def test_products_follow_each_other_and_may_not_differ():
    shifted, plain = ProductOffset(-1000, "N0400"), ProductOffset(0, "N0205")
    untold = ProductOffset(0, "nothing", is_told=False)
    described = describe({"a": shifted, "b": untold}, ["B04", "VV", "elevation"])
    assert described["reflectance"] == {"B04": {"scale": 1e-4, "offset": -0.1}}
    assert described["products"]["b"] == {"offset": -1000, "evidence": "nothing"}
    (note,) = described["notes"]
    assert "1 of 2 Sentinel-2 products could not be told and was taken as -1000 (such as b)" in note
    with pytest.raises(InvalidSourceError, match=r"must have one offset.*a -1000 \(N0400\); c 0 \(N0205\)"):
        describe({"a": shifted, "b": untold, "c": plain}, ["B04"])
    assert describe({}, ["VV"]) == {"reflectance": {}, "products": {}, "notes": []}


def test_records_with_an_offset(tmp_path):
    expected = bigearthnet_trees.write_v2(tmp_path / "reBEN", 2, baseline="N0500")
    source = open_source(tmp_path / "reBEN", modalities=("sentinel_2",), bands={"s2": ("B04", "B03", "B02")})
    records = eo.ben_ge.convert(source, tmp_path / "records")
    schema = eo.load_schema(records)
    assert schema.reflectance["B04"] == {"scale": 1e-4, "offset": pytest.approx(-0.1)}
    assert {found["offset"] for found in schema.metadata["digital_numbers"].values()} == {-1000}

    options = {"inputs": ("s2",), "metadata": ("patch_id",), "bands": {"s2": ("B04", "B03", "B02")}}
    (batch,) = eo.make_dataset(records, "train", calibrate="tutorial", **options)
    for index, patch_id in enumerate(batch[2]["patch_id"].numpy().astype(str)):
        red = expected[patch_id]["s2_10m"][..., 2].astype("float64")
        reflectance = (red - 1000) / 10_000
        np.testing.assert_allclose(batch[0]["s2"][index, ..., 0], np.clip(reflectance, 0, 1), atol=1e-6)
        stored = expected[patch_id]["s2_10m"][..., [2, 1, 0]]
        picture = eo.plot.true_colour(stored, ("B04", "B03", "B02"), schema.reflectance)[..., 0]
        np.testing.assert_allclose(picture, np.clip(reflectance / 0.3, 0, 1) ** 0.7, atol=1e-6)


def test_jitter_counts_reflectance_from_the_offset():
    batch = {"s2_10m": tf.fill((1, 2, 2, 3), tf.constant(3000, tf.uint16))}
    gain = eo.augment.reflectance_jitter(gain=0.2, offset=0, reflectance={"B04": {"scale": 1e-4, "offset": -0.1}})
    plain = eo.augment.reflectance_jitter(gain=0.2, offset=0)
    seed = tf.constant([0, 1])
    change = [int(jitter(batch, seed)["s2_10m"][0, 0, 0, 0]) - 3000 for jitter in (gain, plain)]
    # Reflectance 0.2 of numbers that begin at 1000, 0.3 of plain ones: the same gain changes two thirds.
    assert change[0] != 0
    assert change[0] == pytest.approx(change[1] * 2 / 3, abs=1)


def test_where_one_offset_was_taken_away_a_bright_scene_of_that_baseline_follows():
    dark, bright = found(V2.format("N0510"), DARK), found(V2.format("N0510"), BRIGHT)
    assert (dark.offset, dark.is_taken_away, bright.offset) == (0, True, -1000)
    stated = describe({"dark": dark, "bright": bright}, ["B04"])
    assert stated["reflectance"]["B04"] == {"scale": 1e-4, "offset": 0}
    assert {name: product["offset"] for name, product in stated["products"].items()} == {"dark": 0, "bright": 0}
    assert "of 1 of 2 Sentinel-2 products could not be told and was taken as 0 (such as bright)" in stated["notes"][0]


def test_mixed_products_are_refused_before_anything_is_written(tmp_path):
    bigearthnet_trees.write_v2(tmp_path / "reBEN", 2)
    source = open_source(tmp_path / "reBEN", modalities=("sentinel_2",))
    first, second = sorted(source.digital_numbers)
    source.digital_numbers.update({first: ProductOffset(0, "dark"), second: ProductOffset(-1000, "N0500")})
    with pytest.raises(InvalidSourceError, match="must have one offset of digital numbers: convert them apart"):
        eo.ben_ge.convert(source, tmp_path / "records")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reBEN"]
