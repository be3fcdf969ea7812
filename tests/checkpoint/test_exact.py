"""What is stored comes back exactly, types and all, because the schema says how it is read."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel

from graphflow import END, START, StateGraph, append, union


class Colour(Enum):
    RED = "red"
    DEEP = 3


class Part(BaseModel):
    size: Decimal
    made: datetime
    inner: "Part | None" = None


class Things(BaseModel):
    pair: tuple[int, str] = (0, "")
    many: tuple[Decimal, ...] = ()
    members: Annotated[set[int], union] = set()
    fixed: frozenset[str] = frozenset()
    price: Decimal = Decimal(0)
    colour: Colour = Colour.RED
    when: datetime = datetime(2000, 1, 1, tzinfo=UTC)
    day: date = date(2000, 1, 1)
    at: time = time(1)
    took: timedelta = timedelta(0)
    huge: int = 0
    raw: bytes = b""
    name: UUID = UUID(int=0)
    real: float = 0.0
    part: Part | None = None
    parts: Annotated[list[Part], append] = []
    by_key: dict[int, tuple[str, ...]] = {}


GIVEN: dict[str, Any] = {
    "pair": (3, "three"),
    "many": (Decimal("1.10"), Decimal("1E+30")),
    "members": {3, 1, 2},
    "fixed": frozenset({"b", "a"}),
    "price": Decimal("19.990"),
    "colour": Colour.DEEP,
    "when": datetime(2026, 11, 30, 6, 20, 32, 123456, tzinfo=timezone(timedelta(hours=5.5))),
    "day": date(2026, 11, 30),
    "at": time(23, 59, 59, 999999),
    "took": timedelta(days=3, microseconds=7),
    "huge": 2**70,
    "raw": bytes(range(256)),
    "name": UUID(int=2**100 + 7),
    "real": float("inf"),
    "by_key": {7: ("x", "y"), -1: ()},
}


def test_check_26_values_come_back_exactly(db: Path) -> None:
    """tuple, set, Decimal, Enum, datetime, 2**70 and nested models: through the file and back."""
    part = Part(size=Decimal("0.10"), made=GIVEN["when"], inner=Part(size=1, made=GIVEN["when"]))
    update = {**GIVEN, "part": part, "parts": [part, part]}
    graph = StateGraph(Things, name="things")
    graph.add_node("give", lambda s: update)
    graph.add_edge(START, "give")
    graph.add_edge("give", END)
    flow = graph.compile(db)
    live = flow.run({}, run_id="one").state
    flow.close()
    again = graph.compile(db)
    back = again.get("one").state
    assert back == live
    for name, value in update.items():
        found = getattr(back, name)
        assert (found, type(found)) == (value, type(value)), name
    assert str(back.price) == "19.990"
    assert back.when.utcoffset() == timedelta(hours=5.5)
    assert type(back.parts[1].inner) is Part
    assert {type(member) for member in back.members} == {int}
    assert again.get("one").state_at(0) == Things()
    again.close()
