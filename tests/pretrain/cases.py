"""Small encoders and images for the tests of masked pretraining."""

import numpy as np

from eokeras.models import group_vit, vit

SMALL = {"width": 8, "depth": 1, "heads": 2, "mlp_width": 12}
DECODER = {"decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2, "decoder_mlp_width": 12}
PATCH = 4


def one_group():
    """A `vit` of 2 x 3 patches of 4 x 4 pixels and 3 channels."""
    return vit((8, 12, 3), patch_size=PATCH, name="s2", **SMALL)


def many_groups():
    """2 x 3 patches of two groups of one input, of an input at half of its resolution, and of another sensor."""
    shapes = {"s2_10m": (8, 12, 3), "s2_20m": (4, 6, 2), "s1": (8, 12, 2)}
    groups = {"s2_10m": {"visible": (2, 0), "infrared": (1,)}}
    return group_vit(shapes, groups, patch_size=PATCH, name="fused", **SMALL)


def images(encoder, batch, seed=0):
    """Random inputs of an encoder."""
    random = np.random.default_rng(seed)
    return {x.name: random.normal(size=(batch, *x.shape[1:])).astype("float32") for x in encoder.inputs}


def randomise(model, seed=0):
    """Random numbers for every trainable weight of a model, biases and scales too."""
    random = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(random.normal(scale=0.4, size=weight.shape))
