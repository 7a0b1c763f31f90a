# What a person does with this project. Needs Python 3.11 to 3.13, and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PORT ?= 3000
SANDBOX_PORT ?= 8765

# uv installs the same pins in seconds. pip does it where there is no uv, or where only pip knows the
# index (pip.conf).
UV := $(shell command -v uv)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ifdef UV
PIP_OR_UV = VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet $(1) || $(PIP) $(1)
else
PIP_OR_UV = $(PIP) $(1)
endif

.PHONY: help demo dev test lint lint-style lint-types lint-definitions lint-models install hosts development clean constraints benchmarks docs serve test-lake

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/installed  ## make .venv with all that cp-pipeline needs, pinned

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(call PIP_OR_UV,--no-deps --require-hashes -r constraints.txt)
	$(call PIP_OR_UV,--no-deps --no-build-isolation -e .)
	@touch $@

development: $(VENV)/developed  ## install, and what the tests and the linters need

$(VENV)/developed: $(VENV)/installed constraints-development.txt
	$(call PIP_OR_UV,--no-deps --require-hashes -r constraints-development.txt)
	@touch $@

hosts: .venv/hosted  ## install, and the extras for an object store and PostgreSQL

.venv/hosted: .venv/installed constraints-hosts.txt
	$(call PIP_OR_UV,--no-deps --require-hashes -r constraints-hosts.txt)
	@touch $@

demo: install  ## sync a synthetic study and print a few answers
	$(BIN)/cp-pipeline demo

dev: install  ## a sandbox CentrePoint, and the Dagster UI in front of it
	@# Not in this folder, where Dagster would let a .env of yours overrule the sandbox.
	$(BIN)/cp-pipeline sandbox --port $(SANDBOX_PORT) -- sh -c 'cd "$$DAGSTER_HOME" && \
		exec $(CURDIR)/$(BIN)/cp-pipeline ui --port $(PORT)'

test: development lint  ## everything that must hold
	$(BIN)/python -m pytest -n 3
	$(MAKE) test-lake

# DuckLake's extensions fit DuckDB 1.5.5, which is another version than the pinned one.
LAKE := .venv-lake/bin

.venv-lake/installed: pyproject.toml constraints-lake.txt constraints-development.txt
	$(PYTHON) -m venv .venv-lake
	awk '/^[A-Za-z0-9]/ {kept = !/^duckdb==/} kept' constraints-development.txt > .venv-lake/development.txt
	for pins in constraints-lake.txt .venv-lake/development.txt; do \
		$(if $(UV),VIRTUAL_ENV=.venv-lake $(UV) pip install --quiet --no-deps --require-hashes -r $$pins ||) \
		$(LAKE)/python -m pip install --quiet --disable-pip-version-check \
			--no-deps --require-hashes -r $$pins || exit 1; \
	done
	$(LAKE)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

test-lake: .venv-lake/installed  ## a DuckLake as the warehouse, its catalog in PostgreSQL
	CP_TEST_WAREHOUSE=postgres $(LAKE)/python -m pytest -n 2 -m 'lake or both_engines'

# Side by side, because each uses one processor.
lint: development
	$(MAKE) --jobs 2 --output-sync lint-types lint-models lint-definitions lint-style

lint-style:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

lint-types:
	$(BIN)/mypy

lint-definitions:
	@# Not in the folder of the data: reading the models writes their manifest.
	CP_DATA_DIR="$$(mktemp -d)" $(BIN)/dg check defs

lint-models:
	cd dbt_style_sql && DBT_SEND_ANONYMOUS_USAGE_STATS=0 PATH="$(CURDIR)/$(BIN):$$PATH" sqlfluff lint --disable-progress-bar models

# Otherwise Material for MkDocs announces its end (May 2027) at each build.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs

docs: development  ## the documentation as a site, in site/
	$(MKDOCS) build

serve: development  ## the same, shown while you write: http://127.0.0.1:8000
	$(MKDOCS) serve

PIN := pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url \
	--no-emit-trusted-host --no-emit-find-links --no-header

constraints:  ## pin everything anew (needs pip-tools)
	$(PIN) --upgrade --extra development -o constraints-development.txt pyproject.toml
	@# The same versions, without the packages for development.
	cp constraints-development.txt constraints-hosts.txt
	$(PIN) --extra object-store --extra postgres --build-deps-for editable -o constraints-hosts.txt pyproject.toml
	cp constraints-development.txt constraints.txt
	$(PIN) --build-deps-for editable -o constraints.txt pyproject.toml
	@# The same versions with the DuckDB that DuckLake's extensions fit.
	awk '/^[A-Za-z0-9]/ {kept = !/^duckdb==/} kept' constraints.txt > constraints-lake.txt
	$(PIN) --extra lake --build-deps-for editable -o constraints-lake.txt pyproject.toml

benchmarks: development .venv-dlt/installed  ## speed and memory against the floor and dlt: ten minutes
	$(BIN)/python benchmarks/many_exports.py 2000 200 --dlt .venv-dlt/bin/python
	$(BIN)/python benchmarks/many_exports.py 20000 --runs 1
	$(BIN)/python benchmarks/large_export.py
	$(BIN)/python benchmarks/lossless_load.py
	$(BIN)/python benchmarks/wide_export.py
	$(BIN)/python benchmarks/current_rows.py
	$(BIN)/python benchmarks/dagster_events.py
	$(BIN)/python benchmarks/trial_size.py

.venv-dlt/installed: benchmarks/dlt.txt
	$(PYTHON) -m venv .venv-dlt
	.venv-dlt/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r benchmarks/dlt.txt
	@touch $@

clean:  ## remove .venv; data/ is yours
	rm -rf .venv .venv-dlt .venv-lake site
