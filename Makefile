# kitaru_nb: daily commands. Nothing but Python 3.11+ and make is assumed; the first recipe
# that needs it creates .venv and installs exactly what requirements/*.txt pin.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:

# The first Python that is new enough, has venv and really runs (a version manager's shim may
# exist and fail). Another one: `make PYTHON=/path/to/python3.12 test`.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3 python; do \
	if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then echo $$python; break; fi; done)

# Tests start thousands of Pythons: none of them is to compile again what another one has.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

# Each ring of tools is a few locks; the locks agree with each other, so rings add up in one .venv.
DEMO := runtime demo
TEST := runtime demo test
CHECK := runtime demo test check
DOCS := runtime demo docs
BENCH := runtime demo test bench
LOCK := lock

# The tests of model calls have two more: openai 2 and openai 3 cannot be installed together.
LLM := .venv-llm2/.made .venv-llm3/.made

.PHONY: help
help: ## list the recipes
	@sed -n 's/^\([a-z-]*\):.*## /\1 :/p' $(firstword $(MAKEFILE_LIST)) | awk -F' :' '{ printf "  make %-20s%s\n", $$1, $$2 }'

.PHONY: demo
demo: .venv/.ring-demo ## run a real notebook, kill its kernel half-way, resume it
	$(BIN)/kitaru-nb demo

# The first ring waits for the disk now and then, the second one for kernels, servers and clocks, so two cores
# have work for three. In the second each of the three begins with a row of files, and takes tests from
# another's end when it has none left.
#
# Each promise has a test in `make test`, which is to take half an hour at most. What tries a
# promise that a test there proves in one more way, in another place, with other values, is marked `further`.
SECOND := tests/chaos tests/integration

.PHONY: test
test: .venv/.ring-test $(LLM) ## each promise, as CI does: half an hour on two cores (what it cannot run here is listed at each end)
	$(BIN)/python -m pytest -q -n 3 -m "not slow and not further" tests/unit tests/golden
	$(BIN)/python -m pytest -q -n 3 --dist worksteal -m "not slow and not further" $(SECOND)

.PHONY: test-all
test-all: .venv/.ring-test $(LLM) ## the same with every further case, an hour: before a release
	$(BIN)/python -m pytest -q -n 3 tests/unit tests/golden
	$(BIN)/python -m pytest -q -n 3 --dist worksteal -m "not slow" $(SECOND)

.PHONY: test-unit
test-unit: .venv/.ring-test ## the fast ring: no kernel, no network
	$(BIN)/python -m pytest -q -m "not slow" tests/unit

.PHONY: test-azure
test-azure: .venv/.ring-test tests/azure/node_modules/.made ## the store in Azure Blob Storage, against the official emulator
	$(BIN)/python -m pytest -q tests/azure

.PHONY: test-kubernetes
test-kubernetes: .venv/.ring-test ## the launcher kubernetes on the cluster that KUBECONFIG names (tests/kubernetes says what it needs)
	$(BIN)/python -m pytest -q tests/kubernetes $(if $(CLUSTER_FOLDER),--basetemp $(CLUSTER_FOLDER)/tests)

# Which build of torch is right (CPU, CUDA), and how large it is, depends on the machine and on where
# pip looks: no lock can say it. `make TORCH=torch==2.9.1 test-torch` tries another one.
TORCH := torch==2.13.0

.PHONY: test-torch
test-torch: .venv-torch/.made ## models, optimizers and tensors in calls and cells (installs torch, which may be gigabytes)
	.venv-torch/bin/python -m pytest -q --timeout 900 tests/torch

# The locks hold the newest packages and one Python; users have others. `make PYTHON=/path/to/python3.13
# OTHERS= test-others` tries the newest ones under another Python.
OTHERS := "ipython<8.13" "ipykernel<7" "numpy<2.3" "pandas<3" "cyclopts<5.1"
QUIET := -W ignore::ResourceWarning -W ignore::DeprecationWarning -W ignore::pytest.PytestUnraisableExceptionWarning

.PHONY: test-others
test-others: .venv/.made ## values, cells and kernels with packages of other versions, in a Python of its own (no lock)
	$(PYTHON) -m venv .venv-others
	.venv-others/$(PIP:.venv/%=%) --editable ".[demo,html,lab,postgres,s3,widgets]" $(OTHERS) \
		hypothesis pillow polars pyarrow pytest pytest-timeout pytest-xdist scipy xarray
	.venv-others/bin/python -m pytest -q -n 3 $(QUIET) -m "not slow" \
		tests/unit/engine/test_kinds.py tests/unit/notebook tests/integration/test_checkpoint.py tests/integration/test_crash.py

.PHONY: llm
llm: $(LLM) ## the two Pythons with model clients that tests of model calls use

.PHONY: check
check: .venv/.ring-check ## format, lint, types, rooms, spelling, changelog
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/towncrier build --draft --version next >/dev/null
	$(BIN)/python -m pytest -q tests/unit/test_house.py

.PHONY: fix
fix: .venv/.ring-check ## apply every automatic fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/codespell --write-changes

.PHONY: browser
browser: .venv/.ring-test ## JupyterLab and Notebook 7 in chromium: press the button, read the panel
	$(BIN)/python -m pytest -q tests/browser

.PHONY: smoke
smoke: .venv/.ring-test ## the two of these that say whether the extension works at all
	$(BIN)/python -m pytest -q tests/browser/test_smoke.py

.PHONY: labextension
labextension: .venv/.ring-test ## build the JupyterLab extension (needs Node 20) and test its parts; commit the result
	cd labextension && ../$(BIN)/jlpm install --immutable && ../$(BIN)/jlpm test
	cd labextension && ../$(BIN)/jlpm tsc && ../$(BIN)/jupyter-builder build .
	$(BIN)/python labextension/stamp.py
	$(BIN)/python labextension/catalogue.py
	$(PIP) --no-deps --no-build-isolation --editable .

.PHONY: labextension-check
labextension-check: .venv/.ring-test ## types and tests of the JupyterLab extension (needs Node 20); builds nothing
	cd labextension && ../$(BIN)/jlpm install --immutable && ../$(BIN)/jlpm check && ../$(BIN)/jlpm test

.PHONY: catalogue
catalogue: .venv/.ring-test ## the template that translators of the JupyterLab extension begin from
	$(BIN)/python labextension/catalogue.py

.PHONY: pictures
pictures: .venv/.ring-test ## the documentation's pictures of JupyterLab, taken anew
	$(BIN)/python -m tests.browser.pictures

.PHONY: chaos
chaos: .venv/.ring-test ## kill it at every named point: the short ring
	$(BIN)/python -m pytest -q -m "not slow" tests/chaos

.PHONY: chaos-full
chaos-full: .venv/.ring-test ## the same with every kill the promises name (hours)
	$(BIN)/python -m pytest -q --timeout 0 tests/chaos

.PHONY: bench
bench: .venv/.ring-bench benchmarks/.venv/.tried ## speed beside plain execution and the peers (BENCH_ARGS=--full: all of it)
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

.PHONY: bench-lab
bench-lab: .venv/.ring-test ## how quick the JupyterLab extension is, in chromium (BENCH_ARGS="--runs 9")
	$(BIN)/python -m benchmarks.lab $(BENCH_ARGS)

.PHONY: docs
docs: .venv/.ring-docs ## build the documentation; a warning or a failing block fails
	$(BIN)/python -m sphinx -n -W --keep-going -q docs docs/_build/html
	@echo "docs/_build/html/index.html"

# UPGRADE=--upgrade moves every pin to its newest release; without it only what is needed moves.
# One resolution holds for every Python from 3.11 and for Linux, macOS and Windows alike.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-header --no-emit-index-url --no-emit-find-links $(UPGRADE)

.PHONY: lock
lock: .venv/.ring-lock ## resolve requirements/*.in into requirements/*.txt again
	$(COMPILE) pyproject.toml requirements/build.in -o requirements/runtime.txt
	for lock in demo test check docs bench kishu llm-2 llm-3 torch lock; do \
		$(COMPILE) requirements/$$lock.in -o requirements/$$lock.txt || exit 1; done

.PHONY: clean
clean: ## remove .venv and everything built
	rm -rf .venv .venv-llm2 .venv-llm3 .venv-torch .venv-others benchmarks/.venv tests/azure/node_modules build dist docs/_build kitaru-demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find kitaru_nb tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp comes last: a .venv whose making was cut short is made again.
.venv/.made:
	@test -n "$(PYTHON)" || { echo "kitaru_nb needs Python 3.11 or later with venv; none was found." >&2; \
		echo "  Try: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

# A changed lock, or changed project metadata, installs again; else this costs nothing. `jsonschema` imports
# rfc3987-syntax where it is installed, which takes 2 s of every process that reads a notebook; it can do
# without, as beside a bare papermill.
define ring
.venv/.ring-$(1): .venv/.made pyproject.toml $(2:%=requirements/%.txt)
	$$(PIP) --require-hashes $(2:%=-r requirements/%.txt)
	$(if $(filter runtime,$(2)),$$(PIP) --no-deps --no-build-isolation --editable .)
	$$(BIN)/python -m pip uninstall --quiet --yes rfc3987-syntax 2>/dev/null
	@touch $$@
endef
$(eval $(call ring,demo,$(DEMO)))
$(eval $(call ring,test,$(TEST)))
$(eval $(call ring,check,$(CHECK)))
$(eval $(call ring,docs,$(DOCS)))
$(eval $(call ring,bench,$(BENCH)))
$(eval $(call ring,lock,$(LOCK)))

.venv-llm%/.made: .venv/.made pyproject.toml requirements/runtime.txt requirements/llm-%.txt
	$(PYTHON) -m venv .venv-llm$*
	.venv-llm$*/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
		--require-hashes -r requirements/runtime.txt -r requirements/llm-$*.txt
	.venv-llm$*/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
		--no-deps --no-build-isolation --editable .
	@touch $@

# Azurite is JavaScript: jlpm comes with JupyterLab, and a Node that is new enough with Playwright.
tests/azure/node_modules/.made: .venv/.ring-test tests/azure/package.json tests/azure/yarn.lock
	node=$$($(BIN)/python -c "import pathlib, playwright; print(pathlib.Path(playwright.__file__).parent / 'driver')") \
		&& cd tests/azure && PATH="$$node:$$PATH" ../../$(BIN)/jlpm install --immutable
	@touch $@

.venv-torch/.made: .venv/.made pyproject.toml requirements/runtime.txt requirements/torch.txt
	$(PYTHON) -m venv .venv-torch
	.venv-torch/$(PIP:.venv/%=%) --require-hashes -r requirements/runtime.txt -r requirements/torch.txt
	.venv-torch/$(PIP:.venv/%=%) $(TORCH)
	.venv-torch/$(PIP:.venv/%=%) --no-deps --no-build-isolation --editable .
	@touch $@

# Kishu wants packages of its own, so it gets a Python of its own; where it does not install, the
# benchmark runs without it and says why.
benchmarks/.venv/.tried: .venv/.made requirements/kishu.txt
	$(PYTHON) -m venv --clear benchmarks/.venv
	benchmarks/$(PIP) --require-hashes -r requirements/kishu.txt >benchmarks/.venv/said 2>&1 || true
	@touch $@
