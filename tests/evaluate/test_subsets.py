"""Scores by subset of modalities, against scores of data that were set to zero by hand."""

import dataclasses
import functools

import numpy as np
import pytest

import eokeras as eo
from eokeras import evaluate
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.comparison import EXPLORATORY
from tests.evaluate.cases import NumpyModel, make_arrays, make_dataset, make_schema

NAMES = ("s2", "s1", "dem")
TASKS = ("climate_zone", "season")


@pytest.fixture(scope="module")
def arrays():
    """Three modalities that each tell a part of zone and season, with presence inputs."""
    _, targets, metadata = make_arrays()
    random = np.random.default_rng(9)
    zone, season = targets["climate_zone"] % 12, np.nan_to_num(targets["season"])
    given = {}
    for name in NAMES:
        logits = np.eye(12)[zone] + random.normal(0, 0.9, (90, 12))
        part = season[:, None] - 0.5 + random.normal(0, 0.05, (90, 1))
        given[name] = np.concatenate([logits, part], axis=1).astype("float32")[:, None, None, :]
        given[f"{name}_present"] = np.ones((90, 1), "float32")
    return given, {task: targets[task] for task in TASKS}, metadata


def answer(given, total):
    return {"climate_zone": total[:, :12], "season": total[:, 12:] + 0.5}


def plain(given):
    """Averages all three, there or not."""
    return answer(given, sum(given[name][:, 0, 0, :] for name in NAMES) / 3)


def robust(given):
    """Averages those that are there."""
    total = sum(given[name][:, 0, 0, :] * given[f"{name}_present"] for name in NAMES)
    return answer(given, total / np.maximum(sum(given[f"{name}_present"] for name in NAMES), 1))


MODELS = {
    "plain": NumpyModel(NAMES, plain),
    "robust": NumpyModel((*NAMES, *(f"{name}_present" for name in NAMES)), robust),
}


@pytest.fixture(scope="module")
def tables(arrays):
    data = make_dataset(arrays)
    return {name: evaluate.subset_scores(model, data, make_schema(), name=name) for name, model in MODELS.items()}


def scored_by_hand(model, arrays, missing):
    inputs, targets, metadata = arrays
    zeroed = {name: values * (name.removesuffix("_present") not in missing) for name, values in inputs.items()}
    return evaluate.score(model, make_dataset((zeroed, targets, metadata)), make_schema())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("subset", "missing"), [("s2", ("s1", "dem")), ("dem+s2", ("s1",)), (("s1", "dem"), ("s2",)), (NAMES, ())]
)
def test_a_subset_scores_as_data_set_to_zero(tables, arrays, name, subset, missing):
    found = tables[name][subset].tasks
    expected = scored_by_hand(MODELS[name], arrays, missing).tasks
    assert {task: score.to_dict() for task, score in found.items()} == {
        task: score.to_dict() for task, score in expected.items()
    }


def test_every_subset_is_there_and_absence_is_told(tables):
    assert list(tables["plain"].scores) == [
        ("s2",), ("s1",), ("dem",), ("s2", "s1"), ("s2", "dem"), ("s1", "dem"), NAMES,
    ]  # fmt: skip
    first = MODELS["robust"].calls[0]  # only s2
    assert (first["s2_present"] == 1).all()
    assert not first["s1"].any() | first["s1_present"].any() | first["dem_present"].any()
    values = [tables[name]["s1"].tasks["season"].estimates["mae"].value for name in ("robust", "plain")]
    assert values[0] < values[1]


def test_the_table_ends_with_the_trivial_baseline(tables):
    rows = [row for row in tables["plain"].rows() if row[0] == "season"]
    assert [row[2] for row in rows] == ["s2", "s1", "dem", "s2+s1", "s2+dem", "s1+dem", "s2+s1+dem", "median"]
    assert {len(row) for row in rows} == {len(tables["plain"].headings)}
    assert str(tables["plain"]).startswith("plain\n")
    content = tables["plain"].to_dict()
    assert content["subsets"]["s2+dem"]["season"]["metrics"]["mae"]["value"] == pytest.approx(
        float(rows[4][3]), abs=6e-4
    )
    assert list(content["baselines"]) == ["most frequent class", "median"]


def test_two_tables_side_by_side_are_paired_comparisons(tables, arrays):
    found = evaluate.compare_subsets(tables["robust"], tables["plain"])
    sides = [scored_by_hand(MODELS[name], arrays, ("s2", "dem")) for name in ("robust", "plain")]
    expected = evaluate.compare(*sides)
    for item in expected.differences:
        assert found["s1"][item.task, item.metric] == item
    row = next(row for row in found.rows() if row[:3] == ("season", "MAE (less is better)", "s1"))
    values = [f"{side.tasks['season'].estimates['mae'].value:.3f}" for side in sides]
    assert list(row[3:5]) == values
    assert len(row) == len(found.headings)
    assert "robust is better" in str(found)
    assert found.to_dict()["differences"]["s2+s1"]["season"]["mae"]["groups"] == 12


def test_some_modalities_can_stay_always(arrays):
    model = MODELS["plain"]
    found = evaluate.subset_scores(model, make_dataset(arrays), make_schema(), modalities=("dem", "s1"))
    assert list(found.scores) == [("s1",), ("dem",), ("s1", "dem")]
    expected = scored_by_hand(model, arrays, ("dem",)).tasks["season"].estimates["mae"].value
    assert found["s1"].tasks["season"].estimates["mae"].value == expected


def test_stored_groups_go_together():
    given = {name: np.ones((4, 2), "float32") for name in ("s2_10m", "s2_20m", "s1", "s2_present", "s1_mask")}
    metadata = {key: np.array(["a", "b", "c", "d"]) for key in ("patch_id", "tile", "date")}
    model = NumpyModel(tuple(given), lambda inputs: {"season": inputs["s1"][:, :1]})
    data = make_dataset((given, {"season": np.zeros(4, "float32")}, metadata))
    found = evaluate.subset_scores(model, data, make_schema())
    assert list(found.scores) == [("s2",), ("s1",), ("s2", "s1")]
    present = [{name for name, values in call.items() if values.any()} for call in model.calls]
    assert present == [{"s2_10m", "s2_20m", "s2_present"}, {"s1", "s1_mask"}, set(given)]


def test_records_at_stored_resolution_with_presence(known_records):
    """From records to tables: groups of s2 go together, and the recipe keeps the presence inputs."""
    read = {"inputs": ("s2", "s1"), "targets": ("season",), "resolution": "stored", "presence": True}
    data, schema = (
        eo.make_dataset(known_records.path, "train", batch_size=4, **read),
        eo.load_schema(known_records.path),
    )
    names = ("s2_10m", "s2_20m", "s2_60m", "s1", "s2_present", "s1_present")
    model = NumpyModel(names, lambda given: {"season": 10 * given["s1"][:, 5, 5, :1]})
    found = evaluate.subset_scores(model, data, schema)
    shown = [{name for name, values in call.items() if values.any()} for call in model.calls[:3]]
    assert shown == [{"s2_10m", "s2_20m", "s2_60m", "s2_present"}, {"s1", "s1_present"}, set(names)]
    assert found["s2"].tasks["season"].patches == 6
    importance = evaluate.modality_importance(model, data, schema, repeats=2)
    assert importance["s2"]["season", "mae"].estimate.value == 0
    assert importance["s1"]["season", "mae"].estimate.value != 0


def test_zero_is_the_mean_of_standardised_data_only(arrays):
    data = make_dataset(arrays)
    data.recipe = functools.partial(data.recipe, calibrate="tutorial")
    found = evaluate.subset_scores(MODELS["plain"], data, make_schema(), modalities=("s1",))
    assert "calibrate='tutorial'" in str(found)
    data.recipe = functools.partial(make_dataset, arrays, calibrate="standardise")
    told = evaluate.subset_scores(MODELS["plain"], data, make_schema(), modalities=("s1",)).sentences
    assert not any("calibrat" in sentence for sentence in told)
    unknown = evaluate.subset_scores(MODELS["plain"], data.take(9), make_schema(), modalities=("s1",))
    assert "only. Received: a data set that does not tell its calibration." in str(unknown)


def test_one_difference_per_subset_is_a_family(arrays):
    inputs, targets, metadata = arrays
    data = make_dataset((inputs, {"season": targets["season"]}, metadata))
    sides = [
        evaluate.subset_scores(model, data, make_schema(), name=name, modalities=("s2", "s1"), resamples=50)
        for name, model in MODELS.items()
    ]
    found = evaluate.compare_subsets(*sides)
    assert [len(comparison.differences) for comparison in found.comparisons.values()] == [1, 1, 1]
    assert EXPLORATORY in found.sentences
    alone = [dataclasses.replace(side, scores={("s1",): side.scores["s1",]}) for side in sides]
    assert EXPLORATORY not in evaluate.compare_subsets(*alone).sentences


def test_bad_arguments_name_the_rule(tables, arrays):
    data, schema = make_dataset(arrays), make_schema()
    with pytest.raises(InvalidArgumentError, match=r"`modalities` may hold \['s2', 's1', 'dem'\]\. Received: 'era5'"):
        evaluate.subset_scores(MODELS["plain"], data, schema, modalities=("era5",))
    with pytest.raises(InvalidArgumentError, match="at least one"):
        evaluate.subset_scores(MODELS["plain"], data, schema, modalities=())
    with pytest.raises(InvalidArgumentError, match=r"`subset` must be one of \['s2', .*'s2\+s1\+dem'\]\. Received"):
        tables["plain"]["s2+lonlat"]
    with pytest.raises(InvalidArgumentError, match="different names"):
        evaluate.compare_subsets(tables["plain"], tables["plain"])
    without = {name: values for name, values in arrays[0].items() if not name.endswith("_present")}
    with pytest.raises(InvalidArgumentError, match=r"lack 's2_present'.*Make it with `presence=True`"):
        evaluate.subset_scores(MODELS["robust"], make_dataset((without, *arrays[1:])), schema)
