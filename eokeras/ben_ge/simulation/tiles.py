"""Tiles of the Sentinel-2 grid, acquisitions, and the cells each acquisition covers.

The 56 tiles and the cell grid are those of BigEarthNet v1: a tile is 109.8 km wide, its
upper left corner the corner of its 100 km MGRS square widened to a multiple of 60 m; cells
of 1200 m are counted (column, row) from there, 0 to 90.

Reference: Sumbul et al. 2019, https://arxiv.org/abs/1902.06148
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from eokeras.ben_ge.places import cell_corner, upper_left
from eokeras.ben_ge.simulation.noise import key_of

TILES = tuple(  # a list of 56 literals would take a screen
    """29SNB 29SNC 29SND 29UNB 29UPA 29UPB 29UPU 29UPV 31UER 31UGR 31UGS 32TMT 33TWM 33TWN 33TXN 33UUP 33UWP 33UWQ
    33UXP 33UXQ 34TCR 34TCS 34TEN 34TEP 34TEQ 34TFN 34TFQ 34UDG 34UEG 34VDM 34VDN 34VDR 34VER 34WFS 34WFT 34WFU 34WFV
    35ULA 35ULB 35UMA 35UMB 35VLC 35VLG 35VLJ 35VNH 35VNJ 35VNK 35VNL 35VPH 35VPJ 35VPK 35WPN 35WPP 35WPR 36VVQ
    36VVR""".split()  # noqa: SIM905
)
CELLS_PER_EDGE = 91
_METRES_PER_DEGREE = 111_320.0


def world_corner(tile: str, cell: tuple[int, int]) -> tuple[float, float]:
    """World coordinates (x east, y north; metres) of a cell's upper left corner.

    The world unrolls the UTM zones side by side, 6 degrees of the equator apart, so that
    places of different zones never coincide.
    """
    easting, northing = cell_corner(tile, cell)
    return easting - 500_000 + (6 * int(tile[:2]) - 183) * _METRES_PER_DEGREE, float(northing)


def latitude_of(northing: float) -> float:
    """Latitude in degrees from the northing, to some hundredths of a degree.

    The footprint latitude of the UTM projection; enough to place a climate.
    """
    mu = northing / 0.9996 / 6_367_449.146
    return math.degrees(mu + 0.0025188 * math.sin(2 * mu) + 3.7e-6 * math.sin(4 * mu))


def sun_elevation(latitude: float, when: datetime, longitude: float) -> float:
    """Elevation of the sun in degrees (declination of Cooper 1969, no equation of time).

    Example:
        >>> round(sun_elevation(51.5, datetime(2017, 6, 21, 12), 0.0))
        62
    """
    day = when.timetuple().tm_yday
    declination = math.radians(23.45 * math.sin(2 * math.pi * (284 + day) / 365))
    hour = math.radians(15 * (when.hour + when.minute / 60 - 12) + longitude)
    phi = math.radians(latitude)
    sine = math.sin(phi) * math.sin(declination) + math.cos(phi) * math.cos(declination) * math.cos(hour)
    return math.degrees(math.asin(sine))


@dataclass(frozen=True)
class Acquisition:
    """One overpass of both satellites over one tile (or, with the same times, two)."""

    tile: str
    product: str  # as in patch ids, e.g. S2A_MSIL2A_20170613T101031
    product_s1: str  # e.g. S1A_IW_GRDH_1SDV_20170613T165043
    time_s2: datetime
    time_s1: datetime


@dataclass(frozen=True)
class Site:
    """One patch to be made: a cell of an acquisition."""

    index: int
    acquisition: Acquisition
    cell: tuple[int, int]  # column, row

    @property
    def patch_id(self) -> str:
        """Name of the Sentinel-2 patch: product_column_row."""
        return f"{self.acquisition.product}_{self.cell[0]}_{self.cell[1]}"

    @property
    def patch_id_s1(self) -> str:
        """Name of the Sentinel-1 patch: product_tile_column_row."""
        return f"{self.acquisition.product_s1}_{self.acquisition.tile}_{self.cell[0]}_{self.cell[1]}"


def _longitude(tile: str) -> float:
    easting, northing = upper_left(tile)
    metres_per_degree = _METRES_PER_DEGREE * math.cos(math.radians(latitude_of(northing)))
    return 6 * int(tile[:2]) - 183 + (easting + 54_900 - 500_000) / metres_per_degree


def _overpass(random: np.random.Generator, tile: str, day: datetime) -> datetime:
    """Sentinel-2 time: about 10:45 local solar time."""
    minutes = 60 * (10.75 - _longitude(tile) / 15) + random.uniform(-15, 15)
    minutes = min(max(minutes, 9 * 60 + 1), 11 * 60 + 58)
    return day + timedelta(minutes=int(minutes), seconds=int(random.integers(60)))


def _draw_acquisition(random: np.random.Generator, tile: str, free_days: list[int]) -> Acquisition:
    latitude = latitude_of(upper_left(tile)[1] - 54_900)
    for _ in range(1000):
        day = free_days[int(random.integers(len(free_days)))]
        time_s2 = _overpass(random, tile, datetime(2017, 6, 1) + timedelta(days=day))
        if sun_elevation(latitude, time_s2, _longitude(tile)) > 10:  # no products below
            break
    free_days.remove(day)
    hour_s1 = (5.6 if random.random() < 0.5 else 16.9) - _longitude(tile) / 30
    time_s1 = datetime(time_s2.year, time_s2.month, time_s2.day) + timedelta(
        days=int(random.integers(-3, 4)), seconds=int(3600 * hour_s1 + random.integers(-900, 900))
    )
    product = f"S2{'AB'[int(random.integers(2))]}_MSIL2A_{time_s2:%Y%m%dT%H%M%S}"
    product_s1 = f"S1{'AB'[int(random.integers(2))]}_IW_GRDH_1SDV_{time_s1:%Y%m%dT%H%M%S}"
    return Acquisition(tile, product, product_s1, time_s2, time_s1)


def _neighbour(tile: str, tiles: tuple[str, ...]) -> str | None:
    """The nearest other tile of the same UTM zone, if within 330 km."""
    here = upper_left(tile)
    distances = [
        (math.dist(here, upper_left(other)), other) for other in tiles if other != tile and other[:2] == tile[:2]
    ]
    distance, other = min(distances, default=(math.inf, ""))
    return other if distance < 330_000 else None


def _draw_blocks(random: np.random.Generator, count: int, taken: set, is_land) -> list[tuple[int, int]]:
    """`count` cells in blocks of adjacent ones, none of `taken`; mostly on land."""
    cells: list[tuple[int, int]] = []
    blocks = max(1, min(12, round(count / 4)))
    while len(cells) < count:
        size = min(-(-count // blocks), count - len(cells))
        edge = math.ceil(math.sqrt(size))
        for attempt in range(200):
            column, row = (int(n) for n in random.integers(0, CELLS_PER_EDGE - edge + 1, 2))
            block = [(column + k % edge, row + k // edge) for k in range(size)]
            free = not (taken.intersection(block) or set(cells).intersection(block))
            # One sea block in six is kept, about the share of marine BigEarthNet patches.
            if free and (attempt > 100 or is_land(block[0]) or random.random() < 1 / 6):
                break
        if not free:  # crowded tile: take single free cells in reading order
            everywhere = ((k % CELLS_PER_EDGE, k // CELLS_PER_EDGE) for k in range(CELLS_PER_EDGE**2))
            block = [cell for cell in everywhere if cell not in taken and cell not in cells][:size]
        cells.extend(block)
    return cells


def plan(seed: int, patches: int, tiles: tuple[str, ...], is_land) -> list[Site]:
    """The itinerary: which cells of which tiles are seen on which dates.

    Args:
        seed: seed of the world.
        patches: number of patches.
        tiles: MGRS tiles; every one gets patches // len(tiles) patches or one more.
        is_land: function (tile, cell) -> bool.

    Returns:
        `patches` sites, sorted by patch_id. A tile has one to three dates; about one date
        in ten is shared by two neighbouring tiles; otherwise a date belongs to one tile.
    """
    random = np.random.default_rng([seed % 2**64, key_of("plan")])
    free_days = list(range(365))
    dates: dict[str, list[Acquisition]] = {}
    for tile in tiles:
        dates[tile] = [_draw_acquisition(random, tile, free_days) for _ in range(int(random.integers(1, 4)))]
    partners: dict[str, set[str]] = {tile: set() for tile in tiles}
    for tile in tiles:
        other = _neighbour(tile, tiles)
        if (
            other
            and not partners[tile] | partners[other]
            and len(dates[other]) > 1
            and random.random() < 0.1 * len(dates[tile])
        ):
            shared = dates[tile][0]
            dates[other][0] = Acquisition(other, shared.product, shared.product_s1, shared.time_s2, shared.time_s1)
            partners[tile].add(other)
            partners[other].add(tile)

    chosen: dict[str, list[tuple[int, int]]] = {}
    pairs: list[tuple[Acquisition, tuple[int, int]]] = []
    for number, tile in enumerate(tiles):
        wanted = patches // len(tiles) + (number < patches % len(tiles))
        taken = {cell for other in partners[tile] for cell in chosen.get(other, ())}
        seen = dates[tile]
        count = -(-wanted * 2 // (len(seen) + 1))
        cells = _draw_blocks(random, count, taken, lambda cell, tile=tile: is_land(tile, cell))
        chosen[tile] = cells
        # First every cell once, neighbours on one date; then cells again on the other dates.
        turns = [
            (seen[(k * len(seen) // count + again) % len(seen)], cell)
            for again in range(len(seen))
            for k, cell in enumerate(cells)
        ]
        pairs.extend(turns[:wanted])
    pairs.sort(key=lambda pair: (pair[0].product, pair[1], pair[0].tile))
    return [Site(index, acquisition, cell) for index, (acquisition, cell) in enumerate(pairs)]
