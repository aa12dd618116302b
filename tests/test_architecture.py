"""The house rules that a machine can check: import order, docstrings, a light import."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import eokeras

PACKAGE = Path(eokeras.__file__).parent

# A file may import from rooms above its own, never from one below.
ROOMS = (
    "_lazy",
    "errors",
    "command_line",
    "ben_ge.schema",
    "ben_ge.source",
    "ben_ge.simulator",
    "ben_ge.splits",
    "ben_ge.builder",
    "calibration",
    "ops",
    "layers",
    "augment",
    "pipeline",
    "models.encoders",
    "models.fusion",
    "models.heads",
    "models.tasks",
    "losses",
    "metrics",
    "evaluate",
    "saved_model",
    "plot",
    "report",
    "report_page",
    "run_folder",
    "demo",
    "__main__",
)

# Rooms of several files, in their own order.
SPLIT_ROOMS = {
    "ben_ge.source": ("places", "layout", "tables", "index_files", "labels", "rasters", "source"),
    "ben_ge.builder": ("statistics", "records", "builder"),
}


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix(".__init__") if name != "__init__" else ""


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str | None:
    """The room a module belongs to; None for the facades (`__init__`) that only gather names."""
    for room, files in SPLIT_ROOMS.items():
        if module.startswith("ben_ge.") and module.split(".")[1] in files:
            return room
    if module.startswith("ben_ge.simulation"):
        return "ben_ge.simulator"
    candidates = [room for room in ROOMS if module == room or module.startswith(f"{room}.")]
    return max(candidates, key=len, default=None)


def imported_modules(path: Path) -> set[str]:
    """Modules of the package that a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    found = {name.removeprefix("eokeras.") for name in found if name.startswith("eokeras.")}
    return {name for name in found if name in MODULES}


def order_violations(module: str, imports: set[str]) -> list[str]:
    room = room_of(module)
    own = ROOMS.index(room)
    return [
        f"{module} imports {other}, whose room {room_of(other)} comes later"
        for other in sorted(imports)
        if room_of(other) is not None and ROOMS.index(room_of(other)) > own
    ]


@pytest.mark.parametrize("module", [name for name in MODULES if room_of(name)])
def test_rooms_import_only_from_above(module):
    assert order_violations(module, imported_modules(MODULES[module])) == []


def test_every_module_has_a_room():
    facades = {"", "ben_ge", "models"}
    assert [name for name in MODULES if room_of(name) is None and name not in facades] == []


def test_the_import_check_can_fail():
    assert order_violations("ops", {"pipeline"}) == ["ops imports pipeline, whose room pipeline comes later"]
    assert order_violations("pipeline", {"ops", "ben_ge.schema"}) == []


def public_objects():
    for module in MODULES:
        if module.split(".")[-1].startswith("_"):
            continue
        loaded = importlib.import_module(f"eokeras.{module}".rstrip("."))
        for name, value in vars(loaded).items():
            is_own = getattr(value, "__module__", None) == loaded.__name__
            if not name.startswith("_") and is_own and (inspect.isfunction(value) or inspect.isclass(value)):
                yield f"{module}.{name}", value


def test_every_public_name_has_a_docstring():
    bare = []
    for name, value in public_objects():
        if not inspect.getdoc(value):
            bare.append(name)
    assert bare == []


def test_every_module_has_a_docstring():
    assert [name for name, path in MODULES.items() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))] == []


def test_lazy_names_exist():
    for package in (eokeras, eokeras.ben_ge, eokeras.models):
        for name in package.__all__:
            assert getattr(package, name) is not None


@pytest.mark.parametrize(
    "statement", ["import eokeras", "from eokeras import ben_ge; ben_ge.open_source; ben_ge.World"]
)
def test_import_stays_light(statement):
    heavy = ("tensorflow", "keras", "jax", "sklearn", "matplotlib", "tensorflow_datasets")
    code = f"import sys; {statement}; print([name for name in {heavy!r} if name in sys.modules])"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert output.stdout.strip() == "[]"
