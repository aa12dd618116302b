"""Contestants in processes of their own: other backends and settings, and no thread pool that two would share."""

import multiprocessing
import os
import time
from contextlib import contextmanager
from functools import partial


class Apart:
    """A process that makes functions once, and calls one of them whenever it is told to.

    Args:
        make: function of a module's top level that gives what it has to tell and a dict of name -> function. What is
            heavy it imports itself: the variables below count before that.
        arguments: of `make`.
        environment: variables of that process.

    Attributes:
        told: what `make` had to tell.
        work: name -> function without arguments, for `in_turns`; gives the seconds that the process took.
    """

    def __init__(self, make, *arguments, environment=None):
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, make, arguments), daemon=True)
        with _variables(environment or {}):
            self._process.start()
        other.close()
        self.told, names = self._answer()
        self.work = {name: partial(self._call, name) for name in names}

    def _call(self, name):
        self._connection.send(name)
        return self._answer()

    def _answer(self):
        try:
            return self._connection.recv()
        except EOFError:
            self._process.join()
            raise SystemExit(f"A contestant ended early, with status {self._process.exitcode}.") from None

    def stop(self):
        """Ends the process."""
        self._connection.send(None)
        self._process.join()


def _serve(connection, make, arguments):
    told, work = make(*arguments)
    connection.send((told, list(work)))
    while (name := connection.recv()) is not None:
        start = time.perf_counter()
        work[name]()
        connection.send(time.perf_counter() - start)


@contextmanager
def _variables(environment):
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def use_threads(count):
    """Lets this process, and those that it starts, run on so many cores: every library then takes as many threads."""
    if count < len(available := sorted(os.sched_getaffinity(0))):
        os.sched_setaffinity(0, available[:count])
    return min(count, len(available))
