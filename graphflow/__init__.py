"""Agents as explicit state graphs: every step committed, every decision recorded, the path drawn.

from pydantic import BaseModel
from graphflow import END, START, StateGraph

class State(BaseModel):
    n: int = 0

graph = StateGraph(State)

@graph.node
def count(state: State):
    return {"n": state.n + 1}

@graph.decision("count", targets=["count", END])
def enough(state: State):
    return END if state.n >= 3 else "count"

graph.add_edge(START, "count")
run = graph.compile("runs.db").run({})
print(run)
"""

import sys
from typing import TYPE_CHECKING

from graphflow.breaker import CircuitBreaker
from graphflow.context import Context
from graphflow.errors import GraphflowError, RunFailedError
from graphflow.graph import StateGraph
from graphflow.names import END, START
from graphflow.policy import Budget, Defaults, Escalate, Limits
from graphflow.retry import Retry
from graphflow.routing import Command, Decision, Route, Send
from graphflow.state.reducers import Reducer, Replace, add, append, merge, union
from graphflow.state.secrets import Secret
from graphflow.state.update import Update

if TYPE_CHECKING:
    from graphflow.checkpoint.sqlite import SqliteCheckpointer
    from graphflow.flow import Flow
    from graphflow.run import Run

__all__ = [
    "END",
    "START",
    "Budget",
    "CircuitBreaker",
    "Command",
    "Context",
    "Decision",
    "Defaults",
    "Escalate",
    "Flow",
    "GraphflowError",
    "Limits",
    "Reducer",
    "Replace",
    "Retry",
    "Route",
    "Run",
    "RunFailedError",
    "Secret",
    "Send",
    "SqliteCheckpointer",
    "StateGraph",
    "Update",
    "add",
    "append",
    "merge",
    "union",
]
__version__ = "0.1.0"

if not TYPE_CHECKING:  # it would make any name one of the module

    def __getattr__(name: str) -> object:
        """Import what runs graphs when it is first used, which is when one is compiled."""
        if name not in {"Flow", "Run", "SqliteCheckpointer"}:
            module = sys.modules[__name__]
            words = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(words, name=name, obj=module)
        from graphflow.checkpoint.sqlite import SqliteCheckpointer
        from graphflow.flow import Flow
        from graphflow.run import Run

        globals().update(Flow=Flow, Run=Run, SqliteCheckpointer=SqliteCheckpointer)
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
