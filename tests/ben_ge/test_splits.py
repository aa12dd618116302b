"""Splits: groups by hand, nothing shared between sides, allocation, index files, leakage counts."""

import bz2
import csv
import os
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from eokeras.ben_ge.layout import SPLITS
from eokeras.ben_ge.places import Place, parse_name
from eokeras.ben_ge.source import open_source
from eokeras.ben_ge.splits import (
    Leakage,
    LeakageWarning,
    Split,
    group_patches,
    leakage,
    make_split,
    read_split,
    write_split,
)
from eokeras.errors import (
    InvalidArgumentError,
    InvalidPatchError,
    InvalidSourceError,
    TargetExistsError,
    UnwritableError,
)
from tests import trees

real = os.environ.get("EOKERAS_REAL_DATA")
needs_real_data = pytest.mark.skipif(not real, reason="EOKERAS_REAL_DATA names no directory of real patches")


def make_source(places, splits=None):
    """What `make_split` needs of a source, from {patch id: Place}."""
    return SimpleNamespace(
        name="made", patch_ids=tuple(sorted(places)), places=places, misfits=frozenset(), splits=splits or {}
    )


def many_places(tiles=30, cells=8, dates_of_tile=1, seed=0):
    """Tiles of growing size, each photographed on dates of its own."""
    rng = np.random.default_rng(seed)
    places = {}
    for tile in range(tiles):
        for visit in range(dates_of_tile):
            date = f"2017-{1 + tile % 12:02d}-{1 + 2 * (tile // 12) + visit:02d}"
            for _ in range(cells + tile):
                cell = (int(rng.integers(90)), int(rng.integers(90)))
                name = f"S2A_MSIL2A_{date.replace('-', '')}T{tile:06d}_{cell[0]}_{cell[1]}"
                places[name] = Place(f"T{tile:02d}", cell, date)
    return places


def sides_of(split, of):
    """Value of `of(patch_id)` -> the sides that it is on."""
    sides = {}
    for side, ids in split.patches.items():
        for patch_id in ids:
            sides.setdefault(of(patch_id), set()).add(side)
    return sides


# ---- Groups --------------------------------------------------------------------------------------------------------

# By hand: tiles A and B share date 1, B and C share date 2; D stands alone with two dates.
CHAIN = {
    "a": Place("A", (0, 0), "1"),
    "b": Place("B", (0, 0), "1"),
    "b2": Place("B", (5, 5), "2"),
    "c": Place("C", (0, 0), "2"),
    "d": Place("D", (0, 0), "3"),
    "d2": Place("D", (1, 0), "4"),
}


def same_groups(groups, *members):
    assert {frozenset(i for i, n in groups.items() if n == number) for number in set(groups.values())} == {
        frozenset(names) for names in members
    }


def test_groups_by_tile():
    same_groups(group_patches(CHAIN, "tile"), ["a"], ["b", "b2"], ["c"], ["d", "d2"])


def test_groups_by_tile_and_date_are_what_hangs_together():
    same_groups(group_patches(CHAIN, "tile_date"), ["a", "b", "b2", "c"], ["d", "d2"])


def test_groups_by_date_merge_where_a_cell_repeats():
    same_groups(group_patches(CHAIN, "date"), ["a", "b"], ["b2", "c"], ["d"], ["d2"])
    repeated = {**CHAIN, "d2": Place("D", (0, 0), "4"), "e": Place("D", (9, 9), "4")}
    same_groups(group_patches(repeated, "date"), ["a", "b"], ["b2", "c"], ["d", "d2", "e"])


def test_no_places_no_groups():
    assert group_patches({}, "tile") == {}


# ---- Grouped splits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["tile", "date", "tile_date"])
@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_is_shared_between_sides(group, seed):
    places = many_places(tiles=30, dates_of_tile=2)
    split = make_split(make_source(places), group=group, seed=seed)
    assert sorted(sum(split.patches.values(), ())) == sorted(places)
    assert (split.kind, split.group, split.seed, split.fractions) == ("grouped", group, seed, (0.8, 0.1, 0.1))
    kept = {"tile": [lambda i: places[i].tile], "date": [lambda i: places[i].date]}
    kept["tile_date"] = kept["tile"] + kept["date"]
    for of in (*kept[group], lambda i: (places[i].tile, places[i].cell)):
        assert all(len(sides) == 1 for sides in sides_of(split, of).values())


def test_sides_come_near_their_shares_and_hold_many_small_groups():
    places = many_places(tiles=40)
    split = make_split(make_source(places), group="tile", seed=0)
    shares = [len(split.patches[side]) / len(places) for side in SPLITS]
    np.testing.assert_allclose(shares, (0.8, 0.1, 0.1), atol=0.02)
    groups = {side: len({places[i].tile for i in split.patches[side]}) for side in SPLITS}
    # Tiles hold 8 to 47 patches, 27.5 on average; a tenth of all is 110: four average tiles, more small ones.
    assert groups["val"] > 4
    assert groups["test"] > 4
    assert split.notes[0].startswith("Grouped by tile (40 groups): train ")
    assert f"test {shares[2]:.1%} in {groups['test']}." in split.notes[0]


def test_same_seed_same_split_whatever_the_order_of_patches():
    places = many_places()
    reversed_places = dict(sorted(places.items(), reverse=True))
    first = make_split(make_source(places), seed=3)
    assert first == make_split(make_source(places), seed=3)
    assert first != make_split(make_source(places), seed=4)
    assert make_split(make_source(reversed_places), seed=3).patches == first.patches


@pytest.mark.parametrize("sizes", [(1, 1, 1), (100, 1, 1), (50, 50, 50), (1000, 1, 2, 3), (5, 5, 5, 5)])
def test_three_groups_are_enough_for_three_sides(sizes):
    places = {f"{g}-{i}": Place(f"T{g}", (i, 0), f"d{g}") for g, size in enumerate(sizes) for i in range(size)}
    split = make_split(make_source(places))
    assert all(split.patches[side] for side in SPLITS)
    assert len(split.patches["train"]) >= max(len(split.patches["val"]), len(split.patches["test"]))
    assert any("too few for an interval" in note for note in split.notes)


def test_too_few_groups_leave_all_in_train():
    split = make_split(make_source(CHAIN))  # 2 groups by tile and date
    assert split.patches == {"train": tuple(sorted(CHAIN)), "val": (), "test": ()}
    assert split.notes[0].startswith("Too few groups (2 by tile and date) for 3 splits")


def test_a_side_without_share_stays_empty():
    split = make_split(make_source(many_places()), fractions=(0.7, 0, 0.3))
    assert split.patches["val"] == ()
    assert len(split.patches["test"]) / len(many_places()) == pytest.approx(0.3, abs=0.02)


def test_shares_that_whole_groups_cannot_reach_are_noted():
    places = {f"{g}-{i}": Place(f"T{g}", (i, 0), f"d{g}") for g in range(3) for i in range(50)}
    assert any("do not come nearer" in note for note in make_split(make_source(places)).notes)


def test_patches_that_cannot_be_read_stay_in_train_where_reading_names_them(tmp_path):
    places = [(tile, column, 3, date) for tile, date in zip(trees.TILES, trees.DATES, strict=True) for column in (1, 2)]
    expected = trees.write_tree(tmp_path / "small", places=places, splits=True)
    lost = sorted(expected)[-1]
    trees.drop_row(tmp_path / "small" / "small_meta.csv", lost)
    source = open_source(tmp_path / "small")
    split = make_split(source)
    assert lost in split.patches["train"]
    assert any("cannot be read or placed" in note for note in split.notes)
    with pytest.raises(InvalidPatchError, match=lost):
        source.read(lost)
    official = make_split(source, "official")
    stray = expected[lost]["patch_id_s1"]
    assert stray in official.patches["train"]  # named by no csv and no split file, yet not passed over


# ---- Official, random ----------------------------------------------------------------------------------------------

# Training cells (0, 0) and (10, 10) of tile A on date 1; the test patches by hand: one repeats a cell on another
# date, one abuts, one is 5 cells off, one 6, one is in another tile on a training date.
LEAKY = {
    "S2A_MSIL2A_20170101T000001_0_0": Place("A", (0, 0), "2017-01-01"),
    "S2A_MSIL2A_20170101T000001_10_10": Place("A", (10, 10), "2017-01-01"),
    "S2A_MSIL2A_20170202T000002_0_0": Place("A", (0, 0), "2017-02-02"),
    "S2A_MSIL2A_20170101T000001_11_9": Place("A", (11, 9), "2017-01-01"),
    "S2A_MSIL2A_20170202T000002_15_12": Place("A", (15, 12), "2017-02-02"),
    "S2A_MSIL2A_20170202T000002_16_10": Place("A", (16, 10), "2017-02-02"),
    "S2A_MSIL2A_20170101T000009_0_0": Place("B", (0, 0), "2017-01-01"),
}
LEAKY_SPLIT = {"train": tuple(LEAKY)[:2], "test": tuple(LEAKY)[2:]}


def test_leakage_by_hand():
    assert leakage(LEAKY, LEAKY_SPLIT) == Leakage(
        patches=5, product=1, tile=4, date=2, cell=1, adjacent=2, within_5_cells=3, nearest_cells=0
    )
    assert leakage(LEAKY, {"train": (), "test": tuple(LEAKY)}) == Leakage(7, 0, 0, 0, 0, 0, 0)


def test_official_split_warns_of_what_it_leaks():
    source = make_source(LEAKY, LEAKY_SPLIT)
    expected = (
        "The official split leaks. Of 5 test patches 1 share their acquisition, 2 their date and 4 their tile with a "
        "training patch; 2 abut or repeat one's cell, 1 show the same cell on another date."
    )
    with pytest.warns(LeakageWarning, match=expected):
        split = make_split(source, "official")
    assert split.patches == {side: tuple(sorted(LEAKY_SPLIT.get(side, ()))) for side in SPLITS}
    assert split.notes[-1].startswith(expected)


def test_official_split_that_leaks_nothing_does_not_warn():
    ids = tuple(LEAKY)
    source = make_source(LEAKY, {"train": (ids[2],), "test": (ids[6],)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split = make_split(source, "official")
    assert "5 patches of made are in no split and are left out." in split.notes
    assert "shares no acquisition, tile or date" in split.notes[-1]


def test_official_split_must_exist():
    with pytest.raises(InvalidSourceError, match=r"splits/made_train\.csv.*`splits=`"):
        make_split(make_source(LEAKY), "official")


def test_official_split_of_a_tree(tmp_path):
    expected = sorted(trees.write_tree(tmp_path / "small", 4, splits=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakageWarning)
        split = make_split(open_source(tmp_path / "small"), "official")
    assert split.patches == {"train": tuple(expected[:2]), "val": (expected[2],), "test": (expected[3],)}


def test_random_split_warns_and_is_seeded():
    places = many_places(tiles=5, cells=20)
    source = make_source(places)
    with pytest.warns(LeakageWarning, match="The random split leaks"):
        split = make_split(source, "random", seed=1)
    assert [len(split.patches[side]) for side in SPLITS] == [88, 11, 11]  # of 110
    assert sorted(sum(split.patches.values(), ())) == sorted(places)
    with pytest.warns(LeakageWarning):
        assert make_split(source, "random", seed=1) == split
    with pytest.warns(LeakageWarning):
        assert make_split(source, "random", seed=2) != split


# ---- Bad arguments -------------------------------------------------------------------------------------------------


def test_unknown_kind_and_group():
    source = make_source(CHAIN)
    with pytest.raises(InvalidArgumentError, match=r"`split` must be one of .*'grouped', .* or the path.*'blocked'"):
        make_split(source, "blocked")
    groups = r"\['tile_date', 'tile', 'date', 'country', 'block'\]"
    with pytest.raises(InvalidArgumentError, match=rf"`group` must be one of {groups}.*'month'"):
        make_split(source, group="month")
    with pytest.raises(InvalidArgumentError, match="`group`"):
        group_patches(CHAIN, "cell")


@pytest.mark.parametrize(
    "fractions",
    [(0.8, 0.1), (0.8, 0.1, 0.2), (1.1, -0.1, 0), (0, 0.5, 0.5), "all", 1, (float("nan"), 0.5, 0.5), (1, 2, "x")],
)
def test_bad_fractions(fractions):
    with pytest.raises(InvalidArgumentError, match=r"`fractions` must be three shares .* Received: fractions="):
        make_split(make_source(CHAIN), fractions=fractions)


# ---- Index files ---------------------------------------------------------------------------------------------------


def test_index_file_round_trip(tmp_path):
    places = many_places()
    source = make_source(places)
    split = make_split(source, group="tile", seed=5)
    path = write_split(split, tmp_path / "split.csv")
    assert read_split(path) == split
    assert write_split(split, tmp_path / "again.csv").read_bytes() == path.read_bytes()
    lines = path.read_text().splitlines()
    assert lines[:4] == ["# kind: grouped", "# group: tile", "# seed: 5", "# fractions: 0.8 0.1 0.1"]
    assert lines.index("patch_id,split") == 4 + len(split.notes)
    assert sorted(os.listdir(tmp_path)) == ["again.csv", "split.csv"]
    again = make_split(source, path)
    assert (again.kind, again.patches) == ("index", split.patches)
    assert make_split(source, str(path)) == again


def test_index_file_never_replaces_another(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("precious")
    with pytest.raises(TargetExistsError, match=r"split\.csv"):
        write_split(Split({"train": ("a",)}, "grouped"), path)
    assert path.read_text() == "precious"


def test_index_file_that_cannot_be_written(tmp_path, monkeypatch):
    split = Split({"train": ("a",)}, "grouped")
    with pytest.raises(UnwritableError, match=r"nowhere.split\.csv"):
        write_split(split, tmp_path / "nowhere" / "split.csv")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(UnwritableError, match="No space left on device"):
        write_split(split, tmp_path / "split.csv")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "an empty file"),
        ("# kind: grouped\n", "must hold at least one patch id"),
        ("patch_id,split\n", "must hold at least one patch id"),
        ("a\nb\n", r"must have the header `patch_id,split`\. Received: ids alone"),
        ("patch_id,side\na,train\n", r"header of an index file must be .* Received: 'patch_id,side'"),
        ("patch_id,split\na,train\na,test\n", r"so in one split\. Received: a in lines 2 and 3"),
        ("patch_id,split\na,train\nb\n", r"must hold patch_id and split\. Received: 'b' in line 3"),
        ("patch_id,split\na,\n", r"must hold patch_id and split\. Received: 'a,' in line 2"),
        ("patch_id,split\na,validation\n", r"must be one of \['train', 'val', 'test'\]\. Received: \['validation'\]"),
        ("# seed: many\npatch_id,split\na,train\n", "must be numbers"),
    ],
)
def test_malformed_index_file(tmp_path, text, rule):
    path = tmp_path / "index.csv"
    path.write_text(text)
    with pytest.raises(InvalidSourceError, match=rule) as caught:
        read_split(path)
    assert str(path) in str(caught.value)


def test_binary_or_missing_index_file(tmp_path):
    path = tmp_path / "index.csv"
    with pytest.raises(InvalidSourceError, match=r"must be readable.*index\.csv"):
        make_split(make_source(CHAIN), path)
    path.write_bytes(b"\xff\xfe\x80")
    with pytest.raises(InvalidSourceError, match=r"must be UTF-8 text.*index\.csv"):
        make_split(make_source(CHAIN), path)


def test_index_file_naming_an_unknown_patch(tmp_path):
    path = tmp_path / "index.csv"
    path.write_text("patch_id,split\na,train\nnowhere,test\n")
    with pytest.raises(InvalidSourceError, match=r"Unknown: \['nowhere'\] \(1 in all\)\. File: .*index\.csv"):
        make_split(make_source(CHAIN), path)


def test_index_file_of_some_patches_leaves_the_others_out(tmp_path):
    path = tmp_path / "index.csv"
    path.write_text("patch_id,split\na,train\nb,test\n")
    split = make_split(make_source(CHAIN), path)
    assert split.patches == {"train": ("a",), "val": (), "test": ("b",)}
    assert split.notes == ("4 patches of made are in no split and are left out.",)


# ---- Real names ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_places():
    with bz2.open(Path(real) / "bigearthnet-index" / "s1_s2_name_country_season.csv.bz2", "rt") as file:
        pairs = [(row["s1_name"], row["s2_name"]) for row in csv.DictReader(file)]
    places = {}
    for s1_name, s2_name in pairs:
        name = parse_name(s2_name)
        places[s2_name] = Place(parse_name(s1_name).tile, name.cell, name.date)
    return places


@needs_real_data
def test_real_components_of_tiles_and_dates(real_places):
    assert len(real_places) == 590_326
    sizes = np.bincount(list(group_patches(real_places, "tile_date").values()))
    assert len(sizes) == 19
    assert sizes.max() / sizes.sum() == pytest.approx(0.48, abs=0.005)
    assert len(set(group_patches(real_places, "tile").values())) == 56


@needs_real_data
def test_real_ben_ge_8k_leaks_as_published(real_places):
    folder = Path(real) / "ben-ge-8k-index"
    patches = {side: (folder / f"ben-ge-8k_{side}.csv").read_text().split() for side in SPLITS}
    counts = leakage(real_places, patches)
    assert (counts.patches, counts.product, counts.tile) == (800, 800, 800)
    assert counts.adjacent / 8 == pytest.approx(38, abs=0.5)
    assert counts.within_5_cells / 8 == pytest.approx(92, abs=0.5)
    assert counts.cell / 8 == pytest.approx(6.6, abs=0.05)
    assert (counts.nearest_cells, counts.nearest_m) == (0, 0)


@needs_real_data
def test_real_tiles_overlap_and_a_buffer_parts_them(real_places):
    ids = (Path(real) / "ben-ge-8k-index" / "ben-ge-8k.csv").read_text().split()
    places = {patch_id: real_places[patch_id] for patch_id in ids}
    split = make_split(make_source(places), group="tile")
    counts = leakage(places, split.patches)
    assert (counts.tile, counts.ground) == (0, 8)
    assert "Of 797 test patches 8 share ground with a training patch (tiles overlap)" in split.notes[-1]
    parted = make_split(make_source(places), group="tile", buffer_m=1200)
    assert parted.patches["test"] == split.patches["test"]
    counts = leakage(places, parted.patches)
    assert counts.ground == 0
    assert counts.nearest_m >= 1200


@needs_real_data
def test_real_ben_ge_mini_has_too_few_groups():
    source = open_source(Path(real) / "ben-ge-mini")
    split = make_split(source)  # one tile name throughout
    assert split.patches["train"] == source.patch_ids
    assert "Too few groups (1 by tile and date)" in split.notes[0]
    with pytest.warns(LeakageWarning, match="Of 3 test patches 3 share their acquisition"):
        official = make_split(source, "official")
    assert [len(official.patches[side]) for side in SPLITS] == [6, 3, 3]
