# Everything happens in a virtual environment beside this file; `make clean` removes it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run demo test test-browser lint docs bench clean

run: .venv/run  ## start the server; flags go into ARGS: make run ARGS="-port 8080"
	$(BIN)/python main.py $(ARGS)

demo: .venv/run  ## start the server with the demo page; flags go into ARGS here too
	$(BIN)/python main.py -demo $(ARGS)

test: .venv/test  ## run the tests but those in a browser; pytest's arguments go into ARGS
	$(BIN)/python -X dev -m pytest --ignore tests/browser $(ARGS)

test-browser: .venv/test  ## run the tests in Chromium, which take as long as all others together
	$(BIN)/python -X dev -m pytest tests/browser $(ARGS)

lint: .venv/test  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

docs: .venv/run  ## bring the links to code and the quotations in the documents up to date
	$(BIN)/python -m docs.references

bench: .venv/bench  ## measure this server and others; ARGS=--help lists the options
	$(BIN)/python -m bench $(ARGS)

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

.venv/bench: .venv/run bench/requirements.txt
	$(BIN)/pip install --quiet --requirement bench/requirements.txt
	touch $@
