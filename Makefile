# Everything happens in a virtual environment and in node_modules/ beside this file; `make clean`
# removes them.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help run demo demo-https cluster test coverage attack test-attacks simulate test-cluster test-browser test-build lint docs bench bench-cluster build clean

help:  ## list these commands
	@awk -F ':.*## +' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/run  ## start the server; flags go into ARGS: make run ARGS="-port 8080"
	$(BIN)/python main.py $(ARGS)

demo: .venv/run  ## start the server with the demo page; flags go into ARGS here too
	$(BIN)/python main.py -demo $(ARGS)

demo-https: .venv/test  ## start the server with the demo page over TLS, and show a QR code for a phone
	$(BIN)/python -m tests.support.https_demo $(ARGS)

cluster: .venv/test  ## start two servers that share their rooms, with the demo page, on this machine
	$(BIN)/python -m tests.support.cluster_demo $(ARGS)

# Of -X dev, all but its checks of memory in C, which take a quarter of the time.
test test-attacks coverage test-cluster test-browser test-build: export PYTHONMALLOC := pymalloc

# So many files of tests at once, since many tests wait. With -n they would run without -X dev.
at_once = --dist loadfile --tx "$(1)*popen//python=$(BIN)/python -X dev"

# With AGAIN=1, tests that have failed are run once more, with nothing beside them: on a machine that
# is busy, what waits for a time may fail.
ONCE_MORE = $(if $(AGAIN),|| $(BIN)/python -X dev -m pytest --last-failed --last-failed-no-failures none)

test: .venv/test  ## run the tests, except in a browser, in brief; pytest's arguments go into ARGS
	$(BIN)/python -X dev -m pytest --ignore tests/browser --ignore tests/build $(call at_once,3) $(or $(ARGS),--brief) $(ONCE_MORE)
	$(if $(ARGS),,$(BIN)/python -X dev -m pytest tests/attacks/test_attacks.py)

coverage: .venv/test  ## run the same tests in full, and show what of the server they do not reach
	$(BIN)/coverage erase
	$(BIN)/python -X dev -m coverage run -m pytest --ignore tests/browser --ignore tests/build $(call at_once,3) $(ARGS) $(ONCE_MORE)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

attack: .venv/test  ## attack the server in every way that the tests know; ARGS=--help lists them
	$(BIN)/python -m tests.attacks $(ARGS)

test-attacks: .venv/test  ## attack it likewise, and check that the bounds hold
	$(BIN)/python -X dev -m pytest tests/attacks --attacks $(ARGS)

SEEDS ?= 0 1000
simulate: .venv/test  ## simulate a cluster under random faults; from which seed to which goes into SEEDS
	$(BIN)/python -m tests.cluster --seeds $(SEEDS) $(ARGS)

test-cluster: .venv/test  ## run the conformance tests and others on several servers, on several workers and over TLS
	$(BIN)/python -X dev -m pytest tests/bench/test_cluster.py tests/cluster/test_churn.py tests/conformance --cluster $(ARGS) $(if $(ONCE_MORE),$(ONCE_MORE) --cluster)
	$(BIN)/python -X dev -m pytest tests/conformance --workers $(call at_once,2) $(ARGS) $(if $(ONCE_MORE),$(ONCE_MORE) --workers)
	$(BIN)/python -X dev -m pytest tests/conformance --tls $(call at_once,2) $(ARGS) $(if $(ONCE_MORE),$(ONCE_MORE) --tls)

test-browser: .venv/test  ## run the tests in browsers, which take as long as all others together
	$(BIN)/python -X dev -m pytest tests/browser $(ARGS) $(ONCE_MORE)

test-build: build .venv/test  ## make the executable file and run its tests
	$(BIN)/python -X dev -m pytest tests/build $(ARGS)

lint: .venv/test node_modules/.lint  ## style and types, of Python and of JavaScript
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	node_modules/.bin/biome check --error-on-warnings
	node_modules/.bin/tsc

docs: .venv/run  ## bring the links to code and the quotations in the documents up to date
	$(BIN)/python -m docs.references

bench: .venv/bench  ## measure this server and others; ARGS=--help lists the options
	$(BIN)/python -m bench $(ARGS)

bench-cluster: .venv/bench  ## measure two servers that share their rooms over Valkey
	$(BIN)/python -m bench.cluster $(ARGS)

build: .venv/build  ## make dist/signaling-server, one executable file that needs no Python
	$(BIN)/pyinstaller --noconfirm --log-level WARN --distpath dist --workpath .venv/pyinstaller \
		bundle/signaling-server.spec

clean:  ## remove what was installed and what was built
	rm -rf .venv node_modules dist

# Another Python than the environment's, if one is asked for, makes the environment anew.
ifneq ($(origin PYTHON),file)
version_of = $(shell { $(1) -c 'import sys; print(sys.version)'; } 2>&1)
ifneq ($(call version_of,$(PYTHON)),$(call version_of,$(BIN)/python))
.PHONY: .venv/run
endif
endif

.venv/run: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --requirement requirements.txt
	touch $@

.venv/test: .venv/run tests/requirements.txt
	$(BIN)/pip install --quiet --requirement tests/requirements.txt
	touch $@

node_modules/.lint: package.json package-lock.json
	@npm --version >/dev/null 2>&1 && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' \
		|| { echo "Node.js 20 or newer is needed, with npm: apt install nodejs npm" >&2; exit 1; }
	npm ci --loglevel error
	touch $@

.venv/bench: .venv/run bench/requirements.txt
	$(BIN)/pip install --quiet --requirement bench/requirements.txt
	touch $@

.venv/build: .venv/run bundle/requirements.txt
	$(BIN)/pip install --quiet --requirement bundle/requirements.txt
	touch $@
