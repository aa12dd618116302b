"""The fused layer against Keras' own and against NumPy: outputs, gradients, moving statistics."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from eokeras.normalization import BatchNormalization

SETTINGS = {"momentum": 0.8, "epsilon": 1e-5}
WEIGHTS = [np.array(values, "float32") for values in ([1.5, -0.5, 2.0], [0.1, 0.2, -0.3], [0.5, 0.0, 1.0], [1, 2, 3])]


def maps(shape=(4, 6, 5, 3), seed=0):
    return np.random.default_rng(seed).normal((10.0, 0.0, -3.0), (0.1, 5.0, 1.0), shape).astype("float32")


def built(kind, shape=(4, 6, 5, 3), **settings):
    layer = kind(**SETTINGS | settings)
    layer.build(shape)
    layer.set_weights(WEIGHTS)
    return layer


def step(layer, x, training=True):
    """Outputs, gradients of a sum that weighs each output otherwise, and the weights after that."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, training=training)
        loss = tf.reduce_sum(tf.cast(outputs, "float32") * tf.cos(tf.range(tf.size(x), dtype="float32") + 1.0).numpy()
                             .reshape(x.shape))  # fmt: skip
    gradients = tape.gradient(loss, [x, *(weight.value for weight in layer.trainable_weights)])
    return [outputs.numpy(), *(each.numpy() for each in gradients), *layer.get_weights()]


@pytest.mark.parametrize("shape", [(4, 6, 5, 3), (1, 1, 1, 3), (2, 1, 1, 3), (1, 37, 41, 3)])
@pytest.mark.parametrize("training", [True, False])
def test_outputs_gradients_and_weights_are_those_of_keras(shape, training):
    own, kerass = (built(kind, shape) for kind in (BatchNormalization, keras.layers.BatchNormalization))
    for ours, theirs in zip(step(own, maps(shape), training), step(kerass, maps(shape), training), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4)


def test_the_moving_statistics_are_those_of_the_batch_by_hand():
    x, layer = maps(), built(BatchNormalization)
    layer(x, training=True)
    found = x.mean((0, 1, 2)), x.var((0, 1, 2))
    for moving, before, value in zip(layer.get_weights()[2:], WEIGHTS[2:], found, strict=True):
        np.testing.assert_allclose(moving, 0.8 * before + 0.2 * value, rtol=1e-5, atol=1e-6)


def test_it_takes_one_kernel_and_says_so_in_the_graph():
    layer = built(BatchNormalization)
    graph = tf.function(lambda x: layer(x, training=True)).get_concrete_function(tf.TensorSpec((None, None, None, 3)))
    operations = {operation.type for operation in graph.graph.get_operations()}
    assert "FusedBatchNormV3" in operations
    assert not operations & {"SquaredDifference", "Mean", "Rsqrt"}
    expected = built(keras.layers.BatchNormalization)(maps(), training=True)
    np.testing.assert_allclose(graph(tf.constant(maps())), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("settings", [{"scale": False}, {"center": False}, {"axis": 1}, {"renorm": True}])
def test_what_the_kernel_does_not_do_is_left_to_keras(settings):
    x = maps((2, 3, 3, 3))
    ours, theirs = (kind(**SETTINGS, **settings)(x, training=True)
                    for kind in (BatchNormalization, keras.layers.BatchNormalization))  # fmt: skip
    np.testing.assert_array_equal(ours, theirs)


def test_vectors_and_masks_are_left_to_keras():
    x, mask = maps((6, 3)), np.array([1, 1, 1, 0, 0, 1], bool)
    for inputs, options in (
        (x, {}),
        (maps((4, 6, 3)), {"mask": np.ones((4, 6), bool)}),
        (x[:, None], {"mask": mask[:, None]}),
        (maps((6, 2, 2, 3)), {"mask": np.broadcast_to(mask[:, None, None], (6, 2, 2))}),
    ):
        ours, theirs = (built(kind, inputs.shape)(inputs, training=True, **options)
                        for kind in (BatchNormalization, keras.layers.BatchNormalization))  # fmt: skip
        np.testing.assert_array_equal(ours, theirs)


def test_a_frozen_layer_keeps_its_statistics():
    layer = built(BatchNormalization)
    layer.trainable = False
    inference = built(keras.layers.BatchNormalization)(maps(), training=False)
    np.testing.assert_array_equal(layer(maps(), training=True), inference)
    np.testing.assert_array_equal(layer.get_weights()[-1], WEIGHTS[-1])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16", "float64"])
def test_other_precisions_are_as_in_keras(policy):
    own, kerass = (built(kind, dtype=policy) for kind in (BatchNormalization, keras.layers.BatchNormalization))
    ours, theirs = (layer(maps(), training=True) for layer in (own, kerass))
    assert ours.dtype == theirs.dtype == own.compute_dtype
    np.testing.assert_allclose(tf.cast(ours, "float32"), tf.cast(theirs, "float32"), rtol=1e-2, atol=1e-2)
    for one, other in zip(own.get_weights(), kerass.get_weights(), strict=True):
        tolerance = 1e-4 if "mixed" in policy or policy == "float64" else 1e-2
        np.testing.assert_allclose(one.astype("float32"), other.astype("float32"), rtol=tolerance, atol=tolerance)


def test_models_with_it_are_stored_and_read_back(tmp_path):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, BatchNormalization(**SETTINGS)(inputs))
    model.layers[-1].set_weights(WEIGHTS)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.layers[-1]) is BatchNormalization
    np.testing.assert_array_equal(again(maps(), training=True), model(maps(), training=True))


def test_files_of_weights_fit_keras_layer_and_back(tmp_path):
    def model(kind):
        inputs = keras.Input((4, 4, 3))
        return keras.Model(inputs, kind()(keras.layers.Conv2D(3, 1)(inputs)))

    own, kerass = model(BatchNormalization), model(keras.layers.BatchNormalization)
    for source, other in ((own, kerass), (kerass, own)):
        source.layers[-1].set_weights([weight + 1 for weight in source.layers[-1].get_weights()])
        source.save_weights(tmp_path / "of.weights.h5")
        other.load_weights(tmp_path / "of.weights.h5")
        np.testing.assert_array_equal(other.layers[-1].get_weights(), source.layers[-1].get_weights())


def test_beside_an_accelerator_it_is_keras_layer(monkeypatch):
    monkeypatch.setattr("eokeras.normalization._runs_on_tensorflow_and_cpu", lambda: False)
    x = maps() + 1000  # which XLA's own expansion of the fused kernel does not bear
    ours, theirs = (
        tf.function(lambda x, layer=layer: layer(x, training=True), jit_compile=True)(x)
        for layer in (built(BatchNormalization), built(keras.layers.BatchNormalization))
    )
    np.testing.assert_array_equal(ours, theirs)
