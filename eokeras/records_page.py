"""The page about records: which tables, pictures and sentences it shows, in which order."""

import os
from collections.abc import Mapping
from pathlib import Path

from eokeras import plot, report
from eokeras.ben_ge.inspection import Inspection
from eokeras.ben_ge.provenance import UNKNOWN
from eokeras.records_words import (
    band_order,
    class_name,
    dimensions,
    distance,
    pair_words,
    percent,
    sensor_name,
    setting_words,
    share_words,
    stored_unit,
    summary_row,
)
from eokeras.report import Picture, Section, Table

_LEAKS = {
    "product": "same acquisition",
    "date": "same date",
    "tile": "same tile",
    "cell": "same cell, another date",
    "adjacent": "same or abutting cell",
    "within_5_cells": "within 5 cells",
    "ground": "same ground, at least in part",
}
_KINDS = {
    "zero": "exactly zero",
    "constant": "one number throughout",
    "saturated": "saturated",
    "nan": "NaN",
    "-inf": "-inf",
    "+inf": "+inf",
    "no data": "no height",
    "no class": "no class",
}
_LISTS = {"snow": "seasonal snow", "cloud": "cloud or shadow", "no_labels": "no BigEarthNet-19 label"}
_MOST_COUNTRIES = 40
_SEEN = ("s2_10m", "s2_20m", "s2_60m", "s1", "dem", "land_cover_map")  # what a mosaic can show


def write_records_page(inspection: Inspection, path: str | os.PathLike) -> Path:
    """Writes the page of an `Inspection`, one self-contained HTML file, and returns its path.

    Raises:
        UnwritableError: the file cannot be written.

    Example:
        >>> found = ben_ge.inspect("records/ben-ge-800")                              # doctest: +SKIP
        >>> write_records_page(found, "records/ben-ge-800/inspection.html")           # doctest: +SKIP
    """
    facts = inspection.facts
    sections = [
        _warnings(inspection),
        _contents(inspection),
        _places(inspection),
        _leakage(facts),
        _duplicates(facts),
        _samples(inspection),
        _classes(inspection),
        _class_counts(facts),
        _times(facts),
        _pixels(inspection),
        _pixel_counts(facts),
        _origin(facts),
    ]
    total = sum(facts["patches"].values())
    counts = ", ".join(f"{number:,} {side}" for side, number in facts["patches"].items())
    return report.write_report(
        Path(path),
        title=f"Records of {facts['name']}",
        summary=f"{total:,} patches of 1.2 km by 1.2 km: {counts}. Fingerprint {facts['provenance']['fingerprint']}.",
        sections=[section for section in sections if section],
        footer="Made by data_prep/inspect.py of eokeras. Every number stands in the JSON file beside this page.",
    )


# ---- Records as a whole ----------------------------------------------------------------------------------------------


def _warnings(inspection) -> Section:
    sound = inspection.facts["integrity"]["is_sound"]
    text = (
        "Statistics and fingerprint were gathered anew from every patch, and equal those that the records state."
        if sound
        else "Statistics or fingerprint that were gathered anew from the patches are not those that the records state."
    )
    if not inspection.warnings:
        text += " Nothing was found that would mislead."
    return Section("What to know before use", text, notes=inspection.warnings)


def _contents(inspection) -> Section:
    facts, schema = inspection.facts, inspection.records
    rows = [(name, dimensions(raster), ", ".join(raster.bands), raster.unit) for name, raster in schema.rasters.items()]
    groups = facts["groups"]
    split_rows = [
        (side, number, groups[side]["tiles"], groups[side]["dates"], groups[side]["acquisitions"])
        for side, number in facts["patches"].items()
    ]
    text = " ".join([f"Split: {schema.split['kind']}.", *schema.split["notes"]])
    return Section(
        "What there is",
        text,
        tables=[
            Table(
                ("split", "patches", "tiles", "dates", "acquisitions"),
                split_rows,
                "Patches of each split, and from how many tiles, dates and Sentinel-2 acquisitions they are",
            ),
            Table(("raster", "pixels", "bands", "unit"), rows, "Rasters of every patch, as stored"),
            Table(
                ("kind", "names"),
                [
                    ("inputs", ", ".join(schema)),
                    ("targets", ", ".join(schema.targets)),
                    ("modalities of the tree", ", ".join(facts["modalities"]).replace("_", "-")),
                ],
                "What `make_dataset` can give",
            ),
        ],
    )


def _origin(facts) -> Section:
    found = facts["provenance"]
    configuration = found["configuration"]
    if isinstance(configuration, Mapping):
        rows = [(name.replace("_", " "), setting_words(value)) for name, value in configuration.items()]
    else:
        rows = [("configuration", UNKNOWN)]
    rows += [
        (f"archive {archive['name']}", f"https://doi.org/{archive['doi']}, md5 {' '.join(archive['md5'])}")
        for archive in found["archives"]
    ]
    rows.append(("software", ", ".join(f"{name} {number}" for name, number in found["versions"].items())))
    sources = [
        (entry["modality"] if name == "source" else "", name, entry[key])
        for entry in found["sources"]
        for name, key in (("source", "source"), ("licence", "licence"), ("cite", "citation"), ("mind", "remark"))
        if entry[key]
    ]
    text = (
        "Source and licence are those that are published for data of this layout; files state neither. Where another "
        "licence was given to you, that one counts."
    )
    return Section(
        "Where it comes from",
        "" if facts["simulated"] else text,
        tables=[
            Table(("modality", "what", "text"), sources, "Source, licence and citation"),
            Table(("what", "value"), rows, "How the records were made"),
        ],
    )


# ---- Splits ----------------------------------------------------------------------------------------------------------


def _places(inspection) -> Section | None:
    facts = inspection.facts
    figures = []
    if inspection.lonlat:
        figure = plot.split_map(inspection.lonlat, inspection.records)
        alt = "Map of longitude and latitude of every patch, coloured by split"
        figures.append(Picture(figure, alt, "No coastlines: the points are the patches alone."))
    made = []
    if "countries" in facts:
        made.append(_tally("country", facts["countries"], facts, "Patches by country"))
    return Section("Where the patches lie", figures=figures, tables=made) if figures or made else None


def _leakage(facts) -> Section | None:
    if not facts["leakage"]:
        return None
    rows = [
        (meaning, *(share_words(found[key], found["patches"]) for found in facts["leakage"].values()))
        for key, meaning in _LEAKS.items()
    ]
    rows.append(("smallest distance", *(distance(found["nearest_m"]) for found in facts["leakage"].values())))
    headings = ("shares", *(pair_words(pair) for pair in facts["leakage"]))
    text = (
        "Patches of one acquisition share sun, season and weather, neighbours share fields and towns. A score on "
        "patches that share these with what was trained on says how well a network remembers, not how well it works "
        "elsewhere."
    )
    caption = "Patches that share this with at least one on the other side; distances between centres, on the ground"
    return Section("What the splits share", text, tables=[Table(headings, rows, caption)])


def _duplicates(facts) -> Section | None:
    cells = facts["cells"]
    rows = [
        ("same cell on several dates", *_shared_row(cells["on_several_dates"], facts)),
        ("same cell twice on one date", *_shared_row(cells["twice_on_a_date"], facts)),
    ]
    for sensor, found in facts["identical"].items():
        rows.append((f"identical {sensor_name(sensor)} image", *_shared_row(found, facts)))
    if "alike" in facts:
        rows.append(
            (
                f"{sensor_name(facts['alike']['sensor'])} image looks alike, another cell",
                *_shared_row(facts["alike"], facts),
            )
        )
    headings = ("patches with a partner: ...", "in all", *(pair_words(pair) for pair in facts["leakage"]))
    text = "Identical: every pixel of every band is equal; images that hold one number throughout are not compared."
    if "alike" in facts:
        alike = facts["alike"]
        text += (
            f" Alike: the image is averaged over 8 rows of 9 blocks, and 64 bits say which blocks are brighter than "
            f"their left neighbour (a difference hash); at most 3 bits differ. {alike['compared']:,} images have "
            f"enough contrast to be compared so. {alike['same_cell']:,} look like another date of their own cell, "
            "which is no fault of the data and is not counted below."
        )
    shown = [
        (f"{kind} {index}", ", ".join(names))
        for kind, found in (
            *((f"identical {s}", f) for s, f in facts["identical"].items()),
            ("alike", facts.get("alike", {})),
        )
        for index, names in enumerate(found.get("examples", []), start=1)
    ]
    made = [Table(headings, rows, "Repeated patches")]
    if shown:
        made.append(Table(("which", "patches"), shown, "Some of them by name"))
    return Section("Patches that repeat", text, tables=made)


def _classes(inspection) -> Section | None:
    # Geoclusters are places: what a split holds of them is seen on the map.
    targets = {name: entry for name, entry in _counted_targets(inspection.facts).items() if name != "geocluster"}
    if not targets:
        return None
    alt = "Share of every class in each split, one panel per target"
    caption = "Hollow markers: classes that a split lacks. The numbers stand in the next section."
    return Section("Class balance", figures=[Picture(plot.class_chart(targets, inspection.records), alt, caption)])


def _class_counts(facts) -> Section | None:
    made = []
    for name, entry in _counted_targets(facts).items():
        sides = list(entry["counts"])
        rows = [
            (class_name(name, label), *(entry["counts"][side][index] for side in sides))
            for index, label in enumerate(entry["classes"])
            if any(entry["counts"][side][index] for side in sides)
        ]
        if any(entry["void"].values()):
            rows.append(("no class", *(entry["void"][side] for side in sides)))
        words = {"labels": "label"}.get(name, name.replace("_", " "))
        made.append(Table((words, *sides), rows, f"{entry['unit'].capitalize()} by {words}"))
    return Section("Classes in numbers", tables=made) if made else None


def _counted_targets(facts) -> dict:
    return {name: entry for name, entry in facts["classes"].items() if any(map(sum, entry["counts"].values()))}


def _times(facts) -> Section:
    made = [
        _tally(
            "season", facts["seasons"], facts, "Patches by season of the Sentinel-2 date (winter: December to February)"
        )
    ]
    text = ""
    if facts["time_gap_days"]:
        sides = list(facts["patches"])
        rows = []
        for label, low, high in _GAPS:
            counts = [
                sum(n for gap, n in facts["time_gap_days"].get(side, {}).items() if low <= abs(int(gap)) <= high)
                for side in sides
            ]
            if any(counts):
                rows.append((label, *counts))
        made.append(Table(("Sentinel-1 and -2 apart", *sides), rows, "Patches by days between the two images"))
        text = "Between the two images fields may be harvested, snow may fall, and water may rise."
    if "listed" in facts:
        rows = [(_LISTS[name], *counts.values()) for name, counts in facts["listed"].items()]
        made.append(Table(("listed with", *facts["patches"]), rows, "Patches in the published lists"))
    else:
        text += " Lists of patches with snow, cloud or without a label were not given (--snow, --cloud, --no-labels)."
    return Section("Times, snow and cloud", text.strip(), tables=made)


_GAPS = (
    ("same day", 0, 0),
    ("1 day", 1, 1),
    ("2 or 3 days", 2, 3),
    ("4 to 7 days", 4, 7),
    ("8 to 30 days", 8, 30),
    ("more than 30 days", 31, 10**6),
)


# ---- Pixels ----------------------------------------------------------------------------------------------------------


def _pixels(inspection) -> Section | None:
    bands = _measured_bands(inspection.facts)
    if not bands:
        return None
    caption = (
        "Share of the pixels of a split by value, from the 0.1st to the 99.9th percentile; heights are drawn to fit. "
        "Curves that lie far apart mean that a split shows other ground, or another season."
    )
    figure = plot.band_chart(inspection.histograms, bands, inspection.records)
    return Section("Pixels", figures=[Picture(figure, "Histograms of every band by split", caption)])


def _pixel_counts(facts) -> Section:
    bands, made = _measured_bands(facts), []
    if "train" in facts["patches"] and bands:
        rows = [
            (band, *summary_row(entry["splits"]["train"]["summary"]), stored_unit(entry["raster"]))
            for band, entry in bands.items()
        ]
        headings = ("band", "mean", "std", "p1", "p2", "p98", "p99", "stored as")
        made.append(Table(headings, rows, "Statistics of train, by which inputs are calibrated (p1: 1st percentile)"))
    text = (
        "Zero is no data in Sentinel-2. In Sentinel-1 NaN is no data and -inf zero power; `make_dataset` takes care of "
        "both. Saturated: digital number 32,767 or 65,535."
    )
    return Section("Pixels in numbers", text, tables=[*made, _defect_table(facts)])


def _measured_bands(facts) -> dict:
    """The bands, without the maps, in canonical order."""
    return {band: facts["bands"][band] for band in band_order(facts["bands"])}


def _defect_table(facts) -> Table | None:
    rows = []
    for band in (*band_order(facts["bands"]), *(name for name in facts["bands"] if name.endswith("_map"))):
        entry = facts["bands"][band]
        for kind in next(iter(entry["splits"].values()))["defects"]:
            cells = [
                _defect(found["defects"][kind], kind, facts["patches"][side], entry)
                for side, found in entry["splits"].items()
            ]
            if any(found["defects"][kind]["patches"] for found in entry["splits"].values()):
                rows.append((band.replace("_", " "), _KINDS[kind], *cells))
    if not rows:
        return Table(("pixels",), [("None is missing, zero, infinite or saturated.",)], "Pixels without a sound number")
    sides = list(facts["patches"])
    return Table(
        ("band", "pixels", *sides), rows, "Pixels without a sound number: patches that have some (share of all pixels)"
    )


def _defect(counts, kind, patches, entry) -> str:
    if not counts["patches"]:
        return "0"
    if kind == "constant":
        return f"{counts['patches']:,}"
    share = counts["pixels"] / (patches * entry["pixels_per_patch"])
    return f"{counts['patches']:,} ({percent(share)})"


def _samples(inspection) -> Section | None:
    seen = [name for name in _SEEN if name in inspection.records.fields]
    if not seen:
        return None
    figures = [
        Picture(plot.mosaic(features, side, inspection.records), f"Images of a few patches of {side}")
        for side, features in inspection.samples.items()
        if features
    ]
    text = "Drawn by the hash of their names, so everyone sees the same. Look for maps that do not fit their images."
    return Section("Some patches of each split", text, figures=figures)


def _tally(name, counts, facts, caption) -> Table:
    sides = list(facts["patches"])
    rows = [(value, *(of_value[side] for side in sides)) for value, of_value in list(counts.items())[:_MOST_COUNTRIES]]
    return Table((name, *sides), rows, caption)


def _shared_row(found, facts) -> tuple:
    return (found["patches"], *(found["between"][pair] for pair in facts["leakage"]))
