# Everything here starts from a fresh clone: the environment is made when it is missing.
#
#   make demo    install, pre-train on 5,000 handwritten digits, evaluate, print the verdict
#   make test    the default test run, under 8 minutes on 2 cores
#   make check   format, lint, types, import rule, policy tests
#   make slow    the tests that take minutes: documentation blocks in full, golden runs
#   make docs    write the generated pages again
#   make clean   remove the environment and caches (run folders are kept)
#
# PYTHON=python3.12 chooses an interpreter, VENV=folder the environment,
# PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" goes to pip as it stands.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
PIP_ARGS ?=
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt $(PIP_ARGS) --editable
LIMIT := $(shell command -v timeout || command -v gtimeout)
PYTEST_ARGS ?=
PARALLEL := -n auto --maxprocesses 8 --dist worksteal

.PHONY: help demo test check slow docs clean

help:
	@sed -n 's/^#   //p' Makefile

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11 or newer is needed and was not found. Install it, or name one: make PYTHON=..."; \
		exit 1; fi
	@echo "Making the environment $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { \
		echo "$(PYTHON) cannot make environments; on Debian and Ubuntu: apt install python3-venv"; \
		rm -rf $(VENV); exit 1; }

# A stamp records an installation, so that it is repeated only when the requirements change.
$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing (PyTorch is large: some minutes the first time)"
	@$(INSTALL) .
	@touch $@

$(VENV)/.test: $(VENV)/.core
	@$(INSTALL) '.[test]'
	@touch $@

$(VENV)/.dev: $(VENV)/.test
	@$(INSTALL) '.[dev]'
	@touch $@

demo: $(VENV)/.core
	@$(BIN)/unlabeled demo

test: $(VENV)/.test
	$(if $(LIMIT),$(LIMIT) --signal=INT 480) $(BIN)/python -m pytest -q $(PARALLEL) $(PYTEST_ARGS)

slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/policy

docs: $(VENV)/.core
	$(BIN)/python scripts/write_docs.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build dist
