"""graphflow as a peer of the benchmark harness: its adapter.

graphflow         WAL + synchronous=FULL, each step one transaction
graphflow_normal  WAL + synchronous=NORMAL, likewise
"""

import asyncio
from typing import Annotated

from common import (
    THREAD_SLEEP,
    Peer,
    Small,
    Stamps,
    Wide,
    check,
    db_bytes,
    msg,
    timed,
    timed_async,
)
from pydantic import BaseModel

from graphflow import END, START, Limits, StateGraph, append
from graphflow.checkpoint.sqlite import SqliteCheckpointer

FAR = Limits(steps=10**9, visits=10**9)


class Msgs(BaseModel):
    n: int = 0
    limit: int = 0
    messages: Annotated[list[str], append] = []


def inc(state: Small) -> dict:
    return {"n": state.n + 1}


def chain(k, fn=inc):
    graph = StateGraph(Small)
    for i in range(k):
        graph.add_node(f"n{i}", fn)
    graph.add_edge(START, "n0")
    for i in range(k - 1):
        graph.add_edge(f"n{i}", f"n{i + 1}")
    graph.add_edge(f"n{k - 1}", END)
    return graph


def loop_graph(state, fn, more):
    graph = StateGraph(state)
    graph.add_node("step", fn)
    graph.add_edge(START, "step")

    def again(seen):
        return "step" if more(seen) else END

    graph.add_conditional_edges("step", again, ["step", END])
    return graph


def more(state):
    return state.n < state.limit


class Graphflow(Peer):
    name = "graphflow"
    dists = ["graphflow-agents"]
    imports = "import graphflow"
    durability = "full"
    settings = (
        "pydantic state, changed fields validated, decisions with evidence;"
        " SQLite WAL synchronous=FULL, 1 commit per step, digests and fencing"
    )

    def store(self, path):
        return SqliteCheckpointer(path, durability=self.durability)

    def chain10(self, n):
        flow = chain(10).compile()

        def go():
            for _ in range(n):
                check(flow.run({}).state.n == 10)

        return timed(go)

    def build(self, n):
        return timed(lambda: chain(n).compile())

    def loop(self, n):
        flow = loop_graph(Small, inc, more).compile(limits=FAR)
        return timed(lambda: check(flow.run({"limit": n}).state.n == n))

    def wide50(self, n):
        graph = loop_graph(Wide, lambda s: {"f0": s.f0 + 1}, lambda s: s.f0 < n)
        flow = graph.compile(limits=FAR)
        return timed(lambda: check(flow.run({}).state.f0 == n))

    def fill(self, kind, n, path, stamps=None):
        hit = stamps.hit if stamps else lambda: None

        def small(state):
            hit()
            return {"n": state.n + 1}

        def msgs(state):
            hit()
            return {"n": state.n + 1, "messages": [msg(state.n)]}

        model, fn = (Small, small) if kind == "small" else (Msgs, msgs)
        with loop_graph(model, fn, more).compile(self.store(path), limits=FAR) as flow:
            state = flow.run({"limit": n}, run_id="t").state
        check(state.n == n and (kind == "small" or len(state.messages) == n))

    def _ckpt(self, kind, n):
        path, stamps = self.fresh_db(), Stamps()
        seconds = timed(lambda: self.fill(kind, n, path, stamps))
        size = db_bytes(path)
        self.drop(path)
        return seconds, {"db_bytes": size, **stamps.growth()}

    def ckpt_small(self, n):
        return self._ckpt("small", n)

    def ckpt_msgs(self, n):
        return self._ckpt("msgs", n)

    def _resume(self, kind, n):
        path, model = self.prepared_db(kind, n), Small if kind == "small" else Msgs

        def go():
            with loop_graph(model, inc, more).compile(self.store(path)) as flow:
                check(flow.resume("t").state.n == n)

        return timed(go)

    def resume_small(self, n):
        return self._resume("small", n)

    def resume_msgs(self, n):
        return self._resume("msgs", n)

    def history(self, n):
        path = self.prepared_db("small", n)

        def go():
            with loop_graph(Small, inc, more).compile(self.store(path)) as flow:
                run = flow.get("t")
                states = [run.state_at(step.step) for step in run.steps]
            check(len(states) >= n and states[-1].n == n)

        return timed(go)

    def _threads(self, n, flow):
        async def go():
            for run in await flow.abatch([{}] * n):
                check(run.state.n == 5)

        return timed_async(go)

    def _graph5(self):
        async def node(state):
            await asyncio.sleep(THREAD_SLEEP)
            return {"n": state.n + 1}

        return chain(5, node)

    def threads_mem(self, n):
        return self._threads(n, self._graph5().compile())

    def threads_ckpt(self, n):
        path = self.fresh_db()
        with self._graph5().compile(self.store(path)) as flow:
            seconds = self._threads(n, flow)
        size = db_bytes(path)
        self.drop(path)
        return seconds, {"db_bytes": size}


class GraphflowNormal(Graphflow):
    name = "graphflow_normal"
    durability = "normal"
    settings = "as graphflow, but synchronous=NORMAL"
    only = {"ckpt_small", "ckpt_msgs"}


PEERS = [Graphflow, GraphflowNormal]
