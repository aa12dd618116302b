"""Leave-groups-out folds, and groups by country and block: by hand, and what must never stand on two sides."""

from types import SimpleNamespace

import numpy as np
import pytest

from eokeras.ben_ge.folds import make_folds
from eokeras.ben_ge.groups import group_patches
from eokeras.ben_ge.layout import SPLITS
from eokeras.ben_ge.places import Place
from eokeras.ben_ge.splits import leakage, make_split, read_split, write_split
from eokeras.errors import InvalidArgumentError, InvalidSourceError

TILES = ("29SNB", "29UPA", "31UER", "32TMT", "33UUP", "34TCR", "34VER", "35VPK", "36VVR")


def made_places(sizes=range(10, 19)):
    """Tiles of growing size far from each other, each on a date of its own."""
    return {
        f"{tile}_{k}": Place(tile, (k % 5, k // 5), f"2017-06-{10 + number}")
        for number, (tile, size) in enumerate(zip(TILES, sizes, strict=True))
        for k in range(size)
    }


def source_of(places):
    return SimpleNamespace(name="made", patch_ids=tuple(sorted(places)), places=places, misfits=frozenset(), splits={})


@pytest.mark.parametrize("folds", [3, 4, 9])
def test_every_patch_is_tested_once_and_groups_stay_whole(folds):
    places = made_places()
    splits = make_folds(source_of(places), folds, "tile", seed=1)
    assert len(splits) == folds
    assert sorted(i for split in splits for i in split.patches["test"]) == sorted(places)
    for fold, split in enumerate(splits):
        assert split.patches["val"] == splits[(fold + 1) % folds].patches["test"]
        assert sorted(i for side in SPLITS for i in split.patches[side]) == sorted(places)
        tiles = [{places[i].tile for i in split.patches[side]} for side in SPLITS]
        assert all(tiles)
        assert sum(map(len, tiles)) == 9
        assert (split.kind, split.group, split.seed) == ("fold", "tile", 1)
        assert split.notes[0].startswith(f"Fold {fold + 1} of {folds} by tile (9 groups): train ")


def test_folds_are_of_about_one_size():
    # 126 patches in nine tiles of 10 to 18. Largest first, each to the smallest part: 18+13+12, 17+14+11, 16+15+10.
    sizes = sorted(len(split.patches["test"]) for split in make_folds(source_of(made_places()), 3, "tile"))
    assert sizes == [41, 42, 43]


def test_seeds_of_folds():
    source = source_of(made_places([9] * 9))
    assert make_folds(source, 3, "tile", seed=2) == make_folds(source, 3, "tile", seed=2)
    assert make_folds(source, 3, "tile", seed=2) != make_folds(source, 3, "tile", seed=3)


def test_a_fold_is_an_index_file_like_any_split(tmp_path):
    split = make_folds(source_of(made_places()), 3, "tile")[1]
    assert read_split(write_split(split, tmp_path / "fold-2.csv")) == split


def test_folds_keep_a_buffer():
    places = {f"{column}": Place("33UUP", (column, 0), f"{column // 10}") for column in range(40)}
    for split in make_folds(source_of(places), 4, "date", buffer_m=3000):
        assert leakage(places, split.patches).nearest_m > 3000
        assert leakage(places, split.patches, "val").nearest_m > 3000
        assert leakage(places, split.patches, "test", "val").nearest_m > 3000
        assert len(split.patches["test"]) == 10


@pytest.mark.parametrize("folds", [2, 0, True, 2.5, "all"])
def test_bad_folds(folds):
    with pytest.raises(InvalidArgumentError, match="`folds` must be an integer of 3 or more"):
        make_folds(source_of(made_places()), folds)


def test_more_folds_than_groups():
    with pytest.raises(InvalidArgumentError, match=r"at most the number of groups, 9 by tile\. Received: folds=10"):
        make_folds(source_of(made_places()), 10, "tile")
    with pytest.raises(InvalidArgumentError, match="`group` must be one of"):
        make_folds(source_of(made_places()), 3, "month")


# ---- Countries -----------------------------------------------------------------------------------------------------


def test_countries_stay_whole():
    places = made_places()
    countries = {patch_id: f"land {TILES.index(place.tile) // 2}" for patch_id, place in places.items()}
    split = make_split(source_of(places), group="country", countries=countries, fractions=(0.5, 0.2, 0.3))
    sides = [{countries[i] for i in split.patches[side]} for side in SPLITS]
    assert all(sides)
    assert sum(map(len, sides)) == 5
    assert split.group == "country"


def test_a_country_must_be_known():
    places = made_places()
    countries = dict.fromkeys(list(places)[2:], "Austria")
    with pytest.raises(InvalidSourceError, match=r"country of every patch\. Missing: \['29SNB_0', .* \(2 of 126\)"):
        make_split(source_of(places), group="country", countries=countries)
    with pytest.raises(InvalidArgumentError, match=r"`countries` must say .* Received: none"):
        make_split(source_of(places), group="country")


# ---- Blocks --------------------------------------------------------------------------------------------------------


def test_blocks_by_hand():
    # The corner of 29SND is (499980, 4400040): the centre of column 0 lies at 500,580, of row 0 at 4,399,440.
    places = {
        "a": Place("29SND", (0, 0), "1"),
        "a2": Place("29SND", (0, 0), "2"),
        "b": Place("29SND", (7, 0), "1"),  # 508,980
        "c": Place("29SND", (8, 0), "1"),  # 510,180
        "d": Place("29SND", (0, 8), "1"),  # 4,389,840
        "e": Place("29SNC", (0, 0), "1"),  # 4,299,420
        "f": Place("29SND", (0, 84), "1"),  # 4,298,640, in the tile above and on the ground of the one below
    }
    groups = group_patches(places, "block", block_m=10_000)
    assert [groups[name] for name in "abcdef"] == [0, 0, 1, 2, 3, 3]
    assert groups["a2"] == groups["a"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "random", "buffer_m": 1700}, "`buffer_m` must come with a grouped split. Received: split='random'"),
        ({"kind": "official", "buffer_m": 1700}, "`buffer_m` must come with a grouped split"),
        ({"block_m": 9000}, "`block_m` must come with a grouped split by block. Received: .*group='tile_date'"),
        ({"group": "tile", "countries": {}}, "`countries` must come with a grouped split by country"),
    ],
)
def test_options_that_would_be_passed_over_are_refused(options, words):
    with pytest.raises(InvalidArgumentError, match=words):
        make_split(source_of({"a": Place("33UUP", (0, 0), "2017-06-13")}), **options)


def test_blocks_with_a_buffer_are_parted():
    places = {
        f"{column}_{row}_{date}": Place("33UUP", (column, row), f"{date}")
        for column in range(0, 60, 2)
        for row in range(0, 60, 2)
        for date in range(2)
    }
    split = make_split(source_of(places), group="block", block_m=18_000, buffer_m=5_000)
    counts = leakage(places, split.patches)
    assert (counts.cell, counts.ground) == (0, 0)
    assert counts.nearest_cells == 4  # 4 columns and 2 rows are 5,367 m; 4 columns alone are 4,800 m
    assert counts.nearest_m >= 5_000
    assert counts.tile == counts.patches  # a tile is on both sides: that is what blocks are for
    shares = np.array([len(split.patches[side]) for side in SPLITS]) / len(places)
    assert shares[2] == pytest.approx(0.1, abs=0.03)
    assert shares[0] < 0.8
    unparted = make_split(source_of(places), group="block", block_m=18_000)
    assert unparted.patches["test"] == split.patches["test"]
    assert leakage(places, unparted.patches).nearest_cells == 2


@pytest.mark.parametrize("block_m", [1199, 0, float("inf"), "wide"])
def test_bad_blocks(block_m):
    with pytest.raises(InvalidArgumentError, match="`block_m` must be a finite number of 1200 or more"):
        make_split(source_of(made_places()), group="block", block_m=block_m)


def test_blocks_need_places_on_the_ground():
    for tile in ("T07", "33IUP", "33UUZ", "33UIP", "33JUP"):
        with pytest.raises(InvalidSourceError, match=rf"Blocks need places.*northern hemisphere.*'{tile}'"):
            group_patches({"a": Place(tile, (0, 0), "1")}, "block", block_m=5000)


def test_a_block_needs_an_edge():
    with pytest.raises(InvalidArgumentError, match=r"`block_m` must be the edge of a block.* Received: none"):
        make_split(source_of(made_places()), group="block")
