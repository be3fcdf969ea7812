"""The checks that a drafted reply must pass before it goes out: each says True, or the reason."""

import re
from collections import Counter
from pathlib import Path
from typing import Protocol

from graphs.solved import Solved

__all__ = ["CHECKS", "Drafted"]

FACTS = re.compile(
    r"https?://\S+|www\.\S+|\S+@\S+"  # links and addresses
    r"|[$€£]?\d+(?:[.,:]\d+)*%?"  # amounts, times, dates, percentages
    r"|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
    r"|January|February|April|June|July|August|September|October|November|December"
)
PROMISES = re.compile(r"\b(refund|discount|voucher|gift|replacement|for free)", re.IGNORECASE)
MACHINE_TALK = re.compile(
    r"\b(AI|chatbot|robot|language model|assistant|SmolLM|Hugging Face|(the|this|our) customer)\b"
)
COMMON = frozenset((Path(__file__).parent / "data" / "common_words.txt").read_text("utf-8").split())


class Drafted(Protocol):
    """What the checks read of the state."""

    text: str
    similar: list[Solved]
    reply: str


def has_a_good_length(state: Drafted) -> bool | str:
    """A reply is longer than a shrug and shorter than a letter."""
    length = len(state.reply)
    return 40 <= length <= 400 or f"it has {length} characters, 40 to 400 are right"


def is_finished(state: Drafted) -> bool | str:
    """The model stopped by itself, at the end of a sentence."""
    return state.reply.endswith((".", "!", "?")) or "its last sentence is not finished"


def says_things_once(state: Drafted) -> bool | str:
    """Small models go round in circles."""
    sentences = Counter(s.strip().lower() for s in re.split(r"[.!?]", state.reply) if s.strip())
    again = next((s for s, times in sentences.items() if times > 1), None)
    return again is None or f"it says {again!r} more than once"


def speaks_as_support(state: Drafted) -> bool | str:
    """It is written to the customer, by the company."""
    found = MACHINE_TALK.search(state.reply)
    return found is None or f"it says {found.group()!r}; write to the customer as our support"


def is_about_the_ticket(state: Drafted) -> bool | str:
    """It takes up a word of the ticket."""
    asked = _stems(state.text)
    return not asked or bool(asked & _stems(state.reply)) or "it takes up no word of the ticket"


def invents_no_facts(state: Drafted) -> bool | str:
    """Each number, date, address and link is in the ticket or in a similar one's reply."""
    known = _facts(state.text).union(*(_facts(solved.reply) for solved in state.similar))
    invented = _facts(state.reply) - known
    return not invented or f"it invents {', '.join(sorted(invented))}"


def promises_nothing_new(state: Drafted) -> bool | str:
    """Refunds, discounts and gifts are promised only where a similar ticket's reply did."""
    known = set[str]().union(*(_promises(solved.reply) for solved in state.similar))
    new = _promises(state.reply) - known
    return not new or f"it promises what nobody has granted: {', '.join(sorted(new))}"


CHECKS = (
    has_a_good_length,
    is_finished,
    says_things_once,
    speaks_as_support,
    is_about_the_ticket,
    invents_no_facts,
    promises_nothing_new,
)


def _stems(text: str) -> set[str]:
    """The beginnings of the words that tell what a text is about."""
    return {word[:5] for word in re.findall(r"\w{4,}", text.lower()) if word not in COMMON}


def _facts(text: str) -> set[str]:
    return {fact.strip(".,:") for fact in FACTS.findall(text)}


def _promises(text: str) -> set[str]:
    return {word.lower() for word in PROMISES.findall(text)}
