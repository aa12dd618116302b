"""Draws a label budget from records and writes it as an index file for `eokeras.make_dataset(..., labels=OUT)`.

    python data_prep/split.py records/ben-ge-800 --label-fraction 0.1 --label-draw clustered --label-seed 0 ten.csv
    python data_prep/split.py records/ben-ge-800 --label-shots land_cover 5 five-shot.csv

The file names patches of train and of val: validation labels count. Budgets of one seed and draw are nested.
"""

import argparse
import warnings

from eokeras import command_line


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", help="directory that convert.py made")
    parser.add_argument("out", help="index file to write; must not exist")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--label-fraction", type=float, help="share of the patches of train and of val")
    budget.add_argument(
        "--label-shots",
        nargs=2,
        metavar=("TARGET", "K"),
        help="K patches per class of a class target (climate_zone, land_cover, geocluster)",
    )
    parser.add_argument(
        "--label-draw",
        default="spread",
        help="spread over all groups (default, optimistic) or clustered in few (realistic)",
    )
    parser.add_argument("--label-seed", type=int, default=0, help="seed of the draw")
    parser.add_argument(
        "--label-group",
        help="what the draw takes for a group: tile, date or tile_date; by default that of the records' split",
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Draws and writes; prints how many patches were taken and where they lie."""
    from eokeras import ben_ge

    with warnings.catch_warnings():  # the notes say it
        warnings.simplefilter("ignore", UserWarning)
        subset = ben_ge.draw_labels(
            arguments.records,
            arguments.label_fraction,
            label_shots=_shots(arguments.label_shots),
            label_draw=arguments.label_draw,
            label_seed=arguments.label_seed,
            label_group=arguments.label_group,
        )
    path = ben_ge.write_label_subset(subset, arguments.out)
    counts = ", ".join(f"{split} {len(ids)} of {subset.totals[split]}" for split, ids in subset.patches.items())
    print(f"{path}: {counts} patches ({subset.draw} by {subset.group.replace('_', ' and ')}, seed {subset.seed})")
    for note in subset.notes:
        print(f"note: {note}")


def _shots(words: list[str] | None) -> dict[str, int | str] | None:
    if words is None:
        return None
    target, shots = words
    return {target: int(shots) if shots.isdecimal() else shots}  # what is no number is refused by name later


if __name__ == "__main__":
    command_line.run(main, make_parser())
