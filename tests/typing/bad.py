"""Mistakes: both type checkers find each line that is marked with an E, and no other line.

A mark says what is wrong. Where it names a checker, only that one finds the line, and it says why.
This file is never run.
"""

from typing import Any, Literal

from pydantic import BaseModel

from graphflow import (
    END,
    START,
    Budget,
    Command,
    Context,
    Decision,
    Defaults,
    Flow,
    Limits,
    Retry,
    Route,
    Run,
    Send,
    StateGraph,
    Update,
)
from graphflow.events import Event, NodeEvent


class State(BaseModel):
    text: str = ""
    n: int = 0
    items: list[int] = []


class Other(BaseModel):
    word: str = ""


class Deps:
    greeting: str = "Hello"


graph = StateGraph(State, name="bad", deps=Deps)
inner = StateGraph(Other)

StateGraph(int)  # E: the state is no pydantic model
StateGraph(State())  # E: an instance in place of the class
StateGraph(State, version="2")  # E: a version is a number
StateGraph(State, default=Defaults())  # E: an unknown keyword
StateGraph(State, defaults=Retry())  # E: no Defaults


# ------------------------------------------------------------------------------------- nodes
@graph.node  # E: the state class is another
def of_other(state: Other) -> Update:
    return {"word": state.word}


@graph.node(retry=Retry())  # E: the state class is another
async def of_other_later(state: Other, ctx: Context) -> Update:
    return {"word": state.word}


@graph.node  # E: a node returns no number
def number(state: State) -> int:
    return state.n


@graph.node  # E: a node returns no state
def whole(state: State) -> State:
    return state


@graph.node  # E: nor does an async node
async def whole_later(state: State) -> State:
    return state


@graph.node(timeout=3, retries=3)  # E: an unknown keyword
def misspelt(state: State) -> Update:
    return {"n": 1}


@graph.node
def wrong_inside(state: State, ctx: Context[Deps]) -> Update | Command:
    """Mistakes in a body."""
    _ = state.nope  # E: the state has no such field
    text: str = state.n  # E: the field is a number
    _ = ctx.deps.nope  # E: the dependencies have no such attribute
    greeting: int = ctx.deps.greeting  # E: the attribute is a str
    answer: str = ctx.ask("sure", "Sure?", answer=bool)  # E: the answer is a bool
    names: list[int] = ctx.ask("names", "Who?", answer=list[str])  # E[pyright]: mypy goes by Any
    state_there: State = ctx.ask("other", "?", answer=Other)  # E: the answer is an Other
    size: str = ctx.memo("size", lambda: len(state.text))  # E: the work gives a number
    step: str = ctx.step  # E: a step is a number
    ctx.ask("sure", 3)  # E: the prompt is a str
    ctx.ask("sure", "Sure?", type=bool)  # E: an unknown keyword
    ctx.memo("size")  # E: there is no work
    ctx.idempotency_key = ""  # E: it cannot be set
    ctx.llm.parse(str, "?")  # E: no pydantic model
    _ = text, greeting, answer, names, size, step, state_there
    return "draft"  # E: a node returns an update


Command(update=3)  # E: an update is a mapping
Command(update=["n"])  # E: a list is none
Command(goto=5)  # E: a target is a name
Command(goto=["a", 5])  # E: each of them is
Command("a")  # E: the arguments have names
Command(goto="a", reason=3)  # E: a reason is a str


def no_state() -> Update:
    return None


def of_three(state: State, ctx: Context, more: int) -> Update:
    return {"n": more}


def fine(state: State) -> Update:
    return None


def takes_other(other: Other) -> Update:
    return {"word": other.word}


async def asks_other(other: Other, ctx: Context[Deps]) -> Update:
    return {"word": ctx.deps.greeting}


graph.add_node("a", lambda state: {"n": state.nope})  # E: the state has no such field
graph.add_node("a", lambda state: 3)  # E: a node returns no number
graph.add_node("a", takes_other)  # E: the state class is another
graph.add_node("a", asks_other)  # E: the state class is another
graph.add_node("a", no_state)  # E: a node takes the state
graph.add_node("a", of_three)  # E: and the context, and nothing else
graph.add_node("a", fine, retries=3)  # E: an unknown keyword
graph.add_node("a", fine, retry=3)  # E: no Retry
graph.add_node("a", fine, timeout="3 s")  # E: no seconds
graph.add_node("a", fine, fallback=fine)  # E: the name of a node, not the node
graph.add_node("a", fine, effects="internal")  # E: no such effect
graph.add_node("a", fine, budget=Limits())  # E: no Budget
graph.add_node("a", fine, targets=[fine])  # E: names, not nodes
graph.add_node(fine)  # E: there is no name
graph.add_node("a", "fine")  # E: a node is a function
graph.add_node("a", inner, input={"word": 3})  # E: names of fields
graph.add_node("a", inner, input=lambda state: {"word": state.nope})  # E: no such field
graph.add_node("a", inner, output=lambda other: {"text": other.nope})  # E: no such field there
graph.add_node("a", inner, limits=5)  # E: no Limits
graph.add_question("q", prompt="?")  # E: nobody takes the answer
graph.add_question("q", prompt=3, into="text")  # E: the prompt is a str
graph.add_question("q", prompt=lambda s: s.n, into="text")  # E: the prompt is a str
graph.add_question("q", prompt="?", into="text", deadline="1 h")  # E: no seconds
graph.add_map("m", fine, over="items")  # E: nobody takes the results
graph.add_map("m", fine, over=lambda s: s.n, into="items")  # E: a number has no items
graph.add_map("m", fine, over="items", into="items", max_concurrency="2")  # E: no number
graph.add_gate("g", after="a", checks=[no_state], passed=END, failed="a")  # E: takes no state
graph.add_gate("g", after="a", checks=[lambda s: s.n], passed=END, failed="a")  # E: no bool
graph.add_gate("g", after="a", checks=[], passed=END)  # E: where to when it fails


# ------------------------------------------------------------------------------ edges, routers
graph.add_edge(START)  # E: an edge has a target
graph.add_edge("a", fine)  # E: a target is a name
graph.add_edge(["a", 3], END)  # E: a source is a name
graph.remove_edge("a")  # E: an edge has a target


@graph.decision("a")  # E: the state class is another
def by_other(state: Other) -> Literal["a", "b"]:
    return "a"


@graph.decision("a", targets=["a", "b"])  # E: a router returns no number
def by_number(state: State) -> int:
    return state.n


@graph.decision("a", targets=["a", "b"])  # E: nor None
def by_nothing(state: State) -> str | None:
    return None


@graph.decision("a", targets={True: 3})  # E: a target is a name
def by_truth(state: State) -> bool:
    return state.n > 3


@graph.decision("a")
def by_literal(state: State) -> Literal["a", "b"]:
    if state.n:
        return "c"  # E: an undeclared target
    return Decision("a")  # E: a Decision needs a Route


@graph.decision("a")
def by_route(state: State) -> Route[Literal["a", "b"]]:
    if state.n == 1:
        return "c"  # E: an undeclared target
    if state.n == 2:
        return END  # E: END is not declared
    if state.n == 3:
        return ["a", "c"]  # E: one of them is undeclared
    if state.n == 4:
        return Decision("c", reason="so")  # E: an undeclared target
    if state.n == 5:
        return Decision(("a", "c"))  # E: one of them is undeclared
    if state.n == 6:
        return Decision(["a", "b"])  # E[pyright]: it takes a list of names for list[str]
    if state.n == 7:
        return Send("a", {"n": 1}), 3  # E: a number is no target
    if state.n == 8:
        return None  # E: no arrow is an empty list
    return Decision(["a", Send("a")])  # E[pyright]: a tuple, or Decision[...]([...]), is clear


def route_of_other(other: Other) -> Literal["a", "b"]:
    return "a"


def counts(state: State) -> int:
    return state.n


def to_number(state: State) -> Route[Literal[1, 2]]:  # E: a target is a name
    return 1


graph.add_conditional_edges("a", route_of_other)  # E: the state class is another
graph.add_conditional_edges("a", counts, ["a"])  # E: a router returns no number
graph.add_conditional_edges("a", lambda state: state.nope, ["a"])  # E: no such field
graph.add_conditional_edges("a", lambda state: "a", [fine])  # E: names, not nodes
graph.add_conditional_edges("a", {"a": "b"})  # E: the router is missing

Send(3)  # E: a node is named
Send("a", 5)  # E: an input is a mapping
Send("a", n=5)  # E: and one argument
Decision(3)  # E: a target is a name
Decision("a", "because")  # E: the reason has a name
Decision("a", reason=3)  # E: a reason is a str
Decision("a", confidence="high")  # E: a confidence is a number
Limits(step=3)  # E: an unknown keyword
Budget(calls="3")  # E: a number of calls
Retry(attempts="3")  # E: a number of attempts


# --------------------------------------------------------------------------------- run and read
flow = graph.compile("runs.db")
graph.compile(5)  # E: neither a path nor a checkpointer
graph.compile(check="all")  # E: no such check
graph.compile(limits=5)  # E: no Limits
graph.compile(pause_before=[fine])  # E: names, not nodes
other: Flow[Other] = graph.compile()  # E: the state class is another


async def use(flow: Flow[State]) -> None:
    flow.run(3)  # E: the input is a mapping, or the state
    flow.run("text")  # E: a str is neither
    flow.run(Other())  # E: the state class is another
    flow.run({"n": 1}, limits=3)  # E: no Limits
    flow.run({"n": 1}, run_id=3)  # E: an id is a str
    flow.run({"n": 1}, tags={"line": 3})  # E: tags are words
    flow.run({"n": 1}, thread="a")  # E: an unknown keyword
    flow.batch({"n": 1})  # E: a sequence of inputs
    flow.resume()  # E: which run
    flow.resume("id", budget=Limits())  # E: no Budget
    flow.answer("id")  # E: what
    flow.fork("id", "2")  # E: a step is a number
    flow.fork("id", 2, update=[1])  # E: an update is a mapping
    flow.fork("id", 2, choose="a")  # E: by the name of a router
    flow.cancel("id", "why")  # E: the reason has a name
    flow.runs(status="finished")  # E: no such status
    _ = flow.arun({"n": 1}).state  # E: it is to be awaited
    async for _ in flow.stream({"n": 1}):  # E: astream is the async one
        pass

    run = flow.run({"n": 1})
    _ = run.state.nope  # E: the state has no such field
    text: str = run.state.n  # E: the field is a number
    of_other: Run[Other] = run  # E: the state class is another
    run.status = "done"  # E: it is read only
    _ = run.state_at("2")  # E: a step is a number
    _ = flow.get("id").status == "finished"  # E[mypy]: pyright compares only in strict mode
    awaited = await flow.aresume(run.run_id)
    _ = awaited.state.nope, text, of_other  # E: the state has no such field


def tell(event: Event) -> Any:
    if isinstance(event, NodeEvent):
        return event.nope  # E: the event has no such attribute
    return event.task  # E: most events have no task
