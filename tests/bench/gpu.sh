#!/bin/bash
# The GPU benchmark on a machine that has a GPU, PyTorch and nothing else of ours, unattended; no registry is asked.
#
#   tests/bench/gpu.sh WHEELS [OUT]
#
# WHEELS: folder of wheels for that machine's Python, at least msgspec, pycuda (image-build/gpu/build-pycuda.sh) with pytools, platformdirs,
# siphash24 and Mako; onnx, numba, scipy, onnxruntime, tensorrt_rtx and what else `appliance` needs where the machine lacks them. Whatever
# is missing leaves its figures null, with the reason. OUT: folder for bench-gpu.json and the log (build).
#
# Made beforehand on a machine with a registry, for Python 3.12 there:
#   image-build/gpu/build-pycuda.sh wheels python3.12
#   pip download -d wheels --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux2014_x86_64 \
#       msgspec pytools platformdirs siphash24 mako numba llvmlite scipy onnx
set -uo pipefail

wheels=$1
out=${2:-build}
cd "$(dirname "$0")/../.."
mkdir -p "$out"
site=$(mktemp -d)
python3 -m pip install -q --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl || exit 1
export PYTHONPATH="$PWD:$site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
if command -v nvcc >/dev/null; then
    python3 -m appliance.inference.cuda.build --out build/kernels
fi
python3 -m tests.bench.gpu --kernels build/kernels --out "$out/bench-gpu.json" --keep "$out/gpu-$(date -u +%F).json" 2>&1 | tee "$out/bench-gpu.log"
