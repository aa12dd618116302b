"""FiLM and missing modalities: identity where nothing is learned or missing, by hand where it is."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from eokeras.errors import InvalidArgumentError
from eokeras.models import unet_decoder, unet_encoder
from eokeras.models.fusion import drop_modality, early_fusion, film, late_fusion, middle_fusion
from tests.checks import assert_same, small_encoder, to_numpy
from tests.models.fusion_cases import KINDS, data, dense_branch, encoders, shake

INPUTS = data(2)
SCALARS = {"era5": (3,), "lonlat": (2,)}
INPUTS["lonlat"] = np.random.default_rng(3).normal(size=(2, 2)).astype("float32")

# ------------------------------------------------------------------------------ film


@pytest.mark.parametrize(
    "build", [lambda: small_encoder((16, 16, 2), "s2"), lambda: late_fusion(encoders(names=("s2", "s1")))]
)
def test_an_untrained_film_is_its_encoder(build):
    encoder = build()
    model = film(encoder, SCALARS)
    assert [x.name for x in model.inputs] == [*(x.name for x in encoder.inputs), "era5", "lonlat"]
    assert_same(to_numpy(model(INPUTS)), to_numpy(encoder(INPUTS)), rtol=1e-6, atol=1e-6)


def test_film_scales_and_shifts_every_channel():
    encoder = small_encoder((16, 16, 2), "s2")
    model = shake(film(encoder, SCALARS, units=7))
    kernel, bias = model.get_layer("condition").get_weights()
    assert kernel.shape == (5, 7)
    condition = np.maximum(np.concatenate([INPUTS["era5"], INPUTS["lonlat"]], axis=-1) @ kernel + bias, 0)
    steered, features = to_numpy(model(INPUTS)), to_numpy(encoder(INPUTS))
    for level, h in features.items():
        gamma, beta = (
            condition @ weights + bias
            for weights, bias in (model.get_layer(f"{factor}_{level}").get_weights() for factor in ("gamma", "beta"))
        )
        by_hand = np.empty_like(h)
        for patch in range(2):
            for channel in range(3):
                by_hand[patch, :, :, channel] = (1 + gamma[patch, channel]) * h[patch, :, :, channel] + beta[
                    patch, channel
                ]
        assert np.abs(by_hand - h).max() > 0.1
        np.testing.assert_allclose(steered[level], by_hand, rtol=1e-4, atol=1e-5)


def test_film_learns_from_its_start():
    """gamma and beta start at zero, so the hidden layer learns from the second step on."""
    model = film(small_encoder((16, 16, 2), "s2"), SCALARS)
    before = [weight.copy() for weight in model.get_weights()]
    model.compile(keras.optimizers.SGD(0.5), loss={"stride_1": "mse", "stride_2": "mse"}, run_eagerly=True)
    targets = {name: np.ones((2, *x.shape[1:]), "float32") for name, x in model.output.items()}
    model.fit(INPUTS, targets, epochs=2, verbose=0)
    changed = [np.abs(after - first).max() for after, first in zip(model.get_weights(), before, strict=True)]
    assert min(changed) > 0


def test_film_steers_what_the_decoder_reads():
    model = film(unet_encoder((16, 16, 2), width=2, name="s2"), {"era5": (3,)}, unet_decoder(width=2))
    assert {name: x.shape for name, x in model.output.items()} == {
        f"stride_{stride}": (None, 16 // stride, 16 // stride, channels)
        for stride, channels in {1: 2, 2: 2, 4: 4, 8: 8, 16: 16}.items()
    }
    shake(model)
    levels, other = to_numpy(model(INPUTS)), to_numpy(model(INPUTS | {"era5": INPUTS["era5"] + 1}))
    assert np.abs(other["stride_1"] - levels["stride_1"]).max() > 1e-4


def test_scalars_steer_scalars_too():
    model = shake(film(dense_branch(), {"lonlat": (2,)}))
    assert to_numpy(model(INPUTS))["vector"].shape == (2, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": None}, "`encoder` must be a functional model"),
        ({"shapes": {}}, "`shapes` must be a dict of scalar input"),
        ({"shapes": {"s1": (16, 16, 2)}}, r"`shapes\['s1'\]` must be \(channels,\)\. Received: \(16, 16, 2\)"),
        ({"shapes": {"era5": (None,)}}, r"`shapes\['era5'\]\[0\]` must be a positive integer"),
        ({"shapes": {"s2": (3,)}}, "`shapes` must not name an input of the encoder. Received: 's2'"),
        ({"units": 0}, "`units` must be a positive integer. Received: units=0"),
        ({"decoder": "unet"}, "`decoder` must be a function"),
        ({"encoder": dense_branch(), "shapes": {"lonlat": (2,)}, "decoder": unet_decoder(2)}, "maps to decode"),
    ],
)
def test_film_refuses(arguments, message):
    fitting = {"encoder": small_encoder((16, 16, 2), "s2"), "shapes": {"era5": (3,)}}
    with pytest.raises(InvalidArgumentError, match=message):
        film(**(fitting | arguments))


# -------------------------------------------------------------------- missing modalities


@pytest.mark.parametrize("kind", ["early", "late", "middle", "gated", "attention", "film"])
def test_with_all_present_a_backbone_is_itself_at_inference(kind):
    backbone = shake(KINDS[kind]())
    model = drop_modality(backbone, rate=0.5)
    assert model.get_layer(backbone.name) is backbone
    assert_same(to_numpy(model(INPUTS)), to_numpy(backbone(INPUTS)), rtol=1e-6, atol=1e-6)
    assert_same(to_numpy(model(INPUTS, training=False)), to_numpy(backbone(INPUTS)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["early", "late", "middle", "gated", "attention", "film"])
def test_what_a_missing_modality_holds_changes_nothing(kind):
    model = drop_modality(shake(KINDS[kind]()))
    for name in [x.name for x in model.inputs if not x.name.endswith("_present")]:
        missing = INPUTS | {f"{name}_present": np.array([[0.0], [1.0]], "float32")}
        filled = {"zero": 0.0, "nan": np.nan, "large": 1e6}
        answers = {}
        for what, number in filled.items():
            values = INPUTS[name].copy()
            values[0] = number
            answers[what] = to_numpy(model(missing | {name: values}))
        for levels in answers.values():
            assert_same(levels, answers["zero"], rtol=0, atol=0)
        whole = to_numpy(model(INPUTS))["stride_1"]
        assert np.abs(answers["zero"]["stride_1"][0] - whole[0]).max() > 1e-3
        np.testing.assert_allclose(answers["zero"]["stride_1"][1], whole[1], rtol=1e-4, atol=1e-5)


def passed_on(name, level, size):
    """An encoder whose one level is its input."""
    inputs = keras.Input((size, size, 1), name=name)
    return keras.Model([inputs], {level: keras.layers.Identity()(inputs)}, name=f"{name}_passed_on")


def test_stored_bands_of_sentinel_2_come_and_go_together():
    groups = {"s2_10m": 4, "s2_20m": 4, "s1": 4, "s1_mask": 4}
    backbone = late_fusion({name: passed_on(name, "stride_1", size) for name, size in groups.items()})
    model = drop_modality(backbone, rate=0.4)
    assert [x.name for x in model.inputs] == [*groups, "s2_present", "s1_present"]

    patches = 3000
    inputs = {name: np.ones((patches, 4, 4, 1), "float32") for name in groups}
    present = {name: np.ones((patches, 1), "float32") for name in ("s2_present", "s1_present")}
    keras.utils.set_random_seed(0)
    shown = to_numpy(model(inputs | present, training=True))["stride_1"]
    assert set(np.unique(shown)) == {0, 1}
    assert (shown == shown[:, :1, :1]).all()  # whole patches
    s2_10m, s2_20m, s1, s1_mask = shown[:, 0, 0].T
    np.testing.assert_array_equal(s2_10m, s2_20m)
    np.testing.assert_array_equal(s1, s1_mask)
    assert (s2_10m + s1).min() == 1
    # Dropped alone: both draws below the rate and this one the smaller, or this one alone below it.
    expected = 0.4 * 0.6 + 0.4**2 / 2
    assert 1 - s2_10m.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / patches))
    assert 1 - s1.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / patches))
    assert (to_numpy(model(inputs | present))["stride_1"] == 1).all()


def test_a_model_that_drops_learns_through_it():
    model = drop_modality(early_fusion(dict.fromkeys(("s2", "s1"), (16, 16, 2)), small_encoder), rate=0.5)
    inputs = {x.name: tf.constant(INPUTS[x.name]) for x in model.inputs}
    inputs["s1"] = tf.where(tf.range(2)[:, None, None, None] == 0, np.nan, inputs["s1"])
    inputs["s1_present"] = tf.constant([[0.0], [1.0]])
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_mean(tf.square(level)) for level in model(inputs, training=True).values())
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_variables])
    assert all(np.isfinite(gradient).all() and np.abs(gradient).max() > 0 for gradient in gradients)


def test_drop_modality_refuses():
    with pytest.raises(InvalidArgumentError, match="`backbone` must be a functional model"):
        drop_modality(None)
    backbone = drop_modality(middle_fusion(encoders()))
    with pytest.raises(
        InvalidArgumentError, match=r"no presence inputs yet\. Received: era5_present, s1_present, s2_present"
    ):
        drop_modality(backbone)
    with pytest.raises(InvalidArgumentError, match="`rate` must be"):
        drop_modality(middle_fusion(encoders()), rate=1.0)
