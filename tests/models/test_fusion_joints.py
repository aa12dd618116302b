"""The layers that join modalities, against NumPy loops."""

import numpy as np

from eokeras.models.fusion.joints import GatedSum, RepeatOver, ScaleAndShift, TokensToMap
from tests.checks import check_layer, to_numpy

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def test_repeat_over_puts_the_vector_at_every_pixel(tmp_path):
    vector, reference = normal(2, 3), normal(2, 4, 5, 7)
    repeated = check_layer(RepeatOver(), [vector, reference], (2, 4, 5, 3), tmp_path)
    for row in range(4):
        for column in range(5):
            np.testing.assert_array_equal(repeated[:, row, column], vector)
    broken = np.full_like(reference, np.nan)
    np.testing.assert_array_equal(to_numpy(RepeatOver()([vector, broken])), repeated)


def test_tokens_to_map_lays_tokens_out_row_by_row(tmp_path):
    tokens = normal(2, 20, 3)
    laid_out = check_layer(TokensToMap(), [tokens, normal(2, 4, 5, 7)], (2, 4, 5, 3), tmp_path)
    for token in range(20):
        np.testing.assert_array_equal(laid_out[:, token // 5, token % 5], tokens[:, token])


def test_gated_sum_weighs_maps_and_vectors(tmp_path):
    for size in ((4, 5), ()):
        gates, tensors = normal(2, *size, 3), [normal(2, *size, 6) for _ in range(3)]
        received = check_layer(GatedSum(), [gates, *tensors], (2, *size, 6), tmp_path)
        by_hand = np.zeros((2, *size, 6))
        for channel in range(6):
            for index, tensor in enumerate(tensors):
                by_hand[..., channel] += gates[..., index] * tensor[..., channel]
        np.testing.assert_allclose(received, by_hand, rtol=1e-5, atol=1e-6)


def test_scale_and_shift_takes_a_pair_for_each_channel(tmp_path):
    for size in ((4, 5), ()):
        h, gamma, beta = normal(2, *size, 3), normal(2, 3), normal(2, 3)
        received = check_layer(ScaleAndShift(), [h, gamma, beta], (2, *size, 3), tmp_path)
        for patch in range(2):
            for channel in range(3):
                by_hand = (1 + gamma[patch, channel]) * h[patch, ..., channel] + beta[patch, channel]
                np.testing.assert_allclose(received[patch, ..., channel], by_hand, rtol=1e-5, atol=1e-6)
