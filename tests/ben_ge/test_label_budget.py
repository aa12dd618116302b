"""Label budgets of records: both splits, groups by default, k-shot and its notes."""

from collections import Counter

import numpy as np
import pytest

import eokeras as eo
from eokeras.ben_ge.label_budget import group_of
from eokeras.ben_ge.label_subsets import draw_order, take_fraction
from eokeras.ben_ge.places import Place
from eokeras.errors import InvalidArgumentError, RecordsError
from tests.trees import write_tree


def places_of(known_records, split):
    by_tile = (known_records.tree / "splits" / f"tree_{split}.csv").read_text().split()
    features = {patch_id: known_records.features[patch_id] for patch_id in by_tile}
    return {i: Place(f["tile"], tuple(f["cell"].tolist()), f["date"]) for i, f in features.items()}


@pytest.mark.parametrize("draw", ["spread", "clustered"])
def test_draws_from_training_and_from_validation(known_records, draw):
    subset = eo.ben_ge.draw_labels(known_records.path, 0.5, label_draw=draw, label_seed=3)
    for split, count in (("train", 3), ("val", 2)):
        expected = take_fraction(draw_order(places_of(known_records, split), draw, "tile", 3), 0.5)
        assert len(expected) == count
        assert subset.patches[split] == tuple(sorted(expected))
    assert (subset.draw, subset.seed, subset.group, subset.fraction) == (draw, 3, "tile", 0.5)
    assert subset.totals == {"train": 6, "val": 3}
    assert subset.fingerprint == eo.load_schema(known_records.path).fingerprint
    tiles = {split: {places_of(known_records, split)[i].tile for i in subset.patches[split]} for split in subset.totals}
    of = {split: {place.tile for place in places_of(known_records, split).values()} for split in subset.totals}
    assert f"train: 3 of 6 patches, on {len(tiles['train'])} of {len(of['train'])} tiles and " in subset.notes[0]
    assert f"val: 2 of 3 patches, on {len(tiles['val'])} of {len(of['val'])} tiles and " in subset.notes[1]


def test_one_split_alone(known_records):
    subset = eo.ben_ge.draw_labels(known_records.path, 0.5, splits=("val",))
    assert subset.totals == {"val": 3}
    assert subset.patches["val"] == eo.ben_ge.draw_labels(known_records.path, 0.5).patches["val"]


@pytest.mark.parametrize("group", ["date", "tile_date", "tile"])
def test_the_group_is_that_of_the_split(tmp_path, group):
    write_tree(tmp_path / "tree", 6)
    schema = eo.load_schema(eo.ben_ge.convert(tmp_path / "tree", tmp_path / "records", group=group))
    assert group_of(schema) == group
    assert eo.ben_ge.draw_labels(schema, 0.5).group == group
    assert eo.ben_ge.draw_labels(schema, 0.5, label_group="tile").group == "tile"


def test_a_split_without_group_is_drawn_by_tile(known_records):
    assert eo.load_schema(known_records.path).split["group"] is None
    assert group_of(eo.load_schema(known_records.path)) == "tile"


def test_shots_and_what_a_class_lacks(known_records):
    features = known_records.features
    with pytest.warns(UserWarning, match="Fewer than 2 patches of a class of land_cover in train"):
        subset = eo.ben_ge.draw_labels(known_records.path, label_shots={"land_cover": 2})
    names = eo.load_schema(known_records.path).classes["land_cover"]
    for split, ids in subset.patches.items():
        top = {i: int(np.argmax(features[i]["land_cover_fractions"])) for i in places_of(known_records, split)}
        sizes = Counter(top.values())
        assert Counter(top[i] for i in ids) == {index: min(2, count) for index, count in sizes.items()}
        few = ", ".join(f"{name} ({sizes[index]})" for index, name in enumerate(names) if sizes[index] < 2)
        assert f"Fewer than 2 patches of a class of land_cover in {split}: {few}." in subset.notes
    assert "takes labels of all patches that one would not have" in subset.notes[0]
    assert (subset.target, subset.shots, subset.fraction) == ("land_cover", 2, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "one of `label_fraction` and `label_shots`. Received: label_fraction=None, label_shots=None"),
        ({"label_fraction": 0.1, "label_shots": {"land_cover": 1}}, "one of `label_fraction` and `label_shots`"),
        ({"label_fraction": 0.0}, "`label_fraction` must be a number above 0"),
        ({"label_fraction": 0.1, "label_draw": "random"}, "`label_draw` must be one of"),
        ({"label_fraction": 0.1, "label_group": "cell"}, "`label_group` must be one of"),
        ({"label_fraction": 0.1, "label_seed": "a"}, "`label_seed`"),
        ({"label_fraction": 0.1, "splits": ("test",)}, r"`splits` may hold \['train', 'val'\]"),
        ({"label_shots": 5}, "`label_shots` must name one class target .* Received: label_shots=5"),
        ({"label_shots": {}}, "`label_shots` must name one class target"),
        ({"label_shots": {"land_cover": 1, "climate_zone": 1}}, "`label_shots` must name one class target"),
        ({"label_shots": {"land_cover": 0}}, "`label_shots` must be a positive number"),
        *[
            ({"label_shots": {name: 1}}, rf"must be one of \['climate_zone', 'land_cover', 'geocluster'\].*'{name}'")
            for name in ("labels", "land_cover_map", "season", "land_cover_fractions", "biome")
        ],
    ],
)
def test_bad_options(known_records, options, words):
    with pytest.raises(InvalidArgumentError, match=words):
        eo.ben_ge.draw_labels(known_records.path, **options)


def test_records_without_the_target(tmp_path):
    write_tree(tmp_path / "tree", 3, without=("landcover",))
    records = eo.ben_ge.convert(tmp_path / "tree", tmp_path / "records")
    with pytest.raises(RecordsError, match="lacks what 'land_cover' is made from"):
        eo.ben_ge.draw_labels(records, label_shots={"land_cover": 1})


def test_records_without_validation(tmp_path):
    write_tree(tmp_path / "tree", 3, places=[("33UUP", column, 1, "2017-06-13") for column in range(3)])
    records = eo.ben_ge.convert(tmp_path / "tree", tmp_path / "records")  # one group: all in train
    assert eo.ben_ge.draw_labels(records, 0.4).totals == {"train": 3}
