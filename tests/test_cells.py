"""Running a notebook cell again replaces what it set; other cells' parts stay."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from graphflow import END, START, StateGraph, append
from graphflow.errors import DefinitionError


class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)


class Notebook:
    """Stands for IPython in a kernel: says which cell runs, as a front end sends it."""

    def __init__(self, *, with_ids: bool = True) -> None:
        self.message: dict[str, Any] = {}
        self.runs, self.with_ids = 0, with_ids

    def get_parent(self) -> dict[str, Any]:
        """Give the message of the running cell."""
        return self.message

    def run(self, cell: str, *acts: Callable[[], Any]) -> None:
        """Run a cell."""
        self.runs += 1
        metadata = {"cellId": cell} if self.with_ids else {}
        self.message = {"header": {"msg_id": f"m{self.runs}"}, "metadata": metadata}
        for act in acts:
            act()


def install(monkeypatch: pytest.MonkeyPatch, shell: Any) -> None:
    """Let IPython be there, with this shell."""
    module = ModuleType("IPython")
    module.get_ipython = lambda: shell  # type: ignore[attr-defined]  # it is made here
    monkeypatch.setitem(sys.modules, "IPython", module)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    """A notebook whose front end sends the ids of its cells."""
    made = Notebook()
    install(monkeypatch, made)
    return made


def body(word: str) -> Callable[[State], dict[str, Any]]:
    """Make a body that writes a word."""
    return lambda state: {"log": [word]}


def made() -> StateGraph[State]:
    """Make an empty graph."""
    return StateGraph(State, name="g")


def edges(graph: StateGraph[State]) -> list[tuple[str, str]]:
    """List the edges."""
    return [(e.source, e.target) for e in graph.definition.edges]


def test_a_cell_that_runs_again_replaces_its_node(notebook: Notebook) -> None:
    """The node keeps its place, and the edges of other cells."""
    graph = made()
    notebook.run("c1", lambda: graph.add_node("a", body("old")))
    notebook.run("c2", lambda: graph.add_node("b", body("b")))
    notebook.run(
        "c3",
        lambda: graph.add_edge(START, "a"),
        lambda: graph.add_edge("a", "b"),
        lambda: graph.add_edge("b", END),
    )
    notebook.run("c1", lambda: graph.add_node("a", body("new")))

    assert list(graph.definition.nodes) == ["a", "b"]
    assert graph.compile().run({}).state.log == ["new", "b"]


def test_a_cell_drops_the_edges_it_no_longer_sets(notebook: Notebook) -> None:
    """The old ones of this cell go, those of others stay."""
    graph = made()
    notebook.run("n", *(lambda n=n: graph.add_node(n, body(n)) for n in "abc"))
    notebook.run("e1", lambda: graph.add_edge(START, "a"), lambda: graph.add_edge("a", "b"))
    notebook.run("e2", lambda: graph.add_edge("b", END), lambda: graph.add_edge("c", END))
    notebook.run("e1", lambda: graph.add_edge(START, "a"), lambda: graph.add_edge("a", "c"))

    assert sorted(edges(graph)) == [(START, "a"), ("a", "c"), ("b", END), ("c", END)]


def test_a_cell_replaces_its_router(notebook: Notebook) -> None:
    """Also when the function got another name."""
    graph = made()
    notebook.run("n", *(lambda n=n: graph.add_node(n, body(n)) for n in "ab"))
    notebook.run("r", lambda: graph.add_conditional_edges("a", lambda s: "b", ["b"], name="old"))
    notebook.run("o", lambda: graph.add_conditional_edges("a", lambda s: [], [END], name="other"))
    notebook.run("r", lambda: graph.add_conditional_edges("a", lambda s: END, [END], name="new"))

    assert sorted(r.name for r in graph.definition.routers) == ["new", "other"]


def test_a_router_keeps_its_place(notebook: Notebook) -> None:
    """The order of a node's routers is that of their declaration (S4)."""
    graph = made()
    notebook.run("n", lambda: graph.add_node("a", body("a")))
    for name in ("one", "two", "one"):
        notebook.run(
            name, lambda n=name: graph.add_conditional_edges("a", lambda s: END, [END], name=n)
        )

    assert [r.name for r in graph.definition.routers] == ["one", "two"]


def test_a_node_that_its_cell_no_longer_sets_goes(notebook: Notebook) -> None:
    """Renamed in its cell, the old one does not stay behind."""
    graph = made()
    notebook.run("c", lambda: graph.add_node("draft", body("x")))
    notebook.run("c", lambda: graph.add_node("write", body("x")))

    assert list(graph.definition.nodes) == ["write"]


def test_an_edge_of_another_cell_to_a_node_that_has_gone_is_a_problem(notebook: Notebook) -> None:
    """The other cell still says it; check() tells that its node is not there any more."""
    graph = made()
    notebook.run("a", lambda: graph.add_node("a", body("a")), lambda: graph.add_edge(START, "a"))
    notebook.run("d", lambda: graph.add_node("draft", body("d")))
    notebook.run(
        "e",
        lambda: graph.add_edge("a", "draft"),
        lambda: graph.add_edge("a", END),
        lambda: graph.add_edge("draft", END),
    )
    notebook.run("d", lambda: None, lambda: graph.add_node("drafts", body("d")))

    assert "GF101" in [p.code for p in graph.check()]


def test_a_cell_with_everything_runs_again(notebook: Notebook) -> None:
    """Nodes, edges, router and gate in one cell: twice is as once."""
    graph = made()

    def cell() -> None:
        graph.add_node("a", body("a"))
        graph.add_node("b", body("b"))
        graph.add_edge(START, "a")
        graph.add_conditional_edges("a", lambda s: "b", ["b"], name="r")
        graph.add_gate("q", after="b", checks=[lambda s: True], passed=END, failed="a")

    notebook.run("c", cell)
    first = graph.definition.copy()
    notebook.run("c", cell)

    assert list(graph.definition.nodes) == list(first.nodes)
    assert edges(graph) == [(e.source, e.target) for e in first.edges]
    assert len(graph.definition.routers) == 1
    assert graph.compile().run({}).path == ["a", "b", "q"]


def test_a_gate_that_moves(notebook: Notebook) -> None:
    """Its edge from the old place goes."""
    graph = made()
    notebook.run("n", *(lambda n=n: graph.add_node(n, body(n)) for n in "ab"))

    def gate(after: str) -> Callable[[], None]:
        return lambda: graph.add_gate(
            "q", after=after, checks=[lambda s: True], passed=END, failed="a"
        )

    notebook.run("q", gate("a"))
    notebook.run("q", gate("b"))

    assert edges(graph) == [("b", "q")]


def test_a_part_that_moves_to_another_cell_belongs_to_it(notebook: Notebook) -> None:
    """Defined in the new cell first, then taken out of the old one: it stays."""
    graph = made()
    notebook.run("n", *(lambda n=n: graph.add_node(n, body(n)) for n in "ab"))
    notebook.run("old", lambda: graph.add_edge("a", "b"), lambda: graph.add_edge(START, "a"))
    notebook.run("new", lambda: graph.add_edge("a", "b"))
    notebook.run("old", lambda: graph.add_edge(START, "a"))

    assert sorted(edges(graph)) == [(START, "a"), ("a", "b")]


def test_an_edge_that_two_cells_set_stays_while_one_does(notebook: Notebook) -> None:
    """Taken out of the second cell, the first still says it."""
    graph = made()
    notebook.run("n", *(lambda n=n: graph.add_node(n, body(n)) for n in "ab"))
    notebook.run("one", lambda: graph.add_edge("a", "b"))
    notebook.run("two", lambda: graph.add_edge("a", "b"), lambda: graph.add_edge("b", END))
    notebook.run("two", lambda: graph.add_edge("b", END))

    assert ("a", "b") in edges(graph)


def test_the_flow_says_that_the_graph_was_changed(notebook: Notebook) -> None:
    """A cell that ran again changed the graph; compile it again."""
    graph = made()

    def cell() -> None:
        graph.add_node("a", body("a"))
        graph.add_edge(START, "a")
        graph.add_edge("a", END)

    notebook.run("c", cell)
    flow = graph.compile()
    notebook.run("c", cell)

    with pytest.raises(DefinitionError, match="compile it again"):
        flow.run({})


def test_one_cell_cannot_lose_one_of_two_nodes(notebook: Notebook) -> None:
    """Two functions of one name in one run of one cell: a mistake, as in a script."""
    graph = made()
    with pytest.raises(DefinitionError):
        notebook.run(
            "c", lambda: graph.add_node("a", body("1")), lambda: graph.add_node("a", body("2"))
        )


@pytest.mark.parametrize("parent", [{}, {"header": {}}, {"metadata": {}}, None])
def test_a_shell_that_says_little(monkeypatch: pytest.MonkeyPatch, parent: Any) -> None:
    """No cell id, no header, or nothing yet: nodes of one name are replaced, nothing breaks."""
    install(monkeypatch, SimpleNamespace(get_parent=lambda: parent))
    graph = made()
    for word in ("old", "new"):
        graph.add_node("a", body(word))
        graph.add_edge(START, "a")
        graph.add_edge("a", END)

    assert edges(graph) == [(START, "a"), ("a", END)]
    assert graph.compile().run({}).state.log == ["new"]


def test_plain_ipython_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its shell has no get_parent at all."""
    install(monkeypatch, SimpleNamespace())
    graph = made()
    graph.add_node("a", body("old"))
    graph.add_node("a", body("new"))

    assert list(graph.definition.nodes) == ["a"]


def test_ipython_that_is_imported_but_not_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that imports IPython is a script."""
    install(monkeypatch, None)
    graph = made()
    graph.add_node("a", body("old"))

    with pytest.raises(DefinitionError, match="already"):
        graph.add_node("a", body("new"))


def test_the_prompt_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the plain prompt a node can be defined again too."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    graph = made()
    graph.add_node("a", body("old"))
    graph.add_node("a", body("new"))

    assert list(graph.definition.nodes) == ["a"]


# ----------------------------------------------------------------------------------- real kernels


@pytest.fixture(scope="module")
def kernel() -> Iterator[Any]:
    """A real Jupyter kernel."""
    pytest.importorskip("ipykernel", reason="the package ipykernel is missing")
    manager_module = pytest.importorskip("jupyter_client", reason="jupyter_client is missing")
    from pathlib import Path

    manager = manager_module.KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(Path(__file__).parent.parent))
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def execute(client: Any, cell: str, code: str) -> str:
    """Run code as JupyterLab does: the cell's id in the metadata. Give what it printed."""
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
    content |= {"user_expressions": {}, "stop_on_error": True}
    message = client.session.msg("execute_request", content, metadata={"cellId": cell})
    client.shell_channel.send(message)
    printed = ""
    while True:
        reply = client.get_iopub_msg(timeout=60)
        if reply["parent_header"].get("msg_id") != message["header"]["msg_id"]:
            continue
        kind, data = reply["msg_type"], reply["content"]
        if kind == "stream":
            printed += data["text"]
        elif kind == "error":
            raise AssertionError("\n".join(data["traceback"]))
        elif kind == "status" and data["execution_state"] == "idle":
            return printed.strip()


SETUP = """
from typing import Annotated
from pydantic import BaseModel, Field
from graphflow import *
class State(BaseModel):
    log: Annotated[list[str], append] = Field(default_factory=list)
graph = StateGraph(State, name="cells")
"""
NODES = """
@graph.node
async def first(state: State):
    return {"log": ["%s"]}
@graph.node
def second(state: State):
    return {"log": ["second"]}
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_in_a_real_kernel(kernel: Any) -> None:
    """Cells run again and replace their parts; `run` works in the kernel's running loop."""
    edges = 'graph.add_edge(START, "first")\n%s\ngraph.add_edge("second", END)'
    execute(kernel, "setup", SETUP)
    execute(kernel, "nodes", NODES % "old")
    execute(kernel, "edges", edges % 'graph.add_edge("first", "second")')
    run = "print(graph.compile().run({}).state.log)"
    assert execute(kernel, "run", run) == "['old', 'second']"

    execute(kernel, "nodes", NODES % "new")
    assert execute(kernel, "run", run) == "['new', 'second']"

    execute(kernel, "edges", edges % 'graph.add_edge("first", END)')
    assert execute(kernel, "run", "print([p.code for p in graph.check()])") == "['GF109']"

    execute(kernel, "nodes", NODES.split("@graph.node\ndef second", maxsplit=1)[0] % "alone")
    shown = "print(list(graph.definition.nodes), len(graph.definition.edges))"
    assert execute(kernel, "run", shown).startswith("['first'] ")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_awaited_and_plain_runs_in_a_real_kernel(kernel: Any) -> None:
    """`await flow.arun` and `flow.run` side by side; the run shows itself."""
    execute(kernel, "setup", SETUP + NODES % "one")
    code = (
        'graph.add_edge(START, "first"); graph.add_edge("first", END)\n'
        'graph.add_edge(START, "second"); graph.add_edge("second", END)\n'
        "flow = graph.compile()\n"
        "print((await flow.arun({})).state.log, flow.run({}).state.log)\n"
    )
    assert execute(kernel, "go", code) == "['one', 'second'] ['one', 'second']"
