"""What is known of patches once they were read: the same in whatever order, and however they were shared out."""

import hashlib
from collections import Counter
from collections.abc import Mapping

import numpy as np

from eokeras.ben_ge import schema
from eokeras.ben_ge.statistics import TrainingStatistics
from eokeras.errors import InvalidPatchError


class Gathered:
    """Statistics of training patches, and of all patches what tells content and gaps.

    Args:
        rasters: the rasters of the records by name, each with the bands that it has there.

    Attributes:
        statistics: of the patches of "train".
        digests: of every patch, in any order.
        non_finite: raster -> channel -> how many numbers are NaN and infinite.
        skipped: patch id -> why it was set aside.
    """

    def __init__(self, rasters: Mapping[str, schema.Raster]):
        self.statistics = TrainingStatistics(rasters)
        self.digests: list[str] = []
        self.non_finite: dict[str, dict[str, Counter]] = {}
        self.skipped: dict[str, InvalidPatchError] = {}

    def add(self, side: str, features: Mapping, non_finite: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
        """Takes a patch of a side of the split: its fields as stored, and what is not finite in its rasters."""
        if side == "train":
            self.statistics.add(features)
        self.digests.append(digest(side, features))
        self._count(non_finite)

    def merge(self, other: "Gathered") -> None:
        """Takes what another has gathered of other patches."""
        self.statistics.merge(other.statistics)
        self.digests += other.digests
        self.skipped |= other.skipped
        self._count(other.non_finite)

    def _count(self, non_finite: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
        for raster, channels in non_finite.items():
            for channel, counts in channels.items():
                self.non_finite.setdefault(raster, {}).setdefault(channel, Counter()).update(counts)

    @property
    def fingerprint(self) -> str:
        """Tells the patches, their sides and their content."""
        return hashlib.sha256("".join(sorted(self.digests)).encode()).hexdigest()[:16]


def digest(side: str, features: Mapping) -> str:
    """Hash of one patch: its side of the split and the name and bytes of every field."""
    state = hashlib.sha256(side.encode())
    for name in sorted(features):
        value = features[name]
        state.update(name.encode() + b"\0")
        state.update(value.encode() if isinstance(value, str) else memoryview(_array(name, value)).cast("B"))
    return state.hexdigest()


def _array(name: str, value) -> np.ndarray:
    field = schema.RASTERS.get(name) or schema.SCALARS[name]
    return np.ascontiguousarray(np.atleast_1d(np.asarray(value, field.dtype)))
