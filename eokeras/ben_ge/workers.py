"""Worker processes that need neither a fork of the caller nor the caller's script.

A fork of a process that runs TensorFlow's threads can hang, and multiprocessing's "spawn" imports the caller's script
again, which breaks scripts without a `__main__` guard, consoles and pipes. So this module is run by itself, as a leader
that is handed the function and forks the workers: what the function carries, such as the tables of 590,326 patches, is
read once however many they are, and their memory is shared until one of them writes to it. That fork is safe because
the leader has a single thread: all it does is to unpickle, and BLAS and OpenMP are held to one thread. Where a system
cannot fork (Windows), all is done in the caller's process.
"""

import contextlib
import gc
import inspect
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

from eokeras.errors import EokerasError, WorkerError

_ROOT = str(Path(__file__).resolve().parents[2])


def usable_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel_map(function: Callable, items: Sequence, processes: int) -> Iterator[tuple[int, object]]:
    """Yields (index, function(item)) as results come, in any order; of a generator each of its results.

    Args:
        function: importable function or generator function, a partial of one, or a picklable object to call.
        items: picklable arguments.
        processes: number of worker processes; 1 works in this process.

    Raises:
        WorkerError: a worker process died, or gave an answer that cannot be read.
        Whatever `function` raises; the workers are stopped then, as they are where the caller stops or dies.
    """
    if processes == 1 or not hasattr(os, "fork"):
        for index, item in enumerate(items):
            yield from ((index, result) for result in _results(function, item))
        return
    todo, busy = iter(enumerate(items)), {}
    with _Crew(function, processes) as crew:
        for channel in crew.channels:
            crew.hand_on(channel, todo, busy)
        while busy:
            for channel, (is_done, result) in crew.answers(busy):
                if isinstance(result, BaseException):
                    raise result
                if is_done:
                    crew.hand_on(channel, todo, busy)
                else:
                    yield busy[channel], result


def _results(function: Callable, item) -> Iterator:
    result = function(item)
    return result if inspect.isgenerator(result) else iter((result,))


class _Crew:
    """A leader with its workers, and a channel to each of them; all are gone when the context ends."""

    def __init__(self, function: Callable, processes: int):
        pairs = [socket.socketpair() for _ in range(processes)]
        self._sockets = [ours for ours, _ in pairs]
        self.channels = [Connection(os.dup(ours.fileno())) for ours in self._sockets]
        descriptors = [theirs.fileno() for _, theirs in pairs]
        paths = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))
        self._function = function
        self._leader = subprocess.Popen(
            [sys.executable, "-m", __name__, *map(str, descriptors)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=descriptors,
            start_new_session=True,  # an interruption at the terminal is the caller's to handle
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        for _, theirs in pairs:
            theirs.close()

    def __enter__(self) -> "_Crew":
        try:
            with self._ends_are_told():
                pickle.dump(self._function, self._leader.stdin)
                self._leader.stdin.close()
        except BaseException:
            self.__exit__()
            raise
        return self

    def hand_on(self, channel: Connection, todo: Iterator[tuple[int, object]], busy: dict[Connection, int]) -> None:
        """Gives a worker the next item, or nothing where none is left."""
        busy.pop(channel, None)
        for index, item in todo:
            busy[channel] = index
            with self._ends_are_told():
                channel.send(item)
            return

    def answers(self, busy: Iterable[Connection]) -> Iterator[tuple[Connection, tuple[bool, object]]]:
        """What has come, once something has: whether the item is done, and a result or an error."""
        for channel in wait([*busy, self._leader.stdout]):
            with self._ends_are_told():
                if channel is self._leader.stdout:  # closed: the leader has ended, since a worker has
                    raise EOFError
                content = channel.recv_bytes()
            yield channel, _read(content)

    @contextlib.contextmanager
    def _ends_are_told(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError):
            self._dismiss()
            raise WorkerError(_how(self._leader.wait())) from None

    def _dismiss(self) -> None:
        """Every worker ends, amid whatever it does and whether or not the leader lives."""
        for ours in self._sockets:
            with contextlib.suppress(OSError):
                ours.shutdown(socket.SHUT_WR)

    def __exit__(self, *_) -> None:
        self._dismiss()
        if self._leader.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._leader.pid, signal.SIGKILL)
        for ours, channel in zip(self._sockets, self.channels, strict=True):
            with contextlib.suppress(ConnectionError):
                while ours.recv(1 << 20):  # until its worker is gone, and cannot write any more
                    pass
            ours.close()
            channel.close()
        self._leader.wait()
        self._leader.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self._leader.stdin.close()


def _read(content: bytes) -> tuple[bool, object]:
    try:
        return pickle.loads(content)  # of a worker of our own, by a socket that no other process has
    except Exception as error:
        raise WorkerError(f"A worker process gave an answer that cannot be read: {error!r}.") from error


def _how(code: int) -> str:
    """How a worker process ended; its leader ends in the same way."""
    reason = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    advice = "; the system may have run out of memory: use fewer workers" if code == -signal.SIGKILL else ""
    return f"A worker process {reason} before its work was done{advice}."


# ---- In the processes that are started -----------------------------------------------------------------------------


def _lead(descriptors: list[int]) -> None:
    """Forks a worker for each descriptor, and ends when all have ended, or as the first that fails."""
    function = pickle.load(sys.stdin.buffer)
    gc.collect()
    gc.freeze()  # a collection in a worker would touch, and so copy, all that it shares with the others
    for descriptor in descriptors:
        if not os.fork():
            for other in descriptors:
                if other != descriptor:
                    os.close(other)
            os.dup2(2, 1)  # the caller sees by its pipe that the leader has ended
            _work(function, Connection(descriptor))
    for descriptor in descriptors:
        os.close(descriptor)
    for _ in descriptors:
        code = os.waitstatus_to_exitcode(os.wait()[1])
        if code < 0:
            os.kill(os.getpid(), -code)
        if code:
            sys.exit(code)


def _work(function: Callable, channel: Connection) -> None:
    """Main loop of a worker: items until the caller is done, or dead."""
    items: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(channel, items), daemon=True).start()
    while True:
        for is_done, result in _outcome(function, items.get()):
            try:
                channel.send((is_done, result))
            except ConnectionError:  # the caller is gone
                os._exit(0)
            except Exception as error:  # a result that cannot be pickled
                channel.send((True, RuntimeError(f"{type(error).__name__}: {error}. Received: {result!r:.200}")))
                break


def _outcome(function: Callable, item) -> Iterator[tuple[bool, object]]:
    """Results, then that it is done; or the error that stopped it."""
    try:
        for result in _results(function, item):
            yield False, result
    except Exception as error:
        if not isinstance(error, EokerasError):
            error.add_note("".join(traceback.format_exception(error)))
        yield True, error
    else:
        yield True, None


def _receive(channel: Connection, items: queue.SimpleQueue) -> None:
    """Thread of a worker, which ends it amid an item when the caller is gone."""
    try:
        while True:
            items.put(channel.recv())
    except (EOFError, OSError):
        os._exit(0)
    except BaseException:  # an item that cannot be read here
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    _lead([int(argument) for argument in sys.argv[1:]])
