# make demo   sets everything up (once) and shows the main job on an OMERO server of its own
# make test   the whole suite, as CI runs it; what needs OMERO.web, Chromium or PostgreSQL is skipped where these are
#             missing, and says so (make setup-web; Debian: apt-get install chromium postgresql)
# make docs   builds the documentation's site in site/; a link without a target is an error
#
# demo and test make .venv from the machine's own python3 (3.10 to 3.13). PYTHON=python3.12 takes another interpreter,
# VENV=.venv312 another folder, ICE_WHEEL=path/to.whl a published zeroc-ice wheel instead of compiling one.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
WEB = $(VENV)-web
DOCS = $(VENV)-docs
PYTEST_ARGS ?= --numprocesses auto --maxprocesses 4 --dist loadfile
SOURCES = $(wildcard omero_pixclf/*/*.c omero_pixclf/*/*.h)
# Hides warnings that are for the developers of build backends.
QUIET_PIP = PYTHONWARNINGS=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
PIP = $(QUIET_PIP) $(BIN)/python -m pip

.PHONY: demo test lint docs setup setup-dev setup-web clean

demo: $(VENV)/.ready
	@$(BIN)/omero-pixclf demo

test: lint
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.ready-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy

docs: $(DOCS)/.ready
	@$(DOCS)/bin/zensical build --clean --strict

setup: $(VENV)/.ready
setup-dev: $(VENV)/.ready-dev
setup-web: $(WEB)/.ready

$(VENV)/.ready: pyproject.toml deploy/build_ice.py $(SOURCES)
	@$(PYTHON) -c "import sys; (3, 10) <= sys.version_info[:2] <= (3, 13) or sys.exit('$(PYTHON) is Python %d.%d: omero_pixclf needs 3.10 to 3.13, name one with PYTHON=python3.12' % sys.version_info[:2])"
	@test -x $(BIN)/python || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make virtual environments (Debian: apt-get install python3-venv)"; rm -rf $(VENV); exit 1; }; }
	@echo "setting up $(VENV), once; about five minutes where zeroc-ice must be compiled, one otherwise"
	@$(PIP) install --quiet --upgrade pip setuptools wheel
	@$(BIN)/python deploy/build_ice.py > $(VENV)/ice-wheel
	@$(PIP) install --quiet "$$(cat $(VENV)/ice-wheel)"
	@$(PIP) install --quiet --editable ".[embedded]"
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	@echo "adding the tools of the tests"
	@$(PIP) install --quiet --editable ".[dev]"
	@touch $@

# OMERO.web has its own dependencies and therefore its own environment; the tests look for it there.
$(WEB)/.ready: $(VENV)/.ready
	@test -x $(WEB)/bin/python || $(BIN)/python -m venv $(WEB)
	@echo "setting up $(WEB), once: OMERO.web and Playwright, for the tests in a browser"
	@$(QUIET_PIP) $(WEB)/bin/python -m pip install --quiet --upgrade pip setuptools wheel
	@$(QUIET_PIP) $(WEB)/bin/python -m pip install --quiet "$$(cat $(VENV)/ice-wheel)" omero-web playwright
	@touch $@

# The site's generator reads the package's source and does not import it, so it needs nothing of the environment above.
$(DOCS)/.ready: Makefile
	@test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	@echo "setting up $(DOCS), once: Zensical, for the documentation's site"
	@$(QUIET_PIP) $(DOCS)/bin/python -m pip install --quiet "zensical>=0.0.73" "mkdocstrings-python>=2" ruff
	@touch $@

clean:
	rm -rf $(VENV) $(WEB) $(DOCS) site build *.egg-info
