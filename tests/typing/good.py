"""The public API as a user writes it: both type checkers accept every line, and it runs."""

# pyright: strict

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, Literal, assert_type

from pydantic import BaseModel, Field

from graphflow import (
    END,
    START,
    Budget,
    CircuitBreaker,
    Command,
    Context,
    Decision,
    Defaults,
    Escalate,
    Flow,
    GraphflowError,
    Limits,
    Reducer,
    Replace,
    Retry,
    Route,
    Run,
    RunFailedError,
    Send,
    StateGraph,
    Update,
    add,
    append,
    merge,
    union,
)
from graphflow.events import CustomEvent, DoneEvent, Event, NodeEvent, StepEvent, TokenEvent


class Ticket(BaseModel):
    text: str = ""
    topic: Literal["billing", "technical"] | None = None
    confidence: float = 0.0
    reply: str = ""
    approved: bool = False
    items: list[int] = []
    scores: list[float] = []
    feedback: list[str] = Field(default_factory=list)
    notes: Annotated[list[str], append] = Field(default_factory=list)
    tried: Annotated[int, add] = 0
    facts: Annotated[dict[str, str], merge] = Field(default_factory=dict)
    tags: Annotated[set[str], union] = Field(default_factory=set)
    best: Annotated[float, Reducer(max)] = 0.0


class Question(BaseModel):
    words: str = ""
    found: str = ""


class Topic(BaseModel):
    topic: Literal["billing", "technical"]
    confidence: float


class Deps:
    def __init__(self) -> None:
        self.greeting = "Hello"

    async def look_up(self, text: str) -> str:
        return f"{self.greeting}: {text}"


# ------------------------------------------------------------------------------------- nodes
graph = StateGraph(
    Ticket,
    name="typed",
    version=2,
    deps=Deps,
    defaults=Defaults(retry=Retry(attempts=2), timeout=30, breaker=CircuitBreaker()),
)
assert_type(graph, StateGraph[Ticket])


@graph.node
def clean(state: Ticket) -> Update:
    return {"text": state.text.strip(), "notes": ["cleaned"], "tried": 1}


@graph.node(retry=Retry(attempts=3, wait=0.1, on=(OSError, ValueError)), timeout=30)
async def look_up(ticket: Ticket, context: Context[Deps]) -> Update:
    """Any names of parameters will do."""
    assert_type(context.deps, Deps)
    found = await context.memo("found", partial(context.deps.look_up, ticket.text), type=str)
    assert_type(found, str)
    size = context.memo("size", lambda: len(ticket.text))
    assert_type(size, int)
    await context.emit({"size": size})
    return {"facts": {context.idempotency_key: found}}


@graph.node(name="classify", fallback="draft", escalate=Escalate(into="topic"))
async def classify_ticket(state: Ticket, ctx: Context) -> dict[str, object]:
    answer = await ctx.llm.parse(Topic, state.text, max_tokens=50)
    assert_type(answer, Topic)
    return {"topic": answer.topic, "confidence": answer.confidence}


@graph.node(targets=["approve", "work", END], effects="external")
async def draft(state: Ticket) -> Command | Update:
    if state.approved:
        return {"reply": "Hi"}
    if not state.items:
        return Command(update={"reply": "Hi"}, goto="approve", reason="nobody has read it")
    sends = [Send("work", {"items": [item]}) for item in state.items]
    return Command(goto=[*sends, "approve"])


@graph.node(budget=Budget(calls=3, tokens=1000, seconds=2.5), on_budget="approve")
def work(state: Ticket) -> None:
    state.model_dump_json()


@graph.node
def approve(state: Ticket, ctx: Context[Deps]) -> Command:
    yes = ctx.ask("approve", f"Send {state.reply!r}?", answer=bool)
    assert_type(yes, bool)
    names = ctx.ask("names", "To whom?", answer=list[str])
    assert_type(names, list[str])
    how = ctx.ask("how", "How?", answer=Literal["mail", "letter"])
    anything = ctx.ask("anything", "Anything else?")
    said: str = ctx.deps.greeting
    return Command(update={"approved": yes, "notes": Replace([*names, how, anything, said])})


def plain(state: Ticket) -> dict[str, list[str]]:
    return {"notes": [state.text]}


def with_option(state: Ticket, loud: bool = False) -> Update:
    return {"text": state.text.upper()} if loud else None


class Shout:
    def __call__(self, state: Ticket) -> Update:
        return {"text": state.text.upper()}


def of_any_model(state: BaseModel) -> Update:
    return {"reply": type(state).__name__}


async def told(state: Ticket, ctx: Context[Deps]) -> Update:
    reply = await ctx.llm.chat(state.text)
    return {"reply": reply.text}


graph.add_node("plain", plain, retry=Retry(), timeout=1.5)
graph.add_node("option", with_option, defer=True)
graph.add_node("shout", Shout(), breaker=CircuitBreaker(failures=3, cool_down=10))
graph.add_node("any", of_any_model, targets=["plain", END])
graph.add_node("told", told, fallback="plain")
graph.add_node("lambda", lambda state: {"text": state.text.lower()})

# -------------------------------------------------------------- questions, maps, gates, subgraphs
graph.add_question("topic", prompt="What is it about?", into="topic", answer=Literal["billing"])
graph.add_question(
    "reply",
    prompt=lambda state: f"Reply to {state.text}",
    answer=str,
    into=lambda reply: {"reply": reply, "approved": True},
    deadline=timedelta(hours=1),
    default="",
)


async def score(item: int, ctx: Context[Deps]) -> float:
    return item * ctx.attempt / 2


graph.add_map("score", score, over="items", into="scores", max_concurrency=4, result=float)
graph.add_map(
    "score_again",
    float,
    over=lambda state: [*state.items, 1],
    into=lambda scores: {"best": max(scores)},
    retry=Retry(attempts=1),
)


def polite(state: Ticket) -> bool | str:
    return "please" in state.reply or "it does not say please"


graph.add_gate(
    "quality",
    after=["option"],
    checks=[polite, lambda state: bool(state.reply)],
    passed=END,
    failed="shout",
    tries=3,
    otherwise="reply",
    feedback="feedback",
)

inner = StateGraph(Question)
inner.add_node("search", lambda state: {"found": state.words})
inner.add_edge(START, "search")
inner.add_edge("search", END)

graph.add_node("ask_inner", inner, input={"words": "text"}, output={"reply": "found"})
graph.add_node(
    "ask_again",
    inner,
    input=lambda state: {"words": state.text},
    output=lambda answer: {"reply": answer.found},
    limits=Limits(steps=5),
    fallback="plain",
)


# ------------------------------------------------------------------------------ edges, routers
graph.add_edge(START, "clean")
graph.add_edge("clean", "look_up")
graph.add_edge(["plain", "shout"], "option")
for source, target in [("score", "score_again"), ("score_again", END), ("lambda", END)]:
    graph.add_edge(source, target)
graph.add_edge("approve", "END")
graph.add_edge("ask_inner", END)


@graph.decision("look_up")
def by_words(state: Ticket) -> Literal["classify", "draft", "score"]:
    if state.items:
        return "score"
    return "draft" if state.text else "classify"


@graph.decision("classify")
def by_confidence(state: Ticket) -> Route[Literal["draft", "topic", "work", "__end__"]]:
    if state.confidence >= 0.8:
        return Decision("draft", reason="confident", confidence=state.confidence)
    if state.confidence == 0:
        return Decision(("draft", Send("work", {"items": [1]})), evidence={"why": "unknown"})
    if state.items:
        return [Send("work", {"items": [item]}) for item in state.items]
    if state.topic is None:
        return ["draft", "topic"]
    if state.topic == "billing":
        return "topic"
    return END


@graph.decision("topic", targets=["told", "any"], name="after_topic")
def after_topic(state: Ticket) -> str:
    return "told" if state.topic == "billing" else "any"


@graph.decision("any", {True: "plain", False: "shout"})
def is_clear(state: Ticket) -> bool:
    return state.confidence > 0.5


def of_any_state(state: BaseModel) -> Sequence[str]:
    return [] if type(state) is Ticket else ["ask_inner"]


graph.add_conditional_edges("work", of_any_state, ["ask_inner", "ask_again"])
graph.add_conditional_edges(
    "told", lambda state: "plain" if state.approved else END, ["plain", END]
)
graph.add_conditional_edges("reply", lambda state: state.approved, {True: END, False: "lambda"})

# The functions that were decorated are still there to be called
assert_type(clean(Ticket(text=" a ")), Update)
assert_type(by_words(Ticket()), Literal["classify", "draft", "score"])
assert_type(is_clear(Ticket()), bool)


# --------------------------------------------------------------------------------- run and read
def use(flow: Flow[Ticket]) -> Run[Ticket]:
    run = flow.run({"text": " hi ", "items": [2, 4]}, deps=Deps(), tags={"by": "me"})
    assert_type(run, Run[Ticket])
    assert_type(run.state, Ticket)
    scores: list[float] = run.state.scores
    again = flow.run(Ticket(text="hi", items=[1]), run_id="mine", limits=Limits(visits=3))
    assert_type(again.state_at(0).text, str)
    assert_type(run.questions[0].prompt if run.questions else "", str)
    assert_type(run.open, dict[str, str])
    assert_type(run.path, list[str])
    assert run.took(START, "clean")
    assert run.status == "done"
    assert [flow.get(run.run_id).values["scores"], scores] == [[1.0, 2.0], [1.0, 2.0]]
    for found in flow.runs(status="done", limit=5):
        assert_type(found.state.confidence, float)
    batch = flow.batch([{"items": [1]}, Ticket(items=[2])], concurrency=2, budget=Budget(calls=9))
    assert_type(batch, list[Run[Ticket]])
    return flow.fork(run.run_id, 2, update={"items": [8]}, choose={"by_words": "score"})


def wake(flow: Flow[Ticket], run_id: str) -> Run[Ticket]:
    flow.resume(run_id, limits=Limits(steps=200), budget=Budget(tokens=5000), deps=Deps)
    flow.answer(run_id, "billing", key="topic", resume=False)
    flow.advance(run_id, steps=1)
    return flow.cancel(run_id, reason="no longer needed")


def tell(event: Event) -> str:
    match event:
        case NodeEvent(node=node, task=None):
            return f"{node} begins"
        case StepEvent(step=step):
            return f"{step.step} is committed"
        case CustomEvent(value=value):
            return str(value)
        case DoneEvent(status=status):
            return status
        case TokenEvent():
            return event.text
        case _:
            return event.type


async def later(flow: Flow[Ticket]) -> list[str]:
    run = await flow.arun({"items": [1]})
    assert_type(run, Run[Ticket])
    runs = await flow.abatch([{"items": [n]} for n in range(1, 4)])
    assert_type(runs[0].state.scores, list[float])
    return [tell(event) async for event in flow.astream({"items": [3]})]


async def wake_later(flow: Flow[Ticket], run_id: str) -> Run[Ticket]:
    await flow.aanswer(run_id, True, key="approve:approve")
    await flow.afork(run_id, 1)
    return await flow.aresume(run_id)


def main() -> None:
    with graph.compile(
        limits=Limits(steps=50), budget=Budget(seconds=60), deps=Deps, pause_before=["told"]
    ) as flow:
        assert_type(flow, Flow[Ticket])
        fork = use(flow)
        assert fork.state.scores == [4.0]
        assert [tell(event) for event in flow.stream({"items": [3]})][-1] == "done"
        assert asyncio.run(later(flow))[-1] == "done"
        try:
            flow.run({"items": [-1], "text": "x"}, deps=None)
        except (RunFailedError, GraphflowError) as error:
            raise SystemExit(str(error)) from error
    problems: list[Any] = [*graph.check()]
    assert not [problem for problem in problems if problem.level == "error"]


main()
