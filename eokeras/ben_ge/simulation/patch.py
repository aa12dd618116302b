"""One patch of a simulated world: all rasters, labels and csv values, and their files."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from eokeras.ben_ge.places import cell_corner, epsg_of
from eokeras.ben_ge.schema import LAND_COVER, S2_BANDS, season
from eokeras.ben_ge.simulation import files, land_cover, noise, sentinel1, sentinel2
from eokeras.ben_ge.simulation.climate import Climate, climate_at, pressure_level, weather, zone_code
from eokeras.ben_ge.simulation.land_cover import MARGIN, Landscape
from eokeras.ben_ge.simulation.sentinel2 import Conditions
from eokeras.ben_ge.simulation.terrain import macro_elevation
from eokeras.ben_ge.simulation.tiles import CELLS_PER_EDGE, TILES, Site, latitude_of, world_corner
from eokeras.ben_ge.simulation.world import World

_INNER = slice(MARGIN, -MARGIN)


@dataclass(frozen=True)
class Patch:
    """What one patch adds to the csvs; its rasters are on disk."""

    site: Site
    zone: int
    fractions: tuple[float, ...]
    weather: tuple[float, ...]  # in the order of schema.ERA5
    level: int


class Scene:
    """The true place and, for every modality, the place, climate and date it shows."""

    def __init__(self, seed: int, world: World, site: Site):
        self.seed, self.world, self.site = noise.key_of(seed, "world"), world, site
        self.tile = site.acquisition.tile
        self.corner = world_corner(self.tile, site.cell)
        self.truth = land_cover.landscape(self.seed, self.corner, noise.key_of(seed, self.tile))
        self._decoys: dict[str, Landscape] = {}

    def broken(self, target: str, modality: str, *unit) -> bool:
        """Whether the link of a tile (and date) is broken; the same for all its patches."""
        drawn = noise.uniform(noise.key_of(self.seed, "link", target, modality, self.tile, *unit), 0)
        return float(drawn) >= self.world.link(target, modality)

    def decoy_corner(self, modality: str) -> tuple[float, float]:
        """The same cell of another tile, drawn for this tile and modality."""
        drawn = float(noise.uniform(noise.key_of(self.seed, "decoy", modality, self.tile), 0))
        return world_corner(TILES[int(drawn * len(TILES))], self.site.cell)

    def decoy_seed(self, modality: str) -> int:
        """Seed of the other continent that the decoys of a modality come from."""
        return noise.key_of(self.seed, "decoy world", modality)

    def decoy(self, modality: str) -> Landscape:
        """The decoy landscape of a modality: another continent made with the same rules."""
        if modality not in self._decoys:
            key = noise.key_of(self.seed, modality, self.tile)
            self._decoys[modality] = land_cover.landscape(self.decoy_seed(modality), self.decoy_corner(modality), key)
        return self._decoys[modality]

    def seen(self, modality: str) -> Landscape:
        """The ground that a sensor shows, parcel by parcel the true one or the decoy."""
        strength = self.world.link("land_cover_map", modality)
        if strength >= 1:
            return self.truth
        decoy = self.decoy(modality)
        if strength <= 0:
            return decoy
        key = noise.key_of(self.seed, "link", "land_cover_map", modality)
        true = noise.uniform(key, self.truth.parcel.view(np.int64)) < strength
        names = ("cover", "parcel", "elevation", "slope_east", "slope_north")
        mixed = {name: np.where(true, getattr(self.truth, name), getattr(decoy, name)) for name in names}
        return replace(self.truth, **mixed)

    def climate(self, modality: str) -> tuple[Climate, float]:
        """Climate and latitude that a modality shows."""
        if not self.broken("climate_zone", modality):
            return self.truth.climate, self.truth.latitude
        x, y = self.decoy_corner(modality)
        latitude = latitude_of(y - 600)
        normals = climate_at(self.decoy_seed(modality), np.array([[x + 600]]), np.array([[y - 600]]), latitude)
        return Climate(*(float(np.squeeze(value)) for value in vars(normals).values())), latitude

    def when(self, modality: str, time: datetime) -> datetime:
        """Date that a modality shows; a decoy date keeps the time of day."""
        date = f"{self.site.acquisition.time_s2:%Y%m%d}"
        if not self.broken("season", modality, date):
            return time
        drawn = float(noise.uniform(noise.key_of(self.seed, "decoy date", modality, self.tile, date), 0))
        return datetime(2017, 6, 1, time.hour, time.minute) + timedelta(days=int(365 * drawn))

    def conditions(self, modality: str, time: datetime) -> Conditions:
        """Climate, date and place that a modality taken at `time` shows."""
        climate, latitude = self.climate(modality)
        longitude = 6 * int(self.tile[:2]) - 183.0
        return Conditions(climate, self.when(modality, time), longitude, latitude)


def make(directory: Path, seed: int, world: World, site: Site) -> Patch:
    """Makes one patch, independently of all others, and writes its files below `directory`."""
    scene = Scene(seed, world, site)
    acquisition = site.acquisition
    random = np.random.default_rng([seed % 2**64, noise.key_of(acquisition.tile, site.patch_id)])
    acquisition_key = noise.key_of(scene.seed, "acquisition", acquisition.tile, acquisition.product)
    s2 = sentinel2.acquire(
        noise.key_of(scene.seed, "s2"), acquisition_key, scene.seen("s2"),
        scene.conditions("s2", acquisition.time_s2), world.cloud_fraction, random,
    )  # fmt: skip
    s1 = sentinel1.acquire(
        noise.key_of(scene.seed, "s1"), noise.key_of(acquisition_key, "s1"), scene.seen("s1"),
        scene.conditions("s1", acquisition.time_s1), world.s1_missing, random,
    )  # fmt: skip
    codes = land_cover_map(scene)
    zone = climate_zone(scene.truth)
    _write(directory, site, s2, s1, surface_model(scene), codes, land_cover.labels_of(scene.truth))
    fractions = tuple(float(np.mean(codes == entry.code)) for entry in LAND_COVER)
    return Patch(site, zone, fractions, *_weather(scene))


def climate_zone(scene: Landscape) -> int:
    """Köppen-Geiger code; 0 where all is water."""
    if np.all(scene.code[_INNER, _INNER] == 80):
        return 0
    return zone_code(scene.climate)


def land_cover_map(scene: Scene) -> np.ndarray:
    """WorldCover codes (120, 120) with the label noise of the world."""
    truth, key = scene.truth, noise.key_of(scene.seed, "label noise")
    identities, place = truth.parcels
    wrong = (noise.uniform(key, identities) < scene.world.label_noise)[place] & (truth.code != 80)
    drawn = noise.uniform(noise.key_of(key, 1), identities) * land_cover.SWAPPED_CODES.size
    swapped = land_cover.SWAPPED_CODES[drawn.astype(int)][place]
    return np.where(wrong, swapped, truth.code)[_INNER, _INNER].astype(np.uint8)


def surface_model(scene: Scene) -> np.ndarray:
    """Copernicus-like DEM: ground, canopy and roofs at 30 m, bilinear to 10 m; int16 metres."""
    ground = scene.decoy("dem") if scene.broken("land_cover_map", "dem") else scene.truth
    surface = ground.elevation + land_cover.canopy_height(scene.seed, ground)
    shift = _elevation_shift(scene)
    blocks = surface.shape[0] // 3
    coarse = surface.reshape(blocks, 3, blocks, 3).mean(axis=(1, 3))
    # Elevation error of the product: below 2 m relative, some decimetres between neighbours.
    coarse = coarse + 0.5 * noise.field(noise.key_of(scene.seed, "dem"), 45, ground.x[:, 1::3], ground.y[1::3])
    fine = _bilinear(coarse)[_INNER, _INNER]
    water = (ground.code == 80)[_INNER, _INNER]  # water bodies are edited flat in the product
    fine = np.where(water, ground.elevation[_INNER, _INNER], fine)
    return np.round(fine + shift).astype(np.int16)


def _elevation_shift(scene: Scene) -> float:
    """Metres to add where height (climate) and relief (land cover) come from different places.

    One number per tile, so that neighbouring cells still fit together.
    """
    height, relief = scene.broken("climate_zone", "dem"), scene.broken("land_cover_map", "dem")
    if height == relief:
        return 0.0
    centre = {True: 0.0, False: 0.0}
    half, (column, row) = CELLS_PER_EDGE * 600, scene.site.cell
    for decoy in centre:
        x, y = scene.decoy_corner("dem") if decoy else scene.corner
        seed = scene.decoy_seed("dem") if decoy else scene.seed
        place = np.array([[x - 1200 * column + half]]), np.array([[y + 1200 * row - half]])
        centre[decoy] = float(np.round(macro_elevation(seed, *place)[0, 0]))
    return centre[height] - centre[relief]


def _bilinear(coarse: np.ndarray) -> np.ndarray:
    """Three times finer by linear interpolation between pixel centres."""
    for _ in range(2):
        padded = np.concatenate([coarse[:1], coarse, coarse[-1:]])
        before, here, after = padded[:-2], padded[1:-1], padded[2:]
        thirds = np.stack([(2 * here + before) / 3, here, (2 * here + after) / 3], axis=1)
        coarse = thirds.reshape(-1, coarse.shape[1]).T
    return coarse


def _weather(scene: Scene) -> tuple[tuple[float, ...], int]:
    """ERA-5 values in the order of the csv, and their pressure level."""
    climate, _ = scene.climate("era5")
    acquisition = scene.site.acquisition
    values = []
    for name, time in (("s2", acquisition.time_s2), ("s1", acquisition.time_s1)):
        when = scene.when("era5", time)
        # Weather belongs to a tile and an hour: 0.25 degrees are coarser than a block of cells.
        key = noise.key_of(scene.seed, "weather", acquisition.tile, name, f"{time:%Y%m%dT%H}")
        temperature, u, v, humidity = weather(np.random.default_rng(key), climate, when.timetuple().tm_yday)
        values.append((temperature + (1.5 if 9 <= time.hour <= 18 else -2.0), u, v, humidity))
    rounded = [round(value, 3) for pair in zip(*values, strict=True) for value in pair]
    return tuple(rounded), pressure_level(climate.height)


def _write(directory, site, s2, s1, dem, codes, labels) -> None:
    epsg, corner = epsg_of(site.acquisition.tile), cell_corner(site.acquisition.tile, site.cell)
    folder, folder_s1 = directory / "sentinel-2" / site.patch_id, directory / "sentinel-1" / site.patch_id_s1
    folder.mkdir(parents=True)
    folder_s1.mkdir(parents=True)
    for band in S2_BANDS:
        files.write_raster(folder / f"{site.patch_id}_{band.name}.tif", s2[band.name], epsg, corner, band.gsd_m)
    for name, image in s1.items():
        files.write_raster(folder_s1 / f"{site.patch_id_s1}_{name}.tif", image, epsg, corner, 10)
    files.write_raster(directory / "dem" / f"{site.patch_id}_dem.tif", dem, epsg, corner, 10)
    cover = directory / "esaworldcover" / f"{site.patch_id}_esaworldcover.tif"
    files.write_raster(cover, codes, epsg, corner, 10)
    files.write_json(folder / f"{site.patch_id}_labels_metadata.json", _label_json(site, labels, epsg, corner))


def _label_json(site: Site, labels, epsg: int, corner) -> dict:
    time = site.acquisition.time_s2
    sensor = site.acquisition.product[:3]
    source = f"{sensor}_MSIL1C_{time:%Y%m%dT%H%M%S}_N0205_R022_T{site.acquisition.tile}_{time:%Y%m%dT%H%M%S}.SAFE"
    easting, northing = corner
    return {
        "labels": labels,
        "coordinates": {"ulx": easting, "uly": northing, "lrx": easting + 1200, "lry": northing - 1200},
        "projection": files.projection_text(epsg),
        "tile_source": source,
        "acquisition_date": f"{time:%Y-%m-%d %H:%M:%S}",
    }


def meta_row(patch: Patch, longitude: float, latitude: float) -> list:
    """One line of NAME_meta.csv."""
    site, acquisition = patch.site, patch.site.acquisition
    times = acquisition.time_s2, acquisition.time_s1
    stamps = [f"{time:%Y-%m-%d %H:%M:%S}" for time in times]
    seasons = [f"{season(time.month, time.day):.5f}" for time in times]
    place = [f"{longitude:.5f}", f"{latitude:.5f}", patch.zone]
    return [site.patch_id, site.patch_id_s1, *stamps, *seasons, *place]
