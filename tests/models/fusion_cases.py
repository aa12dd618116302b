"""One small model of every kind of fusion, and data for it.

Every map has two channels and every branch four, so that nothing but its name tells a modality
apart and weights are easily counted by hand.
"""

from functools import partial

import keras
import numpy as np

from eokeras.models.fusion import (
    cross_attention_fusion,
    drop_modality,
    early_fusion,
    film,
    gated_fusion,
    late_fusion,
    middle_fusion,
)
from tests.checks import small_encoder, to_numpy

PATCHES, SIZE, WIDTH = 4, 16, 4
RASTERS, SCALAR = ("s2", "s1"), "era5"
SCALAR_SHAPE = (3,)


def dense_branch(name=SCALAR, shape=SCALAR_SHAPE, width=WIDTH):
    """An encoder of scalars that costs nothing."""
    inputs = keras.Input(shape, name=name)
    return keras.Model([inputs], {"vector": keras.layers.Dense(width, activation="tanh")(inputs)}, name=f"{name}_dense")


def encoders(height=SIZE, width=SIZE, names=(*RASTERS, SCALAR)):
    """Two encoders of maps at strides 1 and 2, one of scalars."""
    raster = partial(small_encoder, (height, width, 2), width=WIDTH)
    return {name: dense_branch(name) if name == SCALAR else raster(name=name) for name in names}


KINDS = {
    "early": lambda *size: early_fusion(
        dict.fromkeys(RASTERS, (*(size or (SIZE, SIZE)), 2)), partial(small_encoder, width=WIDTH)
    ),
    "late": lambda *size: late_fusion(encoders(*size)),
    "middle": lambda *size: middle_fusion(encoders(*size)),
    "gated": lambda *size: gated_fusion(encoders(*size)),
    "attention": lambda *size: cross_attention_fusion(encoders(*size), attention_heads=2),
    "film": lambda *size: film(encoders(*size)["s2"], {SCALAR: SCALAR_SHAPE}, units=5),
    "drop": lambda *size: drop_modality(late_fusion(encoders(*size))),
}
"""Kind -> function (height, width) -> its model; without arguments for SIZE x SIZE."""

JOINED = ("late", "middle", "gated", "attention", "drop")
"""Kinds whose model takes all that `encoders` gives."""


def data(patches=PATCHES, height=SIZE, width=SIZE, seed=0):
    """Inputs of every kind, and one more that no model takes."""
    rng = np.random.default_rng(seed)
    maps = {name: rng.normal(size=(patches, height, width, 2)) for name in (*RASTERS, "another")}
    present = {f"{name}_present": np.ones((patches, 1)) for name in (*RASTERS, SCALAR)}
    made = maps | {SCALAR: rng.normal(size=(patches, *SCALAR_SHAPE))} | present
    return {name: value.astype("float32") for name, value in made.items()}


def inputs_of(model, inputs):
    """Those of the inputs that the model takes."""
    return {tensor.name: inputs[tensor.name] for tensor in model.inputs}


def shake(model, seed=0):
    """Random weights everywhere, so that what starts as zero or one shows too."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if "seed" not in variable.path:
            spread = rng.normal(scale=0.5, size=variable.shape)
            variable.assign(1 + np.abs(spread) if "variance" in variable.name else spread)
    return model


def features(model, *names):
    """A function from inputs to the outputs of named layers, as NumPy."""
    inside = keras.Model(model.inputs, {name: model.get_layer(name).output for name in names})
    return lambda inputs: to_numpy(inside(inputs))
