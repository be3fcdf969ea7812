"""Random graphs, drawn as data in the vectors' own format, with gates and flaky bodies beside.

So one loader makes all of them real, and one oracle says what must be seen of them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.engine.moves import ROUTERS
from tests.engine.oracle import ALWAYS

__all__ = ["STATE", "cases", "many"]

NAMES = "dgbhafce"  # their order is not that of the alphabet: order is declaration
STATE = {"out": "append", "notes": "append", "nums": "append", "n": "add", "v": "last"}
KINDS = ["plain"] * 7 + ["goto"] * 2 + ["gate", "question", "map", "graph"]
EXAMPLES = int(os.environ.get("GRAPHFLOW_EXAMPLES", "0"))
"""Per property; for a long search `GRAPHFLOW_EXAMPLES=4000 pytest tests/engine`."""
Graph = dict[str, Any]
Names = Sequence[str]

few = st.integers(0, 3)
seldom = st.sampled_from([False] * 4 + [True])
fields = st.fixed_dictionaries({}, optional={"v": few, "n": few, "nums": st.lists(few, max_size=3)})
updates = st.sampled_from(
    [
        [],
        [],
        [],
        [["append", "out", "$v"]],
        [["add", "n", 1]],
        [["append", "nums", 2]],
        [["append", "out", "$n"], ["add", "n", 2]],
        [["set", "v", 7]],
    ]
)


def many(examples: int, *, shrinks: bool = True) -> settings:
    """Say how many examples a property is tried on by default.

    Args:
        examples: So many.
        shrinks: Whether one that fails is made smaller, which takes long in a file.
    """
    shrink = [Phase.shrink] if shrinks else []
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, *shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@st.composite
def cases(draw: st.DrawFn, *, most: int = 8, inner: bool = False) -> Graph:
    """Draw a case without actions.

    Args:
        draw: Draws.
        most: How many nodes it has at most.
        inner: It will be a subgraph.
    """
    limits = draw(st.sampled_from([{"steps": 20, "visits": 5}] * 3 + [{"steps": 4, "visits": 2}]))
    graph = draw(graphs(most, 1 if inner else 2, saved=False, inner=inner))
    given = {"nums": draw(st.lists(few, max_size=3)), **draw(fields)}
    return {"name": "random", **graph, "limits": limits, "input": given}


@st.composite
def graphs(draw: st.DrawFn, most: int, depth: int, *, saved: bool, inner: bool = False) -> Graph:
    """Draw a graph.

    Args:
        draw: Draws.
        most: How many nodes it has at most.
        depth: How deep subgraphs may be nested.
        saved: A node above has a fallback: what fails here fails always.
        inner: It is a subgraph; several may run side by side, so nothing may fail once for all.
    """
    names = list(NAMES[: draw(st.integers(1, most))])
    kinds = {name: draw(st.sampled_from(KINDS)) for name in names}
    if depth == 0:
        kinds = {name: "plain" if kind == "graph" else kind for name, kind in kinds.items()}
    sendable = [name for name in names if kinds[name] != "gate"]
    nodes = [draw(node(name, kinds[name], names, sendable, depth, saved)) for name in names]
    routed = draw(st.lists(st.sampled_from(["START", *names]), max_size=ROUTERS))
    routers = [draw(router(source, names, sendable, inner)) for source in routed]
    return {"state": STATE, "nodes": nodes, "edges": draw(edges(names)), "routers": routers}


@st.composite
def edges(draw: st.DrawFn, names: Names) -> list[list[Any]]:
    """Draw edges: most nodes can be reached from those before them, and some from anywhere."""
    found = [["START", draw(st.sampled_from(names))]]
    for i, name in enumerate(names):
        before = st.sampled_from(["START", *names[:i]])
        several = st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)
        found += [[source, name] for source in draw(st.lists(before, max_size=2))]
        if draw(seldom):
            found.append([draw(several), name])
    anywhere = st.tuples(st.sampled_from(["START", *names]), st.sampled_from([*names, "END"]))
    found += map(list, draw(st.lists(anywhere, max_size=3)))
    return [edge for i, edge in enumerate(found) if edge not in found[:i]]


@st.composite
def node(  # noqa: PLR0917 - what a node is drawn from
    draw: st.DrawFn, name: str, kind: str, names: Names, sendable: Names, depth: int, saved: bool
) -> Graph:
    """Draw a node of a kind; gates are not sent, as no rule says how their tries then count."""
    made: Graph = {"name": name}
    if kind == "gate":
        return {**made, "gate": draw(gates(names))}
    if draw(seldom):
        made["defer"] = True
    if kind == "question":
        return {**made, "question": {"into": "out"}}
    if draw(seldom):
        made["fallback"], saved = draw(st.sampled_from(sendable)), True
    fails = st.sampled_from([0, ALWAYS] if saved else [0, 0, 1, 2])
    if kind == "map":
        failing = draw(st.dictionaries(st.sampled_from("012"), fails, max_size=2))
        return {**made, "map": {"over": "nums", "into": "out", "times": 10, "fails": failing}}
    if kind == "graph":
        child = draw(graphs(4, depth - 1, saved=saved, inner=True))
        child["limits"] = {"steps": draw(st.integers(2, 8)), "visits": draw(st.integers(1, 3))}
        given = draw(st.sampled_from([{}, {"v": "v", "nums": "nums"}, {"n": "n", "v": "n"}]))
        back = draw(st.sampled_from([{}, {"out": "out", "n": "n"}, {"out": "nums"}]))
        return {**made, "graph": child, "input": given, "output": back}
    made["update"] = draw(updates)
    if "fallback" in made or draw(seldom):
        made["flaky"] = draw(st.lists(fails, min_size=1, max_size=3))
    if kind == "goto":
        made["goto"] = draw(answers(names, sendable))
    return made


@st.composite
def gates(draw: st.DrawFn, names: Names) -> Graph:
    """Draw what a gate checks, and where it leads."""
    place, bounded = st.sampled_from([*names, "END"]), draw(st.booleans())
    return {
        "modulo": draw(st.integers(1, 4)),
        "good": sorted(draw(st.sets(few, max_size=2))),
        "passed": draw(place),
        "failed": draw(place),
        "otherwise": draw(place) if bounded else None,
        "tries": draw(st.integers(1, 3)) if bounded else None,
        "feedback": draw(st.booleans()),
    }


@st.composite
def router(draw: st.DrawFn, source: str, names: Names, sendable: Names, inner: bool) -> Graph:
    """Draw a router; seldom one that raises once."""
    made = {"source": source, **draw(answers(names, sendable))}
    if draw(st.integers(0, 7)) == 0:
        cases = {key: draw(st.sampled_from(made["targets"])) for key in ("None", "0", "2", "7")}
        field = draw(st.sampled_from(["v", "n"]))
        return {**made, "read": field, "cases": cases, "otherwise": made["targets"][-1]}
    if not inner and source != "START" and draw(st.integers(0, 9)) == 0:
        made["answers"][0] = {"raise_once": "boom", "then": made["answers"][0]}
    return made


@st.composite
def answers(draw: st.DrawFn, names: Names, sendable: Names) -> Graph:
    """Draw declared targets and answers: a node, END, Sends, several, none."""
    places = [*names, "END"]
    targets = draw(st.lists(st.sampled_from(places), min_size=1, max_size=3, unique=True))
    one = st.sampled_from(targets)
    sent = [name for name in targets if name in sendable]
    if sent:
        sends = st.fixed_dictionaries({"send": st.sampled_from(sent), "input": fields})
        one = st.one_of(one, one, sends)
    given = st.one_of(one, st.lists(one, max_size=3))
    return {"targets": targets, "answers": draw(st.lists(given, min_size=1, max_size=3))}
