# Every target sets up what it needs; a fresh machine needs python3 (3.11 or newer), git and make.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
LAB_SECONDS ?= 12
READY := .venv/.ready
BENCH_READY := .venv/.bench-ready

.PHONY: help setup demo test check format bench bench-peers soak clean backends

help:
	@echo "make demo    see it work: put, get, ack, a crash and what comes back"
	@echo "make test    the tests"
	@echo "make check   format, lint, types, import rules, tidiness, security lint"
	@echo "make bench   the numbers, into docs/benchmarks.md (BENCH='--rows M1 --seconds 1')"
	@echo "make bench-peers  the server beside others', into docs/benchmarks-peers.md (BENCH='--peers nats')"
	@echo "make soak    an hour of the laboratory (SOAK='--minutes 10', '--part disk')"
	@echo "make backends the table of capabilities in docs/backends.md, from the contract suite"
	@echo "make format  rewrite the sources in the one format"
	@echo "make clean   remove what was made"

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else \
	"posthouse needs Python 3.11 or newer; $(PYTHON) is %d.%d. Try: make PYTHON=python3.11" % v)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable '.[dev]'
	@touch $@

$(BENCH_READY): $(READY)
	$(PIP) --editable '.[dev,bench]'
	@touch $@

setup: $(READY)

demo: $(READY)
	$(BIN)/posthouse demo

test: $(READY)
	LAB_SECONDS=$(LAB_SECONDS) $(BIN)/python -m pytest -m 'not soak' $(TEST)

check: $(READY)
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy src bench
	$(BIN)/lint-imports --no-cache
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml src
	$(BIN)/python -m pytest -q tests/test_tidy.py

format: $(READY)
	$(BIN)/ruff check --fix-only src tests bench
	$(BIN)/ruff format src tests bench

bench: $(BENCH_READY)
	$(BIN)/python -m bench --write docs/benchmarks.md $(BENCH)

# The servers are fetched from packages, started on loopback, stopped and removed again.
bench-peers: $(BENCH_READY)
	$(BIN)/python -m bench.peers --write docs/benchmarks-peers.md $(BENCH)

# The table of capabilities, from runs of the contract suite; ends with 1 if a cell fails.
backends: $(READY)
	$(BIN)/python -m tests.docs.backends

# The laboratory for an hour; what fails prints its seed and the command that replays it.
soak: $(READY)
	$(BIN)/python -m tests.lab.soak $(SOAK)

clean:
	rm -rf .venv .bench .hypothesis .mypy_cache .pytest_cache .ruff_cache \
		build dist site
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
