"""Sentinel-2 L2A of a landscape: spectra, phenology, snow, light, haze, clouds, sensor.

All bands are made at 10 m and averaged to their sampling distance.
"""

from dataclasses import dataclass
from datetime import datetime
from statistics import NormalDist

import numpy as np

from eokeras.ben_ge.schema import S2_BANDS
from eokeras.ben_ge.simulation import noise
from eokeras.ben_ge.simulation.climate import Climate, greenness, snow_chance
from eokeras.ben_ge.simulation.cover_types import (
    BROWN,
    COVER_TYPES,
    DRYNESS_BANDS,
    EFFECTS,
    GREEN,
    REDNESS_BANDS,
    TEXTURE,
    TYPE_INDEX,
    WATER,
)
from eokeras.ben_ge.simulation.land_cover import MARGIN, Landscape
from eokeras.ben_ge.simulation.tiles import sun_elevation

_WAVELENGTH_NM = np.array([band.wavelength_nm for band in S2_BANDS])
HAZE = (_WAVELENGTH_NM / 490) ** -1.6  # path radiance left over, between Rayleigh (-4) and thick aerosol (-1)
_SNOW = GREEN[TYPE_INDEX["perpetual snow"]]
_CLOUD = np.array([0.62, 0.60, 0.58, 0.59, 0.60, 0.61, 0.62, 0.62, 0.63, 0.40, 0.44, 0.33])
_DIFFUSE = np.clip(0.30 * (_WAVELENGTH_NM / 490) ** -2.0, 0.02, 0.45)  # share of sky light (clear sky)
# Signal-to-noise of the handbook is 100-170 at reference radiance; residual L2A error adds to it.
_NOISE_FLOOR, _NOISE_SHARE = 0.0012, 0.006


@dataclass(frozen=True)
class Conditions:
    """What the sensors see beside the ground: the date and the climate as they appear."""

    climate: Climate
    when: datetime
    longitude: float
    latitude: float

    @property
    def day(self) -> int:
        """Day of the year, 1 to 366."""
        return self.when.timetuple().tm_yday


def parcel_effects(key: int, scene: Landscape) -> dict[str, np.ndarray]:
    """Standard normal random effects of every pixel's parcel."""
    names = ("greenness", "brightness", "dryness", "redness")
    return {name: scene.parcel_normal(noise.key_of(key, name)) for name in names}


def leaf_state(cover: np.ndarray, conditions: Conditions) -> np.ndarray:
    """Mean greenness of every pixel's cover type, (H, W)."""
    course = greenness(conditions.climate, float(conditions.day))
    return np.array([course[entry.growth] for entry in COVER_TYPES])[cover]


def ground_reflectance(key: int, acquisition_key: int, scene: Landscape, conditions: Conditions) -> np.ndarray:
    """Reflectance of the lit ground, (12, H, W), float32."""
    effects = parcel_effects(key, scene)
    drift = scene.parcel_normal(noise.key_of(acquisition_key, "greenness"))
    state = leaf_state(scene.cover, conditions)
    patchy = 0.05 * noise.field(noise.key_of(key, "vigour"), 60, scene.x, scene.y)
    state = np.clip(state + EFFECTS.greenness * (0.8 * effects["greenness"] + 0.6 * drift) + patchy, 0, 1)
    log_factor = {
        "brightness": EFFECTS.brightness * effects["brightness"] * np.where(WATER, 0.3, 1.0)[scene.cover],
        "dryness": EFFECTS.dryness * effects["dryness"],
        "redness": EFFECTS.redness * effects["redness"],
    }
    grain = 0.8 * noise.field(noise.key_of(key, "grain"), 11, scene.x, scene.y)
    grain = grain + 0.6 * noise.field(noise.key_of(key, "grain", 1), 30, scene.x, scene.y)
    log_factor["brightness"] = log_factor["brightness"] + TEXTURE[scene.cover] * grain
    common = np.exp(log_factor["brightness"])
    turbid = np.clip(0.5 + 0.5 * noise.field(noise.key_of(key, "turbidity"), 2_500, scene.x, scene.y), 0, 2)
    state, common = state.astype(np.float32), common.astype(np.float32)
    log_factor = {name: value.astype(np.float32) for name, value in log_factor.items()}
    brown, green = BROWN.astype(np.float32), GREEN.astype(np.float32)
    reflectance = np.empty((len(S2_BANDS), *scene.cover.shape), np.float32)
    for band in range(len(S2_BANDS)):
        spectrum = brown[:, band][scene.cover] * (1 - state) + green[:, band][scene.cover] * state
        tint = float(DRYNESS_BANDS[band]) * log_factor["dryness"] + float(REDNESS_BANDS[band]) * log_factor["redness"]
        reflectance[band] = spectrum * common * np.exp(tint)
    mud = 0.014 * np.exp(-(((_WAVELENGTH_NM - 590) / 130) ** 2))
    inland = scene.cover == TYPE_INDEX["inland water"]
    reflectance += mud[:, None, None] * (turbid * inland)
    _add_snow(reflectance, key, scene, conditions)
    return reflectance


def _add_snow(reflectance, key, scene, conditions) -> None:
    """Snow by the warmth of every height; trees keep most of it below them; in place."""
    lapse = 0.0065 * (scene.elevation - conditions.climate.height)
    lapse = np.clip(lapse, -4, 4)
    chance = snow_chance(conditions.climate, float(conditions.day), lapse)
    if chance.max() < 0.02:
        return
    aspect = 1.2 * scene.slope_north  # southern slopes melt first
    drifts = 0.7 * noise.field(noise.key_of(key, "snow"), 150, scene.x, scene.y)
    drifts = drifts + 0.5 * noise.field(noise.key_of(key, "snow", 1), 25, scene.x, scene.y)
    cover = 1 / (1 + np.exp(-(np.log((chance + 1e-4) / (1 - chance + 1e-4)) * 1.5 + drifts - aspect) / 0.5))
    hidden = np.array([SNOW_SHOWN.get(entry.name, 0.92) for entry in COVER_TYPES])[scene.cover]
    cover = cover * np.where(WATER[scene.cover], 0, hidden)
    cover = cover.astype(np.float32)
    reflectance *= 1 - cover
    reflectance += _SNOW.astype(np.float32)[:, None, None] * (cover * np.float32(0.85))


SNOW_SHOWN = {
    "broad-leaved forest": 0.42, "coniferous forest": 0.16, "transitional woodland": 0.6, "sclerophyllous shrub": 0.6,
    "houses and gardens": 0.5, "works and shops": 0.5, "road": 0.2,
}  # fmt: skip


def illumination(scene: Landscape, conditions: Conditions) -> np.ndarray:
    """Light on the slopes relative to flat ground, (12, H, W): direct (cosine) and diffuse."""
    elevation = np.radians(max(sun_elevation(conditions.latitude, conditions.when, conditions.longitude), 8.0))
    hour = (conditions.when.hour + conditions.when.minute / 60) + conditions.longitude / 15
    azimuth = np.radians(180 + 15 * (hour - 12) * 1.2)
    tilt = 1 / np.sqrt(1 + scene.slope_east**2 + scene.slope_north**2)
    east, north = np.cos(elevation) * np.sin(azimuth), np.cos(elevation) * np.cos(azimuth)
    cosine = (np.sin(elevation) - scene.slope_east * east - scene.slope_north * north) * tilt
    direct = np.clip(cosine / np.sin(elevation), 0.05, 2.2)
    share = np.clip(_DIFFUSE * (1 + 0.4 / np.sin(elevation)) / 1.6, 0, 0.6)[:, None, None]
    return (share + (1 - share) * direct).astype(np.float32)


def clouds(acquisition_key: int, fraction: float, scene: Landscape) -> tuple[np.ndarray, np.ndarray]:
    """Optical cover of clouds and of their shadows, both (H, W) in 0..1."""
    if fraction <= 0:
        return np.zeros(scene.cover.shape), np.zeros(scene.cover.shape)
    threshold = NormalDist().inv_cdf(1 - fraction)

    def cover(x, y):
        weights = (0.82, 0.46, 0.26, 0.18, 0.12)
        spacings = (9_000, 900, 350, 130, 50)
        total = sum(
            weight * noise.field(noise.key_of(acquisition_key, "cloud", spacing), spacing, x, y)
            for weight, spacing in zip(weights, spacings, strict=True)
        )
        return np.clip((total / np.sqrt(np.sum(np.square(weights))) - threshold) / 0.22 + 0.5, 0, 1)

    # Clouds at about 1 km cast their shadows to the north-west in the European morning.
    return cover(scene.x, scene.y), cover(scene.x + 550, scene.y - 700)


def acquire(key, acquisition_key, scene, conditions, cloud_fraction, random) -> dict[str, np.ndarray]:
    """The 12 bands of a patch as stored.

    Args:
        key: key of the world (parcel effects, textures).
        acquisition_key: key of tile and date (haze, clouds, state of the parcels).
        scene: the ground that is seen, with `MARGIN` pixels around.
        conditions: the climate and date that are seen.
        cloud_fraction: expected share of pixels under cloud.
        random: generator of the patch, for the sensor noise.

    Returns:
        band name -> uint16 digital numbers, (120, 120), (60, 60) or (20, 20) by band.
    """
    reflectance = ground_reflectance(key, acquisition_key, scene, conditions)
    reflectance *= illumination(scene, conditions)
    cloud, shadow = (image.astype(np.float32) for image in clouds(acquisition_key, cloud_fraction, scene))
    haze = 0.004 + 0.010 * float(noise.uniform(acquisition_key, 7)) ** 2
    veil = haze * np.clip(1 + 0.3 * noise.field(noise.key_of(acquisition_key, "veil"), 3_000, scene.x, scene.y), 0.2, 2)
    puffs = 0.25 * np.clip(noise.field(noise.key_of(acquisition_key, "puffs"), 90, scene.x, scene.y), -2, 2)
    for band, image in enumerate(reflectance):
        image *= 1 - shadow * float(0.8 * (1 - 1.1 * _DIFFUSE[band]))
        image += (veil * HAZE[band]).astype(np.float32)
        if cloud.any():
            image += cloud * ((0.75 + puffs) * _CLOUD[band] - image).astype(np.float32)
    stored = {}
    for index, band in enumerate(S2_BANDS):
        image = _sample(reflectance[index], band.gsd_m)
        sigma = np.sqrt(_NOISE_FLOOR**2 + (_NOISE_SHARE * image) ** 2)
        image = image + sigma * random.standard_normal(image.shape, dtype=np.float32)
        stored[band.name] = np.clip(np.round(image / band.scale), 1, 20_000).astype(np.uint16)
    return stored


def _sample(image: np.ndarray, gsd_m: int) -> np.ndarray:
    """Point spread (binomial, about 12 m wide at half height) and block mean of 10 m truth."""
    blurred = image[1:-1] * 0.66 + (image[:-2] + image[2:]) * 0.17
    blurred = blurred[:, 1:-1] * 0.66 + (blurred[:, :-2] + blurred[:, 2:]) * 0.17
    blurred = blurred[MARGIN - 1 : 1 - MARGIN, MARGIN - 1 : 1 - MARGIN]
    step = gsd_m // 10
    size = blurred.shape[0] // step
    return blurred.reshape(size, step, size, step).mean(axis=(1, 3))
