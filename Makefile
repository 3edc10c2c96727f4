PYTHON ?= python3
BIN := .venv/bin
UNIT := tests/core $(wildcard tests/test_*.py)
COVERING := $(UNIT) tests/public
# The other tests wait half of the time, for processes and servers.
TWICE_THE_CORES := $(shell echo $$((2 * $$(nproc))))

INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check

.PHONY: setup program demo test test-any-day test-faults streams unit coverage others lint lock sbom site deb rpm wheel bench
.PHONY: bench-fleet clean

# The program alone: what `make demo` needs. The developers' tools come on top of it, for everything else.
program: .venv/.program
setup: .venv/.developer

.venv/.program: pyproject.toml requirements/program.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) --require-hashes -r requirements/program.txt
	$(INSTALL) --no-deps --no-build-isolation -e .
	touch $@

.venv/.developer: .venv/.program requirements/developer.txt
	$(INSTALL) --require-hashes -r requirements/developer.txt
	touch $@

# What pip may install, each distribution with its hash; resolved anew by this alone.
lock:
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet --disable-pip-version-check uv
	requirements/lock .venv/lock/bin/uv

# The software bill of materials (CycloneDX) of what is installed on a host: build/certagent.cdx.json.
sbom: .venv/release/.made
	mkdir -p build
	.venv/release/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
	    --output-file build/certagent.cdx.json requirements/host.txt

# docs/ as a site that any web server, or a browser by file://, can show: build/site. A broken link fails it.
site: .venv/site/.made
	NO_MKDOCS_2_WARNING=1 .venv/site/bin/mkdocs build --strict --quiet

.venv/site/.made: requirements/site.txt
	$(PYTHON) -m venv .venv/site
	.venv/site/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/site.txt
	touch $@

.venv/release/.made: requirements/release.txt
	$(PYTHON) -m venv .venv/release
	.venv/release/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/release.txt
	touch $@

# Packages, below dist: docs/install.md. The first two need Debian 12.
deb:
	deploy/debian/build

rpm:
	deploy/rpm/build

wheel: program
	deploy/wheel $(BIN)/pip dist

demo: program
	$(BIN)/certagent demo

# Every test once: those that cover the core, with the coverage, and the others.
test: coverage others

others: setup
	$(BIN)/python -m pytest --numprocesses=$(TWICE_THE_CORES) $(addprefix --ignore=,$(COVERING)) --ignore=tests/faults

test-any-day: setup
	tests/any-day

# CERTAGENT_FAULTS=long: each point of each scenario; docs/reliability.md says what the default form leaves out.
test-faults: setup
	$(BIN)/python -m pytest --numprocesses=$(TWICE_THE_CORES) tests/faults

# Handshakes of a fleet while its certificates change, one row a scenario. WORDS: --json, --postgres, --seed N, names.
streams: setup
	$(BIN)/python -m tests.streams $(WORDS)

# Without what takes over a quarter of a second, which `make test` runs: whole processes, and simulated days and years.
# One process: a second one would import and collect everything again, which takes as long as half of the tests. pytest
# keeps its own byte code of the tests, whose asserts it rewrites, even where the shell allows no __pycache__.
unit: export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/bytecode
unit: export PYTHONDONTWRITEBYTECODE :=
unit: setup
	$(BIN)/python -m pytest -m 'not slow' $(UNIT)

coverage: setup
	$(BIN)/python -m pytest --numprocesses=auto --cov --cov-report=term-missing:skip-covered $(COVERING)

lint: setup
	$(BIN)/ruff check certagent tests bench deploy
	$(BIN)/ruff format --check certagent tests bench deploy
	$(BIN)/mypy --strict certagent

bench: setup
	$(BIN)/python -m bench

# What a fleet of 10^6 hosts asks of its CA: docs/scale.md. Under a minute.
bench-fleet: setup
	$(BIN)/python -m bench.fleet

clean:
	rm -rf .venv build dist *.egg-info
