"""Prunes of random families of runs and forks: what is left is as it was, whatever the store."""

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from graphflow.checkpoint.memory import MemoryCheckpointer
from graphflow.checkpoint.owner import this_process
from graphflow.checkpoint.sqlite import SqliteCheckpointer
from graphflow.history import States, counters_at
from graphflow.records import Ending, Snapshot
from graphflow.testing.processes import ended_process
from graphflow.testing.records import a_call, a_child, a_fork, a_header, a_step, a_task, facts
from graphflow.upkeep import Wish

SPEC = '{"name":"triage","state":{"fields":{"notes":{"reducer":"append"},"n":{"reducer":null}}}}'
OPEN = ("running", "paused", "failed", "stale")

moves = st.lists(
    st.tuples(
        st.sampled_from(["begin", "steps", "steps", "fork", "fork", "child", "end", "end"]),
        st.integers(0, 9),
        st.integers(0, 12),
        st.sampled_from([None, None, "whole", "part", "part"]),
    ),
    max_size=24,
)
wishes = st.builds(
    Wish,
    keep=st.sampled_from([None, None, 0, 1, 2]),
    before=st.sampled_from([None, None, None, "2000", "9999"]),
    steps=st.sampled_from([None, 0, 1, 2, 3, 5, 8]),
    failed=st.booleans(),
)


class World:
    """The same runs in two stores; what the last snapshot of each had is remembered."""

    def __init__(self, folder):
        self.stores = [
            SqliteCheckpointer(Path(folder, "runs.db"), durability="normal"),
            MemoryCheckpointer(),
        ]
        self.leases = {}
        self.dead = ended_process()

    def values(self, run_id):
        """Give the state of a run after each of its steps."""
        records = self.stores[0].load(run_id)
        states = States(records)
        return {step.step: states.text_at(step.step) for step in records.steps}

    def every(self):
        """Describe all runs, children too: both stores say the same."""
        found = {}
        for store in self.stores:
            ids = [header.run_id for header in store.runs()]
            own = {}
            while ids:
                run_id = ids.pop()
                records = store.load(run_id)
                states = States(records)
                own[run_id] = {
                    "header": facts(replace(records.header, ended_at=None, owner=None)),
                    "steps": {step.step: facts(step) for step in records.steps},
                    "calls": [facts(call) for call in records.calls],
                    "children": {child.header.run_id for child in records.children},
                    "values": {s.step: states.text_at(s.step) for s in records.steps},
                    "counters": {s.step: counters_at(records, s.step) for s in records.steps},
                    "spent": store.spent(run_id).tokens,
                }
                parents = [c for c in records.children if c.header.parent == run_id]
                ids += [child.header.run_id for child in parents]
            assert own == (found or own)
            found = own
        return found

    def do(self, move):
        """Do one thing to both stores."""
        verb, which, much, how = move
        names = sorted(self.leases)
        name = names[which % len(names)] if names else None
        if verb == "begin" or name is None:
            self._begin(a_header(f"run-{len(names)}", created_at=_time(len(names))), 0)
        elif verb == "fork":
            last = self.stores[0].load(name, tail=True).header.step
            number = len(names)
            header = a_fork(f"fork-{number}", name, much % (last + 1), created_at=_time(number))
            self._begin(header, header.fork_step)
        elif self.leases[name] is None:
            return
        elif verb == "steps":
            if not self._is_late(name):
                for n in range(much):
                    self._commit(name, how if n == much // 2 else None)
        elif verb == "child":
            self._child(name, ended=how is None)
        else:
            self._end(name, ["done", "done", "cancelled", "paused", "failed", "stale"][much % 6])

    def _begin(self, header, step, under=None):
        notes = f'["{header.run_id}"]' if header.fork_of else "[]"
        state = Snapshot(step, f'{{"notes":{notes},"n":{step}}}', f'{{"since":{step}}}')
        first = replace(_step(step), ready=(header.run_id,))
        leases = [
            store.begin(header, SPEC, first, state, None, **({"under": u} if u else {}))
            for store, u in zip(self.stores, under or (None, None), strict=True)
        ]
        self.leases[header.run_id] = leases

    def _commit(self, name, how):
        records = self.stores[0].load(name, tail=True)
        step, last = records.header.step + 1, records.snapshots[-1].step
        saved = None
        if how == "part":
            added = ",".join(f'"note {n}"' for n in range(last + 1, step + 1))
            state, counters = f'{{"n":{step}}}', f'{{"since":{step}}}'
            saved = Snapshot(step, state, counters, since=last, added_json=f'{{"notes":[{added}]}}')
        elif how == "whole":
            before = self.values(name)[step - 1]
            state = before.replace("]", f'{"" if "[]" in before else ", "}"note {step}"]')
            saved = Snapshot(step, state.replace(f'"n":{step - 1}', f'"n":{step}'), "{}")
        for store, lease in zip(self.stores, self.leases[name], strict=True):
            store.call(lease, a_call(step))
            store.commit(lease, _step(step), saved, None)

    def _is_late(self, name):
        """Tell whether a child's parent no longer waits for it."""
        header = self.stores[0].load(name, tail=True).header
        if header.parent is None:
            return False
        parent = self.stores[0].load(header.parent, tail=True).header
        return parent.step >= header.parent_step

    def _child(self, name, *, ended):
        if self._is_late(name):
            return
        step = self.stores[0].load(name, tail=True).header.step + 1
        header = a_child(name, step)
        if header.run_id not in self.leases:
            self._begin(header, 0, under=self.leases[name])
            self._commit(header.run_id, None)
            if ended:
                self._end(header.run_id, "done")

    def _end(self, name, status):
        for store, lease in zip(self.stores, self.leases[name], strict=True):
            if status == "stale":
                if not lease.root:
                    store.take(name, this_process())
                    store.stop(name, Ending("paused"))
                    store.take(name, self.dead)
            else:
                store.end(lease, Ending(status))
        self.leases[name] = None
        for child in [c for c in self.leases if c.startswith(f"{name}/")]:
            self.leases[child] = None


def _step(step):
    task = a_task(0, update_json=f'{{"notes":["note {step}"],"n":{step}}}', replaces=())
    return replace(a_step(step), tasks=(task,) if step else ())


def _time(number):
    return f"2026-11-22T14:{number // 60:02}:{number % 60:02}.000000+00:00"


def check(world, wish, before, after):
    """Check that nothing was dropped but what was asked for, and that the rest is as it was."""
    for run_id, was in before.items():
        header = was["header"]
        if run_id not in after:
            root = run_id.partition("/")[0]
            if root in after:  # a part of a step that was cut off
                continue
            assert before[root]["header"]["status"] in wish.over
            continue
        now = after[run_id]
        assert now["header"] == header
        assert now["spent"] == was["spent"]
        first, last = min(now["steps"]), header["step"]
        for part in ("steps", "values", "counters"):
            kept = {step: of for step, of in was[part].items() if step >= first}
            assert now[part] == kept
        assert now["calls"] == [call for call in was["calls"] if call["step"] >= first]
        assert now["children"] <= was["children"]
        if wish.steps is None:
            assert now["steps"] == was["steps"]
        else:
            assert first <= max(min(was["steps"]), last - wish.steps)
    if wish.keep is None and wish.before is None:
        roots = {run_id for run_id in before if "/" not in run_id}
        assert roots <= {*after}


def go_on(world, before, after):
    """Fork what is left at its steps, and take what is open: the states are as they would be."""
    for run_id, now in list(after.items()):
        steps = sorted(now["steps"])
        for step in {*steps[1:2], steps[-1]} - {steps[0]}:
            name = f"last-{run_id.replace('/', '_')}-{step}"
            world._begin(a_fork(name, run_id, step, created_at=_time(3000)), step)
            world._commit(name, "part")
            states = world.values(name)
            assert {s: states[s] for s in steps if s < step} == {
                s: text for s, text in now["values"].items() if s < step
            }
        header = now["header"]
        if "/" in run_id or header["status"] not in ("paused", "failed", "stale"):
            continue
        world.leases[run_id] = [store.take(run_id, this_process()) for store in world.stores]
        world._commit(run_id, "part")
        world._commit(run_id, "whole")
        states = world.values(run_id)
        assert {s: states[s] for s in steps} == now["values"]
        assert len(states) == len(steps) + 2


def play(script, wish, again):
    """Do things, prune, and check; then prune once more."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(folder)
        try:
            for move in script:
                world.do(move)
            for wanted in (wish, again):
                before = world.every()
                seen = [store.prune(wanted, dry_run=True) for store in world.stores]
                assert world.every() == before
                done = [store.prune(wanted) for store in world.stores]
                assert done == seen
                assert [(p.runs, p.cut, p.steps) for p in done[:1]] == [
                    (p.runs, p.cut, p.steps) for p in done[1:]
                ]
                after = world.every()
                check(world, wanted, before, after)
                assert list(world.stores[0].verify()) == []
            go_on(world, before, after)
            assert list(world.stores[0].verify()) == []
            world.every()
        finally:
            for store in world.stores:
                store.close()


a_fork_of_a_fork = [
    ("begin", 0, 0, None),
    ("steps", 0, 12, "part"),
    ("fork", 0, 9, None),
    ("steps", 0, 9, "whole"),
    ("fork", 0, 6, None),
    ("steps", 0, 3, None),
]


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # to shrink one would take minutes
    suppress_health_check=[HealthCheck.too_slow],
)
@given(moves, wishes, wishes)
@example(a_fork_of_a_fork, Wish(steps=2), Wish(steps=0))
@example(a_fork_of_a_fork, Wish(steps=5), Wish(steps=4))  # the fork between them is cut
@example([*a_fork_of_a_fork, ("end", 0, 0, None), ("end", 1, 0, None)], Wish(keep=0), Wish(steps=1))
@example(
    [  # forks at step 0 share nothing: what they are of may be cut anywhere
        ("begin", 0, 0, None),
        ("fork", 0, 0, None),
        ("fork", 0, 0, None),
        ("steps", 2, 8, "part"),
        ("steps", 0, 7, None),
        ("end", 0, 3, None),
    ],
    Wish(steps=1),
    Wish(steps=2),
)
@example(
    [("begin", 0, 0, None), ("steps", 0, 4, "part"), ("child", 0, 0, None), ("steps", 0, 8, None)],
    Wish(steps=3),
    Wish(steps=0),
)
def test_a_prune_changes_nothing_that_stays(script, wish, again):
    """What stays loads, verifies, folds, forks and goes on as before; nothing open or shared goes.

    A dry run says exactly what happens; both stores do the same.
    """
    play(script, wish, again)
