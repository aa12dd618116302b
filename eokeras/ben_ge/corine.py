"""CORINE Land Cover level 3, and the BigEarthNet-19 nomenclature that gathers it.

Label files of BigEarthNet v1 name level-3 classes, the metadata table of v2 names BigEarthNet-19 classes, and the
reference maps of v2 hold level-3 codes.

References:
    CORINE Land Cover 2018: https://doi.org/10.2909/960998c1-1870-4e82-8051-6485205ebbac (codes and names)
    BigEarthNet-19: Sumbul et al. 2021, https://arxiv.org/abs/2105.07921
    Reference maps: Clasen et al. 2024 (reBEN), https://arxiv.org/abs/2407.03653
"""

from types import MappingProxyType

CORINE = MappingProxyType(
    {
        111: "Continuous urban fabric",
        112: "Discontinuous urban fabric",
        121: "Industrial or commercial units",
        122: "Road and rail networks and associated land",
        123: "Port areas",
        124: "Airports",
        131: "Mineral extraction sites",
        132: "Dump sites",
        133: "Construction sites",
        141: "Green urban areas",
        142: "Sport and leisure facilities",
        211: "Non-irrigated arable land",
        212: "Permanently irrigated land",
        213: "Rice fields",
        221: "Vineyards",
        222: "Fruit trees and berry plantations",
        223: "Olive groves",
        231: "Pastures",
        241: "Annual crops associated with permanent crops",
        242: "Complex cultivation patterns",
        243: "Land principally occupied by agriculture, with significant areas of natural vegetation",
        244: "Agro-forestry areas",
        311: "Broad-leaved forest",
        312: "Coniferous forest",
        313: "Mixed forest",
        321: "Natural grassland",
        322: "Moors and heathland",
        323: "Sclerophyllous vegetation",
        324: "Transitional woodland/shrub",
        331: "Beaches, dunes, sands",
        332: "Bare rock",
        333: "Sparsely vegetated areas",
        334: "Burnt areas",
        335: "Glaciers and perpetual snow",
        411: "Inland marshes",
        412: "Peatbogs",
        421: "Salt marshes",
        422: "Salines",
        423: "Intertidal flats",
        511: "Water courses",
        512: "Water bodies",
        521: "Coastal lagoons",
        522: "Estuaries",
        523: "Sea and ocean",
    }
)
"""Code of CORINE Land Cover level 3 -> name as in the label files of BigEarthNet (which know no glaciers)."""

CORINE_NO_DATA = (0, 990, 995, 999)
"""Codes of a pixel without a class: 0 is the no-data value that reference maps state; the legend of CORINE calls 990
unclassified land, 995 unclassified water and 999 no data. All become `VOID`."""

BIGEARTHNET_19 = MappingProxyType(
    {
        "Urban fabric": ("Continuous urban fabric", "Discontinuous urban fabric"),
        "Industrial or commercial units": ("Industrial or commercial units",),
        "Arable land": ("Non-irrigated arable land", "Permanently irrigated land", "Rice fields"),
        "Permanent crops": (
            "Vineyards",
            "Fruit trees and berry plantations",
            "Olive groves",
            "Annual crops associated with permanent crops",
        ),
        "Pastures": ("Pastures",),
        "Complex cultivation patterns": ("Complex cultivation patterns",),
        "Land principally occupied by agriculture, with significant areas of natural vegetation": (
            "Land principally occupied by agriculture, with significant areas of natural vegetation",
        ),
        "Agro-forestry areas": ("Agro-forestry areas",),
        "Broad-leaved forest": ("Broad-leaved forest",),
        "Coniferous forest": ("Coniferous forest",),
        "Mixed forest": ("Mixed forest",),
        "Natural grassland and sparsely vegetated areas": ("Natural grassland", "Sparsely vegetated areas"),
        "Moors, heathland and sclerophyllous vegetation": ("Moors and heathland", "Sclerophyllous vegetation"),
        "Transitional woodland, shrub": ("Transitional woodland/shrub",),
        "Beaches, dunes, sands": ("Beaches, dunes, sands",),
        "Inland wetlands": ("Inland marshes", "Peatbogs"),
        "Coastal wetlands": ("Salt marshes", "Salines"),
        "Inland waters": ("Water courses", "Water bodies"),
        "Marine waters": ("Coastal lagoons", "Estuaries", "Sea and ocean"),
    }
)
"""BigEarthNet-19 class -> the CORINE level-3 names that it gathers, in published order."""

CORINE_WITHOUT_CLASS = (
    "Road and rail networks and associated land",
    "Port areas",
    "Airports",
    "Mineral extraction sites",
    "Dump sites",
    "Construction sites",
    "Green urban areas",
    "Sport and leisure facilities",
    "Bare rock",
    "Burnt areas",
    "Intertidal flats",
)
"""CORINE level-3 names of label files that BigEarthNet-19 drops."""

_GLACIERS = 335


def corine_to_19(labels) -> tuple[int, ...]:
    """CORINE level-3 names -> sorted BigEarthNet-19 class ids (names without class drop out).

    Raises:
        KeyError: a name is not in the 43-class nomenclature.

    Example:
        >>> corine_to_19(["Peatbogs", "Water bodies", "Airports"])
        (15, 17)
    """
    ids = {name: index for index, names in enumerate(BIGEARTHNET_19.values()) for name in names}
    ids.update(dict.fromkeys(CORINE_WITHOUT_CLASS))
    return tuple(sorted({ids[name] for name in labels} - {None}))


def class_of_code() -> dict[int, int]:
    """CORINE level-3 code -> BigEarthNet-19 class id, of the codes that have one.

    Example:
        >>> [class_of_code().get(code) for code in (211, 231, 311, 313, 124)]  # 124 is Airports
        [2, 4, 8, 10, None]
    """
    classes = {code: corine_to_19([name]) for code, name in CORINE.items() if code != _GLACIERS}
    return {code: ids[0] for code, ids in classes.items() if ids}
