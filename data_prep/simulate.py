"""Writes a simulated ben-ge tree: the real layout with pixels of a made-up continent.

    python data_prep/simulate.py data/ben-ge-sim --patches 400 --seed 0
    python data_prep/simulate.py data/cloudy --knob cloud_fraction=0.3 --knob label_noise=0
    python data_prep/simulate.py data/no-s1 --without s1

Simulated data show that a method can find an effect, not how large the effect is in Europe.
"""

import argparse
from dataclasses import replace

from eokeras import command_line
from eokeras.ben_ge.simulator import World, simulate
from eokeras.errors import InvalidArgumentError, check_choice


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    knobs = ", ".join(f"{name} ({value:g})" for name, value in World().knobs.items())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="directory to make; must not exist; its last part names the tree")
    parser.add_argument("--patches", type=int, default=400, help="number of patches (default: 400)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the world (default: 0)")
    parser.add_argument("--tiles", type=int, help="number of tiles, 1 to 56 (default: one per five patches)")
    parser.add_argument("--processes", type=int, help="worker processes (default: all cores)")
    parser.add_argument(
        "--knob", action="append", default=[], metavar="NAME=VALUE", help=f"a knob of the world, repeatable: {knobs}"
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="MODALITY",
        help="make s2, s1, dem or era5 independent of every target, repeatable",
    )
    return parser


def world_of(knobs: list[str], without: list[str]) -> World:
    """The world that the options describe; `knobs` as NAME=VALUE.

    Raises:
        InvalidArgumentError: unknown knob or modality, or a value out of its range.
    """
    world = World()
    for modality in without:
        world = world.without(modality)
    for knob in knobs:
        name, _, text = knob.partition("=")
        check_choice("knob", name, World.names())
        try:
            value = float(text)
        except ValueError:
            raise InvalidArgumentError(f"`knob` must be NAME=NUMBER. Received: {knob!r}.") from None
        world = replace(world, **{name: value})
    return world


def main(arguments: argparse.Namespace) -> None:
    """Simulates; prints where the tree is."""
    tree = simulate(
        arguments.out,
        patches=arguments.patches,
        seed=arguments.seed,
        world=world_of(arguments.knob, arguments.without),
        tiles=arguments.tiles,
        processes=arguments.processes,
        progress=command_line.progress_bar("simulate"),
    )
    print(f"{tree}: {arguments.patches} simulated patches")


if __name__ == "__main__":
    command_line.run(main, make_parser())
