# Sets up its own environment in .venv and runs the demo and the tests in it.

PYTHON ?= python3
TORCH  ?= torch==2.13.0
DATA   ?=
SEEDS  ?= 1
JOBS   ?= 2

VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
RUN    := $(VENV)/.ready-run
TEST   := $(VENV)/.ready-test
LINT   := $(VENV)/.ready-lint
BVENV  := .venv-bench
BENCH  := $(BVENV)/.ready
OLDEST := .oldest-lightning
ENGINE := .venv-engines
STUDY  := demo/lake --project demo $(if $(DATA),--data $(DATA))

PURELIB := import sysconfig; print(sysconfig.get_path("purelib"))

export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

.PHONY: help demo test test-all test-oldest test-engines bench lint format package clean

help: ## show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(RUN) ## train, measure diversity, correlate: demo/lake and demo/report.html
	$(BIN)/python tasks/study.py $(STUDY) --seeds $(SEEDS)
	$(BIN)/python analysis/diversity.py $(STUDY)
	$(BIN)/python analysis/correlation.py demo/lake --project demo -o demo/report.html

test: $(TEST) ## the tests, without the slow ones
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow and not gpu"

test-all: $(TEST) ## all tests
	$(BIN)/python -m pytest -n $(JOBS)

test-oldest: $(OLDEST)/.ready ## what touches Lightning, with the oldest Lightning that is supported
	PYTHONPATH=$(CURDIR)/$(OLDEST) $(BIN)/python -m pytest -m "not slow and not gpu" tests/lightning tests/test_callback.py

test-engines: $(ENGINE)/.ready ## the lake as Daft, Ray and Spark read it: 1.1 GB in an environment beside .venv; needs Java
	$(ENGINE)/bin/python -m pytest tests/interop

bench: $(BENCH) ## compare cost with other trackers, an hour on a quiet machine: docs/results
	$(BVENV)/bin/python tests/benchmarks/run.py

lint: $(LINT) ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tasks analysis

format: $(LINT) ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

package: $(LINT) ## build sdist and wheel, install the wheel in an empty environment and try it
	BIN=$(BIN) TORCH='$(TORCH)' PYTHON=$(PYTHON) sh tests/package.sh

clean: ## remove the environment, the demo and what was built
	rm -rf $(VENV) $(BVENV) $(OLDEST) $(ENGINE) demo build dist *.egg-info

$(BIN)/python $(BVENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@echo "making an environment in $(@:/bin/python=)"
	@$(PYTHON) -m venv $(@:/bin/python=) || { echo "the venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }

$(RUN): setup.py constraints.txt | $(BIN)/python
	@echo "1/2 installing $(TORCH), the largest part (some minutes)"
	$(PIP) install "$(TORCH)"
	@echo "2/2 installing lightning-lde and what it needs"
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(TEST): $(RUN)
	@echo "installing what the tests need"
	$(PIP) install -c constraints.txt -e ".[test]"
	@touch $@

$(LINT): $(RUN)
	@echo "installing what linting and packaging need"
	$(PIP) install -c constraints.txt -e ".[lint]"
	@touch $@

$(OLDEST)/.ready: $(TEST)
	rm -rf $(OLDEST)
	$(PIP) install --no-deps --target $(OLDEST) pytorch-lightning==2.4.0 lightning==2.4.0
	@touch $@

$(ENGINE)/.ready: $(TEST)
	@echo "installing Daft, Ray and Spark beside what the tests have (some minutes)"
	rm -rf $(ENGINE)
	$(BIN)/python -m venv $(ENGINE)
	$(BIN)/python -c '$(PURELIB)' > "$$($(ENGINE)/bin/python -c '$(PURELIB)')/tests.pth"
	$(ENGINE)/bin/python -m pip --disable-pip-version-check install -e ".[engines]"
	@touch $@

$(BENCH): setup.py | $(BVENV)/bin/python
	@echo "installing other trackers beside this one; their needs are why this has an environment of its own"
	$(BVENV)/bin/python -m pip --disable-pip-version-check install "$(TORCH)"
	$(BVENV)/bin/python -m pip --disable-pip-version-check install -e ".[bench]"
	@touch $@
