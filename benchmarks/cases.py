"""The cases: which work, how much of it, and in which unit it is counted."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.work import CHAIN, NAP

__all__ = ["CASES", "Case", "chosen"]

_PER_SECOND = "runs/s"


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    method: str
    """Of a peer: `benchmarks.peer.Peer` says what it does."""
    n: int
    """What it is called with: steps, runs, nodes or repeats."""
    unit: str
    what: str
    count: int = 1
    """Into how many of the unit's things the time is divided."""
    ideal_ms: float = 0.0
    """What no engine can go below, taken off."""
    is_fresh: bool = False
    """Each round runs in a new process: for memory."""
    is_durable: bool = False

    @property
    def more_is_better(self) -> bool:
        """Tell whether it counts runs a second, not time."""
        return self.unit == _PER_SECOND

    def value(self, seconds: float) -> float:
        """Give a time in the unit."""
        if self.more_is_better:
            return self.count / seconds
        if self.unit.startswith("us"):
            return seconds / self.count * 1e6
        return seconds / self.count * 1e3 - self.ideal_ms


_STEP, _FAN = "us/step", "ms/fan-out"

CASES = {
    case.name: case
    for case in (
        Case("chain10", "chain", 100, _STEP, f"{CHAIN} nodes in a line", 100 * CHAIN),
        Case("loop1k", "loop", 1_000, _STEP, "one node in a conditional loop, 1,000 steps", 1_000),
        Case("loop10k", "loop", 10_000, _STEP, "the same, 10,000 steps", 10_000),
        Case("wide50", "wide", 1_000, _STEP, "the loop on 50 fields, one of which changes", 1_000),
        Case("fanout_async", "fanout_async", 10, _FAN, "1 -> 100 async tasks -> join", 10),
        Case("fanout_sync", "fanout_sync", 10, _FAN, "1 -> 100 plain tasks -> join", 10),
        Case(
            "fanout_sleep",
            "fanout_sleep",
            10,
            "ms over 10",
            "1 -> 100 async tasks that sleep 10 ms -> join; over those 10 ms",
            10,
            NAP * 1e3,
        ),
        Case(
            "fanout_sleep_sync",
            "fanout_sleep_sync",
            10,
            _FAN,
            "1 -> 100 plain tasks that sleep 10 ms -> join; in all",
            10,
        ),
        Case("build", "build", 1_000, "ms", "define and compile a line of 1,000 nodes"),
        Case("checks", "checks", 1_000, "ms", "the checks alone of a line of 1,000 nodes"),
        Case(
            "ckpt_small",
            "ckpt_small",
            1_000,
            _STEP,
            "the loop, each step stored; small state",
            1_000,
            is_durable=True,
        ),
        Case(
            "ckpt_msgs",
            "ckpt_msgs",
            1_000,
            _STEP,
            "the loop, each step stored; a list grows by 200 bytes a step",
            1_000,
            is_durable=True,
        ),
        Case(
            "ckpt_msgs10k",
            "ckpt_long",
            10_000,
            _STEP,
            "the same, 10,000 steps (peers would write 10 GB)",
            10_000,
            is_durable=True,
        ),
        Case(
            "ckpt_read10k",
            "ckpt_read",
            10_000,
            _STEP,
            "the same, and the router reads the list",
            10_000,
            is_durable=True,
        ),
        Case(
            "resume_msgs",
            "resume_msgs",
            1_000,
            "ms",
            "define the graph, open the file, load the last state of 1,000 steps, 1,000 messages",
        ),
        Case(
            "reload_msgs",
            "reload_msgs",
            1_000,
            "ms",
            "load that state with the file open and the graph compiled",
        ),
        Case(
            "history",
            "history",
            1_000,
            "ms",
            "define the graph, open the file, list all 1,000 states",
        ),
        Case(
            "threads_mem",
            "threads_mem",
            1_000,
            _PER_SECOND,
            "1,000 concurrent runs of 5 async nodes that sleep 1 ms",
            1_000,
            is_fresh=True,
        ),
        Case(
            "threads_ckpt",
            "threads_ckpt",
            1_000,
            _PER_SECOND,
            "the same, each step stored",
            1_000,
            is_fresh=True,
            is_durable=True,
        ),
        Case("import", "imports", 0, "ms", "import in a new process, without the interpreter"),
    )
}


def chosen(words: str | None) -> list[Case]:
    """Choose cases by name or by how their names begin.

    Args:
        words: Comma-separated; None for all.

    Raises:
        SystemExit: A word fits none.
    """
    if words is None:
        return list(CASES.values())
    wanted = tuple(words.split(","))
    for word in wanted:
        if not any(name.startswith(word) for name in CASES):
            raise SystemExit(f"no case begins with {word!r}; there are: {', '.join(CASES)}")
    return [case for name, case in CASES.items() if name.startswith(wanted)]
