"""The command line that inspects records: what it prints and writes, and that its name harms nobody."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import eokeras as eo
from eokeras import command_line
from eokeras.ben_ge.provenance import provenance_lines, provenance_of

ROOT = Path(eo.__file__).parents[1]
_specification = importlib.util.spec_from_file_location("inspect_records", ROOT / "data_prep" / "inspect.py")
script = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(script)


def inspect(capsys, *arguments):
    """Exit status, lines of standard output, lines of standard error."""
    with pytest.raises(SystemExit) as leaving:
        command_line.run(script.main, script.make_parser(), [str(argument) for argument in arguments])
    output = capsys.readouterr()
    return leaving.value.code, output.out.splitlines(), output.err.strip().splitlines()


def test_prints_provenance_and_warnings_and_writes_both_files(known_records, tmp_path, capsys):
    status, said, _ = inspect(capsys, known_records.path, "--out", tmp_path)
    assert status == 0
    schema = eo.load_schema(known_records.path)
    assert said[0] == f"{known_records.path}: tree, train 6, val 3, test 3 patches (official split)"
    lines = provenance_lines(provenance_of(schema))
    assert said[1 : 1 + len(lines)] == lines
    content = json.loads((tmp_path / "inspection.json").read_text("utf-8"))
    assert [line for line in said if line.startswith("warning: ")] == [f"warning: {w}" for w in content["warnings"]]
    assert said[-2:] == [str(tmp_path / "inspection.html"), str(tmp_path / "inspection.json")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inspection.html", "inspection.json"]


def test_statistics_of_others_end_with_an_error_after_the_report(known_records, tmp_path, capsys):
    records = shutil.copytree(known_records.path, tmp_path / "records")
    content = json.loads((records / "metadata.json").read_text())
    content["statistics"]["s1"]["mean"][0] += 1
    (records / "metadata.json").write_text(json.dumps(content))
    status, said, errors = inspect(capsys, records)
    assert status == 1
    assert "must have the statistics of its shards" in errors[-1]
    assert any("Statistics and shards do not belong together: statistics different: s1: mean" in line for line in said)
    assert (records / "inspection.html").is_file()


def test_what_is_wrong_is_said_in_a_line(known_records, tmp_path, capsys):
    status, _, errors = inspect(capsys, tmp_path)
    assert (status, len(errors)) == (1, 1)
    assert "lacks dataset_info.json" in errors[0]
    (tmp_path / "snow.csv").write_text("not a patch\n")
    status, _, errors = inspect(capsys, known_records.path, "--snow", tmp_path / "snow.csv", "--out", tmp_path)
    assert (status, len(errors)) == (1, 1)
    assert "must hold a name a line" in errors[0]
    assert not (tmp_path / "inspection.json").exists()


def test_where_nothing_can_be_written_nothing_is_read(known_records, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("eokeras.ben_ge.inspect", lambda *_, **__: pytest.fail("read the patches"))
    status, _, errors = inspect(capsys, known_records.path, "--out", tmp_path / "file")
    assert (status, len(errors)) == (1, 1)
    assert "`--out` must be writable" in errors[0]


def test_the_standard_library_keeps_its_module_of_that_name():
    code = "import sys; sys.path.insert(0, sys.argv[1]); import inspect; print(inspect.signature(lambda a: a))"
    folder = str(ROOT / "data_prep")
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, cwd="/")
    assert (done.stdout.strip(), done.returncode) == ("(a)", 0), done.stderr
    for command in ("inspect.py", "simulate.py"):  # itself, and one beside it; dataclasses imports `inspect`
        done = subprocess.run([sys.executable, f"{folder}/{command}", "--help"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"usage: {command}")
