"""Scores of a model on hand-made datasets, against scikit-learn and against slow loops."""

import json

import keras
import numpy as np
import pytest
import sklearn.metrics
import tensorflow as tf
from scipy import stats

from eokeras import evaluate
from eokeras.ben_ge.schema import TARGETS, VOID
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.scores import task_score
from tests.evaluate.cases import COVERS, SHAPES, ZONES, make_arrays, make_dataset, make_schema, pass_through


@pytest.fixture(scope="module")
def model():
    return pass_through(SHAPES)


@pytest.fixture(scope="module")
def arrays():
    return make_arrays()


@pytest.fixture(scope="module")
def scores(model, arrays):
    return evaluate.score(model, make_dataset(arrays), make_schema())


def estimate(scores, task, metric):
    return scores.tasks[task].estimates[metric]


def test_class_metrics_equal_scikit_learn(scores, arrays):
    inputs, targets, _ = arrays
    labelled = targets["climate_zone"] != VOID
    reference, predicted = targets["climate_zone"][labelled], inputs["zone_logits"].argmax(-1)[labelled]
    accuracy = sklearn.metrics.accuracy_score(reference, predicted)
    assert estimate(scores, "climate_zone", "accuracy").value == pytest.approx(accuracy)
    macro = sklearn.metrics.f1_score(reference, predicted, labels=np.unique(reference), average="macro")
    assert estimate(scores, "climate_zone", "macro_f1").value == pytest.approx(macro)
    land = reference != 0
    accuracy = sklearn.metrics.accuracy_score(reference[land], predicted[land])
    assert estimate(scores, "climate_zone", "accuracy_without_water").value == pytest.approx(accuracy)
    macro = sklearn.metrics.f1_score(
        reference[land], predicted[land], labels=np.unique(reference[land]), average="macro"
    )
    assert estimate(scores, "climate_zone", "macro_f1_without_water").value == pytest.approx(macro)
    expected = sklearn.metrics.confusion_matrix(reference, predicted, labels=range(ZONES))
    np.testing.assert_array_equal(scores.tasks["climate_zone"].confusion, expected)


def test_map_metrics_equal_scikit_learn_without_void(scores, arrays):
    inputs, targets, _ = arrays
    labelled = targets["land_cover_map"] != VOID
    reference, predicted = targets["land_cover_map"][labelled], inputs["map_logits"].argmax(-1)[labelled]
    assert estimate(scores, "land_cover_map", "pixel_accuracy").value == pytest.approx((reference == predicted).mean())
    iou = sklearn.metrics.jaccard_score(reference, predicted, labels=range(4), average=None)
    np.testing.assert_allclose(scores.tasks["land_cover_map"].per_class[:4], iou)
    assert estimate(scores, "land_cover_map", "mean_iou").value == pytest.approx(iou.mean())
    np.testing.assert_array_equal(scores.tasks["land_cover_map"].support, np.bincount(reference, minlength=COVERS))


def test_regression_leaves_missing_numbers_out(scores, arrays):
    inputs, targets, _ = arrays
    expected = np.nanmean(np.abs(inputs["day"][:, 0].astype("float64") - targets["season"]))
    assert estimate(scores, "season", "mae").value == pytest.approx(expected)
    assert scores.tasks["season"].patches == np.isfinite(targets["season"]).sum()


def test_trivial_baselines_are_scored_on_the_same_patches(scores, arrays):
    _, targets, _ = arrays
    by_name = {other.name: other for other in scores.baselines}
    zone = targets["climate_zone"][targets["climate_zone"] != VOID]
    frequent = by_name["most frequent class"]
    assert estimate(frequent, "climate_zone", "accuracy").value == pytest.approx((zone == 2).mean())
    cover = targets["land_cover_map"][targets["land_cover_map"] != VOID]
    assert estimate(frequent, "land_cover_map", "pixel_accuracy").value == pytest.approx((cover == 0).mean())
    expected = np.nanmean(np.abs(0.5 - targets["season"].astype("float64")))
    assert estimate(by_name["median"], "season", "mae").value == pytest.approx(expected)


def slow_interval(values_of, groups, resamples=1500, seed=7):
    """The same interval by a loop over drawn lists of patches; `values_of` scores a list of patch indices."""
    random = np.random.default_rng(seed)
    names = np.unique(groups)
    members = {name: np.flatnonzero(groups == name) for name in names}
    draws = []
    for _ in range(resamples):
        drawn = random.choice(names, len(names))
        draws.append(values_of(np.concatenate([members[name] for name in drawn])))
    count = len(names)
    share = stats.norm.cdf(-np.sqrt(count / (count - 1)) * stats.t.ppf(0.975, count - 1))
    return np.quantile(draws, [share, 1 - share])


def test_interval_equals_a_slow_bootstrap_of_tiles(scores, arrays):
    inputs, targets, metadata = arrays
    predicted = inputs["map_logits"].argmax(-1)

    def mean_iou(patches):
        reference, found = targets["land_cover_map"][patches].ravel(), predicted[patches].ravel()
        reference, found = reference[reference != VOID], found[reference != VOID]
        pairs = [(reference == index, found == index) for index in range(4)]
        return np.mean([(one & other).sum() / (one | other).sum() for one, other in pairs])

    low, high = slow_interval(mean_iou, metadata["tile"])
    found = estimate(scores, "land_cover_map", "mean_iou")
    assert scores.tasks["land_cover_map"].groups == 15
    assert found.low == pytest.approx(low, abs=0.15 * (high - low))
    assert found.high == pytest.approx(high, abs=0.15 * (high - low))


def test_season_is_resampled_by_date(scores, arrays):
    inputs, targets, metadata = arrays
    errors = np.abs(inputs["day"][:, 0] - targets["season"])
    low, high = slow_interval(lambda patches: np.nanmean(errors[patches]), metadata["date"])
    found = estimate(scores, "season", "mae")
    assert (scores.tasks["season"].group, scores.tasks["season"].groups) == ("date", 12)
    assert found.low == pytest.approx(low, abs=0.15 * (high - low))
    assert found.high == pytest.approx(high, abs=0.15 * (high - low))


def test_group_interval_covers_and_patch_interval_does_not():
    """Accuracies that vary by tile around 0.6: the truth lies in 95 % of the group intervals."""
    from eokeras.evaluate.intervals import group_sums, percentile_interval, resampled_totals

    random = np.random.default_rng(0)
    covered = {"groups": 0, "patches": 0}
    worlds, tiles = 300, 20
    for world in range(worlds):
        sizes = random.integers(4, 20, tiles)
        tile = np.repeat(np.arange(tiles), sizes)
        right = random.random(len(tile)) < random.beta(3, 2, tiles)[tile]  # mean 3 / (3 + 2)
        statistics = np.stack([right, np.ones(len(tile))], axis=1)
        for name, groups in (("groups", tile), ("patches", np.arange(len(tile)))):
            totals = resampled_totals(group_sums(statistics, groups), resamples=300, seed=world)
            low, high = percentile_interval(totals[:, 0] / totals[:, 1], len(np.unique(groups)))
            covered[name] += low <= 0.6 <= high
    assert 0.92 <= covered["groups"] / worlds <= 0.98
    assert covered["patches"] / worlds < 0.85


def test_the_class_list_is_kept_while_resampling(model):
    """One class lives in a single tile; a perfect predictor is perfect in every resample."""
    inputs, targets, metadata = make_arrays()
    targets["climate_zone"] = np.where(metadata["tile"] == "T00", 3, 1).astype("int32")
    inputs["zone_logits"] = np.eye(ZONES)[targets["climate_zone"]].astype("float32")
    found = estimate(
        evaluate.score(model, make_dataset((inputs, targets, metadata)), make_schema()), "climate_zone", "macro_f1"
    )
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_absent_classes_are_told_of(scores, model):
    lines = [line for line in scores.sentences if "that occur" in line]
    assert [line.split(" classes")[0] for line in lines] == [
        f"climate_zone: macro-F1 is over the 5 of {ZONES}",
        f"land_cover_map: mean IoU is over the 4 of {COVERS}",
    ]
    assert all(line.endswith("is rather too narrow.") for line in lines)
    few = evaluate.score(model, make_dataset(make_arrays(tiles=3)), make_schema()).sentences
    assert next(line for line in few if "that occur" in line).endswith("occur in these patches.")
    all_right = np.eye(2)[np.newaxis].repeat(20, axis=0)
    assert task_score("climate_zone", "class", ("a", "b"), all_right, np.arange(20)).absent_classes == ""


def test_too_few_groups_give_no_interval(model):
    scores = evaluate.score(model, make_dataset(make_arrays(tiles=9)), make_schema())
    score = scores.tasks["land_cover_map"]
    assert score.note == "too few groups (9)"
    assert score.estimates["mean_iou"].low is None
    assert scores.tasks["season"].estimates["mae"].low is not None  # twelve dates
    assert "climate_zone, land_cover_map: too few groups (9): illustration, not evidence." in str(scores)


def test_a_dataset_without_patch_ids_has_no_interval_and_says_why(model, arrays):
    plain = tf.data.Dataset.from_tensor_slices(arrays[:2]).batch(32)
    scores = evaluate.score(model, plain, make_schema())
    assert scores.patch_ids is None
    assert scores.tasks["season"].note == "no patch ids, so no groups: no interval"
    assert scores.tasks["season"].estimates["mae"].low is None


def test_a_dataset_with_metadata_is_taken_as_it_is(model, arrays, scores):
    ready = tf.data.Dataset.from_tensor_slices(arrays).batch(7)
    assert evaluate.score(model, ready, make_schema()).to_dict() == scores.to_dict()


def test_each_batch_is_read_once(model, arrays):
    seen = []

    def count(day):
        seen.append(len(day))
        return day

    def watch(inputs, targets, names):
        day = tf.ensure_shape(tf.numpy_function(count, [inputs["day"]], tf.float32), (None, 1))
        return {**inputs, "day": day}, targets, names

    evaluate.score(model, tf.data.Dataset.from_tensor_slices(arrays).batch(32).map(watch), make_schema())
    assert seen == [32, 32, 26]


def test_simulated_scores_say_so(model, arrays):
    scores = evaluate.score(model, make_dataset(arrays), make_schema(world={"seed": 0}))
    assert "Simulated: shows that the method can find an effect, not how large the effect is in Europe." in str(scores)


def test_multilabel_macro_f1_equals_scikit_learn():
    random = np.random.default_rng(1)
    names = len(TARGETS["labels"].classes)
    reference = (random.random((60, names)) < 0.2).astype("float32")
    reference[:, 4] = 0  # a class without support is left out of the mean
    logits = (reference * 2 - 1 + random.normal(0, 1.2, reference.shape)).astype("float32")
    _, _, metadata = make_arrays(60)
    data = ({"label_logits": logits}, {"labels": reference}, metadata)
    scores = evaluate.score(pass_through({"labels": (names,)}), make_dataset(data), make_schema())
    present = np.flatnonzero(reference.any(axis=0))
    expected = sklearn.metrics.f1_score(reference[:, present], logits[:, present] > 0, average="macro")
    assert estimate(scores, "labels", "macro_f1").value == pytest.approx(expected)
    every = sklearn.metrics.f1_score(reference[:, present], np.ones((60, len(present))), average="macro")
    assert estimate(scores.baselines[0], "labels", "macro_f1").value == pytest.approx(every)


def test_fractions_are_softmax_of_the_logits():
    reference = np.full((4, COVERS), np.nan, "float32")
    reference[0] = np.eye(COVERS)[0]
    logits = np.zeros((4, COVERS), "float32")
    inputs = keras.Input((COVERS,), name="x")
    model = keras.Model([inputs], {"land_cover_fractions": keras.layers.Identity()(inputs)})
    dataset = tf.data.Dataset.from_tensor_slices(({"x": logits}, {"land_cover_fractions": reference})).batch(2)
    scores = evaluate.score(model, dataset, make_schema())
    # against 1/11 everywhere: (10/11 + 10 * 1/11) / 11
    assert estimate(scores, "land_cover_fractions", "mae").value == pytest.approx(20 / 121)


def test_scores_survive_json(scores, tmp_path):
    path = evaluate.write_scores(scores, tmp_path / "scores.json")
    content = json.loads(path.read_text())
    assert content["tasks"]["season"]["metrics"]["mae"]["value"] == pytest.approx(
        estimate(scores, "season", "mae").value
    )
    assert content["tasks"]["land_cover_map"]["classes"]["tree cover"]["support"] > 0
    frequent = next(other for other in content["baselines"] if other["name"] == "most frequent class")
    assert frequent["tasks"]["climate_zone"]["classes"]["ET"] == {"f1": None, "support": 0}  # NaN is no JSON
    assert [path] == list(tmp_path.iterdir())


def test_the_table_is_aligned(scores):
    lines = str(scores).splitlines()
    assert lines[0].split("  ")[0] == "target"
    column = lines[0].index("value")
    rows = [line for line in lines[2:] if "tiles" in line or "dates" in line]
    assert all(line[column] in "01" and line[column - 1] == " " for line in rows)
    assert len(rows) == len(scores.rows())


def test_nothing_labelled_gives_no_number(model, arrays):
    inputs, targets, metadata = arrays
    empty = {**targets, "season": np.full_like(targets["season"], np.nan)}
    scores = evaluate.score(model, make_dataset((inputs, empty, metadata)), make_schema())
    assert scores.tasks["season"].note == "no labels"
    assert scores.tasks["season"].to_dict()["metrics"]["mae"]["value"] is None


def test_an_extra_input_changes_nothing(model, arrays, scores):
    inputs, targets, metadata = arrays
    extra = ({"another": inputs["day"], **inputs}, targets, metadata)
    assert evaluate.score(model, make_dataset(extra), make_schema()).to_dict() == scores.to_dict()


def test_a_target_that_the_model_lacks_is_named(arrays):
    with pytest.raises(InvalidArgumentError, match="lacks 'climate_zone', 'land_cover_map'"):
        evaluate.score(pass_through({"season": (1,)}), make_dataset(arrays), make_schema())


def test_an_input_that_the_dataset_lacks_is_named(model, arrays):
    inputs, targets, metadata = arrays
    inputs = {key: value for key, value in inputs.items() if key != "day"}
    with pytest.raises(InvalidArgumentError, match="lack 'day'"):
        evaluate.score(model, make_dataset((inputs, targets, metadata)), make_schema())


def test_an_empty_dataset_is_an_error(model, arrays):
    with pytest.raises(InvalidArgumentError, match="empty dataset"):
        evaluate.score(model, tf.data.Dataset.from_tensor_slices(arrays).batch(8).take(0), make_schema())


def test_an_endless_dataset_is_an_error(model, arrays):
    with pytest.raises(InvalidArgumentError, match="must end"):
        evaluate.score(model, tf.data.Dataset.from_tensor_slices(arrays).batch(8).repeat(), make_schema())


def test_a_map_of_another_size_is_an_error(arrays):
    inputs, targets, metadata = arrays
    targets = {"land_cover_map": targets["land_cover_map"][:, :4]}
    model = pass_through({"land_cover_map": (6, 6, COVERS)})
    with pytest.raises(InvalidArgumentError, match="must have shape"):
        evaluate.score(model, make_dataset((inputs, targets, metadata)), make_schema())


def test_a_prediction_that_is_not_finite_is_an_error(arrays):
    inputs, targets, metadata = arrays
    inputs = {**inputs, "day": inputs["day"] * np.nan}
    with pytest.raises(InvalidArgumentError, match="NaN or infinity in 32 of 32 values of 'season'"):
        evaluate.score(
            pass_through({"season": (1,)}),
            make_dataset((inputs, {"season": targets["season"]}, metadata)),
            make_schema(),
        )


def test_unknown_class_ids_are_an_error(model, arrays):
    inputs, targets, metadata = arrays
    targets = {**targets, "climate_zone": np.full(90, 12, "int32")}
    with pytest.raises(InvalidArgumentError, match=r"0\.\.11 or be 255"):
        evaluate.score(model, make_dataset((inputs, targets, metadata)), make_schema())
