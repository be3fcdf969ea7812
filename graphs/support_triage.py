"""Triage of support tickets: look similar ones up, classify, draft a reply, check it, or pass on.

    START -> lookup -> classify -> draft -> quality -> END
                           |         ^         |
                           |         +- failed-+-> template -> END   (after three tries)
                           +-> needs_human -> END

Run all tickets of `graphs/data/` with ``python -m graphs.support_triage``, or one of your own::

    graphflow run graphs.support_triage:graph --input '{"text": "I was charged twice"}'
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from graphflow import END, START, Context, Decision, Route, StateGraph, Update, append
from graphs.reply_checks import CHECKS
from graphs.solved import Solved, similar_to

__all__ = ["Ticket", "graph"]

OUT = Path("out")
SOLVED = Path(__file__).parent / "data" / "solved.jsonl"
SIMILAR = 4  # each solved ticket in the prompt costs a small model on a CPU 0.2 seconds
AGREEMENT = 0.5  # a topic counts when at least half of the similar tickets have it, too


class Ticket(BaseModel):
    """One customer's message, and what was found out and done about it."""

    ticket: str = Field("", description="the number of the ticket")
    text: str = Field(min_length=1, description="what the customer wrote")
    solved: str = Field("", description="JSONL file of solved tickets; else the example's own")

    similar: list[Solved] = Field(default_factory=list, description="nearest first")
    topic: str | None = Field(None, description="what the model takes the ticket for")
    confidence: float = Field(0.0, ge=0, le=1, description="share of the similar ones that agree")
    reply: str = Field("", description="the latest draft, or what goes out")
    drafts: Annotated[list[str], append] = Field(default_factory=list, description="all drafts")
    feedback: list[str] = Field(default_factory=list, description="why the gate refused the last")
    handover: str = Field("", description="what a colleague is told")
    answered_by: Literal["model", "template", "human"] | None = None


graph = StateGraph(Ticket, name="support_triage")


@graph.node
def lookup(state: Ticket) -> Update:
    """Find the solved tickets that are most like this one."""
    source = Path(state.solved) if state.solved else SOLVED
    return {"similar": similar_to(state.text, source, OUT / f"{source.stem}.db", SIMILAR)}


@graph.node
async def classify(state: Ticket, ctx: Context) -> Update:
    """Let the model choose among the topics of the similar tickets."""
    topics = sorted({solved.topic for solved in state.similar})
    if not topics:
        return {"topic": None, "confidence": 0.0}
    topic = topics[0] if len(topics) == 1 else await ctx.llm.choose(topic_prompt(state), topics)
    agree = sum(solved.topic == topic for solved in state.similar)
    return {"topic": topic, "confidence": agree / len(state.similar)}


@graph.decision("classify")
def is_it_clear(state: Ticket) -> Route[Literal["draft", "needs_human"]]:
    """A reply is drafted only when the model and the similar tickets agree."""
    if state.topic is None:
        return Decision("needs_human", reason="nothing similar was solved", confidence=0.0)
    agreement = f"{state.confidence:.0%} agree on {state.topic}"
    if state.confidence >= AGREEMENT:
        return Decision("draft", reason=agreement, confidence=state.confidence)
    return Decision("needs_human", reason=f"only {agreement}", confidence=state.confidence)


@graph.node
async def draft(state: Ticket, ctx: Context) -> Update:
    """Write a reply in the manner of a similar ticket's; dare more at each try."""
    tries = len(state.drafts)
    answer = await ctx.llm.chat(
        reply_prompt(state), max_tokens=40, stop=["\n"], temperature=0.2 + 0.3 * tries, seed=tries
    )
    reply = whole_sentences(answer.text.strip())
    return {"reply": reply, "drafts": [reply], "answered_by": "model"}


graph.add_gate(
    "quality",
    after="draft",
    checks=CHECKS,
    passed=END,
    failed="draft",
    tries=3,
    otherwise="template",
    feedback="feedback",
)


@graph.node
def template(state: Ticket) -> Update:
    """Answer with prepared words: true, if not helpful yet."""
    words = TEMPLATES.get(state.topic or "", ACKNOWLEDGEMENT)
    return {"reply": words.format(topic=state.topic), "answered_by": "template"}


@graph.node
def needs_human(state: Ticket) -> Update:
    """Leave the ticket to a colleague, with what was found out."""
    topics = ", ".join(sorted({solved.topic for solved in state.similar})) or "nothing we know"
    return {"handover": f"Similar tickets were about: {topics}.", "answered_by": "human"}


graph.add_edge(START, "lookup")
graph.add_edge("lookup", "classify")
graph.add_edge("template", END)
graph.add_edge("needs_human", END)


# ------------------------------------------------------------------------------------- the words

SUPPORT = "You answer our customers, politely and in short."
ACKNOWLEDGEMENT = "Thank you for your message about {topic}. We look into it and write back to you."
TEMPLATES = {
    "billing": "Thank you for your message. We check your payments and write back to you today.",
    "technical": "Sorry for the trouble. Please tell us which phone and app version you use, and"
    " whether the light of the hub is green; our technicians then find the cause.",
    "account": "Thank you for your message. For your safety we check the account by hand and write"
    " to the address that it belongs to.",
    "shipping": "Sorry for the trouble with your order. We ask the courier where it is and write"
    " back to you today.",
}


def topic_prompt(state: Ticket) -> str:
    """Show the similar tickets with their topics, the nearest last, and ask for this one's."""
    shots = [f"Ticket: {short(s.text, 60)}\nTopic: {s.topic}\n" for s in reversed(state.similar)]
    return "\n".join([*shots, f"Ticket: {short(state.text, 120)}\nTopic:"])


def reply_prompt(state: Ticket) -> list[dict[str, str]]:
    """Show how the nearest ticket of the topic was answered, and ask for this one's answer."""
    nearest = next(solved for solved in state.similar if solved.topic == state.topic)
    return [
        {"role": "system", "content": SUPPORT},
        {"role": "user", "content": short(nearest.text, 60)},
        {"role": "assistant", "content": nearest.reply},
        {"role": "user", "content": again(state.feedback) + short(state.text, 120)},
    ]


def again(reasons: Sequence[str]) -> str:
    """Say what was wrong with the last draft; small models heed it best before the text."""
    return f"(Not like this: {'; '.join(reasons)}.)\n" if reasons else ""


def whole_sentences(text: str) -> str:
    """Drop what comes after the last end of a sentence: the model was cut off there."""
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s|$)", text)]
    return text[: ends[-1]] if ends else text


def short(text: str, most: int) -> str:
    """Write a text in one line, cut at a word."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[:most].rsplit(" ", 1)[0] + " ..."


if __name__ == "__main__":
    from graphs.demo import main

    raise SystemExit(main())
