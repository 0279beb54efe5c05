# SpatialPix. `make demo` and `make test` are all that a newcomer needs; each sets up what it needs first.

PYTHON ?= python3
REQUIREMENTS ?= requirements/laptop.txt
RUN ?= runs/demo
DATASET ?= datasets/demo
BIN := .venv/bin
# Tests that start Ray, mostly to wait for its processes: they run beside all others.
RAY_TESTS := tests/ray_jobs tests/test_consume.py tests/test_docs.py

.DEFAULT_GOAL := help
.PHONY: help setup doctor demo test test-slow chaos lint format lock bench clean

help:  ## show this list
	@echo "SpatialPix: targets of make"
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1|/' | awk -F'|' '{printf "  %-10s %s\n", $$1, $$2}'

setup:  ## uv, .venv and the pinned packages of REQUIREMENTS, Blender's system libraries
	@$(PYTHON) scripts/setup.py install --requirements $(REQUIREMENTS)

doctor: setup  ## what is installed, which stages can run here, what to do about the others
	@$(BIN)/python -m ray_jobs doctor

demo: REQUIREMENTS := requirements/laptop-full.txt
demo: setup  ## make pairs of images on this machine, from scenes and from words, and a report to look at
	@echo "demo: making pairs into $(RUN)"
	@$(BIN)/python -m ray_jobs generate --config configs/demo.yaml --out $(RUN)
	@echo "demo: publishing them into $(DATASET)"
	@$(BIN)/python -m ray_jobs publish --run $(RUN) --to $(DATASET) --version next --config configs/publish.yaml
	@echo "demo: done; open $(CURDIR)/$(RUN)/report.html in a browser, and the dataset's card in $(DATASET)"

test: setup lint  ## format, lint, types, and every test that is not slow
	@echo "test: pytest, twice at once; what the second says comes at the end"
	@export OMP_WAIT_POLICY=PASSIVE; others=$$(mktemp); status=0; \
	$(BIN)/python -m pytest -m "not slow" $(RAY_TESTS:%=--ignore=%) >"$$others" 2>&1 & pid=$$!; \
	trap 'kill $$pid; cat "$$others"; rm -f "$$others"; exit 130' INT TERM; \
	$(BIN)/python -m pytest -m "not slow" $(RAY_TESTS) || status=$$?; \
	wait $$pid || status=$$?; cat "$$others"; rm -f "$$others"; exit $$status

test-slow: setup  ## the long checks
	@echo "test-slow: pytest -m slow"
	@$(BIN)/python -m pytest -m slow

chaos: setup  ## three runs whose workers, nodes and drivers are killed all the time; CHAOS_SEEDS=1 for one of them
	@echo "chaos: pytest tests/slow/test_chaos.py"
	@CHAOS_SEEDS=$${CHAOS_SEEDS:-1,2,3} $(BIN)/python -m pytest -s tests/slow/test_chaos.py

lint: setup  ## format, lint and types, without changing a file
	@echo "lint: ruff, mypy"
	@$(BIN)/ruff format --check --quiet . || { echo "lint: files are not formatted; run 'make format'" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy

format: setup  ## format the code and mend what ruff can mend
	@echo "format: ruff"
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock:  ## compile requirements/*.txt again; UPGRADE=1 takes the newest versions
	@$(PYTHON) scripts/setup.py lock $(if $(UPGRADE),--upgrade)

bench: setup  ## every benchmark that needs nothing but this folder, one after another
	@for file in $$(grep -L "required=True" benchmarks/[a-z]*.py); do \
		echo "bench: $$file"; $(BIN)/python -m "benchmarks.$$(basename "$$file" .py)" || exit 1; \
	done

clean:  ## remove what tools left; .venv, runs and datasets stay
	@echo "clean: caches"
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
