"""Results as Markdown: a summary for all cases, then each case with its spread and ratios."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.cases import CASES, Case

__all__ = ["page", "short"]

_NO_CPU = {"import"}
_MEMORY = {"threads_mem", "threads_ckpt"}


def page(results: dict[str, Any], base: str) -> str:
    """Write all results.

    Args:
        results: What `benchmarks.run` saves as JSON.
        base: The peer that ratios are to.
    """
    facts = [f"- {name}: {words}" for name, words in results["machine"].items()]
    parts = ["# Benchmarks", "\n".join(facts), _summary(results)]
    done = {name: result for name, result in results["cases"].items() if result["peers"]}
    parts += [_case(CASES[name], result, base) for name, result in done.items()]
    parts.append(_peers(results["peers"]))
    return "\n\n".join(parts) + "\n"


def short(case: Case, result: dict[str, Any]) -> str:
    """Give the medians of a case in one line."""
    found = "  ".join(
        f"{name}={_number(median(_values(case, facts)))}"
        if isinstance(facts, list)
        else name + "=!"
        for name, facts in result["peers"].items()
    )
    return f"{case.name} [{case.unit}]  {found}"


def _summary(results: dict[str, Any]) -> str:
    peers = list(results["peers"])
    rows = [["case", "unit", *peers]]
    for name, result in results["cases"].items():
        case, found = CASES[name], result["peers"]
        rows.append([name, case.unit, *(_cell(case, found.get(peer)) for peer in peers)])
    words = f"Medians of {results['rounds']} interleaved rounds; lower is better, but for runs/s."
    return f"{words}\n\n{_rows(rows)}"


def _cell(case: Case, facts: list[dict[str, float]] | dict[str, str] | None) -> str:
    if facts is None:
        return "n/a"
    return _number(median(_values(case, facts))) if isinstance(facts, list) else "error"


def _case(case: Case, result: dict[str, Any], base: str) -> str:
    """Write one case: medians with their spread, CPU time, and ratios round by round."""
    head = [f"## {case.name}: {case.what} [{case.unit}]"]
    if result["fsync_us"]:
        head.append(f"4 KB + fsync took {_spread(result['fsync_us'])} us meanwhile.")
    rows = [["peer", case.unit, "CPU", f"time, {base} = 1", "CPU, the same", "more"]]
    found = result["peers"]
    for name in sorted(found, key=lambda name: _rank(case, found[name])):
        facts = found[name]
        if not isinstance(facts, list):
            rows.append([name, "error", "", "", "", facts["error"].replace("|", "/")])
            continue
        others = found.get(base)
        cpu = "" if case.name in _NO_CPU else _cpu(case, facts)
        wall_ratio, cpu_ratio = _ratio(facts, others, "seconds"), _ratio(facts, others, "cpu")
        spread = _spread(_values(case, facts))
        rows.append([name, spread, cpu, wall_ratio, cpu_ratio, _more(case, facts)])
    return "\n\n".join([*head, _rows(rows)])


def _values(case: Case, facts: Sequence[dict[str, float]]) -> list[float]:
    return [case.value(fact["seconds"]) for fact in facts]


def _rank(case: Case, facts: Any) -> float:
    if not isinstance(facts, list):
        return float("inf")
    value = median(_values(case, facts))
    return -value if case.more_is_better else value


def _cpu(case: Case, facts: Sequence[dict[str, float]]) -> str:
    """Give the CPU time per thing, of concurrent runs in microseconds."""
    scale = 1e3 if case.unit.startswith("ms") else 1e6
    unit = " us/run" if case.more_is_better else ""
    return _number(median([fact["cpu"] for fact in facts]) / case.count * scale) + unit


def _ratio(facts: Sequence[dict[str, float]], others: Any, key: str) -> str:
    """Compare with the base in the same round."""
    if not isinstance(others, list):
        return ""
    pairs = zip(facts, others, strict=False)
    return _spread([one[key] / other[key] for one, other in pairs if other[key]])


def _more(case: Case, facts: Sequence[dict[str, float]]) -> str:
    words = []
    if "bytes" in facts[-1]:
        words.append(f"file {median(fact['bytes'] for fact in facts) / 1e6:.2f} MB")
    if "late_to_early" in facts[-1]:
        ratio = median(fact["late_to_early"] for fact in facts)
        words.append(f"last 100 steps take {ratio:.2f} x the first")
    if case.name in _MEMORY and "grew_mb" in facts[-1]:
        grew, peak = (median(fact[key] for fact in facts) for key in ("grew_mb", "peak_mb"))
        words.append(f"memory grew by {grew:.1f} MB, at most {peak:.1f} MB")
    if len(facts) < 3:
        words.append(f"rounds: {len(facts)}")
    return "; ".join(words)


def _peers(peers: dict[str, Any]) -> str:
    rows = [["peer", "versions", "settings"]]
    for name, about in peers.items():
        versions = ", ".join(f"{of} {v}" for of, v in about.get("versions", {}).items())
        rows.append([name, versions, about.get("settings") or about.get("error", "")])
    return f"## Peers\n\n{_rows(rows)}"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{_number(median(values))} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    """Give three digits at least."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _rows(rows: Sequence[Sequence[str]]) -> str:
    head, *others = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *others])
