"""Permutation importance, against what a shuffle does to a model whose formula is known."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from eokeras import evaluate
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.comparison import EXPLORATORY
from tests.evaluate.cases import ZONES, NumpyModel, make_dataset, make_schema


def make_arrays(season, **inputs):
    """One number per patch of each input, in as many dates and tiles as there are patches."""
    count = len(season)
    metadata = {
        "patch_id": np.array([f"patch_{index:03d}" for index in range(count)]),
        "tile": np.array([f"T{index % 12:02d}" for index in range(count)]),
        "date": np.array([f"2017-06-{index % 12 + 1:02d}" for index in range(count)]),
    }
    images = {name: np.array(values, "float32")[:, None, None, None] for name, values in inputs.items()}
    return images, {"season": np.array(season, "float32")}, metadata


def season_of_s2(inputs):
    return {"season": inputs["s2"].reshape(-1, 1)}


def difference(importance, modality, task="season", metric="mae"):
    return importance[modality][task, metric].estimate.value


def test_two_patches_can_only_be_exchanged():
    arrays = make_arrays([0.2, 0.9], s2=[0.2, 0.9], s1=[1, 2])
    model = NumpyModel(("s2", "s1"), season_of_s2)
    found = evaluate.modality_importance(model, make_dataset(arrays), make_schema(), repeats=3)
    assert found.intact.tasks["season"].estimates["mae"].value == 0
    assert difference(found, "s2") == pytest.approx(-0.7)  # every error is |0.9 - 0.2|
    assert difference(found, "s1") == 0


def test_every_other_patch_is_as_likely():
    """Classes 1, 1, 2, 2: a stranger has the same class with probability 1/3."""
    inputs, _, metadata = make_arrays([0, 0, 0, 0], s2=[1, 1, 2, 2], s1=[0, 0, 0, 0])
    arrays = inputs, {"climate_zone": np.array([1, 1, 2, 2], "int32")}, metadata
    model = NumpyModel(("s2", "s1"), lambda given: {"climate_zone": np.eye(ZONES)[given["s2"].astype(int).reshape(-1)]})
    found = evaluate.modality_importance(
        model, make_dataset(arrays), make_schema(), repeats=2000, resamples=1, modalities=("s2",)
    )
    assert found.intact.tasks["climate_zone"].estimates["accuracy"].value == 1
    assert difference(found, "s2", "climate_zone", "accuracy") == pytest.approx(2 / 3, abs=0.03)


def test_strangers_of_the_same_tile_make_the_drop_too_small():
    """Ten tiles of twelve patches, a zone each: of 119 strangers 11 have the same zone."""
    zone = np.arange(120) % 10 + 1
    inputs, _, metadata = make_arrays(np.zeros(120), s2=zone, s1=zone)
    arrays = inputs, {"climate_zone": zone.astype("int32")}, metadata | {"tile": np.array([f"T{z}" for z in zone])}
    model = NumpyModel(("s2", "s1"), lambda given: {"climate_zone": np.eye(ZONES)[given["s2"].astype(int).reshape(-1)]})
    found = evaluate.modality_importance(
        model, make_dataset(arrays), make_schema(), repeats=50, resamples=1, modalities=("s2",)
    )
    assert difference(found, "s2", "climate_zone", "accuracy") == pytest.approx(1 - 11 / 119, abs=0.02)


@pytest.fixture(scope="module")
def shuffled():
    """A model that sees s2 and noise, its importance, and what it was given in each call."""
    random = np.random.default_rng(3)
    season = random.random(60)
    arrays = make_arrays(season, s2=season + random.normal(0, 0.1, 60), s1=range(60))
    model = NumpyModel(("s2", "s1"), season_of_s2)
    found = evaluate.modality_importance(model, make_dataset(arrays, batch_size=60), make_schema(), repeats=3)
    return arrays, model.calls, found


def test_only_one_modality_moves_and_no_patch_keeps_its_own(shuffled):
    (inputs, _, _), (intact, *others), _ = shuffled
    np.testing.assert_array_equal(intact["s2"], inputs["s2"])
    assert len(others) == 6
    for call, moved, kept in zip(others, ["s2"] * 3 + ["s1"] * 3, ["s1"] * 3 + ["s2"] * 3, strict=True):
        np.testing.assert_array_equal(call[kept], inputs[kept])
        assert (call[moved] != inputs[moved]).all()
        np.testing.assert_array_equal(np.sort(call[moved].ravel()), np.sort(inputs[moved].ravel()))
    assert not np.array_equal(others[0]["s2"], others[1]["s2"])


def test_the_drop_and_its_interval_equal_a_slow_paired_bootstrap(shuffled):
    """Errors of each patch are averaged over the shuffles, then whole dates are drawn."""
    (_, targets, metadata), calls, found = shuffled
    season = targets["season"].astype("float64")
    errors = [np.abs(call["s2"].astype("float64").ravel() - season) for call in calls[:4]]
    drop = errors[0] - np.mean(errors[1:], axis=0)
    estimate = found["s2"]["season", "mae"].estimate
    assert estimate.value == pytest.approx(drop.mean())
    dates = np.unique(metadata["date"])
    random = np.random.default_rng(11)
    members = [np.flatnonzero(metadata["date"] == date) for date in dates]
    draws = [drop[np.concatenate([members[index] for index in random.integers(0, 12, 12)])].mean() for _ in range(2000)]
    share = stats.norm.cdf(-np.sqrt(12 / 11) * stats.t.ppf(0.975, 11))
    low, high = np.quantile(draws, [share, 1 - share])
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=0.15 * (high - low))
    assert (found["s1"]["season", "mae"].estimate.low, found["s1"]["season", "mae"].estimate.high) == (0, 0)


def test_the_table_says_which_side_is_better_and_what_it_does_not_show(shuffled):
    text = str(shuffled[2])
    assert "difference excludes zero: intact is better" in text
    assert "not what a modality could give" in text
    assert "averaged over 3 shuffles" in text
    assert EXPLORATORY in shuffled[2].sentences  # one target, two modalities
    rows = shuffled[2].rows()
    assert [row[2] for row in rows] == ["s2", "s1"]
    assert {len(row) for row in rows} == {len(shuffled[2].headings)}
    content = shuffled[2].to_dict()
    assert content["modalities"]["s1"]["differences"]["season"]["mae"]["value"] == 0


def test_what_belongs_to_a_modality_moves_together():
    count = 5
    arrays = make_arrays([0.5] * count, **{name: range(count) for name in ("s2_10m", "s2_60m", "s1", "s1_mask")})
    arrays[0]["s2_present"] = np.arange(count, dtype="float32")[:, None]
    names = ("s2_10m", "s1", "s2_60m", "s2_present", "s1_mask")
    model = NumpyModel(names, lambda given: {"season": given["s1"].reshape(-1, 1)})
    found = evaluate.modality_importance(model, make_dataset(arrays), make_schema(), repeats=1)
    assert list(found.comparisons) == ["s2", "s1"]
    _, s2, s1 = ({name: values.ravel().tolist() for name, values in call.items()} for call in model.calls)
    assert s2["s2_10m"] == s2["s2_60m"] == s2["s2_present"] != list(range(count))
    assert s2["s1"] == s2["s1_mask"] == s1["s2_10m"] == list(range(count))
    assert s1["s1"] == s1["s1_mask"] != list(range(count))


def test_patches_are_exchanged_within_blocks_and_read_once():
    """Batches of two, blocks of three: a block is closed when the next batch comes, less its last patch."""
    arrays = make_arrays([0.5] * 10, s2=range(10), s1=range(10))
    seen = []

    def watch(inputs, targets, metadata):
        read = tf.numpy_function(lambda s1: seen.extend(s1.ravel()) or s1, [inputs["s1"]], tf.float32)
        return {**inputs, "s1": tf.ensure_shape(read, (None, 1, 1, 1))}, targets, metadata

    model = NumpyModel(("s2", "s1"), season_of_s2)
    data = tf.data.Dataset.from_tensor_slices(arrays).batch(2).map(watch)
    found = evaluate.modality_importance(model, data, make_schema(), repeats=4, buffer=3, modalities=("s2",))
    assert seen == list(range(10))
    blocks = [{0, 1, 2}, {3, 4}, {5, 6}, {7, 8, 9}]
    block_of = {patch: index for index, block in enumerate(blocks) for patch in block}
    sources = {patch: set() for patch in range(10)}
    for call in model.calls:
        for patch, source in zip(call["s1"].ravel(), call["s2"].ravel(), strict=True):
            sources[int(patch)].add(int(source))
    for patch, found_there in sources.items():
        assert patch in found_there  # intact
        assert {block_of[source] for source in found_there} == {block_of[patch]}
    assert sources[3] == {3, 4}
    scored = found.intact.patch_ids
    assert scored.tolist() == arrays[2]["patch_id"].tolist()


def test_a_modality_is_shuffled_alike_whichever_others_are_asked_for():
    season = np.random.default_rng(0).random(20)
    arrays = make_arrays(season, s2=season, s1=season)
    both = NumpyModel(("s2", "s1"), lambda given: {"season": (given["s2"] + given["s1"]).reshape(-1, 1) / 2})
    options = {"schema": make_schema(), "repeats": 2, "seed": 4}
    one = evaluate.modality_importance(both, make_dataset(arrays), modalities=("s1",), **options)
    every = evaluate.modality_importance(both, make_dataset(arrays, batch_size=7), **options)
    assert list(one.comparisons) == ["s1"]
    assert EXPLORATORY not in one.sentences
    assert one["s1"].to_dict() == every["s1"].to_dict()


def test_averaged_confusions_pair_with_whole_ones():
    """Three shuffles make thirds; the labels of both sides are the same all the same."""
    random = np.random.default_rng(1)
    cover = random.integers(0, 3, (12, 4, 4)).astype("int32")
    inputs, _, metadata = make_arrays([0] * 12, s1=range(12))
    inputs["s2"] = np.eye(11, dtype="float32")[cover]
    model = NumpyModel(("s2", "s1"), lambda given: {"land_cover_map": given["s2"]})
    data = make_dataset((inputs, {"land_cover_map": cover}, metadata))
    found = evaluate.modality_importance(model, data, make_schema(), repeats=3)
    wrong = [(call["s2"].argmax(-1) != cover).mean() for call in model.calls[1:4]]
    assert difference(found, "s2", "land_cover_map", "pixel_accuracy") == pytest.approx(np.mean(wrong))


def test_without_patch_names_there_is_a_drop_and_no_interval():
    images, targets, _ = make_arrays([0.2, 0.9], s2=[0.2, 0.9], s1=[1, 2])
    plain = tf.data.Dataset.from_tensor_slices((images, targets)).batch(2)
    found = evaluate.modality_importance(NumpyModel(("s2", "s1"), season_of_s2), plain, make_schema())
    assert difference(found, "s2") == pytest.approx(-0.7)
    assert found["s2"]["season", "mae"].estimate.low is None
    assert "illustration, not evidence" in str(found)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"modalities": ("dem",)}, r"`modalities` may hold \['s2', 's1'\]\. Received: 'dem'"),
        ({"modalities": ()}, "at least one"),
        ({"repeats": 0}, "`repeats` must be an integer of at least 1. Received: repeats=0"),
        ({"buffer": 2}, "`buffer` must be an integer of at least 3. Received: buffer=2"),
    ],
)
def test_bad_arguments_name_the_rule(options, words):
    data = make_dataset(make_arrays([0.2, 0.9], s2=[0, 1], s1=[1, 2]))
    with pytest.raises(InvalidArgumentError, match=words):
        evaluate.modality_importance(NumpyModel(("s2", "s1"), season_of_s2), data, make_schema(), **options)


def test_bad_data_are_named():
    model = NumpyModel(("s2", "s1"), season_of_s2)
    arrays = make_arrays([0.2, 0.9], s2=[0, 1])
    with pytest.raises(InvalidArgumentError, match="lack 's1'"):
        evaluate.modality_importance(model, make_dataset(arrays), make_schema())
    with pytest.raises(InvalidArgumentError, match="empty dataset"):
        evaluate.modality_importance(model, make_dataset(arrays).take(0), make_schema())
    whole = make_dataset(make_arrays([0.2, 0.9], s2=[0, 1], s1=[0, 1]))
    found = evaluate.modality_importance(model, whole, make_schema(), modalities=("s2",))
    with pytest.raises(InvalidArgumentError, match=r"must be one of \['s2'\]"):
        found["s1"]


def test_a_cycle_moves_every_row():
    from eokeras.evaluate.importance import _no_fixed_point

    orders = {tuple(_no_fixed_point(np.random.default_rng(seed), 4)) for seed in range(200)}
    cycles = {order for order in itertools.permutations(range(4)) if one_cycle(order)}
    assert orders == cycles  # all (4 - 1)! of them
    assert _no_fixed_point(np.random.default_rng(0), 1).tolist() == [0]


def one_cycle(order):
    place, visited = 0, set()
    while place not in visited:
        visited.add(place)
        place = order[place]
    return len(visited) == len(order)
