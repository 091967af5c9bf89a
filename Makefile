# `make demo` and `make test` need Python 3.11 or newer and nothing else: each makes .venv and installs what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint types unit smoke docs docs-serve reference gallery bench clean

demo: $(VENV)/.plot
	$(BIN)/landscape demo

test: lint types unit docs smoke

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

unit: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses auto --dist loadgroup --doctest-modules landscape_cli tests

# The README's main command at a third of its size, then the same again, which must find everything done.
smoke: $(VENV)/.dev
	rm -rf $(VENV)/smoke
	$(BIN)/landscape demo --parents 1 --out $(VENV)/smoke --format table
	$(BIN)/landscape demo --parents 1 --out $(VENV)/smoke --quiet

# The site is built from what lies here, without a network; a broken link is an error.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-serve: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

# The generated pages: docs/reference/ from the code, the gallery from its captions and numbers.
reference: $(VENV)/.dev
	$(BIN)/python -m docs.generate
	$(BIN)/python -m examples.gallery render

# All scripts of the gallery from nothing, timed; then its pictures, numbers and page. Some twenty minutes.
gallery: $(VENV)/.dev
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m examples.gallery run $(or $(RUNS),examples-runs)

bench: $(VENV)/.dev
	$(PIP) --no-deps loss-landscapes==3.0.6 pyhessian==0.1 hessian-eigenthings==1.0.0a5 rebasin==0.0.47 torchview==0.2.7 \
		graphviz==0.21
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: $(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.plot: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) torch
	$(PIP) --editable '.[plot]'
	touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) torch
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/.plot

clean:
	rm -rf $(VENV) landscape-demo build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
