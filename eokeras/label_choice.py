"""Which patches of a split `make_dataset` reads, and which of their labels, from its label options."""

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eokeras.ben_ge.label_budget import group_of, plan_draw, shortage, take_patches
from eokeras.ben_ge.label_subsets import (
    SIDES,
    LabelSubset,
    check_draw,
    check_fraction,
    draw_order,
    read_label_subset,
)
from eokeras.ben_ge.patch_table import PatchTable, read_patch_table
from eokeras.ben_ge.records import RecordSchema
from eokeras.ben_ge.schema import TARGETS
from eokeras.errors import InvalidArgumentError, InvalidSourceError, check_choice, check_choices

SUBSETS = ("labelled", "unlabelled")


@dataclass(frozen=True)
class Choice:
    """The patches of one split that are read.

    Args:
        table: all patches of the split.
        chosen: (N,) bool, in the order of the table.
        labelled: target -> ids of the patches that keep its label, for targets that not all of them keep.
    """

    table: PatchTable
    chosen: np.ndarray
    labelled: Mapping[str, tuple[str, ...]]

    @property
    def digest(self) -> str:
        """Hash of the patches chosen: equal only for equal subsets of a split."""
        return hashlib.sha256(np.packbits(self.chosen).tobytes()).hexdigest()[:16]


def part_of(records: RecordSchema, split: str, choice: Choice | None, index: int, count: int) -> Choice:
    """One of `count` parts of what would be read: no patch is in two, and their sizes differ by one at most."""
    table = choice.table if choice else read_patch_table(records, split)
    chosen = np.flatnonzero(choice.chosen) if choice else np.arange(len(table.places))
    if count > len(chosen):
        rule = "`part` must be of no more parts than there are patches to read."
        raise InvalidArgumentError(f"{rule} Received: part={(index, count)}, and {len(chosen)} patches.")
    kept = np.zeros(len(table.places), bool)
    kept[chosen[len(chosen) * index // count : len(chosen) * (index + 1) // count]] = True
    return Choice(table, kept, choice.labelled if choice else {})


def choose_patches(
    records: RecordSchema,
    split: str,
    targets: Sequence[str],
    *,
    label_fraction: float | Mapping[str, float] | None,
    label_shots: Mapping[str, int] | None,
    label_draw: str,
    label_seed: int,
    label_group: str | None,
    labels,
    subset: str,
) -> Choice | None:
    """The patches that the label options of `make_dataset` ask for; None where they ask for all that is in the shards.

    Raises:
        InvalidArgumentError: options that break their rule or exclude each other.
        InvalidSourceError: an index file of other records, or one that names no patch of the split.
        RecordsError: the records lack `patches.csv`.
    """
    check_choice("subset", subset, SUBSETS)
    label_group = group_of(records) if label_group is None else label_group
    check_draw(label_draw, label_group, label_seed)  # a slip must not wait for the first budget
    budgets = {"label_fraction": label_fraction, "label_shots": label_shots, "labels": labels}
    given = [name for name, value in budgets.items() if value is not None]
    _check_together(given, split, targets, subset)
    if not given and not records.is_other_split:
        return None
    table = read_patch_table(records, split)
    if not given:
        return Choice(table, np.ones(len(table.places), bool), {})
    asked = _by_target(given[0], budgets[given[0]], targets)
    if labels is not None:
        by_target = {name: _patches_in(name, budget, records, split, table) for name, budget in asked.items()}
        return _choice(table, by_target, subset)
    options = (label_shots, label_draw, label_seed, label_group)
    plans = {
        name: plan_draw(records, budget if label_shots is None else None, *options) for name, budget in asked.items()
    }
    order = draw_order(table.places, label_draw, label_group, label_seed)
    by_target = {name: take_patches(order, table, plan) for name, plan in plans.items()}
    if label_shots is not None:
        for note in shortage(split, by_target[""], table, plans[""]):
            warnings.warn(note, stacklevel=3)  # where `make_dataset` was called
    return _choice(table, by_target, subset)


def _check_together(given: Sequence[str], split: str, targets: Sequence[str], subset: str) -> None:
    if len(given) > 1:
        rule = "A budget must be one of `label_fraction`, `label_shots` and `labels`."
        raise InvalidArgumentError(f"{rule} Received: {' and '.join(given)}.")
    if given and split not in SIDES:
        rule = f"A label budget counts labels of {' and '.join(SIDES)}; all labels of {split!r} are for scoring."
        raise InvalidArgumentError(f"{rule} Received: {given[0]} with split={split!r}.")
    if subset == "unlabelled" and (not given or targets):
        rule = "`subset='unlabelled'` must come with a budget, which it leaves out, and without targets."
        received = f"targets {list(targets)}" if given else "no `label_fraction`, `label_shots` or `labels`"
        raise InvalidArgumentError(f"{rule} Received: {received}.")


def _by_target(argument: str, budget, targets: Sequence[str]) -> dict:
    """The budgets that count, by target: of those asked for, or all where none is; "" is the one of all targets."""
    if argument == "label_shots" or not isinstance(budget, Mapping):
        return {"": budget}
    check_choices(argument, budget, TARGETS)
    missing = [name for name in targets if name not in budget]
    if missing or not budget:
        rule = f"`{argument}` by target must name every target."
        raise InvalidArgumentError(f"{rule} Received: {budget!r}, without {missing}.")
    if argument == "label_fraction":
        for name, share in budget.items():
            check_fraction(share, f"{argument}[{name!r}]")
    return {name: budget[name] for name in targets or budget}


def _patches_in(target: str, labels, records: RecordSchema, split: str, table: PatchTable) -> tuple[str, ...]:
    """The patches of a split in an index file or subset, which must be of these records."""
    argument = f"labels[{target!r}]" if target else "labels"
    if not isinstance(labels, str | Path | LabelSubset):
        rule = "`labels` must be the path of an index file, a `LabelSubset`, or a dict of target -> either."
        raise InvalidArgumentError(f"{rule} Received: {argument}={labels!r}.")
    found = labels if isinstance(labels, LabelSubset) else read_label_subset(labels)
    file = "none (a `LabelSubset`)" if isinstance(labels, LabelSubset) else labels
    if found.fingerprint not in (None, records.fingerprint):
        rule = f"`{argument}` must be drawn from these records ({records.path}, fingerprint {records.fingerprint})."
        raise InvalidSourceError(f"{rule} Received: fingerprint {found.fingerprint}. File: {file}")
    rule = f"`{argument}` must name patches of the split {split!r}."
    ids = found.patches.get(split, ())
    if not ids:
        raise InvalidSourceError(f"{rule} Received: no patch of it. File: {file}")
    unknown = sorted(set(ids) - table.places.keys())
    if unknown:
        received = f"{', '.join(unknown[:5])} ({len(unknown)} that are not in it)"
        raise InvalidSourceError(f"{rule} Received: {received}. File: {file}")
    return ids


def _choice(table: PatchTable, by_target: Mapping[str, Iterable[str]], subset: str) -> Choice:
    union = set().union(*by_target.values())
    chosen = np.fromiter((patch_id in union for patch_id in table.places), bool, len(table.places))
    if subset == "unlabelled":
        chosen, by_target = ~chosen, {}
    if not chosen.any():
        rule = f"`subset={subset!r}` must hold a patch of the split."
        raise InvalidArgumentError(f"{rule} Received: a budget of {len(union)} of its {len(table.places)} patches.")
    partial = {name: tuple(ids) for name, ids in by_target.items() if name and len(ids) < len(union)}
    return Choice(table, chosen, partial)
