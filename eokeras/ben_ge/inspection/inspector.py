"""`inspect`: one pass over the shards, and everything that it tells."""

import hashlib
import heapq
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from eokeras.ben_ge import schema
from eokeras.ben_ge.gathered import digest
from eokeras.ben_ge.inspection.defects import Defects
from eokeras.ben_ge.inspection.duplicates import count_shared, find_alike, find_identical, pairs_of
from eokeras.ben_ge.inspection.image_hashes import content_hash, image_fields, look_hash
from eokeras.ben_ge.inspection.integrity import check_integrity
from eokeras.ben_ge.inspection.judgement import judge
from eokeras.ben_ge.inspection.patch_columns import PatchColumns
from eokeras.ben_ge.leaks import leakage
from eokeras.ben_ge.provenance import provenance_of
from eokeras.ben_ge.published import read_listed, read_published
from eokeras.ben_ge.records import RecordSchema, load_schema
from eokeras.ben_ge.shard_reader import read_patches
from eokeras.ben_ge.statistics import Histogram, TrainingStatistics
from eokeras.errors import UnwritableError

SAMPLES = 12
"""Patches of each split that are kept to be looked at: those whose names have the smallest hashes, always the same."""

_BIN_WIDTHS = {"s1": 1.0, "dem": 20.0}  # dB, m; of the histograms in the JSON file
_S2_BIN_WIDTH = 100.0  # digital numbers: 0.01 of reflectance
_LISTS = {"snow": "contains_seasonal_snow", "cloud": "contains_cloud_or_shadow", "no_labels": "contains_no_label"}


@dataclass(frozen=True)
class Inspection:
    """What records hold.

    Attributes:
        records: their schema.
        facts: everything that was counted, JSON-able; its parts are named in `data_prep/README.md`.
        warnings: sentences about what would mislead a user.
        histograms: split -> band -> how many pixels hold each value.
        lonlat: split -> (N, 2) longitude and latitude of its patches; empty where the records state none.
        samples: split -> features of a few patches.
    """

    records: RecordSchema
    facts: Mapping
    warnings: tuple[str, ...]
    histograms: Mapping[str, Mapping[str, Histogram]]
    lonlat: Mapping[str, np.ndarray]
    samples: Mapping[str, tuple[Mapping, ...]]

    def write(self, path: str | os.PathLike) -> Path:
        """Writes facts and warnings as JSON, whole or not at all; replaces an older file.

        Raises:
            UnwritableError: it cannot be written.
        """
        path = Path(path)
        temporary = path.parent / f".{path.name}.{os.getpid()}.incomplete"
        content = json.dumps({"warnings": list(self.warnings), **self.facts}, indent=1, ensure_ascii=False)
        try:
            temporary.write_text(content + "\n", encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise UnwritableError(f"`path` must be writable. Received: {path} ({error.strerror}).") from error
        return path


def inspect(
    records: str | os.PathLike | RecordSchema,
    *,
    countries: str | os.PathLike | None = None,
    snow: str | os.PathLike | None = None,
    cloud: str | os.PathLike | None = None,
    no_labels: str | os.PathLike | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Reads every patch of records once, and counts and judges what they hold.

    Memory does not grow with the pixels: some 500 bytes a patch are kept (name, place, hashes), and a counter per value
    of every band.

    Args:
        records: directory that `convert` or `apply_split` returned, or its schema.
        countries: published table with the column `country`; see `read_published`.
        snow, cloud, no_labels: published lists of patches with seasonal snow, with cloud or shadow, and without a
            BigEarthNet-19 label: a name a line, or (the first two) the `metadata.parquet` of BigEarthNet v2.
        progress: called as progress(done, total) after every patch.

    Returns:
        An `Inspection`. That its statistics do not belong to the shards is a warning, and `facts["integrity"]`.

    Raises:
        RecordsError: no whole records here, or a shard that is missing or was cut.
        InvalidSourceError: a table or list is unreadable.

    Example:
        >>> found = inspect("records/ben-ge-800")                                # doctest: +SKIP
        >>> found.facts["leakage"]["test and train"]["cell"]                     # doctest: +SKIP
        0
    """
    records = records if isinstance(records, RecordSchema) else load_schema(records)
    given = {"snow": snow, "cloud": cloud, "no_labels": no_labels}
    listed = {name: read_listed(path, _LISTS[name]) for name, path in given.items() if path is not None}
    country_of = None if countries is None else read_published(countries, "country")
    gathered = _Gathered(records)
    total = sum(records.splits.values())
    for done, (side, features) in enumerate(read_patches(records), start=1):
        gathered.add(side, features)
        if progress is not None:
            progress(done, total)
    facts = _facts(records, gathered, listed, country_of)
    sides = gathered.columns.sides
    lonlat = gathered.columns.lonlat
    return Inspection(
        records,
        facts,
        tuple(judge(facts)),
        {side: part.statistics.histograms() for side, part in gathered.parts.items()},
        {name: lonlat[sides == index] for index, name in enumerate(records.splits)} if len(lonlat) else {},
        {side: part.samples() for side, part in gathered.parts.items()},
    )


# ---- One pass over the shards ----------------------------------------------------------------------------------------


@dataclass
class _Part:
    """What is gathered of one split."""

    statistics: TrainingStatistics
    defects: Defects
    drawn: list[tuple[int, dict]] = field(default_factory=list)  # a heap, the largest hash of a name first

    def add(self, features: dict) -> None:
        self.statistics.add(features)
        self.defects.add(features)
        name = hashlib.blake2b(features["patch_id"].encode(), digest_size=8).digest()
        entry = (-int.from_bytes(name, "big"), features)
        if len(self.drawn) < SAMPLES:
            heapq.heappush(self.drawn, entry)
        elif entry[0] > self.drawn[0][0]:
            heapq.heapreplace(self.drawn, entry)

    def samples(self) -> tuple[dict, ...]:
        return tuple(features for _, features in sorted(self.drawn, key=lambda entry: -entry[0]))


class _Gathered:
    """What is gathered of all patches."""

    def __init__(self, records: RecordSchema):
        self.parts = {
            side: _Part(TrainingStatistics(records.rasters), Defects(records.rasters)) for side in records.splits
        }
        self.columns = PatchColumns(tuple(records.splits))
        self.digests: list[bytes] = []
        self._images = image_fields(records.fields)
        self.contents: dict[str, list[bytes | None]] = {sensor: [] for sensor in self._images}
        self.looks: list[int | None] = []

    @property
    def look_sensor(self) -> str | None:
        """The sensor whose images are compared by their look."""
        return next(iter(self._images), None)

    def add(self, side: str, features: dict) -> None:
        self.parts[side].add(features)
        self.columns.add(side, features)
        self.digests.append(bytes.fromhex(digest(side, features)))
        for sensor, fields in self._images.items():
            self.contents[sensor].append(content_hash(features, fields))
        if self.look_sensor:
            self.looks.append(look_hash(features, self.look_sensor, self._images[self.look_sensor]))

    def fingerprint(self) -> str:
        return hashlib.sha256("".join(sorted(one.hex() for one in self.digests)).encode()).hexdigest()[:16]


# ---- What it tells ---------------------------------------------------------------------------------------------------


def _facts(records: RecordSchema, gathered: _Gathered, listed: Mapping, country_of: Mapping | None) -> dict:
    columns, splits = gathered.columns, tuple(records.splits)
    counted = {side: part.defects.patches for side, part in gathered.parts.items()}
    results = {side: part.statistics.result() for side, part in gathered.parts.items() if counted[side]}
    sides, ids = columns.sides, columns.ids
    places = dict(zip(ids, columns.places, strict=True))
    by_split = columns.by_split()
    facts = {
        "records": str(records.path),
        "name": records.name,
        "simulated": records.world is not None,
        "modalities": list(records.metadata.get("modalities", [])),
        "notes": list(records.metadata.get("notes", [])),
        "skipped": records.metadata.get("skipped", 0),
        "provenance": provenance_of(records),
        "integrity": check_integrity(records, gathered.fingerprint(), results.get("train", {}), counted),
        "patches": counted,
        "groups": columns.groups(),
        "seasons": columns.seasons(),
        "misplaced": _misplaced(columns.metres_off()),
        "tiles": columns.tally(place.tile for place in columns.places),
        "classes": _classes(records, results),
        "bands": _bands(records, gathered, results),
        "cells": {
            "cells": len(np.unique(columns.cells)),
            "on_several_dates": count_shared(columns.cells, sides, splits),
            "twice_on_a_date": count_shared(columns.visits, sides, splits),
        },
        "identical": {
            sensor: find_identical(hashes, ids, sides, splits) for sensor, hashes in gathered.contents.items()
        },
        "time_gap_days": columns.gaps(),
        "leakage": {
            f"{side} and {against}": asdict(leakage(places, by_split, side, against))
            for side, against in pairs_of(splits)
        },
    }
    if gathered.look_sensor:
        alike = find_alike(gathered.looks, ids, sides, columns.cells, splits)
        facts["alike"] = {"sensor": gathered.look_sensor, **alike}
    if country_of is not None:
        facts["countries"] = columns.tally(country_of.get(patch_id, "not listed") for patch_id in ids)
    if listed:
        facts["listed"] = {
            name: {side: sum(patch_id in names for patch_id in by_split[side]) for side in splits}
            for name, names in listed.items()
        }
    return facts


def _misplaced(metres_off: np.ndarray | None) -> dict | None:
    """Patches whose longitude and latitude lie more than a patch from where tile and cell put them."""
    if metres_off is None:
        return None
    return {"patches": int((metres_off > schema.PATCH_SIZE_M).sum()), "largest_m": float(metres_off.max(initial=0.0))}


def _classes(records: RecordSchema, results: Mapping[str, Mapping]) -> dict:
    """Class target -> its classes, what is counted, and split -> counts; `void` has no class."""
    found = {}
    for target, names in records.classes.items():
        if schema.TARGETS[target].kind in ("class", "map", "multilabel"):
            entry = {"classes": list(names), "unit": "pixels" if schema.TARGETS[target].kind == "map" else "patches"}
            entry["counts"] = {side: result[target]["counts"] for side, result in results.items()}
            entry["void"] = {side: result[target].get("void", 0) for side, result in results.items()}
            found[target] = entry
    return found


def _bands(records: RecordSchema, gathered: _Gathered, results: Mapping[str, Mapping]) -> dict:
    """Band or map -> raster, unit, and split -> defects, summary and histogram."""
    defects = {side: part.defects.result() for side, part in gathered.parts.items() if side in results}
    histograms = {side: part.statistics.histograms() for side, part in gathered.parts.items()}
    found = {}
    for name, raster in records.rasters.items():
        pixels = raster.shape[0] * raster.shape[1]
        for band in raster.bands or (name,):
            found[band] = {"raster": name, "unit": raster.unit, "pixels_per_patch": pixels, "splits": {}}
            for side in results:
                entry = {"defects": defects[side][band]}
                if raster.bands:
                    entry["summary"] = _summary(results[side], name, band, records)
                    width = _BIN_WIDTHS.get(name, _S2_BIN_WIDTH)
                    entry["histogram"] = coarse_histogram(histograms[side][band], width)
                found[band]["splits"][side] = entry
    return found


def _summary(result: Mapping, raster: str, band: str, records: RecordSchema) -> dict:
    name = "s2" if raster in schema.S2_GROUPS else raster
    place = records.bands[name].index(band)
    return {key: result[name][key][place] for key in ("count", "mean", "std", "p1", "p2", "p98", "p99")}


def coarse_histogram(histogram: Histogram, width: float) -> dict:
    """A histogram in bins of `width` from a multiple of it: `low`, `width`, `counts` of bins [low, low + width), ...

    Bins without pixels at both ends are left out.

    Example:
        >>> coarse_histogram(Histogram(0.0, 1.0, np.array([0, 0, 3, 1, 0, 5, 0])), 2.0)
        {'low': 2.0, 'width': 2.0, 'counts': [4, 5]}
    """
    held = np.flatnonzero(histogram.counts)
    if not held.size:
        return {"low": 0.0, "width": width, "counts": []}
    values = np.round(histogram.low + held * histogram.step, 6)
    bins = np.floor(values / width).astype("int64")
    counts = np.bincount(bins - bins[0], weights=histogram.counts[held]).astype("int64")
    return {"low": float(bins[0] * width), "width": width, "counts": counts.tolist()}
