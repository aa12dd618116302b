"""The contestants of the multitask lesson: one backbone of about 0.2 M weights under one, two, three or four heads."""

from collections.abc import Callable
from functools import partial

import keras
import laboratory
import tensorflow as tf

from eokeras import balance, models
from eokeras.ben_ge.schema import CHANNELS

METRICS = {"climate_zone": "accuracy", "land_cover_map": "mean_iou", "season": "mae"}
"""Task -> its main metric."""

TASKS = tuple(METRICS)
HEADS = laboratory.HEADS | {"land_cover": partial(models.scene_head, 11)}  # the last for the lottery alone

WIDTH = 7
"""Width of every U-Net: 208,593 trainable weights."""

RULES: dict[str, Callable[[], keras.layers.Layer]] = {
    "uncertainty": balance.UncertaintyWeighting,
    "DWA": balance.DynamicWeightAverage,
    "random": partial(balance.RandomLossWeighting, seed=0),
    "GradNorm": balance.GradNorm,
    "PCGrad": partial(balance.PCGrad, seed=0),
}

DERIVED = ("uncertainty", "PCGrad")
"""Rules that the lesson derives; they race on every budget of labels, the others once."""

CONTROL = "random"
"""The rule that chooses nothing."""

PLAIN, DUAL, LOTTERY, STAMPED = "plain sum", "dual", "lottery", "stamped "
TWINS = {task: f"{task} alone" for task in TASKS}
STAMPED_TWINS = {task: STAMPED + name for task, name in TWINS.items()}

TASKS_OF = {
    DUAL: ("climate_zone", "season"),
    LOTTERY: (*TASKS, "land_cover"),
    **{name: (task,) for twins in (TWINS, STAMPED_TWINS) for task, name in twins.items()},
}
"""Contestant -> tasks that it has heads for; the three tasks where it is not named."""


def tasks_of(contestant: str) -> tuple[str, ...]:
    """Tasks that a contestant is trained for."""
    return TASKS_OF.get(contestant, TASKS)


def scored_tasks(contestant: str) -> tuple[str, ...]:
    """Tasks that it is scored on: the lottery is none."""
    return tuple(task for task in tasks_of(contestant) if task in TASKS)


def build(contestant: str) -> keras.Model:
    """A contestant with fresh weights."""
    channels = len(CHANNELS["s2"]) + contestant.startswith(STAMPED)
    backbone = models.unet((None, None, channels), WIDTH, "s2")
    model = models.multitask(backbone, {task: HEADS[task]() for task in tasks_of(contestant)})
    return balance.balanced(model, RULES[contestant]()) if contestant in RULES else model


def adapted(contestant: str) -> Callable[[tf.data.Dataset], tf.data.Dataset] | None:
    """What the batches of a contestant need beyond those of the others."""
    if contestant == LOTTERY:
        return lambda batches: batches.map(draw_lottery)
    return (lambda batches: batches.map(stamp)) if contestant.startswith(STAMPED) else None


def draw_lottery(inputs, targets, metadata):
    """A class that is computed from the name of the patch: the same in every epoch, and told by no picture."""
    lottery = tf.strings.to_hash_bucket_fast(metadata["patch_id"], 11)
    return inputs, targets | {"land_cover": tf.cast(lottery, "int32")}


def stamp(inputs, targets, *rest):
    """A thirteenth band that holds one random number per patch, drawn anew whenever the patch is read."""
    shape = tf.shape(inputs["s2"])
    band = tf.tile(tf.random.normal([shape[0], 1, 1, 1]), [1, shape[1], shape[2], 1])
    return {"s2": tf.concat([inputs["s2"], band], axis=-1)}, targets, *rest
