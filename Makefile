# `make demo` shows it forecasting, `make test` proves it against a real Apache Kafka.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

SECONDS ?= 600
SEED ?= 1
BROKERS ?= 1
MINUTES ?= 5

COUNT := benchmarks/rivals/kafka_streams

.PHONY: demo test test-fast test-deploy test-examples test-gpu chaos chaos-hour fuzz format lint types lock audit
.PHONY: benchmark benchmark-core benchmark-gpu rivals docs clean

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m streamrnn.engine.compiled
	touch $@

$(VENV)/.installed-deploy: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[deploy]'
	touch $@

$(VENV)/.installed-examples: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[examples]'
	touch $@

$(VENV)/.installed-lock: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[lock]'
	touch $@

$(VENV)/.installed-docs: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

demo: $(READY)
	$(BIN)/streamrnn demo --once

test: $(READY)  ## everything, the real broker included
	$(BIN)/pytest
	$(BIN)/pytest --backend strict --numprocesses auto --dist worksteal tests/core tests/engine

test-fast: $(READY)  ## everything but the broker's tests, on all cores
	$(BIN)/pytest --numprocesses auto --dist worksteal -m 'not kafka and not deploy and not examples'

test-deploy: $(VENV)/.installed-deploy  ## what needs promtool, Prometheus, systemd, kubectl, and root for a systemd of its own
	$(BIN)/pytest -m deploy

test-examples: $(VENV)/.installed-examples  ## every script in examples/ does what it says
	$(BIN)/pytest -m examples tests/examples

test-gpu: $(READY)  ## the core and the engine on a CUDA device, once streamrnn[gpu] is installed
	$(BIN)/pytest --backend cupy tests/core tests/engine

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

LOCK := $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header

lock: $(VENV)/.installed-lock  ## the container's dependencies, all of them, by version and hash; UPGRADE=--upgrade for newer ones
	$(LOCK) $(UPGRADE) pyproject.toml --output-file deploy/requirements.lock
	$(LOCK) $(UPGRADE) deploy/build.in --output-file deploy/build.lock

audit: $(VENV)/.installed-lock  ## known vulnerabilities in what the container holds; fails too where that cannot be known
	$(BIN)/pip-audit --strict --disable-pip --require-hashes \
		--requirement deploy/requirements.lock --requirement deploy/build.lock

benchmark: $(READY)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.end_to_end --write docs/performance.md

benchmark-core: $(READY) .venv-rivals/.installed  ## a step and an update beside PyTorch's and beside sgemm
	$(BIN)/python -m benchmarks.core --write docs/network.md

benchmark-gpu: $(READY)  ## forecasts a second on the CPU and on a CUDA device, and the batch from which the device wins
	$(BIN)/python -m benchmarks.gpu

docs: $(VENV)/.installed-docs  ## the documents as a site in site/; a warning is an error
	$(BIN)/sphinx-build --nitpicky --fail-on-warning --keep-going --fresh-env --quiet docs site
	@echo site/index.html

rivals: .venv-rivals/.installed $(COUNT)/target/.built  ## what streamrnn is compared with; 6 GB, and needs Maven

.venv-rivals/.installed: $(wildcard benchmarks/rivals/*.txt)
	$(PYTHON) -m venv .venv-rivals
	.venv-rivals/bin/pip install --quiet --disable-pip-version-check \
		--requirement benchmarks/rivals/requirements.txt
	.venv-rivals/bin/pip install --quiet --disable-pip-version-check --no-deps \
		--requirement benchmarks/rivals/requirements-without-dependencies.txt
	touch $@

$(COUNT)/target/.built: $(COUNT)/pom.xml $(wildcard $(COUNT)/src/main/*/*) $(wildcard $(COUNT)/src/main/*/*/*)
	mvn --quiet --batch-mode --file $< compile dependency:copy-dependencies -DincludeScope=runtime
	touch $@

clean:
	rm -rf $(VENV) .venv-rivals $(COUNT)/target site .mypy_cache .ruff_cache .pytest_cache .hypothesis
