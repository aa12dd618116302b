"""Climate normals, Köppen-Geiger zones, phenology and the weather of a day.

Sources: lapse rate 6.5 K/km (ISO 2533); Köppen-Geiger rules as in Beck et al. 2018,
https://doi.org/10.1038/sdata.2018.214, Table 2; normals tuned by hand to European stations
(Lisbon, Dublin, Vienna, Belgrade, Helsinki, Sodankylä, Säntis) to about 2 K and 30 %.
"""

from dataclasses import dataclass

import numpy as np

from eokeras.ben_ge.schema import CLIMATE_ZONES
from eokeras.ben_ge.simulation.noise import field, key_of
from eokeras.ben_ge.simulation.terrain import continental, macro_elevation, smoothstep

_MONTHS = np.arange(12)
_ZONE_CODES = tuple(zone.code for zone in CLIMATE_ZONES)
# Zones that ben-ge does not have become the zone next to them that it has.
_NEAREST = {4: 7, 5: 7, 6: 7, 10: 9, 11: 14, 12: 15, 13: 16, 17: 18, 19: 18, 20: 27, 21: 25, 22: 26, 23: 27, 24: 27}
_NEAREST |= {28: 27, 30: 29}
PRESSURE_LEVELS = np.array([1000, 975, 950, 925, 900, 875, 850, 825, 800, 775, 750, 700, 650, 600])  # ERA-5, mbar


@dataclass(frozen=True)
class Climate:
    """Normals of one place (floats) or of many (arrays of one shape)."""

    annual: np.ndarray  # mean temperature at `height`, °C
    amplitude: np.ndarray  # half the range of the monthly means, K
    rain: np.ndarray  # annual precipitation, mm
    dry_summer: np.ndarray  # 0 even over the year .. 1 Mediterranean
    height: np.ndarray  # elevation the temperatures hold for, m

    @property
    def july(self):
        """Mean temperature of the warmest month, °C."""
        return self.annual + self.amplitude

    @property
    def aridity(self):
        """Precipitation over a potential evaporation of 60 mm per K of mean temperature."""
        return self.rain / np.maximum(60 * (self.annual + 5), 60)

    def temperature(self, day):
        """Mean temperature in °C on a day of the year (coldest on 20 January)."""
        return self.annual - self.amplitude * np.cos(2 * np.pi * (day - 20) / 365)


def climate_at(seed: int, x, y, latitude: float, height=None) -> Climate:
    """Climate normals at world coordinates; `height` defaults to the regional elevation."""
    inland = np.clip(continental(seed, x, y), 0, 2.4)
    height = macro_elevation(seed, x, y) if height is None else height
    odd = [field(key_of(seed, "climate", k), 250_000, x, y) for k in range(3)]
    sea_level = 16.8 - 0.53 * (latitude - 38) - 1.2 * smoothstep(62, 70, np.asarray(latitude))
    annual = sea_level + 0.9 * odd[0] - 0.0065 * height
    amplitude = 5.4 + 2.7 * inland + 0.15 * (latitude - 38) + 0.5 * odd[1]
    rain = 430 + 620 * np.exp(-inland / 0.5) + 0.35 * height + 130 * odd[2]
    south = 1 - smoothstep(41.0, 46.5, latitude + 0.9 * odd[1] + 1.2 * inland)
    rain = rain - 130 * south - 2.5 * np.clip(latitude - 55, 0, 15)
    return Climate(annual, amplitude, np.maximum(rain, 180.0), south, height)


def zone_code(climate: Climate) -> int:
    """Köppen-Geiger code (Beck 2018 legend) of one place, among the zones ben-ge has."""
    temperature = climate.annual - climate.amplitude * np.cos(2 * np.pi * (_MONTHS + 0.5 - 0.65) / 12)
    # Mediterranean summers keep a seventh of the rain of the winter, others a little more.
    course = 1 + climate.dry_summer * 0.9 * np.cos(2 * np.pi * (_MONTHS - 0) / 12)
    course = course - (1 - climate.dry_summer) * 0.25 * np.cos(2 * np.pi * _MONTHS / 12)
    code = _koppen(temperature, climate.rain / 12 * course)
    return code if code in _ZONE_CODES else _NEAREST[code]


def _koppen(temperature: np.ndarray, rain: np.ndarray) -> int:
    """Köppen-Geiger code from 12 monthly means in °C and mm, northern hemisphere, not tropical."""
    summer, winter = rain[3:9], rain[[9, 10, 11, 0, 1, 2]]
    annual, hottest, coldest = temperature.mean(), temperature.max(), temperature.min()
    share = summer.sum() / rain.sum()
    threshold = 2 * annual + (28 if share > 0.7 else 0 if share < 0.3 else 14)
    if hottest < 10:
        return 29 if hottest > 0 else 30
    if rain.sum() < 10 * threshold:
        desert = rain.sum() < 5 * threshold
        return (4 if annual >= 18 else 5) if desert else (6 if annual >= 18 else 7)
    dry_summer = summer.min() < 40 and summer.min() < winter.max() / 3
    dry_winter = winter.min() < summer.max() / 10
    heat = 0 if hottest >= 22 else 1 if (temperature >= 10).sum() >= 4 else 3 if coldest < -38 else 2
    if coldest > 0:
        return (8 if dry_summer else 11 if dry_winter else 14) + min(heat, 2)
    return (17 if dry_summer else 21 if dry_winter else 25) + heat


# ------------------------------------------------------------------------- phenology


def _sigmoid(value):
    return 1 / (1 + np.exp(-np.clip(value, -40, 40)))


def _bump(day, peak, width):
    """A bell over the circular year."""
    distance = (np.asarray(day) - peak + 182.5) % 365 - 182.5
    return np.exp(-0.5 * (distance / width) ** 2)


def drought(climate: Climate, day):
    """0 wet .. 1 parched: dry summers and arid climates, late in summer."""
    arid = _sigmoid((0.75 - climate.aridity) / 0.12)
    return np.clip((0.9 * climate.dry_summer + 0.5 * arid) * _bump(day, 218, 48), 0, 1)


def greenness(climate: Climate, day) -> dict[str, np.ndarray]:
    """Green leaf state (0 bare or dry, 1 full) of each kind of vegetation on a day of the year.

    Leaf-out and fall follow temperature thresholds; winter cereals are green in spring and
    ripe by July, summer crops green from June to September, both earlier in warm climates
    (crop calendar: JRC MARS bulletins).
    """
    warm, dry = climate.temperature(day), drought(climate, day)
    lag = climate.temperature(day - 12)  # leaves follow the warmth of the last weeks
    early = np.clip((climate.annual - 9) * 3.5, -25, 30)  # days
    grass = (0.25 + 0.75 * _sigmoid((warm - 4.5) / 2.2)) * (1 - 0.85 * dry)
    cereal = 0.95 * _bump(day, 142 - early, 30) + 0.35 * _bump(day, 330, 35) + 0.45 * _bump(day, 75 - early, 30)
    return {
        "deciduous": _sigmoid((lag - 9.5) / 1.3),
        "evergreen": 0.8 + 0.2 * _sigmoid((warm - 5) / 3),
        "scrub": (0.45 + 0.4 * _sigmoid((warm - 7) / 2.5)) * (1 - 0.35 * dry),
        "grass": grass,
        "wild_grass": (0.1 + 0.75 * _sigmoid((warm - 7.5) / 2.0)) * (1 - 0.9 * dry),
        "cereal": np.clip(cereal, 0, 1) * (1 - 0.5 * dry),
        "summer_crop": np.clip(1.05 * _bump(day, 212 - 0.5 * early, 34), 0, 1) * (1 - 0.25 * dry),
        "tree_crop": (0.25 + 0.35 * _sigmoid((warm - 9) / 2)) * (1 - 0.4 * dry),
        "fallow": 0.12 + 0.12 * _sigmoid((warm - 6) / 2),
        "reed": 0.1 + 0.85 * _sigmoid((lag - 10.5) / 1.8),
        "tundra": 0.15 + 0.45 * _sigmoid((warm - 5) / 2),
        "garden": 0.35 + 0.45 * _sigmoid((warm - 6) / 3) * (1 - 0.5 * dry),
        "none": np.zeros_like(warm),
    }


def snow_chance(climate: Climate, day, colder=0.0):
    """Share of the ground under snow, 0..1, from the temperature some weeks before."""
    return _sigmoid((-2.0 - climate.temperature(day - 15) - colder) / 1.1)


# ------------------------------------------------------------------------- weather


def weather(random: np.random.Generator, climate: Climate, day: int) -> tuple[float, float, float, float]:
    """Air temperature (K), wind u and v (m/s), relative humidity (%) at a pressure level.

    Day-to-day standard deviations of 3.5 K, 4 m/s and 11 % are typical of Europe in
    ERA-5 (Hersbach et al. 2020, https://doi.org/10.1002/qj.3803).
    """
    anomaly = random.normal(0, 3.5)
    temperature = climate.temperature(day) + 273.15 + anomaly + 1.5
    u, v = random.normal(1.6, 4.0), random.normal(0.4, 4.0)
    mean = humidity(climate, day)
    return float(temperature), float(u), float(v), float(np.clip(mean - 0.8 * anomaly + random.normal(0, 11), 8, 100))


def humidity(climate: Climate, day) -> float:
    """Mean relative humidity in %: moist by the sea and in winter, dry in parched summers."""
    return (
        64
        + 9 * np.clip(climate.aridity - 1, -1, 1.5)
        + 8 * np.cos(2 * np.pi * (day - 10) / 365)
        - 22 * drought(climate, day)
    )


def pressure_level(height: float) -> int:
    """The ERA-5 pressure level (mbar) nearest to the ground of a place."""
    pressure = 1013.25 * np.exp(-max(height, 0.0) / 8400)
    return int(PRESSURE_LEVELS[np.argmin(np.abs(PRESSURE_LEVELS - pressure))])
