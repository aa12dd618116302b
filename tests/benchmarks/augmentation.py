"""What each augmentation costs in `make_dataset`: patches per second with it and without.

    python -m tests.benchmarks.augmentation augmentation.json [--patches 320] [--rounds 5] [--seconds 2]
        [--only dihedral cutmix] [--data FOLDER] [--short]

Sentinel-2, Sentinel-1, land-cover map and numbers of the patches of `reading`, calibrated on the 10 m grid, in batches
of 32. All contestants keep running and take turns, as in `reading`; the ratio is to the rate without augmentation in
the same round. Two views are two images of every patch: a rate of a half is what the number of pixels asks for.
"""

import argparse
import tempfile
from pathlib import Path

from tests.benchmarks.reading import compared, dataset, made, print_rates, rates
from tests.benchmarks.timing import write

PLAIN = "without"
SHORT = {"rounds": 1, "seconds": 0.3, "only": ["dihedral", "dihedral, both jitters", "cutmix"]}


def changes():
    """Name -> what `make_dataset` is told."""
    from eokeras import augment

    jitters = (augment.reflectance_jitter(), augment.backscatter_jitter())
    view = augment.chain(augment.random_resized_crop(), augment.dihedral(), *jitters)
    alone = {
        "dihedral": augment.dihedral(),
        "random_crop(96)": augment.random_crop(96),
        "random_resized_crop": augment.random_resized_crop(),
        "reflectance_jitter": jitters[0],
        "backscatter_jitter": jitters[1],
        "speckle": augment.speckle(),
        "blur": augment.blur(),
        "drop_bands": augment.drop_bands(),
        "cutout": augment.cutout(),
        "sometimes(0.5, blur)": augment.sometimes(0.5, augment.blur()),
        "dihedral, both jitters": augment.chain(augment.dihedral(), *jitters),
        "two views, dihedral": augment.views(augment.dihedral(), augment.dihedral()),
        "two views, crop, dihedral, jitters": augment.views(view, view),
    }
    mixing = {"mixup": augment.mixup(), "cutmix": augment.cutmix()}
    return {name: {"augment": change} for name, change in alone.items()} | {
        name: {"mix": change} for name, change in mixing.items()
    }


def main():
    known = changes()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="path of the JSON to write")
    parser.add_argument("--patches", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--only", nargs="+", choices=known, default=list(known), metavar="NAME",
                        help="these augmentations alone; by default all")  # fmt: skip
    parser.add_argument("--data", type=Path, help="folder to keep the simulated patches in, for another run")
    parser.add_argument("--short", action="store_true", help="three of them in one short round, to see that all works")
    options = parser.parse_args()
    if options.short:
        vars(options).update(SHORT)
    with tempfile.TemporaryDirectory() as folder:
        _, records = made(options.data or Path(folder), options.patches)
        batches = {PLAIN: dataset(records)}
        batches |= {name: dataset(records, seed=0, **known[name]) for name in options.only}
        found = rates(batches, options.rounds, options.seconds)
    rows = compared(found, [(name, PLAIN) for name in options.only])
    print_rates(found, rows)
    write(options.out, options, patches_per_second=found, ratios=rows)


if __name__ == "__main__":
    main()
