"""Latent variables of a world, drawn without pixels: places, dates, parcels, observations.

`Contexts` are patches to be: a place, its climate, a date. For every modality a context has
a scene vector (what the whole patch shows) and, for the land-cover map, every cover type has
a normal distribution of what one of its parcels shows. `information` turns both into scores.
"""

from dataclasses import dataclass

import numpy as np

from eokeras.ben_ge.schema import season
from eokeras.ben_ge.simulation import noise, sentinel1, sentinel2
from eokeras.ben_ge.simulation.climate import Climate, climate_at, greenness, humidity, snow_chance, zone_code
from eokeras.ben_ge.simulation.cover_types import (
    BROWN,
    COVER_TYPES,
    DRYNESS_BANDS,
    EFFECTS,
    GREEN,
    HEIGHT_M,
    LEAF_DB,
    REDNESS_BANDS,
    SCATTER_DB,
    SIGMA_DB,
    TYPE_INDEX,
    VEGETATED,
    WATER,
    WET_DB,
)
from eokeras.ben_ge.simulation.land_cover import layer_shares, type_logits
from eokeras.ben_ge.simulation.terrain import continental, macro_elevation, roughness
from eokeras.ben_ge.simulation.tiles import CELLS_PER_EDGE, TILES, latitude_of, world_corner

_LOCALS = 8  # draws of slope, moisture and woodedness per context
_SEASONS = np.array(
    [
        season(month + 1, day)
        for month, days in enumerate((31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31))
        for day in range(1, days + 1)
    ]
)


@dataclass(frozen=True)
class Contexts:
    """n places with dates; arrays of length n unless said otherwise."""

    climate: Climate
    latitude: np.ndarray
    day: np.ndarray  # of the year, 1..365
    zone: np.ndarray  # Köppen-Geiger code, 0 at sea
    relief: np.ndarray  # m
    season: np.ndarray
    sea: np.ndarray  # bool
    local: dict[str, np.ndarray]  # slope, moisture, forest of one parcel
    types_here: np.ndarray  # (n, types) probabilities given that parcel's local variables
    types: np.ndarray  # (n, types) probabilities of the patch, local variables averaged out


def draw_contexts(seed: int, count: int, random: np.random.Generator) -> Contexts:
    """Patches as `tiles.plan` would choose them: tiles alike, days alike, a sixth of the sea kept."""
    world = noise.key_of(seed, "world")
    pool = 2 * count
    tiles = random.integers(len(TILES), size=pool)
    corners = np.array([world_corner(tile, (0, 0)) for tile in TILES])[tiles]
    x = corners[:, 0] + random.uniform(0, CELLS_PER_EDGE * 1200, pool)
    y = corners[:, 1] - random.uniform(0, CELLS_PER_EDGE * 1200, pool)
    latitude = np.array([latitude_of(value) for value in y])
    day = random.integers(1, 366, pool)
    sea = continental(world, x, y) < 0
    lit = _noon_elevation(latitude, day) > 12
    kept = np.flatnonzero(lit & (~sea | (random.random(pool) < 1 / 6)))[:count]
    x, y, latitude, day, sea = x[kept], y[kept], latitude[kept], day[kept], sea[kept]
    climate = climate_at(world, x, y, latitude, macro_elevation(world, x, y))
    zone = np.array([zone_code(Climate(*values)) for values in zip(*vars(climate).values(), strict=True)])
    relief = roughness(world, x, y)
    local, here, types = _draw_types(climate, relief, sea, latitude, random)
    return Contexts(climate, latitude, day, np.where(sea, 0, zone), relief, _SEASONS[day - 1], sea, local, here, types)


def _noon_elevation(latitude, day):
    declination = 23.45 * np.sin(2 * np.pi * (284 + day) / 365)
    return 90 - np.abs(latitude - declination)


def _draw_types(climate, relief, sea, latitude, random):
    """Local variables of one parcel each, and type probabilities with and without them."""
    shares = layer_shares(climate, relief)
    total = np.zeros((sea.size, len(COVER_TYPES)))
    for draw in range(_LOCALS):
        local = _draw_local(relief, random)
        inland_water = np.where(latitude > 60, 0.10, 0.045)[:, None]
        here = np.zeros_like(total)
        for layer, share in shares.items():
            logits = type_logits(layer, climate, climate.height, **local)
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            here += share[:, None] * odds / odds.sum(axis=1, keepdims=True)
        here *= 1 - inland_water
        here[:, TYPE_INDEX["inland water"]] += inland_water[:, 0]
        here[sea] = np.eye(len(COVER_TYPES))[TYPE_INDEX["sea"]]
        total += here
        if draw == 0:
            first = local, here.copy()
    return *first, total / _LOCALS


def _draw_local(relief, random) -> dict[str, np.ndarray]:
    size = relief.size
    slope = np.degrees(np.arctan(0.0045 * relief * random.rayleigh(0.8, size)))
    bank = random.exponential(1500, size)
    moisture = np.clip(np.exp(-bank / 220) / (1 + (relief / 40) ** 2) + 0.2 * random.standard_normal(size), 0, 1)
    return {"slope": slope, "moisture": moisture, "forest": 1.2 * random.standard_normal(size)}


# ------------------------------------------------------------------ what a scene shows


def scene_vectors(modality: str, climate: Climate, latitude, day) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n, D) of what a whole patch shows of climate and date, and standard deviations (D,).

    s2: leaf state of four kinds of vegetation, snow, height of the sun. s1: soil moisture,
    frost, leaf state of crops. dem: height of the region. era5: temperature, humidity, pressure level.
    """
    if modality == "dem":
        return np.stack([climate.height / 100], axis=1), np.array([0.8])
    course = greenness(climate, day)
    if modality == "s2":
        shown = [course[name] for name in ("deciduous", "grass", "cereal", "summer_crop")]
        shown += [snow_chance(climate, day), _noon_elevation(latitude, day)]
        return np.stack(shown, axis=1), np.array([0.10, 0.10, 0.12, 0.12, 0.12, 6.0])
    if modality == "s1":
        wet = 0.45 * np.cos(2 * np.pi * (day - 20) / 365) + 0.5 * (climate.aridity - 1) - 0.4 * climate.dry_summer
        frozen = 1 / (1 + np.exp((climate.temperature(day - 5) + 1.5) / 1.2))
        shown = [np.clip(wet, -1, 1), frozen, course["cereal"], course["summer_crop"]]
        return np.stack(shown, axis=1), np.array([0.45, 0.2, 0.3, 0.25])
    shown = [climate.temperature(day) + 273.15, humidity(climate, day), climate.height / 100]
    # Two overpasses within three days share most of their weather.
    return np.stack(shown, axis=1), np.array([3.0, 9.0, 1.5])


_GROUPS = {
    "s2": ((10,), (20, 90), (30,), (40,), (50, 60), (70, 100), (80,)),
    "s1": ((10, 20), (50,), (80,), (30, 40, 60, 70, 90, 100)),
}


def composition_vectors(modality: str, types: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Root shares (n, D) of the groups of classes a sensor tells apart, with deviations; None for the rest."""
    if modality not in _GROUPS:
        return None
    codes = np.array([entry.code for entry in COVER_TYPES])
    shares = [types[:, np.isin(codes, group)].sum(axis=1) for group in _GROUPS[modality]]
    return np.sqrt(np.stack(shares, axis=1)), np.full(len(shares), 0.22)


# ------------------------------------------------------------------ what a parcel shows


def parcel_normals(modality: str, contexts: Contexts) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n, types, D) and covariance (n, types, D, D) of what parcels of every type show.

    s2: log reflectance of 12 bands; s1: VV, VH in dB; dem: canopy height in m above its
    surroundings. Means over the parcel: no speckle, no sensor noise.
    """
    course = greenness(contexts.climate, contexts.day)
    leaves = np.stack([np.broadcast_to(course[entry.growth], contexts.day.shape) for entry in COVER_TYPES], axis=1)
    if modality == "s2":
        return _spectra(leaves)
    if modality == "s1":
        return _backscatter(leaves, contexts)
    variance = (0.35 * HEIGHT_M) ** 2 + (1.5 + 0.12 * contexts.relief[:, None]) ** 2
    return np.broadcast_to(HEIGHT_M[:, None], (*leaves.shape, 1)), variance[..., None, None]


def _spectra(leaves):
    reflectance = BROWN * (1 - leaves[..., None]) + GREEN * leaves[..., None]
    parts = [
        (GREEN - BROWN) / reflectance * EFFECTS.greenness,
        np.broadcast_to(EFFECTS.brightness * np.where(WATER, 0.3, 1.0)[:, None], reflectance.shape),
        np.broadcast_to(EFFECTS.dryness * DRYNESS_BANDS, reflectance.shape),
        np.broadcast_to(EFFECTS.redness * REDNESS_BANDS, reflectance.shape),
        0.005 * sentinel2.HAZE / reflectance,
    ]
    covariance = 0.05**2 * np.eye(len(sentinel2.HAZE))  # texture and light left over in the mean of a parcel
    covariance = covariance + sum(part[..., :, None] * part[..., None, :] for part in parts)
    return np.log(reflectance), covariance


def _backscatter(leaves, contexts):
    vectors, _ = scene_vectors("s1", contexts.climate, contexts.latitude, contexts.day)
    wet, frozen = vectors[:, :1], vectors[:, 1:2]
    common = WET_DB * wet + sentinel1.FROST_DB * frozen * (VEGETATED & ~WATER)
    mean = SIGMA_DB + LEAF_DB * leaves[..., None] + common[..., None]
    shared = SCATTER_DB**2 + (0.53 * WET_DB) ** 2 + (1.8 * WATER) ** 2 + 0.4**2
    cross = 0.25 * EFFECTS.cross_db**2
    covariance = np.stack([np.stack([shared + cross, shared - cross]), np.stack([shared - cross, shared + cross])])
    return mean, np.broadcast_to(np.moveaxis(covariance, -1, 0), (*mean.shape, 2))


def hidden_share(contexts: Contexts, cloud_fraction: float) -> np.ndarray:
    """Probability that snow or cloud hides a parcel of a type from Sentinel-2, (n, types)."""
    shown = np.array([sentinel2.SNOW_SHOWN.get(entry.name, 0.92) for entry in COVER_TYPES]) * ~WATER
    return 1 - (1 - snow_chance(contexts.climate, contexts.day)[:, None] * shown) * (1 - cloud_fraction)
