#!/bin/bash
# Builds the wheel of pycuda, which its makers publish as source only. Needs nvcc's headers and a C++ compiler, no GPU and no driver.
#
#   image-build/gpu/build-pycuda.sh OUT [PYTHON] [CUDA]
#
# OUT: folder for the wheel. PYTHON: the interpreter it is for (python3.11). CUDA: folder of the CUDA toolkit (/usr/local/cuda).
#
# Same wheel from same inputs: source pinned by hash (pycuda-source.txt), tools pinned (pycuda-tools.txt), times set to SOURCE_DATE_EPOCH.
# Three things are unlike a plain `pip wheel pycuda`: the toolkit is named (found through a link in /usr/local/bin it would be sought in
# the wrong place), the driver's library, which only a machine with a GPU has, is stood in for by an empty one while linking, and the
# need for it is written into the module afterwards, because the linker leaves out what it sees no use for.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=$(mkdir -p "$1" && cd "$1" && pwd)
python=${2:-python3.11}
cuda=${3:-/usr/local/cuda}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1763856000} PYTHONHASHSEED=0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

"$python" -m venv tools
tools/bin/pip install -q --require-hashes -r "$here/pycuda-tools.txt"
tools/bin/pip download -q --no-deps --no-build-isolation --no-binary :all: --require-hashes -r "$here/pycuda-source.txt" -d source
mkdir tree && tar -xzf source/pycuda-*.tar.gz -C tree --strip-components 1

mkdir stub
echo 'void stands_in_for_the_driver(void) {}' | gcc -shared -fPIC -Wl,-soname,libcuda.so.1 -x c - -o stub/libcuda.so

cd tree
export PATH="$work/tools/bin:$cuda/bin:$PATH" LIBRARY_PATH="$work/stub" CFLAGS="-ffile-prefix-map=$work=." CXXFLAGS="-ffile-prefix-map=$work=."
python configure.py --cuda-root="$cuda" --cudadrv-lib-dir="$work/stub" --no-cuda-enable-curand
pip wheel -q --no-deps --no-build-isolation -w "$work/built" .

cd "$work"
wheel unpack -q built/pycuda-*.whl -d unpacked 2>/dev/null || wheel unpack built/pycuda-*.whl -d unpacked
for module in unpacked/pycuda-*/pycuda/_driver*.so; do
    patchelf --remove-needed libcuda.so.1 "$module"
    patchelf --add-needed libcuda.so.1 "$module"
done
find unpacked -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
wheel pack unpacked/pycuda-* -d "$out"
sha256sum "$out"/pycuda-*.whl
