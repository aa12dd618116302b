"""How far patches resemble each other: an empirical variogram on the ground, and the correlation length it shows.

The semivariance at distance h is half the mean squared difference of two patches that far apart, summed over the
columns of a vector (land-cover fractions, or a class as one-hot: then it is the share of pairs whose class differs). It
rises with distance and levels off at the sill, where places tell nothing of each other any more. The correlation
length is the distance at which a fitted exponential model has covered 95 % of the way from nugget to sill, its
practical range.

Letters: N patches, K bins of distance, C columns.

Reference:
    Matheron 1963, Principles of geostatistics, https://doi.org/10.2113/gsecongeo.58.8.1246
    Buffers from it: Roberts et al. 2017, https://doi.org/10.1111/ecog.02881
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import curve_fit
from scipy.spatial import cKDTree

from eokeras.ben_ge.ground import ground_points
from eokeras.ben_ge.places import Place
from eokeras.ben_ge.schema import PATCH_SIZE_M
from eokeras.errors import InvalidSourceError, check_number

_FEWEST_PAIRS = 30  # in a bin, as in most textbooks
_FEWEST_BINS = 5
_FLAT = 0.05  # a smaller rise, as a share of the value at the largest distance, is none: neighbours are not alike
_CHUNK = 200_000  # pairs at a time


@dataclass(frozen=True)
class Variogram:
    """An empirical variogram with its fitted exponential model.

    Attributes:
        distance_m: (K,) mean distance of the pairs of a bin.
        semivariance: (K,) half the mean squared difference.
        pairs: (K,) number of pairs.
        nugget, sill: of the model, which is nugget + (sill - nugget) (1 - exp(-3 h / range_m)).
        range_m: practical range in metres: 95 % of the way from nugget to sill; the correlation length. 0 where
            the variogram is flat.
        patches: number of patches that were compared.
        largest_m: largest distance that was looked at.
    """

    distance_m: tuple[float, ...]
    semivariance: tuple[float, ...]
    pairs: tuple[int, ...]
    nugget: float
    sill: float
    range_m: float
    patches: int
    largest_m: float

    @property
    def is_measured(self) -> bool:
        """Whether the range lies within what was looked at: beyond, the variogram still rises and shows no length."""
        return self.range_m <= self.largest_m

    def model(self, distance_m) -> np.ndarray:
        """Semivariance of the fitted model at distances in metres."""
        return _exponential(np.asarray(distance_m, "float64"), self.nugget, self.sill - self.nugget, self.range_m)


def variogram(
    places: Mapping[str, Place],
    values: Mapping[str, np.ndarray],
    *,
    largest_m: float = 60_000.0,
    width_m: float = 2 * PATCH_SIZE_M,
    patches: int = 10_000,
    seed: int = 0,
) -> Variogram:
    """The empirical variogram of a vector per patch, one date per cell.

    Args:
        places: patch id -> `Place`.
        values: patch id -> (C,) numbers; patches without, or with one that is not finite, are left out.
        largest_m: largest distance in metres; about half a tile, beyond which pairs become few.
        width_m: width of a bin in metres.
        patches: so many are drawn where there are more.
        seed: of that draw.

    Returns:
        A `Variogram`; ask `is_measured` before using its range.

    Raises:
        InvalidArgumentError: a distance is no positive number.
        InvalidSourceError: too few patches lie near each other, or a tile has no MGRS name.
    """
    check_number("largest_m", largest_m, above=0)
    check_number("width_m", width_m, above=0)
    ids = _one_a_cell(places, values, seed)[:patches]
    vectors = np.array([values[patch_id] for patch_id in ids], "float64")
    try:
        points = ground_points(places[patch_id] for patch_id in ids)
    except ValueError as error:
        raise InvalidSourceError(f"A variogram needs places on the ground. {error}") from None
    bins = _bins(points, vectors, largest_m, width_m)
    used = bins[bins[:, 2] >= _FEWEST_PAIRS]
    if len(used) < _FEWEST_BINS:
        rule = f"A variogram needs {_FEWEST_PAIRS} pairs of patches in each of {_FEWEST_BINS} bins of distance."
        raise InvalidSourceError(f"{rule} Received: {len(ids)} patches with {len(used)} such bins.")
    nugget, partial_sill, range_m = _fit(*used.T, largest_m)
    distance, semivariance, pairs = used.T.tolist()
    return Variogram(
        tuple(distance), tuple(semivariance), tuple(map(int, pairs)), nugget, nugget + partial_sill, range_m, len(ids),
        largest_m,
    )  # fmt: skip


def correlation_length(places: Mapping[str, Place], values: Mapping[str, np.ndarray], **options) -> float:
    """The practical range of `variogram(places, values, **options)` in metres.

    Raises:
        InvalidSourceError: the variogram shows none within the distances looked at: the values still change beyond, so
            that blocks in a tile would not be independent. Take tiles as groups.
    """
    found = variogram(places, values, **options)
    if not found.is_measured:
        raise InvalidSourceError(
            f"No correlation length within {found.largest_m / 1000:g} km: the variogram still rises there, so that "
            "blocks inside a tile would not be independent. Group by tile, or name `buffer_m`."
        )
    return found.range_m


def one_hot(classes: Mapping[str, int], count: int) -> dict[str, np.ndarray]:
    """Patch id -> class id as a vector (count,); ids that are no class (`VOID`) are left out.

    Example:
        >>> one_hot({"a": 1, "b": 255}, 3)
        {'a': array([0., 1., 0.])}
    """
    rows = np.eye(count)
    return {patch_id: rows[index] for patch_id, index in classes.items() if index < count}


def _one_a_cell(places: Mapping[str, Place], values: Mapping[str, np.ndarray], seed: int) -> list[str]:
    """Ids in drawn order, one for each cell: the same ground again would be pairs at distance 0."""
    ids = sorted(patch_id for patch_id in places if patch_id in values and np.isfinite(values[patch_id]).all())
    drawn = [ids[index] for index in np.random.default_rng(seed).permutation(len(ids))]
    first: dict[tuple, str] = {}
    for patch_id in drawn:
        first.setdefault(places[patch_id][:2], patch_id)
    return list(first.values())


def _bins(points: np.ndarray, vectors: np.ndarray, largest_m: float, width_m: float) -> np.ndarray:
    """(K, 3) mean distance, semivariance and number of pairs of every bin."""
    pairs = cKDTree(points).query_pairs(largest_m, output_type="ndarray") if len(points) else np.empty((0, 2), int)
    count = int(np.ceil(largest_m / width_m))
    sums = np.zeros((3, count))
    for start in range(0, len(pairs), _CHUNK):
        first, second = pairs[start : start + _CHUNK].T
        distance = np.linalg.norm(points[first] - points[second], axis=1)
        half_squares = np.square(vectors[first] - vectors[second]).sum(axis=1) / 2
        index = np.minimum((distance / width_m).astype(int), count - 1)
        sums += [np.bincount(index, weights, count) for weights in (distance, half_squares, np.ones(len(index)))]
    filled = sums[:, sums[2] > 0]
    return np.column_stack([filled[0] / filled[2], filled[1] / filled[2], filled[2]])


def _exponential(distance: np.ndarray, nugget: float, partial_sill: float, range_m: float) -> np.ndarray:
    return nugget + partial_sill * -np.expm1(-3 * distance / max(range_m, 1e-9))


def _fit(distance, semivariance, pairs, largest_m: float) -> tuple[float, float, float]:
    """Nugget, partial sill and practical range by least squares, each bin weighted by its pairs."""
    top = float(semivariance.max())
    if top == 0:  # all patches alike: no distance matters
        return 0.0, 0.0, 0.0
    start = (float(semivariance.min()) / 2, top / 2, largest_m / 3)
    bounds = ([0, 0, 1.0], [top, 2 * top, 100 * largest_m])
    found, _ = curve_fit(
        _exponential, distance, semivariance, start, 1 / np.sqrt(pairs), bounds=bounds, x_scale=(top, top, largest_m)
    )
    nugget, partial_sill, range_m = map(float, found)
    reached = float(_exponential(largest_m, nugget, partial_sill, range_m))
    if reached - nugget < _FLAT * reached:  # the range of next to nothing, which could be any
        return reached, 0.0, 0.0
    return nugget, partial_sill, range_m
