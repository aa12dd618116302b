"""Whether the statistics of records are those of their shards, found by gathering them anew."""

import math
from collections.abc import Mapping

from eokeras.ben_ge.records import RecordSchema

_RELATIVE, _ABSOLUTE = 1e-9, 1e-9  # sums of floats depend on the order of the patches


def check_integrity(records: RecordSchema, fingerprint: str, statistics: Mapping, splits: Mapping[str, int]) -> dict:
    """Compares what the shards gave with what `metadata.json` states.

    Args:
        records: the records.
        fingerprint, statistics, splits: gathered from all of their patches.

    Returns:
        `is_sound`; `fingerprint` and `statistics`, each "equal" or what differs; `seal`, whether the cheap check of
        `make_dataset` can be made.
    """
    differing = [
        f"{name}: {key}"
        for name in sorted({*statistics} | {*records.statistics})
        for key in sorted({*statistics.get(name, {})} | {*records.statistics.get(name, {})})
        if not _equal(statistics.get(name, {}).get(key), records.statistics.get(name, {}).get(key))
    ]
    same = fingerprint == records.fingerprint
    return {
        "is_sound": same and not differing and dict(splits) == records.splits,
        "fingerprint": "equal" if same else f"{fingerprint} in the shards, {records.fingerprint} stated",
        "statistics": "equal" if not differing else f"different: {', '.join(differing)}",
        "patches": "equal" if dict(splits) == records.splits else f"{dict(splits)}, stated {records.splits}",
        "seal": "seal" in records.metadata,
    }


def _equal(found, stated) -> bool:
    if isinstance(found, list | tuple) and isinstance(stated, list | tuple):
        return len(found) == len(stated) and all(map(_equal, found, stated))
    if found is None or stated is None:
        return found is stated
    if math.isnan(found) or math.isnan(stated):
        return math.isnan(found) and math.isnan(stated)
    return math.isclose(found, stated, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
