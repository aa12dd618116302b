"""The house rules that a machine can check: import order, docstrings, a light import."""

import ast
import dataclasses
import functools
import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import eokeras

PACKAGE = Path(eokeras.__file__).parent

# A file may import from rooms above its own, never from one below. A facade (`eokeras.models`) stands where the
# last room does that it gathers names from.
ROOMS = (
    "_lazy",
    "errors",
    "command_line",
    "ben_ge.schema",
    "ben_ge.input_names",
    "ben_ge.workers",
    "ben_ge.workplace",
    "ben_ge.source",
    "ben_ge.simulator",
    "ben_ge.archive",
    "ben_ge.splits",
    "ben_ge.builder",
    "ben_ge.inspection",
    "programs",
    "calibration",
    "ops",
    "layers",
    "normalization",
    "parallel",
    "augment",
    "epochs",
    "label_choice",
    "several_views",
    "serialised",
    "pipeline",
    "label_counts",
    "models.encoders",
    "models.transfer",
    "models.fusion",
    "models.heads",
    "models.tasks",
    "models.sizing",
    "models.twins",
    "losses",
    "metrics",
    "balance",
    "callbacks",
    "evaluate",
    "pretrain",
    "saved_model",
    "stored_inputs",
    "plot",
    "report",
    "report_page",
    "records_words",
    "records_page",
    "run_folder",
    "demo",
    "__main__",
)

# Rooms of several files, in their own order: a file may import only the files before it.
SPLIT_ROOMS = {
    "ben_ge.schema": ("corine", "schema"),
    "ben_ge.source": (
        "places",
        "layout",
        "patch_files",
        "tables",
        "index_files",
        "labels",
        "metadata_table",
        "patch_list",
        "label_source",
        "csv_source",
        "rasters",
        "plain_tiff",
        "geotiff",
        "reflectance",
        "source",
    ),
    "ben_ge.archive": (
        "catalogue",
        "bigearthnet",
        "part",
        "unpacking",
        "http_client",
        "zenodo",
        "transfer_bar",
        "download_note",
        "staging",
        "download_task",
        "archive",
    ),
    "ben_ge.splits": (
        "ground",
        "groups",
        "leaks",
        "buffers",
        "published",
        "splits",
        "folds",
        "correlation",
        "label_subsets",
    ),
    "ben_ge.builder": (
        "statistics",
        "gathered",
        "records",
        "patch_table",
        "seal",
        "attributions",
        "provenance",
        "shard_reader",
        "record_patches",
        "label_budget",
        "shards",
        "beam_runner",
        "record_files",
        "builder",
        "resplit",
    ),
    "ben_ge.inspection": (
        "defects",
        "image_hashes",
        "duplicates",
        "patch_columns",
        "integrity",
        "judgement",
        "inspector",
    ),
    "models.encoders": ("contract", "convolutional", "residual", "transformer", "scalars"),
    "augment": ("missing", "composition", "geometry", "resized_crop", "radiometry", "erasing", "mixing"),
    "losses": ("labelled", "classes", "by_task"),
    "metrics": ("epochs", "classes", "numbers", "by_task"),
    "models.fusion": ("joints", "branches", "by_channels", "by_level", "attention", "conditioning", "presence"),
    "balance": ("rules", "uncertainty", "task_losses", "gradients", "gradient_rules", "balanced_model", "cosines"),
    "pretrain": (
        "view_losses",
        "masking",
        "contrastive",
        "health",
        "guard",
        "mae",
        "inpainting",
        "clustering",
        "pretext",
    ),
}


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix(".__init__") if name != "__init__" else ""


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def room_of(module: str) -> str | None:
    """The room a module belongs to; None for the facades (`__init__`) that only gather names."""
    for room, files in SPLIT_ROOMS.items():
        if module.startswith("ben_ge.") and module.split(".")[1] in files:
            return room
    if module.startswith("ben_ge.simulation"):
        return "ben_ge.simulator"
    candidates = [room for room in ROOMS if module == room or module.startswith(f"{room}.")]
    return max(candidates, key=len, default=None)


def last_room(facade: str) -> str:
    """The last room that a facade gathers names from; the whole package's is the last of all."""
    return [room for room in ROOMS if not facade or room.startswith(f"{facade}.")][-1]


def position(module: str) -> tuple[int, int]:
    """Place in the import order: of the room, and of the file in a room of several."""
    room = room_of(module) or last_room(module)
    files = SPLIT_ROOMS.get(room, ())
    file = module.split(".")[-1]
    return ROOMS.index(room), files.index(file) if file in files else len(files)


def is_package(name: str) -> bool:
    return name == "eokeras" or name.startswith("eokeras.")


def module_of(names: list[str]) -> str:
    """The module that a dotted name below `eokeras` leads to: the longest part that is one."""
    known = (".".join(names[:end]) for end in range(len(names), 0, -1))
    return next((name for name in known if name in MODULES), "")


def attribute_names(node: ast.AST) -> list[str] | None:
    """["ops", "select"] for `eokeras.ops.select`; None where no attribute of `eokeras` is read."""
    names = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return names if isinstance(node, ast.Name) and node.id == "eokeras" and names else None


def imported_modules(text: str) -> set[str]:
    """Modules of the package that a source text imports anywhere, also inside functions.

    A name that is no module counts as an import of the facade or module that gives it ("" is the
    facade `eokeras`). `import eokeras` alone imports nothing: what is read from it then does,
    but for names like `__version__`.
    """
    found, tree = set(), ast.parse(text)
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("eokeras.")]
            assert not any(alias.asname for alias in node.names if alias.name == "eokeras"), "import it by its name"
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "no relative imports"
            names = [f"{node.module}.{alias.name}" for alias in node.names if is_package(node.module)]
        elif id(node) not in inner and attribute_names(node):
            names = [".".join(["eokeras", *attribute_names(node)])]
        parts = [name.split(".")[1:] for name in names]
        found |= {module_of(part) for part in parts if not part[0].startswith("__") or part[0] in MODULES}
    return found


def order_violations(module: str, imports: set[str]) -> list[str]:
    later = sorted(other for other in imports if position(other) > position(module))
    return [f"{module} imports {other or 'eokeras'}, which comes later" for other in later]


@pytest.mark.parametrize("module", [name for name in MODULES if room_of(name)])
def test_rooms_import_only_from_above(module):
    assert order_violations(module, imported_modules(MODULES[module].read_text(encoding="utf-8"))) == []


def test_every_module_has_a_room():
    facades = {"", "ben_ge", "models"}
    assert [name for name in MODULES if room_of(name) is None and name not in facades] == []


def test_every_room_has_its_files():
    files = {
        f"{room if room in PACKAGES else room.rpartition('.')[0]}.{file}"
        for room, files in SPLIT_ROOMS.items()
        for file in files
    }
    assert {name for name in (*ROOMS, *files) if name not in MODULES} == set()


@pytest.mark.parametrize(
    ("module", "other"),
    [
        ("ops", "pipeline"),
        ("ops", "models"),  # a facade stands where the last of its rooms stands
        ("ben_ge.schema", "ben_ge"),
        ("ben_ge.splits", "ben_ge"),
        ("models.heads", "models"),
        ("models.encoders.convolutional", "models.encoders"),
        ("models.encoders.convolutional", "models.encoders.residual"),
        ("models.encoders.contract", "models.transfer"),
        ("demo", ""),
        ("ben_ge.labels", "ben_ge.source"),  # files of one room
        ("ben_ge.places", "ben_ge.layout"),
        ("ben_ge.records", "ben_ge.builder"),
        ("ben_ge.records", "ben_ge"),
    ],
)
def test_the_import_check_finds(module, other):
    assert order_violations(module, {other}) == [f"{module} imports {other or 'eokeras'}, which comes later"]


@pytest.mark.parametrize(
    ("module", "imports"),
    [
        ("pipeline", {"ops", "ben_ge.schema"}),
        ("ops", {"ben_ge"}),
        ("losses", {"models"}),
        ("models.encoders.transformer", {"models.encoders.contract", "layers"}),
        ("models.heads", {"models.encoders.contract", "models.encoders"}),
        ("ben_ge.source", {"ben_ge.labels", "ben_ge.places"}),
        ("ben_ge.splits", {"ben_ge.index_files"}),
        ("ben_ge.simulation.patch", {"ben_ge.simulation.world"}),
    ],
)
def test_the_import_check_allows(module, imports):
    assert order_violations(module, imports) == []


@pytest.mark.parametrize(
    ("text", "modules"),
    [
        ("from eokeras import models", {"models"}),
        ("from eokeras import ben_ge, evaluate", {"ben_ge", "evaluate"}),
        ("from eokeras.models import unet", {"models"}),
        ("from eokeras.models import heads", {"models.heads"}),
        ("from eokeras.ben_ge import convert, schema", {"ben_ge", "ben_ge.schema"}),
        ("from eokeras.ben_ge.schema import VOID", {"ben_ge.schema"}),
        ("from eokeras import make_dataset", {""}),
        ("from eokeras import __version__", set()),
        ("from eokeras.__main__ import main", {"__main__"}),
        ("def late():\n    from eokeras import plot", {"plot"}),
        ("import eokeras\nprint(eokeras.__version__)", set()),
        ("import eokeras\neokeras.ops.select(('s2',))", {"ops"}),
        ("import eokeras\neokeras.make_dataset()", {""}),
        ("import eokeras.ben_ge.builder", {"ben_ge.builder"}),
        ("import eokeras_extra, numpy\nfrom keras import ops", set()),
    ],
)
def test_the_imports_that_a_file_counts(text, modules):
    assert imported_modules(text) == modules


def public_objects():
    for module in MODULES:
        if module.split(".")[-1].startswith("_"):
            continue
        loaded = importlib.import_module(f"eokeras.{module}".rstrip("."))
        for name, value in vars(loaded).items():
            is_own = getattr(value, "__module__", None) == loaded.__name__
            is_documented_kind = inspect.isclass(value) or inspect.isfunction(inspect.unwrap(value))
            if not name.startswith("_") and is_own and is_documented_kind:
                yield f"{module}.{name}", value


def public_members(owner: type):
    """Methods and properties that a class adds itself: no overrides, no fields of a dataclass."""
    excepted = {name for base in owner.__mro__[1:] for name in vars(base)} | {*vars(owner).get("__annotations__", ())}
    for name, value in vars(owner).items():
        value = getattr(value, "__func__", value)  # of a classmethod or staticmethod
        is_member = isinstance(value, property | functools.cached_property) or inspect.isfunction(value)
        if is_member and not name.startswith("_") and name not in excepted:
            yield name, value


def has_own_docstring(value) -> bool:
    """Whether a docstring was written for it: not inherited, nor the signature that `dataclass` writes."""
    if inspect.isclass(value):
        text = vars(value).get("__doc__") or ""
        return bool(text.strip()) and not text.startswith(f"{value.__name__}(")
    return bool((value.__doc__ or "").strip())


def undocumented(objects) -> list[str]:
    bare = []
    for name, value in objects:
        members = public_members(value) if inspect.isclass(value) else ()
        documented = [(name, value), *((f"{name}.{member}", own) for member, own in members)]
        bare += [full_name for full_name, own in documented if not has_own_docstring(own)]
    return bare


def test_every_public_name_has_a_docstring():
    assert undocumented(public_objects()) == []


def test_the_docstring_check_can_fail():
    class Base:
        """Documented."""

        def old(self):
            """Documented."""

    @dataclasses.dataclass
    class Bare(Base):
        action: Callable = lambda: None

        def old(self): ...

        def new(self): ...

        @property
        def size(self): ...

        @classmethod
        def make(cls): ...

        @functools.cached_property
        def table(self): ...

        def _private(self): ...

        def told(self):
            """Documented."""

    assert undocumented([("Base", Base)]) == []
    assert undocumented([("Bare", Bare)]) == ["Bare", "Bare.new", "Bare.size", "Bare.make", "Bare.table"]


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
