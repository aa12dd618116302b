"""What `inspect` counts, against faults planted in a small tree and counted by hand with NumPy."""

import datetime
import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from eokeras import ben_ge
from eokeras.ben_ge.inspection.judgement import judge
from eokeras.ben_ge.statistics import Histogram
from tests import trees

S2_BANDS = {
    "s2_10m": ("B02", "B03", "B04", "B08"),
    "s2_20m": ("B05", "B06", "B07", "B8A", "B11", "B12"),
    "s2_60m": ("B01", "B09"),
}


def overwrite(tree, features, raster, values):
    """Puts other numbers into the files of a raster, and into what is known of the patch."""
    features[raster] = values
    for files in trees.raster_files(tree, features).values():
        for path, name, channel in files:
            if name == raster:
                trees.rewrite_geotiff(path, values=values[..., channel])


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Twelve patches with planted faults: their features, sides, the patches by role, and what `inspect` gave."""
    root = tmp_path_factory.mktemp("faulty")
    known = trees.write_tree(root / "tree", 12, labels=True, splits=True, no_data=True, non_finite=True)
    ids = sorted(known)
    sides = {i: ("train", "train", "val", "test")[place % 4] for place, i in enumerate(ids)}
    first, second, third = ids[0], ids[1], ids[4]  # of train
    val, other_val, test, other_test = ids[2], ids[6], ids[3], ids[7]
    for features in known.values():
        overwrite(
            root / "tree",
            features,
            "s2_60m",
            np.stack([features["s2_60m"][..., 0], np.full((20, 20), 777, "uint16")], -1),
        )
    for raster in S2_BANDS:  # a copy of a training patch in test
        overwrite(root / "tree", known[test], raster, known[first][raster])
    noise = np.random.default_rng(1).integers(-5, 6, (120, 120, 4))  # one that looks like a training patch in val
    alike = np.clip(known[second]["s2_10m"].astype(int) + noise, 0, 65534).astype("uint16")
    overwrite(root / "tree", known[val], "s2_10m", alike)
    bright = known[third]["s2_10m"].copy()
    bright[:2, :, 2], bright[5, :3, 0] = 65535, 32767
    overwrite(root / "tree", known[third], "s2_10m", bright)
    dark = known[other_val]["s2_10m"].copy()
    dark[:60, :, 3] = 0
    overwrite(root / "tree", known[other_val], "s2_10m", dark)
    empty = known[first]["s1"].copy()
    empty[..., 0] = np.nan
    overwrite(root / "tree", known[first], "s1", empty)
    late = datetime.date.fromisoformat(known[other_test]["date"]) + datetime.timedelta(days=20)
    trees.set_field(root / "tree" / "tree_meta.csv", other_test, "timestamp_s1", f"{late} 16:45:43")
    records = ben_ge.convert(root / "tree", root / "records", split="official")
    seen = []
    found = ben_ge.inspect(records, progress=lambda *now: seen.append(now))
    assert seen == [(number, 12) for number in range(1, 13)]
    return SimpleNamespace(
        known=known, sides=sides, records=records, found=found, facts=found.facts, first=first, second=second, val=val,
        other_val=other_val, test=test, other_test=other_test,
    )  # fmt: skip


def of_side(faulty, side):
    return [features for patch_id, features in faulty.known.items() if faulty.sides[patch_id] == side]


def test_patches_seasons_tiles(faulty):
    season = {
        "2017-06-13": "summer",
        "2017-09-24": "autumn",
        "2017-12-21": "winter",
        "2018-02-03": "winter",
        "2018-04-29": "spring",
    }
    expected = {name: {"train": 0, "val": 0, "test": 0} for name in ("winter", "spring", "summer", "autumn")}
    tiles: dict[str, Counter] = {}
    for patch_id, features in faulty.known.items():
        expected[season[features["date"]]][faulty.sides[patch_id]] += 1
        tiles.setdefault(features["tile"], Counter())[faulty.sides[patch_id]] += 1
    assert faulty.facts["patches"] == {"train": 6, "val": 3, "test": 3}
    assert faulty.facts["seasons"] == expected
    assert faulty.facts["tiles"] == {
        tile: {side: counts[side] for side in expected["winter"]} for tile, counts in tiles.items()
    }
    for side in ("train", "val", "test"):
        patches = of_side(faulty, side)
        for name, field in (("tiles", "tile"), ("dates", "date")):
            assert faulty.facts["groups"][side][name] == len({features[field] for features in patches})


def test_pixels_without_a_sound_number(faulty):
    for side in ("train", "val", "test"):
        patches = of_side(faulty, side)
        for raster, bands in (*S2_BANDS.items(), ("s1", ("VV", "VH"))):
            for place, band in enumerate(bands):
                planes = [features[raster][..., place] for features in patches]
                found = faulty.facts["bands"][band]["splits"][side]["defects"]
                checks = {"zero": lambda plane: plane == 0}
                if raster == "s1":
                    checks |= {
                        "nan": np.isnan,
                        "-inf": lambda plane: plane == -np.inf,
                        "+inf": lambda plane: plane == np.inf,
                    }
                else:
                    checks["saturated"] = lambda plane: np.isin(plane, (32767, 65535))
                for kind, is_defect in checks.items():
                    counts = [int(is_defect(plane).sum()) for plane in planes]
                    assert found[kind]["pixels"] == sum(counts), (band, side, kind)
                    assert found[kind]["patches"] == sum(count > 0 for count in counts)
                    assert found[kind]["mostly"] == sum(count >= planes[0].size / 2 for count in counts)
                assert found["constant"]["patches"] == (len(patches) if band == "B09" else 0)
        codes = [features["land_cover_map"] for features in patches]
        found = faulty.facts["bands"]["land_cover_map"]["splits"][side]["defects"]["no class"]
        assert (found["pixels"], found["patches"]) == (sum(int((code == 0).sum()) for code in codes), len(patches))
    assert faulty.facts["bands"]["B04"]["splits"]["train"]["defects"]["saturated"] == {
        "pixels": 240,
        "patches": 1,
        "mostly": 0,
    }
    assert faulty.facts["bands"]["VV"]["splits"]["train"]["defects"]["nan"] == {
        "pixels": 14400 + 5,
        "patches": 6,
        "mostly": 1,
    }
    assert faulty.facts["bands"]["B08"]["splits"]["val"]["defects"]["zero"]["mostly"] == 1


def test_classes(faulty):
    for side in ("train", "val", "test"):
        patches = of_side(faulty, side)
        zones = [zone.code for zone in ben_ge.schema.CLIMATE_ZONES]
        expected = [sum(features["climate_zone"] == code for features in patches) for code in zones]
        assert faulty.facts["classes"]["climate_zone"]["counts"][side] == expected
        codes = [entry.code for entry in ben_ge.schema.LAND_COVER]
        expected = [sum(int((features["land_cover_map"] == code).sum()) for features in patches) for code in codes]
        assert faulty.facts["classes"]["land_cover_map"]["counts"][side] == expected
        assert faulty.facts["classes"]["land_cover_map"]["void"][side] == len(patches) * 3 * 120
        expected = np.sum([features["labels"] for features in patches], axis=0).tolist()
        assert faulty.facts["classes"]["labels"]["counts"][side] == expected


def test_histograms(faulty):
    for side in ("train", "val", "test"):
        numbers = np.concatenate([features["s2_10m"][..., 2].ravel() for features in of_side(faulty, side)])
        found = faulty.facts["bands"]["B04"]["splits"][side]["histogram"]
        edges = np.arange(found["low"], found["low"] + 100 * len(found["counts"]) + 1, 100)
        assert found["counts"] == np.histogram(numbers, edges)[0].tolist()
        assert sum(found["counts"]) == numbers.size
        decibels = np.concatenate([features["s1"][..., 1].ravel() for features in of_side(faulty, side)])
        found = faulty.facts["bands"]["VH"]["splits"][side]["histogram"]
        assert sum(found["counts"]) == np.isfinite(decibels).sum()
        assert (found["low"], found["width"]) == (-30.0, 1.0)
        whole = np.histogram(decibels[np.isfinite(decibels)], np.arange(-30, 6.1, 1))[0]
        assert np.abs(np.array(found["counts"][:35]) - whole[:35]).max() <= 0.02 * whole.max()  # rounded to 0.01 dB
        fine = faulty.found.histograms[side]["B04"]
        assert isinstance(fine, Histogram)
        np.testing.assert_array_equal(fine.counts, np.bincount(numbers, minlength=65536))


def test_copies_and_look_alikes(faulty):
    identical = faulty.facts["identical"]["s2"]
    assert (identical["compared"], identical["patches"], identical["groups"]) == (12, 2, 1)
    assert identical["between"] == {"test and train": 1, "val and train": 0, "test and val": 0}
    assert sorted(identical["examples"][0]) == sorted([f"{faulty.first} (train)", f"{faulty.test} (test)"])
    assert faulty.facts["identical"]["s1"] == {
        "compared": 12, "patches": 0, "groups": 0, "examples": [],
        "between": {"test and train": 0, "val and train": 0, "test and val": 0},
    }  # fmt: skip
    alike = faulty.facts["alike"]
    assert (alike["sensor"], alike["compared"], alike["patches"], alike["same_cell"]) == ("s2", 12, 4, 0)
    assert alike["between"] == {"test and train": 1, "val and train": 1, "test and val": 0}
    pairs = [{name.split(" ")[0] for name in pair} for pair in alike["examples"]]
    assert {faulty.second, faulty.val} in pairs
    assert {faulty.first, faulty.test} in pairs


def test_days_between_the_images(faulty):
    assert faulty.facts["time_gap_days"] == {"train": {"0": 6}, "val": {"0": 3}, "test": {"0": 2, "20": 1}}


def test_what_the_splits_share(faulty):
    train = {features["tile"] for features in of_side(faulty, "train")}
    cells = {(features["tile"], *features["cell"].tolist()) for features in faulty.known.values()}
    for side in ("val", "test"):
        found = faulty.facts["leakage"][f"{side} and train"]
        expected = sum(features["tile"] in train for features in of_side(faulty, side))
        assert (found["patches"], found["tile"], found["date"], found["cell"]) == (3, expected, expected, 0)
    assert faulty.facts["cells"]["cells"] == len(cells) == 12
    assert faulty.facts["cells"]["on_several_dates"]["patches"] == 0
    assert faulty.facts["misplaced"]["patches"] == 0
    assert faulty.facts["misplaced"]["largest_m"] < 30  # places of the tree count 10 m steps from rounded degrees


def test_statistics_and_fingerprint_are_gathered_anew(faulty):
    assert faulty.facts["integrity"] == {
        "is_sound": True, "fingerprint": "equal", "statistics": "equal", "patches": "equal", "seal": True,
    }  # fmt: skip


def test_samples_and_places(faulty):
    for side, samples in faulty.found.samples.items():
        assert {sample["patch_id"] for sample in samples} == {f["patch_id"] for f in of_side(faulty, side)}
        for sample in samples:
            np.testing.assert_array_equal(sample["s2_10m"], faulty.known[sample["patch_id"]]["s2_10m"])
        expected = sorted(tuple(features["lonlat"]) for features in of_side(faulty, side))
        assert sorted(map(tuple, faulty.found.lonlat[side])) == expected


def test_what_would_mislead_is_said(faulty):
    said = faulty.found.warnings
    shared = faulty.facts["leakage"]["test and train"]["tile"]
    assert "1 test patch has the very Sentinel-2 image of a patch in train." in said
    assert "1 val patch looks like a patch of another cell in train." in said
    assert "Band B09 holds one number, 777, in all patches of train, val and test." in said
    assert any(
        s.startswith("Sentinel-1 and -2 of 1 of 3 test patches are more than 7 days apart (at most 20)") for s in said
    )
    assert any(s.startswith("Saturated pixels in B02 and B04: in up to 1 of 6 train patches") for s in said)
    assert "In 1 of 6 train patches half or more of a band or map is missing." in said
    assert "In 1 of 3 val patches half or more of a band or map is missing." in said
    assert any(s.startswith("The statistics come from 6 training patches") for s in said)
    assert any(f"Of 3 test patches a training patch shares: the acquisition of {shared}" in s for s in said)
    assert any(s.startswith("climate zone: test has fewer than 10 patches") for s in said)
    absent = [name for name, train, test in zip(
        faulty.facts["classes"]["climate_zone"]["classes"],
        faulty.facts["classes"]["climate_zone"]["counts"]["train"],
        faulty.facts["classes"]["climate_zone"]["counts"]["test"], strict=True,
    ) if train and not test]  # fmt: skip
    assert any(s.startswith("climate zone: val has no ") and absent[0] in s for s in said)


def test_the_json_holds_it_all(faulty, tmp_path):
    path = faulty.found.write(tmp_path / "inspection.json")
    content = json.loads(path.read_text("utf-8"))
    assert content.pop("warnings") == list(faulty.found.warnings)
    assert content == faulty.facts
    assert [entry.name for entry in tmp_path.iterdir()] == ["inspection.json"]


def test_published_tables_and_lists(faulty, tmp_path):
    ids = sorted(faulty.known)
    snow = tmp_path / "snow.csv"
    snow.write_text("".join(f"{patch_id}\n" for patch_id in (*ids[:3], "S2A_MSIL2A_20170613T101031_1_1")))
    countries = tmp_path / "countries.csv"
    rows = "".join(f"{patch_id},{'Austria' if place < 8 else 'Serbia'}\n" for place, patch_id in enumerate(ids[:-1]))
    countries.write_text(f"s2_name,country\n{rows}")
    cloud = tmp_path / "cloud.csv"
    cloud.write_text(f"patch_id,contains_cloud_or_shadow\n{ids[3]},True\n{ids[4]},False\n")
    found = ben_ge.inspect(faulty.records, snow=snow, countries=countries, cloud=cloud)
    assert found.facts["listed"] == {
        "snow": {"train": 2, "val": 1, "test": 0}, "cloud": {"train": 0, "val": 0, "test": 1},
    }  # fmt: skip
    assert found.facts["countries"] == {
        "Austria": {"train": 4, "val": 2, "test": 2},
        "Serbia": {"train": 2, "val": 1, "test": 0},
        "not listed": {"train": 0, "val": 0, "test": 1},
    }
    assert "2 of 6 train patches are listed with seasonal snow." in found.warnings


def test_another_split_of_the_same_shards(faulty, tmp_path):
    ids = sorted(faulty.known)
    split = ben_ge.make_split(ben_ge.patches_of(faulty.records), "random", fractions=(0.5, 0.25, 0.25), seed=1)
    other = ben_ge.apply_split(faulty.records, split, tmp_path / "other")
    found = ben_ge.inspect(other)
    assert found.facts["integrity"]["is_sound"]
    assert found.facts["patches"] == {side: len(patches) for side, patches in split.patches.items()}
    side_of = {patch_id: side for side, patches in split.patches.items() for patch_id in patches}
    pair = [side_of[faulty.first], side_of[faulty.test]]
    assert found.facts["identical"]["s2"]["patches"] == 2
    assert sum(found.facts["identical"]["s2"]["between"].values()) == (pair[0] != pair[1])
    assert len(ids) == sum(found.facts["patches"].values())


@pytest.mark.parametrize(
    ("modalities", "bands"),
    [
        (("sentinel_1",), {}),
        (("sentinel_2",), {"s2": ("B11", "B01")}),
        (("dem",), {}),
        (("esaworldcover", "landcover"), {}),
    ],
)
def test_records_of_some_modalities(faulty, tmp_path, modalities, bands):
    tree = faulty.records.parent / "tree"
    source = ben_ge.open_source(tree, modalities=modalities, bands=bands)
    records = ben_ge.convert(source, tmp_path / "records", split="official")
    found = ben_ge.inspect(records)
    assert found.facts["integrity"]["is_sound"]
    held = [band for raster in source.rasters.values() for band in raster.bands or (raster.name,)]
    assert list(found.facts["bands"]) == held
    sensor = {"sentinel_1": "s1", "sentinel_2": "s2"}.get(modalities[0])
    assert found.facts.get("alike", {}).get("sensor") == sensor
    assert set(found.facts["identical"]) == ({sensor} if sensor else set())


# ---- Rules that the tree above does not break --------------------------------------------------------------------


def facts_like(faulty, **changes):
    return json.loads(json.dumps(faulty.facts)) | changes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"seasons": {"summer": {"train": 3, "val": 3, "test": 0}, "winter": {"train": 3, "val": 0, "test": 3}}},
            ["All 3 val patches are of one season, summer; train has summer and winter.",
             "All 3 test patches are of one season, winter; train has summer and winter."],
        ),
        (
            {"seasons": {"summer": {"train": 6, "val": 3, "test": 1}, "spring": {"train": 0, "val": 0, "test": 2}}},
            ["test has patches of spring, of which train has none."],
        ),
        ({"notes": ["The offset could not be told."]}, ["The offset could not be told."]),
        ({"skipped": 4}, ["4 bad patches were set aside in converting; skipped.csv beside the shards says why."]),
        ({"simulated": True}, [ben_ge.schema.SIMULATED]),
        (
            {"misplaced": {"patches": 1, "largest_m": 4300.0}},
            ["Longitude and latitude of 1 patch are not where tile and cell in their names lie (up to 4 km apart). "
             "Splits and distances go by the names, the map by longitude and latitude."],
        ),
    ],
)  # fmt: skip
def test_rules(faulty, changes, expected):
    assert set(expected) <= set(judge(facts_like(faulty, **changes)))
    quiet = facts_like(faulty, seasons={"summer": {"train": 6, "val": 3, "test": 3}})
    assert not set(expected) & set(judge(quiet))


def test_classes_that_training_lacks(faulty):
    classes = {"land_cover": {
        "classes": ["water", "forest"], "unit": "patches", "void": {"train": 0, "val": 0, "test": 1},
        "counts": {"train": [6, 0], "val": [3, 0], "test": [0, 2]},
    }}  # fmt: skip
    said = judge(facts_like(faulty, classes=classes))
    assert "land cover: test has no water. Scores there say nothing about what is absent." in said
    assert "land cover: train has no forest (test). No model can learn what it is asked for there." in said
    assert "land cover: test has fewer than 10 patches of forest." in said
    assert "land cover: 1 of 3 test patches have no class." in said
