"""What of the facts would mislead a user, in words.

Each rule takes the facts of an `Inspection` and yields sentences; the thresholds stand on top.
"""

from collections.abc import Callable, Iterator, Mapping

from eokeras.ben_ge.inspection.defects import MISSING
from eokeras.ben_ge.inspection.duplicates import pairs_of
from eokeras.ben_ge.schema import SIMULATED

FEW_PATCHES = 100
"""Fewer training patches: mean and percentiles of a band may move when patches are added."""

FEW_GROUPS = 5
"""Fewer tiles in a split that scores are taken on: scores tell of few places, and intervals over them are wide."""

FEW_OF_A_CLASS = 10
"""Fewer test patches of a class: its score hangs on single patches."""

MANY = 0.01
"""Share of the patches of a split from which a defect is spoken of."""

_MOST_NAMES = 6

LONG_GAP_DAYS = 7
"""Days between the images of a pair after which fields, snow and water may have changed."""


def judge(facts: Mapping) -> list[str]:
    """Sentences about what would mislead a user; those about whole records first.

    Args:
        facts: of an `Inspection`.
    """
    return [sentence for rule in _RULES for sentence in rule(facts)]


# ---- Whole records ---------------------------------------------------------------------------------------------------


def _integrity(facts) -> Iterator[str]:
    found = facts["integrity"]
    if not found["is_sound"]:
        parts = [f"{name} {found[name]}" for name in ("fingerprint", "statistics", "patches") if found[name] != "equal"]
        yield (
            f"Statistics and shards do not belong together: {'; '.join(parts)}. Calibration would be wrong. "
            "Convert the source again."
        )
    if not found["seal"]:
        yield (
            "An earlier version made these records: `make_dataset` cannot tell whether their shards were exchanged, "
            "and how they were converted is unknown. Convert again to have both."
        )


def _origin(facts) -> Iterator[str]:
    if facts["simulated"]:
        yield SIMULATED
    yield from facts["notes"]
    if facts["skipped"]:
        yield f"{facts['skipped']} bad patches were set aside in converting; skipped.csv beside the shards says why."


def _places(facts) -> Iterator[str]:
    found = facts["misplaced"]
    if found and found["patches"]:
        yield (
            f"Longitude and latitude of {_count(found['patches'], 'patch')} are not where tile and cell in their names "
            f"lie (up to {found['largest_m'] / 1000:,.0f} km apart). Splits and distances go by the names, the map by "
            "longitude and latitude."
        )


def _size(facts) -> Iterator[str]:
    patches = facts["patches"]
    yield from (f"There is no {side} split." for side in ("train", "val", "test") if not patches.get(side))
    if patches.get("train", 0) < FEW_PATCHES:
        yield f"The statistics come from {patches.get('train', 0)} training patches; they may move with more."
    for side in ("val", "test"):
        tiles = facts["groups"].get(side, {}).get("tiles", FEW_GROUPS)
        if tiles < FEW_GROUPS:
            where = _count(tiles, "tile")
            yield f"All {patches[side]} {side} patches lie in {where}: scores on them tell of few places."


# ---- What is in the splits -------------------------------------------------------------------------------------------


def _seasons(facts) -> Iterator[str]:
    for side, total in facts["patches"].items():
        present = [season for season, counts in facts["seasons"].items() if counts[side]]
        learned = [season for season, counts in facts["seasons"].items() if counts.get("train")]
        if total and len(present) == 1 and len(learned) > 1:
            yield f"All {total} {side} patches are of one season, {present[0]}; train has {_words(learned)}."
        unseen = [season for season in present if season not in learned]
        if side != "train" and unseen and learned:
            yield f"{side} has patches of {_words(unseen)}, of which train has none."


def _absent_classes(facts) -> Iterator[str]:
    for target, entry in facts["classes"].items():
        counts, name = entry["counts"], target.replace("_", " ")
        if "train" not in counts or target == "geocluster":  # clusters are places, which splits hold out on purpose
            continue
        held_out = {
            side: list(zip(entry["classes"], counts["train"], counts[side], strict=True))
            for side in ("val", "test")
            if side in counts
        }
        absent = {side: [label for label, train, here in rows if train and not here] for side, rows in held_out.items()}
        if any(absent.values()):
            words = "; ".join(f"{side} has no {_words(labels)}" for side, labels in absent.items() if labels)
            yield f"{name}: {words}. Scores there say nothing about what is absent."
        unlearned = {
            side: [label for label, train, here in rows if here and not train] for side, rows in held_out.items()
        }
        if any(unlearned.values()):
            words = "; ".join(f"{_words(labels)} ({side})" for side, labels in unlearned.items() if labels)
            yield f"{name}: train has no {words}. No model can learn what it is asked for there."
        few = [label for label, _, here in held_out.get("test", ()) if 0 < here < FEW_OF_A_CLASS]
        if few and entry["unit"] == "patches":
            yield f"{name}: test has fewer than {FEW_OF_A_CLASS} patches of {_words(few)}."


def _without_class(facts) -> Iterator[str]:
    for target, entry in facts["classes"].items():
        if entry["unit"] == "patches":
            for side, void in entry["void"].items():
                if void >= max(1, MANY * facts["patches"][side]):
                    yield f"{target.replace('_', ' ')}: {_of(void, facts['patches'][side], side)} have no class."


def _listed(facts) -> Iterator[str]:
    meanings = {"snow": "seasonal snow", "cloud": "cloud or shadow", "no_labels": "no BigEarthNet-19 label"}
    for name, counts in facts.get("listed", {}).items():
        for side, number in counts.items():
            if number >= max(1, MANY * facts["patches"][side]):
                yield f"{_of(number, facts['patches'][side], side)} are listed with {meanings[name]}."


def _gaps(facts) -> Iterator[str]:
    for side, days in facts["time_gap_days"].items():
        far = sum(count for gap, count in days.items() if abs(int(gap)) > LONG_GAP_DAYS)
        if far >= max(1, MANY * facts["patches"][side]):
            largest = max(abs(int(gap)) for gap in days)
            yield (
                f"Sentinel-1 and -2 of {_of(far, facts['patches'][side], side)} are more than {LONG_GAP_DAYS} days "
                f"apart (at most {largest}): fields, snow and water may have changed between them."
            )


# ---- Pixels ----------------------------------------------------------------------------------------------------------


def _constant_bands(facts) -> Iterator[str]:
    for band, entry in facts["bands"].items():
        summaries = {side: found["summary"] for side, found in entry["splits"].items() if "summary" in found}
        empty = [side for side, summary in summaries.items() if not summary["count"]]
        if empty:
            yield f"Band {band} holds no number at all in {_words(empty)}."
        flat = [side for side, summary in summaries.items() if summary["count"] and not summary["std"]]
        if flat:
            yield f"Band {band} holds one number, {summaries[flat[0]]['mean']:g}, in all patches of {_words(flat)}."
        for side, found in entry["splits"].items():
            constant = found["defects"].get("constant", {}).get("patches", 0)
            if side not in flat and constant >= max(1, MANY * facts["patches"][side]):
                yield f"Band {band} holds one number a patch in {_of(constant, facts['patches'][side], side)}."


def _missing_pixels(facts) -> Iterator[str]:
    for kind, words in _PIXELS.items():
        patches: dict[str, int] = {}  # split -> of the band that has it most often
        bands = []
        for band, entry in facts["bands"].items():
            for side, found in entry["splits"].items():
                count = found["defects"].get(kind, {}).get("patches", 0)
                if count >= max(1, MANY * facts["patches"][side]):
                    patches[side] = max(count, patches.get(side, 0))
                    bands.append(band)
        if bands:
            bands = list(dict.fromkeys(bands))
            counts = _words([f"{count:,} of {facts['patches'][side]:,} {side}" for side, count in patches.items()])
            yield f"{words} in {_words(bands)}: in {'up to ' if len(bands) > 1 else ''}{counts} patches."


def _mostly_missing(facts) -> Iterator[str]:
    for side, total in facts["patches"].items():
        worst = max(
            (
                found["splits"][side]["defects"][kind]["mostly"]
                for found in facts["bands"].values()
                for kind in MISSING
                if side in found["splits"] and kind in found["splits"][side]["defects"]
            ),
            default=0,
        )
        if worst:
            yield f"In {_of(worst, total, side)} half or more of a band or map is missing."


_PIXELS = {
    "zero": "Pixels that are exactly zero (no data in Sentinel-2)",
    "nan": "NaN (no data)",
    "no data": "Pixels without height",
    "no class": "Pixels without class",
    "+inf": "Infinite pixels",
    "saturated": "Saturated pixels",
}


# ---- Between the splits ----------------------------------------------------------------------------------------------


def _duplicates(facts) -> Iterator[str]:
    for sensor, found in facts["identical"].items():
        name = {"s2": "Sentinel-2", "s1": "Sentinel-1"}[sensor]
        for pair, number in found["between"].items():
            if number:
                side, other = pair.split(" and ")
                yield f"{_count(number, f'{side} patch')} {_has(number)} the very {name} image of a patch in {other}."
        if found["patches"] and not any(found["between"].values()):
            yield f"{_count(found['patches'], 'patch')} have the very {name} image of another patch of their split."
    alike = facts.get("alike", {"between": {}})
    for pair, number in alike["between"].items():
        if number:
            side, other = pair.split(" and ")
            looks = _has(number, "looks", "look")
            yield f"{_count(number, f'{side} patch')} {looks} like a patch of another cell in {other}."
    twice = facts["cells"]["twice_on_a_date"]["patches"]
    if twice:
        yield f"{_count(twice, 'patch')} show a cell that another patch shows on the same date."


_SHARED = {"product": "the acquisition", "date": "the date", "tile": "the tile", "cell": "the cell on another date"}


def _leaks(facts) -> Iterator[str]:
    for side, against in pairs_of([side for side, count in facts["patches"].items() if count]):
        if against == "val":
            continue
        found = facts["leakage"][f"{side} and {against}"]
        total = found["patches"]
        shared = [f"{name} of {found[key]}" for key, name in _SHARED.items() if found[key]]
        if shared:
            yield (
                f"Of {total} {side} patches a training patch shares: {', '.join(shared)}. Season and climate zone can "
                "be told from what was trained on, and neighbours resemble each other."
            )
        if found["ground"]:
            yield f"{_of(found['ground'], total, side)} show ground that a training patch shows too, at least in part."
        elif found["adjacent"]:
            yield f"{_of(found['adjacent'], total, side)} abut a training patch."


_RULES: tuple[Callable[[Mapping], Iterator[str]], ...] = (
    _integrity,
    _origin,
    _places,
    _size,
    _leaks,
    _duplicates,
    _absent_classes,
    _seasons,
    _constant_bands,
    _mostly_missing,
    _missing_pixels,
    _gaps,
    _listed,
    _without_class,
)


def _words(names) -> str:
    """Names in a row, the last ones of many counted."""
    names = list(map(str, names))
    if len(names) > _MOST_NAMES + 1:
        names = [*names[:_MOST_NAMES], f"{len(names) - _MOST_NAMES} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}{'es' if noun.endswith('ch') else 's'}"


def _has(number: int, one: str = "has", many: str = "have") -> str:
    return one if number == 1 else many


def _of(number: int, total: int, side: str) -> str:
    return f"{number:,} of {total:,} {side} patches"
