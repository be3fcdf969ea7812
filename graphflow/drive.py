"""The drivers: they answer the engine's effects in a plain call, or in an event loop."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from graphflow.committing import Committer
from graphflow.crew import AsyncCrew, Crew
from graphflow.engine.effects import Outcome, Run, Start, Steps, Wait
from graphflow.session import Session
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
                    answer = crew.run(effect.task)
                elif type(effect) is Start:
                    crew.start(effect.tasks)
                elif type(effect) is Wait:
                    answer = crew.next()
                else:
                    session.answer(effect)  # type: ignore[arg-type]  # all others are stored
                    if shared.channel is not None:
                        shared.channel.room()
                if shared.is_interrupted:
                    raise Interrupted
        except StopIteration as stop:
            outcome: Outcome = stop.value
            session.let_go(outcome)
            return outcome


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
                        answer = await crew.next()
                    else:
                        await committer.do(partial(session.store_effect, effect))  # type: ignore[arg-type]  # all others are stored
                        if shared.channel is not None:
                            session.tell(effect)  # type: ignore[arg-type]  # as above
                            await shared.channel.aroom()
            except StopIteration as stop:
                outcome: Outcome = stop.value
                session.let_go(outcome)
                return outcome
