"""What is repeated after a failure, how often, and after how long."""

from __future__ import annotations

import errno
import http.client
import json
import socket
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar
from urllib.request import urlopen

import httpx
import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from graphflow.errors import (
    CircuitOpenError,
    DatabaseUnavailableError,
    InvalidUpdateError,
    ModelAnswerError,
    ModelError,
    ModelUnavailableError,
    NodeTimeoutError,
    NoModelError,
)
from graphflow.retry import Retry, is_transient


class Answered(Exception):
    """Carries what clients' errors carry."""

    def __init__(self, **carried: Any) -> None:
        super().__init__("answered")
        self.__dict__.update(carried)


class Response:
    def __init__(self, status: int, **headers: str) -> None:
        self.status_code = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def carrying(error: Exception, **carried: Any) -> Exception:
    """Give an error more to carry."""
    error.__dict__.update(carried)
    return error


def of_httpx(status: int) -> httpx.HTTPStatusError:
    """Make the error of httpx's raise_for_status."""
    request = httpx.Request("GET", "http://127.0.0.1/")
    return httpx.HTTPStatusError(
        "no", request=request, response=httpx.Response(status, request=request)
    )


def foreign(module: str, *names: str) -> Exception:
    """Make an error as a client library that is not installed here would raise it."""
    cls: type = OSError
    for name in names:
        cls = type(name, (cls,), {"__module__": f"{module}.exceptions"})
    error: Exception = cls("failed")
    return error


def invalid() -> ValidationError:
    """Make pydantic's own error."""

    class State(BaseModel):
        n: int

    with pytest.raises(ValidationError) as caught:
        State.model_validate({"n": "x"})
    return caught.value


TRANSIENT: dict[str, Exception] = {
    "a timeout": TimeoutError(),
    "a timeout of a socket": socket.timeout(),  # noqa: UP041 - that it is one is the point
    "a timeout of the node": NodeTimeoutError("30 s"),
    "a refused connection": ConnectionRefusedError(),
    "a reset connection": ConnectionResetError(),
    "a connection closed early": http.client.RemoteDisconnected(),
    "an unreachable network": OSError(errno.ENETUNREACH, "unreachable"),
    "a name server that is away": socket.gaierror(socket.EAI_AGAIN, "try again"),
    "urllib's refused connection": urllib.error.URLError(ConnectionRefusedError()),
    "httpx's connect error": httpx.ConnectError("refused"),
    "httpx's read timeout": httpx.ReadTimeout("slow"),
    "httpx's broken answer": httpx.RemoteProtocolError("cut off"),
    "httpx's 503": of_httpx(503),
    "requests' connection error": foreign("requests", "RequestException", "ConnectionError"),
    "requests' timeout": foreign("requests", "RequestException", "Timeout", "ReadTimeout"),
    "openai's connection error": foreign("openai", "APIConnectionError"),
    "status 408": Answered(status=408),
    "status 425": Answered(status_code=425),
    "status 429": Answered(code=429),
    "status 500 in the response": Answered(response=Response(500)),
    "status 599": Answered(status=599),
    "a model that is away": ModelUnavailableError("refused"),
    "a model's 503": carrying(ModelError("no"), status=503),
    "a model's answer of 429": carrying(ModelAnswerError("busy"), status=429),
    "a group of such": ExceptionGroup(
        "", [TimeoutError(), ExceptionGroup("", [Answered(status=503)])]
    ),
}
LASTING: dict[str, Exception] = {
    "a wrong value": ValueError("x"),
    "a wrong type": TypeError("x"),
    "a missing key": KeyError("x"),
    "a missing attribute": AttributeError("x"),
    "a broken promise": AssertionError("x"),
    "a wrong value with a status": carrying(ValueError("x"), status=503),
    "pydantic's error": invalid(),
    "bad JSON": json.JSONDecodeError("x", "{", 0),
    "a missing file": FileNotFoundError(errno.ENOENT, "gone"),
    "no permission": PermissionError(errno.EACCES, "no"),
    "a full disk": OSError(errno.ENOSPC, "full"),
    "a name that does not exist": socket.gaierror(socket.EAI_NONAME, "unknown"),
    "urllib's wrong URL": urllib.error.URLError("unknown url type"),
    "any other error": RuntimeError("x"),
    "status 400": Answered(status=400),
    "status 401 of a connection": carrying(ConnectionError(), status_code=401),
    "requests' 404": carrying(foreign("requests", "HTTPError"), response=Response(404)),
    "httpx's 404": of_httpx(404),
    "httpx's redirect": of_httpx(301),
    "httpx's wrong URL": httpx.UnsupportedProtocol("no scheme"),
    "requests' certificate": foreign("requests", "ConnectionError", "SSLError"),
    "status True": Answered(status=True),
    "a code that is no status": Answered(code=7),
    "a code in words": Answered(code="rate_limit"),
    "a circuit that is open": CircuitOpenError("left alone"),
    "a wrong update": InvalidUpdateError("x"),
    "a database that is away": DatabaseUnavailableError("locked"),
    "no model": NoModelError("x"),
    "an answer that is none": ModelAnswerError("not JSON"),
    "a model's 401": carrying(ModelUnavailableError("no"), status=401),
    "a group with one that lasts": ExceptionGroup("", [TimeoutError(), KeyError("x")]),
}


@pytest.mark.parametrize("name", TRANSIENT)
def test_what_may_go_away_is_repeated(name: str) -> None:
    """Timeouts, failed connections, busy servers: under every usual name."""
    assert is_transient(TRANSIENT[name])
    assert Retry().delay(TRANSIENT[name], 1, 0.1) is not None


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_is_not_repeated(name: str) -> None:
    """Faults of the program, 4xx, the rest of the system's errors and graphflow's own."""
    assert not is_transient(LASTING[name])
    assert Retry().delay(LASTING[name], 1, 0.1) is None


class Server(BaseHTTPRequestHandler):
    headers_sent: ClassVar[dict[str, str]] = {"Retry-After": "7"}

    def do_GET(self) -> None:
        self.send_response(int(self.path[1:]))
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    """Start a server that answers `/404` with 404."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as made:
        thread = Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "repeated"), [(404, False), (503, True), (429, True)])
def test_real_answers_are_judged_by_their_status(
    server: str, status: int, *, repeated: bool
) -> None:
    """A real answer through urllib and httpx; its Retry-After is kept."""
    with pytest.raises(urllib.error.HTTPError) as by_urllib:
        urlopen(f"{server}/{status}")
    by_urllib.value.close()
    with pytest.raises(httpx.HTTPStatusError) as by_httpx:
        httpx.get(f"{server}/{status}").raise_for_status()
    delays = [Retry(wait=1).delay(error.value, 1, 0.1) for error in (by_urllib, by_httpx)]

    assert delays == ([7.0, 7.0] if repeated else [None, None])


def test_a_refused_connection_is_repeated() -> None:
    """A real one: nobody listens on a port that was just closed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(httpx.ConnectError) as caught:
        httpx.get(f"http://127.0.0.1:{port}/")

    assert is_transient(caught.value)


@given(attempt=st.integers(1, 5000))
def test_the_default_wait_doubles_up_to_a_minute(attempt: int) -> None:
    """Half a second, one, two, ...: a quarter more or less, never more than a minute."""
    delay = Retry(attempts=10_000).delay(TimeoutError(), attempt, 1.0)

    assert delay is not None
    middle = min(60.0, 0.5 * 2.0 ** min(attempt - 1, 10))
    assert 0.75 * middle <= delay <= min(60.0, 1.25 * middle)


def test_the_default_wait_is_spread() -> None:
    """Nodes that failed together do not come back together."""
    assert len({Retry().delay(TimeoutError(), 1, 0.1) for _ in range(20)}) > 10


@pytest.mark.parametrize("attempts", [1, 2, 3, 7])
def test_attempts_count_the_first_execution(attempts: int) -> None:
    """`attempts=3` is one execution and two repeats."""
    retry = Retry(attempts=attempts, wait=0)

    delays = [retry.delay(TimeoutError(), n, 0.0) for n in range(1, attempts + 2)]
    assert delays == [0.0] * (attempts - 1) + [None, None]
    assert retry.repeats == (attempts > 1)


NOW = 1_700_000_000.0
IN_9_S = format_datetime(datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=9), usegmt=True)
A_MINUTE_AGO = format_datetime(datetime.fromtimestamp(NOW, UTC) - timedelta(minutes=1), usegmt=True)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Answered(status=429, retry_after=5), 5),
        (Answered(status=429, retry_after=1.5), 2),
        (Answered(status=429, retry_after="12"), 12),
        (Answered(status=429, retry_after=float("nan")), 2),
        (Answered(status=429, retry_after=-3), 2),
        (Answered(status=429, retry_after=None, response=Response(429, Retry_After="8")), 8),
        (Answered(response=Response(429, Retry_After="8")), 8),
        (Answered(response=Response(429, retry_after="8")), 8),
        (Answered(response=Response(503, Retry_After=IN_9_S)), 9),
        (Answered(response=Response(503, Retry_After=A_MINUTE_AGO)), 2),
        (Answered(response=Response(503, Retry_After="soon")), 2),
        (Answered(response=Response(503, Retry_After="")), 2),
        (Answered(response=Response(503)), 2),
        (Answered(status=503, response="no response"), 2),
        (ExceptionGroup("", [TimeoutError(), Answered(status=429, retry_after=6)]), 6),
        (Answered(status=429, retry_after=3600), 3600),
        (Answered(status=429, retry_after=3601), None),
        (Answered(status=429, retry_after="inf"), None),
    ],
)
def test_a_servers_retry_after_is_the_least(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: float | None
) -> None:
    """Seconds or a date, on the error or in its response; what cannot be read asks for nothing."""
    monkeypatch.setattr(time, "time", lambda: NOW)

    assert Retry(wait=2).delay(error, 1, 0.1) == expected


def test_retry_after_binds_the_default_wait_too() -> None:
    """It is a lower bound, not the wait itself."""
    error = Answered(status=429, retry_after=4)

    assert Retry(attempts=99).delay(error, 1, 0.1) == 4.0
    later = Retry(attempts=99).delay(error, 8, 0.1)
    assert later is not None
    assert later > 40


def test_an_own_wait_object_has_the_last_word() -> None:
    """Who passes one has said how long to wait."""
    error = Answered(status=429, retry_after=50)

    assert Retry(wait=tenacity.wait_fixed(3)).delay(error, 1, 0.1) == 3.0


@pytest.mark.parametrize(
    ("wait", "low", "high"),
    [
        (tenacity.wait_fixed(timedelta(seconds=3)), 3, 3),
        (tenacity.wait_none(), 0, 0),
        (tenacity.wait_exponential_jitter(initial=1, max=30, jitter=0.5), 4, 4.5),
        (tenacity.wait_exponential(multiplier=1, max=100), 4, 4),
        (tenacity.wait_random_exponential(multiplier=1, max=100), 0, 4),
        (tenacity.wait_incrementing(start=1, increment=2), 5, 5),
        (tenacity.wait_chain(*map(tenacity.wait_fixed, (7, 8, 9, 10))), 9, 9),
        (tenacity.wait_fixed(1) + tenacity.wait_random(0, 1), 1, 2),
        (lambda state: state.attempt_number * state.seconds_since_start, 30, 30),
        (lambda state: len(str(state.outcome.exception())), 4, 4),
        (lambda state: -1, 0, 0),
    ],
)
def test_tenacitys_waits(wait: Any, low: float, high: float) -> None:
    """Each is asked with the number of the attempt, the time, and the error (here: 3, 10 s)."""
    delay = Retry(attempts=9, wait=wait).delay(TimeoutError("late"), 3, 10.0)

    assert delay is not None
    assert low <= delay <= high


AFTER_5 = tenacity.stop_after_attempt(5)


@pytest.mark.parametrize(
    ("stop", "goes_on", "ends"),
    [
        (AFTER_5, (4, 99.0), (5, 0.0)),
        (tenacity.stop_after_delay(60), (99, 59.9), (1, 60.0)),
        (tenacity.stop_before_delay(60), (99, 57.9), (1, 58.1)),
        (AFTER_5 | tenacity.stop_after_delay(60), (4, 59.0), (1, 61.0)),
        (AFTER_5 & tenacity.stop_after_delay(60), (9, 59.0), (5, 61.0)),
        (lambda state: state.attempt_number >= 4, (3, 0.0), (4, 0.0)),
    ],
)
def test_tenacitys_stops(stop: Any, goes_on: tuple[int, float], ends: tuple[int, float]) -> None:
    """They replace `attempts`; stop_before_delay counts the wait that is to come."""
    retry = Retry(attempts=1, wait=2, stop=stop)

    assert retry.repeats
    assert retry.delay(TimeoutError(), *goes_on) == 2.0
    assert retry.delay(TimeoutError(), *ends) is None


def test_stop_never_goes_on() -> None:
    """It is the class's only object."""
    retry = Retry(wait=1, stop=tenacity.stop_never)

    assert retry.delay(TimeoutError(), 1000, 1e6) == 1.0


def is_busy(error: Exception) -> bool:
    """Judge an error by its words."""
    return "busy" in str(error)


BUSY = tenacity.retry_if_exception(is_busy)


def caused() -> Exception:
    """Make an error that another one caused."""
    error = RuntimeError("x")
    error.__cause__ = KeyError("busy")
    return error


@pytest.mark.parametrize(
    ("on", "error", "repeated"),
    [
        (ValueError, ValueError(), True),
        (ValueError, UnicodeError(), True),
        (ValueError, TimeoutError(), False),
        ([ValueError, KeyError], KeyError(), True),
        ((ValueError,), KeyError(), False),
        ({ValueError, KeyError}, KeyError(), True),
        (ValueError, ExceptionGroup("", [ValueError(), ValueError()]), True),
        (ValueError, ExceptionGroup("", [ValueError(), KeyError()]), False),
        (ExceptionGroup, ExceptionGroup("", [KeyError()]), True),
        (is_busy, RuntimeError("busy"), True),
        (is_busy, TimeoutError("late"), False),
        (lambda error: None, TimeoutError(), False),
        (tenacity.retry_if_exception_type(KeyError), KeyError(), True),
        (tenacity.retry_if_exception_type((KeyError, OSError)), ValueError(), False),
        (tenacity.retry_if_not_exception_type(KeyError), ValueError(), True),
        (tenacity.retry_unless_exception_type(KeyError), ValueError(), True),
        (tenacity.retry_if_exception_message(match=".*busy"), RuntimeError("is busy"), True),
        (tenacity.retry_if_exception_message(message="busy"), RuntimeError("is busy"), False),
        (tenacity.retry_if_not_exception_message(message="busy"), RuntimeError("no"), True),
        (tenacity.retry_if_exception_cause_type(KeyError), caused(), True),
        (tenacity.retry_if_exception_cause_type(KeyError), RuntimeError(), False),
        (BUSY, RuntimeError("busy"), True),
        (BUSY | tenacity.retry_if_exception_type(KeyError), KeyError(), True),
        (BUSY & tenacity.retry_if_exception_type(KeyError), KeyError(), False),
        (tenacity.retry_always, KeyError(), True),
        (tenacity.retry_never, TimeoutError(), False),
        (tenacity.retry_if_result(lambda result: True), TimeoutError(), False),
        (tenacity.retry_if_not_result(lambda result: False), TimeoutError(), False),
    ],
)
def test_on_says_what_is_repeated(on: Any, error: Exception, *, repeated: bool) -> None:
    """Classes, predicates and tenacity's objects replace the default."""
    assert Retry(wait=1, on=on).delay(error, 1, 0.1) == (1.0 if repeated else None)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"attempts": 0}, ValueError, "attempts=0.* at least 1"),
        ({"attempts": 2.5}, TypeError, "whole number"),
        ({"attempts": True}, TypeError, "whole number"),
        ({"wait": -1}, ValueError, "wait=-1.* 0 or more"),
        ({"wait": float("nan")}, ValueError, "wait=nan"),
        ({"wait": float("inf")}, ValueError, "wait=inf"),
        ({"wait": "2"}, TypeError, "a number of seconds, or a tenacity wait object"),
        ({"wait": True}, TypeError, "a number of seconds"),
        ({"wait": tenacity.wait_fixed}, TypeError, "not the class wait_fixed"),
        ({"wait": tenacity.stop_after_attempt(3)}, TypeError, "tenacity wait object"),
        ({"stop": 3}, TypeError, "a tenacity stop object"),
        ({"stop": tenacity.wait_fixed(3)}, TypeError, "a tenacity stop object"),
        ({"stop": tenacity.stop_after_delay}, TypeError, "not the class stop_after_delay"),
        ({"on": []}, ValueError, "repeat nothing"),
        ({"on": 404}, TypeError, "a class of exceptions, several"),
        ({"on": "ValueError"}, TypeError, "a class of exceptions, several"),
        ({"on": int}, TypeError, "<class 'int'> is no class of exceptions"),
        ({"on": KeyboardInterrupt}, TypeError, "KeyboardInterrupt'> is no class of exceptions"),
        ({"on": [ValueError, ValueError("x")]}, TypeError, "is no class of exceptions"),
        ({"on": tenacity.wait_fixed(1)}, TypeError, "a class of exceptions, several"),
        ({"on": tenacity.asyncio.retry_if_exception(None)}, TypeError, "several"),
    ],
)
def test_wrong_arguments_are_refused(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    """Where they are written, and with what to write."""
    with pytest.raises(error, match=words):
        Retry(**options)


def test_a_wait_that_never_ends_is_refused() -> None:
    """Only the wait object itself knows what it answers."""
    with pytest.raises(ValueError, match="answered inf seconds"):
        Retry(wait=lambda state: float("inf")).delay(TimeoutError(), 1, 0.1)


def test_equal_policies_are_equal() -> None:
    """They are data: frozen, with hashes."""
    one, other = Retry(on=[ValueError]), Retry(on=(ValueError,))

    assert one == other
    assert hash(one) == hash(other)
    with pytest.raises(AttributeError):
        one.attempts = 5  # type: ignore[misc]  # that is what is refused


def test_the_default_policy_loads_no_library() -> None:
    """Neither tenacity, nor httpx, nor asyncio: a failing node of a plain call stays quick."""
    code = (
        "import sys; from graphflow.retry import Retry\n"
        "class Busy(Exception): status, retry_after = 429, 'Fri, 01 Jan 2100 00:00:00 GMT'\n"
        "assert Retry(on=lambda e: True, wait=1).delay(TimeoutError(), 1, 0) == 1\n"
        "Retry().delay(Busy(), 1, 0); Retry().delay(OSError(), 1, 0)\n"
        "print({'tenacity', 'httpx', 'asyncio'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
