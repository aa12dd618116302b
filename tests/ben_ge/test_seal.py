"""Records whose statistics do not belong to their shards are refused; what the seal cannot see, `inspect` finds."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

import eokeras as eo
from eokeras import ben_ge
from eokeras.ben_ge.provenance import UNKNOWN, provenance_lines, provenance_of
from eokeras.ben_ge.seal import check_seal
from eokeras.errors import RecordsError
from tests.bigearthnet_trees import write_v2
from tests.trees import write_tree


@pytest.fixture
def copied(known_records, tmp_path):
    return shutil.copytree(known_records.path, tmp_path / "copied")


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Records of the same patches with other content, so with shards of the same sizes."""
    root = tmp_path_factory.mktemp("others")
    write_tree(root / "tree", 12, seed=5, labels=True, splits=True, no_data=True, non_finite=True)
    return ben_ge.convert(root / "tree", root / "records", split="official")


def read(records):
    return next(iter(eo.make_dataset(records, "train", ("s1",), batch_size=6)))


def change_metadata(records, **changes):
    path = records / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def drop_seal(records):
    content = json.loads((records / "metadata.json").read_text())
    del content["seal"], content["provenance"]
    (records / "metadata.json").write_text(json.dumps(content))


def test_a_copy_is_read(copied):
    assert read(copied)[0]["s1"].shape == (6, 120, 120, 2)
    assert ben_ge.inspect(copied).facts["integrity"]["is_sound"]


def test_a_shard_of_other_records_is_refused(copied, others):
    shard = sorted(copied.glob("*train*"))[0]
    other = others / shard.name
    assert other.stat().st_size == shard.stat().st_size
    shutil.copy(other, shard)
    for split in ("train", "test"):  # statistics of train calibrate every split
        with pytest.raises(RecordsError, match=rf"Shard {shard.name} of .* must be the one that the statistics were"):
            eo.make_dataset(copied, split, ("s1",))


def test_metadata_of_other_records_is_refused(copied, others):
    shutil.copy(others / "metadata.json", copied / "metadata.json")
    with pytest.raises(RecordsError, match=r"must be the one that the statistics were gathered from: \d+ bytes"):
        read(copied)


def test_a_shard_that_was_cut_or_is_missing_is_refused(copied):
    shard = sorted(copied.glob("*val*"))[0]
    content = shard.read_bytes()
    shard.write_bytes(content[:-100])
    with pytest.raises(RecordsError, match=f"Received: {len(content) - 100} bytes"):
        read(copied)
    shard.unlink()
    with pytest.raises(RecordsError, match=f"lacks its shard {shard.name}"):
        eo.make_dataset(copied, "val", ("s1",))


@pytest.mark.parametrize("name", ["statistics", "fingerprint", "splits", "reflectance"])
def test_metadata_that_was_changed_is_refused(copied, name):
    content = json.loads((copied / "metadata.json").read_text())[name]
    changed = f"{content}0" if isinstance(content, str) else {**content, next(iter(content)): {"mean": [1.0]}}
    change_metadata(copied, **{name: changed})
    with pytest.raises(RecordsError, match=r"must be those that were gathered from the shards"):
        read(copied)


def test_another_split_is_sealed_with_its_own_statistics(copied, others, tmp_path):
    split = ben_ge.make_split(ben_ge.patches_of(copied), "random", seed=3)
    applied = ben_ge.apply_split(copied, split, tmp_path / "applied")
    assert read(applied)
    assert ben_ge.load_schema(applied).metadata["seal"]["files"] == ben_ge.load_schema(copied).metadata["seal"]["files"]
    shard = sorted(copied.glob("*train*"))[0]
    shutil.copy(others / shard.name, shard)
    with pytest.raises(RecordsError, match=f"Shard {shard.name} of"):
        read(applied)


def test_records_of_an_earlier_version_are_read_and_told_apart(copied):
    drop_seal(copied)
    check_seal(ben_ge.load_schema(copied))
    assert read(copied)
    found = ben_ge.inspect(copied)
    assert found.facts["integrity"]["is_sound"]
    assert not found.facts["integrity"]["seal"]
    assert any(sentence.startswith("An earlier version made these records") for sentence in found.warnings)
    provenance = found.facts["provenance"]
    assert (provenance["configuration"], provenance["is_stated"]) == (UNKNOWN, False)
    assert f"configuration: {UNKNOWN}" in provenance_lines(provenance)


def test_inspect_finds_statistics_of_others_without_a_seal(copied, others):
    statistics = json.loads((others / "metadata.json").read_text())["statistics"]
    drop_seal(copied)
    change_metadata(copied, statistics=statistics)
    integrity = ben_ge.inspect(copied).facts["integrity"]
    assert (integrity["is_sound"], integrity["fingerprint"]) == (False, "equal")
    assert "s1: mean" in integrity["statistics"]
    assert "season: mean" not in integrity["statistics"]


def test_inspect_finds_a_record_that_was_exchanged_where_the_seal_looks_not(tmp_path):
    write_tree(tmp_path / "tree", 4, places=[("33UUP", 10 + i, 20, "2017-06-13") for i in range(4)])
    records = ben_ge.convert(tmp_path / "tree", tmp_path / "records", split="random", fractions=(1, 0, 0))
    shards = sorted(records.glob("*train*"))
    shard = shards[0]
    serialised = [record.numpy() for shard in shards for record in tf.data.TFRecordDataset(str(shard))]
    content = shard.read_bytes()
    example = tf.train.Example.FromString(serialised[0])
    numbers = np.frombuffer(example.features.feature["s1"].bytes_list.value[0], "float32").copy()
    numbers[5] -= 1
    example.features.feature["s1"].bytes_list.value[0] = numbers.tobytes()
    with tf.io.TFRecordWriter(str(shard)) as writer:
        for record in [example.SerializeToString(deterministic=True), *serialised[1:]][: _records_in(content)]:
            writer.write(record)
    if _records_in(content) > 1:  # the last record, which the seal covers, is as it was
        assert len(shard.read_bytes()) == len(content)
        check_seal(ben_ge.load_schema(records))
    found = ben_ge.inspect(records)
    assert not found.facts["integrity"]["is_sound"]
    assert found.facts["integrity"]["fingerprint"] != "equal"
    assert "s1: mean" in found.facts["integrity"]["statistics"]
    assert found.warnings[0].startswith("Statistics and shards do not belong together: fingerprint ")
    assert {"There is no val split.", "There is no test split."} <= set(found.warnings)


def _records_in(content: bytes) -> int:
    count, place = 0, 0
    while place < len(content):
        place += 16 + int.from_bytes(content[place : place + 8], "little")
        count += 1
    return count


# ---- Provenance ------------------------------------------------------------------------------------------------------


def test_what_records_state_of_their_origin(known_records):
    found = provenance_of(ben_ge.load_schema(known_records.path))
    assert found["configuration"] == {
        "source": str(known_records.tree), "patches": 12, "split": "official", "group": "tile_date",
        "fractions": [0.8, 0.1, 0.1], "seed": 0, "on_error": "stop",
        "modalities": [
            "sentinel_2", "sentinel_1", "dem", "esaworldcover", "meta", "era5", "landcover", "geoclusters", "labels",
        ],
    }  # fmt: skip
    assert {"tensorflow", "tensorflow-datasets", "rasterio", "numpy", "eokeras", "python"} == set(found["versions"])
    by_field = {field: entry for entry in found["sources"] for field in entry["fields"]}
    held = set(ben_ge.load_schema(known_records.path).fields)
    assert held - set(by_field) == {
        "patch_id", "patch_id_s1", "tile", "cell", "date", "timestamp_s2", "timestamp_s1", "epsg", "upper_left",
        "lonlat", "season", "season_s1",
    }  # fmt: skip
    assert by_field["s2_10m"]["citation"] == "Sumbul et al. 2019, https://arxiv.org/abs/1902.06148"
    assert by_field["s1"]["licence"].startswith("CDLA-Permissive-1.0")
    assert "WorldCover" in by_field["land_cover_map"]["source"]
    assert by_field["climate_zone"]["citation"].startswith("Beck et al. 2018")
    lines = provenance_lines(found)
    assert lines[0] == f"fingerprint: {ben_ge.load_schema(known_records.path).fingerprint}"
    assert all(any(entry["licence"] in line for line in lines) for entry in found["sources"])


def test_bigearthnet_2_simulations_and_downloads_are_told_apart(tmp_path):
    write_v2(tmp_path / "v2", 4)
    records = ben_ge.convert(tmp_path / "v2", tmp_path / "records", split="official")
    sources = {entry["modality"]: entry for entry in provenance_of(ben_ge.load_schema(records))["sources"]}
    assert sources["Sentinel-2 (Level-2A)"]["source"].startswith("BigEarthNet v2")
    assert sources["reference map"]["fields"] == ["reference_map"]
    found = ben_ge.inspect(records)
    assert found.facts["integrity"]["is_sound"]
    assert set(found.facts["classes"]) == {"reference_map", "labels"}
    write_tree(tmp_path / "sim", 4)
    (tmp_path / "sim" / "sim_world.json").write_text('{"seed": 0}')  # by which simulated trees are known
    note = {"name": "ben-ge-800", "doi": "10.5281/zenodo.1", "archives": [{"name": "a", "size": 1, "md5": "0123"}]}
    (tmp_path / "sim" / "ben-ge-800_archive.json").write_text(json.dumps(note))
    (tmp_path / "sim" / "broken_archive.json").write_text("{")
    records = ben_ge.convert(tmp_path / "sim", tmp_path / "sim-records", split="random", fractions=(0.5, 0.25, 0.25))
    provenance = provenance_of(ben_ge.load_schema(records))
    assert [entry["source"] for entry in provenance["sources"]] == ["the simulator of eokeras"]
    assert provenance["archives"] == [{"name": "ben-ge-800", "doi": "10.5281/zenodo.1", "md5": ["0123"]}]
    assert "downloaded: ben-ge-800, https://doi.org/10.5281/zenodo.1, md5 0123" in provenance_lines(provenance)


def test_shards_of_a_split_that_is_not_read_may_be_elsewhere(copied):
    for shard in copied.glob("*test.tfrecord*"):
        shard.unlink()
    assert len(list(eo.make_dataset(copied, "train", ("dem",)))) > 0
    with pytest.raises(RecordsError, match=r"lacks its shard .*test"):
        eo.make_dataset(copied, "test", ("dem",))
    with pytest.raises(RecordsError, match=r"lacks its shard .*test"):
        check_seal(ben_ge.load_schema(copied))
