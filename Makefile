# `make demo` and `make test` each work alone on a fresh clone: Python 3.11 or newer with pip is
# all they need. Both keep their environment in .venv and install again only when pyproject.toml
# or constraints.txt change.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt
FOLDERS := pima_physics simulators datasets validation tests
ARGS ?=

.PHONY: help demo test lint types unit studies bench docs wheel format clean
.DELETE_ON_ERROR:

help:
	@echo "make demo     install into .venv and run the main job on an embedded data set"
	@echo "make test     install with the test extra, then lint, types and tests"
	@echo "make lint | types | unit     the three parts of make test"
	@echo "make studies  small versions of the studies behind the claims (pytest -m study)"
	@echo "make bench    benchmarks (python -m pima_physics.validation.benchmarks)"
	@echo "make docs | wheel | format | clean"

# --- environment ---------------------------------------------------------------------------

# A command may exist and not run (version-manager shims), be too old, or lack ensurepip.
$(BIN)/python:
	@for candidate in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
	  if $$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	      >/dev/null 2>&1; then \
	    echo "creating $(VENV) with $$($$candidate -V) ($$candidate)"; \
	    $$candidate -m venv --clear $(VENV) || exit 1; \
	    exit 0; \
	  fi; \
	done; \
	echo "no Python 3.11 or newer with venv and ensurepip found; install one" \
	     "or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python" >&2; \
	exit 1

# torch first and by its exact version, so that a CPU build on disk is preferred.
$(VENV)/.torch: constraints.txt | $(BIN)/python
	@echo "installing torch (once; this can take minutes)"
	@$(PIP) torch
	@touch $@

$(VENV)/.run: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "installing pima_physics"
	@$(PIP) -e .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "installing pima_physics with the extras test and scale"
	@$(PIP) -e '.[test,scale]'
	@touch $@ $(VENV)/.run

$(VENV)/.docs: pyproject.toml constraints.txt $(VENV)/.run
	@$(PIP) -e '.[docs]'
	@touch $@

# --- what a user runs ----------------------------------------------------------------------

demo: $(VENV)/.run
	@$(BIN)/pima-physics demo $(ARGS)

test: lint types unit

lint: $(VENV)/.test
	$(BIN)/ruff check $(FOLDERS)
	$(BIN)/ruff format --check $(FOLDERS)

# pyright does not follow the import hook of an editable install: show it the installed layout.
types: $(VENV)/.test
	@rm -rf .types && mkdir .types
	@cp -R pima_physics pyproject.toml .types/
	@cp -R simulators datasets validation .types/pima_physics/
	$(BIN)/pyright -p .types --pythonpath $(BIN)/python

# One thread per process: two test processes share two cores, and results repeat exactly.
unit studies: export OMP_NUM_THREADS := 1
unit studies: export MKL_NUM_THREADS := 1

unit: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 -m "not slow and not study and not gpu" $(ARGS)

# Small studies, and tests that take too long for `make test`. pytest ends with 5 where there is none.
studies: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 -m "(study or slow) and not gpu" $(ARGS) || \
	  { status=$$?; [ $$status -eq 5 ] && echo "no study to run" || exit $$status; }

# --- what a developer runs -----------------------------------------------------------------

bench: $(VENV)/.test
	$(BIN)/python -m pima_physics.validation.benchmarks $(ARGS)

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

wheel: $(VENV)/.test
	$(BIN)/python -m build --wheel

format: $(VENV)/.test
	$(BIN)/ruff check --fix $(FOLDERS)
	$(BIN)/ruff format $(FOLDERS)

clean:
	rm -rf $(VENV) .types build dist *.egg-info .pytest_cache .ruff_cache .hypothesis docs/_build docs/generated
	find $(FOLDERS) -name __pycache__ -type d -prune -exec rm -rf {} +
