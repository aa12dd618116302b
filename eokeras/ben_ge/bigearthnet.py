"""BigEarthNet's Sentinel patches, which the full ben-ge lacks: where they come from, and whether a copy is whole.

ROOT_S2/S2A_MSIL2A_20170613T101031_45_62/{..._B01.tif ... _B12.tif, ..._labels_metadata.json}
ROOT_S1/S1A_IW_GRDH_1SDV_20170613T165043_33UUP_45_62/{..._VV.tif, ..._VH.tif}

Reference:
    Sumbul et al. 2021, https://arxiv.org/abs/2105.07921
"""

import os
from collections.abc import Callable
from pathlib import Path

from eokeras.ben_ge.patch_files import LABELS_ENDING, RASTERS_OF_FOLDER
from eokeras.ben_ge.schema import RASTERS
from eokeras.ben_ge.tables import Table
from eokeras.errors import InvalidArgumentError, InvalidSourceError

WHERE_IT_COMES_FROM = (
    "The Sentinel-1 and Sentinel-2 patches of the full ben-ge are those of BigEarthNet v1, which are not fetched here: "
    "get BigEarthNet-S2-v1.0.tar.gz and BigEarthNet-S1-v1.0.tar.gz from https://bigearth.net "
    "(https://doi.org/10.5281/zenodo.12687186), unpack them (about 165 GB together), and have your copy checked "
    "with `check_bigearthnet`."
)

_NAMED = 5  # patches that a message names


def check_bigearthnet(
    meta: str | os.PathLike,
    *,
    sentinel_2: str | os.PathLike | None = None,
    sentinel_1: str | os.PathLike | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Checks that a local copy of BigEarthNet v1 has every file of the patches that a meta csv lists.

    A file must be there and not be empty; pixels are checked when they are converted. Folders that the csv does not
    name change nothing.

    Args:
        meta: `ben-ge_meta.csv`, or one with fewer of its rows to check a subset.
        sentinel_2: folder of the Sentinel-2 patch folders (BigEarthNet-v1.0 as it is unpacked).
        sentinel_1: folder of the Sentinel-1 patch folders (BigEarthNet-S1-v1.0).
        progress: called as progress(patches done, patches of all sensors) after each.

    Returns:
        How many patches each sensor has.

    Raises:
        InvalidArgumentError: neither folder is given.
        InvalidSourceError: a patch lacks a file or its folder, a folder cannot be read, or the csv cannot.

    Example:
        >>> check_bigearthnet("data/ben-ge/ben-ge_meta.csv", sentinel_2="/archive/BigEarthNet-v1.0")  # doctest: +SKIP
        590326
    """
    given = {"sentinel_2": sentinel_2, "sentinel_1": sentinel_1}
    roots = {sensor: Path(root) for sensor, root in given.items() if root is not None}
    if not roots:
        raise InvalidArgumentError("`sentinel_2` or `sentinel_1` must be given. Received: neither.")
    names = Table(Path(meta), "meta").column("patch_id_s1")  # Sentinel-2 name -> Sentinel-1 name
    wanted = {"sentinel_2": tuple(names), "sentinel_1": tuple(names.values())}
    done, total = 0, len(names) * len(roots)
    for sensor, root in roots.items():
        try:
            present = set(os.listdir(root))  # one look, instead of one a patch for what is not there
        except OSError as error:
            rule = f"`{sensor}` must be a folder of BigEarthNet v1."
            raise InvalidSourceError(f"{rule} Received: {root} ({error.strerror}). {WHERE_IT_COMES_FROM}") from None
        faults, examples = 0, []
        for name in wanted[sensor]:
            fault = _fault(root / name, _endings(sensor)) if name in present else f"{name} is missing"
            if fault:
                faults += 1
                examples += [fault] if len(examples) < _NAMED else []
            done += 1
            progress(done, total)
        if faults:
            raise InvalidSourceError(
                f"`{sensor}` must hold all {len(names)} patches of {meta}. Received: {root}, where {faults} are not "
                f"whole, such as: {'; '.join(examples)}. {WHERE_IT_COMES_FROM}"
            )
    return len(names)


def _endings(sensor: str) -> list[str]:
    bands = [f"_{band}.tif" for raster in RASTERS_OF_FOLDER[sensor] for band in RASTERS[raster].bands]
    return [*bands, LABELS_ENDING] if sensor == "sentinel_2" else bands


def _fault(folder: Path, endings: list[str]) -> str | None:
    """What a patch folder lacks, in words; None where it is whole."""
    try:
        with os.scandir(folder) as entries:
            sizes = {entry.name: entry.stat().st_size for entry in entries}
    except OSError as error:
        return f"{folder.name} cannot be read ({error.strerror})"
    lacking = [f"{folder.name}{ending}" for ending in endings if not sizes.get(f"{folder.name}{ending}")]
    return f"{', '.join(lacking[:2])} {'are' if len(lacking) > 1 else 'is'} missing or empty" if lacking else None
