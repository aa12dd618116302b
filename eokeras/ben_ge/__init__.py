"""The ben-ge data set: schema, reader, simulator, published archives, splits, label budgets and TFRecord builder."""

from eokeras._lazy import lazy

_NAMES = {
    "World": "eokeras.ben_ge.simulator",
    "apply_split": "eokeras.ben_ge.resplit",
    "check_bigearthnet": "eokeras.ben_ge.bigearthnet",
    "convert": "eokeras.ben_ge.builder",
    "correlation_length": "eokeras.ben_ge.correlation",
    "download": "eokeras.ben_ge.archive",
    "draw_labels": "eokeras.ben_ge.label_budget",
    "inspect": "eokeras.ben_ge.inspection.inspector",
    "leakage": "eokeras.ben_ge.splits",
    "load_schema": "eokeras.ben_ge.records",
    "make_folds": "eokeras.ben_ge.folds",
    "make_split": "eokeras.ben_ge.splits",
    "open_source": "eokeras.ben_ge.source",
    "patches_of": "eokeras.ben_ge.record_patches",
    "read_label_subset": "eokeras.ben_ge.label_subsets",
    "read_published": "eokeras.ben_ge.published",
    "read_split": "eokeras.ben_ge.splits",
    "simulate": "eokeras.ben_ge.simulator",
    "variogram": "eokeras.ben_ge.correlation",
    "write_label_subset": "eokeras.ben_ge.label_subsets",
    "write_patch_table": "eokeras.ben_ge.patch_table",
    "write_split": "eokeras.ben_ge.splits",
}
_MODULES = ("schema",)

__all__ = [*_NAMES, *_MODULES]
__getattr__, __dir__ = lazy(__name__, _NAMES, _MODULES)
