"""Layers of a pretrained encoder learn at rates of their own."""

import keras
import numpy as np
import pytest

from eokeras.errors import InvalidArgumentError
from eokeras.models import LayerwiseAdamW, layer_rates, multitask, scene_head, unet, unet_encoder
from tests.checks import assert_same


def chain(*units):
    """A model of dense layers, named a, b, ..."""
    x = inputs = keras.Input((3,), name="x")
    for letter, count in zip("abcdef", units, strict=False):
        x = keras.layers.Dense(count, name=letter)(x)
    return keras.Model(inputs, x)


def test_factors_grow_by_one_ratio_from_layer_to_layer():
    rates = layer_rates(chain(2, 2, 2), first=0.01, last=1.0)
    assert rates == pytest.approx(
        {"a/kernel": 0.01, "a/bias": 0.01, "b/kernel": 0.1, "b/bias": 0.1, "c/kernel": 1.0, "c/bias": 1.0}
    )
    assert layer_rates(chain(2), first=0.01) == {"a/kernel": 1.0, "a/bias": 1.0}


def test_every_weight_of_an_encoder_has_a_factor_and_only_those():
    encoder = unet((16, 16, 3), width=2, name="s2")
    model = multitask(encoder, {"climate_zone": scene_head(12)})
    rates = layer_rates(encoder)
    assert set(rates) == {weight.path for weight in encoder.trainable_weights}
    assert len(rates) == len(encoder.trainable_weights)  # no path twice
    assert set(rates) < {weight.path for weight in model.trainable_weights}


def steps(optimizer, model, gradients):
    """The change of every weight in one step."""
    before = [np.array(weight) for weight in model.trainable_weights]
    optimizer.apply(gradients, model.trainable_weights)
    return {weight.path: np.array(weight) - old for weight, old in zip(model.trainable_weights, before, strict=True)}


def test_the_first_step_has_the_size_of_its_rate():
    # Adam's first step is rate * sign(gradient), whatever the gradient's size.
    model = chain(2, 2)
    gradients = [np.full(weight.shape, 7.0, "float32") for weight in model.trainable_weights]
    found = steps(LayerwiseAdamW(layer_rates(model, 0.01), learning_rate=0.5, decay=0.0), model, gradients)
    for path, size in {"a/kernel": 0.005, "a/bias": 0.005, "b/kernel": 0.5, "b/bias": 0.5}.items():
        np.testing.assert_allclose(found[path], -size, rtol=1e-4)


def test_the_decay_follows_the_rate():
    model = chain(2, 2)
    for weight in model.trainable_weights:
        weight.assign(np.full(weight.shape, 2.0))
    gradients = [np.full(weight.shape, 1.0, "float32") for weight in model.trainable_weights]
    found = steps(LayerwiseAdamW({"a/kernel": 0.1}, learning_rate=0.5, decay=0.2), model, gradients)
    np.testing.assert_allclose(found["a/kernel"], -0.05 - 2.0 * 0.05 * 0.2, rtol=1e-4)
    np.testing.assert_allclose(found["b/kernel"], -0.5 - 2.0 * 0.5 * 0.2, rtol=1e-4)


def test_a_factor_of_0_freezes():
    model = chain(2, 2)
    gradients = [np.full(weight.shape, 1.0, "float32") for weight in model.trainable_weights]
    found = steps(LayerwiseAdamW({"a/kernel": 0.0}, learning_rate=0.5), model, gradients)
    assert not found["a/kernel"].any()
    assert found["a/bias"].all()


def test_without_factors_it_is_adamw():
    ours, theirs = chain(4, 2), chain(4, 2)
    theirs.set_weights(ours.get_weights())
    random = np.random.default_rng(0)
    x, y = random.normal(size=(32, 3)), random.normal(size=(32, 2))
    for model, optimizer in (
        (ours, LayerwiseAdamW({}, 0.01, decay=0.1)),
        (theirs, keras.optimizers.AdamW(0.01, weight_decay=0.1)),
    ):
        model.compile(optimizer, "mse")
        model.fit(x, y, epochs=3, batch_size=8, shuffle=False, verbose=0)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_same(one, other, rtol=1e-5, atol=1e-6)


def test_it_is_saved_with_its_model(tmp_path):
    encoder = unet_encoder((16, 16, 3), width=2, name="s2")
    model = multitask(encoder, {"climate_zone": scene_head(12)})
    model.compile(LayerwiseAdamW(layer_rates(encoder, 0.1), 0.01, decay=0.1), {"climate_zone": "mse"})
    x, y = {"s2": np.ones((4, 16, 16, 3))}, {"climate_zone": np.zeros((4, 12))}
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.rates == model.optimizer.rates
    for each in (model, loaded):
        each.fit(x, y, verbose=0)
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: layer_rates(chain(2), first=0), "`first` must be a finite number above 0"),
        (lambda: layer_rates(keras.Sequential()), "`encoder` must be a built model"),
        (lambda: LayerwiseAdamW([0.1]), "`rates` must be a dict"),
        (lambda: LayerwiseAdamW({"a": -1}), r"`rates\['a'\]` must be a finite number of 0 or more"),
        (lambda: LayerwiseAdamW({}, decay=None), "`decay` must be a finite number"),
        (
            lambda: LayerwiseAdamW({"z/kernel": 0.1}).build(chain(2).trainable_weights),
            r"`rates` must name weights that are trained. Received: \['z/kernel'\]",
        ),
    ],
)
def test_bad_arguments_name_the_rule(make, words):
    with pytest.raises(InvalidArgumentError, match=words):
        make()
