"""One checker per kind of object: layers, models, and dict -> dict operations of tf.data.

Each runs what differs more often than one would think: eager against traced, built against
saved and reloaded, float32 against mixed precision.
"""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from eokeras.programs import compiling


def to_numpy(structure):
    """The same structure with NumPy arrays as leaves (keys sorted where it is a dict)."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, structure)


def assert_same(received, expected, **tolerance):
    """Asserts equal structure and equal numbers."""
    keras.tree.assert_same_structure(received, expected)
    keras.tree.map_structure(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), received, expected)


@contextlib.contextmanager
def dtype_policy(name):
    """Builds everything inside under the dtype policy `name`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def check_layer(layer, inputs, shape, tmp_path):
    """Checks a layer on `inputs` (one array or a list of arrays); returns its output as NumPy.

    Output of the given `shape` (a list of outputs: of the given list of shapes), in the layer's
    compute dtype; equal through the configuration, through `tf.function` with unknown sizes, and
    through a model saved and reloaded.
    """
    output = layer(inputs)
    shapes = shape if isinstance(output, list) else [shape]
    assert [tuple(one.shape) for one in keras.tree.flatten(output)] == [tuple(one) for one in shapes]
    for one in keras.tree.flatten(output):
        assert keras.backend.standardize_dtype(one.dtype) == layer.compute_dtype
    expected = to_numpy(output)

    twin = type(layer).from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()

    arrays = inputs if isinstance(inputs, list) else [inputs]
    unknown = [tf.TensorSpec([None, *[None] * (x.ndim - 2), x.shape[-1]], x.dtype) for x in arrays]
    traced = tf.function(lambda *xs: layer(list(xs) if isinstance(inputs, list) else xs[0]), input_signature=unknown)
    assert_same(to_numpy(traced(*arrays)), expected, rtol=1e-5, atol=1e-6)

    symbols = [keras.Input(x.shape[1:], dtype=str(x.dtype)) for x in arrays]
    model = keras.Model(symbols, layer(symbols if isinstance(inputs, list) else symbols[0]))
    assert [one.shape[1:] for one in model.outputs] == [tuple(one)[1:] for one in shapes]
    model.save(tmp_path / "layer.keras")
    reloaded = keras.models.load_model(tmp_path / "layer.keras")
    assert_same(to_numpy(reloaded(arrays)), expected, rtol=1e-6, atol=1e-6)
    return expected


def small_encoder(shape, name, width=3):
    """An encoder of two levels that costs little to build and trace."""
    inputs = keras.Input(shape, name=name)
    fine = keras.layers.Conv2D(width, 3, padding="same", activation="relu")(inputs)
    coarse = keras.layers.Conv2D(width, 3, padding="same", activation="relu")(keras.layers.MaxPooling2D()(fine))
    return keras.Model([inputs], {"stride_1": fine, "stride_2": coarse}, name=f"{name}_small")


def check_model(build, inputs, shapes, tmp_path, logits=True):
    """Checks the model that `build()` gives on a dict of `inputs`; returns the model.

    Outputs of the given `shapes` (a dict), float32 and finite; equal through `tf.function` and
    through the saved and reloaded model; under mixed precision float32 where they are `logits`,
    of the compute dtype where they are the levels of an encoder.
    """
    model = build()
    assert {tensor.name for tensor in model.inputs} <= set(inputs)
    outputs = to_numpy(model(inputs))
    assert {name: value.shape for name, value in outputs.items()} == shapes
    for name, tensor in model.output.items():
        assert tf.TensorShape(tensor.shape).is_compatible_with(shapes[name]), name
    for value in outputs.values():
        assert value.dtype == np.float32
        assert np.isfinite(value).all()

    assert_same(to_numpy(tf.function(model)(inputs)), outputs, rtol=1e-4, atol=1e-4)
    model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(to_numpy(reloaded(inputs)), outputs, rtol=1e-5, atol=1e-5)
    assert reloaded.output_names == model.output_names

    for policy in ("mixed_bfloat16", "mixed_float16"):
        with dtype_policy(policy):
            half = build()
        for output in half(inputs).values():
            expected = "float32" if logits else policy.removeprefix("mixed_")
            assert keras.backend.standardize_dtype(output.dtype) == expected
            assert np.isfinite(to_numpy(output).astype("float32")).all()
    return model


def check_saved_model(model, inputs, tmp_path):
    """Checks that a model with a dict of outputs answers the same after export, which traces its unknown sizes."""
    names = [tensor.name for tensor in model.inputs]
    signature = {tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name) for tensor in model.inputs}
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serve", lambda data: model([data[name] for name in names], training=False), input_signature=[signature]
    )
    archive.write_out(str(tmp_path / "exported"), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    data = {name: tf.constant(inputs[name]) for name in names}
    assert_same(to_numpy(loaded.serve(data)), to_numpy(model(inputs)), rtol=1e-4, atol=1e-4)


def check_gradients(model, inputs):
    """Checks that the gradient of its outputs reaches every trainable weight of a model, no kernel's being zero."""
    with tf.GradientTape() as tape:
        outputs = model(inputs, training=True)
        loss = sum(keras.ops.mean(keras.ops.square(output - 1.0)) for output in outputs.values())
    weights = model.trainable_variables
    pairs = list(zip(weights, tape.gradient(loss, [weight.value for weight in weights]), strict=True))
    assert [weight.path for weight, gradient in pairs if gradient is None] == []
    kernels = [(weight, np.abs(gradient).max()) for weight, gradient in pairs if weight.name == "kernel"]
    assert kernels
    assert [weight.path for weight, largest in kernels if not largest > 0] == []


def count_trainable(model):
    """Number of trainable weights of a model, from the shapes of its variables."""
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def check_op(op, example):
    """Checks a dict -> dict function for `Dataset.map` on one example; returns its output as NumPy.

    Leaves its input as it is; eager equals mapped, operation by operation and as programs of XLA; dtypes and shapes
    are those of `element_spec`.
    """
    tensors = {name: tf.convert_to_tensor(value) for name, value in example.items()}
    given = dict(tensors)
    eager = op(tensors)
    assert tensors.keys() == given.keys(), "the operation changed its input"
    assert all(tensors[name] is given[name] for name in given), "the operation changed its input"

    for is_compiled in (False, True):
        with compiling(is_compiled):
            mapped = tf.data.Dataset.from_tensors(tensors).map(op)
        _assert_maps_to(mapped, eager)
    return {name: value.numpy() for name, value in eager.items()}


def _assert_maps_to(mapped, eager):
    (element,) = mapped
    assert element.keys() == eager.keys() == mapped.element_spec.keys()
    for name, spec in mapped.element_spec.items():
        assert spec.dtype == eager[name].dtype == element[name].dtype, name
        assert spec.shape.is_compatible_with(element[name].shape), name
        assert eager[name].shape == element[name].shape, name
        if spec.dtype == tf.string:
            np.testing.assert_array_equal(element[name].numpy(), eager[name].numpy())
        else:
            np.testing.assert_allclose(element[name].numpy(), eager[name].numpy(), rtol=1e-6, atol=1e-6)
