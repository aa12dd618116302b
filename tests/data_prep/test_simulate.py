"""The command line of the simulator."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "data_prep" / "simulate.py"


def call(*arguments):
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    environment = {"PYTHONPATH": str(SCRIPT.parents[1]), "PATH": ""}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_writes_a_tree_with_the_knobs_asked_for(tmp_path):
    done = call(tmp_path / "tree", "--patches", 2, "--seed", 4, "--knob", "cloud_fraction=0.3", "--without", "s1")
    assert done.returncode == 0, done.stderr
    world = json.loads((tmp_path / "tree" / "tree_world.json").read_text())
    assert (world["seed"], world["knobs"]["cloud_fraction"], world["knobs"]["season_from_s1"]) == (4, 0.3, 0.0)
    assert world["statement"].startswith("Simulated: shows that the method can find an effect")
    assert str(tmp_path / "tree") in done.stdout
    assert "2/2" in done.stderr  # the progress bar


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--patches", "0"), "`patches` must be an integer"),
        (("--knob", "cloud=1"), "`knob` must be one of"),
        (("--knob", "cloud_fraction=much"), "`knob` must be NAME=NUMBER"),
        (("--knob", "cloud_fraction=7"), "`cloud_fraction` must be a number"),
        (("--without", "s3"), "`modality` must be one of"),
    ],
)
def test_an_error_is_one_plain_line(tmp_path, arguments, words):
    done = call(tmp_path / "tree", *arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
