"""The public face: what `graphflow` exports is what it says it exports, and all is described."""

import ast
import inspect
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import graphflow

PACKAGE = Path(graphflow.__file__).parent
PUBLIC = list(graphflow.__all__)


def in_order(name: str) -> tuple[int, str]:
    """Sort constants first, then classes, then the rest, as imports are sorted."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@cache
def described_values() -> frozenset[str]:
    """Find the values that a string below them, or their module's docstring, describes."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module_words = ast.get_docstring(tree) or ""
        for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", 0)]
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            below = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            found |= {name for name in names if below or name in module_words}
    return frozenset(found)


def is_described(name: str) -> bool:
    """Tell whether a public name says what it is for."""
    value = getattr(graphflow, name)
    if inspect.isclass(value):
        words = vars(value).get("__doc__") or ""
        return bool(words) and not words.startswith(f"{value.__name__}(")  # a dataclass's own
    return bool(inspect.isfunction(value) and value.__doc__) or name in described_values()


def test_all_is_sorted():
    """`__all__` is sorted as imports are, and names nothing twice."""
    assert sorted(set(PUBLIC), key=in_order) == PUBLIC


def test_all_is_what_is_exported():
    """Each name of `__all__` is there, and no other public name is."""
    for name in PUBLIC:
        getattr(graphflow, name)
    exported = {
        name
        for name, value in vars(graphflow).items()
        if not (name.startswith("_") or isinstance(value, ModuleType) or name == "TYPE_CHECKING")
    }
    assert exported <= set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_is_described(name):
    """A public class or function has a docstring; a public value has a string below it."""
    assert is_described(name)


def test_the_package_is_typed():
    """Type checkers of users read graphflow's annotations."""
    assert (PACKAGE / "py.typed").is_file()
