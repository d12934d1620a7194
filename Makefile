# make demo | demo-zero | bench | test | test-all | lint | clean
# Each target makes its own .venv from the first Python >= 3.11 it finds; PYTHON=/path/to/python overrides.
# The second time only what changed in setup.py is installed anew.

VENV := .venv
BIN := $(VENV)/bin
SUITABLE := import sys, ensurepip; sys.exit(sys.version_info < (3, 11))
FOUND = $(shell for p in python3.13 python3.12 python3.11 python3; do \
          if $$p -c '$(SUITABLE)' >/dev/null 2>&1; then command -v $$p; break; fi; done)
PYTHON ?= $(FOUND)
DEMO_STORE ?= demo-store
DEMO_REPORT ?= demo-report

# Training's large temporaries come from huge pages: on two cores a step takes 10 to 25 % less time (LOG.md).
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

.PHONY: demo demo-zero bench test test-all lint clean

# the whole recipe: R1-Zero, R1 and two students
demo: $(VENV)/.installed
	$(BIN)/r1jax run experiments/recipe.py:tiny --store $(DEMO_STORE)
	$(BIN)/r1jax stage-table --store $(DEMO_STORE)
	$(BIN)/r1jax report --store $(DEMO_STORE) --out $(DEMO_REPORT) --results results

# R1-Zero alone
demo-zero: $(VENV)/.installed
	$(BIN)/r1jax run experiments/recipe.py:tiny --until r1-zero --store $(DEMO_STORE)
	$(BIN)/r1jax eval embedded:base --store $(DEMO_STORE)
	$(BIN)/r1jax eval r1-zero@tiny --store $(DEMO_STORE)
	$(BIN)/r1jax report --store $(DEMO_STORE) --out $(DEMO_REPORT)

# BENCH="--systems r1jax,trl --loads even --models bench --rounds 3" for a part; environments in .bench/
bench: $(VENV)/bin/python
	$(BIN)/python benchmarks/grpo_step.py $(BENCH)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

# with the tests beside transformers, which needs torch; nothing else here does
test-all: $(VENV)/.installed-live
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .

clean:
	rm -rf $(VENV) .bench build dist r1jax.egg-info .pytest_cache .ruff_cache .hypothesis $(DEMO_STORE) $(DEMO_REPORT)

$(VENV)/bin/python:
	@python="$(PYTHON)"; \
	if [ -z "$$python" ] || ! "$$python" -c '$(SUITABLE)'; then \
	  echo "No Python 3.11 or newer with venv was found; install one, or name one with make PYTHON=/path/to/python." >&2; \
	  exit 1; \
	fi; \
	echo "making $(VENV) with $$python"; "$$python" -m venv $(VENV)

$(VENV)/.installed: setup.py | $(VENV)/bin/python
	@echo "installing packages; this takes a minute or more"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

$(VENV)/.installed-live: tests/requirements-live.txt $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements-live.txt
	@touch $@
