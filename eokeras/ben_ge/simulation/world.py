"""The knobs of a simulated world: which target leaves a trace in which modality."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields, replace

from eokeras.errors import InvalidArgumentError, check_choice

MODALITIES = ("s2", "s1", "dem", "era5")
TARGETS = ("climate_zone", "land_cover_map", "season")


@dataclass(frozen=True)
class World:
    """Strengths of the links between targets and modalities, and the noise of the labels.

    A link `TARGET_from_MODALITY` is the probability in [0, 1] that the modality shows the
    true target. Where a link is broken, the modality is rendered from a decoy instead: a place
    on another continent made by the same rules, or another date; different for every modality,
    so that the data look the same and tell nothing.

    * `land_cover_map_from_s2`, `land_cover_map_from_s1`: drawn per parcel. A broken parcel
      shows the ground of the decoy place (classes, parcel borders, relief). At 0 every pixel
      does, and not even an outline of the true map is left.
    * `land_cover_map_from_dem`: drawn per tile; relief and canopy of the decoy place.
    * `climate_zone_from_*`: drawn per tile. Decoy climate: temperatures, snow and the course
      of vegetation (s2), soil moisture and frost (s1), height above the sea (dem), air
      temperature, humidity and pressure level (era5).
    * `season_from_*`: drawn per tile and date. Decoy date: state of vegetation, snow and
      sun (s2), crops, moisture and frost (s1), air temperature and humidity (era5).

    Targets depend on one another (land cover on climate), so a broken link leaves the
    detours: s2 with `climate_zone_from_s2=0` still shows land cover that grows in the
    true climate, and s1 with `land_cover_map_from_s1=0` still gets brighter or darker as a whole with
    climate and season. Only `without(modality)`, all links of a modality at 0, makes the modality
    independent of every target, and `null()` does so for all. Two pairs have no link of their
    own: a DEM carries no date, and the weather of a patch shows no map.

    Args:
        cloud_fraction: expected share of Sentinel-2 pixels under cloud, 0 to 0.9.
        label_noise: share of parcels (but water) whose class in the land-cover map is drawn anew, 0 to 1.
        s1_missing: share of patches with a few Sentinel-1 pixels of -inf or NaN, 0 to 1.

    Raises:
        InvalidArgumentError: a knob is no number or out of its range.

    Example:
        >>> World().without("s1").land_cover_map_from_s1
        0.0
    """

    land_cover_map_from_s2: float = 1.0
    land_cover_map_from_s1: float = 1.0
    land_cover_map_from_dem: float = 1.0
    climate_zone_from_s2: float = 1.0
    climate_zone_from_s1: float = 1.0
    climate_zone_from_dem: float = 1.0
    climate_zone_from_era5: float = 1.0
    season_from_s2: float = 1.0
    season_from_s1: float = 1.0
    season_from_era5: float = 1.0
    cloud_fraction: float = 0.015
    label_noise: float = 0.05
    s1_missing: float = 0.02

    def __post_init__(self):
        for name in self.names():
            value, high = getattr(self, name), 0.9 if name == "cloud_fraction" else 1.0
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not (math.isfinite(value) and 0 <= value <= high):
                raise InvalidArgumentError(f"`{name}` must be a number from 0 to {high}. Received: {name}={value!r}.")
            object.__setattr__(self, name, float(value))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of all knobs."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def null(cls) -> "World":
        """The world in which no modality tells anything about any target."""
        world = cls()
        for modality in MODALITIES:
            world = world.without(modality)
        return world

    def without(self, modality: str) -> "World":
        """The same world, but `modality` is independent of every target.

        Raises:
            InvalidArgumentError: `modality` is none of s2, s1, dem, era5.
        """
        check_choice("modality", modality, MODALITIES)
        return replace(self, **{name: 0.0 for name in self.names() if name.endswith(f"_from_{modality}")})

    def link(self, target: str, modality: str) -> float:
        """Strength of one link; 1 where none exists (nothing to break)."""
        return getattr(self, f"{target}_from_{modality}", 1.0)

    @property
    def knobs(self) -> dict[str, float]:
        """All knobs by name."""
        return asdict(self)

    @property
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the knobs as canonical JSON."""
        text = json.dumps(self.knobs, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
