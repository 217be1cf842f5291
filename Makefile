# Two commands matter: `make demo` and `make test`. Each sets up what it needs on its first run and works offline after.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
DEMO_DIR ?= runs/demo
PYTEST_ARGS ?=
MUTANTS ?= 560
KILLS ?= 26
AUDIT ?= .venv-audit
INTEROP ?= .venv-interop
INTEROP_STAMP := $(INTEROP)/.installed

# Tests start many processes, each of which would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test test-faults test-interop docs lint audit format clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

install: $(STAMP) ## Create .venv and install ptypinn with its test and lint tools

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "ptypinn needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing into $(VENV), once; PyTorch is a large download'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,lint]'
	@touch $@

demo: $(STAMP) ## Simulate a scan, reconstruct it with the weights of the package, evaluate (DEMO_DIR=runs/demo)
	$(BIN)/ptypinn demo --output-dir $(DEMO_DIR) --overwrite

test: $(STAMP) ## Run every test (PYTEST_ARGS='-k name' narrows)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

test-faults: $(STAMP) ## Read 20,000 damaged files and kill stages 200 times (MUTANTS=560 per kind, KILLS=26 per stage)
	$(BIN)/python tests/faults/mutants.py --mutants $(MUTANTS)
	$(BIN)/python tests/faults/kills.py --kills $(KILLS)

# Other programs live in an environment of their own: some ask for packages that are linked to CUDA, so they come without
# their dependencies, and benchmarks/peer holds a stand-in for torchvision.
$(INTEROP_STAMP): pyproject.toml constraints.txt tests/interop/requirements.txt tests/interop/dependencies.txt
	@echo 'Installing other programs into $(INTEROP), once'
	$(PYTHON) -m venv $(INTEROP)
	$(INTEROP)/bin/python -m pip install --quiet --constraint constraints.txt -r tests/interop/dependencies.txt
	$(INTEROP)/bin/python -m pip install --quiet --no-deps -r tests/interop/requirements.txt --editable .
	@touch $@

test-interop: $(INTEROP_STAMP) ## Check files and LSQ-ML against abTEM, cdtools, PtyLab, Ptychodus and ptychi
	PYTHONPATH=benchmarks/peer $(INTEROP)/bin/python -m pytest -m interop tests/interop tests/solvers $(PYTEST_ARGS)

$(DOCS_STAMP): $(STAMP)
	@echo 'Installing the tools of the documentation into $(VENV), once'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

# Every build begins afresh, since a page that is not read again does not repeat its warnings.
docs: $(DOCS_STAMP) ## Build the documentation into site/html, its tutorials run; a warning is an error
	@echo 'Running the tutorials and writing the pages, which takes a minute or two'
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m sphinx -q --fail-on-warning --keep-going --fresh-env \
	  --doctree-dir site/doctrees docs site/html
	@echo 'Open site/html/index.html'

lint: $(STAMP) ## Check style, formatting, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A report, no gate: the list of vulnerabilities comes from the network and may be longer tomorrow.
audit: $(STAMP) ## Write the bill of materials to site/sbom.json and list known vulnerabilities
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet cyclonedx-bom pip-audit
	@mkdir -p site
	$(AUDIT)/bin/cyclonedx-py environment $(BIN)/python --output-file site/sbom.json
	-$(AUDIT)/bin/pip-audit --path $$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')

format: $(STAMP) ## Format the code and apply safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment, caches, the built documentation and run folders
	rm -rf $(VENV) $(AUDIT) $(INTEROP) runs site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
