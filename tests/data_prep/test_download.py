"""The command line that fetches a published tree: exit status, what it prints, what it leaves."""

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from eokeras import command_line
from eokeras.ben_ge import open_source
from tests import servers
from tests.trees import write_tree

SCRIPT = Path(__file__).parents[2] / "data_prep" / "download.py"
_specification = importlib.util.spec_from_file_location("download", SCRIPT)
script = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(script)


@pytest.fixture
def server(tmp_path):
    write_tree(tmp_path / "ben-ge-800", 1)
    content = servers.packed(tmp_path / "ben-ge-800")
    with servers.RecordServer("ben-ge-800.tar.gz", content, record=12941231) as running:
        yield running


def in_process(capsys, *arguments):
    """Exit status and the lines of standard error, without the seconds that a new process takes."""
    with pytest.raises(SystemExit) as leaving:
        command_line.run(script.main, script.make_parser(), [str(argument) for argument in arguments])
    return leaving.value.code, capsys.readouterr().err.splitlines()


def test_downloads_and_says_where_it_is(tmp_path, server):
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[1]), "NO_PROXY": "127.0.0.1"}
    options = ("ben-ge-800", str(tmp_path / "data"), "--keep-archive", "--base", server.address)
    done = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data" / "ben-ge-800" / "ben-ge-800_meta.csv").is_file()
    assert (tmp_path / "data" / "ben-ge-800.tar.gz").is_file()
    facts = "1 patches (published: 800) of https://doi.org/10.5281/zenodo.12941231"
    last = f"{tmp_path / 'data' / 'ben-ge-800'}: {facts}"
    assert done.stdout.splitlines()[-1] == last
    assert "download: 100%" in done.stderr


def test_the_published_number_is_said_once_where_it_is_right(tmp_path, server, capsys, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(script.ARCHIVES, "ben-ge-800", replace(script.ARCHIVES["ben-ge-800"], patches=1))
    script.main(script.make_parser().parse_args(["ben-ge-800", str(tmp_path / "data"), "--base", server.address]))
    assert capsys.readouterr().out.endswith("ben-ge-800: 1 patches of https://doi.org/10.5281/zenodo.12941231\n")


def test_an_error_is_one_plain_line(tmp_path, server, capsys, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.faults.append(servers.status(404))
    status, lines = in_process(capsys, "ben-ge-800", tmp_path / "data", "--base", server.address)
    assert status == 1
    assert f": {server.address}/records/12941231/files/" in lines[-1]
    assert lines[-1].endswith("must be served. Received: status 404 Not Found.")
    assert "B/s]" not in lines[-1]  # the bar ended its own line
    assert list((tmp_path / "data").iterdir()) == []


def test_an_unknown_name(tmp_path, capsys):
    status, lines = in_process(capsys, "ben-ge-9", tmp_path / "data")
    assert status == 1
    names = "'ben-ge-800', 'ben-ge-8k', 'ben-ge-dem', 'ben-ge-esaworldcover', 'ben-ge-era-5', 'ben-ge'"
    assert lines[-1].endswith(f": `name` must be one of [{names}]. Received: name='ben-ge-9'.")
    assert len(lines) == 1
    assert not (tmp_path / "data").exists()


@pytest.fixture
def full(tmp_path, monkeypatch):
    """Server of the parts of a full ben-ge of three patches, and the tree that they were packed from."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    tree = tmp_path / "ben-ge"
    write_tree(tree, 3, labels=True)
    records = {"dem": 8129350, "esaworldcover": 8129666, "ben-ge_era-5.csv": 8129412}
    packed = {}
    for entry, record in records.items():
        folder = tmp_path / f"part-{record}"
        folder.mkdir()
        for name in (entry, "ben-ge_meta.csv"):
            (shutil.copytree if (tree / name).is_dir() else shutil.copy)(tree / name, folder / name)
        packed[record] = servers.packed(folder)
    with servers.RecordServer("a.tar.gz", packed[8129350], record=8129350) as running:
        for record in (8129666, 8129412):
            running.add(record, {"a.tar.gz": packed[record]})
        yield running, tree


def test_parts_of_the_full_set_and_a_local_copy_of_bigearthnet(tmp_path, full, capsys):
    server, tree = full
    sensors = ["--sentinel-2", str(tree / "sentinel-2"), "--sentinel-1", str(tree / "sentinel-1")]
    arguments = ["ben-ge", str(tmp_path / "data"), "--base", server.address, *sensors]
    script.main(script.make_parser().parse_args(arguments))
    place = tmp_path / "data" / "ben-ge"
    assert capsys.readouterr().out.splitlines()[-4:] == [
        f"{place / 'dem'}: 3 patches (published: 590326) of https://doi.org/10.5281/zenodo.8129350",
        f"{place / 'esaworldcover'}: 3 patches (published: 590326) of https://doi.org/10.5281/zenodo.8129666",
        f"{place / 'ben-ge_era-5.csv'}: 3 patches (published: 590326) of https://doi.org/10.5281/zenodo.8129412",
        f"{tree / 'sentinel-2'}, {tree / 'sentinel-1'}: whole, 3 patches of {place / 'ben-ge_meta.csv'}",
    ]
    source = open_source(place, sentinel_2=tree / "sentinel-2", sentinel_1=tree / "sentinel-1")
    assert len(source.patch_ids) == 3
    assert set(source.modalities) >= {"sentinel_2", "sentinel_1", "dem", "esaworldcover", "meta", "era5", "labels"}
    for patch_id in source.patch_ids:
        source.read(patch_id)


def test_a_copy_of_bigearthnet_that_is_not_whole(tmp_path, full, capsys):
    server, tree = full
    next(tree.glob("sentinel-1/*/*_VV.tif")).unlink()
    options = ("--base", server.address, "--sentinel-1", tree / "sentinel-1")
    status, lines = in_process(capsys, "ben-ge-era-5", tmp_path / "data", *options)
    assert status == 1
    assert "`sentinel_1` must hold all 3 patches" in lines[-1]


def test_a_copy_of_bigearthnet_beside_a_set_that_needs_none(tmp_path, capsys):
    status, lines = in_process(capsys, "ben-ge-800", tmp_path / "data", "--sentinel-2", tmp_path)
    assert status == 1
    assert "go with ben-ge and its parts. Received: name='ben-ge-800'" in lines[-1]
    assert not (tmp_path / "data").exists()
