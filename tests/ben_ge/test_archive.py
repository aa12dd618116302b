"""Downloading from a local server: what arrives, what is refused, what is left on disk."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from eokeras import ben_ge
from eokeras.ben_ge import archive, download_task, part, staging
from eokeras.ben_ge.unpacking import ArchiveError
from eokeras.errors import InvalidArgumentError, TargetExistsError, UnwritableError
from tests import servers
from tests.servers import NAME, PART, left, packed
from tests.trees import write_tree

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"}


# ---- The whole way ---------------------------------------------------------------------------------------------


def test_fetches_checks_and_unpacks(fetch, server, published, tmp_path):
    tree = fetch()
    assert tree == tmp_path / "data" / NAME
    source = ben_ge.open_source(tree)
    assert (source.name, source.patch_ids) == (NAME, tuple(sorted(published[0])))
    for patch_id, expected in published[0].items():
        features = source.read(patch_id).features
        assert set(features) == set(expected)
        for name, value in expected.items():
            np.testing.assert_array_equal(features[name], value, err_msg=name)
    assert left(tmp_path) == [NAME]
    assert [path for path, _ in server.requests] == [
        "/api/records/12941231",
        "/records/12941231/files/ben-ge-800.tar.gz?download=1",
    ]
    assert all(headers["User-Agent"].startswith("eokeras/") for _, headers in server.requests)
    assert server.file_requests[0]["Accept-Encoding"] == "identity"
    assert "Range" not in server.file_requests[0]


def test_the_note_in_the_tree_says_where_it_comes_from(fetch, server):
    note = json.loads((fetch() / "ben-ge-800_archive.json").read_text())
    assert (note["doi"], note["record"]) == ("10.5281/zenodo.12941231", 12941231)
    stated = server.listing["files"][0]
    md5 = stated["checksum"].removeprefix("md5:")
    assert note["archives"] == [{"name": "ben-ge-800.tar.gz", "size": len(server.body), "md5": md5}]
    # Two patches: 12 Sentinel-2 bands, VV, VH, elevation and land cover; csvs: meta, era-5, land cover, clusters.
    assert {ending: entry["count"] for ending, entry in note["files"].items()} == {".tif": 32, ".csv": 4, ".json": 2}


@pytest.mark.parametrize("inside", ["", "data/ben-ge-800"])
def test_the_tree_is_found_wherever_it_lies_in_the_archive(fetch, server, tmp_path, inside):
    write_tree(tmp_path / "flat", 1, name=NAME)
    server.replace(packed(tmp_path / "flat", inside or "."))
    assert (fetch() / "ben-ge-800_meta.csv").is_file()
    assert left(tmp_path) == [NAME]


def test_facts_of_the_records():
    assert {name: (entry.record, entry.file) for name, entry in archive.ARCHIVES.items()} == {
        "ben-ge-800": (12941231, "ben-ge-800.tar.gz"),
        "ben-ge-8k": (8121208, "ben-ge-8k.tar.gz"),
        "ben-ge-dem": (8129350, None),
        "ben-ge-esaworldcover": (8129666, None),
        "ben-ge-era-5": (8129412, None),
    }


# ---- The archive's content -------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["link", "no-tree", "no-archive"])
def test_an_archive_that_is_refused_leaves_nothing(fetch, server, tmp_path, case):
    folder = tmp_path / "hostile"
    write_tree(folder, 1, name=NAME)
    if case == "link":
        (folder / "link").symlink_to("/etc")
    if case == "no-tree":
        shutil.rmtree(folder)
        (folder / "photos" / "2017").mkdir(parents=True)
        (folder / "photos" / "2017" / "a.jpg").write_bytes(b"x")
    server.replace(packed(folder) if case != "no-archive" else b"<html>" * 1000)
    words = {"link": "a symbolic link", "no-tree": "must hold a ben-ge tree", "no-archive": "must be a whole tar.gz"}
    with pytest.raises(ArchiveError, match=words[case]):
        fetch()
    assert left(tmp_path) == []


def test_limits_follow_from_what_is_stated(fetch, server, tmp_path, monkeypatch):
    """800 patches of 20 files: 16,000, and twice as many are too many."""
    told = {}

    def unpack(source, directory, **options):
        told.update(options)
        raise ArchiveError("stop")

    monkeypatch.setattr(download_task, "unpack", unpack)
    with pytest.raises(ArchiveError, match="stop"):
        fetch()
    assert (told["most_files"], told["most_bytes"]) == (32_000, 840_000_000)


# ---- What is there already -------------------------------------------------------------------------------------


def test_a_whole_tree_is_returned_without_a_request(fetch, server, tmp_path):
    tree = fetch()
    (tree / "dem" / "added.aux.xml").write_text("a viewer's file")
    (tmp_path / "data" / f".{NAME}.incomplete").mkdir()  # left by a run that was killed with its last step
    server.requests.clear()
    assert fetch() == tree
    assert server.requests == []
    assert left(tmp_path) == [NAME]


@pytest.mark.parametrize(
    "case", ["raster", "csv", "label", "shorter", "unpacked-by-hand", "empty", "file", "broken-note"]
)
def test_a_tree_that_is_not_whole_is_left_alone(fetch, server, tmp_path, case):
    tree = tmp_path / "data" / NAME
    if case not in ("empty", "file"):
        fetch()
    raster = next(tree.glob("dem/*.tif"), None)
    note = tree / "ben-ge-800_archive.json"
    change = {
        "raster": lambda: raster.unlink(),
        "csv": lambda: (tree / "ben-ge-800_era-5.csv").unlink(),
        "label": lambda: next(tree.glob("*/*/*_labels_metadata.json")).unlink(),
        "shorter": lambda: raster.write_bytes(b""),
        "unpacked-by-hand": lambda: note.unlink(),
        "broken-note": lambda: note.write_text('{"files": '),
        "empty": lambda: tree.mkdir(parents=True),
        "file": lambda: (tree.parent.mkdir(), tree.write_text("mine")),
    }
    change[case]()
    before = sorted(tree.rglob("*"))
    server.requests.clear()
    with pytest.raises(TargetExistsError, match=r"`open_source` .* else remove it and download again") as error:
        fetch()
    assert server.requests == []
    assert sorted(tree.rglob("*")) == before
    if case == "raster":
        assert "has 31 of 32 .tif files" in str(error.value)
    if case == "label":
        assert "has 1 of 2 .json files" in str(error.value)  # the note is none of them


def test_the_archive_is_kept_where_asked_for_and_used_again(fetch, server, tmp_path):
    tree = fetch(keep_archive=True)
    assert left(tmp_path) == [NAME, "ben-ge-800.tar.gz"]
    assert (tmp_path / "data" / "ben-ge-800.tar.gz").read_bytes() == server.body
    shutil.rmtree(tree)
    server.requests.clear()
    assert (fetch() / "ben-ge-800_meta.csv").is_file()
    assert server.file_requests == []
    assert left(tmp_path) == [NAME, "ben-ge-800.tar.gz"]


def test_another_file_of_the_archives_name_is_left_alone(fetch, server, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ben-ge-800.tar.gz").write_text("mine")
    with pytest.raises(TargetExistsError, match=r"must have the md5 sum .* Remove it, or give it another name"):
        fetch()
    assert server.file_requests == []
    assert left(tmp_path) == ["ben-ge-800.tar.gz"]


@pytest.mark.parametrize("case", ["whole", "other-file", "too-long", "no-note", "broken-note"])
def test_what_an_earlier_run_left(fetch, server, tmp_path, case):
    (tmp_path / "data" / f".{NAME}.incomplete").mkdir(parents=True)
    md5 = server.listing["files"][0]["checksum"].removeprefix("md5:")
    content = {"whole": server.body, "too-long": server.body + b"x"}.get(case, b"x" * 1000)
    note = {"md5": "0" * 32 if case == "other-file" else md5, "etag": '"v1"'}
    (tmp_path / "data" / PART).write_bytes(content)
    if case != "no-note":
        text = json.dumps(note) if case != "broken-note" else '{"md5"'
        (tmp_path / "data" / f"{PART}.json").write_text(text)
    assert fetch().is_dir()
    assert len(server.file_requests) == (0 if case == "whole" else 1)
    assert all("Range" not in headers for headers in server.file_requests)
    assert left(tmp_path) == [NAME]


def test_a_part_in_use_is_refused(fetch, server, tmp_path):
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / PART).open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UnwritableError, match=r"another process writes \.ben-ge-800\.part\. Wait for it"):
            fetch()
    assert fetch().is_dir()


def test_no_other_process_begins_while_one_puts_all_in_its_place(fetch, server, tmp_path, monkeypatch):
    place, seen = staging.place, []

    def watched(*arguments):
        with (tmp_path / "data" / PART).open("rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        seen.append((tmp_path / "data" / PART).stat().st_size)
        place(*arguments)

    monkeypatch.setattr(staging, "place", watched)
    assert fetch().is_dir()
    assert seen == [0]
    assert left(tmp_path) == [NAME]
    (tmp_path / "data" / PART).touch()  # as if killed right then
    assert fetch().is_dir()
    assert left(tmp_path) == [NAME]


# ---- Disk and processes ----------------------------------------------------------------------------------------


def test_too_little_disk_is_said_before_it_starts(fetch, server, tmp_path, monkeypatch, capsys):
    usage = shutil.disk_usage(tmp_path)._replace(free=400_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UnwritableError, match=r"must have 421 MB free. Received: .*data, which has 400 MB"):
        fetch(progress=True)
    assert "about 420 MB unpacked. Needs 421 MB in" in capsys.readouterr().out
    assert server.file_requests == []
    assert left(tmp_path) == []


def test_disk_that_a_killed_run_took_counts_as_free(fetch, tmp_path, monkeypatch):
    left_over = tmp_path / "data" / f".{NAME}.incomplete"
    left_over.mkdir(parents=True)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**8 if left_over.exists() else 5 * 10**8))
    assert fetch().is_dir()


@pytest.mark.parametrize("when", ["download", "unpack"])
def test_a_full_disk_costs_nothing_that_has_arrived(fetch, server, tmp_path, monkeypatch, when):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if when == "unpack":
            patch.setattr(shutil, "copyfileobj", full)
        else:
            write = part.Part.write
            patch.setattr(part.Part, "write", lambda self, chunk: full() if self.size > 200_000 else write(self, chunk))
        with pytest.raises(UnwritableError, match="No space left on device"):
            fetch()
    assert left(tmp_path) == [PART, f"{PART}.json"]
    assert fetch().is_dir()
    assert len(server.file_requests) == (1 if when == "unpack" else 2)
    assert left(tmp_path) == [NAME]


def test_a_directory_that_cannot_be_made(server, pauses, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UnwritableError, match="`directory` must be writable"):
        ben_ge.download(NAME, tmp_path / "file" / "data", base=server.address, progress=False)


KILLED = """
import os, shutil, signal, sys
from eokeras import ben_ge
copy, copied = shutil.copyfileobj, []
def kill_at_the_tenth(*arguments):
    copied.append(copy(*arguments))
    if len(copied) == 10:
        os.kill(os.getpid(), signal.SIGKILL)
shutil.copyfileobj = kill_at_the_tenth
ben_ge.download("ben-ge-800", sys.argv[1], base=sys.argv[2])
"""


def test_killed_while_unpacking(fetch, server, published, tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "data"), server.address]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, env=ENVIRONMENT)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert left(tmp_path) == [f".{NAME}.incomplete", PART, f"{PART}.json"]
    server.requests.clear()
    assert ben_ge.open_source(fetch()).patch_ids == tuple(sorted(published[0]))
    assert server.file_requests == []  # what had arrived was whole
    assert left(tmp_path) == [NAME]


def test_killed_before_the_last_step(fetch, server, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(download_task.staging, "place", lambda *_: (_ for _ in ()).throw(SystemExit("killed")))
        with pytest.raises(SystemExit):
            fetch()
    assert left(tmp_path) == [f".{NAME}.incomplete"]
    server.requests.clear()
    assert (fetch() / "ben-ge-800_meta.csv").is_file()
    assert server.file_requests == []
    assert left(tmp_path) == [NAME]


@pytest.mark.parametrize("killed", [False, True])
def test_an_archive_beside_the_beginning_of_its_download(fetch, server, tmp_path, monkeypatch, killed):
    kept = tmp_path / "data" / "ben-ge-800.tar.gz"
    server.faults.append(servers.cut(300_000))
    with pytest.raises(OSError, match="attempts: 1"):
        fetch(attempts=1)
    kept.write_bytes(server.body)
    if killed:
        with monkeypatch.context() as patch:
            patch.setattr(download_task.staging, "place", lambda *_: (_ for _ in ()).throw(SystemExit("killed")))
            with pytest.raises(SystemExit):
                fetch(keep_archive=True)
    assert fetch(keep_archive=True).is_dir()
    assert kept.read_bytes() == server.body
    assert left(tmp_path) == [NAME, "ben-ge-800.tar.gz"]


def test_killed_while_downloading(fetch, server, tmp_path):
    sent = threading.Event()

    def half(handler, code, headers, data):
        handler.reply(code, headers, data[:300_000], length=len(data))
        handler.wfile.flush()
        sent.set()
        handler.server.closing.wait(30)

    server.faults.append(half)
    command = [
        sys.executable,
        "-c",
        "from eokeras import ben_ge; import sys; ben_ge.download(*sys.argv[1:3], base=sys.argv[3])",
    ]
    process = subprocess.Popen([*command, NAME, str(tmp_path / "data"), server.address], cwd=ROOT, env=ENVIRONMENT)
    path = tmp_path / "data" / PART
    assert sent.wait(60)
    deadline = time.monotonic() + 60
    while not path.exists() or path.stat().st_size < 200_000:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    kept = path.stat().st_size
    assert path.read_bytes() == server.body[:kept]
    assert fetch().is_dir()
    assert server.file_requests[1]["Range"] == f"bytes={kept}-"
    assert left(tmp_path) == [NAME]


# ---- What it says ----------------------------------------------------------------------------------------------


def test_says_what_it_fetches_and_stays_quiet_in_a_log(fetch, server, tmp_path, capsys):
    fetch(progress=True)
    said = capsys.readouterr()
    start = f"ben-ge-800: 1 MB from {server.address}/records/12941231, 0 MB of it are here; about 420 MB unpacked. "
    assert said.out.startswith(f"{start}Needs 421 MB in {tmp_path / 'data'}; ")
    assert said.out.count("\n") == 1
    assert "download: 100%" in said.err
    assert "unpack: 100%" in said.err
    assert said.err.count("\r") == 4  # each bar at its beginning and its end, though ten chunks and 41 files came


def test_says_nothing_where_not_asked_to(fetch, server, capsys):
    server.faults.append(servers.status(503))
    fetch(progress=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "bigearthnet"}, r"`name` must be one of \['ben-ge-800', .*'ben-ge'\]. Received: name='bigearthnet'"),
        ({"base": "http://zenodo.org"}, "`base` must be an https address"),
        ({"base": "ftp://127.0.0.1"}, "`base` must be an https address"),
        ({"base": "zenodo.org"}, "`base` must be an https address"),
        ({"attempts": 0}, "`attempts` must be a positive integer"),
        ({"wait_s": -1}, "`wait_s` must not be negative"),
        ({"timeout_s": 0}, "`timeout_s` must be positive"),
    ],
)
def test_bad_arguments(tmp_path, arguments, words):
    with pytest.raises(InvalidArgumentError, match=words):
        ben_ge.download(**{"name": NAME, "directory": tmp_path / "data"} | arguments)
    assert left(tmp_path) == []
