"""The vision transformer against a slow transcription in NumPy, and the dense encoder."""

import numpy as np
import pytest

from eokeras.errors import InvalidArgumentError
from eokeras.layers import sine_cosine_positions
from eokeras.models import dense_encoder, group_vit, vit
from eokeras.models.encoders.transformer import run_blocks, token_groups
from tests.checks import check_gradients, check_model, check_saved_model, count_trainable, to_numpy
from tests.models.transformer_in_numpy import attend, dense, gelu, normalise

RNG = np.random.default_rng(0)
SMALL = {"patch_size": 4, "width": 8, "depth": 2, "heads": 2, "mlp_width": 12}
IMAGE = RNG.normal(size=(2, 8, 12, 3)).astype("float32")


# ---- The published network, written out ------------------------------------------------------------------------


def forward(model, image, patch_size, width, depth, heads, mlp_width):
    rows, columns = image.shape[1] // patch_size, image.shape[2] // patch_size
    kernel, bias = model.get_layer("patches").get_weights()
    x = np.zeros((len(image), rows * columns, width))
    for row in range(rows):
        for column in range(columns):
            corner = (slice(None), *(slice(patch_size * place, patch_size * (place + 1)) for place in (row, column)))
            x[:, row * columns + column] = image[corner].reshape(len(image), -1) @ kernel.reshape(-1, width) + bias
    x = x + sine_cosine_positions(rows, columns, width)
    for block in range(1, depth + 1):
        name = f"block_{block}"
        x = x + attend(model, normalise(model, x, f"{name}_normalisation_1"), heads, f"{name}_attention")
        hidden = gelu(dense(model, normalise(model, x, f"{name}_normalisation_2"), f"{name}_dense_1"))
        assert hidden.shape[-1] == mlp_width
        x = x + dense(model, hidden, f"{name}_dense_2")
    return normalise(model, x, "normalisation").reshape(len(image), rows, columns, width)


def test_level_equals_the_slow_transcription():
    model = vit(IMAGE.shape[1:], name="s2", **SMALL)
    model.set_weights([RNG.normal(scale=0.5, size=weight.shape) for weight in model.weights])
    level = to_numpy(model({"s2": IMAGE}))["stride_4"]
    np.testing.assert_allclose(level, forward(model, IMAGE, **SMALL), rtol=1e-4, atol=1e-4)


# ---- Shapes and weights ----------------------------------------------------------------------------------------


def test_vit_holds_its_contract(tmp_path):
    build = lambda: vit(IMAGE.shape[1:], name="s2", **SMALL)  # noqa: E731
    model = check_model(build, {"s2": IMAGE}, {"stride_4": (2, 2, 3, 8)}, tmp_path, logits=False)
    check_saved_model(model, {"s2": IMAGE}, tmp_path)
    assert model.name == "s2_vit"


def count_by_hand(channels, patch_size, width, depth, mlp_width):
    """Patches; per block two normalisations, four maps of attention and two dense layers; a last normalisation."""
    attention = 4 * (width * width + width)
    dense_layers = width * mlp_width + mlp_width + mlp_width * width + width
    block = 2 * 2 * width + attention + dense_layers
    return patch_size**2 * channels * width + width + depth * block + 2 * width


def test_weights_of_the_tutorials_network():
    model = vit((120, 120, 12), name="s2")
    # 442,624 for the patches, 4 blocks of 1,024 + 263,168 + 262,912, and 512
    assert count_trainable(model) == count_by_hand(12, 12, 256, 4, 512) == 2_551_552
    assert model.output["stride_12"].shape == (None, 10, 10, 256)
    assert {layer.key_dim for layer in model.layers if hasattr(layer, "key_dim")} == {64}


def test_trainable_weights_follow_the_formula():
    numbers = {name: number for name, number in SMALL.items() if name != "heads"}
    assert count_trainable(vit(IMAGE.shape[1:], **SMALL)) == count_by_hand(3, **numbers)


def test_gradient_reaches_every_weight():
    check_gradients(vit(IMAGE.shape[1:], name="s2", **SMALL), {"s2": IMAGE})


# ---- Bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(None, 120, 3), (120, None, 3), (120, 100, 3), (16, 24, 3)])
def test_patches_must_fill_a_fixed_size(shape):
    with pytest.raises(InvalidArgumentError, match=r"`patch_size` must divide a fixed height and width.*patch_size=12"):
        vit(shape, patch_size=12, width=8)


def test_heads_share_the_width():
    with pytest.raises(InvalidArgumentError, match=r"`width` must be a multiple of `heads`.*width=8, heads=3"):
        vit((8, 8, 3), patch_size=4, width=8, heads=3)


def test_width_must_be_a_multiple_of_four():
    with pytest.raises(InvalidArgumentError, match=r"`width` must be a positive multiple of 4.*width=6"):
        vit((8, 8, 3), patch_size=4, width=6, heads=2)


@pytest.mark.parametrize("argument", ["patch_size", "width", "depth", "heads", "mlp_width"])
@pytest.mark.parametrize("value", [0, -1, 2.0, None, True])
def test_numbers_must_be_positive_integers(argument, value):
    with pytest.raises(InvalidArgumentError, match=f"`{argument}` must be a positive integer"):
        vit((8, 8, 3), **SMALL | {argument: value})


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, None), "s2"])
def test_shapes_that_are_no_map_are_refused(shape):
    with pytest.raises(InvalidArgumentError, match=r"`shape` must be \(height, width, channels\)"):
        vit(shape, **SMALL)


# ---- Groups of channels and sensors ------------------------------------------------------------------------------

SHAPES = {"s2_10m": (8, 12, 3), "s2_20m": (4, 6, 2), "s1": (8, 12, 2)}
GROUPS = {"s2_10m": {"visible": (2, 0), "infrared": (1,)}}


def group_inputs():
    return {name: RNG.normal(size=(2, *shape)).astype("float32") for name, shape in SHAPES.items()}


def test_group_vit_holds_its_contract(tmp_path):
    inputs = group_inputs()
    build = lambda: group_vit(SHAPES, GROUPS, name="fused", **SMALL)  # noqa: E731
    model = check_model(build, inputs, {"stride_4": (2, 2, 3, 8)}, tmp_path, logits=False)
    check_saved_model(model, inputs, tmp_path)
    check_gradients(model, inputs)
    assert model.name == "fused_vit"
    found = [(group.name, group.input, group.patches.patch_size) for group in token_groups(model)]
    assert found == [("visible", "s2_10m", 4), ("infrared", "s2_10m", 4), ("s2_20m", "s2_20m", 2), ("s1", "s1", 4)]


def test_one_group_is_a_plain_vit():
    plain, grouped = vit(IMAGE.shape[1:], name="s2", **SMALL), group_vit({"s2": IMAGE.shape[1:]}, **SMALL)
    plain.set_weights([RNG.normal(scale=0.5, size=weight.shape) for weight in plain.weights])
    grouped.set_weights(plain.get_weights())
    levels = [to_numpy(model({"s2": IMAGE}))["stride_4"] for model in (plain, grouped)]
    np.testing.assert_allclose(levels[0], levels[1], rtol=1e-6, atol=1e-6)


def test_levels_are_the_means_of_the_groups_of_a_place():
    """From the tokens of each group alone, embedded by hand, in the order of `token_groups`."""
    model, inputs = group_vit(SHAPES, GROUPS, **SMALL), group_inputs()
    model.set_weights([RNG.normal(scale=0.5, size=weight.shape) for weight in model.weights])
    channels = {"visible": [2, 0], "infrared": [1], "s2_20m": [0, 1], "s1": [0, 1]}
    tokens = []
    for group in token_groups(model):
        kernel, bias = group.patches.get_weights()
        image, size = inputs[group.input][..., channels[group.name]], group.patches.patch_size
        for place in range(6):
            row, column = divmod(place, 3)
            patch = image[:, row * size : (row + 1) * size, column * size : (column + 1) * size].reshape(2, -1)
            tokens.append(patch @ kernel.reshape(-1, 8) + bias + sine_cosine_positions(2, 3, 8)[place])
    expected = to_numpy(run_blocks(model, np.stack(tokens, axis=1).astype("float32")))
    expected = expected.reshape(2, 4, 2, 3, 8).mean(axis=1)
    np.testing.assert_allclose(to_numpy(model(inputs))["stride_4"], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ({}, {}, "`shapes` must be a dict"),
        ((8, 12, 3), {}, "`shapes` must be a dict"),
        ({"s2": (8, None, 3)}, {}, "`shapes` must have fixed heights and widths"),
        ({"s2": (8, 12, 3), "s1": (6, 9, 2)}, {"patch_size": 2}, r"whole pixels of every input.*'s1' of \(6, 9\)"),
        ({"s2": (8, 12, 3), "s1": (8, 8, 2)}, {}, r"all must cover the same ground.*'s1' of \(8, 8\)"),
        ({"s2": (8, 12, 3)}, {"groups": ("red",)}, "`groups` must be a dict of input name"),
        ({"s2": (8, 12, 3)}, {"groups": {"s1": {"VV": (0,)}}}, r"`groups` may hold \['s2'\].*'s1'"),
        ({"s2": (8, 12, 3)}, {"groups": {"s2": {"red": (3,)}}}, r"`groups\['s2'\]` may hold \[0, 1, 2\].*3"),
        ({"s2": (8, 12, 3)}, {"groups": {"s2": {"a": (0, 1), "b": (1,)}}}, "each into one at most"),
        ({"s2": (8, 12, 3)}, {"groups": {"s2": {"a": ()}}}, "each into one at most"),
        ({"s2": (8, 12, 3), "s1": (8, 12, 2)}, {"groups": {"s2": {"s1": (0,)}}}, "names of their own"),
        ({"s2": (8, 12, 3)}, {"width": 6, "heads": 4}, "`width` must be a multiple of `heads`"),
    ],
)
def test_groups_that_do_not_fit_are_named(shapes, options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        group_vit(shapes, **SMALL | options)


# ---- Scalars ---------------------------------------------------------------------------------------------------


def test_dense_encoder_holds_its_contract(tmp_path):
    x = RNG.normal(size=(5, 8)).astype("float32")
    build = lambda: dense_encoder(width=6, depth=3)  # noqa: E731
    model = check_model(build, {"era5": x}, {"vector": (5, 6)}, tmp_path, logits=False)
    assert model.name == "era5_dense"
    assert count_trainable(model) == 8 * 6 + 6 + 2 * (6 * 6 + 6)
    by_hand = x
    for index in (1, 2, 3):
        by_hand = np.maximum(dense(model, by_hand, f"dense_{index}"), 0)
    np.testing.assert_allclose(to_numpy(model({"era5": x}))["vector"], by_hand, rtol=1e-5, atol=1e-5)
    check_gradients(model, {"era5": x})


@pytest.mark.parametrize("shape", [8, (None,), (), (8, 8, 3)])
def test_scalars_have_one_axis(shape):
    with pytest.raises(InvalidArgumentError, match=r"`shape` of scalars must be \(channels,\)"):
        dense_encoder(shape)


@pytest.mark.parametrize("argument", ["width", "depth"])
@pytest.mark.parametrize("value", [0, 1.5, None, True])
def test_width_and_depth_of_dense_layers_are_positive(argument, value):
    with pytest.raises(InvalidArgumentError, match=f"`{argument}` must be a positive integer"):
        dense_encoder(**{argument: value})
