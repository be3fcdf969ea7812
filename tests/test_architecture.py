"""The house stays one-way: ARCHITECTURE.md says which module may import what, the code obeys."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "graphflow"

FILE_LINES = 400
FUNCTION_LINES = 40  # without the docstring
BUDGET_EXCEPTIONS: dict[str, str] = {}
"""`module` or `module:function` -> why it may be longer. Empty is the aim."""

FORBIDDEN_NAMES = {"base", "common", "helper", "helpers", "manager", "managers", "util", "utils"}

Layer = tuple[int, int]


def table(*head: str) -> list[list[str]]:
    """Read the rows of the Markdown table in ARCHITECTURE.md that has this head."""
    lines = iter((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines())
    for line in lines:
        if cells(line) == list(head):
            next(lines)  # the rule below the head
            return [cells(row) for row in iter(lambda: next(lines, ""), "")]
    raise LookupError(f"ARCHITECTURE.md has no table | {' | '.join(head)} |")


def cells(line: str) -> list[str]:
    """Split one row of a table; backquotes are for the reader."""
    return [cell.strip().replace("`", "") for cell in line.strip().strip("|").split("|")]


def layer(text: str) -> Layer:
    """Read a layer: `5` is `5.0`, and `5.10` lies above `5.9`."""
    number, _, part = text.partition(".")
    return int(number), int(part or 0)


def files() -> dict[str, Path]:
    """Find all modules: `graphflow`, `names`, `state`, `state.codec`, ..."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts).removesuffix("__init__").removesuffix(".") or "graphflow"] = path
    return found


def parse(path: Path) -> ast.Module:
    """Read a module without running it."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def is_bare(path: Path) -> bool:
    """Tell whether a package's `__init__` is nothing but its docstring; it then needs no row."""
    return path.name == "__init__.py" and len(parse(path).body) <= 1


FILES = files()
MODULES = {name: path for name, path in FILES.items() if not is_bare(path)}
LAYERS = {name: layer(number) for number, name, _ in table("layer", "module", "job")}
LIBRARIES = {name: re.split(r",\s*", at) for name, at, _ in table("library", "imported in", "for")}


def imported(tree: ast.Module, module: str, *, package: bool) -> Iterator[tuple[int, str]]:
    """List what a module imports: at the top, in functions, for typing only, or by name.

    Yields:
        (line, dotted name of the module), relative imports resolved.
    """
    full = "graphflow" if module == "graphflow" else f"graphflow.{module}"
    home = full.split(".") if package else full.split(".")[:-1]
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=source, names=names, level=up):
                start = home[: len(home) - up + 1] if up else []
                origin = ".".join([*start, *([source] if source else [])])
                yield from ((node.lineno, submodule(origin, alias.name)) for alias in names)
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name


def submodule(origin: str, name: str) -> str:
    """Tell which module `from origin import name` imports: `name` may be one itself."""
    full = f"{origin}.{name}"
    return full if full.removeprefix("graphflow.") in FILES else origin


def upward(tree: ast.Module, module: str, *, package: bool = False) -> list[str]:
    """Say which imports of graphflow's own modules do not lead strictly down."""
    found = []
    for line, full in sorted(set(imported(tree, module, package=package))):
        name = full.removeprefix("graphflow.")
        if full.split(".")[0] != "graphflow" or (name in FILES and name not in MODULES):
            continue  # somebody else's, or a package with nothing in it
        if name not in LAYERS:
            found.append(f"line {line}: {name} is not in the layer table")
        elif LAYERS[name] >= LAYERS[module]:
            ours, theirs = show(LAYERS[module]), show(LAYERS[name])
            found.append(f"line {line}: {module} ({ours}) imports {name} ({theirs})")
    return found


def show(number: Layer) -> str:
    """Write a layer as the table does."""
    return f"layer {number[0]}.{number[1]}" if number[1] else f"layer {number[0]}"


def misplaced(tree: ast.Module, module: str, *, package: bool = False) -> list[str]:
    """Say which third-party libraries a module imports though it is not their place."""
    own = sys.stdlib_module_names | {"graphflow"}
    uses = {(at, full.split(".")[0]) for at, full in imported(tree, module, package=package)}
    return [
        f"line {line}: {library} is imported in {', '.join(LIBRARIES.get(library, ['no module']))}"
        for line, library in sorted(uses)
        if library not in own
        and not any(covers(place, module) for place in LIBRARIES.get(library, []))
    ]


def covers(place: str, module: str) -> bool:
    """Tell whether a place of the library table, `state.*` or `render.dot`, is this module's."""
    return module == place or (place.endswith(".*") and module.startswith(place[:-1]))


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """List each function, methods and nested ones too, with its lines less its docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            words = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
            said = words.end_lineno - words.lineno + 1 if words else 0
            yield node.name, node.end_lineno - node.lineno + 1 - said


def oversized() -> dict[str, str]:
    """List what is over its budget, as `module` or `module:function`."""
    found = {}
    for module, path in FILES.items():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > FILE_LINES:
            found[module] = f"{lines} lines, {FILE_LINES} are the most"
        for name, length in functions(parse(path)):
            if length > FUNCTION_LINES:
                found[f"{module}:{name}"] = f"{length} lines, {FUNCTION_LINES} are the most"
    return found


def test_every_module_is_in_the_table():
    """A module that holds code has a row in ARCHITECTURE.md's layer table."""
    missing = sorted(MODULES.keys() - LAYERS.keys())
    assert not missing, f"add a row | layer | module | job | to ARCHITECTURE.md for: {missing}"


def test_every_row_is_a_module():
    """A row of the layer table names a module that exists."""
    gone = sorted(LAYERS.keys() - MODULES.keys())
    assert not gone, f"remove these rows from ARCHITECTURE.md, or write the modules: {gone}"


def test_the_table_reads_upwards():
    """The rows stand in the order of their layers, each module once, each with its job."""
    rows = table("layer", "module", "job")
    assert [layer(number) for number, _, _ in rows] == sorted(LAYERS.values())
    assert all(job for _, _, job in rows)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_lead_down(module):
    """A module imports only from strictly lower layers, lazy and typing imports included."""
    path = MODULES[module]
    if module not in LAYERS:
        pytest.fail(f"{module} has no row in ARCHITECTURE.md's layer table")
    found = upward(parse(path), module, package=path.name == "__init__.py")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_libraries_have_one_place(module):
    """A third-party library is imported only where ARCHITECTURE.md's library table says."""
    path = MODULES[module]
    found = misplaced(parse(path), module, package=path.name == "__init__.py")
    assert not found, "\n".join(found)


def test_the_budgets_hold():
    """Files and functions stay short; each exception has its reason, and is still needed."""
    found = oversized()
    assert not {name: why for name, why in found.items() if name not in BUDGET_EXCEPTIONS}
    assert not BUDGET_EXCEPTIONS.keys() - found.keys(), "these exceptions are no longer needed"
    assert all(BUDGET_EXCEPTIONS.values())


def test_modules_are_named_after_their_job():
    """No module is called what any module could be called."""
    words = {part.strip("_") for name in FILES for part in name.split(".")}
    assert not words & FORBIDDEN_NAMES


PLANTED = {
    "at the top": "from graphflow.records import StepRecord",
    "the module itself": "import graphflow.records",
    "as a member of the package": "from graphflow import records",
    "relative": "from .records import StepRecord",
    "in a function": "def f():\n    from graphflow.records import StepRecord",
    "for typing only": "if TYPE_CHECKING:\n    from graphflow.records import StepRecord",
    "by name": "import_module('graphflow.records')",
    "a sibling of its own layer": "import graphflow.names",
    "the public face": "from graphflow import END",
    "a module without a row": "import graphflow.nowhere",
}


@pytest.mark.parametrize("source", PLANTED.values(), ids=PLANTED)
def test_a_planted_upward_import_is_found(source):
    """The check sees an import that leads up, however it is written."""
    assert upward(ast.parse(source), "errors")


@pytest.mark.parametrize(
    "source", ["import networkx", "def f():\n    from networkx import DiGraph"]
)
def test_a_planted_library_is_found(source):
    """The check sees a library outside its place, and lets it be in its place."""
    assert misplaced(ast.parse(source), "names")
    assert not misplaced(ast.parse(source), "checks.shape")
