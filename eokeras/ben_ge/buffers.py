"""A buffer around the patches held out: what lies too near to them is left out of the other sides."""

from collections.abc import Mapping, Sequence

from eokeras.ben_ge.ground import ground_points, nearest_m
from eokeras.ben_ge.places import Place
from eokeras.errors import InvalidArgumentError, InvalidSourceError, check_number

_ORDER = ("test", "val", "train")  # each side keeps its distance from those before it


def keep_distance(
    patches: Mapping[str, Sequence[str]], places: Mapping[str, Place], buffer_m: float
) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Leaves out of train what lies near val or test, and of val what lies near test.

    Test keeps all its patches, so that the score is of the patches that were drawn. Distances are between centres, on
    the ground, across tiles and UTM zones. A buffer of one patch's width (1200 m) parts the ground of overlapping
    tiles of one UTM zone, one of its diagonal (1700 m) that of any; one for blocks should be as wide as the measured
    correlation length.

    Args:
        patches: split -> patch ids; those without a place stay.
        places: patch id -> `Place`.
        buffer_m: smallest distance in metres that remains; 0 leaves nothing out.

    Returns:
        The patches that are left by split, and a sentence on what was left out.

    Raises:
        InvalidArgumentError: `buffer_m` is no number of 0 or more, or leaves a side without patches.
        InvalidSourceError: a tile has no MGRS name, so that nothing can be measured.
    """
    buffer_m = check_number("buffer_m", buffer_m, at_least=0)
    if not buffer_m:
        return {side: list(ids) for side, ids in patches.items()}, ()
    kept, left_out = {}, {}
    held_out: dict[tuple, None] = {}  # cells, in order: each is measured once
    for side in (side for side in _ORDER if side in patches):
        cells = list(dict.fromkeys(places[patch_id][:2] for patch_id in patches[side] if patch_id in places))
        near_cells = _near(cells, list(held_out), buffer_m)
        kept[side] = [i for i in patches[side] if i not in places or places[i][:2] not in near_cells]
        left_out[side] = near = len(patches[side]) - len(kept[side])
        if near and not kept[side]:
            rule = f"`buffer_m` must leave patches in {side}; take smaller blocks or a narrower buffer."
            raise InvalidArgumentError(f"{rule} Received: buffer_m={buffer_m:g}.")
        held_out |= dict.fromkeys(cell for cell in cells if cell not in near_cells)
    counts = " and ".join(f"{left_out.get(side, 0)} of {side}" for side in ("train", "val"))
    note = f"Buffer of {buffer_m / 1000:.3g} km: {counts} lie nearer to a patch held out from them and are left out."
    return {side: kept[side] for side in patches}, (note,)


def _near(cells: Sequence[tuple], held_out: Sequence[tuple], buffer_m: float) -> set[tuple]:
    """The cells (tile, cell) whose centres lie nearer than the buffer to one that is held out."""
    try:
        points, others = (ground_points(Place(*cell, "") for cell in some) for some in (cells, held_out))
    except ValueError as error:
        raise InvalidSourceError(f"`buffer_m` needs places on the ground. {error}") from None
    is_near = nearest_m(points, others) < buffer_m
    return {cell for cell, near in zip(cells, is_near.tolist(), strict=True) if near}
