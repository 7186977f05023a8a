# make serve   set up, then serve on http://127.0.0.1:3000
# make test    set up, then run every test
# make train   set up for training (torch, transformers)
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PORT ?= 3000
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

export BENTOML_DO_NOT_TRACK = True

.PHONY: serve test train build lint clean

serve: $(VENV)/.serve
	$(BIN)/bentoml serve serving.service:Wenzhai --host 127.0.0.1 --port $(PORT)

test: $(VENV)/.test
	$(BIN)/python -m pytest

train: $(VENV)/.train

build: $(VENV)/.test
	$(BIN)/bentoml build

lint: $(VENV)/.test
	$(BIN)/ruff check . && $(BIN)/ruff format --check --diff . || true

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 12) else "Python 3.10, 3.11 or 3.12 is needed, this is %d.%d; try: make PYTHON=python3.11 ..." % v)'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.serve: $(VENV)/.python pyproject.toml constraints.txt
	$(PIP) -c constraints.txt .
	touch $@

$(VENV)/.train: $(VENV)/.python pyproject.toml constraints.txt
	$(PIP) -c constraints.txt '.[train]'
	touch $@

$(VENV)/.test: $(VENV)/.python pyproject.toml constraints.txt
	$(PIP) -c constraints.txt '.[train,dev]'
	touch $@

clean:
	rm -rf $(VENV) build
