# The two commands that matter: make demo, make test. Both set up what they need in .venv first.
PYTHON ?= python3
BIN := .venv/bin
BENCH ?= build/bench
NATIVE := $(wildcard backends/CMakeLists.txt backends/gencore_backends/*/native/* framework/gencore/*/native/*)

.PHONY: help demo test test-all lint docs man bench
help: ## Show what can be made.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gencore needs Python 3.11 or later")'
	$(PYTHON) -m venv .venv

# What a user installs. The rest is for developers, and takes minutes.
.venv/installed: pyproject.toml $(NATIVE) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/ready: pyproject.toml $(NATIVE) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev -C cmake.define.GENCORE_WERROR=ON
	touch .venv/installed $@

demo: .venv/installed ## Dump a small service while it works, and read the bundle back.
	@rm -rf build/demo && mkdir -p build/demo && $(BIN)/gencore demo -o build/demo

test: .venv/ready ## Run the tests but for those marked exhaustive.
	$(BIN)/python -m pytest -m 'not exhaustive' $(PYTEST_ARGS)

test-all: .venv/ready ## Run every test.
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: .venv/ready ## Run ruff, mypy --strict and import-linter.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/ready ## Build the documentation as HTML into build/docs.
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env docs build/docs

man: .venv/ready ## Write the manual pages into build/man.
	$(BIN)/python docs/man_pages.py build/man

.venv/bench: pyproject.toml | .venv/ready
	$(BIN)/python -m pip install --quiet --group bench
	touch $@

bench: .venv/bench ## Measure what a dump costs beside what the machine can do, into build/bench.
	$(BIN)/python tests/benchmarks/bench.py --output $(BENCH) $(BENCH_ARGS)
	$(BIN)/python tests/benchmarks/growth.py --output $(BENCH) $(BENCH_ARGS)
	$(BIN)/python tests/benchmarks/loss.py --output $(BENCH) $(BENCH_ARGS)
	$(BIN)/python tests/benchmarks/extremes.py --output $(BENCH) $(BENCH_ARGS)
	$(BIN)/python tests/benchmarks/plots.py $(BENCH)
