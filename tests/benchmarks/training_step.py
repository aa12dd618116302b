"""Seconds of a training step through `model.fit`, against the same network in PyTorch, and on the JAX backend.

    pip install "eokeras[bench,jax]"
    python -m tests.benchmarks.training_step training_step.json [--workloads unet:8 unet:32 resnet:32]
        [--variants XLA bfloat16] [--rounds 5] [--steps 3] [--short]

Ours is trained as `python -m eokeras train` does it: the same environment, `AdamW`, loss, metrics and guard against
divergence, `jit_compile` as Keras chooses. PyTorch, as it is commonly used, without `torch.compile`: the same layers
in the same order (`torch_models`) with the same weights, `AdamW` with the same numbers, no metrics, in both memory
layouts, of which the better counts. All in float32 on as many threads, each with one batch in memory; the number of
weights and the first loss must agree. PyTorch and each backend have a process of their own; in every round each takes
its turn with a `fit` of `--steps` steps, in an order that rotates; ratios are of times of one round. The first step,
with building and tracing, is measured once and by itself.
"""

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path

from eokeras import command_line
from tests.benchmarks import networks
from tests.benchmarks.apart import Apart, use_threads
from tests.benchmarks.networks import Workload
from tests.benchmarks.timing import against, in_turns, table, write

OURS, RATE, PAUSE = "eokeras, TensorFlow", 1e-3, 0.3
VARIANTS = {
    "XLA": {"compiled": {"jit_compile": True}},
    "bfloat16": {"policy": "mixed_bfloat16"},
    "without oneDNN": {"environment": {"TF_ENABLE_ONEDNN_OPTS": "0"}},
    "without metrics": {"compiled": {"metrics": None}},
    "Keras' normalisation": {"is_fused": False},
}
SHORT = {"workloads": [Workload("unet", 8)], "width": 8, "size": 64, "rounds": 2, "steps": 2, "without_jax": True}


# ---- Contestants ---------------------------------------------------------------------------------------------------


def keras_contestant(name, workload, weights, steps, policy="float32", compiled=None, is_fused=True):
    """`fit` on the backend that the environment names."""
    import keras
    import tensorflow as tf

    import eokeras as eo
    from eokeras.normalization import BatchNormalization
    from eokeras.parallel import map_ahead
    from eokeras.run_folder import StopOnDivergence

    if not is_fused:
        BatchNormalization.call = keras.layers.BatchNormalization.call
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    model = networks.keras_model(workload)
    networks.share_weights(model, weights)
    tasks = (workload.task,)
    shipped = {"loss": eo.losses.for_tasks(tasks), "metrics": eo.metrics.for_tasks(tasks)}
    model.compile(keras.optimizers.AdamW(RATE), **(shipped | (compiled or {})))
    images, ids = networks.batch(workload)
    batch = tf.data.Dataset.from_tensors(({"s2": images}, {workload.task: ids}))

    def fit(steps):
        batches = map_ahead(batch.repeat(steps), lambda *parts: parts)  # as `make_dataset` hands them out
        return model.fit(batches, callbacks=[StopOnDivergence()], shuffle=False, verbose=0)

    start = time.perf_counter()
    loss = fit(1).history["loss"][0]
    told = {"first_step": time.perf_counter() - start, "first_loss": float(loss)}
    told["weights"] = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return {name: told}, {name: lambda: fit(steps)}


def torch_contestants(workload, weights, steps, threads):
    """The same in PyTorch, in each memory layout."""
    import torch

    from tests.benchmarks import torch_models

    torch.set_num_threads(threads)
    told, work = {}, {}
    for layout in torch_models.LAYOUTS:
        name = f"PyTorch, {layout}"
        train = _torch_training(workload, weights, layout)
        start = time.perf_counter()
        loss = train(1)
        told[name] = {"first_step": time.perf_counter() - start, "first_loss": loss}
        told[name]["weights"] = torch_models.count_trainable(networks.torch_model(workload))
        work[name] = lambda train=train: train(steps)
    return told, work


def _torch_training(workload, weights, layout):
    """Function from a number of steps to the last loss."""
    import torch

    from eokeras.ben_ge.schema import VOID
    from tests.benchmarks import torch_models

    network = networks.torch_model(workload)
    torch_models.load(network, weights)
    network = network.to(memory_format=torch_models.LAYOUTS[layout]).train()
    # Weight decay and epsilon are those of Keras, whose own defaults differ from PyTorch's.
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.004, eps=1e-7)
    images, ids = networks.batch(workload)
    images, ids = torch_models.images_as(images, layout), torch.from_numpy(ids.astype("int64"))

    def train(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(images), ids, ignore_index=VOID)
            loss.backward()
            optimizer.step()
            value = loss.item()
        return value

    return train


def contestants(workload, options, folder):
    """The processes that take turns on a workload."""
    weights = folder / f"{workload}.npz".replace(" ", "")
    shared = (workload, weights, options.steps)
    found = [Apart(keras_contestant, OURS, *shared)]
    if options.with_torch:
        found.append(Apart(torch_contestants, *shared, options.threads))
    if options.with_jax:
        environment = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
        found.append(Apart(keras_contestant, "eokeras, JAX", *shared, environment=environment))
    for name in options.variants:
        settings = dict(VARIANTS[name])
        environment = settings.pop("environment", None)
        arguments = (settings.get("policy", "float32"), settings.get("compiled"), settings.get("is_fused", True))
        found.append(Apart(keras_contestant, f"{OURS}, {name}", *shared, *arguments, environment=environment))
    return found


# ---- The run -------------------------------------------------------------------------------------------------------


def measured(workload, options, folder):
    """One dict per contestant, and what ratios are to."""
    processes = contestants(workload, options, folder)
    told = {name: facts for process in processes for name, facts in process.told.items()}
    work = {name: function for process in processes for name, function in process.work.items()}
    networks.same("number of weights", {name: facts["weights"] for name, facts in told.items()})
    exact = {name: facts["first_loss"] for name, facts in told.items() if "bfloat16" not in name}
    networks.same("first loss", exact, tolerance=1e-3)
    in_turns(work, 1, PAUSE)  # warms
    seconds = in_turns(work, options.rounds, PAUSE)
    for process in processes:
        process.stop()
    per_step = {name: [value / options.steps for value in values] for name, values in seconds.items()}
    baselines = [name for name in per_step if name.startswith("PyTorch")]
    reference = min(baselines or [OURS], key=lambda name: statistics.median(per_step[name]))
    rows = [{"name": name, **told[name], **against(values, per_step[reference])} for name, values in per_step.items()]
    return rows, reference


def main(options):
    if options.short:
        vars(options).update(SHORT)
    options.with_torch = networks.is_there("torch", options.without_torch)
    options.with_jax = networks.is_there("jax", options.without_jax)
    options.threads = use_threads(options.threads)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for workload in networks.chosen(options):
            rows, reference = measured(workload, options, Path(folder))
            results.append({"workload": str(workload), "reference": reference, "steps": rows})
            print(f"\n{workload}: {rows[0]['weights']:,} weights, {options.threads} threads")
            print(table(rows, ("a step", reference)))
            for row in rows:
                print(f"  first step {row['first_step']:.1f} s, loss {row['first_loss']:.4f}: {row['name']}")
    write(options.out, options, results=results)


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="path of the JSON to write")
    networks.add_options(parser, Workload("unet", 8), Workload("unet", 32), Workload("resnet", 32))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="in a turn")
    parser.add_argument("--variants", nargs="*", default=[], choices=VARIANTS, metavar="VARIANT",
                        help=f"more rows of ours on TensorFlow: {', '.join(VARIANTS)}")  # fmt: skip
    parser.add_argument("--without-jax", action="store_true", help="leave out the JAX backend")
    parser.add_argument("--short", action="store_true", help="a U-Net of width 8, to see that all works")
    return parser


if __name__ == "__main__":
    command_line.run(main, make_parser())  # which sets the environment as it does for `python -m eokeras train`
