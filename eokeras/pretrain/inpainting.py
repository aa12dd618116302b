"""Inpainting: a convolutional encoder learns by painting squares that were cut out of its input.

Letters: B batch, H rows, W columns, C channels.
"""

import keras
from keras import ops

from eokeras.errors import InvalidArgumentError, check_number
from eokeras.models.encoders.contract import check_positive
from eokeras.models.heads import map_head
from eokeras.models.tasks import multitask
from eokeras.pretrain.masking import (
    check_inputs,
    check_no_weights,
    hidden_count,
    hidden_mean_squares,
    random_orders,
    valid_values,
)

PAINTED = "_painted"
"""Ends the name of the output that paints an input: `s2_painted`."""


@keras.saving.register_keras_serializable(package="eokeras")
class Inpainter(keras.Model):
    """A context encoder: cuts squares out of the input and paints them from what is around them.

    `compile(optimizer)` without a loss, then `fit` on batches (inputs, targets) of `make_dataset`; targets are not
    read. The image is divided into squares, of which an exact number is cut out anew in every step: the same
    ground in all inputs. Validation and prediction take fixed ones for a batch size. The loss is the mean squared
    error over the pixels cut out, averaged over the inputs. (The paper adds an adversarial loss; this is its
    reconstruction alone.)

    NaN and infinities, and what an input `<name>_mask` marks with 0, enter as `fill` and have no part in the loss.

    Args:
        encoder: a functional model from maps of one height and width to a dict of levels: `unet`, `resnet`, or a
            fusion of such.
        decoder: a function `(levels, name)` -> levels, as `unet_decoder(64)`. None: the finest level of the encoder
            is read, enlarged where it is coarser than the input.
        mask_ratio: share of the squares that is cut out.
        square: rows and columns of a square in pixels; those at the lower and right edge may be smaller.
        fill: what stands in the squares. 0 is the mean where inputs are standardised; 0.5 the middle
            where they were calibrated to [0, 1].
        seed: of the squares; None takes a new one. A model that was loaded begins with its first ones again.

    Input shape:
        A dict of the encoder's inputs, (B, H, W, C), calibrated float32; further keys are left alone.

    Output shape:
        A dict of `<input>_painted` (B, H, W, C) float32 for every input, and `hidden` (B, H, W, 1) float32, 1 where
        pixels were cut out.

    Raises:
        InvalidArgumentError: an argument is out of range, an input is no map, nothing or everything would be
            cut out, an input is missing, inputs differ in height or width, or batches have a third part.

    Example:
        >>> import numpy as np
        >>> from eokeras.models import unet_decoder, unet_encoder
        >>> encoder = unet_encoder((32, 32, 2), width=2, name="s1")
        >>> painter = Inpainter(encoder, unet_decoder(2), square=8, seed=0)
        >>> painter.compile("adam")
        >>> history = painter.fit({"s1": np.zeros((4, 32, 32, 2), "float32")}, verbose=0)
        >>> sorted(painter.encoder.output)[:2]
        ['stride_1', 'stride_16']

    Reference:
        Pathak et al. 2016, https://arxiv.org/abs/1604.07379
    """

    def __init__(self, encoder, decoder=None, mask_ratio=0.25, square=16, fill=0.0, seed=None, **kwargs):
        network = kwargs.pop("network", None)
        super().__init__(**kwargs)
        _check_encoder(encoder)
        check_positive("square", square)
        hidden_count("mask_ratio", mask_ratio, 1)
        self.encoder = encoder
        self.mask_ratio, self.square, self.seed = mask_ratio, square, seed
        self.fill = check_number("fill", fill)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.network = network or _network(encoder, decoder)
        self.built = True  # all layers are, from the shapes of the encoder

    def call(self, inputs, training=False):
        check_inputs(inputs, self.encoder.inputs)
        hidden = self.draw_squares(inputs, self.seed_generator if training else self.seed or 0)
        return self.paint(inputs, hidden)

    def draw_squares(self, inputs, seed):
        """Random squares, (B, H, W, 1) float32: 1 where pixels are cut out.

        Args:
            inputs: as of the model; their number and size are taken.
            seed: an integer or a `keras.random.SeedGenerator`.
        """
        names = [tensor.name for tensor in self.encoder.inputs]
        sizes = {tuple(inputs[name].shape[1:3]) for name in names}
        if len(sizes) > 1 or None in (*sizes,)[0]:
            raise InvalidArgumentError(f"`inputs` must have one known height and width. Received: {sorted(sizes)}.")
        height, width = sizes.pop()
        rows, columns = -(-height // self.square), -(-width // self.square)
        count = hidden_count("mask_ratio", self.mask_ratio, rows * columns)
        if not 0 < count < rows * columns:
            raise InvalidArgumentError(
                f"`mask_ratio` must cut out some squares and leave some. Received: mask_ratio={self.mask_ratio}, which "
                f"cuts out {count} of {rows * columns} squares of {self.square} pixels."
            )
        # The place of a square in a random order is a random number of its own: the first ones are cut out.
        places = random_orders((ops.shape(inputs[names[0]])[0], rows * columns), seed)
        hidden = ops.cast(ops.reshape(places < count, (-1, rows, columns, 1)), "float32")
        hidden = ops.repeat(ops.repeat(hidden, self.square, axis=1), self.square, axis=2)
        return hidden[:, :height, :width]

    def paint(self, inputs, hidden):
        """What `call` gives, where `hidden` (B, H, W, 1) is 1 at the pixels that are cut out."""
        cut = {}
        for tensor in self.encoder.inputs:
            values, valid = valid_values(inputs, tensor.name)
            cut[tensor.name] = ops.where(valid * (1.0 - hidden) > 0, values, self.fill)
        return self.network(cut) | {"hidden": hidden}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        check_no_weights(sample_weight)
        losses = []
        for tensor in self.encoder.inputs:
            values, valid = valid_values(x, tensor.name)
            losses.append(hidden_mean_squares(y_pred[tensor.name + PAINTED], values, valid * y_pred["hidden"]))
        return sum(losses) / len(losses) + sum((ops.cast(loss, "float32") for loss in self.losses), 0.0)

    def get_config(self):
        return super().get_config() | {
            # The network holds the encoder as a layer: one description, so that they share it after loading too.
            "network": keras.saving.serialize_keras_object(self.network),
            "encoder": self.encoder.name,
            "mask_ratio": self.mask_ratio,
            "square": self.square,
            "fill": self.fill,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        network = keras.saving.deserialize_keras_object(config["network"], custom_objects)
        return cls(**config | {"network": network, "encoder": network.get_layer(config["encoder"])})


def _network(encoder, decoder):
    """Inputs -> a painted one of each."""
    heads = {tensor.name + PAINTED: map_head(tensor.shape[-1]) for tensor in encoder.inputs}
    if decoder is None:
        return multitask(encoder, heads, name="painter")
    # One decoder for all heads: as a backbone of its own around the encoder.
    inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name) for x in encoder.inputs]
    levels = decoder(encoder(inputs), name="decoder")
    return keras.Model(inputs, {task: head(levels, name=task) for task, head in heads.items()}, name="painter")


def _check_encoder(encoder):
    if not isinstance(encoder, keras.Model) or not isinstance(getattr(encoder, "output", None), dict):
        raise InvalidArgumentError(
            f"`encoder` must be a functional model that gives a dict of levels, as `unet` does. Received: {encoder!r}."
        )
    vectors = [tensor.name for tensor in encoder.inputs if len(tensor.shape) != 4]
    if vectors:
        raise InvalidArgumentError(f"`encoder` must read maps alone. Received: inputs {', '.join(vectors)}.")
