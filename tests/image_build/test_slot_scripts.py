"""The scripts that RAUC runs on the box: the boot state, and the gate against older versions and other machines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.appliance.maintenance.machine import BACKEND, UPDATES

GATE = UPDATES / "root/usr/lib/coronet/slots/gate"
SYSTEM = UPDATES / "root/etc/rauc/system.conf"


def run(script: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-IS", str(script), *words]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False)


def test_the_boot_state_as_rauc_asks_for_it(tmp_path: Path) -> None:
    block, line = tmp_path / "grubenv", tmp_path / "cmdline"
    line.write_text("root=/dev/dm-0 rauc.slot=B quiet\n")

    def backend(*words: str) -> str:
        done = run(BACKEND, *words, CORONET_GRUBENV=str(block), CORONET_CMDLINE=str(line))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert (backend("get-primary"), backend("get-state", "A"), backend("get-state", "B")) == ("A", "good", "bad")
    assert backend("get-current") == "B"
    backend("set-state", "B", "bad")
    backend("set-primary", "B")
    assert (backend("get-primary"), backend("get-state", "B")) == ("B", "good")
    content = block.read_bytes()
    assert (len(content), content[:25]) == (1024, b"# GRUB Environment Block\n")
    assert content[512:] == b"#" * 512, "all variables lie in the first sector"
    block.write_bytes(content.replace(b"B_TRY=0", b"B_TRY=3"))
    assert (backend("get-primary"), backend("get-state", "B")) == ("A", "bad"), "three starts without a proof"
    backend("set-state", "B", "good")
    assert backend("get-primary") == "B"


def test_the_boot_state_is_what_grub_itself_reads_and_is_changed_in_place(tmp_path: Path) -> None:
    block = tmp_path / "grubenv"
    subprocess.run(["grub-editenv", str(block), "create"], check=True, timeout=60) if _has("grub-editenv") else pytest.skip(
        "no grub-editenv"
    )
    subprocess.run(["grub-editenv", str(block), "set", "ORDER=A B", "A_OK=1", "A_TRY=1", "B_OK=0", "OTHER=kept"], check=True, timeout=60)
    inode = block.stat().st_ino
    assert run(BACKEND, "set-primary", "B", CORONET_GRUBENV=str(block)).returncode == 0
    said = subprocess.run(["grub-editenv", str(block), "list"], check=True, capture_output=True, text=True, timeout=60).stdout
    assert set(said.split("\n")) >= {"ORDER=B A", "A_OK=1", "A_TRY=1", "B_OK=1", "B_TRY=0", "OTHER=kept"}
    assert block.stat().st_ino == inode


@pytest.mark.parametrize("words", [(), ("reboot",), ("set-primary", "C"), ("set-state", "A", "maybe"), ("get-state",)])
def test_what_is_no_order_changes_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert run(BACKEND, *words, CORONET_GRUBENV=str(tmp_path / "grubenv")).returncode == 2
    assert not (tmp_path / "grubenv").exists()


@pytest.mark.parametrize("content", [b"", b"\0" * 1024, b"garbage" * 200, b"# GRUB Environment Block\nORDER\nA_OK=\n=1\n"])
def test_a_damaged_boot_state_is_that_of_a_new_box(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "grubenv").write_bytes(content)
    assert run(BACKEND, "get-primary", CORONET_GRUBENV=str(tmp_path / "grubenv")).stdout == "A\n"


@pytest.mark.parametrize(
    ("version", "compatible", "good"),
    [
        ("1.2.0", "coronet-x86-64-v1", True), ("1.2", "coronet-x86-64-v1", True), ("1.10", "coronet-x86-64-v1", True),
        ("1.1.9", "coronet-x86-64-v1", False), ("0.9", "coronet-x86-64-v1", False), ("1.2.0", "coronet-aarch64", False),
        ("new", "coronet-x86-64-v1", False), ("", "coronet-x86-64-v1", False), ("1.2.0; reboot", "coronet-x86-64-v1", False),
    ],
)  # fmt: skip
def test_the_gate_as_hook_and_as_handler(tmp_path: Path, version: str, compatible: str, good: bool) -> None:
    (tmp_path / "version").write_text("1.2.0\n")
    (tmp_path / "manifest.raucm").write_text(f"[update]\ncompatible={compatible}\nversion={version}\n[image.rootfs]\nversion=9\n")
    files = {"CORONET_VERSION_FILE": str(tmp_path / "version"), "CORONET_SYSTEM_CONF": str(SYSTEM)}
    hook = run(GATE, "install-check", RAUC_MF_VERSION=version, RAUC_MF_COMPATIBLE=compatible, **files)
    handler = run(GATE, RAUC_UPDATE_SOURCE=str(tmp_path), **files)
    assert [hook.returncode == 0, handler.returncode == 0] == [good, good], (hook.stderr, handler.stderr)


def test_rauc_reads_the_system_file_and_its_slots_are_those_of_the_image() -> None:
    text = SYSTEM.read_text()
    names = re.findall(r"by-partlabel/(coronet-[a-z]+-[ab])", text)
    assert sorted(names) == sorted(f"coronet-{kind}-{slot}" for kind in ("root", "verity", "boot") for slot in "ab")
    assert "bundle-formats=verity\n" in text


def _has(program: str) -> bool:
    return any((Path(folder) / program).exists() for folder in os.get_exec_path())
