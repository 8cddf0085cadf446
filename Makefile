# Targets for people who work on batchsend. `make` alone lists them; each sets up what it needs.

PYTHON ?= python3
WORKERS ?= 2

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -qq -c constraints.txt
# Which of the project's tools are in .venv, as of which pyproject.toml and constraints.txt.
PRODUCT := .venv/product.installed
TOOLS := .venv/tools.installed

.DEFAULT_GOAL := help

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(PRODUCT) ## send the sample campaign to the sandbox: a rehearsal, no text leaves this computer
# Exit code 1 is as it should be: a few rows of the sample list are broken, and some customers provoke errors.
	@$(BIN)/batchsend send campaigns/spring_service.toml --sandbox --yes || [ $$? -eq 1 ]
	@ls campaigns/results/spring_service*rehearsal*.xlsx

test: lint ## everything CI asks for: lint, then the tests
	$(BIN)/pytest -n $(WORKERS) -m "not system"

crash: $(TOOLS) ## kill the command 200 times at every stage and see that nobody is texted twice or lost (10 minutes)
	$(BIN)/python tests/crash_rounds.py --rounds 200

lint: $(TOOLS) ## check style, formatting, types and the layering of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(TOOLS) ## format the code and mend what can be mended by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

fuzz: $(TOOLS) ## damage lists of all formats at random and read them, for MINUTES (10)
	$(BIN)/python tests/fuzz_readers.py --minutes $(or $(MINUTES),10) --start $(or $(START),0)

samples: $(PRODUCT) ## make the files in sample_data/ again
	$(BIN)/python sample_data/make_samples.py

clean: ## remove the virtual environment and all caches
	rm -rf .venv build dist *.egg-info .*_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "batchsend needs Python 3.11 or newer; choose one, as in: make $(MAKECMDGOALS) PYTHON=python3.12")'
	@echo "Setting up .venv ..."
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

$(PRODUCT): pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing batchsend into .venv (once; this takes a minute) ..."
	@$(INSTALL) -e .
	@touch $@

$(TOOLS): pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing batchsend and the tools to work on it into .venv (once; this takes a minute or two) ..."
	@$(INSTALL) -e '.[dev]'
	@touch $@ $(PRODUCT)

.PHONY: help demo test crash lint format fuzz samples clean
