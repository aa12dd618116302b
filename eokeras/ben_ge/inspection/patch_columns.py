"""Where and when the patches of records were taken, kept column by column: some 300 bytes a patch.

Letter: N patches.
"""

import datetime
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from sys import intern

import numpy as np
from rasterio.warp import transform

from eokeras.ben_ge.ground import ground_points
from eokeras.ben_ge.places import Place, parse_name, product_of

SEASONS = ("winter", "spring", "summer", "autumn")
"""Of the northern hemisphere, by month: December to February, and so on, as BigEarthNet counts them."""


class PatchColumns:
    """Names, sides and places of patches; `add` takes a patch's split and features.

    Args:
        splits: names of the splits.
    """

    def __init__(self, splits: Sequence[str]):
        self.splits = tuple(splits)
        self.ids: list[str] = []
        self.places: list[Place] = []
        self._sides, self._lonlat = array("b"), array("d")
        self._gaps: dict[str, Counter] = {side: Counter() for side in self.splits}

    def add(self, side: str, features: Mapping) -> None:
        """Keeps one patch."""
        self.ids.append(features["patch_id"])
        self._sides.append(self.splits.index(side))
        cell = tuple(features["cell"].tolist())
        self.places.append(Place(intern(features["tile"]), cell, intern(features["date"])))
        if "lonlat" in features:
            self._lonlat.extend(features["lonlat"].tolist())
        gap_days = _gap_days(features)
        if gap_days is not None:
            self._gaps[side][gap_days] += 1

    @property
    def sides(self) -> np.ndarray:
        """(N,) place of each patch's split in `splits`."""
        return np.array(self._sides, "int64")

    @property
    def lonlat(self) -> np.ndarray:
        """(N, 2) longitude and latitude [degrees]; (0, 2) where the records state none."""
        return np.array(self._lonlat).reshape(-1, 2)

    @property
    def cells(self) -> np.ndarray:
        """(N,) number of the cell (tile, column, row) of each patch."""
        return _numbers(place[:2] for place in self.places)

    @property
    def visits(self) -> np.ndarray:
        """(N,) number of the cell on a date of each patch."""
        return _numbers(self.places)

    def metres_off(self) -> np.ndarray | None:
        """(N,) metres between longitude and latitude and the place that tile and cell name; None where one is unknown.

        Splits and distances go by tile and cell, maps and geoclusters by longitude and latitude.
        """
        if not len(self.lonlat):
            return None
        try:
            named = ground_points(self.places)
        except ValueError:  # a tile without MGRS name
            return None
        stated = np.transpose(transform("EPSG:4326", "EPSG:4978", *self.lonlat.T.tolist(), [0.0] * len(self.ids)))
        return np.linalg.norm(named - stated, axis=1)

    def by_split(self) -> dict[str, list[str]]:
        """Split -> patch ids."""
        found: dict[str, list[str]] = {side: [] for side in self.splits}
        for patch_id, side in zip(self.ids, self._sides, strict=True):
            found[self.splits[side]].append(patch_id)
        return found

    def groups(self) -> dict[str, dict[str, int]]:
        """Split -> how many acquisitions, tiles and dates its patches are from."""
        found = {side: (set(), set(), set()) for side in self.splits}
        for patch_id, place, side in zip(self.ids, self.places, self._sides, strict=True):
            for group, value in zip(
                found[self.splits[side]], (product_of(patch_id), place.tile, place.date), strict=True
            ):
                group.add(value)
        names = ("acquisitions", "tiles", "dates")
        return {side: dict(zip(names, map(len, sets), strict=True)) for side, sets in found.items()}

    def seasons(self) -> dict[str, dict[str, int]]:
        """Season -> split -> patches, by the month of the date."""
        return self.tally(SEASONS[int(place.date[5:7]) % 12 // 3] for place in self.places)

    def tally(self, values) -> dict[str, dict[str, int]]:
        """Value -> split -> patches, the commonest first; `values` holds one for every patch."""
        counts = Counter(zip(values, self._sides, strict=True))
        totals: Counter = Counter()
        for (value, _), count in counts.items():
            totals[value] += count
        order = sorted(totals, key=lambda value: (-totals[value], str(value)))
        return {value: {side: counts[value, index] for index, side in enumerate(self.splits)} for value in order}

    def gaps(self) -> dict[str, dict[str, int]]:
        """Split -> days from the Sentinel-2 to the Sentinel-1 date (as text) -> patches; empty without both."""
        return {
            side: {str(days): counts[days] for days in sorted(counts)} for side, counts in self._gaps.items() if counts
        }


def _gap_days(features: Mapping) -> int | None:
    """Days from the Sentinel-2 to the Sentinel-1 image; dates alone, since the time in a name drops its zeros."""
    if "patch_id_s1" not in features or not features["patch_id"].startswith("S2"):
        return None
    try:
        dates = [features[name][:10] for name in ("timestamp_s2", "timestamp_s1") if name in features]
        if len(dates) < 2:
            dates = [features["date"], parse_name(features["patch_id_s1"]).date]
        first, second = map(datetime.date.fromisoformat, dates)
    except ValueError:
        return None
    return (second - first).days


def _numbers(values) -> np.ndarray:
    """Numbers from 0 in order of first appearance."""
    first: dict = {}
    return np.array([first.setdefault(value, len(first)) for value in values], "int64")
