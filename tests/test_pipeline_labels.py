"""Label budgets in `make_dataset`: the patches of the budget and no others, and labels that are missing by target."""

import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import eokeras as eo
from eokeras.ben_ge.schema import VOID
from eokeras.errors import InvalidArgumentError, InvalidSourceError, RecordsError
from tests.trees import read_csv, write_csv, write_tree

DRAWS = ("spread", "clustered")
CLIMATE_CODES = (0, 7, 8, 9, 14, 15, 16, 18, 25, 26, 27, 29)


@dataclass(frozen=True)
class Records:
    path: Path
    features: dict[str, dict]

    def draw(self, *arguments, **options):
        return eo.ben_ge.draw_labels(self.path, *arguments, **options)


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Records:
    """Forty patches (28 train, 8 val, 4 test) of five tiles in several shards."""
    root = tmp_path_factory.mktemp("many")
    features = write_tree(root / "tree", 40, labels=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = eo.ben_ge.convert(root / "tree", root / "records", split="random", fractions=(0.7, 0.2, 0.1))
    return Records(path, features)


def dataset(records, split="train", targets=(), **options):
    return eo.make_dataset(records.path, split, ("dem",), targets, **{"metadata": ("patch_id",), **options})


def order(data):
    return [patch_id.decode() for *_, metadata in data.as_numpy_iterator() for patch_id in metadata["patch_id"]]


def by_patch(data):
    """patch id -> its targets."""
    found = {}
    for _, targets, metadata in data.as_numpy_iterator():
        for index, patch_id in enumerate(metadata["patch_id"]):
            found[patch_id.decode()] = {name: values[index] for name, values in targets.items()}
    return found


# ---- Which patches -------------------------------------------------------------------------------------------------


def test_the_records_have_several_shards(records):
    assert len(list(records.path.glob("*-train.tfrecord*"))) > 3


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.5, 0.9, 1.0])
def test_exactly_the_patches_of_the_budget(records, draw, split, fraction):
    budget = {"label_fraction": fraction, "label_draw": draw, "label_seed": 2}
    expected = records.draw(**budget).patches[split]
    data = dataset(records, split, batch_size=3, **budget)
    assert sorted(order(data)) == list(expected)
    assert int(data.cardinality()) == -(-len(expected) // 3)
    dropped = dataset(records, split, batch_size=3, drop_remainder=True, **budget)
    assert int(dropped.cardinality()) == len(expected) // 3


def test_patches_of_a_budget_hold_what_they_hold_without_one(records):
    whole = by_patch(dataset(records, targets=("land_cover_map", "season")))
    for patch_id, targets in by_patch(
        dataset(records, targets=("land_cover_map", "season"), label_fraction=0.3)
    ).items():
        for name, values in targets.items():
            np.testing.assert_array_equal(values, whole[patch_id][name])


@pytest.mark.parametrize("group", ["date", "tile"])
def test_seed_and_group_are_passed_on(records, group):
    options = {"label_draw": "clustered", "label_seed": 5, "label_group": group}
    expected = records.draw(0.3, **options).patches["train"]
    assert set(order(dataset(records, label_fraction=0.3, **options))) == set(expected)
    assert set(expected) != set(records.draw(0.3, **{**options, "label_seed": 6}).patches["train"])


def test_index_files_and_subsets(records, tmp_path):
    subset = records.draw(0.2, label_seed=1)
    path = eo.ben_ge.write_label_subset(subset, tmp_path / "twenty.csv")
    for labels in (path, str(path), subset):
        for split in ("train", "val"):
            assert sorted(order(dataset(records, split, labels=labels))) == list(subset.patches[split])


def test_hand_made_index_file(records, tmp_path):
    ids = order(dataset(records))[4:9:2]
    (tmp_path / "mine.csv").write_text("patch_id,split\n" + "".join(f"{patch_id},train\n" for patch_id in ids))
    assert sorted(order(dataset(records, labels=tmp_path / "mine.csv"))) == sorted(ids)


@pytest.mark.filterwarnings("ignore:Fewer than")
def test_shots(records):
    data = dataset(records, targets=("climate_zone",), label_shots={"climate_zone": 1}, label_draw="clustered")
    found = by_patch(data)
    expected = records.draw(label_shots={"climate_zone": 1}, label_draw="clustered").patches["train"]
    assert sorted(found) == list(expected)
    zones = [int(targets["climate_zone"]) for targets in found.values()]
    train = order(dataset(records))
    assert sorted(zones) == sorted({CLIMATE_CODES.index(records.features[i]["climate_zone"]) for i in train})


def test_shots_that_a_class_lacks_are_warned_about(records):
    with pytest.warns(UserWarning, match="Fewer than 9 patches of a class of climate_zone in train") as warned:
        dataset(records, label_shots={"climate_zone": 9})
    assert [warning.filename for warning in warned] == [__file__]  # where `make_dataset` was called


@pytest.mark.filterwarnings("ignore:Fewer than")
@pytest.mark.parametrize("budget", [{"label_fraction": 0.2}, {"label_shots": {"land_cover": 1}}])
def test_the_rest_is_the_unlabelled_pool(records, budget):
    everything = set(order(dataset(records)))
    labelled = order(dataset(records, **budget))
    rest = dataset(records, subset="unlabelled", batch_size=1, **budget)
    assert sorted(order(rest)) == sorted(everything - set(labelled))
    assert int(rest.cardinality()) == 28 - len(labelled)


def test_the_rest_of_budgets_by_target_has_no_label_of_any(records):
    budget = {"label_fraction": {"season": 0.5, "climate_zone": 0.1}}
    labelled = order(dataset(records, label_fraction=0.5))
    assert len(labelled) == 14
    assert set(order(dataset(records, subset="unlabelled", **budget))).isdisjoint(labelled)
    assert len(order(dataset(records, subset="unlabelled", **budget))) == 14


# ---- The pipeline around it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [None, "memory"])
def test_all_of_a_split_comes_in_the_order_without_a_budget(records, cache):
    options = {"shuffle": True, "seed": 3, "cache": cache}
    assert order(dataset(records, label_fraction=1.0, **options)) == order(dataset(records, **options))
    assert order(dataset(records, label_fraction=1.0)) == order(dataset(records))


@pytest.mark.parametrize("cache", [None, "memory", "file"])
def test_shuffle_is_repeatable_and_new_every_epoch(records, tmp_path, cache):
    def make(seed):
        place = str(tmp_path / f"cache{seed}{len(list(tmp_path.iterdir()))}") if cache == "file" else cache
        return dataset(records, shuffle=True, seed=seed, cache=place, label_fraction=0.4)

    first = make(1)
    epochs = [order(first) for _ in range(4)]
    again = make(1)
    assert [order(again) for _ in range(4)] == epochs
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert {frozenset(epoch) for epoch in epochs} == {frozenset(records.draw(0.4).patches["train"])}
    other = make(2)
    assert [order(other) for _ in range(4)] != epochs


def test_every_epoch_of_a_repeated_set_holds_every_patch_once(records):
    data = dataset(records, shuffle=True, seed=3, repeat=True, batch_size=11, label_fraction=0.4).take(3)
    ids = order(data)  # 11 patches
    assert len(ids) == 33
    assert len(set(ids[:11])) == len(set(ids[11:22])) == len(set(ids)) == 11


def test_a_cache_file_serves_its_own_subset_only(records, tmp_path):
    place = str(tmp_path / "cache")
    budgets = [{}, {"label_fraction": 0.1}, {"label_fraction": 0.5}, {"label_fraction": 0.5, "label_seed": 1}]
    expected = [order(dataset(records, **budget)) for budget in budgets]
    for _ in range(2):
        assert [order(dataset(records, cache=place, **budget)) for budget in budgets] == expected


def test_targets_with_other_budgets_share_a_cache_file_of_the_same_patches(records, tmp_path):
    options = {"targets": ("season", "climate_zone"), "cache": str(tmp_path / "cache")}
    for share in (0.5, 0.25):
        found = by_patch(dataset(records, label_fraction={"season": share, "climate_zone": 1.0}, **options))
        assert sum(np.isfinite(targets["season"]) for targets in found.values()) == 28 * share


def test_recipe_keeps_the_budget_and_can_change_it(records):
    data = dataset(records, targets=("season",), label_fraction=0.3, label_draw="clustered", label_seed=4)
    again = data.recipe(targets=("climate_zone",), shuffle=True)
    assert set(order(again)) == set(order(data))
    assert len(order(data.recipe(label_fraction=None))) == 28


def test_recipe_of_budgets_by_target_reads_what_one_target_has(records):
    budget = {"season": 0.25, "climate_zone": 0.5}
    data = dataset(records, targets=("season", "climate_zone"), label_fraction=budget)
    assert (len(order(data)), len(order(data.recipe(targets=("season",))))) == (14, 7)


def test_fit_counts_its_steps(records):
    import keras

    dem = keras.Input((120, 120, 1), name="dem")
    model = keras.Model([dem], {"season": keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(dem))})
    model.compile(loss=eo.losses.for_tasks(("season",)))
    options = {"targets": ("season",), "metadata": (), "batch_size": 2}
    train = dataset(records, label_fraction=0.25, shuffle=True, seed=0, **options)
    val = dataset(records, "val", label_fraction=0.25, **options)
    history = model.fit(train, validation_data=val, epochs=2, verbose=0)
    assert history.params["steps"] == 4  # 7 patches
    assert np.isfinite(history.history["val_loss"]).all()


# ---- Labels that are missing by target -----------------------------------------------------------------------------

TARGETS = ("climate_zone", "land_cover", "land_cover_map", "land_cover_fractions", "season", "geocluster", "labels")


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_outside_its_budget_is_missing(records, name):
    other = "season" if name != "season" else "climate_zone"
    whole = by_patch(dataset(records, targets=(name, other)))
    found = by_patch(dataset(records, targets=(name, other), label_fraction={name: 0.25, other: 0.75}))
    subsets = {share: set(records.draw(share).patches["train"]) for share in (0.25, 0.75)}
    assert set(found) == subsets[0.75]
    for patch_id, targets in found.items():
        np.testing.assert_array_equal(targets[other], whole[patch_id][other])
        values = targets[name]
        assert values.dtype == whole[patch_id][name].dtype
        if patch_id in subsets[0.25]:
            np.testing.assert_array_equal(values, whole[patch_id][name])
        else:
            assert values.shape == whole[patch_id][name].shape
            assert (values == VOID).all() if values.dtype == np.int32 else np.isnan(values).all()


def test_budgets_by_target_from_index_files(records, tmp_path):
    first, second = (records.draw(0.25, label_seed=seed) for seed in (1, 2))
    path = eo.ben_ge.write_label_subset(first, tmp_path / "first.csv")
    labels = {"season": path, "climate_zone": second}
    found = by_patch(dataset(records, targets=("season", "climate_zone"), labels=labels))
    assert set(found) == {*first.patches["train"], *second.patches["train"]}
    assert {i for i, targets in found.items() if np.isfinite(targets["season"])} == set(first.patches["train"])
    assert {i for i, targets in found.items() if targets["climate_zone"] != VOID} == set(second.patches["train"])


def test_missing_labels_survive_augmentation(records):
    budget = {"land_cover_map": 0.25, "season": 1.0}
    data = dataset(
        records, targets=tuple(budget), label_fraction=budget, augment=eo.augment.dihedral(), seed=1, shuffle=True
    )
    labelled = {i for i, targets in by_patch(data).items() if (targets["land_cover_map"] != VOID).any()}
    assert labelled == set(records.draw(0.25).patches["train"])


def test_loss_and_metrics_are_those_of_the_labelled_half(records):
    """Half of the labels of season and a quarter of the zones: everything by hand on what is left."""
    budget = {"season": 0.5, "climate_zone": 0.75, "land_cover_map": 1.0}
    tasks = tuple(budget)
    schema = eo.load_schema(records.path)
    data = dataset(records, targets=tasks, label_fraction=budget, batch_size=28)
    (_, targets, metadata), *_ = data.as_numpy_iterator()
    ids = [patch_id.decode() for patch_id in metadata["patch_id"]]
    rng = np.random.default_rng(0)
    guesses = rng.uniform(size=(28, 1)).astype("float32")
    logits = rng.normal(size=(28, 12)).astype("float32")

    has_season = np.isin(ids, records.draw(0.5).patches["train"])
    has_zone = np.isin(ids, records.draw(0.75).patches["train"])
    assert (has_season.sum(), has_zone.sum()) == (14, 21)
    seasons = np.array([records.features[patch_id]["season"] for patch_id in ids])
    zones = np.array([CLIMATE_CODES.index(records.features[patch_id]["climate_zone"]) for patch_id in ids])
    error = np.abs(guesses[:, 0] - seasons)[has_season].mean()
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    surprise = -np.log(chances[np.arange(28), zones])[has_zone].mean()
    right = (logits.argmax(axis=1) == zones)[has_zone].mean()

    losses = eo.losses.for_tasks(tasks, schema)
    assert float(losses["season"](targets["season"], guesses)) == pytest.approx(error, rel=1e-5)
    assert float(losses["climate_zone"](targets["climate_zone"], logits)) == pytest.approx(surprise, rel=1e-5)
    metrics = eo.metrics.for_tasks(tasks, schema)
    accuracy = next(metric for metric in metrics["climate_zone"] if metric.name == "accuracy")
    (mean_error,) = metrics["season"]
    for part in (slice(0, 10), slice(10, 28)):  # over two batches as over one
        accuracy.update_state(targets["climate_zone"][part], logits[part])
        mean_error.update_state(targets["season"][part], guesses[part])
    assert float(accuracy.result()) == pytest.approx(right, rel=1e-6)
    assert float(mean_error.result()) == pytest.approx(error, rel=1e-5)


def test_gradients_come_from_labelled_patches_alone(records):
    budget = {"season": 0.5, "climate_zone": 1.0}
    (_, targets, metadata), *_ = dataset(records, targets=tuple(budget), label_fraction=budget, batch_size=28)
    guesses = tf.Variable(tf.fill((28, 1), 2.0))
    with tf.GradientTape() as tape:
        loss = eo.losses.for_tasks(("season",))["season"](targets["season"], guesses)
    has_label = np.isin([i.decode() for i in metadata["patch_id"].numpy()], records.draw(0.5).patches["train"])
    np.testing.assert_allclose(tape.gradient(loss, guesses)[:, 0], has_label / 14, rtol=1e-6)


# ---- Bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"label_fraction": 0}, "`label_fraction` must be a number above 0 and at most 1. Received: label_fraction=0"),
        ({"label_fraction": 1.5}, "`label_fraction` must be a number above 0"),
        ({"label_fraction": 0.1, "label_draw": "random"}, r"`label_draw` must be one of \['spread', 'clustered'\]"),
        ({"label_fraction": 0.1, "label_seed": -1}, "`label_seed`"),
        ({"label_fraction": 0.1, "label_group": "cell"}, "`label_group` must be one of"),
        ({"label_draw": "random"}, "`label_draw` must be one of"),  # checked without a budget too
        ({"label_seed": -1}, "`label_seed` must be 0 or a positive integer"),
        ({"label_group": "cell", "split": "test"}, "`label_group` must be one of"),
        ({"labels": "a.csv", "label_draw": "random"}, "`label_draw` must be one of"),
        (
            {"label_fraction": 0.1, "split": "test"},
            "counts labels of train and val; .*label_fraction with split='test'",
        ),
        ({"labels": "a.csv", "split": "test"}, "labels with split='test'"),
        ({"label_shots": {"land_cover": 1}, "split": "test"}, "label_shots with split='test'"),
        ({"label_fraction": 0.1, "label_shots": {"land_cover": 1}}, "Received: label_fraction and label_shots"),
        ({"label_fraction": 0.1, "labels": "a.csv"}, "Received: label_fraction and labels"),
        ({"label_shots": {"labels": 1}}, "`label_shots` must be one of .*'labels'"),
        ({"label_shots": 5}, "`label_shots` must name one class target"),
        ({"labels": 5}, "`labels` must be the path of an index file, .* Received: labels=5"),
        ({"labels": {"season": 5}}, r"`labels` must be the path of an index file, .* Received: labels\['season'\]=5"),
        ({"subset": "rest"}, r"`subset` must be one of \['labelled', 'unlabelled'\]"),
        ({"subset": "unlabelled"}, "must come with a budget.*no `label_fraction`, `label_shots` or `labels`"),
        ({"subset": "unlabelled", "label_fraction": 0.1, "targets": ("season",)}, r"without targets.*\['season'\]"),
        (
            {"subset": "unlabelled", "label_fraction": 1.0},
            "`subset='unlabelled'` must hold a patch of the split. Received: a budget of 28 of its 28 patches",
        ),
        (
            {"label_fraction": {"season": 0.1}, "targets": ("season", "climate_zone")},
            r"every target.*\['climate_zone'\]",
        ),
        ({"label_fraction": {}}, "`label_fraction` by target must name every target"),
        ({"label_fraction": {"biome": 0.1}}, "`label_fraction` may hold .*Received: 'biome'"),
        (
            {"label_fraction": {"season": 2}, "targets": ("season",)},
            r"`label_fraction\['season'\]` must be a number above 0 and at most 1\. Received: .*=2\.",
        ),
        (
            {"label_fraction": {"season": 0.5, "climate_zone": "all"}, "targets": ("season",)},  # not asked for
            r"`label_fraction\['climate_zone'\]` must be a number above 0 .*='all'",
        ),
    ],
)
def test_bad_arguments_name_the_rule(records, arguments, words):
    with pytest.raises(InvalidArgumentError, match=words):
        dataset(records, **arguments)


def test_index_file_of_other_records(records, known_records, tmp_path):
    path = eo.ben_ge.write_label_subset(eo.ben_ge.draw_labels(known_records.path, 0.5), tmp_path / "other.csv")
    with pytest.raises(
        InvalidSourceError, match=r"must be drawn from these records.*Received: fingerprint .*other\.csv"
    ):
        dataset(records, labels=path)


def test_index_file_with_ids_of_another_split(records, tmp_path):
    val = order(dataset(records, "val"))
    (tmp_path / "mine.csv").write_text(f"patch_id,split\n{val[0]},train\nnowhere,train\n")
    words = r"must name patches of the split 'train'\. Received: .*nowhere \(2 that are not in it\)\. File: .*mine\.csv"
    with pytest.raises(InvalidSourceError, match=rf"`labels` {words}"):
        dataset(records, labels=tmp_path / "mine.csv")
    by_target = {"season": records.draw(0.5), "climate_zone": tmp_path / "mine.csv"}
    with pytest.raises(InvalidSourceError, match=rf"`labels\['climate_zone'\]` {words}"):
        dataset(records, targets=tuple(by_target), labels=by_target)


def test_index_file_without_the_split(records, tmp_path):
    train = order(dataset(records))
    (tmp_path / "mine.csv").write_text(f"patch_id,split\n{train[0]},train\n")
    words = r"must name patches of the split 'val'\. Received: no patch of it\. File: .*mine\.csv"
    with pytest.raises(InvalidSourceError, match=rf"`labels` {words}"):
        dataset(records, "val", labels=tmp_path / "mine.csv")
    with pytest.raises(InvalidSourceError, match=rf"`labels\['season'\]` {words}"):
        dataset(records, "val", labels={"season": tmp_path / "mine.csv"})


def test_plain_list_of_ids_is_no_budget(records, tmp_path):
    (tmp_path / "mine.csv").write_text("\n".join(order(dataset(records))))
    with pytest.raises(InvalidSourceError, match=r"header `patch_id,split`\. Received: ids alone\. File: .*mine\.csv"):
        dataset(records, labels=tmp_path / "mine.csv")


@pytest.mark.filterwarnings("ignore:Fewer than")
def test_shots_of_a_target_that_no_patch_has(tmp_path):
    places = [("33UUP", 10 + column, 20, "2017-06-13") for column in range(3)]  # one group: all in train
    write_tree(tmp_path / "tree", 3, places=places, without=("esaworldcover",))
    cover = tmp_path / "tree" / "tree_esaworldcover.csv"
    header, *rows = read_csv(cover)
    write_csv(cover, [header, *([patch_id, *[0] * 11] for patch_id, *_ in rows)])
    path = eo.ben_ge.convert(tmp_path / "tree", tmp_path / "records")
    with pytest.raises(
        InvalidArgumentError,
        match=r"`subset='labelled'` must hold a patch of the split\. Received: a budget of 0 of its 3 patches",
    ):
        eo.make_dataset(path, "train", ("dem",), label_shots={"land_cover": 1})


def test_older_records_say_the_way_out(records, tmp_path):
    copy = Records(shutil.copytree(records.path, tmp_path / "records"), {})
    (copy.path / "patches.csv").unlink()
    assert len(order(dataset(copy))) == 28
    with pytest.raises(RecordsError, match=r"lacks: .*eokeras\.ben_ge\.write_patch_table\(records\)"):
        dataset(copy, label_fraction=0.1)
    eo.ben_ge.write_patch_table(copy.path)
    assert len(order(dataset(copy, label_fraction=0.1))) == 3
