"""Sentinel-1 GRD of a landscape: backscatter, moisture, frost, slopes, speckle, noise floor."""

import numpy as np

from eokeras.ben_ge.simulation import noise
from eokeras.ben_ge.simulation.cover_types import (
    EFFECTS,
    LEAF_DB,
    SCATTER_DB,
    SIGMA_DB,
    TYPE_INDEX,
    VEGETATED,
    WATER,
    WET_DB,
)
from eokeras.ben_ge.simulation.land_cover import MARGIN, Landscape
from eokeras.ben_ge.simulation.sentinel2 import Conditions, leaf_state

# Looks of IW GRD, high resolution: 4.4 equivalent (Sentinel-1 product definition, 5 looks in range
# of which one is almost lost to the overlap of their spectra).
_LOOK_WEIGHTS = np.array([1.0, 1.0, 1.0, 1.0, 0.22])
EQUIVALENT_LOOKS = float(_LOOK_WEIGHTS.sum() ** 2 / np.sum(_LOOK_WEIGHTS**2))
NOISE_FLOOR_DB = -26.0  # noise equivalent sigma-nought after subtraction; required to lie below -22
_ANGLE_SLOPE_DB = -0.13  # dB per degree of incidence (Ulaby and Dobson 1989)
FROST_DB = -2.5  # frozen soil and dry vegetation


def soil_wetness(conditions: Conditions) -> float:
    """Mean soil moisture index of the scene, -1 parched .. 1 soaked."""
    course = 0.45 * np.cos(2 * np.pi * (conditions.day - 20) / 365)
    return float(np.clip(course + 0.5 * (conditions.climate.aridity - 1) - 0.4 * conditions.climate.dry_summer, -1, 1))


def frost(conditions: Conditions) -> float:
    """0 thawed .. 1 frozen."""
    return float(1 / (1 + np.exp((conditions.climate.temperature(conditions.day - 5) + 1.5) / 1.2)))


def backscatter_db(key: int, acquisition_key: int, scene: Landscape, conditions: Conditions) -> np.ndarray:
    """Sigma-nought without speckle and noise, (2, H, W) for VV and VH, dB."""
    cover = scene.cover
    leaves = leaf_state(cover, conditions)
    wet = soil_wetness(conditions) + 0.4 * noise.normal(noise.key_of(acquisition_key, "rain"), 0)
    wet = wet + 0.35 * noise.field(noise.key_of(acquisition_key, "soil"), 500, scene.x, scene.y)
    frozen = frost(conditions) * FROST_DB * VEGETATED[cover] * ~WATER[cover]
    parcel = SCATTER_DB[cover] * scene.parcel_normal(noise.key_of(key, "sigma"))
    crossed = EFFECTS.cross_db * scene.parcel_normal(noise.key_of(key, "cross"))
    angle = 31 + 14 * float(noise.uniform(acquisition_key, 11)) - 38
    wind = 1.8 * float(noise.normal(noise.key_of(acquisition_key, "wind"), 0))  # roughens water
    ripples = noise.field(noise.key_of(acquisition_key, "ripples"), 400, scene.x, scene.y)
    grain = 0.6 * noise.field(noise.key_of(key, "roughness"), 22, scene.x, scene.y)
    town = np.isin(cover, (TYPE_INDEX["houses and gardens"], TYPE_INDEX["works and shops"]))
    corners = 2.4 * noise.field(noise.key_of(key, "corners"), 9, scene.x, scene.y) * town  # double bounce
    common = parcel + WET_DB[cover] * wet + frozen + _ANGLE_SLOPE_DB * angle + grain + corners
    common = common + WATER[cover] * (wind + 0.5 * ripples)
    common = common + _slope_db(scene, acquisition_key, angle + 38)
    vv = SIGMA_DB[cover, 0] + LEAF_DB[cover, 0] * leaves + common - 0.5 * crossed
    vh = SIGMA_DB[cover, 1] + LEAF_DB[cover, 1] * leaves + common + 0.5 * crossed - 0.4 * WATER[cover] * wind
    return np.stack([vv, vh])


def _slope_db(scene: Landscape, acquisition_key: int, angle: float) -> np.ndarray:
    """Brighter slopes towards the radar, darker ones away (ratio of tangents), within 8 dB."""
    ascending = float(noise.uniform(acquisition_key, 12)) < 0.5
    towards = -scene.slope_east if ascending else scene.slope_east  # looks east when ascending
    tilt = -np.arctan(towards)
    local = np.clip(np.radians(angle) - tilt, np.radians(8), np.radians(85))
    return np.clip(10 * np.log10(np.tan(np.radians(angle)) / np.tan(local)), -8, 8)


def speckle(random: np.random.Generator, size: int) -> np.ndarray:
    """Speckle of mean 1 in power, (size, size): gamma-like with 4.4 looks, neighbours correlated.

    Each look is the power of a complex normal field, smoothed because the resolution of
    IW GRD (20 x 22 m) is coarser than its pixels.

    Example:
        >>> field = speckle(np.random.default_rng(0), 400)
        >>> bool(4.0 < field.mean() ** 2 / field.var() < 4.9)
        True
    """
    kernel = np.array([0.45, 1.0, 0.45])
    kernel /= np.sqrt(np.sum(kernel**2))
    field = random.standard_normal((2 * _LOOK_WEIGHTS.size, size + 2, size + 2))
    field = kernel[0] * (field[:, :-2] + field[:, 2:]) + kernel[1] * field[:, 1:-1]
    field = kernel[0] * (field[:, :, :-2] + field[:, :, 2:]) + kernel[1] * field[:, :, 1:-1]
    power = 0.5 * (field[0::2] ** 2 + field[1::2] ** 2)
    return np.tensordot(_LOOK_WEIGHTS / _LOOK_WEIGHTS.sum(), power, axes=1)


def acquire(key, acquisition_key, scene, conditions, missing, random) -> dict[str, np.ndarray]:
    """VV and VH of a patch as stored: float32 dB, (120, 120) each.

    Args:
        key: key of the world (parcel effects).
        acquisition_key: key of tile and date (rain, wind, viewing angle).
        scene: the ground that is seen, with `MARGIN` pixels around.
        conditions: the climate and date that are seen.
        missing: probability that a few pixels are -inf (zero power) or NaN (no data).
        random: generator of the patch, for speckle and missing pixels.
    """
    inner = slice(MARGIN, -MARGIN)
    power = 10 ** (backscatter_db(key, acquisition_key, scene, conditions)[:, inner, inner] / 10)
    stored = {}
    for name, image in zip(("VV", "VH"), power, strict=True):
        image = (image + 10 ** (NOISE_FLOOR_DB / 10)) * speckle(random, image.shape[0])
        stored[name] = (10 * np.log10(image)).astype(np.float32)
    if random.random() < missing:
        name, value = ("VH", -np.inf) if random.random() < 0.5 else ("VV", np.nan)
        row, column = random.integers(0, stored[name].shape[0] - 3, 2)
        stored[name][row : row + int(random.integers(1, 4)), column : column + int(random.integers(1, 4))] = value
    return stored
