# make demo and make test are all that a newcomer needs; both make .venv and install what they use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto
BENCH ?=  # --quick, or --dtype bfloat16

SECONDS ?= 60  # of fuzzing for each reader
KILLS ?= 120

.PHONY: help demo test check layers format test-gpu bench fuzz torture clean

help:
	@echo "make demo      simulate a genome, pretrain on it, show what was learned (minutes, CPU)"
	@echo "make test      the tests that need no GPU and no network"
	@echo "make check     format, lint, types, import layers and tests: what CI runs"
	@echo "make test-gpu  the tests that need CUDA"
	@echo "make torture   kill and damage runs in every way, compare how they end (minutes, CPU)"
	@echo "make fuzz      readers under arbitrary bytes, guided by coverage; SECONDS=60 for each"
	@echo "make bench     speed benchmarks; rows are appended to benchmarks/results/"

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dnar2mae needs Python 3.11 or later; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.with-run: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.with-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.with-run

$(VENV)/.with-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.with-test $(VENV)/.with-run

$(VENV)/.with-fuzz: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[fuzz]'
	@touch $@ $(VENV)/.with-test $(VENV)/.with-run

demo: $(VENV)/.with-run
	$(BIN)/dnar2mae demo --out demo --overwrite

test: $(VENV)/.with-test
	$(TESTS)

format: $(VENV)/.with-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: $(VENV)/.with-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) --no-print-directory layers
	$(TESTS)

# kernels, cli and benchmarks have their place in the package only once they are installed: so lint an installed tree.
layers: $(VENV)/.with-dev
	rm -rf build/lint
	$(BIN)/python setup.py -q build_py --build-lib build/lint
	cd build/lint && ../../$(BIN)/lint-imports --no-logo --no-cache ../../pyproject.toml

fuzz: $(VENV)/.with-fuzz
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

torture: $(VENV)/.with-test
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture --kills $(KILLS)

# The next two run from the tree with the Python that is at hand: GPU machines bring their own torch and triton.
test-gpu:
	eval "$$($(PYTHON) benchmarks/speed/tree_path.py)" && \
	$(PYTHON) -m pytest -o addopts= -o pythonpath= -o filterwarnings=default --import-mode=importlib \
		-m "not slow and not multi_gpu" tests/kernels tests/models tests/training/test_pretrain.py

bench:
	eval "$$($(PYTHON) benchmarks/speed/tree_path.py)" && \
	$(PYTHON) -m dnar2mae.benchmarks.speed.bench_masked_embedding $(BENCH) && \
	$(PYTHON) -m dnar2mae.benchmarks.speed.bench_visible_gather $(BENCH) && \
	$(PYTHON) -m dnar2mae.benchmarks.speed.end_to_end --preset base --context 1024 --batch 32 && \
	$(PYTHON) -m dnar2mae.benchmarks.speed.table

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
