"""How a graph changes while runs of it are open: what is compared, judged and carried over."""
