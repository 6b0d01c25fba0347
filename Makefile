# Every target is one line that CI calls too. Where make is missing, README.md gives the plain commands.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: setup demo test kafka s3 faults faults-quick check format reference docs bench bench-quick wheel wheelhouse constraints clean
setup: $(STAMP)

$(STAMP): pyproject.toml plugin_template/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[local,crypto,s3,girder,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check ./plugin_template # pip before 24 cannot do both at once
	touch $(STAMP)

demo: setup
	$(BIN)/openmsi demo

test: setup
	$(BIN)/python -m pytest -m "not kafka and not s3" tests plugin_template

s3: setup
	$(BIN)/python -m pytest -m s3 tests/s3

kafka: setup
	$(BIN)/python -m pytest -m kafka tests/kafka

QUICK  := F1 F2 F3 F5 F6 F7 F8 F9 F10 F11 F12 F13 F14 F15 F16 F17 F18 F19 F20 F21 F22 F23
MODEL  := F3 F11 F12 F14 F17 F20 F21 F23
faults-quick: setup
	$(BIN)/python -m tests.faults --first 1 $(QUICK:%=--only %)
	$(BIN)/python -m tests.faults --mutations $(MODEL:%=--only %)

faults: setup
	$(BIN)/python -m tests.faults --scale release --first 1
	$(BIN)/python -m tests.faults --mutations
	$(BIN)/python -m tests.faults.mixed --minutes 30

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -m "not kafka and not s3" tests plugin_template

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# the parts of docs/ that are made from the code
reference: setup
	$(BIN)/python -m tests.made_docs

bench-quick: setup
	$(BIN)/python tests/benchmarks/quick.py

# everything that can be measured here; PREDECESSOR names a virtual environment with openmsistream 1.8.8
bench: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python -m tests.benchmarks.bench $(if $(PREDECESSOR),--predecessor $(PREDECESSOR))

wheel: setup
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

wheelhouse: setup
	$(BIN)/python -m pip wheel --quiet --wheel-dir wheelhouse '.[local]' -c constraints.txt

constraints: setup
	(echo "# The versions that this state was tested with: pip install openmsi -c constraints.txt"; \
	$(BIN)/python -m pip list --format=freeze | grep -viE '^(-e|openmsi|my.xrd|pip|setuptools)' | sort -f) > constraints.txt

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

clean:
	rm -rf $(VENV) build dist site wheelhouse .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
