# Each verb does its own set-up: `make demo` and `make test` work on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo
BENCH ?= build/bench

.PHONY: demo test test-all lint format bench lessons lessons-check clean

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

$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e '.[bench]'
	touch $@

# One after the other: two that run at once measure each other. Full sizes: tests/benchmarks/README.md.
bench: $(VENV)/.installed-bench  ## short runs of all benchmarks of speed, against PyTorch: about five minutes
	mkdir -p $(BENCH)
	$(BIN)/python -m tests.benchmarks.reading $(BENCH)/reading.json --data $(BENCH)/data --short
	$(BIN)/python -m tests.benchmarks.augmentation $(BENCH)/augmentation.json --data $(BENCH)/data --short
	$(BIN)/python -m tests.benchmarks.overlap $(BENCH)/overlap.json --data $(BENCH)/data --short
	$(BIN)/python -m tests.benchmarks.training_step $(BENCH)/training_step.json --short
	$(BIN)/python -m tests.benchmarks.inference $(BENCH)/inference.json --data $(BENCH)/data --short
	$(BIN)/python -m tests.benchmarks.conversion $(BENCH)/conversion.json --short

lessons/node_modules/.package-lock.json: lessons/package-lock.json
	npm ci --prefix lessons --no-audit --no-fund

lessons: $(VENV)/.installed lessons/node_modules/.package-lock.json  ## what lessons are built of; needs Node and Chromium
	$(BIN)/python lessons/build.py

lessons-check: $(VENV)/.installed  ## notebooks, slides and quoted numbers agree with their sources
	$(BIN)/python lessons/build.py --check

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info lessons/node_modules lessons/*/work
