# Two commands for a newcomer: `make demo` and `make test`. Both build .venv first when it is missing or out of date.
# `make test-oldest` runs the tests with the oldest versions of the ranges in pyproject.toml, in .venv-oldest.
PYTHON ?= python3
BIN := .venv/bin
PIP := -m pip install --quiet --disable-pip-version-check --constraint

.PHONY: demo test test-oldest lint clean

demo: .venv/installed
	$(BIN)/lxtlike demo --output build/demo.html

test: .venv/installed-test lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-oldest: .venv-oldest/installed
	.venv-oldest/bin/python -m pytest -n 2 --dist loadfile

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# torch goes first, alone and pinned: resolved together with the rest, another build of it may be chosen.
.venv/torch: constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP) constraints.txt torch
	@touch $@

.venv/installed: .venv/torch pyproject.toml
	$(BIN)/python $(PIP) constraints.txt --editable .
	@touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python $(PIP) constraints.txt --editable '.[test]'
	@touch $@

.venv-oldest/installed: constraints-oldest.txt pyproject.toml
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python $(PIP) $< torch
	.venv-oldest/bin/python $(PIP) $< --editable '.[test]'
	@touch $@

clean:
	rm -rf .venv .venv-oldest build dist
