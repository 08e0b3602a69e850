# Everything that is needed comes from PyPI, into .venv; nothing else is touched.
# Another Python than python3: make PYTHON=python3.13 ...

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SPHINX := $(BIN)/sphinx-build --quiet --fail-on-warning --nitpicky --keep-going --fresh-env

.PHONY: help demo test torture test-ray test-all check lint types bench bench-users docs figures clean
.DEFAULT_GOAL := help
.NOTPARALLEL:

help:  ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST)

# Stamps: what is installed is what pyproject.toml says, as long as they are newer than it.
$(VENV)/.runtime: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --editable '.[tiffslide]' --group dev
	@touch $@

demo: $(VENV)/.runtime  ## Make four slides and take patches out of them in every way
	@rm -rf dplabtools-demo
	$(BIN)/dplabtools demo dplabtools-demo

test: $(VENV)/.dev  ## Run all tests and the examples in docstrings
	$(BIN)/python -m pytest

torture: $(VENV)/.dev  ## Try ten times as many faults as `make test` does (FACTOR=10)
	DPLABTOOLS_TORTURE=$(or $(FACTOR),10) $(BIN)/python -m pytest tests/faults -q --timeout=3600

test-ray: $(VENV)/.dev  ## Run the tests that take Ray, with clusters on this machine
	$(BIN)/python -m pip install --quiet 'ray[data]>=2.50'
	$(BIN)/python -m pytest -q -k ray tests/contracts tests/integration tests/docs

test-all: $(VENV)/.dev  ## Run the fast tests with every supported Python that is there
	PATH="$$PATH:$$(echo $$HOME/.pyenv/versions/3.*/bin | tr ' ' :)" $(BIN)/nox

lint: $(VENV)/.dev  ## Style, spelling, docstrings, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	find src -name '*.py' -exec $(BIN)/numpydoc lint --config . {} +
	$(BIN)/lint-imports

types: $(VENV)/.dev  ## mypy and pyright, both strict
	$(BIN)/mypy
	@skip='a^'; for library in torch ray; do \
		$(BIN)/python -c "import $$library" 2>/dev/null && continue; \
		echo "without $$library pyright leaves out what imports it"; \
		skip="$$skip|^(import|from) $$library\\b"; \
		[ $$library = ray ] || skip="$$skip|inference\.(datasets|device_processes|encod\w+|feature\w*|runner|streaming) import"; \
	done; $(BIN)/pyright $$(grep -rLE "$$skip" --include='*.py' src)

check: lint types docs test  ## Everything that has to pass

bench: $(VENV)/.dev  ## Measure pools, readers and locations
	$(BIN)/python -m benchmarks.throughput
	$(BIN)/python -m benchmarks.reading --quick
	$(BIN)/python -m benchmarks.locations
	$(BIN)/python -m benchmarks.startup

bench-users: $(VENV)/.dev  ## Measure whole runs of the pools beside others: BENCH="--peers PYTHON ..."
	$(BIN)/python -m benchmarks.users $(BENCH)

docs: $(VENV)/.dev  ## Build the documentation in docs/_build/html
	$(SPHINX) -b html docs docs/_build/html

figures: $(VENV)/.dev  ## Draw the figures of the documentation again, and list the options
	PYTHONPATH=. $(BIN)/python docs/figures
	$(BIN)/python docs/command_reference.py

clean:  ## Remove everything that was made, the environment too
	rm -rf $(VENV) docs/_build dist build dplabtools-demo .benchmarks .hypothesis
	rm -rf .nox .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
