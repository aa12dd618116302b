"""The command line that draws label budgets: what it writes and says, one plain line for an error."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import eokeras as eo
from eokeras import command_line

ROOT = Path(eo.__file__).parents[1]
_specification = importlib.util.spec_from_file_location("split", ROOT / "data_prep" / "split.py")
script = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(script)


def split(capsys, *arguments):
    """Exit status, standard output and the lines of standard error."""
    with pytest.raises(SystemExit) as leaving:
        command_line.run(script.main, script.make_parser(), [str(argument) for argument in arguments])
    output = capsys.readouterr()
    return leaving.value.code, output.out, output.err.strip().splitlines()


def test_writes_what_draw_labels_draws(known_records, tmp_path, capsys):
    out = tmp_path / "half.csv"
    options = ("--label-fraction", 0.5, "--label-draw", "clustered", "--label-seed", 3, "--label-group", "date")
    status, said, errors = split(capsys, known_records.path, *options, out)
    assert (status, errors) == (0, [])
    expected = eo.ben_ge.draw_labels(known_records.path, 0.5, label_draw="clustered", label_seed=3, label_group="date")
    assert eo.ben_ge.read_label_subset(out) == expected
    assert said.splitlines()[0] == f"{out}: train 3 of 6, val 2 of 3 patches (clustered by date, seed 3)"
    assert said.splitlines()[1:] == [f"note: {note}" for note in expected.notes]


def test_shots_that_a_class_lacks_are_said_once(known_records, tmp_path, capsys):
    status, said, errors = split(capsys, known_records.path, tmp_path / "one.csv", "--label-shots", "climate_zone", 1)
    assert (status, errors) == (0, [])
    with pytest.warns(UserWarning, match="Fewer than 1"):
        expected = eo.ben_ge.draw_labels(known_records.path, label_shots={"climate_zone": 1})
    assert eo.ben_ge.read_label_subset(tmp_path / "one.csv") == expected
    assert said.count("note: Fewer than 1 patches of a class of climate_zone in train: ") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{tmp}/nothing", "{tmp}/out.csv", "--label-fraction", "0.1"], "must be a directory of finished records"),
        (["{records}", "{tmp}/out.csv", "--label-fraction", "10"], "`label_fraction` must be a number above 0"),
        (["{records}", "{tmp}/out.csv", "--label-shots", "labels", "5"], "`label_shots` must be one of"),
        (["{records}", "{tmp}/out.csv", "--label-shots", "land_cover", "five"], "positive number of patches per class"),
        (["{records}", "{tmp}/out.csv", "--label-fraction", "0.1", "--label-draw", "random"], "`label_draw`"),
        (["{records}", "{tmp}/no/out.csv", "--label-fraction", "0.1"], "must be writable"),
        (["{records}", "{records}/split.csv", "--label-fraction", "0.1"], "must not replace another"),
    ],
)
def test_errors_are_one_plain_line(known_records, tmp_path, capsys, arguments, words):
    places = {"records": known_records.path, "tmp": tmp_path}
    status, said, (line,) = split(capsys, *(part.format(**places) for part in arguments))
    assert (status, said) == (1, "")
    assert words in line
    assert list(tmp_path.iterdir()) == []


def test_a_budget_must_be_given(known_records, tmp_path, capsys):
    status, _, lines = split(capsys, known_records.path, tmp_path / "out.csv")
    assert status == 2
    assert "one of the arguments --label-fraction --label-shots is required" in lines[-1]


def test_in_a_process_of_its_own(known_records, tmp_path):
    command = [
        sys.executable,
        "data_prep/split.py",
        known_records.path,
        "--label-fraction",
        "0.5",
        tmp_path / "half.csv",
    ]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "train 3 of 6, val 2 of 3 patches (spread by tile, seed 0)" in done.stdout
