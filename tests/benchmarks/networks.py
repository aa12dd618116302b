"""The networks that are timed, and their batches: ours in Keras, and how they meet `torch_models`.

Letters: B batch, H rows, W columns, C channels.
"""

import argparse
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np

BANDS = 12
TASKS = {"unet": "land_cover_map", "resnet": "climate_zone"}
"""Network -> the task of its head: a map, or a class of the scene."""


# ---- What is timed -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Workload:
    """A network at a batch size: `width` channels in its first convolution, patches of `size` x `size` x 12."""

    network: str
    batch: int
    width: int = 64
    size: int = 120

    @classmethod
    def parse(cls, text):
        """From "unet:8"."""
        network, _, batch = text.partition(":")
        if network not in TASKS or not batch.isdigit():
            raise argparse.ArgumentTypeError(f"must be unet:BATCH or resnet:BATCH. Received: {text!r}")
        return cls(network, int(batch))

    @property
    def task(self):
        """What it learns."""
        return TASKS[self.network]

    def __str__(self):
        name = {"unet": "U-Net", "resnet": "ResNet-18"}[self.network]
        return f"{name}, width {self.width}, batch {self.batch}, {self.size} x {self.size} x {BANDS}"


def add_options(parser, *workloads):
    """Arguments of the benchmarks that time networks; `chosen` reads them."""
    parser.add_argument("--workloads", nargs="+", default=workloads, metavar="NETWORK:BATCH",
                        type=Workload.parse, help="unet:8, resnet:32, ...")  # fmt: skip
    parser.add_argument("--width", type=int, default=64, help="channels of the first convolution")
    parser.add_argument("--size", type=int, default=120, help="rows and columns of a patch")
    parser.add_argument("--threads", type=int, default=2, help="of every contestant")
    parser.add_argument("--without-torch", action="store_true", help="leave out the baseline")


def chosen(options):
    """The workloads that were asked for."""
    return [replace(workload, width=options.width, size=options.size) for workload in options.workloads]


def is_there(name, is_unwanted):
    """Whether a contestant takes part; says so where it cannot."""
    if not is_unwanted and find_spec(name) is None:
        print(f"{name} is left out: it is not installed.")
    return not is_unwanted and find_spec(name) is not None


# ---- Networks and batches ------------------------------------------------------------------------------------------


def classes(workload):
    """How many classes its task has."""
    from eokeras.ben_ge.schema import TARGETS

    return len(TARGETS[workload.task].classes)


def batch(workload):
    """Images (B, H, W, C) float32, standardised, and class ids (B,) or (B, H, W) int32."""
    rng = np.random.default_rng(0)
    shape = (workload.batch, workload.size, workload.size)
    images = rng.standard_normal((*shape, BANDS), "float32")
    ids = rng.integers(0, classes(workload), shape if workload.network == "unet" else shape[:1])
    return images, ids.astype("int32")


def keras_model(workload):
    """Our network for the input `s2`, not compiled."""
    from eokeras import models

    build = models.unet if workload.network == "unet" else models.resnet
    head = models.map_head if workload.network == "unet" else models.scene_head
    encoder = build((workload.size, workload.size, BANDS), width=workload.width, name="s2")
    return models.multitask(encoder, {workload.task: head(classes(workload))})


def torch_model(workload):
    """The same network in PyTorch."""
    from tests.benchmarks import torch_models

    build = torch_models.UNet if workload.network == "unet" else torch_models.ResNet18
    return build(BANDS, workload.width, workload.task, classes(workload))


# ---- Equal contestants ---------------------------------------------------------------------------------------------


def _layers(model):
    """Layers with weights, those of models within too."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer)
        elif layer.weights:
            yield layer


def share_weights(model, path):
    """Gives a Keras model the weights in a file; writes its own where there is none yet."""
    if path.exists():
        stored = np.load(path)
        for layer in _layers(model):
            layer.set_weights([stored[f"{layer.name}/{index}"] for index in range(len(layer.weights))])
    else:
        arrays = {layer.name: layer.get_weights() for layer in _layers(model)}
        np.savez(path, **{f"{name}/{i}": array for name, found in arrays.items() for i, array in enumerate(found)})


def same(name, values, tolerance=0.0):
    """Refuses contestants that do not do the same.

    Args:
        name: what must agree.
        values: contestant -> number.
        tolerance: relative.
    """
    low, high = min(values.values()), max(values.values())
    if high - low > tolerance * abs(high):
        raise SystemExit(f"Contestants must have the same {name}. Received: {values}.")
