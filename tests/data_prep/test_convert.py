"""The command line that makes records: exit status, one plain line for an error, a report of what was left out."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import eokeras as eo
from eokeras import command_line
from eokeras.errors import InvalidSourceError
from tests.trees import set_field, write_tree

ROOT = Path(eo.__file__).parents[1]
_specification = importlib.util.spec_from_file_location("convert", ROOT / "data_prep" / "convert.py")
script = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(script)


def convert(*arguments, file="data_prep/convert.py"):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, file, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


def in_process(capsys, *arguments):
    """Exit status and the lines of standard error, without the seconds that a new process takes."""
    with pytest.raises(SystemExit) as leaving:
        command_line.run(script.main, script.make_parser(), [str(argument) for argument in arguments])
    return leaving.value.code, capsys.readouterr().err.strip().splitlines()


def test_converts_and_says_what_it_made(tmp_path):
    write_tree(tmp_path / "tree", 10)
    done = convert(tmp_path / "tree", tmp_path / "records", "--split", "random", "--fractions", 0.6, 0.2, 0.2)
    assert done.returncode == 0, done.stderr
    assert "train 6, val 2, test 2 patches (random split)" in done.stdout
    assert eo.load_schema(tmp_path / "records").splits == {"train": 6, "val": 2, "test": 2}
    assert "convert: 100%" in done.stderr


def test_modular_tree_from_parts_given_apart(tmp_path):
    write_tree(tmp_path / "a", 3, name="part")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a" / "dem").rename(tmp_path / "elsewhere" / "dem")
    done = convert(tmp_path / "a", tmp_path / "records", "--dem", tmp_path / "elsewhere" / "dem", "--name", "part")
    assert done.returncode == 0, done.stderr
    assert "dem" in eo.load_schema(tmp_path / "records").fields


def test_picks_modalities_bands_and_patches(tmp_path, capsys):
    expected = write_tree(tmp_path / "tree", 4)
    some = sorted(expected)[:3]
    (tmp_path / "some.csv").write_text("\n".join(some))
    options = ("--split", "random", "--modalities", "sentinel_2", "era5", "--bands", "s2=B04,B12")
    status, _ = in_process(
        capsys, tmp_path / "tree", tmp_path / "records", *options, "--patches", tmp_path / "some.csv"
    )
    assert status == 0
    schema = eo.load_schema(tmp_path / "records")
    assert sum(schema.splits.values()) == 3
    assert schema.stored_bands == {"s2_10m": ("B04",), "s2_20m": ("B12",)}
    assert "era5" in schema
    assert not {"s1", "dem", "land_cover_map", "s2_60m"} & set(schema.fields)
    with pytest.raises(SystemExit):
        script.make_parser().parse_args(["tree", "out", "--bands", "B04"])
    assert "must look like s2=B04,B03,B02. Received: 'B04'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{tree}", "{tree}"], "must not exist"),
        (["{tmp}/nothing", "{tmp}/records"], "ben-ge tree"),
        (["{tree}", "{tmp}/records", "--split", "stratified"], "stratified"),
        (["{tree}", "{tmp}/records", "--split", "official"], "official"),
        (["{tree}", "{tmp}/records", "--on-error", "ignore"], "`on_error` must be one of"),
        (["{tree}", "{tmp}/records", "--modalities", "sar"], "`modalities` may hold"),
        (["{tree}", "{tmp}/records", "--bands", "s2=B10"], "`bands['s2']` may hold"),
        (["{tree}", "{tmp}/records", "--fractions", "0.9", "0.9", "0.9"], "`fractions`"),
    ],
)
def test_errors_are_one_plain_line(tmp_path, capsys, arguments, words):
    write_tree(tmp_path / "tree", 2)
    status, lines = in_process(capsys, *(part.format(tree=tmp_path / "tree", tmp=tmp_path) for part in arguments))
    assert status == 1
    (line,) = lines
    assert words in line
    assert not (tmp_path / "records").exists()


def test_an_error_in_a_process_of_its_own(tmp_path):
    done = convert(tmp_path / "nothing", tmp_path / "records")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("convert.py: `root` must be a directory that holds a ben-ge tree. Received: ")
    assert done.stderr.count("\n") == 1


def test_options_for_beam_are_handed_on_as_on_its_command_line(tmp_path, capsys):
    write_tree(tmp_path / "tree", 3)
    status, lines = in_process(capsys, tmp_path / "tree", tmp_path / "records", "--beam-option", "direct_num_workers=2")
    assert status == 1
    words = "`beam_options` must come with `beam_runner`. Received: ['--direct_num_workers=2']."
    assert [line.partition(": ")[2] for line in lines] == [words]


def test_verbose_raises_for_the_traceback(tmp_path):
    with pytest.raises(InvalidSourceError):
        command_line.run(script.main, script.make_parser(), [str(tmp_path / "a"), str(tmp_path / "b"), "--verbose"])


def test_skipped_patches_are_announced(tmp_path, capsys):
    expected = write_tree(tmp_path / "tree", 6)
    bad = sorted(expected)[-1]
    set_field(tmp_path / "tree" / "tree_meta.csv", bad, "lat", 95)
    options = (tmp_path / "tree", tmp_path / "records", "--split", "random")
    status, lines = in_process(capsys, *options)
    assert status == 1
    assert bad in lines[-1]
    assert "patches/s" not in lines[-1]  # the bar ended its own line
    status, lines = in_process(capsys, *options, "--on-error", "skip")
    assert status == 0
    assert "1 patches were set aside" in lines[-1]
    assert bad in (tmp_path / "records" / "skipped.csv").read_text()


@pytest.mark.parametrize("file", ["data_prep/convert.py", "data_prep/simulate.py", "data_prep/split.py"])
def test_help(file):
    done = convert("--help", file=file)
    assert done.returncode == 0
    assert "usage:" in done.stdout
