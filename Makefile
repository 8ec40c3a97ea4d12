# `make` lists the targets. Each works in a fresh clone: it sets up first what it needs.
#
#   PYTHON=…   the Python to set up with, instead of the newest that is found
#   ARGS=…     further words for pytest, `greenline demo` or the compilation of requirements.txt
#   ROWS=…     how many attempts `make bench-analytics` measures with
#   RUNS=…     how many flow runs `make soak-workers` begins
#   ROUNDS=…   how many rounds of each kind `make soak` plays, SEED=… the first one's number

PYTHONS := python3.14 python3.13 python3.12 python3.11 python3

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench bench-analytics soak soak-services soak-workers screenshots lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s  %s\n", $$1, $$2 }' Makefile

# The stamp holds the folder that it was made in: in a clone that was moved or copied, or whose
# Python is gone, the environment does not work and is made anew. Paths are relative, so that
# a space in the clone's path does no harm.
ifneq ($(shell test "$$(cat .venv/ready 2>&1)" = "$$(pwd -P)" && .venv/bin/python -c '' 2>&1 && echo ready),ready)
.PHONY: .venv/ready
endif

setup: .venv/ready ## Make .venv with everything pinned, and .venv/bin/greenline in it

.venv/ready: pyproject.toml requirements.txt
	@set -eu; \
	if test "$$(cat $@ 2>&1)" = "$$(pwd -P)" && .venv/bin/python -c '' 2>/dev/null; then \
		echo "Bringing .venv up to date with requirements.txt and pyproject.toml"; \
	else \
		set -- $(PYTHONS); \
		if test -n "$(PYTHON)"; then set -- "$(PYTHON)"; fi; \
		lacking=; chosen=; \
		for python; do \
			"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
			if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then chosen=$$python; break; fi; \
			lacking=$${lacking:-$$python}; \
		done; \
		if test -z "$$chosen" && test -n "$$lacking"; then \
			package=$$("$$lacking" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
			echo "$$lacking cannot make virtual environments: its module venv or ensurepip is missing." >&2; \
			echo "On Debian and Ubuntu: apt-get install $$package (or python3-venv). Then again." >&2; \
			exit 1; \
		fi; \
		if test -z "$$chosen"; then \
			echo "Greenline needs Python 3.11 or newer; none of these is one: $$*" >&2; \
			echo "Install one, or name it: make setup PYTHON=/path/to/python3" >&2; \
			exit 1; \
		fi; \
		echo "Making .venv with $$("$$chosen" --version) ($$chosen); the first time this takes a minute or two"; \
		"$$chosen" -m venv --clear .venv; \
	fi; \
	rm -f $@; \
	export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USER=0; \
	.venv/bin/python -m pip install --quiet --requirement requirements.txt; \
	.venv/bin/python -m pip install --quiet --no-deps --editable .; \
	printf '%s\n' "$$(pwd -P)" > $@; \
	echo "Ready: .venv/bin/greenline"

demo: setup ## Run a feature plan on a sample repository; no model and no key needed
	@.venv/bin/greenline demo $(ARGS)

test: setup ## Run the whole test-suite
	.venv/bin/python -m pytest -n auto --maxprocesses 2 $(ARGS)

check: setup ## Lint, types, imports, generated documents and unit tests: before each commit
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python -m tasks.plan.schema --check
	.venv/bin/python -m storage.state_docs --check
	.venv/bin/python -m flows.cli.docs --check
	.venv/bin/python -m tasks.config_docs --check
	.venv/bin/python -m analytics.metrics_docs --check
	.venv/bin/python -m pytest -q tests/unit $(ARGS)

bench: setup ## Run the benchmarks of the pipeline
	@set -eu; for benchmark in step_overhead fence metering agents parallel thousand_steps; do \
		.venv/bin/python "benchmarks/$$benchmark.py"; done

bench-analytics: setup ## Measure metrics (ROWS=10000000, beside a bare scan and polars), export and import
	.venv/bin/python benchmarks/weekly_metrics.py --rows $(or $(ROWS),10000000) $(ARGS)
	.venv/bin/python benchmarks/export.py
	.venv/bin/python benchmarks/importing.py

soak: setup ## Kill runs at random moments for hundreds of rounds (ROUNDS=200, SEED=1)
	GREENLINE_SOAK_ROUNDS=$(or $(ROUNDS),200) GREENLINE_SOAK_SEED=$(or $(SEED),1) \
		.venv/bin/python -m pytest -q -n auto --maxprocesses 2 tests/acceptance/test_killed_anywhere.py $(ARGS)

soak-services: setup ## Servers, worker and `down` in the middle of runs: the tests that take long
	.venv/bin/python -m pytest -q -m soak tests/acceptance $(ARGS)

screenshots: setup ## Take the pictures of docs/ui.md anew; needs a Chromium
	.venv/bin/python benchmarks/screenshots.py

soak-workers: setup ## Three workers in three namespaces, one killed, one cut off (RUNS=30); needs root
	GREENLINE_SOAK_WORKERS=$(or $(RUNS),30) .venv/bin/python -m pytest -q -rs tests/soak $(ARGS)

lock: setup ## Compile requirements.txt from pyproject.toml (ARGS=--upgrade for newer versions)
	@test -x .venv/bin/uv || .venv/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --no-emit-index-url --custom-compile-command "make lock" -o requirements.txt $(ARGS)

clean: ## Remove .venv, caches and builds
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
