"""What each task has of its own: level, decoder, the reach of its gradient; and models of one task."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from eokeras.errors import InvalidArgumentError
from eokeras.losses import for_tasks
from eokeras.models import (
    dense_regression_head,
    map_head,
    middle_fusion,
    multitask,
    regression_head,
    scene_head,
    single_task_twins,
    unet,
    unet_decoder,
    unet_encoder,
)
from tests.checks import check_gradients, check_model, check_saved_model, count_trainable, dtype_policy, small_encoder

RNG = np.random.default_rng(0)
SHAPE = (32, 32, 2)
INPUTS = {name: RNG.normal(size=(2, *SHAPE)).astype("float32") for name in ("s1", "s2")}
TARGETS = {
    "climate_zone": np.array([0, 11], "int32"),
    "land_cover_map": RNG.integers(0, 11, (2, 32, 32)).astype("int32"),
    "season": np.array([0.5, 1.0], "float32"),
    "elevation": RNG.normal(0, 20, (2, 32, 32)).astype("float32"),
}
SHAPES = {"climate_zone": (2, 12), "land_cover_map": (2, 32, 32, 11), "season": (2, 1), "elevation": (2, 32, 32, 1)}


def heads():
    return {
        "climate_zone": scene_head(12, level="stride_16"),
        "land_cover_map": map_head(11),
        "season": regression_head(level="stride_4"),
        "elevation": dense_regression_head(scale=20.0),
    }


def private():
    """Shared contracting path; a decoder for each map, of different widths; scenes read the path itself."""
    decoders = {"land_cover_map": unet_decoder(2), "elevation": unet_decoder(1)}
    return multitask(unet_encoder(SHAPE, width=2, name="s2"), heads(), decoders=decoders)


def fused():
    backbone = middle_fusion({name: small_encoder(SHAPE, name) for name in ("s2", "s1")})
    chosen = {"climate_zone": scene_head(12, level="stride_2"), "elevation": dense_regression_head()}
    return multitask(backbone, chosen, decoders=dict.fromkeys(chosen, unet_decoder(2)), stop_gradient=["elevation"])


def weights_by_part(model):
    """Trainable weights of the shared backbone, and by the first word of the layer for the rest."""
    parts = {}
    for layer in model.layers:
        if layer.trainable_variables:
            task = next((task for task in TARGETS if layer.name.startswith(task)), "shared")
            kind = "decoder" if "_decoder_" in layer.name else "head"
            parts.setdefault("shared" if task == "shared" else f"{task} {kind}", []).extend(layer.trainable_variables)
    return parts


def reached(model, task):
    """Parts of the model whose kernels get a gradient other than 0 from the loss of one task."""
    loss = for_tasks([task])[task]
    with tf.GradientTape(persistent=True) as tape:
        value = loss(TARGETS[task], model(INPUTS, training=True)[task])
    found = set()
    for part, weights in weights_by_part(model).items():
        gradients = tape.gradient(value, [weight.value for weight in weights])
        if any(gradient is not None and np.abs(gradient).max() > 0 for gradient in gradients):
            found.add(part)
    return found


# ------------------------------------------------------------------------- contract


@pytest.mark.parametrize("build", [private, fused])
def test_private_decoders_hold_the_contract(build, tmp_path):
    shapes = SHAPES if build is private else {name: SHAPES[name] for name in ("climate_zone", "elevation")}
    check_model(build, INPUTS, shapes, tmp_path)


def test_private_decoders_are_exported_with_unknown_sizes(tmp_path):
    decoders = {"land_cover_map": unet_decoder(1), "elevation": unet_decoder(1)}
    model = multitask(unet_encoder((None, None, 2), width=1, name="s2"), heads(), decoders=decoders)
    check_saved_model(model, {"s2": RNG.normal(size=(1, 37, 33, 2)).astype("float32")}, tmp_path)


def test_every_weight_is_reached_without_a_stop():
    check_gradients(private(), INPUTS)


# ----------------------------------------------------------------------------- levels


def test_each_head_reads_its_own_level():
    model = multitask(unet(SHAPE, width=3, name="s2"), heads())
    channels = {task: model.get_layer(task).get_weights()[0].shape[-2] for task in ("climate_zone", "season")}
    assert channels == {"climate_zone": 8 * 3, "season": 2 * 3}  # of stride_16, the bottom, and of stride_4
    # A head on the bottom trains no decoder: kernels of both paths by the names of their layers.
    with tf.GradientTape() as tape:
        value = for_tasks(["climate_zone"])["climate_zone"](TARGETS["climate_zone"], model(INPUTS)["climate_zone"])
    kernels = [weight for weight in model.get_layer("s2_unet").trainable_variables if weight.name == "kernel"]
    gradients = tape.gradient(value, [weight.value for weight in kernels])
    pairs = zip(kernels, gradients, strict=True)
    trained = {weight.path.split("/")[-2].split("_")[0] for weight, gradient in pairs if gradient is not None}
    assert trained == {"encoder"}


def test_dense_regression_is_a_scaled_linear_map_of_every_pixel():
    levels = {"stride_1": keras.Input((4, 4, 3), name="stride_1")}
    x = RNG.normal(size=(1, 4, 4, 3)).astype("float32")
    for scale, layer in ((20.0, "elevation_unscaled"), (1.0, "elevation")):
        model = keras.Model(list(levels.values()), dense_regression_head(scale=scale)(levels, name="elevation"))
        kernel, bias = model.get_layer(layer).get_weights()
        np.testing.assert_allclose(model({"stride_1": x}), scale * (x @ kernel[0, 0] + bias), rtol=1e-5, atol=1e-5)
        assert model.layers[-1].name == "elevation"


def test_dense_regression_of_a_coarser_level_has_the_size_of_the_input_and_float32():
    with dtype_policy("mixed_bfloat16"):
        output = dense_regression_head(level="stride_4", scale=2)(unet(SHAPE, width=1).output, name="elevation")
    assert (output.shape, output.dtype) == ((None, 32, 32, 1), "float32")


# ---------------------------------------------------------------------- stop-gradient


def test_a_stopped_task_trains_its_head_alone():
    model = multitask(unet(SHAPE, width=1, name="s2"), heads(), stop_gradient=("season",))
    assert reached(model, "season") == {"season head"}
    assert reached(model, "land_cover_map") == {"land_cover_map head", "shared"}


def test_a_stopped_task_trains_its_decoder_too():
    decoders = {"land_cover_map": unet_decoder(1), "elevation": unet_decoder(1)}
    model = multitask(unet_encoder(SHAPE, width=1, name="s2"), heads(), decoders=decoders, stop_gradient=["elevation"])
    assert reached(model, "elevation") == {"elevation head", "elevation decoder"}
    assert reached(model, "land_cover_map") == {"land_cover_map head", "land_cover_map decoder", "shared"}
    assert reached(model, "climate_zone") == {"climate_zone head", "shared"}


def test_a_stop_changes_no_answer_and_survives_saving(tmp_path):
    encoder = unet(SHAPE, width=1, name="s2")
    stopped = multitask(encoder, {"season": regression_head()}, stop_gradient=("season",))
    free = multitask(encoder, {"season": regression_head()})
    free.set_weights(stopped.get_weights())
    np.testing.assert_allclose(stopped(INPUTS)["season"], free(INPUTS)["season"], rtol=1e-6)
    stopped.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    assert reached(reloaded, "season") == {"season head"}
    assert reached(free, "season") == {"season head", "shared"}


# ---------------------------------------------------------------- weights by hand


def convolutions(inputs, middle, outputs):
    """Two 3x3 convolutions with bias, each with a batch normalisation (scale and shift)."""
    return 9 * inputs * middle + 3 * middle + 9 * middle * outputs + 3 * outputs


def decoder_weights(width, skips):
    """The expanding path on levels of `skips` channels, finest first: joined, halved, convolved."""
    *skips, x = skips
    total = 0
    for stride, skip in zip((8, 4, 2, 1), reversed(skips), strict=True):
        outputs = width * max(1, stride // 2)
        total += convolutions(x + skip, (x + skip) // 2, outputs)
        x = outputs
    return total


def test_weights_of_private_decoders_are_those_counted_by_hand():
    skips = (2, 4, 8, 16, 16)
    down = sum(convolutions(a, b, b) for a, b in zip((2, *skips), skips, strict=False))
    own_heads = (16 * 12 + 12) + (2 * 11 + 11) + (8 + 1) + (1 + 1)  # zones and season read the contracting path
    assert count_trainable(private()) == down + decoder_weights(2, skips) + decoder_weights(1, skips) + own_heads
    whole = unet(SHAPE, width=2, name="s2")
    assert count_trainable(whole) == down + decoder_weights(2, skips)


# --------------------------------------------------------------------- single-task twins


def tutorial(heads, width):
    return multitask(unet((120, 120, 12), width=width, name="s2"), heads)


def test_three_separate_networks_have_the_tutorials_weights():
    """3 x 17,272,512 of the U-Net, and heads as counted in `test_trainable_weights_are_the_tutorials`."""
    flat = {"pooling": "flatten"}
    twins = single_task_twins(
        tutorial,
        {"climate_zone": scene_head(12, **flat), "land_cover_map": map_head(11), "season": regression_head(**flat)},
        width=64,
    )
    head_weights = {"climate_zone": 65 + 14_400 * 12 + 12, "land_cover_map": 64 * 11 + 11, "season": 65 + 14_400 + 1}
    assert {task: count_trainable(twin) for task, twin in twins.items()} == {
        task: 17_272_512 + weights for task, weights in head_weights.items()
    }
    assert sum(map(count_trainable, twins.values())) == 52_005_594


def small(heads, width):
    return multitask(unet(SHAPE, width=width, name="s2"), heads)


def test_twins_share_nothing():
    twins = single_task_twins(small, heads(), width=1)
    assert {task: list(twin.output) for task, twin in twins.items()} == {task: [task] for task in heads()}
    owned = [id(variable) for twin in twins.values() for variable in twin.variables]
    assert len(set(owned)) == len(owned)


def test_twins_of_equal_weights_are_the_closest_that_there_are():
    wanted = count_trainable(small(heads(), 12))
    together = {
        width: sum(count_trainable(small({task: head}, width)) for task, head in heads().items())
        for width in range(1, 13)
    }
    closest = min(together, key=lambda width: abs(together[width] - wanted))
    twins = single_task_twins(small, heads(), width=12, same="weights")
    assert sum(map(count_trainable, twins.values())) == together[closest]
    assert closest == 6  # about 12 / sqrt(4): the weights grow with the square of the width
    assert {twin.get_layer("s2_unet").output["stride_1"].shape[-1] for twin in twins.values()} == {6}


def untrained(heads, width):
    return multitask(unet_encoder(SHAPE, width, name="s2"), heads, stop_gradient=list(heads))


def test_twins_have_decoders_and_stops_of_the_multitask_model():
    def build(heads, width):
        decoders = dict.fromkeys(heads, unet_decoder(width))
        stopped = ["season"] if len(heads) > 1 else []
        return multitask(unet_encoder(SHAPE, width, name="s2"), heads, decoders=decoders, stop_gradient=stopped)

    twins = single_task_twins(build, heads(), width=1)
    assert reached(twins["season"], "season") == {"season head", "season decoder", "shared"}
    assert reached(twins["elevation"], "elevation") == {"elevation head", "elevation decoder", "shared"}


# ------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"decoders": {"seasons": unet_decoder(1)}}, r"`decoders` may hold \['season'\]\. Received: 'seasons'"),
        ({"decoders": unet_decoder(1)}, r"`decoders` must be a dict of task -> decoder, or None"),
        ({"decoders": {"season": 16}}, r"`decoders\['season'\]` must be a function .*decoders\['season'\]=16"),
        ({"stop_gradient": ("zone",)}, r"`stop_gradient` may hold \['season'\]\. Received: 'zone'"),
        ({"stop_gradient": "season"}, "`stop_gradient` must be a sequence of names, not one string"),
    ],
)
def test_bad_options_name_the_rule(options, words):
    with pytest.raises(InvalidArgumentError, match=words):
        multitask(unet_encoder(SHAPE, width=1, name="s2"), {"season": regression_head()}, **options)


@pytest.mark.parametrize("scale", [0, -1.0, "20", True, float("inf"), float("nan")])
def test_the_scale_of_a_head_must_be_positive(scale):
    with pytest.raises(InvalidArgumentError, match="`scale` must be a finite number above 0"):
        dense_regression_head(scale=scale)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"build": unet}, r"tasks of its heads, \['season'\]\. Received"),
        ({"build": None}, r"`build` must be a function \(heads, width\) -> model"),
        ({"build": lambda heads, width: small({"zone": scene_head(3)}, width)}, r"\['season'\]\. Received: \['zone'\]"),
        ({"width": 0}, "`width` must be a positive integer"),
        ({"same": "size"}, r"`same` must be one of \['width', 'weights'\]\. Received: same='size'"),
        ({"width": 1, "same": "weights"}, r"`width` must be large enough.*2 twins of width 1 .*Received: width=1\."),
        ({"heads": ["season"]}, r"`heads` must be a dict of task -> head\. Received: heads=\['season'\]"),
        ({"build": untrained}, r"must not stop the gradient of a twin.*'season' alone"),
    ],
)
def test_bad_twins_name_the_rule(arguments, words):
    two = {"season": regression_head(), "elevation": dense_regression_head()}
    chosen = two if arguments.get("same") == "weights" else {"season": regression_head()}
    if arguments.get("build") is unet:
        arguments = {"build": lambda heads, width: unet(SHAPE, width=width, name="s2")}
        words = r"tasks of its heads, \['season'\]\. Received: \['stride_1', "
    with pytest.raises(InvalidArgumentError, match=words):
        single_task_twins(**{"build": small, "heads": chosen, "width": 2} | arguments)
