"""The execution rules on random graphs: what the oracle says is seen, under any disorder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.history import counters_at
from graphflow.run import Run
from tests.engine.cases import assert_seen
from tests.engine.journeys import Crash, Crashing, finish, stored_bodies
from tests.engine.moves import LARGE, answer_to, ended, scripted, without_failures
from tests.engine.shapes import STATE, cases, many
from tests.engine.vectors import Player, Way, facts, reopening

randoms = st.integers(0, 2**32).map(Random)
Data = Mapping[str, Any]


@many(100)
@given(cases(), randoms)
def test_the_engine_does_what_the_oracle_says(case: Data, random: Random) -> None:
    """Runs, resumes, answers, forks, limits: all that the rules say, and nothing else (S1-S20)."""
    play(scripted(case, random), in_memory(case))


@many(45)
@given(cases(), randoms)
def test_the_order_of_completion_and_of_edges_changes_nothing(case: Data, random: Random) -> None:
    """Same records and state whatever ends first and whatever edge was added first (S2)."""
    script = scripted(case, random)

    assert play(script, in_memory(case, disorderly(random))) == play(script, in_memory(case))


def test_an_edge_and_a_list_edge_between_two_nodes_are_recorded_in_one_order() -> None:
    """Both arrows of one pair of nodes come in the same order, whichever was added first (S2)."""
    case = {"name": "two", "state": {}, "nodes": [{"name": "a"}, {"name": "b"}], "routers": []}
    edges = [["START", "a"], ["a", "b"], [["a"], "b"]]

    one = in_memory({**case, "edges": edges}).act({"do": "run"})
    other = in_memory({**case, "edges": edges[::-1]}).act({"do": "run"})

    assert one == other
    assert [kind for _, _, kind in one["steps"][1]["arrows"]] == ["edge", "join"]


@many(50)
@given(cases(), randoms)
def test_a_stop_after_every_commit_changes_nothing(case: Data, random: Random) -> None:
    """Taken up from what is stored at each commit: the same path, state and records (S17)."""
    play(scripted(case, random), in_memory(case, Way(small_steps=True)))


@many(6, shrinks=False)
@given(cases(), randoms)
def test_a_stop_after_every_commit_changes_nothing_in_a_file(case: Data, random: Random) -> None:
    """The same from a file that is closed and opened again at each commit (S17)."""
    with TemporaryDirectory() as folder, reopening(Path(folder)) as store:
        play(scripted(case, random), Player(case, store, Way(small_steps=True)))


@many(45)
@given(cases(), randoms)
def test_a_crash_inside_a_step_runs_no_stored_body_again(case: Data, random: Random) -> None:
    """Dead after some verbs, again and again: the path without crashes; stored bodies rest."""
    store = MemoryCheckpointer()

    crash_and_compare(case, random, lambda: store)


@many(6, shrinks=False)
@given(cases(), randoms)
def test_a_crash_inside_a_step_of_a_run_in_a_file(case: Data, random: Random) -> None:
    """The same from a file that is opened again after each crash (S17)."""
    with TemporaryDirectory() as folder, reopening(Path(folder)) as store:
        crash_and_compare(case, random, store)


@many(65)
@given(cases(), randoms)
def test_failures_resumed_and_answers_in_any_order_change_nothing(
    case: Data, random: Random
) -> None:
    """The path is that of the same graph without failures, its questions answered in order."""
    player = in_memory(case, disorderly(random) if random.random() < 0.5 else Way())

    run = finish(player, random)

    assert_ended(player, run)


@many(55)
@given(cases(), randoms)
def test_a_fork_without_changes_repeats_the_path(case: Data, random: Random) -> None:
    """From any step: the same steps, state and counters, bodies of steps before rest (S18)."""
    player = in_memory(case)
    first = finish(player, random)
    known, step = len(player.bodies.ran), random.randrange(len(first.steps))
    has_ended = not player.asking()

    player.fork(step, None, {})
    fork = finish(player, random)

    both_ended = has_ended and not player.asking()
    assert_same_path(facts(fork.records), facts(first.records), is_whole=both_ended)
    assert all(ran.run_id.startswith(fork.run_id) for ran in player.bodies.ran[known:])
    assert all(ran.step > step for ran in player.bodies.ran[known:] if ran.run_id == fork.run_id)
    for number in range(step, min(len(fork.steps), len(first.steps))):
        assert counters_at(fork.records, number) == counters_at(first.records, number)
    if both_ended:
        assert (fork.status, fork.values) == (first.status, first.values)


@many(35)
@given(cases(inner=True), randoms)
def test_a_graph_as_a_child_takes_the_same_path(case: Data, random: Random) -> None:
    """Alone, as a child beside a sibling, sent twice; with failures, answers, limits (S19)."""
    single, parent = in_memory(case), in_memory(as_child(case, is_sent=random.random() < 0.5))
    alone = finish(single, random, limits=LARGE)

    run = finish(parent, random, limits=LARGE, answer=answer_inside)

    assert run.records.children
    both_ended = not single.asking() and not parent.asking()
    for child in run.children.values():
        assert_same_path(facts(child.records), facts(alone.records), is_whole=both_ended)
        if both_ended:
            assert (child.status, child.values) == (alone.status, alone.values)


def play(script: Data, player: Player) -> list[dict[str, Any]]:
    """Play a case, compare each action with what the oracle expects, and give all that is seen."""
    seen = []
    for action in script["actions"]:
        seen.append(player.act(action))
        assert_seen(script, action, seen[-1])
        assert sorted(player.asking()) == action["asking"]
    return seen


def in_memory(case: Data, way: Way | None = None) -> Player:
    """Play a case in memory."""
    store = MemoryCheckpointer()
    return Player(case, lambda: store, way)


def disorderly(random: Random) -> Way:
    """Draw a way in which bodies end in any order, and edges are added in any order."""
    seeds = random.getrandbits(20), random.getrandbits(20)
    return Way(True, random.random() < 0.7, disorder=seeds[0], edges=seeds[1])


def crash_and_compare(case: Data, random: Random, store: Any) -> None:
    """Crash a run after some verbs, again and again, and see that nothing is lost or done twice."""
    crashing: list[Any] = [None]
    player = Player(
        case, lambda: crashing[0], disorderly(random) if random.random() < 0.5 else Way()
    )
    rests: list[tuple[int, frozenset[Any]]] = []
    for _ in range(random.randint(1, 8)):
        crashing[0] = Crashing(store(), random.randrange(1, 9))
        try:
            finish(player, random)
        except Crash:
            records = Crashing(store(), 0).stored(player.run_id)
            done = frozenset(stored_bodies(records)) if records else frozenset()
            rests.append((len(player.bodies.ran), done))
    crashing[0] = store()
    run = finish(player, random)

    for place, done in rests:
        again = done.intersection(player.bodies.ran[place:])
        assert not again, f"stored, and run again: {again}"
    assert_ended(player, run)


def assert_ended(player: Player, run: Run[Any]) -> None:
    """Compare a run's path with that of the graph without failures, by the oracle."""
    oracle = ended(without_failures(player.case))
    expected = [step.facts for step in oracle.sim.steps]
    both_ended = not oracle.asking() and not player.asking()
    assert_same_path(facts(run.records), expected, is_whole=both_ended)
    if both_ended:
        assert (run.status, run.values) == (oracle.sim.status, oracle.sim.now.state)


def assert_same_path(found: list[Any], expected: list[Any], *, is_whole: bool) -> None:
    """Compare two paths; one that has asked too much has ended early."""
    assert not is_whole or len(found) == len(expected)
    for one, other in zip(found, expected, strict=False):
        assert {**one, "arrows": sorted(one["arrows"])} == {
            **other,
            "arrows": sorted(map(list, other["arrows"])),
        }


def as_child(case: Data, *, is_sent: bool) -> dict[str, Any]:
    """Make a case whose graph is a child: beside a sibling, or sent twice."""
    given = case["input"]
    sub = {"name": "sub", "graph": case, "input": {name: name for name in given}, "output": {}}
    sends = [{"send": "sub", "input": given}, {"send": "sub", "input": given}]
    routers = [{"source": "START", "targets": ["sub"], "answers": [sends]}] if is_sent else []
    first = [["START", "b"]] if is_sent else [["START", "sub"], ["START", "b"]]
    return {
        "name": "parent",
        "state": STATE,
        "nodes": [sub, {"name": "b", "flaky": [1]}, {"name": "j"}],
        "edges": [*first, [["sub", "b"], "j"]],
        "routers": routers,
        "input": given,
    }


def answer_inside(key: str, step: int) -> list[str]:
    """Answer a question of a child as if the child were alone."""
    return answer_to(key.partition("/")[2], step)
