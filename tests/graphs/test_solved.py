"""The lookup of similar tickets finds them whatever the text, and keeps its index fresh."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.solved import Solved, any_word_of, read_solved, similar_to

ROWS = [
    Solved(text="The hub lost the wifi", topic="technical", reply="Please restart the hub."),
    Solved(text="My invoice shows the wrong VAT", topic="billing", reply="We mailed a new one."),
    Solved(text="Où est mon colis, s'il vous plaît ?", topic="shipping", reply="Il arrive demain."),
]
HOSTILE = [
    'invoice"',
    "invoice' OR 1=1 --",
    'NEAR("invoice" VAT, 5)',
    "invoice AND NOT (VAT",
    "{text}: invoice*",
    "^invoice + VAT",
    "text:invoice",
    "invoice\x00VAT",
    "invoice \ud800 \U0001f4b8",
    "INVOICE " * 5_000,
    " ".join(f"w{number}" for number in range(5_000)) + " invoice",
]


@pytest.fixture
def library(tmp_path):
    """A source of three solved tickets, and where its index goes."""
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(row.model_dump_json() + "\n" for row in ROWS), "utf-8")
    return source, tmp_path / "out" / "rows.db"


@pytest.mark.parametrize("text", HOSTILE[:-1])
def test_operators_and_quotes_of_the_search_are_only_words(library, text):
    """A text full of search syntax finds what its words find, and never raises."""
    assert similar_to(text, *library, 1)[0].topic == "billing"


def test_only_the_first_words_of_a_long_text_are_searched(library):
    """A mail of thousands of words is searched for its first ones, within SQLite's bounds."""
    assert similar_to(HOSTILE[-1], *library, 4) == []


@pytest.mark.parametrize("text", ["", "   ", "?!… —", '"', "\x00", "💸"])
def test_a_text_without_words_finds_nothing(library, text):
    """Nothing to search for is no error."""
    assert similar_to(text, *library, 4) == []


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_is_a_valid_query(text):
    """Whatever is written, SQLite understands the query that is made of it."""
    query = any_word_of(text)
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE VIRTUAL TABLE t USING fts5(text, tokenize='porter unicode61')")
        if query:
            connection.execute("SELECT * FROM t WHERE t MATCH ?", [query]).fetchall()
    finally:
        connection.close()


def test_letters_of_other_languages_are_found(library):
    """Accents and capitals do not matter to the search."""
    assert similar_to("OU EST LE COLIS", *library, 1)[0].topic == "shipping"


def test_the_nearest_comes_first_and_the_limit_holds(library):
    """The best match leads; no more than the limit are returned."""
    found = similar_to("the hub, the invoice and its VAT", *library, 2)
    assert [one.topic for one in found] == ["billing", "technical"]


def test_the_index_is_built_once_and_again_when_the_source_changes(library):
    """An unchanged source leaves the index alone; a changed one is found at once."""
    source, index = library
    similar_to("invoice", *library, 1)
    built = index.stat().st_mtime_ns
    similar_to("invoice", *library, 1)
    assert index.stat().st_mtime_ns == built
    more = Solved(text="a kettle", topic="other", reply="No kettles.")
    source.write_text(source.read_text("utf-8") + more.model_dump_json() + "\n", "utf-8")
    assert similar_to("kettle", *library, 1) == [more]
    assert [path.name for path in index.parent.iterdir()] == ["rows.db"]


def test_a_line_that_is_no_solved_ticket_is_named(tmp_path):
    """The error names the file, the line and the field."""
    source = tmp_path / "bad.jsonl"
    source.write_text(ROWS[0].model_dump_json() + '\n{"text": "x", "topic": "y"}\n', "utf-8")
    with pytest.raises(ValueError, match=r"bad\.jsonl, line 2.*(?s:.*)reply"):
        read_solved(source)
