# make demo   installs what is missing and runs the main job end to end: results in demo-output/
# make test   installs what is missing and runs the tests
# make image  builds the bootable image of the box (root, Debian 12): build/image/coronet.img
# make test-image  boots it in QEMU, writes build/image.json (slow: software emulation)
# make lint   style, types and the floors of the architecture
# make bench  measures, writes build/bench.json
# make bench-gpu  the same for the graphics card, writes build/bench-gpu.json; nulls and an estimate on paper where there is none
# make lock   pins the dependencies anew
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Debian's own interpreter first: a service user may not reach one that lives in root's home.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3.11) python3.11)
VENV := .venv
RUN := $(VENV)/bin/python
PACKAGES := image-build/apt-packages.txt
export PYTHONPATH := $(CURDIR)
export PYTHONUNBUFFERED := 1
export KIVY_NO_ARGS := 1

ISOLATED := tests/isolated.sh

.PHONY: help image test-image demo test test-train lint bench bench-gpu lock train install clean

help:
	@sed -n '/^# make/s/^# //p' Makefile

install: build/.packages $(VENV)/.installed

build/.packages: $(PACKAGES)
	@mkdir -p build
	@missing=$$(awk '!/^#/ && NF {print $$2}' $(PACKAGES) | while read -r p; do \
	    dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	    [ "$$(id -u)" = 0 ] || { echo "These Debian packages are missing and only root can install them:" $$missing >&2; exit 1; }; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	fi
	@touch $@

$(VENV)/.installed: requirements.lock build/.packages
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -q --require-hashes -r requirements.lock
	@touch $@

demo: install
	$(ISOLATED) $(RUN) -m tests.demo --out demo-output

# Two lanes, a processor and a network each; without networks of their own one after the other, because peers listen on the same ports.
TEST_LANES := test-of-the-appliance test-of-the-rest
.PHONY: $(TEST_LANES)
test-of-the-appliance: PATHS := tests/appliance
test-of-the-rest: PATHS := --ignore=tests/appliance

$(TEST_LANES):
	@set -o pipefail; $(ISOLATED) $(RUN) -m pytest --durations=15 $(PATHS) 2>&1 | sed -u 's/^/$@: /'

test: install $(VENV)/.gpu
	@unshare -n true 2>/dev/null && lanes=2 || lanes=1; $(MAKE) --no-print-directory -k -j$$lanes $(TEST_LANES)

test-train: install $(VENV)/.train
	$(RUN) -m pytest -m train

bench: install
	$(ISOLATED) $(RUN) -m tests.bench --out build/bench.json

# Engines are built and looked into without any GPU; where the wheels cannot be had those tests are skipped and say so.
$(VENV)/.gpu: image-build/requirements-gpu.lock $(VENV)/.installed
	$(VENV)/bin/pip install -q --require-hashes -r image-build/requirements-gpu.lock || echo "TensorRT for RTX cannot be installed here" >&2
	@touch $@

bench-gpu: install
	@if command -v nvcc >/dev/null; then $(RUN) -m appliance.inference.cuda.build --out build/kernels; fi
	$(RUN) -m tests.bench.gpu --kernels build/kernels --out build/bench-gpu.json

$(VENV)/.train: $(VENV)/.installed pyproject.toml
	$(VENV)/bin/pip install -q "torch==2.13.0" "onnx>=1.23" "scikit-image>=0.26"
	@touch $@

train: install $(VENV)/.train
	$(RUN) -m models.training all --minutes 120

image: install build/.image-packages
	$(RUN) image-build/build

# Two lanes, a processor each; whichever comes first starts the box that both go on from (tests/image/conftest.py).
LANES := lane-of-one-version lane-of-two-versions
.PHONY: $(LANES)
lane-of-one-version: TESTS := boot power update erase seal faults ratio
lane-of-two-versions: TESTS := reproducible analyst trial
lane-of-two-versions: ALSO := tests/systemd/test_safe_mode.py

$(LANES):
	$(RUN) -m pytest -m image $(TESTS:%=tests/image/test_%.py) $(ALSO)

test-image: image
	@start=$$SECONDS; $(MAKE) -k -j2 $(LANES); status=$$?; echo "make test-image: $$(( (SECONDS - start) / 60 )) minutes"; exit $$status

build/.image-packages: $(PACKAGES)
	@mkdir -p build
	@[ "$$(id -u)" = 0 ] || { echo "Only root can make a file system that belongs to root" >&2; exit 1; }
	@apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$(awk '$$1 == "#host" {print $$2}' $(PACKAGES))
	@touch $@

lint: install
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

lock:
	$(VENV)/bin/pip install -q pip-tools
	$(VENV)/bin/pip-compile -q --generate-hashes --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	    --strip-extras --allow-unsafe --extra dev -o requirements.lock pyproject.toml
	$(VENV)/bin/pip-compile -q --generate-hashes --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	    --strip-extras --allow-unsafe -c requirements.lock -o image-build/requirements-gpu.lock image-build/requirements-gpu.in

clean:
	rm -rf build demo-output .mypy_cache .ruff_cache
