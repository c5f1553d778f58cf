# Everything here starts from `python3` (3.10 or newer) and `make`; each target does its own set-up
# in .venv, once: stamp files inside it make a second run quick.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

# Test workers: more than cores, since most tests wait for other processes.
WORKERS ?= 3
# How often a failed test is tried again; each such test is named at the end.
RERUNS ?= 0
# Arguments for pytest, e.g. make test TESTS='tests/test_wire.py -k version'
TESTS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint types bench clean

help:
	@echo "make demo    run the word count example on this machine; needs nothing but Python"
	@echo "make test    run every test, with the real services that can be had here"
	@echo "make lint    ruff: style and mistakes"
	@echo "make types   mypy: types, strictly"
	@echo "make bench   measure jobs per second, latencies, memory and transfers"
	@echo "make clean   remove what the other targets made"

demo: $(VENV)/.installed-local
	$(BIN)/portfire demo

test: $(VENV)/.installed-dev $(VENV)/.services
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --reruns $(RERUNS) $(TESTS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

bench: $(VENV)/.installed-dev $(VENV)/.services
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .portfire build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made: tools/make_venv.sh
	sh tools/make_venv.sh "$(PYTHON)" $(VENV)
	@touch $@

$(VENV)/.installed-local: $(VENV)/.made setup.cfg pyproject.toml
	@echo 'Installing Portfire into $(VENV), which takes about half a minute'
	@$(PIP) -e '.[local]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made setup.cfg pyproject.toml
	@echo 'Installing Portfire and its tests into $(VENV), which takes about half a minute'
	@$(PIP) -e '.[local,dev]'
	@touch $@ $(VENV)/.installed-local

# Remade while a service is missing: what cannot be had today may be there tomorrow.
$(VENV)/.services: $(VENV)/.installed-dev tools/setup_services.sh
	sh tools/setup_services.sh $(BIN)/python $@
