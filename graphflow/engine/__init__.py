"""The engine: a pure generator that says what to run and what to commit."""
