"""A file of a Zenodo record over HTTP: looked up in the record, streamed to disk, resumed after a cut.

What the record says of a file, its size and md5 sum, is what is checked. Addresses are built from
the documented forms `/api/records/<id>` and `/records/<id>/files/<name>?download=1`: links inside a
record are not used, and a redirect is followed on the same host alone.

Reference:
    https://developers.zenodo.org; Range requests: RFC 9110, section 14
"""

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from time import sleep
from typing import TypeVar
from urllib.parse import quote, urljoin, urlsplit

import requests
import urllib3

from eokeras import __version__
from eokeras.ben_ge.part import Part
from eokeras.errors import EokerasError, InvalidArgumentError

ADDRESS = "https://zenodo.org"

_CHUNK_BYTES = 1 << 16  # what a cut can cost
_HEADWAY_BYTES = 1 << 20  # after so much that is new, failures are counted from zero
_LARGEST_RECORD_BYTES = 1 << 24
_LONGEST_BACK_OFF_S, _LONGEST_WAIT_S = 60, 300
_PASSING = (408, 425, 429, 500, 502, 503, 504)

_Result = TypeVar("_Result")


class DownloadError(EokerasError, OSError):
    """Something cannot be fetched, or is not what the record says."""


class _PassingError(Exception):
    """A failure after which another attempt may succeed; `wait_s` is what the server asks for, or None."""

    def __init__(self, reason: str, wait_s: float | None = None):
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True)
class RemoteFile:
    """A file as its record states it; `size` in bytes, `md5` as 32 hexadecimal digits."""

    record: int
    name: str
    size: int
    md5: str


class _Session(requests.Session):
    """Follows redirects on the same host alone."""

    def get_redirect_target(self, resp):
        target = super().get_redirect_target(resp)
        if target is not None and _origin(urljoin(resp.url, target)) != _origin(resp.url):
            raise DownloadError(f"{resp.url} must be answered by its own host. Received: a redirect to {target}.")
        return target


def _origin(address: str) -> tuple[str, str]:
    return urlsplit(address)[:2]


class Zenodo:
    """Zenodo, or a server of the same form, with patience.

    Args:
        base: address of the server: https, or http on this machine alone.
        attempts: how many failures in a row are too many. A timeout, a cut connection, a wrong length and
            the statuses 408, 425, 429 and 5xx are tried again, others are not.
        wait_s: pause in seconds before the second attempt; doubles with each, up to a minute. A server's
            Retry-After in seconds counts instead, up to five minutes.
        timeout_s: seconds without an answer, or without a byte, after which an attempt has failed.
        say: told, in a sentence, of every failure after which it goes on.

    Raises:
        InvalidArgumentError: an argument breaks its rule.

    Example:
        >>> server = Zenodo(attempts=3, timeout_s=10)
        >>> file = server.find(12941231, "ben-ge-800.tar.gz")  # doctest: +SKIP
        >>> with Part("ben-ge-800.part", file.md5, file.size) as part:  # doctest: +SKIP
        ...     server.fetch(file, part)
    """

    def __init__(
        self,
        base: str = ADDRESS,
        *,
        attempts: int = 6,
        wait_s: float = 1.0,
        timeout_s: float = 30.0,
        say: Callable[[str], None] = lambda sentence: None,
    ):
        if not isinstance(attempts, int) or attempts < 1:
            raise InvalidArgumentError(f"`attempts` must be a positive integer. Received: attempts={attempts!r}.")
        if not wait_s >= 0:
            raise InvalidArgumentError(f"`wait_s` must not be negative. Received: wait_s={wait_s!r}.")
        if not timeout_s > 0:
            raise InvalidArgumentError(f"`timeout_s` must be positive. Received: timeout_s={timeout_s!r}.")
        self.base = _checked_base(base)
        self._attempts, self._wait_s, self._timeout_s, self._say = attempts, wait_s, timeout_s, say
        self._session = _Session()
        self._session.max_redirects = 5
        # Compressed on the way, a file would arrive as other bytes than those of its md5 sum.
        self._session.headers.update({"User-Agent": f"eokeras/{__version__}", "Accept-Encoding": "identity"})

    def find(self, record: int, name: str) -> RemoteFile:
        """Looks a file up in its record, `{"files": [{"key", "size", "checksum"}]}`.

        Raises:
            DownloadError: the record cannot be read, lacks the file, or does not state its size and md5 sum.
        """
        address = f"{self.base}/api/records/{record}"
        content = self._persist(lambda: self._read_json(address), address)
        entries = {entry.get("key"): entry for entry in _entries(content)}
        if name not in entries:
            raise DownloadError(f"{address} must list the file {name!r}. Received: {sorted(map(str, entries))}.")
        size, checksum = entries[name].get("size"), entries[name].get("checksum")
        is_size = isinstance(size, int) and not isinstance(size, bool) and size > 0
        if not is_size or not re.fullmatch(r"md5:[0-9a-f]{32}", str(checksum)):
            raise DownloadError(
                f'{address} must state a size and a checksum "md5:..." for {name!r}. '
                f"Received: size={size!r}, checksum={checksum!r}."
            )
        return RemoteFile(record, name, size, checksum.removeprefix("md5:"))

    def fetch(self, file: RemoteFile, part: Part, progress: Callable[[int], None] = lambda done: None) -> None:
        """Completes the part of a file that is on disk, and checks its size and md5 sum.

        Args:
            file: what to fetch.
            part: its beginning, open; empty at first. Stays where the connection fails for good, so that a
                later call goes on there; removed where its content is wrong.
            progress: called as progress(bytes on disk), which go back to zero where the server cannot
                continue and sends the whole file again.

        Raises:
            DownloadError: too many failures in a row, no such file, or another content than the record states.
            OSError: the part cannot be written.
        """
        address = f"{self.base}/records/{file.record}/files/{quote(file.name, safe='')}?download=1"
        if part.size < file.size:
            self._persist(lambda: self._continue(address, file, part, progress), address, lambda: part.furthest)
        if part.md5 != file.md5:
            part.remove()
            raise DownloadError(
                f"{file.name} must have the md5 sum {file.md5} that its record states. Received: {part.md5} "
                f"from {address}. What had arrived was removed; run it again."
            )

    def _continue(self, address: str, file: RemoteFile, part: Part, progress: Callable[[int], None]) -> None:
        headers = {"Range": f"bytes={part.size}-"} if part.size else {}
        if part.size and part.etag:
            headers["If-Range"] = part.etag
        with self._get(address, headers, also=(206, 416)) as response:
            if response.status_code == 200:
                length = response.headers.get("Content-Length", "")
                if length.isdecimal() and int(length) != file.size:  # such as the page of a network's login
                    raise _PassingError(f"the server offers {length} bytes where the record states {file.size}")
                part.clear()  # whether it cannot continue or has another version now
            elif not _continues(response, file, part):
                part.clear()
                raise _PassingError("the server does not continue where the file on disk ends")
            part.begin(response.headers.get("ETag"))
            for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=False):
                if part.size + len(chunk) > file.size:
                    part.clear()
                    raise _PassingError(f"the server sends more than the {file.size} bytes that the record states")
                part.write(chunk)
                progress(part.size)
        if part.size < file.size:
            raise _PassingError(f"the connection ended after {part.size} of {file.size} bytes")

    def _read_json(self, address: str):
        with self._get(address, {"Accept": "application/json"}) as response:
            text = response.raw.read(_LARGEST_RECORD_BYTES, decode_content=True)
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:  # no JSON, or thousands of brackets deep
            raise _PassingError("the server sends something else than a record") from error

    def _get(self, address: str, headers: dict[str, str], also: tuple[int, ...] = ()) -> requests.Response:
        """The answer to a request, its body unread; status 200 or one of `also`."""
        response = self._session.get(address, headers=headers, stream=True, timeout=self._timeout_s)
        status = response.status_code
        if status == 200 or status in also:
            return response
        response.close()
        if status in _PASSING:
            # Zenodo sends Retry-After with every answer; it counts where the server is busy.
            asked = response.headers.get("Retry-After") if status in (429, 503) else None
            raise _PassingError(f"status {status} {response.reason}", _seconds(asked))
        raise DownloadError(f"{address} must be served. Received: status {status} {response.reason}.")

    def _persist(
        self, attempt: Callable[[], _Result], address: str, furthest: Callable[[], int] = lambda: 0
    ) -> _Result:
        """Tries until it succeeds, or has failed too often without headway."""
        failures, mark = 0, furthest()
        while True:
            try:
                return attempt()
            except requests.exceptions.SSLError as error:
                raise DownloadError(f"{address} must have a trusted certificate. Received: {error}.") from error
            except (_PassingError, requests.RequestException, urllib3.exceptions.HTTPError) as error:
                cause, reason = error, self._plain(error)
            if furthest() - mark >= _HEADWAY_BYTES:
                failures, mark = 0, furthest()
            failures += 1
            pause_s = self._pause(failures, cause)
            if failures >= self._attempts or pause_s > _LONGEST_WAIT_S:
                asks = f" It asks for a pause of {pause_s:.0f} s." if pause_s > _LONGEST_WAIT_S else ""
                raise DownloadError(
                    f"{address} could not be fetched; attempts: {failures}; the last failure: {reason}.{asks} "
                    "Run it again later: it goes on where it ended."
                ) from cause
            self._say(f"{reason}; attempt {failures + 1} of {self._attempts} in {pause_s:.0f} s")
            sleep(pause_s)

    def _pause(self, failures: int, cause: Exception) -> float:
        if getattr(cause, "wait_s", None) is not None:
            return cause.wait_s
        # Spread out, so that a class whose downloads fail together does not come back together.
        return min(self._wait_s * 2 ** (failures - 1), _LONGEST_BACK_OFF_S) * random.uniform(0.5, 1)

    def _plain(self, error: Exception) -> str:
        if isinstance(error, _PassingError):
            return str(error)
        if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
            return f"no answer for {self._timeout_s:g} s"
        if any(isinstance(part, urllib3.exceptions.ProtocolError) for part in (error, *error.args)):
            return "the connection was cut"
        return f"the connection failed ({str(error).rsplit('>: ', 1)[-1]})"


def _checked_base(base: str) -> str:
    parts = urlsplit(base)
    is_local = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or not (parts.scheme == "https" or is_local):
        raise InvalidArgumentError(
            f"`base` must be an https address, or an http address of this machine. Received: base={base!r}."
        )
    return base.rstrip("/")


def _entries(content) -> list[dict]:
    files = content.get("files") if isinstance(content, dict) else None
    return [entry for entry in files if isinstance(entry, dict)] if isinstance(files, list) else []


def _continues(response: requests.Response, file: RemoteFile, part: Part) -> bool:
    """Whether an answer holds the bytes that follow those on disk, of the same version of the file."""
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if match is None or part.etag not in (None, response.headers.get("ETag", part.etag)):
        return False
    first, last, total = match.groups()
    return int(first) == part.size and int(last) < file.size and total in (str(file.size), "*")


def _seconds(retry_after: str | None) -> float | None:
    """Seconds of a Retry-After as Zenodo sends it; None for a date, which leaves the pause to the client."""
    return float(retry_after) if retry_after is not None and retry_after.strip().isdecimal() else None
