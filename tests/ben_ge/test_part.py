"""The beginning of a file: no link is followed, and nothing open is renamed or removed."""

import json
import os
from pathlib import Path

import pytest

from eokeras.ben_ge.http_client import DownloadError
from eokeras.ben_ge.unpacking import ArchiveError
from eokeras.errors import UnwritableError
from tests import servers
from tests.servers import NAME, PART, left


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system cannot open a file but not a link")
def test_a_link_in_its_place_is_refused(fetch, server, tmp_path):
    precious, link = tmp_path / "precious", tmp_path / "data" / PART
    precious.write_text("mine")
    link.parent.mkdir()
    link.symlink_to(precious)
    with pytest.raises(UnwritableError, match=r"must hold no link named \.ben-ge-800\.part\. .* Remove the link"):
        fetch()
    assert precious.read_text() == "mine"
    assert server.file_requests == []
    link.unlink()
    assert fetch().is_dir()


def test_a_link_in_place_of_its_note_is_replaced(fetch, server, tmp_path):
    precious, link = tmp_path / "precious", tmp_path / "data" / f"{PART}.json"
    fitting = json.dumps({"md5": server.listing["files"][0]["checksum"].removeprefix("md5:"), "etag": None})
    precious.write_text(fitting)
    link.parent.mkdir()
    link.symlink_to(precious)
    size = len(server.body)
    whole = {"Content-Range": f"bytes 0-{size - 1}/{size}", "ETag": '"v1"'}
    server.faults.append(lambda handler, code, headers, data: handler.reply(206, whole, data))
    assert fetch().is_dir()
    assert precious.read_text() == fitting
    assert left(tmp_path) == [NAME]


@pytest.fixture
def as_windows(monkeypatch):
    """No file is renamed or removed while this process has it open."""

    def guarded(function):
        def call(path, *arguments, **options):
            opened = (os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if is_open(name))
            if str(path.absolute()) in opened:
                raise PermissionError(13, "The process cannot access the file because it is being used", str(path))
            return function(path, *arguments, **options)

        return call

    for name in ("unlink", "rename"):
        monkeypatch.setattr(Path, name, guarded(getattr(Path, name)))


def is_open(name):
    return os.path.lexists(f"/proc/self/fd/{name}")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks up there which files are open")
@pytest.mark.parametrize("case", ["whole", "kept", "wrong-content", "refused-archive", "nothing-came"])
def test_nothing_open_is_renamed_or_removed(fetch, server, tmp_path, as_windows, case):
    if case in ("whole", "kept"):
        assert fetch(keep_archive=case == "kept").is_dir()
    if case == "wrong-content":
        server.faults.append(servers.body(b"x" * len(server.body)))
        with pytest.raises(DownloadError, match="must have the md5 sum"):
            fetch()
    if case == "refused-archive":
        server.replace(b"<html>" * 1000)
        with pytest.raises(ArchiveError, match=r"must be a whole tar\.gz"):
            fetch()
    if case == "nothing-came":
        server.faults.append(servers.status(404))
        with pytest.raises(DownloadError, match="status 404"):
            fetch()
    assert left(tmp_path) == {"whole": [NAME], "kept": [NAME, f"{NAME}.tar.gz"]}.get(case, [])
