"""`patches.csv`: its rows are what the tree holds, its offsets lead to the records."""

import csv
import shutil
import struct

import numpy as np
import pytest

import eokeras as eo
from eokeras.ben_ge.patch_table import PatchTable, read_patch_table, shard_files, write_patch_table
from eokeras.errors import RecordsError, UnwritableError
from tests.trees import write_tree

CLIMATE_CODES = (0, 7, 8, 9, 14, 15, 16, 18, 25, 26, 27, 29)


@pytest.fixture
def copy(known_records, tmp_path):
    """A schema of records that a test may change."""
    return eo.load_schema(shutil.copytree(known_records.path, tmp_path / "records"))


def rows(path):
    with (path / "patches.csv").open(newline="") as file:
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
    table = PatchTable({}, np.array([0, 0, 0, 0, 1, 1, 1]), np.array([0, 10, 20, 30, 0, 10, 20]), {})
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
    "change",
    [
        lambda text: text[:-5],  # cut in its last line
        lambda text: text.rsplit("\n", 2)[0] + "\n",  # lacks its last line
        lambda text: text.replace(",date,", ",day,"),
        lambda text: text.replace("test,0,0,", "test,0,zero,"),
        lambda text: "",
    ],
)
def test_damaged_file(copy, change):
    path = copy.path / "patches.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(RecordsError, match=r"must hold a row of patch_id,split.* for each of the 3 patches of test"):
        read_patch_table(copy, "test")


def test_directory_that_cannot_be_written(copy, monkeypatch):
    before = sorted(path.name for path in copy.path.iterdir())

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(UnwritableError, match=r"patches\.csv must be writable.*No space left"):
        write_patch_table(copy)
    assert sorted(path.name for path in copy.path.iterdir()) == before
