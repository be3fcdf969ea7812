"""Refusals know what a retry needs: the status, and how long to wait."""

import pickle
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphflow.errors import ModelAnswerError, ModelError, ModelUnavailableError, NoModelError
from graphflow.llm.refusal import refused, seconds_until

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("20", 20.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("Sun, 22 Nov 2026 12:01:30 GMT", 90.0),
        ("Sunday, 22-Nov-26 12:01:30 GMT", 90.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2026 14:00:10 +0200", 10.0),
        ("Sun, 22 Nov 2026 12:00:10 -0000", 10.0),
        ("", None),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    """Both forms of HTTP are seconds from now; the past is 0, and what cannot be read None."""
    assert seconds_until(header, NOW) == seconds


@given(st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,6} \w{3} [0-9 :+-]{0,20}"))
def test_no_header_is_too_odd(header):
    """Whatever a server sends as Retry-After, it is seconds or nothing."""
    seconds = seconds_until(header, NOW)
    assert seconds is None or seconds >= 0.0


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 529])
def test_what_passes_is_unavailable_with_its_status(status):
    """A predicate can tell by .status; .retry_after is in seconds."""
    error = refused("http://x", status, "Busy", "later", "20")
    assert isinstance(error, ModelUnavailableError)
    assert (error.status, error.retry_after) == (status, 20.0)
    assert str(error) == f"http://x answered {status} Busy: 'later'. Retry after 20."


@pytest.mark.parametrize("status", [307, 400, 401, 404, 422])
def test_what_does_not_pass_has_its_status_too(status):
    """Other statuses are ModelAnswerErrors."""
    error = refused("http://x", status, "No", "never", None)
    assert isinstance(error, ModelAnswerError)
    assert (error.status, error.retry_after) == (status, None)


def test_a_date_counts_from_now():
    """A date in the header is read by this machine's clock."""
    date = datetime.now(UTC) + timedelta(seconds=60)
    error = refused("http://x", 503, "", "", date.strftime("%a, %d %b %Y %H:%M:%S GMT"))
    assert 50 < error.retry_after <= 60


@pytest.mark.parametrize(
    "kind", [ModelError, ModelAnswerError, ModelUnavailableError, NoModelError]
)
def test_errors_without_a_status_say_none(kind):
    """Where no server refused there is no status; errors survive pickling with what they know."""
    assert (kind("x").status, kind("x").retry_after) == (None, None)
    copy = pickle.loads(pickle.dumps(kind("x", status=429, retry_after=1.5)))  # noqa: S301 - ours
    assert (str(copy), copy.status, copy.retry_after) == ("x", 429, 1.5)
