# `make demo` shows everything, `make test` runs every gate; both set up their own environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK = 1

ifndef SEED
SEED := $(shell date +%s)
endif
COUNT ?= 200
FIRST ?= 0

.PHONY: docs mutants help install demo test quick campaign lint types format clean

help:
	@echo "make demo     synthetic data -> train -> evaluate -> report   (about 10 minutes with installation)"
	@echo "make test     every gate: format, lint, types, imports, tests"
	@echo "make quick    the fast tests only"
	@echo "make campaign long random campaigns: SEED=7 COUNT=1000 ONLY=name   (hours; docs/testing.md)"
	@echo "make docs     the documentation site, in site/"
	@echo "make install  the environment in $(VENV), with the command $(BIN)/ivreid"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ivreid needs Python 3.11 or newer; say make PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): PyTorch is large, this takes a minute or two the first time."
	@$(BIN)/python -m pip install --quiet --progress-bar on --constraint constraints.txt --editable '.[dev,tune,tensorboard,wandb,mlflow,video,export,search,parquet,serve,postgres]'
	@touch $@

demo: install
	@$(BIN)/ivreid demo

test: lint types
	@$(BIN)/python -m pytest -n auto --dist worksteal

quick: install
	@$(BIN)/python -m pytest -m "not slow"

campaign: install
	@echo "seed $(SEED)"
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "campaign or hypothesis" -k "$(ONLY)" \
		--campaign-seed $(SEED) --campaign-first $(FIRST) --campaign-count $(COUNT) \
		--hypothesis-seed $(SEED)

mutants: install
	@$(BIN)/python tools/mutants.py $(if $(MODULE),--module $(MODULE)) $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED))

lint: install
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports

types: install
	@$(BIN)/mypy

format: install
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

docs: install
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@$(BIN)/python -m mkdocs build --strict
	@echo "site/index.html opens in any browser"
