"""Downloading against a local server that misbehaves: what arrives, what is tried again, what is left on disk."""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import numpy as np
import pytest

from eokeras import ben_ge
from eokeras.ben_ge import archive, part, zenodo
from eokeras.ben_ge.unpacking import ArchiveError
from eokeras.ben_ge.zenodo import DownloadError
from eokeras.errors import InvalidArgumentError, TargetExistsError, UnwritableError
from tests import servers
from tests.trees import write_tree

NAME, PART = "ben-ge-800", ".ben-ge-800.part"
ROOT = Path(__file__).parents[2]


def packed(folder, name=NAME):
    """The bytes of a tar.gz of a folder."""
    path = folder.with_name(f"{folder.name}-packed.tar.gz")
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        tar.add(folder, name)
    return path.read_bytes()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """(features of every patch, tar.gz of their tree): a real ben-ge-800 of two patches."""
    folder = tmp_path_factory.mktemp("published") / NAME
    return write_tree(folder, 2, labels=True), packed(folder)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server(published):
    with servers.RecordServer("ben-ge-800.tar.gz", published[1], record=12941231) as running:
        yield running


@pytest.fixture
def pauses(monkeypatch):
    """The pauses in seconds that would have been made."""
    made = []
    monkeypatch.setattr(zenodo, "sleep", made.append)
    return made


@pytest.fixture
def fetch(server, pauses, tmp_path):
    """`download` from the local server; made with the defaults of the function but for the time it waits."""

    def call(**options):
        return ben_ge.download(NAME, tmp_path / "data", base=server.address, **{"progress": False} | options)

    return call


def left(tmp_path):
    """What lies in the directory."""
    return sorted(path.name for path in (tmp_path / "data").iterdir()) if (tmp_path / "data").exists() else []


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
    assert {key: note[key] for key in ("doi", "record", "size")} == {
        "doi": "10.5281/zenodo.12941231",
        "record": 12941231,
        "size": len(server.body),
    }
    assert server.listing["files"][0]["checksum"] == f"md5:{note['md5']}"
    # Two patches: 12 Sentinel-2 bands, VV, VH, elevation and land cover; csvs: meta, era-5, land cover, clusters.
    assert {ending: entry["count"] for ending, entry in note["files"].items()} == {".tif": 32, ".csv": 4, ".json": 2}


@pytest.mark.parametrize("inside", ["", "data/ben-ge-800"])
def test_the_tree_is_found_wherever_it_lies_in_the_archive(fetch, server, tmp_path, inside):
    write_tree(tmp_path / "flat", 1, name=NAME)
    replace_file(server, packed(tmp_path / "flat", inside or "."))
    assert (fetch() / "ben-ge-800_meta.csv").is_file()
    assert left(tmp_path) == [NAME]


def replace_file(server, content):
    """Serves other bytes, which the record states."""
    server.body = content
    server.listing["files"][0] |= {"size": len(content), "checksum": f"md5:{hashlib.md5(content).hexdigest()}"}


def test_facts_of_the_records():
    assert {name: (entry.record, entry.file) for name, entry in archive.ARCHIVES.items()} == {
        "ben-ge-800": (12941231, "ben-ge-800.tar.gz"),
        "ben-ge-8k": (8121208, "ben-ge-8k.tar.gz"),
    }


# ---- Faults after which it goes on -----------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_connection_is_resumed(fetch, server, pauses, reset):
    server.faults.append(servers.cut(300_000, reset))
    assert fetch().is_dir()
    first, second = server.file_requests
    start = int(second["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 300_000 - 2 * 65536 < start <= 300_000 or reset  # a reset may cost what was on its way
    assert second.get("If-Range", '"v1"') == '"v1"'
    assert "Range" not in first
    assert len(pauses) == 1


def test_a_cut_connection_is_resumed_by_the_next_call(fetch, server, tmp_path):
    server.faults.append(servers.cut(300_000))
    with pytest.raises(DownloadError, match=r"could not be fetched; attempts: 1; .* Run it again later"):
        fetch(attempts=1)
    assert left(tmp_path) == [PART, f"{PART}.json"]
    kept = (tmp_path / "data" / PART).read_bytes()
    assert 0 < len(kept) <= 300_000
    assert kept == server.body[: len(kept)]
    assert fetch().is_dir()
    assert server.file_requests[1]["Range"] == f"bytes={len(kept)}-"
    assert server.file_requests[1]["If-Range"] == '"v1"'
    assert left(tmp_path) == [NAME]


def change_version(fault, etag):
    """A fault after which the server has another version of the file."""

    def changed(handler, *right):
        fault(handler, *right)
        handler.server.etag = etag

    return changed


FAULTS = {
    "reset-at-once": servers.cut(0, reset=True),
    "login-page": servers.body(b"<html>log in</html>", ETag='"login"'),
    "ends-early": servers.without_length(300_000),
    "too-long": servers.without_length(repeat=2),
    "announces-too-much": servers.body(b"x" * 2_000_000),
    "408": servers.status(408),
    "429": servers.status(429),
    "500": servers.status(500),
    "502": servers.status(502),
    "503": servers.status(503),
    "504": servers.status(504),
    "changed": change_version(servers.cut(300_000), '"v2"'),
    "no-version-any-more": change_version(servers.cut(300_000), None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_goes_on_after(fetch, server, pauses, tmp_path, fault):
    server.faults.append(FAULTS[fault])
    assert fetch().is_dir()
    assert len(server.file_requests) == 2
    assert len(pauses) == 1
    assert left(tmp_path) == [NAME]


@pytest.mark.parametrize("fault", [servers.stall(200_000), servers.silence])
def test_goes_on_after_a_silence(fetch, server, tmp_path, fault):
    server.faults.append(fault)
    assert fetch(timeout_s=0.5, attempts=20).is_dir()  # on a busy machine more than one answer may be late
    assert len(server.file_requests) >= 2
    assert left(tmp_path) == [NAME]


def test_a_silence_has_an_end(fetch, server):
    server.record_faults.append(servers.silence)
    with pytest.raises(DownloadError, match=r"the last failure: no answer for 0.1 s"):
        fetch(timeout_s=0.1, attempts=1)


CONTINUATIONS = {
    "ignores-range": lambda handler, code, headers, data: handler.reply(200, headers, handler.server.body),
    "wrong-range": servers.body(b"x" * 10, Content_Range="bytes 0-9/800000"),
    "no-content-range": lambda handler, code, headers, data: handler.reply(206, {}, data),
    "ignores-if-range": servers.body(b"x" * 10, ETag='"v2"'),
    "refused": servers.status(416, Content_Range="bytes */1"),
    "login-page": servers.status(200),
    "cut-again": servers.cut(100_000),
}


@pytest.mark.parametrize("case", CONTINUATIONS)
def test_a_server_that_does_not_continue_rightly(fetch, server, tmp_path, case):
    server.faults += [servers.cut(300_000), CONTINUATIONS[case]]
    assert fetch().is_dir()
    assert left(tmp_path) == [NAME]
    keeps = case in ("login-page", "cut-again")  # there the bytes on disk are still good
    assert len(server.file_requests) == (2 if case == "ignores-range" else 3)
    assert ("Range" in server.file_requests[-1]) == (keeps or case == "ignores-range")


def test_a_server_without_ranges_sends_the_whole_again(fetch, server):
    server.ranges = False
    server.faults.append(servers.cut(300_000))
    assert fetch().is_dir()
    assert len(server.file_requests) == 2


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
def test_without_a_strong_version_the_md5_sum_decides(fetch, server, etag):
    server.etag = etag
    server.faults.append(servers.cut(300_000))
    assert fetch().is_dir()
    assert "Range" in server.file_requests[1]
    assert "If-Range" not in server.file_requests[1]


def test_the_record_is_asked_again_too(fetch, server, pauses):
    server.record_faults += [servers.status(503, Retry_After="9"), servers.body(b"<html>", Content_Type="text/html")]
    assert fetch().is_dir()
    assert len(server.requests) == 4
    assert pauses[0] == 9


def test_a_pause_that_the_server_asks_for(fetch, server, pauses):
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    server.faults += [
        servers.status(429, Retry_After="7"),
        servers.status(503, Retry_After=later),
        servers.status(429, Retry_After="soon"),
        servers.status(500, Retry_After="200"),  # counts with 429 and 503 alone
    ]
    assert fetch().is_dir()
    assert pauses[0] == 7
    assert 90 < pauses[1] <= 100
    assert 2 <= pauses[2] <= 4
    assert 4 <= pauses[3] <= 8


def test_pauses_double_up_to_a_minute_and_attempts_have_a_limit(fetch, server, pauses, tmp_path):
    server.faults += [servers.status(500)] * 9
    with pytest.raises(DownloadError, match=r"attempts: 9; the last failure: status 500 Internal Server Error"):
        fetch(attempts=9)
    assert len(server.file_requests) == 9
    wanted = [1, 2, 4, 8, 16, 32, 60, 60]
    assert all(longest / 2 <= pause <= longest for pause, longest in zip(pauses, wanted, strict=True))
    assert left(tmp_path) == []


def test_a_pause_that_is_too_long_is_not_made(fetch, server, pauses):
    server.faults.append(servers.status(429, Retry_After="4000"))
    with pytest.raises(DownloadError, match="It asks for a pause of 4000 s"):
        fetch()
    assert pauses == []


def test_failures_count_from_zero_after_headway(fetch, server, monkeypatch):
    monkeypatch.setattr(zenodo, "_HEADWAY_BYTES", 60_000)
    server.faults += [servers.cut(140_000)] * 4
    assert fetch(attempts=2).is_dir()
    assert len(server.file_requests) == 5


def test_the_same_bytes_again_are_no_headway(fetch, server, monkeypatch):
    monkeypatch.setattr(zenodo, "_HEADWAY_BYTES", 60_000)
    server.ranges = False
    server.faults += [servers.cut(140_000)] * 9
    with pytest.raises(DownloadError, match="attempts: 2"):
        fetch(attempts=2)
    assert len(server.file_requests) == 2


def test_nobody_listens(fetch, server, pauses, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=r"attempts: 3; .*Connection refused"):
        fetch(attempts=3)
    assert left(tmp_path) == []


# ---- Faults that end it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 501])
def test_a_status_that_another_attempt_would_not_change(fetch, server, pauses, tmp_path, code):
    server.faults.append(servers.status(code))
    with pytest.raises(DownloadError, match=f"must be served. Received: status {code}"):
        fetch()
    assert len(server.file_requests) == 1
    assert left(tmp_path) == []


def test_wrong_content_is_removed(fetch, server, tmp_path):
    wrong = server.body[:-1] + bytes([server.body[-1] ^ 1])
    server.faults.append(servers.body(wrong))
    with pytest.raises(DownloadError, match=r"must have the md5 sum [0-9a-f]{32} .* was removed; run it again"):
        fetch()
    assert len(server.file_requests) == 1
    assert left(tmp_path) == []
    assert fetch().is_dir()


def test_a_redirect_is_followed_on_its_own_host_alone(fetch, server, tmp_path):
    server.faults.append(servers.redirect("/records/12941231/files/ben-ge-800.tar.gz?download=1"))
    assert fetch().is_dir()
    shutil.rmtree(tmp_path / "data")
    server.faults.append(servers.redirect("http://192.0.2.1/elsewhere"))
    with pytest.raises(DownloadError, match=r"its own host. Received: a redirect to http://192.0.2.1/elsewhere"):
        fetch()
    assert left(tmp_path) == []


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes a certificate with openssl")
def test_a_certificate_that_nobody_trusts(server, pauses, tmp_path):
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    command += " -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with pytest.raises(DownloadError, match="must have a trusted certificate"):
        ben_ge.download(NAME, tmp_path / "data", base=server.address.replace("http", "https"), progress=False)
    assert server.requests == []


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        ({"files": []}, r"must list the file 'ben-ge-800.tar.gz'. Received: \[\]"),
        ({"files": [{"key": "other.zip", "size": 1, "checksum": "md5:" + "0" * 32}]}, r"Received: \['other.zip'\]"),
        ({"message": "gone"}, "must list the file"),
        ([1], "must list the file"),
        ({"files": [{"key": "ben-ge-800.tar.gz", "size": 9}]}, r"must state a size and a checksum .*None"),
        ({"files": [{"key": "ben-ge-800.tar.gz", "size": "9", "checksum": "md5:" + "0" * 32}]}, "size='9'"),
        ({"files": [{"key": "ben-ge-800.tar.gz", "size": 9, "checksum": "sha1:00"}]}, "checksum='sha1:00'"),
    ],
)
def test_a_record_that_does_not_say_what_is_needed(fetch, server, tmp_path, listing, words):
    server.listing = listing
    with pytest.raises(DownloadError, match=words):
        fetch()
    assert len(server.requests) == 1
    assert left(tmp_path) == []


def test_the_form_of_inveniordm(fetch, server):
    (entry,) = server.listing["files"]
    server.listing = {"files": {"enabled": True, "count": 1, "entries": {entry["key"]: entry}}}
    assert fetch().is_dir()


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
    replace_file(server, packed(folder) if case != "no-archive" else b"<html>" * 1000)
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

    monkeypatch.setattr(archive, "unpack", unpack)
    with pytest.raises(ArchiveError, match="stop"):
        fetch()
    assert (told["most_files"], told["most_bytes"]) == (32_000, 840_000_000)


# ---- What is there already -------------------------------------------------------------------------------------


def test_a_whole_tree_is_returned_without_a_request(fetch, server, tmp_path):
    tree = fetch()
    (tree / "dem" / "added.aux.xml").write_text("a viewer's file")
    server.requests.clear()
    assert fetch() == tree
    assert server.requests == []


@pytest.mark.parametrize("case", ["raster", "csv", "shorter", "unpacked-by-hand", "empty", "file", "broken-note"])
def test_a_tree_that_is_not_whole_is_left_alone(fetch, server, tmp_path, case):
    tree = tmp_path / "data" / NAME
    if case in ("raster", "csv", "shorter", "broken-note", "unpacked-by-hand"):
        fetch()
    raster = next(tree.glob("dem/*.tif"), None)
    note = tree / "ben-ge-800_archive.json"
    change = {
        "raster": lambda: raster.unlink(),
        "csv": lambda: (tree / "ben-ge-800_era-5.csv").unlink(),
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


# ---- Disk and processes ----------------------------------------------------------------------------------------


def test_too_little_disk_is_said_before_it_starts(fetch, server, tmp_path, monkeypatch, capsys):
    usage = shutil.disk_usage(tmp_path)._replace(free=400_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UnwritableError, match=r"must have 421 MB free. Received: .*data, which has 400 MB"):
        fetch(progress=True)
    assert "about 420 MB unpacked. Needs 421 MB in" in capsys.readouterr().out
    assert server.file_requests == []
    assert left(tmp_path) == []


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
    done = subprocess.run(command, capture_output=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert left(tmp_path) == [f".{NAME}.incomplete", PART, f"{PART}.json"]
    server.requests.clear()
    assert ben_ge.open_source(fetch()).patch_ids == tuple(sorted(published[0]))
    assert server.file_requests == []  # what had arrived was whole
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


def test_says_why_it_tries_again(fetch, server, capsys):
    server.faults += [servers.cut(300_000), servers.status(503, Retry_After="3")]
    fetch(progress=True)
    _, first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"the connection (was cut|ended after \d+ of \d+ bytes); attempt 2 of 6 in [01] s", first)
    assert second == "status 503 Service Unavailable; attempt 3 of 6 in 3 s"


def test_says_nothing_where_not_asked_to(fetch, server, capsys):
    server.faults.append(servers.status(503))
    fetch(progress=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "ben-ge"}, r"`name` must be one of \['ben-ge-800', 'ben-ge-8k'\]. Received: name='ben-ge'"),
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
