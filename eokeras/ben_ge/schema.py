"""What the ben-ge data set is, as frozen tables: bands, classes, colours, units.

Written once; every other module looks here. Letters: H rows, W columns, C channels.

References:
    ben-ge: Mommert et al. 2023, https://arxiv.org/abs/2307.01741
    Sentinel-2 bands (S2A): ESA Sentinel-2 User Handbook and MSI spectral responses.
    ESA WorldCover 10 m v200 Product User Manual (class codes and colours).
    Köppen-Geiger legend: Beck et al. 2018, https://doi.org/10.1038/sdata.2018.214
    BigEarthNet-19, CORINE: `corine`.
"""

import math
from dataclasses import dataclass
from types import MappingProxyType

from eokeras.ben_ge.corine import BIGEARTHNET_19

SIMULATED = "Simulated: shows that the method can find an effect, not how large the effect is in Europe."
"""What must stand beside everything that is made from simulated data."""

VOID = 255
"""Class id of "no label" in every class target, per patch or per pixel."""

PATCH_SIZE_M = 1200
"""Edge of a patch in metres; one patch covers 1200 m x 1200 m in its UTM zone."""


@dataclass(frozen=True)
class Band:
    """One Sentinel-2 band. Reflectance = digital number * scale + offset."""

    name: str
    wavelength_nm: float  # centre wavelength of S2A
    gsd_m: int  # ground sampling distance
    scale: float = 1e-4  # BigEarthNet v1: quantification value 10,000
    offset: float = 0.0  # BigEarthNet v1 predates BOA_ADD_OFFSET (baseline 04.00)

    @property
    def group(self) -> str:
        """The raster of a record that holds this band: `s2_10m`, `s2_20m` or `s2_60m`."""
        return f"s2_{self.gsd_m}m"


S2_BANDS = (
    Band("B01", 442.7, 60),
    Band("B02", 492.4, 10),
    Band("B03", 559.8, 10),
    Band("B04", 664.6, 10),
    Band("B05", 704.1, 20),
    Band("B06", 740.5, 20),
    Band("B07", 782.8, 20),
    Band("B08", 832.8, 10),
    Band("B8A", 864.7, 20),
    Band("B09", 945.1, 60),
    Band("B11", 1613.7, 20),
    Band("B12", 2202.4, 20),
)
"""The 12 bands of a Sentinel-2 L2A patch in canonical order (L2A has no B10)."""

S1_POLARISATIONS = ("VV", "VH")
"""Canonical order of the Sentinel-1 channels; the tutorial's models expect VH, VV."""


@dataclass(frozen=True)
class Raster:
    """One raster of a patch as stored: shape (H, W, C), or (H, W) where `bands` is empty."""

    name: str
    bands: tuple[str, ...]
    gsd_m: int
    dtype: str
    unit: str

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, C), or (H, W) without bands, of the 1200 m patch at `gsd_m`."""
        size = PATCH_SIZE_M // self.gsd_m
        return (size, size, len(self.bands)) if self.bands else (size, size)


def _s2_raster(gsd_m: int) -> Raster:
    names = tuple(band.name for band in S2_BANDS if band.gsd_m == gsd_m)
    return Raster(f"s2_{gsd_m}m", names, gsd_m, "uint16", "reflectance digital number")


RASTERS = MappingProxyType(
    {
        raster.name: raster
        for raster in (
            _s2_raster(10),
            _s2_raster(20),
            _s2_raster(60),
            Raster("s1", S1_POLARISATIONS, 10, "float32", "backscatter sigma-nought [dB]"),
            Raster("dem", ("elevation",), 10, "int16", "surface elevation above the EGM2008 geoid [m]"),
            Raster("land_cover_map", (), 10, "uint8", "ESA WorldCover code"),
            Raster("reference_map", (), 10, "uint16", "CORINE Land Cover 2018 code, level 3"),
        )
    }
)
"""Every raster of a patch by the name it has in a record."""

DEM_NO_DATA = -32768
"""Elevation [m] of a pixel without one: the lowest int16, as SRTM and GDAL write it. (Copernicus GLO-30 has no
voids over Europe, and the files of ben-ge state no such value.)"""

S2_GROUPS = tuple(name for name in RASTERS if name.startswith("s2_"))


def s2_band_groups(bands=tuple(band.name for band in S2_BANDS)) -> dict[str, tuple[int, ...]]:
    """Stored group -> where its bands stand among the `bands` of an input; groups without any are left out.

    Args:
        bands: names of the channels of the input `s2`, in their order.

    Example:
        >>> s2_band_groups(("B04", "B03", "B11"))
        {'s2_10m': (0, 1), 's2_20m': (2,)}
    """
    places = {
        group: tuple(index for index, band in enumerate(bands) if band in RASTERS[group].bands) for group in S2_GROUPS
    }
    return {group: indices for group, indices in places.items() if indices}


@dataclass(frozen=True)
class LandCoverClass:
    """One ESA WorldCover class; `column` is its name in the ben-ge csv."""

    code: int
    name: str
    column: str
    colour: tuple[int, int, int]  # official RGB


LAND_COVER = (
    LandCoverClass(10, "tree cover", "tree_cover", (0, 100, 0)),
    LandCoverClass(20, "shrubland", "shrubland", (255, 187, 34)),
    LandCoverClass(30, "grassland", "grassland", (255, 255, 76)),
    LandCoverClass(40, "cropland", "cropland", (240, 150, 255)),
    LandCoverClass(50, "built-up", "built-up", (250, 0, 0)),
    LandCoverClass(60, "bare/sparse vegetation", "bare/sparse_vegetation", (180, 180, 180)),
    LandCoverClass(70, "snow and ice", "snow_and_ice", (240, 240, 240)),
    LandCoverClass(80, "permanent water bodies", "permanent_water_bodies", (0, 100, 200)),
    LandCoverClass(90, "herbaceous wetland", "herbaceous_wetland", (0, 150, 160)),
    LandCoverClass(95, "mangroves", "mangroves", (0, 207, 117)),
    LandCoverClass(100, "moss and lichen", "moss_and_lichen", (250, 230, 160)),
)
LAND_COVER_NO_DATA = 0
"""WorldCover code of a pixel without a class; it becomes `VOID`."""


@dataclass(frozen=True)
class ClimateZone:
    """One Köppen-Geiger zone in the Beck et al. 2018 legend; code 0 is all water."""

    code: int
    symbol: str
    name: str


KOPPEN_GEIGER = (
    ClimateZone(0, "water", "all water, no zone"),
    ClimateZone(1, "Af", "tropical, rainforest"),
    ClimateZone(2, "Am", "tropical, monsoon"),
    ClimateZone(3, "Aw", "tropical, savannah"),
    ClimateZone(4, "BWh", "arid, desert, hot"),
    ClimateZone(5, "BWk", "arid, desert, cold"),
    ClimateZone(6, "BSh", "arid, steppe, hot"),
    ClimateZone(7, "BSk", "arid, steppe, cold"),
    ClimateZone(8, "Csa", "temperate, dry summer, hot summer"),
    ClimateZone(9, "Csb", "temperate, dry summer, warm summer"),
    ClimateZone(10, "Csc", "temperate, dry summer, cold summer"),
    ClimateZone(11, "Cwa", "temperate, dry winter, hot summer"),
    ClimateZone(12, "Cwb", "temperate, dry winter, warm summer"),
    ClimateZone(13, "Cwc", "temperate, dry winter, cold summer"),
    ClimateZone(14, "Cfa", "temperate, no dry season, hot summer"),
    ClimateZone(15, "Cfb", "temperate, no dry season, warm summer"),
    ClimateZone(16, "Cfc", "temperate, no dry season, cold summer"),
    ClimateZone(17, "Dsa", "cold, dry summer, hot summer"),
    ClimateZone(18, "Dsb", "cold, dry summer, warm summer"),
    ClimateZone(19, "Dsc", "cold, dry summer, cold summer"),
    ClimateZone(20, "Dsd", "cold, dry summer, very cold winter"),
    ClimateZone(21, "Dwa", "cold, dry winter, hot summer"),
    ClimateZone(22, "Dwb", "cold, dry winter, warm summer"),
    ClimateZone(23, "Dwc", "cold, dry winter, cold summer"),
    ClimateZone(24, "Dwd", "cold, dry winter, very cold winter"),
    ClimateZone(25, "Dfa", "cold, no dry season, hot summer"),
    ClimateZone(26, "Dfb", "cold, no dry season, warm summer"),
    ClimateZone(27, "Dfc", "cold, no dry season, cold summer"),
    ClimateZone(28, "Dfd", "cold, no dry season, very cold winter"),
    ClimateZone(29, "ET", "polar, tundra"),
    ClimateZone(30, "EF", "polar, frost"),
)
CLIMATE_ZONES = tuple(KOPPEN_GEIGER[code] for code in (0, 7, 8, 9, 14, 15, 16, 18, 25, 26, 27, 29))
"""The 12 zones present in ben-ge; their place here is the class id (0 is water)."""


@dataclass(frozen=True)
class WeatherVariable:
    """One column of the ERA-5 csv: a value at `atmpressure_level` and one satellite's time."""

    column: str
    unit: str
    low: float  # physically plausible range, used by the fixed calibration
    high: float


ERA5 = (
    WeatherVariable("temperature_s2", "K", 223.15, 323.15),
    WeatherVariable("temperature_s1", "K", 223.15, 323.15),
    WeatherVariable("wind-u_s2", "m/s", -50.0, 50.0),
    WeatherVariable("wind-u_s1", "m/s", -50.0, 50.0),
    WeatherVariable("wind-v_s2", "m/s", -50.0, 50.0),
    WeatherVariable("wind-v_s1", "m/s", -50.0, 50.0),
    WeatherVariable("relhumidity_s2", "%", 0.0, 100.0),
    WeatherVariable("relhumidity_s1", "%", 0.0, 100.0),
)
"""The 8 ERA-5 numbers of a patch in the order of the csv (and of the input `era5`)."""
ERA5_LEVEL_COLUMN = "atmpressure_level"  # mbar


@dataclass(frozen=True)
class Target:
    """What a network may be asked for. `feature` is the record's field it is made from."""

    name: str
    kind: str  # "class", "map", "regression", "fractions", "multilabel" or "map_regression"
    feature: str
    classes: tuple[str, ...] = ()
    unit: str = ""


_LAND_COVER_NAMES = tuple(entry.name for entry in LAND_COVER)
TARGETS = MappingProxyType(
    {
        target.name: target
        for target in (
            Target("climate_zone", "class", "climate_zone", tuple(zone.symbol for zone in CLIMATE_ZONES)),
            Target("land_cover", "class", "land_cover_fractions", _LAND_COVER_NAMES),
            Target("land_cover_map", "map", "land_cover_map", _LAND_COVER_NAMES),
            # 25 ha mapping unit, drawn by hand from images of 2017-18: no truth for a single 10 m pixel.
            Target("reference_map", "map", "reference_map", tuple(BIGEARTHNET_19)),
            Target("land_cover_fractions", "fractions", "land_cover_fractions", _LAND_COVER_NAMES),
            Target("season", "regression", "season", unit="0 winter solstice .. 1 summer solstice"),
            Target("geocluster", "class", "geocluster", tuple(f"cluster {index}" for index in range(20))),
            Target("labels", "multilabel", "labels", tuple(BIGEARTHNET_19)),
            # Absolute height cannot be seen, only looked up where the place is recognised; relief can.
            Target("elevation", "map_regression", "dem", unit="m above the mean of the patch"),
        )
    }
)

INPUTS = MappingProxyType(
    {
        "s2": S2_GROUPS,
        "s1": ("s1",),
        "dem": ("dem",),
        "era5": ("era5",),
        "lonlat": ("lonlat",),
        "season_input": ("season",),
    }
)
"""Name of a network input -> the fields of a record that it is made from."""

CHANNELS = MappingProxyType(
    {
        "s2": tuple(band.name for band in S2_BANDS),
        "s1": S1_POLARISATIONS,
        "dem": RASTERS["dem"].bands,
        "era5": tuple(variable.column for variable in ERA5),
        "lonlat": ("longitude", "latitude"),
        "season_input": ("season",),
        **{name: RASTERS[name].bands for name in S2_GROUPS},
    }
)
"""Canonical channel names of every network input (and of the stored Sentinel-2 groups)."""

RASTER_INPUTS = ("s2", "s1", "dem")
"""Inputs of shape (H, W, C); the others are vectors of shape (C,)."""


@dataclass(frozen=True)
class Scalar:
    """One field of a record that is no raster: numbers or text about the patch."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # a NumPy name, or "string"
    meaning: str


SCALARS = MappingProxyType(
    {
        scalar.name: scalar
        for scalar in (
            Scalar("patch_id", (), "string", "Sentinel-2 name of the patch"),
            Scalar("patch_id_s1", (), "string", "Sentinel-1 name of the patch"),
            Scalar("tile", (), "string", "MGRS tile, or the 100 km UTM square where none is known"),
            Scalar("cell", (2,), "int32", "column and row of the patch in its tile"),
            Scalar("date", (), "string", "Sentinel-2 acquisition date, YYYY-MM-DD (of Sentinel-1 where it is alone)"),
            Scalar("timestamp_s2", (), "string", "YYYY-MM-DD hh:mm:ss"),
            Scalar("timestamp_s1", (), "string", "YYYY-MM-DD hh:mm:ss"),
            Scalar("epsg", (), "int32", "EPSG code of the patch's UTM zone"),
            Scalar("upper_left", (2,), "float64", "easting and northing of the upper left corner [m]"),
            Scalar("lonlat", (2,), "float64", "longitude, latitude [degrees]"),
            Scalar("season", (), "float64", "season at the Sentinel-2 time, 0 winter .. 1 summer solstice"),
            Scalar("season_s1", (), "float64", "season at the Sentinel-1 time"),
            Scalar("climate_zone", (), "uint8", "Köppen-Geiger code"),
            Scalar("land_cover_fractions", (len(LAND_COVER),), "float64", "fraction of the patch per class"),
            Scalar("era5", (len(ERA5),), "float64", "weather, columns and units as in `ERA5`"),
            Scalar("era5_level", (), "float64", "atmospheric pressure level [mbar]"),
            Scalar("geocluster", (), "int32", "cluster of longitude and latitude"),
            Scalar("labels", (len(BIGEARTHNET_19),), "uint8", "BigEarthNet-19 classes present, multi-hot"),
        )
    }
)
"""Every field of a record that is no raster, by name."""


def season(month: int, day: int) -> float:
    """Season of a date: 0 at the winter solstice, 1 at the summer solstice.

    Args:
        month: 1 to 12.
        day: day of the month, from 1.

    Returns:
        sin(pi * fraction) of the fractional year shifted so that 22 December is 0;
        spring and autumn share values. Months count as twelfths, February as 29 days,
        which reproduces the published ben-ge values to their 5 decimals.

    Example:
        >>> round(season(6, 13), 5)
        0.99749
    """
    days = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]
    fraction = ((month - 1) + day / days) / 12 + 9 / 365
    return math.sin(math.pi * (fraction % 1))
