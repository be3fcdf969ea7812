"""One run in this process: its lease, and what the engine's effects do to the store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Self, assert_never

from graphflow.checkpoint.owner import this_process
from graphflow.clock import now
from graphflow.context import Context
from graphflow.engine.core import Commit, Fail, Finish, Keep
from graphflow.engine.tasks import Task
from graphflow.errors import CheckpointError, LeaseLostError, RunBusyError
from graphflow.records import CallRecord, Ending, RunHeader, RunRecords

if TYPE_CHECKING:
    from graphflow.checkpoint.protocol import Checkpointer, Lease
    from graphflow.llm.client import ChatClient

__all__ = ["Session"]

_active: set[tuple[int, str]] = set()
_guard = threading.Lock()


class Session:
    """Advances one run: stores what the engine commits.

    Use it in a ``with``: it makes sure that this process advances a run once at a time, and that
    an interrupted run can be resumed.

    Args:
        store: Where the run is stored.
        header: The run; of a new one, as it will be stored with step 0.
        client: Gives the chat client when a node first asks for it.
        spec_json: The graph's spec, for a new run.
    """

    def __init__(
        self,
        store: Checkpointer,
        header: RunHeader,
        client: Callable[[], ChatClient],
        *,
        spec_json: str = "",
    ) -> None:
        self.store, self.header = store, header
        self._spec_json, self._client = spec_json, client
        self._lease: Lease | None = None
        self._is_claimed = False

    def take(self, limits_json: str) -> RunRecords:
        """Take the run, which is stored, in order to advance it.

        Args:
            limits_json: Its limits from now on.

        Returns:
            The tail of its records, read under the lease.

        Raises:
            RunBusyError: It is being advanced, here or by another process.
        """
        self._claim()
        try:
            run_id = self.header.run_id
            self._lease = self.store.take(run_id, this_process(), limits_json=limits_json)
            return self.store.load(run_id, tail=True)
        except BaseException:
            self._unclaim()
            raise

    def __enter__(self) -> Self:
        self._claim()
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        try:
            # Ctrl-C, a cancelled task, an error of our own: the run stands where its last step
            # was committed. After a store's error there is nothing to write to.
            broken = error is None or isinstance(error, CheckpointError | LeaseLostError)
            if self._lease is not None and not broken:
                words = f"interrupted ({type(error).__name__}); resume it to go on"
                with suppress(LeaseLostError):  # somebody took it meanwhile: the error goes on
                    self.store.end(self._lease, Ending("paused", "interrupted", error=words))
        finally:
            self._unclaim()

    def _claim(self) -> None:
        """Note that this process advances the run; the store's lease is for other processes."""
        if self._is_claimed:
            return
        key = (id(self.store), self.header.run_id)
        with _guard:
            if key in _active:
                raise RunBusyError(
                    f"run {self.header.run_id} is being advanced in this process already; wait"
                    " for it, or interrupt it first"
                )
            _active.add(key)
        self._is_claimed = True

    def _unclaim(self) -> None:
        with _guard:
            _active.discard((id(self.store), self.header.run_id))
        self._is_claimed = False

    def release(self) -> None:
        """Let go of a run that is to be advanced further later."""
        if self._lease is not None:
            self.store.end(self._lease, Ending("running"))
            self._lease = None
        self._unclaim()

    def answer(self, effect: Commit | Keep | Fail | Finish) -> None:
        """Do to the store what an effect says; with an ending, let go of the run."""
        if isinstance(effect, Commit):
            self._commit(effect)
            if effect.ending is not None:
                self._lease = None
            return
        if self._lease is None and isinstance(effect, Finish):
            return  # a router of START failed: no run has begun
        lease = self._held()
        if isinstance(effect, Keep):
            self.store.keep(lease, effect.step, effect.task)
        elif isinstance(effect, Fail):
            self.store.fail(lease, effect.attempt)
        elif isinstance(effect, Finish):
            self.store.end(lease, effect.ending)
            self._lease = None
        else:
            assert_never(effect)

    def context(self, task: Task) -> Context:
        """Make the context of a task."""
        return Context(self.header.run_id, task, self._client, self._record_call)

    def _commit(self, effect: Commit) -> None:
        effect.step.committed_at = now()
        if effect.step.step > 0:
            self.store.commit(self._held(), effect.step, effect.snapshot, effect.ending)
            return
        if effect.snapshot is None:
            raise AssertionError("step 0 comes with a snapshot")
        self._lease = self.store.begin(
            self.header, self._spec_json, effect.step, effect.snapshot, effect.ending
        )

    def _record_call(self, call: CallRecord) -> None:
        self.store.call(self._held(), call)

    def _held(self) -> Lease:
        if self._lease is None:
            raise AssertionError("a run begins with a commit")
        return self._lease
