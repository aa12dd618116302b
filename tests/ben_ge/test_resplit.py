"""Another split of records: equal to a conversion with that split, read back patch by patch, refused when stale."""

import json
import shutil

import numpy as np
import pytest

import eokeras as eo
from eokeras import ben_ge
from eokeras.ben_ge.record_patches import patches_of
from eokeras.ben_ge.resplit import apply_split
from eokeras.ben_ge.splits import Split, make_split, write_split
from eokeras.errors import InvalidSourceError, RecordsError, TargetExistsError, UnwritableError


@pytest.fixture(scope="module")
def other(known_records, tmp_path_factory):
    """A split of the known patches that is not theirs: two left out, sides mixed; and the records of it."""
    ids = sorted(known_records.features)
    split = Split({"train": tuple(ids[5:10]), "val": tuple(ids[1:3]), "test": (ids[0], ids[3], ids[4])}, "index")
    folder = tmp_path_factory.mktemp("other")
    done = []
    records = apply_split(known_records.path, split, folder / "records", progress=lambda *now: done.append(now))
    assert done == [(number, 10) for number in range(1, 11)]
    return split, records


def read(records, split, **options):
    """Patch id -> land-cover map, s1 and season, as `make_dataset` reads them."""
    dataset = eo.make_dataset(
        records, split, ("s1",), ("land_cover_map", "season"), calibrate=None, batch_size=2, metadata=("patch_id",),
        **options,
    )  # fmt: skip
    found = {}
    for inputs, targets, metadata in dataset.as_numpy_iterator():
        for index, patch_id in enumerate(metadata["patch_id"]):
            assert patch_id.decode() not in found
            found[patch_id.decode()] = (inputs["s1"][index], targets["land_cover_map"][index], targets["season"][index])
    return found


def test_every_patch_stands_where_the_split_puts_it(known_records, other):
    split, records = other
    everything = {}
    for side in ("train", "val", "test"):
        everything |= read(known_records.path, side)
    for side, ids in split.patches.items():
        found = read(records, side)
        assert sorted(found) == sorted(ids)
        for patch_id, parts in found.items():
            for part, expected in zip(parts, everything[patch_id], strict=True):
                np.testing.assert_array_equal(part, expected)
        assert read(records, side, shuffle=True, seed=1).keys() == found.keys()
    assert ben_ge.load_schema(records).splits == {"train": 5, "val": 2, "test": 3}
    assert ben_ge.read_split(records / "split.csv").patches == split.patches


def test_it_equals_a_conversion_with_that_split(known_records, other, tmp_path):
    split, records = other
    index = write_split(split, tmp_path / "index.csv")
    converted = ben_ge.load_schema(ben_ge.convert(known_records.tree, tmp_path / "converted", split=index))
    applied = ben_ge.load_schema(records)
    assert applied.fingerprint == converted.fingerprint != ben_ge.load_schema(known_records.path).fingerprint
    assert applied.metadata["non_finite"] == converted.metadata["non_finite"]
    assert applied.statistics.keys() == converted.statistics.keys()
    for name, entry in converted.statistics.items():
        for key, values in entry.items():
            np.testing.assert_allclose(applied.statistics[name][key], values, rtol=1e-9, err_msg=f"{name} {key}")


def test_records_of_some_bands_keep_them(known_records, other, tmp_path):
    index = write_split(other[0], tmp_path / "index.csv")
    source = ben_ge.open_source(known_records.tree, bands={"s2": ("B12", "B03"), "s1": ("VH",)})
    own = ben_ge.convert(source, tmp_path / "own", split="official")
    converted = ben_ge.load_schema(ben_ge.convert(source, tmp_path / "converted", split=index))
    applied = ben_ge.load_schema(apply_split(own, index, tmp_path / "applied"))
    assert applied.fingerprint == converted.fingerprint
    assert applied.bands["s2"] == ("B03", "B12")
    assert applied.metadata["non_finite"] == converted.metadata["non_finite"]
    for name in ("s2", "s1"):
        np.testing.assert_allclose(applied.statistics[name]["mean"], converted.statistics[name]["mean"], rtol=1e-9)
    assert read(applied.path, "test", bands={"s1": ("VH",)}).keys() == set(other[0].patches["test"])


def test_its_own_split_again_gives_its_own_statistics(known_records, tmp_path):
    before = ben_ge.load_schema(known_records.path)
    own = ben_ge.read_split(known_records.path / "split.csv")
    again = ben_ge.load_schema(apply_split(known_records.path, own, tmp_path / "again"))
    assert (again.fingerprint, again.splits) == (before.fingerprint, before.splits)
    np.testing.assert_allclose(again.statistics["s2"]["mean"], before.statistics["s2"]["mean"], rtol=1e-12)


def test_a_split_of_a_split(known_records, other, tmp_path):
    split, records = other
    last = Split({"train": split.patches["test"], "val": (), "test": split.patches["train"][:2]}, "index")
    nested = apply_split(records, last, tmp_path / "nested")
    assert read(nested, "train").keys() == set(last.patches["train"])
    assert read(nested, "test").keys() == set(last.patches["test"])
    assert ben_ge.load_schema(nested).shards.resolve() == known_records.path.resolve()
    missing = sorted(set(known_records.features) - {i for ids in split.patches.values() for i in ids})
    with pytest.raises(InvalidSourceError, match=rf"must name patches of the records.*Unknown: \['{missing[0]}'\]"):
        apply_split(records, Split({"train": (missing[0],)}, "index"), tmp_path / "more")


def test_label_budgets_of_another_split(known_records, other, tmp_path):
    split, records = other
    subset = ben_ge.draw_labels(records, 0.4, label_seed=3)
    assert [len(subset.patches[side]) for side in ("train", "val")] == [2, 1]
    path = ben_ge.write_label_subset(subset, tmp_path / "budget.csv")
    assert read(records, "train", labels=path).keys() == set(subset.patches["train"])
    dataset = eo.make_dataset(records, "train", ("s1",), metadata=("patch_id",), labels=path, subset="unlabelled")
    rest = {i.decode() for _, _, metadata in dataset.as_numpy_iterator() for i in metadata["patch_id"]}
    assert rest == set(split.patches["train"]) - set(subset.patches["train"])
    with pytest.raises(InvalidSourceError, match="must be drawn from these records"):
        eo.make_dataset(known_records.path, "train", ("s1",), labels=path)


def test_from_an_index_file_and_a_made_split(known_records, other, tmp_path):
    split, records = other
    path = write_split(split, tmp_path / "index.csv")
    from_file = apply_split(known_records.path, path, tmp_path / "from-file")
    assert ben_ge.load_schema(from_file).fingerprint == ben_ge.load_schema(records).fingerprint
    patches = patches_of(known_records.path)
    assert patches.patch_ids == tuple(sorted(known_records.features))
    made = make_split(patches, group="tile", fractions=(0.5, 0, 0.5))
    by_tile = apply_split(known_records.path, made, tmp_path / "by-tile")
    tiles = [{known_records.features[i]["tile"] for i in read(by_tile, side)} for side in ("train", "test")]
    assert not set.intersection(*tiles)


def test_places_and_classes_of_records(known_records):
    patches = patches_of(known_records.path)
    for patch_id, features in known_records.features.items():
        place = patches.places[patch_id]
        assert (place.tile, place.date) == (features["tile"], features["date"])
        assert list(place.cell) == list(features["cell"])
        assert patches.classes["geocluster"][patch_id] == features["geocluster"]


def test_moved_or_made_anew(known_records, other, tmp_path):
    shutil.copytree(known_records.path, tmp_path / "a" / "base")
    own = ben_ge.read_split(known_records.path / "split.csv")
    apply_split(tmp_path / "a" / "base", own, tmp_path / "a" / "split")
    (tmp_path / "a").rename(tmp_path / "b")  # together
    assert len(read(tmp_path / "b" / "split", "train")) == 6
    (tmp_path / "b" / "base").rename(tmp_path / "b" / "gone")
    with pytest.raises(RecordsError, match=r"another split of the records in .*base, which are not there"):
        eo.load_schema(tmp_path / "b" / "split")
    shutil.copytree(other[1], tmp_path / "b" / "base")  # other records in their place
    with pytest.raises(RecordsError, match=r"another split of records with the fingerprint .* Make the split again"):
        eo.make_dataset(tmp_path / "b" / "split", "train", ("s1",))


def test_the_same_patches_in_other_files_are_other_records(known_records, other, tmp_path):
    shutil.copytree(known_records.path, tmp_path / "base")
    apply_split(tmp_path / "base", other[0], tmp_path / "split")
    info = tmp_path / "base" / "dataset_info.json"
    content = json.loads(info.read_text())
    content["splits"][0]["shardLengths"] = ["1", str(int(content["splits"][0]["shardLengths"][0]) - 1)]
    info.write_text(json.dumps(content))
    with pytest.raises(RecordsError, match=r"another split of records in 3 files.*others, 4 files"):
        eo.load_schema(tmp_path / "split")


def test_faults_leave_nothing(known_records, other, tmp_path, monkeypatch):
    split, records = other
    with pytest.raises(TargetExistsError, match="`directory` must not exist yet"):
        apply_split(known_records.path, split, tmp_path)
    with pytest.raises(InvalidSourceError, match="must have patches in train"):
        apply_split(known_records.path, Split({"test": split.patches["test"]}, "index"), tmp_path / "out")
    twice = Split({"train": split.patches["train"], "val": split.patches["train"][:1]}, "index")
    with pytest.raises(InvalidSourceError, match=f"must name a patch once.*{split.patches['train'][0]}.*1 in all"):
        apply_split(known_records.path, twice, tmp_path / "out")
    with pytest.raises(RecordsError, match="must be a directory of finished records"):
        apply_split(tmp_path / "none", split, tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError, match=r"Cannot write records to .*file.out"):
        apply_split(known_records.path, split, tmp_path / "file" / "out")
    with pytest.raises(RecordsError, match="comes from no shards of its own"):
        ben_ge.write_patch_table(records)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_shard_that_was_cut(known_records, other, tmp_path):
    shutil.copytree(known_records.path, tmp_path / "base")
    shard = max((tmp_path / "base").glob("*.tfrecord*"))
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(RecordsError, match="must be whole"):
        apply_split(tmp_path / "base", other[0], tmp_path / "out")
    assert not (tmp_path / "out").exists()
