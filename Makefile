# make serve   set up, then serve on http://127.0.0.1:3000
# make test    set up, then run every test
# make nightly set up, then look long for what fails: 100,000 made-up documents and bodies, thousands of requests
# make audit   compare the versions that serving installs with published vulnerabilities (needs a network)
# make train   set up for training (torch, transformers)
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PORT ?= 3000
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

export BENTOML_DO_NOT_TRACK = True

.PHONY: serve test nightly train build requirements audit lint clean

serve: $(VENV)/.serve
	$(BIN)/bentoml serve serving.service:Wenzhai --host 127.0.0.1 --port $(PORT)

test: $(VENV)/.test
	$(BIN)/python -m pytest

nightly: $(VENV)/.test
	WENZHAI_FUZZ_CASES=100000 WENZHAI_CONTRACT_CASES=1000 $(BIN)/python -m pytest tests/test_fuzz.py tests/test_openapi.py

train: $(VENV)/.train

build: $(VENV)/.test
	$(BIN)/bentoml build

requirements: $(VENV)/.test
	mkdir -p build && head -2 requirements-serving.txt > build/requirements.txt
	$(BIN)/uv pip compile --quiet pyproject.toml -c constraints.txt --universal --python-version 3.10 --generate-hashes \
		--no-header --no-annotate >> build/requirements.txt
	mv build/requirements.txt requirements-serving.txt

audit: $(VENV)/.test
	$(BIN)/uvx pip-audit@2.10.1 --require-hashes --disable-pip -r requirements-serving.txt

lint: $(VENV)/.test
	$(BIN)/ruff check .

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
