"""Land cover of the made-up continent: stands, fields and towns on the terrain.

Three diagrams of parcels lie over one another: wild stands with wavy borders, straight
fields, and blocks of towns. Smooth fields decide which of the three a place belongs to;
every parcel draws one cover type from probabilities that follow climate, slope and moisture.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import erfc

from eokeras.ben_ge.simulation import noise
from eokeras.ben_ge.simulation.climate import Climate, climate_at
from eokeras.ben_ge.simulation.cover_types import COVER_TYPES, HEIGHT_M, TYPE_INDEX, WORLDCOVER
from eokeras.ben_ge.simulation.terrain import Ground, ground, smoothstep
from eokeras.ben_ge.simulation.tiles import latitude_of

MARGIN = 6  # pixels of 10 m around a patch, for slopes, point spread and the 30 m DEM
_COARSE_M, _COARSE_MARGIN = 60, 12  # grid on which parcels look up the ground at their seed
STANDS, FIELDS, TOWNS = range(3)
_NEVER = -30.0
SWAPPED_CODES = np.array([10, 20, 30, 40, 50, 60, 90], np.uint8)  # classes that noisy labels are drawn from
_SPACING_M = {STANDS: 170.0, TOWNS: 75.0}
_FIELD_SPACING_M = (110.0, 160.0, 230.0)  # smallholdings .. large estates


@dataclass(frozen=True)
class Landscape:
    """Everything that lies on the ground of one patch, (H, W) with `MARGIN` pixels around."""

    cover: np.ndarray  # index into COVER_TYPES
    parcel: np.ndarray  # uint64 identity of the parcel
    elevation: np.ndarray  # bare ground, m
    slope_east: np.ndarray  # rise per metre eastwards
    slope_north: np.ndarray
    climate: Climate  # of the patch's centre, floats
    x: np.ndarray  # world coordinates of the pixel centres, (1, W)
    y: np.ndarray  # (H, 1)
    latitude: float

    @cached_property
    def parcels(self) -> tuple[np.ndarray, np.ndarray]:
        """Identities of the parcels (int64, n) and every pixel's place among them, (H, W)."""
        identities, place = np.unique(self.parcel.view(np.int64), return_inverse=True)
        return identities, place.reshape(self.parcel.shape)

    def parcel_normal(self, key: int) -> np.ndarray:
        """A standard normal number per parcel, spread over its pixels, (H, W)."""
        identities, place = self.parcels
        return noise.normal(key, identities)[place]

    @property
    def code(self) -> np.ndarray:
        """WorldCover codes."""
        return WORLDCOVER[self.cover]


def patch_axes(corner: tuple[float, float], pixel_m: float = 10, size: int = 120, margin: int = MARGIN):
    """World coordinates of pixel centres around an upper left corner: (1, W) and (H, 1)."""
    steps = (np.arange(-margin, size + margin) + 0.5) * pixel_m
    return corner[0] + steps[None, :], corner[1] - steps[:, None]


def lake_level(latitude: float) -> float:
    """How rare lakes are: common in the once glaciated north (see `terrain.ground`)."""
    return 2.35 - 1.0 * float(smoothstep(56.0, 62.0, np.asarray(latitude)))


def landscape(seed: int, corner: tuple[float, float], tile_key: int) -> Landscape:
    """The landscape of one patch, continuous with that of its neighbours.

    Args:
        seed: key of the world.
        corner: world coordinates of the upper left corner in metres.
        tile_key: key of the tile (field size and direction, constant in a tile).
    """
    latitude = latitude_of(corner[1] - 600)
    x, y = patch_axes(corner)
    fine = ground(seed, x, y, lake_level(latitude))
    coarse_x, coarse_y = patch_axes(corner, _COARSE_M, 20, _COARSE_MARGIN)
    coarse = ground(seed, coarse_x, coarse_y, lake_level(latitude))
    climate = climate_at(seed, coarse_x, coarse_y, latitude, coarse.elevation)
    centre = climate_at(seed, np.array([[corner[0] + 600]]), np.array([[corner[1] - 600]]), latitude)
    centre = Climate(*(float(np.squeeze(value)) for value in vars(centre).values()))

    layer = _layers(seed, x, y, fine, centre)
    forest = _mixture(seed, "forest", _FOREST, coarse_x, coarse_y)
    lookup = _Lookup(corner, coarse, climate, forest)
    cover, parcel = np.zeros(layer.shape, int), np.zeros(layer.shape, np.uint64)
    for index in (STANDS, FIELDS, TOWNS):
        inside = layer == index
        if inside.any():
            cover[inside], parcel[inside] = _parcels(seed, index, tile_key, x, y, inside, lookup, centre)
    if centre.july > 9:  # nobody lives above
        _roads(seed, cover, x, y, layer, tile_key)
    cover = np.where(fine.water == 1, TYPE_INDEX["inland water"], cover)
    cover = np.where(fine.water == 2, TYPE_INDEX["sea"], cover)
    beach = (fine.water == 0) & (fine.continental < 0.0014) & (layer != TOWNS)
    cover = np.where(beach, TYPE_INDEX["sand or gravel"], cover)
    parcel = np.where(fine.water > 0, noise.hash_nodes(noise.key_of(seed, "water"), fine.water), parcel)
    slope_south, slope_east = np.gradient(fine.elevation, 10.0)
    return Landscape(cover, parcel, fine.elevation, slope_east, -slope_south, centre, x, y, latitude)


def _layers(seed: int, x, y, fine: Ground, climate: Climate) -> np.ndarray:
    """Stands, fields or towns for every pixel."""
    tilled = _mixture(seed, "tilled", _TILLED, x, y)
    settled = _mixture(seed, "towns", _SETTLED, x, y)
    layer = np.where(tilled + farming(climate, fine.roughness) > 0, FIELDS, STANDS)
    return np.where(settled > settling(climate, fine.roughness), TOWNS, layer)


def _mixture(seed: int, name: str, weights: dict[int, float], x, y) -> np.ndarray:
    """Sum of fields {spacing in metres: weight}."""
    return sum(
        weight * noise.field(noise.key_of(seed, name, spacing), spacing, x, y) for spacing, weight in weights.items()
    )


_FOREST = {2_500: 0.8, 420: 0.9}
_TILLED = {5_000: 0.6, 1_300: 0.8, 260: 0.25}
_SETTLED = {20_000: 0.5, 2_600: 1.0, 500: 0.45}


def layer_shares(climate: Climate, roughness) -> dict[int, np.ndarray]:
    """Expected shares of stands, fields and towns on land."""
    town = _above(settling(climate, roughness), _SETTLED)
    field = (1 - town) * _above(-farming(climate, roughness), _TILLED)
    return {STANDS: 1 - town - field, FIELDS: field, TOWNS: town}


def _above(threshold, weights: dict[int, float]) -> np.ndarray:
    return 0.5 * erfc(threshold / math.sqrt(2 * sum(weight**2 for weight in weights.values())))


def settling(climate: Climate, roughness):
    """Threshold above which a place is town; higher in mountains and in the cold."""
    return 1.6 + 1.2 * smoothstep(30, 120, roughness) + 0.9 * smoothstep(2.0, -2.0, climate.annual)


def farming(climate: Climate, roughness) -> np.ndarray:
    """How much a region is farmed, in standard deviations: warm plains most, mountains never."""
    warm = smoothstep(9.5, 17.0, np.asarray(climate.july))
    return -3.2 + 3.7 * warm - 2.6 * smoothstep(25, 130, roughness)


class _Lookup:
    """Ground and climate at parcel seeds, from a coarse grid that all patches share."""

    def __init__(self, corner, coarse: Ground, climate: Climate, forest):
        south, east = np.gradient(coarse.elevation, float(_COARSE_M))
        slope = np.degrees(np.arctan(np.hypot(south, east)))
        self.corner, self.size = corner, coarse.elevation.shape[0]
        self.fields = {"elevation": coarse.elevation, "moisture": coarse.moisture, "slope": slope, "forest": forest}
        self.climate = climate

    def __call__(self, x, y):
        column = np.floor((x - self.corner[0]) / _COARSE_M).astype(int) + _COARSE_MARGIN
        row = np.floor((self.corner[1] - y) / _COARSE_M).astype(int) + _COARSE_MARGIN
        place = np.clip(row, 0, self.size - 1), np.clip(column, 0, self.size - 1)
        at = [np.broadcast_to(value, (self.size,) * 2)[place] for value in vars(self.climate).values()]
        return Climate(*at), {name: values[place] for name, values in self.fields.items()}


def _parcels(seed, layer, tile_key, x, y, inside, lookup, centre) -> tuple[np.ndarray, np.ndarray]:
    """Cover type and parcel identity of the pixels `inside` one layer."""
    key = noise.key_of(seed, "parcels", layer)
    angle = float(noise.uniform(tile_key, 1)) * np.pi / 2
    if layer == STANDS:  # wavy borders
        u = x + 45 * noise.field(noise.key_of(key, "u"), 70, x, y) + 10 * noise.field(noise.key_of(key, "u2"), 18, x, y)
        v = y + 45 * noise.field(noise.key_of(key, "v"), 70, x, y) + 10 * noise.field(noise.key_of(key, "v2"), 18, x, y)
        (column, row), seeds, gap, pair = noise.cells(key, _SPACING_M[STANDS], u[inside], v[inside], angle, 0.0)
    else:
        bend = 60 * noise.field(noise.key_of(key, "bend"), 700, x, y)
        spacing = _SPACING_M.get(layer) or _FIELD_SPACING_M[int(3 * noise.uniform(tile_key, 2))]
        (column, row), seeds, gap, pair = noise.cells(key, spacing, (x + bend)[inside], (y - bend)[inside], angle, 0.85)
    flat = (column - column.min()) * (np.ptp(row) + 1) + row - row.min()
    _, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
    climate, local = lookup(seeds[0][first], seeds[1][first])
    logits = type_logits(layer, climate, **local)
    nodes = column[first][:, None], row[first][:, None], np.arange(len(COVER_TYPES))[None, :]
    cover = np.argmax(logits + noise.gumbel(noise.key_of(key, "type"), *nodes), axis=1)[inverse]
    parcel = noise.hash_nodes(key, column, row)
    if layer == FIELDS:  # hedges between fields of moist mild regions, field tracks elsewhere
        chance = (pair >> np.uint64(11)).astype(float) * 2.0**-53
        hedges = 0.4 * float(smoothstep(0.6, 1.4, np.asarray(centre.aridity)))
        cover = np.where((gap < 14) & (chance < hedges), TYPE_INDEX["broad-leaved forest"], cover)
        cover = np.where((gap < 7) & (chance > 0.88), TYPE_INDEX["natural grassland"], cover)
    if layer == TOWNS:
        chance = (pair >> np.uint64(11)).astype(float) * 2.0**-53
        cover = np.where((gap < 9) & (chance < 0.6), TYPE_INDEX["road"], cover)
    return cover, parcel


def _roads(seed, cover, x, y, layer, tile_key) -> None:
    """Country roads along the borders of a wide, gently bent net; in place."""
    bend = 150 * noise.field(noise.key_of(seed, "bends"), 900, x, y)
    points = np.broadcast_to(x, cover.shape) + bend, np.broadcast_to(y, cover.shape) - bend
    angle = float(noise.uniform(tile_key, 3)) * np.pi / 2
    _, _, gap, pair = noise.cells(noise.key_of(seed, "roads"), 1_500, *points, angle, 0.4)
    kept = (pair >> np.uint64(11)).astype(float) * 2.0**-53 < np.where(layer == STANDS, 0.35, 0.75)
    cover[(gap < 11) & kept] = TYPE_INDEX["road"]


def type_logits(layer: int, climate: Climate, elevation, moisture, slope, forest) -> np.ndarray:
    """Log odds of every cover type for parcels, shape (n, types).

    Args:
        layer: STANDS, FIELDS or TOWNS.
        climate: normals at the parcels.
        elevation: m. moisture: 0..1. slope: degrees.
        forest: standard normal, how wooded the neighbourhood is.
    """
    june_to_august = climate.july
    grows = smoothstep(8.5, 11.5, june_to_august)  # trees need a warm month (Körner 2012)
    crops_grow = smoothstep(12.0, 16.5, june_to_august)
    cold = smoothstep(7.5, 0.5, climate.annual)
    south = climate.dry_summer * smoothstep(10.0, 14.0, climate.annual)
    dry = smoothstep(1.0, 0.5, climate.aridity)
    steep = smoothstep(14.0, 36.0, slope)
    wet = smoothstep(0.45, 0.85, moisture)
    alpine = smoothstep(11.5, 8.5, june_to_august)
    barren = smoothstep(8.0, 4.5, june_to_august)  # above the alpine meadows
    frozen = smoothstep(4.0, 1.5, june_to_august)
    logits = np.full((np.size(slope), len(COVER_TYPES)), _NEVER)

    def put(name, value):
        logits[:, TYPE_INDEX[name]] = value

    if layer == TOWNS:
        put("houses and gardens", 2.0)
        put("works and shops", 0.0)
        put("broad-leaved forest", 0.0)
        put("pasture", -0.1)
        put("sand or gravel", -1.6)
        return logits
    tilled = layer == FIELDS
    put("broad-leaved forest", 1.3 - 2.4 * cold + 1.1 * forest - 8 * (1 - grows) - 1.2 * south - 2.6 * tilled)
    put("coniferous forest", 0.2 + 2.0 * cold + 1.1 * forest - 8 * (1 - grows) + 0.6 * steep - 3.0 * tilled)
    put("sclerophyllous shrub", -1.7 + 3.2 * south + 1.0 * dry + 0.4 * steep - 2 * tilled - 4 * alpine)
    put("transitional woodland", 0.1 + 0.3 * forest + 0.7 * cold - 5 * (1 - grows) - 1.6 * tilled)
    put("pasture", -1.1 + 2.3 * tilled + 0.5 * climate.aridity - 1.2 * south + 0.9 * wet - 6 * alpine)
    put("natural grassland", -0.9 + 1.6 * alpine + 0.8 * dry + 0.5 * steep - 0.5 * forest - 0.7 * tilled - 2.5 * barren)
    for name, base in (("winter cereal", 1.6), ("summer crop", 1.2), ("fallow", 0.5)):
        put(name, np.where(tilled, base - 6 * (1 - crops_grow) - 4 * steep - 1.5 * wet, _NEVER))
    put("vineyard or olives", np.where(tilled, -2.2 + 3.4 * south + 0.8 * smoothstep(9.5, 12, climate.annual), _NEVER))
    put("bare rock", -5.0 + 3.5 * steep + 3.6 * alpine + 1.5 * barren - 4 * tilled)
    put("sparse vegetation", -3.6 + 1.4 * steep + 3.0 * alpine + 1.4 * dry + 0.8 * south + 0.6 * barren - 2 * tilled)
    put("sand or gravel", -4.0 + 0.6 * wet)
    put("perpetual snow", -14.0 + 17.0 * frozen)
    put("marsh", -2.6 + 4.6 * wet - 5 * steep - 4 * alpine - 2.5 * tilled)
    put("peat bog", -2.2 + 2.4 * wet + 2.2 * cold - 4 * steep - 2.5 * alpine - 2.5 * tilled)
    put("moss and lichen heath", -4.5 + 4.8 * alpine * cold - 1.5 * frozen)
    return logits


def canopy_height(seed: int, scene: Landscape) -> np.ndarray:
    """Height of trees and roofs above the ground in metres, (H, W)."""
    parcel = 1 + 0.3 * scene.parcel_normal(noise.key_of(seed, "stature"))
    crowns = 1 + 0.25 * noise.field(noise.key_of(seed, "crowns"), 14, scene.x, scene.y)
    return HEIGHT_M[scene.cover] * np.clip(parcel, 0.3, 2) * np.clip(crowns, 0, 2)


def labels_of(scene: Landscape) -> list[str]:
    """CORINE level-3 names of the patch, as of its larger parcels.

    CORINE maps nothing below 25 ha, a sixth of a patch; classes from 6 % on are listed, mixed
    classes where their parts meet, and always the largest.
    """
    inner = scene.cover[MARGIN:-MARGIN, MARGIN:-MARGIN]
    share = np.bincount(inner.ravel(), minlength=len(COVER_TYPES)) / inner.size
    names = {}
    for entry, value in zip(COVER_TYPES, share, strict=True):
        names[entry.corine] = names.get(entry.corine, 0.0) + value
    names.pop("Glaciers and perpetual snow")  # not in the 43-class nomenclature of BigEarthNet
    trees = names["Broad-leaved forest"], names["Coniferous forest"]
    if min(trees) > 0.06:
        names["Mixed forest"] = 0.5 * sum(trees)
    tilled = sum(names[name] for name in ("Non-irrigated arable land", "Vineyards", "Pastures"))
    if tilled > 0.25 and 0.1 < sum(trees) < 0.5:
        names["Land principally occupied by agriculture, with significant areas of natural vegetation"] = 0.1
    if scene.climate.dry_summer > 0.5:
        names["Olive groves"] = names.pop("Vineyards")
    listed = sorted(name for name, value in names.items() if value >= 0.06)
    return listed or ["Bare rock"]
