"""Each check of the gate passes what it should, and says why it does not."""

from dataclasses import dataclass, field

import pytest

from graphs import reply_checks as checks
from graphs.solved import Solved, read_solved
from graphs.support_triage import SOLVED, TEMPLATES

SHOWN = [
    Solved(text="x", topic="billing", reply="We refund 4.50 within 5 days: https://a.example/x")
]


@dataclass
class Drafted:
    reply: str
    text: str = "You charged me 29,90 twice on the 3rd for my plants"
    similar: list[Solved] = field(default_factory=lambda: list(SHOWN))


@pytest.mark.parametrize(
    ("check", "reply", "reason"),
    [
        (checks.has_a_good_length, "No.", "it has 3 characters"),
        (checks.has_a_good_length, "word " * 100, "it has 500 characters"),
        (checks.is_finished, "We look into it and", "not finished"),
        (checks.is_finished, "", "not finished"),
        (checks.says_things_once, "I am sorry. It is so. I'm fine. It is so!", "'it is so'"),
        (checks.speaks_as_support, "As an AI language model I cannot.", "'AI'"),
        (checks.speaks_as_support, "The plants of the customer are dry, tell the customer.", "the"),
        (checks.is_about_the_ticket, "Please restart your hub.", "no word of the ticket"),
        (checks.invents_no_facts, "You get $20 back, 5% more on Friday.", "$20, 5%, Friday"),
        (checks.invents_no_facts, "See https://b.example/y or write to us@b.example.", "b.example"),
        (checks.promises_nothing_new, "Here is a voucher and a Discount.", "discount, voucher"),
    ],
)
def test_a_bad_reply_is_refused_with_the_reason(check, reply, reason):
    """What is wrong is told in words that the next draft can use."""
    said = check(Drafted(reply))
    assert isinstance(said, str)
    assert reason in said


@pytest.mark.parametrize("check", checks.CHECKS)
def test_a_good_reply_passes_every_check(check):
    """Facts and promises of the ticket or of a similar reply may be repeated."""
    good = "Sorry that you were charged twice on the 3rd. We refund the 29,90 within 5 days."
    assert check(Drafted(good)) is True


@pytest.mark.parametrize("check", checks.CHECKS)
def test_no_check_trips_over_an_empty_state(check):
    """An empty reply to a ticket without words, with nothing similar, is judged, not an error."""
    said = check(Drafted("", text="?", similar=[]))
    assert said is True or (isinstance(said, str) and said)


def test_replies_of_people_pass():
    """The solved tickets' own replies pass; some answer in other words than those of the ticket."""
    for one in read_solved(SOLVED):
        state = Drafted(one.reply, text=one.text, similar=[one])
        failed = [check.__name__ for check in checks.CHECKS if check(state) is not True]
        assert set(failed) <= {"is_about_the_ticket"}, (one.reply, failed)


@pytest.mark.parametrize("words", TEMPLATES.values())
def test_templates_are_as_good_as_a_draft_has_to_be(words):
    """What goes out when tries run out is finished, of a good length, and grants nothing."""
    state = Drafted(words, similar=[])
    for check in (c for c in checks.CHECKS if c is not checks.is_about_the_ticket):
        assert check(state) is True
