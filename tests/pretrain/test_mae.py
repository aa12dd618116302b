"""The masked autoencoder: loss against a slow transcription, exact masks, no leaks, every patch in its place."""

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
from eokeras.layers import sine_cosine_positions
from eokeras.models import group_vit, vit
from eokeras.pretrain import MaskedAutoencoder
from eokeras.pretrain.masking import RestoreTokens
from tests.checks import assert_same, check_gradients, dtype_policy, to_numpy
from tests.models.transformer_in_numpy import attend, dense, gelu, normalise
from tests.pretrain.cases import DECODER, PATCH, SMALL, images, many_groups, one_group, randomise

ROOT = Path(eo.__file__).parents[1]
ENVIRONMENT = dict(os.environ)
"""As TensorFlow met it: command lines that other tests import switch oneDNN on, for new processes alone."""

RNG = np.random.default_rng(0)
PLACES = 6
UNEQUAL = {"visible": 0.5, "infrared": 1.0, "s2_20m": 0.0, "s1": 2 / 3}


def make(build=one_group, **options):
    mae = MaskedAutoencoder(build(), **DECODER | {"seed": 0} | options)
    randomise(mae)
    return mae


# ---- The published method, written out -----------------------------------------------------------------------------

GROUPS = {
    "one": [("s2", "patches", "s2", (0, 1, 2), 4)],
    "many": [
        ("visible", "patches_visible", "s2_10m", (2, 0), 4),
        ("infrared", "patches_infrared", "s2_10m", (1,), 4),
        ("s2_20m", "patches_s2_20m", "s2_20m", (0, 1), 2),
        ("s1", "patches_s1", "s1", (0, 1), 4),
    ],
}
"""Group, its layer in the encoder, its input, the channels it reads, rows of a patch in its own pixels."""


def patch_of(image, place, size, channels):
    row, column = divmod(place, 3)
    window = image[row * size : (row + 1) * size, column * size : (column + 1) * size]
    return window[..., list(channels)].astype("float64").ravel()


def blocks(model, x, depth, heads):
    for index in range(1, depth + 1):
        name = f"block_{index}"
        x = x + attend(model, normalise(model, x, f"{name}_normalisation_1"), heads, f"{name}_attention")
        hidden = gelu(dense(model, normalise(model, x, f"{name}_normalisation_2"), f"{name}_dense_1"))
        x = x + dense(model, hidden, f"{name}_dense_2")
    return normalise(model, x, "normalisation")


def slow_loss(mae, inputs, orders, groups, visible, with_normalised_targets):
    """Patch by patch: encode the visible ones, decode all, square the errors of the hidden ones."""
    positions, decoder_positions = sine_cosine_positions(2, 3, 8), sine_cosine_positions(2, 3, 8)
    mask_token, group_tokens = mae.decoder.get_layer("restoring").get_weights()
    errors = {group: [] for group, *_ in groups}
    for sample in range(len(orders)):
        tokens = []
        for index, (_, layer, name, channels, size) in enumerate(groups):
            kernel, bias = mae.encoder.get_layer(layer).get_weights()
            for place in orders[sample, index, : visible[index]]:
                patch = patch_of(inputs[name][sample], place, size, channels)
                tokens.append(patch @ kernel.reshape(-1, 8) + bias + positions[place])
        seen = dense(mae.decoder, blocks(mae.encoder, np.array([tokens]), 1, 2), "narrowing")[0]
        tokens, first = [], 0
        for index in range(len(groups)):
            drawn = list(orders[sample, index, : visible[index]])
            for place in range(PLACES):
                token = seen[first + drawn.index(place)] if place in drawn else mask_token
                tokens.append(token + decoder_positions[place] + group_tokens[index])
            first += len(drawn)
        decoded = blocks(mae.decoder, np.array([tokens]), 1, 2)[0]
        for index, (group, _, name, channels, size) in enumerate(groups):
            for place in orders[sample, index, visible[index] :]:
                predicted = dense(mae.decoder, decoded[index * PLACES + place], f"patches_{group}")
                target = patch_of(inputs[name][sample], place, size, channels)
                there = np.isfinite(target)
                if with_normalised_targets:
                    target = (target - target[there].mean()) / np.sqrt(target[there].var() + 1e-6)
                errors[group].extend((predicted[there] - target[there]) ** 2)
    return np.mean([np.mean(values) for values in errors.values() if values])


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize(
    ("groups", "batch", "ratio", "masking", "visible"),
    [
        ("one", 1, 0.5, "independent", [3]),
        ("one", 5, 0.75, "consistent", [2]),  # 4.5 of 6 is rounded to 4
        ("many", 2, 0.5, "independent", [3, 3, 3, 3]),
        ("many", 3, 0.5, "consistent", [3, 3, 3, 3]),
        ("many", 2, UNEQUAL, "independent", [3, 0, 6, 2]),
    ],
)
def test_loss_equals_the_slow_transcription(groups, batch, ratio, masking, visible, normalised):
    build = {"one": one_group, "many": many_groups}[groups]
    mae = make(build, mask_ratio=ratio, masking=masking, normalise=normalised)
    inputs = images(mae.encoder, batch)
    orders = mae.draw_orders(inputs, 7)
    loss = mae.compute_loss(x=inputs, y_pred=mae.predict_patches(inputs, orders))
    expected = slow_loss(mae, inputs, to_numpy(orders), GROUPS[groups], visible, normalised)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


# ---- Masks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masking", ["independent", "consistent"])
def test_every_group_of_every_patch_hides_the_exact_number(masking):
    mae = make(many_groups, mask_ratio=UNEQUAL, masking=masking)
    for training in (True, False):
        outputs = to_numpy(mae(images(mae.encoder, 50), training=training))
        counts = {name: set(output["hidden"].sum(axis=1)) for name, output in outputs.items()}
        assert counts == {"visible": {3.0}, "infrared": {6.0}, "s1": {4.0}}


@pytest.mark.parametrize(("ratio", "count"), [(0.75, 75), (0.5, 50), (0.999, 100), (0.004, 0)])
def test_the_ratio_is_rounded_to_whole_patches(ratio, count):
    encoder = vit((40, 40, 1), patch_size=4, name="s1", **SMALL)
    if count in (0, 100):
        with pytest.raises(InvalidArgumentError, match=f"must hide some patches and leave some.*hides {count} of 100"):
            MaskedAutoencoder(encoder, ratio, **DECODER)
    else:
        outputs = MaskedAutoencoder(encoder, ratio, **DECODER)({"s1": np.zeros((3, 40, 40, 1), "float32")})
        assert set(to_numpy(outputs["s1"]["hidden"]).sum(axis=1)) == {count}


def test_maskings_differ_in_what_groups_share():
    inputs = images(many_groups(), 40)
    same = to_numpy(make(many_groups, mask_ratio=0.5, masking="consistent")(inputs))
    own = to_numpy(make(many_groups, mask_ratio=0.5, masking="independent")(inputs))
    others = ("infrared", "s2_20m", "s1")
    assert all((same["visible"]["hidden"] == same[name]["hidden"]).all() for name in others)
    assert all((own["visible"]["hidden"] != own[name]["hidden"]).any(axis=1).mean() > 0.5 for name in others)


def test_masks_of_unequal_ratios_are_nested_where_they_are_consistent():
    outputs = to_numpy(make(many_groups, mask_ratio=UNEQUAL, masking="consistent")(images(many_groups(), 40)))
    assert (outputs["visible"]["hidden"] <= outputs["s1"]["hidden"]).all()


def test_every_place_is_hidden_as_often():
    mae = make(mask_ratio=0.5)
    hidden = to_numpy(mae(images(mae.encoder, 2000), training=True)["s2"]["hidden"])
    np.testing.assert_allclose(hidden.mean(axis=0), 0.5, atol=5 * 0.5 / np.sqrt(2000))


def test_training_draws_anew_by_the_seed_and_validation_does_not():
    inputs = images(one_group(), 8)
    first, twin, other = make(), make(), make(seed=1)
    draw = lambda mae, training: to_numpy(mae(inputs, training=training)["s2"]["hidden"])  # noqa: E731
    steps = [draw(first, True), draw(first, True)]
    np.testing.assert_array_equal(steps, [draw(twin, True), draw(twin, True)])
    assert (steps[0] != steps[1]).any()
    assert (steps[0] != draw(other, True)).any()
    np.testing.assert_array_equal(draw(first, False), draw(first, False))


# ---- Nothing leaks -------------------------------------------------------------------------------------------------


def hidden_pixels(mae, inputs, orders):
    """Input -> bool of its shape: pixels that no group shows."""
    outputs, pixels = mae.predict_patches(inputs, orders), {}
    for group in mae.groups:
        hidden = np.zeros((len(orders), PLACES)) if group.name not in outputs else outputs[group.name]["hidden"]
        size = group.patches.patch_size
        hidden = np.repeat(np.repeat(to_numpy(hidden).reshape(-1, 2, 3), size, axis=1), size, axis=2) > 0
        mask = pixels.setdefault(group.input, np.zeros(inputs[group.input].shape, bool))
        mask[..., list(group.patches.channels or range(mask.shape[-1]))] = hidden[..., None]
    return pixels


@pytest.mark.parametrize("masking", ["independent", "consistent"])
@pytest.mark.parametrize("build", [one_group, many_groups])
def test_hidden_pixels_do_not_reach_the_encoder_nor_visible_targets_the_loss(build, masking):
    mae = make(build, mask_ratio=0.5, masking=masking)
    inputs, noise = images(mae.encoder, 3), images(mae.encoder, 3, seed=1)
    orders = mae.draw_orders(inputs, 0)
    hidden = hidden_pixels(mae, inputs, orders)
    assert all(mask.mean() == 0.5 for mask in hidden.values())
    encoded, outputs = mae.encode_visible(inputs, orders), mae.predict_patches(inputs, orders)
    loss = float(mae.compute_loss(x=inputs, y_pred=outputs))

    other_hidden = {name: np.where(hidden[name], noise[name], inputs[name]) for name in inputs}
    np.testing.assert_array_equal(mae.encode_visible(other_hidden, orders), encoded)
    assert_same(to_numpy(mae.predict_patches(other_hidden, orders)), to_numpy(outputs), rtol=0)
    assert float(mae.compute_loss(x=other_hidden, y_pred=outputs)) != loss

    other_visible = {name: np.where(hidden[name], inputs[name], noise[name]) for name in inputs}
    assert (to_numpy(mae.encode_visible(other_visible, orders)) != to_numpy(encoded)).any()
    assert float(mae.compute_loss(x=other_visible, y_pred=outputs)) == loss


@pytest.mark.parametrize("normalised", [False, True])
def test_missing_numbers_have_no_part(normalised):
    """NaN, infinity and what the mask of an input marks: the same prediction and loss whatever stands there."""
    mae = make(many_groups, mask_ratio=0.5, normalise=normalised)
    inputs = images(mae.encoder, 2)
    missing = RNG.random(inputs["s1"].shape) < 0.3
    missing[0, :4, :4] = True  # a whole patch
    orders = mae.draw_orders(inputs, 0)
    losses = []
    for value in (np.nan, np.inf, -np.inf):
        data = inputs | {"s1": np.where(missing, np.float32(value), inputs["s1"])}
        outputs = mae.predict_patches(data, orders)
        losses.append(float(mae.compute_loss(x=data, y_pred=outputs)))
    marked = inputs | {"s1_mask": (~missing).astype("float32")}
    losses.append(float(mae.compute_loss(x=marked, y_pred=mae.predict_patches(marked, orders))))
    assert len(set(losses)) == 1
    valid_only = inputs | {"s1": np.where(missing, 0, inputs["s1"])}
    kept = mae.predict_patches(valid_only, orders)
    assert_same(to_numpy(kept), to_numpy(outputs), rtol=0)


def test_a_batch_without_any_valid_pixel_costs_nothing():
    mae = make()
    nothing = {"s2": np.full((2, 8, 12, 3), np.nan, "float32")}
    assert float(mae.compute_loss(x=nothing, y_pred=mae(nothing))) == 0


# ---- Every patch in its place --------------------------------------------------------------------------------------


class Clairvoyant(MaskedAutoencoder):
    """Predicts its targets, so that a picture shows where patches land."""

    def predict_patches(self, inputs, orders):
        outputs = super().predict_patches(inputs, orders)
        targets = {group.name: self._targets(group, inputs)[0] for group in self.groups}
        return {name: output | {"patches": targets[name]} for name, output in outputs.items()}


@pytest.mark.parametrize("normalised", [False, True])
def test_pictures_put_every_patch_in_its_place(normalised):
    mae = Clairvoyant(many_groups(), 0.5, normalise=normalised, **DECODER)
    inputs = images(mae.encoder, 3)
    inputs["s1"][0, 0, 0] = np.nan
    channels = {"visible": ("s2_10m", [2, 0]), "infrared": ("s2_10m", [1]), "s2_20m": ("s2_20m", [0, 1])}
    pictures = mae.reconstruct(inputs)
    assert set(pictures) == {*channels, "s1"}
    for group, (name, indices) in (channels | {"s1": ("s1", [0, 1])}).items():
        picture, expected = pictures[group], inputs[name][..., indices]
        there = np.isfinite(expected)
        np.testing.assert_array_equal(np.isfinite(picture.original), there)
        for image in (picture.original, picture.predicted, picture.filled):
            np.testing.assert_allclose(image[there], expected[there], atol=1e-5)
        assert picture.hidden.shape == expected.shape[:3]
        assert picture.hidden.mean() == 0.5
        np.testing.assert_array_equal(np.isnan(picture.seen), picture.hidden[..., None] | ~there)


def test_visible_tokens_return_to_their_places_and_mask_tokens_fill_the_others():
    layer = RestoreTokens((2, 3), (2, 0, 3))
    layer.build([(None, 5, 8), (None, 3, 6)])
    layer.mask_token.assign(np.full(8, -1.0))
    layer.group_tokens.assign(np.repeat([[100.0], [200.0], [300.0]], 8, axis=1))
    orders = np.argsort(RNG.random((4, 3, 6)), axis=-1)
    visible = np.concatenate([orders[:, 0, :2], orders[:, 2, :3]], axis=1)  # each token holds its place
    restored = to_numpy(layer([np.repeat(visible[..., None], 8, axis=-1).astype("float32"), orders]))
    restored = restored.reshape(4, 3, 6, 8) - sine_cosine_positions(2, 3, 8)
    for sample, group, place in np.ndindex(4, 3, 6):
        is_visible = place in orders[sample, group, : (2, 0, 3)[group]]
        expected = 100 * (group + 1) + (place if is_visible else -1)
        np.testing.assert_allclose(restored[sample, group, place], expected, atol=1e-4)


def test_the_index_of_every_patch_is_read_off_its_place():
    """A decoder that knows nothing but positions tells the number of every patch, hidden or not.

    Its blocks add nothing and its tokens are zero, so that a token is its position. The last layer is the linear map
    from normalised positions to numbers, by least squares; tokens in wrong places would give other numbers.
    """
    encoder = vit((8, 8, 1), patch_size=2, name="s2", **SMALL)
    mae = MaskedAutoencoder(encoder, 0.75, **DECODER | {"decoder_width": 64})
    last = mae.decoder.get_layer("patches_s2")
    for weight in mae.decoder.weights:
        if "normalisation" not in weight.path:
            weight.assign(np.zeros(weight.shape))
    positions = sine_cosine_positions(4, 4, 64)
    normalised = (positions - positions.mean(axis=1, keepdims=True)) / positions.std(axis=1, keepdims=True)
    design = np.concatenate([normalised, np.ones((16, 1))], axis=1)
    solution = np.linalg.lstsq(design, np.arange(16.0), rcond=1e-7)[0]
    last.set_weights([np.repeat(solution[:-1, None], 4, axis=1), np.repeat(solution[-1], 4)])

    numbers = np.repeat(np.repeat(np.arange(16.0).reshape(4, 4), 2, axis=0), 2, axis=1)
    image = np.repeat(numbers[None, :, :, None], 5, axis=0).astype("float32")
    picture = mae.reconstruct({"s2": image}, seed=5)["s2"]
    assert (picture.hidden[:1] != picture.hidden[1:]).any()
    for found in (picture.original, picture.predicted, picture.filled):
        np.testing.assert_array_equal(np.rint(found), image)


# ---- Training, saving, precision -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("eagerly")
def test_fit_on_the_pipelines_batches_saves_and_goes_on(known_records, tmp_path):
    """Stored resolution, with missing backscatter marked; then as a backbone."""
    names = ("s2_10m", "s2_20m", "s2_60m", "s1")
    sizes = {"s2_10m": (120, 120, 4), "s2_20m": (60, 60, 6), "s2_60m": (20, 20, 2), "s1": (120, 120, 2)}
    data = eo.make_dataset(known_records.path, "train", ("s2", "s1"), resolution="stored", masks=True, batch_size=4)
    keras.utils.set_random_seed(0)
    mae = MaskedAutoencoder(group_vit(sizes, patch_size=12, **SMALL), masking="consistent", **DECODER, seed=0)
    mae.compile(keras.optimizers.Adam(1e-2))
    history = mae.fit(data, validation_data=data, epochs=3, verbose=0).history
    assert np.isfinite(list(history.values())).all()
    assert history["val_loss"][-1] < history["val_loss"][0]

    mae.save(tmp_path / "mae.keras")
    reloaded = keras.models.load_model(tmp_path / "mae.keras")
    assert {**reloaded.get_config(), "encoder": None} == {**mae.get_config(), "encoder": None}
    batch = next(iter(data))[0]
    assert_same(to_numpy(reloaded(batch)), to_numpy(mae(batch)), rtol=1e-6, atol=1e-6)
    assert_same(to_numpy(reloaded.encoder(batch)), to_numpy(mae.encoder(batch)), rtol=0)
    assert reloaded.evaluate(data, verbose=0) == pytest.approx(history["val_loss"][-1], rel=1e-5)
    assert set(mae.reconstruct(batch)) == set(names)

    model = eo.models.multitask(reloaded.encoder, {"climate_zone": eo.models.scene_head(12)})
    assert model(batch)["climate_zone"].shape == (4, 12)


def test_gradient_reaches_every_weight_that_is_in_use():
    mae = make(many_groups, mask_ratio=0.5)

    class Loss(keras.Model):
        def call(self, inputs, training=False):
            return {"loss": mae.compute_loss(x=inputs, y_pred=mae(inputs, training=training))}

    model = Loss()
    model.mae = mae
    check_gradients(model, images(mae.encoder, 4))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    with dtype_policy(policy):
        mae = make(many_groups, mask_ratio=0.5, normalise=True)
    inputs = images(mae.encoder, 2)
    outputs = mae(inputs)
    assert {output["patches"].dtype for output in outputs.values()} == {outputs["s1"]["hidden"].dtype}
    half = float(mae.compute_loss(x=inputs, y_pred=outputs))
    assert half == pytest.approx(float(make(many_groups, mask_ratio=0.5, normalise=True).compute_loss(
        x=inputs, y_pred=make(many_groups, mask_ratio=0.5, normalise=True)(inputs))), rel=0.1)  # fmt: skip
    assert keras.backend.standardize_dtype(mae.encode_visible(inputs, mae.draw_orders(inputs, 0)).dtype) in policy


# ---- Other processes -----------------------------------------------------------------------------------------------

PRETRAIN = textwrap.dedent("""
    import sys
    import numpy as np
    from tests.checks import to_numpy
    from tests.pretrain.cases import DECODER, images, one_group, randomise
    from eokeras.pretrain import MaskedAutoencoder
    mae = MaskedAutoencoder(one_group(), **DECODER, seed=0)
    randomise(mae)
    inputs = images(mae.encoder, 3)
    mae.encoder.save_weights(sys.argv[1])
    np.savez(sys.argv[2], images=inputs["s2"], features=to_numpy(mae.encoder(inputs)["stride_4"]))
""")

FEATURES = textwrap.dedent("""
    import sys
    import numpy as np
    from eokeras.models import vit
    model = vit((8, 12, 3), patch_size=4, name="s2", width=8, depth=1, heads=2, mlp_width=12)
    model.load_weights(sys.argv[1])
    pretrained = np.load(sys.argv[2])
    np.testing.assert_array_equal(model({"s2": pretrained["images"]})["stride_4"], pretrained["features"])
""")

ON_JAX = textwrap.dedent("""
    import json, sys
    import keras, numpy as np
    from tests.pretrain.cases import DECODER, images, many_groups
    from eokeras.pretrain import MaskedAutoencoder
    assert keras.backend.backend() == "jax"
    keras.utils.set_random_seed(0)
    mae = MaskedAutoencoder(many_groups(), 0.5, normalise=True, **DECODER, seed=0)
    mae.compile(keras.optimizers.Adam(1e-2))
    inputs = images(mae.encoder, 8)
    history = mae.fit(inputs, validation_data=(inputs, {}), batch_size=4, epochs=4, verbose=0).history
    mae.save(sys.argv[1])
    same = keras.models.load_model(sys.argv[1]).evaluate(inputs, batch_size=4, verbose=0)
    print(json.dumps([history["loss"], history["val_loss"], same]))
""")


def run_python(code, *arguments, **environment):
    environment = ENVIRONMENT | {"PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_encoder_weights_give_bit_equal_features_in_a_fresh_process(tmp_path):
    files = tmp_path / "encoder.weights.h5", tmp_path / "pretrained.npz"
    run_python(PRETRAIN, *files)  # in a process of its own: other tests may have chosen other kernels for this one
    run_python(FEATURES, *files)
    assert [weight.path for weight in one_group().weights] == [weight.path for weight in make().encoder.weights]


def test_fit_on_jax(tmp_path):
    output = run_python(ON_JAX, tmp_path / "mae.keras", KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")
    losses, validation_losses, same = json.loads(output.splitlines()[-1])
    assert validation_losses[-1] < validation_losses[0]
    assert np.isfinite(losses).all()
    assert same == pytest.approx(validation_losses[-1], rel=1e-5)


# ---- Bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masking": "random"}, r"`masking` must be one of \['independent', 'consistent'\]"),
        ({"mask_ratio": 1.5}, r"`mask_ratio` must be a share in \[0, 1\].*1.5"),
        ({"mask_ratio": "most"}, "`mask_ratio` must be a finite number"),
        ({"mask_ratio": 1.0}, "`mask_ratio` must hide some patches and leave some visible"),
        ({"mask_ratio": {"s1": 0.5}}, r"`mask_ratio` may hold \['s2'\].*'s1'"),
        ({"mask_ratio": {}}, "`mask_ratio` must be a finite number"),
        ({"decoder_depth": 0}, "`decoder_depth` must be a positive integer"),
        ({"decoder_width": 12, "decoder_heads": 8}, "`decoder_width` must be a multiple of `decoder_heads`"),
        ({"decoder_width": 6}, "`width` must be a positive multiple of 4"),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        MaskedAutoencoder(one_group(), **DECODER | options)


@pytest.mark.parametrize("encoder", [None, keras.Sequential(), eo.models.unet((16, 16, 2), width=1)])
def test_encoders_without_tokens_are_refused(encoder):
    with pytest.raises(InvalidArgumentError, match="`encoder` must be a `vit` or a `group_vit`"):
        MaskedAutoencoder(encoder)


def test_batches_that_do_not_fit_are_named():
    mae = make()
    zeros = np.zeros((2, 8, 12, 3), "float32")
    with pytest.raises(InvalidArgumentError, match=r"`inputs` must be a dict with \['s2'\].*\['s1'\]"):
        mae({"s1": zeros})
    with pytest.raises(
        InvalidArgumentError, match=r"`inputs\['s2'\]` must have shape \(None, 8, 12, 3\).*\(2, 16, 12, 3"
    ):
        mae({"s2": np.zeros((2, 16, 12, 3), "float32")})
    with pytest.raises(InvalidArgumentError, match="third part"):
        mae.compute_loss(x={"s2": zeros}, y_pred=mae({"s2": zeros}), sample_weight={"patch_id": 1})
    assert mae.groups[0].patches.patch_size == PATCH
