"""Runs many jobs, one after the other or side by side; one that fails stops no other."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter
from typing import Any

from graphflow.cli.why import headline, last_traceback, router_traceback
from graphflow.errors import (
    DAMAGED,
    GraphflowError,
    InputError,
    RunBusyError,
    RunError,
    RunExistsError,
    RunFailedError,
    StateError,
)
from graphflow.events import Event
from graphflow.flow import Flow
from graphflow.policy import Budget, Limits
from graphflow.run import Run

__all__ = ["Job", "LeftRunningError", "Outcome", "advance", "attempt", "outcome", "run_all"]


@dataclass(frozen=True, slots=True)
class Job:
    """A run to begin or to go on with.

    Attributes:
        label: What people know it by: `line 3`, or its id.
        run_id: The run.
        given: Its input; a run that exists is gone on with. None: resume it.
        limits: New limits; None: the run's own.
        budget: A new budget; None: the run's own.
        tags: Words to find the run by.
        malformed: Why it cannot be run; empty when it can.
        listen: Called with each event of the run; None: nobody listens.
        take_over: Whether to take the run from a process that lives.
    """

    label: str
    run_id: str
    given: dict[str, Any] | None = None
    limits: Limits | None = None
    budget: Budget | None = None
    tags: dict[str, str] = field(default_factory=dict)
    malformed: str = ""
    listen: Callable[[Event], None] | None = None
    take_over: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job.

    Attributes:
        job: The job.
        status: The run's, `malformed`, or `busy`: another process advances it.
        run: None when none is stored.
        words: Why it is not done; empty when it is.
        seconds: What it took now.
        before: Whether it was done before.
        trace: The end of the traceback of what failed.
    """

    job: Job
    status: str
    run: Run[Any] | None = None
    words: str = ""
    seconds: float = 0.0
    before: bool = False
    trace: str = ""


def advance(flow: Flow[Any], job: Job) -> Outcome:
    """Do one job; that a node failed is an outcome, not an error.

    Args:
        flow: The graph, compiled.
        job: What to run.

    Raises:
        GraphflowError: Whatever else `Flow.run` and `Flow.resume` raise.
    """
    return outcome(job, lambda: _start(flow, job), lambda: flow.get(job.run_id))


def outcome(job: Job, start: Callable[[], Run[Any]], find: Callable[[], Run[Any]]) -> Outcome:
    """Say what comes of a run that is begun or gone on with.

    Args:
        job: The job that it is done for.
        start: Has the run advanced.
        find: Finds the run, when `start` has raised an error.
    """
    begin, words, trace = perf_counter(), "", ""
    try:
        run = start()
    except RunFailedError as error:
        run, trace = find(), router_traceback(error)
        words = headline(run) or str(error)
    except SystemExit as error:
        # A node called sys.exit: that must not end the command as if all were well
        run, words = find(), f"a node called sys.exit({error.code!r})"
    seconds, trace = perf_counter() - begin, last_traceback(run) or trace
    return Outcome(job, run.status, run, words or headline(run), seconds, trace=trace)


def attempt(flow: Flow[Any], job: Job) -> Outcome:
    """Do one job of many: what is wrong with it alone stops no other.

    Args:
        flow: The graph, compiled.
        job: What to run.

    Raises:
        CheckpointError: The database as a whole cannot be used.
    """
    if job.malformed:
        return Outcome(job, "malformed", words=job.malformed)
    begin = perf_counter()
    try:
        return advance(flow, job)
    except InputError as error:
        return Outcome(job, "malformed", words=str(error))
    except (RunBusyError, RunExistsError) as error:
        # Another process does the same batch. The id stands for the input, so a run that exists
        # can only have been begun a moment ago.
        return Outcome(job, "busy", words=str(error))
    except (RunError, StateError, *DAMAGED) as error:
        return Outcome(job, "failed", words=str(error), seconds=perf_counter() - begin)
    except GraphflowError:
        raise
    except Exception as error:  # noqa: BLE001 - told with its lines; the other runs go on
        words = "".join(traceback.format_exception_only(error)).strip()
        trace = "".join(traceback.format_exception(error))
        return Outcome(job, "failed", None, words, perf_counter() - begin, trace=trace)


def _start(flow: Flow[Any], job: Job) -> Run[Any]:
    if job.listen is not None:
        stream = flow.stream(
            job.given, run_id=job.run_id, limits=job.limits, budget=job.budget, tags=job.tags
        )
        for event in stream:
            job.listen(event)
        return flow.get(job.run_id)
    if job.given is None:
        return flow.resume(
            job.run_id, limits=job.limits, budget=job.budget, take_over=job.take_over
        )
    return flow.run(
        job.given, run_id=job.run_id, limits=job.limits, budget=job.budget, tags=job.tags
    )


class LeftRunningError(KeyboardInterrupt):
    """A second Ctrl-C came while runs were waited for; their threads still run."""


def run_all(
    work: Callable[[Job], Outcome],
    jobs: Iterable[Job],
    concurrency: int,
    report: Callable[[Outcome], None],
    interrupted: Callable[[int], None],
) -> None:
    """Do all jobs.

    Ctrl-C interrupts the run that goes on in this thread. Of those in other threads it begins no
    further one, and lets those that are under way end.

    Args:
        work: Does one job.
        jobs: In order.
        concurrency: How many are done at once; 1 does them in this thread.
        report: Called in this thread as each one ends.
        interrupted: Called at the first Ctrl-C, with the number of runs that are under way.

    Raises:
        KeyboardInterrupt: Ctrl-C.
        LeftRunningError: Ctrl-C twice.
    """
    if concurrency > 1:
        _run_in_threads(work, jobs, concurrency, report, interrupted)
        return
    try:
        for job in jobs:
            report(work(job))
    except KeyboardInterrupt:
        interrupted(0)
        raise


def _run_in_threads(
    work: Callable[[Job], Outcome],
    jobs: Iterable[Job],
    concurrency: int,
    report: Callable[[Outcome], None],
    interrupted: Callable[[int], None],
) -> None:
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="graphflow-batch")
    waiting = iter(jobs)
    running = {pool.submit(work, job) for job in islice(waiting, concurrency)}
    try:
        while running:
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(work, job) for job in islice(waiting, len(ended))}
            for future in ended:
                report(future.result())
    except KeyboardInterrupt:
        try:
            interrupted(len(running))
            for future in running:
                report(future.result())
        except KeyboardInterrupt:
            raise LeftRunningError from None
        raise
    finally:
        pool.shutdown(wait=False)
