"""Fetches a published ben-ge tree, checks it and unpacks it; run it again to go on after a failure.

python data_prep/download.py ben-ge-800 data
python data_prep/download.py ben-ge-8k /scratch --keep-archive
"""

import argparse

from eokeras import command_line
from eokeras.ben_ge import open_source
from eokeras.ben_ge.archive import ARCHIVES, download
from eokeras.ben_ge.zenodo import ADDRESS


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help=f"{' or '.join(ARCHIVES)}")
    parser.add_argument("directory", help="where the tree DIRECTORY/NAME goes")
    parser.add_argument("--keep-archive", action="store_true", help="leave the tar.gz beside the tree")
    parser.add_argument("--base", default=ADDRESS, help="a server with the same records (default: %(default)s)")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Downloads; prints where the tree is and how many patches it has."""
    tree = download(arguments.name, arguments.directory, keep_archive=arguments.keep_archive, base=arguments.base)
    archive, count = ARCHIVES[arguments.name], len(open_source(tree).patch_ids)
    published = "" if count == archive.patches else f" (published: {archive.patches})"
    print(f"{tree}: {count} patches{published} of https://doi.org/{archive.doi}")


if __name__ == "__main__":
    command_line.run(main, make_parser())
