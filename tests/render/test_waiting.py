"""What a held join waits for: read from spec and records, it is what the engine's plan says."""

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from graphflow.definition import Definition, EdgeDef, NodeDef, RouterDef
from graphflow.names import END, START
from graphflow.plan import Plan
from graphflow.records import StepRecord
from graphflow.render.shape import shape_of
from graphflow.render.waiting import awaited
from graphflow.state.schema import StateSchema

NAMES = [f"n{i}" for i in range(7)]


class State(BaseModel):
    x: int = 0


def body(state):
    return None


@st.composite
def graphs(draw: st.DrawFn) -> Definition:
    """Draw a graph with edges, joins, routers, own targets and fallbacks, between any nodes."""
    names = draw(st.permutations(NAMES[: draw(st.integers(2, 7))]))
    node, target = st.sampled_from(names), st.sampled_from([*names, END])
    definition = Definition("g", State)
    for name in names:
        targets = tuple(draw(st.lists(target, max_size=1)))
        fallback = draw(st.none() | node)
        on_budget = draw(st.none() | node)
        given_ = {"fallback": fallback, "on_budget": on_budget}
        definition.nodes[name] = NodeDef(
            name, body, defer=draw(st.booleans()), targets=targets, **given_
        )
    for source, to in draw(st.lists(st.tuples(st.sampled_from([START, *names]), target))):
        kind = "join" if source != START and draw(st.booleans()) else "edge"
        definition.edges[EdgeDef(source, to, kind)] = None
    for i, source in enumerate(draw(st.lists(st.sampled_from([START, *names]), max_size=3))):
        led = tuple(draw(st.lists(target, unique=True, max_size=3)))
        definition.routers.append(RouterDef(source, f"r{i}", body, led))
    return definition


@given(graphs(), st.data())
@settings(max_examples=400, deadline=None)
def test_a_held_join_waits_for_what_the_plan_says(definition, data):
    """Whatever is ready, sent and held: the names are those of `Plan.must_wait` (S9, S10, S20)."""
    plan = Plan(definition, StateSchema(State))
    joins = plan.ordered(plan.joins)
    waiting = [join for join in joins if data.draw(st.booleans())]
    plain = [
        name for name in definition.nodes if name not in plan.joins and data.draw(st.booleans())
    ]
    sent = [name for name in definition.nodes if data.draw(st.booleans())]
    live = [*plain, *sent]
    needs = {
        join: plan.must_wait(join, live, [other for other in waiting if other != join])
        for join in waiting
    }
    fired = {join: ["n0"] for join, names in needs.items() if not names}
    held = {join: [("n0", 1)] for join, names in needs.items() if names}
    ready = [*plain, *fired, *(f"{name}#0" for name in sent)]
    step = StepRecord(1, (), (), (), fired, held, ready, None)
    shape = shape_of(definition.spec())
    found = awaited(step, shape.ways, shape.rank)
    assert {join: set(names) for join, names in found.items()} == {
        join: set(needs[join]) for join in held
    }


@given(graphs())
@settings(max_examples=100, deadline=None)
def test_the_ranks_are_those_of_the_plan(definition):
    """An arrow is drawn as a way back where the engine sees one: the order of ranks is one."""
    plan = Plan(definition, StateSchema(State))
    shape = shape_of(definition.spec())
    names = [name for name in sorted(shape.rank, key=shape.rank.__getitem__) if name != END]
    assert names == sorted(plan.shape.rank, key=plan.shape.rank.__getitem__)
