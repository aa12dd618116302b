"""A sample of labelled pixels, for models that answer pixel by pixel.

Letters: B batch, H rows, W columns, C channels.
"""

from collections.abc import Iterable

import numpy as np

from eokeras.ben_ge import schema as facts

_PIXELS_PER_PATCH = 200


def sample_pixels(
    batches: Iterable[tuple[np.ndarray, np.ndarray]], limit: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """A uniform sample of the labelled pixels drawn from each patch, 200 of each at most.

    Every pixel gets a random number and the lowest are kept, so memory stays bounded however
    many patches there are.

    Args:
        batches: channels (B, H, W, C) and references (B, H, W): class ids with `VOID`, or numbers with NaN, for no
            label.
        limit: largest number n of pixels.
        seed: of the draw.

    Returns:
        (values (n, C), labels (n,)); no pixels where nothing is labelled.
    """
    random = np.random.default_rng(seed)
    kept: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    for channels, reference in batches:
        reference = reference.reshape(len(reference), -1)
        channels = channels.reshape(*reference.shape, -1)
        count = min(_PIXELS_PER_PATCH, reference.shape[1])
        pixel = np.argsort(random.random(reference.shape), axis=1)[:, :count]
        patch = np.arange(len(reference))[:, None]
        labels, values = reference[patch, pixel].ravel(), channels[patch, pixel].reshape(-1, channels.shape[-1])
        known = is_labelled(labels)
        new = random.random(known.sum()), labels[known], values[known]
        kept = new if kept is None else tuple(np.concatenate(pair) for pair in zip(kept, new, strict=True))
        if len(kept[0]) > limit:
            lowest = np.argpartition(kept[0], limit)[:limit]
            kept = tuple(part[lowest] for part in kept)
    if kept is None:
        return np.zeros((0, 1)), np.zeros(0, "int64")
    return kept[2], kept[1]


def is_labelled(reference: np.ndarray) -> np.ndarray:
    """Where class ids are not `VOID` and numbers not NaN; of the same shape."""
    return reference != facts.VOID if np.issubdtype(reference.dtype, np.integer) else np.isfinite(reference)
