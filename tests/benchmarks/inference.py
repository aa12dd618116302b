"""Seconds of an answer through the SavedModel and `model.predict`, against PyTorch; and what `import eokeras` adds.

    pip install "eokeras[bench]"
    python -m tests.benchmarks.inference inference.json [--workloads unet:8] [--rounds 15] [--batches 4]
        [--import-rounds 7] [--data FOLDER] [--short]

Ours: `serve` of the exported model, which takes stored numbers, calibrates them, and gives class ids and
probabilities; `model(x)` in a `tf.function`, from calibrated numbers to logits; `model.predict` of one batch and of
`--batches` of them, NumPy in and out, per batch; and of as many from a data set as `make_dataset` hands it out.
PyTorch, without `torch.compile`: the same network with the same weights in `eval` under `no_grad`, from calibrated
numbers to logits, in both memory layouts, of which the better counts. All answer the same batch in float32 on as many
threads; how far their answers are apart is printed. Two processes, which take turns as in `training_step`.

Imports: a new process each time, from its start to its end, as a user has it: Keras alone, with `import eokeras`, and
with the parts that training needs.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from eokeras import command_line
from tests.benchmarks import networks
from tests.benchmarks.apart import Apart, use_threads
from tests.benchmarks.reading import made
from tests.benchmarks.timing import against, in_turns, table, write
from tests.benchmarks.training_step import PAUSE

SERVED, TRACED = "SavedModel, serve", "model(x) in tf.function"
SHORT = {"width": 8, "size": 64, "rounds": 3, "import_rounds": 1}
PATCHES = 24  # an export needs the statistics of some records
IMPORTS = {
    "import keras": "import keras",
    "import keras, eokeras": "import keras, eokeras",
    "and what training needs": "import keras, eokeras as eo\n"
    "eo.make_dataset, eo.models.unet, eo.losses.for_tasks, eo.metrics.for_tasks, eo.augment.dihedral",
}


# ---- Contestants ---------------------------------------------------------------------------------------------------


def ours(workload, weights, records, folder, batches):
    """The ways to an answer on TensorFlow; tells the logits of the first patch, and how far probabilities are apart."""
    import keras
    import numpy as np
    import tensorflow as tf

    import eokeras as eo
    from eokeras.parallel import map_ahead

    keras.utils.set_random_seed(0)
    model, schema = networks.keras_model(workload), eo.load_schema(records)
    networks.share_weights(model, weights)
    exported = eo.export(model, folder / f"exported-{workload.network}-{workload.batch}", schema)
    loaded = tf.saved_model.load(str(exported))
    images, _ = networks.batch(workload)
    mean, std = (np.array(schema.statistics["s2"][key], "float32") for key in ("mean", "std"))
    calibrated, stored = {"s2": tf.constant(images)}, {"s2": tf.constant(images * std + mean)}
    many = {"s2": np.concatenate([images] * batches)}
    as_read = map_ahead(tf.data.Dataset.from_tensors({"s2": images}).repeat(batches), lambda batch: batch)
    traced = tf.function(lambda x: model(x, training=False))
    predict = partial(model.predict, batch_size=workload.batch, verbose=0)

    logits = traced(calibrated)[workload.task]
    served = loaded.serve(stored)[f"{workload.task}_probabilities"]
    told = {
        "logits": logits[0].numpy(),
        "served_difference": float(tf.reduce_max(tf.abs(tf.nn.softmax(logits) - served))),
    }
    return told, {
        SERVED: lambda: loaded.serve(stored)[workload.task].numpy(),
        TRACED: lambda: traced(calibrated)[workload.task].numpy(),
        "model.predict, one batch": lambda: predict({"s2": images}),
        f"model.predict, {batches} batches": lambda: predict(many),
        f"model.predict, {batches} batches of a data set": lambda: model.predict(as_read, verbose=0),
    }


def torch_contestants(workload, weights, threads):
    """PyTorch's forward in each memory layout; tells the logits of the first patch, channels last."""
    import torch

    from tests.benchmarks import torch_models

    torch.set_num_threads(threads)
    images, _ = networks.batch(workload)
    work = {}
    for layout, memory_format in torch_models.LAYOUTS.items():
        network = networks.torch_model(workload)
        torch_models.load(network, weights)
        network = network.to(memory_format=memory_format).eval()
        work[f"PyTorch, {layout}"] = partial(_forward, network, torch_models.images_as(images, layout))
    logits = work["PyTorch, contiguous"]()[0].numpy()
    return {"logits": logits.transpose(1, 2, 0) if logits.ndim == 3 else logits}, work


def _forward(network, images):
    import torch

    with torch.no_grad():
        return network(images)


# ---- The run -------------------------------------------------------------------------------------------------------


def answers(workload, options, records, folder):
    """Rows by contestant against the better PyTorch, those of serving against `model(x)`, and differences."""
    weights = folder / f"{workload.network}-{workload.batch}.npz"
    processes = [Apart(ours, workload, weights, records, folder, options.batches)]
    if options.with_torch:
        processes.append(Apart(torch_contestants, workload, weights, options.threads))
    told = [process.told for process in processes]
    differences = {"served": told[0]["served_difference"]}
    if len(told) > 1:
        differences["PyTorch"] = float(abs(told[0]["logits"] - told[1]["logits"]).max())
    if max(differences.values()) > 1e-3:
        raise SystemExit(f"Contestants must give the same answers to 0.001. Received: differences {differences}.")
    work = {name: function for process in processes for name, function in process.work.items()}
    in_turns(work, 2, PAUSE)  # warms
    seconds = in_turns(work, options.rounds, PAUSE)
    for process in processes:
        process.stop()
    for name in seconds:
        if f"{options.batches} batches" in name:
            seconds[name] = [value / options.batches for value in seconds[name]]
    baselines = [name for name in seconds if name.startswith("PyTorch")]
    reference = min(baselines or [TRACED], key=lambda name: statistics.median(seconds[name]))
    rows = [{"name": name, **against(values, seconds[reference])} for name, values in seconds.items()]
    serving = {"name": SERVED, **against(seconds[SERVED], seconds[TRACED])}
    return {"reference": reference, "rows": rows, "serving": serving, "differences": differences}


def imports(rounds):
    """Rows by import, with the seconds that it adds to `import keras` in the same round."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    run = partial(subprocess.run, check=True, env=environment, capture_output=True)
    work = {name: partial(run, [sys.executable, "-c", code]) for name, code in IMPORTS.items()}
    in_turns(work, 1)  # warms the page cache
    seconds = in_turns(work, rounds)
    alone = seconds["import keras"]
    rows = [{"name": name, **against(values, alone)} for name, values in seconds.items()]
    for row in rows:
        added = [value - other for value, other in zip(seconds[row["name"]], alone, strict=True)]
        row |= {"added": statistics.median(added), "added_range": [min(added), max(added)]}
    return rows


def main(options):
    if options.short:
        vars(options).update(SHORT)
    options.with_torch = networks.is_there("torch", options.without_torch)
    options.threads = use_threads(options.threads)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        _, records = made(options.data or Path(folder), PATCHES, places=PATCHES)
        for workload in networks.chosen(options):
            found = answers(workload, options, records, Path(folder))
            results.append({"workload": str(workload), **found})
            print(f"\n{workload}: {options.threads} threads; answers differ by {found['differences']}")
            print(table(found["rows"], ("an answer", found["reference"])))
            low, high = found["serving"]["ratio_range"]
            print(f"{SERVED} / {TRACED}: {found['serving']['ratio']:.2f} ({low:.2f}-{high:.2f})")
    rows = imports(options.import_rounds)
    print("\n" + table(rows, ("a new process", "import keras"), unit="s"))
    for row in rows[1:]:
        low, high = row["added_range"]
        print(f"{row['name']}: adds {row['added']:+.2f} s ({low:+.2f} to {high:+.2f})")
    write(options.out, options, results=results, imports=rows)


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="path of the JSON to write")
    networks.add_options(parser, networks.Workload("unet", 8))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batches", type=int, default=4, help="of the longer `model.predict`")
    parser.add_argument("--import-rounds", type=int, default=7)
    parser.add_argument("--data", type=Path, help="folder to keep the simulated patches in, for another run")
    parser.add_argument("--short", action="store_true", help="a network of width 8, to see that all works")
    return parser


if __name__ == "__main__":
    command_line.run(main, make_parser())  # which sets the environment as it does for `python -m eokeras`
