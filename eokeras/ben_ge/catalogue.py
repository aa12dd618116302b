"""What of ben-ge is published where: Zenodo records, sizes, and what each unpacks to.

Reference:
    Mommert et al. 2023, https://arxiv.org/abs/2307.01741; https://github.com/HSG-AIML/ben-ge
"""

from dataclasses import dataclass

BIGEARTHNET_PATCHES = 590_326


@dataclass(frozen=True)
class Archive:
    """A published archive: a whole tree, or one part of the full ben-ge.

    Args:
        record: number of its Zenodo record, which states size and md5 sum of each file.
        patches: how many it covers.
        files: about how many files and directories it unpacks to.
        tree_bytes: about how much disk that takes.
        file: name of its tar.gz in the record; None takes every tar.gz and csv that the record lists.
        folder: the raster modality (of `layout.FOLDERS`) that a part must hold; None for a whole tree or a csv.
        csv: the csv (of `layout.CSVS`) that a part must hold.
        latest: whether a later version of the record counts instead.
    """

    record: int
    patches: int
    files: int
    tree_bytes: int
    file: str | None = None
    folder: str | None = None
    csv: str | None = None
    latest: bool = False

    @property
    def is_part(self) -> bool:
        """Whether it goes into the shared tree of the full ben-ge."""
        return self.folder is not None or self.csv is not None


# 20 files a patch in a whole tree: 12 Sentinel-2, 2 Sentinel-1, 1 elevation, 1 land cover, 2 label files, 2 folders.
# 4.2 GB is what ben-ge's documentation says of ben-ge-8k; a tenth of it is taken for ben-ge-800. In the parts a patch
# takes whole blocks of 4 KiB: 120 x 120 int16 eight of them, uint8 four; csvs of 590,326 rows take some 0.1 GB each.
ARCHIVES = {
    "ben-ge-800": Archive(12941231, 800, 16_000, 420_000_000, file="ben-ge-800.tar.gz"),
    "ben-ge-8k": Archive(8121208, 8000, 160_000, 4_200_000_000, file="ben-ge-8k.tar.gz"),
    "ben-ge-dem": Archive(8129350, BIGEARTHNET_PATCHES, 600_000, 19_500_000_000, folder="dem"),
    "ben-ge-esaworldcover": Archive(8129666, BIGEARTHNET_PATCHES, 600_000, 9_900_000_000, folder="esaworldcover"),
    # The archive that was published first lacks the csv (https://github.com/HSG-AIML/ben-ge/issues/3).
    "ben-ge-era-5": Archive(8129412, BIGEARTHNET_PATCHES, 100, 300_000_000, csv="era5", latest=True),
}
"""Name -> archive."""

FULL = "ben-ge"
"""Name of all parts together, and of the tree that they share."""

NAMES = (*ARCHIVES, FULL)
"""What `download` takes."""


def archives_of(name: str) -> tuple[str, ...]:
    """The archives that a name of `NAMES` stands for."""
    return tuple(key for key, archive in ARCHIVES.items() if archive.is_part) if name == FULL else (name,)


def tree_of(name: str) -> str:
    """The directory that a name of `NAMES` goes into."""
    return FULL if name == FULL or ARCHIVES[name].is_part else name
