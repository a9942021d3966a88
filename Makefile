# Every target does its own set-up: .venv with im4d and all it needs, made once, and again when pyproject.toml changes.

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/.ready
PREFIX ?= $(HOME)/.local
PATHS := imagic4d_cli core tests benchmarks examples

.PHONY: help setup test test-full demo generate check lint typecheck docs install install-completions wheel clean

help:
	@echo "make test                 all quick tests"
	@echo "make test-full            also the science tests of minutes"
	@echo "make demo                 three structures from simulated images, with report.html"
	@echo "make check                lint, types, and generated files up to date"
	@echo "make generate             write man pages, completions, docs/cli.md, docs/header-words.md"
	@echo "make docs                 the pages of docs/ as a web site in site/, links checked"
	@echo "make install              im4d, man pages and completions below PREFIX ($(PREFIX))"
	@echo "make install-completions  completions and man pages into your home folder"
	@echo "make wheel                build wheel and source package into dist/"
	@echo "make clean                remove what the other targets made"

$(READY): pyproject.toml .ci/setup
	@bash .ci/setup $(VENV)
	@touch $(READY)

setup: $(READY)

test: $(READY)
	$(BIN)/python -m pytest -q -m "not slow"

test-full: $(READY)
	$(BIN)/python -m pytest -q

demo: $(READY)
	PATH="$(BIN):$$PATH" bash examples/demo.sh

generate: $(READY)
	$(BIN)/python -m imagic4d_cli.docgen

check: lint typecheck
	$(BIN)/python -m imagic4d_cli.docgen --check

lint: $(READY)
	$(BIN)/ruff check $(PATHS)

typecheck: $(READY)
	$(BIN)/mypy

docs: $(READY)
	@$(BIN)/python -c 'import mkdocs' 2>/dev/null || $(BIN)/python -m pip install --quiet -e '.[docs]'
	$(BIN)/python -m mkdocs build --strict
	@echo "open site/index.html"

install:
	PYTHON="$(PYTHON)" bash .ci/install "$(PREFIX)"

install-completions: $(READY)
	bash .ci/install-completions

wheel: $(READY)
	rm -rf build
	$(BIN)/python -m build --outdir dist . >/dev/null

clean:
	rm -rf $(VENV) build dist demo site core/*.egg-info *.egg-info .pytest_cache .hypothesis .ruff_cache .mypy_cache
