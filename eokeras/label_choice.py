"""Which patches of a split `make_dataset` reads, and which of their labels, from its label options."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eokeras.ben_ge.label_budget import plan_draw, shortage, take_patches
from eokeras.ben_ge.label_subsets import SIDES, LabelSubset, draw_order, read_label_subset
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
    """The patches that the label options of `make_dataset` ask for; None where they ask for all.

    Raises:
        InvalidArgumentError: options that break their rule or exclude each other.
        InvalidSourceError: an index file of other records, or one that names no patch of the split.
        RecordsError: the records lack `patches.csv`.
    """
    check_choice("subset", subset, SUBSETS)
    budgets = {"label_fraction": label_fraction, "label_shots": label_shots, "labels": labels}
    given = [name for name, value in budgets.items() if value is not None]
    _check_together(given, split, targets, subset)
    if not given:
        return None
    table = read_patch_table(records, split)
    asked = budgets[given[0]]
    # By target, or under no name where one budget serves all targets.
    is_by_target = isinstance(asked, Mapping) and label_shots is None
    asked = {name: asked[name] for name in _named(given[0], asked, targets)} if is_by_target else {"": asked}
    if labels is not None:
        by_target = {name: _patches_in(budget, records, split) for name, budget in asked.items()}
    else:
        options = (label_shots, label_draw, label_seed, label_group)
        plans = {
            name: plan_draw(records, budget if label_shots is None else None, *options)
            for name, budget in asked.items()
        }
        by_target = _draw(table, plans, split)
    return _choice(table, by_target, subset)


def _draw(table: PatchTable, plans: Mapping[str, LabelSubset], split: str) -> dict[str, tuple[str, ...]]:
    plan = next(iter(plans.values()))  # they differ in nothing but the fraction
    order = draw_order(table.places, plan.draw, plan.group, plan.seed)
    drawn = {name: take_patches(order, table, plan) for name, plan in plans.items()}
    for name, plan in plans.items():
        shortage(split, drawn[name], table, plan)
    return drawn


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


def _named(argument: str, budget: Mapping, targets: Sequence[str]) -> tuple[str, ...]:
    """The targets whose budgets count: those asked for, or all of the budget where none is."""
    check_choices(argument, budget, TARGETS)
    missing = [name for name in targets if name not in budget]
    if missing or not budget:
        rule = f"`{argument}` by target must name every target."
        raise InvalidArgumentError(f"{rule} Received: {budget!r}, without {missing}.")
    return tuple(targets or budget)


def _patches_in(labels, records: RecordSchema, split: str) -> tuple[str, ...]:
    """The patches of a split in an index file or subset, which must be of these records."""
    if not isinstance(labels, str | Path | LabelSubset):
        rule = "`labels` must be the path of an index file, a `LabelSubset`, or a dict of target -> either."
        raise InvalidArgumentError(f"{rule} Received: labels={labels!r}.")
    found = labels if isinstance(labels, LabelSubset) else read_label_subset(labels)
    name = "a subset" if isinstance(labels, LabelSubset) else str(labels)
    if found.fingerprint not in (None, records.fingerprint):
        rule = f"`labels` must be drawn from these records ({records.path}, fingerprint {records.fingerprint})."
        raise InvalidSourceError(f"{rule} Received: fingerprint {found.fingerprint}. File: {name}")
    if not found.patches.get(split):
        rule = f"`labels` must name patches of the split {split!r}."
        raise InvalidSourceError(f"{rule} Received: none of it. File: {name}")
    return found.patches[split]


def _choice(table: PatchTable, by_target: Mapping[str, Iterable[str]], subset: str) -> Choice:
    known = table.places.keys()
    unknown = sorted({patch_id for ids in by_target.values() for patch_id in ids} - known)
    if unknown:
        rule = "`labels` must name patches of its split."
        raise InvalidSourceError(f"{rule} Not in it: {unknown[:5]} ({len(unknown)} in all).")
    union = set().union(*by_target.values())
    chosen = np.fromiter((patch_id in union for patch_id in known), bool, len(known))
    if subset == "unlabelled":
        chosen, by_target = ~chosen, {}
        if not chosen.any():
            raise InvalidArgumentError("`subset='unlabelled'` must leave a patch. Received: a budget of all patches.")
    partial = {name: tuple(ids) for name, ids in by_target.items() if name and len(ids) < len(union)}
    return Choice(table, chosen, partial)
