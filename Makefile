PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test lint bench clean

setup: .venv/.stamp

.venv/.stamp: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/certagent demo

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check certagent tests bench
	$(BIN)/ruff format --check certagent tests bench
	$(BIN)/mypy --strict certagent

bench: setup
	$(BIN)/python -m bench

clean:
	rm -rf .venv build *.egg-info
