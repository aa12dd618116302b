"""Augmentation for any number of channels: functions (batch, seed) -> batch for `make_dataset(augment=...)`.

All act on a batch of **stored** fields, before bands are assembled and calibrated: there a reflectance is a digital
number, backscatter is in dB, and what is missing is known (0 in Sentinel-2, NaN and -inf in Sentinel-1, -32768 in the
elevation). Missing numbers stay missing and never blend into others. Geometry moves all rasters of a patch by one
draw, maps of classes by nearest neighbour. An augmentation that finds nothing to change raises an error.

Draws are stateless: the same batch and seed give the same result, eagerly and inside `Dataset.map`, on every backend.
`mixup` and `cutmix` mix patches with their labels: they act on finished inputs and targets, by `make_dataset(mix=...)`.

There are no layers of them on purpose: a layer would see calibrated numbers only, and a Keras layer cannot run in
`Dataset.map` on the JAX backend.
"""

from eokeras.augment.composition import Augmentation, Batch, chain, sometimes, views
from eokeras.augment.erasing import cutout, drop_bands
from eokeras.augment.geometry import dihedral, random_crop
from eokeras.augment.mixing import cutmix, mixup
from eokeras.augment.radiometry import backscatter_jitter, blur, reflectance_jitter, speckle
from eokeras.augment.resized_crop import random_resized_crop

__all__ = [
    "Augmentation",
    "Batch",
    "backscatter_jitter",
    "blur",
    "chain",
    "cutmix",
    "cutout",
    "dihedral",
    "drop_bands",
    "mixup",
    "random_crop",
    "random_resized_crop",
    "reflectance_jitter",
    "sometimes",
    "speckle",
    "views",
]
