"""Worker processes that need neither a fork of the caller nor the caller's script.

A fork of a process that runs TensorFlow's threads can hang, and multiprocessing's "spawn" imports the caller's script
again, which breaks scripts without a `__main__` guard, consoles and pipes. So this module is run by itself, is handed
the function, and forks the workers: what the function carries, such as the tables of 590,326 patches, is in memory once
however many they are. Where a system cannot fork (Windows), all is done in the caller's process.
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
from collections.abc import Callable, Iterator, Sequence
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
    with _workers(function, processes) as (leader, channels):
        todo, busy = iter(enumerate(items)), {}

        def hand_on(channel: Connection) -> None:
            index, item = next(todo, (None, None))
            if index is not None:
                channel.send(item)
                busy[channel] = index

        try:
            for channel in channels:
                hand_on(channel)
            while busy:
                for channel in wait([*busy, leader.stdout]):
                    if channel is leader.stdout:  # closed: the leader has ended, since a worker has
                        raise EOFError
                    is_done, result = _answer(channel.recv_bytes())
                    index = busy[channel]
                    if isinstance(result, BaseException):
                        raise result
                    if is_done:
                        del busy[channel]
                        hand_on(channel)
                    else:
                        yield index, result
        except (EOFError, ConnectionError):
            raise WorkerError(_how(leader)) from None


def _answer(content: bytes):
    try:
        return pickle.loads(content)
    except Exception as error:
        raise WorkerError(f"A worker process gave an answer that cannot be read: {error!r}.") from error


def _results(function: Callable, item) -> Iterator:
    result = function(item)
    return result if inspect.isgenerator(result) else iter((result,))


@contextlib.contextmanager
def _workers(function: Callable, processes: int) -> Iterator[tuple[subprocess.Popen, list[Connection]]]:
    """The process that leads the workers, and a channel to each of them; all are gone in the end."""
    pairs = [socket.socketpair() for _ in range(processes)]
    descriptors = [theirs.fileno() for _, theirs in pairs]
    paths = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))
    leader = subprocess.Popen(
        [sys.executable, "-m", __name__, *map(str, descriptors)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=descriptors,
        start_new_session=True,  # an interruption at the terminal is the caller's to handle
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    for _, theirs in pairs:
        theirs.close()
    channels = [Connection(os.dup(ours.fileno())) for ours, _ in pairs]
    try:
        try:
            pickle.dump(function, leader.stdin)
            leader.stdin.close()
        except BrokenPipeError:
            raise WorkerError(_how(leader)) from None
        yield leader, channels
    finally:
        for ours, _ in pairs:
            with contextlib.suppress(OSError):
                ours.shutdown(socket.SHUT_RDWR)  # which ends a worker, whatever it does
            ours.close()
        if leader.poll() is None:
            os.killpg(leader.pid, signal.SIGKILL)
        leader.wait()
        for channel in channels:
            channel.close()
        leader.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            leader.stdin.close()


def _how(leader: subprocess.Popen) -> str:
    """How a worker process ended; its leader ends in the same way."""
    code = leader.wait()
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
        item = items.get()
        try:
            for result in _results(function, item):
                channel.send((False, result))
            channel.send((True, None))
        except ConnectionError:  # the caller is gone
            os._exit(0)
        except Exception as error:
            if not isinstance(error, EokerasError):
                error.add_note("".join(traceback.format_exception(error)))
            _tell(channel, error)


def _tell(channel: Connection, error: Exception) -> None:
    try:
        channel.send((True, error))
    except Exception:  # one that cannot be pickled
        channel.send((True, RuntimeError(f"{type(error).__name__}: {error}")))


def _receive(channel: Connection, items: queue.SimpleQueue) -> None:
    """Thread of a worker, which ends it amid an item when the caller is gone."""
    try:
        while True:
            items.put(channel.recv())
    except (EOFError, OSError):
        os._exit(0)


if __name__ == "__main__":
    _lead([int(argument) for argument in sys.argv[1:]])
