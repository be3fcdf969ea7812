"""The graph whose runs stand in `tests/data/runs_v4.db`, and what was written there.

`write` made that file with the code of its time. The file stays; the graph stays as it is here.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from graphflow import (
    END,
    START,
    Context,
    Flow,
    Limits,
    Reducer,
    RunFailedError,
    StateGraph,
    add,
    append,
    merge,
    union,
)

ALLOWS: set[str] = set()
"""What no longer fails: of the runs that are stored, all failed where this was empty."""


class Review(BaseModel):
    text: str
    verdict: str = ""
    lines: Annotated[list[str], append] = Field(default_factory=list)


class Order(BaseModel):
    text: str
    parts: list[str] = Field(default_factory=list)
    sizes: list[int] = Field(default_factory=list)
    log: Annotated[list[str], append] = Field(default_factory=list)
    total: Annotated[int, add] = 0
    tags: Annotated[dict[str, int], merge] = Field(default_factory=dict)
    seen: Annotated[set[str], union] = Field(default_factory=set)
    best: Annotated[float, Reducer(max)] = 0.0
    reply: str = ""
    verdict: str = ""


def review_graph() -> StateGraph[Review]:
    """Make the subgraph: it asks when the text says so."""
    graph = StateGraph(Review, name="review")
    graph.add_node("look", lambda s: {"lines": [f"looked at {s.text}"]})
    graph.add_question("judge", prompt=lambda s: f"Is {s.text} good?", into="verdict", answer=str)
    graph.add_node("pass_it", lambda s: {"verdict": "passed", "lines": ["passed"]})
    graph.add_edge(START, "look")
    graph.add_conditional_edges("look", by_text, ["judge", "pass_it"])
    graph.add_edge("judge", END)
    graph.add_edge("pass_it", END)
    return graph


def by_text(state: Review) -> str:
    return "judge" if "judge" in state.text else "pass_it"


def split(state: Order) -> dict[str, Any]:
    return {"parts": state.text.split(), "log": ["split"], "total": 1, "seen": {"split"}}


def measure(part: str, ctx: Context[Any]) -> int:
    if part == "broken" and "map" not in ALLOWS:
        raise ValueError("this part cannot be measured")
    return len(part)


def price(state: Order, ctx: Context[Any]) -> dict[str, Any]:
    known = ctx.memo("lookup", lambda: len(state.text), type=int)
    if "broken" in state.text and "price" not in ALLOWS:
        raise ConnectionError("no prices today")
    return {"log": ["price"], "total": known, "tags": {"priced": known}, "best": float(known)}


def stamp(state: Order) -> dict[str, Any]:
    return {"log": ["stamp"], "total": 10, "tags": {"stamped": 1}, "seen": {"stamp"}, "best": 2.5}


def write_reply(state: Order) -> dict[str, Any]:
    tries = sum(line == "write" for line in state.log)
    return {"reply": "thank you" if tries else "no", "log": ["write"]}


def is_polite(state: Order) -> bool | str:
    return "thank" in state.reply or "it does not say thank you"


def by_order(state: Order) -> str:
    return "approve" if "ask" in state.text else "review"


def order_graph(version: int = 1) -> StateGraph[Order]:
    """Make the graph: a map, two branches that join, a gate with a loop, a question, a subgraph."""
    graph = StateGraph(Order, name="orders", version=version)
    graph.add_node("split", split)
    graph.add_map("measure", measure, over="parts", into="sizes")
    graph.add_node("price", price)
    graph.add_node("stamp", stamp)
    graph.add_node("sum_up", lambda s: {"log": ["sum_up"]})
    graph.add_node("write", write_reply)
    graph.add_question("approve", prompt="Shall it be sent?", into="verdict", answer=str)
    graph.add_node(
        "review", review_graph(), input={"text": "text"}, output=lambda s: {"verdict": s.verdict}
    )
    graph.add_edge(START, "split")
    for source, target in (("split", "measure"), ("split", "price"), ("split", "stamp")):
        graph.add_edge(source, target)
    graph.add_edge(["measure", "price", "stamp"], "sum_up")
    graph.add_edge("sum_up", "write")
    graph.add_gate(
        "polite", after="write", checks=[is_polite], passed="choose", failed="write", feedback="log"
    )
    graph.add_node("choose", lambda s: {"log": ["choose"]})
    graph.add_conditional_edges("choose", by_order, ["approve", "review"])
    graph.add_edge("approve", END)
    graph.add_edge("review", END)
    return graph


def write(path: Path) -> Flow[Order]:
    """Write the database: by each run its id says what it is."""
    ALLOWS.clear()
    flow = order_graph().compile(path)
    flow.run({"text": "two parts"}, run_id="done", tags={"from": "the shop"})
    flow.run({"text": "ask first"}, run_id="asks")
    flow.run({"text": "please judge it"}, run_id="child_asks")
    try:
        flow.run({"text": "one broken part"}, run_id="failed")
    except* (RunFailedError, ValueError, ConnectionError):
        pass
    flow.run({"text": "short walk"}, run_id="limit", limits=Limits(steps=3))
    flow.fork("done", 3, update={"reply": "another", "tags": {"forked": 1}})
    flow.fork("done", 8, choose={"by_order": "approve"})
    flow.start({"text": "only begun"}, run_id="begun")
    return flow
