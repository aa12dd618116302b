"""Worker processes that need neither fork nor the caller's script.

A fork of a process that runs TensorFlow's threads can hang, and multiprocessing's "spawn"
imports the caller's script again, which breaks scripts without a `__main__` guard, consoles
and pipes. So the workers are this module run by itself, fed over pipes.
"""

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from eokeras.errors import WorkerError

_ROOT = str(Path(__file__).resolve().parents[2])


def parallel_map(function: Callable, items: Sequence, processes: int) -> Iterator[tuple[int, object]]:
    """Yields (index, function(item)) as results come, in any order.

    Args:
        function: importable function, or a partial of one.
        items: picklable arguments.
        processes: number of worker processes; 1 works in this process.

    Raises:
        WorkerError: a worker process died.
        Whatever `function` raises; the workers are stopped then.
    """
    if processes == 1:
        yield from ((index, function(item)) for index, item in enumerate(items))
        return
    workers = [_start(function) for _ in range(processes)]
    # Workers wait where results are fetched slowly, or memory would grow with what waits for them.
    results: queue.Queue = queue.Queue(maxsize=processes)
    todo, lock = iter(enumerate(items)), threading.Lock()
    threads = [threading.Thread(target=_feed, args=(worker, todo, lock, results), daemon=True) for worker in workers]
    try:
        for thread in threads:
            thread.start()
        for _ in items:
            index, result = results.get()
            if isinstance(result, BaseException):
                raise result
            yield index, result
    finally:
        for worker in workers:
            worker.kill()
        for worker, thread in zip(workers, threads, strict=True):
            worker.wait()
            _join(thread, results)
            worker.stdin.close()
            worker.stdout.close()


def _join(thread: threading.Thread, results: queue.Queue) -> None:
    """Waits for a thread that may wait for room among the results."""
    while thread.is_alive():
        with contextlib.suppress(queue.Empty):
            results.get_nowait()
        thread.join(0.01)


def _start(function: Callable) -> subprocess.Popen:
    paths = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))
    worker = subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    _send(worker.stdin, function)
    return worker


def _send(stream, message) -> None:
    data = pickle.dumps(message)
    view = memoryview(len(data).to_bytes(8, "little") + data)
    while view:
        view = view[stream.write(view) or 0 :]


def _receive(stream):
    return pickle.loads(_exactly(stream, int.from_bytes(_exactly(stream, 8), "little")))


def _exactly(stream, size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = stream.readinto(view)
        if not count:
            raise EOFError
        view = view[count:]
    return data


def _feed(worker, todo, lock, results) -> None:
    """Thread of one worker: hands it one item at a time."""
    while True:
        with lock:
            index, item = next(todo, (None, None))
        if index is None:
            return
        try:
            _send(worker.stdin, item)
            results.put((index, _receive(worker.stdout)))
        except (OSError, EOFError):
            results.put((index, WorkerError(_how(worker))))
            return
        except Exception as error:  # an answer that cannot be read: whoever waits for it must hear of that
            results.put((index, WorkerError(f"A worker process gave an answer that cannot be read: {error!r}.")))
            return


def _how(worker) -> str:
    """How a worker process ended."""
    code = worker.wait()
    reason = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    advice = "; the system may have run out of memory: use fewer workers" if code == -signal.SIGKILL else ""
    return f"A worker process {reason} before its work was done{advice}."


def _serve() -> None:
    """Main loop of a worker: function first, then items until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    requests = os.fdopen(0, "rb", buffering=0)
    function = _receive(requests)
    while True:
        try:
            item = _receive(requests)
        except EOFError:
            return
        try:
            answer = function(item)
        except Exception as error:
            answer = error
        try:
            _send(answers, answer)
        except BrokenPipeError:  # the parent is gone
            return


if __name__ == "__main__":
    _serve()
