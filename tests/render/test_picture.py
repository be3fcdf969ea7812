"""What a drawing shows: states, counts, verdicts and words, decided from the records alone."""

from collections import Counter

import pytest

from graphflow.names import END, START
from graphflow.records import RunRecords
from graphflow.render.picture import Picture, PictureArrow, PictureNode, picture
from tests.render import walks
from tests.render.walks import choice, failure, gate, run, spec, step, task


def of(records: RunRecords) -> Picture:
    """Make the picture of a run."""
    return picture(records.spec, records)


def node(drawn: Picture, name: str) -> PictureNode:
    """Find a node."""
    return next(n for n in drawn.nodes if n.name == name)


def arrows(drawn: Picture, source: str, target: str) -> list[PictureArrow]:
    """Find the arrows between two nodes."""
    return [a for a in drawn.arrows if (a.source, a.target) == (source, target)]


def ran(drawn: Picture) -> Counter[tuple[str, str]]:
    """Count the arrows that are drawn as run."""
    return Counter({(a.source, a.target): a.count for a in drawn.arrows if a.state == "ran"})


def test_a_graph_alone_is_static():
    """Without records every node and arrow is static, and nothing has a count."""
    drawn = picture(walks.TRIAGE)
    assert {n.state for n in drawn.nodes} == {"static"}
    assert {(a.state, a.count) for a in drawn.arrows} == {("static", 0)}
    assert (drawn.status, drawn.summary, drawn.path) == ("", "", ())


def test_triage_arrows_that_ran():
    """A loop's arrows are counted as often as they ran; what was not taken stays there, untaken."""
    drawn = of(walks.triage())
    assert ran(drawn) == {
        (START, "lookup"): 1,
        ("lookup", "classify"): 1,
        ("classify", "draft"): 1,
        ("draft", "quality"): 3,
        ("quality", "draft"): 2,
        ("quality", END): 1,
    }
    untaken = {(a.source, a.target) for a in drawn.arrows if a.state == "untaken"}
    assert untaken == {
        ("classify", "ask_human"),
        ("quality", "template"),
        ("template", END),
        ("ask_human", END),
    }


def test_triage_nodes():
    """A node says how often, when and at what cost it ran, retries included."""
    drawn = of(walks.triage())
    draft = node(drawn, "draft")
    assert (draft.visits, draft.steps, draft.tokens, draft.retries) == (3, (3, 5, 7), 939, 1)
    assert draft.duration_ms == 3 * 700 + 40
    assert draft.words == ("3, 5, 7 · 2.1 s · 939 tok",)
    assert node(drawn, "quality").words == ("4 ✗\N{NO-BREAK SPACE} 6 ✗\N{NO-BREAK SPACE} 8 ✓",)
    assert node(drawn, "template").state == "not_reached"
    assert node(drawn, START).state == node(drawn, END).state == "ran"
    assert drawn.summary == "done (recovered) · 8 steps · 2.3 s · 1,151 tok · 1 retry"


def test_decisions_say_why():
    """An arrow that was chosen has the answer, the last reason, and the evidence in its tooltip."""
    drawn = of(walks.triage())
    (chosen,) = arrows(drawn, "classify", "draft")
    assert (chosen.label, chosen.reason) == ("draft", "confidence = 0.93")
    assert "confidence = 0.93 (step 2)" in chosen.tooltip
    (back,) = arrows(drawn, "quality", "draft")
    assert (back.label, back.order, back.back, back.loop) == ("failed", (4, 6), True, True)
    assert back.reason == "too short: 31 of at least 40 characters"


def test_a_diamond_in_a_loop():
    """Both branches of a diamond count once per round; the way back ran one time less."""
    drawn = of(walks.diamond(rounds=3))
    inner = {("plan", "search"), ("plan", "prices"), ("search", "write"), ("prices", "write")}
    assert ran(drawn) == Counter(
        {
            (START, "plan"): 1,
            **dict.fromkeys([*inner, ("write", "review")], 3),
            ("review", "plan"): 2,
            ("review", "publish"): 1,
            ("publish", END): 1,
        }
    )
    write = node(drawn, "write")
    assert write.join
    assert write.words[1] == "waited for search, prices"


def test_visited_ends_do_not_make_an_arrow_run():
    """An arrow whose ends both ran is untaken when no step recorded it."""
    graph = spec("g", ["a", "b"], [(START, "a"), ("a", "b"), ("b", END), (START, "b")])
    steps = [
        step(0, [], [(START, "a", "edge")], ["a"]),
        step(1, ["a"], [("a", "b", "edge")], ["b"]),
        step(2, ["b"], [("b", END, "edge")]),
    ]
    drawn = of(run(graph, steps))
    assert arrows(drawn, START, "b")[0].state == "untaken"


def test_two_answers_to_one_node_are_two_arrows():
    """A gate whose passed and otherwise both lead to END is told apart by the answers."""
    ways = {"passed": END, "failed": "draft", "otherwise": END, "tries": 2}
    graph = spec("g", ["draft", {"name": "q", "gate": ways}], [(START, "draft"), ("draft", "q")])
    steps = [
        step(0, [], [(START, "draft", "edge")], ["draft"]),
        step(1, ["draft"], [("draft", "q", "edge")], ["q"]),
        step(2, ["q"], [gate("q", END, "otherwise", "too short")]),
    ]
    both = {a.label: (a.state, a.count) for a in arrows(of(run(graph, steps)), "q", END)}
    assert both == {"passed": ("untaken", 0), "otherwise": ("ran", 1)}


def test_an_edge_and_a_choice_are_two_arrows():
    """A fixed edge and a router's choice between the same nodes stay two arrows."""
    graph = spec(
        "g", ["a", "b"], [(START, "a"), ("a", "b")], [{"source": "a", "targets": ["b", END]}]
    )
    start = step(0, [], [(START, "a", "edge")], ["a"])
    edge_only = step(1, ["a"], [("a", "b", "edge"), choice("a", END)], ["b"])
    drawn = of(run(graph, [start, edge_only], "running"))
    assert [(a.kind, a.state) for a in arrows(drawn, "a", "b")] == [
        ("edge", "ran"),
        ("choice", "untaken"),
    ]
    both = step(1, ["a"], [("a", "b", "edge"), choice("a", "b")], ["b"])
    drawn = of(run(graph, [start, both], "running"))
    assert [a.count for a in arrows(drawn, "a", "b")] == [1, 1]


def test_answers_of_a_mapping():
    """An answer finds its arrow also when another answer is called like the node itself."""
    router = {"source": "a", "targets": ["b"], "answers": {"sure": "b", "b": "b", "maybe": "b"}}
    graph = spec("g", ["a", "b"], [(START, "a"), ("b", END)], [router])
    for answer, label in (("sure", "sure"), ("b", "b"), ("maybe", "maybe"), ("maybe, x", "maybe")):
        steps = [
            step(0, [], [(START, "a", "edge")], ["a"]),
            step(1, ["a"], [choice("a", "b", answer=answer)], ["b"]),
        ]
        taken = [a.label for a in of(run(graph, steps)).arrows if a.state == "ran" and a.label]
        assert taken == [label]


def test_an_undeclared_arrow_that_ran_is_drawn():
    """What the records hold is drawn even if the graph does not name it: a fallback."""
    graph = spec("g", ["a", "b"], [(START, "a"), ("a", END), ("b", END)])
    steps = [
        step(0, [], [(START, "a", "edge")], ["a"]),
        step(1, ["a"], [("a", "b", "fallback")], ["b"]),
    ]
    (drawn,) = arrows(of(run(graph, steps, "running")), "a", "b")
    assert (drawn.fallback, drawn.state, drawn.count) == (True, "ran", 1)


def test_a_failed_sibling():
    """In an open step the failed task is red with its error and tries, the kept one ran."""
    drawn = of(walks.failed_sibling())
    prices = node(drawn, "prices")
    assert (prices.state, prices.mark) == ("failed", "failed")
    assert prices.words == ("2 · OSError: HTTP 503 · 3 tries",)
    assert (node(drawn, "search").state, node(drawn, "search").visits) == ("ran", 1)
    assert arrows(drawn, "search", "write")[0].state == "untaken"
    assert drawn.summary.startswith("failed at prices · 1 step")


def test_a_failed_attempt_that_was_retried_is_no_failure():
    """A task that is kept after a failed attempt ran, and was retried."""
    records = walks.failed_sibling()
    records.kept.append(task("prices", 1, attempts=4))
    prices = node(of(records), "prices")
    assert (prices.state, prices.retries) == ("ran", 3)


def test_a_run_under_way_is_not_failed_between_two_tries():
    """While a run goes on, a failed attempt of its open step means another try."""
    records = walks.failed_sibling()
    records.header.status = "running"
    prices = node(of(records), "prices")
    assert (prices.state, prices.mark) == ("next", "again")


@pytest.mark.parametrize(
    ("reason", "name", "words"),
    [
        ("router review: KeyError: 'score'", "review", "4 · router: KeyError: 'score'"),
        ("conflict notes: plan, review", "plan", "4 · conflict in notes"),
        ("step", "review", "4 · the updates do not fit"),
    ],
)
def test_a_step_that_cannot_close_names_its_culprit(reason, name, words):
    """A conflict or a router's error marks its nodes though their tasks are complete."""
    steps = walks.diamond().steps[:4]
    drawn = of(run(walks.DIAMOND, steps, "failed", reason=reason, kept=[task("review")]))
    assert node(drawn, name).state == "failed"
    assert node(drawn, name).words == (words,)


def test_a_limit_names_the_loop():
    """A paused run marks what is ready, and says which limit was reached and what raises it."""
    drawn = of(walks.limit_pause())
    plan = node(drawn, "plan")
    assert (plan.state, plan.mark, plan.words) == ("paused", "paused", ("limit: 3 visits",))
    assert drawn.summary.startswith("paused before plan (limit: 3 visits) · 12 steps")
    assert "resume(run_id, limits=Limits(visits=6)) goes on" in plan.tooltip
    assert ran(drawn)["review", "plan"] == 3


@pytest.mark.parametrize(
    ("status", "words"), [("running", "step 3"), ("stale", "step 3 · owner gone")]
)
def test_what_comes_next(status, words):
    """A run that has not ended marks its ready tasks as next, and says when its owner is gone."""
    slower = node(of(walks.waiting_join(status)), "slower")
    assert (slower.state, slower.words) == ("next", (words,))


def test_a_join_says_what_it_waits_for():
    """A held join says what has arrived and which live node it waits for."""
    merge = node(of(walks.waiting_join()), "merge")
    assert (merge.mark, merge.words) == ("waits", ("has quick · waits for slower",))


def test_a_join_that_skipped_a_branch_says_so():
    """The tooltip of a join names the sources that it did not wait for."""
    steps = walks.diamond().steps[:2]
    steps += [
        step(2, ["search"], [("search", "write", "join")], ["write"], fired={"write": ["search"]}),
        step(3, ["write"], [("write", "review", "edge")], ["review"]),
    ]
    write = node(of(run(walks.DIAMOND, steps, "running")), "write")
    assert write.words[1] == "waited for search"
    assert "step 3: waited for search (not prices)" in write.tooltip


def test_sends_count_steps_and_tasks():
    """A node that was sent several times visited one step; its tasks are told, their time once."""
    graph = spec("g", ["a", "work"], [(START, "a")], [{"source": "a", "targets": ["work"]}])
    sends = [("a", "work", "send"), ("a", "work", "send")]
    steps = [
        step(0, [], [(START, "a", "edge")], ["a"]),
        step(1, ["a"], sends, ["work#0", "work#1"]),
        step(2, [task("work#0"), task("work#1", 1)], []),
    ]
    drawn = of(run(graph, steps))
    assert (node(drawn, "work").visits, node(drawn, "work").words) == (1, ("2 · 2 tasks · 3 ms",))
    assert ran(drawn)["a", "work"] == 2


def test_a_decision_for_nothing_is_told():
    """A router that took no arrow leaves its reason in the node's tooltip and in the path."""
    graph = spec("g", ["a"], [(START, "a")], [{"source": "a", "targets": [END]}])
    closed = step(1, ["a"], [])
    closed.decisions = [choice("a", END, "nothing to do")[3]._replace(chosen=())]
    drawn = of(run(graph, [step(0, [], [(START, "a", "edge")], ["a"]), closed]))
    assert "route took no arrow: nothing to do" in node(drawn, "a").tooltip
    assert drawn.path[-1].taken[0].target == ""


def test_a_graph_that_is_not_finished_can_be_drawn():
    """Undefined targets, routers without targets and an empty graph are drawn, and named."""
    graph = spec("g", ["a"], [(START, "a"), ("a", "b")], [{"source": "a", "targets": []}])
    drawn = picture(graph)
    assert node(drawn, "b").words == ("not defined",)
    assert node(drawn, "a").words == ("route: no targets",)
    assert [n.name for n in picture(spec("g", [])).nodes] == [START, END]


def test_nothing_has_run_yet():
    """A run without a committed step shows everything as not reached."""
    drawn = of(run(walks.TRIAGE, [], "running"))
    assert {n.state for n in drawn.nodes} == {"not_reached"}


def test_long_graphs_go_downwards():
    """Up to eight nodes in a row go from left to right, more from top to bottom."""
    for length, direction in ((8, "LR"), (9, "TB")):
        names = [f"n{i}" for i in range(length)]
        edges = list(zip([START, *names], [*names, END], strict=True))
        assert picture(spec("g", names, edges)).direction == direction


def test_the_main_way_is_the_last_that_ran():
    """The arrows that are kept straight follow the run, and end at END."""
    main = [(a.source, a.target) for a in of(walks.triage()).arrows if a.main]
    assert set(main) == {
        (START, "lookup"),
        ("lookup", "classify"),
        ("classify", "draft"),
        ("draft", "quality"),
        ("quality", END),
    }


def test_a_failed_attempt_of_another_run_step_counts_in_its_node():
    """The time of failed attempts belongs to the node that failed."""
    records = walks.triage()
    records.attempts.append(failure(2, "classify", 1))
    assert node(of(records), "classify").duration_ms == 140 + 40
