"""Every fault of a download, one by one, and what comes of it: the table in data_prep/README.md.

python tests/ben_ge/test_download_faults.py   # prints the table
"""

import errno
import fcntl
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from eokeras.ben_ge import part
from eokeras.errors import EokerasError
from tests import servers
from tests.servers import NAME, PART, left

README = Path(__file__).parents[2] / "data_prep" / "README.md"

# Outcomes as the table says them, each of facts that are measured.
AT_ONCE = "whole"
GOES_ON = "whole: the next request asks for the rest"
ANEW = "whole: fetched again from its first byte"
ERROR = "error, nothing stays: "
ERROR_STAYS = "error, what came stays for the next run: "


@dataclass(frozen=True)
class Fault:
    """A row of the table.

    Args:
        words: the fault, for a reader.
        outcome: one of those above; of an error with a part of its message.
        requests: of the file, till the end.
        answers: faults of the server for the first requests of the file.
        of_record: the same for the requests of the record.
        prepare: called with (server, directory, monkeypatch) beforehand.
        pauses_s: pauses that are made, where the server says how long.
        options: of `download`.
    """

    words: str
    outcome: str
    requests: int
    answers: tuple = ()
    of_record: tuple = ()
    prepare: Callable = lambda server, directory, monkeypatch: None
    pauses_s: tuple | None = None
    options: dict = field(default_factory=dict)


def change_version(fault):
    """A fault after which the server has other bytes under another version."""

    def changed(handler, *right):
        fault(handler, *right)
        handler.server.etag = '"v2"'

    return changed


def no_ranges(server, *_):
    server.ranges = False


def no_versions(server, *_):
    server.etag = None


def on_disk(content):
    """What an earlier run left: a function of the right bytes, with the note that belongs to it."""

    def prepare(server, directory, _):
        directory.mkdir()
        md5 = server.listing["files"][0]["checksum"].removeprefix("md5:")
        (directory / PART).write_bytes(content(server.body))
        (directory / f"{PART}.json").write_text(json.dumps({"md5": md5, "etag": server.etag}))

    return prepare


def spoilt(content):
    return content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]


def full_disk(server, directory, monkeypatch):
    write = part.Part.write

    def until_full(self, chunk):
        if self.size > 200_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, chunk)

    monkeypatch.setattr(part.Part, "write", until_full)


def small_disk(server, directory, monkeypatch):
    usage = shutil.disk_usage(directory.parent)._replace(free=400_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


def locked(server, directory, monkeypatch):
    directory.mkdir()
    held = (directory / PART).open("wb")
    fcntl.flock(held, fcntl.LOCK_EX)
    monkeypatch.setattr(server, "held", held, raising=False)  # as long as the test


def unstated(server, *_):
    del server.listing["files"][0]["checksum"]


cut, status, body = servers.cut(300_000), servers.status, servers.body
login_page = lambda handler, *right: handler.reply(200, {"ETag": '"login"'}, b"<html>log in</html>")  # noqa: E731
slow = {"timeout_s": 1.5}
wrong_end = body(b"x" * 10, Content_Range="bytes 0-9/800000")

FAULTS = [
    Fault("none", AT_ONCE, 1),
    Fault("connection cut", GOES_ON, 2, [cut]),
    Fault("cut five times in a row", GOES_ON, 6, [servers.cut(60_000)] * 5),
    Fault("connection reset before the first byte", ANEW, 2, [servers.cut(0, reset=True)]),
    Fault("body ends early, no Content-Length", GOES_ON, 2, [servers.without_length(300_000)]),
    Fault("chunked transfer breaks off in no known size", GOES_ON, 2, [servers.in_broken_chunks(300_000)]),
    Fault("body longer than the record states", ANEW, 2, [servers.without_length(repeat=2)]),
    Fault("Content-Length other than the record states", ANEW, 2, [body(b"x" * 2_000_000)]),
    Fault("a login page with status 200", ANEW, 2, [login_page]),
    Fault("the same, instead of the rest", GOES_ON, 3, [cut, login_page]),
    Fault("compressed on the way though not asked for", ANEW, 2, [servers.packed_on_the_way]),
    Fault("an answer that is not HTTP", ANEW, 2, [servers.garbage]),
    Fault("no answer at all", ANEW, 2, [servers.silence], options=slow),
    Fault("silence amid the body", GOES_ON, 2, [servers.stall(200_000)], options=slow),
    Fault("slow: 20 bytes a second without end", GOES_ON, 2, [servers.drip(200_000)], options=slow),
    Fault("404 (and 400, 401, 403, 410, 501)", ERROR + "status 404 Not Found", 1, [status(404)]),
    Fault("429 with Retry-After: 7", ANEW, 2, [status(429, Retry_After="7")], pauses_s=(7,)),
    Fault("503 with Retry-After: 9, amid the file", GOES_ON, 3, [cut, status(503, Retry_After="9")]),
    Fault("429 with Retry-After: 4000", ERROR + "asks for a pause of 4000 s", 1, [status(429, Retry_After="4000")]),
    Fault("500 (and 408, 425, 502, 504)", ANEW, 2, [status(500)]),
    Fault("500 without end", ERROR + "attempts: 6", 6, [status(500)] * 9),
    Fault("500 without end, amid the file", ERROR_STAYS + "attempts: 6", 6, [cut] + [status(500)] * 9),
    Fault("cut, and the server knows no Range", ANEW, 2, [cut], prepare=no_ranges),
    Fault("cut, then 206 of another range", ANEW, 3, [cut, wrong_end]),
    Fault("cut, then 206 without Content-Range", ANEW, 3, [cut, lambda h, c, k, data: h.reply(206, {}, data)]),
    Fault("cut, then 206 of another version (ETag)", ANEW, 3, [cut, body(b"x" * 10, ETag='"v2"')]),
    Fault("cut, then 416", ANEW, 3, [cut, status(416, Content_Range="bytes */1")]),
    Fault("cut, then the file is another (If-Range)", ANEW, 2, [change_version(cut)]),
    Fault(
        "cut, then other bytes as the rest; no ETag that would tell",
        ANEW,
        3,
        [cut, lambda handler, code, headers, data: handler.reply(code, headers, bytes(len(data)))],
        prepare=no_versions,
    ),
    Fault("cut, then a piece of other bytes under the right headers", ANEW, 4, [cut, body(b"<html>log in</html>")]),
    Fault("the beginning on disk is spoilt", ANEW, 2, prepare=on_disk(lambda right: spoilt(right[:300_000]))),
    Fault("the whole archive on disk is spoilt", ANEW, 1, prepare=on_disk(spoilt)),
    Fault("the archive on disk is too long", ANEW, 1, prepare=on_disk(lambda right: right + b"x")),
    Fault(
        "one bit wrong from the server",
        ERROR + "must have the md5 sum",
        1,
        [lambda h, c, k, d: h.reply(c, k, spoilt(d))],
    ),
    Fault("redirect to another host", ERROR + "its own host", 1, [servers.redirect("http://192.0.2.1/elsewhere")]),
    Fault(
        "the record is an HTML page, then broken JSON", AT_ONCE, 1, of_record=[body(b"<html>"), body(b"[" * 200_000)]
    ),
    Fault("the record is larger than 16 MB", AT_ONCE, 1, of_record=[body(b" " * (1 << 24) + b"{}")]),
    Fault("the record states no md5 sum", ERROR + "must state a size and a checksum", 0, prepare=unstated),
    Fault("the record is gone", ERROR + "status 410 Gone", 0, of_record=[status(410)]),
    Fault("less disk than it takes", ERROR + "must have 421 MB free", 0, prepare=small_disk),
    Fault("the disk fills up", ERROR_STAYS + "No space left on device", 1, prepare=full_disk),
    Fault("another process downloads the same", ERROR_STAYS + "another process writes", 0, prepare=locked),
]


def measured(fetch, server, directory, options):
    """What came of a download: words of an outcome, to which those of an error are added."""
    try:
        tree = fetch(**options)
    except EokerasError as error:
        return (ERROR_STAYS if left(directory.parent) else ERROR), str(error)
    assert (tree / "ben-ge-800_meta.csv").is_file()
    assert left(directory.parent) == [NAME]
    asked = server.file_requests
    if len(asked) == 1 and "Range" not in asked[0] and not server.had_part:
        return AT_ONCE, ""
    continued = "Range" in asked[-1] and server.last_status == 206
    return (GOES_ON if continued else ANEW), ""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.words)
def test_fault(fetch, server, pauses, tmp_path, monkeypatch, fault):
    directory = tmp_path / "data"
    server.faults += fault.answers
    server.record_faults += fault.of_record
    fault.prepare(server, directory, monkeypatch)
    server.had_part = directory.exists()
    words, message = measured(fetch, server, directory, fault.options)
    assert fault.outcome.startswith(words)
    assert fault.outcome.removeprefix(words) in message
    assert len(server.file_requests) == fault.requests
    if fault.pauses_s:
        assert tuple(pauses) == fault.pauses_s


def table():
    """The table as Markdown."""
    rows = [f"| {fault.words} | {fault.requests} | {fault.outcome} |" for fault in FAULTS]
    return "\n".join(["| fault | requests | outcome |", "|---|---|---|", *rows])


def test_the_readme_has_the_table():
    assert table() in README.read_text("utf-8")


if __name__ == "__main__":
    print(table())
