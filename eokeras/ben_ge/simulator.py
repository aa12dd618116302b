"""A synthetic ben-ge tree: the real layout, a made-up continent, planted structure.

The continent, its climate, land cover and the light of every date are made from random
fields; the sensors look at them with numbers of the literature (`simulation.cover_types`).
`World` says what each modality may tell about each target, down to nothing.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rasterio.warp import transform

from eokeras.ben_ge.places import cell_corner, epsg_of, unit_vectors
from eokeras.ben_ge.schema import ERA5, ERA5_LEVEL_COLUMN, SIMULATED
from eokeras.ben_ge.simulation import noise, patch, terrain
from eokeras.ben_ge.simulation.files import write_csv, write_json
from eokeras.ben_ge.simulation.information import information_table
from eokeras.ben_ge.simulation.tiles import TILES, Site, plan, world_corner
from eokeras.ben_ge.simulation.world import World
from eokeras.ben_ge.tables import COLUMNS
from eokeras.ben_ge.workers import parallel_map
from eokeras.ben_ge.workplace import workplace
from eokeras.errors import EokerasError, InvalidArgumentError, UnwritableError

__all__ = ["World", "simulate"]

GEOCLUSTERS = 20
_PATCHES_PER_TILE = 4000


def simulate(
    directory: str | Path,
    patches: int = 400,
    seed: int = 0,
    world: World | None = None,
    tiles: int | None = None,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes a simulated ben-ge tree.

    The tree has the layout of ben-ge-800 (12 Sentinel-2 bands, Sentinel-1, DEM, WorldCover,
    label JSON, csvs) and NAME_world.json with seed, knobs, their fingerprint and the table
    of what an oracle could reach. It depends on `patches`, `seed`, `world` and `tiles` alone,
    to the byte. Nothing is left behind where it fails.

    Args:
        directory: the tree to make; its last part names the tree. Must not exist.
        patches: number of patches, 1 or more.
        seed: seed of the world, an integer from 0.
        world: knobs; `World()` by default.
        tiles: number of Sentinel-2 tiles, 1 to 56; one per five patches by default.
        processes: worker processes; all cores by default.
        progress: called as progress(done, patches) after every patch.

    Returns:
        The path of the tree.

    Raises:
        InvalidArgumentError: an argument breaks its rule.
        TargetExistsError: `directory` exists.
        UnwritableError: the tree cannot be written.

    Example:
        >>> import tempfile
        >>> tree = simulate(Path(tempfile.mkdtemp()) / "ben-ge-sim", patches=2, processes=1)
        >>> sorted(path.name for path in tree.iterdir() if path.is_dir())
        ['dem', 'esaworldcover', 'sentinel-1', 'sentinel-2']

    Reference:
        Layout: Mommert et al. 2023, https://arxiv.org/abs/2307.01741
    """
    world = World() if world is None else world
    tiles, processes = _checked(patches, seed, world, tiles, processes)
    target = Path(directory).resolve()
    try:
        with workplace(target, "a tree") as work:
            tree = work / target.name
            for name in ("sentinel-2", "sentinel-1", "dem", "esaworldcover"):
                (tree / name).mkdir(parents=True)
            _fill(tree, target.name, patches, seed, world, tiles, processes, progress)
            tree.rename(target)
    except OSError as error:
        if isinstance(error, EokerasError):
            raise
        raise UnwritableError(f"The tree cannot be written to {target.parent}: {error}.") from error
    return target


def _checked(patches, seed, world, tiles, processes) -> tuple[int, int]:
    """The number of tiles and processes; raises where an argument breaks its rule."""
    if not isinstance(world, World):
        raise InvalidArgumentError(f"`world` must be a World. Received: world={world!r}.")
    _check_integer("patches", patches, 1, len(TILES) * _PATCHES_PER_TILE)
    _check_integer("seed", seed, 0, 2**63 - 1)
    tiles = min(len(TILES), max(1, patches // 5)) if tiles is None else tiles
    _check_integer("tiles", tiles, 1, len(TILES))
    if patches > tiles * _PATCHES_PER_TILE:
        raise InvalidArgumentError(
            f"`patches` must be at most {_PATCHES_PER_TILE} per tile. Received: patches={patches}."
        )
    processes = os.cpu_count() or 1 if processes is None else processes
    _check_integer("processes", processes, 1, 4096)
    return min(tiles, patches), min(processes, patches)


def _check_integer(name: str, value, low: int, high: int) -> None:
    integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not integer or not low <= value <= high:
        raise InvalidArgumentError(f"`{name}` must be an integer from {low} to {high}. Received: {name}={value!r}.")


def _fill(directory: Path, name: str, patches, seed, world, tiles, processes, progress) -> None:
    key = noise.key_of(seed, "world")
    chosen = _choose_tiles(seed, tiles)
    sites = plan(seed, patches, chosen, partial(_is_land, key))
    made: dict[int, patch.Patch] = {}
    for index, result in parallel_map(partial(patch.make, directory, seed, world), sites, processes):
        made[index] = result
        if progress is not None:
            progress(len(made), patches)
    _write_csvs(directory, name, [made[index] for index in range(patches)])
    write_json(directory / f"{name}_world.json", _world_json(seed, world), indent=2)


def _choose_tiles(seed: int, count: int) -> tuple[str, ...]:
    random = np.random.default_rng([seed % 2**64, noise.key_of("tiles")])
    return tuple(TILES[index] for index in sorted(random.permutation(len(TILES))[:count]))


def _is_land(key: int, tile: str, cell: tuple[int, int]) -> bool:
    x, y = world_corner(tile, cell)
    return bool(terrain.continental(key, np.array([[x + 600]]), np.array([[y - 600]]))[0, 0] > 0.01)


def _lonlat(sites: Sequence[Site]) -> list[tuple[float, float]]:
    """Longitude and latitude of the centres of the patches."""
    found: dict[int, tuple[float, float]] = {}
    for epsg in sorted({epsg_of(site.acquisition.tile) for site in sites}):
        members = [site for site in sites if epsg_of(site.acquisition.tile) == epsg]
        corners = [cell_corner(site.acquisition.tile, site.cell) for site in members]
        eastings, northings = zip(*corners, strict=True)
        centres = [e + 600 for e in eastings], [n - 600 for n in northings]
        longitudes, latitudes = transform(f"EPSG:{epsg}", "EPSG:4326", *centres)
        found |= {site.index: pair for site, pair in zip(members, zip(longitudes, latitudes, strict=True), strict=True)}
    return [found[site.index] for site in sites]


def _geoclusters(lonlat: list[tuple[float, float]], seed: int = 0) -> list[int]:
    """k-means of places on the sphere, 20 clusters or one per place where there are fewer."""
    from sklearn.cluster import KMeans

    points = unit_vectors(lonlat)
    count = min(GEOCLUSTERS, len(np.unique(points.round(9), axis=0)))
    return [int(label) for label in KMeans(count, n_init=4, random_state=seed).fit_predict(points)]


def _write_csvs(directory: Path, name: str, made: list[patch.Patch]) -> None:
    lonlat = _lonlat([entry.site for entry in made])
    ids = [[entry.site.patch_id, entry.site.patch_id_s1] for entry in made]
    rows = [patch.meta_row(entry, *place) for entry, place in zip(made, lonlat, strict=True)]
    write_csv(directory / f"{name}_meta.csv", [*COLUMNS["meta"], "climatezone"], rows)
    rows = [[entry.site.patch_id, *(round(value, 6) for value in entry.fractions)] for entry in made]
    write_csv(directory / f"{name}_esaworldcover.csv", COLUMNS["landcover"], rows)
    weather = ["patch_id", "patch_id_s1", ERA5_LEVEL_COLUMN, *(variable.column for variable in ERA5)]
    rows = [[*pair, entry.level, *entry.weather] for pair, entry in zip(ids, made, strict=True)]
    write_csv(directory / f"{name}_era-5.csv", weather, rows)
    rows = [[pair[0], cluster] for pair, cluster in zip(ids, _geoclusters(lonlat), strict=True)]
    write_csv(directory / f"{name}_geoclusters_k20.csv", COLUMNS["geoclusters"], rows)


def _world_json(seed: int, world: World) -> dict:
    from importlib.metadata import PackageNotFoundError, version

    try:
        generator = f"eokeras {version('eokeras')}"
    except PackageNotFoundError:
        generator = "eokeras"
    return {
        "simulated": True,
        "seed": seed,
        "knobs": world.knobs,
        "fingerprint": world.fingerprint,
        "information": information_table(world, seed),
        "generator": generator,
        "statement": SIMULATED,
    }
