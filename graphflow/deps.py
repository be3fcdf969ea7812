"""What the nodes are given beside the state: one object, or a factory that makes it when asked."""

from __future__ import annotations

import threading
from collections.abc import Awaitable
from typing import Any

from graphflow.errors import InputError
from graphflow.signatures import closed

__all__ = ["Deps"]


class Deps:
    """The dependencies of one run.

    Args:
        declared: The type that the graph declares; None: it declares none.
        given: An object of it, or a function without arguments that makes one. That is called
            when a node first asks, in the thread or event loop of the node.

    Raises:
        InputError: The graph declares dependencies, and none were given, or of another type.
    """

    def __init__(self, graph: str, declared: Any, given: Any) -> None:
        self._declared, self._given, self._graph = declared, given, graph
        self._made: Any = None
        self._is_made = False
        self._lock = threading.RLock()
        self.check(graph, declared)

    def check(self, graph: str, declared: Any) -> None:
        """Check that what was given is what a graph declares; a child may declare its own.

        Raises:
            InputError: It is not.
        """
        given = self._given
        if declared is None or _fits(given, declared) or callable(given):
            return
        name = getattr(declared, "__name__", str(declared))
        words = "none were given" if given is None else f"{given!r} is none"
        raise InputError(
            f"graph {graph!r} declares deps={name}, and {words}; pass an object of it, or a"
            f" function that makes one: flow.run(..., deps={name}(...))"
        )

    def get(self) -> Any:
        """Give the object.

        Raises:
            InputError: The factory made something else.
        """
        if _fits(self._given, self._declared) or not callable(self._given):
            return self._given
        with self._lock:
            if not self._is_made:
                self._made = self._given()
                if isinstance(self._made, Awaitable):
                    raise self._refused_awaitable()
                if not _fits(self._made, self._declared) and self._declared is not None:
                    raise InputError(
                        f"graph {self._graph!r}: the factory of deps made {self._made!r}, which is"
                        f" no {getattr(self._declared, '__name__', self._declared)}"
                    )
                self._is_made = True
            return self._made

    def _refused_awaitable(self) -> InputError:
        closed(self._made)
        return InputError(
            f"graph {self._graph!r}: the factory of deps gave a coroutine, and a node asks"
            " for ctx.deps without awaiting; pass a plain function, or what the async one gives"
        )


def _fits(value: Any, declared: Any) -> bool:
    try:
        return declared is not None and isinstance(value, declared)
    except TypeError:  # a type that cannot be checked, such as a plain Protocol
        return value is not None and not callable(value)
