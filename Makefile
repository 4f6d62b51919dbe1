# make search    a small environment, then a LeNet of half the cycles, on embedded images: a minute
# make test      the environment with everything that the tests need, then all checks and tests
# make docs      the same environment as for the tests, then the documentation site in build/docs
#
# TORCH is the PyTorch to install. On Linux the package index answers the default with a build for CUDA, several
# gigabytes. Any requirement that pip accepts works, for example a CPU build:
#     make search TORCH="torch==2.13.0+cpu" PIP_EXTRA_INDEX_URL=<the CPU index named on pytorch.org>
#     make search TORCH=./torch-2.13.0-cp311-cp311-linux_x86_64.whl
# torchvision, which the tests read models of, has to be built for the same PyTorch: from that index it is. With a wheel of
# torch alone it is not, and what imports it fails outside of the tests, transformers for example.

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK = 1
BIN := $(VENV)/bin
# one stamp for each TORCH, so that another one is installed when it is asked for
STAMP := $(shell printf '%s' "$(TORCH)" | cksum | cut -d' ' -f1)
FOR_SEARCH := $(VENV)/installed-search-$(STAMP)
FOR_TESTS := $(VENV)/installed-tests-$(STAMP)

.PHONY: search test lint types imports unit docs install benchmarks clean
.NOTPARALLEL:

search: $(FOR_SEARCH)
	$(BIN)/nas-plugin search $(or $(ARGS),--target 0.5)

test: lint types imports unit

install: $(FOR_TESTS)

# constraints.txt pins what the tests were run with; TORCH takes the place of its torch.
define install_extra
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt "$(TORCH)"
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt --editable ".[$(1)]" "$(TORCH)"
	rm -f $(VENV)/installed-*
endef

$(FOR_SEARCH): pyproject.toml constraints.txt Makefile
	$(call install_extra,nas)
	touch $@

$(FOR_TESTS): pyproject.toml constraints.txt Makefile
	$(call install_extra,test)
	touch $(FOR_SEARCH) $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

imports: install
	$(BIN)/lint-imports

# one process per core, at most eight, with one thread each; a file stays in one, so that what its tests share is made once
unit: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile $(ARGS)

docs: install
	$(BIN)/python -m sphinx -W --keep-going -n -d build/doctrees docs build/docs

benchmarks: install
	for name in start_up exact_sweep smooth_ceiling latency_share sweep_points sweep_fields models_macs; do $(BIN)/python benchmarks/$$name.py || exit 1; done

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
