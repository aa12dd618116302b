"""Many patches from a small tree, for what depends on their number: in a module of its own, which workers import."""

from eokeras.ben_ge.source import Patch, Source


class Repeated(Source):
    """The patches of a source over and over, as acquisitions of other seconds, up to a number of them."""

    def __init__(self, source: Source, count: int):
        self.__dict__.update(source.__dict__)
        old = source.patch_ids
        names = [(_renamed(old[index % len(old)], index // len(old)), old[index % len(old)]) for index in range(count)]
        self.originals = dict(names)
        self.patch_ids = tuple(sorted(self.originals))
        self.places = {new: source.places[original] for new, original in names}
        self.digital_numbers = source.digital_numbers

    def read(self, patch_id: str) -> Patch:
        patch = super().read(self.originals[patch_id])
        return Patch(patch_id, {**patch.features, "patch_id": patch_id}, patch.non_finite)


def _renamed(patch_id: str, number: int) -> str:
    """S2A_MSIL2A_20170612T092140_51_89 at another second of the day."""
    *start, time, column, row = patch_id.split("_")
    return "_".join((*start, f"{time[:9]}{number // 3600:02}{number // 60 % 60:02}{number % 60:02}", column, row))
