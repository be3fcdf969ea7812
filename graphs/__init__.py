"""Example graphs: read `support_triage.py` first, run it with `python -m graphs.support_triage`."""
