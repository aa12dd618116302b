"""A tree of many small files is walked once."""

import contextlib
import itertools
import os
from collections import Counter
from pathlib import Path

import pytest

from eokeras.ben_ge.source import open_source
from tests import bigearthnet_trees, trees


@pytest.fixture
def listed(monkeypatch):
    """Directory -> how often it was listed to its end."""
    times, scandir = Counter(), os.scandir

    @contextlib.contextmanager
    def counted(path):
        with scandir(path) as listing:
            yield itertools.chain(listing, ended(str(path)))

    def ended(path):
        times[path] += 1
        yield from ()

    monkeypatch.setattr(os, "scandir", counted)
    return times


def write_bare_v1(root):
    """Patch folders of both sensors side by side in the root."""
    bigearthnet_trees.write_v1(root)
    for name in ("BigEarthNet-v1.0", "BigEarthNet-S1-v1.0"):
        for folder in (root / name).iterdir():
            folder.rename(root / folder.name)
        (root / name).rmdir()


TREES = {
    "ben-ge": lambda root: trees.write_tree(root, 4, labels=True),
    "BigEarthNet v1": bigearthnet_trees.write_v1,
    "BigEarthNet v1, its patches": write_bare_v1,
    "BigEarthNet v2": bigearthnet_trees.write_v2,
}


@pytest.mark.parametrize("write", TREES.values(), ids=TREES)
def test_no_folder_is_listed_twice(tmp_path, listed, write):
    root = tmp_path / "tree"
    write(root)
    listed.clear()
    source = open_source(root)
    assert len(source.patch_ids) == 4
    assert listed[str(root)] == 1
    assert set(listed.values()) == {1}
    assert not {Path(folder).name for folder in listed} & set(source.patch_ids)  # only what holds patches
    listed.clear()
    for patch_id in source.patch_ids:
        source.read(patch_id)
    assert not listed
