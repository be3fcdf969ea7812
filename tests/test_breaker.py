"""A circuit breaker leaves a node alone that keeps failing, and tries it again after a while."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from graphflow.breaker import CircuitBreaker
from graphflow.errors import CircuitOpenError
from graphflow.retry import is_transient


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(failures: int = 3, cool_down: float = 30.0) -> tuple[CircuitBreaker, Clock]:
    """Make a breaker that has just opened."""
    clock = Clock()
    breaker = CircuitBreaker(failures, cool_down, clock=clock)
    for _ in range(failures):
        breaker.admit()
        breaker.failed(TimeoutError())
    return breaker, clock


def test_failures_in_a_row_open_it() -> None:
    """The last of them; until then everything is let through."""
    breaker = CircuitBreaker(failures=3)
    for _ in range(2):
        breaker.admit()
        breaker.failed(TimeoutError())
    assert breaker.state == "closed"

    breaker.admit()
    breaker.failed(ConnectionError())
    assert breaker.state == "open"
    with pytest.raises(CircuitOpenError):
        breaker.admit()


def test_a_success_breaks_the_row() -> None:
    """Only failures in a row count."""
    breaker = CircuitBreaker(failures=2)
    for _ in range(10):
        breaker.admit()
        breaker.failed(TimeoutError())
        breaker.admit()
        breaker.succeeded()

    assert breaker.state == "closed"


@pytest.mark.parametrize(
    ("failures", "words"),
    [
        (1, "the node is left alone: it failed once, last with TimeoutError; it is tried again"),
        (3, "it failed 3 times in a row, last with TimeoutError; it is tried again in 12.5 s"),
    ],
)
def test_the_refusal_says_what_happened(failures: int, words: str) -> None:
    """How often it failed, with what, and when it is tried again."""
    breaker, clock = opened(failures)
    clock.now += 17.5

    with pytest.raises(CircuitOpenError, match=words):
        breaker.admit()


def test_a_refusal_is_not_repeated_by_a_retry() -> None:
    """Or the retries would be used up while the node is left alone."""
    breaker, _ = opened()
    with pytest.raises(CircuitOpenError) as caught:
        breaker.admit()

    assert not is_transient(caught.value)


def test_one_probe_is_let_through_when_it_has_cooled_down() -> None:
    """All others are refused until the probe has ended."""
    breaker, clock = opened(cool_down=30)
    clock.now += 29.9
    assert breaker.state == "open"
    clock.now += 0.1
    assert breaker.state == "half-open"

    breaker.admit()
    for _ in range(3):
        assert breaker.state == "half-open"
        with pytest.raises(CircuitOpenError, match="one execution is trying it again now"):
            breaker.admit()


def test_a_probe_that_succeeds_closes_it() -> None:
    """And the row begins anew."""
    breaker, clock = opened(failures=2, cool_down=30)
    clock.now += 30
    breaker.admit()
    breaker.succeeded()

    assert breaker.state == "closed"
    breaker.admit()
    breaker.failed(TimeoutError())
    assert breaker.state == "closed"


def test_a_probe_that_fails_opens_it_again() -> None:
    """For another whole cool-down."""
    breaker, clock = opened(cool_down=30)
    clock.now += 45
    breaker.admit()
    breaker.failed(ValueError())

    assert breaker.state == "open"
    with pytest.raises(CircuitOpenError, match=r"4 times in a row, last with ValueError.* 30\.0 s"):
        breaker.admit()
    clock.now += 30
    breaker.admit()


def test_an_abandoned_probe_gives_its_place_back() -> None:
    """A cancelled or paused execution says nothing of the node."""
    breaker, clock = opened()
    clock.now += 30
    breaker.admit()
    breaker.abandoned()

    assert breaker.state == "half-open"
    breaker.admit()


def test_an_abandoned_execution_neither_counts_nor_breaks_the_row() -> None:
    """Not while it is closed, and not while it is open."""
    breaker = CircuitBreaker(failures=2)
    breaker.admit()
    breaker.failed(TimeoutError())
    breaker.admit()
    breaker.abandoned()
    assert breaker.state == "closed"
    breaker.failed(TimeoutError())
    assert breaker.state == "open"
    breaker.abandoned()
    assert breaker.state == "open"


def test_executions_that_began_before_it_opened() -> None:
    """A late failure does not lengthen the cool-down; a late success shows that it works again."""
    breaker, clock = opened(failures=2, cool_down=30)
    clock.now += 20
    breaker.failed(TimeoutError())
    clock.now += 10
    assert breaker.state == "half-open"

    breaker, clock = opened(failures=2)
    breaker.succeeded()
    assert breaker.state == "closed"


def test_without_a_cool_down_each_execution_is_a_probe() -> None:
    """`cool_down=0` still lets one through at a time."""
    breaker, _ = opened(cool_down=0)
    assert breaker.state == "half-open"
    breaker.admit()
    with pytest.raises(CircuitOpenError):
        breaker.admit()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"failures": 0}, ValueError, "failures=0.* at least 1"),
        ({"failures": 2.0}, TypeError, "whole number"),
        ({"failures": True}, TypeError, "whole number"),
        ({"cool_down": -1}, ValueError, "cool_down=-1.* 0 or more"),
        ({"cool_down": float("inf")}, ValueError, "cool_down=inf"),
        ({"cool_down": "30"}, TypeError, "number of seconds"),
        ({"clock": 12.0}, TypeError, "a function"),
    ],
)
def test_wrong_arguments_are_refused(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    """Where they are written."""
    with pytest.raises(error, match=words):
        CircuitBreaker(**options)


def test_it_reads_as_what_it_is() -> None:
    """Its numbers, and what it does now."""
    breaker, _ = opened()

    assert repr(breaker) == "CircuitBreaker(failures=3, cool_down=30: open)"


class BesideAModel(RuleBasedStateMachine):
    """Holds a breaker against a model of it: the events since the last success, and a clock."""

    @initialize(failures=st.integers(1, 4), cool_down=st.integers(0, 5))
    def start(self, failures: int, cool_down: int) -> None:
        """Make both."""
        self.failures, self.cool_down, self.clock = failures, cool_down, Clock()
        self.breaker = CircuitBreaker(failures, cool_down, clock=self.clock)
        self.row = 0
        self.open_until: float | None = None
        self.probe = False

    @rule(seconds=st.integers(0, 6))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.clock.now += seconds

    @rule()
    def admit(self) -> None:
        """Let an execution begin, if it may."""
        cooled = self.open_until is not None and self.clock.now >= self.open_until
        if self.open_until is None or (cooled and not self.probe):
            self.breaker.admit()
            self.probe = cooled
        else:
            with pytest.raises(CircuitOpenError):
                self.breaker.admit()

    @rule()
    def succeed(self) -> None:
        """End an execution well."""
        self.breaker.succeeded()
        self.row, self.open_until, self.probe = 0, None, False

    @rule()
    def fail(self) -> None:
        """End an execution badly."""
        self.breaker.failed(TimeoutError())
        self.row += 1
        if self.probe or (self.open_until is None and self.row >= self.failures):
            self.open_until, self.probe = self.clock.now + self.cool_down, False

    @rule()
    def abandon(self) -> None:
        """End an execution without a result."""
        self.breaker.abandoned()
        self.probe = False

    @invariant()
    def says_the_same(self) -> None:
        """The state is the model's."""
        if not hasattr(self, "breaker"):
            return
        cooled = self.open_until is not None and self.clock.now >= self.open_until
        expected = "closed" if self.open_until is None else "half-open" if cooled else "open"
        assert self.breaker.state == expected


TestBesideAModel = BesideAModel.TestCase
TestBesideAModel.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_threads_lose_no_failure() -> None:
    """Eight threads fail 1,000 times each: exactly the last failure opens it."""
    breaker = CircuitBreaker(failures=8_001)

    def fail_often(_: int) -> None:
        for _ in range(1_000):
            breaker.admit()
            breaker.failed(TimeoutError())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fail_often, range(8)))
    assert breaker.state == "closed"
    breaker.failed(TimeoutError())
    assert breaker.state == "open"


def test_threads_get_one_probe() -> None:
    """Of eight that ask at once, each time exactly one is let through."""
    breaker, clock = opened(cool_down=1)
    together = threading.Barrier(8)

    def ask(_: int) -> bool:
        together.wait(timeout=10)
        try:
            breaker.admit()
        except CircuitOpenError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        for _ in range(50):
            clock.now += 1
            assert sum(pool.map(ask, range(8))) == 1
            breaker.failed(TimeoutError())
