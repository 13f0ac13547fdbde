# One command for each job; `make` alone lists them.
# VENV=DIR    where the virtual environment is (default .venv)
# PYTHON=EXE  the Python to make it with (default: the first Python 3.11 or newer on PATH)
# COVERAGE=--cov   hold the floor of coverage, too, as continuous integration does
# pip takes its options (index, proxy, cache) from your own environment and configuration.

VENV ?= .venv
PYTHONS = $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3 python)
PYTEST_WORKERS ?= 2
COVERAGE ?=
BIN = $(VENV)/bin
INPUTS = pyproject.toml constraints.txt
unexport PYTHONDONTWRITEBYTECODE # each process that a test starts would compile the package anew

.PHONY: help demo test test-slow bench docs release lint clean
.DELETE_ON_ERROR:

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.installed-agents ## set up, train a policy, score it officially, record a video
	@$(BIN)/deeptraffic demo

test: lint ## lint, then the quick tests
	$(BIN)/python -m pytest -m "not slow" -n $(PYTEST_WORKERS) --dist loadfile $(COVERAGE)

test-slow: $(VENV)/.installed-dev ## the tests marked slow
	$(BIN)/python -m pytest -m slow

bench: $(VENV)/.installed-bench ## measure throughput, side by side with highway-env
	@$(BIN)/deeptraffic bench

docs: $(VENV)/.installed-docs ## build the documentation site in build/docs
	@$(BIN)/python -m deeptraffic.docs build/docs

release: docs ## build sdist, wheel, notes and documentation in dist, and check them; URL= of the public repository
	$(BIN)/python .ci/release.py --url '$(URL)'
	rm -rf dist/docs
	cp -r build/docs dist/docs

lint: $(VENV)/.installed-dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

clean: ## remove .venv, caches and build output
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
	find deeptraffic agents representation tests -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.installed-%: $(INPUTS) | $(BIN)/python
	@echo "Installing DeepTraffic and its extra '$*' into $(VENV): once, a minute or more."
	$(BIN)/python -m pip install --no-compile -c constraints.txt -e '.[$*]' # compiled when first imported
	@touch $@

$(BIN)/python:
	@for candidate in $(PYTHONS); do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "Making $(VENV) with $$("$$candidate" -V) ($$candidate)."; \
	    exec "$$candidate" -m venv "$(VENV)"; \
	  fi; \
	done; \
	echo "No Python 3.11 or newer with its venv module found (tried: $(PYTHONS))." >&2; \
	echo "Install one (Debian, Ubuntu: apt install python3 python3-venv), or name yours: make demo PYTHON=python3.13" >&2; \
	exit 1
