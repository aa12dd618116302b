"""The fast reader of GeoTIFFs against the one through rasterio, on whole trees, simulated and real ones among them."""

import numpy as np
import pytest

from eokeras.ben_ge import geotiff
from eokeras.ben_ge.schema import RASTERS
from eokeras.ben_ge.simulator import simulate
from eokeras.ben_ge.source import open_source
from eokeras.errors import InvalidPatchError
from tests import bigearthnet_trees, trees
from tests.geotiffs import REFERENCE, outcome


def read_both(source):
    """Every patch through both readers, compared to the bit."""
    fast = {patch_id: features_of(source, patch_id) for patch_id in source.patch_ids}
    source._read_band = REFERENCE
    slow = {patch_id: features_of(source, patch_id) for patch_id in source.patch_ids}
    assert fast == slow
    return fast


def features_of(source, patch_id):
    try:
        patch = source.read(patch_id)
    except InvalidPatchError as error:
        return str(error)
    features = {name: (np.asarray(value).dtype, np.asarray(value).tobytes()) for name, value in patch.features.items()}
    return features, patch.non_finite


@pytest.mark.parametrize("without", [(), ("sentinel_1", *bigearthnet_trees.WITHOUT_BEN_GE)])
def test_trees_read_the_same(tmp_path, asked, without):
    trees.write_tree(tmp_path / "small", 6, labels=True, no_data=True, non_finite=True, without=without)
    read_both(open_source(tmp_path / "small"))
    kinds = 3 if without else 6
    assert len(asked) == 4 * kinds  # five tiles in four zones


def test_nested_trees_read_the_same(tmp_path, asked):
    bigearthnet_trees.write_v2(tmp_path / "v2")
    read_both(open_source(tmp_path / "v2"))
    assert len(asked) == 4 * 5  # four zones


def test_simulated_trees_read_the_same(tmp_path, asked):
    simulate(tmp_path / "simulated", patches=4, tiles=1, processes=1)
    assert len(read_both(open_source(tmp_path / "simulated"))) == 4
    assert len(asked) == 6


@pytest.mark.parametrize(
    ("name", "files", "headers"),
    [
        ("bigearthnet-mini", 56, 12),  # three zones
        ("ben-ge-mini", 192, 18),
        ("bigearthnet-sea-strip", 276, 3),
        ("bigearthnet-v2-layout/BigEarthNet", 15, 5),
    ],
)
def test_real_files_read_the_same(real_data, asked, name, files, headers):
    paths = sorted((real_data / name).rglob("*.tif"))
    assert len(paths) == files
    for path in paths:
        raster = raster_of(path)
        assert outcome(geotiff.read_band, path, raster) == outcome(REFERENCE, path, raster)
    assert len(asked) == headers


def raster_of(path):
    """The raster that a file of ben-ge or BigEarthNet belongs to, by its name."""
    ending = path.stem.rsplit("_", 1)[1]
    maps = {"dem": "dem", "esaworldcover": "land_cover_map", "map": "reference_map"}
    return RASTERS[maps.get(ending) or next(name for name, raster in RASTERS.items() if ending in raster.bands)]
