# make search    sets everything up, searches a LeNet on embedded images, trains the winner: two minutes
# make test      the same environment, all checks and tests
# make docs      the same environment, the documentation site in build/docs
#
# TORCH says which PyTorch goes in. On Linux the default asks the package index for its default build, which brings CUDA
# and several gigabytes. Any requirement that pip takes does instead, for example a CPU build:
#     make search TORCH="torch==2.13.0+cpu" PIP_EXTRA_INDEX_URL=<the CPU index named on pytorch.org>
#     make search TORCH=./torch-2.13.0-cp311-cp311-linux_x86_64.whl

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK = 1
BIN := $(VENV)/bin
# one stamp for each TORCH, so that another one is installed when it is asked for
INSTALLED := $(VENV)/installed-$(shell printf '%s' "$(TORCH)" | cksum | cut -d' ' -f1)

.PHONY: search test lint types imports unit docs install benchmarks clean

search: install
	$(BIN)/nas-plugin search $(ARGS)

test: lint types imports unit

install: $(INSTALLED)

# constraints.txt pins what the tests were run with; TORCH takes the place of its torch.
$(INSTALLED): pyproject.toml constraints.txt Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt "$(TORCH)"
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt --editable ".[test]" "$(TORCH)"
	rm -f $(VENV)/installed-*
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

imports: install
	$(BIN)/lint-imports

# a process a core, up to eight, and one thread in each
unit: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 $(ARGS)

docs: install
	$(BIN)/python -m sphinx -W --keep-going -n -d build/doctrees docs build/docs

benchmarks: install
	for name in start_up exact_sweep smooth_ceiling latency_share sweep_points models_macs; do $(BIN)/python benchmarks/$$name.py || exit 1; done

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
