# One command each. `make run` and `make test` do their own set-up; `make check` is what CI runs.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# A check of the version first: without it the first sign of an old Python would be a syntax error.
NEW_ENOUGH = $(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed")'

.PHONY: setup run test check bench dist clean reference golden

setup: $(VENV)/dev.stamp

$(VENV)/run.stamp: setup.cfg pyproject.toml gateway/__init__.py
	@$(NEW_ENOUGH)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

run: $(VENV)/run.stamp
	$(BIN)/gateway run

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n auto -m 'not slow'

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python docs/make_reference.py --check
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

reference: $(VENV)/dev.stamp
	$(BIN)/python docs/make_reference.py

golden: $(VENV)/dev.stamp
	GATEWAY_GOLDEN=write $(BIN)/python -m pytest tests/wire/test_golden.py || true

bench: $(VENV)/dev.stamp
	$(BIN)/python bench/run.py

dist: $(VENV)/dev.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check build
	$(BIN)/python -m build

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
