# `make demo` shows it forecasting, `make test` proves it against a real Apache Kafka.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: demo test test-fast format lint types benchmark clean

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/streamrnn demo --once

test: $(READY)  ## everything, the real broker included
	$(BIN)/pytest

test-fast: $(READY)  ## everything but the broker's tests, on all cores
	$(BIN)/pytest --numprocesses auto --dist worksteal -m 'not kafka'

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
