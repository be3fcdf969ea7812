"""Records of runs that pause, fall back, send and map, for the tests of the renderer."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from graphflow.names import END, START
from graphflow.records import (
    DecisionRecord,
    ItemRecord,
    QuestionRecord,
    RunRecords,
    Sent,
    StepRecord,
)
from tests.render.walks import AT, Out, call, choice, failure, run, spec, step, task


def kind(name: str, what: str, **more: Any) -> dict[str, Any]:
    """Describe a node that is a question, a map or a subgraph."""
    return {"name": name, "kind": what, **more}


def edge(source: str, *targets: str) -> list[Out]:
    """Write fixed arrows."""
    return [(source, target, "edge") for target in targets]


def first(*names: str) -> StepRecord:
    """Write step 0: its arrows lead to these nodes."""
    return step(0, [], edge(START, *names), names)


def question(
    number: int, key: str, prompt: str, answer: str | None = None, **more: Any
) -> QuestionRecord:
    """Write a question, answered three minutes later if at all."""
    answered = {"answer_json": answer, "answered_at": AT.replace("14:02", "14:05")}
    answered |= {"answered_by": "person"}
    return QuestionRecord(
        number,
        key,
        key.partition("#")[0],
        more.pop("name", ""),
        more.pop("kind", "question"),
        prompt,
        more.pop("schema_json", '{"type": "string"}'),
        more.pop("asked_at", AT),
        **(answered if answer is not None else {}),
        **more,
    )


def item(number: int, key: str, ix: int, attempts: int = 1) -> ItemRecord:
    """Write a complete item of a map."""
    return ItemRecord(number, key, ix, "1", AT, 1320.0, attempts)


def sends(source: str, target: str, count: int, reason: str = "3 essays") -> list[Out]:
    """Write a decision for several Sends, with their arrows."""
    sent = tuple(Sent(target, f'{{"essay": {i}}}') for i in range(count))
    decision = DecisionRecord(source, "route", (target,), sent, reason)
    return [(source, target, "send", decision)] * count


# --------------------------------------------------------------------------- parallel, open step

PARALLEL = spec(
    "offers",
    ["plan", "hotels", "flights", "cars", "trains", "merge"],
    [
        (START, "plan"),
        *(("plan", name) for name in ("hotels", "flights", "cars", "trains")),
        *((name, "merge", "join") for name in ("hotels", "flights", "cars", "trains")),
        ("merge", END),
    ],
)


def parallel() -> RunRecords:
    """Write a run in whose second step two siblings failed and two are kept."""
    names = ["hotels", "flights", "cars", "trains"]
    steps = [first("plan"), step(1, [task("plan", ms=310)], edge("plan", *names), names)]
    tries = [failure(2, "flights", n, "HTTP 503 Service Unavailable") for n in (1, 2, 3)]
    tries.append(failure(2, "trains", 1, "no such station: 'Lyon'"))
    kept = [task("hotels", 0, 800), task("cars", 2, 420)]
    calls = [call(1, "plan", 340), call(2, "hotels", 1210)]
    return run(PARALLEL, steps, "failed", reason="task", attempts=tries, kept=kept, calls=calls)


# --------------------------------------------------------------------------- questions

SUPPORT = spec(
    "support",
    [
        "classify",
        "lookup",
        kind("ask_human", "question", question={"into": "reply"}),
        "draft",
        "send",
    ],
    [
        (START, "classify"),
        ("classify", "lookup"),
        ("lookup", END),
        ("ask_human", "send"),
        ("draft", "send"),
        ("send", END),
    ],
    [{"source": "classify", "name": "sure", "targets": ["draft", "ask_human"]}],
)


def asking() -> RunRecords:
    """Write a run that waits for a human, while the sibling of the question is kept."""
    routed = [*edge("classify", "lookup"), choice("classify", "ask_human", "confidence = 0.41")]
    steps = [first("classify"), step(1, ["classify"], routed, ["lookup", "ask_human"])]
    asked = [question(2, "ask_human", "Reply to: I was charged twice for one month")]
    kept = [task("lookup", ms=12)]
    return run(SUPPORT, steps, "paused", reason="question", questions=asked, kept=kept)


def answered() -> RunRecords:
    """Write the same run, after somebody has answered."""
    records = asking()
    steps = [
        *records.steps,
        step(
            2,
            [task("lookup", 0, 12), task("ask_human", 1, 0.1)],
            [*edge("lookup", END), *edge("ask_human", "send")],
            ["send"],
        ),
        step(3, [task("send", ms=40)], edge("send", END)),
    ]
    asked = [question(2, "ask_human", "Reply to: I was charged twice", '"We refund you."')]
    return run(SUPPORT, steps, questions=asked)


# --------------------------------------------------------------------------- map

GRADING = spec(
    "grading",
    ["load", kind("score", "map", map={"over": "essays", "into": "grades"}), "report"],
    [(START, "load"), ("load", "score"), ("score", "report"), ("report", END)],
)


def map_failed() -> RunRecords:
    """Write a run of a map of which one item failed and nine are done."""
    steps = [first("load"), step(1, ["load"], edge("load", "score"), ["score"])]
    tries = [failure(2, "score[3]", n, "HTTP 429 Too Many Requests") for n in (1, 2)]
    tries.append(failure(2, "score[5]", 1))
    items = [item(2, "score", ix, 2 if ix == 5 else 1) for ix in range(10) if ix != 3]
    return run(GRADING, steps, "failed", reason="task", attempts=tries, items=items)


def map_done() -> RunRecords:
    """Write the same run, after the item has succeeded."""
    records = map_failed()
    steps = [
        *records.steps,
        step(2, [task("score", ms=1400, items=10)], edge("score", "report"), ["report"]),
        step(3, ["report"], edge("report", END)),
    ]
    items = [*records.items, item(2, "score", 3, 3)]
    return run(GRADING, steps, attempts=records.attempts, items=items)


# --------------------------------------------------------------------------- Sends and a fallback

ESSAYS = spec(
    "essays",
    ["read", {"name": "grade", "fallback": "by_hand", "retry": 2}, "by_hand", "report"],
    [
        (START, "read"),
        ("grade", "report", "join"),
        ("by_hand", "report", "join"),
        ("report", END),
    ],
    [{"source": "read", "name": "each_essay", "targets": ["grade"]}],
)


def sent() -> RunRecords:
    """Write a run of four Sends that meet in a join."""
    keys = [f"grade#{i}" for i in range(4)]
    steps = [
        first("read"),
        step(1, ["read"], sends("read", "grade", 4, "4 essays"), keys),
        step(
            2,
            [task(key, i, 600) for i, key in enumerate(keys)],
            [("grade", "report", "join")],
            ["report"],
            fired={"report": ["grade"]},
        ),
        step(3, ["report"], edge("report", END)),
    ]
    return run(ESSAYS, steps)


def sent_and_fallen() -> RunRecords:
    """Write a run of three Sends of which one falls back; the join waits for what replaces it."""
    keys = ["grade#0", "grade#1", "grade#2"]
    tasks = [task("grade#0", 0, 600), task("grade#1", 1, 300, fell_back="by_hand")]
    tasks.append(task("grade#2", 2, 640))
    steps = [
        first("read"),
        step(1, ["read"], sends("read", "grade", 3), keys),
        step(
            2,
            tasks,
            [("grade", "by_hand", "fallback"), ("grade", "report", "join")],
            ["by_hand#0"],
            held={"report": [("grade", 2)]},
        ),
    ]
    tries = [failure(2, "grade#1", n, "HTTP 500") for n in (1, 2)]
    return run(ESSAYS, steps, "running", attempts=tries)


LADDER = spec(
    "ladder",
    [
        "plan",
        {"name": "prices", "fallback": "estimate", "on_budget": "cached", "retry": 3},
        "estimate",
        "cached",
        "write",
    ],
    [
        (START, "plan"),
        ("plan", "prices"),
        ("prices", "write"),
        ("estimate", "write"),
        ("cached", "write"),
        ("write", END),
    ],
)


def fallen(target: str = "estimate") -> RunRecords:
    """Write a run whose one node failed three times and fell back, or used up its budget."""
    last = failure(2, "prices", 3).started_at
    steps = [
        first("plan"),
        step(1, [task("plan", ms=90)], edge("plan", "prices"), ["prices"]),
        step(
            2,
            [replace(task("prices", ms=40, attempts=3, fell_back=target), started_at=last)],
            [("prices", target, "fallback")],
            [target],
        ),
        step(3, [target], edge(target, "write"), ["write"]),
        step(4, [task("write", ms=700)], edge("write", END)),
    ]
    tries = [failure(2, "prices", n) for n in (1, 2, 3)]
    if target == "cached":
        words = "calls: the node's budget (calls=3) is used up"
        tries = [replace(failure(2, "prices", 1, words), error_type="BudgetSignal")]
    return run(LADDER, steps, attempts=tries)


# --------------------------------------------------------------------------- a fork


def fork() -> RunRecords:
    """Write a fork of a run at its third step."""
    header: Mapping[str, Any] = {
        "fork_of": "01kf0a1b2c3d4e5f6g7h8j9k0m",
        "fork_step": 3,
        "fork_json": '{"update": {"topic": "billing"}, "choose": {"sure": "draft"}}',
    }
    records = answered()
    return run(SUPPORT, records.steps, questions=records.questions, header=header)
