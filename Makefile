# Every target says what it does; `make` alone lists them. Nothing is needed but Python 3.11 with venv, make and git.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
MANAGE := $(VENV)/bin/python manage.py
CONFIG ?= trading/config/sessions.yaml

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- Installing -------------------------------------------------------------------------------------------------------
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Python 3.11 or newer is needed; '$(PYTHON)' is not. Name one: make PYTHON=python3.11"; exit 1; }
	@echo "Making the virtual environment $(VENV) …"
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "Python's venv module is missing (Debian: apt-get install python3-venv)."; exit 1; }

$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	@echo "Installing $$(grep -c '^[a-zA-Z]' requirements.txt) packages into $(VENV), checked by their hashes (once, 1-2 minutes) …"
	@$(VENV)/bin/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r requirements.txt \
		2> >(sed -u '/DEPRECATION: .*[Oo]anda[Pp]y[Vv]20/d' >&2) \
		| sed -u -n 's/^Collecting \([^ ]*\).*/  \1/p; /^Installing collected/s/:.*/ …/p'; exit $${PIPESTATUS[0]}
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing $$(grep -c '^[a-zA-Z]' requirements-dev.txt) packages for tests and checks (once) …"
	@$(VENV)/bin/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes \
		-r requirements.txt -r requirements-dev.txt \
		2> >(sed -u '/DEPRECATION: .*[Oo]anda[Pp]y[Vv]20/d' >&2) \
		| sed -u -n 's/^Collecting \([^ ]*\).*/  \1/p; /^Installing collected/s/:.*/ …/p'; exit $${PIPESTATUS[0]}
	@touch $@

.PHONY: setup lock
setup: $(VENV)/.installed-dev ## install everything, tests' tools included, into .venv (skipped when the locks are unchanged)

lock: ## pin requirements*.in with hashes (needs uv)
	@command -v uv >/dev/null || { echo "uv is needed to make the lock: https://docs.astral.sh/uv/"; exit 1; }
	uv pip compile --generate-hashes --python-version 3.11 requirements.in -o requirements.txt
	uv pip compile --generate-hashes --python-version 3.11 requirements-dev.in -o requirements-dev.txt

# --- Running ----------------------------------------------------------------------------------------------------------
.PHONY: run paper recon verify verify_chain anchor backup restore rebuild digest digest_now simulator live_port_replay live_oanda_replay
run: $(VENV)/.installed ## run everything, and the demo day: servers, simulator, web, workers (Ctrl-C stops it)
	@BACKOFFICE_STOP_WITH_PARENT=1 exec $(MANAGE) desk --demo

paper: $(VENV)/.installed ## the same without the demo day: the shipped session on a quieter simulator
	@BACKOFFICE_STOP_WITH_PARENT=1 exec $(MANAGE) desk

recon: $(VENV)/.installed ## compare the books with the broker's now and print the RECON block
	@$(MANAGE) reconcile

verify: $(VENV)/.installed ## check every rule that can be seen in the data
	@$(MANAGE) verify

verify_chain: $(VENV)/.installed ## prove that nothing in the books was changed: make verify_chain ANCHOR=copy.jsonl
	@$(MANAGE) verify_chain $(if $(ANCHOR),--anchor $(ANCHOR))

anchor: $(VENV)/.installed ## write the head of the books' hash chain down outside the database, now
	@$(MANAGE) anchor

backup: $(VENV)/.installed ## save the books and their anchors as one file: make backup TO=books.tar (default var/backups/)
	@$(MANAGE) backup $(if $(TO),--to $(TO))

restore: $(VENV)/.installed ## bring a backup back: make restore FROM=books.tar (REPLACE=1 keeps the present books aside)
	@test -n "$(FROM)" || { echo "Say which backup: make restore FROM=books.tar"; exit 1; }
	@$(MANAGE) restore --from $(FROM) $(if $(REPLACE),--replace)

digest: $(VENV)/.installed ## a trading day's digest as CSV, Markdown and picture in reports/: make digest DATE=2026-01-31
	@$(MANAGE) digest $(if $(DATE),--date $(DATE))

digest_now: $(VENV)/.installed ## the digest of the last hours as a picture in reports/: make digest_now HOURS=6
	@$(MANAGE) digest_now $(if $(HOURS),--hours $(HOURS))

simulator: $(VENV)/.installed ## run only the broker simulator
	@$(MANAGE) simulator

live_port_replay: $(VENV)/.installed ## replay bars on the paper book: make live_port_replay CSV="EURUSD=bars.csv XAUUSD=more.csv"
	@test -n "$(CSV)" || { echo 'Say which bars: make live_port_replay CSV="EURUSD=bars.csv"'; exit 1; }
	@$(MANAGE) live_port --cfg $(CONFIG) --mode replay --source csv $(foreach pair,$(CSV),--csv $(pair))

live_oanda_replay: $(VENV)/.installed ## the same, mirrored to a simulator of its own: make live_oanda_replay CSV="EURUSD=bars.csv"
	@test -n "$(CSV)" || { echo 'Say which bars: make live_oanda_replay CSV="EURUSD=bars.csv"'; exit 1; }
	@$(MANAGE) live_oanda --cfg $(CONFIG) --mode replay --mirror oanda --source csv $(foreach pair,$(CSV),--csv $(pair))

rebuild: $(VENV)/.installed ## make trades, positions, days and equity again from the facts; CHECK=1 changes nothing
	@$(MANAGE) rebuild $(if $(CHECK),--check)

# --- Testing ----------------------------------------------------------------------------------------------------------
.PHONY: test lint crash-first crash-matrix soak soak-orders clean-week bench-orders bench-ledger bench-reconcile recon-score nightly-ledger tamper kill-ledger fuzz screenshots
WORKERS ?= 2
test: $(VENV)/.installed-dev ## run the whole suite, checks included, in WORKERS (2) processes; nothing else needs to run
	@echo "Running the tests (their own PostgreSQL, Redis and simulator in the temporary directory) …"
	@$(VENV)/bin/python -m pytest -n $(WORKERS) --dist worksteal

lint: $(VENV)/.installed-dev ## only the checks: ruff, import contracts, types
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/mypy backoffice trading reconciliation

BROKER ?= oanda
crash-first: $(VENV)/.installed-dev ## kill workers around the send, 20 times each, at BROKER: one order every time
	@$(VENV)/bin/python -m benchmarks.crash_first --broker $(BROKER)

SEED ?= 1
LANES ?= 3
crash-matrix: $(VENV)/.installed-dev ## strike processes at 14 points in 3 ways, every broker, every kind of work; writes docs/reliability.md
	@$(VENV)/bin/python -m benchmarks.crash_matrix --seed $(SEED) --lanes $(LANES) --table docs/reliability.md

MINUTES ?= 30
soak: $(VENV)/.installed-dev ## a simulated week on the real desk in MINUTES (30): memory flat, books equal, nothing open
	@$(VENV)/bin/python -m benchmarks.soak --minutes $(MINUTES)

ORDERS ?= 30000
soak-orders: $(VENV)/.installed-dev ## ORDERS (30,000) through real processes, MINUTES at most, while everything fails: none twice, no fill lost
	@$(VENV)/bin/python -m benchmarks.soak_orders --orders $(ORDERS) --seed $(SEED) \
		$(if $(filter-out file,$(origin MINUTES)),--minutes $(MINUTES))

RUNS ?= 2016
clean-week: $(VENV)/.installed-dev ## RUNS (2,016: a week) periodic reconciliations of each broker's account without a case; then a fault of each kind is found within a cycle
	@$(VENV)/bin/python -m benchmarks.clean_week --runs $(RUNS)

bench-orders: $(VENV)/.installed-dev ## time an order from its decision to the broker and back into the ledger, beside a bare SDK call and a bare Celery hop
	@$(VENV)/bin/python -m benchmarks.orders

# The peers' packages never mix with ours: they have a virtual environment of their own.
BENCH_VENV := .venv-bench
PEERS := benchmarks/ledger/requirements-peers.txt
$(BENCH_VENV)/.installed: $(PEERS) | $(VENV)/bin/python
	@echo "Installing the ledger that ours is measured against into $(BENCH_VENV), checked by hashes (once) …"
	@$(VENV)/bin/python -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(PEERS)
	@touch $@

bench-ledger: $(VENV)/.installed-dev $(BENCH_VENV)/.installed ## measure the books beside django-hordak and a two-row ledger on one server
	@$(VENV)/bin/python -m benchmarks.ledger

ROWS ?= 1000000
bench-reconcile: $(VENV)/.installed-dev ## match ROWS (1,000,000) fills of each side and three times as many, beside a bare join and pandas; write thousands of cases
	@$(VENV)/bin/python -m benchmarks.reconcile --rows $(ROWS)

SEEDS ?= 1000
recon-score: $(VENV)/.installed-dev ## plant every kind of fault with SEEDS (1,000) seeds at the three simulated brokers, alone and in pairs; score what is found
	@$(VENV)/bin/python -m benchmarks.recon_score --seeds $(SEEDS)

SEQUENCES ?= 10000
nightly-ledger: $(VENV)/.installed-dev ## SEQUENCES (10,000) random sequences of 50 operations on the books, legal and refused, against a model
	@$(VENV)/bin/python -m benchmarks.nightly_ledger --sequences $(SEQUENCES)

tamper: $(VENV)/.installed-dev ## a superuser changes what was written, 1,000 times: always found, the row named
	@$(VENV)/bin/python -m benchmarks.tamper

KILLS ?= 200
kill-ledger: $(VENV)/.installed-dev ## kill -9 of PostgreSQL and of writers, KILLS (200) times: nothing acknowledged is lost, nothing is in part
	@$(VENV)/bin/python -m benchmarks.kill_ledger --kills $(KILLS)

CASES ?= 1000000
fuzz: $(VENV)/.installed-dev ## CASES (1,000,000) bad answers through all brokers' parsers: refused or kept exactly, never booked
	@$(VENV)/bin/python -m benchmarks.fuzz --cases $(CASES) $(if $(SEED),--seed $(SEED))

screenshots: $(VENV)/.installed-dev ## pictures of every screen into reports/screenshots, and the README's two (needs chromium)
	@mkdir -p reports/screenshots docs/pictures
	@BACKOFFICE_PICTURES=reports/screenshots $(VENV)/bin/python -m pytest tests/screens
	@cp reports/screenshots/readme-home.png docs/pictures/home.png
	@cp reports/screenshots/readme-case.png docs/pictures/case.png
