"""What to type next for a run that is not done."""

from __future__ import annotations

from graphflow.cli.asked import Asked, all_asked
from graphflow.cli.options import Place, higher_bound
from graphflow.records import RunRecords

__all__ = ["OPEN", "answer_command", "ways_on"]

OPEN = ("stale", "failed", "paused")
"""How a run stands that can be resumed."""


def answer_command(place: Place, asked: Asked) -> str:
    """Write the command that answers a question.

    It always has the key: typed twice, it must not answer what the run asks next.
    """
    return place.command("answer", asked.header.run_id, "--key", asked.key, with_target=True)


def ways_on(records: RunRecords, place: Place) -> list[str]:
    """Write the commands that go on with a run.

    Args:
        records: All records of the run.
        place: What the commands must name.

    Returns:
        Nothing for a run that is over, or is being advanced.
    """
    header = records.header
    if header.parent is not None:
        return [place.command("show", header.run_id.partition("/")[0])]
    if header.status not in OPEN:
        return []
    asked = [one for one in all_asked(records) if one.is_open]
    answers = [answer_command(place, one) for one in asked]
    if header.status == "paused" and answers:
        return answers  # it waits for nothing else
    more = higher_bound(records)
    return [place.command("resume", header.run_id, *more, with_target=True), *answers]
