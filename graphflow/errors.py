"""Every error graphflow raises, under one root, split by what the caller does next.

GraphflowError
  DefinitionError                 mend the graph
    InvalidGraphError               .problems: all of them at once
    TargetError                     the module, file or attribute that was named is not a graph
  StateError                      mend the state class, or what was put into it
    InputError                      the input of a run
    InvalidUpdateError              what a node returned: .node, .step, .field
    AssignmentError                 a node assigned to the state
    AnswerError                     an answer that does not fit its question: .field
  RunError                        look at the run, then resume it
    RunFailedError                  a node failed; the cause is the node's own error
    StepError                       the step's updates or decisions do not fit together
      ConflictError                   two tasks wrote one field
      RouterError                     a router raised, or answered what it may not
    NodeTimeoutError                a node took too long
    SubgraphError                   something failed in the child of a node: its cause
    CircuitOpenError                a node failed too often of late, and was not run
    RunExistsError                  the run id belongs to a run with another input
    RunNotFoundError                no run with this id, or several with this prefix
    RunBusyError                    another process is advancing the run
    RunSharedError                  the run cannot be deleted: another one needs it
    LeaseLostError                  another process has taken the run over
    RunOverError                    the run is done or cancelled: nobody can take it
    GraphChangedError               the run cannot go on with this graph: .verdict
      MigrationError                  its state does not fit this graph's (a StateError too)
      SecretMissingError              a secret of its state is not set here (a StateError too)
  CheckpointError                 look at the database
    NotADatabaseError               the file is something else
    DatabaseUnavailableError        locked, read-only, full, or gone
    WrongKeyError                   not the key of the database; or it needs one, or has none
    CheckpointCorruptError          what is stored is not what was written: .run_id, .step
    CheckpointTooLargeError         a stored value is too long, or nested too deep: .run_id, .step
  RenderError                     the drawing
    GraphvizMissingError            neither `dot` nor the wasm extra is there
  ModelError                      the chat model
    NoModelError                    neither an endpoint nor a local model is set up
    ModelUnavailableError           the server does not answer
    ModelAnswerError                the server answered, but not with what was asked for

Not among them, since no `except Exception` in a node may catch it:

PauseSignal                       a node's body stops here, and the run waits
  AskSignal                         for an answer
  BudgetSignal                      for a larger budget
"""

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "DAMAGED",
    "AnswerError",
    "AskSignal",
    "AssignmentError",
    "BudgetSignal",
    "CheckpointCorruptError",
    "CheckpointError",
    "CheckpointTooLargeError",
    "CircuitOpenError",
    "ConflictError",
    "DatabaseUnavailableError",
    "DefinitionError",
    "GraphChangedError",
    "GraphflowError",
    "GraphvizMissingError",
    "InputError",
    "InvalidGraphError",
    "InvalidUpdateError",
    "LeaseLostError",
    "MigrationError",
    "ModelAnswerError",
    "ModelError",
    "ModelUnavailableError",
    "NoModelError",
    "NodeTimeoutError",
    "NotADatabaseError",
    "PauseSignal",
    "RenderError",
    "RouterError",
    "RunBusyError",
    "RunError",
    "RunExistsError",
    "RunFailedError",
    "RunNotFoundError",
    "RunOverError",
    "RunSharedError",
    "SecretMissingError",
    "StateError",
    "StepError",
    "SubgraphError",
    "TargetError",
    "WrongKeyError",
    "did_you_mean",
    "failures",
    "text_of",
]

_MOST_SAID = 8


def did_you_mean(name: str, known: "Iterable[str]") -> str:
    """Say which known name was probably meant.

    Args:
        name: What was written.
        known: What exists.

    Returns:
        ` Did you mean 'topic'?`, or the known names, or nothing when there are none.
    """
    from difflib import get_close_matches  # 3 ms to import, and only errors need it

    names = sorted(set(known))
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f" Did you mean {near[0]!r}?"
    if not names:
        return ""
    shown = ", ".join(repr(n) for n in names[:12])
    return f" Known: {shown}{', ...' if len(names) > 12 else ''}."


def text_of(error: BaseException) -> str:
    """Give an error's words, whatever its own __str__ does; a group's with those of its parts."""
    try:
        words = str(error)
    except Exception as broken:  # noqa: BLE001 - the error's own __str__ fails: say that instead
        return f"(its text cannot be made: {type(broken).__name__})"
    if not isinstance(error, BaseExceptionGroup):
        return words
    parts = [(type(part).__name__, text_of(part)) for part in error.exceptions]
    return "; ".join([words, *(f"{name}: {text}" for name, text in parts if text not in words)])


def failures(errors: "Mapping[str, BaseException]") -> str:
    """Say what failed in each task; of many, in the first few.

    Args:
        errors: By task; "" when it was no task.
    """
    words = [
        f"{task}{task and ': '}{type(error).__name__}: {text_of(error)}"
        for task, error in islice(errors.items(), _MOST_SAID)
    ]
    more = len(errors) - len(words)
    return "; ".join([*words, f"and {more} more"] if more else words)


class GraphflowError(Exception):
    """The root of graphflow's errors."""


class DefinitionError(GraphflowError, ValueError):
    """The graph is not well defined."""


class InvalidGraphError(DefinitionError):
    """The graph has problems that compile() found; all of them are in `.problems`."""

    def __init__(self, message: str, problems: "Sequence[object]" = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class TargetError(DefinitionError):
    """What was named on the command line is not a graph."""


class StateError(GraphflowError, ValueError):
    """The state class cannot be a state, or a value does not fit it."""


class InputError(StateError):
    """The input of a run does not fit the state class."""


class InvalidUpdateError(StateError):
    """A node returned an update that the state does not allow."""

    def __init__(self, message: str, *, node: str = "", step: int = -1, field: str = "") -> None:
        super().__init__(message)
        self.node, self.step, self.field = node, step, field


class AssignmentError(StateError, AttributeError):
    """A node or router assigned to the state instead of returning an update."""


class AnswerError(StateError):
    """An answer does not fit its question, or there is no such question. The run waits on."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class RunError(GraphflowError, RuntimeError):
    """A run did not do what was asked of it."""


class RunFailedError(RunError):
    """A run failed. `.run` is the run; the cause is the error of the node itself."""

    def __init__(self, message: str, run: Any = None) -> None:
        super().__init__(message)
        self.run = run


class StepError(RunError):
    """A step cannot close: its updates or its decisions do not fit. No node runs again."""

    reason = "step"


class ConflictError(StepError):
    """Two tasks of one step wrote one field that has no reducer."""

    def __init__(self, message: str, *, field: str, tasks: "Sequence[str]") -> None:
        super().__init__(message)
        self.field, self.tasks = field, tuple(tasks)
        self.reason = f"conflict {field}: {', '.join(tasks)}"


class RouterError(StepError):
    """A router raised, or answered something it may not answer."""

    def __init__(self, message: str, *, source: str, short: str) -> None:
        super().__init__(message)
        self.source = source
        self.reason = f"router {source}: {short}"


class NodeTimeoutError(RunError, TimeoutError):
    """One execution of a node took longer than its timeout; what it returns later is dropped."""


class SubgraphError(RunError):
    """Something failed in the child of a node that is a graph; the cause is what failed."""


class CircuitOpenError(RunError):
    """The node's circuit breaker is open: it failed too often of late, and was not run."""


class RunExistsError(RunError):
    """A run with this id exists and began with another input."""


class RunNotFoundError(RunError, LookupError):
    """No run has this id, or several begin with it."""


class RunBusyError(RunError):
    """Another process is advancing this run.

    Attributes:
        holder: That process, as the records name it; None: it is this one.
        since: When it took the run, in UTC and ISO 8601.
    """

    def __init__(self, message: str, holder: str | None = None, since: str | None = None) -> None:
        super().__init__(message)
        self.holder, self.since = holder, since


class RunOverError(RunError):
    """The run is done or was cancelled: it cannot be taken."""


class RunSharedError(RunError):
    """The run cannot be deleted: a fork shares its steps, or it is a part of another run."""


class LeaseLostError(RunError):
    """Another process has taken this run over; what this one did last was not stored."""


class GraphChangedError(RunError):
    """The run was begun with another graph and cannot go on with this one.

    Attributes:
        verdict: What differs, and what to do; see `Verdict`.
    """

    def __init__(self, message: str, verdict: Any = None) -> None:
        super().__init__(message)
        self.verdict = verdict


class MigrationError(GraphChangedError, StateError):
    """The stored state does not fit today's state class: it needs a migration, or that failed."""


class SecretMissingError(GraphChangedError, StateError):
    """The graph is as it was, but a secret of the run's state is not set where it is to go on."""


class CheckpointError(GraphflowError):
    """The stored records cannot be read or written."""


class NotADatabaseError(CheckpointError):
    """The file is there, but it is not a database of graphflow."""


class DatabaseUnavailableError(CheckpointError):
    """The database is locked, read-only, full, or gone.

    Attributes:
        is_gone: It was closed, or deleted or replaced, while it was used.
    """

    def __init__(self, words: str, *, is_gone: bool = False) -> None:
        super().__init__(words)
        self.is_gone = is_gone


class WrongKeyError(CheckpointError):
    """The key is not that of the database, or is no key; or the database has none, or needs one."""


class CheckpointCorruptError(CheckpointError):
    """What is stored is not what was written."""

    def __init__(self, message: str, *, run_id: str = "", step: int = -1) -> None:
        super().__init__(message)
        self.run_id, self.step = run_id, step


class CheckpointTooLargeError(CheckpointError):
    """A stored value is longer, or nested deeper, than what may be read. It was not parsed."""

    def __init__(self, message: str, *, run_id: str = "", step: int = -1, column: str = "") -> None:
        super().__init__(message)
        self.run_id, self.step, self.column = run_id, step, column


DAMAGED: Final = (CheckpointCorruptError, CheckpointTooLargeError)  # of one run, not of others


class RenderError(GraphflowError):
    """A drawing could not be made."""


class GraphvizMissingError(RenderError):
    """Graphviz is not there; the message says how to get it."""


class ModelError(GraphflowError):
    """The chat model did not give what was asked for.

    Attributes:
        status: The HTTP status that the server refused with; None when no refusal came.
        retry_after: After how many seconds the server wants to be asked again; None when it did
            not say.
    """

    def __init__(
        self, *args: object, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(*args)
        self.status, self.retry_after = status, retry_after


class NoModelError(ModelError):
    """No chat model is set up."""


class ModelUnavailableError(ModelError, ConnectionError):
    """The server of the chat model does not answer."""


class ModelAnswerError(ModelError, ValueError):
    """The chat model answered, but not with what was asked for."""


class PauseSignal(BaseException):
    """Ends the body of a node, so that its run can wait. A body must let it through."""


class AskSignal(PauseSignal):
    """The body asks a question that has no answer yet."""

    def __init__(self, question: Any) -> None:
        super().__init__(f"question {question.id!r} has no answer yet")
        self.question = question


class BudgetSignal(PauseSignal):
    """A budget does not allow what the body is about to do."""

    def __init__(self, bound: str, words: str) -> None:
        super().__init__(f"{bound}: {words}")
        self.bound = bound
        """`calls`, `tokens` or `seconds`."""
