# make demo | test | check need Python 3.11+ and nothing else; each installs into .venv on first use.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install demo proof test check coverage soak bench format docs picture release clean

install: $(STAMP)

# Again only when pyproject.toml changes.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[embedded,dev]'
	touch $(STAMP)

demo: $(STAMP)
	@$(BIN)/qtctl demo

proof: $(STAMP)
	@$(BIN)/qtctl proof all

test: $(STAMP)
	$(BIN)/pytest -n 2 --dist worksteal $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Lines and branches of what decides; ends with 2 below 95 %.
coverage: $(STAMP)
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage report --include='qtctl/domain/*,qtctl/wire/*,qtctl/services/*' --fail-under=95

# 20,000 plans while everything is killed, some eight minutes; ends with 1 on any breach.
soak: $(STAMP)
	$(BIN)/python -m tests.soak $(ARGS)

# Every target with its figure; some minutes, on a machine that has nothing else to do.
bench: $(STAMP)
	@$(BIN)/qtctl bench all $(ARGS)

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Writes the generated parts of docs/; tests check that they are up to date.
docs: $(STAMP)
	$(BIN)/python -m docs.generators.generate

# The picture in the README, from a real run.
picture: $(STAMP)
	$(BIN)/python -m docs.generators.demo_picture

# VERSION=x.y.z: CHANGELOG, version, checks, tests, wheel, sdist, commit and tag; never pushes.
release: $(STAMP)
	@$(BIN)/python .ci/release.py $(VERSION)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
