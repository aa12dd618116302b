"""Residual networks against a slow transcription of torchvision's layout in NumPy."""

import numpy as np
import pytest

from eokeras.errors import InvalidArgumentError
from eokeras.models import resnet
from tests.checks import check_gradients, check_model, check_saved_model, count_trainable, to_numpy

RNG = np.random.default_rng(0)


# ---- The published network, written out ------------------------------------------------------------------------


def windows(x, size, stride, value):
    """[(i, j, part)]: what stands at row i and column j of all windows of a padded map."""
    pad = size // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=value)
    rows, columns = ((length + 2 * pad - size) // stride + 1 for length in x.shape[1:3])
    for i in range(size):
        for j in range(size):
            part = padded[:, i : i + stride * rows : stride, j : j + stride * columns : stride]
            yield i, j, part[:, :rows, :columns]


def convolve(model, x, stride, name):
    """Zero-padded convolution and batch normalisation with the weights of a layer."""
    (kernel,) = model.get_layer(f"{name}_convolution").get_weights()
    scale, shift, mean, variance = model.get_layer(f"{name}_normalisation").get_weights()
    summed = sum(part @ kernel[i, j] for i, j, part in windows(x, kernel.shape[0], stride, 0))
    return (summed - mean) / np.sqrt(variance + 1e-5) * scale + shift


def relu(x):
    return np.maximum(x, 0)


def forward(model, x, blocks, bottleneck):
    """Levels of the network of He et al. 2015 with torchvision's strides and paddings."""
    x = relu(convolve(model, x, 2, "stem"))
    levels = {"stride_2": x}
    x = np.max([part for _, _, part in windows(x, 3, 2, -np.inf)], axis=0)
    for stage, count in enumerate(blocks):
        for index in range(count):
            name = f"stage_{4 * 2**stage}_block_{index + 1}"
            stride = 2 if stage > 0 and index == 0 else 1
            projected = index == 0 and (stage > 0 or bottleneck)
            shortcut = convolve(model, x, stride, f"{name}_shortcut") if projected else x
            strides = (1, stride, 1) if bottleneck else (stride, 1)
            for part, own in enumerate(strides, start=1):
                x = convolve(model, x, own, f"{name}_{part}")
                x = relu(x) if part < len(strides) else relu(x + shortcut)
        levels[f"stride_{4 * 2**stage}"] = x
    return levels


@pytest.mark.parametrize(("depth", "blocks", "bottleneck"), [(18, (2, 2, 2, 2), False), (50, (3, 4, 6, 3), True)])
def test_levels_equal_the_slow_transcription(depth, blocks, bottleneck):
    model = resnet((38, 51, 3), depth=depth, width=2, name="s2")
    for weight in model.weights:  # so that scales, shifts and statistics count too
        if weight.name != "kernel":
            weight.assign(RNG.uniform(0.5, 1.5, weight.shape))
    x = RNG.normal(size=(2, 38, 51, 3)).astype("float32")
    expected = forward(model, x.astype("float64"), blocks, bottleneck)
    received = to_numpy(model({"s2": x}, training=False))
    assert list(received) == list(expected)
    for name, level in expected.items():
        np.testing.assert_allclose(received[name] / level.std(), level / level.std(), rtol=1e-3, atol=1e-4)


# ---- Shapes and weights ----------------------------------------------------------------------------------------


def test_resnet_holds_its_contract(tmp_path):
    x = RNG.normal(size=(2, 33, 65, 2)).astype("float32")
    # ceil(33 / n) and ceil(65 / n)
    sizes = {2: (17, 33, 2), 4: (9, 17, 2), 8: (5, 9, 4), 16: (3, 5, 8), 32: (2, 3, 16)}
    shapes = {f"stride_{n}": (2, *size) for n, size in sizes.items()}
    check_model(lambda: resnet((33, 65, 2), width=2, name="s1"), {"s1": x}, shapes, tmp_path, logits=False)


def test_levels_of_a_patch():
    model = resnet((120, 120, 12), depth=50, width=4, name="s2")
    sizes = {2: (60, 4), 4: (30, 16), 8: (15, 32), 16: (8, 64), 32: (4, 128)}
    expected = {f"stride_{n}": (None, size, size, channels) for n, (size, channels) in sizes.items()}
    assert {name: level.shape for name, level in model.output.items()} == expected
    assert model.name == "s2_resnet50"


def test_one_exported_resnet_takes_several_sizes(tmp_path):
    model = resnet((None, None, 2), width=1, name="s1")
    check_saved_model(model, {"s1": RNG.normal(size=(1, 17, 40, 2)).astype("float32")}, tmp_path)
    for size in (1, 31, 64):
        levels = model({"s1": np.ones((1, size, 20, 2), "float32")})
        assert [level.shape[1] for level in levels.values()] == [-(-size // n) for n in (2, 4, 8, 16, 32)]


def count_18(channels, width):
    """Kernels, and two numbers per channel of every normalisation; no bias."""
    weights, before = 49 * channels * width + 2 * width, width
    for after in (width, 2 * width, 4 * width, 8 * width):
        weights += 9 * before * after + 3 * 9 * after * after + 4 * 2 * after
        weights += before * after + 2 * after if before != after else 0
        before = after
    return weights


def count_50(channels, width):
    weights, before = 49 * channels * width + 2 * width, width
    for narrow, blocks in zip((width, 2 * width, 4 * width, 8 * width), (3, 4, 6, 3), strict=True):
        wide = 4 * narrow
        normalisations = 2 * (narrow + narrow + wide)
        weights += before * wide + 2 * wide  # the shortcut of the first block
        weights += (before + (blocks - 1) * wide) * narrow
        weights += blocks * (9 * narrow * narrow + narrow * wide + normalisations)
        before = wide
    return weights


@pytest.mark.parametrize(("channels", "width"), [(3, 4), (12, 2)])
def test_trainable_weights_follow_the_formulas(channels, width):
    for depth, by_hand in ((18, count_18), (50, count_50)):
        model = resnet((None, None, channels), depth=depth, width=width)
        assert count_trainable(model) == by_hand(channels, width)


def test_formulas_give_torchvisions_numbers_at_width_64():
    # torchvision's 11,689,512 and 25,557,032 less the classifiers 512 x 1000 + 1000 and 2048 x 1000 + 1000
    assert count_18(3, 64) == 11_689_512 - 513_000 == 11_176_512
    assert count_50(3, 64) == 25_557_032 - 2_049_000 == 23_508_032


def test_gradient_reaches_every_weight():
    x = RNG.normal(size=(2, 33, 32, 2)).astype("float32")
    check_gradients(resnet((33, 32, 2), width=2, name="s1"), {"s1": x})


def test_variance_survives_the_depth():
    """Every convolution keeps the variance of a normalised ReLU's output, so the stem's own stays of order one."""
    x = RNG.normal(size=(4, 64, 64, 3)).astype("float32")
    levels = to_numpy(resnet((64, 64, 3), width=16, name="s2")({"s2": x}, training=True))
    for name, level in levels.items():
        assert 0.1 < level.std() < 10, name


# ---- Bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [34, "18", None])
def test_other_depths_are_refused(depth):
    with pytest.raises(InvalidArgumentError, match=r"`depth` must be one of \[18, 50\]"):
        resnet((32, 32, 3), depth=depth)


@pytest.mark.parametrize("width", [0, 2.0, None, True])
def test_width_must_be_a_positive_integer(width):
    with pytest.raises(InvalidArgumentError, match="`width` must be a positive integer"):
        resnet((32, 32, 3), width=width)


@pytest.mark.parametrize("shape", [(32, 32), (32, 32, None), (0, 32, 3), 32])
def test_shapes_that_are_no_map_are_refused(shape):
    with pytest.raises(InvalidArgumentError, match="`shape` must "):
        resnet(shape)
