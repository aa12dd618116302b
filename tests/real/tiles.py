"""Labelled tiles of EuroSAT, and how they are divided: tiles to choose rates with, a pool, a test set."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import rasterio.errors

FOR_RATES = {"rgb": 20, "ms": 0}
TO_TEST = {"rgb": 50, "ms": 5}
"""Tiles of each class."""


@dataclass(frozen=True)
class Tiles:
    """Images (N, 64, 64, C), each band less the mean of all tiles and over their deviation; class ids (N,); names."""

    images: np.ndarray
    labels: np.ndarray
    names: np.ndarray
    classes: tuple[str, ...]

    def at(self, places):
        return self.images[places], self.labels[places]


def read_tiles(folder: Path) -> Tiles:
    """All tiles of a folder per class."""
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    images, labels, names = [], [], []
    for index, name in enumerate(classes):
        for path in sorted((folder / name).iterdir()):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)  # JPEG has no place
                with rasterio.open(path) as file:
                    images.append(np.moveaxis(file.read(), 0, -1))
            labels.append(index)
            names.append(path.stem)
    images = np.stack(images).astype("float32")
    images = (images - images.mean((0, 1, 2))) / images.std((0, 1, 2))
    return Tiles(images, np.array(labels), np.array(names), classes)


def per_class(labels: np.ndarray, places: np.ndarray, count: int, rng) -> np.ndarray:
    """`count` of `places` of every class, or all where there are fewer."""
    chosen = [rng.permutation(places[labels[places] == label])[:count] for label in np.unique(labels)]
    return np.concatenate(chosen)


def split(tiles: Tiles, kind: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(tiles to choose rates with, pool, test): places in `tiles`; the first are the same for every seed."""
    everything = np.arange(len(tiles.labels))
    kept = per_class(tiles.labels, everything, FOR_RATES[kind], np.random.default_rng(0))
    others = np.setdiff1d(everything, kept)
    test = per_class(tiles.labels, others, TO_TEST[kind], np.random.default_rng(seed))
    return kept, np.setdiff1d(others, test), test
