"""The example's tickets and solved tickets are what the graph expects of them."""

import json
from collections import Counter
from pathlib import Path

from graphs.solved import read_solved
from graphs.support_triage import SOLVED, TEMPLATES, Ticket

DATA = Path(SOLVED).parent


def _lines(name):
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


def test_tickets_are_inputs_of_the_graph():
    """Every line of tickets.jsonl is an input that the state takes, with a number of its own."""
    tickets = [Ticket(**line) for line in _lines("tickets.jsonl")]
    assert len(tickets) >= 24
    assert len({ticket.ticket for ticket in tickets}) == len(tickets)


def test_solved_tickets_are_enough_of_each_topic():
    """There are at least 60 solved tickets, and no topic is known from fewer than five."""
    solved = read_solved(SOLVED)
    assert len(solved) >= 60
    assert min(Counter(one.topic for one in solved).values()) >= 5
    assert all(one.text.strip() and one.reply.strip() for one in solved)


def test_no_text_comes_twice():
    """No ticket has the text of a solved one, and no text or reply is there twice."""
    texts = [line["text"].strip().lower() for line in _lines("tickets.jsonl")]
    solved = read_solved(SOLVED)
    texts += [one.text.strip().lower() for one in solved]
    assert len(set(texts)) == len(texts)
    assert len({one.reply for one in solved}) == len(solved)


def test_expected_topics_are_known_ones():
    """Each ticket has at least one right topic, and all of them are topics of solved tickets."""
    known = {one.topic for one in read_solved(SOLVED)}
    expected = {line["ticket"]: line["topics"] for line in _lines("expected.jsonl")}
    assert list(expected) == [line["ticket"] for line in _lines("tickets.jsonl")]
    assert all(topics and set(topics) <= known for topics in expected.values())


def test_templates_are_for_known_topics():
    """A template for a topic that no ticket can get would never be sent."""
    assert set(TEMPLATES) <= {one.topic for one in read_solved(SOLVED)}
