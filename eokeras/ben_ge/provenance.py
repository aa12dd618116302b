"""Where records come from: source, licence and citation of each modality, software, and how they were converted.

`convert` states it in `metadata.json` beside the shards; `provenance_of` reads it back, and says what is unknown of
records that an earlier version wrote.
"""

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from eokeras.ben_ge.attributions import attributions_of
from eokeras.ben_ge.places import parse_name
from eokeras.ben_ge.records import RecordSchema
from eokeras.ben_ge.seal import sealed
from eokeras.ben_ge.source import Source

UNKNOWN = "unknown: an earlier version made these records"


def state_provenance(records: Path, source: Source, **arguments) -> None:
    """Adds provenance and seal to the `metadata.json` of records that are complete.

    Args:
        records: their directory.
        source: what they were made from.
        arguments: those of `convert`.
    """
    path = records / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata["provenance"] = {
        "sources": attributions_of(source.fields, simulated=source.world is not None, version=_version(source)),
        "archives": _archives(source.root),
        "configuration": {
            "source": str(source.root),
            "patches": len(source.patch_ids),
            "modalities": list(source.modalities),
            **{name: _plain(value) for name, value in arguments.items()},
        },
        "python": platform.python_version(),
    }
    path.write_text(json.dumps(sealed(metadata, records), indent=2) + "\n", encoding="utf-8")


def provenance_of(records: RecordSchema) -> dict:
    """What is known of where records come from: `sources`, `archives`, `configuration`, `versions`, `fingerprint`.

    Of records without provenance (an earlier version made them) `sources` are those that are published for the fields
    that they hold, and what cannot be known is `UNKNOWN`.
    """
    stated = records.metadata.get("provenance")
    known = stated or {
        "sources": attributions_of(records.fields, simulated=records.world is not None),
        "archives": [],
        "configuration": UNKNOWN,
    }
    versions = dict(records.metadata.get("versions", {}))
    if "python" in known:
        versions["python"] = known["python"]
    return {
        "sources": known["sources"],
        "archives": known["archives"],
        "configuration": known["configuration"],
        "split": records.split,
        "versions": versions,
        "fingerprint": records.fingerprint,
        "is_stated": stated is not None,
    }


def provenance_lines(provenance: Mapping) -> list[str]:
    """What `provenance_of` gave, as lines to print."""
    lines = [f"fingerprint: {provenance['fingerprint']}"]
    lines.append("software: " + (", ".join(f"{name} {it}" for name, it in provenance["versions"].items()) or UNKNOWN))
    configuration = provenance["configuration"]
    if isinstance(configuration, Mapping):
        configuration = ", ".join(f"{name}={_shown(value)}" for name, value in configuration.items())
    lines.append(f"configuration: {configuration}")
    for archive in provenance["archives"]:
        lines.append(f"downloaded: {archive['name']}, https://doi.org/{archive['doi']}, md5 {' '.join(archive['md5'])}")
    for entry in provenance["sources"]:
        lines.append(f"{entry['modality']}: {entry['source']}")
        lines.append(f"    licence: {entry['licence']}")
        lines.append(f"    cite: {entry['citation']}")
        if entry["remark"]:
            lines.append(f"    mind: {entry['remark']}")
    return lines


def _version(source: Source) -> int:
    """Of BigEarthNet: names of v2 hold the tile. Those of Sentinel-1 always do, and their patches are those of v1."""
    for patch_id in source.patch_ids:
        if patch_id.startswith("S2"):
            try:
                return 1 if parse_name(patch_id).tile is None else 2
            except ValueError:
                continue
    return 1


def _archives(root: Path) -> list[dict]:
    """What `download` noted in the tree: name, DOI and md5 sums of each archive."""
    archives = []
    for note in sorted(root.glob("*_archive.json")):
        try:
            content = json.loads(note.read_text(encoding="utf-8"))
            sums = [archive["md5"] for archive in content["archives"]]
            archives.append({"name": content["name"], "doi": content["doi"], "md5": sums})
        except (OSError, ValueError, KeyError, TypeError):  # a note of someone else's
            continue
    return archives


def _plain(value):
    if isinstance(value, os.PathLike):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _shown(value) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
