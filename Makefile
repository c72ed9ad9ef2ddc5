# make demo | test | check need Python 3.11+ and nothing else; each installs into .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCK := requirements-dev.lock
FLOORS := .venv-floors
PYTHONS := 3.11 3.12 3.13
PIP_INSTALL := bin/pip install --quiet --disable-pip-version-check
FIND_PYTHON := .ci/find-python

.DEFAULT_GOAL := help
.PHONY: help install lock demo proof test lower-bounds matrix check coverage soak \
    soak-history bench format docs examples picture picture-top wheel release clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## the command and all its tools into .venv, as the lock file pins them

# Again only when one of them changes. Hatchling comes from the lock as well.
$(STAMP): pyproject.toml $(LOCK)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/$(PIP_INSTALL) --require-hashes -r $(LOCK)
	$(VENV)/$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	touch $@

# One file for Python 3.11 and later on Linux and macOS; uv lives only as long as it takes.
lock: ## pin the newest versions that pyproject.toml allows, with hashes
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/$(PIP_INSTALL) uv
	.venv-lock/bin/uv --quiet --no-config pip compile pyproject.toml --output-file $(LOCK) --upgrade \
	    --universal --python-version 3.11 --extra embedded --extra dev --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'
	rm -rf .venv-lock

demo: $(STAMP) ## both loops on a private server, every outcome shown
	@$(BIN)/qtctl demo

proof: $(STAMP) ## the twelve scenarios, read back from Redis and the metrics ports
	@$(BIN)/qtctl proof all

test: $(STAMP) ## the test suite; ARGS go to pytest
	$(BIN)/pytest -n 4 --dist worksteal $(ARGS)

lower-bounds: $(FLOORS)/.installed ## the tests on the oldest versions that pyproject.toml allows
	$(FLOORS)/bin/pytest -n 4 --dist worksteal $(ARGS)

# On the oldest Python as well, where it is found.
$(FLOORS)/.installed: pyproject.toml tests/support/floors.py
	$$($(FIND_PYTHON) $(firstword $(PYTHONS)) || echo $(PYTHON)) -m venv --clear $(FLOORS)
	$(FLOORS)/bin/python -m tests.support.floors > $(FLOORS)/constraints.txt
	PIP_CONSTRAINT=$(abspath $(FLOORS)/constraints.txt) $(FLOORS)/$(PIP_INSTALL) -e '.[embedded,dev]'
	touch $@

# Each has a .venv-X.Y of its own.
matrix: ## the tests on every Python of 3.11, 3.12, 3.13 that is found
	@run= failed=; for version in $(PYTHONS); do \
	    python=$$($(FIND_PYTHON) $$version) || continue; run="$$run $$version"; \
	    $(MAKE) test VENV=.venv-$$version PYTHON=$$python || failed="$$failed $$version"; \
	done; echo "tested on:$${run:- none}; failed on:$${failed:- none}"; test -n "$$run" -a -z "$$failed"

check: $(STAMP) ## linters, formatting, types, and the rules of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: $(STAMP) ## lines and branches of what decides; exits 2 below 95 %
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage report --include='qtctl/domain/*,qtctl/wire/*,qtctl/services/*' --fail-under=95

soak: $(STAMP) ## everything is killed, emptied and stepped, some eight minutes (SOAK_SEC=60); exits 1 on any breach
	$(BIN)/python -m tests.soak $(if $(SOAK_SEC),--seconds $(SOAK_SEC)) $(ARGS)

soak-history: $(STAMP) ## recorder, loops and server killed for ten minutes (SOAK_SEC=60), then the history checked
	$(BIN)/python -m tests.soak_history $(if $(SOAK_SEC),--seconds $(SOAK_SEC)) $(ARGS)

bench: $(STAMP) ## every target with its figure; some ten minutes on an idle machine
	@$(BIN)/qtctl bench all $(ARGS)

format: $(STAMP) ## sort the imports and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## write the generated parts of docs/; tests check that they are up to date
	$(BIN)/python -m docs.generators.generate

picture: $(STAMP) ## the picture in the README, from a real run
	$(BIN)/python -m docs.generators.demo_picture

examples: $(STAMP) ## the pages in docs/examples, from two histories that are simulated anew
	$(BIN)/python -m docs.generators.example_pages

wheel: $(STAMP) ## the wheel of this tree into dist/, to install on a host
	$(BIN)/python -m hatchling build -d dist -t wheel

picture-top: $(STAMP) ## the pictures of `qtctl top`, from a real session of nine minutes
	$(BIN)/python -m docs.generators.top_picture

# CHANGELOG, version, checks, tests, wheel, sdist, commit and tag; never pushes.
release: $(STAMP) ## VERSION=x.y.z: a release, up to the tag; see CONTRIBUTING.md
	@$(BIN)/python .ci/release.py $(VERSION)

clean: ## remove what make and the tools made
	rm -rf .venv $(FLOORS) $(PYTHONS:%=.venv-%) .venv-lock .mypy_cache .ruff_cache .pytest_cache .hypothesis
