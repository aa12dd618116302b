"""Fetching from a local server that misbehaves: requests, pauses and limits. All faults: test_download_faults.py."""

import re
import shutil
import ssl
import subprocess

import pytest

from eokeras import ben_ge
from eokeras.ben_ge import http_client
from eokeras.ben_ge.http_client import DownloadError
from tests import servers
from tests.servers import NAME, PART, left

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


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
def test_goes_on_after_a_status_that_passes(fetch, server, pauses, tmp_path, code):
    server.faults.append(servers.status(code))
    assert fetch().is_dir()
    assert len(server.file_requests) == 2
    assert len(pauses) == 1
    assert left(tmp_path) == [NAME]


@pytest.mark.parametrize("etag", ['"v2"', None])
def test_another_version_is_fetched_from_its_beginning(fetch, server, tmp_path, etag):
    server.faults.append(change_version(servers.cut(300_000), etag))
    assert fetch().is_dir()
    assert len(server.file_requests) == 2
    assert left(tmp_path) == [NAME]


def test_a_silence_has_an_end(fetch, server):
    server.record_faults.append(servers.silence)
    with pytest.raises(DownloadError, match=r"the last failure: no answer for 0.1 s"):
        fetch(timeout_s=0.1, attempts=1)


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
def test_without_a_strong_version_the_md5_sum_decides(fetch, server, etag):
    server.etag = etag
    server.faults.append(servers.cut(300_000))
    assert fetch().is_dir()
    assert "Range" in server.file_requests[1]
    assert "If-Range" not in server.file_requests[1]


def test_the_record_is_asked_again_too(fetch, server, pauses):
    server.record_faults += [
        servers.status(503, Retry_After="9"),
        servers.body(b"<html>", Content_Type="text/html"),
        servers.body(b"[" * 200_000),  # deeper than a parser goes
    ]
    assert fetch().is_dir()
    assert len(server.requests) == 5
    assert pauses[0] == 9


def test_a_pause_that_the_server_asks_for(fetch, server, pauses):
    server.faults += [
        servers.status(429, Retry_After="7"),
        servers.status(429, Retry_After="soon"),
        servers.status(500, Retry_After="200"),  # counts with 429 and 503 alone
    ]
    assert fetch().is_dir()
    assert pauses[0] == 7
    assert 1 <= pauses[1] <= 2
    assert 2 <= pauses[2] <= 4


def test_a_pause_until_a_date(fetch, server, pauses):
    """By the clock of the server, which stands in its answer."""
    answer = {"Date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    for until in ("07:30:05", "07:20:00"):
        changes = answer | {"Retry-After": f"Wed, 21 Oct 2015 {until} GMT"}
        server.faults.append(lambda handler, *right, changes=changes: handler.reply(503, changes, b""))
    assert fetch().is_dir()
    assert pauses == [125, 0]


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
    monkeypatch.setattr(http_client, "_HEADWAY_BYTES", 60_000)
    server.faults += [servers.cut(140_000)] * 4
    assert fetch(attempts=2).is_dir()
    assert len(server.file_requests) == 5


def test_the_same_bytes_again_are_no_headway(fetch, server, monkeypatch):
    monkeypatch.setattr(http_client, "_HEADWAY_BYTES", 60_000)
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


def test_says_why_it_tries_again(fetch, server, capsys):
    server.faults += [servers.cut(300_000), servers.status(503, Retry_After="3")]
    fetch(progress=True)
    _, first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"the connection (was cut|ended after \d+ of \d+ bytes); attempt 2 of 6 in [01] s", first)
    assert second == "status 503 Service Unavailable; attempt 3 of 6 in 3 s"
