"""The kernels compile for the cards that the product is sold with; by nvcc where it is installed, by NVRTC where its wheel is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from appliance.inference.cuda.binary import MAIN, fatbin_path, sources
from appliance.inference.cuda.build import build
from appliance.inference.cuda.nvrtc import compile_for, library_path
from tests.appliance.inference.cuda.hostcuda import CACHE, kernel_parameters

NVCC = shutil.which("nvcc") or ("/usr/local/cuda/bin/nvcc" if Path("/usr/local/cuda/bin/nvcc").exists() else None)
FATBIN_MAGIC = b"\x50\xed\x55\xba"


@pytest.mark.skipif(NVCC is None, reason="nvcc is not installed")
def test_nvcc_makes_machine_code_for_86_89_and_90_without_a_warning() -> None:
    assert NVCC is not None
    path = fatbin_path(CACHE / "fatbin")  # named by the sources' digest: compiled once for each state of them
    if not path.is_file():
        build(path.parent, nvcc=NVCC, architectures=(86, 89, 90))
    content = path.read_bytes()
    assert content.startswith(FATBIN_MAGIC)
    assert len(content) > 50_000


@pytest.mark.skipif(library_path() is None, reason="the wheel nvidia-cuda-nvrtc is not installed")
def test_nvrtc_makes_machine_code_without_a_card() -> None:
    made = compile_for(86, sources=sources(), main=MAIN)
    assert made.startswith(b"\x7fELF")
    for kernel in kernel_parameters():
        assert f".text.{kernel}\0".encode() in made


@pytest.mark.skipif(library_path() is None, reason="the wheel nvidia-cuda-nvrtc is not installed")
def test_nvrtc_says_what_is_wrong() -> None:
    with pytest.raises(RuntimeError, match="undefined"):
        compile_for(86, sources={"a.cu": "__global__ void f() { nothing(); }"}, main="a.cu")


def test_every_source_is_part_of_the_one_module_and_says_what_it_moves() -> None:
    main = sources()[MAIN]
    for name, text in sources().items():
        if name.endswith(".cu") and name != MAIN:
            assert f'#include "{name}"' in main
            assert text.count("Bytes") >= 1, name
