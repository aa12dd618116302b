"""eokeras: data-efficient deep learning for Earth observation with Keras and TensorFlow.

Example:
    >>> import eokeras as eo
    >>> source = eo.ben_ge.simulate("data/ben-ge-sim", patches=400, seed=0)  # doctest: +SKIP
    >>> records = eo.ben_ge.convert(source, "records/ben-ge-sim")  # doctest: +SKIP
    >>> train = eo.make_dataset(records, "train", ("s2", "s1"), ("climate_zone",))  # doctest: +SKIP
"""

from eokeras._lazy import lazy

__version__ = "0.1.0"

_NAMES = {
    "make_dataset": "eokeras.pipeline",
    "count_labels": "eokeras.label_counts",
    "load_schema": "eokeras.ben_ge.records",
    "export": "eokeras.saved_model",
    "from_stored": "eokeras.stored_inputs",
}
_MODULES = (
    "augment",
    "balance",
    "ben_ge",
    "callbacks",
    "errors",
    "evaluate",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "plot",
    "pretrain",
    "report",
)

__all__ = ["__version__", *_NAMES, *_MODULES]
__getattr__, __dir__ = lazy(__name__, _NAMES, _MODULES)
