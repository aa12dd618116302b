"""Index files: which patches to use, and on which side of a split each stands.

Two forms: a plain list of one patch id a line without header, as ben-ge publishes them; and a csv with the
header `patch_id,split`, which says in comment lines how it was made:

    # kind: grouped
    # group: tile_date
    # seed: 0
    # fractions: 0.8 0.1 0.1
    # note: Grouped by tile and date (19 groups): train 79.6% in 5, val 10.8% in 7, test 9.6% in 7.
    patch_id,split
    S2A_MSIL2A_20170613T101031_45_62,train
"""

import contextlib
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from eokeras.ben_ge.layout import SPLITS
from eokeras.ben_ge.tables import read_text
from eokeras.errors import InvalidSourceError, TargetExistsError, UnwritableError


@dataclass(frozen=True)
class Split:
    """Which patches are for training, validation and test.

    Args:
        patches: "train", "val", "test" -> sorted patch ids.
        kind: "grouped", "official", "random", "fold" or "index".
        group: what a grouped split kept whole, else None.
        seed: of the draw, where there was one.
        fractions: shares asked for, where they were.
        notes: sentences on how it turned out and what leaks.
    """

    patches: Mapping[str, tuple[str, ...]]
    kind: str
    group: str | None = None
    seed: int | None = None
    fractions: tuple[float, float, float] | None = None
    notes: tuple[str, ...] = ()

    def describe(self) -> dict:
        """How it was made and how it turned out, JSON-able, as records state it; without the patches."""
        return {
            "kind": self.kind,
            "group": self.group,
            "seed": self.seed,
            "fractions": self.fractions,
            "notes": list(self.notes),
        }


def sorted_sides(patches: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Every split of `SPLITS` with its patch ids sorted; absent ones empty."""
    return {side: tuple(sorted(patches.get(side, ()))) for side in SPLITS}


def read_index(path: Path) -> tuple[list[str], list[str] | None, list[str]]:
    """An index file -> patch ids, the split of each (None where the file states none), comment lines.

    Both forms are read. Lines that begin with `#` are comments.

    Raises:
        InvalidSourceError: the file cannot be read, holds no ids, an id twice or a malformed line.
    """
    comments, rows = [], []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.startswith("#"):
            comments.append(line[1:].strip())
        elif line.strip():
            rows.append((number, [part.strip() for part in line.split(",")]))
    header = rows.pop(0)[1] if rows and rows[0][1][0] == "patch_id" else ["patch_id"]
    if header not in (["patch_id"], ["patch_id", "split"]):
        rule = "The header of an index file must be `patch_id` or `patch_id,split`."
        raise InvalidSourceError(f"{rule} Received: {','.join(header)!r}. File: {path}")
    seen: dict[str, int] = {}
    for number, row in rows:
        if len(row) != len(header) or not all(row):
            rule = f"A line of an index file must hold {' and '.join(header)}."
            raise InvalidSourceError(f"{rule} Received: {','.join(row)!r} in line {number}. File: {path}")
        if row[0] in seen:
            rule = "A patch must stand once in an index file, so in one split."
            raise InvalidSourceError(f"{rule} Received: {row[0]} in lines {seen[row[0]]} and {number}. File: {path}")
        seen[row[0]] = number
    if not rows:
        raise InvalidSourceError(f"An index file must hold at least one patch id. Received: none. File: {path}")
    return [row[0] for _, row in rows], [row[1] for _, row in rows] if len(header) == 2 else None, comments


def read_split_lists(files: Mapping[str, Path], known: Collection[str], narrow: bool) -> dict[str, tuple[str, ...]]:
    """The published split of a tree: split -> sorted patch ids.

    Args:
        files: split -> its list of ids.
        known: the patches of the tree.
        narrow: whether ids that are not `known` are left out (patches were picked) or an error.

    Raises:
        InvalidSourceError: a split names a patch that the tree lacks, or two splits share one.
    """
    splits, owner = {}, {}
    for split, path in files.items():
        ids = read_index(path)[0]
        unknown = [] if narrow else [patch_id for patch_id in ids if patch_id not in known]
        if unknown:
            rule = "A split must name patches of the tree."
            raise InvalidSourceError(f"{rule} Unknown: {unknown[:5]} ({len(unknown)} in all). File: {path}")
        shared = [patch_id for patch_id in ids if patch_id in owner]
        if shared:
            rule = "Splits must not overlap."
            other = files[owner[shared[0]]]
            raise InvalidSourceError(f"{rule} In both: {shared[:5]} ({len(shared)} in all). Files: {path}, {other}")
        owner.update(dict.fromkeys(ids, split))
        splits[split] = tuple(sorted(patch_id for patch_id in ids if patch_id in known))
    return splits


def write_split(split: Split, path: str | os.PathLike) -> Path:
    """Writes an index file: how the split was made as `# ` lines, then `patch_id,split` rows.

    It appears whole or not at all, and equal splits give equal bytes.

    Raises:
        TargetExistsError: `path` exists.
        UnwritableError: it cannot be written.
    """
    stated = {"kind": split.kind, "group": split.group, "seed": split.seed}
    if split.fractions:
        stated["fractions"] = " ".join(map(str, split.fractions))
    return write_index(path, stated, split.notes, split.patches)


def write_index(
    path: str | os.PathLike, stated: Mapping[str, object], notes: Iterable[str], patches: Mapping[str, Iterable[str]]
) -> Path:
    """Writes an index file whole or not at all.

    Args:
        path: must not exist.
        stated: what the comment lines say, by key; None is left out.
        notes: sentences for further comment lines.
        patches: split -> patch ids.

    Raises:
        TargetExistsError: `path` exists.
        UnwritableError: it cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise TargetExistsError(f"An index file must not replace another. Received: {str(path)!r}, which exists.")
    lines = [f"# {key}: {value}" for key, value in stated.items() if value is not None]
    lines += [f"# note: {note}" for note in notes]
    lines += ["patch_id,split", *(f"{i},{side}" for side in SPLITS for i in patches.get(side, ()))]
    temporary = path.parent / f".{path.name}.{os.getpid()}.incomplete"
    try:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UnwritableError(f"An index file must be writable. Received: {error.strerror}. File: {path}") from None
    return path


def read_split(path: str | os.PathLike) -> Split:
    """Reads an index file with the header `patch_id,split`.

    A plain list of ids has no splits; pass it as `patches=` to `open_source` instead.

    Raises:
        InvalidSourceError: the file cannot be read, has no `split` column, an unknown split, or a patch twice.
    """
    path = Path(path)
    patches, stated, notes = read_sides(path, SPLITS)
    try:
        seed = int(stated["seed"]) if "seed" in stated else None
        fractions = tuple(map(float, stated["fractions"].split())) if "fractions" in stated else None
    except ValueError:
        raise InvalidSourceError(
            f"`# seed:` and `# fractions:` must be numbers. Received: {list(stated.items())[:4]}. File: {path}"
        ) from None
    return Split(sorted_sides(patches), stated.get("kind", "index"), stated.get("group"), seed, fractions, notes)


def read_sides(path: Path, sides: Iterable[str]) -> tuple[dict[str, list[str]], dict[str, str], tuple[str, ...]]:
    """An index file with splits -> patch ids by split, what its comment lines state by key, its notes.

    Raises:
        InvalidSourceError: the file cannot be read, has no `split` column, a split not in `sides`, or a patch twice.
    """
    sides = list(sides)
    ids, of_ids, comments = read_index(path)
    if of_ids is None:
        rule = "An index file that splits must have the header `patch_id,split`."
        raise InvalidSourceError(f"{rule} Received: ids alone. File: {path}")
    unknown = sorted(set(of_ids) - set(sides))
    if unknown:
        raise InvalidSourceError(f"A split must be one of {sides}. Received: {unknown}. File: {path}")
    patches: dict[str, list[str]] = {side: [] for side in sides}
    for patch_id, side in zip(ids, of_ids, strict=True):
        patches[side].append(patch_id)
    stated = dict(comment.split(": ", 1) for comment in comments if ": " in comment)
    notes = tuple(comment.removeprefix("note: ") for comment in comments if comment.startswith("note: "))
    return patches, stated, notes
