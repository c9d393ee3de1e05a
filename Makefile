# PrivLab: every command in one place.
#   make run    set up and open the lab        make test   set up and run all tests
#   make bench  print every figure of docs/performance.md        make lint   style and import checks

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PYTEST_FLAGS ?=

.PHONY: run test bench lint clean
.DEFAULT_GOAL := run

run: $(VENV)/.run
	$(BIN)/streamlit run app.py

test: $(VENV)/.dev
	$(BIN)/python -m tests.e2e.browser --ensure
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

lint: $(VENV)/.dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "PrivLab needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV)
