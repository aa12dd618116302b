"""Splits records anew without converting again, draws label budgets from them, and clusters their places.

Another split. OUT is a directory that is records to everything in eokeras and points to the shards of RECORDS; OUT.csv
is an index file, for `--split OUT.csv` here or in convert.py:

    python data_prep/split.py records/ben-ge-8k records/by-tile --split grouped --group tile
    python data_prep/split.py records/ben-ge-8k records/blocks --split grouped --group block
    python data_prep/split.py records/ben-ge-8k records/by-country --split grouped --group country \\
        --countries metadata.parquet
    python data_prep/split.py records/ben-ge-8k records/as-reben --split metadata.parquet

Leave-groups-out folds, one directory of records each (OUT/fold-1, ...):

    python data_prep/split.py records/ben-ge-800 records/folds --folds 5 --group tile

A label budget, as an index file for `eokeras.make_dataset(..., labels=OUT)`. It names patches of train and of val:
validation labels count. Budgets of one seed and draw are nested:

    python data_prep/split.py records/ben-ge-800 ten.csv --label-fraction 0.1 --label-draw clustered --label-seed 0
    python data_prep/split.py records/ben-ge-800 five-shot.csv --label-shots land_cover 5

Clusters of the training places, their number given or chosen by silhouette, as JSON for `eokeras.pretrain`:

    python data_prep/split.py records/ben-ge-8k clusters.json --geoclusters 5 30
"""

import argparse
import shutil
import warnings
from pathlib import Path

from eokeras import command_line
from eokeras.errors import InvalidArgumentError, TargetExistsError, check_choice

_BLOCK_OF_BUFFER = 3
"""Edge of a block by default, in buffers: narrower blocks would lose most of the training patches around them."""


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", help="directory that convert.py or this command made")
    parser.add_argument("out", help="what to make; must not exist")
    job = parser.add_mutually_exclusive_group(required=True)
    job.add_argument("--split", help="grouped, random, an index file, or a published table with the column `split`")
    job.add_argument("--folds", type=int, help="leave-groups-out folds, from 3")
    job.add_argument("--label-fraction", type=float, help="share of the patches of train and of val")
    job.add_argument(
        "--label-shots",
        nargs=2,
        metavar=("TARGET", "K"),
        help="K patches per class of a class target (climate_zone, land_cover, geocluster)",
    )
    job.add_argument(
        "--geoclusters",
        nargs="+",
        type=int,
        metavar="K",
        help="number of clusters, or fewest and most to choose from by silhouette",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of split, folds or clusters")
    _add_split_options(parser)
    _add_label_options(parser)
    return parser


def _add_split_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--group",
        default="tile_date",
        help="what stays together: tile_date (default), tile, date, country or block",
    )
    parser.add_argument(
        "--fractions",
        nargs=3,
        type=float,
        default=(0.8, 0.1, 0.1),
        metavar=("TRAIN", "VAL", "TEST"),
        help="wanted shares of --split",
    )
    parser.add_argument("--countries", help="published table with the column `country`, for --group country")
    parser.add_argument(
        "--buffer-km",
        type=float,
        help="distance that is kept between the sides; for blocks by default the measured correlation length",
    )
    parser.add_argument("--block-km", type=float, help="edge of a block; by default three times the buffer")
    parser.add_argument(
        "--correlation-of",
        default="land_cover",
        help="class target whose correlation length is measured (default: land_cover)",
    )


def _add_label_options(parser: argparse.ArgumentParser) -> None:
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


def main(arguments: argparse.Namespace) -> None:
    """Does the one job asked for; prints what was made and what is to be known of it."""
    with warnings.catch_warnings():  # the notes say it
        warnings.simplefilter("ignore", UserWarning)
        if arguments.split is not None:
            _split(arguments)
        elif arguments.folds is not None:
            _fold(arguments)
        elif arguments.geoclusters is not None:
            _cluster(arguments)
        else:
            _draw_labels(arguments)


# ---- Splits ----------------------------------------------------------------------------------------------------------


def _split(arguments: argparse.Namespace) -> None:
    from eokeras import ben_ge

    patches = ben_ge.patches_of(arguments.records)
    options = _group_options(arguments, patches)
    split = ben_ge.make_split(
        patches, arguments.split, arguments.group, tuple(arguments.fractions), arguments.seed, **options
    )
    _write(split, arguments.records, Path(arguments.out))
    _print_leaks(patches, split)


def _fold(arguments: argparse.Namespace) -> None:
    from eokeras import ben_ge

    out = Path(arguments.out)
    if out.exists():
        raise TargetExistsError(f"`out` must not exist yet. Received: {out}, which does. Remove it or choose another.")
    patches = ben_ge.patches_of(arguments.records)
    options = _group_options(arguments, patches)
    folds = ben_ge.make_folds(patches, arguments.folds, arguments.group, arguments.seed, **options)
    try:
        for number, split in enumerate(folds, start=1):
            _write(split, arguments.records, out / f"fold-{number}")
            _print_leaks(patches, split)
    except BaseException:  # an interruption too: some of the folds must not be taken for all
        shutil.rmtree(out, ignore_errors=True)
        raise


def _group_options(arguments: argparse.Namespace, patches) -> dict:
    """`countries`, `block_m` and `buffer_m` of the split; what is not given is measured or left at its default."""
    from eokeras import ben_ge

    countries = ben_ge.read_published(arguments.countries, "country") if arguments.countries else None
    buffer_m = None if arguments.buffer_km is None else 1000 * arguments.buffer_km
    block_m = None if arguments.block_km is None else 1000 * arguments.block_km
    if arguments.group != "block" or arguments.split not in (None, "grouped"):
        return {"countries": countries, "block_m": block_m, "buffer_m": buffer_m or 0.0}
    if buffer_m is None:
        buffer_m = _measure(patches, arguments.correlation_of)
    block_m = _BLOCK_OF_BUFFER * buffer_m if block_m is None else block_m
    print(f"blocks of {block_m / 1000:.3g} km with a buffer of {buffer_m / 1000:.3g} km")
    return {"countries": countries, "block_m": block_m, "buffer_m": buffer_m}


def _measure(patches, target: str) -> float:
    """The correlation length of a class target in metres, at least a patch's width."""
    from eokeras import ben_ge
    from eokeras.ben_ge.correlation import one_hot
    from eokeras.ben_ge.schema import PATCH_SIZE_M, TARGETS

    check_choice("correlation-of", target, patches.classes)
    classes = one_hot(patches.classes[target], len(TARGETS[target].classes))
    length_m = ben_ge.correlation_length(patches.places, classes)
    print(f"correlation length of {target}: {length_m / 1000:.3g} km (practical range of the variogram of its classes)")
    return max(length_m, float(PATCH_SIZE_M))


def _write(split, records: str, out: Path) -> None:
    from eokeras import ben_ge

    if out.suffix == ".csv":
        ben_ge.write_split(split, out)
    else:
        ben_ge.apply_split(records, split, out, progress=command_line.progress_bar(f"split {out.name}"))
    counts = ", ".join(f"{side} {len(ids)}" for side, ids in split.patches.items())
    print(f"{out}: {counts} patches ({split.kind} split)")
    for note in split.notes:
        print(f"note: {note}")


def _print_leaks(patches, split) -> None:
    from eokeras import ben_ge

    for side in ("test", "val"):
        if split.patches.get(side) and split.kind in ("grouped", "fold"):  # the notes of other kinds say it
            print(f"leaks: {ben_ge.leakage(patches.places, split.patches, side).sentence(side)}")


# ---- Clusters, label budgets -----------------------------------------------------------------------------------------


def _cluster(arguments: argparse.Namespace) -> None:
    from eokeras import pretrain

    out, numbers = Path(arguments.out), arguments.geoclusters
    if out.exists():
        raise TargetExistsError(f"`out` must not exist yet. Received: {out}, which does. Remove it or choose another.")
    if len(numbers) > 2:
        rule = "`geoclusters` must be a number of clusters, or the fewest and the most to choose from."
        raise InvalidArgumentError(f"{rule} Received: {numbers}.")
    wanted = numbers[0] if len(numbers) == 1 else range(numbers[0], numbers[1] + 1)
    found = pretrain.geoclusters(arguments.records, wanted, arguments.seed)
    found.save(out)
    print(f"{out}: {len(found.centres)} clusters of {found.places} training places (seed {found.seed})")
    for count, value in found.silhouettes:
        print(f"{count} clusters: mean silhouette {value:.3f}")


def _draw_labels(arguments: argparse.Namespace) -> None:
    from eokeras import ben_ge

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
