"""Records of runs of graphs that have graphs in them, for the tests of the renderer."""

from dataclasses import replace
from typing import Any

from graphflow.names import END, START
from graphflow.records import RunRecords
from tests.render.journeys import edge, first, kind, question, sends
from tests.render.walks import call, choice, failure, run, spec, step, task


def child(records: RunRecords, number: int, key: str) -> RunRecords:
    """Make a run the one of a subgraph's task."""
    above = {"parent": "01kfrun0000000000000000001", "parent_step": number, "parent_key": key}
    records.header = replace(records.header, run_id=f"{above['parent']}/{number}:{key}", **above)
    return records


READING = spec(
    "reading",
    ["open", "summarise"],
    [(START, "open"), ("open", "summarise"), ("summarise", END)],
)
RESEARCH = spec(
    "research",
    [
        kind("search", "map", map={"over": "queries", "into": "hits"}),
        kind("read", "graph", graph=READING),
        "rank",
    ],
    [(START, "search"), ("search", "read"), ("read", "rank")],
    [{"source": "rank", "name": "enough", "targets": ["search", END]}],
)
REPORT = spec(
    "report",
    [
        "plan",
        kind("research", "graph", graph=RESEARCH),
        "prices",
        "write",
        kind("approve", "question", question={"into": "approved"}),
        "publish",
    ],
    [
        (START, "plan"),
        ("plan", "research"),
        ("plan", "prices"),
        ("research", "write", "join"),
        ("prices", "write", "join"),
        ("write", "approve"),
        ("publish", END),
    ],
    [
        {
            "source": "approve",
            "name": "verdict",
            "targets": ["publish", "plan"],
            "answers": {"yes": "publish", "revise": "plan"},
        }
    ],
)


def reading(number: int) -> RunRecords:
    """Write a complete run of the innermost graph."""
    steps = [
        first("open"),
        step(1, [task("open", ms=40)], edge("open", "summarise"), ["summarise"]),
        step(2, [task("summarise", ms=900)], edge("summarise", END)),
    ]
    return child(run(READING, steps, calls=[call(2, "summarise", 700)]), number, "read")


def research(number: int) -> RunRecords:
    """Write a complete run of the research, which goes round twice."""
    steps = [first("search")]
    for begin in (1, 4):
        again = begin == 1
        out = choice(
            "rank", "search" if again else END, "hits = 2" if again else "hits = 9", router="enough"
        )
        steps += [
            step(begin, [task("search", ms=300, items=3)], edge("search", "read"), ["read"]),
            step(begin + 1, [task("read", ms=950)], edge("read", "rank"), ["rank"]),
            step(begin + 2, ["rank"], [out], ["search"] if again else []),
        ]
    return child(run(RESEARCH, steps, children=[reading(2), reading(5)]), number, "research")


def nested() -> RunRecords:
    """Write a complete run of a report, whose research is a graph with a graph in it."""
    both = edge("plan", "research", "prices")
    met = [("research", "write", "join"), ("prices", "write", "join")]
    yes = choice("approve", "publish", 'approved = "yes"', answer="yes", router="verdict")
    steps = [
        first("plan"),
        step(1, [task("plan", ms=210)], both, ["research", "prices"]),
        step(
            2,
            [task("research", 0, 2600), task("prices", 1, 300)],
            met,
            ["write"],
            fired={"write": ["research", "prices"]},
        ),
        step(3, [task("write", ms=1500)], edge("write", "approve"), ["approve"]),
        step(4, ["approve"], [yes], ["publish"]),
        step(5, ["publish"], edge("publish", END)),
    ]
    asked = [question(4, "approve", "Publish it?", '"yes"')]
    return run(REPORT, steps, questions=asked, children=[research(2)])


def nested_failed() -> RunRecords:
    """Write a run of the report whose innermost graph failed, while its sibling is kept."""
    inmost = reading(2)
    inmost = child(
        run(
            READING,
            inmost.steps[:2],
            "failed",
            reason="task",
            error="HTTP 503",
            attempts=[failure(2, "summarise", n) for n in (1, 2)],
        ),
        2,
        "read",
    )
    inner = child(
        run(RESEARCH, research(2).steps[:2], "failed", reason="task", children=[inmost]),
        2,
        "research",
    )
    return run(
        REPORT,
        nested().steps[:2],
        "failed",
        reason="task",
        kept=[task("prices", 1, 300)],
        children=[inner],
    )


CHAT = spec(
    "chat",
    ["greet", kind("confirm", "question", question={"into": "ok"})],
    [(START, "greet"), ("greet", "confirm"), ("confirm", END)],
)
TEAM = spec(
    "team",
    ["split", kind("talk", "graph", graph=CHAT), "sum_up"],
    [(START, "split"), ("talk", "sum_up", "join"), ("sum_up", END)],
    [{"source": "split", "name": "each", "targets": ["talk"]}],
)


def chat(key: str, answer: str | None, **more: Any) -> RunRecords:
    """Write a run of the chat: its question is answered, or open."""
    steps = [first("greet"), step(1, ["greet"], edge("greet", "confirm"), ["confirm"])]
    asked = [question(2, "confirm", "Is that right?", answer)]
    if answer is None:
        return child(run(CHAT, steps, "paused", reason="question", questions=asked, **more), 2, key)
    steps.append(step(2, ["confirm"], edge("confirm", END)))
    return child(run(CHAT, steps, questions=asked, **more), 2, key)


def team() -> RunRecords:
    """Write a run of three Sends to a subgraph: one is done, one asks, one is at its limit."""
    keys = ["talk#0", "talk#1", "talk#2"]
    steps = [
        first("split"),
        step(1, ["split"], sends("split", "talk", 3, "3 people"), keys),
    ]
    begun = child(
        run(
            CHAT,
            [first("greet")],
            "paused",
            reason="limit:steps",
            limits={"steps": 1, "visits": 25},
        ),
        2,
        "talk#2",
    )
    children = [chat("talk#0", '"yes"'), chat("talk#1", None), begun]
    kept = [task("talk#0", ms=100)]
    return run(TEAM, steps, "paused", reason="question", kept=kept, children=children)
