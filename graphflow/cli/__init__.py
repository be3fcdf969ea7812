"""The commands: run, resume, runs, show, draw, check."""
