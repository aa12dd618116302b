"""Reading of BigEarthNet label files: CORINE names -> BigEarthNet-19, and the acquisition time.

Reference:
    BigEarthNet: Sumbul et al. 2021, https://arxiv.org/abs/2105.07921
"""

import json
from pathlib import Path

import numpy as np

from eokeras.ben_ge import schema
from eokeras.ben_ge.tables import parse_timestamp
from eokeras.errors import InvalidPatchError

LABELS_ENDING = "_labels_metadata.json"


def read_labels(patch_id: str, path: Path, with_time: bool) -> dict[str, object]:
    """Fields of a record from the label file of a Sentinel-2 patch.

    Args:
        patch_id: named in errors.
        path: the JSON file, an object with `labels` and, for the time, `acquisition_date`.
        with_time: whether to give `timestamp_s2` and the `season` of that day too.

    Returns:
        `labels`: (19,) uint8, 1 for each BigEarthNet-19 class present; all 0 where no name has a class.

    Raises:
        InvalidPatchError: the file is missing, is no whole JSON object, names a class outside the CORINE
            level-3 nomenclature, or states no time.
    """
    content = _read_object(patch_id, path)
    features: dict[str, object] = {"labels": _multi_hot(patch_id, path, content.get("labels"))}
    if with_time:
        stated = content.get("acquisition_date")
        try:
            timestamp = parse_timestamp(str(stated))
        except ValueError:
            rule = "`acquisition_date` must be a time like 2017-06-13 10:10:31."
            raise InvalidPatchError(patch_id, path, f"{rule} Received: {stated!r}.") from None
        season = schema.season(int(timestamp[5:7]), int(timestamp[8:10]))
        features |= {"timestamp_s2": timestamp, "season": season}
    return features


def _read_object(patch_id: str, path: Path) -> dict:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidPatchError(patch_id, path, "The label file must exist. Received: no such file.") from None
    except (OSError, ValueError) as error:
        raise InvalidPatchError(patch_id, path, f"The label file must be whole JSON. Received: {error}.") from None
    if not isinstance(content, dict):
        raise InvalidPatchError(patch_id, path, f"The label file must hold an object. Received: {content!r:.80}.")
    return content


def _multi_hot(patch_id: str, path: Path, names: object) -> np.ndarray:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidPatchError(patch_id, path, f"`labels` must be a list of names. Received: {names!r}.")
    try:
        ids = schema.corine_to_19(names)
    except KeyError as error:
        reason = f"Labels must be CORINE level-3 names. Received: {error.args[0]!r}."
        raise InvalidPatchError(patch_id, path, reason) from None
    present = np.zeros(len(schema.BIGEARTHNET_19), np.uint8)
    present[list(ids)] = 1
    return present
