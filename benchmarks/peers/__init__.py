"""One module per engine: how it does the work of the cases."""
