"""Where runs are committed: the protocol, and the stores that keep it."""
