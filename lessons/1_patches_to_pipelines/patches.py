"""The patches that lesson 1 shows, chosen by rules, and what of them only this lesson shows."""

from functools import cache
from pathlib import Path

import numpy as np
from views import as_bytes

import eokeras as eo
from eokeras.ben_ge import schema

TREE = Path("work/ben-ge-sim")
CODES = {entry.name: entry.code for entry in schema.LAND_COVER}


@cache
def patches() -> list[dict]:
    """Features of every patch of the tree that the notebook uses."""
    if not TREE.exists():
        eo.ben_ge.simulate(TREE, patches=400, seed=0, world=eo.ben_ge.World(s1_missing=0.2))
    source = eo.ben_ge.open_source(TREE)
    return [source.read(name).features for name in source.patch_ids]


def band(patch, name: str) -> np.ndarray:
    """One band in reflectance."""
    group = next(group for group in schema.S2_GROUPS if name in schema.RASTERS[group].bands)
    return patch[group][..., schema.RASTERS[group].bands.index(name)] * 1e-4


def share(patch, name: str) -> float:
    return float(np.mean(patch["land_cover_map"] == CODES[name]))


def hero() -> dict:
    """The clear summer patch with trees, houses and water, each at its largest."""
    wanted = ("tree cover", "built-up", "permanent water bodies")
    summer = [patch for patch in patches() if patch["season"] > 0.8 and is_clear(patch)]
    return max(summer, key=lambda patch: min(share(patch, name) for name in wanted))


def is_clear(patch) -> bool:
    """Neither clouds nor snow: hardly a pixel is bright in blue."""
    return float(np.percentile(band(patch, "B02"), 98)) < 0.2


def two_dates() -> tuple[dict, dict]:
    """One cell of fields with snow and without: the greatest change of red light between two of its dates."""
    by_cell: dict[tuple, list[dict]] = {}
    for patch in patches():
        by_cell.setdefault((patch["tile"], *map(int, patch["cell"])), []).append(patch)
    pairs = [sorted(group, key=lambda patch: patch["date"]) for group in by_cell.values() if len(group) > 1]
    pairs = [
        pair for pair in pairs if share(pair[0], "cropland") > 0.3 and share(pair[0], "permanent water bodies") > 0
    ]
    pair = max(pairs, key=lambda pair: abs(np.median(band(pair[0], "B04")) - np.median(band(pair[-1], "B04"))))
    return pair[0], pair[-1]


def own_stretch(patch) -> np.ndarray:
    rgb = np.stack([band(patch, name) for name in ("B04", "B03", "B02")], axis=-1)
    low, high = rgb.min(axis=(0, 1)), rgb.max(axis=(0, 1))
    return as_bytes((rgb - low) / np.maximum(high - low, 1e-4))
