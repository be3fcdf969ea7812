"""A picture in words: the terminal's text, Mermaid, and how numbers and texts are put."""

import pytest

from graphflow.render.mermaid import to_mermaid
from graphflow.render.picture import picture
from graphflow.render.text import to_text
from graphflow.render.wording import (
    clean,
    columns,
    counted,
    cut,
    duration,
    node_of,
    number,
    step_list,
    tallied,
)
from tests.render import journeys, nests, walks
from tests.render.journeys import kind
from tests.render.walks import run, spec, step

TRIAGE = """\
support_triage · done (recovered) · 8 steps · 2.3 s · 1,151 tok · 1 retry
  0  START                            → lookup
  1  lookup    3 ms                   → classify
  2  classify  0.14 s · 212 tok       → draft: confidence = 0.93
  3  draft     0.70 s · 313 tok       → quality
  4  quality   3 ms                   → draft (failed): too short: 31 of at least 40 characters
  5  draft     0.74 s · 313 tok · ↻1  → quality
  6  quality   3 ms                   → draft (failed): too short: 31 of at least 40 characters
  7  draft     0.70 s · 313 tok       → quality
  8  quality   3 ms                   → END (passed): all checks passed
not taken:
  classify   → ask_human
  quality    → template   (otherwise)
  template   → END
  ask_human  → END"""

GRAPH = """\
support_triage
  START           → lookup
  lookup          → classify
  classify        → draft      if chosen
                  → ask_human  if chosen
  draft           → quality
  quality (gate)  → END        if passed
                  → draft      if failed, back
                  → template   if otherwise
  template        → END
  ask_human       → END"""


def text(records):
    """Tell a run."""
    return to_text(picture(records.spec, records))


def test_a_run_in_words():
    """The path stands there line by line, with answers and reasons; then what was not taken."""
    assert text(walks.triage()) == TRIAGE


def test_a_graph_in_words():
    """A graph is the list of its arrows."""
    assert to_text(picture(walks.TRIAGE)) == GRAPH


def test_the_open_step_in_words():
    """What is kept, failed, paused, next or waiting stands at the end of the path."""
    assert "  2  search  kept · 0.80 s\n     prices  failed · OSError: HTTP 503 · 3 tries" in text(
        walks.failed_sibling()
    )
    assert "  13  plan    paused · limit: 3 visits\n" in text(walks.limit_pause())
    assert "     merge   waits · has quick · waits for slower\n" in text(walks.waiting_join())


def test_a_graph_with_a_graph_in_it_in_words():
    """What is in a subgraph stands set in below it."""
    assert to_text(picture(nests.TEAM)).splitlines()[3:8] == [
        "  talk (graph)           → sum_up",
        "     START               → greet",
        "     greet               → confirm",
        "     confirm (question)  → END      asks for ok",
        "  sum_up                 → END      joins talk",
    ]


def test_a_run_with_a_graph_in_it_in_words():
    """The path of a subgraph's run stands set in below its task; its step 0 is left out."""
    told = text(nests.nested()).splitlines()
    assert told[3:8] == [
        "  2  research            2.6 s · 1,400 tok          → write",
        "        1  search        3 items · 0.30 s           → read",
        "        2  read          0.95 s · 700 tok           → rank",
        "           1  open       40 ms                      → summarise",
        "           2  summarise  0.90 s · 700 tok           → END",
    ]
    assert "  research/read/summarise  → END" in text(nests.nested_failed()).splitlines()


def test_a_long_path_is_shortened():
    """Of a long path the beginning and the end are told."""
    graph = spec("loop", ["a"], [("a", "a")])
    steps = [step(i, ["a"] if i else [], [("a", "a", "edge")] if i else []) for i in range(5000)]
    lines = text(run(graph, steps)).splitlines()
    assert len(lines) == 1 + 60 + 1 + 60
    assert lines[61] == "  ... 4880 lines"


def test_the_text_cannot_steer_the_terminal():
    """Escape sequences and overrides of the reading direction are spelled out."""
    told = to_text(picture(spec("g", ["\x1b[31mred\x07", "\u202eab"], [])))
    assert "\\x1b[31mred\\x07" in told
    assert "\\u202eab" in told
    assert "\x1b" not in told


def test_mermaid_names_shapes_and_states():
    """Mermaid gets shapes, labels, strong arrows for what ran, and a class per state."""
    records = walks.triage()
    lines = to_mermaid(picture(records.spec, records)).splitlines()
    assert lines[1] == "flowchart LR"
    assert '    n2 ==>|"draft<br/>confidence = 0.93"| n3' in lines
    assert (
        '    n4 ==>|"failed \N{MULTIPLICATION SIGN}2<br/>too short#58; 31 of at least 4…"| n3'
        in [line.replace("short: 31", "short#58; 31") for line in lines]
    )
    assert '    n2 -->|"ask_human"| n6' in lines
    assert "    class n5,n6 node_not_reached" in lines


def test_mermaid_escapes():
    """What Mermaid or HTML could read as its own is written as a number."""
    source = to_mermaid(picture(spec("g", ['a"]); click <b>`#;&\n%%{x'], [])))
    (label,) = [line for line in source.splitlines() if line.startswith("    n1")]
    inner = label.removeprefix('    n1("').removesuffix('")')
    assert not set(inner.replace("#", "").replace(";", "")) & set('"<>`&%{}[]()|\\\n')


def test_mermaid_draws_subgraphs_and_kinds():
    """A subgraph is one in Mermaid too; arrows lead to it, and each kind has its shape."""
    source = to_mermaid(picture(nests.REPORT, nests.nested()))
    begin = source.index('    subgraph n2["research · 2 · 2.6 s · 1,400 tok"]\n')
    inner = source.index('        subgraph n10["read \N{MULTIPLICATION SIGN}2 · ')
    assert begin < inner < source.index("        end\n") < source.index("\n    end\n")
    assert "    n1 ==> n2\n" in source
    assert "    n2 ==> n4\n" in source
    assert '[["search' in source
    assert '[/"? approve' in source


def test_mermaid_dots_sends_and_fallbacks():
    """Sends and fallbacks have lines of their own."""
    source = to_mermaid(picture(journeys.ESSAYS, journeys.sent_and_fallen()))
    assert '    n1 -.->|"grade \N{MULTIPLICATION SIGN}3<br/>3 essays"| n2' in source
    assert '    n2 -.->|"fallback"| n3' in source


def test_mermaid_leads_a_subgraph_to_itself_within_it():
    """Mermaid cannot draw an arrow from a subgraph to itself: it goes from its end to its start."""
    graph = spec("g", [kind("a", "graph", graph=spec("i", ["x"]))], [("a", "a")])
    assert "    n5 -->|" not in to_mermaid(picture(graph))
    assert "    n5 --> n3\n" in to_mermaid(picture(graph))


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0, "<1 ms"),
        (3.4, "3 ms"),
        (99.4, "99 ms"),
        (140, "0.14 s"),
        (996, "1.0 s"),
        (2100, "2.1 s"),
        (48_000, "48 s"),
        (200_000, "3 min 20 s"),
        (3_599_900, "59 min 59 s"),
        (7_500_000, "2 h 5 min"),
    ],
)
def test_durations(ms, words):
    """A time has the two digits that matter."""
    assert duration(ms) == words


def test_numbers():
    """Counts are short; a plural is a plural."""
    assert [number(n) for n in (0, 940, 9400, 94_000, 9_400_000)] == [
        "0",
        "940",
        "9,400",
        "94k",
        "9.4M",
    ]
    assert [counted(1, "retry"), counted(2, "retry"), counted(0, "step")] == [
        "1 retry",
        "2 retries",
        "0 steps",
    ]


def test_step_lists():
    """Neighbours are joined, and of many the first and the last are told."""
    assert step_list([4, 6, 8]) == "4, 6, 8"
    assert step_list([2, 3, 4, 7]) == "2\N{EN DASH}4, 7"
    assert step_list(range(2, 100, 2)) == "2, 4, 6 … 98"


def test_names_are_counted():
    """A name that comes several times stands once, with its number."""
    assert tallied(["a", "b", "a"]) == ["a \N{MULTIPLICATION SIGN}2", "b"]


def test_the_node_of_a_key():
    """A task or an item names its node; a node that is called like one is itself."""
    names = {"w", "m", "w#1"}
    assert [node_of(k, names) for k in ("w", "w#0", "w#1", "m[3]", "m#0[3]")] == [
        "w",
        "w",
        "w#1",
        "m",
        "m",
    ]


def test_texts_are_cut_and_cleaned():
    """A label is one line of 28 characters; a tooltip keeps its lines."""
    assert cut("a\n b\tc") == "a b c"
    assert len(cut("x" * 10_000)) == 28
    assert clean("a\r\nb\x00") == "a\nb\\x00"
    assert len(clean("x" * 20_000)) == 10_000
    assert columns("日本") == 4
