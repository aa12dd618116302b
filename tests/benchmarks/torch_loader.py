"""The baseline of `reading`: a PyTorch data set that opens every GeoTIFF of a patch, as the original tutorial does."""

import csv

import numpy as np
import rasterio
import torch

S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")


class PatchDataset(torch.utils.data.Dataset):
    """Patches of a tree of ben-ge: (12, 120, 120) reflectance, (2, 120, 120) backscatter, map and numbers.

    Nothing of eokeras is in it.
    """

    def __init__(self, tree):
        name = tree.name
        self.tree = tree
        with (tree / f"{name}_meta.csv").open(newline="") as file:
            self.rows = list(csv.DictReader(file))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        s2_id, s1_id = row["patch_id"], row["patch_id_s1"]
        s2 = torch.cat([self._band(f"sentinel-2/{s2_id}/{s2_id}_{band}.tif") for band in S2_BANDS])
        s1 = [self._read(f"sentinel-1/{s1_id}/{s1_id}_{band}.tif") for band in ("VV", "VH")]
        s1 = torch.from_numpy(np.stack(s1)).clip(-25, 0) / 25 + 1
        cover = self._read(f"esaworldcover/{s2_id}_esaworldcover.tif").astype("int64")
        zone, season = int(row["climatezone"]), float(row["season_s2"])
        return (s2 / 10_000).clip(0, 1), s1, cover, zone, season

    def _band(self, path):
        values = torch.from_numpy(self._read(path).astype("float32"))[None, None]
        if values.shape[-1] != 120:
            values = torch.nn.functional.interpolate(values, size=(120, 120), mode="bilinear", align_corners=False)
        return values[0]

    def _read(self, path):
        with rasterio.open(self.tree / path) as file:
            return file.read(1)
