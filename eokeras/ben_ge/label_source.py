"""Where the BigEarthNet labels and acquisition times of a tree come from: label files of v1, the table of v2."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from eokeras.ben_ge.labels import read_label_file
from eokeras.ben_ge.layout import Layout
from eokeras.ben_ge.metadata_table import MetadataTable
from eokeras.ben_ge.patch_files import Folder
from eokeras.ben_ge.patch_list import LABELS
from eokeras.errors import InvalidSourceError

_SENSORS = {"sentinel_2": "s2", "sentinel_1": "s1"}


class LabelSource:
    """Reads labels and times of the patches of a tree.

    Label files are read where every listed patch has one. Labels come from the metadata table, else from label
    files of Sentinel-2, else from those of Sentinel-1; times come from each sensor's own files.

    Args:
        whole: the tree, with the folders that were not picked too: label files may be picked without images.
        folders: modality -> folder of the picked ones.
        names: modality -> the patches in its folder.
        metadata: the table of BigEarthNet v2, or None.
        timed: sensors whose times a csv states.
        modalities: what was picked, or None for everything.
        own_name: (patch id, sensor) -> the name under which the sensor keeps the patch, or None.
        patch_ids: the patches of the tree.

    Attributes:
        fields: the fields that `read` gives.
        notes: why labels were left out, if so.

    Raises:
        InvalidSourceError: labels were picked and there are none.
    """

    def __init__(
        self,
        whole: Layout,
        folders: Mapping[str, Folder],
        names: Mapping[str, set[str]],
        metadata: MetadataTable | None,
        timed: Iterable[str],
        modalities: Sequence[str] | None,
        own_name: Callable[[str, str], str | None],
        patch_ids: Sequence[str],
    ):
        self._own_name, self._timed = own_name, frozenset(timed)
        self.notes: tuple[str, ...] = ()
        self._folders: dict[str, Folder] = {}
        self._metadata = None
        if modalities is not None and LABELS not in modalities:
            self.fields = frozenset()
            return
        self._metadata = metadata
        for key, sensor in _SENSORS.items():
            folder = folders.get(key)
            if folder is None and modalities is not None and key in whole.folders:
                folder = Folder(whole.folders[key], nested=False)  # label files lie in the flat folders of v1
            is_needed = sensor not in self._timed or not (self._folders or metadata)
            if folder is None or folder.nested or not is_needed:  # BigEarthNet v2 has no label files
                continue
            if self._covers(folder, names.get(key), sensor, patch_ids):
                self._folders[sensor] = folder
        has_labels = bool(self._folders) or metadata is not None
        if modalities is not None and not has_labels:
            rule = "`modalities` may hold labels where every patch has a BigEarthNet label file, or metadata.parquet."
            raise InvalidSourceError(" ".join([rule, f"Received: {str(whole.root)!r}.", *self.notes]))
        if has_labels:
            self.notes = ()
        times = {f"timestamp_{sensor}" for sensor in self._folders if sensor not in self._timed}
        self.fields = frozenset({LABELS, *times} if has_labels else times)

    def _covers(self, folder: Folder, names: set[str] | None, sensor: str, patch_ids: Sequence[str]) -> bool:
        """Whether every listed patch in a Sentinel folder has a label file."""
        own = (self._own_name(patch_id, sensor) for patch_id in patch_ids)
        present = [name for name in own if name and (names is None or name in names)]
        missing = [name for name in present if not folder.label_file(name).is_file()]
        if missing and len(missing) < len(present):
            self.notes += (
                f"Labels are left out: {len(missing)} of {len(present)} {sensor.upper()} folders have no label file "
                f"(such as {min(missing)}).",
            )
        return bool(present) and not missing

    def read(self, patch_id: str) -> dict[str, object]:
        """The `fields` of a patch.

        Raises:
            InvalidPatchError: a label file, or the row of the metadata table, breaks a rule.
        """
        found = {LABELS: self._metadata.labels(patch_id)} if self._metadata else {}
        for sensor, folder in self._folders.items():
            name = self._own_name(patch_id, sensor) or patch_id
            with_labels, with_time = LABELS not in found, sensor not in self._timed
            found |= read_label_file(patch_id, folder.label_file(name), sensor, with_labels, with_time)
        return found
