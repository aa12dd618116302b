"""The contestants of the self-supervised lesson: two small encoders, and ways to train them without labels.

All look at the six bands that Sentinel-2 has at 20 m: a whole patch in 60 x 60 pixels, without resampling.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

import eokeras as eo
from eokeras import augment, models, pretrain
from eokeras.ben_ge import schema

TARGET, CLASSES = "land_cover", 11
INPUT = "s2_20m"
READ = {"bands": {"s2": schema.RASTERS[INPUT].bands}, "resolution": "stored"}
"""Options of `make_dataset`."""

SHAPE = schema.RASTERS[INPUT].shape
BATCH_SIZE = 64
"""Patches of a batch in pretraining."""


# ----------------------------------------------------------------------- Encoders


def resnet() -> keras.Model:
    """A ResNet-18 of width 9: 0.22 M weights."""
    return models.resnet(SHAPE, width=9, name=INPUT)


def radar_resnet() -> keras.Model:
    """The same for backscatter, which stands beside it in the contrast of two sensors."""
    return models.resnet(schema.RASTERS["s1"].shape, width=9, name="s1")


def vit() -> keras.Model:
    """A vision transformer of 100 tokens and about as many weights."""
    return models.vit(SHAPE, patch_size=6, width=80, depth=4, heads=4, mlp_width=160, name=INPUT)


ENCODERS: dict[str, Callable[[], keras.Model]] = {"ResNet": resnet, "ViT": vit}

# ----------------------------------------------------------------------- What stays and what changes

TURN = augment.dihedral()
CROP = augment.chain(augment.random_resized_crop(area=(0.5, 1.0)), TURN)
"""For free labels and the masked autoencoder; shares of land cover would change with the window."""

VIEW = augment.chain(
    augment.random_resized_crop(area=(0.3, 1.0)),
    TURN,
    augment.reflectance_jitter(gain=0.2, offset=0.02),
    augment.sometimes(0.3, augment.blur()),
)
"""For two views of a patch: other extent, other side up, other light, other sharpness."""


def noise(batch, seed):
    """Every patch replaced by digital numbers that mean nothing: the null, of which nothing can be learned."""
    shape = tf.shape(batch[INPUT])
    return {**batch, INPUT: tf.cast(tf.random.stateless_uniform(shape, seed, 1, 10_000), batch[INPUT].dtype)}


# ----------------------------------------------------------------------- Pretraining


@dataclass(frozen=True)
class Method:
    """How an encoder is trained without labels: the encoder, and what makes the pretrainer and its batches.

    `prepare(records, options)` gives (model, its `compile` arguments, dataset, the encoder to keep).
    """

    architecture: str
    prepare: Callable[[Path, dict], tuple]


def _places(records, options):
    task = pretrain.pretext_tasks(
        ("geocluster",), eo.load_schema(records), ("s2",), (TARGET,), pretrain.geoclusters(records, clusters=20)
    )
    encoder = resnet()
    model = models.multitask(encoder, task.heads)
    return model, {"loss": task.losses}, task.dataset("train", augment=CROP, **READ, **options), encoder


def _views(change):
    def prepare(records, options):
        model = pretrain.ContrastivePretrainer(resnet(), projection=(64, 32))
        data = eo.make_dataset(records, "train", ("s2",), augment=change, **READ, **options)
        return model, {}, data, model.encoder

    return prepare


def _sensors(records, options):
    model = pretrain.ContrastivePretrainer({"s2": resnet(), "s1": radar_resnet()}, views=1, projection=(64, 32))
    data = eo.make_dataset(records, "train", ("s2", "s1"), augment=TURN, **READ, **options)
    return model, {}, data, model.encoders["s2"]


def _masked(records, options):
    decoder = {"decoder_width": 40, "decoder_depth": 2, "decoder_heads": 4, "decoder_mlp_width": 80}
    model = pretrain.MaskedAutoencoder(vit(), normalise=True, seed=options["seed"], **decoder)
    data = eo.make_dataset(records, "train", ("s2",), augment=CROP, **READ, **options)
    return model, {}, data, model.encoder


TWO_VIEWS = augment.views(VIEW, VIEW)
METHODS = {
    "places": Method("ResNet", _places),
    "SimCLR": Method("ResNet", _views(TWO_VIEWS)),
    "S1-S2": Method("ResNet", _sensors),
    "MAE": Method("ViT", _masked),
    "noise": Method("ResNet", _views(augment.chain(noise, TWO_VIEWS))),
}
"""Which of 20 regions; two views; two sensors; a quarter of the patches; and the null, two views of noise."""

SCRATCH = {"ResNet": "scratch (ResNet)", "ViT": "scratch (ViT)"}
"""Architecture -> name of the contestant without pretraining."""

ARCHITECTURES = {name: architecture for architecture, name in SCRATCH.items()} | {
    name: method.architecture for name, method in METHODS.items()
}
"""Contestant -> its encoder."""
