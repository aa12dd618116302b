"""Every kind of model trains under mixed precision and with accumulated gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import eokeras as eo
from eokeras import models, pretrain
from tests.checks import dtype_policy, to_numpy

SIZE, PATCHES = 32, 4
RATE, DECAY, EPSILON = 0.1, 0.5, 1e-2  # so large that each shows in one step
TARGETS = {
    "climate_zone": np.array([3, 0, 5, 3], "int32"),
    "land_cover_map": np.random.default_rng(1).integers(0, 11, (PATCHES, SIZE, SIZE)).astype("int32"),
    "season": np.array([0.2, 0.9, 0.4, 0.7], "float32"),
}
HEADS = {
    "climate_zone": models.scene_head(12),
    "land_cover_map": models.map_head(11),
    "season": models.regression_head(),
}


def with_heads(backbone, *tasks):
    return models.multitask(backbone, {task: HEADS[task] for task in tasks})


def small_vit():
    return models.vit((SIZE, SIZE, 3), patch_size=8, width=8, depth=1, heads=2, mlp_width=12, name="s2")


def fusion():
    encoders = {name: models.unet((SIZE, SIZE, 3), width=2, name=name) for name in ("s2", "s1")}
    return with_heads(models.late_fusion(encoders), *HEADS)


def vit():
    return with_heads(small_vit(), *HEADS)


def resnet():
    return with_heads(models.resnet((SIZE, SIZE, 3), width=2, name="s2"), "climate_zone")


def simclr():
    return pretrain.ContrastivePretrainer(models.unet_encoder((SIZE, SIZE, 3), width=2, name="s2"), projection=(8, 4))


def mae():
    return pretrain.MaskedAutoencoder(
        small_vit(), decoder_width=8, decoder_depth=1, decoder_heads=2, decoder_mlp_width=12, seed=0
    )


def mae_with_one_mask():
    """The same patches hidden in every image, so that halves of a batch have the masks of the whole."""
    model = mae()
    order = np.random.default_rng(3).permutation(16)[None, None].astype("int32")
    model.draw_orders = lambda inputs, seed: keras.ops.repeat(order, inputs["s2"].shape[0], axis=0)
    return model


KINDS = [fusion, vit, resnet, simclr, mae]


def made(build, optimizer):
    """A compiled model, equal for every call, and what it learns from."""
    keras.utils.set_random_seed(0)
    model = build()
    rng = np.random.default_rng(0)
    names = ("s2_view_1", "s2_view_2") if build is simclr else [tensor.name for tensor in inputs_of(model)]
    x = {name: rng.normal(size=(PATCHES, SIZE, SIZE, 3)).astype("float32") for name in names}
    tasks = (
        () if isinstance(model, pretrain.MaskedAutoencoder | pretrain.ContrastivePretrainer) else tuple(model.output)
    )
    model.compile(optimizer, loss=eo.losses.for_tasks(tasks) if tasks else None)
    return model, x, {task: TARGETS[task] for task in tasks}


def inputs_of(model):
    return model.encoder.inputs if isinstance(model, pretrain.MaskedAutoencoder) else model.inputs


def adamw(**options):
    return keras.optimizers.AdamW(RATE, weight_decay=DECAY, epsilon=EPSILON, **options)


def fit(model, x, y, batch_size, **options):
    return model.fit(x, y or None, batch_size=batch_size, shuffle=False, verbose=0, **options).history["loss"]


def trained(model):
    return [np.array(to_numpy(weight.value)) for weight in model.trainable_variables]


def largest_difference(some, others):
    return max(np.abs(a - b).max() for a, b in zip(some, others, strict=True))


def part(structure, rows):
    return {name: values[rows] for name, values in structure.items()}


# ------------------------------------------------------------------------------- gradient accumulation


def gradients(model, x, y):
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=x, y=y or None, y_pred=model(x, training=True), training=True)
    return tape.gradient(loss, [weight.value for weight in model.trainable_variables])


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("build", KINDS)
def test_accumulated_gradients_are_a_step_with_their_mean(build):
    model, x, y = made(build, adamw(gradient_accumulation_steps=2))
    before = trained(model)
    fit(model, part(x, slice(0, 2)), part(y, slice(0, 2)), 2)
    assert largest_difference(trained(model), before) == 0  # it waits, weight decay too
    fit(model, part(x, slice(2, 4)), part(y, slice(2, 4)), 2)

    other, x, y = made(build, adamw())
    halves = [gradients(other, part(x, rows), part(y, rows)) for rows in (slice(0, 2), slice(2, 4))]
    pairs = [(one, two) for one, two in zip(*halves, strict=True) if one is not None]
    known = [weight for weight, one in zip(other.trainable_variables, halves[0], strict=True) if one is not None]
    other.optimizer.build(other.trainable_variables)
    other.optimizer.apply([(one + two) / 2 for one, two in pairs], known)
    assert largest_difference(trained(other), before) > 0.01
    assert largest_difference(trained(model), trained(other)) < 1e-5


@pytest.mark.parametrize("build", [vit, mae_with_one_mask])
def test_two_half_batches_are_one_batch_where_nothing_is_normalised_over_it(build):
    halves, x, y = made(build, adamw(gradient_accumulation_steps=2))
    before = trained(halves)
    fit(halves, x, y, PATCHES // 2, epochs=2)
    whole, x, y = made(build, adamw())
    fit(whole, x, y, PATCHES, epochs=2)
    assert largest_difference(trained(whole), before) > 0.01
    assert largest_difference(trained(halves), trained(whole)) < 1e-5


# ------------------------------------------------------------------------------------- mixed precision


def step(build, policy):
    """Loss of a step, and by how much it moves the weights."""
    with dtype_policy(policy):
        model, x, y = made(build, sgd(policy))
    before = trained(model)
    (loss,) = fit(model, x, y, PATCHES)
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}
    return loss, np.concatenate([(b - a).ravel() for a, b in zip(before, trained(model), strict=True)])


def sgd(policy):
    """With a scale of the loss that float16 bears from the first step on; Keras begins at 32768 and halves it."""
    optimizer = keras.optimizers.SGD(RATE)
    is_scaled = policy == "mixed_float16"
    return keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=64) if is_scaled else optimizer


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("build", KINDS)
def test_mixed_precision_takes_the_step_of_float32_but_for_rounding(build):
    expected, movement = step(build, "float32")
    # bfloat16 rounds to 8 bits, which shows in networks so narrow that normalise over so few numbers.
    for policy, rounding, cosine, length in (("mixed_bfloat16", 0.1, 0.7, 0.2), ("mixed_float16", 0.05, 0.99, 0.02)):
        loss, own = step(build, policy)
        assert loss == pytest.approx(expected, rel=rounding)
        assert own @ movement > cosine * np.linalg.norm(own) * np.linalg.norm(movement)
        assert np.linalg.norm(own) == pytest.approx(np.linalg.norm(movement), rel=length)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_learns_in_a_graph(policy):
    with dtype_policy(policy):
        model, x, y = made(vit, sgd(policy))
    losses = fit(model, x, y, PATCHES, epochs=4)
    assert losses[-1] < losses[0]
