"""Batch normalisation in one pass on TensorFlow, where Keras takes six.

Letters: B batch, H rows, W columns, C channels.
"""

import functools

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="eokeras")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, by TensorFlow's fused kernel while it trains on maps.

    The same arguments, weights and numbers as Keras' layer, moving variance included; files of weights fit both. Keras
    composes mean, variance, scaling and their gradients of single operations; each passes over the whole map. It is
    Keras' layer on another backend, beside an accelerator, in inference, with `axis` other than the last, `mask`,
    `renorm` or `synchronized`, and of other than maps.

    With an accelerator Keras lets XLA compile a step. XLA fuses single operations by itself, and takes the kernel
    for E[x^2] - E[x]^2, which single precision does not bear where a mean is far from zero. So do not ask for
    `compile(jit_compile=True)` on a CPU, where it is also slower.

    Input shape:
        (B, H, W, C), or whatever Keras' layer takes.

    Output shape:
        The same.

    Example:
        >>> import numpy as np
        >>> x = np.array([1.0, 3.0], "float32").reshape(2, 1, 1, 1)
        >>> layer = BatchNormalization(momentum=0.9, epsilon=1e-3)
        >>> np.array(layer(x, training=True)).ravel().round(3).tolist()
        [-1.0, 1.0]
        >>> [float(round(float(moved[0]), 3)) for moved in (layer.moving_mean, layer.moving_variance)]
        [0.2, 1.0]

    Reference:
        Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167
    """

    def call(self, inputs, training=None, mask=None):
        """Normalises `inputs`; by their own statistics while `training`."""
        if not (training and self.trainable and mask is None and self._is_fused(inputs)):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        scale, offset = (ops.cast(weight, x.dtype) for weight in (self.gamma, self.beta))
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(x, scale, offset, epsilon=self.epsilon)
        # The kernel tells the variance of the population, n / (n - 1) times that of the batch, which Keras keeps.
        count = tf.cast(tf.size(x) // x.shape[-1], x.dtype)
        variance = variance * (count - 1) / count
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(ops.cast(moving, x.dtype) * self.momentum + value * (1 - self.momentum))
        return ops.cast(outputs, self.compute_dtype)

    def _is_fused(self, inputs) -> bool:
        is_plain = self.scale and self.center and not self.synchronized and not getattr(self, "renorm", False)
        is_map = len(inputs.shape) == 4 and self.axis in (-1, 3)
        return is_plain and is_map and inputs.dtype != "float64" and _runs_on_tensorflow_and_cpu()


@functools.cache
def _runs_on_tensorflow_and_cpu() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return {device.device_type for device in tf.config.list_logical_devices()} == {"CPU"}
