"""Converts a ben-ge tree into TFRecords, ready for `eokeras.make_dataset` and `tfds.builder_from_directory`.

    python data_prep/convert.py data/ben-ge-800 records/ben-ge-800
    python data_prep/convert.py data/ben-ge-8k records/ben-ge-8k --split official

BigEarthNet v1 or v2 (reBEN) alone, only some of it, only some patches:

    python data_prep/convert.py data/reBEN records/reBEN --split official \\
        --modalities sentinel_2 reference_maps labels --bands s2=B02,B03,B04,B08 --patches some.csv

The full ben-ge is modular; give the folders and csvs that lie apart:

    python data_prep/convert.py data/ben-ge records/ben-ge --sentinel-2 BigEarthNet-v1.0 \\
        --sentinel-1 BigEarthNet-S1-v1.0 --dem ben-ge_dem --esaworldcover ben-ge_esaworldcover
"""

import argparse
import sys

from eokeras import command_line

PARTS = (
    "sentinel_2",
    "sentinel_1",
    "dem",
    "esaworldcover",
    "reference_maps",
    "meta",
    "era5",
    "climatezones",
    "landcover",
    "geoclusters",
    "metadata",
    "splits",
)


def bands_of(text: str) -> tuple[str, tuple[str, ...]]:
    """`s2=B04,B03` -> "s2", ("B04", "B03")."""
    sensor, equals, names = text.partition("=")
    if not equals or not names:
        raise argparse.ArgumentTypeError(f"must look like s2=B04,B03,B02. Received: {text!r}")
    return sensor, tuple(name.strip() for name in names.split(","))


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="directory of a tree of ben-ge or BigEarthNet")
    parser.add_argument("out", help="directory to make; must not exist")
    parser.add_argument(
        "--split",
        default="grouped",
        help="grouped (default), official (the tree's own), random, or the path of an index file",
    )
    parser.add_argument(
        "--group",
        default="tile_date",
        help="what a grouped split keeps together: tile_date (default), tile or date",
    )
    parser.add_argument(
        "--fractions",
        nargs=3,
        type=float,
        default=(0.8, 0.1, 0.1),
        metavar=("TRAIN", "VAL", "TEST"),
        help="wanted shares",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the split")
    parser.add_argument(
        "--on-error",
        default="stop",
        help="stop (default) at the first bad patch, or skip bad patches and list them in OUT/skipped.csv",
    )
    parser.add_argument(
        "--workers",
        type=int,
        help="processes that read and write (default: one for each core); the records are the same",
    )
    parser.add_argument(
        "--beam-runner",
        help="run on Apache Beam instead: DirectRunner, DataflowRunner, FlinkRunner, SparkRunner, PortableRunner; "
        "SOURCE and OUT must lie where every machine sees them under the same path",
    )
    parser.add_argument(
        "--beam-option",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="an option of the runner, repeatable, such as direct_num_workers=2",
    )
    parser.add_argument("--name", help="the NAME in front of the csvs, where it is not the directory's")
    parser.add_argument("--patches", help="index file: use only these patches")
    parser.add_argument(
        "--modalities",
        nargs="+",
        help="read only these: sentinel_2, dem, ... as the options below are named, or labels; a patch need not have "
        "the others",
    )
    parser.add_argument(
        "--bands",
        nargs="+",
        type=bands_of,
        default=(),
        metavar="SENSOR=B1,B2",
        help="read only these bands of s2 or s1",
    )
    for part in PARTS:
        parser.add_argument(f"--{part.replace('_', '-')}", help=f"{part} folder or table, where it lies apart")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Converts; prints where the records are and what is in them."""
    from eokeras import ben_ge

    options = {name: getattr(arguments, name) for name in (*PARTS, "name", "patches", "modalities")}
    source = ben_ge.open_source(arguments.source, **options, bands=dict(arguments.bands))
    records = ben_ge.convert(
        source,
        arguments.out,
        split=arguments.split,
        group=arguments.group,
        fractions=tuple(arguments.fractions),
        seed=arguments.seed,
        on_error=arguments.on_error,
        workers=arguments.workers,
        beam_runner=arguments.beam_runner,
        beam_options=[f"--{option}" for option in arguments.beam_option],
        progress=command_line.progress_bar("convert"),
    )
    schema = ben_ge.load_schema(records)
    counts = ", ".join(f"{name} {count}" for name, count in schema.splits.items())
    print(f"{records}: {counts} patches ({schema.split['kind']} split); {', '.join(source.modalities)}")
    for note in schema.split["notes"]:
        print(f"note: {note}")
    if schema.metadata["skipped"]:
        print(f"{schema.metadata['skipped']} patches were set aside: {records}/skipped.csv", file=sys.stderr)


if __name__ == "__main__":
    command_line.run(main, make_parser())
