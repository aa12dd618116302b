"""NT-Xent and VICReg against slow transcriptions of their papers, by loops over patches."""

import math

import keras
import numpy as np
import pytest

from eokeras.pretrain import nt_xent, vicreg
from eokeras.pretrain.view_losses import chance_loss, matching_accuracy


def nt_xent_by_hand(first, second, temperature):
    """Equation 1 of Chen et al. 2020: the mean of l(2k-1, 2k) and l(2k, 2k-1) over all pairs."""
    z = [row for pair in zip(first, second, strict=True) for row in pair]  # partners are neighbours, as in the paper

    def similarity(i, j):
        return float(np.dot(z[i], z[j]) / (np.linalg.norm(z[i]) * np.linalg.norm(z[j])))

    def loss(i, j):
        others = sum(math.exp(similarity(i, k) / temperature) for k in range(len(z)) if k != i)
        return -math.log(math.exp(similarity(i, j) / temperature) / others)

    return sum(loss(k, k + 1) + loss(k + 1, k) for k in range(0, len(z), 2)) / len(z)


def vicreg_by_hand(first, second, weights=(25.0, 25.0, 1.0)):
    """Algorithm 1 of Bardes et al. 2022."""
    (count, width), terms = first.shape, [0.0, 0.0, 0.0]
    for i in range(count):
        for j in range(width):
            terms[0] += (first[i, j] - second[i, j]) ** 2 / (count * width)
    for z in (first, second):
        means = [sum(z[i, j] for i in range(count)) / count for j in range(width)]
        for j in range(width):
            for k in range(width):
                value = sum((z[i, j] - means[j]) * (z[i, k] - means[k]) for i in range(count)) / (count - 1)
                if j == k:
                    terms[1] += max(0.0, 1 - math.sqrt(value + 1e-4)) / width
                else:
                    terms[2] += value**2 / width
    return sum(weight * term for weight, term in zip(weights, terms, strict=True))


def pair(count, width, seed=0):
    random = np.random.default_rng(seed)
    first = random.normal(0, 2, (count, width))
    return first, first + random.normal(0, 0.7, (count, width))


@pytest.mark.parametrize("count", [1, 2, 5, 16])
@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_nt_xent_is_that_of_the_paper(count, temperature):
    first, second = pair(count, 6)
    found = float(nt_xent(first, second, temperature))
    assert found == pytest.approx(nt_xent_by_hand(first, second, temperature), rel=1e-5, abs=1e-5)


def test_nt_xent_is_symmetric_and_knows_no_length():
    first, second = pair(8, 4)
    assert float(nt_xent(first, second)) == pytest.approx(float(nt_xent(second, first)), rel=1e-6)
    assert float(nt_xent(first, second)) == pytest.approx(float(nt_xent(9 * first, 0.1 * second)), rel=1e-5)


@pytest.mark.parametrize("count", [2, 7])
def test_equal_embeddings_pay_the_chance_loss_and_match_nothing(count):
    same = np.ones((count, 3))
    assert float(nt_xent(same, same)) == pytest.approx(math.log(2 * count - 1), rel=1e-5)
    assert chance_loss(count) == pytest.approx(math.log(2 * count - 1))
    assert float(matching_accuracy(same, same)) == 0


def test_matching_counts_partners_found():
    # Patches 0 and 1 find one another; those of patch 2 are swapped with those of patch 3.
    first = np.eye(4)
    second = np.eye(4)[[0, 1, 3, 2]] + 1e-3
    assert float(matching_accuracy(first, second)) == 0.5


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_gradient_is_that_of_finite_differences(temperature):
    import tensorflow as tf

    first, second = pair(4, 3)
    x = tf.Variable(first, dtype="float32")
    with tf.GradientTape() as tape:
        loss = nt_xent(x, tf.constant(second, "float32"), temperature)
    found, step = tape.gradient(loss, x).numpy(), 1e-5
    for i in range(4):
        for j in range(3):
            moved = [first.copy(), first.copy()]
            moved[0][i, j] += step
            moved[1][i, j] -= step
            up, down = (nt_xent_by_hand(each, second, temperature) for each in moved)
            assert found[i, j] == pytest.approx((up - down) / (2 * step), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(("count", "width"), [(2, 3), (5, 1), (16, 8)])
@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_vicreg_is_that_of_the_paper(count, width, weights):
    first, second = (0.3 * z for z in pair(count, width))
    found = float(vicreg(first, second, *weights))
    assert found == pytest.approx(vicreg_by_hand(first, second, weights), rel=1e-5, abs=1e-5)


def test_half_precision_computes_in_float32():
    first, second = (keras.ops.cast(z, "float16") for z in pair(8, 4))
    for loss in (nt_xent, vicreg):
        value = loss(first, second)
        assert keras.backend.standardize_dtype(value.dtype) == "float32"
        assert float(value) == pytest.approx(float(loss(*(np.array(z, "float32") for z in (first, second)))), rel=1e-5)


def test_vicreg_of_one_patch_is_finite():
    one, other = np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]])
    # alike: 25 * mean(0, 4); no spread in either view: 25 * (1 - 0.01) twice; no covariance
    assert float(vicreg(one, other)) == pytest.approx(50 + 2 * 24.75, rel=1e-5)
