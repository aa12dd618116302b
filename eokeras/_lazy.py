"""Lazy public names: `import eokeras` stays light until something is used."""

import importlib
from collections.abc import Callable, Mapping


def lazy(package: str, names: Mapping[str, str], modules: tuple[str, ...] = ()) -> tuple[Callable, Callable]:
    """Makes `__getattr__` and `__dir__` of a package.

    Args:
        package: the package's own name.
        names: public name -> module that defines it.
        modules: submodules that are public themselves.
    """

    def __getattr__(name: str):
        if name in names:
            return getattr(importlib.import_module(names[name]), name)
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def __dir__():
        return sorted([*names, *modules])

    return __getattr__, __dir__
