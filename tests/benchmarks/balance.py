"""What `fit` costs under each rule of `eokeras.balance`, relative to Keras' own weighted sum.

    python -m tests.benchmarks.balance balance.json [--rounds 9] [--steps 20]

A U-Net of width 8 with three tasks on patches of 36 x 36, batches of 16. Seconds: all models in one process, tracing
done before; in every round each model takes its turn, in an order that rotates, with one `fit` of `--steps` steps;
the ratio is to the plain model's turn of the same round. Memory: a process of its own per model, peak resident set
after a `fit` minus the resident set before it (Linux only). Tracing is in it: Keras builds the losses of a plain
model in a pass of its own within `fit`, so the memory of rules is better held against that of `FixedWeights`.
"""

import argparse
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.benchmarks.timing import against, in_turns, machine

PLAIN = "plain sum (Keras)"
SIZE, WIDTH, BATCH = 36, 8, 16


def rules():
    """Name -> function that makes the rule; None for a model without one."""
    from eokeras import balance

    return {
        PLAIN: lambda: None,
        "FixedWeights": balance.FixedWeights,
        "UncertaintyWeighting": balance.UncertaintyWeighting,
        "DynamicWeightAverage": balance.DynamicWeightAverage,
        "RandomLossWeighting": balance.RandomLossWeighting,
        "GradNorm (last)": balance.GradNorm,
        "GradNorm (all)": lambda: balance.GradNorm(on="all"),
        "PCGrad": balance.PCGrad,
    }


def build(name):
    """The compiled model of a contestant."""
    import keras

    import eokeras as eo

    keras.utils.set_random_seed(0)
    heads = {
        "climate_zone": eo.models.scene_head(12),
        "land_cover_map": eo.models.map_head(11),
        "season": eo.models.regression_head(),
    }
    model = eo.models.multitask(eo.models.unet((SIZE, SIZE, 12), width=WIDTH, name="s2"), heads)
    rule = rules()[name]()
    options = {"loss_weights": dict.fromkeys(heads, 1.0)} if rule is None else {}
    if rule is not None:
        model = eo.balance.balanced(model, rule)
    model.compile(keras.optimizers.AdamW(1e-3), loss=eo.losses.for_tasks(tuple(heads)), **options)
    return model


def data(steps):
    """`steps` batches in memory."""
    import numpy as np
    import tensorflow as tf

    from eokeras.parallel import map_ahead

    random = np.random.default_rng(0)
    patches = steps * BATCH
    inputs = {"s2": random.standard_normal((patches, SIZE, SIZE, 12), "float32")}
    targets = {
        "climate_zone": random.integers(0, 12, patches).astype("int32"),
        "land_cover_map": random.integers(0, 11, (patches, SIZE, SIZE)).astype("int32"),
        "season": random.random(patches, "float32"),
    }
    return map_ahead(tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(BATCH), lambda *parts: parts).cache()


def seconds_per_step(rounds, steps):
    """Contestant -> seconds per step, one number per round."""
    models, batches = {name: build(name) for name in rules()}, data(steps)
    for model in models.values():
        model.fit(batches, verbose=0)
    seconds = in_turns({name: partial(model.fit, batches, verbose=0) for name, model in models.items()}, rounds)
    return {name: [value / steps for value in values] for name, values in seconds.items()}


def memory_mib(field):
    """Of this process: "VmRSS", resident now, or "VmHWM", its peak (getrusage would give the parent's, if larger)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 2**10
    raise SystemExit("Memory is measured on Linux only; give --no-memory.")


def memory_of_this_process(name, steps=3):
    """MiB that tracing and fitting one model added to this process at its peak."""
    batches = data(steps)
    for _ in batches:
        pass
    model = build(name)  # also imports
    before = memory_mib("VmRSS")
    model.fit(batches, epochs=3, verbose=0)
    return memory_mib("VmHWM") - before


def peak_mib(name):
    """`memory_of_this_process` in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.balance", "--memory-of", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def summary(seconds, memory):
    """One dict per contestant; seconds are those of a step."""
    return [
        {"rule": name, **against(values, seconds[PLAIN]), "peak_mib": memory.get(name)}
        for name, values in seconds.items()
    ]


def table(rows):
    """The rows as text."""
    lines = [f"{'rule':<22} {'ms/step':>8} {'(range)':>14} {'ratio':>6} {'(range)':>13} {'peak MiB':>9}"]
    for row in rows:
        low, high = (1e3 * value for value in row["seconds_range"])
        first, last = row["ratio_range"]
        memory = "-" if row["peak_mib"] is None else f"{row['peak_mib']:.0f}"
        lines.append(
            f"{row['rule']:<22} {1e3 * row['seconds']:>8.0f} {f'({low:.0f}-{high:.0f})':>14} "
            f"{row['ratio']:>6.2f} {f'({first:.2f}-{last:.2f})':>13} {memory:>9}"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", nargs="?", type=Path, help="JSON file to write")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--no-memory", action="store_true", help="leave out the processes that measure memory")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(memory_of_this_process(arguments.memory_of))
        return
    if arguments.path is None:
        parser.error("the path of a JSON file is needed")
    seconds = seconds_per_step(arguments.rounds, arguments.steps)
    memory = {} if arguments.no_memory else {name: peak_mib(name) for name in seconds}
    rows = summary(seconds, memory)
    settings = {"size": SIZE, "width": WIDTH, "batch": BATCH, "rounds": arguments.rounds, "steps": arguments.steps}
    content = {"settings": settings, "machine": machine(), "rules": rows}
    arguments.path.write_text(json.dumps(content, indent=2) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
