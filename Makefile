# From a fresh clone: `make demo` shows a hybrid, `make test` proves one.

PYTHON ?= python3
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PROTO := src/hybridge/runtime/wire/oip.proto
# The oldest compiler that the declared protobuf reads the output of.
PROTO_TOOLS := grpcio-tools==1.66.2 setuptools==80.9.0
# `pairs` trains for hours, and is run by itself. Others have targets of their own.
OWN_TARGETS := fuzz faults field policies throughput interoperation memory microcontroller
NO_BENCHMARKS := $(patsubst %,benchmarks/%.py,common outside pairs $(OWN_TARGETS))
BENCHMARKS := $(filter-out $(NO_BENCHMARKS),$(wildcard benchmarks/*.py))
# What the field test and policies are shown with.
PAIR := runs/cifar10-resnet
# The supernet as `hybridge supernet train` left it here after an hour on 2 cores.
SUPERNET := runs/small-supernet/supernet.safetensors
MICRO := runs/cifar10-microcontroller
SEARCHED := runs/cifar10-pairs
CIFAR10 := $(or $(HYBRIDGE_DATA),../shared/data)/cifar10

.PHONY: demo test test-slow lint bench fuzz faults field policies throughput joint-search \
	microcontroller proto docs

demo: $(VENV)/ready-demo
	$(BIN)/hybridge demo

test: lint
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not slow"

test-slow: $(VENV)/ready-dev
	$(BIN)/pytest -m slow

lint: $(VENV)/ready-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/ready-dev
	set -e; for benchmark in $(BENCHMARKS); do $(BIN)/python $$benchmark; done

fuzz: $(VENV)/ready-dev
	$(BIN)/python benchmarks/fuzz.py wire
	$(BIN)/python benchmarks/fuzz.py bundle

faults: $(VENV)/ready-dev
	$(BIN)/python benchmarks/faults.py --page docs/results/faults.md

policies: $(VENV)/ready-dev $(PAIR)/bundle
	$(BIN)/python benchmarks/policies.py $(PAIR)/bundle --page docs/results/policies.md

# Whom ours is held against is installed as benchmarks/contest/requirements.txt says.
throughput: $(VENV)/ready-dev
	$(BIN)/python benchmarks/throughput.py --page docs/results/throughput.md
	$(BIN)/python benchmarks/memory.py --page docs/results/throughput.md
	$(BIN)/python benchmarks/interoperation.py --page docs/results/throughput.md

# Takes root, `ip` and `tc`.
field: $(VENV)/ready-dev $(PAIR)/bundle
	$(BIN)/python benchmarks/field.py $(PAIR)/bundle --page docs/results/field.md

$(PAIR)/bundle:
	$(BIN)/hybridge train recipes/cifar10_resnet.yaml --out $(PAIR)

# Takes hours.
joint-search: $(VENV)/ready-dev $(SUPERNET)
	$(BIN)/hybridge search recipes/cifar10_pairs.yaml --out $(SEARCHED)
	$(BIN)/python scripts/search_page.py $(SEARCHED)/summary.json

# Takes the tools that `.ci/run` installs.
microcontroller: $(VENV)/ready-dev $(MICRO)/bundle
	$(BIN)/python benchmarks/microcontroller.py $(MICRO)/bundle \
		--calibration parquet:$(CIFAR10)/train.parquet --data parquet:$(CIFAR10)/test.parquet \
		--page docs/results/microcontroller.md

$(MICRO)/bundle: $(SUPERNET)
	$(BIN)/hybridge search recipes/cifar10_microcontroller.yaml --out $(MICRO)

$(SUPERNET): recipes/small_supernet.safetensors
	mkdir -p $(@D)
	cp $< $@

proto: $(VENV)/proto/ready
	$(VENV)/proto/bin/python -m grpc_tools.protoc -I src --python_out=src --pyi_out=src $(PROTO)

docs: $(VENV)/ready-dev
	$(BIN)/python scripts/recipe_keys.py

# Set-up runs again when what is to be installed has changed.
$(VENV)/ready-dev: pyproject.toml constraints.txt
	$(call install,dev)
	touch $(VENV)/ready-demo $@

$(VENV)/ready-demo: pyproject.toml constraints.txt
	$(call install,demo)
	touch $@

$(VENV)/proto/ready:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install $(PROTO_TOOLS)
	touch $@

define install
test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
$(BIN)/python -m pip install -e '.[$(1)]' -c constraints.txt
endef
