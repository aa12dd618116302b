"""The contestants of the fusion lesson: equal weights, and what they do with real pixels."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest

import eokeras as eo

FILE = Path(__file__).resolve().parents[2] / "lessons" / "3_data_fusion" / "contestants.py"
specification = importlib.util.spec_from_file_location("contestants", FILE)
contestants = importlib.util.module_from_spec(specification)
specification.loader.exec_module(contestants)


def weights(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def double_convolution(inputs, middle, outputs):
    return 9 * inputs * middle + 3 * middle + 9 * middle * outputs + 3 * outputs


def test_late_fusion_has_two_u_nets_of_width_5():
    # down: 5, 10, 20, 40, 40 channels; up: joined channels, half of them, and 20, 10, 5, 5
    def unet(channels):
        down = [(channels, 5), (5, 10), (10, 20), (20, 40), (40, 40)]
        up = [(80, 20), (40, 10), (20, 5), (10, 5)]
        return sum(double_convolution(a, b, b) for a, b in down) + sum(double_convolution(a, a // 2, b) for a, b in up)

    heads = (10 * 12 + 12) + (10 * 11 + 11) + (10 + 1)
    assert weights(contestants.build("late")) == unet(12) + unet(2) + heads == 213_564


@pytest.mark.parametrize("contestant", contestants.INPUTS)
def test_contestants_have_equal_weights(contestant):
    assert weights(contestants.build(contestant)) == pytest.approx(contestants.WEIGHTS, rel=0.015)


@pytest.mark.slow
@pytest.mark.parametrize("contestant", contestants.INPUTS)
def test_widths_are_those_that_match_best(contestant):
    assert contestants.matching_widths(contestant) == contestants.WIDTHS[contestant]


@pytest.fixture(scope="module")
def real_records(real_data, tmp_path_factory):
    return eo.ben_ge.convert(real_data / "ben-ge-mini", tmp_path_factory.mktemp("real") / "records")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Input 'era5' is a shortcut")
@pytest.mark.parametrize("contestant", [name for name in contestants.INPUTS if "dropped" not in name])
def test_contestants_learn_eight_real_patches_by_heart(real_records, contestant):
    batch = eo.make_dataset(
        real_records, "train", contestants.INPUTS[contestant], tuple(contestants.HEADS), batch_size=8, cache="memory",
        augment=eo.augment.random_crop(36), seed=0,
    ).take(1).cache()  # fmt: skip
    ((inputs, targets),) = batch
    keras.utils.set_random_seed(0)
    model = contestants.build(contestant)
    outputs = model(inputs)
    assert {name: tuple(values.shape) for name, values in outputs.items()} == {
        "climate_zone": (8, 12), "land_cover_map": (8, 36, 36, 11), "season": (8, 1),
    }  # fmt: skip
    model.compile(keras.optimizers.Adam(1e-2), eo.losses.for_tasks(tuple(contestants.HEADS)))
    history = model.fit(batch.repeat(400), epochs=1, steps_per_epoch=400, verbose=0, shuffle=False)
    assert np.isfinite(history.history["loss"]).all()
    found = model.predict(inputs, verbose=0)["land_cover_map"].argmax(axis=-1)
    labelled = targets["land_cover_map"].numpy() != eo.ben_ge.schema.VOID
    assert (found == targets["land_cover_map"].numpy())[labelled].mean() > 0.95
