"""Label efficiency: curves whose crossing is known, and budgets that reach the contestants."""

import dataclasses
import functools

import keras
import numpy as np
import pytest

from eokeras import ben_ge, evaluate, models
from eokeras.errors import InvalidArgumentError
from eokeras.evaluate.efficiency import LabelEfficiency
from tests.evaluate.cases import hand_scores


def curves(metric="accuracy", **values):
    tables = {name: np.asarray(table, "float64") for name, table in values.items()}
    return LabelEfficiency("land_cover", metric, (0.01, 0.1, 1.0), tables, "spread")


def test_equal_labels_interpolate_over_the_logarithm():
    # Scratch gains 0.2 per factor of ten; pretrained has 0.5 at 1 %, which scratch has at 10^-0.5 = 31.6 %.
    scratch, pretrained = [[0.2, 0.4, 0.6]] * 5, [[0.5, 0.55, 0.6]] * 5
    found = curves(scratch=scratch, pretrained=pretrained).equal_labels("pretrained", "scratch", 0.01)
    assert found.equal == pytest.approx(10**-0.5)
    assert (found.low, found.high) == (pytest.approx(10**-0.5), pytest.approx(10**-0.5))
    assert str(found) == (
        "pretrained with 1 % of the labels equals scratch with 31.6 % (95 % interval: 31.6 % to 31.6 %)."
    )


def test_less_may_be_better():
    scratch, pretrained = [[0.6, 0.4, 0.2]] * 5, [[0.3, 0.3, 0.3]] * 5
    found = curves("mae", scratch=scratch, pretrained=pretrained).equal_labels("pretrained", "scratch", 0.01)
    assert found.equal == pytest.approx(10**-0.5)


@pytest.mark.parametrize(
    ("score", "share", "words"), [(0.7, np.inf, "scratch with more than 100 %"), (0.1, 0.0, "less than 1 %")]
)
def test_a_score_outside_of_the_curve_says_so(score, share, words):
    found = curves(scratch=[[0.2, 0.4, 0.6]] * 5, other=[[score] * 3] * 5).equal_labels("other", "scratch", 0.1)
    assert found.equal == share
    assert words in str(found)


def test_a_curve_that_falls_is_made_monotone():
    # 0.4 and 0.3 become 0.35 twice; the fewest labels that are enough for 0.35 are 1 %.
    found = curves(scratch=[[0.4, 0.3, 0.6]] * 5, other=[[0.35] * 3] * 5).equal_labels("other", "scratch", 0.1)
    assert found.equal == pytest.approx(0.01)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    # The truth is 31.6 %; scores of both vary by replicate, in part together.
    random, covered = np.random.default_rng(0), 0
    for _ in range(200):
        shared = random.normal(0, 0.05, (20, 1))
        scratch = np.array([0.2, 0.4, 0.6]) + shared + random.normal(0, 0.03, (20, 3))
        other = 0.5 + shared + random.normal(0, 0.03, (20, 3))
        found = curves(scratch=scratch, other=other).equal_labels("other", "scratch", 0.01, resamples=200)
        covered += found.low <= 10**-0.5 <= found.high
    assert 0.87 <= covered / 200 <= 0.99


def test_few_replicates_are_an_illustration():
    efficiency = curves(scratch=[[0.2, 0.4, 0.6]] * 4, other=[[0.5] * 3] * 4)
    assert "illustration, not evidence" in str(efficiency.equal_labels("other", "scratch", 0.01))
    assert "4 of at least 5 replicates: illustration, not evidence." in str(efficiency)


def test_differences_are_paired_over_the_replicates():
    scratch = np.array([[0.2, 0.4, 0.6], [0.3, 0.5, 0.7], [0.1, 0.3, 0.5], [0.2, 0.4, 0.6], [0.25, 0.45, 0.65]])
    found = curves(scratch=scratch, other=scratch + np.array([0.1, 0.05, 0.0])).difference("other", "scratch")
    assert [item.mean for item in found] == pytest.approx([0.1, 0.05, 0.0])
    assert found[0].excludes_zero
    assert found[0].low == pytest.approx(0.1)  # what replicates share cancels


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda found: found.equal_labels("other", "scratch", 0.5), "`fraction` must be one of"),
        (lambda found: found.equal_labels("else", "scratch", 0.1), "`first` must be one of"),
        (lambda found: found.difference("other", "else"), "`second` must be one of"),
    ],
)
def test_unknown_names_are_named(call, words):
    with pytest.raises(InvalidArgumentError, match=words):
        call(curves(scratch=[[0.2, 0.4, 0.6]] * 5, other=[[0.5] * 3] * 5))


# --- Over records ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root = tmp_path_factory.mktemp("efficiency")
    source = ben_ge.simulate(root / "tree", patches=40, seed=0, tiles=20, processes=1)
    return ben_ge.convert(source, root / "records", fractions=(0.6, 0.1, 0.3))


def patch_ids(dataset):
    batches = dataset.recipe(metadata=("patch_id",)).as_numpy_iterator()
    return {name.decode() for *_, names in batches for name in names["patch_id"]}


def test_every_contestant_gets_the_same_nested_labels(records):
    seen, lines = {}, []

    def remember(train, test, schema, seed, name):
        ids = patch_ids(train)
        seen.setdefault((name, seed), []).append(ids)
        assert len(patch_ids(train.recipe(split="val"))) < len(ids)  # validation comes on the same budget
        return hand_scores(name, simulated=True, climate_zone=[1.0] * len(ids) + [0.0] * (40 - len(ids)))

    found = evaluate.label_efficiency(
        {name: functools.partial(remember, name=name) for name in ("a", "b")}, records, ("s2",), "climate_zone",
        fractions=(0.25, 1.0), seeds=(0, 1), progress=lines.append,
    )  # fmt: skip
    assert seen["a", 0] == seen["b", 0]
    assert seen["a", 1] == seen["b", 1] != seen["a", 0]
    assert all(small < large for small, large in seen.values())
    total = len(seen["a", 0][1])
    np.testing.assert_allclose(found.values["a"], [[int(0.25 * total + 0.5) / 40, total / 40]] * 2)
    assert (found.metric, found.simulated, found.replicates) == ("accuracy", True, 2)
    assert len(lines) == 8
    assert lines[0].startswith("seed 0, 25 %, a: 0.")


@pytest.mark.usefixtures("eagerly")
def test_training_from_one_build_is_repeatable_and_reads_its_budget(records):
    def build():
        backbone = models.unet((None, None, 12), width=1, name="s2")
        model = models.multitask(backbone, {"season": models.regression_head()})
        model.compile(keras.optimizers.AdamW(1e-2), {"season": "mae"})
        return model

    contestant = evaluate.fine_tuning(build, steps=2)
    options = {"fractions": (0.3,), "seeds": (3,), "batch_size": 4, "progress": lambda line: None}
    first, second = (
        evaluate.label_efficiency({"scratch": contestant}, records, ("s2",), "season", **options) for _ in range(2)
    )
    assert first.values["scratch"] == second.values["scratch"]
    assert first.to_dict()["metric"] == "mae"
    assert np.isfinite(first.values["scratch"]).all()


@pytest.mark.usefixtures("eagerly")
def test_a_shared_encoder_that_learned_before_is_refused(records):
    encoder = models.unet_encoder((None, None, 12), width=1, name="s2")

    def build():
        model = models.multitask(encoder, {"season": models.regression_head()})
        model.compile(keras.optimizers.AdamW(1e-2), {"season": "mae"})
        return model

    contestants = {"shared": evaluate.fine_tuning(build, steps=1)}
    options = {"fractions": (1.0,), "seeds": (3, 4), "batch_size": 4, "progress": lambda line: None}
    with pytest.raises(InvalidArgumentError, match=r"must begin from the same weights.*fine-tuning, seed 3"):
        evaluate.label_efficiency(contestants, records, ("s2",), "season", **options)


def test_options_of_the_pipeline_reach_every_contestant(records):
    seen = []

    def contestant(train, test, schema, seed):
        seen.extend([train.element_spec[0], test.element_spec[0]])
        return hand_scores("none", climate_zone=[1.0] * 10)

    options = {"fractions": (1.0,), "seeds": (0,), "progress": lambda line: None}
    found = evaluate.label_efficiency(
        {"none": contestant}, records, ("s2",), "climate_zone", bands={"s2": ("B08",)}, **options
    )
    assert [spec["s2"].shape[-1] for spec in seen] == [1, 1]
    assert "on one test set" in str(found)
    for name in ("shuffle", "seed", "metadata", "subset", "label_shots"):
        with pytest.raises(InvalidArgumentError, match=rf"must not hold what is chosen here\. Received: {name}"):
            evaluate.label_efficiency({"none": contestant}, records, ("s2",), "climate_zone", **options, **{name: 1})


def test_an_error_tells_the_contestant_and_its_budget(records):
    def broken(train, test, schema, seed):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        evaluate.label_efficiency({"a": broken}, records, ("s2",), "season", fractions=(0.1,), seeds=(4,))
    assert caught.value.__notes__ == ["Contestant 'a', seed 4, 10 % of the labels."]


def test_replicates_that_are_all_alike_give_no_interval():
    alike = curves(scratch=[[0.2, 0.4, 0.6]] * 5, other=[[0.3, 0.5, 0.7]] * 4 + [[0.3, 0.5, 0.8]])
    found = dataclasses.replace(alike, one_test_set=True).difference("other", "scratch")
    assert [(item.mean, item.low, item.replicates) for item in found[:2]] == [(pytest.approx(0.1), None, 1)] * 2
    assert (found[2].mean, found[2].replicates) == (pytest.approx(0.12), 5)
    assert alike.difference("other", "scratch")[0].low == pytest.approx(0.1)  # the same in five worlds: evidence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"contestants": {}}, "`contestants` must not be empty"),
        ({"seeds": ()}, "`seeds` must not be empty"),
        ({"fractions": (1.0, 0.1)}, "`fractions` must ascend"),
        ({"fractions": (0.0,)}, "must be .*above 0"),
        ({"draw": "random"}, "`draw` must be one of"),
        ({"metric": "iou"}, "`metric` must be one of"),
    ],
)
def test_bad_options_name_the_rule(records, options, words):
    arguments = {"contestants": {"none": None}, "records": records, "inputs": ("s2",), "target": "season"} | options
    with pytest.raises(InvalidArgumentError, match=words):
        evaluate.label_efficiency(**arguments)
