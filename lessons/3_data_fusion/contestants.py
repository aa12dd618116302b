"""The rungs of the fusion ladder, built to about equal weights."""

from functools import partial

import keras
from laboratory import HEADS

from eokeras import models
from eokeras.ben_ge.schema import CHANNELS

WEIGHTS = 214_000
"""Trainable weights that every contestant comes close to: two U-Nets of width 5, or one of width 7."""

DROP_RATE = 0.3
"""Probability with which a modality is dropped in training, where it is."""

INPUTS = {
    "S2": ("s2",),
    "S1": ("s1",),
    "early": ("s2", "s1"),
    "middle": ("s2", "s1"),
    "late": ("s2", "s1"),
    "gated": ("s2", "s1"),
    "cross-attention": ("s2", "s1"),
    "S2 + DEM early": ("s2", "dem"),
    "S2 film ERA-5": ("s2", "era5"),
    "all middle": ("s2", "s1", "dem", "era5"),
    "three middle": ("s2", "s1", "dem"),
    "three middle, dropped": ("s2", "s1", "dem"),
}
"""Contestant -> modalities that it sees."""


Widths = tuple[int, int]
"""Widths of the contracting and of the expanding paths."""

WIDTHS: dict[str, Widths] = {
    "S2": (7, 8),
    "S1": (7, 8),
    "early": (7, 8),
    "middle": (5, 13),
    "late": (5, 5),
    "gated": (5, 13),
    "cross-attention": (5, 11),
    "S2 + DEM early": (7, 8),
    "S2 film ERA-5": (6, 13),
    "all middle": (4, 16),
    "three middle": (4, 16),
    "three middle, dropped": (4, 16),
}
"""What `matching_widths` finds (in ten seconds or so each): weights within 1.5 % of `WEIGHTS`."""


def unet(shape, name: str, widths: Widths) -> keras.Model:
    """A U-Net whose two paths may differ in width."""
    contracting = models.unet_encoder(shape, widths[0], name)
    return keras.Model(contracting.inputs, models.unet_decoder(widths[1])(contracting.output), name=f"{name}_unet")


def backbone(contestant: str, widths: Widths) -> keras.Model:
    """The backbone of a contestant at some widths."""
    names = INPUTS[contestant]
    encoder_width, decoder_width = widths
    whole = partial(unet, widths=widths)
    shapes = {name: (None, None, len(CHANNELS[name])) for name in names if name != "era5"}
    unets = {name: partial(whole, shape, name) for name, shape in shapes.items()}
    encoders = {name: models.unet_encoder(shape, encoder_width, name) for name, shape in shapes.items()}
    if "era5" in names:
        encoders["era5"] = models.dense_encoder((len(CHANNELS["era5"]),), 4 * encoder_width, name="era5")
    decoder = models.unet_decoder(decoder_width)
    by_kind = {
        "S2": lambda: unets["s2"](),
        "S1": lambda: unets["s1"](),
        "early": lambda: models.early_fusion(shapes, whole),
        "middle": lambda: models.middle_fusion(encoders, decoder),
        "late": lambda: models.late_fusion({name: make() for name, make in unets.items()}),
        "gated": lambda: models.gated_fusion(encoders, decoder),
        "cross-attention": lambda: models.cross_attention_fusion(encoders, decoder),
        "S2 + DEM early": lambda: models.early_fusion(shapes, whole),
        "S2 film ERA-5": lambda: models.film(encoders["s2"], {"era5": (len(CHANNELS["era5"]),)}, decoder),
        "all middle": lambda: models.middle_fusion(encoders, decoder),
        "three middle": lambda: models.middle_fusion(encoders, decoder),
        "three middle, dropped": lambda: models.drop_modality(models.middle_fusion(encoders, decoder), DROP_RATE),
    }
    return by_kind[contestant]()


def with_heads(contestant: str, widths: Widths) -> keras.Model:
    """Backbone and the tutorial's three heads."""
    return models.multitask(backbone(contestant, widths), {task: head() for task, head in HEADS.items()})


def build(contestant: str) -> keras.Model:
    """A contestant at its widths, with fresh weights."""
    return with_heads(contestant, WIDTHS[contestant])


def matching_widths(contestant: str) -> Widths:
    """Contracting paths as wide as `WEIGHTS` allow; then expanding paths that bring the weights closest to them."""
    encoder = 3
    while with_heads(contestant, (encoder + 1, encoder + 1)).count_params() <= 1.01 * WEIGHTS:
        encoder += 1
    wider = range(encoder, 6 * encoder)
    return encoder, models.match_parameters(lambda decoder: with_heads(contestant, (encoder, decoder)), WEIGHTS, wider)
