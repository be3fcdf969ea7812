"""The commands about what runs ask: `questions` and `answer`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from graphflow.answering import find_open, the_question
from graphflow.cli.asked import Asked, open_asked, typed_answer
from graphflow.cli.batch import Job, Outcome, outcome
from graphflow.cli.compiled import compiled
from graphflow.cli.documents import question_document, run_document
from graphflow.cli.exits import Exit
from graphflow.cli.onward import answer_command
from graphflow.cli.options import (
    TARGET,
    Place,
    database_option,
    json_option,
    opened,
    place_of,
    split_target,
)
from graphflow.cli.output import Output, complain
from graphflow.cli.single import announce, do_one
from graphflow.cli.words import asked_list, question_told
from graphflow.errors import DAMAGED, AnswerError
from graphflow.flow import Flow
from graphflow.records import RunHeader
from graphflow.run import Run

if TYPE_CHECKING:
    from graphflow.checkpoint.protocol import Checkpointer

__all__ = ["answer", "questions"]


@click.command()
@click.argument("run", metavar="[RUN]", required=False)
@database_option
@json_option
def questions(run: str | None, database: str, as_json: bool) -> None:
    """List the open questions of all runs, or of one, oldest first. It needs no code.

    RUN is its id, or a beginning that only its id has; then each question is told in full.
    """
    with Output(as_json=as_json) as out, opened(database) as store:
        headers = store.runs() if run is None else [_root(store, run)]
        found, is_damaged = _open_of(store, headers, one=run is not None)
        found.sort(key=lambda asked: asked.question.asked_at)
        out.json([question_document(asked) for asked in found])
        if not found:
            out.say("no open questions")
        elif run is None:
            head, *lines = asked_list(found)
            out.say(head, dim=True)
            for line in lines:
                out.say(line)
        else:
            for line in (line for asked in found for line in question_told(asked)):
                out.say(line)
        if found:
            # What runs needs code, which a database never names
            place = place_of(os.environ.get(TARGET, "TARGET"))
            out.say(f"next: {answer_command(place, found[0])}", dim=True)
    if is_damaged:
        click.get_current_context().exit(Exit.FAILED)


def _open_of(
    store: Checkpointer, headers: Iterable[RunHeader], *, one: bool
) -> tuple[list[Asked], bool]:
    """List the open questions of runs; of many, one that is damaged is told and passed over."""
    found: list[Asked] = []
    is_damaged = False
    for header in headers:
        try:
            found += open_asked(store, header)
        except DAMAGED as error:
            if one:
                raise
            complain(str(error))
            is_damaged = True
    return found, is_damaged


@click.command(context_settings={"ignore_unknown_options": True})  # an answer may be -5
@click.argument("words", metavar="[TARGET] RUN [VALUE]", nargs=-1, required=True)
@click.option("--key", metavar="KEY", help="Which question; without it the one that is open.")
@click.option("--no-resume", "stays", is_flag=True, help="Store the answer; do not go on.")
@database_option
@json_option
def answer(
    words: tuple[str, ...], *, key: str | None, stays: bool, database: str, as_json: bool
) -> None:
    """Answer an open question of a run, and go on with it.

    VALUE is JSON, or a text where that is asked for; - reads it from stdin. Left out, it is asked
    for on the terminal. An answer that does not fit is refused, and the run waits on. The first
    right one wins.
    """
    target, (run, *typed) = split_target(words, "RUN [VALUE]")
    with Output(as_json=as_json) as out, compiled(target, database) as (flow, place):
        run_id, code = _root(flow.store, run).run_id, None
        while code is None:
            asked = _pick(flow, run_id, key, place)
            text = _given(typed[0]) if typed else _ask(out, asked)
            value = typed_answer(text, asked.question)
            try:
                if stays:
                    code = _store(out, flow, asked, value, place)
                else:
                    code = _go_on(out, flow, asked, value, place)
            except AnswerError as error:
                if typed:
                    raise
                complain(str(error))
    click.get_current_context().exit(code)


def _root(store: Checkpointer, run: str) -> RunHeader:
    """Find a run; of a subgraph's the whole one, as that is answered."""
    whole = store.find(run).partition("/")[0]
    return store.load(whole, tail=True).header


def _pick(flow: Flow[Any], run_id: str, key: str | None, place: Place) -> Asked:
    """Find the question that is meant.

    Raises:
        AnswerError: There is none.
        click.UsageError: There are several.
    """
    records = flow.store.load(run_id, tail=True)
    every = find_open(flow.store, records)
    if key is None and len(every) > 1:
        keys = " or ".join(shlex.join(["--key", one.id]) for one in every)
        raise click.UsageError(f"run {run_id} has {len(every)} open questions; add {keys}")
    try:
        found = the_question(
            records, every, key, resume=place.command("resume", run_id, with_target=True)
        )
    except AnswerError:
        if key is None or not every:
            raise
        records, found = flow._asked(run_id, key)  # noqa: SLF001 - in today's names it may be known
    return Asked(records.header, found.id, found.question, is_open=True)


def _given(typed: str) -> str:
    """Give the answer that was typed, or that stdin has.

    Raises:
        click.UsageError: There is nothing on stdin, or no text.
    """
    if typed != "-":
        return typed
    data = sys.stdin.buffer.read()
    if not data:
        raise click.UsageError("there is nothing on stdin, where - has it read; nothing was stored")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wrong = f"byte {error.start + 1} is 0x{data[error.start]:02x}"
        raise click.UsageError(f"stdin is not UTF-8: {wrong}; nothing was stored") from None
    return text.removesuffix("\n").removesuffix("\r")


def _ask(out: Output, asked: Asked) -> str:
    """Ask on the terminal.

    Raises:
        click.UsageError: There is no terminal, or nobody answers at it.
    """
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"give the VALUE: {asked.key!r} asks {asked.question.prompt!r}, and there is no"
            " terminal to answer at"
        )
    for line in question_told(asked):
        out.say(line)
    out.write("answer: ")
    line = sys.stdin.readline()
    if not line:
        out.say()
        raise click.UsageError("there was no answer; nothing was stored")
    return line.rstrip("\r\n")


def _store(out: Output, flow: Flow[Any], asked: Asked, value: Any, place: Place) -> Exit:
    run = flow.answer(asked.header.run_id, value, key=asked.key, resume=False)
    out.json(run_document(run))
    out.say(f"{asked.key} is answered; the run waits")
    out.say(f"next: {place.command('resume', run.run_id, with_target=True)}")
    return Exit.DONE


def _go_on(out: Output, flow: Flow[Any], asked: Asked, value: Any, place: Place) -> Exit:
    run_id = asked.header.run_id
    job = Job(run_id, run_id)

    def work() -> Outcome:
        def start() -> Run[Any]:
            return flow.answer(run_id, value, key=asked.key)

        return outcome(job, start, lambda: flow.get(run_id))

    announce(job, flow)
    return do_one(out, work, place, lambda: run_id)
