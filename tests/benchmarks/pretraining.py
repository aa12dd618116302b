"""What a patch costs in pretraining, relative to training the same encoder with labels.

    python -m tests.benchmarks.pretraining pretraining.json [--rounds 7] [--steps 10]

Patches of 48 x 48 with twelve bands of Sentinel-2 (and two of Sentinel-1), in batches of 32 that lie in memory. A
method is compared with the supervised network on the encoder that it pretrains, on as many patches: two views are twice
the images. `fit` of `--steps` steps, tracing done before; contestants take turns.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import eokeras as eo
from eokeras import models, pretrain
from eokeras.parallel import map_ahead
from tests.benchmarks.timing import against, in_turns, machine

SIZE, BATCH = 48, 32
SHAPES = {"s2": (SIZE, SIZE, 12), "s1": (SIZE, SIZE, 2)}
VIEWS = ("s2_view_1", "s2_view_2")


def resnet(name="s2"):
    return models.resnet(SHAPES[name], width=16, name=name)


def vit():
    return models.vit(SHAPES["s2"], patch_size=8, width=64, depth=4, mlp_width=256, name="s2")


def supervised(backbone, heads):
    model = models.multitask(backbone, heads)
    model.compile(keras.optimizers.AdamW(1e-3), loss=eo.losses.for_tasks(tuple(heads)))
    return model


def with_optimizer(model, **options):
    model.compile(keras.optimizers.AdamW(1e-3), **options)
    return model


def scene(encoder):
    """A supervised twin."""
    return supervised(encoder, {"climate_zone": models.scene_head(12)})


def pretexts():
    """Clusters of places and the season, from one encoder."""
    heads = {"geocluster": models.scene_head(20), "season": models.regression_head()}
    model = models.multitask(resnet(), heads)
    losses = {"geocluster": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "season": "mae"}
    return with_optimizer(model, loss=losses)


def contestants():
    """Name -> (name of its supervised twin, the compiled model)."""
    two = {name: resnet(name) for name in SHAPES}
    map_heads = {"land_cover_map": models.map_head(11)}
    painted = models.unet_encoder(SHAPES["s2"], width=8, name="s2")
    return {
        "supervised, ResNet-18": (None, scene(resnet())),
        "supervised, ViT": (None, scene(vit())),
        "supervised map, U-Net": (None, supervised(models.unet(SHAPES["s2"], width=8, name="s2"), map_heads)),
        "pretext tasks": ("supervised, ResNet-18", pretexts()),
        "SimCLR, two views": ("supervised, ResNet-18", with_optimizer(pretrain.ContrastivePretrainer(resnet()))),
        "VICReg, two views": ("supervised, ResNet-18", with_optimizer(pretrain.VICRegPretrainer(resnet()))),
        "contrast of S1 and S2": (
            "supervised, ResNet-18",
            with_optimizer(pretrain.ContrastivePretrainer(two, views=1)),
        ),
        "MAE, 75 % hidden": (
            "supervised, ViT",
            with_optimizer(pretrain.MaskedAutoencoder(vit(), decoder_width=64, decoder_depth=2, decoder_mlp_width=128)),
        ),
        "inpainting": (
            "supervised map, U-Net",
            with_optimizer(pretrain.Inpainter(painted, models.unet_decoder(8), square=8)),
        ),
    }


def batches(steps):
    """`steps` batches that hold what any of the contestants reads."""
    rng = np.random.default_rng(0)
    patches = steps * BATCH
    images = {name: rng.standard_normal((patches, *shape), "float32") for name, shape in SHAPES.items()}
    images |= {name: rng.standard_normal(images["s2"].shape, "float32") for name in VIEWS}
    targets = {
        "climate_zone": rng.integers(0, 12, patches).astype("int32"),
        "geocluster": rng.integers(0, 20, patches).astype("int32"),
        "land_cover_map": rng.integers(0, 11, (patches, SIZE, SIZE)).astype("int32"),
        "season": rng.random(patches, "float32"),
    }
    return map_ahead(tf.data.Dataset.from_tensor_slices((images, targets)).batch(BATCH), lambda *parts: parts).cache()


def own_batches(model, dataset):
    """What a model reads of the batches: Keras passes over no target that it does not know."""
    tasks = [task for task in getattr(model, "output", None) or () if not isinstance(model, pretrain.Inpainter)]
    tasks = [task for task in tasks if task in dataset.element_spec[1]]
    return dataset.map(lambda inputs, targets: (inputs, {task: targets[task] for task in tasks})).cache()


def rows(rounds, steps):
    """One dict per contestant."""
    found, data = contestants(), batches(steps)
    work = {}
    for name, (_, model) in found.items():
        own = own_batches(model, data)
        model.fit(own, verbose=0)
        work[name] = lambda model=model, own=own: model.fit(own, verbose=0)
    seconds = in_turns(work, rounds)
    table = []
    for name, (twin, model) in found.items():
        row = {"method": name, "twin": twin, "weights": model.count_params()}
        row |= against(seconds[name], seconds[twin or name])
        table.append(row | {"patches_per_second": steps * BATCH / row["seconds"]})
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="JSON file to write")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    table = rows(arguments.rounds, arguments.steps)
    settings = {"size": SIZE, "batch": BATCH, "rounds": arguments.rounds, "steps": arguments.steps}
    content = {"settings": settings, "machine": machine(), "methods": table}
    arguments.path.write_text(json.dumps(content, indent=2) + "\n")
    print(f"{'method':<24} {'patches/s':>9} {'time ratio':>10} {'(range)':>13}  twin")
    for row in table:
        low, high = row["ratio_range"]
        print(
            f"{row['method']:<24} {row['patches_per_second']:>9.0f} {row['ratio']:>10.2f} "
            f"{f'({low:.2f}-{high:.2f})':>13}  {row['twin'] or '-'}"
        )


if __name__ == "__main__":
    main()
