"""Label subsets: Adams' method by hand, clustered prefixes, nestedness, counts, k-shot, index files."""

import bz2
import csv
import itertools
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import eokeras
from eokeras.ben_ge.label_subsets import (
    LabelSubset,
    draw_order,
    read_label_subset,
    take_fraction,
    take_shots,
    write_label_subset,
)
from eokeras.ben_ge.places import Place, parse_name
from eokeras.ben_ge.splits import group_patches
from eokeras.errors import InvalidArgumentError, InvalidSourceError, TargetExistsError, UnwritableError

real = os.environ.get("EOKERAS_REAL_DATA")
needs_real_data = pytest.mark.skipif(not real, reason="EOKERAS_REAL_DATA names no directory of real patches")

DRAWS = ("spread", "clustered")
GROUPS = ("tile", "date", "tile_date")


def places_of_sizes(sizes):
    """Tile name -> number of patches, each tile on a date of its own."""
    return {
        f"{tile}{index}": Place(tile, (index % 90, index // 90), f"2017-01-{number + 1:02d}")
        for number, (tile, size) in enumerate(sizes.items())
        for index in range(size)
    }


def many_places(seed=0):
    """Pairs of tiles that share two dates, in every third pair a third: groups of several tiles and dates."""
    rng = np.random.default_rng(seed)
    places = {}
    for tile in range(16):
        for visit in range(2 + (tile % 3 == 0)):
            date = f"2017-{1 + tile // 2:02d}-{1 + visit:02d}"
            for _ in range(int(rng.integers(1, 14))):
                cell = tuple(rng.integers(90, size=2).tolist())
                places[f"{tile:02d}-{date}-{cell[0]}-{cell[1]}"] = Place(f"T{tile:02d}", cell, date)
    return places


def taken(order, count, of):
    return Counter(of[patch_id] for patch_id in order[:count])


def tiles_of(places):
    return {patch_id: place.tile for patch_id, place in places.items()}


# ---- Spread --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_spread_by_hand(seed):
    # Groups of 6, 3 and 1. One of each; then A at 1/6, A and B at 1/3, A at 1/2, A and B at 2/3, A at 5/6.
    places = places_of_sizes({"A": 6, "B": 3, "C": 1})
    order = draw_order(places, "spread", "tile", seed)
    counts = {count: [taken(order, count, tiles_of(places))[tile] for tile in "ABC"] for count in range(1, 11)}
    assert counts[3] == [1, 1, 1]
    assert counts[4] == [2, 1, 1]
    assert counts[6] == [3, 2, 1]
    assert counts[7] == [4, 2, 1]
    assert counts[9] == [5, 3, 1]
    assert counts[10] == [6, 3, 1]
    assert [sorted(counts[count]) for count in (1, 2)] == [[0, 0, 1], [0, 1, 1]]
    assert counts[5] in ([3, 1, 1], [2, 2, 1])


def adams(sizes):
    """Seats of every party after each round: the next go to whose votes / seats so far is largest, ties together."""
    given = Counter(sizes.keys())  # those without a seat come first
    yield dict(given)
    while given != sizes:
        priority = {party: Fraction(votes, given[party]) for party, votes in sizes.items() if given[party] < votes}
        given.update(party for party in priority if priority[party] == max(priority.values()))
        yield dict(given)


@pytest.mark.parametrize("group", GROUPS)
def test_spread_is_adams_method(group):
    places = many_places()
    groups = group_patches({i: places[i] for i in sorted(places)}, group)
    sizes = Counter(groups.values())
    assert len(sizes) > 1
    order = draw_order(places, "spread", group, 3)
    for expected in adams(sizes):
        assert taken(order, sum(expected.values()), groups) == expected


def test_spread_takes_any_patch_of_a_group_first():
    places = places_of_sizes({"A": 4, "B": 4})
    firsts = {next(i for i in draw_order(places, "spread", "tile", seed) if i[0] == "A") for seed in range(40)}
    assert firsts == {"A0", "A1", "A2", "A3"}


def test_spread_begins_with_any_group():
    places = places_of_sizes({"A": 6, "B": 3, "C": 1})
    assert {draw_order(places, "spread", "tile", seed)[0][0] for seed in range(40)} == set("ABC")


# ---- Clustered -----------------------------------------------------------------------------------------------------


def cut(order, count, of):
    """How many of the values of `of` are in the first `count` patches in part."""
    sizes = Counter(of[patch_id] for patch_id in order)
    return sum(number < sizes[value] for value, number in taken(order, count, of).items())


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("seed", [0, 1])
def test_clustered_cuts_at_most_one_group(group, seed):
    places = many_places()
    groups = group_patches({i: places[i] for i in sorted(places)}, group)
    order = draw_order(places, "clustered", group, seed)
    assert sorted(order) == sorted(places)
    products = {i: (groups[i], place.tile, place.date) for i, place in places.items()}
    outer = {i: (groups[i], place.date if group == "date" else place.tile) for i, place in places.items()}
    for count in range(1, len(places) + 1):
        assert cut(order, count, groups) <= 1
        assert cut(order, count, outer) <= 1  # a cut group is itself taken tile by tile (or date by date)
        assert cut(order, count, products) <= 1


def test_clustered_begins_with_any_group_and_any_patch():
    places = places_of_sizes({"A": 3, "B": 2, "C": 2})
    assert {draw_order(places, "clustered", "tile", seed)[0] for seed in range(60)} == set(places)


@pytest.mark.parametrize("group", ["tile_date", "date"])
def test_a_component_begins_with_any_tile_and_date(group):
    """Three tiles seen on three dates hang together: one component by tile and date, one group per date."""
    dates = ("2017-01-01", "2017-01-02", "2017-01-03")
    places = {f"{tile}{date[-1]}": Place(tile, (0, 0), date) for tile in "ABC" for date in dates}
    assert {draw_order(places, "clustered", group, seed)[0] for seed in range(60)} == set(places)


def test_clustered_covers_fewer_groups_than_spread():
    places = many_places()
    tiles = {draw: len(taken(draw_order(places, draw, "tile", 0), 20, tiles_of(places))) for draw in DRAWS}
    assert tiles["spread"] == 16
    assert tiles["clustered"] <= 3


# ---- Nestedness, determinism ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("seed", range(3))
def test_smaller_fractions_are_contained_in_larger_ones(draw, group, seed):
    places = many_places(seed)
    order = draw_order(places, draw, group, seed)
    smaller = set()
    for fraction in np.linspace(0.005, 1, 200):
        larger = set(take_fraction(draw_order(places, draw, group, seed) if fraction > 0.9 else order, fraction))
        assert smaller <= larger
        smaller = larger
    assert smaller == set(places)


@pytest.mark.parametrize("draw", DRAWS)
def test_the_order_of_the_mapping_does_not_count(draw):
    places = many_places()
    mixed = list(places)
    random.Random(1).shuffle(mixed)
    for group in GROUPS:
        expected = draw_order(places, draw, group, 4)
        assert draw_order({patch_id: places[patch_id] for patch_id in mixed}, draw, group, 4) == expected


@pytest.mark.parametrize("draw", DRAWS)
def test_the_seed_counts(draw):
    places = many_places()
    assert len({draw_order(places, draw, "tile", seed) for seed in range(20)}) == 20


def test_another_process_draws_the_same():
    code = (
        "from tests.ben_ge.test_label_subsets import many_places, DRAWS\n"
        "from eokeras.ben_ge.label_subsets import draw_order\n"
        "print([draw_order(many_places(), draw, 'tile_date', 5) for draw in DRAWS])"
    )
    root = Path(eokeras.__file__).parents[1]
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=root)
    assert done.stdout.strip() == str([draw_order(many_places(), draw, "tile_date", 5) for draw in DRAWS]), done.stderr


def test_no_places():
    assert draw_order({}) == ()


@pytest.mark.parametrize(
    ("patches", "fraction", "count"),
    [
        (5, 0.5, 3),  # 2.5, half up
        (25, 0.1, 3),  # 2.5
        (50, 0.29, 15),  # 14.5 on paper, 14.499999999999998 in binary
        (14, 0.1, 1),  # 1.4
        (10, 0.001, 1),  # never none
        (7, 1, 7),
        (7, 1.0, 7),
        (5, np.float32(0.5), 3),
        (1000, 0.0125, 13),  # 12.5
    ],
)
def test_counts(patches, fraction, count):
    order = [str(index) for index in range(patches)]
    assert take_fraction(order, fraction) == tuple(order[:count])


# ---- k-shot --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", DRAWS)
def test_shots_are_the_first_of_every_class(draw):
    places = many_places()
    rng = np.random.default_rng(0)
    classes = {patch_id: int(rng.choice([0, 1, 2, 2, 2, 9, 255])) for patch_id in places}
    sizes = Counter(classes.values())
    order = draw_order(places, draw, "tile", 2)
    smaller = set()
    for shots in range(1, 60):
        chosen = take_shots(order, classes, shots)
        counts = Counter(classes[patch_id] for patch_id in chosen)
        assert counts == {index: min(shots, sizes[index]) for index in (0, 1, 2, 9)}
        assert smaller <= set(chosen)
        smaller = set(chosen)
        for index in counts:
            of_class = [patch_id for patch_id in order if classes[patch_id] == index]
            assert [i for i in chosen if classes[i] == index] == of_class[: counts[index]]


# ---- Bad arguments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan"), "0.1", None, True, 10])
def test_bad_fractions(fraction):
    with pytest.raises(InvalidArgumentError, match="`label_fraction` must be a number above 0 and at most 1"):
        take_fraction(("a", "b"), fraction)


@pytest.mark.parametrize("shots", [0, -1, 1.0, "5", True, None])
def test_bad_shots(shots):
    with pytest.raises(InvalidArgumentError, match="`label_shots` must be a positive number of patches per class"):
        take_shots(("a",), {"a": 0}, shots)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"label_draw": "scattered"}, r"`label_draw` must be one of \['spread', 'clustered'\].*'scattered'"),
        ({"label_group": "cell"}, r"`label_group` must be one of \['tile_date', 'tile', 'date'\].*'cell'"),
        ({"label_seed": -1}, "`label_seed` must be 0 or a positive integer. Received: label_seed=-1"),
        ({"label_seed": 0.5}, "`label_seed`"),
        ({"label_seed": None}, "`label_seed`"),
    ],
)
def test_bad_draws(options, words):
    with pytest.raises(InvalidArgumentError, match=words):
        draw_order(many_places(), **options)


# ---- Index files ---------------------------------------------------------------------------------------------------

SUBSET = LabelSubset(
    patches={"train": ("a", "c"), "val": ("b",)},
    draw="clustered",
    seed=3,
    group="tile",
    fraction=0.1,
    totals={"train": 20, "val": 10},
    fingerprint="0123456789abcdef",
    notes=("train: 2 of 20 patches.",),
)
SHOTS = replace(SUBSET, fraction=None, target="land_cover", shots=1, notes=())


def test_index_file_by_hand(tmp_path):
    path = write_label_subset(SUBSET, tmp_path / "ten.csv")
    assert path.read_text().splitlines() == [
        "# draw: clustered",
        "# fraction: 0.1",
        "# group: tile",
        "# seed: 3",
        "# fingerprint: 0123456789abcdef",
        "# train: 2 of 20",
        "# val: 1 of 10",
        "# note: train: 2 of 20 patches.",
        "patch_id,split",
        "a,train",
        "c,train",
        "b,val",
    ]


@pytest.mark.parametrize("subset", [SUBSET, SHOTS, replace(SUBSET, patches={"train": ("a",), "val": ()}, totals=None)])
def test_index_file_round_trip(tmp_path, subset):
    path = write_label_subset(subset, tmp_path / "one.csv")
    assert read_label_subset(path) == subset
    assert write_label_subset(subset, tmp_path / "two.csv").read_bytes() == path.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["one.csv", "two.csv"]


def test_hand_made_index_file(tmp_path):
    (tmp_path / "mine.csv").write_text("patch_id,split\nb,train\na,train\n")
    assert read_label_subset(tmp_path / "mine.csv") == LabelSubset({"train": ("a", "b"), "val": ()})


def test_index_file_never_replaces_another_and_is_whole_or_absent(tmp_path, monkeypatch):
    (tmp_path / "mine.csv").write_text("precious")
    with pytest.raises(TargetExistsError, match=r"mine\.csv"):
        write_label_subset(SUBSET, tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").read_text() == "precious"

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(UnwritableError, match="No space left on device"):
        write_label_subset(SUBSET, tmp_path / "other.csv")
    assert os.listdir(tmp_path) == ["mine.csv"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a\nb\n", r"must have the header `patch_id,split`"),
        ("patch_id,split\na,test\n", r"must be one of \['train', 'val'\]\. Received: \['test'\]"),
        ("patch_id,split\na,train\na,val\n", r"so in one split"),
        ("# fraction: some\npatch_id,split\na,train\n", r"must be numbers"),
        ("# train: all\npatch_id,split\na,train\n", r"like `32 of 320`"),
        ("# train: 2 of 20\npatch_id,split\na,train\n", r"patches that it states: 2 in train\. Received: 1"),
        ("# target: biome\npatch_id,split\na,train\n", r"`# target:` must be one of .*Received: 'biome'"),
    ],
)
def test_malformed_index_file(tmp_path, text, rule):
    (tmp_path / "index.csv").write_text(text)
    with pytest.raises(InvalidSourceError, match=rule) as caught:
        read_label_subset(tmp_path / "index.csv")
    assert "index.csv" in str(caught.value)


# ---- Real names ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_places():
    with bz2.open(Path(real) / "bigearthnet-index" / "s1_s2_name_country_season.csv.bz2", "rt") as file:
        pairs = [(row["s1_name"], parse_name(row["s2_name"]), row["s2_name"]) for row in csv.DictReader(file)]
    return {name: Place(parse_name(s1_name).tile, part.cell, part.date) for s1_name, part, name in pairs}


@needs_real_data
def test_real_draws(real_places):
    orders = {draw: draw_order(real_places, draw, "tile", 0) for draw in DRAWS}
    tiles = {}
    for draw, order in orders.items():
        subsets = [take_fraction(order, fraction) for fraction in (0.001, 0.01, 0.1, 0.5, 1)]
        assert [len(subset) for subset in subsets] == [590, 5_903, 59_033, 295_163, 590_326]
        assert all(set(a) < set(b) for a, b in itertools.pairwise(subsets))
        tiles[draw] = [len({real_places[i].tile for i in subset}) for subset in subsets[1:3]]
    assert tiles["spread"] == [56, 56]
    assert tiles["clustered"][0] == 1
    assert tiles["clustered"][1] < 10
    sizes = Counter(place.tile for place in real_places.values())
    counts = Counter(real_places[i].tile for i in take_fraction(orders["spread"], 0.1))
    # In proportion, but for one patch of each of the 56 tiles first: that many are wanting in the rest.
    assert all(abs(counts[tile] - size / 10) <= 1 + 56 * size / 590_326 for tile, size in sizes.items())


@needs_real_data
def test_real_clusters_stay_few_where_one_group_holds_half_of_the_tiles(real_places):
    order = draw_order(real_places, "clustered", "tile_date", 0)
    largest = 0.48 * len(real_places)
    for count in (5_903, 59_033):
        assert len({real_places[i].tile for i in order[:count]}) <= 8
        assert count < largest
