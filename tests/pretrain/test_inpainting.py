"""The inpainting pretext: loss against a slow transcription, exact squares, no leaks, saving, JAX."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest

import eokeras as eo
from eokeras.errors import InvalidArgumentError
from eokeras.models import late_fusion, resnet, unet, unet_decoder, unet_encoder
from eokeras.pretrain import Inpainter
from tests.checks import assert_same, dtype_policy, small_encoder, to_numpy
from tests.pretrain.cases import images

ROOT = Path(eo.__file__).parents[1]
RNG = np.random.default_rng(0)


def two_sensors(shape=(16, 24)):
    return late_fusion({name: small_encoder((*shape, count), name) for name, count in (("s2", 3), ("s1", 2))})


def make(encoder=None, **options):
    keras.utils.set_random_seed(0)
    return Inpainter(encoder or two_sensors(), **{"square": 8, "mask_ratio": 0.5, "seed": 0} | options)


def slow_loss(inputs, outputs):
    by_input = []
    for name, image in inputs.items():
        errors = []
        for index in np.ndindex(image.shape):
            if outputs["hidden"][index[:3]][0] == 1 and np.isfinite(image[index]):
                errors.append((float(outputs[f"{name}_painted"][index]) - float(image[index])) ** 2)
        by_input.append(np.mean(errors))
    return np.mean(by_input)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("sensors", [1, 2])
def test_loss_equals_the_slow_transcription(batch, sensors):
    painter = make(two_sensors() if sensors == 2 else small_encoder((16, 24, 3), "s2"))
    inputs = images(painter.encoder, batch)
    inputs["s2"][0, :5, :7, 1] = np.nan
    outputs = painter(inputs)
    expected = slow_loss(inputs, to_numpy(outputs))
    assert float(painter.compute_loss(x=inputs, y_pred=outputs)) == pytest.approx(expected, rel=1e-5)


def test_squares_are_exact_in_number_and_whole():
    painter = make(mask_ratio=1 / 3)
    for training in (True, False):
        hidden = to_numpy(painter(images(painter.encoder, 30), training=training)["hidden"])[..., 0]
        squares = hidden.reshape(30, 2, 8, 3, 8).transpose(0, 1, 3, 2, 4).reshape(30, 6, 64)
        assert (squares.min(axis=-1) == squares.max(axis=-1)).all()
        assert set(squares.max(axis=-1).sum(axis=-1)) == {2}
        assert len(np.unique(hidden, axis=0)) > 1


def test_squares_at_the_edge_are_cut():
    painter = make(small_encoder((10, 12, 3), "s2"), square=8, mask_ratio=0.25)
    hidden = to_numpy(painter(images(painter.encoder, 40))["hidden"])[..., 0]
    assert hidden.shape == (40, 10, 12)
    assert {int(patch.sum()) for patch in hidden} == {64, 32, 16, 8}


def test_training_draws_anew_by_the_seed_and_validation_does_not():
    inputs = images(two_sensors(), 8)
    first, twin = make(), make()
    draw = lambda painter, training: to_numpy(painter(inputs, training=training)["hidden"])  # noqa: E731
    steps = [draw(first, True), draw(first, True)]
    np.testing.assert_array_equal(steps, [draw(twin, True), draw(twin, True)])
    assert (steps[0] != steps[1]).any()
    np.testing.assert_array_equal(draw(first, False), draw(first, False))


def test_hidden_pixels_do_not_reach_the_network_nor_visible_targets_the_loss():
    painter = make()
    inputs, noise = images(painter.encoder, 2), images(painter.encoder, 2, seed=1)
    hidden = painter.draw_squares(inputs, 3)
    is_hidden = to_numpy(hidden) > 0
    outputs = painter.paint(inputs, hidden)
    loss = float(painter.compute_loss(x=inputs, y_pred=outputs))
    other_hidden = {name: np.where(is_hidden, noise[name], inputs[name]) for name in inputs}
    assert_same(to_numpy(painter.paint(other_hidden, hidden)), to_numpy(outputs), rtol=0)
    assert float(painter.compute_loss(x=other_hidden, y_pred=outputs)) != loss
    other_visible = {name: np.where(is_hidden, inputs[name], noise[name]) for name in inputs}
    assert float(painter.compute_loss(x=other_visible, y_pred=outputs)) == loss
    assert np.abs(to_numpy(painter.paint(other_visible, hidden)["s1_painted"]) - outputs["s1_painted"]).max() > 0.01


def test_missing_numbers_have_no_part():
    painter = make(fill=0.5)
    inputs = images(painter.encoder, 2)
    missing = RNG.random(inputs["s1"].shape) < 0.3
    hidden, losses = painter.draw_squares(inputs, 0), []
    for value in (np.nan, np.inf):
        data = inputs | {"s1": np.where(missing, np.float32(value), inputs["s1"])}
        losses.append(float(painter.compute_loss(x=data, y_pred=painter.paint(data, hidden))))
    marked = inputs | {"s1_mask": (~missing).astype("float32")}
    losses.append(float(painter.compute_loss(x=marked, y_pred=painter.paint(marked, hidden))))
    assert np.isfinite(losses[0])
    assert len(set(losses)) == 1


def test_fit_on_the_pipelines_batches_saves_and_trains_its_encoder(known_records, tmp_path):
    data = eo.make_dataset(
        known_records.path, "train", ("s2", "s1"), masks=True, augment=eo.augment.random_crop(24), seed=0, batch_size=6,
        bands={"s2": ("B02", "B03", "B04")},
    )  # fmt: skip
    painter = make(two_sensors((24, 24)))
    before = painter.encoder.get_weights()
    painter.compile(keras.optimizers.Adam(1e-2))
    history = painter.fit(data, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert any((old != new).any() for old, new in zip(before, painter.encoder.get_weights(), strict=True))

    painter.save(tmp_path / "painter.keras")
    reloaded = keras.models.load_model(tmp_path / "painter.keras")
    assert {**reloaded.get_config(), "network": None} == {**painter.get_config(), "network": None}
    batch = next(iter(data))[0]
    assert_same(to_numpy(reloaded(batch)), to_numpy(painter(batch)), rtol=1e-5, atol=1e-5)
    assert_same(to_numpy(reloaded.encoder(batch)), to_numpy(painter.encoder(batch)), rtol=0)
    assert reloaded.encoder is reloaded.network.get_layer(reloaded.encoder.name)
    model = eo.models.multitask(reloaded.encoder, {"land_cover_map": eo.models.map_head(11)})
    assert model(batch)["land_cover_map"].shape == (6, 24, 24, 11)


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        (lambda: unet((16, 16, 2), width=1, name="s1"), None),
        (lambda: unet_encoder((16, 16, 2), width=1, name="s1"), unet_decoder(1)),
        (lambda: resnet((32, 32, 2), width=2, name="s1"), None),
        (lambda: resnet((32, 32, 2), width=2, name="s1"), unet_decoder(2)),
    ],
)
def test_convolutional_encoders_paint_at_full_size(encoder, decoder):
    painter = make(encoder(), decoder=decoder)
    inputs = images(painter.encoder, 2)
    assert painter(inputs)["s1_painted"].shape == inputs["s1"].shape


def test_mixed_precision():
    with dtype_policy("mixed_bfloat16"):
        painter = make()
    inputs = images(painter.encoder, 2)
    outputs = painter(inputs)
    assert {keras.backend.standardize_dtype(output.dtype) for output in outputs.values()} == {"float32"}
    assert np.isfinite(float(painter.compute_loss(x=inputs, y_pred=outputs)))


ON_JAX = textwrap.dedent("""
    import json
    import keras
    from eokeras.models import unet
    from eokeras.pretrain import Inpainter
    from tests.pretrain.cases import images
    assert keras.backend.backend() == "jax"
    keras.utils.set_random_seed(0)
    painter = Inpainter(unet((16, 16, 2), width=1, name="s1"), square=4, seed=0)
    painter.compile(keras.optimizers.Adam(1e-2))
    inputs = {"s1": images(painter.encoder, 8)["s1"] + 3}  # a mean to be learned
    print(json.dumps(painter.fit(inputs, batch_size=4, epochs=3, verbose=0).history["loss"]))
""")


@pytest.mark.slow
def test_fit_on_jax():
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", ON_JAX]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    losses = json.loads(done.stdout.splitlines()[-1])
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_ratio": -0.1}, "`mask_ratio` must be a finite number of 0 or more"),
        ({"mask_ratio": 1.1}, r"`mask_ratio` must be a share in \[0, 1\]"),
        ({"square": 0}, "`square` must be a positive integer"),
        ({"fill": None}, "`fill` must be a finite number"),
        ({"encoder": keras.Sequential()}, "`encoder` must be a functional model that gives a dict of levels"),
        ({"encoder": eo.models.dense_encoder()}, "`encoder` must read maps alone.*era5"),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make(**options)


def test_batches_that_do_not_fit_are_named():
    painter = make(mask_ratio=0.01)
    with pytest.raises(InvalidArgumentError, match=r"must cut out some squares and leave some.*cuts out 0 of 6"):
        painter(images(painter.encoder, 1))
    with pytest.raises(InvalidArgumentError, match=r"`inputs` must be a dict with \['s2', 's1'\]"):
        painter({"s2": np.zeros((1, 16, 24, 3))})
    with pytest.raises(InvalidArgumentError, match="third part"):
        make().compute_loss(x={}, y_pred={}, sample_weight={})
