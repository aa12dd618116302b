"""`python -m eokeras demo | train | evaluate | export`: the public functions from the command line."""

import argparse
from dataclasses import fields

from eokeras import command_line
from eokeras.errors import InvalidArgumentError


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; `arguments.function` does the work."""
    parser = argparse.ArgumentParser(prog="python -m eokeras", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    demo = commands.add_parser("demo", help="from patches to a trained, exported model and a page of pictures")
    demo.add_argument("out", nargs="?", default="demo", help="directory to make (default: demo)")
    demo.add_argument("--source", help="a ben-ge tree; by default one is simulated")
    demo.add_argument("--split", default="grouped", help="grouped, official, random or an index file")
    demo.add_argument("--group", default="tile_date", help="tile_date, tile or date")
    demo.add_argument("--patches", type=int, default=400, help="number of simulated patches")
    demo.add_argument("--seed", type=int, default=0)
    demo.add_argument("--epochs", type=int, default=8)
    demo.add_argument("--width", type=int, default=8, help="channels of the U-Nets at full resolution")
    demo.add_argument("--overwrite", action="store_true", help="replace an earlier demo in the same directory")
    demo.set_defaults(function=_demo)

    train = commands.add_parser("train", help="train a fusion model; goes on where an interrupted run stopped")
    train.add_argument("records", help="directory that data_prep/convert.py made")
    train.add_argument("run", help="run folder to make or to go on with")
    # Defaults are those of `run_folder.Configuration`.
    options = {"default": argparse.SUPPRESS}
    train.add_argument("--inputs", nargs="+", help="s2, s1, dem (default: s2 s1)", **options)
    train.add_argument("--targets", nargs="+", help="default: climate_zone land_cover_map season", **options)
    train.add_argument("--fusion", help="late (default) or early", **options)
    train.add_argument("--width", type=int, help="channels at full resolution; 64 gives the tutorial's", **options)
    train.add_argument("--epochs", type=int, **options)
    train.add_argument("--batch-size", type=int, **options)
    train.add_argument("--learning-rate", type=float, **options)
    train.add_argument("--calibrate", help="standardise (default) or tutorial", **options)
    train.add_argument("--loss-weight", nargs=2, action="append", default=[], metavar=("TARGET", "WEIGHT"))
    train.add_argument("--seed", type=int, **options)
    train.add_argument("--label-fraction", type=float, help="train and validate on this share of the labels", **options)
    train.add_argument("--label-draw", help="spread over all groups (default) or clustered in few", **options)
    train.add_argument("--label-seed", type=int, help="seed of the draw", **options)
    train.set_defaults(function=_train)

    evaluate = commands.add_parser("evaluate", help="score a run with intervals and baselines")
    evaluate.add_argument("run", help="folder of a finished run")
    evaluate.add_argument("--split", default="test")
    evaluate.set_defaults(function=_evaluate)

    export = commands.add_parser("export", help="write a run's model as a SavedModel")
    export.add_argument("run", help="folder of a finished run")
    export.add_argument("out", help="directory to make")
    export.set_defaults(function=_export)
    return parser


def _demo(arguments: argparse.Namespace) -> None:
    from eokeras.demo import run_demo

    options = {name: value for name, value in vars(arguments).items() if name not in ("function", "verbose", "out")}
    run_demo(arguments.out, **options)


def _train(arguments: argparse.Namespace) -> None:
    from eokeras import run_folder

    weights = {target: _number("--loss-weight", weight) for target, weight in arguments.loss_weight}
    names = {entry.name for entry in fields(run_folder.Configuration)}
    options = {name: value for name, value in vars(arguments).items() if name in names}
    model = run_folder.train(run_folder.Configuration(**options, loss_weights=weights), arguments.run, progress=True)
    print(f"{arguments.run}: {model.count_params():,} weights, {len(run_folder.read_history(arguments.run))} epochs")


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidArgumentError(f"`{option}` must be a number. Received: {text!r}.") from None


def _evaluate(arguments: argparse.Namespace) -> None:
    from eokeras import run_folder

    print(run_folder.evaluate_run(arguments.run, arguments.split))


def _export(arguments: argparse.Namespace) -> None:
    from eokeras import run_folder

    print(run_folder.export_run(arguments.run, arguments.out))


def main(arguments: argparse.Namespace) -> None:
    """Runs the command that was asked for."""
    arguments.function(arguments)


if __name__ == "__main__":
    command_line.run(main, make_parser())
