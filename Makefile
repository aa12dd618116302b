# Each verb does its own set-up: `make demo` and `make test` work on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo

.PHONY: demo test test-all lint format lessons lessons-check clean

$(VENV)/.installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet -e '.[test]'
	touch $@

demo: $(VENV)/.installed  ## simulate, convert, train, score, export, report: about three minutes
	$(BIN)/python -m eokeras demo $(DEMO) --overwrite

test: $(VENV)/.installed  ## the tests that every change must pass
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: $(VENV)/.installed  ## also the slow ones
	$(BIN)/python -m pytest -m "slow or not slow"

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lessons/node_modules/.package-lock.json: lessons/package-lock.json
	npm ci --prefix lessons --no-audit --no-fund

lessons: $(VENV)/.installed lessons/node_modules/.package-lock.json  ## what lessons are built of; needs Node and Chromium
	$(BIN)/python lessons/build.py

lessons-check: $(VENV)/.installed  ## notebooks, slides and quoted numbers agree with their sources
	$(BIN)/python lessons/build.py --check

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info lessons/node_modules lessons/*/work
