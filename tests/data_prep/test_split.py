"""The command line that splits records, draws label budgets and clusters places: what it writes and says."""

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


def test_another_split_is_records(known_records, tmp_path, capsys):
    out = tmp_path / "by-date"
    options = ("--split", "grouped", "--group", "date", "--fractions", 0.6, 0, 0.4, "--seed", 5)
    status, said, _ = split(capsys, known_records.path, out, *options)
    assert status == 0
    expected = eo.ben_ge.make_split(
        eo.ben_ge.patches_of(known_records.path), group="date", fractions=(0.6, 0, 0.4), seed=5
    )
    assert eo.ben_ge.read_split(out / "split.csv").patches == expected.patches
    counts = ", ".join(f"{side} {len(ids)}" for side, ids in expected.patches.items())
    lines = said.splitlines()
    assert lines[0] == f"{out}: {counts} patches (grouped split)"
    assert lines[1 : 1 + len(expected.notes)] == [f"note: {note}" for note in expected.notes]
    assert lines[-1].startswith(f"leaks: Of {len(expected.patches['test'])} test patches 0 share their acquisition, 0 ")
    test = eo.make_dataset(out, "test", ("s1",), metadata=("patch_id",))
    read = [i.decode() for _, _, metadata in test.as_numpy_iterator() for i in metadata["patch_id"]]
    assert sorted(read) == list(expected.patches["test"])


def test_an_index_file_instead_and_back(known_records, tmp_path, capsys):
    index = tmp_path / "random.csv"
    assert split(capsys, known_records.path, index, "--split", "random", "--seed", 2)[0] == 0
    assert split(capsys, known_records.path, tmp_path / "random", "--split", index)[0] == 0
    patches = eo.ben_ge.read_split(index).patches
    assert [len(ids) for ids in patches.values()] == [10, 1, 1]
    assert eo.load_schema(tmp_path / "random").splits == {"train": 10, "val": 1, "test": 1}
    assert eo.ben_ge.read_split(tmp_path / "random" / "split.csv").patches == patches


def test_blocks_of_a_given_size(known_records, tmp_path, capsys):
    out = tmp_path / "blocks.csv"
    options = ("--split", "grouped", "--group", "block", "--buffer-km", 2, "--fractions", 0.6, 0.2, 0.2)
    status, said, _ = split(capsys, known_records.path, out, *options)
    assert status == 0
    assert said.splitlines()[0] == "blocks of 6 km with a buffer of 2 km"
    patches = eo.ben_ge.patches_of(known_records.path)
    options = {"group": "block", "fractions": (0.6, 0.2, 0.2), "block_m": 6000, "buffer_m": 2000}
    assert eo.ben_ge.read_split(out).patches == eo.ben_ge.make_split(patches, **options).patches


def test_by_country(known_records, tmp_path, capsys):
    patches = eo.ben_ge.patches_of(known_records.path)
    tiles = sorted({place.tile for place in patches.places.values()})
    table = tmp_path / "countries.csv"
    rows = [f"{patch_id},land {tiles.index(place.tile)}" for patch_id, place in patches.places.items()]
    table.write_text("\n".join(["patch_id,country", *rows]) + "\n")
    options = ("--split", "grouped", "--group", "country", "--countries", table, "--fractions", 0.7, 0, 0.3)
    assert split(capsys, known_records.path, tmp_path / "out.csv", *options)[0] == 0
    sides = eo.ben_ge.read_split(tmp_path / "out.csv").patches
    of_sides = [{patches.places[i].tile for i in sides[side]} for side in ("train", "test")]
    assert all(of_sides)
    assert not set.intersection(*of_sides)


def test_folds_are_records_each(known_records, tmp_path, capsys):
    out = tmp_path / "folds"
    status, said, _ = split(capsys, known_records.path, out, "--folds", 3, "--group", "date")
    assert status == 0
    expected = eo.ben_ge.make_folds(eo.ben_ge.patches_of(known_records.path), 3, "date")
    for number, fold in enumerate(expected, start=1):
        assert eo.ben_ge.read_split(out / f"fold-{number}" / "split.csv").patches == fold.patches
        assert f"note: Fold {number} of 3 by date" in said
    tested = sum(eo.load_schema(out / f"fold-{number}").splits["test"] for number in (1, 2, 3))
    assert tested == len(known_records.features)


def test_clusters_given_and_chosen(known_records, tmp_path, capsys):
    status, said, _ = split(capsys, known_records.path, tmp_path / "three.json", "--geoclusters", 3)
    assert (status, said) == (0, f"{tmp_path / 'three.json'}: 3 clusters of 6 training places (seed 0)\n")
    assert eo.pretrain.load_geoclusters(tmp_path / "three.json") == eo.pretrain.geoclusters(known_records.path, 3)
    status, said, _ = split(capsys, known_records.path, tmp_path / "chosen.json", "--geoclusters", 2, 4)
    chosen = eo.pretrain.load_geoclusters(tmp_path / "chosen.json")
    assert [count for count, _ in chosen.silhouettes] == [2, 3, 4]
    assert said.splitlines()[1:] == [f"{k} clusters: mean silhouette {value:.3f}" for k, value in chosen.silhouettes]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{tmp}/nothing", "{tmp}/out.csv", "--label-fraction", "0.1"], "must be a directory of finished records"),
        (["{records}", "{tmp}/out.csv", "--label-fraction", "10"], "`label_fraction` must be a number above 0"),
        (["{records}", "{tmp}/out.csv", "--label-shots", "labels", "5"], "`label_shots` must be one of"),
        (["{records}", "{tmp}/out.csv", "--label-shots", "land_cover", "five"], "positive number of patches per class"),
        (["{records}", "{tmp}/out.csv", "--label-fraction", "0.1", "--label-draw", "random"], "`label_draw`"),
        (["{records}", "{tmp}/no/out.csv", "--label-fraction", "0.1"], "must be writable"),
        (["{tmp}/nothing", "{tmp}/out", "--split", "grouped"], "must be a directory of finished records"),
        (["{records}", "{tmp}/out", "--split", "scattered"], "`split` must be one of"),
        (["{records}", "{tmp}/out", "--split", "grouped", "--group", "country"], "`countries` must say the country"),
        (["{records}", "{tmp}/out", "--split", "grouped", "--group", "month"], "`group` must be one of"),
        (["{records}", "{tmp}/out", "--split", "grouped", "--group", "block"], "A variogram needs 30 pairs"),
        (["{records}", "{records}", "--split", "random"], "`directory` must not exist yet"),
        (["{records}", "{tmp}/out", "--folds", "2"], "`folds` must be an integer of 3 or more"),
        (["{records}", "{records}", "--folds", "3"], "`out` must not exist yet"),
        (["{records}", "{tmp}/out.json", "--geoclusters", "1", "2", "3"], "`geoclusters` must be a number"),
        (["{records}", "{tmp}/out.json", "--geoclusters", "99"], "at most the number of distinct places"),
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
    assert "one of the arguments --split --folds --label-fraction --label-shots --geoclusters is required" in lines[-1]


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
