"""Records as `convert` writes them: whole or absent, readable by TFDS alone, honest about what was left out."""

import csv
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

import eokeras as eo
from eokeras import ben_ge
from eokeras.ben_ge.gathered import digest
from eokeras.ben_ge.shards import cut, encode, serialise, shard_count
from eokeras.errors import (
    InvalidArgumentError,
    InvalidPatchError,
    InvalidSourceError,
    TargetExistsError,
    UnwritableError,
)
from tests.trees import write_tree

ROOT = Path(eo.__file__).parents[1]


def leftovers(directory):
    return sorted(path.name for path in directory.iterdir() if "incomplete" in path.name)


def test_tfds_reads_the_records_without_eokeras(known_records):
    code = textwrap.dedent("""
        import sys, json
        import tensorflow_datasets as tfds
        builder = tfds.builder_from_directory(sys.argv[1])
        sizes = {name: info.num_examples for name, info in builder.info.splits.items()}
        example = next(iter(tfds.as_numpy(builder.as_dataset(split="train"))))
        shapes = {k: [list(v.shape), str(v.dtype)] for k, v in example.items() if hasattr(v, "shape")}
        means = {"s1_VV_dB": float(example["s1"][5, 5, 0]), "patch": example["patch_id"].decode()}
        assert "eokeras" not in sys.modules
        print(json.dumps([sizes, shapes, means]))
    """)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(known_records.path)], capture_output=True, text=True, cwd="/", env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    sizes, shapes, means = json.loads(done.stdout.splitlines()[-1])
    assert sizes == {"train": 6, "val": 3, "test": 3}
    assert shapes["s2_10m"] == [[120, 120, 4], "uint16"]
    assert shapes["s2_20m"] == [[60, 60, 6], "uint16"]
    assert shapes["s2_60m"] == [[20, 20, 2], "uint16"]
    assert shapes["s1"] == [[120, 120, 2], "float32"]
    assert shapes["dem"] == [[120, 120, 1], "int16"]
    assert shapes["land_cover_map"] == [[120, 120], "uint8"]
    assert means["s1_VV_dB"] == known_records.features[means["patch"]]["s1"][5, 5, 0]


def test_every_field_of_every_patch_equals_what_was_written(known_records):
    builder = tfds.builder_from_directory(known_records.path)
    seen = 0
    for split in builder.info.splits:
        for example in tfds.as_numpy(builder.as_dataset(split=split)):
            expected = known_records.features[example["patch_id"].decode()]
            assert set(example) == set(expected)
            for name, value in expected.items():
                found = example[name].decode() if isinstance(example[name], bytes) else example[name]
                np.testing.assert_array_equal(found, value, err_msg=name)
            seen += 1
    assert seen == 12


def test_statistics_by_hand(known_records):
    schema = eo.load_schema(known_records.path)
    builder = tfds.builder_from_directory(known_records.path)
    ids = [e["patch_id"].decode() for e in tfds.as_numpy(builder.as_dataset(split="train"))]
    train = [known_records.features[patch_id] for patch_id in ids]
    s1 = np.stack([patch["s1"] for patch in train])[..., 1].ravel().astype("float64")
    s1 = s1[np.isfinite(s1)]
    found = {key: values[1] for key, values in schema.statistics["s1"].items()}
    assert found["count"] == s1.size
    assert found["mean"] == pytest.approx(s1.mean(), abs=1e-9)
    assert found["std"] == pytest.approx(s1.std(), abs=1e-9)
    for key, percent in (("p1", 1), ("p2", 2), ("p98", 98), ("p99", 99)):
        assert found[key] == pytest.approx(np.percentile(s1, percent), abs=0.011)  # counted in steps of 0.01 dB
    dem = np.stack([patch["dem"] for patch in train]).ravel()
    assert schema.statistics["dem"]["p2"] == [np.percentile(dem, 2, method="inverted_cdf")]
    weather = np.stack([patch["era5"] for patch in train])
    np.testing.assert_allclose(schema.statistics["era5"]["mean"], weather.mean(axis=0), rtol=1e-12)
    codes = np.stack([patch["land_cover_map"] for patch in train])
    counts = [(codes == code).sum() for code in (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100)]
    assert schema.statistics["land_cover_map"] == {"counts": counts, "void": int((codes == 0).sum())}
    seasons = [patch["season"] for patch in train]
    assert schema.statistics["season"]["median"] == np.median(seasons)
    zones = [patch["climate_zone"] for patch in train]
    assert sum(schema.statistics["climate_zone"]["counts"]) == len(zones)
    assert schema.statistics["labels"]["counts"] == sum(patch["labels"].astype(int) for patch in train).tolist()


def test_shards_of_a_set_that_matters(tmp_path):
    """Thirty training patches are 10 MB: even they must give eight shards or more."""
    write_tree(tmp_path / "tree", 36)
    records = ben_ge.convert(tmp_path / "tree", tmp_path / "records", split="random", fractions=(0.84, 0.08, 0.08))
    info = tfds.builder_from_directory(records).info.splits["train"]
    assert info.num_shards >= 8
    assert sum(info.shard_lengths) == info.num_examples == 30
    assert max(path.stat().st_size for path in records.glob("*.tfrecord*")) <= 200e6


def test_missing_backscatter_of_all_splits_is_counted(known_records):
    # Every one of the twelve patches has one NaN and two -inf in VV, and one +inf in VH.
    counts = eo.load_schema(known_records.path).metadata["non_finite"]["s1"]
    assert counts["VV"] == {"nan": 12, "negative_infinity": 24, "positive_infinity": 0}
    assert counts["VH"] == {"nan": 0, "negative_infinity": 0, "positive_infinity": 12}


@pytest.mark.parametrize(
    ("total_bytes", "patches", "shards"),
    [
        (300_000, 1, 1),
        (3_800_000, 12, 3),
        (190_000_000, 600, 16),  # ben-ge-800
        (2_000_000_000, 6_400, 16),  # ben-ge-8k: 125 MB each
        (150_000_000_000, 472_261, 834),  # ben-ge: 180 MB each
    ],
)
def test_number_of_shards_by_size(total_bytes, patches, shards):
    assert shard_count(total_bytes, patches) == shards


def test_same_source_gives_the_same_bytes(tmp_path):
    write_tree(tmp_path / "tree", 6)
    first, second = (ben_ge.convert(tmp_path / "tree", tmp_path / name, split="random") for name in ("a", "b"))
    for path in sorted(first.iterdir()):
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_shards_are_those_of_tensorflow_datasets(tmp_path):
    """TFDS's own writer makes the same of the same bytes: order, files, framing, checksums."""
    from tensorflow_datasets.core import naming, writer
    from tensorflow_datasets.core.example_serializer import Serializer
    from tensorflow_datasets.core.file_adapters import FileFormat
    from tensorflow_datasets.core.utils.shard_utils import ShardConfig

    class AsIs(Serializer):
        def serialize_example(self, example):
            return example

    write_tree(tmp_path / "tree", 12)
    source = ben_ge.open_source(tmp_path / "tree")
    records = ben_ge.convert(source, tmp_path / "records", split="random", fractions=(0.9, 0.1, 0))
    ids = [row[0] for row in csv.reader((records / "split.csv").open()) if row[-1] == "train"]
    (tmp_path / "theirs").mkdir()
    theirs = writer.Writer(
        serializer=AsIs({}),
        filename_template=naming.ShardedFileTemplate(
            data_dir=tmp_path / "theirs", dataset_name="ben_ge", split="train", filetype_suffix="tfrecord"
        ),
        hash_salt="train",
        disable_shuffling=False,
        example_writer=writer.ExampleWriter(FileFormat.TFRECORD),
        shard_config=ShardConfig(num_shards=len(list(records.glob("*train*")))),
    )
    for patch_id in ids:
        theirs.write(patch_id, serialise(encode(source.read(patch_id).features, source.rasters)))
    theirs.finalize()
    files = sorted((tmp_path / "theirs").iterdir())
    assert len(ids) > len(files) > 2
    for path in files:
        assert path.read_bytes() == (records / path.name).read_bytes()


def test_a_raster_of_another_shape_is_no_record(tmp_path):
    write_tree(tmp_path / "tree", 1)
    source = ben_ge.open_source(tmp_path / "tree")
    features = dict(source.read(source.patch_ids[0]).features)
    features["s1"] = features["s1"][..., :1]
    with pytest.raises(ValueError, match=r"`s1` must have shape \(120, 120, 2\). Received: shape=\(120, 120, 1\)"):
        encode(features, source.rasters)


def test_a_shard_whose_patches_are_all_bad_is_left_out(tmp_path):
    features = write_tree(tmp_path / "tree", 12)
    source = ben_ge.open_source(tmp_path / "tree")
    split = ben_ge.make_split(source, "random", fractions=(0.9, 0.1, 0))
    first, *others = cut(split.patches, source.rasters)
    for patch_id in first.patch_ids:
        break_patch(tmp_path / "tree", features[patch_id])
    records = ben_ge.convert(
        tmp_path / "tree", tmp_path / "records", "random", fractions=(0.9, 0.1, 0), on_error="skip"
    )
    builder = tfds.builder_from_directory(records)
    assert builder.info.splits["train"].num_shards == sum(shard.side == "train" for shard in others)
    found = [e["patch_id"].decode() for side in builder.info.splits for e in tfds.as_numpy(builder.as_dataset(side))]
    assert sorted(found) == sorted(patch_id for shard in others for patch_id in shard.patch_ids)
    table = (records / "patches.csv").read_bytes()
    assert ben_ge.write_patch_table(records).read_bytes() == table  # read back from the shards


def test_fingerprint_tells_content_and_split(tmp_path):
    write_tree(tmp_path / "tree", 6)
    write_tree(tmp_path / "other", 6, seed=1, name="tree")
    paths = [
        ben_ge.convert(tmp_path / "tree", tmp_path / "a", split="random", seed=0),
        ben_ge.convert(tmp_path / "tree", tmp_path / "b", split="random", seed=1),
        ben_ge.convert(tmp_path / "other", tmp_path / "c", split="random", seed=0),
    ]
    assert len({eo.load_schema(path).fingerprint for path in paths}) == 3


def test_digest_sees_every_field(known_records):
    features = dict(next(iter(known_records.features.values())))
    before = digest("train", features)
    assert digest("test", features) != before
    for name in features:
        value = features[name]
        changed = value + "x" if isinstance(value, str) else np.asarray(value) + np.asarray(value).dtype.type(1)
        assert digest("train", features | {name: changed}) != before, name


# ---- bad input -----------------------------------------------------------------------------------------------------


def break_patch(tree, features):
    patch_id = features["patch_id"]
    path = tree / "dem" / f"{patch_id}_dem.tif"
    path.write_bytes(b"")
    return patch_id, path


def test_a_bad_patch_stops_the_conversion_with_its_name(tmp_path):
    expected = write_tree(tmp_path / "tree", 5)
    patch_id, path = break_patch(tmp_path / "tree", list(expected.values())[2])
    with pytest.raises(InvalidPatchError, match=f"{patch_id}.*{path.name}"):
        ben_ge.convert(tmp_path / "tree", tmp_path / "records", split="random")
    assert not (tmp_path / "records").exists()
    assert leftovers(tmp_path) == []


def test_skip_sets_a_bad_patch_aside_and_lists_it(tmp_path):
    expected = write_tree(tmp_path / "tree", 12)
    patch_id, path = break_patch(tmp_path / "tree", list(expected.values())[2])
    records = ben_ge.convert(tmp_path / "tree", tmp_path / "records", split="random", on_error="skip")
    schema = eo.load_schema(records)
    assert sum(schema.splits.values()) == 11
    assert schema.metadata["skipped"] == 1
    with (records / "skipped.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["patch_id"] == patch_id
    assert row["file"] == str(path)
    assert row["reason"]


def test_skip_refuses_a_split_that_keeps_nothing(tmp_path):
    expected = write_tree(tmp_path / "tree", 3)
    for features in expected.values():
        break_patch(tmp_path / "tree", features)
    with pytest.raises(InvalidSourceError, match=r"at least one sound patch.*were set aside: Patch S2A_"):
        ben_ge.convert(tmp_path / "tree", tmp_path / "records", split="random", on_error="skip")
    assert leftovers(tmp_path) == []


def test_target_that_exists_stays_as_it_is(tmp_path):
    write_tree(tmp_path / "tree", 3)
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "mine.txt").write_text("mine")
    with pytest.raises(TargetExistsError, match=r"records.*must not exist|must not exist.*records"):
        ben_ge.convert(tmp_path / "tree", tmp_path / "records")
    assert (tmp_path / "records" / "mine.txt").read_text() == "mine"


def test_target_below_a_file(tmp_path):
    write_tree(tmp_path / "tree", 3)
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError, match=r"Cannot write records to .*file/records"):
        ben_ge.convert(tmp_path / "tree", tmp_path / "file" / "records")


def test_full_disk_leaves_nothing(tmp_path):
    """A limit on the size of a file stands in for a full disk: writing fails half-way."""
    write_tree(tmp_path / "tree", 12)
    code = textwrap.dedent("""
        import resource, signal, sys
        from eokeras import ben_ge
        from eokeras.errors import UnwritableError
        import tensorflow_datasets
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        try:
            ben_ge.convert(sys.argv[1], sys.argv[2], split="random")
        except UnwritableError as error:
            print("refused:", error)
    """)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "tree"), str(tmp_path / "records")],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert "refused: Cannot write records to" in done.stdout, done.stderr[-2000:]
    assert not (tmp_path / "records").exists()
    assert leftovers(tmp_path) == []


def test_killed_half_way_is_never_taken_for_whole(tmp_path):
    write_tree(tmp_path / "tree", 12)
    code = textwrap.dedent("""
        import sys, time
        from eokeras import ben_ge
        def slow(done, total):
            print(done, flush=True)
            time.sleep(30 if done == 5 else 0)
        ben_ge.convert(sys.argv[1], sys.argv[2], split="random", progress=slow)
    """)
    command = [sys.executable, "-c", code, str(tmp_path / "tree"), str(tmp_path / "records")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    for line in process.stdout:
        if line.strip() == "5":
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "records").exists()
    assert leftovers(tmp_path) == [".records.incomplete"]
    records = ben_ge.convert(tmp_path / "tree", tmp_path / "records", split="random")
    assert sum(eo.load_schema(records).splits.values()) == 12
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"on_error": "ignore"}, r"`on_error` must be one of \['stop', 'skip'\]"),
        ({"split": "stratified"}, "stratified"),
        ({"group": "country"}, r"`group` must be one of"),
    ],
)
def test_unknown_choices_are_named(tmp_path, arguments, words):
    write_tree(tmp_path / "tree", 3)
    with pytest.raises((InvalidArgumentError, InvalidSourceError), match=words):
        ben_ge.convert(tmp_path / "tree", tmp_path / "records", **arguments)


def test_no_tree_here(tmp_path):
    with pytest.raises(InvalidSourceError, match="ben-ge tree"):
        ben_ge.convert(tmp_path / "nothing", tmp_path / "records")
