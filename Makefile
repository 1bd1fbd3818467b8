# SPDX-License-Identifier: MIT
# The verbs of this project. Needs Linux, python3 (3.11 or newer) with venv, g++, make and git.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
SITE := build/docs
# threads that wait do not spin: tests run side by side
THREADS := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
PYTEST := $(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder
CPP := $(wildcard pair_ictp/*.cpp pair_ictp/*.h pair_ictp/ops/*.cpp pair_ictp/ops/*.h pair_ictp/ops/cuda/*)
EMULATED := tests/cpp/emulated_gpu
FORMATTED := $(CPP) $(wildcard tests/cpp/*.cpp tests/cpp/*.h $(EMULATED)/*.cpp $(EMULATED)/*.h $(EMULATED)/*/*.h $(EMULATED)/*/*/*.h)
BUILD_REQUIRES := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")

.PHONY: setup demo test coverage test-long test-sanitizers lint format bench docs check
setup: $(STAMP)

.venv/bin/python:
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

$(STAMP): .venv/bin/python pyproject.toml constraints.txt CMakeLists.txt $(wildcard cmake/*) $(CPP)
	$(BIN)/python -c '$(BUILD_REQUIRES)' > .venv/build-requires.txt
	$(BIN)/pip install -q -c constraints.txt -r .venv/build-requires.txt
	$(BIN)/pip install -q -c constraints.txt --no-build-isolation --config-settings=build-dir=build/dev -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/ictp demo --overwrite

test: setup
	$(THREADS) $(PYTEST) $(ARGS)

coverage: setup
	$(THREADS) $(PYTEST) --cov=pyictp --cov-report=term:skip-covered $(ARGS)

test-long: setup
	$(THREADS) $(PYTEST) -m long $(ARGS)

test-sanitizers: setup
	$(THREADS) $(BIN)/pytest -m sanitize $(ARGS)

lint: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy --cache-dir build/mypy
	$(BIN)/clang-format --dry-run --Werror $(FORMATTED)

format: setup
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .
	$(BIN)/clang-format -i $(FORMATTED)

bench: setup
	$(BIN)/python benchmarks/bench.py $(ARGS)

docs: setup
	$(BIN)/sphinx-build -W --keep-going -q docs $(SITE)

check: lint test
