"""Numbers of a patch -> colours as every figure shows them.

Letters: H rows, W columns, C channels.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from eokeras.ben_ge import schema as facts
from eokeras.errors import InvalidArgumentError

REFLECTANCE_RANGE = (0.0, 0.3)
GAMMA = 0.7  # display = stretched reflectance ** GAMMA
VOID_COLOUR = (0.0, 0.0, 0.0)  # no WorldCover colour is near black; "snow and ice" is near white
TRUE_COLOUR = ("B04", "B03", "B02")
_PIXEL_M = 10


def true_colour(
    s2: np.ndarray,
    bands: Sequence[str] = facts.CHANNELS["s2"],
    reflectance: Mapping[str, Mapping[str, float]] | None = None,
) -> np.ndarray:
    """Stored digital numbers (H, W, C) -> RGB in 0..1, (H, W, 3): reflectance 0 to 0.3, gamma 0.7.

    Args:
        s2: digital numbers, last axis in the order `bands`.
        bands: channel names; B04, B03 and B02 must be among them.
        reflectance: `load_schema(records).reflectance`; by default scale and offset of BigEarthNet v1.

    Raises:
        InvalidArgumentError: a band is missing, or `s2` has another number of channels.
    """
    bands = tuple(bands)
    if not set(TRUE_COLOUR) <= set(bands) or np.shape(s2)[-1] != len(bands):
        raise InvalidArgumentError(
            f"`bands` must name every channel and hold {TRUE_COLOUR}. Received: {bands} for shape={np.shape(s2)}."
        )
    numbers = {band.name: {"scale": band.scale, "offset": band.offset} for band in facts.S2_BANDS}
    numbers |= reflectance or {}
    chosen = np.asarray(s2, "float32")[..., [bands.index(name) for name in TRUE_COLOUR]]
    scale, offset = (np.array([numbers[name][key] for name in TRUE_COLOUR], "float32") for key in ("scale", "offset"))
    low, high = REFLECTANCE_RANGE
    return np.clip((chosen * scale + offset - low) / (high - low), 0, 1) ** GAMMA


def hillshade(elevation: np.ndarray, pixel_m: float = _PIXEL_M, relief: float = 2.0) -> np.ndarray:
    """Elevation in metres (H, W), north up -> brightness in 0..1 under light from the north-west, 45° high.

    Args:
        pixel_m: ground size of a pixel in metres.
        relief: exaggeration of heights.
    """
    north_south, west_east = np.gradient(np.asarray(elevation, "float64") * relief, pixel_m)
    normal = np.stack([-west_east, north_south, np.ones_like(west_east)], axis=-1)  # east, north, up
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    light = np.array([-0.5, 0.5, math.sqrt(0.5)])
    return np.clip(normal @ light, 0, 1)


def land_cover_rgb(class_ids: np.ndarray) -> np.ndarray:
    """Class ids (H, W) -> official WorldCover colours (H, W, 3) in 0..1; `VOID` is black."""
    table = np.ones((facts.VOID + 1, 3))
    table[: len(facts.LAND_COVER)] = np.array([entry.colour for entry in facts.LAND_COVER]) / 255
    table[facts.VOID] = VOID_COLOUR
    return table[np.asarray(class_ids, "int64")]
