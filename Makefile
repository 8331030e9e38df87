# make demo and make test are all that a newcomer needs; both make .venv and install what they use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt

# PyPI's torch for Linux brings CUDA, gigabytes of it: without an NVIDIA driver torch is taken from its index of CPU builds.
# TORCH_INDEX= leaves the choice to pip.
CPU_BUILDS := https://download.pytorch.org/whl/cpu
TORCH_INDEX ?= $(if $(filter Linux,$(shell uname -s)),$(if $(shell command -v nvidia-smi),,$(CPU_BUILDS)))

SECONDS ?= 60  # of fuzzing for each reader
KILLS ?= 120

.PHONY: help demo test test-all check lint slow coverage mutation lowest docs figures layers format gpu fuzz torture release clean

help:
	@echo "make demo      simulate a genome, pretrain on it, show what was learned (minutes, CPU)"
	@echo "make test      tests that need no GPU and no network, in about 5 minutes"
	@echo "make test-all  these, the long and the slow ones"
	@echo "make check     format, lint, types, import layers and tests: what CI runs"
	@echo "make lint, slow, coverage, lowest, mutation   check without tests; the slow tests; branches that tests reach,"
	@echo "               in build/coverage; tests with the oldest versions allowed; faults that tests overlook (hours)"
	@echo "make docs      the documentation site, in build/site/html; notebooks are run (minutes, CPU)"
	@echo "make figures   write the tables of README.md and docs/ from the rows of benchmarks/results/"
	@echo "make gpu       tests, speed and memory on a GPU, 10 minutes; DRY=1 on a CPU, PARTS=tests,kernels only these,"
	@echo "               PYTHON=python3 with what that has, WHEELS=folder what it lacks, GENOME=fasta, OUT=folder of rows"
	@echo "make torture   kill and damage runs in every way, compare how they end (minutes, CPU)"
	@echo "make release   build sdist and wheel, check and install them elsewhere; nothing is uploaded"
	@echo "make fuzz      readers under arbitrary bytes, guided by coverage; SECONDS=60 for each"

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dnar2mae needs Python 3.11 or later; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.with-torch: constraints.txt | $(BIN)/python
	$(if $(TORCH_INDEX),$(INSTALL) --no-deps --retries 1 --timeout 10 --index-url $(TORCH_INDEX) torch \
		|| echo "$(TORCH_INDEX) gave no torch: pip takes it from its own index")
	@touch $@

$(VENV)/.with-run: pyproject.toml $(VENV)/.with-torch
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.with-test: pyproject.toml $(VENV)/.with-torch
	$(INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/.with-run

$(VENV)/.with-dev: pyproject.toml $(VENV)/.with-torch
	$(INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.with-test $(VENV)/.with-run

$(VENV)/.with-docs: pyproject.toml $(VENV)/.with-torch
	$(INSTALL) --editable '.[docs]'
	@touch $@ $(VENV)/.with-run

$(VENV)/.with-fuzz: pyproject.toml $(VENV)/.with-torch
	$(INSTALL) --editable '.[fuzz]'
	@touch $@ $(VENV)/.with-test $(VENV)/.with-run

$(VENV)/.with-release: constraints.txt | $(BIN)/python
	$(INSTALL) 'build>=1.2' 'twine>=6'
	@touch $@

demo: $(VENV)/.with-run
	$(BIN)/dnar2mae demo --out demo --overwrite

test: $(VENV)/.with-test
	$(TESTS)

format: $(VENV)/.with-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.with-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) --no-print-directory layers
	$(BIN)/python -m dnar2mae.benchmarks.figures check

check: lint
	$(TESTS) -m "not slow and not gpu and not multi_gpu"

test-all: $(VENV)/.with-test
	$(TESTS) -m "not gpu and not multi_gpu"

slow: $(VENV)/.with-test
	$(TESTS) -m "slow and not gpu and not multi_gpu"

coverage: $(VENV)/.with-dev
	$(TESTS) -m "not slow and not gpu and not multi_gpu" --cov --cov-report=term:skip-covered --cov-report=html:build/coverage

# hours for all of [tool.mutmut]; NAMES='dnar2mae.random*' for a part, and what was done before is not done again
mutation: $(VENV)/.with-dev
	$(INSTALL) mutmut
	$(BIN)/python setup.py -q build_py --build-lib build/mutation
	cp -r tests pyproject.toml build/mutation
	cd build/mutation && OMP_NUM_THREADS=1 ../../$(BIN)/mutmut run $(NAMES) && ../../$(BIN)/mutmut results

# the oldest versions that pyproject.toml allows, but for torch, which is that of constraints.txt; their own warnings are
# no fault of ours, and the new ones are watched by all other tests
LOWEST = $(BIN)/uv pip install --quiet --python build/lowest/bin/python --resolution lowest-direct --override build/torch.txt \
	--requirements pyproject.toml --extra test
lowest: $(BIN)/python
	$(INSTALL) 'uv>=0.9'
	mkdir -p build && grep '^torch==' constraints.txt > build/torch.txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python build/lowest
	$(if $(TORCH_INDEX),$(LOWEST) --torch-backend cpu \
		|| { echo "$(TORCH_INDEX) gave no torch: uv takes it from its own index"; $(LOWEST); },$(LOWEST))
	$(BIN)/uv pip install --quiet --python build/lowest/bin/python --no-deps --editable .
	OMP_NUM_THREADS=1 build/lowest/bin/python -m pytest -n auto -o filterwarnings=default

# a broken link, anchor, cross-reference or notebook fails; NOTEBOOKS=--no-run leaves these without output
docs: $(VENV)/.with-docs
	$(BIN)/python -m docs.site $(NOTEBOOKS)
	$(BIN)/zensical build --strict --config-file build/site/mkdocs.yml

# fails where a figure is older than the code that it depends on and is not marked so: see CONTRIBUTING.md
figures: $(VENV)/.with-run
	$(BIN)/python -m dnar2mae.benchmarks.figures

# kernels, cli and benchmarks have their place in the package only once they are installed: so lint an installed tree.
layers: $(VENV)/.with-dev
	rm -rf build/lint
	$(BIN)/python setup.py -q build_py --build-lib build/lint
	cd build/lint && ../../$(BIN)/lint-imports --no-logo --no-cache ../../pyproject.toml

fuzz: $(VENV)/.with-fuzz
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

torture: $(VENV)/.with-test
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture --kills $(KILLS)

# gpu installs nothing on a GPU machine, which brings its own torch and triton: it runs from the tree, with PYTHON if
# that is given, else with what .venv has. Only a dry run makes .venv.
GIVEN := $(filter-out file default undefined,$(origin PYTHON))
GPU = $(strip $(if $(DRY),--dry) $(if $(PARTS),--parts $(PARTS)) $(if $(WHEELS),--wheels $(WHEELS)) \
	$(if $(GENOME),--genome $(GENOME)) $(if $(PRESETS),--presets $(PRESETS)) $(if $(OUT),--out $(OUT)) $(if $(COMMIT),--commit $(COMMIT)) \
	$(if $(SCALE),--scale $(SCALE)))
gpu: $(if $(DRY),$(if $(GIVEN),,$(VENV)/.with-test))
	$(if $(GIVEN),$(PYTHON),$$(test -x $(BIN)/python && echo $(BIN)/python || echo $(PYTHON))) benchmarks/speed/gpu.py $(GPU)

# a dry run: nothing is uploaded
release: $(VENV)/.with-release
	TORCH_INDEX=$(TORCH_INDEX) .ci/release

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
