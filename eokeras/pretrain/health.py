"""What embeddings look like: how spread out they are, and whether views differ at all.

Letters: N patches, K embeddings of a patch, D numbers of an embedding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from eokeras.ben_ge.input_names import split_view
from eokeras.errors import InvalidArgumentError


@dataclass(frozen=True)
class EmbeddingHealth:
    """How spread out the embeddings of a batch are.

    Attributes:
        deviation: mean over the D numbers of their standard deviation over patches; 0: all patches are the same point.
        effective_rank: exp of the entropy of the normalised singular values of the embeddings less their mean, 1 to D;
            1: all lie on a line (Roy and Vetterli 2007; RankMe, Garrido et al. 2023, arXiv 2210.02885).
        mean_cosine: mean cosine of different patches; 1: all point in one direction.
        alignment: mean squared distance of the embeddings of one patch, brought to length 1; NaN with one embedding.
        uniformity: log mean exp(-2 d^2) over distances d of different patches, at length 1; 0: all are the same, about
            -4 when spread evenly (both: Wang and Isola 2020, arXiv 2005.10242).
    """

    deviation: float
    effective_rank: float
    mean_cosine: float
    alignment: float
    uniformity: float


def embedding_health(embeddings: np.ndarray) -> EmbeddingHealth:
    """Measures embeddings (N, D) or, several of each patch, (N, K, D).

    Raises:
        InvalidArgumentError: there are fewer than two patches, or a number is not finite.

    Example:
        >>> health = embedding_health(np.eye(4))
        >>> round(health.mean_cosine, 3), round(health.effective_rank, 3)
        (0.0, 3.0)
    """
    z = np.asarray(embeddings, "float64")
    z = z[:, None] if z.ndim == 2 else z
    if z.ndim != 3 or len(z) < 2 or not np.isfinite(z).all():
        rule = "`embeddings` must be finite numbers of shape (patches, numbers) or (patches, views, numbers)."
        raise InvalidArgumentError(f"{rule} Received: shape={np.shape(embeddings)}, finite: {np.isfinite(z).all()}.")
    found = [_spread(z[:, index]) for index in range(z.shape[1])]
    deviation, rank, cosine, uniformity = np.mean(found, axis=0)
    unit = _unit(z)
    pairs = [(one, other) for one in range(z.shape[1]) for other in range(one)]
    distances = [np.square(unit[:, one] - unit[:, other]).sum(axis=-1).mean() for one, other in pairs]
    alignment = float(np.mean(distances)) if pairs else float("nan")
    return EmbeddingHealth(float(deviation), float(rank), float(cosine), alignment, float(uniformity))


def _spread(z: np.ndarray) -> tuple[float, float, float, float]:
    """(deviation, effective rank, mean cosine, uniformity) of embeddings (N, D)."""
    centred = z - z.mean(axis=0)
    sizes = np.linalg.svd(centred, compute_uv=False)
    sizes = sizes[sizes > 1e-9 * max(1.0, np.abs(z).max())]
    shares = sizes / sizes.sum() if sizes.size else np.ones(1)
    rank = np.exp(-np.sum(shares * np.log(shares)))
    unit = _unit(z)
    cosines = (unit @ unit.T)[~np.eye(len(z), dtype=bool)]
    # Squared distance of unit vectors: 2 - 2 cos.
    uniformity = np.log(np.mean(np.exp(-2 * (2 - 2 * cosines))))
    return z.std(axis=0).mean(), rank, cosines.mean(), uniformity


def _unit(z: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(z, axis=-1, keepdims=True)
    return np.where(length > 0, z / np.maximum(length, 1e-300), np.eye(z.shape[-1])[0])  # all zeros: one direction


def check_views(inputs: Mapping[str, np.ndarray]) -> None:
    """Checks that the views of a batch differ: augmenters that do nothing make a loss that is perfect and worthless.

    Args:
        inputs: one batch of `make_dataset(augment=views(...))`: `s2_view_1` (N, ...), `s2_view_2`, ...; what is no
            view is left alone.

    Raises:
        InvalidArgumentError: in more than half of the patches two views are equal in every input, those left out that
            no change can be seen in: of one number throughout (a sensor that is missing, the sea in a DEM), or NaN.
    """
    views: dict[int, dict[str, np.ndarray]] = {}
    for key, values in inputs.items():
        name, number = split_view(key)
        if number is not None:
            views.setdefault(number, {})[name] = np.asarray(values)
    shares = [_share_of_equal(views[one], views[other]) for one, other in combinations(sorted(views), 2)]
    if (share := max(shares, default=0.0)) > 0.5:
        names = ", ".join(sorted(next(iter(views.values()))))
        raise InvalidArgumentError(
            "`inputs` must hold views that differ: give `make_dataset` an `augment` that changes them, drawn anew for "
            f"each view. Received: equal views of {share:.0%} of the patches in {names}."
        )


def _share_of_equal(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> float:
    """Share of the patches that look the same in two views, in all inputs that both have."""
    same, flat = [], []
    for name in one.keys() & other.keys():
        first, second = (values[name].reshape(len(values[name]), -1) for values in (one, other))
        same.append(((first == second) | (np.isnan(first) & np.isnan(second))).all(axis=1))
        is_raster = one[name].ndim > 2
        flat.append(((first == first[:, :1]) | np.isnan(first)).all(axis=1) if is_raster else np.ones(len(first), bool))
    if not same:
        return 0.0
    telling = ~np.all(flat, axis=0)
    return float(np.mean(np.all(same, axis=0)[telling])) if telling.any() else 0.0
