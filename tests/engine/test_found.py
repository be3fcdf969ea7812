"""Cases that random graphs have found and the golden vectors do not have; the oracle expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from graphflow.checkpoint.memory import MemoryCheckpointer
from tests.engine.cases import assert_seen
from tests.engine.oracle import Oracle
from tests.engine.vectors import Player, Way

RUN, RESUME = {"do": "run"}, {"do": "resume"}
LARGE = {"do": "resume", "limits": {"steps": 9, "visits": 9}}


def ways(source: str, *answers: str) -> dict[str, Any]:
    """Write a router."""
    return {"source": source, "targets": sorted({"a", *answers}), "answers": list(answers)}


def looping(times: int, **limits: int) -> dict[str, Any]:
    """Write a child whose only node runs so often."""
    router = ways("a", *["a"] * (times - 1), "END")
    edges = [["START", "a"]]
    return {
        "state": {},
        "nodes": [{"name": "a"}],
        "edges": edges,
        "routers": [router],
        "limits": limits,
    }


def gate(**ways: Any) -> dict[str, Any]:
    """Write a gate that passes when the log has an even number of entries."""
    return {"modulo": 2, "good": [0], "otherwise": None, "tries": None, "feedback": False, **ways}


CASES: dict[str, dict[str, Any]] = {
    "a fork of a fork keeps what the first one changed before the second": {
        "nodes": [{"name": "a"}, {"name": "b"}],
        "edges": [["START", "a"]],
        "routers": [{"source": "a", "targets": ["b", "END"], "answers": ["END"]}],
        "actions": [
            RUN,
            {"do": "fork", "step": 1, "choose": {"a": "b"}},
            {"do": "fork", "step": 2},
            {"do": "fork", "step": 1},
            {"do": "fork", "step": 0},
        ],
    },
    "an input that several forks have committed anew is changed once": {
        "state": {"n": "add"},
        "nodes": [{"name": "a"}],
        "edges": [["START", "a"]],
        "routers": [],
        "actions": [
            RUN,
            {"do": "fork", "step": 0, "update": {"n": 5}},
            {"do": "fork", "step": 1},
            {"do": "fork", "step": 0},
            {"do": "fork", "step": 1},
            {"do": "fork", "step": 0},
        ],
    },
    "limits given to a resume are not those of a child that begins later": {
        "nodes": [
            {"name": "a", "graph": looping(4, steps=2)},
            {"name": "b", "graph": looping(4, steps=2)},
        ],
        "edges": [["START", "a"], ["a", "b"]],
        "routers": [],
        "actions": [RUN, LARGE, RESUME, LARGE],
    },
    "tries of a gate are failures in a row": {
        "nodes": [
            {"name": "a"},
            {"name": "g", "gate": gate(passed="a", failed="a", otherwise="END", tries=2)},
        ],
        "edges": [["START", "a"], ["a", "g"]],
        "routers": [],
        "limits": {"steps": 12},
        "actions": [RUN, {"do": "fork", "step": 4}],
    },
    "a fork counts anew from an answer that came before it, not from one after it": {
        "state": {"said": "last"},
        "nodes": [{"name": "a"}, {"name": "q", "question": {"into": "said"}}, {"name": "b"}],
        "edges": [["START", "a"], ["a", "q"], ["q", "b"], ["b", "a"]],
        "routers": [],
        "limits": {"steps": 4},
        "actions": [
            RUN,
            {"do": "answer", "node": "q", "value": 1},
            {"do": "answer", "node": "q", "value": 2},
            {"do": "fork", "step": 2},
            {"do": "fork", "step": 1},
        ],
    },
    "a question inside of a child that has fallen back is asked no more": {
        "state": {"said": "last"},
        "nodes": [
            {
                "name": "a",
                "fallback": "c",
                "graph": {
                    "state": {"said": "last"},
                    "nodes": [
                        {"name": "q", "question": {"into": "said"}},
                        {"name": "x", "outcomes": ["fail"]},
                    ],
                    "edges": [["START", "q"], ["START", "x"]],
                    "routers": [],
                },
            },
            {"name": "q", "question": {"into": "said"}},
            {"name": "c"},
        ],
        "edges": [["START", "a"], ["START", "q"]],
        "routers": [],
        "actions": [RUN, {"do": "answer", "node": "q", "value": 1}],
    },
}


@pytest.mark.parametrize("small_steps", [False, True], ids=["in one go", "stopped"])
@pytest.mark.parametrize("name", CASES)
def test_case(name: str, small_steps: bool) -> None:
    """The rules hold where random graphs have once found them broken, or nearly untested."""
    case: Mapping[str, Any] = {"name": "found", "state": {}, **CASES[name]}
    store, oracle = MemoryCheckpointer(), Oracle(case)
    player = Player(case, lambda: store, Way(small_steps=small_steps))

    for action in case["actions"]:
        expect = oracle.act(action)
        assert_seen(case, {**action, "expect": expect}, player.act(action))
        assert sorted(player.asking()) == sorted(oracle.asking())
