PYTHON ?= python3
BIN := .venv/bin
UNIT := tests/core $(wildcard tests/test_*.py)

.PHONY: setup program demo test test-any-day unit coverage lint bench clean

# The program alone: what `make demo` needs. The developers' tools come on top of it, for everything else.
program: .venv/.program
setup: .venv/.developer

.venv/.program: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	touch $@

.venv/.developer: .venv/.program
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: program
	$(BIN)/certagent demo

test: setup
	$(BIN)/python -m pytest --numprocesses=auto

test-any-day: setup
	tests/any-day

unit: setup
	$(BIN)/python -m pytest --numprocesses=auto $(UNIT)

coverage: setup
	$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered $(UNIT) tests/public

lint: setup
	$(BIN)/ruff check certagent tests bench
	$(BIN)/ruff format --check certagent tests bench
	$(BIN)/mypy --strict certagent

bench: setup
	$(BIN)/python -m bench

clean:
	rm -rf .venv build *.egg-info
