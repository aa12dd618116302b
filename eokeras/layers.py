"""Layers that Keras lacks.

Letters: B batch, H rows, W columns, C channels, N tokens, D features, M modalities.
"""

from fractions import Fraction

import keras
import numpy as np
from keras import ops

from eokeras.calibration import Calibration, apply
from eokeras.errors import InvalidArgumentError, check_choices


@keras.saving.register_keras_serializable(package="eokeras")
class MatchSize(keras.layers.Layer):
    """Zero-pads or crops a map to the height and width of a reference map.

    Half of the difference, rounded down, is added or cut off at the top and at the left, the rest
    at the bottom and at the right. Padding is what the U-Net of the tutorial does where halving an
    odd size and doubling it again left a map one row short of its skip connection; cropping is
    what is needed where halving rounds up, as it does in a residual network.

    Input shape:
        Two maps `[x, reference]`: (B, H, W, C) and (B, H', W', C'). Sizes may be unknown when
        the model is built.

    Output shape:
        (B, H', W', C); equal to `x` where the sizes agree already.

    Raises:
        InvalidArgumentError: the inputs are not two maps.

    Example:
        >>> padded = MatchSize()([np.ones((1, 14, 14, 8)), np.ones((1, 15, 15, 4))])
        >>> tuple(padded.shape)
        (1, 15, 15, 8)
        >>> tuple(MatchSize()([np.ones((1, 16, 16, 8)), np.ones((1, 15, 15, 4))]).shape)
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
        padding = [[0, 0], _in_half(rows), _in_half(columns), [0, 0]]
        (top, _), (left, _) = _in_half(-rows), _in_half(-columns)
        matched = ops.pad(x, padding)[:, top : top + target_height, left : left + target_width]
        # A pad of unknown width makes TensorFlow forget the channels, and convolutions then take a slow path.
        return ops.reshape(matched, (batch, target_height, target_width, x.shape[-1]))

    def compute_output_shape(self, input_shape):
        x, reference = _check_pair(input_shape)
        return (x[0], reference[1], reference[2], x[3])


def _check_pair(shapes):
    if not isinstance(shapes, (list, tuple)) or len(shapes) != 2 or any(len(shape) != 4 for shape in shapes):
        raise InvalidArgumentError(
            "`inputs` must be two maps [x, reference] of shape (batch, height, width, channels). "
            f"Received: shapes={shapes}."
        )
    return tuple(shapes[0]), tuple(shapes[1])


def _in_half(difference):
    """(smaller half, larger half) of a difference; (0, 0) where it is negative."""
    difference = max(difference, 0) if isinstance(difference, int) else ops.maximum(difference, 0)
    return [difference // 2, difference - difference // 2]


@keras.saving.register_keras_serializable(package="eokeras")
class Enlarge(keras.layers.Layer):
    """Enlarges height and width bilinearly with half-pixel centres, also where they are unknown.

    Keras' `UpSampling2D(interpolation="bilinear")` computes the same for whole factors, but fails
    in a graph of unknown height and width, which a SavedModel for scenes of any size needs: it
    asks whether they are positive.

    Args:
        factor: how many times as large the map becomes, 1 or more; 1.5 brings a grid of 60 m to 40 m.

    Input shape:
        (B, H, W, C).

    Output shape:
        (B, factor H, factor W, C), sizes rounded down.

    Raises:
        InvalidArgumentError: `factor` is no number of at least 1.

    Example:
        >>> [float(value) for value in Enlarge()(ops.array([[[[0.0], [1.0]]]]))[0, 0, :, 0]]
        [0.0, 0.25, 0.75, 1.0]
        >>> tuple(Enlarge(1.5)(np.ones((1, 20, 20, 2))).shape)
        (1, 30, 30, 2)
    """

    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(factor, (int, float)) or isinstance(factor, bool) or not 1 <= factor < float("inf"):
            raise InvalidArgumentError(f"`factor` must be a number of at least 1. Received: factor={factor!r}.")
        self.factor = float(factor)

    def call(self, inputs):
        _, height, width, _ = ops.shape(inputs)
        size = (self._enlarged(height), self._enlarged(width))
        if isinstance(height, int) and isinstance(width, int):
            return ops.image.resize(inputs, size, interpolation="bilinear")
        # Only the TensorFlow backend traces with unknown sizes; this is what it would call itself.
        import tensorflow as tf

        return tf.cast(tf.image.resize(inputs, size, method="bilinear"), inputs.dtype)

    def _enlarged(self, size):
        """In whole numbers: 100 times 1.15 is 114.99... in floating point."""
        ratio = Fraction(self.factor).limit_denominator(1000)
        return None if size is None else size * ratio.numerator // ratio.denominator

    def compute_output_spec(self, inputs):
        batch, height, width, channels = inputs.shape
        shape = (batch, self._enlarged(height), self._enlarged(width), channels)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self):
        return super().get_config() | {"factor": self.factor}


def sine_cosine_positions(rows, columns, width):
    """Fixed positions of a grid of tokens: sines and cosines of column and row at many wavelengths.

    The features of the token at (row r, column c) are, in four quarters of D / 4 each,
    sin(w_i c), cos(w_i c), sin(w_i r), cos(w_i r) with w_i = 10000 ** (-i / (D / 4)).

    Args:
        rows, columns: size of the grid.
        width: features D of a token, a multiple of 4.

    Returns:
        (rows * columns, D) float32 NumPy array, row by row.

    Raises:
        InvalidArgumentError: `width` is no positive multiple of 4.

    Example:
        >>> print(sine_cosine_positions(1, 2, 4).round(2))
        [[0.   1.   0.   1.  ]
         [0.84 0.54 0.   1.  ]]

    Reference:
        He et al. 2021, https://arxiv.org/abs/2111.06377 (its code); for plain transformers also
        Beyer et al. 2022, https://arxiv.org/abs/2205.01580
    """
    if not isinstance(width, int) or isinstance(width, bool) or width < 4 or width % 4:
        raise InvalidArgumentError(
            f"`width` must be a positive multiple of 4: positions have four parts. Received: width={width!r}."
        )
    frequencies = 10000.0 ** (-np.arange(width // 4) / (width // 4))
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    angles = [axis.reshape(-1, 1) * frequencies for axis in (column, row)]
    parts = [function(angle) for angle in angles for function in (np.sin, np.cos)]
    return np.concatenate(parts, axis=1).astype("float32")


@keras.saving.register_keras_serializable(package="eokeras")
class PatchEmbed(keras.layers.Layer):
    """Cuts a map into square patches and makes each a token: one linear map plus its fixed position.

    Args:
        patch_size: rows and columns P of a patch.
        width: features D of a token, a multiple of 4.
        channels: indices of the channels that it reads, in their order. None: all.

    Input shape:
        (B, H, W, C) with fixed H and W that P divides.

    Output shape:
        (B, N, D), N = (H / P) * (W / P) tokens, row by row.

    Raises:
        InvalidArgumentError: `patch_size` is no positive integer or does not divide a fixed height
            and width, `width` is no positive multiple of 4, or the input lacks a channel of `channels`.

    Example:
        >>> tuple(PatchEmbed(12, 256)(np.ones((1, 120, 120, 14), "float32")).shape)
        (1, 100, 256)

    Reference:
        Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929; positions: `sine_cosine_positions`
    """

    def __init__(self, patch_size, width, channels=None, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(patch_size, int) or isinstance(patch_size, bool) or patch_size < 1:
            raise InvalidArgumentError(f"`patch_size` must be a positive integer. Received: patch_size={patch_size!r}.")
        self.patch_size, self.width = patch_size, width
        self.channels = None if channels is None else tuple(channels)

    def build(self, input_shape):
        self.grid = rows, columns = self._grid(input_shape)
        self.positions = sine_cosine_positions(rows, columns, self.width)
        if self.channels is not None:
            check_choices("channels", self.channels, range(input_shape[-1]))
        read = input_shape[-1] if self.channels is None else len(self.channels)
        # Each token is one linear map of P * P * C numbers: keep their variance.
        shape = (self.patch_size, self.patch_size, read, self.width)
        self.kernel = self.add_weight(shape=shape, initializer="lecun_normal", name="kernel")
        self.bias = self.add_weight(shape=(self.width,), initializer="zeros", name="bias")
        self.built = True

    def select(self, inputs):
        """(B, H, W, C) -> the channels that it reads, (B, H, W, len(channels))."""
        return inputs if self.channels is None else ops.take(inputs, self.channels, axis=-1)

    def call(self, inputs):
        inputs = self.select(inputs)
        tokens = ops.conv(inputs, self.kernel, strides=self.patch_size, padding="valid", data_format="channels_last")
        tokens = ops.reshape(tokens, (-1, *self.positions.shape))
        return tokens + self.bias + ops.cast(self.positions, tokens.dtype)

    def compute_output_shape(self, input_shape):
        rows, columns = self._grid(input_shape)
        return (input_shape[0], rows * columns, self.width)

    def _grid(self, shape):
        _, height, width, _ = shape
        if None in (height, width) or height % self.patch_size or width % self.patch_size:
            raise InvalidArgumentError(
                "`patch_size` must divide a fixed height and width. "
                f"Received: patch_size={self.patch_size}, height={height}, width={width}."
            )
        return height // self.patch_size, width // self.patch_size

    def get_config(self):
        return super().get_config() | {
            "patch_size": self.patch_size,
            "width": self.width,
            "channels": self.channels,
        }


@keras.saving.register_keras_serializable(package="eokeras")
class DropModality(keras.layers.Layer):
    """Sets missing modalities to zero and, in training, drops whole modalities of whole patches at random.

    A model that has met every subset of its sensors in training still answers when one is missing.
    Each modality that is present is dropped with probability `rate`, each patch for itself; where
    that would leave a patch with none, one that is present is kept, each with equal chance. With M
    modalities present, one is therefore dropped with probability rate - rate ** M / M.

    Args:
        rate: probability in [0, 1).
        groups: for each `x` the index of its presence, for inputs that come and go together, as the
            stored bands of one sensor: (0, 0, 0, 1) for s2_10m, s2_20m, s2_60m, s1. None: a
            presence for each `x`.
        seed: of the draws; None takes a new one.

    Input shape:
        A list `[x_1 .. x_M, p_1 .. p_K]`: x_m (B, ...) of any rank, also with NaN where missing; p_k
        (B, 1) presence, 1 or 0. K = M unless `groups` says otherwise.

    Output shape:
        A list of M arrays, shaped as x_1 .. x_M.

    Raises:
        InvalidArgumentError: `rate` or `groups` is out of range, or the inputs do not fit `groups`.

    Example:
        >>> s2, s1 = np.ones((1, 2, 2, 12)), np.full((1, 2, 2, 2), np.nan)
        >>> s2, s1 = DropModality(0.3)([s2, s1, np.array([[1.0]]), np.array([[0.0]])])
        >>> float(ops.sum(s2)), float(ops.sum(s1))
        (48.0, 0.0)

    Reference:
        Neverova et al. 2015 (ModDrop), https://arxiv.org/abs/1501.00102
    """

    def __init__(self, rate, groups=None, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(rate, (int, float)) or isinstance(rate, bool) or not 0 <= rate < 1:
            raise InvalidArgumentError(f"`rate` must be a probability in [0, 1). Received: rate={rate!r}.")
        if groups is not None and sorted(set(groups)) != list(range(len(set(groups)))):
            raise InvalidArgumentError(
                "`groups` must hold the index of the presence of each modality, counted from 0. "
                f"Received: groups={groups!r}."
            )
        self.rate, self.groups, self.seed = float(rate), None if groups is None else tuple(groups), seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        self._split(input_shape)
        self.built = True

    def call(self, inputs, training=False):
        values, presences, groups = self._split(inputs)
        present = ops.concatenate([ops.reshape(presence, (-1, 1)) for presence in presences], axis=1) > 0.5
        if training and self.rate > 0:
            present = self._keep(present)
        return [_mask(x, present[:, group]) for x, group in zip(values, groups, strict=True)]

    def _keep(self, present):
        """(B, K) of those present and not dropped; the largest draw always stays, so that one does."""
        draws = keras.random.uniform(ops.shape(present), dtype="float32", seed=self.seed_generator)
        draws = ops.where(present, draws, -1.0)
        kept = ops.logical_or(draws >= self.rate, draws == ops.max(draws, axis=1, keepdims=True))
        return ops.logical_and(present, kept)

    def _split(self, inputs):
        """x_1 .. x_M, p_1 .. p_K and the index of the presence of each x; takes arrays or shapes."""
        count = len(inputs) if isinstance(inputs, (list, tuple)) else 0
        groups = tuple(range(count // 2)) if self.groups is None else self.groups
        if not groups or count != len(groups) + len(set(groups)):
            raise InvalidArgumentError(
                "`inputs` must be a list of modalities [x_1 .. x_M] and then of their presences [p_1 .. p_K]. "
                f"Received: {count} inputs with groups={self.groups}."
            )
        return inputs[: len(groups)], inputs[len(groups) :], groups

    def compute_output_shape(self, input_shape):
        return [tuple(shape) for shape in self._split(input_shape)[0]]

    def get_config(self):
        return super().get_config() | {"rate": self.rate, "groups": self.groups, "seed": self.seed}


def _mask(x, present):
    """`x` where its patch is `present` (B,), else 0; a product would pass NaN on."""
    present = ops.reshape(present, (-1, *[1] * (len(x.shape) - 1)))
    return ops.where(present, x, ops.zeros_like(x))


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
