# Commands for people; each one first makes `.venv` fit (a stamp makes that quick). Nothing but Python and make is needed.
#   make PYTHON=/path/to/python3.12 …     another Python than the first fitting one on PATH
#   make test ARGS="-k leases"            more words for pytest

MAKEFLAGS += --no-print-directory
unexport PYTHONSAFEPATH  # `python -m` must find the checkout
VENV := .venv/bin
PYTHON ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help set-up demo up down reset test check bench soak faults scale lock

help:  ## say all this
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# A version manager's shim may be on PATH for a Python that is not there: so each is asked, not only looked up.
set-up:
	@for python in $(PYTHON) $(if $(PYTHON),,python3.13 python3.12 python3.11 python3); do \
	    if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	        exec "$$python" -m opsplatform.set_up; \
	    fi; \
	done; \
	echo "set-up: no Python 3.11, 3.12 or 3.13 found$(if $(PYTHON), as $(PYTHON), on PATH): install one, or say make PYTHON=..." >&2; \
	exit 2

demo: set-up  ## set everything up, run the example scenario on real data, tell its story, stop everything
	@exec $(VENV)/python -m opsplatform.demo

up: set-up  ## set everything up and serve until Ctrl-C; prints the addresses
	@exec $(VENV)/python -m opsplatform.supervisor up

down: set-up  ## stop what a lost terminal left running
	@exec $(VENV)/python -m opsplatform.supervisor down

reset: set-up  ## stop everything and erase OPS_HOME, after asking (YES=1 does not ask)
	@exec $(VENV)/python -m opsplatform.supervisor reset $(if $(YES),--yes)

test: set-up  ## run the whole test suite on three workers; ARGS=-n0: on one
	@exec $(VENV)/python -m pytest -n 3 $(ARGS)

check: set-up  ## format, lint, types, import contracts, migrations in step, docs in step
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/mypy .
	@$(VENV)/lint-imports
	@$(VENV)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run  # needs no database, and would warn of that
	@if $(VENV)/python manage.py help docs >/dev/null 2>&1; then $(VENV)/python manage.py docs --check; fi

soak: set-up  ## play generated histories of work and harm for MINUTES=30, and ask every promise
	@SOAK_MINUTES=$(or $(MINUTES),30) exec $(VENV)/python -m pytest -m soak -s -q tests/faults/test_histories.py $(ARGS)

scale: set-up  ## migrate 200 tenants' schemas with a million rows under writes
	@exec $(VENV)/python -m pytest -m soak -s -q tests/journeys/test_migration_at_scale.py $(ARGS)

faults: set-up  ## play every fault test TIMES=20 times in a row
	@TEST_TIMES=$(or $(TIMES),20) exec $(VENV)/python -m pytest -q -p no:randomly --deselect tests/faults/test_histories.py tests/faults $(ARGS)

bench: set-up  ## run the benchmarks, each as a ratio against its baseline in the same run
	@if [ -f benchmarks/__main__.py ]; then exec $(VENV)/python -m benchmarks; else echo "no benchmarks yet"; fi

lock: set-up  ## compile requirements.txt from pyproject.toml: all platforms, hashes, wheels only
	@$(VENV)/uv pip compile --universal --generate-hashes --python-version 3.11 --group dev --only-binary :all: \
	    pyproject.toml -o requirements.txt --no-header --quiet
	@exec $(MAKE) set-up
