# Targets for people who work on batchsend. `make` alone lists them; each sets up what it needs.

PYTHON ?= python3
WORKERS ?= 2

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -qq -c constraints.txt
# Which of the project's tools are in .venv, as of which pyproject.toml and constraints.txt.
PRODUCT := .venv/product.installed
TOOLS := .venv/tools.installed
BROWSER_TOOLS := .venv/browser-tools.installed
BENCH_TOOLS := .venv/bench-tools.installed

# What `make test-system` needs beside Python, as Debian and Ubuntu call it.
SYSTEM_PACKAGES := libreoffice-calc-nogui python3-uno poppler-utils chromium nginx-light cron systemd iproute2

.DEFAULT_GOAL := help

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

demo: $(PRODUCT) ## send the sample campaign to the sandbox: a rehearsal, no text leaves this computer
# Exit code 1 is as it should be: a few rows of the sample list are broken, and some customers provoke errors.
	@$(BIN)/batchsend send campaigns/spring_service.toml --sandbox --yes || [ $$? -eq 1 ]
	@ls campaigns/results/spring_service*rehearsal*.xlsx

demo-cluster: $(TOOLS) ## the sample campaign by three workers and a PostgreSQL, one worker killed in the middle
	@$(BIN)/python tests/scripts/demo_cluster.py

test: lint ## everything CI asks for: lint, then the tests
	$(BIN)/pytest -n $(WORKERS) -m "not system"

test-system: $(TOOLS) $(BROWSER_TOOLS) ## the tests that need LibreOffice, a browser and the like; installs them by apt-get
	@missing=; for package in $(SYSTEM_PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q ' installed$$' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ] && command -v apt-get >/dev/null; then \
	  sudo=; [ "$$(id -u)" -eq 0 ] || sudo=sudo; \
	  echo "Installing$$missing ..."; \
	  $$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends $$missing; \
	elif [ -n "$$missing" ]; then \
	  echo "There is no apt-get here. Install by hand what these stand for on Debian:$$missing"; \
	fi
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m system

crash: $(TOOLS) ## kill the command 200 times at every stage and see that nobody is texted twice or lost (10 minutes)
	$(BIN)/python tests/scripts/crash_rounds.py --rounds 200

crash-cluster: $(TOOLS) ## kill and stop whoever sends a shared run, and its database, 20 rounds of 5,000 rows (20 minutes)
	$(BIN)/python tests/scripts/crash_cluster.py --rounds 20 --rows 5000

replay: $(TOOLS) ## replay 100,000 updates in three orders with repeats and 10,000 malformed ones (3 minutes)
	$(BIN)/python tests/scripts/replay_updates.py
	BATCHSEND_MALFORMED=10000 $(BIN)/pytest -q tests/services/test_callbacks.py -k malformed

# QUICK=1: smaller lists, 3 minutes. The full suite sends a million texts to a server on this computer.
bench: $(TOOLS) $(BENCH_TOOLS) ## how fast it is against bare libraries, into benchmarks/RESULTS.md; QUICK=1 for a short one
	$(BIN)/python benchmarks/suite.py $(if $(QUICK),--quick)

bench-rates: $(TOOLS) ## is the rate a limit, and is it reached? The command sends to the sandbox at several rates
	$(BIN)/python benchmarks/rates.py

bench-cluster: $(TOOLS) ## one rate for four workers; throughput with 1, 2 and 4; what PostgreSQL does for it
	$(BIN)/python benchmarks/cluster.py

bench-callbacks: $(TOOLS) ## how many updates a second are recorded, beside a bare handler that records none
	$(BIN)/python benchmarks/callbacks.py

lint: $(TOOLS) ## check style, formatting, types and the layering of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(TOOLS) ## format the code and mend what can be mended by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

fuzz: $(TOOLS) ## damage lists of all formats at random and read them, for MINUTES (10)
	$(BIN)/python tests/scripts/fuzz_readers.py --minutes $(or $(MINUTES),10) --start $(or $(START),0)

samples: $(PRODUCT) ## make the files in sample_data/ again
	$(BIN)/python sample_data/make_samples.py

# The calculator's versions are part of the data: tests/data/segments.json.gz names them.
segments: ## ask Twilio's segment calculator again what the tests compare with (needs Node)
	npm install --no-save --no-audit --no-fund --prefix build/segments sms-segments-calculator@1.3.0 grapheme-splitter@1.0.4
	node tests/data/make_segments.js build/segments/node_modules tests/data/segments.json.gz

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

$(BROWSER_TOOLS): pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing the tools that drive a browser into .venv (once) ..."
	@$(INSTALL) -e '.[system]'
	@touch $@

$(BENCH_TOOLS): pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing what the benchmarks compare with into .venv (once) ..."
	@$(INSTALL) -e '.[bench]'
	@touch $@

.PHONY: help demo demo-cluster test test-system crash crash-cluster replay bench bench-rates bench-cluster bench-callbacks lint format fuzz samples segments clean
