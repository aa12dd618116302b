"""A progress bar over bytes that several threads move."""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError

from tqdm import tqdm


class TransferBar:
    """One bar with rate and time left over all of several transfers; in a log file it writes every ten seconds.

    It appears with the first byte and ends its line with the last transfer, or with the `with` statement.

    Args:
        description: stands in front.
        total: bytes of all transfers.
        initial: bytes that were there before; no part of the rate.
        transfers: how many there are.
        shown: whether there is a bar at all.
        stop: once it is set, whoever reports progress is ended by `CancelledError`.

    Example:
        >>> stop = threading.Event()
        >>> with TransferBar("download", total=100, initial=0, transfers=2, shown=False, stop=stop) as bar:
        ...     show = bar.follow()
        ...     show(60)  # bytes of this transfer so far
        ...     bar.end()
    """

    def __init__(self, description: str, total: int, initial: int, transfers: int, shown: bool, stop: threading.Event):
        self._options = {"desc": description, "total": total, "initial": initial, "disable": not shown}
        self._lock, self._bar, self._left = threading.Lock(), None, transfers
        self._stop = stop

    def __enter__(self) -> "TransferBar":
        return self

    def __exit__(self, *_) -> None:
        self._close()

    def follow(self, initial: int = 0) -> Callable[[int], None]:
        """A function of the bytes that one transfer has done, `initial` of them before; they may go back."""
        before = initial

        def show(done: int) -> None:
            nonlocal before
            if self._stop.is_set():
                raise CancelledError
            with self._lock:
                if self._bar is None:
                    interval_s = 0.1 if sys.stderr.isatty() else 10
                    options = {"unit": "B", "unit_scale": True, "file": sys.stderr, "mininterval": interval_s}
                    self._bar = tqdm(**self._options, **options)
                self._bar.update(done - before)
                before = done

        return show

    def end(self) -> None:
        """Says that one transfer has ended."""
        with self._lock:
            self._left -= 1
        if self._left <= 0:
            self._close()

    def _close(self) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.close()
