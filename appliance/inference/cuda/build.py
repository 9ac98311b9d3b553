"""``python -m appliance.inference.cuda.build --out FOLDER``: compile the kernels with nvcc into one fatbin for all cards we know."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from appliance.inference.cuda.binary import ARCHITECTURES, KERNELS, MAIN, fatbin_path


def build(folder: Path, *, nvcc: str, architectures: tuple[int, ...] = ARCHITECTURES) -> Path:
    """Compile; the file. Machine code for each card, and PTX of the newest for those to come.

    Raises:
        subprocess.CalledProcessError: nvcc refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = fatbin_path(folder)
    targets = [f"arch=compute_{number},code=sm_{number}" for number in architectures]
    newest = architectures[-1]
    targets.append(f"arch=compute_{newest},code=compute_{newest}")
    flags = [part for target in targets for part in ("-gencode", target)]
    partial = path.with_suffix(".part")
    subprocess.run([nvcc, "-fatbin", "-std=c++17", "-Werror=all-warnings", *flags, "-o", str(partial), str(KERNELS / MAIN)], check=True)
    partial.replace(path)
    return path


def main() -> int:
    """Compile and say where it lies."""
    parser = argparse.ArgumentParser(prog="python -m appliance.inference.cuda.build")
    parser.add_argument("--out", type=Path, required=True, help="folder of the fatbin")
    parser.add_argument("--nvcc", default=shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc")
    options = parser.parse_args()
    print(build(options.out, nvcc=options.nvcc))
    return 0


if __name__ == "__main__":
    sys.exit(main())
