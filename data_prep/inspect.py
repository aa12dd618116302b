"""Says what records hold, where they come from, and what would mislead: on the terminal, as a page, and as JSON.

    python data_prep/inspect.py records/ben-ge-800
    python data_prep/inspect.py records/ben-ge --countries metadata.parquet --snow metadata.parquet \\
        --cloud metadata.parquet --out reports/ben-ge

Every patch is read once. Exit status 1 where statistics or fingerprint do not belong to the shards.
"""

import sys
from pathlib import Path

if __name__ == "inspect":
    # The standard library has a module of this name, and a command of this folder looks here first: hand that one over.
    import importlib.util
    from importlib.machinery import PathFinder

    _elsewhere = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]
    _specification = PathFinder.find_spec("inspect", _elsewhere)
    sys.modules["inspect"] = importlib.util.module_from_spec(_specification)
    _specification.loader.exec_module(sys.modules["inspect"])

import argparse
import tempfile


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", help="directory that convert.py or split.py made")
    parser.add_argument(
        "--out", help="directory for inspection.html and inspection.json; by default that of the records"
    )
    parser.add_argument("--countries", help="published table with the column `country`")
    for name, what in (
        ("snow", "with seasonal snow"),
        ("cloud", "with cloud or shadow"),
        ("no-labels", "without a BigEarthNet-19 label"),
    ):
        parser.add_argument(f"--{name}", help=f"published list of patches {what}, or a table with a column of marks")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Prints provenance, reads every patch, writes page and JSON, prints what would mislead."""
    from eokeras import ben_ge, command_line
    from eokeras.ben_ge.provenance import provenance_lines, provenance_of
    from eokeras.errors import RecordsError
    from eokeras.records_page import write_records_page

    records = ben_ge.load_schema(arguments.records)
    counts = ", ".join(f"{side} {number}" for side, number in records.splits.items())
    print(f"{arguments.records}: {records.name}, {counts} patches ({records.split['kind']} split)")
    print("\n".join(provenance_lines(provenance_of(records))))
    out = Path(arguments.out or arguments.records)
    _check_writable(out)  # before every patch is read, which takes long
    found = ben_ge.inspect(
        records,
        countries=arguments.countries,
        snow=arguments.snow,
        cloud=arguments.cloud,
        no_labels=arguments.no_labels,
        progress=command_line.progress_bar("inspect"),
    )
    page = write_records_page(found, out / "inspection.html")
    table = found.write(out / "inspection.json")
    for warning in found.warnings:
        print(f"warning: {warning}")
    print(f"{page}\n{table}")
    if not found.facts["integrity"]["is_sound"]:
        raise RecordsError(f"{arguments.records} must have the statistics of its shards. Received: others; see {page}.")


def _check_writable(out: Path) -> None:
    from eokeras.errors import UnwritableError

    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UnwritableError(f"`--out` must be writable. Received: {out} ({error.strerror}).") from None


if __name__ == "__main__":
    from eokeras import command_line

    command_line.run(main, make_parser())
