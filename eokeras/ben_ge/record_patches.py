"""The patches of records, as splits and folds are made from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eokeras.ben_ge.patch_table import read_patch_table
from eokeras.ben_ge.places import Place
from eokeras.ben_ge.records import RecordSchema, load_schema


@dataclass(frozen=True)
class RecordPatches:
    """The patches of records, as `make_split` and `make_folds` take a source.

    Attributes:
        name: name of the tree that the records were made from.
        patch_ids: every patch of all their splits, sorted.
        places: patch id -> `Place`.
        classes: class target -> patch id -> class id, `VOID` where a patch has none.
        misfits, splits: empty; records hold sound patches only, and no published split.
    """

    name: str
    patch_ids: tuple[str, ...]
    places: Mapping[str, Place]
    classes: Mapping[str, Mapping[str, int]]
    misfits: frozenset[str] = frozenset()
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def patches_of(records: str | Path | RecordSchema) -> RecordPatches:
    """The patches of records with their places and classes, from `patches.csv` alone.

    Raises:
        RecordsError: no whole records here, or they lack `patches.csv`.

    Example:
        >>> make_split(patches_of("records/ben-ge-800"), group="tile", seed=3).notes  # doctest: +SKIP
    """
    records = records if isinstance(records, RecordSchema) else load_schema(records)
    places, classes = {}, {}
    for split in records.splits:
        table = read_patch_table(records, split)
        for target, values in table.classes.items():
            classes.setdefault(target, {}).update(zip(table.places, values.tolist(), strict=True))
        places |= table.places
    return RecordPatches(records.name, tuple(sorted(places)), places, classes)
