"""Embeddings and probes, on features that are known."""

import functools
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from eokeras import evaluate, models
from eokeras.ben_ge.schema import TARGETS, VOID
from eokeras.errors import InvalidArgumentError, UnwritableError
from eokeras.evaluate.embeddings import chosen_level, pooled
from eokeras.evaluate.probes import linear_reader

SIZE = 4
TASKS = ("climate_zone", "land_cover_map", "season", "labels", "land_cover_fractions")


def encoder(levels=("stride_1",), name="s2"):
    """Gives its input (B, 4, 4, 2) back: as `stride_1`, every second pixel as `stride_2`, or the corner as `vector`."""
    x = keras.Input((SIZE, SIZE, 2), name=name)
    found = {
        "stride_1": keras.layers.Identity()(x),
        "stride_2": keras.layers.Lambda(lambda x: x[:, ::2, ::2])(x),
        "vector": keras.layers.Lambda(lambda x: x[:, 0, 0])(x),
    }
    return keras.Model([x], {level: found[level] for level in levels})


def world(patches, seed):
    """Zone by the sign of the first channel's mean, season by the second's, land cover by the first channel itself."""
    random = np.random.default_rng(seed)
    mean = np.stack([random.choice([-1.0, 1.0], patches), random.random(patches)], 1)
    x = mean[:, None, None] + random.normal(0, 0.1, (patches, SIZE, SIZE, 2))
    zone = np.where(mean[:, 0] < 0, 3, 7)
    cover = np.where(x[..., 0] < 0, 1, 2)
    season = x[..., 1].mean((1, 2))
    labels = np.zeros((patches, 19))
    labels[:, 4] = mean[:, 0] > 0
    labels[:, 5] = 1
    shares = np.zeros((patches, 11))
    shares[:, 0], shares[:, 1] = np.clip(season, 0, 1), 1 - np.clip(season, 0, 1)
    zone[0], season[1], cover[2] = VOID, np.nan, VOID
    shares[-1] = np.nan
    targets = {
        "climate_zone": zone.astype("int32"), "land_cover_map": cover.astype("int32"),
        "season": season.astype("float32"), "labels": labels.astype("float32"),
        "land_cover_fractions": shares.astype("float32"),
    }  # fmt: skip
    metadata = {
        "patch_id": np.array([f"{seed}_{index}" for index in range(patches)]),
        "tile": np.array([f"T{index % 12}" for index in range(patches)]),
        "date": np.array([f"D{index % 11}" for index in range(patches)]),
    }
    return {"s2": x.astype("float32")}, targets, metadata


def dataset(arrays, *, targets=TASKS, metadata=(), **others):
    parts = (arrays[0], {name: arrays[1][name] for name in targets}, {name: arrays[2][name] for name in metadata})
    found = tf.data.Dataset.from_tensor_slices(parts if metadata else parts[:2]).batch(16)
    found.recipe = functools.partial(dataset, arrays, targets=targets)
    return found


SCHEMA = SimpleNamespace(
    classes={name: TARGETS[name].classes for name in TASKS if TARGETS[name].classes},
    statistics={},
    world=None,
    bands={},
)


# --- Embeddings ------------------------------------------------------------------------------------------


def test_features_are_the_level_averaged_over_the_patch():
    arrays = world(20, seed=1)
    found = evaluate.embed(encoder(), dataset(arrays))
    np.testing.assert_allclose(found.features, arrays[0]["s2"].mean((1, 2)), rtol=1e-5)
    assert found.features.dtype == "float32"
    assert found.metadata["patch_id"].tolist() == arrays[2]["patch_id"].tolist()
    np.testing.assert_array_equal(found.targets["climate_zone"], arrays[1]["climate_zone"])


@pytest.mark.parametrize(
    ("levels", "level", "pick"),
    [
        (("stride_1", "vector"), None, lambda x: x[:, 0, 0]),  # no weights at all: as a scene head
        (("stride_1", "vector"), "stride_1", lambda x: x.mean((1, 2))),
        (("stride_1", "stride_2"), None, lambda x: x.mean((1, 2))),
        (("stride_2",), None, lambda x: x[:, ::2, ::2].mean((1, 2))),
    ],
)
def test_the_level_is_the_deepest_or_the_one_named(levels, level, pick):
    arrays = world(20, seed=1)
    found = evaluate.embed(encoder(levels), dataset(arrays), level=level)
    np.testing.assert_allclose(found.features, pick(arrays[0]["s2"]), rtol=1e-5, atol=1e-6)


def test_the_level_is_made_by_most_weights():
    whole, half = models.unet((32, 32, 2), width=2, name="s2"), models.unet_encoder((32, 32, 2), width=2, name="s2")
    residual = models.resnet((32, 32, 2), width=2, name="s2")
    found = [chosen_level(each)[0] for each in (whole, half, residual)]
    assert found == ["stride_1", "stride_16", "stride_32"]
    assert chosen_level(models.late_fusion({"s2": whole, "s1": models.unet((32, 32, 2), 2, "s1")}))[0] == "stride_1"
    assert pooled(half).output_shape == (None, 16)


def test_patches_need_no_labels():
    found = evaluate.embed(encoder(), dataset(world(20, seed=1), targets=()))
    assert found.features.shape == (20, 2)
    assert found.targets == {}


def test_embeddings_survive_their_file(tmp_path):
    found = evaluate.embed(encoder(), dataset(world(20, seed=1)))
    loaded = evaluate.Embeddings.load(found.save(tmp_path / "test.npz"))
    np.testing.assert_array_equal(loaded.features, found.features)
    for side in ("targets", "metadata"):
        one, other = getattr(loaded, side), getattr(found, side)
        assert list(one) == list(other)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    assert [path.name for path in tmp_path.iterdir()] == ["test.npz"]


def test_files_that_are_none_are_named(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.ones(3))
    (tmp_path / "text.npz").write_text("features")
    np.savez(tmp_path / "pickled.npz", features=np.array([{}], dtype=object))
    for name in ("other.npz", "text.npz", "pickled.npz", "none.npz"):
        with pytest.raises(InvalidArgumentError, match=f"`Embeddings.save` wrote. Received: .*{name}"):
            evaluate.Embeddings.load(tmp_path / name)
    with pytest.raises(UnwritableError, match="`path` must be writable"):
        evaluate.embed(encoder(), dataset(world(5, seed=1))).save(tmp_path / "nowhere" / "test.npz")


def test_bad_encoders_name_the_rule():
    arrays = world(20, seed=1)
    plain = keras.Sequential([keras.Input((SIZE, SIZE, 2), name="s2"), keras.layers.Flatten()])
    for make, words in (
        (lambda: evaluate.embed(plain, dataset(arrays)), "`encoder` must be a functional model that gives a dict"),
        (
            lambda: evaluate.embed(encoder(), dataset(arrays), level="stride_8"),
            r"`level` must be one of \['stride_1'\]",
        ),
        (lambda: evaluate.embed(encoder(name="s1"), dataset(arrays)), "`dataset` must hold every input of the model"),
        (lambda: evaluate.embed(encoder(), dataset(arrays).take(0)), "`dataset` must hold at least one patch"),
    ):
        with pytest.raises(InvalidArgumentError, match=words):
            make()


# --- The linear probe --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def probed():
    return evaluate.linear_probe(encoder(), dataset(world(120, 1)), dataset(world(60, 2)), SCHEMA, regularisation=0.01)


def test_what_is_linear_in_the_features_is_found(probed):
    values = {task: {name: estimate.value for name, estimate in found.estimates.items()}
              for task, found in probed.tasks.items()}  # fmt: skip
    assert values["climate_zone"]["accuracy"] == 1.0
    assert values["land_cover_map"]["pixel_accuracy"] > 0.99
    assert values["season"]["mae"] < 1e-3
    assert values["labels"]["macro_f1"] == 1.0
    assert values["land_cover_fractions"]["mae"] < 0.01
    assert (probed.tasks["climate_zone"].groups, probed.tasks["season"].groups) == (12, 11)
    assert probed.tasks["climate_zone"].patches == 59  # one patch has no zone


def test_ridge_is_the_closed_form():
    random = np.random.default_rng(0)
    features, season = random.normal(3, 2, (40, 5)), random.random(40)
    season[7] = np.nan
    rows, known = random.normal(3, 2, (9, 5)), np.isfinite(season)
    z = (features[known] - features[known].mean(0)) / features[known].std(0)
    centred = season[known] - season[known].mean()
    weights = np.linalg.solve(z.T @ z + 2.5 * np.eye(5), z.T @ centred)
    expected = (rows - features[known].mean(0)) / features[known].std(0) @ weights + season[known].mean()
    found = linear_reader("season", features, season, SCHEMA, 2.5)(rows)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_logistic_loss_is_at_its_minimum():
    # At the minimum of sum log(1 + exp(-t (z w + b))) + 2 |w|^2 / 2 the decision changes where z w + b = 0.
    from scipy.optimize import minimize

    random = np.random.default_rng(1)
    features = random.normal(0, 1, (60, 2))
    zone = np.where(features[:, 0] + random.normal(0, 0.7, 60) > 0, 7, 3)
    z, t = (features - features.mean(0)) / features.std(0), np.where(zone == 7, 1, -1)
    loss = lambda p: np.logaddexp(0, -t * (z @ p[:2] + p[2])).sum() + p[:2] @ p[:2]  # noqa: E731
    w = minimize(loss, np.zeros(3)).x
    rows = random.normal(0, 1, (500, 2))
    margin = (rows - features.mean(0)) / features.std(0) @ w[:2] + w[2]
    found = linear_reader("climate_zone", features, zone.astype("int32"), SCHEMA, 2.0)(rows)
    clear = np.abs(margin) > 0.01
    np.testing.assert_array_equal(found[clear], np.where(margin > 0, 7, 3)[clear])


def test_fractions_are_shares_even_far_outside():
    features = np.array([[0.0], [1.0]])
    shares = np.zeros((2, 11))
    shares[0, 0] = shares[1, 1] = 1
    found = linear_reader("land_cover_fractions", features, shares, SCHEMA, 1e-9)(np.array([[-5.0], [0.5], [9.0]]))
    np.testing.assert_allclose(found.sum(1), 1)
    np.testing.assert_allclose(found[:, :2], [[1, 0], [0.5, 0.5], [0, 1]], atol=1e-6)


def test_one_class_alone_is_always_the_answer():
    zone = np.array([3, 3, VOID], "int32")
    assert linear_reader("climate_zone", np.ones((3, 2)), zone, SCHEMA, 1.0)(np.zeros((4, 2))).tolist() == [3] * 4


def test_maps_are_read_from_the_finest_level_enlarged():
    found = evaluate.linear_probe(
        encoder(("stride_2",)), dataset(world(120, 1), targets=("land_cover_map",)),
        dataset(world(60, 2), targets=("land_cover_map",)), SCHEMA,
    )  # fmt: skip
    assert found.tasks["land_cover_map"].estimates["pixel_accuracy"].value > 0.99


def test_targets_without_labels_are_left_out_with_a_note():
    train = world(20, 1)
    train[1]["climate_zone"][:] = VOID
    tasks = ("climate_zone", "season")
    found = evaluate.linear_probe(
        encoder(), dataset(train, targets=tasks), dataset(world(30, 2), targets=tasks), SCHEMA
    )
    assert list(found.tasks) == ["season"]
    assert found.notes == ("left out: no labels to learn climate_zone from.",)
    sides = [dataset(side, targets=("climate_zone",)) for side in (train, world(30, 2))]
    with pytest.raises(InvalidArgumentError, match="`train` must hold a label"):
        evaluate.linear_probe(encoder(), *sides, SCHEMA)


def test_probes_compare_with_models_patch_by_patch(probed):
    other = evaluate.neighbour_probe(
        encoder(), dataset(world(120, 1), targets=("season",)), dataset(world(60, 2), targets=("season",)), SCHEMA
    )
    assert evaluate.compare(probed, other)["season", "mae"].groups == 11


# --- Nearest neighbours ------------------------------------------------------------------------------------


def test_neighbours_vote_by_cosine():
    # Three training patches at 0, 60 and 180 degrees; the test patch at 20 degrees, and four times as long.
    def patch(degrees, length=1.0):
        x = length * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
        return np.broadcast_to(x, (SIZE, SIZE, 2)).astype("float32")

    def data(angles, zones, seasons, length=1.0):
        names = {key: values[: len(angles)] for key, values in world(4, 1)[2].items()}
        inputs = {"s2": np.stack([patch(angle, length) for angle in angles])}
        targets = {"climate_zone": np.array(zones, "int32"), "season": np.array(seasons, "float32")}
        return dataset((inputs, targets, names), targets=("climate_zone", "season"))

    train, test = data([0, 60, 180], [3, 7, 7], [0.2, 0.8, 0.5]), data([20], [3], [0.0], length=4.0)
    found = evaluate.neighbour_probe(encoder(), train, test, SCHEMA, neighbours=2, temperature=0.5)
    near, far = np.cos(np.radians(20)), np.cos(np.radians(40))
    weight = np.exp((far - near) / 0.5)
    expected = (0.2 + 0.8 * weight) / (1 + weight)
    assert found.tasks["season"].estimates["mae"].value == pytest.approx(expected, abs=1e-6)
    assert found.tasks["climate_zone"].estimates["accuracy"].value == 1.0
    # With all three and equal votes the two of the other zone win; more than there are is as many as there are.
    found = evaluate.neighbour_probe(encoder(), train, test, SCHEMA, neighbours=9, temperature=1e6)
    assert found.tasks["climate_zone"].estimates["accuracy"].value == 0.0
    assert found.tasks["season"].estimates["mae"].value == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize(
    ("probe", "options", "words"),
    [
        (evaluate.linear_probe, {"regularisation": 0}, "`regularisation` must be a finite number above 0"),
        (evaluate.neighbour_probe, {"neighbours": 0}, "`neighbours` must be a positive integer"),
        (evaluate.neighbour_probe, {"temperature": -1}, "`temperature` must be a finite number above 0"),
        (evaluate.neighbour_probe, {}, r"`test` must have a target of whole patches. Received: \['land_cover_map'\]"),
    ],
)
def test_bad_options_name_the_rule(probe, options, words):
    sides = [dataset(world(20, seed), targets=("land_cover_map",)) for seed in (1, 2)]
    with pytest.raises(InvalidArgumentError, match=words):
        probe(encoder(), *sides, SCHEMA, **options)


def test_an_encoder_without_maps_cannot_be_probed_for_maps():
    sides = [dataset(world(20, seed), targets=("land_cover_map",)) for seed in (1, 2)]
    with pytest.raises(InvalidArgumentError, match=r"`encoder` must have a map, to probe maps. .*\['vector'\]"):
        evaluate.linear_probe(encoder(("vector",)), *sides, SCHEMA)
