"""Records of runs written by hand, for the tests of the renderer."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphflow.names import END, START
from graphflow.records import (
    Arrow,
    AttemptRecord,
    CallRecord,
    DecisionRecord,
    Evidence,
    RunHeader,
    RunRecords,
    StepRecord,
    TaskRecord,
)

AT = "2026-11-22T14:02:00.000000+00:00"

Out = tuple[str, str, str] | tuple[str, str, str, DecisionRecord]
"""source, target, kind, and the decision that took the arrow."""


def spec(
    name: str,
    nodes: Sequence[str | Mapping[str, Any]],
    edges: Iterable[Sequence[str]] = (),
    routers: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Describe a graph as `Definition.spec` does."""
    return {
        "format": 1,
        "name": name,
        "version": 1,
        "state": {},
        "nodes": [_node({"name": n} if isinstance(n, str) else n) for n in nodes],
        "edges": [[*edge, "edge"][:3] for edge in edges],
        "routers": [{"answers": None, "code": "", "name": "route", **r} for r in routers],
    }


def _node(given: Mapping[str, Any]) -> dict[str, Any]:
    plain = {"kind": "node", "defer": False, "targets": [], "gate": None, "code": ""}
    gate = given.get("gate")
    if gate:
        targets = [gate[a] for a in ("passed", "failed", "otherwise") if a in gate]
        plain |= {"kind": "gate", "targets": targets}
    return {**plain, **given}


def choice(source: str, target: str, reason: str = "confidence = 0.93", **more: Any) -> Out:
    """Write the arrow of a router."""
    given = {"router": "route", "options": (target,), "chosen": (target,), **more}
    return source, target, "choice", DecisionRecord(source=source, reason=reason, **given)


def gate(source: str, target: str, answer: str, reason: str = "all checks passed") -> Out:
    """Write the arrow of a gate."""
    decision = DecisionRecord(source, source, (target,), (target,), reason, answer, kind="gate")
    return source, target, "goto", decision


def task(key: str, ix: int = 0, ms: float = 3.0, attempts: int = 1, **more: Any) -> TaskRecord:
    """Write a task."""
    return TaskRecord(ix, key, key.partition("#")[0], None, AT, ms, attempts, **more)


def step(
    number: int,
    tasks: Iterable[str | TaskRecord],
    outs: Iterable[Out],
    ready: Sequence[str] = (),
    *,
    fired: Mapping[str, Sequence[str]] | None = None,
    held: Mapping[str, Sequence[tuple[str, int]]] | None = None,
) -> StepRecord:
    """Write a committed step; a gate's decision is its task's own."""
    outs = list(outs)
    made = [task(t, i) if isinstance(t, str) else t for i, t in enumerate(tasks)]
    decisions = []
    for decision in (out[3] for out in outs if len(out) > 3):
        owner = next((t for t in made if t.node == decision.source), None)
        if decision.kind != "router" and owner is not None:
            owner.goto = decision
        elif decision not in decisions:
            decisions.append(decision)
    arrows = [Arrow(*out[:3]) for out in outs]
    return StepRecord(number, made, decisions, arrows, fired or {}, held or {}, ready, None, AT)


def run(
    graph: Mapping[str, Any], steps: Sequence[StepRecord], status: str = "done", **more: Any
) -> RunRecords:
    """Write the records of a run; `reason`, `error`, `limits`, `header` go to its header."""
    header = RunHeader(
        "01kfrun0000000000000000001",
        graph["name"],
        1,
        "digest",
        status,  # type: ignore[arg-type]  # a test may say anything
        AT,
        "{}",
        reason=more.pop("reason", None),
        error=more.pop("error", None),
        limits_json=json.dumps(more.pop("limits", {"steps": 100, "visits": 25})),
        step=len(steps) - 1,
        **more.pop("header", {}),
    )
    return RunRecords(header, graph, list(steps), **more)


def failure(number: int, key: str, attempt: int, error: str = "HTTP 503") -> AttemptRecord:
    """Write a failed attempt: 40 ms, one after the other, before what came in the end."""
    begun = AT.replace("14:02:00.0", f"14:01:59.{attempt}")
    return AttemptRecord(
        number, key, key.partition("#")[0], attempt, begun, 40.0, "OSError", error, ""
    )


def call(number: int, key: str, tokens: int) -> CallRecord:
    """Write a model call."""
    return CallRecord(number, key, 1, "chat", "smol", AT, 90.0, tokens - 10, 10, None, "{}", "{}")


TRIAGE = spec(
    "support_triage",
    [
        "lookup",
        "classify",
        "draft",
        {
            "name": "quality",
            "gate": {"passed": END, "failed": "draft", "otherwise": "template", "tries": 3},
        },
        "template",
        "ask_human",
    ],
    [
        (START, "lookup"),
        ("lookup", "classify"),
        ("draft", "quality"),
        ("template", END),
        ("ask_human", END),
    ],
    [{"source": "classify", "name": "confident", "targets": ["draft", "ask_human"]}],
)


def triage() -> RunRecords:
    """Write the run of the support triage: two drafts fail the gate, the third passes."""
    sure = Evidence("confidence", 2, "0.93")
    steps = [
        step(0, [], [(START, "lookup", "edge")], ["lookup"]),
        step(1, ["lookup"], [("lookup", "classify", "edge")], ["classify"]),
        step(
            2,
            [task("classify", ms=140)],
            [choice("classify", "draft", evidence=(sure,), confidence=0.93, router="confident")],
            ["draft"],
        ),
    ]
    for number in (3, 5, 7):
        again, passed = task("draft", ms=700, attempts=2 if number == 5 else 1), number == 7
        answer = (
            gate("quality", END, "passed")
            if passed
            else gate("quality", "draft", "failed", "too short: 31 of at least 40 characters")
        )
        steps += [
            step(number, [again], [("draft", "quality", "edge")], ["quality"]),
            step(number + 1, ["quality"], [answer], [] if passed else ["draft"]),
        ]
    calls = [call(2, "classify", 212), *(call(n, "draft", 313) for n in (3, 5, 7))]
    return run(TRIAGE, steps, calls=calls, attempts=[failure(5, "draft", 1, "timed out")])


DIAMOND = spec(
    "diamond",
    ["plan", "search", "prices", "write", {"name": "review", "defer": True}, "publish"],
    [
        (START, "plan"),
        ("plan", "search"),
        ("plan", "prices"),
        ("search", "write", "join"),
        ("prices", "write", "join"),
        ("write", "review"),
        ("publish", END),
    ],
    [
        {
            "source": "review",
            "name": "judge",
            "targets": ["publish", "plan"],
            "answers": {"good": "publish", "revise": "plan"},
        }
    ],
)


def diamond(rounds: int = 2) -> RunRecords:
    """Write a run of a diamond in a loop: the review sends it back, then lets it go."""
    steps = [step(0, [], [(START, "plan", "edge")], ["plan"])]
    for i in range(rounds):
        n, last = 4 * i + 1, i == rounds - 1
        judged = (
            choice("review", "publish", "score = 8", answer="good", router="judge")
            if last
            else choice("review", "plan", "score = 4", answer="revise", router="judge")
        )
        both = [("plan", "search", "edge"), ("plan", "prices", "edge")]
        met = [("search", "write", "join"), ("prices", "write", "join")]
        steps += [
            step(n, [task("plan", ms=120)], both, ["search", "prices"]),
            step(
                n + 1,
                [task("search", 0, 800), task("prices", 1, 300)],
                met,
                ["write"],
                fired={"write": ["search", "prices"]},
            ),
            step(n + 2, [task("write", ms=2000)], [("write", "review", "edge")], ["review"]),
            step(n + 3, ["review"], [judged], ["publish" if last else "plan"]),
        ]
    n = 4 * rounds + 1
    return run(DIAMOND, [*steps, step(n, ["publish"], [("publish", END, "edge")])])


def failed_sibling() -> RunRecords:
    """Write a run of the diamond whose one branch failed three times, while the other is kept."""
    steps = diamond().steps[:2]
    tries = [failure(2, "prices", n) for n in (1, 2, 3)]
    kept = [task("search", 0, 800)]
    return run(DIAMOND, steps, "failed", reason="task", attempts=tries, kept=kept)


def limit_pause() -> RunRecords:
    """Write a run of the diamond that goes round until a node's visits are used up."""
    steps = diamond(4).steps[:13]  # its third review has sent it back
    steps[12] = step(
        12, ["review"], [choice("review", "plan", "score = 4", answer="revise")], ["plan"]
    )
    return run(
        DIAMOND, steps, "paused", reason="limit:visits:plan", limits={"steps": 100, "visits": 3}
    )


UNEVEN = spec(
    "uneven",
    ["fork", "quick", "slow", "slower", "merge"],
    [
        (START, "fork"),
        ("fork", "quick"),
        ("fork", "slow"),
        ("slow", "slower"),
        ("quick", "merge", "join"),
        ("slower", "merge", "join"),
        ("merge", END),
    ],
)


def waiting_join(status: str = "running") -> RunRecords:
    """Write a run in which a join has one arrival and waits for the longer branch."""
    steps = [
        step(0, [], [(START, "fork", "edge")], ["fork"]),
        step(1, ["fork"], [("fork", "quick", "edge"), ("fork", "slow", "edge")], ["quick", "slow"]),
        step(
            2,
            ["quick", task("slow", 1, 900)],
            [("quick", "merge", "join"), ("slow", "slower", "edge")],
            ["slower"],
            held={"merge": [("quick", 2)]},
        ),
    ]
    return run(UNEVEN, steps, status)
