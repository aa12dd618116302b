"""Conversion under faults: processes that are killed, workers that die, two runs into one directory.

Whatever happens, nothing that exists is harmed, and what a rerun makes is byte for byte what an unbroken run gives.
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import eokeras as eo
from eokeras import ben_ge
from eokeras.ben_ge import builder, resplit
from eokeras.ben_ge.statistics import TrainingStatistics
from eokeras.ben_ge.workplace import workplace
from eokeras.errors import InvalidArgumentError, InvalidPatchError, TargetExistsError, UnwritableError, WorkerError
from tests.trees import write_tree

ROOT = Path(eo.__file__).parents[1]
PATCHES = 40
OPTIONS = {"split": "random", "on_error": "skip"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree in which one patch is bad."""
    path = tmp_path_factory.mktemp("faults") / "tree"
    patch_id = list(write_tree(path, PATCHES))[7]
    (path / "dem" / f"{patch_id}_dem.tif").write_bytes(b"nothing")
    return path


@pytest.fixture(scope="module")
def unbroken(tree):
    return content_of(ben_ge.convert(tree, tree.with_name("unbroken"), workers=1, **OPTIONS))


@pytest.fixture
def few_suffice(monkeypatch):
    """Workers for few patches, too."""
    monkeypatch.setattr(builder, "_WORTH_A_WORKER", 1)


def content_of(directory):
    """Every file below a directory, to the byte."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def family(process_id):
    """A process's children, their children, and so on."""
    with contextlib.suppress(OSError):  # it has just ended
        for child in Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split():
            yield int(child)
            yield from family(int(child))


# ---- Workers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_records_are_the_same_whatever_the_number_of_workers(tree, unbroken, tmp_path, few_suffice, workers):
    done = []
    records = ben_ge.convert(tree, tmp_path / "records", workers=workers, progress=lambda *d: done.append(d), **OPTIONS)
    assert content_of(records) == unbroken
    assert done == [(count, PATCHES) for count in range(1, PATCHES + 1)]
    assert (records / "skipped.csv").read_text().count("\n") == 2


def test_statistics_hang_neither_on_order_nor_on_who_counted(tree):
    source = ben_ge.open_source(tree)
    patches = [patch.features for patch in _sound(source)]
    results = []
    for parts in ([patches], [patches[::-1]], [patches[:5], patches[5:6], patches[6:]], [patches[30:], patches[:30]]):
        whole = TrainingStatistics(source.rasters)
        for part in parts:
            counted = TrainingStatistics(source.rasters)
            for features in part:
                counted.add(features)
            whole.merge(counted)
        results.append(whole.result())
    assert results[1:] == results[:1] * 3
    first = np.stack([features["s2_20m"][..., 0] for features in patches]).astype("float64")
    b05 = eo.ben_ge.schema.CHANNELS["s2"].index("B05")
    assert results[0]["s2"]["mean"][b05] == pytest.approx(first.mean(), rel=1e-12)
    assert results[0]["s2"]["std"][b05] == pytest.approx(first.std(), rel=1e-9)


def _sound(source):
    for patch_id in source.patch_ids:
        try:
            yield source.read(patch_id)
        except InvalidPatchError:
            continue


def test_a_bad_patch_in_a_worker_stops_all_with_its_name(tree, tmp_path, few_suffice):
    with pytest.raises(InvalidPatchError, match=r"Patch S2A_.*dem\.tif"):
        ben_ge.convert(tree, tmp_path / "records", split="random", workers=2)
    assert os.listdir(tmp_path) == []
    assert list(family(os.getpid())) == []


@pytest.mark.parametrize("victim", [0, -1])  # the leader, a worker
def test_a_worker_that_dies_is_an_error_and_leaves_nothing(tree, tmp_path, few_suffice, victim):
    processes = []

    def kill(done, total):
        processes.extend(family(os.getpid()))
        os.kill(processes[victim], signal.SIGKILL)

    with pytest.raises(WorkerError, match=r"A worker process was ended by SIGKILL .* use fewer workers"):
        ben_ge.convert(tree, tmp_path / "records", workers=2, progress=kill, **OPTIONS)
    assert os.listdir(tmp_path) == []
    assert len(processes) >= 3
    assert all(_ends(process) for process in processes)


def test_an_error_of_the_caller_ends_the_workers_though_it_is_kept(tree, tmp_path, few_suffice):
    def full(done, total):
        if done == 8:
            raise OSError(28, "No space left on device")

    with pytest.raises(UnwritableError, match="No space left on device") as kept:
        ben_ge.convert(tree, tmp_path / "records", workers=2, progress=full, **OPTIONS)
    assert kept.value.__traceback__ is not None
    assert list(family(os.getpid())) == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_an_error_and_leaves_nothing(tree, tmp_path, few_suffice, workers):
    """No file may grow beyond a limit, which workers inherit: writing fails as on a full disk, with another number."""
    held = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, held[1]))
    try:
        with pytest.raises(UnwritableError, match=r"Cannot write records to .*: File too large. Nothing was left"):
            ben_ge.convert(tree, tmp_path / "records", workers=workers, **OPTIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, held)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_odd_numbers_of_workers_are_refused(tree, tmp_path, workers):
    with pytest.raises(InvalidArgumentError, match="`workers` must be a positive integer"):
        ben_ge.convert(tree, tmp_path / "records", workers=workers)


# ---- Two at once ---------------------------------------------------------------------------------------------------


def test_a_second_conversion_into_one_directory_is_refused(tree, unbroken, tmp_path):
    refusals = []

    def convert_again(done, total):
        if done == 5:
            with pytest.raises(UnwritableError, match="for which another process is making records") as refusal:
                ben_ge.convert(tree, tmp_path / "records", **OPTIONS)
            refusals.append(refusal)

    records = ben_ge.convert(tree, tmp_path / "records", progress=convert_again, **OPTIONS)
    assert len(refusals) == 1
    assert content_of(records) == unbroken
    assert os.listdir(tmp_path) == ["records"]


def test_the_kernel_holds_the_lock_for_a_process_and_no_longer(tmp_path):
    code = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from eokeras.ben_ge.workplace import workplace
        with workplace(Path(sys.argv[1]), "records") as work:
            (work / "half").mkdir()
            (work / "half" / "made").write_text("x")
            print("held", flush=True)
            time.sleep(60)
    """)
    target = tmp_path / "records"
    process = subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UnwritableError, match="Wait for it or end it"), workplace(target, "records"):
        pass
    process.kill()
    process.wait()
    assert os.listdir(tmp_path) == [".records.incomplete"]
    with workplace(target, "records") as work:
        assert os.listdir(work) == []  # what was left is gone
        (work / "whole").mkdir()
        (work / "whole").rename(target)
    assert os.listdir(tmp_path) == ["records"]
    with pytest.raises(TargetExistsError, match="must not exist yet"), workplace(target, "records"):
        pass


def test_another_split_and_a_simulation_take_the_same_lock(tree, tmp_path):
    records = ben_ge.convert(tree, tmp_path / "records", **OPTIONS)
    with workplace(tmp_path / "made", "something"):
        with pytest.raises(UnwritableError, match="another process is making"):
            resplit.apply_split(records, "random", tmp_path / "made")
        with pytest.raises(UnwritableError, match="another process is making"):
            ben_ge.simulate(tmp_path / "made", patches=1)


# ---- Killed --------------------------------------------------------------------------------------------------------


CODE = textwrap.dedent("""
    import sys
    from eokeras import ben_ge
    from eokeras.ben_ge import builder
    import tensorflow_datasets
    builder._WORTH_A_WORKER = 1
    options = {"split": "random", "on_error": "skip", "workers": 2}
    print(0, flush=True)
    ben_ge.convert(sys.argv[1], sys.argv[2], progress=lambda done, total: print(done, flush=True), **options)
""")


def begun(tree, records, patches):
    """A conversion in a process of its own that has made so many patches."""
    command = [sys.executable, "-c", CODE, str(tree), str(records)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    for done in range(patches + 1):
        assert process.stdout.readline() == f"{done}\n"
    return process


def check_kill(tree, unbroken, tmp_path, patches, seconds=0.0):
    """Kills a conversion after so many patches and seconds, runs it again, and compares; returns what the kill left."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    process = begun(tree, tmp_path / "records", patches)
    time.sleep(seconds)
    workers = list(family(process.pid))
    process.kill()
    process.wait()
    left = sorted(set(os.listdir(tmp_path)) - {"other"})
    assert left in ([], [".records.incomplete"], ["records"], [".records.incomplete", "records"])
    if "records" not in left:  # else it was killed when all was done
        ben_ge.convert(tree, tmp_path / "records", workers=1, **OPTIONS)
    else:
        with pytest.raises(TargetExistsError):
            ben_ge.convert(tree, tmp_path / "records", workers=1, **OPTIONS)
    assert content_of(tmp_path / "records") == unbroken
    assert (tmp_path / "other" / "mine.txt").read_text() == "mine"
    assert all(_ends(worker) for worker in workers)
    return left


def _ends(process_id):
    """Whether a process has ended, or does within seconds."""
    for _ in range(100):
        path = Path(f"/proc/{process_id}/stat")
        if not path.exists() or path.read_text().split(")")[-1].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("patches", [0, 13, 38])
def test_a_rerun_after_a_kill_gives_what_an_unbroken_run_gives(tree, unbroken, tmp_path, patches):
    check_kill(tree, unbroken, tmp_path, patches)


@pytest.mark.slow
@pytest.mark.parametrize("patches", range(1, PATCHES + 1, 2))
def test_twenty_kills(tree, unbroken, tmp_path, patches):
    seconds = patches / 10_000  # less than a patch takes, so that not all come as one is just done
    left = check_kill(tree, unbroken, tmp_path, patches, seconds)
    print(f"killed {1000 * seconds:.1f} ms after patch {patches} of {PATCHES}; it left: {left}")
