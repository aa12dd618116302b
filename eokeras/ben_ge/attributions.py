"""Where the modalities of ben-ge come from, under which licence, and what to cite: facts as a frozen table.

A tree of files states neither, so this is what is published for data of its layout. Where another licence was
given to you, that one counts.

References:
    https://github.com/HSG-AIML/ben-ge, https://bigearth.net, and the pages named below.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass

from eokeras.ben_ge.schema import SIMULATED

_BEN_GE = "Mommert et al. 2023, https://arxiv.org/abs/2307.01741"
_SENTINEL = "contains modified Copernicus Sentinel data 2017-2018"
_CDLA = f"CDLA-Permissive-1.0; {_SENTINEL}"


@dataclass(frozen=True)
class Attribution:
    """One modality: `fields` of a record, what they were made from, licence, citation, and what to keep in mind."""

    modality: str
    fields: tuple[str, ...]
    source: str
    licence: str
    citation: str
    remark: str = ""


_S2_FIELDS = ("s2_10m", "s2_20m", "s2_60m")
_LABELS = "made from CORINE Land Cover 2018, which draws areas of 25 ha and more: noisy for a patch"

_V1 = (
    Attribution(
        "Sentinel-2 (Level-2A)",
        _S2_FIELDS,
        "BigEarthNet v1, https://bigearth.net",
        _CDLA,
        "Sumbul et al. 2019, https://arxiv.org/abs/1902.06148",
    ),
    Attribution(
        "labels (BigEarthNet-19)",
        ("labels",),
        "BigEarthNet v1, https://bigearth.net",
        "CDLA-Permissive-1.0",
        "Sumbul et al. 2021, https://arxiv.org/abs/2105.07921",
        _LABELS,
    ),
)

_V2 = (
    Attribution(
        "Sentinel-2 (Level-2A)",
        _S2_FIELDS,
        "BigEarthNet v2 (reBEN), https://doi.org/10.5281/zenodo.10891137",
        _CDLA,
        "Clasen et al. 2024, https://arxiv.org/abs/2407.03653",
    ),
    Attribution(
        "labels (BigEarthNet-19)",
        ("labels",),
        "BigEarthNet v2 (reBEN), https://doi.org/10.5281/zenodo.10891137",
        "CDLA-Permissive-1.0",
        "Clasen et al. 2024, https://arxiv.org/abs/2407.03653",
        _LABELS,
    ),
)

_COMMON = (
    Attribution(
        "Sentinel-1 (GRD backscatter)",
        ("s1",),
        "BigEarthNet-S1, https://bigearth.net",
        _CDLA,
        "Sumbul et al. 2021, https://arxiv.org/abs/2105.07921",
    ),
    Attribution(
        "elevation",
        ("dem",),
        "Copernicus DEM GLO-30, https://doi.org/10.5270/ESA-c5d3d65, as cut for ben-ge (https://zenodo.org/record/8129350)",
        "© DLR e.V. 2010-2014 and © Airbus Defence and Space GmbH 2014-2018 provided under COPERNICUS by the European "
        "Union and ESA; all rights reserved (free use with this notice)",
        _BEN_GE,
        "a surface model: canopy and roofs included",
    ),
    Attribution(
        "land cover",
        ("land_cover_map", "land_cover_fractions"),
        "ESA WorldCover 10 m 2021 v200, https://doi.org/10.5281/zenodo.7254221, as cut for ben-ge "
        "(https://zenodo.org/record/8129666)",
        "CC BY 4.0; © ESA WorldCover project / contains modified Copernicus Sentinel data (2021) processed by ESA "
        "WorldCover consortium",
        f"Zanaga et al. 2022, https://doi.org/10.5281/zenodo.7254221; {_BEN_GE}",
        "made from Sentinel-1 and -2, right for about three pixels of four: predicting it from them partly repeats its "
        "classifier; of 2021, the images are of 2017-2018",
    ),
    Attribution(
        "reference map",
        ("reference_map",),
        "CORINE Land Cover 2018 as cut for BigEarthNet v2, https://doi.org/10.2909/960998c1-1870-4e82-8051-6485205ebbac",
        "Copernicus Land Monitoring Service: free, full and open access (EU regulation 1159/2013); CDLA-Permissive-1.0",
        "Clasen et al. 2024, https://arxiv.org/abs/2407.03653",
        "drawn for areas of 25 ha and more: no truth for a single pixel of 10 m",
    ),
    Attribution(
        "weather",
        ("era5", "era5_level"),
        "ERA5 hourly data on pressure levels, https://doi.org/10.24381/cds.bd0915c6, as drawn for ben-ge "
        "(https://zenodo.org/record/8129412)",
        "CC BY 4.0; contains modified Copernicus Climate Change Service information",
        f"Hersbach et al. 2020, https://doi.org/10.1002/qj.3803; {_BEN_GE}",
    ),
    Attribution(
        "climate zone",
        ("climate_zone",),
        "Köppen-Geiger map of the present, https://doi.org/10.6084/m9.figshare.6396959",
        "CC BY 4.0 (of the article; its figshare record states that of the maps)",
        f"Beck et al. 2018, https://doi.org/10.1038/sdata.2018.214; {_BEN_GE}",
    ),
    Attribution(
        "geocluster",
        ("geocluster",),
        "ben-ge-800, https://doi.org/10.5281/zenodo.12941231",
        "as its Zenodo record states",
        _BEN_GE,
        "20 clusters of longitude and latitude",
    ),
)

_SIMULATED = Attribution(
    "all",
    (),
    "the simulator of eokeras",
    "none: made by a program (which is under Apache-2.0)",
    "eokeras, CITATION.cff",
    SIMULATED,
)


def attributions_of(fields: Collection[str], *, simulated: bool = False, version: int = 1) -> list[dict[str, str]]:
    """Source, licence and citation of every modality that records with these fields hold, JSON-able.

    Args:
        fields: fields of a record, by the names in `ben_ge.schema`.
        simulated: whether the simulator made the tree.
        version: of BigEarthNet, 1 or 2: whose Sentinel-2 patches and labels they are.

    Example:
        >>> [entry["modality"] for entry in attributions_of(["s1", "era5", "season"])]
        ['Sentinel-1 (GRD backscatter)', 'weather']
    """
    table = (_SIMULATED,) if simulated else (*(_V2 if version == 2 else _V1), *_COMMON)
    chosen = [entry for entry in table if simulated or set(entry.fields) & set(fields)]
    return [asdict(entry) | {"fields": [name for name in entry.fields if name in fields]} for entry in chosen]
