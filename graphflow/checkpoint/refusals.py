"""What every store refuses, in the same words."""

from collections.abc import Callable, Sequence

from graphflow.checkpoint.owner import describe, is_alive
from graphflow.checkpoint.protocol import Lease
from graphflow.clock import now
from graphflow.errors import (
    AnswerError,
    CheckpointCorruptError,
    CheckpointError,
    InputError,
    LeaseLostError,
    RunBusyError,
    RunError,
    RunExistsError,
    RunNotFoundError,
    RunOverError,
    RunSharedError,
)
from graphflow.names import to_type
from graphflow.records import Ending, QuestionRecord, RunHeader, RunStatus

__all__ = [
    "answered_already",
    "check_answer",
    "check_family",
    "check_free",
    "check_idle",
    "check_open",
    "check_prefix",
    "corrupt",
    "how_it_ends",
    "lost",
    "never_asked",
    "not_committed",
    "not_found",
    "not_the_last",
    "of_a_family",
    "out_of_order",
    "parent_went_on",
    "part_of",
    "pruned",
    "run_exists",
    "still_shared",
    "the_one",
]


def run_exists(run_id: str) -> RunExistsError:
    """Refuse to begin a run under an id that is taken."""
    return RunExistsError(
        f"run {run_id!r} exists already. Take another run_id, or none to have one made; "
        f"resume({run_id!r}) goes on with the run that is there."
    )


def not_found(run_id: str, where: str) -> RunNotFoundError:
    """Say that a run is not there.

    Args:
        run_id: What was asked for.
        where: The store, in words.
    """
    return RunNotFoundError(
        f"there is no run {run_id!r} in {where}; `graphflow runs` lists those that are there."
    )


def check_prefix(prefix: object) -> None:
    """Refuse what is no run id, nor the beginning of one.

    Raises:
        InputError: It is no str, or empty: every id begins so, also that of the only run.
    """
    if prefix == "":
        raise InputError("'' is no run id; `graphflow runs` lists those that are there")
    if not isinstance(prefix, str):
        own = getattr(prefix, "run_id", None)
        words = "pass a run id, which is a str" if own is None else f"pass its id, {own!r}"
        raise InputError(f"{prefix!r:.60} is no run id; {words}")


def the_one(prefix: str, found: Sequence[str], where: str) -> str:
    """Pick the run that was meant.

    Args:
        prefix: What was given for its id.
        found: Some of the ids that begin with it, at least two when there are several.
        where: The store, in words.

    Returns:
        The id that is the prefix itself, else the only one.

    Raises:
        RunNotFoundError: None begins with it, or several do.
    """
    if not found:
        raise not_found(prefix, where)
    if prefix in found:
        return prefix
    if len(found) > 1:
        shown = ", ".join(found[:10]) + (", ..." if len(found) > 10 else "")
        raise RunNotFoundError(
            f"several runs in {where} begin with {prefix!r}: {shown}. Type more of the id."
        )
    return found[0]


def check_free(
    header: RunHeader,
    owner: str,
    since: str | None,
    lives: Callable[[str], bool] = is_alive,
) -> None:
    """Check that a process may take a run.

    Args:
        header: The run as it stands.
        owner: Who wants it.
        since: When the one who has it took it.
        lives: Tells whether an owner lives.

    Raises:
        RunOverError: It is done or cancelled.
        RunBusyError: Another process that lives advances it.
    """
    if header.status in ("done", "cancelled"):
        raise RunOverError(
            f"run {header.run_id!r} is {header.status} already and was not taken; look at it with "
            f"{to_type('show', header.run_id)}, or fork it to go another way."
        )
    holder = header.owner
    if header.status != "running" or holder is None or holder == owner or not lives(holder):
        return
    raise RunBusyError(
        f"run {header.run_id!r} is being advanced by {describe(holder)} since {since}. Wait until "
        "it is done, or end that process: then the run can be resumed at once. If it hangs, "
        f"resume({header.run_id!r}, take_over=True), "
        f"{to_type('resume', header.run_id, '--take-over', target='TARGET')}, takes the run from "
        "it, and refuses what it writes afterwards.",
        holder,
        since,
    )


def how_it_ends(ending: Ending) -> tuple[RunStatus, str | None]:
    """Say what an ending stores.

    Returns:
        The status, and when the run ended; None when it may go on. "stale" is never stored: it
        is what a running run looks like when its owner has died.
    """
    if ending.status == "stale":
        return "running", None
    return ending.status, now() if ending.status in ("done", "failed", "cancelled") else None


def lost(run_id: str, epoch: int, header: RunHeader | None) -> RunError:
    """Refuse a write under a lease that is no longer good.

    Args:
        run_id: The run.
        epoch: The lease's.
        header: The run as it stands; None when it is gone.
    """
    nothing = "Nothing of this write was stored"
    if header is None:
        return RunNotFoundError(f"run {run_id!r} has been deleted. {nothing}.")
    if header.epoch != epoch and header.status == "cancelled":
        return LeaseLostError(f"run {run_id!r} was cancelled. {nothing}.")
    if header.epoch != epoch:
        who = describe(header.owner) if header.owner else "nobody any more"
        return LeaseLostError(
            f"run {run_id!r} was taken over (epoch {header.epoch}, this lease is of {epoch}; "
            f"it is advanced by {who}). {nothing}; look at it with {to_type('show', run_id)}."
        )
    return LeaseLostError(
        f"run {run_id!r} has ended as {header.status!r} and was let go of. {nothing}; "
        f"resume({run_id!r}) takes it again."
    )


def out_of_order(run_id: str, step: int, last: int) -> RunError | CheckpointError:
    """Refuse a step that is not the next one.

    Args:
        run_id: The run.
        step: The step's number.
        last: The last committed step.
    """
    if step <= last:
        return LeaseLostError(
            f"step {step} of run {run_id!r} is committed already (the last one is {last}). "
            f"Nothing of this write was stored; resume({run_id!r}) goes on after it."
        )
    return CheckpointError(
        f"step {step} of run {run_id!r} does not follow its last committed step, {last}. "
        "Nothing of this write was stored."
    )


def check_open(run_id: str, step: int, last: int) -> None:
    """Check that a step is the open one.

    Args:
        run_id: The run.
        step: The step's number.
        last: The last committed step.

    Raises:
        LeaseLostError: It is committed already.
        CheckpointError: It is a later one.
    """
    if step != last + 1:
        raise out_of_order(run_id, step, last)


def not_the_last(run_id: str, step: int, last: int) -> CheckpointError:
    """Refuse that a run goes on with another graph after a step that is not its last one.

    Args:
        run_id: The run.
        step: The step.
        last: Its last committed step.
    """
    return CheckpointError(
        f"run {run_id!r} cannot go on with another graph after step {step}: its last committed "
        f"step is {last}. Nothing was stored."
    )


def check_family(header: RunHeader, under: Lease | None) -> None:
    """Check that a run is begun or taken under the lease of its parent, if it has one.

    Raises:
        CheckpointError: The lease is missing, of another run, or the run has no parent.
    """
    given = under.run_id if under is not None else None
    if header.parent != given:
        raise CheckpointError(
            f"run {header.run_id!r} is a part of {header.parent!r}, and the lease that came with "
            f"it is one of {given!r} (None: none). Nothing was stored."
        )


def of_a_family(run_id: str, parent: str) -> RunBusyError:
    """Refuse to take a child without its parent."""
    return RunBusyError(
        f"run {run_id!r} is a part of run {parent!r} and is only advanced together with it; "
        f"resume({parent!r}) goes on with both."
    )


def parent_went_on(run_id: str, step: int | None) -> LeaseLostError:
    """Refuse a step of a child that its parent no longer waits for.

    Args:
        run_id: The child.
        step: The step of the parent that it is a part of.
    """
    return LeaseLostError(
        f"run {run_id!r} is a part of step {step} of its parent, which was committed without "
        "waiting for it. Nothing of this write was stored."
    )


def not_committed(run_id: str, step: int | None, last: int) -> CheckpointError:
    """Refuse to fork a run at a step that it has not committed.

    Args:
        run_id: The run that was to be forked.
        step: The step.
        last: The last committed step.
    """
    return CheckpointError(
        f"run {run_id!r} cannot be forked at step {step}: its last committed step is {last}. "
        "Nothing was stored."
    )


def check_answer(run_id: str, question: QuestionRecord) -> None:
    """Check that there is an answer in what is to be stored as one.

    Raises:
        CheckpointError: There is none.
    """
    if question.answer_json is None:
        raise CheckpointError(
            f"the answer to question {question.id!r} of run {run_id!r} has no `answer_json`; "
            "nothing was stored."
        )


def never_asked(run_id: str, question: QuestionRecord) -> AnswerError:
    """Refuse an answer without a question."""
    return AnswerError(
        f"run {run_id!r} has no question {question.id!r} in step {question.step}; "
        f"{to_type('show', run_id)} lists what it asks."
    )


def answered_already(run_id: str, question: QuestionRecord) -> AnswerError:
    """Refuse a second answer.

    Args:
        run_id: The run.
        question: The question with its first answer.
    """
    answer = question.answer_json or ""
    shown = answer if len(answer) <= 60 else answer[:60] + " ..."
    return AnswerError(
        f"question {question.id!r} of run {run_id!r} has an answer already: {shown}, given "
        f"{question.answered_at} by {question.answered_by}. The first answer stays."
    )


def corrupt(run_id: str, step: int, what: str) -> CheckpointCorruptError:
    """Say what is damaged.

    Args:
        run_id: The run.
        step: The step; -1 when it is no step's.
        what: What is the matter.
    """
    where = f"step {step} of run {run_id!r}" if step >= 0 else f"run {run_id!r}"
    shown = to_type("show", run_id, "--until", str(step - 1))
    before = f"{shown} tells what was before; "
    return CheckpointCorruptError(
        f"{where} is damaged: {what} since it was written. Other runs can still be read; "
        f"{before if step > 0 else ''}restore this one from a backup.",
        run_id=run_id,
        step=step,
    )


def pruned(run_id: str, step: int, first: int) -> CheckpointError:
    """Refuse to fork a run at a step whose past is gone.

    Args:
        run_id: The run that was to be forked.
        step: The step.
        first: The first one that can be forked.
    """
    return CheckpointError(
        f"run {run_id!r} cannot be forked at step {step}: what came before it was pruned. It can "
        f"be forked from step {first} on. Nothing was stored."
    )


def check_idle(
    run_id: str,
    status: str,
    owner: str | None,
    since: str | None,
    *,
    lives: Callable[[str], bool] = is_alive,
) -> None:
    """Check that nobody advances a run that is to be deleted.

    Args:
        run_id: The run.
        status: As it is stored.
        owner: Who advances it; None: nobody does.
        since: When its owner took it.
        lives: Tells whether an owner lives.

    Raises:
        RunBusyError: A process that lives does, this one included.
    """
    if status != "running" or owner is None or not lives(owner):
        return
    raise RunBusyError(
        f"run {run_id!r} is being advanced by {describe(owner)} since {since}. Nothing was "
        f"deleted: {to_type('cancel', run_id)} ends it, then it can be deleted."
    )


def part_of(run_id: str, parent: str) -> RunSharedError:
    """Refuse to delete a child without its parent."""
    return RunSharedError(
        f"run {run_id!r} is a part of run {parent!r}, and goes with it. Nothing was deleted."
    )


def still_shared(run_id: str, forks: Sequence[str]) -> RunSharedError:
    """Refuse to delete a run that others were forked from.

    Args:
        run_id: The run, or a child of it.
        forks: The forks.
    """
    shown = ", ".join(forks[:10]) + (", ..." if len(forks) > 10 else "")
    return RunSharedError(
        f"run {run_id!r} has steps that its forks share: {shown}. Nothing was deleted; delete the "
        "forks first."
    )
