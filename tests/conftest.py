"""Records that many tests share: made once per session from a script-made tree of known values."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.trees import write_tree

REAL_DATA = os.environ.get("EOKERAS_REAL_DATA")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Directory of real Sentinel data; tests that need it are skipped where there is none."""
    if not REAL_DATA:
        pytest.skip("EOKERAS_REAL_DATA names no directory of real data")
    return Path(REAL_DATA)


@pytest.fixture
def eagerly():
    """Keras trains without a graph: whoever takes few steps waits longer for its tracing than for them."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@dataclass(frozen=True)
class KnownRecords:
    """Records, the tree they were made from, and the features of every patch in it."""

    path: Path
    tree: Path
    features: dict[str, dict]


@pytest.fixture(scope="session")
def known_records(tmp_path_factory) -> KnownRecords:
    """Twelve patches (6 train, 3 val, 3 test) with labels, no-data pixels, NaN and infinities."""
    from eokeras import ben_ge

    root = tmp_path_factory.mktemp("known")
    features = write_tree(root / "tree", 12, labels=True, splits=True, no_data=True, non_finite=True)
    records = ben_ge.convert(root / "tree", root / "records", split="official")
    return KnownRecords(records, root / "tree", features)
