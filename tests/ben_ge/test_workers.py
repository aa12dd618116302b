"""Worker processes: results and errors arrive, whatever a function does; nobody waits for ever, nobody is left."""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from eokeras import ben_ge
from eokeras.ben_ge.shards import ShardWriter, cut
from eokeras.ben_ge.workers import parallel_map
from eokeras.errors import WorkerError
from tests.bigearthnet_trees import write_v2
from tests.trees import write_tree


def family(process_id):
    """A process's children, their children, and so on."""
    for child in Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split():
        yield int(child)
        yield from family(int(child))


def lives(process_id):
    path = Path(f"/proc/{process_id}/stat")
    return path.exists() and path.read_text().split(")")[-1].split()[0] != "Z"


def are_gone(processes):
    """Whether all have ended; the kernel takes a moment from closing their files to that."""
    end = time.monotonic() + 10
    while time.monotonic() < end and any(map(lives, processes)):
        time.sleep(0.01)
    return not any(map(lives, processes))


def doubled(item):
    return 2 * item


def counted(item):
    yield from range(item)


def process_of(item):
    time.sleep(0.05)
    yield os.getppid(), os.getpid()


def test_results_are_those_of_a_plain_loop():
    assert dict(parallel_map(doubled, range(20), 3)) == {index: 2 * index for index in range(20)}


@pytest.mark.parametrize("processes", [1, 3])
def test_a_generator_gives_each_of_its_results_in_order(processes):
    found = {}
    for index, result in parallel_map(counted, [3, 0, 2, 4], processes):
        found.setdefault(index, []).append(result)
    assert found == {0: [0, 1, 2], 2: [0, 1], 3: [0, 1, 2, 3]}


def test_work_is_shared_by_workers_of_one_leader():
    found = [result for _, result in parallel_map(process_of, range(12), 3)]
    (leader,) = {parent for parent, _ in found}
    assert leader != os.getpid()
    assert len({process for _, process in found}) == 3


# ---- Errors --------------------------------------------------------------------------------------------------------


def fail(error, item):
    if item == 2:
        raise error
    return item


@pytest.mark.parametrize("error", [EOFError("cut"), ConnectionResetError("reset"), BrokenPipeError("x"), KeyError(3)])
def test_an_error_of_the_function_arrives_as_it_is(error):
    with pytest.raises(type(error)) as raised:
        list(parallel_map(partial(fail, error), range(6), 2))
    assert raised.value.args == error.args
    assert "in fail\n" in raised.value.__notes__[0]  # where it came from


class Odd(Exception):
    """An error that pickle cannot make again."""

    def __init__(self, first, second):
        super().__init__("odd")


class Unreadable:
    """An item that pickle cannot make again."""

    def __reduce__(self):
        return int, ("no number",)


def raise_odd(_):
    raise Odd(1, 2)


def returns_a_lambda(item):
    return lambda: item


def leave(code, item):
    sys.exit(code)


def test_an_answer_that_cannot_be_read_is_an_error():
    with pytest.raises(WorkerError, match="cannot be read"):
        list(parallel_map(raise_odd, range(4), 2))


def test_a_result_that_cannot_be_sent_is_an_error():
    with pytest.raises(RuntimeError, match="lambda"):
        list(parallel_map(returns_a_lambda, range(4), 2))


def test_an_item_that_cannot_be_read_is_an_error():
    with pytest.raises(WorkerError, match="ended with exit code 1"):
        list(parallel_map(doubled, [Unreadable(), 1, 2], 2))


@pytest.mark.parametrize("code", [0, 3])
def test_a_function_that_ends_its_process_is_an_error(code):
    with pytest.raises(WorkerError, match=f"ended with exit code {code} before its work was done"):
        list(parallel_map(partial(leave, code), range(4), 2))


def test_a_function_that_the_leader_cannot_read_is_an_error():
    with pytest.raises(WorkerError, match="ended with exit code 1"):
        list(parallel_map(partial(doubled, Unreadable()), range(4), 2))


@pytest.mark.parametrize("victim", ["leader", "worker"])
def test_the_death_of_any_of_them_is_an_error_and_none_is_left(victim):
    results = parallel_map(process_of, range(100), 3)
    _, (leader, worker) = next(results)
    processes = list(family(os.getpid()))
    assert {leader, worker} < set(processes)
    os.kill(leader if victim == "leader" else worker, signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"was ended by SIGKILL .* use fewer workers"):
        list(results)
    assert are_gone(processes)


def test_a_caller_that_stops_early_leaves_none():
    results = parallel_map(process_of, range(100), 3)
    next(results)
    processes = list(family(os.getpid()))
    results.close()
    assert len(processes) == 4
    assert are_gone(processes)


# ---- The fork ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "write", [write_tree, write_v2]
)  # tables as text; one of Parquet, whose library starts threads
def test_the_leader_of_a_conversion_has_one_thread_when_it_forks(tmp_path, write):
    write(tmp_path / "tree", 4)
    source = ben_ge.open_source(tmp_path / "tree")
    shards = cut({"train": source.patch_ids}, source.rasters)
    results = parallel_map(ShardWriter(source, shards, tmp_path, False), [0] * 4, 2)
    next(results)
    leader = next(family(os.getpid()))
    status = Path(f"/proc/{leader}/status").read_text()
    assert int(status.split("Threads:")[1].split()[0]) == 1
    results.close()
