"""Hashes of images and the search for pairs, against brute force and by hand."""

import itertools

import numpy as np
import pytest

from eokeras.ben_ge.inspection.duplicates import count_shared, find_alike, find_identical, near_pairs
from eokeras.ben_ge.inspection.image_hashes import block_means, content_hash, image_fields, look_hash

SPLITS = ("train", "val", "test")


def test_block_means_by_hand():
    image = np.random.default_rng(0).random((120, 120))
    rows, columns = range(0, 121, 15), [0, 13, 27, 40, 53, 67, 80, 93, 107, 120]  # 13.33, 26.67, ... rounded
    expected = [
        [image[top:bottom, left:right].mean() for left, right in itertools.pairwise(columns)]
        for top, bottom in itertools.pairwise(rows)
    ]
    np.testing.assert_allclose(block_means(image), expected)


def test_a_ramp_to_the_right_sets_every_bit():
    ramp = np.broadcast_to(np.arange(120) * 10, (120, 120)).astype("uint16")
    image = {"s2_10m": np.stack([ramp, ramp], axis=-1)}
    assert look_hash(image, "s2", ("s2_10m",)) == 2**64 - 1
    assert look_hash({"s2_10m": image["s2_10m"][:, ::-1]}, "s2", ("s2_10m",)) == 0
    half = np.where(
        np.arange(120)[:, None, None] < 15, image["s2_10m"][:, ::-1], image["s2_10m"]
    )  # the first row falls
    assert look_hash({"s2_10m": half}, "s2", ("s2_10m",)) == 2**56 - 1


def test_brightness_changes_no_bit_and_flat_images_have_no_hash():
    image = np.random.default_rng(1).integers(0, 5000, (120, 120, 4)).astype("uint16")
    looks = {
        look_hash({"s2_10m": (image * gain + offset).astype("uint16")}, "s2", ("s2_10m",))
        for gain, offset in ((1, 0), (1, 900), (2, 0))
    }
    assert len(looks) == 1
    assert None not in looks
    calm = np.random.default_rng(2).normal(500, 30, (120, 120, 4)).astype("uint16")  # blocks vary by 1 or 2
    assert look_hash({"s2_10m": calm}, "s2", ("s2_10m",)) is None


def test_backscatter_without_power_is_dark_not_lost():
    image = np.random.default_rng(3).uniform(-25, 0, (120, 120, 2)).astype("float32")
    image[:, 107:] = -np.inf  # the ninth column of blocks: darker than its left neighbour in all 8 rows
    bits = look_hash({"s1": image}, "s1", ("s1",))
    assert bits & 0x0101010101010101 == 0


def test_equal_content_and_images_of_one_number():
    first = {"s2_10m": np.arange(14400 * 2, dtype="uint16").reshape(120, 120, 2)}
    second = {"s2_10m": first["s2_10m"].copy()}
    third = {"s2_10m": first["s2_10m"].copy()}
    third["s2_10m"][7, 8, 1] += 1
    hashes = [content_hash(image, ("s2_10m",)) for image in (first, second, third)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert len(hashes[0]) == 16
    assert content_hash({"s2_10m": np.full((120, 120, 2), 5, "uint16")}, ("s2_10m",)) is None
    assert image_fields(("s2_60m", "s2_20m", "dem", "s1")) == {"s2": ("s2_20m", "s2_60m"), "s1": ("s1",)}


@pytest.mark.parametrize("seed", range(3))
def test_pairs_against_all_with_all(seed):
    random = np.random.default_rng(seed)
    start = random.integers(0, 1 << 64, 40, dtype="uint64")
    flipped = [
        np.bitwise_xor.reduce([h, *(np.uint64(1) << random.choice(64, k, False).astype("uint64"))])
        for h in start
        for k in (1, 2, 3, 4, 5)
    ]
    hashes = np.unique(np.array([*start, *flipped, *range(30)], "uint64"))  # small numbers share three words
    expected = [
        [a, b]
        for a in range(len(hashes))
        for b in range(a + 1, len(hashes))
        if int(hashes[a] ^ hashes[b]).bit_count() <= 3
    ]
    assert len(expected) > 150
    assert near_pairs(hashes).tolist() == expected
    assert near_pairs(hashes[:1]).shape == near_pairs(hashes[:0]).shape == (0, 2)


def test_counts_of_shared_groups_by_hand():
    groups = np.array([0, 0, 1, 1, 1, 2, -1, -1])
    sides = np.array([0, 2, 0, 0, 1, 2, 0, 2])
    assert count_shared(groups, sides, SPLITS) == {
        "patches": 5, "groups": 2, "between": {"test and train": 1, "val and train": 1, "test and val": 0},
    }  # fmt: skip


def test_identical_by_hand():
    found = find_identical([b"a", b"b", None, b"a", None], list("vwxyz"), np.array([0, 0, 0, 1, 1]), SPLITS)
    assert found == {
        "compared": 3, "patches": 2, "groups": 1, "examples": [["v (train)", "y (val)"]],
        "between": {"test and train": 0, "val and train": 1, "test and val": 0},
    }  # fmt: skip


def test_alike_in_the_same_cell_is_counted_apart():
    #         train        train  val     test          test
    looks = [0b1110000, 0b0000, 0b0001, 0b0011, None]
    sides, cells = np.array([0, 0, 1, 2, 2]), np.array([7, 1, 1, 2, 3])
    found = find_alike(looks, list("abcde"), sides, cells, SPLITS)
    # a - b differ in 3 bits; b - c in 1, of one cell; b - d in 2, c - d in 1; a - c in 4, a - d in 5.
    assert (found["compared"], found["patches"], found["same_cell"]) == (4, 4, 2)
    assert found["between"] == {"test and train": 1, "val and train": 0, "test and val": 1}
    assert ["a (train)", "b (train)"] in found["examples"]
