"""The stores against a model of a few lines: any verbs in any order, crashes among them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.chaos import IS_FULL, amount
from tests.engine.shapes import many
from tests.machine.machine import StoreMachine


@pytest.mark.chaos
@pytest.mark.slow
def test_every_store_does_what_the_model_does(tell: Callable[[str], None]) -> None:
    """Whatever verbs come in whatever order, the stores give, refuse and read what they should."""
    examples = amount(40, 10_000)
    run_state_machine_as_test(StoreMachine, settings=many(examples, shrinks=IS_FULL))
    tell(f"state machine of the stores: {examples} examples of up to 50 verbs, as the model")
