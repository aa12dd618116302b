"""Statistics of the training split, gathered one patch at a time in bounded memory, in any order.

Integer rasters are counted exactly, one counter per value; backscatter is counted in steps of
0.01 dB, so its percentiles are exact to 0.01 dB while mean and standard deviation are exact. Sums are kept so that the
order of the patches, and how they were shared among workers, changes no digit.
"""

import math
from array import array
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from eokeras.ben_ge import schema
from eokeras.ben_ge.corine import CORINE, CORINE_NO_DATA, class_of_code
from eokeras.ben_ge.rasters import non_finite_counts

PERCENTILES = {"p1": 1, "p2": 2, "p98": 98, "p99": 99}

_BACKSCATTER_STEP_DB = 0.01
_BACKSCATTER_LOW_DB, _BACKSCATTER_HIGH_DB = -100.0, 60.0
_TOGETHER = 16  # patches
_CODE_COUNTS = {"land_cover_map": 256, "climate_zone": 256, "reference_map": 1 + max(*CORINE, *CORINE_NO_DATA)}

_COUNTED = (*schema.S2_GROUPS, "s1", "dem", "land_cover_fractions", "geocluster", "labels", *_CODE_COUNTS)


class Histogram(NamedTuple):
    """How often each value of one band was met: `counts[i]` pixels hold `low + i * step`."""

    low: float
    step: float
    counts: np.ndarray


class _ValueCounts:
    """Counts of every value of one channel: integers, or multiples of a step from `low`."""

    def __init__(self, low: float, high: float, step: float = 1.0):
        self.low, self.step = low, step
        self.counts = np.zeros(round((high - low) / step) + 1, "int64")
        self.sums, self.sums_of_squares = array("d"), array("d")  # of numbers that are no integers, patch by patch
        self.non_finite = dict.fromkeys(("nan", "negative_infinity", "positive_infinity"), 0)

    def add(self, values: np.ndarray) -> None:
        """Counts values of any shape, whose first axis is the patches where they are no integers."""
        if values.dtype.kind == "f":
            for kind, count in non_finite_counts(values).items():
                self.non_finite[kind] += count
            finite = np.isfinite(values)
            numbers = np.where(finite, values, 0).reshape(len(values), -1).astype("float64")
            self.sums.extend(numbers.sum(axis=1))
            self.sums_of_squares.extend(np.square(numbers).sum(axis=1))
            steps = np.rint((values[finite].astype("float64") - self.low) / self.step)
            index = np.clip(steps, 0, len(self.counts) - 1).astype(np.intp)
        else:
            index = values.ravel().astype(np.intp) - int(self.low)
        counts = np.bincount(index)  # as long as the largest value needs
        self.counts[: len(counts)] += counts

    def merge(self, other: "_ValueCounts") -> None:
        self.counts += other.counts
        self.sums += other.sums
        self.sums_of_squares += other.sums_of_squares
        for kind, count in other.non_finite.items():
            self.non_finite[kind] += count

    def __getstate__(self) -> dict:
        """Without the many counts of 0 at both ends: a worker sends its counts often."""
        met = np.flatnonzero(self.counts)
        start, stop = (int(met[0]), int(met[-1]) + 1) if len(met) else (0, 0)
        return self.__dict__ | {"counts": (len(self.counts), start, self.counts[start:stop])}

    def __setstate__(self, state: dict) -> None:
        length, start, met = state["counts"]
        self.__dict__.update(state, counts=np.zeros(length, "int64"))
        self.counts[start : start + len(met)] = met

    def result(self) -> dict[str, float]:
        count = int(self.counts.sum())
        if not count:
            return {"count": 0, "mean": None, "std": None, **dict.fromkeys(PERCENTILES), **self.non_finite}
        total, total_of_squares = self._totals()
        mean = total / count
        variance = max(total_of_squares / count - mean**2, 0.0)
        cumulative = np.cumsum(self.counts)
        ranks = {key: np.ceil(percent / 100 * count) for key, percent in PERCENTILES.items()}
        percentiles = {
            key: round(float(self.low + self.step * np.searchsorted(cumulative, max(rank, 1))), 2)
            for key, rank in ranks.items()
        }
        return {"count": count, "mean": mean, "std": float(np.sqrt(variance)), **percentiles, **self.non_finite}

    def _totals(self) -> tuple[float, float]:
        """Sum and sum of squares, free of rounding until the last step."""
        if self.sums:
            return math.fsum(self.sums), math.fsum(self.sums_of_squares)
        met = np.flatnonzero(self.counts)
        pairs = list(zip((met + int(self.low)).tolist(), self.counts[met].tolist(), strict=True))
        return sum(value * count for value, count in pairs), sum(value**2 * count for value, count in pairs)


class _Numbers:
    """All values of one scalar field: 8 bytes a number, 30 MB for the weather of all 472,261 training patches."""

    def __init__(self):
        self.values = array("d")
        self.width = 1

    def add(self, value) -> None:
        numbers = np.ravel(np.asarray(value, "float64"))
        self.width = len(numbers)
        self.values.extend(numbers)

    def merge(self, other: "_Numbers") -> None:
        self.values += other.values
        self.width = other.width

    def result(self) -> list[dict[str, float]]:
        results = []
        for values in np.asarray(self.values).reshape(-1, self.width).T:
            finite = np.sort(values[np.isfinite(values)])  # so that their order does not round the sums
            entry = {"count": len(finite)} | non_finite_counts(values)
            entry |= {"mean": float(finite.mean()), "std": float(finite.std()), "median": float(np.median(finite))}
            entry |= {
                key: float(np.percentile(finite, percent, method="inverted_cdf"))
                for key, percent in PERCENTILES.items()
            }
            results.append(entry)
        return results


class TrainingStatistics:
    """Gathers what `RecordSchema.statistics` holds; `add` takes a patch's features, any subset.

    Args:
        rasters: the rasters of the records by name, each with the bands that it has there; by default all.
    """

    def __init__(self, rasters: Mapping[str, schema.Raster] = schema.RASTERS):
        self._bands = {name: raster.bands for name, raster in rasters.items()}
        self._rasters: dict[str, list[_ValueCounts]] = {}
        self._scalars: dict[str, _Numbers] = {}
        self._codes = {name: np.zeros(count, "int64") for name, count in _CODE_COUNTS.items()}
        self._top_class = np.zeros(len(schema.LAND_COVER), "int64")
        self._without_cover = 0
        self._clusters: dict[int, int] = {}
        self._labels = np.zeros(len(schema.TARGETS["labels"].classes), "int64")
        # Of each patch: pixels, sum of absolute and of squared metres above its mean.
        self._relief = (array("d"), array("d"), array("d"))
        self._fields: set[str] = set()
        self._waiting: list[dict] = []

    def add(self, features: dict) -> None:
        """Counts one patch: field name -> array at stored resolution and dtype."""
        if self._waiting and self._waiting[0].keys() != features.keys():
            self._count()
        self._waiting.append(features)
        if len(self._waiting) == _TOGETHER:
            self._count()

    def _count(self) -> None:
        """Counts the patches that wait, all with the same fields: one call for many costs less than many calls."""
        patches, self._waiting = self._waiting, []
        if not patches:
            return
        self._fields |= set(patches[0])
        together = {name: np.stack([patch[name] for patch in patches]) for name in _COUNTED if name in patches[0]}
        for name in (*schema.S2_GROUPS, "s1", "dem"):
            if name in together:
                channels = self._rasters.setdefault(name, [_counts_for(name) for _ in self._bands[name]])
                for index, channel in enumerate(channels):
                    values = together[name][..., index]
                    channel.add(values[values != schema.DEM_NO_DATA] if name == "dem" else values)
        for name in ("era5", "lonlat", "season", "land_cover_fractions"):
            for patch in patches if name in patches[0] else ():
                self._scalars.setdefault(name, _Numbers()).add(patch[name])
        for name, counts in self._codes.items():
            if name in together:
                counts += np.bincount(np.ravel(together[name]), minlength=len(counts))
        if "land_cover_fractions" in together:
            shares = together["land_cover_fractions"]
            has_class = shares.sum(axis=-1) > 0  # of some pixel
            self._top_class += np.bincount(shares[has_class].argmax(axis=-1), minlength=len(self._top_class))
            self._without_cover += int((~has_class).sum())
        for cluster in together.get("geocluster", ()):
            self._clusters[int(cluster)] = self._clusters.get(int(cluster), 0) + 1
        if "labels" in together:
            self._labels += together["labels"].sum(axis=0, dtype="int64")
        if "dem" in together:
            self._count_relief(together["dem"].reshape(len(patches), -1))

    def _count_relief(self, heights: np.ndarray) -> None:
        """Heights (N, pixels) of N patches, with `DEM_NO_DATA`."""
        valid = heights != schema.DEM_NO_DATA
        pixels = valid.sum(axis=1)
        means = np.where(valid, heights, 0).sum(axis=1, dtype="int64") / np.maximum(pixels, 1)
        relief = np.where(valid, heights - means[:, np.newaxis], 0)
        for numbers, of_patches in zip(
            self._relief, (pixels, np.abs(relief).sum(axis=1), np.square(relief).sum(axis=1)), strict=True
        ):
            numbers.extend(of_patches)

    def __getstate__(self) -> dict:
        self._count()
        return self.__dict__

    def merge(self, other: "TrainingStatistics") -> None:
        """Adds what another has counted, of other patches of the same rasters."""
        self._count()
        other._count()
        self._fields |= other._fields
        for name, channels in other._rasters.items():
            own = self._rasters.setdefault(name, [_counts_for(name) for _ in channels])
            for channel, others in zip(own, channels, strict=True):
                channel.merge(others)
        for name, numbers in other._scalars.items():
            self._scalars.setdefault(name, _Numbers()).merge(numbers)
        for name, counts in other._codes.items():
            self._codes[name] += counts
        for cluster, count in other._clusters.items():
            self._clusters[cluster] = self._clusters.get(cluster, 0) + count
        self._top_class += other._top_class
        self._without_cover += other._without_cover
        self._labels += other._labels
        for sums, others in zip(self._relief, other._relief, strict=True):
            sums += others  # in place: an array

    def histograms(self) -> dict[str, Histogram]:
        """Band -> its values and how many pixels hold each; values beyond the ends stand at them."""
        self._count()
        return {
            band: Histogram(channel.low, channel.step, channel.counts)
            for name, channels in self._rasters.items()
            for band, channel in zip(self._bands[name], channels, strict=True)
        }

    def result(self) -> dict[str, dict]:
        """Statistics by input and by target, JSON-able."""
        self._count()
        inputs = {name: [channel.result() for channel in channels] for name, channels in self._rasters.items()}
        scalars = {name: numbers.result() for name, numbers in self._scalars.items()}
        by_band = {
            band: result
            for name in schema.S2_GROUPS
            if name in inputs
            for band, result in zip(self._bands[name], inputs[name], strict=True)
        }
        if by_band:
            inputs["s2"] = [by_band[band] for band in schema.CHANNELS["s2"] if band in by_band]
        inputs |= {name: scalars[name] for name in ("era5", "lonlat") if name in scalars}
        if "season" in scalars:
            inputs["season_input"] = scalars["season"]
        return {name: _columns(results) for name, results in inputs.items()} | self._targets(scalars)

    def _targets(self, scalars: dict) -> dict[str, dict]:
        targets = {}
        if "climate_zone" in self._fields:
            codes = [zone.code for zone in schema.CLIMATE_ZONES]
            targets["climate_zone"] = _class_counts(self._codes["climate_zone"], codes)
        if "land_cover_map" in self._fields:
            codes = [entry.code for entry in schema.LAND_COVER]
            targets["land_cover_map"] = _class_counts(self._codes["land_cover_map"], codes)
        if "reference_map" in self._fields:
            targets["reference_map"] = _reference_counts(self._codes["reference_map"])
        if "land_cover_fractions" in scalars:
            targets["land_cover"] = {"counts": self._top_class.tolist(), "void": self._without_cover}
            targets["land_cover_fractions"] = {"mean": [entry["mean"] for entry in scalars["land_cover_fractions"]]}
        if "season" in scalars:
            targets["season"] = {key: scalars["season"][0][key] for key in ("count", "mean", "median", "std")}
        if "geocluster" in self._fields:
            clusters = range(len(schema.TARGETS["geocluster"].classes))
            targets["geocluster"] = {"counts": [self._clusters.get(cluster, 0) for cluster in clusters], "void": 0}
        if "labels" in self._fields:
            targets["labels"] = {"counts": self._labels.tolist()}
        count, absolute, squared = map(math.fsum, self._relief)
        if count:
            targets["elevation"] = {"count": int(count), "mean": 0.0, "mean_absolute": absolute / count}
            targets["elevation"]["std"] = (squared / count) ** 0.5
        return targets


def _counts_for(raster: str) -> _ValueCounts:
    if raster == "s1":
        return _ValueCounts(_BACKSCATTER_LOW_DB, _BACKSCATTER_HIGH_DB, _BACKSCATTER_STEP_DB)
    limits = np.iinfo(schema.RASTERS[raster].dtype)
    return _ValueCounts(limits.min, limits.max)


def _class_counts(counts_by_code: np.ndarray, codes: list[int]) -> dict:
    counts = counts_by_code[codes]
    return {"counts": counts.tolist(), "void": int(counts_by_code.sum() - counts.sum())}


def _reference_counts(counts_by_code: np.ndarray) -> dict:
    counts = np.zeros(len(schema.TARGETS["reference_map"].classes), "int64")
    for code, index in class_of_code().items():
        counts[index] += counts_by_code[code]
    return {"counts": counts.tolist(), "void": int(counts_by_code.sum() - counts.sum())}


def _columns(results: list[dict]) -> dict[str, list]:
    return {key: [result[key] for result in results] for key in results[0]} if results else {}
