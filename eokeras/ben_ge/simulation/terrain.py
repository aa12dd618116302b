"""A made-up continent: coast, mountains, hills, valleys, rivers and lakes.

All functions take world coordinates in metres (see `noise`).
"""

from dataclasses import dataclass

import numpy as np

from eokeras.ben_ge.simulation.noise import field, fractal, key_of

_LAND_BIAS = 1.35  # shifts the continental field so that most of the plane is land


@dataclass(frozen=True)
class Ground:
    """The ground at some points; arrays of one shape."""

    elevation: np.ndarray  # bare ground above the sea, m
    macro: np.ndarray  # smoothed elevation of the region, m (sets its climate)
    continental: np.ndarray  # 0 at the coast, about 2 far inland
    roughness: np.ndarray  # standard deviation of the local relief, m
    water: np.ndarray  # 0 land, 1 river or lake, 2 sea
    moisture: np.ndarray  # 0 dry .. 1 beside water on flat ground
    bank: np.ndarray  # rough distance to the nearest river or lake, m


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, a smooth cubic between."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def continental(seed: int, x, y) -> np.ndarray:
    """How continental a place is: 0 at the coast, negative at sea, about 2 far inland."""
    large = field(key_of(seed, "continent"), 450_000, x, y) + 0.55 * field(key_of(seed, "gulfs"), 130_000, x, y)
    coast = 0.10 * field(key_of(seed, "bays"), 20_000, x, y)
    return 0.8 * large + coast + _LAND_BIAS


def macro_elevation(seed: int, x, y) -> np.ndarray:
    """Elevation of the region in metres: the mean around a place, without local relief."""
    return _regional(seed, continental(seed, x, y), x, y)


def _ranges(seed: int, inland, x, y) -> np.ndarray:
    """0 in the plains, 1 in the middle of a mountain range."""
    return smoothstep(0.35, 1.6, field(key_of(seed, "ranges"), 160_000, x, y)) * smoothstep(0.05, 0.5, inland)


def _roughness(seed: int, alpine, x, y) -> tuple[np.ndarray, np.ndarray]:
    """How hilly a place is, 0..1, and the standard deviation of its relief in metres."""
    hilly = smoothstep(-0.8, 1.6, field(key_of(seed, "hills"), 22_000, x, y))
    return hilly, 5 + 45 * hilly**1.5 + 240 * alpine


def roughness(seed: int, x, y) -> np.ndarray:
    """Standard deviation of the local relief in metres."""
    return _roughness(seed, _ranges(seed, continental(seed, x, y), x, y), x, y)[1]


def _regional(seed: int, inland, x, y) -> np.ndarray:
    plains = (
        25 + 150 * np.clip(inland, 0, 2) + 60 * field(key_of(seed, "plateaus"), 60_000, x, y) * np.clip(inland, 0, 1)
    )
    massif = 1 + 0.35 * field(key_of(seed, "massifs"), 25_000, x, y)
    return np.maximum(plains, 4.0) * smoothstep(-0.02, 0.2, inland) + 1350 * _ranges(seed, inland, x, y) * massif


def _distance_to_line(key: int, spacing_m: float, x, y) -> np.ndarray:
    """Rough distance in metres to the winding zero line of a random field."""

    value = field(key_of(key, 0), spacing_m, x, y) + 0.3 * field(key_of(key, 1), spacing_m / 4, x, y)
    value = value + 0.06 * field(key_of(key, 2), spacing_m / 20, x, y)
    slope = np.hypot(*np.gradient(value, y[:, 0], x[0]))
    return np.abs(value) / (slope + 0.15 / spacing_m)


def ground(seed: int, x, y, lake_level: float) -> Ground:
    """The ground at world coordinates.

    Args:
        seed: key of the world.
        x, y: metres; a grid, (1, W) and (H, 1).
        lake_level: how rare lakes are, in standard deviations of the field that digs them
            (1.2 in the Finnish lake district, above 2 elsewhere).
    """
    inland = continental(seed, x, y) + 0.006 * fractal(key_of(seed, "coast"), 1500, 4, 0.6, x, y)
    macro = _regional(seed, inland, x, y)
    alpine = _ranges(seed, inland, x, y)
    hilly, relief_m = _roughness(seed, alpine, x, y)

    river = _distance_to_line(key_of(seed, "rivers"), 5_500, x, y)
    half_width = 7 + 55 * smoothstep(0.0, 2.2, field(key_of(seed, "width"), 30_000, x, y)) * (1 - alpine)
    dug = (
        field(key_of(seed, "lakes"), 2_200, x, y)
        + 0.45 * field(key_of(seed, "lakes", 1), 600, x, y)
        + 0.12 * field(key_of(seed, "lakes", 2), 150, x, y)
    )
    depth = dug / 1.1 - lake_level - 2.5 * alpine - 0.8 * hilly
    is_lake, is_sea = depth > 0, inland < 0
    lake_bank = np.maximum(-depth, 0) * 2_000

    relief = _relief(seed, x, y)
    # Rivers run in the floor of valleys; shores are low: the relief fades out towards water.
    valley = smoothstep(0, 1, river / (250 + 8 * relief_m))
    shore = smoothstep(0.0, 0.35, -depth)
    height = relief_m * ((0.25 + 0.75 * valley) * relief + 0.9 * (valley - 0.6)) * shore
    floor = np.round(macro / 6) * 6 - 3.0
    elevation = np.where(shore > 0, (1 - shore) * (floor + 1) + shore * macro + height, floor)
    elevation = np.maximum(elevation, 1.0) * smoothstep(0.0, 0.02, inland)
    is_river = (river < half_width) & ~is_lake
    elevation = elevation - 1.5 * (river < half_width) * ~is_lake
    elevation = np.where(is_sea, 0.0, np.where(is_lake, floor, np.maximum(elevation, 0.5)))

    bank = np.minimum(np.maximum(river - half_width, 0), lake_bank)
    moisture = np.exp(-bank / 220) / (1 + (relief_m / 40) ** 2) + 0.2 * field(key_of(seed, "seepage"), 900, x, y)
    water = np.where(is_sea, 2, np.where(is_lake | is_river, 1, 0))
    return Ground(elevation, macro, inland, relief_m, water, np.clip(moisture, 0, 1), bank)


def _relief(seed: int, x, y) -> np.ndarray:
    """Local relief of variance about 1: ridges at long, rounded hills at short wavelengths."""
    ridges = 1.6 * (0.8 - np.abs(field(key_of(seed, "ridges"), 1_700, x, y)))
    hills = fractal(key_of(seed, "relief"), 1_300, 6, 0.46, x, y)
    return 0.6 * ridges + 0.75 * hills
