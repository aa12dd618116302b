"""Another split of records that exist, without converting again: a directory that points to their shards.

What depends on the split is made anew and lies in the directory: `metadata.json` with the statistics of its own
training patches, `split.csv`, and `patches.csv`, which says where in the shards every patch lies. So everything that
takes records (`make_dataset`, label budgets, scores, export) takes these, and nothing held out is in a mean. Only
TensorFlow Datasets itself reads no such directory: it reads the records that it points to.
"""

import csv
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from eokeras.ben_ge.gathered import Gathered
from eokeras.ben_ge.index_files import Split, write_split
from eokeras.ben_ge.layout import SPLITS
from eokeras.ben_ge.patch_table import FILE, shard_counts, table_owner
from eokeras.ben_ge.rasters import count_non_finite
from eokeras.ben_ge.record_files import SPLIT_FILE
from eokeras.ben_ge.record_patches import RecordPatches, patches_of
from eokeras.ben_ge.records import RecordSchema, load_schema, shard_lengths
from eokeras.ben_ge.seal import sealed
from eokeras.ben_ge.shard_reader import decode, read_stored
from eokeras.ben_ge.splits import make_split
from eokeras.ben_ge.workplace import workplace
from eokeras.errors import EokerasError, InvalidSourceError, RecordsError, UnwritableError


def apply_split(
    records: str | Path,
    split: Split | str | os.PathLike,
    directory: str | Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Gives records another split without converting again.

    One pass over the shards gathers the statistics of the new training patches; nothing is copied. The directory finds
    the shards by their relative path, so move both together. It equals what `convert` makes with the same split:
    patches, statistics, fingerprint.

    Args:
        records: directory that `convert` or `apply_split` returned.
        split: of `make_split` or `make_folds` on `patches_of(records)`; or the path of an index file or of a published
            table that splits, as for `make_split`.
        directory: where the records of this split go; must not exist.
        progress: called as progress(done, total) after every patch that is read.

    Returns:
        The directory, which is records to everything in eokeras.

    Raises:
        RecordsError: no whole records here, or they lack `patches.csv`.
        InvalidSourceError: the split names a patch that the records lack, or none for training.
        TargetExistsError: `directory` exists.
        UnwritableError: `directory` cannot be written.

    Example:
        >>> split = make_split(patches_of("records/ben-ge-8k"), group="tile")                     # doctest: +SKIP
        >>> by_tile = apply_split("records/ben-ge-8k", split, "records/ben-ge-8k-by-tile")        # doctest: +SKIP
        >>> train = eo.make_dataset(by_tile, "train", ("s2",), ("land_cover",), shuffle=True)     # doctest: +SKIP
    """
    base, target = load_schema(records), Path(directory)
    try:
        with workplace(target, "records") as work:
            patches = patches_of(base)
            split = split if isinstance(split, Split) else make_split(patches, split)
            _write(base, split, _sides(split, patches), work / target.name, target, progress)
            (work / target.name).rename(target)
    except OSError as error:
        if isinstance(error, EokerasError):
            raise
        raise UnwritableError(f"Cannot write records to {target}: {error.strerror}. Nothing was left there.") from error
    return target


def _write(base: RecordSchema, split: Split, side_of: Mapping[str, str], made: Path, target: Path, progress) -> None:
    """Makes the directory `made`, which will lie at `target`."""
    made.mkdir()
    metadata = _metadata(base, split, _gather(base, side_of, progress), target)
    (made / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
    write_split(split, made / SPLIT_FILE)
    _write_table(base, RecordSchema(made, metadata), side_of)


def _sides(split: Split, patches: RecordPatches) -> dict[str, str]:
    side_of = {patch_id: side for side in SPLITS for patch_id in split.patches.get(side, ())}
    unknown = sorted(side_of.keys() - patches.places.keys())
    if unknown:
        rule = f"`split` must name patches of the records of {patches.name}."
        raise InvalidSourceError(f"{rule} Unknown: {unknown[:5]} ({len(unknown)} in all).")
    if len(side_of) < sum(len(split.patches.get(side, ())) for side in SPLITS):
        seen = Counter(patch_id for side in SPLITS for patch_id in split.patches.get(side, ()))
        twice = sorted(patch_id for patch_id, times in seen.items() if times > 1)
        rule = "`split` must name a patch once."
        raise InvalidSourceError(f"{rule} Received: {twice[:5]} more often ({len(twice)} in all).")
    if not split.patches.get("train"):
        raise InvalidSourceError("`split` must have patches in train. Received: none.")
    return side_of


# ---- One pass over the shards ----------------------------------------------------------------------------------------


def _gather(base: RecordSchema, side_of: Mapping[str, str], progress: Callable | None) -> Gathered:
    gathered, done = Gathered(base.rasters), 0
    for patch_id, stored in read_stored(base):
        if patch_id in side_of:
            features = decode(base, stored)
            gathered.add(side_of[patch_id], features, _non_finite(base, features))
            done += 1
            if progress is not None:
                progress(done, len(side_of))
    if done != len(side_of):
        raise RecordsError(f"The shards in {base.shards} must hold {len(side_of)} patches of the split. Found: {done}.")
    return gathered


def _non_finite(base: RecordSchema, features: Mapping) -> dict:
    return {"s1": count_non_finite(features["s1"], base.rasters["s1"].bands)} if "s1" in features else {}


# ---- What is written -------------------------------------------------------------------------------------------------


def _metadata(base: RecordSchema, split: Split, gathered: Gathered, target: Path) -> dict:
    root = base.shards.resolve()
    metadata = base.metadata | {
        "shards": {
            "path": os.path.relpath(root, target.resolve()),
            "fingerprint": load_schema(root).fingerprint,
            "lengths": shard_lengths(root),
        },
        "splits": {side: len(split.patches[side]) for side in SPLITS if split.patches.get(side)},
        "split": split.describe(),
        "statistics": gathered.statistics.result(),
        "non_finite": gathered.non_finite,
        "fingerprint": gathered.fingerprint,
    }
    return sealed(metadata, root)


def _write_table(base: RecordSchema, records: RecordSchema, side_of: Mapping[str, str]) -> None:
    """The patch table of the base with other sides, and with files counted over all of its splits."""
    first_file = {} if base.is_other_split else shard_counts(base)
    with (
        (base.path / FILE).open(newline="", encoding="utf-8") as old,
        (records.path / FILE).open("w", newline="", encoding="utf-8") as new,
    ):
        old.readline()
        new.write(f"{table_owner(records)}\n")
        writer = csv.writer(new, lineterminator="\n")
        rows = csv.reader(old)
        writer.writerow(next(rows))
        for patch_id, side, shard, *rest in rows:
            writer.writerow((patch_id, side_of.get(patch_id, ""), int(shard) + first_file.get(side, 0), *rest))
