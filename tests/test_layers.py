"""Layers for building models, against values worked out by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from eokeras.calibration import calibration_for
from eokeras.errors import InvalidArgumentError
from eokeras.layers import Calibrate, DropModality, Enlarge, MatchSize, PatchEmbed, sine_cosine_positions
from tests.checks import check_layer, dtype_policy, to_numpy


def match_by_hand(x, height, width):
    """Padding as the published U-Net does it, and its mirror image: the smaller half above and to the left."""
    matched = np.zeros((x.shape[0], height, width, x.shape[3]), x.dtype)
    shift_rows, shift_columns = (
        int((target - size) / 2) for target, size in zip((height, width), x.shape[1:3], strict=True)
    )
    for row in range(height):
        for column in range(width):
            y, z = row - shift_rows, column - shift_columns
            if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
                matched[:, row, column] = x[:, y, z]
    return matched


@pytest.mark.parametrize(
    ("size", "target"),
    [
        ((4, 4), (4, 4)),
        ((4, 6), (5, 6)),
        ((4, 4), (7, 6)),
        ((2, 8), (3, 9)),
        ((8, 8), (7, 8)),
        ((9, 5), (5, 2)),
        ((3, 8), (6, 7)),
    ],
)
def test_match_size_equals_padding_and_cropping_by_hand(size, target, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *size, 3)).astype("float32")
    reference = np.ones((2, *target, 5), "float32")
    matched = check_layer(MatchSize(), [x, reference], (2, *target, 3), tmp_path)
    np.testing.assert_array_equal(matched, match_by_hand(x, *target))


def test_match_size_puts_an_odd_row_below_and_an_odd_column_to_the_right():
    padded = np.asarray(MatchSize()([np.ones((1, 2, 2, 1), "float32"), np.zeros((1, 3, 5, 1), "float32")]))
    by_hand = [[0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(padded[0, :, :, 0], by_hand)


def test_match_size_cuts_an_odd_row_off_below_and_an_odd_column_off_to_the_right():
    x = np.arange(20, dtype="float32").reshape(1, 4, 5, 1)
    cropped = np.asarray(MatchSize()([x, np.zeros((1, 3, 2, 1), "float32")]))
    np.testing.assert_array_equal(cropped[0, :, :, 0], [[1, 2], [6, 7], [11, 12]])


def test_match_size_refuses_what_is_no_pair_of_maps():
    with pytest.raises(InvalidArgumentError, match=r"two maps \[x, reference\]"):
        MatchSize()([np.ones((1, 4, 4)), np.ones((1, 4, 4, 1))])


def enlarge_by_hand(x, factor=2):
    """Bilinear with half-pixel centres: output pixel i lies at (i + 0.5) / factor - 0.5, edges repeat."""

    def along(x, axis):
        size = x.shape[axis]
        pixels = []
        for i in range(int(size * factor)):
            place = (i + 0.5) * size / int(size * factor) - 0.5
            below = int(np.floor(place))
            first, second = (np.take(x, min(max(pixel, 0), size - 1), axis) for pixel in (below, below + 1))
            pixels.append((below + 1 - place) * first + (place - below) * second)
        return np.stack(pixels, axis)

    return along(along(x.astype("float64"), 1), 2)


def test_double_of_two_pixels_by_hand():
    row = np.array([0, 1], "float32").reshape(1, 1, 2, 1)
    by_hand = np.array([[0, 0.25, 0.75, 1], [0, 0.25, 0.75, 1]], "float32")
    for pixels, expected in ((row, by_hand), (row.transpose(0, 2, 1, 3), by_hand.T)):
        np.testing.assert_array_equal(to_numpy(Enlarge()(pixels))[0, :, :, 0], expected)


def test_one_and_a_half_of_two_pixels_by_hand():
    # three pixels where two were: their centres lie at -1/6, 1/2 and 7/6 of the old pixels
    row = np.array([0, 1], "float32").reshape(1, 1, 2, 1)
    np.testing.assert_allclose(to_numpy(Enlarge(1.5)(row))[0, :, :, 0], [[0, 0.5, 1]], atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (5, 2)])
@pytest.mark.parametrize("factor", [1.5, 2.0, 3.0])
def test_enlarge_equals_interpolation_by_hand_and_upsampling_of_keras(size, factor, tmp_path):
    x = np.random.default_rng(1).normal(size=(2, *size, 3)).astype("float32")
    shape = (2, int(factor * size[0]), int(factor * size[1]), 3)
    enlarged = check_layer(Enlarge(factor), x, shape, tmp_path)
    np.testing.assert_allclose(enlarged, enlarge_by_hand(x, factor), rtol=1e-6, atol=1e-6)
    if factor == int(factor):
        upsampled = to_numpy(keras.layers.UpSampling2D(int(factor), interpolation="bilinear")(x))
        np.testing.assert_allclose(enlarged, upsampled, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_enlarge_in_a_graph_of_unknown_height_and_width(policy):
    with dtype_policy(policy):
        layer = Enlarge()
    traced = tf.function(layer, input_signature=[tf.TensorSpec([None, None, None, 2], "float32")])
    for size in ((2, 3), (5, 1)):
        x = np.arange(2 * size[0] * size[1], dtype="float32").reshape(1, *size, 2)  # small whole numbers: exact in half
        output = traced(x)
        assert keras.backend.standardize_dtype(output.dtype) == layer.compute_dtype
        np.testing.assert_array_equal(to_numpy(keras.ops.cast(output, "float32")), enlarge_by_hand(x))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_enlarge_in_a_model_of_unknown_height_and_width(policy):
    with dtype_policy(policy):
        symbol = keras.Input((None, None, 2))
        model = keras.Model(symbol, Enlarge()(symbol))
    assert model.output.shape == (None, None, None, 2)
    assert keras.backend.standardize_dtype(model.output.dtype) == policy.removeprefix("mixed_")
    x = np.arange(12, dtype="float32").reshape(1, 2, 3, 2)
    np.testing.assert_array_equal(to_numpy(keras.ops.cast(model(x), "float32")), enlarge_by_hand(x))


def test_enlarged_sizes_are_whole_numbers_in_spite_of_rounding():
    assert 100 * 1.15 < 115  # in floating point
    assert Enlarge(1.15)(keras.Input((100, 20, 1))).shape == (None, 115, 23, 1)


@pytest.mark.parametrize("factor", [0.5, 0, -2, "2", None, True, float("inf"), float("nan")])
def test_enlarge_only_enlarges(factor):
    with pytest.raises(InvalidArgumentError, match="`factor` must be a number of at least 1"):
        Enlarge(factor)


# ---------------------------------------------------------------------------- tokens


def positions_by_hand(rows, columns, width):
    """The positions of He et al. 2021, number by number: column first, then row; sines first, then cosines."""
    quarter = width // 4
    table = np.zeros((rows * columns, width))
    for row in range(rows):
        for column in range(columns):
            for i in range(quarter):
                frequency = 1 / 10000 ** (i / quarter)
                token = table[row * columns + column]
                token[i], token[quarter + i] = np.sin(column * frequency), np.cos(column * frequency)
                token[2 * quarter + i], token[3 * quarter + i] = np.sin(row * frequency), np.cos(row * frequency)
    return table


@pytest.mark.parametrize(("rows", "columns", "width"), [(1, 1, 4), (3, 5, 16), (10, 10, 256)])
def test_positions_equal_the_slow_transcription(rows, columns, width):
    positions = sine_cosine_positions(rows, columns, width)
    assert positions.dtype == np.float32
    np.testing.assert_allclose(positions, positions_by_hand(rows, columns, width), atol=1e-6)


def test_no_two_places_of_a_scene_share_a_position():
    positions = sine_cosine_positions(10, 10, 64)
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1) + 9 * np.eye(100)
    assert distances.min() > 0.5


@pytest.mark.parametrize("width", [0, 6, 250, 8.0, True])
def test_positions_have_four_parts(width):
    with pytest.raises(InvalidArgumentError, match="`width` must be a positive multiple of 4"):
        sine_cosine_positions(2, 2, width)


def test_patch_embed_is_a_linear_map_of_each_patch_plus_its_position(tmp_path):
    x = np.random.default_rng(2).normal(size=(2, 6, 9, 2)).astype("float32")
    layer = PatchEmbed(3, 8)
    layer.build(x.shape)
    layer.bias.assign(np.arange(8.0))
    tokens = check_layer(layer, x, (2, 6, 8), tmp_path)
    by_hand = np.zeros((2, 6, 8))
    for row in range(2):
        for column in range(3):
            patch = x[:, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
            by_hand[:, 3 * row + column] = np.einsum("byzc,yzcd->bd", patch, to_numpy(layer.kernel))
    by_hand += np.arange(8) + positions_by_hand(2, 3, 8)
    np.testing.assert_allclose(tokens, by_hand, rtol=1e-5, atol=1e-5)


def test_patch_embed_reads_the_channels_named(tmp_path):
    x = np.random.default_rng(2).normal(size=(2, 6, 9, 4)).astype("float32")
    layer, whole = PatchEmbed(3, 8, channels=(3, 1)), PatchEmbed(3, 8)
    layer.build(x.shape)
    whole.build((*x.shape[:3], 2))
    whole.set_weights(layer.get_weights())
    tokens = check_layer(layer, x, (2, 6, 8), tmp_path)
    np.testing.assert_allclose(tokens, to_numpy(whole(x[..., [3, 1]])), rtol=1e-6, atol=1e-6)
    with pytest.raises(InvalidArgumentError, match=r"`channels` may hold \[0, 1, 2, 3\].*4"):
        PatchEmbed(3, 8, channels=(0, 4))(x)


def test_patch_embed_keeps_the_variance_of_its_input():
    x = np.random.default_rng(3).normal(size=(8, 24, 24, 12)).astype("float32")
    keras.utils.set_random_seed(0)
    tokens = to_numpy(PatchEmbed(12, 64)(x)) - sine_cosine_positions(2, 2, 64)
    assert tokens.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("shape", [(None, 12, 2), (12, 10, 2), (7, 12, 2)])
def test_patches_must_fill_a_fixed_size(shape):
    with pytest.raises(InvalidArgumentError, match=rf"`patch_size` must divide.*patch_size=4, height={shape[0]}"):
        PatchEmbed(4, 8)(keras.Input(shape))


@pytest.mark.parametrize("patch_size", [0, 2.0, None, True])
def test_patch_size_must_be_a_positive_integer(patch_size):
    with pytest.raises(InvalidArgumentError, match="`patch_size` must be a positive integer"):
        PatchEmbed(patch_size, 8)


# ---------------------------------------------------------------- missing modalities


def presence(*values):
    return np.array(values, "float32").reshape(-1, 1)


def test_drop_modality_puts_zeros_where_a_modality_is_absent(tmp_path):
    rng = np.random.default_rng(4)
    s2, era5 = rng.normal(size=(3, 4, 4, 2)).astype("float32"), rng.normal(size=(3, 5)).astype("float32")
    inputs = [s2, era5, presence(1, 0, 1), presence(0, 1, 1)]
    out_s2, out_era5 = check_layer(DropModality(0.5), inputs, [(3, 4, 4, 2), (3, 5)], tmp_path)
    np.testing.assert_array_equal(out_s2, s2 * np.array([1, 0, 1]).reshape(3, 1, 1, 1))
    np.testing.assert_array_equal(out_era5, era5 * presence(0, 1, 1))


@pytest.mark.parametrize("training", [False, True])
def test_missing_numbers_of_an_absent_modality_do_not_leak(training):
    s2, s1 = np.ones((2, 3, 3, 1), "float32"), np.full((2, 3, 3, 1), np.nan, "float32")
    s2, s1 = to_numpy(DropModality(0.3)([s2, s1, presence(1, 1), presence(0, 0)], training=training))
    np.testing.assert_array_equal(s2, np.ones((2, 3, 3, 1)))  # the only one there is always stays
    np.testing.assert_array_equal(s1, np.zeros((2, 3, 3, 1)))


@pytest.mark.parametrize(("rate", "modalities"), [(0.3, 1), (0.3, 2), (0.3, 3), (0.9, 2), (0.0, 3)])
def test_drop_modality_drops_as_often_as_it_says_and_never_all(rate, modalities):
    patches = 20_000
    inputs = [np.ones((patches, 1), "float32")] * (2 * modalities)
    kept = np.concatenate(to_numpy(DropModality(rate, seed=0)(inputs, training=True)), axis=1)
    assert set(np.unique(kept)) <= {0, 1}
    assert kept.sum(axis=1).min() >= 1
    # all would be dropped with probability rate ** M; then one of the M is kept, each equally often
    expected = rate - rate**modalities / modalities
    assert 1 - kept.mean(axis=0) == pytest.approx([expected] * modalities, abs=4 * 0.5 / np.sqrt(patches))


def test_patches_and_calls_are_dropped_independently():
    inputs = [np.ones((5000, 1), "float32")] * 4
    layer = DropModality(0.5, seed=1)
    first, second = (to_numpy(layer(inputs, training=True))[0][:, 0] for _ in range(2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.06


def test_of_the_modalities_present_one_stays():
    # the second is absent everywhere; with two left, one is dropped with probability 0.9 - 0.9 ** 2 / 2
    inputs = [np.ones((20_000, 1), "float32")] * 3 + [presence(*[present] * 20_000) for present in (1, 0, 1)]
    kept = np.concatenate(to_numpy(DropModality(0.9, seed=2)(inputs, training=True)), axis=1)
    assert kept[:, 1].max() == 0
    assert kept.sum(axis=1).min() == 1
    assert 1 - kept[:, [0, 2]].mean(axis=0) == pytest.approx([0.495, 0.495], abs=0.015)


def test_inputs_of_one_group_come_and_go_together(tmp_path):
    layer = DropModality(0.5, groups=(0, 0, 1), seed=3)
    ones = np.ones((1000, 1), "float32")
    first, second, other = to_numpy(layer([ones] * 5, training=True))
    np.testing.assert_array_equal(first, second)
    assert 0.2 < np.mean(first != other) < 0.8
    assert np.maximum(first, other).min() == 1
    inputs = [ones[:2], 2 * ones[:2], 3 * ones[:2], presence(0, 1), presence(1, 1)]
    masked = check_layer(layer, inputs, [(2, 1)] * 3, tmp_path)
    np.testing.assert_array_equal(np.concatenate(masked, axis=1), [[0, 0, 3], [1, 2, 3]])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_drop_modality_under_mixed_precision(policy, tmp_path):
    with dtype_policy(policy):
        inputs = [np.full((2, 3), 0.5, "float32"), np.full((2, 1), 4, "float32"), presence(1, 0), presence(1, 1)]
        first, second = check_layer(DropModality(0.3), inputs, [(2, 3), (2, 1)], tmp_path)
    np.testing.assert_array_equal(first.astype("float32"), [[0.5] * 3, [0] * 3])
    np.testing.assert_array_equal(second.astype("float32"), [[4], [4]])


@pytest.mark.parametrize("rate", [1, -0.1, "0.3", None, True])
def test_the_rate_is_a_probability_below_one(rate):
    with pytest.raises(InvalidArgumentError, match=r"`rate` must be a probability in \[0, 1\)"):
        DropModality(rate)


@pytest.mark.parametrize("groups", [(1, 2), (0, 2), ()])
def test_groups_are_counted_from_zero(groups):
    with pytest.raises(InvalidArgumentError, match=r"`groups` must hold|must be a list of modalities"):
        DropModality(0.3, groups=groups)([np.ones((1, 1))] * 3)


@pytest.mark.parametrize(("count", "groups"), [(3, None), (1, None), (4, (0, 0, 1)), (6, (0, 0, 1))])
def test_each_modality_needs_its_presence(count, groups):
    with pytest.raises(InvalidArgumentError, match=f"must be a list of modalities.*Received: {count} inputs"):
        DropModality(0.3, groups=groups)([np.ones((1, 1))] * count)


# ------------------------------------------------------------------------ calibration


def test_calibrate_selects_scales_and_replaces_by_hand(tmp_path):
    layer = Calibrate(calibration_for("s1", "tutorial", {}, ("VH", "VV")), channels=("VV", "VH"))
    x = np.array([[-25, -12.5], [0, -20], [5, -30], [-np.inf, np.nan], [np.inf, -5]], "float32")  # VV, VH in dB
    by_hand = [[0.5, 0], [0.2, 1], [0, 1], [0.5, 0], [0.8, 1]]  # VH, VV: (x + 25) / 25, clipped
    np.testing.assert_allclose(check_layer(layer, x, (5, 2), tmp_path), by_hand, atol=1e-6)


def test_calibrate_of_maps(tmp_path):
    statistics = {"s2": {"mean": [2000.0] * 12, "std": [500.0] * 12, "p1": [0.0] * 12, "p99": [4000.0] * 12}}
    statistics["s2"]["count"] = [1] * 12
    layer = Calibrate(calibration_for("s2", "standardise", statistics, ("B04", "B02")), channels=("B02", "B03", "B04"))
    x = np.full((2, 3, 4, 3), [1000, np.nan, 3001], "float32")
    by_hand = np.full((2, 3, 4, 2), [2.002, -2.0])
    np.testing.assert_allclose(check_layer(layer, x, (2, 3, 4, 2), tmp_path), by_hand, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_calibrate_does_not_round_stored_numbers_under_mixed_precision(policy, tmp_path):
    with dtype_policy(policy):
        layer = Calibrate(calibration_for("s2", "tutorial", {}, ("B04",)), channels=("B04",))
        calibrated = check_layer(layer, np.array([[3001]], "float32"), (1, 1), tmp_path)  # bfloat16 knows 3008 only
    assert calibrated.dtype == np.float32
    np.testing.assert_allclose(calibrated, [[0.3001]], rtol=0, atol=1e-6)


def test_calibrate_refuses_a_channel_that_the_input_lacks():
    with pytest.raises(InvalidArgumentError, match="VH"):
        Calibrate(calibration_for("s1", "tutorial", {}), channels=("VV",))
