"""The drivers: they answer the engine's effects in a plain call, or in an event loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from graphflow.committing import Committer
from graphflow.crew import AsyncCrew, Crew
from graphflow.engine.effects import Outcome, Run, Start, Steps, Wait
from graphflow.session import Session, Stored
from graphflow.shared import Interrupted

if TYPE_CHECKING:
    from graphflow.engine.tasks import Ended

__all__ = ["adrive", "drive"]


def drive(steps: Steps, session: Session, step: int = -1) -> Outcome:
    """Advance a run in the caller's thread.

    Args:
        steps: The engine, set on the run.
        session: The run.
        step: Its last committed step.
    """
    answer: Ended | None = None
    shared = session.shared
    crew = Crew(session, drive)
    with session, crew:
        session.begins(step)
        try:
            while True:
                effect = steps.send(answer)
                answer = None
                if type(effect) is Run:
                    if shared.is_interrupted:
                        raise Interrupted
                    answer = crew.run(effect.task)
                elif type(effect) is Start:
                    crew.start(effect.tasks)
                elif type(effect) is Wait:
                    answer = _next(crew, steps, session)
                else:
                    session.answer(effect)  # type: ignore[arg-type]  # all others are stored
                    if shared.channel is not None:
                        shared.channel.room()
        except StopIteration as stop:
            outcome: Outcome = stop.value
            session.let_go(outcome)
            return outcome


def _next(crew: Crew, steps: Steps, session: Session) -> Ended:
    """Wait for what ends next; when the wait is interrupted, store first what has ended."""
    try:
        return crew.next()
    except BaseException:
        for effect in _rest(steps, crew.finish()):
            session.answer(effect)
        raise


async def _anext(crew: AsyncCrew, steps: Steps, session: Session, committer: Committer) -> Ended:
    """Do as `_next` does, in the running event loop."""
    try:
        return await crew.next()
    except BaseException:
        for effect in _rest(steps, await crew.finish()):
            await committer.do(partial(session.store_effect, effect))
            session.tell(effect)
        raise


def _rest(steps: Steps, ended: Iterable[Ended]) -> Iterator[Stored]:
    """Give what is still to be stored of an interrupted step: what bodies did that have ended.

    They were waited for; a resume does not run them again. Nothing new begins.

    Args:
        steps: The engine, which waits for what ends next.
        ended: What has ended meanwhile.
    """
    for one in ended:
        answer: Ended | None = one
        while True:
            try:
                effect = steps.send(answer)
            except StopIteration:
                return  # the run has come to an end
            answer = None
            if type(effect) is Wait:
                break
            if type(effect) is Run:
                return  # the step is committed
            if type(effect) is not Start:
                yield effect  # type: ignore[misc]  # all others are stored


async def adrive(steps: Steps, session: Session, step: int = -1) -> Outcome:
    """Advance a run in the running event loop; plain nodes run in threads.

    Args:
        steps: The engine, set on the run.
        session: The run.
        step: Its last committed step.
    """
    answer: Ended | None = None
    shared = session.shared
    with session, Committer.of(session.store) as committer:
        async with AsyncCrew(session, adrive) as crew:
            session.begins(step)
            try:
                while True:
                    effect = steps.send(answer)
                    answer = None
                    if type(effect) is Run:
                        answer = await crew.run(effect.task)
                    elif type(effect) is Start:
                        crew.start(effect.tasks)
                    elif type(effect) is Wait:
                        answer = await _anext(crew, steps, session, committer)
                    else:
                        await committer.do(partial(session.store_effect, effect))  # type: ignore[arg-type]  # all others are stored
                        if shared.channel is not None:
                            session.tell(effect)  # type: ignore[arg-type]  # as above
                            await shared.channel.aroom()
            except StopIteration as stop:
                outcome: Outcome = stop.value
                session.let_go(outcome)
                return outcome
