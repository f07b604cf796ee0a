# Everything runs in .venv, made from requirements.lock. `make` lists the targets.

ARGS ?=
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
PYTHONS := 3.11, 3.12 or 3.13

# A machine's own pip settings (index, certificates, cache) apply; those that would install elsewhere do not.
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIRE_HASHES PYTHONHOME
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup run test lint types unit slow format lock clean reset

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## make .venv with the exact versions of requirements.lock (PYTHON=… chooses the interpreter)
	@mkdir -p var

run: setup ## run the main job on the embedded data (ARGS="--noise 0,0.2" and the like are passed on)
	@$(BIN)/rec-denoiser run $(ARGS)

test: setup lint types unit ## lint, types and tests: what a change has to pass

lint: setup ## style and format
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .

types: setup ## static types
	@$(BIN)/mypy

# Two processes, a file's tests in one, the long ones of flows/ first; each computes in one thread, for torch's
# threads would wait for one another.
unit: setup ## the tests that are not marked slow (ARGS="-k name" and the like are passed on)
	@OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

slow: setup ## the tests that are marked slow: servers, workers, long runs
	@$(BIN)/pytest -m slow --hypothesis-profile=searching $(ARGS)

format: setup ## repair style and format where that can be done by machine
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

lock: setup ## write requirements.lock again from pyproject.toml (UPGRADE=1 takes the newest that fit)
	@$(BIN)/python tools/lock.py $(if $(UPGRADE),--upgrade)

clean: ## delete caches and build leftovers
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	@find . -path ./$(VENV) -prune -o -path ./var -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

reset: ## delete var/: snapshots, models, runs and the histories of MLflow and Prefect
	@rm -rf var
	@if [ -n "$$REC_DENOISER_HOME" ]; then \
		echo "REC_DENOISER_HOME is set: what lies in $$REC_DENOISER_HOME was left alone; delete that folder yourself."; fi

# Without the stamp a set-up was never finished, and is begun again from nothing; with it, the lock has changed and
# the difference is installed. The stamp goes first and comes back last, so that an interruption cannot hide.
$(STAMP): requirements.lock pyproject.toml
	@set -e; \
	if [ -e $(STAMP) ] && $(BIN)/python -c '$(SUPPORTED)' 2>/dev/null; then \
		echo "Bringing $(VENV) up to requirements.lock …"; rm -f $(STAMP); \
	else \
		$(FIND_PYTHON); \
		echo "Making $(VENV) with $$("$$python" --version 2>&1) …"; \
		"$$python" -m venv --clear $(VENV); \
		echo "Installing the versions of requirements.lock: minutes the first time, most of them torch …"; \
	fi; \
	$(BIN)/python -m pip install -qq -r requirements.lock; \
	$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .; \
	touch $(STAMP); \
	echo "$(VENV) is ready."

SUPPORTED := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))

# Sets the shell variable `python`: the PYTHON that was asked for, or the first that fits.
define FIND_PYTHON
python=; \
for candidate in $(or $(PYTHON),python3.11 python3.12 python3.13 python3 python); do \
	if "$$candidate" -c '$(SUPPORTED)' 2>/dev/null; then python="$$candidate"; break; fi; \
done; \
if [ -z "$$python" ]; then \
	echo "Rec-Denoiser needs Python $(PYTHONS) with its venv module: $(or $(PYTHON),what is on the PATH) is not." >&2; \
	echo "Install one (Debian keeps venv in python3-venv), or name one: make setup PYTHON=/path/to/python3.12" >&2; \
	exit 1; \
fi
endef
