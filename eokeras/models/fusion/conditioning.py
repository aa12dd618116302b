"""Scalars (weather, season, place) that steer the features of an image encoder.

Letters: B batch, H rows, W columns, C channels.
"""

import keras
from keras import layers

from eokeras.errors import InvalidArgumentError
from eokeras.models.encoders.contract import check_positive
from eokeras.models.fusion.branches import (
    check_decoder,
    check_levels,
    check_mapping,
    concatenate,
    finest_first,
    fusion_model,
    own_inputs,
)
from eokeras.models.fusion.joints import ScaleAndShift


def film(encoder, shapes, decoder=None, units=64, name="film"):
    """Feature-wise linear modulation: scalars scale and shift every channel of every level.

        s2 ──────────────────── encoder ── h ── (1 + gamma) h + beta ── (decoder) ── levels
        era5 ───┐                                   │          │
                ├ concatenate ── dense, ReLU ── dense      dense     a pair for each level
        lonlat ─┘

    h' = (1 + gamma(c)) h + beta(c), c = ReLU(A [scalars] + a). The same image can so mean another
    thing in another season or climate; at every pixel alike, since the scalars have no place in the
    patch. gamma and beta start at 0: an untrained `film` is its encoder.

    Args:
        encoder: any model that gives a dict of levels, also a fusion.
        shapes: dict of scalar input -> (n,), as {"era5": (8,), "lonlat": (2,)}.
        decoder: function `(levels, name)` -> levels, as `unet_decoder(64)`, that reads the steered
            levels. None: they are the output.
        units: units of the hidden layer that all scalars share.
        name: name of the model.

    Input shape:
        A dict (or list, in the order of encoder, then `shapes`) of what the encoder takes and of
        (B, n) calibrated float32 per scalar input.

    Output shape:
        The decoder's levels, or those of the encoder.

    Returns:
        A functional `keras.Model`; the encoder is a layer of it.

    Raises:
        InvalidArgumentError: `encoder` gives no dict of levels; `shapes` is empty, no dict, holds no
            (n,) or names an input of the encoder; `units` is no positive integer; `decoder` is no
            function, or there are no maps to decode.

    Example:
        >>> from eokeras.models.encoders import unet_decoder, unet_encoder
        >>> model = film(unet_encoder((32, 32, 12), width=4, name="s2"), {"era5": (8,)}, unet_decoder(width=4))
        >>> model.output["stride_1"].shape
        (None, 32, 32, 4)

    Reference:
        Perez et al. 2018, https://arxiv.org/abs/1709.07871
    """
    check_levels("encoder", encoder)
    check_decoder(decoder)
    check_positive("units", units)
    images = own_inputs(encoder)
    _check_scalars(shapes, [x.name for x in images])

    scalars = [keras.Input(tuple(shape), name=scalar) for scalar, shape in shapes.items()]
    condition = concatenate(scalars, "condition_stack")
    condition = layers.Dense(units, activation="relu", name="condition")(condition)
    levels = {}
    for level, x in finest_first(encoder(images)).items():
        gamma, beta = (
            layers.Dense(x.shape[-1], kernel_initializer="zeros", name=f"{factor}_{level}")(condition)
            for factor in ("gamma", "beta")
        )
        levels[level] = ScaleAndShift(name=f"film_{level}")([x, gamma, beta])
    return fusion_model([*images, *scalars], levels, decoder, name)


def _check_scalars(shapes, taken):
    check_mapping("shapes", shapes, "scalar input -> (channels,)")
    for scalar, shape in shapes.items():
        if not isinstance(shape, (list, tuple)) or len(shape) != 1:
            raise InvalidArgumentError(f"`shapes[{scalar!r}]` must be (channels,). Received: {shape!r}.")
        check_positive(f"shapes[{scalar!r}][0]", shape[0])
        if scalar in taken:
            raise InvalidArgumentError(f"`shapes` must not name an input of the encoder. Received: {scalar!r}.")
