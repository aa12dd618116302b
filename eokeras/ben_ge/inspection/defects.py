"""Pixels without a sound number, band by band: missing, zero, saturated; and bands that hold one number.

Letters: H rows, W columns, C bands.
"""

from collections.abc import Mapping

import numpy as np

from eokeras.ben_ge import schema
from eokeras.ben_ge.corine import class_of_code

SATURATED = (32767, 65535)
"""Digital numbers of saturated Sentinel-2 pixels: 65535 by the metadata of the products, 32767 as Level-2A holds them
(ESA, https://forum.step.esa.int/t/44294)."""

MISSING = ("zero", "nan", "no data", "no class")
"""Kinds of pixels that tell nothing. In Sentinel-2 the digital number 0 means no data."""

_HAS_REFERENCE = np.zeros(1 << 16, bool)
_HAS_REFERENCE[list(class_of_code())] = True


class Defects:
    """Counts defects of the patches of one split; `add` takes a patch's features.

    Args:
        rasters: the rasters of the records by name, each with the bands that it has there.
    """

    def __init__(self, rasters: Mapping[str, schema.Raster]):
        self._rasters = rasters
        self._counts: dict[str, dict[str, np.ndarray]] = {}  # raster -> kind -> (C, 3) pixels, patches, mostly
        self.patches = 0

    def add(self, features: Mapping) -> None:
        """Counts one patch."""
        self.patches += 1
        for name in self._rasters:
            values = features[name]
            values = values if values.ndim == 3 else values[..., None]
            counts = self._counts.setdefault(name, {})
            for kind, mask in _masks(name, values).items():
                if kind not in counts:
                    counts[kind] = np.zeros((values.shape[-1], 3), "int64")
                pixels = np.count_nonzero(mask, axis=(0, 1))
                half = values.shape[0] * values.shape[1] / 2
                counts[kind] += np.stack([pixels, pixels > 0, pixels >= half], axis=-1)

    def result(self) -> dict[str, dict]:
        """Band (or map) -> kind of defect -> `pixels`, `patches` that have one, and those that are it by half or more.

        The kind "constant" counts patches in which the band holds one number.
        """
        found = {}
        for name, kinds in self._counts.items():
            for index, band in enumerate(self._rasters[name].bands or (name,)):
                found[band] = {
                    kind: dict(zip(("pixels", "patches", "mostly"), counts[index].tolist(), strict=True))
                    for kind, counts in kinds.items()
                }
        return found


def _masks(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Kind of defect -> where it is, (H, W, C)."""
    if name == "dem":
        return {"no data": values == schema.DEM_NO_DATA}
    if name == "land_cover_map":
        return {"no class": values == schema.LAND_COVER_NO_DATA}
    if name == "reference_map":
        return {"no class": ~_HAS_REFERENCE[values]}
    constant = np.broadcast_to((values == values[:1, :1]).all(axis=(0, 1)), values.shape)
    zero = {"zero": values == 0, "constant": constant}
    if name == "s1":
        return zero | {"nan": np.isnan(values), "-inf": np.isneginf(values), "+inf": np.isposinf(values)}
    return zero | {"saturated": (values == SATURATED[0]) | (values == SATURATED[1])}
