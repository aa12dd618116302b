"""Middle, gated and cross-attention fusion against NumPy; scalars alone; stored bands; bad input."""

import keras
import numpy as np
import pytest

from eokeras.errors import InvalidArgumentError
from eokeras.models import multitask, regression_head, scene_head, unet_decoder, unet_encoder
from eokeras.models.fusion import cross_attention_fusion, gated_fusion, late_fusion, middle_fusion
from tests.checks import small_encoder, to_numpy
from tests.models.fusion_cases import SIZE, data, dense_branch, encoders, features, shake

INPUTS = data(2)
LEVELS = {"stride_1": SIZE, "stride_2": SIZE // 2}
BY_LEVEL = (middle_fusion, gated_fusion, cross_attention_fusion)
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def branch_levels(model, level, size):
    """What each encoder in a fusion gives at one level, by running it alone; vectors as maps."""
    found = {}
    for name, part in (("s2", "s2_small"), ("s1", "s1_small"), ("era5", "era5_dense")):
        levels = to_numpy(model.get_layer(part)(INPUTS))
        found[name] = levels[level] if level in levels else np.tile(levels["vector"][:, None, None], (1, size, size, 1))
    return found


def join_by_hand(maps, model, level):
    """ReLU(BN(W [h_1, ..., h_M])), each pixel a row of a matrix."""
    (kernel,) = model.get_layer(f"join_{level}_convolution").get_weights()
    scale, shift, mean, variance = model.get_layer(f"join_{level}_normalisation").get_weights()
    mixed = np.concatenate(maps, axis=-1) @ kernel[0, 0]
    return np.maximum((mixed - mean) / np.sqrt(variance + 1e-5) * scale + shift, 0)


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("prepare", [lambda model: model, shake])
def test_middle_fusion_is_concatenation_convolution_normalisation_relu(prepare):
    model = prepare(middle_fusion(encoders()))
    joined = to_numpy(model(INPUTS))
    for level, size in LEVELS.items():
        maps = branch_levels(model, level, size)
        by_hand = join_by_hand(list(maps.values()), model, level)
        assert (by_hand > 0).any()
        np.testing.assert_allclose(joined[level], by_hand, **TOLERANCE)


def test_gates_sum_to_one_and_weigh_the_projections():
    model = shake(gated_fusion(encoders()))
    joined, gates = to_numpy(model(INPUTS)), features(model, *(f"gate_{level}" for level in LEVELS))(INPUTS)
    for level, size in LEVELS.items():
        maps = branch_levels(model, level, size)
        kernel, bias = model.get_layer(f"gate_{level}").get_weights()
        gate = softmax(np.concatenate(list(maps.values()), axis=-1) @ kernel[0, 0] + bias)
        assert gate.shape == (2, size, size, 3)
        np.testing.assert_allclose(gates[f"gate_{level}"], gate, **TOLERANCE)
        np.testing.assert_allclose(gates[f"gate_{level}"].sum(axis=-1), 1, rtol=1e-6)
        assert gate.std(axis=(1, 2)).min() > 0.01  # the gates differ from pixel to pixel
        by_hand = 0
        for index, (name, h) in enumerate(maps.items()):
            kernel, bias = model.get_layer(f"project_{name}_{level}").get_weights()
            by_hand += gate[..., index : index + 1] * np.tanh(h @ kernel[0, 0] + bias)
        np.testing.assert_allclose(joined[level], by_hand, **TOLERANCE)


def test_gates_sum_to_one_in_half_precision():
    inputs = [keras.Input((1, 1, 4), name=name) for name in ("s2", "s1")]
    parts = {
        x.name: keras.Model([x], {"stride_1": keras.layers.Conv2D(4, 1, dtype="mixed_bfloat16")(x)}, name=f"{x.name}_1")
        for x in inputs
    }
    model = gated_fusion(parts)
    numbers = np.random.default_rng(2).normal(size=(2, 200, 1, 1, 4)).astype("float32")
    gates = features(model, "gate_stride_1")(dict(zip(parts, numbers, strict=True)))["gate_stride_1"]
    assert gates.dtype == np.float32
    np.testing.assert_allclose(gates.sum(axis=-1), 1, rtol=1e-6)


def test_a_level_of_one_modality_has_no_gate():
    model = gated_fusion({"s2": small_encoder((16, 16, 2), "s2")})
    names = [layer.name for layer in model.layers]
    assert not [name for name in names if name.startswith(("gate", "join"))]
    h = to_numpy(model.get_layer("s2_small")(INPUTS))["stride_2"]
    kernel, bias = model.get_layer("project_s2_stride_2").get_weights()
    np.testing.assert_allclose(to_numpy(model(INPUTS))["stride_2"], np.tanh(h @ kernel[0, 0] + bias), **TOLERANCE)


# ------------------------------------------------------------------------ attention


def attend_by_hand(query_tokens, key_tokens, layer):
    """Attention of one patch, one query and one head at a time."""
    query, key, value, output = (matrix.astype("float64") for matrix in layer.get_weights())
    answer = np.zeros(query_tokens.shape)
    for head in range(query.shape[1]):
        keys, values = key_tokens @ key[:, head], key_tokens @ value[:, head]
        for index, token in enumerate(query_tokens):
            scores = np.array([np.dot(token @ query[:, head], each) for each in keys]) / np.sqrt(query.shape[2])
            answer[index] += softmax(scores) @ values @ output[head]
    return answer


def normalise_by_hand(tokens, layer):
    scale, shift = layer.get_weights()
    deviation = tokens - tokens.mean(axis=-1, keepdims=True)
    return deviation / np.sqrt((deviation**2).mean(axis=-1, keepdims=True) + 1e-3) * scale + shift


def fuse_by_hand(model, tokens):
    """z_m = h_m + attention(LN(h_m), [LN(h_j), j other than m]) of one patch; tokens: name -> (N, C)."""
    normalised = {
        name: normalise_by_hand(x, model.get_layer(f"attention_{name}_normalisation")) for name, x in tokens.items()
    }
    found = {}
    for name, x in tokens.items():
        others = [normalised[other] for other in tokens if other != name] or [normalised[name]]
        attention = model.get_layer(f"attention_{name}")
        found[name] = x + attend_by_hand(normalised[name], np.concatenate(others), attention)
    return found


def test_cross_attention_equals_slow_attention():
    model = shake(cross_attention_fusion(encoders(), attention_heads=2))
    joined = to_numpy(model(INPUTS))
    fine = branch_levels(model, "stride_1", SIZE)
    np.testing.assert_allclose(joined["stride_1"], join_by_hand(list(fine.values()), model, "stride_1"), **TOLERANCE)
    coarse = {name: to_numpy(model.get_layer(f"{name}_small")(INPUTS))["stride_2"] for name in ("s2", "s1")}
    vector = to_numpy(model.get_layer("era5_dense")(INPUTS))["vector"]
    for patch in range(2):
        tokens = {name: x[patch].reshape(-1, 4) for name, x in coarse.items()} | {"era5": vector[patch : patch + 1]}
        found = fuse_by_hand(model, tokens)
        maps = [np.broadcast_to(x, (64, 4)).reshape(8, 8, 4) for x in found.values()]  # one token is repeated
        np.testing.assert_allclose(joined["stride_2"][patch], join_by_hand(maps, model, "stride_2"), **TOLERANCE)


def test_one_modality_attends_to_itself():
    model = shake(cross_attention_fusion({"s2": small_encoder((16, 16, 2), "s2", width=4)}, attention_heads=4))
    h = to_numpy(model.get_layer("s2_small")(INPUTS))["stride_2"][0]
    found = fuse_by_hand(model, {"s2": h.reshape(-1, 4)})["s2"].reshape(8, 8, 4)
    by_hand = join_by_hand([found], model, "stride_2")
    np.testing.assert_allclose(to_numpy(model(INPUTS))["stride_2"][0], by_hand, **TOLERANCE)


def test_modalities_of_other_channels_are_projected_before_they_attend():
    parts = {"s2": small_encoder((16, 16, 2), "s2", width=8), "s1": small_encoder((16, 16, 2), "s1", width=4)}
    model = cross_attention_fusion(parts)
    assert model.get_layer("attention_s1_projection").kernel.shape == (1, 1, 4, 8)
    assert "attention_s2_projection" not in [layer.name for layer in model.layers]
    assert model.get_layer("join_stride_2_convolution").kernel.shape == (1, 1, 16, 8)
    assert model.get_layer("join_stride_1_convolution").kernel.shape == (1, 1, 12, 8)


# -------------------------------------------------------- widths, scalars, stored bands


@pytest.mark.parametrize("fuse", BY_LEVEL)
def test_width_is_that_of_every_joined_level(fuse):
    levels = fuse(encoders(), width=8).output
    assert {name: x.shape for name, x in levels.items()} == {"stride_1": (None, 16, 16, 8), "stride_2": (None, 8, 8, 8)}


@pytest.mark.parametrize("fuse", BY_LEVEL)
def test_a_wide_vector_does_not_widen_the_maps(fuse):
    levels = fuse(encoders(names=("s2",)) | {"era5": dense_branch(width=64)}).output
    assert [x.shape[-1] for x in levels.values()] == [4, 4]


@pytest.mark.parametrize("fuse", [late_fusion, *BY_LEVEL])
def test_scalars_alone_are_a_backbone_of_scene_heads(fuse):
    parts = {"era5": dense_branch(), "lonlat": dense_branch("lonlat", (2,), width=8)}
    backbone = fuse(parts)
    assert {name: x.shape for name, x in backbone.output.items()} == {
        "vector": (None, 12 if fuse is late_fusion else 8)
    }
    model = multitask(backbone, {"climate_zone": scene_head(12), "season": regression_head()})
    inputs = INPUTS | {"lonlat": np.ones((2, 2), "float32")}
    assert {task: x.shape for task, x in to_numpy(model(inputs)).items()} == {"climate_zone": (2, 12), "season": (2, 1)}


def test_stored_bands_enter_at_the_level_that_fits_them():
    groups = {"s2_10m": (120, 4, 1), "s2_20m": (60, 6, 2), "s2_60m": (20, 2, 6)}
    parts = {
        name: unet_encoder((size, size, channels), width=2, name=name, stride=stride)
        for name, (size, channels, stride) in groups.items()
    }
    model = middle_fusion(parts, unet_decoder(width=2))
    assert {name: x.shape[1:] for name, x in model.output.items()} == {
        "stride_1": (120, 120, 2),
        "stride_2": (60, 60, 2),
        "stride_4": (30, 30, 4),
        "stride_8": (15, 15, 8),
        "stride_16": (7, 7, 16),
    }
    # Channels of the three encoders from their finest level on: 2 4 8 16 16, 2 4 8 16 and 2 4 8.
    joined = {1: (2, 2), 2: (4 + 2, 4), 4: (8 + 4 + 2, 8), 8: (16 + 8 + 4, 16), 16: (16 + 16 + 8, 16)}
    for stride, channels in joined.items():
        assert model.get_layer(f"join_stride_{stride}_convolution").kernel.shape == (1, 1, *channels)


@pytest.mark.parametrize("fuse", BY_LEVEL)
def test_one_decoder_reads_all_that_was_joined(fuse):
    shapes = {"s2": (16, 16, 2), "s1": (16, 16, 2)}
    parts = {name: unet_encoder(shape, width=2, name=name) for name, shape in shapes.items()}
    model = fuse(parts | {"era5": dense_branch()}, unet_decoder(width=2))
    levels = to_numpy(model(INPUTS))
    assert {name: x.shape for name, x in levels.items()} == {
        f"stride_{stride}": (2, 16 // stride, 16 // stride, channels)
        for stride, channels in {1: 2, 2: 2, 4: 4, 8: 8, 16: 16}.items()
    }
    for name in ("s2", "s1", "era5"):
        other = to_numpy(model(INPUTS | {name: INPUTS[name] + 1}))
        assert np.abs(other["stride_1"] - levels["stride_1"]).max() > 1e-4, name


# ----------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("fuse", BY_LEVEL)
def test_what_is_no_set_of_encoders_is_refused(fuse):
    with pytest.raises(InvalidArgumentError, match="`encoders` must be a dict"):
        fuse({})
    with pytest.raises(InvalidArgumentError, match=r"`encoders\['s1'\]` must take the input 's1'"):
        fuse({"s1": small_encoder((16, 16, 2), "s2")})
    with pytest.raises(InvalidArgumentError, match=r"`width` must be a positive integer. Received: width=0"):
        fuse(encoders(), width=0)
    with pytest.raises(InvalidArgumentError, match=r"`decoder` must be a function.*Received: decoder=64"):
        fuse(encoders(), decoder=64)
    with pytest.raises(InvalidArgumentError, match="`decoder` must have maps to decode"):
        fuse({"era5": dense_branch()}, unet_decoder(2))


@pytest.mark.parametrize("shape", [(16, 16, 2), (2,)])
@pytest.mark.parametrize("levels", [("vector", "stride_1"), ("fine",), ("stride_0",), ("vector",), ("stride_1",)])
def test_levels_that_break_the_contract_are_refused(levels, shape):
    inputs = keras.Input(shape, name="s2")
    model = keras.Model([inputs], {level: keras.layers.Identity()(inputs) for level in levels}, name="odd")
    if (levels, len(shape)) in ((("vector",), 1), (("stride_1",), 3)):
        assert list(late_fusion({"s2": model}).output) == list(levels)
        return
    with pytest.raises(InvalidArgumentError, match=r"`encoders\['s2'\]` must give maps named stride_n.*Received"):
        late_fusion({"s2": model})


def test_attention_needs_heads_that_divide_its_channels():
    with pytest.raises(InvalidArgumentError, match=r"`attention_heads` must divide the 4 channels.*attention_heads=3"):
        cross_attention_fusion(encoders(), attention_heads=3)
    with pytest.raises(InvalidArgumentError, match="`attention_heads` must be a positive integer"):
        cross_attention_fusion(encoders(), attention_heads=0)


def test_attention_needs_a_common_level_with_a_decoder_too():
    image = keras.Input((16, 16, 2), name="s1")
    coarse = keras.Model([image], {"stride_4": keras.layers.AveragePooling2D(4)(image)}, name="coarse")
    with pytest.raises(InvalidArgumentError, match="a level in common"):
        cross_attention_fusion(encoders(names=("s2",)) | {"s1": coarse}, unet_decoder(2))
