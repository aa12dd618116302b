"""What the simulated world promises: continuity, statistics, knobs, information table."""

from datetime import datetime

import numpy as np
import pytest

from eokeras.ben_ge.simulation import land_cover, noise, patch, sentinel1, sentinel2, tiles
from eokeras.ben_ge.simulation.information import information_table
from eokeras.ben_ge.simulation.tiles import Acquisition, Site
from eokeras.ben_ge.simulation.world import MODALITIES, World
from eokeras.errors import InvalidArgumentError

INNER = slice(land_cover.MARGIN, -land_cover.MARGIN)
SUMMER, AUTUMN = datetime(2017, 7, 3, 10, 20), datetime(2017, 10, 3, 10, 20)


def site(cell, tile="33UUP", time=SUMMER):
    product = f"S2A_MSIL2A_{time:%Y%m%dT%H%M%S}"
    return Site(0, Acquisition(tile, product, f"S1A_IW_GRDH_1SDV_{time:%Y%m%dT%H%M%S}", time, time), cell)


def scene(cell, world=World(), seed=1, **kwargs):  # noqa: B008 - frozen
    return patch.Scene(seed, world, site(cell, **kwargs))


def sigma(one, world_key=0):
    """Backscatter without speckle of what Sentinel-1 sees, (2, 120, 120), dB."""
    conditions = one.conditions("s1", one.site.acquisition.time_s1)
    return sentinel1.backscatter_db(world_key, 7, one.seen("s1"), conditions)[:, INNER, INNER]


def test_neighbouring_cells_continue_one_another():
    west, east, far = scene((40, 40)), scene((41, 40)), scene((60, 70))
    dem = [patch.surface_model(one).astype(float) for one in (west, east, far)]
    assert np.abs(dem[0][:, -1] - dem[1][:, 0]).mean() < 2.0
    assert np.abs(dem[0][:, -1] - dem[2][:, 0]).mean() > 10.0
    maps = [one.truth.code[INNER, INNER] for one in (west, east, far)]
    assert np.mean(maps[0][:, -1] == maps[1][:, 0]) > 0.85
    # The margin of a patch is its neighbour's ground, to the pixel.
    margin = land_cover.MARGIN
    overlap = west.truth.cover[:, -2 * margin :], east.truth.cover[:, : 2 * margin]
    assert np.array_equal(*overlap)
    assert np.allclose(
        west.truth.elevation[margin:-margin, -margin - 3], east.truth.elevation[margin:-margin, margin - 3]
    )


def test_a_revisited_cell_shows_the_same_ground_in_other_leaves():
    summer, autumn = scene((40, 40)), scene((40, 40), time=AUTUMN)
    assert np.array_equal(patch.surface_model(summer), patch.surface_model(autumn))
    assert np.array_equal(patch.land_cover_map(summer), patch.land_cover_map(autumn))
    images = []
    for one in (summer, autumn):
        conditions = one.conditions("s2", one.site.acquisition.time_s2)
        images.append(sentinel2.ground_reflectance(1, 2, one.seen("s2"), conditions))
    change = np.abs(images[0][7] - images[1][7]).mean()  # near infrared
    assert change > 0.02


def test_speckle_has_four_to_five_looks_and_is_correlated():
    field = sentinel1.speckle(np.random.default_rng(0), 600)
    assert field.mean() == pytest.approx(1, abs=0.01)
    assert 4.2 < field.mean() ** 2 / field.var() < 4.6
    neighbours = np.corrcoef(field[:, 1:].ravel(), field[:, :-1].ravel())[0, 1]
    apart = np.corrcoef(field[:, 8:].ravel(), field[:, :-8].ravel())[0, 1]
    assert neighbours > 0.3
    assert abs(apart) < 0.03


def test_open_sea_has_the_speckle_and_the_level_of_calm_water():
    one = scene((40, 40))
    shape = one.truth.cover.shape
    sea = land_cover.Landscape(
        np.full(shape, 18), np.zeros(shape, np.uint64), *[np.zeros(shape)] * 3,
        one.truth.climate, one.truth.x, one.truth.y, 48.0,
    )  # fmt: skip
    assert set(sea.code.ravel()) == {80}
    conditions = one.conditions("s1", SUMMER)
    stored = sentinel1.acquire(0, 3, sea, conditions, 0.0, np.random.default_rng(0))
    power = 10 ** (stored["VH"].astype(float) / 10)
    blocks = power.reshape(12, 10, 12, 10)  # ripples change slowly: look at blocks
    looks = (blocks.mean(axis=(1, 3)) ** 2 / blocks.var(axis=(1, 3))).mean()
    assert 4.0 < looks < 5.6  # small correlated samples overestimate the looks
    assert -27 < np.median(stored["VH"]) < -21
    assert np.median(stored["VV"]) > np.median(stored["VH"]) + 3


def test_dem_is_a_surface_model():
    one = scene((40, 40))
    above = patch.surface_model(one) - one.truth.elevation[INNER, INNER]
    code = one.truth.code[INNER, INNER]
    inside = np.ones_like(code, bool)
    for shift in (-4, 4):  # 30 m pixels blur edges: look 40 m inside
        inside &= (np.roll(code, shift, 0) == code) & (np.roll(code, shift, 1) == code)
    assert 8 < np.median(above[inside & (code == 10)]) < 22
    assert abs(np.median(above[inside & (code == 30)])) < 2


def class_contrast(world):
    """Largest difference of mean VH between common classes, standard error of a mean, dB."""
    values, codes = [], []
    for column in range(0, 90, 18):
        for row in range(5, 90, 21):
            one = scene((column, row), world)
            values.append(sigma(one)[1, ::6, ::6].ravel())
            codes.append(one.truth.code[INNER, INNER][::6, ::6].ravel())
    values = [value - value.mean() for value in values]  # differences inside patches
    means = []
    for code in (10, 30, 40):
        per_patch = [v[c == code].mean() for v, c in zip(values, codes, strict=True) if np.sum(c == code) > 20]
        means.append((np.mean(per_patch), np.std(per_patch) / np.sqrt(len(per_patch))))
    means, errors = np.array(means).T
    return np.ptp(means), np.max(errors)


def test_backscatter_follows_land_cover_unless_the_link_is_cut():
    contrast, _ = class_contrast(World())
    null_contrast, error = class_contrast(World(land_cover_map_from_s1=0))
    assert contrast > 2.0
    assert null_contrast < 4 * error
    assert null_contrast < 0.25 * contrast


def test_without_its_links_sentinel1_does_not_change_with_the_truth():
    """Two worlds that differ in every true parcel show the same Sentinel-1 ground."""
    one = scene((40, 40), World().without("s1"))
    shown = one.seen("s1")
    assert not np.isin(shown.parcel, one.truth.parcel).any()
    one.truth = land_cover.landscape(99, one.corner, 99)  # another truth
    again = one.seen("s1")
    assert again is shown
    assert np.mean(again.cover == one.truth.cover) < 0.6


@pytest.mark.parametrize("modality", ["s2", "s1", "dem"])
def test_decoys_differ_between_modalities(modality):
    one = scene((40, 40), World.null())
    others = {"s2", "s1", "dem"} - {modality}
    for other in others:
        assert not np.array_equal(one.decoy(modality).cover, one.decoy(other).cover)


def test_partial_strength_keeps_that_share_of_parcels():
    one = scene((40, 40), World(land_cover_map_from_s2=0.6))
    shown = one.seen("s2")
    parcels = np.unique(one.truth.parcel)
    kept = [np.mean(shown.parcel[one.truth.parcel == parcel] == parcel) for parcel in parcels]
    assert set(np.round(kept, 6)) == {0.0, 1.0}
    assert np.mean(kept) == pytest.approx(0.6, abs=0.15)


def test_broken_season_and_climate_show_other_dates_and_places():
    one = scene((40, 40), World.null())
    assert one.conditions("s2", SUMMER).when.date() != SUMMER.date()
    assert one.conditions("s2", SUMMER).climate != one.truth.climate
    intact = scene((40, 40))
    assert intact.conditions("s2", SUMMER).when == SUMMER
    assert intact.conditions("era5", SUMMER).climate == intact.truth.climate


def test_label_noise_replaces_that_share_of_parcels():
    clean, noisy = scene((40, 40), World(label_noise=0)), scene((40, 40), World(label_noise=0.5))
    truth = clean.truth.code[INNER, INNER]
    assert np.array_equal(patch.land_cover_map(clean), truth)
    assert 0.2 < np.mean(patch.land_cover_map(noisy) != truth) < 0.6


def test_cloud_fraction_is_the_mean_share_of_cloud():
    one = scene((40, 40))
    shares = [sentinel2.clouds(noise.key_of("clouds", day), 0.3, one.truth)[0].mean() for day in range(100)]
    assert np.mean(shares) == pytest.approx(0.3, abs=0.1)  # a date has about one weather
    assert sentinel2.clouds(1, 0.0, one.truth)[0].max() == 0


def test_missing_sentinel1_pixels_follow_their_knob():
    one = scene((40, 40))
    conditions = one.conditions("s1", SUMMER)
    found = []
    for seed in range(8):
        stored = sentinel1.acquire(0, 1, one.truth, conditions, 1.0, np.random.default_rng(seed))
        found += [np.count_nonzero(~np.isfinite(image)) for image in stored.values()]
    assert sum(count > 0 for count in found) == 8
    assert max(found) <= 9
    whole = sentinel1.acquire(0, 1, one.truth, conditions, 0.0, np.random.default_rng(0))
    assert all(np.isfinite(image).all() for image in whole.values())


def test_plan_revisits_cells_and_keeps_dates_apart():
    chosen = tiles.TILES
    sites = tiles.plan(0, 400, chosen, lambda tile, cell: True)
    assert len({one.patch_id for one in sites}) == len({one.patch_id_s1 for one in sites}) == 400
    places = [(one.acquisition.tile, one.cell) for one in sites]
    assert 0.2 < 1 - len(set(places)) / 400 < 0.7  # revisits
    tiles_of_date = {}
    for one in sites:
        tiles_of_date.setdefault(one.acquisition.time_s2.date(), set()).add(one.acquisition.tile)
    shared = np.mean([len(group) > 1 for group in tiles_of_date.values()])
    assert 0.02 < shared < 0.25
    assert max(map(len, tiles_of_date.values())) == 2
    component = {tile: tile for tile in chosen}
    for group in tiles_of_date.values():
        names = {component[tile] for tile in group}
        component = {tile: min(names) if name in names else name for tile, name in component.items()}
    assert len(set(component.values())) >= 0.75 * len(chosen)
    cells = {one.cell for one in sites if one.acquisition.tile == sites[0].acquisition.tile}
    touching = [any((c + dc, r + dr) in cells for dc, dr in ((0, 1), (1, 0), (0, -1), (-1, 0))) for c, r in cells]
    assert np.mean(touching) > 0.5


def test_sun_stands_where_it_should():
    # Declination 23.45 degrees at the solstice: noon at 48 degrees north, 15 east, is 11 UTC.
    assert tiles.sun_elevation(48.0, datetime(2017, 6, 21, 11), 15.0) == pytest.approx(65.4, abs=0.2)
    assert tiles.sun_elevation(48.0, datetime(2017, 12, 21, 11), 15.0) == pytest.approx(18.6, abs=0.2)


# ------------------------------------------------------------------ knobs and table


def test_knobs_have_a_fingerprint_and_a_null():
    assert World().fingerprint == World(cloud_fraction=0.015).fingerprint
    assert len({World().fingerprint, World.null().fingerprint, World(label_noise=0.1).fingerprint}) == 3
    assert len(World().fingerprint) == 16
    links = [name for name in World.names() if "_from_" in name]
    assert len(links) == 10
    assert all(getattr(World.null(), name) == 0 for name in links)
    assert [name for name in links if getattr(World().without("dem"), name) == 0] == [
        "land_cover_map_from_dem",
        "climate_zone_from_dem",
    ]
    with pytest.raises(InvalidArgumentError, match="`modality` must be one of"):
        World().without("s3")


@pytest.fixture(scope="module")
def table():
    return information_table(World(), 0)


def test_more_modalities_never_know_less(table):
    chain = ("none", "s2", "s2+s1", "s2+s1+dem", "s2+s1+dem+era5")
    for target, sign in (("climate_zone", 1), ("land_cover_map", 1), ("season", -1)):
        scores = np.array([sign * table[target][name] for name in chain])
        assert np.all(np.diff(scores) > -0.02), target
        for modality in MODALITIES:
            assert sign * table[target][modality] > scores[0] - 0.01
            assert sign * table[target][modality] < scores[-1] + 0.01
        for pair in ("s2+dem", "s2+era5"):
            assert scores[1] - 0.02 < sign * table[target][pair] < scores[-1] + 0.02


def test_fusion_is_worth_five_to_fifteen_points_for_the_map(table):
    gain = table["land_cover_map"]["s2+s1"] - table["land_cover_map"]["s2"]
    assert 0.05 < gain < 0.15
    assert table["land_cover_map"]["s1"] < table["land_cover_map"]["s2"] < 0.9


def test_information_grows_with_the_link():
    scores = [
        information_table(World(land_cover_map_from_s1=k), 0, draws=500, library=600)["land_cover_map"]["s1"]
        for k in (0.0, 0.5, 1.0)
    ]
    assert scores[0] + 0.03 < scores[1] < scores[2] - 0.03


def test_in_the_null_world_nothing_helps():
    null = information_table(World.null(), 0, draws=300, library=500)
    for target in ("climate_zone", "land_cover_map", "season"):
        assert np.ptp(list(null[target].values())) < 0.01, target
    no_s1 = information_table(World().without("s1"), 0, draws=300, library=500)["land_cover_map"]
    assert no_s1["s2+s1"] == pytest.approx(no_s1["s2"], abs=0.005)
    assert no_s1["s2"] > no_s1["none"] + 0.2
