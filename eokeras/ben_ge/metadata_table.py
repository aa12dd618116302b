"""The metadata table of BigEarthNet v2 (`metadata.parquet`): labels, Sentinel-1 names and the published split.

Reference:
    reBEN: Clasen et al. 2024, https://arxiv.org/abs/2407.03653
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from eokeras.ben_ge.corine import BIGEARTHNET_19
from eokeras.ben_ge.labels import multi_hot
from eokeras.errors import InvalidPatchError, InvalidSourceError

_COLUMNS = ("patch_id", "labels", "split", "s1_name")
_SPLITS = {"train": "train", "validation": "val", "test": "test"}
_IDS = {name: index for index, name in enumerate(BIGEARTHNET_19)}


class MetadataTable:
    """The table in memory, rows found by patch id.

    Nothing in it is pyarrow's, which starts a thread where it is imported: workers are forked (`workers`).

    Args:
        path: the parquet file, with the columns patch_id, labels, split and s1_name (others are ignored).

    Raises:
        InvalidSourceError: the file is unreadable or empty, lacks a column, or names a patch twice.
    """

    columns = ("patch_id", "patch_id_s1", "labels")

    def __init__(self, path: Path):
        import pyarrow
        from pyarrow import parquet

        self.path = path
        try:
            stored = parquet.ParquetFile(path)
            missing = [name for name in _COLUMNS if name not in stored.schema_arrow.names]
            if missing:
                rule = f"The metadata table must hold the columns {list(_COLUMNS)}."
                received = f"Missing: {missing}. Received: {stored.schema_arrow.names[:20]}."
                raise InvalidSourceError(f"{rule} {received} File: {path}")
            columns = stored.read(columns=list(_COLUMNS))
        except (pyarrow.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise InvalidSourceError(f"The metadata table must be Parquet. Received: {reason} File: {path}") from None
        lists = (names for chunk in columns["labels"].chunks for names in chunk.to_pylist())
        self._labels, self._no_labels = _multi_hot_rows(lists, len(columns))
        self._ids = columns["patch_id"].to_pylist()
        self._s1_names = columns["s1_name"].to_pylist()
        self._sides = columns["split"].to_pylist()
        self._row = {patch_id: row for row, patch_id in enumerate(self._ids)}
        if not self._ids or None in self._row or len(self._row) < len(self._ids):
            rule = "The metadata table must name at least one patch, and each once."
            received = f"{len(self._ids)} rows, {len(self._row)} names"
            raise InvalidSourceError(f"{rule} Received: {received}. File: {path}")

    @property
    def patch_ids(self):
        """The patch ids in file order."""
        return self._row.keys()

    def column(self, name: str) -> dict[str, str]:
        """Patch id -> Sentinel-1 name (`name` is "patch_id_s1"), where one is given."""
        del name  # the only column that pairing asks for
        return {patch_id: s1 for patch_id, s1 in zip(self._ids, self._s1_names, strict=True) if s1}

    def labels(self, patch_id: str):
        """(19,) uint8, 1 for each BigEarthNet-19 class present.

        Raises:
            InvalidPatchError: the table lacks the patch, or names a class outside of BigEarthNet-19.
        """
        if patch_id not in self._row:
            raise InvalidPatchError(patch_id, self.path, "A patch must have a row. Received: none.")
        row = self._row[patch_id]
        if row in self._no_labels:
            reason = f"`labels` must be a list of BigEarthNet-19 names. Received: {self._no_labels[row]!r}."
            raise InvalidPatchError(patch_id, self.path, reason)
        return self._labels[row].copy()

    def splits(self) -> dict[str, list[str]]:
        """The published split: "train", "val", "test" -> patch ids.

        Raises:
            InvalidSourceError: the table knows another side than train, validation and test.
        """
        unknown = sorted({str(side) for side in self._sides if side not in _SPLITS})
        if unknown:
            raise InvalidSourceError(f"`split` must be one of {list(_SPLITS)}. Received: {unknown}. File: {self.path}")
        sides: dict[str, list[str]] = {side: [] for side in _SPLITS.values()}
        for patch_id, side in zip(self._ids, self._sides, strict=True):
            sides[_SPLITS[side]].append(patch_id)
        return sides


def _multi_hot_rows(lists: Iterable, rows: int) -> tuple[np.ndarray, dict[int, object]]:
    """(N, 19) uint8 of N rows; row -> what is no class, of those whose labels cannot be used."""
    found, unusable = np.zeros((rows, len(BIGEARTHNET_19)), "uint8"), {}
    for row, names in enumerate(lists):
        unknown = [name for name in names if name not in _IDS] if isinstance(names, list) else [names]
        if unknown:
            unusable[row] = unknown[0]
        else:
            found[row] = multi_hot([_IDS[name] for name in names])
    return found, unusable
