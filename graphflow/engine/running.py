"""Running the tasks of a step to their ends: side by side, again after failures, or to a pause.

Each task of the step ends in one of four ways: complete, failed for good, waiting for an answer,
or at a limit. Only when all are complete can the step close (S15).
"""

from __future__ import annotations

from collections.abc import Sequence

from graphflow.engine.asking import (
    answered,
    escalation,
    is_waiting,
    last_escalation,
    own_question,
    question_of,
    verdict_of,
)
from graphflow.engine.children import error_of, output_of, reason_within
from graphflow.engine.effects import Ask, Doing, Fail, Keep, KeepItem, Start, Wait
from graphflow.engine.ladder import Ladder, broken_by
from graphflow.engine.mapping import Mapped
from graphflow.engine.position import Position
from graphflow.engine.tasks import (
    ChildEnd,
    Ended,
    Result,
    Task,
    attempt_record,
    complete,
    judge_task,
    make_task,
    where,
)
from graphflow.errors import (
    AskSignal,
    BudgetSignal,
    InvalidUpdateError,
    RunError,
)
from graphflow.plan import Plan
from graphflow.records import AttemptRecord, QuestionRecord
from graphflow.state.update import revive

__all__ = ["StepRun", "run_step"]


class StepRun:
    """The tasks of one step while they run.

    Args:
        plan: The graph.
        position: Where the run stands; what is stored of the step is noted there too.
        again: Whether tasks that have failed, or stand at a limit, are run again.
        has_more: Whether those that have used up the run's budget are among them.

    Attributes:
        results: The complete tasks, by key.
        errors: What failed for good now, by task.
        failed: The keys of all tasks that have failed for good, before or now.
        waiting: What the others wait for, by key: "asking", or the reason of a limit.
    """

    def __init__(
        self, plan: Plan, position: Position, *, again: bool = True, has_more: bool = True
    ) -> None:
        self._plan, self._position = plan, position
        self._again, self._has_more = again, has_more
        self.results: dict[str, Result] = {}
        self.errors: dict[str, Exception] = {}
        self.failed: set[str] = set()
        self.waiting: dict[str, str] = {}
        self._maps: dict[str, Mapped] = {}
        self._ladder = Ladder(plan, position)

    def enter(self, ix: int, key: str) -> Doing[list[Task]]:
        """Take up a task of the step; give what is to run of it."""
        stored = self._position.open
        if stored is not None and key in stored.kept:
            record = stored.kept[key]
            values = self._position.values
            update = revive(self._plan.schema, record.update_json, record.replaces, values)
            self.results[key] = record, update
            return []
        task = make_task(self._plan, self._position, ix, key)
        if is_waiting(task):
            self.waiting[key] = "asking"
            return []
        escalated = last_escalation(task)
        if escalated is not None:
            if (verdict := verdict_of(task, escalated)) != "retry":
                return (yield from self._take_verdict(task, verdict))
            task.is_retry = True
        if task.node.rules.question is not None:
            return (yield from self._ask_or_answer(task))
        if escalated is None and self._is_left_alone(task):
            return []
        return (yield from self._begin(task))

    def take(self, ended: Ended) -> Doing[list[Task]]:
        """Take up what came of a task; give what is to run next because of it."""
        task = ended.task
        mapped = self._maps[task.key.partition("[")[0]] if task.item is not None else None
        if mapped is not None:
            mapped.running -= 1
        if ended.signals:
            return (yield from self._pause(ended, mapped))
        error = ended.error
        if error is None:
            try:
                return (yield from self._complete(ended, mapped))
            except InvalidUpdateError as wrong:
                error = wrong
        return (yield from self._fail(ended, error, mapped))

    @property
    def is_complete(self) -> bool:
        """Whether the step can close."""
        return len(self.results) == len(self._position.ready)

    def _is_left_alone(self, task: Task) -> bool:
        """Tell whether a task waits or has failed, and is not run again now."""
        stored, child = self._position.open, task.child
        if child is not None and child.heard != child.step + 1 and child.status != "running":
            is_same = task.node.child is None or task.node.child.digest == child.graph_digest
            if child.status == "paused" and child.reason == "question" and is_same:
                self.waiting[task.key] = "asking"
                return True
            if child.status == "paused" and child.reason != "question" and not self._again:
                self.waiting[task.key] = reason_within(task.key, child.reason or "interrupted")
                return True
        if child is not None and (child.status == "running" or child.heard == child.step + 1):
            return False
        failed = stored.failed.get(task.key) if stored is not None else None
        return failed is not None and self._stays_failed(task, failed)

    def _stays_failed(self, task: Task, failed: AttemptRecord) -> bool:
        if failed.error_type != BudgetSignal.__name__:
            if not self._again:
                self.failed.add(task.key)
            return not self._again
        if self._again and (self._has_more or task.node.rules.budget is not None):
            return False
        self.waiting[task.key] = f"budget:{failed.error.partition(':')[0]}"
        return True

    def _ask_or_answer(self, task: Task) -> Doing[list[Task]]:
        question = own_question(task)
        if question is not None:
            return (yield from self._answered(task, question))
        try:
            question = question_of(task)
        except Exception as error:  # noqa: BLE001 - whatever the user's prompt raises
            return (yield from self._fail(Ended(task, None, error, "", 0.0), error, None))
        rules = task.node.rules.question
        self.waiting[task.key] = "asking"
        yield Ask(question, rules.deadline if rules else None)
        self._note(question)
        return []

    def _take_verdict(self, task: Task, verdict: str) -> Doing[list[Task]]:
        question = last_escalation(task)
        if question is None:
            raise AssertionError("it has been escalated")
        ended = Ended(task, None, None, question.asked_at, 0.0)
        task.attempt -= verdict in ("answer", "skip")  # then the body does not run again
        if verdict == "answer":
            return (yield from self._answered(task, question))
        if verdict == "skip":
            yield from self._done(task.key, complete(self._plan, self._position, ended, None))
        elif self._again:  # it was failed on purpose, and the run is resumed: so it is tried again
            return (yield from self._begin(task))
        else:
            words = f"node {task.node.name!r} failed, and so it was decided: {question.prompt}"
            self.errors[task.key] = RunError(words)
            self.failed.add(task.key)
        return []

    def _answered(self, task: Task, question: QuestionRecord) -> Doing[list[Task]]:
        ended = Ended(task, None, None, question.asked_at, 0.0)
        try:
            result = answered(self._plan, self._position, task, question)
        except Exception as error:  # noqa: BLE001 - whatever the user's `into` raises
            task.attempt = self._position.opened().attempts.get(task.key, 0) + 1
            return (yield from self._fail(ended, error, None))
        yield from self._done(task.key, result)
        return []

    def _begin(self, task: Task) -> Doing[list[Task]]:
        """Give what is to run of a task: itself, or the items of a map."""
        if task.node.rules.map is not None:
            return (yield from self._open_map(task))
        return [task]

    def _open_map(self, task: Task) -> Doing[list[Task]]:
        ended = Ended(task, None, None, "", 0.0)
        try:
            mapped = Mapped(self._plan, task, self._position.open)
        except Exception as error:  # noqa: BLE001 - whatever the user's `over` raises
            return (yield from self._fail(ended, error, None))
        self._maps[task.key] = mapped
        for item in mapped.todo:
            if is_waiting(item):
                mapped.set_aside(item)
        if mapped.is_over:
            return (yield from self._close_map(mapped, ended))
        return mapped.next()

    def _pause(self, ended: Ended, mapped: Mapped | None) -> Doing[list[Task]]:
        """Note what a body waits for."""
        key, reason = ended.task.key, "asking"
        for signal in ended.signals:
            if isinstance(signal, AskSignal):
                yield Ask(signal.question)
                self._note(signal.question)
            elif isinstance(signal, BudgetSignal):
                reason = f"budget:{signal.bound}"
        if mapped is None:
            yield from self._wait_for(ended, reason)
            return []
        mapped.waiting[key] = reason
        return (yield from self._go_on(mapped, ended))

    def _wait_for(self, ended: Ended, reason: str) -> Doing[None]:
        """Note what a task waits for, unless it takes its budget edge instead (S16)."""
        task, target = ended.task, ended.task.node.rules.on_budget
        stopped = [signal for signal in ended.signals if isinstance(signal, BudgetSignal)]
        if stopped:
            yield Fail(self._attempt(ended, stopped[0]))
        if target is None or not reason.startswith("budget:"):
            self.waiting[task.key] = reason
        else:
            yield from self._fall_back(ended, target)

    def _complete(self, ended: Ended, mapped: Mapped | None) -> Doing[list[Task]]:
        if mapped is not None:
            item = mapped.item(ended)
            self._position.opened().items.setdefault(item.key, {})[item.ix] = item
            yield KeepItem(item)
            return (yield from self._go_on(mapped, ended))
        if isinstance(ended.value, ChildEnd):
            return (yield from self._take_child(ended, ended.value))
        yield from self._done(ended.task.key, judge_task(self._plan, self._position, ended))
        return []

    def _take_child(self, ended: Ended, child: ChildEnd) -> Doing[list[Task]]:
        """Go on as the child of a subgraph did: done, failed, asking, or at a limit."""
        task = ended.task
        if child.status == "done":
            try:
                update = output_of(task, child)
            except InvalidUpdateError as wrong:
                raise where(self._plan, task, wrong) from wrong.__cause__
            yield from self._done(task.key, complete(self._plan, self._position, ended, update))
            return []
        if child.status == "paused":
            reason = reason_within(task.key, child.reason or "interrupted")
            yield from self._wait_for(ended, "asking" if child.reason == "question" else reason)
            return []
        if not child.errors:  # it failed before, and none of it ran again
            self.failed.add(task.key)
            return []
        error = error_of(task, child)
        return (yield from self._fail(ended, error, None))

    def _go_on(self, mapped: Mapped, ended: Ended) -> Doing[list[Task]]:
        """Start the next items of a map, or close it."""
        if not mapped.is_over:
            return mapped.next()
        return (yield from self._close_map(mapped, ended))

    def _close_map(self, mapped: Mapped, ended: Ended) -> Doing[list[Task]]:
        task = mapped.task
        if mapped.errors:
            yield from self._give_up(task, ended, mapped.error())
        elif mapped.waiting:
            reasons = list(mapped.waiting.values())
            whole = Ended(task, None, None, ended.started_at, ended.duration_ms, ended.signals)
            yield from self._wait_for(whole, "asking" if "asking" in reasons else reasons[0])
        else:
            try:
                result = mapped.collect(self._position)
            except Exception as error:  # noqa: BLE001 - whatever the user's `into` raises
                whole = Ended(task, None, error, ended.started_at, ended.duration_ms)
                return (yield from self._fail(whole, error, None))
            yield from self._done(task.key, result)
        return []

    def _fail(self, ended: Ended, error: Exception, mapped: Mapped | None) -> Doing[list[Task]]:
        """Record a failure; try again, or go up the ladder."""
        task = ended.task
        yield Fail(self._attempt(ended, error))
        try:
            again = self._ladder.next_try(ended, error)
        except Exception as broken:  # noqa: BLE001 - whatever the user's own conditions raise
            again, error = None, broken_by(f"Retry of {task.node.name!r}", broken, error)
        if again is not None:
            if mapped is not None:
                mapped.running += 1
            return [again]
        if mapped is not None:
            mapped.errors[task.key] = error
            return (yield from self._go_on(mapped, ended))
        yield from self._give_up(task, ended, error)
        return []

    def _attempt(self, ended: Ended, error: BaseException) -> AttemptRecord:
        stored, task = self._position.opened(), ended.task
        stored.attempts[task.key] = task.attempt
        return attempt_record(ended, error)

    def _give_up(self, task: Task, ended: Ended, error: Exception) -> Doing[None]:
        """What follows when a task has failed for good: fallback, escalation, or failure (S16)."""
        rules = task.node.rules
        whole = Ended(task, None, error, ended.started_at, ended.duration_ms)
        if rules.fallback is not None:
            yield from self._fall_back(whole, rules.fallback)
            return
        if rules.escalate is not None:
            try:
                question = escalation(task, error, self._ladder.tries(task))
            except Exception as broken:  # noqa: BLE001 - whatever the user's prompt raises
                error = broken_by(f"Escalate(prompt=) of {task.node.name!r}", broken, error)
            else:
                self.waiting[task.key] = "asking"
                yield Ask(question)
                self._note(question)
                return
        self.errors[task.key] = error
        self.failed.add(task.key)

    def _fall_back(self, ended: Ended, target: str) -> Doing[None]:
        result = complete(self._plan, self._position, ended, None, fell_back=target)
        yield from self._done(ended.task.key, result)

    def _note(self, question: QuestionRecord) -> None:
        self._position.opened().questions.setdefault(question.key, {})[question.name] = question

    def _done(self, key: str, result: Result) -> Doing[None]:
        """Note that a task is complete; store it, unless the step closes with it."""
        self.results[key] = result
        if not self.is_complete:
            self._position.opened().kept[key] = result[0]
            yield Keep(self._position.step + 1, result[0])


def run_step(step: StepRun, ready: Sequence[str], first: Ended | None = None) -> Doing[None]:
    """Run the open tasks of a step until none can go on.

    Args:
        step: The step.
        ready: The keys of its tasks.
        first: What came of the only task, when it has run once already.
    """
    running = 0
    todo = (yield from step.take(first)) if first is not None else list[Task]()
    for ix, key in enumerate(ready if first is None else ()):
        todo += yield from step.enter(ix, key)
    while todo or running:
        if todo:
            yield Start(todo)
            running += len(todo)
        ended: Ended = yield Wait()
        running -= 1
        todo = yield from step.take(ended)
