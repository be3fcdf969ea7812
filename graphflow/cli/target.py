"""Finds the graph that was named as `module:attr` or `path.py:attr`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from graphflow.cli.options import TARGET
from graphflow.errors import TargetError, did_you_mean
from graphflow.flow import Flow
from graphflow.graph import StateGraph

__all__ = ["Target", "load_target"]

Target = StateGraph[Any] | Flow[Any]

T = TypeVar("T")

_FORMS = "name it as module:attr or path.py:attr, as in triage.py:graph"
_OWN = str(Path(__file__).parent)
_SHOWN_FRAMES = 6


def load_target(target: str | None) -> Target:
    """Import what was named, and give the graph, or the flow that was made of it.

    Args:
        target: ``module:attr`` or ``path.py:attr``; None: the environment's. The attribute is a
            StateGraph or a Flow, or a function without parameters that returns one.

    Returns:
        The graph, or the flow.

    Raises:
        TargetError: There is no such file, module or attribute, it is not a graph, or the code
            raised while it was imported (its own traceback is in the message).
    """
    named = target or os.environ.get(TARGET)
    if not named:
        raise TargetError(f"no TARGET was given: {_FORMS}, or set {TARGET}")
    where, _, attribute = named.rpartition(":")
    if not where or not attribute:
        where, attribute = where or attribute, ""
    module = _load(where)
    if not attribute:
        known = "".join(f" {where}:{name}" for name in _graphs(module))
        raise TargetError(
            f"{named!r} does not say which graph: {_FORMS}.{' Known:' * bool(known)}{known}"
        )
    return _graph(_attribute(module, where, attribute), named, module)


def _load(where: str) -> ModuleType:
    cwd = str(Path.cwd())
    if cwd not in sys.path:
        sys.path.insert(0, cwd)
    if where.endswith(".py") or "/" in where or os.sep in where:
        return _load_file(Path(where).expanduser())
    return _load_module(where)


def _load_file(path: Path) -> ModuleType:
    """Import a file; one inside a package as that package's module, so that its imports work."""
    if not path.is_file():
        beside = path.parent.glob("*.py") if path.parent.is_dir() else ()
        hint = did_you_mean(path.name, [other.name for other in beside])
        kind = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise TargetError(f"{path} {kind}.{hint}")
    full = path.resolve()
    root, parts = full.parent, [full.stem]
    while (root / "__init__.py").is_file():
        root, parts = root.parent, [root.name, *parts]
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    if len(parts) > 1:
        return _own_errors(
            f"{path} cannot be imported", lambda: importlib.import_module(".".join(parts))
        )
    return _own_errors(f"{path} cannot be imported", lambda: _execute(full))


def _execute(path: Path) -> ModuleType:
    # Classes look their module up by its name, so it must have one that nothing else has
    name = path.stem if path.stem not in sys.modules else f"{path.stem} ({path})"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TargetError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _load_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise TargetError(f"{name!r} is not the name of a module: {_FORMS}")

    def load() -> ModuleType:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # the module is there, and imports something that is not
            raise TargetError(_no_module(name, error.name)) from None

    return _own_errors(f"module {name!r} cannot be imported", load)


def _no_module(name: str, missing: str) -> str:
    import pkgutil

    package = sys.modules.get(missing.rpartition(".")[0])
    paths = (
        list(package.__path__) if package and hasattr(package, "__path__") else [str(Path.cwd())]
    )
    beside = [info.name for info in pkgutil.iter_modules(paths)]
    hint = did_you_mean(missing.rpartition(".")[2], beside)
    file = Path(*name.split(".")).with_suffix(".py")
    if file.is_file():
        hint = f" Its folder is no package; name the file: {file}:..."
    return f"there is no module {missing!r} in {', '.join(paths)} or among those installed.{hint}"


def _own_errors(what: str, work: Callable[[], T]) -> T:
    """Do what runs the user's code; what that raises is told with its own lines."""
    try:
        return work()
    except TargetError:
        raise
    except SystemExit as error:
        raise TargetError(
            f"{what}: it called sys.exit({error.code!r}). Put what a script does under"
            " `if __name__ == '__main__':`"
        ) from error
    except Exception as error:
        raise TargetError(f"{what}:\n{_told(error)}") from error


def _told(error: BaseException) -> str:
    """Tell an exception with the frames of the user's code."""
    told = traceback.TracebackException.from_exception(error)
    frames = [
        frame
        for frame in told.stack
        if not frame.filename.startswith(("<frozen importlib", _OWN, importlib.__file__ or "<"))
    ]
    told.stack = traceback.StackSummary.from_list(frames[-_SHOWN_FRAMES:])
    return "".join(told.format(chain=False)).rstrip()


def _attribute(module: ModuleType, where: str, attribute: str) -> Any:
    value: Any = module
    for part in attribute.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            known = _graphs(module) or [name for name in vars(module) if not name.startswith("_")]
            raise TargetError(f"{where} has no {part!r}.{did_you_mean(part, known)}") from None
    return value


def _graph(value: Any, named: str, module: ModuleType) -> Target:
    made = value
    if inspect.isroutine(value):
        made = _own_errors(f"{named} could not make its graph", lambda: _call(value, named))
    if isinstance(made, StateGraph | Flow):
        return made
    other = "".join(f" {name!r}" for name in _graphs(module))
    hint = f" Graphs there:{other}." if other else ""
    gives = "returned" if made is not value else "is"
    raise TargetError(
        f"{named} {gives} no StateGraph or Flow but of type {type(made).__name__}.{hint}"
    )


def _call(function: Callable[..., Any], named: str) -> Any:
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise TargetError(
            f"{named} is a function that takes arguments ({error}); name a StateGraph, a Flow, or"
            " a function without parameters that returns one"
        ) from None
    if inspect.iscoroutinefunction(function):
        raise TargetError(f"{named} is an async function; make the graph in a plain one")
    return function()


def _graphs(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if isinstance(value, StateGraph | Flow)]
