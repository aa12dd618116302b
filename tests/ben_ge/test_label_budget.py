"""Label budgets of records: both splits, groups by default, k-shot and its notes."""

from collections import Counter

import numpy as np
import pytest

import eokeras as eo
from eokeras.ben_ge.label_budget import _coverage, group_of
from eokeras.ben_ge.label_subsets import draw_order, take_fraction
from eokeras.ben_ge.patch_table import PatchTable
from eokeras.ben_ge.places import Place
from eokeras.errors import InvalidArgumentError
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
    for note, (split, counts) in zip(subset.notes, {"train": "3 of 6", "val": "2 of 3"}.items(), strict=True):
        places = places_of(known_records, split)
        tiles, dates = (
            f"{len({getattr(places[i], part) for i in subset.patches[split]})} of "
            f"{len({getattr(place, part) for place in places.values()})} {part}s"
            for part in ("tile", "date")
        )
        assert note == f"{split}: {counts} patches, on {tiles} and {dates}."


def test_coverage_by_hand():
    summer, autumn = "2017-06-13", "2017-09-24"
    spots = {"a": ("33UUP", summer), "b": ("33UUP", autumn), "c": ("29UPU", autumn), "d": ("29SND", summer)}
    places = {patch_id: Place(tile, (0, 0), date) for patch_id, (tile, date) in spots.items()}
    table = PatchTable(places, np.zeros(4, int), np.arange(4), {}, np.arange(4))
    assert _coverage("train", ("a", "b"), table) == ["train: 2 of 4 patches, on 1 of 3 tiles and 2 of 2 dates."]
    assert _coverage("val", ("b", "c"), table)[0].endswith("on 2 of 3 tiles and 1 of 2 dates.")


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
    with pytest.warns(UserWarning, match="Fewer than 2 patches of a class of land_cover in train") as warned:
        subset = eo.ben_ge.draw_labels(known_records.path, label_shots={"land_cover": 2})
    assert {warning.filename for warning in warned} == {__file__}
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
    with pytest.raises(InvalidArgumentError, match=r"must be one of \['climate_zone', 'geocluster'\].*'land_cover'"):
        eo.ben_ge.draw_labels(records, label_shots={"land_cover": 1})


def test_records_without_validation(tmp_path):
    write_tree(tmp_path / "tree", 3, places=[("33UUP", column, 1, "2017-06-13") for column in range(3)])
    records = eo.ben_ge.convert(tmp_path / "tree", tmp_path / "records")  # one group: all in train
    assert eo.ben_ge.draw_labels(records, 0.4).totals == {"train": 3}
