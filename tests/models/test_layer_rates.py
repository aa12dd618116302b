"""Layers of a pretrained encoder learn at rates of their own."""

import keras
import numpy as np
import pytest

from eokeras.errors import InvalidArgumentError
from eokeras.models import LayerwiseAdamW, late_fusion, layer_rates, multitask, scene_head, unet, unet_encoder
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


def test_two_encoders_of_one_kind_are_told_apart():
    encoders = {name: unet((16, 16, 3), width=1, name=name) for name in ("s2", "s1")}
    model = multitask(late_fusion(encoders), {"climate_zone": scene_head(12)})
    optimizer = LayerwiseAdamW(layer_rates(encoders["s1"], first=0.0625, last=0.0625))
    with pytest.raises(InvalidArgumentError, match="give `layer_rates` the `model` that is trained"):
        optimizer.build(model.trainable_variables)
    optimizer = LayerwiseAdamW(layer_rates(encoders["s1"], 0.0625, 0.0625, model), learning_rate=0.5, decay=0.0)
    before = model.get_weights()
    optimizer.apply([np.ones(weight.shape, "float32") for weight in model.trainable_weights], model.trainable_weights)
    own = {id(weight) for weight in encoders["s1"].trainable_weights}
    for weight, old in zip(model.weights, before, strict=True):
        if weight.trainable:
            np.testing.assert_allclose(old - np.array(weight), 0.03125 if id(weight) in own else 0.5, rtol=1e-4)


def test_rates_of_two_encoders_are_refused_beside_a_third():
    encoders = {name: unet((16, 16, 3), width=1, name=name) for name in ("s2", "s1", "dem")}
    two = late_fusion({name: encoders[name] for name in ("s2", "s1")})
    three = multitask(late_fusion(encoders), {"climate_zone": scene_head(12)})
    with pytest.raises(InvalidArgumentError, match="which are none"):
        LayerwiseAdamW(layer_rates(two)).build(three.trainable_variables)


def test_an_encoder_that_trains_nothing_is_refused():
    encoder = chain(2)
    encoder.trainable = False
    with pytest.raises(InvalidArgumentError, match=r"`encoder` must train weights.*Received: 0 weights"):
        layer_rates(encoder)
    with pytest.raises(InvalidArgumentError, match="which are those of `model`"):
        layer_rates(chain(2), model=chain(2, 2))


def test_a_second_decay_is_refused_and_exclusions_count():
    with pytest.raises(InvalidArgumentError, match="`decay` must be given and not `weight_decay`"):
        LayerwiseAdamW({}, weight_decay=0.1)
    model = chain(2)
    for weight in model.trainable_weights:
        weight.assign(np.full(weight.shape, 2.0))
    optimizer = LayerwiseAdamW({}, learning_rate=0.5, decay=0.2)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    found = steps(optimizer, model, [np.ones(weight.shape, "float32") for weight in model.trainable_weights])
    np.testing.assert_allclose(found["a/bias"], -0.5, rtol=1e-4)
    np.testing.assert_allclose(found["a/kernel"], -0.5 - 2.0 * 0.5 * 0.2, rtol=1e-4)


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
