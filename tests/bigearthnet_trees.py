"""Small trees of BigEarthNet v1 and v2 with known values, made from those of `trees`."""

import json
import shutil

import numpy as np
import pyarrow
from pyarrow import parquet

from tests import trees

NO_CLASS = (0, 124, 335, 423, 999)  # no data, airports, glaciers, intertidal flats, no data
REFERENCE_CODES = (*NO_CLASS, 111, 112, 211, 241, 231, 311, 313, 333, 512, 523)
REFERENCE_IDS = (*[255] * 5, 0, 0, 2, 3, 4, 8, 10, 11, 17, 18)  # BigEarthNet-19 by hand, in this order
LABELS_19 = {
    "Pastures": 4,
    "Coniferous forest": 9,
    "Marine waters": 18,
    "Inland wetlands": 15,
    "Moors, heathland and sclerophyllous vegetation": 12,
}
WITHOUT_BEN_GE = ("dem", "esaworldcover", "meta", "era5", "landcover", "geoclusters")


def write_v1(root, patches=4):
    """`BigEarthNet-v1.0/` and `BigEarthNet-S1-v1.0/` with label files; patch_id -> features as `trees.write_tree`."""
    expected = trees.write_tree(root, patches, labels=True, without=WITHOUT_BEN_GE)
    (root / "sentinel-2").rename(root / "BigEarthNet-v1.0")
    (root / "sentinel-1").rename(root / "BigEarthNet-S1-v1.0")
    for patch_id, features in expected.items():
        s2_labels = root / "BigEarthNet-v1.0" / patch_id / f"{patch_id}_labels_metadata.json"
        content = {
            "labels": json.loads(s2_labels.read_text())["labels"],
            "corresponding_s2_patch": patch_id,
            "acquisition_time": features["timestamp_s1"].replace(" ", "T"),
        }
        s1_label_file(root, features).write_text(json.dumps(content))
    return expected


def s1_label_file(root, features):
    name = features["patch_id_s1"]
    return root / "BigEarthNet-S1-v1.0" / name / f"{name}_labels_metadata.json"


def write_v2(root, patches=4, metadata=True, baseline="N9999"):
    """`BigEarthNet-S2/`, `BigEarthNet-S1/`, `Reference_Maps/` and, if asked for, `metadata.parquet`.

    Returns:
        patch_id (of v2) -> features as `source.read` must give them with everything there, and `split`.
    """
    flat = root.with_name(f"{root.name}-v1")
    known = trees.write_tree(flat, patches, without=WITHOUT_BEN_GE)
    random = np.random.default_rng(7)
    expected, rows = {}, []
    for index, (old_id, features) in enumerate(sorted(known.items())):
        acquisition = f"{old_id.rsplit('_', 2)[0]}_{baseline}_R022_T{features['tile']}"
        column, row = features["cell"]
        patch_id = f"{acquisition}_{column:02d}_{row:02d}"
        _move(flat / "sentinel-2" / old_id, root / "BigEarthNet-S2" / acquisition, patch_id)
        s1_name = features["patch_id_s1"]
        s1_acquisition = root / "BigEarthNet-S1" / s1_name.rsplit("_", 3)[0]
        _move(flat / "sentinel-1" / s1_name, s1_acquisition, s1_name)
        codes = random.choice(REFERENCE_CODES, (120, 120)).astype("uint16")
        trees.write_geotiff(
            reference_file(root, patch_id), codes, int(features["epsg"]), *features["upper_left"], 10, nodata=0
        )
        names = list(LABELS_19)[index % 5 : index % 5 + 2]
        labels = np.zeros(19, "uint8")
        labels[[LABELS_19[name] for name in names]] = 1
        split = ("train", "train", "validation", "test")[index % 4]
        kept = ("s2_10m", "s2_20m", "s2_60m", "s1", "patch_id_s1", "tile", "cell", "date", "epsg", "upper_left")
        expected[patch_id] = {name: features[name] for name in kept} | {
            "patch_id": patch_id,
            "reference_map": codes,
            "labels": labels,
            "split": {"validation": "val"}.get(split, split),
        }
        rows.append({"patch_id": patch_id, "labels": names, "split": split, "country": "Austria", "s1_name": s1_name})
    shutil.rmtree(flat)
    if metadata:
        write_metadata(root / "metadata.parquet", rows)
    return expected


def write_metadata(path, rows):
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def reference_file(root, patch_id):
    return root / "Reference_Maps" / patch_id.rsplit("_", 2)[0] / patch_id / f"{patch_id}_reference_map.tif"


def _move(folder, acquisition, name):
    (acquisition / name).mkdir(parents=True)
    for path in folder.iterdir():
        path.rename(acquisition / name / path.name.replace(folder.name, name))
