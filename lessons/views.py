"""Pictures of a patch as pixels (H, W, 3) of 0..255, looking the same in every lesson.

A patch is the features that `eokeras.ben_ge.Source.read` gives.
"""

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np

from eokeras.ben_ge import schema
from eokeras.plot import hillshade, land_cover_rgb, true_colour


def optical(patch) -> np.ndarray:
    """True colour, reflectance 0 to 0.3."""
    return as_bytes(true_colour(patch["s2_10m"], schema.RASTERS["s2_10m"].bands))


def radar(patch, channel: int = 0) -> np.ndarray:
    """VV (or VH, channel 1)."""
    return grey(patch["s1"][..., channel])


def grey(decibels) -> np.ndarray:
    """-25 dB black, 0 dB white; no data in the middle."""
    shown = np.clip((np.nan_to_num(decibels, nan=-12.5) + 25) / 25, 0, 1)
    return as_bytes(np.repeat(shown[..., np.newaxis], 3, axis=-1))


def elevation(patch) -> np.ndarray:
    """Height from lowest to highest in colour, with hillshade."""
    metres = patch["dem"][..., 0].astype(float)
    share = (metres - metres.min()) / max(np.ptp(metres), 1)
    shade = hillshade(metres)[..., None] / math.sqrt(0.5)  # flat ground keeps its colour
    return as_bytes(mpl.colormaps["cividis"](share)[..., :3] * (0.35 + 0.65 * shade))


def land_cover(patch) -> np.ndarray:
    """WorldCover in its official colours."""
    codes = [entry.code for entry in schema.LAND_COVER]
    return as_bytes(land_cover_rgb(np.searchsorted(codes, patch["land_cover_map"])))


def most_varied(patches: Sequence) -> int:
    """Index of the clear patch of the most varied land cover."""

    def variety(index):
        shares = patches[index]["land_cover_fractions"]
        clear = np.percentile(patches[index]["s2_10m"][..., 0], 98) < 2000  # blue: neither clouds nor snow
        return clear * -float(np.sum(shares[shares > 0] * np.log(shares[shares > 0])))

    return max(range(len(patches)), key=variety)


def as_bytes(colours) -> np.ndarray:
    """0..1 -> 0..255."""
    return (np.clip(colours, 0, 1) * 255).round().astype("uint8")
