"""Masked autoencoding: an encoder that sees a quarter of the patches learns what the rest must look like.

Letters: B batch, H rows, W columns, C channels, P patch size, G groups, N tokens of a group, D features.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from eokeras.errors import InvalidArgumentError, check_choice, check_choices
from eokeras.models.encoders.contract import check_positive
from eokeras.models.encoders.transformer import EPSILON, run_blocks, token_groups, transformer_block
from eokeras.pretrain.masking import (
    RestoreTokens,
    check_inputs,
    check_no_weights,
    hidden_count,
    hidden_mean_squares,
    patch_moments,
    random_orders,
    to_images,
    to_patches,
    valid_values,
)

MASKINGS = ("independent", "consistent")


@keras.saving.register_keras_serializable(package="eokeras")
class MaskedAutoencoder(keras.Model):
    """A masked autoencoder: hides most patches, encodes the others, predicts the pixels of the hidden ones.

    `compile(optimizer)` without a loss, then `fit` on batches (inputs, targets) of `make_dataset`; targets are not
    read. Every step draws new masks, with an exact number of hidden patches; validation and prediction take
    fixed ones for a batch size, so that their losses can be compared. The encoder never reads a hidden pixel. The
    loss is the mean squared error over hidden pixels, averaged over the groups that hide any.

    NaN and infinities of the inputs, and what an input `<name>_mask` marks with 0, enter as 0 and have no part in
    the loss.

    Args:
        encoder: a `models.vit` or, for several groups of channels or sensors, a `models.group_vit`. After
            pretraining it is fine-tuned as it is, or its weights are loaded into one built alike.
        mask_ratio: share of the patches of every group that is hidden; or a dict of group -> share, as
            `{"s2": 0.75, "s1": 1.0}` to see s1 in s2 alone.
        masking: "independent": each group draws its own patches; "consistent": all hide the same places. Bands that
            were upsampled to one grid, and sensors that see the same ground, tell much of each other's hidden
            patches under independent masks.
        normalise: predict patches less their mean and divided by their standard deviation.
        decoder_width: features of a token in the decoder, a multiple of 4 and of `decoder_heads`.
        decoder_depth, decoder_heads, decoder_mlp_width: its blocks, as of `vit`. The defaults are the tutorial's.
        seed: of the masks; None takes a new one. A model that was loaded begins with the first masks of its seed again.

    Input shape:
        A dict of the encoder's inputs, (B, H, W, C), calibrated float32; further keys are left alone.

    Output shape:
        A dict of group -> dict of `patches` (B, N, P * P * C) float32, predictions for all patches row by row, and
        `hidden` (B, N) float32, 1 where a patch was hidden; without groups that hide nothing.

    Raises:
        InvalidArgumentError: an argument is out of range, nothing or everything would be hidden, an input is
            missing, or batches have a third part.

    Example:
        >>> from eokeras.models import vit
        >>> encoder = vit((24, 24, 2), patch_size=6, width=16, depth=1, mlp_width=32, name="s1")
        >>> mae = MaskedAutoencoder(encoder, decoder_width=16, decoder_depth=1, decoder_heads=2, seed=0)
        >>> mae.compile("adam")
        >>> history = mae.fit({"s1": np.zeros((4, 24, 24, 2), "float32")}, verbose=0)
        >>> mae.encoder.output["stride_6"].shape
        (None, 4, 4, 16)

    Reference:
        He et al. 2021, https://arxiv.org/abs/2111.06377; groups of bands and both maskings: Cong et al. 2022
        (SatMAE), https://arxiv.org/abs/2207.08051
    """

    def __init__(
        self,
        encoder,
        mask_ratio=0.75,
        masking="independent",
        normalise=False,
        decoder_width=128,
        decoder_depth=4,
        decoder_heads=8,
        decoder_mlp_width=512,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_choice("masking", masking, MASKINGS)
        self.encoder = encoder
        self.groups = token_groups(encoder)
        self.grid = self.groups[0].patches.grid
        self.mask_ratio, self.masking, self.normalise, self.seed = mask_ratio, masking, bool(normalise), seed
        self.visible = self._visible_counts(mask_ratio)
        places = self.grid[0] * self.grid[1]
        self.predicted = [index for index, count in enumerate(self.visible) if count < places]
        self.decoder_numbers = {
            "decoder_width": decoder_width,
            "decoder_depth": decoder_depth,
            "decoder_heads": decoder_heads,
            "decoder_mlp_width": decoder_mlp_width,
        }
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.decoder = self._build_decoder(decoder_width, decoder_depth, decoder_heads, decoder_mlp_width)
        self.built = True  # all layers are, from the shapes of the encoder

    def _visible_counts(self, mask_ratio):
        names = [group.name for group in self.groups]
        ratios = mask_ratio if isinstance(mask_ratio, Mapping) else dict.fromkeys(names, mask_ratio)
        check_choices("mask_ratio", ratios, names)
        places = self.grid[0] * self.grid[1]
        hidden = [hidden_count("mask_ratio", ratios.get(name), places) for name in names]
        if not 0 < sum(hidden) < places * len(names):
            raise InvalidArgumentError(
                f"`mask_ratio` must hide some patches and leave some visible. Received: mask_ratio={mask_ratio!r}, "
                f"which hides {sum(hidden)} of {places * len(names)}."
            )
        return tuple(places - count for count in hidden)

    def _build_decoder(self, width, depth, heads, mlp_width):
        """[visible tokens, orders] -> predicted patches of every group."""
        for argument, value in self.decoder_numbers.items():
            check_positive(argument, value)
        if width % heads:
            raise InvalidArgumentError(
                "`decoder_width` must be a multiple of `decoder_heads`, which share it. "
                f"Received: decoder_width={width}, decoder_heads={heads}."
            )
        places = self.grid[0] * self.grid[1]
        tokens = keras.Input((sum(self.visible), self.groups[0].patches.width), name="tokens")
        orders = keras.Input((len(self.groups), places), dtype="int32", name="orders")
        x = layers.Dense(width, name="narrowing")(tokens)
        x = RestoreTokens(self.grid, self.visible, name="restoring")([x, orders])
        for index in range(1, depth + 1):
            x = transformer_block(x, heads, mlp_width, f"block_{index}")
        x = layers.LayerNormalization(epsilon=EPSILON, name="normalisation")(x)
        patches = {}
        for index in self.predicted:
            group = self.groups[index]
            own = x[:, index * places : (index + 1) * places]
            numbers = int(np.prod(group.patches.kernel.shape[:3]))
            patches[group.name] = layers.Dense(numbers, dtype="float32", name=f"patches_{group.name}")(own)
        return keras.Model([tokens, orders], patches, name="decoder")

    def call(self, inputs, training=False):
        orders = self.draw_orders(inputs, self.seed_generator if training else self._fixed_seed())
        return self.predict_patches(inputs, orders)

    def _fixed_seed(self):
        return 0 if self.seed is None else self.seed

    def draw_orders(self, inputs, seed):
        """Random orders (B, G, N) of the tokens of every group; the first ones stay visible.

        Args:
            inputs: as of the model; their number of patches is taken.
            seed: an integer or a `keras.random.SeedGenerator`.
        """
        check_inputs(inputs, self.encoder.inputs)
        batch, places = ops.shape(inputs[self.groups[0].input])[0], self.grid[0] * self.grid[1]
        if self.masking == "consistent":
            return ops.repeat(random_orders((batch, 1, places), seed), len(self.groups), axis=1)
        return random_orders((batch, len(self.groups), places), seed)

    def encode_visible(self, inputs, orders):
        """Tokens of the visible patches from the encoder, (B, visible of all groups, D), in the order drawn."""
        tokens = []
        for index, (group, count) in enumerate(zip(self.groups, self.visible, strict=True)):
            if count:
                values, _ = valid_values(inputs, group.input)
                chosen = orders[:, index, :count, None]
                tokens.append(ops.take_along_axis(group.patches(values), chosen, axis=1))
        tokens = ops.concatenate(tokens, axis=1) if len(tokens) > 1 else tokens[0]
        return run_blocks(self.encoder, tokens)

    def predict_patches(self, inputs, orders):
        """What `call` gives, under the masks that `orders` (B, G, N) mean."""
        patches = self.decoder([self.encode_visible(inputs, orders), orders])
        outputs = {}
        for index in self.predicted:
            name = self.groups[index].name
            hidden = ops.cast(ops.argsort(orders[:, index], axis=-1) >= self.visible[index], "float32")
            outputs[name] = {"patches": patches[name], "hidden": hidden}
        return outputs

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        check_no_weights(sample_weight)
        losses = []
        for index in self.predicted:
            targets, valid, _, _ = self._targets(self.groups[index], x)
            output = y_pred[self.groups[index].name]
            losses.append(hidden_mean_squares(output["patches"], targets, valid * output["hidden"][..., None]))
        return sum(losses) / len(losses) + sum((ops.cast(loss, "float32") for loss in self.losses), 0.0)

    def _targets(self, group, inputs):
        """Target patches of a group, where they are valid, and the mean and deviation that were taken out."""
        pair = (group.patches.select(part) for part in valid_values(inputs, group.input))
        patches, valid = (to_patches(part, group.patches.patch_size) for part in pair)
        mean, deviation = patch_moments(patches, valid) if self.normalise else (0.0, 1.0)
        return (patches - mean) / deviation, valid, mean, deviation

    def reconstruct(self, inputs, seed=None):
        """Pictures: what was there, what the encoder saw, and what the decoder made of it.

        Args:
            inputs: as of the model; NumPy arrays or tensors.
            seed: of the masks; None takes those of `predict`.

        Returns:
            A dict of group -> `Reconstruction`, in the numbers of the inputs. With `normalise=True`
            each predicted patch is given the mean and deviation of the true one, as in the paper: the
            network does not predict them.

        Raises:
            InvalidArgumentError: an input is missing.
        """
        check_inputs(inputs, self.encoder.inputs)
        inputs = {name: ops.convert_to_tensor(value) for name, value in inputs.items()}
        outputs = self.predict_patches(inputs, self.draw_orders(inputs, self._fixed_seed() if seed is None else seed))
        pictures = {}
        for group in (self.groups[index] for index in self.predicted):
            targets, valid, mean, deviation = self._targets(group, inputs)
            output = outputs[group.name]
            parts = (targets * deviation + mean, output["patches"] * deviation + mean, valid)
            parts = (*parts, ops.broadcast_to(output["hidden"][..., None], ops.shape(valid)))
            images = (to_images(part, self.grid, group.patches.patch_size) for part in parts)
            pictures[group.name] = Reconstruction.of(*map(ops.convert_to_numpy, images))
        return pictures

    def get_config(self):
        return super().get_config() | {
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "mask_ratio": dict(self.mask_ratio) if isinstance(self.mask_ratio, Mapping) else self.mask_ratio,
            "masking": self.masking,
            "normalise": self.normalise,
            **self.decoder_numbers,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        encoder = keras.saving.deserialize_keras_object(config["encoder"], custom_objects)
        return cls(**config | {"encoder": encoder})


@dataclass(frozen=True)
class Reconstruction:
    """Images of one group, NumPy float32 (B, H, W, C) in the numbers of the inputs, every patch in its place.

    Args:
        original: the input; NaN where it is missing.
        seen: what the encoder saw; NaN where it was hidden or is missing.
        predicted: what the decoder says, of visible patches too (which the loss does not train).
        filled: what was seen, and the prediction in the hidden patches.
        hidden: (B, H, W) bool.
    """

    original: np.ndarray
    seen: np.ndarray
    predicted: np.ndarray
    filled: np.ndarray
    hidden: np.ndarray

    @classmethod
    def of(cls, original, predicted, valid, hidden):
        """From images (B, H, W, C); `valid` and `hidden` are 1 or 0."""
        original = np.where(valid > 0, original, np.nan)
        hidden = hidden > 0
        seen = np.where(hidden, np.nan, original)
        return cls(original, seen, predicted, np.where(hidden, predicted, original), hidden[..., 0])
