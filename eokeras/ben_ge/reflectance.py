"""The offset of Sentinel-2 digital numbers, looked up in the data: reflectance = (number + BOA_ADD_OFFSET) / 10,000.

Products of processing baseline 04.00 and later (from 25 January 2022) carry BOA_ADD_OFFSET = -1000, earlier ones none,
whenever the image was taken. What tells it, of every acquisition:

    - the baseline in the patch name (`_N0400_`); N9999 is a processing of one's own and tells nothing
    - else the baseline of the Level-1C product that the label file names (`tile_source`)
    - else a name of BigEarthNet v1, which was made in 2018 of products of its time
    - dark pixels, which have the last word: where most of the visible numbers lie below 1000, an offset would make
      most of the reflectance negative, so there is none. Bright scenes tell nothing; but where no baseline is
      stated, a scene is not bright and yet no number lies below 1000, a note says that it looks like an offset.

References:
    Sentinel-2 Products Specification Document, issue 14.9, and the processing baseline notes of ESA (04.00).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from eokeras.ben_ge.schema import S2_BANDS
from eokeras.errors import InvalidPatchError, InvalidSourceError

OFFSET = -1000
"""BOA_ADD_OFFSET since baseline 04.00 [digital numbers]."""

_FIRST_BASELINE, _OWN_PROCESSING = 400, 9999
_LAST_V1_DATE = "20220124"  # the day before baseline 04.00
_MOST_PIXELS = 0.5
_BRIGHT = 2500  # a median of the visible numbers above this is snow, cloud or bare sand
_LOOKS = 3  # patches of an acquisition to look at, until one is dark
_V1_NAME = "a name of BigEarthNet v1, made before baseline 04.00"
_BASELINE = re.compile(r"_N(\d{4})_")
_DATE = re.compile(r"S2[A-D]_MSIL2A_(\d{8})T")


@dataclass(frozen=True)
class ProductOffset:
    """What is known of the digital numbers of one acquisition.

    Args:
        offset: BOA_ADD_OFFSET in digital numbers, 0 or -1000.
        evidence: what told it, in words.
        is_told: False where nothing told it and none was assumed.
        is_taken_away: whether the name calls for an offset that the pixels show to be gone.
        floor: smallest visible number, where it looks like an offset although none is stated; else None.
    """

    offset: int
    evidence: str
    is_told: bool = True
    is_taken_away: bool = False
    floor: int | None = None


def product_offset(
    product: str,
    patch_ids: Iterable[str],
    read_source_tile: Callable[[str], str],
    read_visible: Callable[[str], np.ndarray],
) -> ProductOffset:
    """The offset of one acquisition.

    Args:
        product: its name, the patch name without the cell.
        patch_ids: patches of it.
        read_source_tile: patch id -> name of its Level-1C product, empty where nothing states it.
        read_visible: patch id -> digital numbers of the visible bands, 0 where missing. Both may raise
            `InvalidPatchError`; another patch is then asked.
    """
    patch_ids = list(patch_ids)[:_LOOKS]
    stated, source = _stated(product, patch_ids, read_source_tile)
    share, floor = _look(patch_ids, read_visible)
    dark = f"{share:.0%} of the visible pixels of a patch lie below {-OFFSET}"
    if share >= _MOST_PIXELS:
        if stated == OFFSET:
            words = f"{dark}, so the offset that {source} calls for was taken away"
            return ProductOffset(0, words, is_taken_away=True)
        return ProductOffset(0, f"{source}; {dark}" if source else dark)
    if stated == OFFSET:
        return ProductOffset(OFFSET, source)
    if source not in ("", _V1_NAME):
        floor = None  # a baseline that is stated leaves no doubt
    return ProductOffset(0, source or f"nothing tells it ({dark}); none assumed", stated is not None, floor=floor)


def _stated(product: str, patch_ids, read_source_tile) -> tuple[int | None, str]:
    """Offset by the name of the product or of its source, and what states it."""
    if match := _BASELINE.search(f"{product}_"):
        return _of_baseline(match[1], "in the name")
    for patch_id in patch_ids:
        try:
            match = _BASELINE.search(read_source_tile(patch_id))
        except InvalidPatchError:
            continue
        if match:
            return _of_baseline(match[1], "of the Level-1C product in the label file")
    date = _DATE.match(product)
    if date and date[1] <= _LAST_V1_DATE:
        return 0, _V1_NAME
    return None, ""


def _of_baseline(baseline: str, where: str) -> tuple[int | None, str]:
    if int(baseline) == _OWN_PROCESSING:
        return None, ""
    return OFFSET if int(baseline) >= _FIRST_BASELINE else 0, f"baseline N{baseline} {where}"


def _look(patch_ids, read_visible) -> tuple[float, int | None]:
    """Looks at a few patches for what an offset would make of their visible numbers.

    Returns:
        The largest share of a patch that would be negative reflectance; and the smallest number of all, where no
        number would be and no patch is bright, else None.
    """
    largest, floor, is_bright = 0.0, None, False
    for patch_id in patch_ids:
        try:
            numbers = read_visible(patch_id)
        except InvalidPatchError:
            continue
        numbers = numbers[numbers > 0]
        if numbers.size:
            largest = max(largest, float((numbers < -OFFSET).mean()))
            floor = min(int(numbers.min()), floor or int(numbers.min()))
            is_bright |= bool(np.median(numbers) > _BRIGHT)
        if largest >= _MOST_PIXELS:
            break
    return largest, None if is_bright or (floor or 0) < -OFFSET else floor


def describe(products: Mapping[str, ProductOffset], bands: Iterable[str]) -> dict[str, object]:
    """What a set of records states of its reflectance; acquisitions that told nothing follow the others.

    Args:
        products: acquisition -> what is known of it.
        bands: names of the bands in the records; names of other sensors are passed over.

    Returns:
        `reflectance`: band -> `scale` and `offset` of reflectance = scale * number + offset; `products`: acquisition
        -> `offset` in digital numbers and `evidence`; `notes`: sentences about what a user should know.

    Raises:
        InvalidSourceError: acquisitions differ.
    """
    if any(found.is_taken_away for found in products.values()):  # then a name alone tells nothing
        products = {
            name: replace(found, is_told=False, evidence=f"{found.evidence}, but other products lack theirs")
            if found.offset
            else found
            for name, found in products.items()
        }
    by_offset = {found.offset: (name, found.evidence) for name, found in products.items() if found.is_told}
    if len(by_offset) > 1:
        named = "; ".join(f"{name} {offset} ({evidence})" for offset, (name, evidence) in sorted(by_offset.items()))
        rule = "All Sentinel-2 products of a set of records must have one offset of digital numbers"
        raise InvalidSourceError(f"{rule}: convert them apart with `patches=`. Received: {named}.")
    offset = next(iter(by_offset), 0)
    scales = {band.name: band.scale for band in S2_BANDS}
    return {
        "reflectance": {
            band: {"scale": scales[band], "offset": scales[band] * offset} for band in bands if band in scales
        },
        "products": {
            name: {"offset": found.offset if found.is_told else offset, "evidence": found.evidence}
            for name, found in products.items()
        },
        "notes": _notes(products, offset),
    }


def _notes(products: Mapping[str, ProductOffset], offset: int) -> list[str]:
    notes = []
    if untold := [name for name, found in products.items() if not found.is_told]:
        notes.append(
            f"The offset of digital numbers of {len(untold)} of {len(products)} Sentinel-2 products could not be told "
            f"and was taken as {offset} (such as {min(untold)})."
        )
    if doubtful := {name: found for name, found in products.items() if found.floor is not None and not offset}:
        name, found = min(doubtful.items())
        notes.append(
            f"The visible digital numbers of {len(doubtful)} of {len(products)} Sentinel-2 products begin above "
            f"{-OFFSET}, as if they carried an offset of {OFFSET}, which nothing states. Look at {name}: smallest "
            f"number {found.floor}; {found.evidence}."
        )
    return notes
