# Everything happens in a virtual environment beside this file; `make clean` removes it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test lint clean

run: .venv/run  ## start the server; flags go into ARGS: make run ARGS="-port 8080"
	$(BIN)/python main.py $(ARGS)

test: .venv/test  ## run the tests; pytest's arguments go into ARGS
	$(BIN)/python -X dev -m pytest $(ARGS)

lint: .venv/test  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

clean:
	rm -rf .venv

.venv/run: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt
	touch $@

.venv/test: .venv/run tests/requirements.txt
	$(BIN)/pip install --quiet --requirement tests/requirements.txt
	touch $@
