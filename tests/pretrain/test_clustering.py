"""Clusters of places on the sphere, by hand and by what defines them."""

import numpy as np
import pytest
import tensorflow as tf

import eokeras as eo
from eokeras.ben_ge.places import unit_vectors
from eokeras.ben_ge.schema import VOID
from eokeras.errors import InvalidArgumentError, InvalidSourceError, UnwritableError
from eokeras.pretrain import GeoClusters, geoclusters, load_geoclusters

RNG = np.random.default_rng(0)


def test_neighbours_across_the_180th_meridian_are_one_cluster():
    fiji = [(179.0, -17.0), (-179.0, -17.0), (178.0, -17.0), (-178.0, -17.0)]
    europe = [(10.0, 50.0), (12.0, 50.0)]
    found = geoclusters(fiji + europe, clusters=2)
    (west, at_11), (east, _) = sorted(found.centres, key=lambda centre: abs(centre[0]))
    assert (west, abs(east)) == (pytest.approx(11.0), pytest.approx(180.0))
    # The middle of a parallel's arc lies poleward of it.
    assert 50.0 < at_11 < 50.01
    of_fiji, of_europe = found.assign([*fiji, (-170.0, -20.0)]), found.assign(europe)
    assert len(set(of_fiji)) == len(set(of_europe)) == 1
    assert of_fiji[0] != of_europe[0]
    # On the plane of longitudes, -179 would lie nearer to Europe than 179 does.
    assert found.assign([(-100.0, -17.0), (160.0, 0.0)]).tolist() == [of_fiji[0]] * 2


def test_neighbours_across_a_pole_are_one_cluster():
    pole = [(0.0, 89.0), (90.0, 89.0), (180.0, 89.0), (-90.0, 89.0)]
    found = geoclusters([*pole, (0.0, 0.0)], clusters=2)
    assert found.assign([*pole, (45.0, 90.0)]).tolist() == [found.assign(pole[:1])[0]] * 5
    assert any(latitude == pytest.approx(90.0) for _, latitude in found.centres)


def test_two_patches_next_to_each_other_are_told_apart():
    found = GeoClusters(((10.0, 50.0), (10.017, 50.0)))  # 1.2 km
    assert found.assign([(10.0084, 50.0), (10.0086, 50.0)]).tolist() == [0, 1]


def test_every_place_is_with_its_nearest_centre_and_every_centre_amid_its_places():
    lonlat = np.stack([RNG.uniform(-180, 180, 500), np.rad2deg(np.arcsin(RNG.uniform(-1, 1, 500)))], axis=1)
    found = geoclusters(lonlat, clusters=20, seed=3)
    assert len(found.centres) == 20
    assert found.places == 500
    assert list(found.centres) == sorted(found.centres)
    members = found.assign(lonlat)
    points, centres = unit_vectors(lonlat), unit_vectors(found.centres)
    distances = ((points[:, None] - centres) ** 2).sum(axis=-1)
    np.testing.assert_array_equal(members, distances.argmin(axis=1))
    for index in range(20):
        mean = points[members == index].mean(axis=0)
        np.testing.assert_allclose(mean / np.linalg.norm(mean), centres[index], atol=1e-9)
    assert geoclusters(lonlat, clusters=20, seed=3) == found


def test_places_without_numbers_have_no_cluster():
    assert GeoClusters(((0.0, 0.0),)).assign([(np.nan, 0.0), (1.0, 1.0)]).tolist() == [VOID, 0]


def test_clusters_are_stored_with_their_centres(tmp_path):
    found = geoclusters(RNG.uniform(0, 50, (30, 2)), clusters=4)
    assert load_geoclusters(found.save(tmp_path / "clusters.json")) == found


def test_clusters_of_records_are_of_training_places_alone(known_records):
    found = geoclusters(known_records.path, clusters=3)
    (file,) = (known_records.tree / "splits").glob("*_train.csv")
    training = file.read_text().split()
    assert found.places == len(training)
    assert found.fingerprint == eo.load_schema(known_records.path).fingerprint
    places = [known_records.features[patch]["lonlat"] for patch in sorted(training)]
    expected = geoclusters(places, clusters=3)
    np.testing.assert_allclose(sorted(found.centres), sorted(expected.centres), atol=1e-6)


def test_places_of_records_without_numbers_are_left_out(monkeypatch, known_records):
    from eokeras import pipeline

    whole, made = geoclusters(known_records.path, clusters=2), pipeline.make_dataset

    def with_a_gap(*arguments, **options):
        def spoil(inputs, targets, metadata):
            return inputs, targets, {"lonlat": tf.concat([metadata["lonlat"], [[np.nan, 50.0]]], axis=0)}

        return made(*arguments, **options).map(spoil)

    monkeypatch.setattr(pipeline, "make_dataset", with_a_gap)
    assert geoclusters(known_records.path, clusters=2) == whole


def towns(count, seed=0):
    """Places around `count` towns that lie 4 degrees or more apart."""
    rng = np.random.default_rng(seed)
    centres = [(5.0 * (number % 4), 40.0 + 4 * (number // 4)) for number in range(count)]
    return np.concatenate([rng.normal(centre, 0.2, (40, 2)) for centre in centres])


@pytest.mark.parametrize("count", [3, 7])
def test_the_number_of_clusters_is_chosen_by_silhouette(count, tmp_path):
    from sklearn.metrics import silhouette_score

    places = towns(count)
    found = geoclusters(places, clusters=range(2, 11))
    assert len(found.centres) == count
    assert [number for number, _ in found.silhouettes] == list(range(2, 11))
    of_chosen = silhouette_score(unit_vectors(places), np.repeat(np.arange(count), 40))
    assert dict(found.silhouettes)[count] == pytest.approx(of_chosen)
    assert found.centres == geoclusters(places, clusters=count).centres
    assert geoclusters(places, clusters=count).silhouettes == ()
    assert load_geoclusters(found.save(tmp_path / "clusters.json")) == found


def test_files_of_an_earlier_version(tmp_path):
    path = tmp_path / "clusters.json"
    path.write_text('{"centres": [[1.0, 2.0]], "places": 3, "seed": 0, "fingerprint": "f"}\n')
    assert load_geoclusters(path) == GeoClusters(((1.0, 2.0),), 3, 0, "f")


@pytest.mark.parametrize("clusters", [[], [1, 2], range(0, 3), "20"])
def test_numbers_to_choose_from(clusters):
    with pytest.raises(InvalidArgumentError, match="`clusters`"):
        geoclusters(towns(3), clusters)


@pytest.mark.parametrize("clusters", [0, 2.5, None])
def test_the_number_of_clusters_is_a_positive_integer(clusters):
    with pytest.raises(InvalidArgumentError, match="`clusters` must be a positive integer"):
        geoclusters([(0.0, 0.0)], clusters)


def test_what_cannot_be_clustered_is_named(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"at most the number of distinct places.*clusters=2, 1 places"):
        geoclusters([(5.0, 5.0), (5.0, 5.0)], 2)
    with pytest.raises(InvalidArgumentError, match=r"below the number of distinct places.*clusters=3, 3 places"):
        geoclusters([(5.0, 5.0), (6.0, 5.0), (7.0, 5.0)], range(2, 4))
    with pytest.raises(InvalidArgumentError, match="`clusters` must be at most 255"):
        geoclusters(RNG.uniform(0, 50, (300, 2)), 256)
    for places in ([(np.nan, 0.0)], [1.0, 2.0], np.zeros((3, 3))):
        with pytest.raises(InvalidArgumentError, match="`places` must be finite longitudes and latitudes"):
            geoclusters(places, 1)
    (tmp_path / "other.json").write_text("[1, 2]")
    with pytest.raises(InvalidSourceError, match=r"other.json must be a file that `GeoClusters.save` wrote"):
        load_geoclusters(tmp_path / "other.json")
    with pytest.raises(InvalidSourceError, match="No such file"):
        load_geoclusters(tmp_path / "none.json")
    with pytest.raises(UnwritableError, match="must be writable"):
        GeoClusters(((0.0, 0.0),)).save(tmp_path / "no" / "clusters.json")
