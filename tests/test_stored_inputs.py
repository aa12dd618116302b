"""One model behind the pipeline's preparation and behind its own: the same numbers."""

import keras
import numpy as np
import pytest

import eokeras as eo
from eokeras import models
from eokeras.errors import InvalidArgumentError
from tests.checks import dtype_policy

INPUTS = ("s2", "s1", "dem", "era5")
BANDS = {"s2": ("B12", "B02", "B8A", "B01"), "s1": ("VH",)}
PERMUTED = {"s2": ("B08", "B04", "B03", "B02"), "s1": ("VH", "VV")}  # whose shapes are those of the records


def probe_of(schema, bands):
    """Hands on every prepared input, as averages over cells of 12 x 12 pixels."""
    shapes = {name: (*schema[name].shape[:-1], len(bands.get(name, schema[name].channels))) for name in INPUTS}
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    present = keras.Input((1,), name="s1_present")
    outputs = {
        name: keras.layers.AveragePooling2D(12)(tensor) if len(tensor.shape) == 4 else tensor
        for name, tensor in inputs.items()
    }
    return keras.Model([*inputs.values(), present], outputs | {"present": present * 1.0})


@pytest.mark.parametrize("calibrate", ["standardise", "tutorial"])
@pytest.mark.parametrize("bands", [{}, BANDS, PERMUTED])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_numbers_are_those_of_the_pipeline(known_records, calibrate, bands, policy):
    schema = eo.load_schema(known_records.path)
    with dtype_policy(policy):
        model = probe_of(schema, bands)
        behind = eo.from_stored(model, schema, calibrate=calibrate, bands=bands)
    options = {"inputs": INPUTS, "presence": True, "batch_size": 32, "bands": bands}
    prepared = eo.make_dataset(known_records.path, "train", calibrate=calibrate, **options)
    stored = eo.make_dataset(known_records.path, "train", calibrate=None, resolution="stored", **options)
    (expected, _), (taken, _) = next(iter(prepared)), next(iter(stored))
    dtypes = {name: values.dtype.name for name, values in taken.items()}
    assert dtypes["s2_10m"] == "uint16"
    assert dtypes["dem"] == "int16"
    assert {tensor.name: tensor.dtype for tensor in behind.inputs}.items() <= dtypes.items()
    if policy == "float32":
        found = behind([taken[tensor.name] for tensor in behind.inputs])
        wanted = model([expected[tensor.name] for tensor in model.inputs])
        for name in wanted:
            np.testing.assert_allclose(found[name], wanted[name], atol=2e-5, err_msg=name)
    else:  # digital numbers must not have been rounded to the 8 bits of bfloat16 before they were scaled
        for layer in behind.layers:
            if layer.name.startswith(("calibrate", "enlarge")):
                assert layer.compute_dtype == "float32", layer.name


def test_training_from_stored_numbers_trains_the_model(known_records, tmp_path):
    schema = eo.load_schema(known_records.path)
    unet = models.unet(schema["s2"].shape, width=2, name="s2")
    model = models.multitask(unet, {"land_cover_map": models.map_head(11)})
    behind = eo.from_stored(model, schema)
    behind.compile(keras.optimizers.SGD(0.1), eo.losses.for_tasks(("land_cover_map",)))
    before = [variable.numpy() for variable in model.trainable_variables]
    options = {"calibrate": None, "resolution": "stored", "batch_size": 4}
    stored = eo.make_dataset(known_records.path, "train", ("s2",), ("land_cover_map",), **options)
    behind.fit(stored, epochs=1, verbose=0)
    assert all((old != new.numpy()).any() for old, new in zip(before, model.trainable_variables, strict=True))
    behind.save(tmp_path / "behind.keras")
    again = keras.models.load_model(tmp_path / "behind.keras")
    batch = next(iter(stored))[0]
    batch = {name: batch[name] for name in ("s2_10m", "s2_20m", "s2_60m")}
    np.testing.assert_allclose(again(batch)["land_cover_map"], behind(batch)["land_cover_map"], atol=1e-6)


def test_a_size_that_stored_pixels_do_not_fill_is_refused(known_records):
    model = keras.Model([tensor := keras.Input((100, 100, 12), name="s2")], {"season": tensor})
    with pytest.raises(InvalidArgumentError, match=r"multiples of 6, as pixels of s2_60m need\. Received: 100"):
        eo.from_stored(model, eo.load_schema(known_records.path))


def test_a_model_of_stored_groups_is_refused(known_records):
    model = keras.Model([tensor := keras.Input((120, 120, 4), name="s2_10m")], {"season": tensor})
    with pytest.raises(InvalidArgumentError, match="`model` must take Sentinel-2 on the 10 m grid"):
        eo.from_stored(model, eo.load_schema(known_records.path))
