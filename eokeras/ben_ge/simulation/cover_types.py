# ruff: noqa: E501 - a spectrum to a line reads best
"""What covers the ground: spectra, backscatter, height and names of every cover type.

A cover type is finer than a WorldCover class (broad-leaved and coniferous trees are two).
Numbers are means; parcels scatter around them (`Effects`).

Sources. Reflectance: typical values of the ECOSTRESS spectral library (Meerdink et al.
2019, https://doi.org/10.1016/j.rse.2019.05.015) and the USGS library (Kokaly et al. 2017,
https://doi.org/10.3133/ds1035) averaged over the Sentinel-2 bands, darkened by shade where
a canopy casts it; the sea from open-sea patches of BigEarthNet. Backscatter at C-band, 38
degrees: Ulaby and Dobson 1989, "Handbook of Radar Scattering Statistics for Terrain";
crops: Vreugdenhil et al. 2018, https://doi.org/10.3390/rs10091396; forest: Dostálová et
al. 2018, https://doi.org/10.1080/01431161.2018.1479788; towns and water: Sentinel-1 means
as in Mahdianpari et al. 2017, https://doi.org/10.3390/rs9040328.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CoverType:
    """One kind of ground cover."""

    name: str
    code: int  # WorldCover class
    corine: str  # CORINE level-3 name
    growth: str  # which greenness course it follows
    green: tuple[float, ...]  # reflectance in % of the 12 bands, full leaf
    brown: tuple[float, ...]  # the same without green leaves
    sigma: tuple[float, float]  # sigma-nought VV, VH in dB at 38 degrees
    scatter_db: float  # standard deviation between parcels, VV and VH together
    leaf_db: tuple[float, float]  # change of VV, VH from brown to green
    wet_db: float  # change of VV and VH from dry to wet soil
    height_m: float  # of canopy or roofs
    texture: float  # relative standard deviation of reflectance inside a parcel


# fmt: off
COVER_TYPES = (
    #                                                      B01  B02  B03  B04  B05   B06   B07   B08   B8A   B09   B11   B12
    CoverType("broad-leaved forest", 10, "Broad-leaved forest", "deciduous",
              (1.5, 2.2, 4.5, 2.5, 7.5, 24.0, 31.0, 33.0, 35.0, 35.0, 17.0, 7.5),
              (2.5, 3.5, 5.0, 5.5, 8.5, 12.0, 14.0, 15.5, 17.0, 17.5, 19.0, 12.0), (-9.1, -14.9), 1.0, (-0.4, 0.5), 0.3, 16, 0.13),
    CoverType("coniferous forest", 10, "Coniferous forest", "evergreen",
              (1.2, 1.7, 3.0, 2.0, 4.5, 13.5, 17.0, 18.5, 19.5, 20.0, 9.5, 4.5),
              (1.5, 2.0, 3.0, 2.8, 5.0, 11.0, 13.5, 15.0, 16.0, 16.0, 9.0, 5.0), (-9.6, -15.1), 1.0, (0.0, 0.0), 0.3, 15, 0.13),
    CoverType("sclerophyllous shrub", 20, "Sclerophyllous vegetation", "scrub",
              (2.2, 3.2, 5.5, 5.0, 9.5, 18.5, 21.5, 23.5, 25.0, 25.5, 18.0, 10.0),
              (3.5, 5.0, 7.5, 8.5, 12.0, 16.0, 18.0, 20.0, 22.0, 22.0, 25.0, 17.0), (-10.9, -17.0), 1.3, (0.0, 0.4), 0.8, 2, 0.14),
    CoverType("transitional woodland", 20, "Transitional woodland/shrub", "deciduous",
              (1.9, 2.8, 5.0, 3.5, 8.5, 23.0, 29.0, 31.0, 33.0, 33.0, 19.0, 9.0),
              (3.0, 4.0, 6.0, 6.5, 10.0, 14.0, 16.5, 18.0, 20.0, 20.0, 22.0, 14.0), (-10.8, -16.6), 1.2, (0.0, 0.5), 0.6, 3, 0.14),
    CoverType("pasture", 30, "Pastures", "grass",
              (2.5, 3.5, 7.0, 4.0, 11.0, 31.0, 38.0, 40.0, 42.0, 42.0, 22.0, 11.0),
              (4.5, 6.0, 8.5, 9.5, 14.0, 20.0, 23.0, 25.0, 27.0, 27.0, 30.0, 21.0), (-13.4, -20.2), 1.2, (0.0, 0.4), 1.8, 0, 0.05),
    CoverType("natural grassland", 30, "Natural grassland", "wild_grass",
              (2.8, 4.0, 6.8, 5.2, 11.0, 25.0, 30.0, 32.0, 34.0, 34.0, 23.5, 13.0),
              (5.0, 6.5, 9.0, 11.0, 15.0, 19.5, 22.0, 24.0, 26.5, 26.5, 32.0, 23.5), (-13.5, -20.4), 1.4, (0.0, 0.3), 1.5, 0, 0.08),
    CoverType("winter cereal", 40, "Non-irrigated arable land", "cereal",
              (2.0, 3.0, 6.0, 3.0, 9.5, 31.0, 40.0, 42.0, 44.0, 44.0, 19.0, 9.0),
              (5.0, 6.5, 9.0, 11.5, 15.5, 19.0, 21.0, 23.0, 25.5, 25.5, 31.5, 24.5), (-10.6, -18.3), 1.3, (-1.6, 0.8), 2.2, 0, 0.05),
    CoverType("summer crop", 40, "Non-irrigated arable land", "summer_crop",
              (2.2, 3.3, 6.5, 3.6, 11.0, 33.0, 41.0, 43.0, 45.0, 45.0, 22.0, 11.0),
              (4.5, 6.0, 8.2, 10.5, 13.5, 15.5, 17.0, 18.5, 20.5, 20.5, 27.0, 23.0), (-10.6, -18.6), 1.3, (0.6, 2.6), 2.2, 0, 0.05),
    CoverType("vineyard or olives", 40, "Vineyards", "tree_crop",
              (3.0, 4.5, 7.5, 6.5, 11.5, 22.0, 26.0, 28.0, 30.0, 30.0, 24.0, 15.5),
              (4.8, 6.8, 9.5, 11.5, 15.0, 19.0, 21.5, 23.5, 25.5, 25.5, 30.5, 23.5), (-11.2, -17.8), 1.3, (0.0, 0.6), 1.4, 2, 0.12),
    CoverType("fallow", 40, "Non-irrigated arable land", "fallow",
              (3.5, 5.0, 8.0, 7.5, 12.5, 22.0, 26.0, 28.0, 30.0, 30.0, 28.0, 19.0),
              (5.0, 6.5, 9.0, 11.8, 14.5, 16.8, 18.5, 20.0, 22.0, 22.0, 29.5, 25.0), (-10.6, -18.8), 1.3, (0.0, 1.0), 2.4, 0, 0.06),
    CoverType("houses and gardens", 50, "Discontinuous urban fabric", "garden",
              (3.5, 5.0, 8.0, 7.0, 11.5, 22.0, 26.0, 28.0, 29.5, 29.5, 22.0, 14.0),
              (6.8, 8.6, 10.8, 12.4, 14.6, 17.0, 18.5, 20.0, 21.5, 21.5, 24.0, 20.5), (-6.4, -13.4), 1.6, (0.0, 0.0), 0.4, 6, 0.22),
    CoverType("works and shops", 50, "Industrial or commercial units", "none",
              (9.5, 12.0, 14.0, 15.0, 16.2, 17.8, 19.0, 20.3, 21.3, 21.3, 23.5, 21.5),
              (9.5, 12.0, 14.0, 15.0, 16.2, 17.8, 19.0, 20.3, 21.3, 21.3, 23.5, 21.5), (-4.6, -12.0), 2.0, (0.0, 0.0), 0.2, 8, 0.25),
    CoverType("road", 50, "Road and rail networks and associated land", "none",
              (6.5, 8.0, 9.6, 10.6, 11.8, 13.4, 14.4, 15.4, 16.2, 16.2, 19.0, 16.8),
              (6.5, 8.0, 9.6, 10.6, 11.8, 13.4, 14.4, 15.4, 16.2, 16.2, 19.0, 16.8), (-11.8, -19.0), 1.2, (0.0, 0.0), 0.3, 0, 0.05),
    CoverType("bare rock", 60, "Bare rock", "none",
              (8.0, 10.0, 12.5, 14.5, 16.0, 17.5, 18.5, 19.5, 20.5, 20.5, 24.5, 22.0),
              (8.0, 10.0, 12.5, 14.5, 16.0, 17.5, 18.5, 19.5, 20.5, 20.5, 24.5, 22.0), (-10.6, -17.8), 1.5, (0.0, 0.0), 0.4, 0, 0.16),
    CoverType("sand or gravel", 60, "Mineral extraction sites", "none",
              (8.0, 10.5, 14.0, 17.2, 19.6, 21.8, 23.2, 24.8, 26.4, 26.4, 32.0, 28.5),
              (8.0, 10.5, 14.0, 17.2, 19.6, 21.8, 23.2, 24.8, 26.4, 26.4, 32.0, 28.5), (-13.6, -21.6), 1.5, (0.0, 0.0), 1.2, 0, 0.10),
    CoverType("sparse vegetation", 60, "Sparsely vegetated areas", "wild_grass",
              (5.0, 7.0, 9.5, 10.5, 14.0, 20.0, 22.5, 24.0, 25.5, 25.5, 27.0, 20.5),
              (6.5, 8.5, 11.5, 13.5, 16.0, 18.5, 20.0, 21.5, 23.0, 23.0, 29.0, 24.5), (-12.2, -19.6), 1.5, (0.0, 0.2), 0.9, 0, 0.12),
    CoverType("perpetual snow", 70, "Glaciers and perpetual snow", "none",
              (78.0, 80.0, 79.0, 78.0, 77.0, 76.0, 75.0, 73.0, 70.0, 62.0, 9.0, 7.5),
              (78.0, 80.0, 79.0, 78.0, 77.0, 76.0, 75.0, 73.0, 70.0, 62.0, 9.0, 7.5), (-12.5, -19.5), 2.0, (0.0, 0.0), -3.0, 0, 0.05),
    CoverType("inland water", 80, "Water bodies", "none",
              (2.6, 3.0, 3.6, 2.3, 2.1, 1.5, 1.4, 1.3, 1.2, 1.2, 0.7, 0.5),
              (2.6, 3.0, 3.6, 2.3, 2.1, 1.5, 1.4, 1.3, 1.2, 1.2, 0.7, 0.5), (-19.5, -27.5), 1.6, (0.0, 0.0), 0.0, 0, 0.03),
    CoverType("sea", 80, "Sea and ocean", "none",
              (2.9, 2.4, 2.5, 1.9, 1.8, 1.6, 1.6, 1.6, 1.5, 1.3, 1.3, 1.2),
              (2.9, 2.4, 2.5, 1.9, 1.8, 1.6, 1.6, 1.6, 1.5, 1.3, 1.3, 1.2), (-17.0, -26.8), 0.4, (0.0, 0.0), 0.0, 0, 0.03),
    CoverType("marsh", 90, "Inland marshes", "reed",
              (2.0, 3.0, 5.5, 4.0, 9.0, 21.0, 26.0, 28.0, 29.5, 29.0, 17.0, 8.5),
              (3.5, 4.8, 7.0, 8.5, 11.5, 14.5, 16.0, 17.5, 19.0, 19.0, 21.5, 14.0), (-9.6, -17.6), 1.6, (-0.5, 0.3), 1.2, 1, 0.10),
    CoverType("peat bog", 90, "Peatbogs", "wild_grass",
              (2.2, 3.2, 5.2, 5.0, 9.0, 17.5, 20.5, 22.0, 23.5, 23.0, 18.0, 9.8),
              (3.0, 4.2, 6.0, 7.5, 10.5, 13.5, 15.0, 16.5, 18.0, 18.0, 20.0, 12.8), (-11.2, -18.4), 1.4, (0.0, 0.3), 1.6, 0, 0.09),
    CoverType("moss and lichen heath", 100, "Moors and heathland", "tundra",
              (2.5, 3.8, 5.8, 5.8, 9.5, 16.5, 19.0, 20.5, 22.0, 22.0, 22.0, 13.5),
              (3.8, 5.2, 7.2, 8.5, 11.5, 15.0, 17.0, 18.5, 20.0, 20.0, 25.5, 17.5), (-12.8, -19.8), 1.4, (0.0, 0.2), 1.2, 0, 0.09),
)
# fmt: on
TYPE_INDEX = {entry.name: index for index, entry in enumerate(COVER_TYPES)}


@dataclass(frozen=True)
class Effects:
    """Standard deviations of the random effects of a parcel."""

    greenness: float = 0.20  # sowing date, variety, mowing, leaf area
    brightness: float = 0.20  # log reflectance, all bands: soil, shade, density
    dryness: float = 0.20  # log reflectance in the short-wave infrared
    redness: float = 0.12  # log reflectance, blue down and red up: soil colour
    cross_db: float = 0.8  # VH against VV


EFFECTS = Effects()

GREEN = np.array([entry.green for entry in COVER_TYPES]) / 100
BROWN = np.array([entry.brown for entry in COVER_TYPES]) / 100
SIGMA_DB = np.array([entry.sigma for entry in COVER_TYPES])
SCATTER_DB = np.array([entry.scatter_db for entry in COVER_TYPES])
LEAF_DB = np.array([entry.leaf_db for entry in COVER_TYPES])
WET_DB = np.array([entry.wet_db for entry in COVER_TYPES])
HEIGHT_M = np.array([entry.height_m for entry in COVER_TYPES], dtype=float)
TEXTURE = np.array([entry.texture for entry in COVER_TYPES])
WORLDCOVER = np.array([entry.code for entry in COVER_TYPES], dtype=np.uint8)
VEGETATED = np.array([entry.growth != "none" for entry in COVER_TYPES])
WATER = WORLDCOVER == 80
# How the parcel effects act on log reflectance, per band.
DRYNESS_BANDS = np.array([0.05, 0.1, 0.1, 0.2, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.25])
REDNESS_BANDS = np.array([-1.0, -0.8, -0.2, 0.9, 0.7, 0.2, 0.1, 0.1, 0.1, 0.1, 0.2, 0.2])
