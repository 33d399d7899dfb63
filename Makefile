# `make demo` shows it forecasting, `make test` proves it against a real Apache Kafka.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

SECONDS ?= 600
SEED ?= 1
BROKERS ?= 1
MINUTES ?= 5

.PHONY: demo test test-fast test-deploy test-examples chaos chaos-hour fuzz format lint types benchmark clean

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

$(VENV)/.installed-deploy: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[deploy]'
	touch $@

$(VENV)/.installed-examples: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[examples]'
	touch $@

demo: $(READY)
	$(BIN)/streamrnn demo --once

test: $(READY)  ## everything, the real broker included
	$(BIN)/pytest

test-fast: $(READY)  ## everything but the broker's tests, on all cores
	$(BIN)/pytest --numprocesses auto --dist worksteal -m 'not kafka and not deploy and not examples'

test-deploy: $(VENV)/.installed-deploy  ## what needs promtool, Prometheus, systemd, kubectl, and root for a systemd of its own
	$(BIN)/pytest -m deploy

test-examples: $(VENV)/.installed-examples  ## every script in examples/ does what it says
	$(BIN)/pytest -m examples tests/examples

chaos: $(READY)  ## real workers and brokers tortured for SECONDS, from a SEED, with 1 or 3 BROKERS
	$(BIN)/python -m tests.chaos --seconds $(SECONDS) --seed $(SEED) --brokers $(BROKERS)

chaos-hour: $(READY)  ## four sessions of a quarter of an hour, of all kinds
	$(BIN)/python -m tests.chaos --seconds 900 --seed 101
	$(BIN)/python -m tests.chaos --seconds 900 --seed 102 --static
	$(BIN)/python -m tests.chaos --seconds 900 --seed 103 --brokers 3
	$(BIN)/python -m tests.chaos --seconds 900 --seed 104 --brokers 3 --static

fuzz: $(READY)  ## arbitrary bytes into codec, configuration and snapshot reader, MINUTES each
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES)

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --quiet .

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

benchmark: $(READY)
	$(BIN)/python benchmarks/throughput.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
