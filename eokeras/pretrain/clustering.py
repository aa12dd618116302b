"""Clusters of places: k-means on the sphere, as classes that every patch has for free.

Letters: N places, K clusters.
"""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from eokeras.ben_ge.places import unit_vectors
from eokeras.ben_ge.records import load_schema
from eokeras.ben_ge.schema import VOID
from eokeras.errors import InvalidArgumentError, InvalidSourceError, UnwritableError
from eokeras.models.encoders.contract import check_positive

_STARTS = 4
_STEPS = 100  # at most, until no place changes its cluster
_PLACES_TO_CHOOSE, _PLACES_TO_JUDGE = 20_000, 4_000  # a silhouette compares every pair


@dataclasses.dataclass(frozen=True)
class GeoClusters:
    """Centres of clusters on the sphere; a place belongs to the nearest.

    Args:
        centres: K pairs (longitude, latitude) in degrees, from west to east.
        places: number of places that they were found from.
        seed: of the search.
        fingerprint: of the records that the places are from; "" where there are none.
        silhouettes: pairs (number of clusters, mean silhouette) of the numbers that were tried; empty where the number
            was given.

    Example:
        >>> clusters = GeoClusters(((-179.0, 0.0), (10.0, 50.0)))
        >>> clusters.assign([(179.0, 0.0), (12.0, 48.0)]).tolist()
        [0, 1]
    """

    centres: tuple[tuple[float, float], ...]
    places: int = 0
    seed: int = 0
    fingerprint: str = ""
    silhouettes: tuple[tuple[int, float], ...] = ()

    def assign(self, lonlat) -> np.ndarray:
        """The cluster of each place, (N,) int32.

        Args:
            lonlat: (N, 2) longitude and latitude in degrees. A place that is not finite gets `schema.VOID`.
        """
        import tensorflow as tf

        return self.assign_tensor(tf.constant(lonlat, tf.float64)).numpy()

    def assign_tensor(self, lonlat):
        """`assign` for `Dataset.map`: a float64 TensorFlow tensor (N, 2) -> (N,) int32."""
        import tensorflow as tf

        longitude, latitude = tf.unstack(lonlat * (np.pi / 180), axis=-1)
        east = tf.cos(latitude) * tf.cos(longitude), tf.cos(latitude) * tf.sin(longitude)
        # In float64: two neighbouring patches are 2e-4 apart on the unit sphere, the cosine of that is 1 - 2e-8.
        points = tf.stack([*east, tf.sin(latitude)], axis=-1)
        nearest = tf.argmax(tf.matmul(points, unit_vectors(self.centres).T), axis=-1, output_type=tf.int32)
        return tf.where(tf.reduce_all(tf.math.is_finite(points), axis=-1), nearest, VOID)

    def save(self, path) -> Path:
        """Writes the clusters as JSON, which `load_geoclusters` reads.

        Raises:
            UnwritableError: the file cannot be written.
        """
        content = dataclasses.asdict(self)
        try:
            Path(path).write_text(json.dumps(content) + "\n", encoding="utf-8")
        except OSError as error:
            raise UnwritableError(f"{path} must be writable. Received: {error.strerror}.") from None
        return Path(path)


def load_geoclusters(path) -> GeoClusters:
    """Reads clusters that `GeoClusters.save` wrote.

    Raises:
        InvalidSourceError: the file is missing, or is none of clusters.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        centres = tuple((float(longitude), float(latitude)) for longitude, latitude in content["centres"])
        # Files of an earlier version hold no silhouettes.
        silhouettes = tuple((int(count), float(value)) for count, value in content.get("silhouettes", ()))
        return GeoClusters(centres, content["places"], content["seed"], content["fingerprint"], silhouettes)
    except OSError as error:
        raise InvalidSourceError(f"`path` must be a file of clusters. Received: {path}: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidSourceError(f"{path} must be a file that `GeoClusters.save` wrote. Received: {error!r}.") from None


def geoclusters(places, clusters=20, seed=0) -> GeoClusters:
    """Clusters of places by k-means on the sphere.

    The points on the unit sphere are clustered by scikit-learn; then its centres, which lie inside of the sphere,
    are moved out to it, and places and centres are matched to each other until nothing changes. So each centre
    points to where the mean of its places does, and each place belongs to the centre that is nearest on the ground,
    across the 180th meridian too.

    Args:
        places: records, as the directory that `ben_ge.convert` returned: then those of the training split (read once,
            so save the result); or (N, 2) longitude and latitude in degrees. Only places of training should be given.
        clusters: number K of clusters (the tutorial takes 20), or numbers to choose from, such as `range(5, 31)`: then
            the one with the largest mean silhouette is taken, which says how much nearer places are to their own
            cluster than to the next. `silhouettes` keeps what was found for each.
        seed: of the search.

    Returns:
        `GeoClusters`.

    Raises:
        InvalidArgumentError: there are fewer distinct places than clusters, a place is not finite, or `clusters` is no
            positive integer and no numbers of 2 or more.
        RecordsError: no whole records here, or none in training.

    Example:
        >>> geoclusters([(179.0, 0.0), (-179.0, 0.0), (10.0, 50.0)], clusters=2).assign([(-178.0, 1.0), (179.5, 0.0)])
        array([1, 1], dtype=int32)
        >>> two_towns = [(10.0, 50.0), (10.1, 50.0), (10.0, 50.1), (20.0, 60.0), (20.1, 60.0), (20.0, 60.1)]
        >>> len(geoclusters(two_towns, clusters=range(2, 5)).centres)
        2

    Reference:
        Ayush et al. 2020, https://arxiv.org/abs/2011.09980; spherical k-means: Dhillon and Modha 2001,
        https://doi.org/10.1023/A:1007612920971; silhouette: Rousseeuw 1987,
        https://doi.org/10.1016/0377-0427(87)90125-7
    """
    from sklearn.cluster import KMeans

    candidates = _candidates(clusters)
    fingerprint = ""
    if isinstance(places, (str, Path)):
        places, fingerprint = _training_places(places)
    places = np.asarray(places, "float64")
    if places.ndim != 2 or places.shape[1] != 2 or not np.isfinite(places).all():
        raise InvalidArgumentError(
            f"`places` must be finite longitudes and latitudes of shape (places, 2). Received: shape={places.shape}."
        )
    points = unit_vectors(places)
    distinct = len(np.unique(points.round(9), axis=0))
    is_choice = isinstance(clusters, Iterable)
    if distinct < candidates[-1] + is_choice:  # a silhouette needs a place more than clusters
        rule = f"`clusters` must be {'below' if is_choice else 'at most'} the number of distinct places."
        raise InvalidArgumentError(f"{rule} Received: clusters={candidates[-1]}, {distinct} places.")
    silhouettes = _silhouettes(points, candidates, seed) if is_choice else ()
    clusters = max(silhouettes, key=lambda entry: entry[1])[0] if silhouettes else clusters
    centres = _onto_sphere(KMeans(clusters, n_init=_STARTS, random_state=seed).fit(points).cluster_centers_)
    centres = _settle(points, centres)
    longitude = np.rad2deg(np.arctan2(centres[:, 1], centres[:, 0]))
    latitude = np.rad2deg(np.arcsin(np.clip(centres[:, 2], -1, 1)))
    pairs = tuple(sorted(zip(longitude.tolist(), latitude.tolist(), strict=True)))
    return GeoClusters(pairs, len(places), seed, fingerprint, silhouettes)


def _candidates(clusters) -> list[int]:
    """The numbers of clusters asked for, in rising order."""
    numbers = sorted(clusters) if isinstance(clusters, Iterable) and not isinstance(clusters, str) else [clusters]
    for number in numbers:
        check_positive("clusters", number)
    if isinstance(clusters, Iterable) and (not numbers or numbers[0] < 2):
        raise InvalidArgumentError(f"`clusters` to choose from must be numbers of 2 or more. Received: {numbers}.")
    if numbers[-1] > VOID:
        raise InvalidArgumentError(
            f"`clusters` must be at most {VOID}, the class id of what has no class. Received: clusters={numbers[-1]}."
        )
    return numbers


def _silhouettes(points, candidates, seed) -> tuple[tuple[int, float], ...]:
    """Number of clusters and mean silhouette of each candidate, by some of the places (N, 3)."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    if len(points) > _PLACES_TO_CHOOSE:
        points = points[np.random.default_rng(seed).choice(len(points), _PLACES_TO_CHOOSE, replace=False)]
    judged = min(_PLACES_TO_JUDGE, len(points))
    found = []
    for count in candidates:
        members = KMeans(count, n_init=_STARTS, random_state=seed).fit_predict(points)
        found.append((int(count), float(silhouette_score(points, members, sample_size=judged, random_state=seed))))
    return tuple(found)


def _settle(points, centres):
    """Centres (K, 3) after assignments and means alternated until no place changed."""
    members = None
    for _ in range(_STEPS):
        nearest = (points @ centres.T).argmax(axis=1)
        if members is not None and (nearest == members).all():
            break
        members = nearest
        sums = np.stack([points[members == index].sum(axis=0) for index in range(len(centres))])
        # A cluster that lost all its places, or whose places cancel out, keeps its centre.
        centres = np.where(np.linalg.norm(sums, axis=1, keepdims=True) > 1e-9, _onto_sphere(sums), centres)
    return centres


def _onto_sphere(points):
    return points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)


def _training_places(records):
    """(N, 2) places of the training split, and the fingerprint of the records."""
    from eokeras.pipeline import make_dataset

    dataset = make_dataset(records, "train", ("lonlat",), calibrate=None, metadata=("lonlat",))
    # The metadata are as stored, in float64; the input is float32.
    places = [metadata["lonlat"] for _, _, metadata in dataset.as_numpy_iterator()]
    places = np.concatenate(places)
    return places[np.isfinite(places).all(axis=1)], load_schema(records).fingerprint
