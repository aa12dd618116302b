"""Whether reading and training overlap: an epoch of `fit` against the longer of the two by itself.

    python -m tests.benchmarks.overlap overlap.json [--widths 4 12] [--patches 640] [--rounds 5] [--data FOLDER]
        [--short]

The model, data set and guard against divergence are those of `python -m eokeras train`: a late fusion of two U-Nets
with three tasks, shuffled batches of 16 with dihedral augmentation. In every round three take turns: reading an epoch
without training, as many steps of `fit` on one batch in memory, and an epoch of `fit`. The ratio is the epoch's time
to the longer of the other two in the same round. On a CPU both need the same cores, so that an epoch that overlaps
perfectly may still take up to their sum: the ratio to that is stated beside.
"""

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path

from eokeras import command_line
from tests.benchmarks.reading import made
from tests.benchmarks.timing import in_turns, write

READING, STEPS, EPOCH = "reading alone", "steps alone", "an epoch of fit"
SHORT = {"widths": [2], "rounds": 1, "patches": 320}


def contestants(records, width):
    """Functions that read an epoch, take its steps in memory, and train it; and how many steps it has."""
    import keras
    import tensorflow as tf

    from eokeras import augment
    from eokeras.ben_ge.records import load_schema
    from eokeras.parallel import map_ahead
    from eokeras.run_folder import Configuration, StopOnDivergence, build_model

    configuration = Configuration(str(records), width=width)
    keras.utils.set_random_seed(0)
    model = build_model(configuration, load_schema(records))
    data = configuration.dataset("train", shuffle=True, augment=augment.dihedral(), seed=0, drop_remainder=True)
    steps = len(data)
    in_memory = map_ahead(tf.data.Dataset.from_tensors(next(iter(data))).repeat(steps), lambda *parts: parts)
    fit = partial(model.fit, callbacks=[StopOnDivergence()], shuffle=False, verbose=0)
    return {READING: partial(_read, data), STEPS: partial(fit, in_memory), EPOCH: partial(fit, data)}, steps


def _read(data):
    for _ in data:
        pass


def row(width, records, rounds):
    """What one width gives."""
    work, steps = contestants(records, width)
    in_turns(work, 1)  # traces
    seconds = in_turns(work, rounds)
    rounds = list(zip(seconds[READING], seconds[STEPS], seconds[EPOCH], strict=True))
    ratios = [epoch / max(reading, training) for reading, training, epoch in rounds]
    to_sum = [epoch / (reading + training) for reading, training, epoch in rounds]
    return {
        "width": width,
        "steps": steps,
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "seconds_range": {name: [min(values), max(values)] for name, values in seconds.items()},
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "ratio_to_sum": statistics.median(to_sum),
    }


def main(options):
    if options.short:
        vars(options).update(SHORT)
    with tempfile.TemporaryDirectory() as folder:
        _, records = made(options.data or Path(folder), options.patches)
        rows = [row(width, records, options.rounds) for width in options.widths]
    print(f"{'width':>5}{'steps':>7}{READING:>16}{STEPS:>16}{EPOCH:>18}   x the longer one (range)   x their sum")
    for found in rows:
        low, high = found["ratio_range"]
        taken = found["seconds"]
        print(
            f"{found['width']:>5}{found['steps']:>7}{taken[READING]:>14.2f} s{taken[STEPS]:>14.2f} s"
            f"{taken[EPOCH]:>16.2f} s{found['ratio']:>9.2f} ({low:.2f}-{high:.2f}){found['ratio_to_sum']:>20.2f}"
        )
    write(options.out, options, rows=rows)


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="path of the JSON to write")
    parser.add_argument("--widths", type=int, nargs="+", default=[4, 12], help="of the U-Nets")
    parser.add_argument("--patches", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, help="folder to keep the simulated patches in, for another run")
    parser.add_argument("--short", action="store_true", help="one round of a network of width 2")
    return parser


if __name__ == "__main__":
    command_line.run(main, make_parser())  # which sets the environment as it does for `python -m eokeras train`
