"""Records made on Apache Beam: those that the processes of one machine make. Skipped where Beam is not installed."""

import os
import sys

import pytest

from eokeras import ben_ge
from eokeras.ben_ge import beam_runner
from eokeras.ben_ge.shards import ShardWriter, cut
from eokeras.errors import InvalidArgumentError, InvalidPatchError, WorkerError
from tests.trees import write_tree

OPTIONS = {"split": "random", "fractions": (0.8, 0.1, 0.1), "beam_runner": "DirectRunner"}
IN_MEMORY = ("--direct_running_mode=in_memory",)
TWO_PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


def is_installed():
    try:
        import apache_beam  # noqa: F401
    except ImportError:
        return False
    return True


on_beam = pytest.mark.skipif(not is_installed(), reason="Apache Beam is not installed (the extra `beam`)")


@pytest.fixture
def tree(tmp_path):
    """A tree in which one patch is bad."""
    patch_id = list(write_tree(tmp_path / "tree", 20))[7]
    (tmp_path / "tree" / "dem" / f"{patch_id}_dem.tif").write_bytes(b"nothing")
    return tmp_path / "tree"


def content_of(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@on_beam
@pytest.mark.parametrize("beam_options", [IN_MEMORY, TWO_PROCESSES])
def test_records_are_those_of_a_local_run_to_the_byte(tree, tmp_path, beam_options):
    done = []
    made = ben_ge.convert(
        tree,
        tmp_path / "made",
        on_error="skip",
        beam_options=beam_options,
        progress=lambda *d: done.append(d),
        **OPTIONS,
    )
    local = ben_ge.convert(tree, tmp_path / "local", on_error="skip", **OPTIONS | {"beam_runner": None})
    assert content_of(made) == content_of(local)
    assert done == [(count, 20) for count in range(1, 21)]
    assert (made / "skipped.csv").read_text().count("\n") == 2
    assert sorted(os.listdir(tmp_path)) == ["local", "made", "tree"]


@on_beam
def test_a_bad_patch_stops_with_its_name(tree, tmp_path):
    with pytest.raises(InvalidPatchError, match=r"Patch S2A_.*dem\.tif"):
        ben_ge.convert(tree, tmp_path / "made", beam_options=IN_MEMORY, **OPTIONS)
    assert os.listdir(tmp_path) == ["tree"]


@on_beam
def test_a_pipeline_that_fails_is_an_error_and_leaves_nothing(tree, tmp_path, monkeypatch):
    monkeypatch.setattr("eokeras.ben_ge.shards.serialise", lambda stored: 1 / 0)
    with pytest.raises(WorkerError, match=r"The pipeline on DirectRunner failed: .*division by zero"):
        ben_ge.convert(tree, tmp_path / "made", on_error="skip", beam_options=IN_MEMORY, **OPTIONS)
    assert os.listdir(tmp_path) == ["tree"]


@on_beam
def test_an_unknown_runner_is_refused(tree, tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"`beam_runner` must be one of Beam's. Received: 'JoggingRunner'"):
        ben_ge.convert(tree, tmp_path / "made", **OPTIONS | {"beam_runner": "JoggingRunner"})


@on_beam
def test_an_option_that_beam_does_not_take_is_refused(tree, tmp_path):
    with pytest.raises(
        InvalidArgumentError, match=r"`beam_options` must be Beam's. Received: \['--direct_num_workers=x"
    ):
        ben_ge.convert(tree, tmp_path / "made", beam_options=["--direct_num_workers=x"], **OPTIONS)
    assert os.listdir(tmp_path) == ["tree"]


def test_options_without_a_runner_are_refused(tree, tmp_path):
    with pytest.raises(InvalidArgumentError, match="`beam_options` must come with `beam_runner`"):
        ben_ge.convert(tree, tmp_path / "made", beam_options=TWO_PROCESSES)


def test_a_source_by_a_relative_path_is_refused(tree, monkeypatch):
    monkeypatch.chdir(tree.parent)
    with pytest.raises(InvalidArgumentError, match=r"`source` must have an absolute path on Beam.* Received: 'tree'"):
        ben_ge.convert("tree", "made", **OPTIONS)
    assert os.listdir(tree.parent) == ["tree"]


def test_a_shard_that_is_tried_twice_is_written_twice_and_answered_once(tree, tmp_path):
    """By a runner that takes a slow worker for a dead one: neither try touches the file of the other."""
    source = ben_ge.open_source(tree)
    answers, made = tmp_path / "answers", tmp_path / "made"
    answers.mkdir()
    writer = ShardWriter(source, cut({"train": source.patch_ids}, source.rasters), made, True)
    beam_runner._write(answers / beam_runner._WRITER, writer)
    for _ in range(2):
        beam_runner.write_shard(1, str(answers))
    first, second = (path.read_bytes() for path in answers.glob("*/00001.shard"))
    assert first == second != b""
    path, written = beam_runner._read(answers / "1.pickle")
    assert path.read_bytes() == first
    assert len(written.rows) + len(written.gathered.skipped) == len(writer.shards[1].patch_ids)
    assert not made.exists()


def test_without_beam_it_says_what_to_install(tree, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(InvalidArgumentError, match="pip install 'apache-beam"):
        ben_ge.convert(tree, tmp_path / "made", **OPTIONS)
    assert os.listdir(tmp_path) == ["tree"]
