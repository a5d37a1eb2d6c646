# What users and maintainers of the template type; `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help bake demo test library proofs benchmark lock sample snapshot release

PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
INSTALLED := .venv/.installed-by-make
GITLAB := .venv/bin/gitlab-ci-local

help: ## this list
	@awk -F ':.*## ' '/^[a-z]*:.*## / { printf "%-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

bake: $(INSTALLED) ## ask the questions and make a project beside this folder (ARGS='--no-input -o DIR project_name=…')
	@.venv/bin/cookiecutter "$(CURDIR)" --output-dir "$(CURDIR)/.." $(ARGS)

demo: $(INSTALLED) ## bake, install, run the pipeline, serve, predict
	@.venv/bin/python scripts/demo.py $(ARGS)

test: $(INSTALLED) ## everything CI runs (ARGS='tests/render -k …' runs only these, of the template)
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/shellcheck .ci/run
ifeq ($(ARGS),)
	@$(MAKE) --no-print-directory library
endif
	@.venv/bin/pytest $(ARGS)

library: $(INSTALLED) ## types, tests and coverage of the library, with the packages that a project locks (ARGS='-k …')
	@.venv/bin/python scripts/library.py $(ARGS)

proofs: $(INSTALLED) $(GITLAB) ## slow tests of code that has changed since they passed last: tests/proofs.md (ARGS=--all runs all)
	@.venv/bin/python -m scripts.proofs $(ARGS)

benchmark: $(INSTALLED) ## speed against peers, as a table
	@.venv/bin/python benchmarks/run.py $(ARGS)

lock: $(INSTALLED) ## refresh every poetry.lock of the project (ARGS=--regenerate takes the newest packages)
	@.venv/bin/python -m scripts.refresh_lock $(ARGS)

sample: $(INSTALLED) ## draw the project's data sample again and compare (ARGS=--write replaces it)
	@.venv/bin/python scripts/draw_sample.py $(ARGS)

snapshot: $(INSTALLED) ## accept the present tree of a bake as the expected one
	@.venv/bin/pytest -n 0 tests/render/test_tree.py -k expected --snapshot-update

release: $(INSTALLED) ## check, pack and tag a version of the library, without a push (VERSION=0.3.0)
	@.venv/bin/python -m scripts.release '$(VERSION)'

$(INSTALLED): pyproject.toml
ifeq ($(PYTHON),)
	$(error Python: none of 3.11, 3.12, 3.13 is on the PATH; install one and run make again)
endif
	@echo "Installing the template's own tools into .venv"
	@$(PYTHON) -m venv --clear .venv
	@.venv/bin/python -m pip install --quiet --upgrade pip
	@.venv/bin/python -m pip install --quiet --group dev
	@touch $@

$(GITLAB): $(INSTALLED)
	@.venv/bin/python -m pip install --quiet --group gitlab
	@.venv/bin/npm install --loglevel=error --global --prefix .venv gitlab-ci-local@^4.75.1
