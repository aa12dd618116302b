"""Draws label budgets from records: a share of their patches, or some per class."""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from eokeras.ben_ge.label_subsets import (
    SIDES,
    LabelSubset,
    check_draw,
    check_fraction,
    draw_order,
    take_fraction,
    take_shots,
)
from eokeras.ben_ge.patch_table import PatchTable, class_targets, read_patch_table
from eokeras.ben_ge.records import RecordSchema, load_schema
from eokeras.ben_ge.schema import TARGETS
from eokeras.ben_ge.splits import GROUPS
from eokeras.errors import InvalidArgumentError, check_choice

_USUAL_GROUP = "tile"

_STRATIFIED = "Drawn by class, which takes labels of all patches that one would not have; a draw by fraction does not."


def draw_labels(
    records: str | Path | RecordSchema,
    label_fraction: float | None = None,
    *,
    label_shots: Mapping[str, int] | None = None,
    label_draw: str = "spread",
    label_seed: int = 0,
    label_group: str | None = None,
) -> LabelSubset:
    """Draws the patches whose labels may be used, of training and of validation.

    Subsets of one seed, draw and group are nested: a smaller fraction, or fewer shots, are among the patches of a
    larger one. Validation labels count: early stopping on all of val with 1 % of the training labels is cheating
    (Oliver et al. 2018), so the same budget is drawn from val.

    Args:
        records: directory that `eokeras.ben_ge.convert` returned, or its schema.
        label_fraction: share of the patches of each split, above 0 and at most 1, rounded half up, at least one patch.
        label_shots: instead of a fraction: class target -> patches per class, such as `{"land_cover": 5}`. A class
            that has fewer gives what there is, with a warning.
        label_draw: "spread" over all groups (optimistic) or "clustered" in few (realistic); see
            `eokeras.ben_ge.label_subsets`.
        label_seed: of the draw.
        label_group: what the draw takes for a group: "tile", "date" or "tile_date"; by default that of the records'
            split, "tile" where it has none.

    Returns:
        A `LabelSubset`; its `notes` say how many groups it covers and which classes have too few patches.

    Raises:
        InvalidArgumentError: not one of `label_fraction` and `label_shots`, or one that breaks its rule.
        RecordsError: no whole records here, or they lack `patches.csv`.

    Example:
        >>> subset = eo.ben_ge.draw_labels("records/ben-ge-sim", 0.1, label_draw="clustered")  # doctest: +SKIP
        >>> eo.ben_ge.write_label_subset(subset, "budgets/10-clustered-0.csv")                 # doctest: +SKIP

    Reference:
        Oliver et al. 2018, https://arxiv.org/abs/1804.09170
    """
    records = records if isinstance(records, RecordSchema) else load_schema(records)
    plan = plan_draw(records, label_fraction, label_shots, label_draw, label_seed, label_group)
    patches, totals, notes = {}, {}, [_STRATIFIED] if plan.shots else []
    for split in (split for split in SIDES if split in records.splits):
        table = read_patch_table(records, split)
        chosen = take_patches(draw_order(table.places, plan.draw, plan.group, plan.seed), table, plan)
        patches[split], totals[split] = tuple(sorted(chosen)), len(table.places)
        few = shortage(split, chosen, table, plan)
        for note in few:
            warnings.warn(note, stacklevel=2)
        notes += [*_coverage(split, chosen, table), *few]
    return replace(plan, patches=patches, totals=totals, notes=tuple(notes))


def plan_draw(
    records: RecordSchema,
    label_fraction: float | None,
    label_shots: Mapping[str, int] | None,
    label_draw: str,
    label_seed: int,
    label_group: str | None,
) -> LabelSubset:
    """The options of a draw, checked, as a `LabelSubset` that has no patches yet.

    Raises:
        InvalidArgumentError: as `draw_labels`.
    """
    if (label_fraction is None) == (label_shots is None):
        rule = "A budget must be one of `label_fraction` and `label_shots`."
        raise InvalidArgumentError(f"{rule} Received: label_fraction={label_fraction!r}, label_shots={label_shots!r}.")
    label_group = group_of(records) if label_group is None else label_group
    check_draw(label_draw, label_group, label_seed)
    target = shots = None
    if label_shots is None:
        check_fraction(label_fraction)
    else:
        target, shots = _target_and_shots(label_shots, records)
    return LabelSubset(
        {}, label_draw, label_seed, label_group, label_fraction, target, shots, fingerprint=records.fingerprint
    )


def take_patches(order: Sequence[str], table: PatchTable, plan: LabelSubset) -> tuple[str, ...]:
    """The patches that a plan takes from a drawn order."""
    if plan.shots is None:
        return take_fraction(order, plan.fraction)
    return take_shots(order, dict(zip(table.places, table.classes[plan.target].tolist(), strict=True)), plan.shots)


def group_of(records: RecordSchema) -> str:
    """What a draw takes for a group by default: what the records' split kept whole, else the tile."""
    group = records.split.get("group")
    return group if group in GROUPS else _USUAL_GROUP


def _target_and_shots(label_shots: Mapping[str, int], records: RecordSchema) -> tuple[str, int]:
    if not isinstance(label_shots, Mapping) or len(label_shots) != 1:
        rule = "`label_shots` must name one class target and its patches per class, such as {'land_cover': 5}."
        raise InvalidArgumentError(f"{rule} Received: label_shots={label_shots!r}.")
    ((target, shots),) = label_shots.items()
    check_choice("label_shots", target, class_targets(records.fields))
    take_shots((), {}, shots)  # checks the number before the records are read
    return target, shots


def shortage(split: str, chosen: Iterable[str], table: PatchTable, plan: LabelSubset) -> list[str]:
    """A note where a k-shot draw found fewer patches of a class than it should take."""
    if plan.shots is None:
        return []
    chosen = set(chosen)
    counts = Counter(table.classes[plan.target][[patch_id in chosen for patch_id in table.places]].tolist())
    names = enumerate(TARGETS[plan.target].classes)
    few = [f"{name} ({counts[index]})" for index, name in names if counts[index] < plan.shots]
    if not few:
        return []
    return [f"Fewer than {plan.shots} patches of a class of {plan.target} in {split}: {', '.join(few)}."]


def _coverage(split: str, chosen: Sequence[str], table: PatchTable) -> list[str]:
    parts = []
    for part in ("tile", "date"):
        count, total = (
            len({getattr(table.places[patch_id], part) for patch_id in ids}) for ids in (chosen, table.places)
        )
        parts.append(f"{count} of {total} {part}s")
    return [f"{split}: {len(chosen)} of {len(table.places)} patches, on {' and '.join(parts)}."]
