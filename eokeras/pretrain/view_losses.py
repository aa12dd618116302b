"""Losses on two embeddings of the same patches: NT-Xent, which needs negatives, and VICReg, which needs none.

Letters: N patches, D features.
"""

import math

from keras import ops

EPSILON = 1e-12
"""Smallest squared length by which an embedding is divided."""


def nt_xent(first, second, temperature=0.1):
    """Normalised, temperature-scaled cross-entropy: each embedding must find its partner among all 2 N - 1 others.

    With z of length 1 and s_ij = z_i z_j / temperature, and j(i) the partner of i,

        loss = mean_i ( log sum_{k != i} exp(s_ik) - s_i,j(i) )

    over all 2 N embeddings; it is symmetric in the two. Who guesses pays log(2 N - 1).

    Args:
        first, second: embeddings (N, D) of the same patches in the same order; of any length, they are normalised.
        temperature: lower pushes the hardest negatives away most.

    Returns:
        A scalar, float32.

    Example:
        >>> import numpy as np
        >>> z = np.eye(4, dtype="float32")
        >>> float(nt_xent(z, z, temperature=0.1)) < 0.01 < float(nt_xent(z, z[::-1], temperature=0.1))
        True

    Reference:
        Chen et al. 2020 (SimCLR), https://arxiv.org/abs/2002.05709, equation 1; between two sensors:
        Scheibenreif et al. 2022, https://doi.org/10.1109/CVPRW56347.2022.00148
    """
    similar, partner = similarities(first, second)
    scaled = similar / temperature
    return ops.mean(ops.logsumexp(scaled, axis=1) - ops.take_along_axis(scaled, partner, axis=1)[:, 0])


def matching_accuracy(first, second):
    """Share of the 2 N embeddings whose partner is the most similar of the 2 N - 1 others; chance is 1 / (2 N - 1).

    Args:
        first, second: as of `nt_xent`.
    """
    similar, partner = similarities(first, second)
    # Not by argmax: in a collapsed batch all are equally similar, and the first would win by its place.
    others = ops.sum(ops.cast(similar >= ops.take_along_axis(similar, partner, axis=1), "float32"), axis=1)
    return ops.mean(ops.cast(others == 1, "float32"))


def chance_loss(patches):
    """NT-Xent of embeddings that are all the same: log(2 N - 1)."""
    return math.log(2 * patches - 1) if isinstance(patches, int) else ops.log(2 * ops.cast(patches, "float32") - 1)


def similarities(first, second):
    """(cosines (2 N, 2 N) with a large negative diagonal, index (2 N, 1) of the partner)."""
    z = ops.concatenate([unit_length(first), unit_length(second)], axis=0)
    count, half = ops.shape(z)[0], ops.shape(first)[0]
    itself = ops.eye(count, dtype="float32")
    partner = (ops.arange(count) + half) % count
    return ops.matmul(z, ops.transpose(z)) - 1e9 * itself, partner[:, None]


def unit_length(z):
    """Embeddings (N, D) of length 1, float32."""
    z = ops.cast(z, "float32")
    return z * ops.rsqrt(ops.maximum(ops.sum(ops.square(z), axis=-1, keepdims=True), EPSILON))


def vicreg(first, second, invariance=25.0, variance=25.0, covariance=1.0):
    """Variance-invariance-covariance regularisation: alike for both views, spread out, and not redundant.

    With Z, Z' (N, D), S the deviation of each feature over the batch and C the covariance matrix,

        loss = invariance mean (Z - Z')^2
             + variance   (mean_d max(0, 1 - S(Z_d)) + the same of Z')
             + covariance (sum_{d != e} C(Z)_de^2 / D + the same of Z')

    S = sqrt(var + 0.0001), variances and covariances divided by N - 1. Without the second term the embeddings
    shrink to a point: no negatives keep them apart.

    Args:
        first, second: embeddings (N, D) of the same patches in the same order, not normalised. One patch has no
            spread: its variance counts as 0.
        invariance, variance, covariance: weights of the three terms.

    Returns:
        A scalar, float32.

    Reference:
        Bardes et al. 2022, https://arxiv.org/abs/2105.04906, algorithm 1
    """
    first, second = (ops.cast(z, "float32") for z in (first, second))
    loss = invariance * ops.mean(ops.square(first - second))
    for z in (first, second):
        centred = z - ops.mean(z, axis=0, keepdims=True)
        count, width = ops.cast(ops.shape(z)[0], "float32"), z.shape[-1]
        matrix = ops.matmul(ops.transpose(centred), centred) / ops.maximum(count - 1, 1)
        own = ops.sum(ops.square(centred), axis=0) / ops.maximum(count - 1, 1)
        loss = loss + variance * ops.mean(ops.relu(1 - ops.sqrt(own + 1e-4)))
        loss = loss + covariance * (ops.sum(ops.square(matrix)) - ops.sum(ops.square(own))) / width
    return loss
