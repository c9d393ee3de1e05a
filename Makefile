# PrivLab: every command in one place.
#   make run    set up and open the lab        make test   set up and run all tests
#   make bench  print every figure of docs/performance.md        make lint   style and import checks
#   make peers  the environments of other libraries that `make bench` measures beside PrivLab (about 3 GB)
#   make spu    the optional environment of secret-shared training (about 1 GB)

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PYTEST_FLAGS ?= -n auto --dist loadgroup --no-loadscope-reorder

.PHONY: run test bench peers lint spu clean
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

$(VENV)/.dev: requirements-dev.txt requirements-encryption.txt requirements-language.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

spu: $(VENV)-spu/.ready

# The newest Python that SPU 0.9.5 has wheels for is 3.11.
SPU_PYTHON ?= $(PYTHON)
$(VENV)-spu/.ready: requirements-spu.txt
	@$(SPU_PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "SPU needs Python 3.11; name one with: make SPU_PYTHON=python3.11 spu"; exit 1; }
	$(SPU_PYTHON) -m venv $(VENV)-spu
	$(VENV)-spu/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-spu.txt
	touch $@

# Other libraries and torchvision's loader, each in a folder of its own, for `make bench`. TensorFlow 2.15 needs Python ≤ 3.11.
PEERS := $(VENV)-peers
PEERS_PYTHON ?= $(PYTHON)
peers: $(PEERS)/jax/.ready $(PEERS)/tensorflow/.ready $(PEERS)/torchvision/.ready

$(PEERS)/torchvision/.ready: benchmarks/environments/torchvision.txt $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(@D) -r $<
	touch $@

$(PEERS)/%/.ready: benchmarks/environments/%.txt | $(VENV)/bin/python
	$(PEERS_PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

clean:
	rm -rf $(VENV)
