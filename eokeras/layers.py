"""Layers that Keras lacks. Letters: B batch, H rows, W columns, C channels."""

import keras
from keras import ops

from eokeras.calibration import Calibration, apply
from eokeras.errors import InvalidArgumentError, check_choices


@keras.saving.register_keras_serializable(package="eokeras")
class PadLike(keras.layers.Layer):
    """Zero-pads a map to the height and width of a reference map.

    Half of the difference, rounded down, goes to the top and to the left, the rest to
    the bottom and to the right: what the U-Net of the tutorial does where halving an odd
    size and doubling it again left a map one row or column short of its skip connection.

    Input shape:
        Two maps `[x, reference]`: (B, H, W, C) and (B, H', W', C') with H' >= H and
        W' >= W. Sizes may be unknown when the model is built.

    Output shape:
        (B, H', W', C); equal to `x` where the sizes agree already.

    Raises:
        InvalidArgumentError: `reference` is known to be smaller than `x`, or an input is no map.

    Example:
        >>> import numpy as np
        >>> padded = PadLike()([np.ones((1, 14, 14, 8)), np.ones((1, 15, 15, 4))])
        >>> tuple(padded.shape)
        (1, 15, 15, 8)

    Reference:
        Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597; padding as in
        https://github.com/milesial/Pytorch-UNet
    """

    def build(self, input_shape):
        _check_pair(input_shape)
        self.built = True

    def call(self, inputs):
        x, reference = inputs
        batch, height, width, _ = ops.shape(x)
        _, target_height, target_width, _ = ops.shape(reference)
        rows, columns = target_height - height, target_width - width
        if isinstance(rows, int) and isinstance(columns, int) and rows == columns == 0:
            return x
        top, left = rows // 2, columns // 2
        padded = ops.pad(x, [[0, 0], [top, rows - top], [left, columns - left], [0, 0]])
        # A pad of unknown width makes TensorFlow forget the channels, and convolutions then take a slow path.
        return ops.reshape(padded, (batch, target_height, target_width, x.shape[-1]))

    def compute_output_shape(self, input_shape):
        x, reference = _check_pair(input_shape)
        return (x[0], reference[1], reference[2], x[3])


def _check_pair(shapes):
    if not isinstance(shapes, (list, tuple)) or len(shapes) != 2 or any(len(shape) != 4 for shape in shapes):
        raise InvalidArgumentError(
            "`inputs` must be two maps [x, reference] of shape (batch, height, width, channels). "
            f"Received: shapes={shapes}."
        )
    x, reference = shapes
    for axis in (1, 2):
        if None not in (x[axis], reference[axis]) and reference[axis] < x[axis]:
            raise InvalidArgumentError(
                f"`reference` must be at least as large as `x`. Received: x={tuple(x)}, reference={tuple(reference)}."
            )
    return tuple(x), tuple(reference)


@keras.saving.register_keras_serializable(package="eokeras")
class Double(keras.layers.Layer):
    """Doubles height and width bilinearly with half-pixel centres, also where they are unknown.

    Keras' `UpSampling2D(interpolation="bilinear")` computes the same, but fails in a graph of
    unknown height and width, which a SavedModel for scenes of any size needs: it asks whether
    they are positive.

    Input shape:
        (B, H, W, C).

    Output shape:
        (B, 2 H, 2 W, C).

    Example:
        >>> [float(value) for value in Double()(ops.array([[[[0.0], [1.0]]]]))[0, 0, :, 0]]
        [0.0, 0.25, 0.75, 1.0]
    """

    def call(self, inputs):
        _, height, width, _ = ops.shape(inputs)
        size = (2 * height, 2 * width)
        if isinstance(height, int) and isinstance(width, int):
            return ops.image.resize(inputs, size, interpolation="bilinear")
        # Only the TensorFlow backend traces with unknown sizes; this is what it would call itself.
        import tensorflow as tf

        return tf.cast(tf.image.resize(inputs, size, method="bilinear"), inputs.dtype)

    def compute_output_spec(self, inputs):
        batch, height, width, channels = inputs.shape
        shape = (batch, height and 2 * height, width and 2 * width, channels)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)


@keras.saving.register_keras_serializable(package="eokeras")
class Calibrate(keras.layers.Layer):
    """Turns stored numbers into network inputs: selects channels, replaces missing numbers, scales.

    The arithmetic is `eokeras.calibration.apply`, the same that `make_dataset` uses.

    Args:
        calibration: a `Calibration` (or its `to_dict`) of the channels wanted, in their order.
        channels: names of the channels of the input, in its order.

    Input shape:
        (..., C) float32 stored numbers; NaN and infinities are allowed.

    Output shape:
        (..., number of channels in `calibration`), float32, finite.

    Raises:
        InvalidArgumentError: `calibration` wants a channel that `channels` lacks.

    Example:
        >>> from eokeras.calibration import calibration_for
        >>> layer = Calibrate(calibration_for("s1", "tutorial", {}, ("VH",)), channels=("VV", "VH"))
        >>> float(layer(ops.array([[-30.0, -12.5]]))[0, 0])
        0.5
    """

    def __init__(self, calibration, channels, **kwargs):
        # Whatever the policy: half precision would round digital numbers before they are scaled.
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.calibration = Calibration.from_dict(calibration) if isinstance(calibration, dict) else calibration
        self.channels = tuple(channels)
        check_choices("calibration", self.calibration.channels, self.channels)

    def call(self, inputs):
        if self.calibration.channels != self.channels:
            order = [self.channels.index(channel) for channel in self.calibration.channels]
            inputs = ops.take(inputs, order, axis=-1)
        return apply(inputs, self.calibration, ops)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], len(self.calibration.channels))

    def get_config(self):
        return super().get_config() | {"calibration": self.calibration.to_dict(), "channels": list(self.channels)}
