"""The rules that a graph is checked by, by subject; `graphflow.validate` applies them."""
