"""The commands: run, resume, answer, fork, cancel, runs, show, questions, draw, check, doctor."""
