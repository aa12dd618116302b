"""Reading of BigEarthNet label files: CORINE names -> BigEarthNet-19, the acquisition time, the paired patch.

Reference:
    BigEarthNet: Sumbul et al. 2021, https://arxiv.org/abs/2105.07921
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eokeras.ben_ge.corine import BIGEARTHNET_19, corine_to_19
from eokeras.ben_ge.tables import parse_timestamp
from eokeras.errors import InvalidPatchError

_TIMES = {"s2": "acquisition_date", "s1": "acquisition_time"}
_PAIR = "corresponding_s2_patch"


def read_label_file(patch_id: str, path: Path, sensor: str, with_labels: bool, with_time: bool) -> dict[str, object]:
    """Fields of a record from the label file of a Sentinel-2 or Sentinel-1 patch.

    Args:
        patch_id: named in errors.
        path: the JSON file, an object with `labels` and a time.
        sensor: "s2" or "s1", whose label file it is.
        with_labels: whether to give `labels`.
        with_time: whether to give `timestamp_s2` or `timestamp_s1`.

    Returns:
        `labels`: (19,) uint8, 1 for each BigEarthNet-19 class present; all 0 where no name has a class.

    Raises:
        InvalidPatchError: the file is missing, is no whole JSON object, names a class outside the CORINE
            level-3 nomenclature, or states no time.
    """
    content = _read_object(patch_id, path)
    features: dict[str, object] = {}
    if with_labels:
        try:
            ids = corine_to_19(_names(patch_id, path, content.get("labels")))
        except KeyError as error:
            reason = f"Labels must be CORINE level-3 names. Received: {error.args[0]!r}."
            raise InvalidPatchError(patch_id, path, reason) from None
        features["labels"] = multi_hot(ids)
    if with_time:
        stated = content.get(_TIMES[sensor])
        try:
            features[f"timestamp_{sensor}"] = parse_timestamp(str(stated))
        except ValueError:
            rule = f"`{_TIMES[sensor]}` must be a time like 2017-06-13 10:10:31."
            raise InvalidPatchError(patch_id, path, f"{rule} Received: {stated!r}.") from None
    return features


def read_pair(s1_name: str, path: Path) -> str:
    """The Sentinel-2 patch that the label file of a Sentinel-1 patch names.

    Raises:
        InvalidPatchError: the file is missing, is no whole JSON object or names none.
    """
    name = _read_object(s1_name, path).get(_PAIR)
    if not isinstance(name, str) or not name:
        raise InvalidPatchError(s1_name, path, f"`{_PAIR}` must be the name of a patch. Received: {name!r}.")
    return name


def read_source_tile(patch_id: str, path: Path) -> str:
    """`tile_source` of a Sentinel-2 label file, the name of the Level-1C product; empty where it states none.

    Raises:
        InvalidPatchError: the file is missing or is no whole JSON object.
    """
    return str(_read_object(patch_id, path).get("tile_source") or "")


def multi_hot(ids: Sequence[int]) -> np.ndarray:
    """(19,) uint8: 1 at the BigEarthNet-19 class ids."""
    present = np.zeros(len(BIGEARTHNET_19), np.uint8)
    present[list(ids)] = 1
    return present


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


def _names(patch_id: str, path: Path, names: object) -> list[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidPatchError(patch_id, path, f"`labels` must be a list of names. Received: {names!r}.")
    return names
