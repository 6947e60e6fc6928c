# One command each. `make run` and `make test` do their own set-up; `make check` is what CI runs.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# A check of the version first: without it the first sign of an old Python would be a syntax error.
NEW_ENOUGH = $(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed")'

.PHONY: setup run test check bench soak dist install clean reference facts golden lock lock-check fuzz prices

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
	$(BIN)/coverage run -m pytest -n auto -m 'not exhaustive and not sdk'
	$(BIN)/python -m pytest -n auto -m 'exhaustive or sdk'
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

reference: $(VENV)/dev.stamp
	$(BIN)/python docs/make_reference.py

# The prices of the presets' models, from the newest genai-prices.
prices: $(VENV)/dev.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade genai-prices
	$(BIN)/python docs/make_prices.py

# What gateway/data does not know of the model lists of the providers in CONFIG, whose keys are in the environment.
CONFIG ?= providers.yaml
facts: $(VENV)/run.stamp
	@$(BIN)/python docs/make_facts.py $(CONFIG)

golden: $(VENV)/dev.stamp
	GATEWAY_GOLDEN=write $(BIN)/python -m pytest tests/wire/test_golden.py || true

# The versions and hashes that docs/operate.md installs. A release in the lock stays until `make lock` is told otherwise
# (`make lock UPGRADE=--upgrade`); `lock-check` fails if setup.cfg asks for what the lock does not have.
UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
  --no-annotate --no-emit-index-url --extra redis setup.cfg

lock: $(VENV)/dev.stamp
	$(UV_COMPILE) $(UPGRADE) --output-file requirements.lock

lock-check: $(VENV)/dev.stamp
	@cp requirements.lock $(VENV)/requirements.lock
	@$(UV_COMPILE) --output-file $(VENV)/requirements.lock
	@diff -u requirements.lock $(VENV)/requirements.lock

# Minutes for each reader of bytes; what was found before is tried first. CI runs a short one.
FUZZ_SECONDS ?= 60
fuzz: $(VENV)/dev.stamp
	$(BIN)/python -m tests.security.fuzz --seconds $(FUZZ_SECONDS)

bench: $(VENV)/dev.stamp
	$(BIN)/python bench/run.py

# Ten minutes of mixed traffic with faults; prints what leaks and what is slow.
SOAK_MINUTES ?= 10
soak: $(VENV)/dev.stamp
	$(BIN)/python bench/soak.py --minutes $(SOAK_MINUTES)

# The wheel, and the bill of materials of what is installed with it: every package with its version and licence.
dist: $(VENV)/dev.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check build cyclonedx-bom
	$(BIN)/python -m build
	$(PYTHON) -m venv $(VENV)-dist
	$(VENV)-dist/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(VENV)-dist/bin/pip install --quiet --disable-pip-version-check --no-deps --no-index dist/*.whl
	$(BIN)/cyclonedx-py environment --output-reproducible --of JSON -o dist/sbom.json $(VENV)-dist/bin/python

# Every package by the hash in requirements.lock, and the gateway itself from the wheel that is built here.
PREFIX ?= /opt/gateway
install:
	@$(NEW_ENOUGH)
	rm -rf build/install && mkdir -p build/install
	$(PYTHON) -m venv build/install/venv
	build/install/venv/bin/pip install --quiet --disable-pip-version-check build
	build/install/venv/bin/python -m build --wheel --outdir build/install .
	$(PYTHON) -m venv $(PREFIX)
	$(PREFIX)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(PREFIX)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-index --force-reinstall build/install/*.whl
	@$(PREFIX)/bin/python -I -m gateway version

clean:
	rm -rf $(VENV) .venv-* build dist *.egg-info .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
