# make help lists the targets. Everything runs in .venv, which the first target that needs it makes.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
# uv: the one on PATH, else one of our own in .uv.
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
# evit-mobile makes the environments of other runtimes with it too.
export PATH := $(PATH):$(CURDIR)/.uv/bin
# What the demo's detector looks at.
DRAWING := evit_mobile/models/shapes/drawing.png
SETUP := setup.cfg constraints.txt pyproject.toml .python-version

.PHONY: help install demo test test-all fuzz-files fuzz-networks check docs format bench bench-peers bench-precision bench-startup counts bench-zoo figures emulator check-budget constraints audit clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## make the environment in .venv

demo: $(VENV)/.installed ## convert base-r224 and a trained detector, verify, run and bench them here, write a report
	@mkdir -p build/demo
	$(BIN)/evit-mobile convert --model base-r224 --out build/demo/base-r224.tflite --force
	$(BIN)/evit-mobile verify build/demo/base-r224.tflite
	$(BIN)/evit-mobile bench --device host build/demo/base-r224.tflite --out build/demo/base-r224.json --force
	$(BIN)/evit-mobile convert --model shapes-det --out build/demo/shapes-det.tflite --force
	$(BIN)/evit-mobile verify build/demo/shapes-det.tflite
	$(BIN)/evit-mobile run build/demo/shapes-det.tflite --image $(DRAWING) --out build/demo/boxes.png --force
	$(BIN)/evit-mobile bench --device host build/demo/shapes-det.tflite --out build/demo/shapes-det.json --force
	$(BIN)/evit-mobile report build/demo/shapes-det.json build/demo/base-r224.json --picture build/demo/boxes.png \
	  --out build/demo/report.html --force
	@echo "done: open build/demo/report.html"

test: $(VENV)/.installed-test ## the test suite
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow"

fuzz-files: $(VENV)/.installed-test ## hostile files, ten minutes a format (MINUTES=10): .tflite, ONNX, checkpoints, suites, result files
	EVIT_MOBILE_FUZZ_MINUTES=$(or $(MINUTES),10) $(BIN)/python -m pytest -q -s --timeout 0 tests/fuzz_files

fuzz-networks: $(VENV)/.installed-test ## an hour of random networks: converted right, or refused
	EVIT_MOBILE_FUZZ_NETWORKS=100000 timeout --foreground 3600 $(BIN)/python -m pytest -q -s -x --timeout 0 tests/fuzz || test $$? -eq 124

test-all: $(VENV)/.installed-test ## the test suite with its slow part
	$(BIN)/python -m pytest -n $(JOBS)

check: $(VENV)/.installed-dev docs ## types, style, layers, documentation
	$(BIN)/mypy
	$(BIN)/flake8
	$(BIN)/lint-imports

docs: $(VENV)/.installed-dev ## build the documentation into build/docs; any broken link fails
	@# Not --quiet: it hides warnings from --strict too, and then nothing fails.
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "done: open build/docs/index.html"

format: $(VENV)/.installed-dev ## sort imports and format
	$(BIN)/ruff check --select I --fix --line-length 120 .
	$(BIN)/ruff format --line-length 120 .

bench: $(VENV)/.installed ## bench base-r224 on this machine
	$(BIN)/evit-mobile bench --device host --model base-r224

bench-peers: $(VENV)/.installed-test build/peers/venv/.installed ## latency of ours beside other converters' models, into the README
	$(BIN)/python -m benchmarks.peers.compare --readme

bench-zoo: $(VENV)/.installed-test build/peers/venv/.installed ## every architecture family of timm: ours beside other converters
	$(BIN)/python -m benchmarks.zoo.compare

figures: $(VENV)/.installed ## measure the paper's figures on this machine, five minutes each, into benchmarks/results/host
	@mkdir -p benchmarks/results/host
	for suite in figure-2-left figure-2-scaling figure-5-right figure-1-middle; do \
	  $(BIN)/evit-mobile bench --suite $$suite --out benchmarks/results/host/$$suite.json --resume || exit $$?; done
	$(BIN)/evit-mobile report benchmarks/results/host/figure-*.json --export build/figures --force
	cp build/figures/figure-2-left-ratio.png build/figures/figure-2-scaling-latency.png build/figures/figure-5-right-latency.png \
	  benchmarks/results/host/

bench-startup: $(VENV)/.installed-test build/peers/venv/.installed ## time of whole commands: help, models, a wrong name, a conversion
	$(BIN)/python -m benchmarks.startup

counts: $(VENV)/.installed ## count the parameters and multiply-accumulates of every model anew
	$(BIN)/python -m evit_mobile.models.counts

bench-precision: $(VENV)/.installed-test ## base-r224 in every precision: size, latency, instructions
	$(BIN)/python -m benchmarks.precision

emulator: $(VENV)/.installed ## set up the emulated Arm64 processors
	$(BIN)/evit-mobile emulator setup

check-budget: $(VENV)/.installed ## base-r224's instructions (fp32, int8) on an emulated Cortex-A76, and estimated cycles, against their budget
	$(BIN)/python -m benchmarks.arm64_budget

constraints: $(UV) ## resolve the tested set of versions anew
	{ echo "# The versions that the tests ran with, and the hashes of their files. Made by: make constraints"; \
	  $(UV) pip compile -q --no-annotate --no-header --generate-hashes --universal --python-version 3.12 --extra timm --extra dask --extra test --extra dev --extra docs setup.cfg; } > build.constraints
	mv build.constraints constraints.txt

audit: $(UV) ## look for published advisories on the tested set of versions
	$(UV) tool run pip-audit --requirement constraints.txt --require-hashes --disable-pip

clean: ## remove the environment and what was built
	rm -rf $(VENV) .uv build dist *.egg-info .mypy_cache .pytest_cache .import_linter_cache

build/peers/venv/.installed: $(BIN)/python benchmarks/peers/requirements.txt
	@mkdir -p build/peers
	@$(UV) venv -q --allow-existing -p $(BIN)/python build/peers/venv
	@$(UV) pip install -q --compile-bytecode -p build/peers/venv -r benchmarks/peers/requirements.txt
	@touch $@

.uv/bin/uv:
	@command -v python3 >/dev/null || { echo "error: no python3 on PATH; install Python 3.12 or 3.13, or uv" >&2; exit 4; }
	@echo "fetching uv into .uv"
	@python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --target .uv uv \
	  || { python3 -m venv .uv/venv && .uv/venv/bin/pip install -q uv && mkdir -p .uv/bin && ln -sf ../venv/bin/uv .uv/bin/uv; } \
	  || { echo "error: uv could not be installed by pip; install uv, then try again" >&2; exit 4; }

$(BIN)/python: $(UV)
	@$(UV) venv -q --allow-existing --python '>=3.12,<3.14' $(VENV) \
	  || { echo "error: no Python 3.12 or 3.13 here; install one (for example: uv python install 3.12), then try again" >&2; exit 4; }

comma := ,

# torch's CPU-only build saves 4 GB, but its index may be out of reach; then the default build serves.
define install
	@echo "installing into $(VENV)"
	@UV_HTTP_RETRIES=0 $(UV) pip install -q --compile-bytecode -p $(VENV) -c constraints.txt --torch-backend cpu -e '.$(1)' 2>/dev/null \
	  || $(UV) pip install -q --compile-bytecode -p $(VENV) -c constraints.txt -e '.$(1)'
	@touch $@
endef

$(VENV)/.installed: $(BIN)/python $(SETUP)
	$(call install,)

$(VENV)/.installed-test: $(BIN)/python $(SETUP)
	$(call install,[test])
	@touch $(VENV)/.installed

$(VENV)/.installed-dev: $(BIN)/python $(SETUP)
	$(call install,[test$(comma)dev$(comma)docs])
	@touch $(VENV)/.installed $(VENV)/.installed-test
