"""Fetches a published ben-ge tree, or the parts of the full ben-ge, checks and unpacks it; run it again to go on.

python data_prep/download.py ben-ge-800 data
python data_prep/download.py ben-ge-8k /scratch --keep-archive
python data_prep/download.py ben-ge /scratch --sentinel-2 BigEarthNet-v1.0 --sentinel-1 BigEarthNet-S1-v1.0
"""

import argparse
from pathlib import Path

from eokeras import command_line
from eokeras.ben_ge import check_bigearthnet, open_source
from eokeras.ben_ge.archive import download
from eokeras.ben_ge.catalogue import ARCHIVES, FULL, NAMES, archives_of
from eokeras.ben_ge.download_note import read_note
from eokeras.ben_ge.layout import CSVS, FOLDERS
from eokeras.ben_ge.patch_files import FILE_ENDINGS, patches_in
from eokeras.ben_ge.tables import Table
from eokeras.ben_ge.zenodo import ADDRESS
from eokeras.errors import InvalidArgumentError

META = f"{FULL}_meta.csv"


def make_parser() -> argparse.ArgumentParser:
    """The command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help=f"{', '.join(NAMES)} (the three parts of the full set)")
    parser.add_argument("directory", help="where the tree DIRECTORY/NAME goes; that of parts is DIRECTORY/ben-ge")
    parser.add_argument("--keep-archive", action="store_true", help="leave the tar.gz beside the tree")
    parser.add_argument("--base", default=ADDRESS, help="a server with the same records (default: %(default)s)")
    parser.add_argument("--sentinel-2", metavar="DIR", help="your BigEarthNet-v1.0, to be checked (full ben-ge)")
    parser.add_argument("--sentinel-1", metavar="DIR", help="your BigEarthNet-S1-v1.0, to be checked (full ben-ge)")
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Downloads; prints where each archive's content is and how many patches it has; checks BigEarthNet."""
    sentinel = {"sentinel_2": arguments.sentinel_2, "sentinel_1": arguments.sentinel_1}
    sentinel = {sensor: root for sensor, root in sentinel.items() if root is not None}
    if sentinel and arguments.name in ARCHIVES and not ARCHIVES[arguments.name].is_part:
        raise InvalidArgumentError(
            f"`--sentinel-2` and `--sentinel-1` go with {FULL} and its parts. Received: name={arguments.name!r}, "
            "which brings Sentinel patches itself."
        )
    tree = download(arguments.name, arguments.directory, keep_archive=arguments.keep_archive, base=arguments.base)
    for name in archives_of(arguments.name):
        place, count = _count(tree, name)
        published = "" if count == ARCHIVES[name].patches else f" (published: {ARCHIVES[name].patches})"
        print(f"{place}: {count} patches{published} of https://doi.org/{read_note(tree, name)['doi']}")
    if sentinel:
        show = command_line.progress_bar("check BigEarthNet")
        count = check_bigearthnet(tree / META, **sentinel, progress=show)
        print(f"{', '.join(sentinel.values())}: whole, {count} patches of {tree / META}")


def _count(tree: Path, name: str) -> tuple[Path, int]:
    """Where the content of an archive lies, and of how many patches it is."""
    archive = ARCHIVES[name]
    if archive.folder:
        folder = tree / FOLDERS[archive.folder][0]
        return folder, len(patches_in(folder, FILE_ENDINGS[archive.folder]))
    if archive.csv:
        path = next(path for path in tree.iterdir() if CSVS[archive.csv].fullmatch(path.name))
        return path, len(Table(path, archive.csv))
    return tree, len(open_source(tree).patch_ids)


if __name__ == "__main__":
    command_line.run(main, make_parser())
