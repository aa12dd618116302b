"""The ben-ge data set: schema, reader, simulator, published archives, splits and TFRecord builder."""

from eokeras._lazy import lazy

_NAMES = {
    "World": "eokeras.ben_ge.simulator",
    "convert": "eokeras.ben_ge.builder",
    "download": "eokeras.ben_ge.archive",
    "load_schema": "eokeras.ben_ge.records",
    "make_split": "eokeras.ben_ge.splits",
    "open_source": "eokeras.ben_ge.source",
    "read_split": "eokeras.ben_ge.splits",
    "simulate": "eokeras.ben_ge.simulator",
    "write_split": "eokeras.ben_ge.splits",
}
_MODULES = ("schema",)

__all__ = [*_NAMES, *_MODULES]
__getattr__, __dir__ = lazy(__name__, _NAMES, _MODULES)
