"""Files of a Zenodo record over HTTP: looked up in the record, streamed to disk, resumed after a cut.

What the record says of a file, its size and md5 sum, is what is checked. Addresses are built from
the documented forms `/api/records/<id>`, `/api/records/<id>/versions/latest` and
`/records/<id>/files/<name>?download=1`: links inside a record are not used, and a redirect is followed
on the same host alone.

Reference:
    https://developers.zenodo.org; Range requests: RFC 9110, section 14
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

import requests

from eokeras.ben_ge.http_client import DownloadError, HttpClient, PassingError
from eokeras.ben_ge.part import Part

ADDRESS = "https://zenodo.org"

_LARGEST_RECORD_BYTES = 1 << 24
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")  # becomes a name on disk


@dataclass(frozen=True)
class RemoteFile:
    """A file as its record states it; `size` in bytes, `md5` as 32 hexadecimal digits."""

    record: int
    name: str
    size: int
    md5: str


class Zenodo:
    """Zenodo, or a server of the same form. For one thread.

    Args:
        base: address of the server: https, or http on this machine alone.
        patience: `attempts`, `wait_s`, `timeout_s`, `say` and `stop` of `HttpClient`.

    Raises:
        InvalidArgumentError: an argument breaks its rule.

    Example:
        >>> server = Zenodo(attempts=3, timeout_s=10)
        >>> file = server.find(12941231, "ben-ge-800.tar.gz")  # doctest: +SKIP
        >>> with Part("ben-ge-800.part", file.md5, file.size) as part:  # doctest: +SKIP
        ...     server.fetch(file, part)
    """

    def __init__(self, base: str = ADDRESS, **patience):
        self._client = HttpClient(base, **patience)
        self.base = self._client.base

    def find(self, record: int, name: str) -> RemoteFile:
        """Looks a file up in its record, `{"files": [{"key", "size", "checksum"}]}`.

        Raises:
            DownloadError: the record cannot be read, lacks the file, or does not state its size and md5 sum.
        """
        address = f"{self.base}/api/records/{record}"
        entries = self._read_entries(address)[1]
        if name not in entries:
            raise DownloadError(f"{address} must list the file {name!r}. Received: {sorted(map(str, entries))}.")
        return _remote_file(address, record, entries[name])

    def find_all(self, record: int, endings: tuple[str, ...], *, latest: bool = False) -> list[RemoteFile]:
        """Looks up all files of a record whose names end so.

        Args:
            record: its number.
            endings: such as (".tar.gz",).
            latest: whether a later version of the record counts instead, where there is one.

        Raises:
            DownloadError: the record cannot be read, has no such file, does not state size and md5 sum of each, or
                has one of a name that cannot stand on disk.
        """
        address = f"{self.base}/api/records/{record}" + ("/versions/latest" if latest else "")
        number, entries = self._read_entries(address)
        if latest and not str(number).isdecimal():
            raise DownloadError(f"{address} must state the number of the record. Received: id={number!r}.")
        found = [entry for name, entry in sorted(entries.items()) if name.endswith(endings)]
        if not found or not all(_PLAIN_NAME.fullmatch(entry["key"]) for entry in found):
            raise DownloadError(
                f"{address} must list files with plain names that end in {' or '.join(endings)}. "
                f"Received: {sorted(entries)}."
            )
        return [_remote_file(address, int(number) if latest else record, entry) for entry in found]

    def fetch(self, file: RemoteFile, part: Part, progress: Callable[[int], None] = lambda done: None) -> None:
        """Completes the part of a file that is on disk, and checks its size and md5 sum.

        Args:
            file: what to fetch.
            part: its beginning, open; empty at first. Stays where the connection fails for good, so that a
                later call goes on there; removed where its content is wrong.
            progress: called as progress(bytes on disk), which go back to zero where the server cannot
                continue and sends the whole file again, or where pieces of several answers do not fit together.

        Raises:
            DownloadError: too many failures in a row, no such file, or another content than the record states.
            OSError: the part cannot be written.
        """
        address = f"{self.base}/records/{file.record}/files/{quote(file.name, safe='')}?download=1"
        self._client.persist(lambda: self._complete(address, file, part, progress), address, lambda: part.furthest)

    def _complete(self, address: str, file: RemoteFile, part: Part, progress: Callable[[int], None]) -> None:
        in_one_piece = False
        if part.size < file.size:
            in_one_piece = self._request(address, file, part, progress)
        if part.md5 == file.md5:
            return
        received = part.md5
        if not in_one_piece:  # a disk may have spoilt the beginning, a server may have continued another file
            part.clear()
            progress(0)
            raise PassingError(f"the pieces of {file.name} have the md5 sum {received} together, not the record's")
        part.remove()
        raise DownloadError(
            f"{file.name} must have the md5 sum {file.md5} that its record states. Received: {received} "
            f"from {address}. What had arrived was removed; run it again."
        )

    def _request(self, address: str, file: RemoteFile, part: Part, progress: Callable[[int], None]) -> bool:
        """Asks for the rest of a file and appends it; whether the whole file came instead."""
        headers = {"Range": f"bytes={part.size}-"} if part.size else {}
        if part.size and part.etag:
            headers["If-Range"] = part.etag
        with self._client.get(address, headers, also=(206, 416)) as response:
            is_whole = response.status_code == 200
            if is_whole:
                length = response.headers.get("Content-Length", "")
                if length.isdecimal() and int(length) != file.size:  # such as the page of a network's login
                    raise PassingError(f"the server offers {length} bytes where the record states {file.size}")
                part.clear()  # whether it cannot continue or has another version now
            elif not _continues(response, file, part):
                part.clear()
                raise PassingError("the server does not continue where the file on disk ends")
            part.begin(response.headers.get("ETag"))
            for chunk in self._client.stream(response):
                if part.size + len(chunk) > file.size:
                    part.clear()
                    raise PassingError(f"the server sends more than the {file.size} bytes that the record states")
                part.write(chunk)
                progress(part.size)
        if part.size < file.size:
            raise PassingError(f"the connection ended after {part.size} of {file.size} bytes")
        return is_whole

    def _read_entries(self, address: str) -> tuple[object, dict[str, dict]]:
        """A record -> its number as it says, and what it says of each file by name."""
        content = self._client.persist(lambda: self._read_json(address), address)
        content = content if isinstance(content, dict) else {}
        files = content.get("files")
        entries = [entry for entry in files if isinstance(entry, dict)] if isinstance(files, list) else []
        return content.get("id"), {entry["key"]: entry for entry in entries if isinstance(entry.get("key"), str)}

    def _read_json(self, address: str):
        text = bytearray()
        with self._client.get(address, {"Accept": "application/json"}) as response:
            for chunk in self._client.stream(response):
                text += chunk
                if len(text) > _LARGEST_RECORD_BYTES:
                    raise PassingError("the server sends something far larger than a record")
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:  # no JSON, or thousands of brackets deep
            raise PassingError("the server sends something else than a record") from error


def _remote_file(address: str, record: int, entry: dict) -> RemoteFile:
    name, size, checksum = entry["key"], entry.get("size"), entry.get("checksum")
    is_size = isinstance(size, int) and not isinstance(size, bool) and size > 0
    if not is_size or not re.fullmatch(r"md5:[0-9a-f]{32}", str(checksum)):
        raise DownloadError(
            f'{address} must state a size and a checksum "md5:..." for {name!r}. '
            f"Received: size={size!r}, checksum={checksum!r}."
        )
    return RemoteFile(record, name, size, checksum.removeprefix("md5:"))


def _continues(response: requests.Response, file: RemoteFile, part: Part) -> bool:
    """Whether an answer holds the bytes that follow those on disk, of the same version of the file."""
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if match is None or part.etag not in (None, response.headers.get("ETag", part.etag)):
        return False
    first, last, total = match.groups()
    return int(first) == part.size and int(last) < file.size and total in (str(file.size), "*")
