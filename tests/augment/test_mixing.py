"""mixup and CutMix: draws found in the pixels, and everything else held against them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import eokeras as eo
from eokeras.augment import cutmix, mixup, random_crop, views
from eokeras.ben_ge.schema import VOID
from eokeras.errors import InvalidArgumentError

SEED = tf.constant([3, 8])


def batch(count, seed=0):
    """Inputs and targets of patches; patch k has no class, patch 2 no season."""
    random = np.random.default_rng(seed)
    inputs = {
        "s2_10m": random.normal(size=(count, 24, 24, 4)),
        "s2_60m": random.normal(size=(count, 4, 4, 2)),
        "era5": random.normal(size=(count, 8)),
        "s1_mask": random.integers(0, 2, (count, 24, 24, 2)),
    }
    targets = {
        "land_cover": random.integers(0, 11, count).astype("int32"),
        "land_cover_map": random.integers(0, 11, (count, 24, 24)).astype("int32"),
        "season": random.random(count),
        "elevation": random.normal(size=(count, 24, 24)),
    }
    targets["land_cover"][1] = targets["land_cover_map"][3, :2] = VOID
    targets["season"][2] = np.nan
    numbers = {name: values.astype("float32") for name, values in inputs.items()}
    return numbers, {name: y if y.dtype == "int32" else y.astype("float32") for name, y in targets.items()}


def tensors(values):
    return {name: tf.constant(value) for name, value in values.items()}


def applied(mixing, inputs, targets, seed=SEED):
    inputs, targets = mixing(tensors(inputs), tensors(targets), seed)
    return ({name: np.asarray(value) for name, value in part.items()} for part in (inputs, targets))


def before(index, count):
    return (index - 1) % count


def shares_by_hand(own, other, share):
    """Shares of 11 classes of one element, label by label."""
    shares = np.zeros(11)
    for label, part in ((own, share), (other, 1 - share)):
        if label != VOID:
            shares[label] += part
    return shares


def test_mixup_mixes_everything_by_one_share_per_patch():
    inputs, targets = batch(6)
    mixed, labels = applied(mixup(1.0), inputs, targets)
    found = []
    for index in range(6):
        own, other = (inputs["era5"][i, 0] for i in (index, before(index, 6)))
        share = (mixed["era5"][index, 0] - other) / (own - other)
        found.append(share)
        assert 0 <= share <= 1

        def mean(values, index=index, share=share):
            return share * values[index] + (1 - share) * values[before(index, 6)]

        for name in ("s2_10m", "s2_60m", "era5"):
            np.testing.assert_allclose(mixed[name][index], mean(inputs[name]), atol=1e-4, err_msg=name)
        np.testing.assert_array_equal(
            mixed["s1_mask"][index], np.minimum(inputs["s1_mask"][index], inputs["s1_mask"][before(index, 6)])
        )
        for name in ("season", "elevation"):
            np.testing.assert_allclose(labels[name][index], mean(targets[name]), atol=1e-4, err_msg=name)
        pair = [targets["land_cover"][i] for i in (index, before(index, 6))]
        np.testing.assert_allclose(labels["land_cover"][index], shares_by_hand(*pair, share), atol=1e-4)
        for pixel in ((0, 0), (1, 7), (5, 20)):
            pair = [targets["land_cover_map"][(i, *pixel)] for i in (index, before(index, 6))]
            np.testing.assert_allclose(
                labels["land_cover_map"][(index, *pixel)], shares_by_hand(*pair, share), atol=1e-4
            )
    assert np.isnan(labels["season"]).tolist() == [False, False, True, True, False, False]
    assert np.ptp(found) > 0.1


@pytest.mark.parametrize("alpha", [0.02, 0.2, 1.0, 5.0])
def test_shares_are_of_the_beta_distribution(alpha):
    count = 20_000
    x = np.arange(count, dtype="float32")[:, None] % 2  # every patch next to another one
    mixed, _ = applied(mixup(alpha), {"era5": x}, {})
    shares = np.where(x == 1, mixed["era5"], 1 - mixed["era5"])[:, 0]
    assert np.isfinite(shares).all()
    assert abs(shares.mean() - 0.5) < 0.015
    assert abs(shares.var() / (1 / (4 * (2 * alpha + 1))) - 1) < 0.05  # variance of Beta(alpha, alpha)


def test_cutmix_pastes_one_window_into_all_rasters_and_counts_its_area():
    inputs, targets = batch(40)
    mixed, labels = applied(cutmix(1.0), inputs, targets)
    areas = []
    for index in range(40):
        other = before(index, 40)
        pasted = (mixed["s2_10m"][index] != inputs["s2_10m"][index]).all(axis=-1)
        rows, columns = pasted.any(axis=1), pasted.any(axis=0)
        np.testing.assert_array_equal(pasted, np.outer(rows, columns))
        cells = pasted.reshape(4, 6, 4, 6)
        assert (cells.all(axis=(1, 3)) == cells.any(axis=(1, 3))).all()  # whole 60 m pixels
        np.testing.assert_array_equal(
            mixed["s2_10m"][index], np.where(pasted[..., None], inputs["s2_10m"][other], inputs["s2_10m"][index])
        )
        coarse = cells.any(axis=(1, 3))
        np.testing.assert_array_equal(
            mixed["s2_60m"][index], np.where(coarse[..., None], inputs["s2_60m"][other], inputs["s2_60m"][index])
        )
        for name in ("land_cover_map", "elevation"):
            expected = np.where(pasted, targets[name][other], targets[name][index])
            np.testing.assert_array_equal(labels[name][index], expected)
        share = 1 - pasted.mean()
        areas.append(pasted.mean())
        pair = [targets["land_cover"][i] for i in (index, other)]
        np.testing.assert_allclose(labels["land_cover"][index], shares_by_hand(*pair, share), atol=1e-5)
        np.testing.assert_allclose(
            mixed["era5"][index], share * inputs["era5"][index] + (1 - share) * inputs["era5"][other], atol=1e-5
        )
    assert labels["land_cover_map"].dtype == np.int32
    assert min(areas) < 0.2
    assert max(areas) > 0.5


def test_the_window_of_cutmix_takes_the_share_that_was_drawn():
    """Of windows that no edge cuts off: their mean area is that of the shares, given that they fit."""
    x = np.zeros((6000, 60, 60, 1), "float32")
    x[::2] = 1
    mixed, _ = applied(cutmix(1.0), {"dem": x}, {})
    pasted = mixed["dem"][..., 0] != x[..., 0]
    rows, columns = pasted.any(axis=2), pasted.any(axis=1)
    whole = ~(rows[:, 0] | rows[:, -1] | columns[:, 0] | columns[:, -1]) & rows.any(axis=1)
    sides = np.stack([rows[whole].sum(axis=1), columns[whole].sum(axis=1)])
    assert np.abs(sides[0] - sides[1]).max() <= 1  # squares but for whole pixels
    # A window of side s (share s^2, uniform: density 2 s) lies wholly inside with probability (1 - s)^2.
    s = (np.arange(100_000) + 0.5) / 100_000
    density = 2 * s * (1 - s) ** 2
    expected = (s**2 * density).sum() / density.sum()
    assert abs(pasted[whole].mean() - expected) < 0.012


def test_a_share_of_nothing_brings_in_nothing_that_is_missing():
    season = np.where(np.arange(1000) % 2, np.nan, 0.5).astype("float32")
    mixed, labels = applied(mixup(0.05), {"era5": np.arange(1000, dtype="float32")[:, None] % 2}, {"season": season})
    untouched = (mixed["era5"][:, 0] == 0) & (np.arange(1000) % 2 == 0)
    assert untouched.sum() > 50
    assert (labels["season"][untouched] == 0.5).all()


def test_the_same_seed_mixes_alike_and_another_does_not():
    inputs, targets = batch(5)
    for mixing in (mixup(1.0), cutmix()):
        first, again, other = (
            next(applied(mixing, inputs, targets, seed))["s2_10m"] for seed in (SEED, SEED, tf.constant([3, 9]))
        )
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: mixup(0), "`alpha` must be"),
        (lambda: cutmix(-1.0), "`alpha` must be"),
        (lambda: applied(mixup(), {"s2_view_1": np.zeros((2, 3))}, {}), "views"),
        (lambda: applied(cutmix(), {"s2_view_1": np.zeros((2, 6, 6, 1), "float32")}, {}), "views"),
        (lambda: applied(cutmix(), {"era5": np.zeros((2, 8), "float32")}, {}), "raster"),
    ],
)
def test_what_cannot_be_mixed_is_refused(change, words):
    with pytest.raises(InvalidArgumentError, match=words):
        change()


# ---- In the pipeline, and through fit ------------------------------------------------------------------------------


@pytest.mark.parametrize("mixing", [mixup(), cutmix()])
def test_mixed_patches_train_every_kind_of_head(known_records, mixing):
    tasks = ("land_cover", "land_cover_map", "season", "labels", "land_cover_fractions")
    options = {"targets": tasks, "batch_size": 3}
    train = eo.make_dataset(
        known_records.path, "train", ("s1",), augment=random_crop(24), mix=mixing, shuffle=True, seed=0, **options
    )
    val = eo.make_dataset(known_records.path, "val", ("s1",), **options)
    heads = {
        "land_cover": eo.models.scene_head(11),
        "land_cover_map": eo.models.map_head(11),
        "season": eo.models.regression_head(),
        "labels": eo.models.scene_head(19),
        "land_cover_fractions": eo.models.scene_head(11),
    }
    model = eo.models.multitask(eo.models.unet((None, None, 2), width=2, name="s1"), heads)
    model.compile("adam", eo.losses.for_tasks(tasks), metrics=eo.metrics.for_tasks(tasks))
    history = model.fit(train, validation_data=val, epochs=1, verbose=0, shuffle=False).history
    assert all(np.isfinite(values).all() for values in history.values())
    assert eo.evaluate.score(model, train, eo.load_schema(known_records.path)).tasks  # reads the patches unmixed


def test_the_pipeline_mixes_what_it_would_have_given(known_records):
    options = {"targets": ("season",), "batch_size": 6, "calibrate": None}
    plain, mixed = (
        next(eo.make_dataset(known_records.path, "train", ("dem",), mix=mix, **options).as_numpy_iterator())
        for mix in (None, cutmix())
    )
    own, other = plain[0]["dem"], np.roll(plain[0]["dem"], 1, axis=0)
    pasted = mixed[0]["dem"] != own
    assert pasted.any()
    np.testing.assert_array_equal(mixed[0]["dem"], np.where(pasted, other, own))


def test_whole_numbers_have_no_mean(known_records):
    options = {"inputs": ("dem",), "calibrate": None, "resolution": "stored"}
    with pytest.raises(Exception, match=r"Mixup needs calibrated inputs.*dem \(int16\)"):  # TensorFlow wraps the error
        eo.make_dataset(known_records.path, "train", mix=mixup(), **options)


def test_views_are_not_mixed(known_records):
    two = views(random_crop(24), random_crop(24))
    with pytest.raises(Exception, match="Patches cannot be mixed"):  # TensorFlow wraps the error
        eo.make_dataset(known_records.path, "train", ("s1",), augment=two, mix=mixup())


# ---- Losses and metrics of shares ----------------------------------------------------------------------------------


def by_hand(shares, logits):
    """Cross-entropy of shares, averaged over what is labelled, element by element."""
    total = labelled = 0.0
    for row, scores in zip(shares.reshape(-1, shares.shape[-1]), logits.reshape(-1, logits.shape[-1]), strict=True):
        logs = scores - np.log(np.exp(scores).sum())
        total -= float((row * logs).sum())
        labelled += float(row.sum())
    return total / labelled


def test_few_shares_have_the_loss_of_many():
    loss = eo.losses.LabelledCrossentropy()(np.array([[0.25, 0.0], [0.0, 0.0]], "float32"), np.zeros((2, 2), "float32"))
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-6)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 3)])
def test_crossentropy_of_shares(shape):
    random = np.random.default_rng(1)
    logits = random.normal(size=(*shape, 4)).astype("float32")
    shares = random.dirichlet(np.ones(4), shape).astype("float32")
    shares[0] *= 0.3  # most of it has no label
    shares[1] = 0
    loss = eo.losses.LabelledCrossentropy()
    np.testing.assert_allclose(loss(shares, logits), by_hand(shares, logits), rtol=1e-5)
    weights = np.array([1.0, 2.0, 0.5, 3.0], "float32")
    total = -(shares * weights * np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))).sum() / shares.sum()
    np.testing.assert_allclose(eo.losses.LabelledCrossentropy(weights)(shares, logits), total, rtol=1e-5)


def test_shares_of_one_class_are_its_id():
    random = np.random.default_rng(2)
    logits = random.normal(size=(4, 3, 3, 5)).astype("float32")
    ids = random.integers(0, 5, (4, 3, 3))
    ids[0, 0] = VOID
    shares = np.where(ids[..., None] == np.arange(5), 1.0, 0.0).astype("float32")
    losses = eo.losses
    for loss in (losses.LabelledCrossentropy(), losses.LabelledFocalCrossentropy(), losses.LabelledDice()):
        np.testing.assert_allclose(loss(ids, logits), loss(shares, logits), rtol=1e-5, err_msg=loss.name)
    for metric in (eo.metrics.Accuracy(5), eo.metrics.MeanIoU(5), eo.metrics.ConfusionMatrix(5)):
        results = []
        for reference in (ids, shares):
            metric.reset_state()
            metric.update_state(reference, logits)
            results.append(keras.ops.convert_to_numpy(metric.result()))
        np.testing.assert_array_equal(*results)
