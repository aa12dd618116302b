"""Checking a local copy of BigEarthNet v1: what counts as whole, and what a message names."""

import shutil

import pytest

from eokeras import ben_ge
from eokeras.errors import InvalidArgumentError, InvalidSourceError
from tests.trees import write_tree


@pytest.fixture
def tree(tmp_path):
    write_tree(tmp_path / "ben-ge", 3, labels=True)
    return tmp_path / "ben-ge"


def check(tree, **options):
    both = {"sentinel_2": tree / "sentinel-2", "sentinel_1": tree / "sentinel-1"}
    return ben_ge.check_bigearthnet(tree / "ben-ge_meta.csv", **both | options)


def test_a_whole_copy(tree):
    shown = []
    (tree / "sentinel-2" / "S2A_MSIL2A_20170101T000000_1_1").mkdir()  # of a patch that the csv does not name
    assert check(tree, progress=lambda *numbers: shown.append(numbers)) == 3
    assert shown == [(done, 6) for done in range(1, 7)]
    assert check(tree, sentinel_1=None) == 3


FAULTS = {
    "patch": ("sentinel_2", "S2A_MSIL2A_20170613T90032_10_20", None, "is missing"),
    "band": ("sentinel_2", "S2A_MSIL2A_20170613T90032_10_20", "_B8A.tif", "is missing or empty"),
    "labels": ("sentinel_2", "S2A_MSIL2A_20170613T90032_10_20", "_labels_metadata.json", "is missing or empty"),
    "polarisation": ("sentinel_1", "S1B_IW_GRDH_1SDV_20170613T164043_33UUP_10_20", "_VH.tif", "is missing or empty"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_is_missing_is_named(tree, case):
    sensor, patch, ending, words = FAULTS[case]
    folder = tree / sensor.replace("_", "-") / patch
    shutil.rmtree(folder) if ending is None else (folder / f"{patch}{ending}").unlink()
    with pytest.raises(InvalidSourceError) as error:
        check(tree)
    rule = f"`{sensor}` must hold all 3 patches of {tree / 'ben-ge_meta.csv'}. Received: {folder.parent}, where 1 are"
    assert str(error.value).startswith(f"{rule} not whole, such as: {patch}{ending or ''} {words}. ")
    assert "from https://bigearth.net" in str(error.value)


def test_empty_files_are_not_whole(tree):
    for path in tree.glob("sentinel-1/*/*_V?.tif"):
        path.write_bytes(b"")
    with pytest.raises(InvalidSourceError, match=r"where 3 are not whole, such as: S1B_\S+VV.tif, S1B_\S+VH.tif are "):
        check(tree)


def test_a_folder_that_is_not_there(tree):
    with pytest.raises(InvalidSourceError, match=r"`sentinel_2` must be a folder .* \(No such file .*bigearth.net"):
        check(tree, sentinel_2=tree / "BigEarthNet-v1.0")


def test_nothing_to_check(tree):
    with pytest.raises(InvalidArgumentError, match="`sentinel_2` or `sentinel_1` must be given"):
        check(tree, sentinel_2=None, sentinel_1=None)


def test_real_patches(real_data):
    root = real_data / "bigearthnet-mini"
    assert (
        ben_ge.check_bigearthnet(
            root / "bigearthnet-mini_meta.csv", sentinel_2=root / "sentinel-2", sentinel_1=root / "sentinel-1"
        )
        == 4
    )
