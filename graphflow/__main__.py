"""Lets `python -m graphflow` be the command line."""

from graphflow.cli.main import cli

if __name__ == "__main__":
    cli(prog_name="graphflow")
