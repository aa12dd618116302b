"""Places on the ground: corners and distances by GDAL, tiles that overlap, buffers and leaks between them."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from rasterio.warp import transform

from eokeras.ben_ge.buffers import keep_distance
from eokeras.ben_ge.ground import ground_points, nearest_m, zones_and_centres
from eokeras.ben_ge.places import Place, parse_name, product_of
from eokeras.ben_ge.splits import leakage, make_split
from eokeras.errors import InvalidArgumentError, InvalidSourceError

# 29SNC lies north of 29SND's southern edge: its corner is 100,020 m (of 109,800) south, so rows 83 to 90 of 29SND
# cover its rows 0 to 7: 83 * 1200 + 400 = 100,000.
ABOVE, BELOW = Place("29SND", (10, 84), "2017-06-13"), Place("29SNC", (10, 1), "2017-09-01")


def test_points_are_where_gdal_puts_them():
    places = [Place("33UUP", (45, 62), ""), Place("35VNJ", (78, 77), ""), Place("33UUP", (45, 62), "other day")]
    zones, centres = zones_and_centres(places)
    assert zones.tolist() == [32633, 32635, 32633]
    for zone, (easting, northing), point in zip(zones, centres, ground_points(places), strict=True):
        expected = transform(f"EPSG:{zone}", "EPSG:4978", [easting], [northing], [0])
        np.testing.assert_allclose(point, np.ravel(expected), atol=1e-6)


def test_centres_are_those_of_the_meta_csv(real_data):
    with (real_data / "ben-ge-8k-index" / "ben-ge-8k_meta_first103rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 103
    names = [parse_name(row["patch_id_s1"]) for row in rows]
    zones, centres = zones_and_centres(Place(name.tile, name.cell, name.date) for name in names)
    for row, zone, centre in zip(rows, zones, centres, strict=True):
        published = transform("EPSG:4326", f"EPSG:{zone}", [float(row["lon"])], [float(row["lat"])])
        # Published to 1e-5 degrees, about a metre.
        np.testing.assert_allclose(np.ravel(published), centre, atol=1)


def test_distance_of_abutting_cells_and_across_zones():
    cells = ground_points([Place("33UUP", (0, 0), ""), Place("33UUP", (1, 0), ""), Place("33UUP", (1, 1), "")])
    # A grid metre is 0.9996 to 1.001 metres on the ground.
    np.testing.assert_allclose(nearest_m(cells[:1], cells[1:]), 1200, rtol=2e-3)
    np.testing.assert_allclose(nearest_m(cells[:1], cells[2:]), 1200 * 2**0.5, rtol=2e-3)
    assert nearest_m(cells, cells[:0]).tolist() == [np.inf] * 3
    # 35VPK reaches over the edge of its zone into 36VVQ.
    edge = ground_points([Place("35VPK", (90, 40), "")])
    other = ground_points([Place("36VVQ", (column, row), "") for column in range(91) for row in range(91)])
    assert nearest_m(edge, other)[0] < 1200


def test_tiles_overlap_and_the_leak_is_counted_on_the_ground():
    upper, lower = zones_and_centres([ABOVE, BELOW])[1]
    assert np.abs(upper - lower).max() == 420  # by hand: 4,400,040 - 84 * 1200 against 4,300,020 - 1200
    places = {"S2A_MSIL2A_20170613T100031_10_84": ABOVE, "S2A_MSIL2A_20170901T100031_10_1": BELOW}
    train, test = places
    counts = leakage(places, {"train": [train], "test": [test]})
    assert (counts.tile, counts.cell, counts.adjacent, counts.nearest_cells) == (0, 0, 0, None)
    assert counts.ground == 1
    assert counts.nearest_m == pytest.approx(420, rel=2e-3)
    assert counts.sentence().endswith(" 1 share ground with a training patch, those of overlapping tiles included.")


def source_of(places):
    return SimpleNamespace(name="made", patch_ids=tuple(sorted(places)), places=places, misfits=frozenset(), splits={})


def test_a_grouped_split_says_what_overlaps_and_a_buffer_parts_it():
    places = {f"above_{column}": Place("29SND", (column, 84), "1") for column in range(20)}
    places |= {f"below_{column}": Place("29SNC", (column, 1), "2") for column in range(3)}
    fractions = (0.9, 0.0, 0.1)
    split = make_split(source_of(places), group="tile", fractions=fractions)
    assert split.patches["test"] == ("below_0", "below_1", "below_2")
    assert "Of 3 test patches 3 share ground with a training patch (tiles overlap)" in split.notes[-1]
    split = make_split(source_of(places), group="tile", fractions=fractions, buffer_m=1190)
    # Columns 0 to 2 lie 420 m off; column 3 lies 1200 m east and 420 m north of column 2.
    assert split.patches["train"] == tuple(sorted(f"above_{column}" for column in range(3, 20)))
    assert "3 of train and 0 of val lie nearer to a patch held out from them and are left out" in split.notes[-1]


# ---- Buffers -------------------------------------------------------------------------------------------------------

ROW = {f"{column:02d}": Place("33UUP", (column, 0), "2017-06-13") for column in range(40)}


def test_buffer_by_hand():
    patches = {"train": [*list(ROW)[:20], "nowhere"], "val": list(ROW)[20:30], "test": list(ROW)[30:]}
    kept, (note,) = keep_distance(patches, ROW, 2500)
    # Two cells (2400 m) are within the buffer, three are not. Val keeps away from test, train from what val keeps.
    assert kept["test"] == list(ROW)[30:]
    assert kept["val"] == list(ROW)[20:28]
    assert kept["train"] == [*list(ROW)[:18], "nowhere"]
    assert note.startswith("Buffer of 2.5 km: 2 of train and 2 of val lie nearer")


def test_no_buffer_leaves_all():
    patches = {"train": ["00"], "val": [], "test": ["01"]}
    assert keep_distance(patches, ROW, 0) == (patches, ())


def test_bad_buffers():
    patches = {"train": ["00"], "val": [], "test": ["01"]}
    for buffer_m in (-1, float("nan"), "wide", None):
        with pytest.raises(InvalidArgumentError, match="`buffer_m` must be a finite number of 0 or more"):
            keep_distance(patches, ROW, buffer_m)
    with pytest.raises(InvalidArgumentError, match=r"`buffer_m` must leave patches in train.*buffer_m=5000"):
        keep_distance(patches, ROW, 5000)
    with pytest.raises(InvalidSourceError, match=r"MGRS name of the northern hemisphere.*'T07'"):
        keep_distance({"train": ["a"], "test": ["b"]}, {"a": Place("T07", (0, 0), ""), "b": ROW["00"]}, 10)


def test_products():
    assert product_of("S2A_MSIL2A_20170613T101031_45_62") == "S2A_MSIL2A_20170613T101031"
    assert product_of("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_75_43").endswith("_T33UUP")
    for name in ("patch_1_2", "S2A_MSIL2A_20171399T101031_45_62", "a"):
        assert product_of(name) == name
