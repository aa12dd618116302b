"""The examples in docstrings run and print what they say (those marked +SKIP need data)."""

import doctest
import importlib
from pathlib import Path

import pytest

import eokeras

PACKAGE = Path(eokeras.__file__).parent
MODULES = [
    ".".join(("eokeras", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if any(">>> " in line and "+SKIP" not in line for line in path.read_text("utf-8").splitlines())
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    results = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert results.failed == 0
    assert results.attempted > 0
