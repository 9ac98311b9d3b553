"""What a processor can do, how many threads it gets, and the precision that follows."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.inference.processor import Processor, best_precision, this_processor

X86 = """processor	: 0
physical id	: 0
core id		: 0
flags		: fpu avx2 avx512f avx512_vnni avx512_bf16

processor	: 1
physical id	: 0
core id		: 0
flags		: fpu avx2 avx512f avx512_vnni avx512_bf16

processor	: 2
physical id	: 0
core id		: 1
flags		: fpu avx2 avx512f avx512_vnni avx512_bf16

processor	: 3
physical id	: 0
core id		: 1
flags		: fpu avx2 avx512f avx512_vnni avx512_bf16
"""
ARM = "".join(f"processor	: {number}\nFeatures	: fp asimd asimddp i8mm bf16\nCPU part	: 0xd42\n\n" for number in range(12))


def read(tmp_path: Path, text: str, *, quota: str = "max 100000", allowed: range) -> Processor:
    (tmp_path / "cpuinfo").write_text(text)
    (tmp_path / "cpu.max").write_text(quota)
    return this_processor(cpuinfo=tmp_path / "cpuinfo", cpu_max=tmp_path / "cpu.max", allowed=allowed)


def test_two_threads_of_a_core_count_once(tmp_path: Path) -> None:
    found = read(tmp_path, X86, allowed=range(4))
    assert (found.cores, found.threads) == (2, 2)
    assert found.multiplies_bytes == ("avx512_vnni",)
    assert found.multiplies_bf16 == ("avx512_bf16",)


@pytest.mark.parametrize(
    ("text", "quota", "allowed", "threads"),
    [
        (X86, "max 100000", range(2), 1),
        (X86, "100000 100000", range(4), 1),
        (X86, "50000 100000", range(4), 2),  # less than one processor: one thread a core shares it no worse
        (ARM, "max 100000", range(12), 11),
        (ARM, "400000 100000", range(12), 4),
        (ARM, "garbage", range(3), 3),
        ("", "max 100000", range(2), 2),
    ],
)
def test_receiver_and_kiosk_keep_a_core_where_there_are_many(tmp_path: Path, text: str, quota: str, allowed: range, threads: int) -> None:
    assert read(tmp_path, text, quota=quota, allowed=allowed).threads == threads


def test_nothing_that_cannot_be_read_is_claimed(tmp_path: Path) -> None:
    found = this_processor(cpuinfo=tmp_path / "none", cpu_max=tmp_path / "none", allowed=range(3))
    assert (found.cores, found.flags, found.quota) == (3, frozenset(), None)


ALL = ("FP32", "INT8", "BF16", "FP16")


@pytest.mark.parametrize(
    ("machine", "flags", "native", "int8", "precision"),
    [
        ("x86_64", {"amx_int8", "amx_bf16", "avx512_vnni"}, ALL, True, "int8"),
        ("x86_64", {"avx512_vnni", "avx512_bf16"}, ALL, True, "int8"),
        ("x86_64", {"avx512_vnni", "avx512_bf16"}, ALL, False, "bf16"),
        ("x86_64", {"avx_vnni"}, ("FP32", "INT8"), True, "int8"),
        ("x86_64", {"avx2"}, ("FP32", "INT8"), True, "f32"),  # bytes without instructions for them are no faster
        ("x86_64", {"avx512_bf16"}, ("FP32",), False, "f32"),  # OpenVINO would emulate it
        ("aarch64", {"asimddp"}, ("FP32", "FP16"), False, "f16"),
        ("aarch64", {"asimddp"}, ("FP32",), False, "f32"),
    ],
)
def test_precision_follows_from_what_the_processor_has(
    machine: str, flags: set[str], native: tuple[str, ...], int8: bool, precision: str
) -> None:
    found, why = best_precision(Processor(machine, frozenset(flags), 2), native=native, int8=int8)
    assert found == precision
    assert why.zh
    assert why.en
