"""What each kind of split leaks on the real names of BigEarthNet and of ben-ge-8k, and how its sides are balanced.

    python -m tests.real.splits DATA     # DATA holds bigearthnet-index and ben-ge-8k-index

Run card
    question    how many test patches share acquisition, date, tile, cell or ground with a training patch; how near the
                nearest is; how season and country are spread over the sides
    data        590,326 pairs of names with country and season, and the split lists of BigEarthNet v1
                (bigearthnet-common); the published 8,000 ids of ben-ge-8k with their split
    kinds       published, random, grouped by tile and date, tile, date, country; by tile with a buffer of a patch's
                width (tiles overlap); blocks without and with a buffer. Land cover is not in the index, so the width of
                the buffer is given here, 5 km, and not measured
    expected    for the published split of ben-ge-8k: all share acquisition and tile, 38 % abut or repeat a cell, 92 %
                lie within 5 cells, 6.6 % show the same cell on another date
    hardware    two shared CPU cores; no accelerator, no training
"""

import argparse
import bz2
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rasterio.warp import transform
from scipy.spatial import cKDTree

from eokeras.ben_ge.ground import SAME_GROUND_M, ground_points, zones_and_centres
from eokeras.ben_ge.layout import SPLITS
from eokeras.ben_ge.places import Place, parse_name
from eokeras.ben_ge.published import read_published
from eokeras.ben_ge.splits import LeakageWarning, Split, leakage, make_split
from eokeras.pretrain.clustering import geoclusters

NAMES = "s1_s2_name_country_season.csv.bz2"
SHARES = ("product", "date", "tile", "cell", "adjacent", "within_5_cells", "ground")
KINDS = {
    "random": {"kind": "random"},
    "tile and date": {"group": "tile_date"},
    "tile": {"group": "tile"},
    "tile, buffer 1.2 km": {"group": "tile", "buffer_m": 1200},
    "date": {"group": "date"},
    "country": {"group": "country"},
    "blocks of 15 km": {"group": "block", "block_m": 15_000},
    "blocks of 15 km, buffer 5 km": {"group": "block", "block_m": 15_000, "buffer_m": 5_000},
}


@dataclass(frozen=True)
class Names:
    """Patches known by name alone, as `make_split` takes a source."""

    name: str
    places: Mapping[str, Place]
    patch_ids: tuple[str, ...]
    splits: Mapping[str, tuple[str, ...]]
    misfits: frozenset[str] = field(default_factory=frozenset)


def read_names(data: Path) -> tuple[Names, dict[str, dict[str, str]]]:
    """All names with the published split of v1; country and season by patch id."""
    table = data / "bigearthnet-index" / NAMES
    places = {}
    for patch_id, s1_name in read_published(table, "s1_name").items():
        name = parse_name(patch_id)
        places[patch_id] = Place(parse_name(s1_name).tile, name.cell, name.date)
    splits = {}
    for side in SPLITS:
        with bz2.open(data / "bigearthnet-index" / f"{side}.csv.bz2", "rt", encoding="utf-8") as file:
            splits[side] = tuple(file.read().split())
    classes = {column: read_published(table, column) for column in ("season", "country")}
    return Names("BigEarthNet", places, tuple(sorted(places)), splits), classes


def read_ben_ge_8k(data: Path, names: Names) -> Names:
    """The published 8,000 with their published split."""
    folder = data / "ben-ge-8k-index"
    splits = {side: tuple((folder / f"ben-ge-8k_{side}.csv").read_text(encoding="utf-8").split()) for side in SPLITS}
    ids = tuple(sorted(patch_id for side in splits.values() for patch_id in side))
    return Names("ben-ge-8k", {patch_id: names.places[patch_id] for patch_id in ids}, ids, splits)


def report(names: Names, classes: Mapping[str, Mapping[str, str]]) -> None:
    """Prints the table of leaks and the balance of the sides, every kind of split."""
    kinds = {"published": {"kind": "official"}, **KINDS}
    splits, rows = {}, []
    for label, options in kinds.items():
        started = time.process_time()
        if options.get("group") == "country":
            options = options | {"countries": classes["country"]}
        splits[label] = make_split(names, **options)
        rows.append(leak_row(label, names, splits[label], time.process_time() - started))
    print(f"\n## {names.name}, {len(names.patch_ids):,} patches: test patches with such a training patch\n")
    print(
        "| split | train / val / test | acquisition | date | tile | same cell | same or abutting cell | within 5 cells "
        "| shared ground | nearest, cells | nearest, km | CPU seconds |"
    )
    print(f"|{'---|' * 12}")
    print("\n".join(rows))
    for column, values in classes.items():
        print_balance(column, values, names, splits)


def leak_row(label: str, names: Names, split: Split, seconds: float) -> str:
    """One line of the table: shares in per cent of the test patches."""
    counts = leakage(names.places, split.patches)
    sizes = " / ".join(f"{len(split.patches[side]):,}" for side in SPLITS)
    shares = [f"{getattr(counts, share) / counts.patches:.1%}" for share in SHARES]
    cells = "none in a tile" if counts.nearest_cells is None else str(counts.nearest_cells)
    return f"| {label} | {sizes} | {' | '.join(shares)} | {cells} | {counts.nearest_m / 1000:.2f} | {seconds:.0f} |"


def print_balance(column: str, values: Mapping[str, str], names: Names, splits: Mapping[str, Split]) -> None:
    """Shares of every class in each side, and half the sum of their differences from the whole set."""
    order = [value for value, _ in Counter(values[i] for i in names.patch_ids).most_common()]
    whole = shares(names.patch_ids, values, order)
    print(f"\n### {names.name}, {column}: share of patches in per cent; distance from the whole (total variation)\n")
    print(f"| split | side | {' | '.join(order)} | distance |\n|{'---|' * (len(order) + 3)}")
    print(f"| whole | | {' | '.join(f'{100 * share:.1f}' for share in whole)} | |")
    for label, split in splits.items():
        for side in SPLITS:
            found = shares(split.patches[side], values, order)
            distance = sum(abs(a - b) for a, b in zip(found, whole, strict=True)) / 2
            cells = " | ".join(f"{100 * share:.1f}" for share in found)
            print(f"| {label} | {side} | {cells} | {distance:.3f} |")


def shares(ids, values: Mapping[str, str], order: list[str]) -> list[float]:
    """Share of the patches that have each class."""
    counts = Counter(values[patch_id] for patch_id in ids)
    return [counts[value] / max(1, counts.total()) for value in order]


# ---- What tiles and places are like ----------------------------------------------------------------------------------


def print_overlap(names: Names) -> None:
    """How many cells share ground with a cell of another tile."""
    cells = sorted({place[:2] for place in names.places.values()})
    points = ground_points(Place(*cell, "") for cell in cells)
    pairs = cKDTree(points).query_pairs(SAME_GROUND_M, output_type="ndarray")
    tiles = np.array([tile for tile, _ in cells])
    pairs = pairs[tiles[pairs[:, 0]] != tiles[pairs[:, 1]]]
    print(f"\nCells that share ground with one of another tile: {len(np.unique(pairs)):,} of {len(cells):,}.")


def print_silhouettes(names: Names, sample: int = 20_000) -> None:
    """Mean silhouette by number of geoclusters, of places drawn from all."""
    drawn = np.random.default_rng(0).choice(len(names.patch_ids), sample, replace=False)
    zones, centres = zones_and_centres(names.places[names.patch_ids[index]] for index in drawn)
    lonlat = np.empty((sample, 2))
    for zone in np.unique(zones).tolist():
        members = zones == zone
        lonlat[members] = np.transpose(transform(f"EPSG:{zone}", "EPSG:4326", *centres[members].T.tolist()))
    found = geoclusters(lonlat, range(2, 31)).silhouettes
    print(f"Geoclusters of {sample:,} places, mean silhouette: {', '.join(f'{k}: {v:.3f}' for k, v in found)}.")


def main() -> None:
    """Reads the names once and prints both reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    warnings.simplefilter("ignore", LeakageWarning)  # the table says it
    started = time.process_time()
    names, classes = read_names(data)
    print(f"Read {len(names.patch_ids):,} names in {time.process_time() - started:.0f} s of CPU time.")
    print_overlap(names)
    print_silhouettes(names)
    report(names, classes)
    report(read_ben_ge_8k(data, names), classes)


if __name__ == "__main__":
    main()
