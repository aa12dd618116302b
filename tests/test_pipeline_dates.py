"""Cells on several dates in `make_dataset`: which patches come together, checked against the numbers of each patch."""

import warnings

import keras
import numpy as np
import pytest

import eokeras as eo
from eokeras.augment import cutout, dihedral, views
from eokeras.ben_ge.label_subsets import LabelSubset
from eokeras.errors import InvalidArgumentError
from tests.trees import DATES, write_tree

SEEN = {("33UUP", 10): 3, ("33UUP", 11): 2, ("33UUP", 12): 1, ("29SND", 10): 2, ("29SND", 40): 5}
"""(tile, column) -> on how many dates a cell was seen; the row is 20."""

PLACES = [(tile, column, 20, date) for (tile, column), count in SEEN.items() for date in DATES[:count]]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root = tmp_path_factory.mktemp("dates")
    features = write_tree(root / "tree", len(PLACES), places=PLACES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too few groups to hold any out
        path = eo.ben_ge.convert(root / "tree", root / "records")
    return path, dict(
        zip(map(bytes.hex, (np.asarray(f["s1"]).tobytes() for f in features.values())), PLACES, strict=True)
    )


def elements(records, dates=2, **options):
    """The places of all dates of every element: found by their backscatter, to the bit."""
    path, places = records
    data = eo.make_dataset(path, "train", ("s1",), calibrate=None, dates=dates, **{"batch_size": 3, **options})
    for inputs, _ in data.as_numpy_iterator():
        assert sorted(inputs) == [f"s1_view_{number + 1}" for number in range(dates)]
        for rasters in zip(*(inputs[name] for name in sorted(inputs)), strict=True):
            yield [places[raster.tobytes().hex()] for raster in rasters]


@pytest.mark.parametrize(("dates", "count"), [(2, 4), (3, 2), (5, 1)])
def test_every_cell_with_enough_dates_comes_once_with_its_first_dates(records, dates, count):
    found = list(elements(records, dates))
    assert [[date for *_, date in element] for element in found] == [list(DATES[:dates])] * count
    cells = {element[0][:2] for element in found}
    assert cells == {cell for cell, seen in SEEN.items() if seen >= dates}
    assert all(len({place[:3] for place in element}) == 1 for element in found)
    path, _ = records
    assert len(eo.make_dataset(path, "train", ("s1",), dates=dates, batch_size=1)) == count


def test_shuffled_dates_are_drawn_anew_and_differ(records):
    drawn = set()
    for seed in range(8):
        found = list(elements(records, shuffle=True, seed=seed))
        assert {element[0][:2] for element in found} == {cell for cell, seen in SEEN.items() if seen >= 2}
        for first, second in found:
            assert first[:3] == second[:3]
            assert first[3] != second[3]
            drawn.add((first, second))
    of_five = {tuple(place[3] for place in pair) for pair in drawn if pair[0][1] == 40}
    assert len(of_five) > 4  # of 20 ordered pairs
    assert list(elements(records, shuffle=True, seed=3)) == list(elements(records, shuffle=True, seed=3))
    data = elements(records, shuffle=True, seed=0)
    assert list(data) != list(elements(records, shuffle=True, seed=1))


def test_dates_are_drawn_anew_in_every_epoch(records):
    path, places = records
    data = eo.make_dataset(
        path, "train", ("s1",), calibrate=None, dates=2, shuffle=True, seed=0, repeat=True, batch_size=4
    )
    drawn = []
    for inputs, _ in data.take(8).as_numpy_iterator():  # four cells: a batch is an epoch
        pairs = [[places[x.tobytes().hex()] for x in pair] for pair in zip(*inputs.values(), strict=True)]
        assert len({first[:2] for first, _ in pairs}) == 4
        drawn += [(first[3], second[3]) for first, second in pairs if first[1] == 40]
    assert len(set(drawn)) > 3


def test_a_budget_leaves_out_what_it_does_not_hold(records):
    path, _ = records
    ids = {
        patch.decode()
        for *_, names in eo.make_dataset(path, "train", ("s1",), metadata=("patch_id",)).as_numpy_iterator()
        for patch in names["patch_id"]
        if b"_40_20" in patch or b"_11_20" in patch
    }
    subset = LabelSubset({"train": tuple(sorted(ids))}, "spread", 0, "tile", 0.5)
    cells = {element[0][:2] for element in elements(records, labels=subset)}
    assert cells == {("29SND", 40), ("33UUP", 11)}


def test_each_date_is_augmented_by_itself_and_targets_are_those_of_the_first(records):
    path, _ = records
    options = {"dates": 2, "calibrate": None, "batch_size": 4, "metadata": ("date",), "seed": 0}
    plain = next(eo.make_dataset(path, "train", ("s1",), ("season",), **options).as_numpy_iterator())
    turned = next(
        eo.make_dataset(path, "train", ("s1",), ("season",), augment=dihedral(), **options).as_numpy_iterator()
    )
    for before, after in zip(plain[1:], turned[1:], strict=True):
        assert {name: values.tolist() for name, values in before.items()} == {
            name: values.tolist() for name, values in after.items()
        }
    assert set(plain[2]["date"]) == {DATES[0].encode()}
    turns = [[_turn(plain[0][name][index], turned[0][name][index]) for name in sorted(plain[0])] for index in range(4)]
    assert any(first != second for first, second in turns)


def _turn(before, after):
    """Which of the eight turns and mirrors `after` is."""
    found = [
        (mirrored, quarter)
        for mirrored in (False, True)
        for quarter in range(4)
        if (np.rot90(before[:, ::-1] if mirrored else before, quarter) == after).all()
    ]
    assert len(found) == 1
    return found[0]


@pytest.mark.usefixtures("eagerly")
def test_a_contrast_of_dates_trains(records):
    encoder = eo.models.unet((None, None, 2), width=1, name="s1")
    model = eo.pretrain.ContrastivePretrainer(encoder, projection=(4, 2))
    model.compile(keras.optimizers.SGD(0.0))
    data = eo.make_dataset(records[0], "train", ("s1",), dates=2, batch_size=4)
    (inputs, _), *_ = data.as_numpy_iterator()
    z = [keras.ops.convert_to_numpy(model(inputs)["embeddings"])[:, view] for view in range(2)]
    assert not np.allclose(*z)  # two dates, not one twice
    assert np.isfinite(model.fit(data, verbose=0).history["loss"]).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dates": 0}, "`dates` must be a positive integer"),
        ({"dates": 6}, r"`dates` must be a number of dates .* no cell of 5 on more than 5"),
        ({"dates": 2, "cache": "memory"}, "`cache` must be None with `dates`"),
    ],
)
def test_bad_options_name_the_rule(records, options, words):
    with pytest.raises(InvalidArgumentError, match=words):
        eo.make_dataset(records[0], "train", ("s1",), **options)


def test_views_of_dates_are_refused(records):
    with pytest.raises(Exception, match="`augment` must make no views with `dates`"):  # TensorFlow wraps the error
        eo.make_dataset(records[0], "train", ("s1",), dates=2, augment=views(cutout(), cutout()))
