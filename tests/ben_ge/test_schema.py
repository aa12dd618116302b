"""The tables of the data set, against values copied by hand from its documents."""

import csv
import os
from pathlib import Path

import pytest

from eokeras.ben_ge import corine, schema

real = os.environ.get("EOKERAS_REAL_DATA")
needs_real_data = pytest.mark.skipif(not real, reason="EOKERAS_REAL_DATA names no directory of real patches")


def test_sentinel_2_bands():
    names = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
    assert [band.name for band in schema.S2_BANDS] == names
    gsd_m = dict(zip(names, [60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 20, 20], strict=True))
    assert {band.name: band.gsd_m for band in schema.S2_BANDS} == gsd_m
    wavelengths = [band.wavelength_nm for band in schema.S2_BANDS]
    assert wavelengths == sorted(wavelengths)
    assert {(band.scale, band.offset) for band in schema.S2_BANDS} == {(1e-4, 0.0)}
    assert all(band.group == f"s2_{band.gsd_m}m" for band in schema.S2_BANDS)


def test_bands_by_stored_group():
    assert schema.s2_band_groups() == {"s2_10m": (1, 2, 3, 7), "s2_20m": (4, 5, 6, 8, 10, 11), "s2_60m": (0, 9)}
    assert schema.s2_band_groups(("B12", "B02", "B8A")) == {"s2_10m": (1,), "s2_20m": (0, 2)}


def test_rasters():
    shapes = {
        "s2_10m": (120, 120, 4),
        "s2_20m": (60, 60, 6),
        "s2_60m": (20, 20, 2),
        "s1": (120, 120, 2),
        "dem": (120, 120, 1),
        "land_cover_map": (120, 120),
        "reference_map": (120, 120),
    }
    assert {name: raster.shape for name, raster in schema.RASTERS.items()} == shapes
    dtypes = ["uint16", "uint16", "uint16", "float32", "int16", "uint8", "uint16"]
    assert [raster.dtype for raster in schema.RASTERS.values()] == dtypes
    assert schema.RASTERS["s2_10m"].bands == ("B02", "B03", "B04", "B08")
    assert schema.RASTERS["s2_20m"].bands == ("B05", "B06", "B07", "B8A", "B11", "B12")
    assert schema.RASTERS["s2_60m"].bands == ("B01", "B09")
    assert schema.RASTERS["s1"].bands == schema.S1_POLARISATIONS == ("VV", "VH")
    assert schema.S2_GROUPS == ("s2_10m", "s2_20m", "s2_60m")


def test_land_cover_codes_colours_and_columns():
    table = [
        (10, (0, 100, 0), "tree_cover"),
        (20, (255, 187, 34), "shrubland"),
        (30, (255, 255, 76), "grassland"),
        (40, (240, 150, 255), "cropland"),
        (50, (250, 0, 0), "built-up"),
        (60, (180, 180, 180), "bare/sparse_vegetation"),
        (70, (240, 240, 240), "snow_and_ice"),
        (80, (0, 100, 200), "permanent_water_bodies"),
        (90, (0, 150, 160), "herbaceous_wetland"),
        (95, (0, 207, 117), "mangroves"),
        (100, (250, 230, 160), "moss_and_lichen"),
    ]
    assert [(entry.code, entry.colour, entry.column) for entry in schema.LAND_COVER] == table
    assert schema.LAND_COVER_NO_DATA == 0
    assert schema.VOID == 255


def test_climate_zones():
    symbols = (
        "water Af Am Aw BWh BWk BSh BSk Csa Csb Csc Cwa Cwb Cwc Cfa Cfb Cfc Dsa Dsb Dsc Dsd Dwa Dwb Dwc Dwd Dfa Dfb "
        "Dfc Dfd ET EF"
    )
    assert [zone.symbol for zone in schema.KOPPEN_GEIGER] == symbols.split()
    assert [zone.code for zone in schema.KOPPEN_GEIGER] == list(range(31))
    assert [zone.code for zone in schema.CLIMATE_ZONES] == [0, 7, 8, 9, 14, 15, 16, 18, 25, 26, 27, 29]


def test_weather_columns():
    quantities = ("temperature", "wind-u", "wind-v", "relhumidity")
    columns = [f"{quantity}_{sensor}" for quantity in quantities for sensor in ("s2", "s1")]
    assert [variable.column for variable in schema.ERA5] == columns
    assert [variable.unit for variable in schema.ERA5] == ["K"] * 2 + ["m/s"] * 4 + ["%"] * 2


def test_corine_to_bigearthnet_19():
    gathered = [name for names in corine.BIGEARTHNET_19.values() for name in names]
    assert len(corine.BIGEARTHNET_19) == 19
    assert len({*gathered, *corine.CORINE_WITHOUT_CLASS}) == len(gathered) + len(corine.CORINE_WITHOUT_CLASS) == 43
    names = list(corine.BIGEARTHNET_19)
    assert (names[0], names[8], names[18]) == ("Urban fabric", "Broad-leaved forest", "Marine waters")
    assert corine.corine_to_19(["Sea and ocean", "Rice fields", "Estuaries", "Airports"]) == (2, 18)
    assert corine.corine_to_19(["Bare rock"]) == ()
    with pytest.raises(KeyError, match="Moon"):
        corine.corine_to_19(["Moon"])


def test_targets_and_inputs_stand_on_fields_of_a_record():
    fields = {*schema.RASTERS, *schema.SCALARS}
    assert not set(schema.RASTERS) & set(schema.SCALARS)
    assert {target.feature for target in schema.TARGETS.values()} <= fields
    assert {field for names in schema.INPUTS.values() for field in names} <= fields
    classes = {name: len(target.classes) for name, target in schema.TARGETS.items()}
    assert classes == {
        "climate_zone": 12,
        "land_cover": 11,
        "land_cover_map": 11,
        "reference_map": 19,
        "land_cover_fractions": 11,
        "season": 0,
        "geocluster": 20,
        "labels": 19,
        "elevation": 0,
    }
    assert {name: len(channels) for name, channels in schema.CHANNELS.items() if name in schema.INPUTS} == {
        **{"s2": 12, "s1": 2, "dem": 1, "era5": 8},
        **{"lonlat": 2, "season_input": 1},
    }


@pytest.mark.parametrize(
    ("month", "day", "season"),
    # Published values of ben-ge; 31 December by hand: fraction (11 + 1) / 12 + 9 / 365 - 1 = 9 / 365.
    [(6, 13, 0.99749), (12, 21, 0.00699), (10, 2, 0.63734), (9, 29, 0.65687), (11, 1, 0.42359), (12, 31, 0.07739)],
)
def test_season(month, day, season):
    assert round(schema.season(month, day), 5) == season


@needs_real_data
def test_season_equals_every_published_value():
    with open(Path(real) / "ben-ge-8k-index" / "ben-ge-8k_meta_first103rows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 103
    for row in rows:
        for sensor in ("s2", "s1"):
            month, day = (int(part) for part in row[f"timestamp_{sensor}"][5:10].split("-"))
            assert schema.season(month, day) == pytest.approx(float(row[f"season_{sensor}"]), abs=6e-6)
