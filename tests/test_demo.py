"""The demo and the commands of `python -m eokeras`, on trees small enough for every change."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import eokeras as eo
from eokeras import command_line
from eokeras.__main__ import main, make_parser
from tests.trees import write_tree

ROOT = Path(eo.__file__).parents[1]


def run(capfd, *arguments):
    """Exit status, standard output and the last line of standard error of `python -m eokeras ...`."""
    with pytest.raises(SystemExit) as leaving:
        command_line.run(main, make_parser(), [str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    return leaving.value.code, out, (err.strip().splitlines() or [""])[-1]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Twelve patches with published splits (6, 3, 3)."""
    root = tmp_path_factory.mktemp("demo") / "tree"
    write_tree(root, 12, splits=True)
    return root


@pytest.mark.usefixtures("eagerly")
def test_demo_with_a_published_split(capfd, tree, tmp_path):
    options = ("--split", "official", "--epochs", 1, "--width", 2)
    status, _, error = run(capfd, "demo", tmp_path / "out", "--source", tree, *options)
    assert status == 0, error
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"records", "run", "exported", "report.html"} <= names
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert page.count('<img src="data:image/png;base64,') >= 6
    assert "http" not in page.replace("https://arxiv.org", "")  # self-contained
    assert "illustration, not evidence" in page
    assert "Simulated: shows" not in page
    assert "The official split leaks" in page
    for stage in ("convert", "train", "score", "export", "reload in a clean process"):
        assert stage in page
    assert json.loads((tmp_path / "out" / "run" / "scores-test.json").read_text())["patches"] == 3


def test_demo_without_test_patches_says_what_is_missing(tmp_path):
    places = [("33UUP", 10 + i, 20, "2017-06-13") for i in range(3)]
    write_tree(tmp_path / "tree", 3, places=places, without=("sentinel_2", "esaworldcover", "landcover"))
    command = [sys.executable, "-m", "eokeras", "demo", "out", "--source", "tree", "--epochs", "1", "--width", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Missing here: Scores and confusion matrices: the records have no test split. Too few groups" in page
    assert "Missing here: Validation curves" in page


@pytest.mark.slow
@pytest.mark.parametrize("split", ["official", "grouped"])
def test_demo_on_real_pixels(capfd, real_data, tmp_path, split):
    options = ("--split", split, "--epochs", 2, "--width", 4)
    status, _, error = run(capfd, "demo", tmp_path / "out", "--source", real_data / "ben-ge-mini", *options)
    assert status == 0, error
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert ("Missing here: Scores" in page) == (split == "grouped")  # one tile: no groups to hold out
    assert "Simulated: shows" not in page


def test_demo_replaces_only_its_own_directory(capfd, tree, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for extra in ([], ["--overwrite"]):
        status, _, error = run(capfd, "demo", tmp_path / "mine", "--source", tree, *extra)
        assert status == 1
        assert "must not exist yet" in error
        assert "Choose another directory" in error
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.usefixtures("eagerly")
def test_train_evaluate_export(capfd, known_records, tmp_path):
    options = ["--inputs", "s1", "--width", 2, "--epochs", 1, "--targets", "season", "land_cover_map"]
    status, out, error = run(
        capfd, "train", known_records.path, tmp_path / "run", *options, "--loss-weight", "season", 0.5
    )
    assert status == 0, error
    assert "epoch 1/1  loss" in out
    configuration = json.loads((tmp_path / "run" / "configuration.json").read_text())
    assert configuration["loss_weights"] == {"season": 0.5}
    status, out, error = run(capfd, "evaluate", tmp_path / "run")
    assert status == 0, error
    assert "random forest per pixel" in out
    assert run(capfd, "export", tmp_path / "run", tmp_path / "exported")[0] == 0
    assert (tmp_path / "exported" / "schema.json").is_file()
    status, _, error = run(capfd, "export", tmp_path / "run", tmp_path / "exported")
    assert status == 1
    assert "must not exist yet" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "{tmp}/nothing", "{tmp}/run"], "must be a directory of finished records"),
        (["evaluate", "{tmp}"], "must be a run folder"),
        (["export", "{tmp}", "{tmp}/exported"], "must be a run folder"),
        (["demo", "{tmp}/out", "--source", "{tmp}/nothing"], "ben-ge tree"),
        (["demo", "{tmp}/out", "--patches", "0"], "`patches` must be an integer from 1"),
        (["demo", "{tmp}/out", "--split", "stratified"], "`split` must be one of ['grouped', 'official', 'random']"),
        (["demo", "{tmp}/out", "--epochs", "0"], "`epochs` must be a positive integer"),
        (["demo", "{tmp}/out", "--source", "{tmp}/out/tree"], "`source` must not lie in `out`"),
    ],
)
def test_errors_are_one_plain_line(capfd, tmp_path, arguments, words):
    status, _, error = run(capfd, *(argument.format(tmp=tmp_path) for argument in arguments))
    assert status == 1
    assert error.startswith("python -m eokeras: ")
    assert words in error
    if "--patches" not in arguments:
        assert not (tmp_path / "out").exists()  # a mistyped option takes no place
