"""Published tables: every form and both names of a patch, reBEN's split on trees of either version, bad tables."""

import bz2
import gzip
from types import SimpleNamespace

import pytest

from eokeras.ben_ge.places import Place
from eokeras.ben_ge.published import read_published, read_published_split
from eokeras.ben_ge.splits import LeakageWarning, make_split
from eokeras.errors import InvalidSourceError

V1 = ("S2A_MSIL2A_20170613T101031_45_62", "S2A_MSIL2A_20170613T101031_50_62", "S2B_MSIL2A_20170901T101031_7_8")
V2 = tuple(f"{name[:26]}_N9999_R022_T33UUP_{name[27:]}" for name in V1)
PLACES = {name: Place("33UUP", (45 + index, 62), name[11:19]) for index, name in enumerate(V1)}
CSV = "s1_name,s2_name,country,season\n" + "".join(f"s1,{name},Austria,Summer\n" for name in V1[:2]) + f"s1,{V1[2]},,\n"


def write_parquet(path, sides=("train", "validation", "test"), **columns):
    from pyarrow import parquet, table

    columns = {"patch_id": V2, "labels": [["Pastures"]] * 3, "split": sides, "s2v1_name": V1} | columns
    parquet.write_table(table({name: list(values) for name, values in columns.items()}), path)
    return path


@pytest.mark.parametrize("ending", ["csv", "csv.bz2", "csv.gz"])
def test_csv_in_every_packing(tmp_path, ending):
    path = tmp_path / f"names.{ending}"
    pack = {"csv": bytes, "csv.bz2": bz2.compress, "csv.gz": gzip.compress}[ending]
    path.write_bytes(pack(CSV.encode()))
    assert read_published(path, "country") == dict.fromkeys(V1[:2], "Austria")  # an empty field is no value


def test_reben_is_found_by_both_names(tmp_path):
    path = write_parquet(tmp_path / "metadata.parquet", country=["Austria", None, "Serbia"])
    assert read_published_split(path) == dict(zip((*V2, *V1), ("train", "val", "test") * 2, strict=True))
    assert read_published(path, "country") == {V2[0]: "Austria", V1[0]: "Austria", V2[2]: "Serbia", V1[2]: "Serbia"}


def source_of(places):
    return SimpleNamespace(name="made", patch_ids=tuple(sorted(places)), places=places, misfits=frozenset(), splits={})


def test_reben_splits_a_tree_of_v1(tmp_path):
    path = write_parquet(tmp_path / "metadata.parquet")
    with pytest.warns(LeakageWarning, match="share their acquisition, 0 their date and 1 their tile"):
        split = make_split(source_of(PLACES), path)
    assert split.patches == {"train": V1[:1], "val": V1[1:2], "test": V1[2:]}
    assert (split.kind, split.notes[0]) == ("official", "As metadata.parquet states it.")
    other = {"S2A_MSIL2A_20170613T101031_1_1": Place("33UUP", (1, 1), "2017-06-13")}
    with pytest.warns(LeakageWarning):
        split = make_split(source_of(PLACES | other), str(path))
    assert "1 patches of made are in no split and are left out." in split.notes
    with pytest.raises(InvalidSourceError, match=r"must name patches of made\. Received: 6 names and none of them"):
        make_split(source_of(other), path)


def test_bad_tables(tmp_path):
    path = tmp_path / "table.parquet"
    with pytest.raises(InvalidSourceError, match=r"must be readable.*table\.parquet"):
        read_published(path, "country")
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(InvalidSourceError, match=r"must be Parquet.*table\.parquet"):
        read_published(path, "country")
    write_parquet(path)
    with pytest.raises(InvalidSourceError, match=r"the column `country` and one of \['patch_id', 's2_name', .*labels"):
        read_published(path, "country")
    write_parquet(path, sides=("train", "holdout", "test"))
    with pytest.raises(InvalidSourceError, match=r"must be one of \['train', 'val', .*'validation'\].*\['holdout'\]"):
        read_published_split(path)
    write_parquet(path, patch_id=[V2[0], V2[0], V2[2]])
    with pytest.raises(InvalidSourceError, match=r"one `split` for a patch\. Received: 'train' and 'validation' for"):
        read_published_split(path)
    table = tmp_path / "names.csv.gz"
    whole = gzip.compress(b"s2_name,country\n" + bytes(range(256)) * 20)
    table.write_bytes(whole[:20] + bytes(30) + whole[50:])
    with pytest.raises(InvalidSourceError, match=r"must be readable.*names\.csv\.gz"):
        read_published(table, "country")
    table = tmp_path / "names.csv"
    table.write_text("s2_name,country\na,Austria,more\n")
    with pytest.raises(InvalidSourceError, match=r"must have 2 fields like its header\. Received: 3 in line 2"):
        read_published(table, "country")
    table = tmp_path / "names.csv.bz2"
    table.write_bytes(b"no bz2")
    with pytest.raises(InvalidSourceError, match=r"must be readable.*names\.csv\.bz2"):
        read_published(table, "country")
    table.write_bytes(bz2.compress(CSV.encode() * 50)[:-20])
    with pytest.raises(InvalidSourceError, match=r"must be readable.*names\.csv\.bz2"):
        read_published(table, "country")
