"""Downloading the parts of the full ben-ge: side by side, into one tree, each by itself whole or not there."""

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eokeras import ben_ge
from eokeras.ben_ge import archive, catalogue, staging
from eokeras.ben_ge.http_client import DownloadError
from eokeras.ben_ge.unpacking import ArchiveError
from eokeras.errors import TargetExistsError, UnwritableError
from tests import servers
from tests.servers import left, packed
from tests.trees import write_tree

DEM, WORLDCOVER, ERA5, LATER_ERA5 = 8129350, 8129666, 8129412, 10400000


def copied(tree, folder, *names):
    """A folder with some entries of a tree, to be packed."""
    folder.mkdir(parents=True)
    for name in names:
        (shutil.copytree if (tree / name).is_dir() else shutil.copy)(tree / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def parts(tmp_path_factory):
    """(features of every patch, name of a part -> its tar.gz) as they are published: each brings the meta csv."""
    root = tmp_path_factory.mktemp("full")
    features = write_tree(root / "tree", 3, name="ben-ge")
    content = {
        "dem": ("dem", "ben-ge_meta.csv"),
        "esaworldcover": ("esaworldcover", "ben-ge_esaworldcover.csv", "ben-ge_meta.csv"),
        "era-5": ("ben-ge_era-5.csv", "ben-ge_meta.csv"),
        "era-5-as-first-published": ("ben-ge_meta.csv",),
    }
    folders = {name: copied(root / "tree", root / name, *entries) for name, entries in content.items()}
    return features, {name: packed(folder, name) for name, folder in folders.items()}


@pytest.fixture
def server(parts, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with servers.RecordServer("dem.tar.gz", parts[1]["dem"], record=DEM) as running:
        running.add(WORLDCOVER, {"esaworldcover.tar.gz": parts[1]["esaworldcover"]})
        running.add(ERA5, {"era5.tar.gz": parts[1]["era-5-as-first-published"]})
        running.add(LATER_ERA5, {"era5.tar.gz": parts[1]["era-5"]})
        running.latest[ERA5] = LATER_ERA5
        yield running


@pytest.fixture
def fetch(server, pauses, tmp_path):
    def call(name="ben-ge", **options):
        return ben_ge.download(name, tmp_path / "data", base=server.address, **{"progress": False} | options)

    return call


def fetched(server):
    """Numbers of the records whose files were asked for."""
    return sorted(int(path.split("/")[2]) for path, _ in server.requests if not path.startswith("/api/"))


# ---- The whole way ---------------------------------------------------------------------------------------------


def test_all_parts_make_one_tree(fetch, server, parts, tmp_path):
    tree = fetch()
    assert tree == tmp_path / "data" / "ben-ge"
    source = ben_ge.open_source(tree)
    assert source.name == "ben-ge"
    assert set(source.modalities) == {"dem", "esaworldcover", "meta", "era5", "landcover"}
    assert (source.patch_ids, source.misfits) == (tuple(sorted(parts[0])), frozenset())
    for patch_id, expected in parts[0].items():
        features = source.read(patch_id).features
        for name in ("dem", "land_cover_map", "land_cover_fractions", "era5", "lonlat", "climate_zone", "season"):
            np.testing.assert_array_equal(features[name], expected[name], err_msg=name)
    assert left(tmp_path) == ["ben-ge"]
    assert fetched(server) == [DEM, WORLDCOVER, LATER_ERA5]


def test_era5_comes_from_the_latest_version_of_its_record(fetch, server):
    note = staging.note_of(fetch("ben-ge-era-5"), "ben-ge-era-5").read_text()
    assert f'"doi": "10.5281/zenodo.{LATER_ERA5}"' in note
    assert "/api/records/8129412/versions/latest" in [path for path, _ in server.requests]


def test_says_where_the_sentinel_patches_come_from(fetch, capsys):
    fetch("ben-ge-dem", progress=True)
    assert "are not fetched here: get BigEarthNet-S2-v1.0.tar.gz" in capsys.readouterr().out.splitlines()[-1]


def test_says_where_the_meta_csv_is_if_no_archive_held_it(fetch, server, parts, tmp_path, capsys):
    write_tree(tmp_path / "tree", 1, name="ben-ge")
    server.replace(packed(copied(tmp_path / "tree", tmp_path / "only-dem", "dem")))
    tree = fetch("ben-ge-dem", progress=True)
    words = f"None of these archives held ben-ge_meta.csv: get it from https://github.com/HSG-AIML/ben-ge, to be {tree}"
    assert words in capsys.readouterr().out


def test_whole_parts_are_not_asked_for_again(fetch, server):
    tree = fetch("ben-ge-dem")
    assert sorted(path.name for path in tree.iterdir()) == ["ben-ge-dem_archive.json", "ben-ge_meta.csv", "dem"]
    server.requests.clear()
    fetch()
    assert fetched(server) == [WORLDCOVER, LATER_ERA5]
    server.requests.clear()
    assert fetch() == fetch("ben-ge-era-5") == tree
    assert server.requests == []


# ---- Side by side ----------------------------------------------------------------------------------------------


def test_three_archives_come_at_once(fetch, server):
    together = threading.Barrier(3)

    def wait(handler, *right):
        together.wait(20)  # breaks, and so cuts every connection, unless all three are asked for
        handler.reply(*right)

    for record in (DEM, WORLDCOVER, LATER_ERA5):
        server.records[record].faults.append(wait)
    fetch()
    assert len(fetched(server)) == 3


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_no_more_disk_than_the_result_and_one_archive(fetch, server, parts, tmp_path, monkeypatch):
    copy, seen = shutil.copyfileobj, []

    def measured(*arguments):
        copy(*arguments)
        seen.append(size_of(tmp_path / "data"))

    monkeypatch.setattr(shutil, "copyfileobj", measured)
    tree = fetch()
    largest = max(len(record.body) for record in server.records.values())
    notes = 6 * 1000  # of parts and of what is whole
    extra_csvs = 2 * (tree / "ben-ge_meta.csv").stat().st_size  # each part brings one; it stays until the part is whole
    assert len(seen) == 3 + 3 + 2 + 3
    assert max(seen) <= size_of(tree) + largest + extra_csvs + notes


def test_one_that_fails_does_not_stop_the_others(fetch, server, tmp_path, capsys):
    server.records[WORLDCOVER].faults.append(servers.status(404))
    with pytest.raises(DownloadError, match=f"{WORLDCOVER}/files/esaworldcover.tar.gz.* status 404"):
        fetch()
    assert left(tmp_path) == ["ben-ge"]
    server.requests.clear()
    fetch()
    assert fetched(server) == [WORLDCOVER]


def test_of_several_failures_one_is_raised_and_the_others_are_said(fetch, server, capsys):
    server.records[WORLDCOVER].faults.append(servers.status(404))
    server.records[LATER_ERA5].faults.append(servers.status(403))
    with pytest.raises(DownloadError, match="status 404"):
        fetch(progress=True)
    assert "ben-ge-era-5: " in capsys.readouterr().out


def test_an_interruption_ends_all_and_loses_nothing(fetch, server, tmp_path, monkeypatch):
    halfway = threading.Barrier(4)

    def half(handler, code, headers, data):
        handler.reply(code, headers, data[: len(data) // 2], length=len(data))
        handler.wfile.flush()
        halfway.wait(20)
        for rest in range(len(data) // 2, len(data)):  # slowly, so that the end is not reached before it is stopped
            handler.wfile.write(data[rest : rest + 1])
            handler.server.closing.wait(0.01)

    def interrupt(*_):
        halfway.wait(20)
        raise KeyboardInterrupt

    for record in (DEM, WORLDCOVER, LATER_ERA5):
        server.records[record].faults.append(half)
    with monkeypatch.context() as patch:
        patch.setattr(archive, "_join", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch()
    names = ("dem", "era-5", "esaworldcover")
    assert left(tmp_path) == sorted(f".ben-ge-{name}.part{ending}" for name in names for ending in ("", ".json"))
    fetch()
    assert sum("Range" in headers for headers in server.file_requests) == 3
    assert left(tmp_path) == ["ben-ge"]


# ---- Disk ------------------------------------------------------------------------------------------------------


def test_the_disk_that_all_parts_take_is_said_before(fetch, server, tmp_path, monkeypatch, capsys):
    """19.5 + 9.9 + 0.3 GB, and the largest archive on top: here under a megabyte."""
    usage = shutil.disk_usage(tmp_path)._replace(free=29_600_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UnwritableError, match=r"must have 29.7 GB free. Received: .*data, which has 29.6 GB"):
        fetch(progress=True)
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said[:3]] == ["ben-ge-dem", "ben-ge-esaworldcover", "ben-ge-era-5"]
    assert said[3].startswith("Needs 29.7 GB in ")
    assert server.file_requests == []
    assert left(tmp_path) == []


@pytest.mark.parametrize(("keep", "needed"), [(False, "10.1 GB"), (True, "10.6 GB")])
def test_of_archives_only_the_largest_comes_on_top(fetch, monkeypatch, tmp_path, keep, needed):
    """Trees of 4, 3 and 2 GB; archives of 1.1, 0.4 and 0.1 GB: 9 + 1.1 GB, with all of them 9 + 1.6 GB."""
    trees = {"ben-ge-dem": 4, "ben-ge-esaworldcover": 3, "ben-ge-era-5": 2}
    sizes = {"ben-ge-dem": 1.1, "ben-ge-esaworldcover": 0.4, "ben-ge-era-5": 0.1}
    for name, tree_gb in trees.items():
        monkeypatch.setitem(
            catalogue.ARCHIVES, name, replace(catalogue.ARCHIVES[name], tree_bytes=int(tree_gb * 1_000_000_000))
        )
    files = {name: archive.RemoteFile(1, "a.tar.gz", int(gb * 1e9), f"{len(name):032d}") for name, gb in sizes.items()}
    monkeypatch.setattr(archive, "_look_up", lambda server, name: [files[name]])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 0))
    with pytest.raises(UnwritableError, match=f"must have {needed} free"):
        fetch(keep_archive=keep)


# ---- What is there already -------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ["dem", "ben-ge_era-5.csv"])
def test_what_was_put_there_by_hand_is_left_alone(fetch, server, tmp_path, entry):
    mine = tmp_path / "data" / "ben-ge" / entry
    mine.parent.mkdir(parents=True)
    mine.mkdir() if entry == "dem" else mine.write_text("mine")
    with pytest.raises(TargetExistsError, match=r"was downloaded whole. Received: .*ben-ge, which lacks a readable"):
        fetch()
    assert server.requests == []
    assert left(tmp_path) == ["ben-ge"]
    assert list(mine.parent.iterdir()) == [mine]


def test_a_raster_that_got_lost_is_noticed(fetch):
    tree = fetch()
    next(tree.glob("dem/*.tif")).unlink()
    with pytest.raises(TargetExistsError, match=r"no ben-ge-dem or a whole one. .* has 2 of 3 .tif files"):
        fetch()
    assert fetch("ben-ge-era-5") == tree


def test_a_meta_csv_that_is_there_stays(fetch, server, tmp_path, capsys):
    mine = tmp_path / "data" / "ben-ge" / "ben-ge_meta.csv"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    fetch("ben-ge-dem", progress=True)
    assert f"{mine} stays as it is; the archive brings another one, which is left out." in capsys.readouterr().out
    assert mine.read_text() == "mine"
    assert fetch("ben-ge-dem") == mine.parent  # whole without it


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_killed_while_a_part_is_put_in_its_place(fetch, server, tmp_path, monkeypatch, moved):
    rename, done = Path.rename, []

    def die(path, target):
        if path.parent.name == "whole":
            if len(done) == moved:
                raise SystemExit("killed")
            done.append(path.name)
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", die)
        with pytest.raises(SystemExit):
            fetch("ben-ge-dem")
    assert "ben-ge-dem_archive.json" not in done  # the note comes last of three
    assert ".ben-ge-dem.part" not in left(tmp_path)  # once all is in its place, nobody would look for it
    server.requests.clear()
    tree = fetch("ben-ge-dem")
    assert server.file_requests == []
    assert sorted(path.name for path in tree.iterdir()) == ["ben-ge-dem_archive.json", "ben-ge_meta.csv", "dem"]
    assert left(tmp_path) == ["ben-ge"]


# ---- What archives may look like -------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [".", "a/b/c"])
def test_rasters_are_found_wherever_they_lie(fetch, server, tmp_path, inside):
    write_tree(tmp_path / "tree", 2, name="ben-ge")
    folder = tmp_path / "flat"
    shutil.copytree(tmp_path / "tree" / "dem", folder)  # rasters and csv beside each other, no folder of their own
    shutil.copy(tmp_path / "tree" / "ben-ge_meta.csv", folder)
    (folder / "._S2A_dem.tif").write_text("what some systems add")
    server.replace(packed(folder, inside))
    tree = fetch("ben-ge-dem")
    assert len(ben_ge.open_source(tree).patch_ids) == 2
    assert (tree / "ben-ge_meta.csv").is_file()


def test_a_csv_beside_the_archive(fetch, server, tmp_path, parts):
    write_tree(tmp_path / "tree", 3, name="ben-ge")
    csv = (tmp_path / "tree" / "ben-ge_era-5.csv").read_bytes()
    server.add(
        LATER_ERA5, {"era5.tar.gz": parts[1]["era-5-as-first-published"], "ben-ge_era-5.csv": csv, "x.txt": b"x"}
    )
    tree = fetch("ben-ge-era-5")
    assert (tree / "ben-ge_era-5.csv").read_bytes() == csv
    assert (tree / "ben-ge_meta.csv").is_file()
    assert fetched(server) == [LATER_ERA5, LATER_ERA5]
    assert left(tmp_path) == ["ben-ge"]


def test_a_csv_that_another_part_is_for_is_left_to_it(fetch, server, tmp_path):
    write_tree(tmp_path / "tree", 1, name="ben-ge")
    server.replace(packed(copied(tmp_path / "tree", tmp_path / "part", "dem", "ben-ge_era-5.csv")))
    tree = fetch("ben-ge-dem")
    assert not (tree / "ben-ge_era-5.csv").exists()
    assert (fetch() / "ben-ge_era-5.csv").is_file()


@pytest.mark.parametrize("case", ["no-rasters", "two-folders", "no-csv", "csv-of-another"])
def test_an_archive_of_something_else_leaves_nothing(fetch, server, tmp_path, case):
    write_tree(tmp_path / "tree", 2, name="ben-ge")
    folder = copied(tmp_path / "tree", tmp_path / "part", "dem")
    if case == "no-rasters":
        shutil.rmtree(folder / "dem")
    if case == "two-folders":
        (folder / "more").mkdir()
        next((folder / "dem").iterdir()).rename(folder / "more" / "b_dem.tif")
    if case == "no-csv":  # as it was published first
        server.latest.clear()
    if case == "csv-of-another":
        (folder / "ben-ge-8k_era-5.csv").write_text("x")
        server.records[LATER_ERA5].replace(packed(folder))
    server.replace(packed(folder))
    name = "ben-ge-dem" if case in ("no-rasters", "two-folders") else "ben-ge-era-5"
    words = {
        "no-rasters": r"must hold rasters \*_dem.tif in one folder, not 0. Received: \[\]",
        "two-folders": r"must hold rasters \*_dem.tif in one folder, not 2",
        "no-csv": r"must hold the csv `era5` of ben-ge. Received: \['ben-ge_meta.csv'\]",
        "csv-of-another": r"must hold the csv `era5` of ben-ge. Received: \[\] and others, such as \['ben-ge-8k",
    }
    with pytest.raises(ArchiveError, match=words[case]):
        fetch(name)
    assert left(tmp_path) == []


# ---- What records may say --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        (
            {"id": 5, "files": []},
            r"must list files with plain names that end in .tar.gz or .tgz or .csv. Received: \[\]",
        ),
        ({"id": 5, "files": [{"key": "a.zip", "size": 1}]}, r"Received: \['a.zip'\]"),
        ({"id": 5, "files": [{"key": "../a.csv", "size": 1, "checksum": "md5:" + "0" * 32}]}, "with plain names"),
        ({"id": 5, "files": [{"key": ".a.csv", "size": 1, "checksum": "md5:" + "0" * 32}]}, "with plain names"),
        ({"id": 5, "files": [{"key": "a.csv", "size": 1}]}, "must state a size and a checksum \"md5:...\" for 'a.csv'"),
        ({"files": [{"key": "a.csv", "size": 1, "checksum": "md5:" + "0" * 32}]}, "number of the record. .* id=None"),
    ],
)
def test_a_record_that_does_not_say_what_is_needed(fetch, server, tmp_path, listing, words):
    server.records[LATER_ERA5].listing = listing
    with pytest.raises(DownloadError, match=words):
        fetch("ben-ge-era-5")
    assert server.file_requests == []
    assert left(tmp_path) == []
