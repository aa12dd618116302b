"""HTTP with patience: what fails in passing is tried again, with pauses and a limit, and so is what is far too slow.

HTTP itself is done by requests and urllib3. What stands here is when to try again, when to give up, and in what words.

Reference:
    RFC 9110, sections 10.2.3 (Retry-After) and 15 (status codes)
"""

import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from eokeras import __version__
from eokeras.errors import EokerasError, InvalidArgumentError

_CHUNK_BYTES = 1 << 16
_SLOWEST_BYTES_PER_S = 1000  # below it for as long as the timeout, another connection is likely to be faster
_HEADWAY_BYTES = 1 << 20  # after so much that is new, failures are counted from zero
_LONGEST_BACK_OFF_S, _LONGEST_WAIT_S = 60, 300
_PASSING = (408, 425, 429, 500, 502, 503, 504)

_Result = TypeVar("_Result")


class DownloadError(EokerasError, OSError):
    """Something cannot be fetched, or is not what the record says."""


class PassingError(Exception):
    """A failure after which another attempt may succeed.

    Args:
        reason: what happened, for the user.
        wait_s: pause in seconds that the server asks for, or None.
    """

    def __init__(self, reason: str, wait_s: float | None = None):
        super().__init__(reason)
        self.wait_s = wait_s


class _Session(requests.Session):
    """Follows redirects on the same host alone."""

    def get_redirect_target(self, resp):
        target = super().get_redirect_target(resp)
        if target is not None and urlsplit(urljoin(resp.url, target))[:2] != urlsplit(resp.url)[:2]:
            raise DownloadError(f"{resp.url} must be answered by its own host. Received: a redirect to {target}.")
        return target


class HttpClient:
    """Requests to one server, tried again where that may help. For one thread.

    Args:
        base: address of the server: https, or http on this machine alone.
        attempts: how many failures in a row are too many. A timeout, a cut connection, a wrong length and
            the statuses 408, 425, 429 and 5xx are tried again, others are not.
        wait_s: pause in seconds before the second attempt; doubles with each, up to a minute. A server's
            Retry-After counts instead, up to five minutes.
        timeout_s: seconds without an answer, without a byte, or with less than a kilobyte a second, after which
            an attempt has failed.
        say: told, in a sentence, of every failure after which it goes on.
        stop: set by another thread to end a pause, and with it the work.

    Raises:
        InvalidArgumentError: an argument breaks its rule.
    """

    def __init__(
        self,
        base: str,
        *,
        attempts: int = 6,
        wait_s: float = 1.0,
        timeout_s: float = 30.0,
        say: Callable[[str], None] = lambda sentence: None,
        stop: threading.Event | None = None,
    ):
        if not isinstance(attempts, int) or attempts < 1:
            raise InvalidArgumentError(f"`attempts` must be a positive integer. Received: attempts={attempts!r}.")
        if not wait_s >= 0:
            raise InvalidArgumentError(f"`wait_s` must not be negative. Received: wait_s={wait_s!r}.")
        if not timeout_s > 0:
            raise InvalidArgumentError(f"`timeout_s` must be positive. Received: timeout_s={timeout_s!r}.")
        self.base = _checked_base(base)
        self._attempts, self._wait_s, self._timeout_s, self._say = attempts, wait_s, timeout_s, say
        self._stop = stop or threading.Event()
        self._session = _Session()
        self._session.max_redirects = 5
        # Compressed on the way, a file would arrive as other bytes than those of its md5 sum.
        self._session.headers.update({"User-Agent": f"eokeras/{__version__}", "Accept-Encoding": "identity"})

    def get(self, address: str, headers: dict[str, str], also: tuple[int, ...] = ()) -> requests.Response:
        """The answer to a request, its body unread; status 200 or one of `also`.

        Raises:
            PassingError: a status after which another attempt may succeed.
            DownloadError: another status.
        """
        response = self._session.get(address, headers=headers, stream=True, timeout=self._timeout_s)
        status = response.status_code
        if status == 200 or status in also:
            return response
        response.close()
        if status in _PASSING:
            # Zenodo sends Retry-After with every answer; it counts where the server is busy.
            asked_s = _seconds(response.headers) if status in (429, 503) else None
            raise PassingError(f"status {status} {response.reason}", asked_s)
        raise DownloadError(f"{address} must be served. Received: status {status} {response.reason}.")

    def stream(self, response: requests.Response) -> Iterator[bytes]:
        """The bytes of a body as they come, so that a cut costs none of those that did.

        Raises:
            PassingError: they come too slowly.
        """
        begin, received = monotonic(), 0
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=False):
            yield chunk
            received += len(chunk)
            if (elapsed_s := monotonic() - begin) >= self._timeout_s:
                if received < _SLOWEST_BYTES_PER_S * elapsed_s:
                    raise PassingError(f"the server sent {received} bytes in {elapsed_s:.0f} s")
                begin, received = monotonic(), 0

    def persist(self, attempt: Callable[[], _Result], address: str, furthest: Callable[[], int] = lambda: 0) -> _Result:
        """Tries until it succeeds, or has failed too often without headway.

        Args:
            attempt: raises `PassingError` or what requests and urllib3 raise where it may be tried again.
            address: what is fetched, for the message.
            furthest: bytes that have arrived at most; while they grow, failures are counted anew.

        Raises:
            DownloadError: too many failures in a row, or a certificate that is not trusted.
        """
        failures, mark = 0, furthest()
        while True:
            try:
                return attempt()
            except requests.exceptions.SSLError as error:
                raise DownloadError(f"{address} must have a trusted certificate. Received: {error}.") from error
            except (PassingError, requests.RequestException, urllib3.exceptions.HTTPError) as error:
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
            self._rest(pause_s)

    def _rest(self, pause_s: float) -> None:
        if self._stop.wait(pause_s):
            raise CancelledError

    def _pause(self, failures: int, cause: Exception) -> float:
        if getattr(cause, "wait_s", None) is not None:
            return cause.wait_s
        # Spread out, so that a class whose downloads fail together does not come back together.
        return min(self._wait_s * 2 ** (failures - 1), _LONGEST_BACK_OFF_S) * random.uniform(0.5, 1)

    def _plain(self, error: Exception) -> str:
        if isinstance(error, PassingError):
            return str(error)
        if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
            return f"no answer for {self._timeout_s:g} s"
        if any(isinstance(part, urllib3.exceptions.ProtocolError) for part in (error, *error.args)):
            return "the connection was cut"
        inner = getattr(error.args[0], "reason", error) if error.args else error
        return f"the connection failed ({re.sub(r'^.*?[)>]: ', '', str(inner))})"  # without the object in front


def _checked_base(base: str) -> str:
    parts = urlsplit(base)
    is_local = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or not (parts.scheme == "https" or is_local):
        raise InvalidArgumentError(
            f"`base` must be an https address, or an http address of this machine. Received: base={base!r}."
        )
    return base.rstrip("/")


def _seconds(headers: Mapping[str, str]) -> float | None:
    """Pause that an answer asks for by Retry-After, a number of seconds or a date; None where it is neither."""
    asked = headers.get("Retry-After", "").strip()
    if asked.isdecimal():
        return float(asked)
    try:
        now = parsedate_to_datetime(headers["Date"])  # by the server's clock, whatever the one here says
        return max(0.0, (parsedate_to_datetime(asked) - now).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None
