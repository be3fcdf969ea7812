"""What a drawing shows of runs that pause, fall back, send and map."""

from dataclasses import replace

import pytest

from graphflow.names import START
from graphflow.records import Evidence
from graphflow.render.picture import picture
from tests.render import journeys, nests
from tests.render.journeys import first, item, question
from tests.render.pictures import arrow, lines, node, of
from tests.render.walks import AT, choice, failure, run, spec, step, task


def test_failed_and_kept_siblings():
    """In an open step each failed task says its error and tries, and the others are kept."""
    drawn = of(journeys.parallel())
    states = {n.name: (n.state, n.words) for n in drawn.nodes[2:6]}
    assert states == {
        "hotels": ("ran", ("2 · 0.80 s · 1,210 tok · kept",)),
        "flights": ("failed", ("2 · OSError: HTTP 503 Service U… · 3 tries",)),
        "cars": ("ran", ("2 · 0.42 s · kept",)),
        "trains": ("failed", ("2 · OSError: no such station: '…",)),
    }
    assert drawn.summary.startswith("failed at flights, trains · 1 step")
    assert "kept in the open step" in node(drawn, "hotels").tooltip


def test_a_sent_node_of_which_some_tasks_failed():
    """A node that was sent says how many of its tasks failed."""
    records = journeys.sent()
    records.steps, records.kept = records.steps[:2], [task("grade#0")]
    records.attempts = [failure(2, f"grade#{i}", 1) for i in (1, 2, 3)]
    records.header = replace(records.header, status="failed", reason="task")
    assert node(of(records), "grade").words == ("2 · 3 of 4 · OSError: HTTP 503",)


def test_an_open_question():
    """A question that waits says since when and what it asks; its tooltip has all of it."""
    drawn = of(journeys.asking())
    asks = node(drawn, "ask_human")
    assert (asks.kind, asks.state, asks.mark) == ("question", "asking", "asks")
    assert asks.words == ("2 · since 14:02 UTC", "Reply to: I was charged twi…")
    assert "question: Reply to: I was charged twice for one month" in asks.tooltip
    assert "an answer is of type string" in asks.tooltip
    assert drawn.summary.startswith("paused at ask_human (asks)")
    assert node(drawn, "lookup").words == ("2 · 12 ms · kept",)


def test_a_deadline_and_its_default_are_told():
    """The tooltip of an open question says what answers it, and when."""
    records = journeys.asking()
    records.questions = [
        replace(
            records.questions[0],
            deadline="2026-11-23T09:00:00.000000+00:00",
            default_json='"later"',
            schema_json='{"enum": ["now", "later"]}',
            asked_at="2026-11-23T08:00:00.000000+00:00",
        )
    ]
    asks = node(of(records), "ask_human")
    assert asks.words[0] == "2 · since 11-23 08:00 UTC"
    assert 'until 2026-11-23T09:00: then "later"' in asks.tooltip
    assert "an answer is 'now' | 'later'" in asks.tooltip


def test_an_answered_question():
    """A question that has been answered says who, when and what."""
    drawn = of(journeys.answered())
    asked = node(drawn, "ask_human")
    assert (asked.state, asked.mark) == ("ran", "")
    assert asked.words == ("2 · person 14:05 UTC", '"We refund you."')
    assert 'answered by person 2026-11-22T14:05: "We refund you."' in asked.tooltip
    assert '     ask_human  "We refund you." by person 14:05 UTC  → send' in lines(
        journeys.answered()
    )


def test_a_node_that_asks_within_its_body():
    """`ctx.ask` and an escalation mark a plain node; several open questions are counted."""
    graph = spec("g", ["deploy"], [(START, "deploy")])
    more = {"kind": "ask", "schema_json": '{"type": "boolean"}'}
    asked = [question(1, "deploy", "Sure?", name=name, **more) for name in ("a", "b")]
    stopped = run(graph, [first("deploy")], "paused", reason="question", questions=asked)
    deploy = node(of(stopped), "deploy")
    assert (deploy.kind, deploy.words) == ("node", ("1 · 2 questions · since 14:02 UTC", "Sure?"))
    assert "asks a: Sure?" in deploy.tooltip
    details = '{"error_type": "OSError", "error": "HTTP 503", "attempts": 3}'
    stopped.attempts = [failure(1, "deploy", 1)]
    stopped.questions = [
        question(1, "deploy", "HTTP 503: retry?", kind="escalation", details_json=details)
    ]
    deploy = node(of(stopped), "deploy")
    assert (deploy.state, deploy.words[1]) == ("asking", "HTTP 503: retry?")
    assert "escalated: HTTP 503: retry?\n  OSError: HTTP 503" in deploy.tooltip


def test_a_cancelled_question_asks_nobody():
    """A cancelled run shows what it left undone, not a question."""
    records = journeys.asking()
    records.header = replace(records.header, status="cancelled", reason="by hand")
    assert (node(of(records), "ask_human").mark, node(of(records), "ask_human").state) == (
        "cancelled",
        "paused",
    )


def test_a_map_with_a_failed_item():
    """A map says which item failed and how many are done; what was repeated is no failure."""
    score = node(of(journeys.map_failed()), "score")
    assert (score.kind, score.state) == ("map", "failed")
    assert score.words == ("2 · item 3: OSError: HTTP 429 Too Many… · 2 tries", "9 items done")
    records = journeys.map_failed()
    records.attempts += [failure(2, "score[7]", 1)]
    records.items = [one for one in records.items if one.ix != 7]
    score = node(of(records), "score")
    assert score.words == ("2 · 2 items · OSError: HTTP 503", "8 items done")


def test_a_complete_map():
    """A map that is complete says how many items it had, and that some were repeated."""
    drawn = of(journeys.map_done())
    score = node(drawn, "score")
    assert (score.state, score.items, score.retries) == ("ran", 10, 3)
    assert drawn.summary == "done (recovered) · 3 steps · 1.4 s · 3 retries"
    assert "  2  score   10 items · 1.4 s · ↻3  → report" in lines(journeys.map_done())


def test_sends_are_counted():
    """A way that led to Sends alone is one of its own, with their number."""
    drawn = of(journeys.sent())
    way = arrow(drawn, "read", "grade")
    assert (way.kind, way.count, way.label, way.reason) == ("send", 4, "grade", "4 essays")
    assert "4 times (4 Sends)" in way.tooltip
    assert "  1  read    3 ms              → grade \N{MULTIPLICATION SIGN}4: 4 essays" in lines(
        journeys.sent()
    )
    assert arrow(drawn, "grade", "report").kind == "join"


def test_sends_beside_a_plain_arrow():
    """A router that chose a node, and also sent to it, has one way, counted twice."""
    graph = spec("g", ["a", "w"], [(START, "a")], [{"source": "a", "targets": ["w"]}])
    plain = choice("a", "w", "both")
    mixed = plain[3]._replace(chosen=("w", journeys.Sent("w", "{}")))
    outs = [("a", "w", "choice", mixed), ("a", "w", "send", mixed)]
    steps = [first("a"), step(1, ["a"], outs, ["w", "w#0"]), step(2, ["w", task("w#0", 1)], [])]
    way = arrow(of(run(graph, steps)), "a", "w")
    assert (way.kind, way.count) == ("choice", 2)
    assert "(1 Send)" in way.tooltip


def test_a_command_that_sends_takes_the_nodes_own_way():
    """A Send of Command(goto=) counts for the node's declared target, not for a router's."""
    nodes = [{"name": "a", "targets": ["w"]}, "w"]
    graph = spec("g", nodes, [(START, "a")], [{"source": "a", "targets": ["w"]}])
    decision = choice("a", "w", "split")[3]._replace(
        kind="goto", chosen=(journeys.Sent("w", "{}"),)
    )
    steps = [first("a"), step(1, ["a"], [("a", "w", "send", decision)], ["w#0"])]
    ran = [a for a in of(run(graph, steps, "running")).arrows if a.state == "ran"]
    assert [(a.source, a.kind) for a in ran] == [(START, "edge"), ("a", "send")]
    left = [a for a in of(run(graph, steps, "running")).arrows if a.state == "untaken"]
    assert [a.kind for a in left] == ["choice"]


def test_a_fallback_that_was_taken():
    """A task that fell back says why, and its way is drawn apart; the run has recovered."""
    drawn = of(journeys.fallen())
    prices = node(drawn, "prices")
    assert (prices.state, prices.mark) == ("fell_back", "failed")
    assert prices.words == ("2 · OSError: HTTP 503 · 3 tries",)
    taken, left = arrow(drawn, "prices", "estimate"), arrow(drawn, "prices", "cached")
    assert (taken.fallback, taken.state, taken.label) == (True, "ran", "fallback")
    assert (left.fallback, left.state, left.label) == (True, "untaken", "over budget")
    assert drawn.summary.startswith("done (recovered)")
    assert "  2  prices    0.12 s · failed · 3 tries  → estimate (fallback)" in lines(
        journeys.fallen()
    )


def test_a_budget_that_was_used_up():
    """The way of `on_budget` is told from the one of `fallback`."""
    drawn = of(journeys.fallen("cached"))
    prices = node(drawn, "prices")
    assert (prices.state, prices.mark, prices.retries) == ("over_budget", "over budget", 0)
    assert prices.words == ("2 · budget: calls used up",)
    assert "fell back: the node's budget (calls=3) is used up" in prices.tooltip
    assert drawn.summary.startswith("done (recovered)")  # another node ran instead
    assert arrow(drawn, "prices", "cached").state == "ran"
    assert arrow(drawn, "prices", "estimate").state == "untaken"
    told = lines(journeys.fallen("cached"))
    assert any("ms · over budget" in one and "→ cached (over budget)" in one for one in told)
    assert "BudgetSignal" not in str((drawn, told))


def test_one_way_for_both():
    """`fallback` and `on_budget` that lead to one node are one arrow."""
    nodes = [{"name": "a", "fallback": "b", "on_budget": "b"}, "b"]
    drawn = picture(spec("g", nodes, [(START, "a")]))
    assert [a.label for a in drawn.arrows] == ["", "fallback"]


def test_some_sends_fell_back():
    """Of several tasks of a node those that fell back are counted; a join waits for the rest."""
    drawn = of(journeys.sent_and_fallen())
    assert node(drawn, "grade").words == ("2 · 3 tasks · 1 fell back · 0.72 s",)
    assert node(drawn, "grade").state == "ran"
    assert node(drawn, "report").words == ("has grade · waits for by_hand",)
    assert arrow(drawn, "grade", "by_hand").count == 1


def test_what_is_declared_is_told():
    """The drawing of a graph says what a question asks for, a map runs on, a node is bound to."""
    drawn = picture(nests.RESEARCH)
    assert node(drawn, "search").words == ("each of queries → hits",)
    assert node(picture(journeys.SUPPORT), "ask_human").words == ("asks for reply",)
    bound = {"name": "a", "retry": 3, "timeout": 30.0, "effects": "external", "fallback": "b"}
    tooltip = node(picture(spec("g", [bound, "b"])), "a").tooltip
    assert tooltip.splitlines() == [
        "a",
        "fallback: b",
        "retry: 3 tries",
        "timeout: 30 s",
        "effects: external",
    ]


def test_a_fork_says_where_it_comes_from():
    """The caption names the run that was forked, the step, and what was changed there."""
    assert of(journeys.fork()).summary.startswith(
        "done · fork of 01kf0a1b2c3d… at step 3 with topic, sure → draft · 3 steps"
    )


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("limit:steps", "limit: 100 steps"),
        ("budget:calls", "budget: calls used up"),
        ("before:send", "breakpoint"),
        ("after:ask_human", "breakpoint after ask_human"),
        ("interrupted", "interrupted"),
    ],
)
def test_why_a_run_paused(reason, words):
    """Each reason for a pause is put into words at the node that would be next."""
    records = journeys.answered()
    records.steps = records.steps[:3]
    records.header = replace(records.header, status="paused", reason=reason)
    assert node(of(records), "send").words == (words,)


def test_evidence_stays_in_the_tooltip_of_sends():
    """A decision for Sends has its evidence as every other."""
    records = journeys.sent()
    decision = records.steps[1].decisions[0]
    read = Evidence("essays", 1, "[1, 2]")
    records.steps[1].decisions = [decision._replace(evidence=(read,))]
    assert "essays = [1, 2] (step 1)" in arrow(of(records), "read", "grade").tooltip


def test_the_items_of_a_map_that_goes_on():
    """While a run goes on, a failed item means another try."""
    records = journeys.map_failed()
    records.header = replace(records.header, status="running", reason=None)
    score = node(of(records), "score")
    assert (score.mark, score.state) == ("again", "next")
    records.items.append(item(2, "score", 3))
    assert node(of(records), "score").mark == "next"


def test_times_are_utc():
    """A time stands as UTC, whatever zone it was written in."""
    records = journeys.asking()
    asked = replace(records.questions[0], asked_at=AT.replace("+00:00", "+02:00"))
    records.questions = [asked]
    assert node(of(records), "ask_human").words[0] == "2 · since 12:02 UTC"
