"""The command line that fetches a published tree: exit status, what it prints, what it leaves."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from eokeras import command_line
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
    status, lines = in_process(capsys, "ben-ge", tmp_path / "data")
    assert status == 1
    assert lines[-1].endswith(": `name` must be one of ['ben-ge-800', 'ben-ge-8k']. Received: name='ben-ge'.")
    assert len(lines) == 1
    assert not (tmp_path / "data").exists()
