# Targets for developers. `make` lists them; each target installs the tools that it needs into .venv.

PYTHON ?= python3
WORKERS ?= 2
# These tests wait half of their time, so that two processes for each of two cores are faster.
TEST_WORKERS ?= 4
PYTHONS ?= 3.11 3.12 3.13

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -qq -c constraints.txt
# Each of these files marks that one set of packages is installed in .venv. A change of pyproject.toml or
# constraints.txt installs it again.
PRODUCT := .venv/product.installed
TOOLS := .venv/tools.installed
BROWSER_TOOLS := .venv/browser-tools.installed
BENCH_TOOLS := .venv/bench-tools.installed
DOCS_TOOLS := .venv/docs-tools.installed
RELEASE_TOOLS := .venv/release-tools.installed
# Airflow has an environment of its own, with batchsend in it as on Airflow's workers.
AIRFLOW := build/airflow.installed

# Debian and Ubuntu packages that `make test-system` needs.
SYSTEM_PACKAGES := libreoffice-calc-nogui python3-uno poppler-utils chromium nginx-light caddy curl cron logrotate systemd iproute2 postgresql mandoc man-db zsh fish

.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

demo: $(PRODUCT) ## rehearse the sample campaign in the sandbox; no real text is sent
# Exit code 1 is expected: the sample list has bad rows and customers with errors.
	@$(BIN)/batchsend send campaigns/spring_service.toml --sandbox --yes || [ $$? -eq 1 ]
	@echo "No real text was sent. The sample list has bad rows on purpose, to show how they are reported."

demo-cluster: $(TOOLS) ## send the sample campaign with three workers and PostgreSQL, and kill one worker midway
	@$(BIN)/python tests/scripts/demo_cluster.py

test: lint ## run lint and all tests that need only Python packages
	$(BIN)/pytest -n $(TEST_WORKERS) --dist worksteal -m "not system"

test-system: $(TOOLS) $(BROWSER_TOOLS) $(AIRFLOW) ## run the tests that need a browser, LibreOffice, nginx or Airflow; installs them
	@missing=; for package in $(SYSTEM_PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q ' installed$$' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ] && command -v apt-get >/dev/null; then \
	  sudo=; [ "$$(id -u)" -eq 0 ] || sudo=sudo; \
	  echo "Installing$$missing ..."; \
	  $$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends $$missing; \
	elif [ -n "$$missing" ]; then \
	  echo "No apt-get found. Install the equivalents of these Debian packages:$$missing"; \
	fi
	$(BIN)/mypy --platform win32
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m system

# Other versions or fewer tests: make test-pythons PYTHONS=3.14 TESTS=tests/lists
test-pythons: $(TOOLS) ## run the tests on Python 3.11, 3.12 and 3.13, each in an environment of its own
	$(BIN)/python tests/scripts/run_pythons.py $(PYTHONS) --workers $(TEST_WORKERS)$(if $(TESTS), --tests $(TESTS))

# PLW1514: text files without an encoding, which is another one on Windows.
lint: $(TOOLS) ## check style, formatting, types and import layers
	$(BIN)/ruff check
	$(BIN)/ruff check --preview --select PLW1514
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(TOOLS) ## format the code and fix simple style errors
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

crash: $(TOOLS) ## kill or stop the command in 200 rounds: no row is texted twice or lost, every exit code is true (15 minutes)
	$(BIN)/python tests/scripts/crash_rounds.py --rounds 200

crash-cluster: $(TOOLS) ## the same for several workers and their database: 20 rounds of 5,000 rows (20 minutes)
	$(BIN)/python tests/scripts/crash_cluster.py --rounds 20 --rows 5000

crash-settle: $(TOOLS) ## kill `send` and run `settle` in 300 rounds: texts that were sent are found, none wrongly (15 minutes)
	$(BIN)/python tests/scripts/crash_settle.py --rounds 300

# Another story: make soak SEED=2
soak: $(TOOLS) ## play 60 days of scheduled campaigns in virtual time, with reboots, wrong clocks and bad lists (15 minutes)
	$(BIN)/python tests/scripts/soak.py --days 60 --seed $(or $(SEED),1)

replay: $(TOOLS) ## replay 100,000 delivery updates in three orders, and 10,000 malformed ones (3 minutes)
	$(BIN)/python tests/scripts/replay_updates.py
	BATCHSEND_MALFORMED=10000 $(BIN)/pytest -q tests/services/test_callbacks.py -k malformed

# QUICK=1 uses smaller lists (6 minutes). The full suite sends a million texts to a server on this computer.
bench: $(TOOLS) $(BENCH_TOOLS) ## compare the speed with bare libraries, in benchmarks/RESULTS.md; QUICK=1 takes 6 minutes
	$(BIN)/python benchmarks/suite.py $(if $(QUICK),--quick)

bench-rates: $(TOOLS) ## check that sending reaches its rate limit and never exceeds it
	$(BIN)/python benchmarks/rates.py

bench-cluster: $(TOOLS) $(BENCH_TOOLS) ## measure sending on a PostgreSQL ledger with 1 to 8 workers, in the same file; QUICK=1 takes 8 minutes
	$(BIN)/python benchmarks/cluster.py $(if $(QUICK),--quick)

bench-callbacks: $(TOOLS) ## compare the updates recorded per second with a handler that records nothing
	$(BIN)/python benchmarks/callbacks.py

bench-web: $(TOOLS) ## measure the console's pages while another user reads, checks and uploads 100,000 rows
	$(BIN)/python benchmarks/web_pages.py

fuzz: $(TOOLS) ## read randomly damaged lists of all formats, for 10 minutes; MINUTES=60 takes longer
	$(BIN)/python tests/scripts/fuzz_readers.py --minutes $(or $(MINUTES),10) --start $(or $(START),0)

release-check: $(RELEASE_TOOLS) ## build sdist and wheel into dist/, check them, and send the sample campaign with the wheel
	$(BIN)/python release/check_release.py

# WINDOWS=1 makes it for Windows, on any system.
zipapp: $(RELEASE_TOOLS) ## make one file with batchsend and its libraries for this computer; WINDOWS=1 for Windows
	$(BIN)/python release/make_zipapp.py $(if $(WINDOWS),--windows)

samples: $(PRODUCT) ## create the files in sample_data/ again
	$(BIN)/python sample_data/make_samples.py

docs: export NO_MKDOCS_2_WARNING := 1
docs: $(DOCS_TOOLS) ## build the manual as a site in build/site; each link is checked
	$(BIN)/mkdocs build --strict

# tests/data/segments.json.gz names the versions of the calculator.
segments: ## refresh the tests' segment counts from Twilio's calculator (needs Node)
	npm install --no-save --no-audit --no-fund --prefix build/segments sms-segments-calculator@1.3.0 grapheme-splitter@1.0.4
	node tests/data/make_segments.js build/segments/node_modules tests/data/segments.json.gz

clean: ## delete the virtual environment and all caches
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
	@echo "Installing batchsend and the development tools into .venv (once; this takes a minute or two) ..."
	@$(INSTALL) -e '.[dev]'
	@touch $@ $(PRODUCT)

$(BROWSER_TOOLS): pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing the browser tools into .venv (once) ..."
	@$(INSTALL) -e '.[system]'
	@touch $@

$(BENCH_TOOLS): pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing the libraries for the benchmarks into .venv (once) ..."
	@$(INSTALL) -e '.[bench]'
	@touch $@

$(DOCS_TOOLS): pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing the tools for the site into .venv (once) ..."
	@$(INSTALL) -e '.[docs]'
	@touch $@ $(PRODUCT)

$(RELEASE_TOOLS): pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing the tools for releases into .venv (once) ..."
	@$(INSTALL) -e '.[release]'
	@touch $@

$(AIRFLOW): pyproject.toml | .venv/bin/python
	@echo "Installing Airflow into build/airflow (once; this takes a minute) ..."
	@$(BIN)/python -m venv build/airflow
	@build/airflow/bin/python -m pip install --disable-pip-version-check -qq "apache-airflow==3.3.2" -e .
	@touch $@

.PHONY: help docs demo demo-cluster test test-system test-pythons crash crash-cluster crash-settle soak replay bench bench-rates bench-cluster bench-callbacks bench-web lint format fuzz release-check zipapp samples segments clean
