"""`patches.csv`: its rows are what the tree holds, its offsets lead to the records."""

import csv
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

import eokeras as eo
from eokeras.ben_ge import patch_table
from eokeras.ben_ge.patch_table import PatchTable, read_patch_table, shard_files, write_patch_table
from eokeras.ben_ge.schema import VOID
from eokeras.errors import RecordsError, UnwritableError
from tests.trees import truncate, write_tree

CLIMATE_CODES = (0, 7, 8, 9, 14, 15, 16, 18, 25, 26, 27, 29)


@pytest.fixture
def copy(known_records, tmp_path):
    """A schema of records that a test may change."""
    return eo.load_schema(shutil.copytree(known_records.path, tmp_path / "records"))


def rows(path):
    with (path / "patches.csv").open(newline="") as file:
        next(file)  # says whose it is
        return list(csv.DictReader(file))


def test_rows_are_what_the_tree_holds(known_records):
    found = rows(known_records.path)
    assert [row["split"] for row in found] == ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    assert {row["patch_id"] for row in found} == set(known_records.features)
    for row in found:
        features = known_records.features[row["patch_id"]]
        assert (row["tile"], row["date"]) == (features["tile"], features["date"])
        assert (int(row["column"]), int(row["row"])) == tuple(features["cell"])
        assert int(row["climate_zone"]) == CLIMATE_CODES.index(features["climate_zone"])
        assert int(row["land_cover"]) == np.argmax(features["land_cover_fractions"])
        assert int(row["geocluster"]) == features["geocluster"]


def test_first_line_says_whose_it_is(known_records):
    fingerprint = json.loads((known_records.path / "metadata.json").read_text())["fingerprint"]
    assert (known_records.path / "patches.csv").read_text().startswith(f"# fingerprint: {fingerprint}\npatch_id,split,")


def test_classes_are_the_targets_of_make_dataset(known_records):
    names = ("climate_zone", "land_cover", "geocluster")
    for split in ("train", "val", "test"):
        table = read_patch_table(eo.load_schema(known_records.path), split)
        of_table = dict(
            zip(table.places, zip(*(table.classes[name].tolist() for name in names), strict=True), strict=True)
        )
        data = eo.make_dataset(known_records.path, split, ("dem",), names, metadata=("patch_id",))
        (_, targets, metadata), *_ = data.as_numpy_iterator()
        classes = zip(*(targets[name].tolist() for name in names), strict=True)
        assert of_table == {i.decode(): ids for i, ids in zip(metadata["patch_id"], classes, strict=True)}


def test_a_patch_without_land_cover_has_no_class():
    assert patch_table._top_class([0.0] * 11) == VOID
    assert patch_table._top_class([0.0, 0.2, 0.3, *[0.0] * 8]) == 2


def test_offsets_lead_to_the_records(known_records):
    schema = eo.load_schema(known_records.path)
    for row in rows(known_records.path):
        with open(shard_files(schema, row["split"])[int(row["shard"])], "rb") as file:
            file.seek(int(row["offset"]))
            (length,) = struct.unpack("<Q", file.read(8))
            file.read(4)
            assert row["patch_id"].encode() in file.read(length)


def test_read_back_by_split(known_records):
    table = read_patch_table(eo.load_schema(known_records.path), "val")
    expected = [row for row in rows(known_records.path) if row["split"] == "val"]
    assert list(table.places) == [row["patch_id"] for row in expected]
    assert [place.tile for place in table.places.values()] == [row["tile"] for row in expected]
    assert [place.cell for place in table.places.values()] == [(int(r["column"]), int(r["row"])) for r in expected]
    assert table.offsets.tolist() == [int(row["offset"]) for row in expected]
    assert table.shards.tolist() == [int(row["shard"]) for row in expected]
    assert {name: ids.tolist() for name, ids in table.classes.items()} == {
        name: [int(row[name]) for row in expected] for name in ("climate_zone", "land_cover", "geocluster")
    }


def test_runs_by_hand():
    # Two shards of four and three records; a run ends at a gap and at the end of a shard.
    table = PatchTable({}, np.array([0, 0, 0, 0, 1, 1, 1]), np.array([0, 10, 20, 30, 0, 10, 20]), {}, np.arange(7))
    shards, offsets, counts = table.runs(np.array([0, 1, 1, 0, 1, 0, 1], bool))
    assert list(zip(shards, offsets, counts, strict=True)) == [(0, 10, 2), (1, 0, 1), (1, 20, 1)]
    assert list(zip(*table.runs(np.ones(7, bool)), strict=True)) == [(0, 0, 4), (1, 0, 3)]
    assert list(zip(*table.runs(np.arange(7) == 3), strict=True)) == [(0, 30, 1)]


def test_records_that_lack_modalities_have_fewer_classes(tmp_path):
    write_tree(tmp_path / "tree", 3, without=("esaworldcover", "landcover", "geoclusters"), climatezones_csv=True)
    (tmp_path / "tree" / "tree_climatezones.csv").unlink()
    records = eo.ben_ge.convert(tmp_path / "tree", tmp_path / "records")
    assert list(rows(records)[0])[:8] == ["patch_id", "split", "shard", "offset", "tile", "column", "row", "date"]
    table = read_patch_table(eo.load_schema(records), "train")
    assert table.classes == {}
    assert len(table.places) == eo.load_schema(records).splits["train"]


def test_older_records_get_the_file_by_one_pass(copy):
    whole = (copy.path / "patches.csv").read_bytes()
    (copy.path / "patches.csv").unlink()
    with pytest.raises(RecordsError, match=r"patches\.csv, which .*records lacks.*write_patch_table\(records\)"):
        read_patch_table(copy, "train")
    assert eo.ben_ge.write_patch_table(copy.path) == copy.path / "patches.csv"
    assert (copy.path / "patches.csv").read_bytes() == whole


@pytest.mark.parametrize(
    ("change", "received"),
    [
        (lambda text: text[:-5], r"0 \(shards: 0\)"),  # cut in its last line
        (lambda text: text.rsplit("\n", 2)[0] + "\n", r"2 \(shards: 1\)"),  # lacks its last line
        (lambda text: text.replace(",date,", ",day,"), r"0 \(shards: 0\)"),
        (lambda text: text.replace("test,0,0,", "test,0,zero,"), r"0 \(shards: 0\)"),
        (lambda text: text.replace("test,0,0,", "test,4,0,"), r"3 \(shards: 5\)"),
    ],
)
def test_damaged_file(copy, change, received):
    path = copy.path / "patches.csv"
    path.write_text(change(path.read_text()))
    rule = r"must hold a row of patch_id,split.* for each of the 3 patches of test \(shards: 1\)\. Received: "
    with pytest.raises(RecordsError, match=rf"{rule}{received}\. Write it anew with .*write_patch_table\(records\)"):
        read_patch_table(copy, "test")


def test_table_of_other_records_with_equal_counts(copy, tmp_path):
    write_tree(tmp_path / "tree", 12, seed=1, labels=True, splits=True)
    other = eo.load_schema(eo.ben_ge.convert(tmp_path / "tree", tmp_path / "other", split="official"))
    assert (other.splits, other.fields) == (copy.splits, copy.fields)
    shutil.copy(other.path / "patches.csv", copy.path)
    rule = rf"patches\.csv must be of these records: its first line `# fingerprint: {copy.fingerprint}`"
    received = rf"Received: '# fingerprint: {other.fingerprint}'\. Write it anew with .*write_patch_table\(records\)"
    with pytest.raises(RecordsError, match=rf"{rule}\. {received}"):
        read_patch_table(copy, "train")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "must be of these records: .*Received: ''"),
        (b"patch_id,split,shard,offset,tile,column,row,date\n", "must be of these records: .*Received: 'patch_id,"),
        (b"\xff\xfe\x00", "must be UTF-8 text"),
    ],
)
def test_table_that_does_not_say_whose_it_is(copy, content, words):
    (copy.path / "patches.csv").write_bytes(content)
    with pytest.raises(RecordsError, match=words + r".* Write it anew with .*write_patch_table\(records\)"):
        read_patch_table(copy, "train")


def test_table_that_cannot_be_read(copy):
    (copy.path / "patches.csv").unlink()
    (copy.path / "patches.csv").mkdir()
    with pytest.raises(RecordsError, match=r"patches\.csv must be readable\. Received: Is a directory"):
        read_patch_table(copy, "train")


def test_shard_that_was_cut(copy):
    (shard,) = shard_files(copy, "val")
    truncate(Path(shard), -5)
    with pytest.raises(RecordsError, match=rf"{shard} must be a whole shard\. Convert the source again"):
        write_patch_table(copy)
    assert list(copy.path.glob(".*")) == []


def test_directory_that_cannot_be_written(copy, monkeypatch):
    before = sorted(path.name for path in copy.path.iterdir())

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(UnwritableError, match=r"patches\.csv must be writable.*No space left"):
        write_patch_table(copy)
    assert sorted(path.name for path in copy.path.iterdir()) == before
