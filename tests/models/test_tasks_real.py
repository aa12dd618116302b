"""Three heads on one backbone and real pixels: learned by heart, exported, and served as they are."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

import eokeras as eo
from eokeras import models

HEADS = {
    "climate_zone": models.scene_head(12),
    "land_cover_map": models.map_head(11),
    "season": models.regression_head(),
}
TASKS = tuple(HEADS)
INPUTS = ("s2", "s1")


def shared_decoder(schema):
    """Early fusion into one U-Net, which the heads share to its end."""
    shapes = {name: schema[name].shape for name in INPUTS}
    return models.multitask(models.early_fusion(shapes, partial(models.unet, width=8)), HEADS)


def private_decoder(schema):
    """Middle fusion of the contracting paths; the map has a decoder of its own, the scenes read the bottom."""
    encoders = {name: models.unet_encoder(schema[name].shape, width=6, name=name) for name in INPUTS}
    heads = HEADS | {"climate_zone": models.scene_head(12, level="stride_16")}
    decoders = {"land_cover_map": models.unet_decoder(6)}
    return models.multitask(models.middle_fusion(encoders), heads, decoders=decoders)


@pytest.fixture(scope="module")
def real_records(real_data, tmp_path_factory):
    return eo.ben_ge.convert(real_data / "ben-ge-mini", tmp_path_factory.mktemp("real") / "records")


def first_batch(records, **options):
    """Eight patches, of each the same window of 24 x 24 pixels whatever the options."""
    augment = eo.augment.random_crop(24)
    return eo.make_dataset(records, "train", INPUTS, TASKS, batch_size=8, augment=augment, seed=0, **options).take(1)


@pytest.mark.slow
@pytest.mark.parametrize("build", [shared_decoder, private_decoder])
def test_three_heads_learn_eight_patches_by_heart_and_are_served(real_records, tmp_path, build):
    schema = eo.load_schema(real_records)
    batch = first_batch(real_records).cache()
    ((inputs, targets),) = batch
    ((stored, _),) = first_batch(real_records, calibrate=None)  # before the global seed, which moves the windows too
    keras.utils.set_random_seed(0)
    model = build(schema)
    model.compile(keras.optimizers.Adam(1e-2), eo.losses.for_tasks(TASKS, schema))
    history = model.fit(batch.repeat(300), epochs=1, steps_per_epoch=300, verbose=0, shuffle=False).history
    assert np.isfinite(history["loss"]).all()

    found = model.predict(inputs, verbose=0)
    reference = targets["land_cover_map"].numpy()
    labelled = reference != eo.ben_ge.schema.VOID
    assert (found["land_cover_map"].argmax(-1) == reference)[labelled].mean() > 0.95
    np.testing.assert_array_equal(found["climate_zone"].argmax(-1), targets["climate_zone"])
    assert np.abs(found["season"][:, 0] - targets["season"]).max() < 0.2

    path = eo.export(model, tmp_path / "model", schema)
    loaded = tf.saved_model.load(path)
    served = {name: values.numpy() for name, values in loaded.serve(dict(stored)).items()}
    for task in ("climate_zone", "land_cover_map"):
        np.testing.assert_allclose(served[f"{task}_probabilities"], softmax(found[task], -1), atol=1e-3)
        np.testing.assert_array_equal(served[task], found[task].argmax(-1))
    np.testing.assert_allclose(served["season"], found["season"][:, 0], atol=1e-3)
