"""Variograms: values by hand and by a slow double loop, ranges of fields with a known one, what shows no range."""

import numpy as np
import pytest

from eokeras.ben_ge.correlation import correlation_length, one_hot, variogram
from eokeras.ben_ge.ground import ground_points
from eokeras.ben_ge.places import Place
from eokeras.errors import InvalidArgumentError, InvalidSourceError

TILES = ("29SND", "31UER", "33UUP", "34TCR")


def field(range_m, cells=24, tiles=TILES, seed=0):
    """Places and vectors (3,) of Gaussian fields with covariance exp(-3 h / range), one draw per tile."""
    rng = np.random.default_rng(seed)
    grid = np.array([(column, row) for column in range(cells) for row in range(cells)])
    distance = np.linalg.norm((grid[:, None] - grid) * 1200.0, axis=-1)
    factor = np.linalg.cholesky(np.exp(-3 * distance / range_m) + 1e-9 * np.eye(len(grid)))
    places, values = {}, {}
    for tile in tiles:
        drawn = factor @ rng.normal(size=(len(grid), 3))
        for cell, vector in zip(grid.tolist(), drawn, strict=True):
            places[f"{tile}_{cell[0]}_{cell[1]}"] = Place(tile, tuple(cell), "2017-06-13")
            values[f"{tile}_{cell[0]}_{cell[1]}"] = vector
    return places, values


@pytest.mark.parametrize("range_m", [4_000, 10_000])
def test_recovers_the_range_of_a_field(range_m):
    found = variogram(*field(range_m), largest_m=25_000)
    assert found.range_m == pytest.approx(range_m, rel=0.25)
    assert found.sill == pytest.approx(3, rel=0.25)  # the variance, summed over three columns
    assert found.is_measured
    assert correlation_length(*field(range_m), largest_m=25_000) == found.range_m


def test_bins_equal_a_slow_double_loop():
    places, values = field(5_000, cells=8, tiles=TILES[:2])
    found = variogram(places, values, largest_m=12_000, width_m=2_400)
    ids = list(places)
    points = dict(zip(ids, ground_points(places.values()), strict=True))
    sums = {}
    for index, first in enumerate(ids):
        for second in ids[:index]:
            distance = np.linalg.norm(points[first] - points[second])
            if distance <= 12_000:
                entry = sums.setdefault(min(int(distance // 2_400), 4), [0, 0.0, 0.0])
                half_square = ((values[first] - values[second]) ** 2).sum() / 2
                entry[:] = entry[0] + 1, entry[1] + distance, entry[2] + half_square
    expected = [sums[key] for key in sorted(sums)]
    assert found.pairs == tuple(count for count, _, _ in expected)
    np.testing.assert_allclose(found.distance_m, [distance / count for count, distance, _ in expected])
    np.testing.assert_allclose(found.semivariance, [square / count for count, _, square in expected])


def test_model_by_hand():
    found = variogram(*field(4_000), largest_m=25_000)
    partial = found.sill - found.nugget
    np.testing.assert_allclose(found.model([0, found.range_m]), [found.nugget, found.nugget + 0.950213 * partial])


def test_a_class_as_one_hot_counts_pairs_that_differ():
    places = {f"{k}": Place("33UUP", (k, 0), "1") for k in range(90)}
    classes = {name: int(name) // 45 for name in places}  # the western half is one class, the eastern another
    assert one_hot({"x": 255, "y": 0}, 2).keys() == {"y"}
    found = variogram(places, one_hot(classes, 2), largest_m=60_000, width_m=1_200)
    # By hand: of the 90 - k pairs k cells apart, min(k, 90 - k) straddle the middle.
    by_cells = {round(d / 1200): share for d, share in zip(found.distance_m, found.semivariance, strict=True)}
    assert by_cells[10] == pytest.approx(10 / 80)
    assert by_cells[40] == pytest.approx(40 / 50)


def test_one_date_a_cell_and_no_missing_values():
    places, values = field(5_000)
    again = {f"{name} again": place._replace(date="2018-01-01") for name, place in places.items()}
    everything = values | {name: values[name.removesuffix(" again")] for name in again}
    found = variogram(places | again, everything, largest_m=25_000)
    assert found.patches == len(places)
    assert found.distance_m[0] > 1000  # no pair at distance 0
    everything |= {name: np.full(3, np.nan) for name in again}
    assert (
        variogram(places | again, everything, largest_m=25_000).pairs
        == variogram(places, values, largest_m=25_000).pairs
    )


def test_noise_has_no_range():
    places, values = field(5_000)
    rng = np.random.default_rng(1)
    noise = {name: rng.normal(size=2) for name in values}
    found = variogram(places, noise, largest_m=25_000)
    assert (found.range_m, found.nugget) == (0, found.sill)
    assert found.sill == pytest.approx(2, rel=0.1)  # the variance, summed over two columns
    alike = {name: np.ones(2) for name in values}
    assert variogram(places, alike, largest_m=25_000).range_m == 0


def test_a_trend_shows_no_range():
    places, _ = field(5_000)
    slope = {name: np.array([place.cell[0] + place.cell[1]], "float64") for name, place in places.items()}
    assert not variogram(places, slope, largest_m=25_000).is_measured
    with pytest.raises(InvalidSourceError, match=r"No correlation length within 25 km.*Group by tile"):
        correlation_length(places, slope, largest_m=25_000)


def test_what_cannot_be_measured():
    places, values = field(5_000)
    with pytest.raises(InvalidSourceError, match=r"30 pairs of patches in each of 5 bins.*Received: 3 patches with 0"):
        variogram(places, values, patches=3)
    with pytest.raises(InvalidSourceError, match="Received: 0 patches"):
        variogram({}, values)
    with pytest.raises(InvalidSourceError, match="MGRS name"):
        variogram({name: place._replace(tile="T07") for name, place in places.items()}, values)
    for wrong in (0, -5, float("nan")):
        with pytest.raises(InvalidArgumentError, match="`width_m` must be a finite number above 0"):
            variogram(places, values, width_m=wrong)
