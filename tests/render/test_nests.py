"""What a drawing shows of graphs that have graphs in them."""

from dataclasses import replace

from graphflow.names import END, START
from graphflow.render.picture import picture
from tests.render import nests
from tests.render.journeys import edge, first, kind
from tests.render.nests import child
from tests.render.pictures import arrow, lines, node, of
from tests.render.walks import choice, failure, run, spec, step, task


def test_a_subgraph_is_drawn_in_its_node():
    """The nodes of a subgraph, and of one in it, are in its node, with the path that ran there."""
    drawn = of(nests.nested())
    assert node(drawn, "research").kind == "graph"
    assert node(drawn, "research/read/summarise").id == "n-research.read.summarise"
    inside = node(drawn, "research").inside
    ran = {(a.source, a.target): a.count for a in inside.arrows if a.state == "ran"}
    assert ran == {
        (START, "search"): 1,
        ("search", "read"): 2,
        ("read", "rank"): 2,
        ("rank", "search"): 1,
        ("rank", END): 1,
    }
    assert node(drawn, "research").words == ("2 · 2.6 s · 1,400 tok",)
    assert drawn.summary == "done · 5 steps · 4.3 s · 1,400 tok"


def test_several_runs_of_a_subgraph_are_added_up():
    """A subgraph that ran twice counts both, and says in how many runs a node ran."""
    drawn = of(nests.nested())
    summarise = node(drawn, "research/read/summarise")
    assert (summarise.visits, summarise.words) == (2, ("2 runs · 1.8 s · 1,400 tok",))
    way = arrow(node(drawn, "research/read").inside, "open", "summarise")
    assert way.count == 2
    assert "ran in 2 runs of its graph, 2 times" in way.tooltip


def test_a_gate_in_several_runs_tells_its_verdicts_without_steps():
    """Step numbers of different runs would mix: the verdicts stand alone."""
    ways = {"passed": END, "failed": END}
    inner = spec("inner", [{"name": "q", "gate": ways}], [(START, "q")])
    graph = spec("g", [kind("sub", "graph", graph=inner)], [(START, "sub"), ("sub", "sub")])
    runs = []
    for number, answer in ((1, "failed"), (2, "passed")):
        judged = step(1, ["q"], [gate_q(answer)])
        runs.append(child(run(inner, [first("q"), judged]), number, "sub"))
    steps = [first("sub"), step(1, ["sub"], edge("sub", "sub"), ["sub"]), step(2, ["sub"], [])]
    assert node(of(run(graph, steps, children=runs)), "sub/q").words == ("✗\N{NO-BREAK SPACE} ✓",)


def gate_q(answer: str):
    """Write the arrow of the gate `q`."""
    return "q", END, "goto", choice("q", END)[3]._replace(kind="gate", answer=answer, router="q")


def test_a_failure_deep_inside():
    """A failure in a subgraph of a subgraph marks all three, and the summary names the way."""
    drawn = of(nests.nested_failed())
    for path in ("research", "research/read", "research/read/summarise"):
        assert node(drawn, path).state == "failed"
    assert node(drawn, "research/read/summarise").words == ("2 · OSError: HTTP 503 · 2 tries",)
    assert drawn.summary.startswith("failed at research/read/summarise · 1 step")
    assert node(drawn, "prices").words == ("2 · 0.30 s · kept",)
    assert node(drawn, "research/rank").state == "not_reached"


def test_sent_subgraphs_stand_side_by_side():
    """Of several runs in one step a question shows before a limit, and each has its own lines."""
    drawn = of(nests.team())
    assert node(drawn, "talk").words == ("2 · 1 of 3",)
    assert (node(drawn, "talk/confirm").state, node(drawn, "talk/greet").words) == (
        "asking",
        ("limit: 1 step",),
    )
    assert drawn.summary.startswith("paused at talk/confirm (asks)")
    told = lines(nests.team())
    at = told.index("  2  talk              asks · 1 of 3")
    assert [line.split("→")[0].rstrip() for line in told[at + 1 : at + 9]] == [
        "        talk#0         done · 2 steps",
        "           1  greet    3 ms",
        '           2  confirm  3 ms · "yes" by person 14:05 UTC'.replace("3 ms · ", ""),
        "        talk#1         paused · 1 step",
        "           1  greet    3 ms",
        "           2  confirm  asks · since 14:02 UTC · Is that right?",
        "        talk#2         paused · 0 steps",
        "           1  greet    paused · limit: 1 step",
    ]


def test_a_subgraph_at_its_limit():
    """A child at its limit pauses its node, which says so by the child's own bounds."""
    records = nests.team()
    records.children = records.children[2:]
    records.header = replace(records.header, reason="limit:steps:talk#2")
    drawn = of(records)
    assert (node(drawn, "talk").mark, node(drawn, "talk").words) == ("limit", ("limit: 1 step",))
    assert drawn.summary.startswith("paused in talk (limit: 1 step)")


def test_a_child_whose_owner_has_gone():
    """A child has no owner of its own: it is stale when its root is."""
    records = nests.nested_failed()
    records.header = replace(records.header, status="stale", reason=None)
    inner = records.children[0]
    inner.header = replace(inner.header, status="running", reason=None)
    inmost = inner.children[0]
    inmost.header = replace(inmost.header, status="running", reason=None, error=None)
    drawn = of(records)
    assert (node(drawn, "research").mark, node(drawn, "research").state) == ("runs", "next")
    assert node(drawn, "research").words == ("step 2 · owner gone",)
    assert node(drawn, "research/read/summarise").mark == "again"


def test_a_subgraph_that_did_not_run_is_faint():
    """What is in a subgraph that was not reached is not reached either, and is not told."""
    graph = spec(
        "g",
        ["a", kind("sub", "graph", graph=nests.READING)],
        [(START, "a"), ("a", END)],
        [{"source": "a", "targets": ["sub"]}],
    )
    records = run(graph, [first("a"), step(1, ["a"], edge("a", END))])
    inside = node(of(records), "sub").inside
    assert {n.state for n in inside.nodes} == {"not_reached"}
    assert {a.state for a in inside.arrows} == {"untaken"}
    assert lines(records)[-2:] == ["not taken:", "  a  → sub"]


def test_a_failed_child_whose_parent_fell_back():
    """A child that failed stays failed in its frame, while the run went on by the fallback."""
    graph = spec(
        "g",
        [kind("sub", "graph", graph=nests.READING, fallback="plain"), "plain"],
        [(START, "sub")],
    )
    broken = run(
        nests.READING, [first("open")], "failed", error="x", attempts=[failure(1, "open", 1)]
    )
    steps = [
        first("sub"),
        step(1, [task("sub", fell_back="plain")], [("sub", "plain", "fallback")], ["plain"]),
        step(2, ["plain"], []),
    ]
    drawn = of(run(graph, steps, children=[child(broken, 1, "sub")]))
    assert node(drawn, "sub").state == "fell_back"
    assert node(drawn, "sub/open").state == "failed"
    assert drawn.summary.startswith("done (recovered)")


def test_a_long_way_through_a_subgraph_goes_downwards():
    """What is in a subgraph counts for the length of a graph."""
    chain = [f"n{i}" for i in range(5)]
    inner = spec("i", chain, list(zip([START, *chain], [*chain, END], strict=True)))
    for names, direction in ((["a"], "LR"), (["a", "b"], "TB")):
        nodes = [*names, kind("sub", "graph", graph=inner)]
        edges = list(zip([START, *names, "sub"], [*names, "sub", END], strict=True))
        assert picture(spec("g", nodes, edges)).direction == direction
