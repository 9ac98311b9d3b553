"""How long the box takes from its kernel's start to its first C-ECHO, as a ratio to a bare Debian's start, in the same run.

Both times are told by the emulated processor's own clock, which counts instructions (`tests.image.machine`): a busy machine is no matter.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.image.cuts import cut
from tests.image.machine import SHELL, Machine
from tests.image.starting import PATIENCE_S, SHELL_S, gone_on, wait_for_echo, wait_for_unit

pytestmark = [pytest.mark.image, pytest.mark.timeout(7200)]

REPO = Path(__file__).resolve().parents[2]
BARE = "linux-image-amd64,initramfs-tools,systemd-sysv,udev,dbus,kmod,iproute2,login"


def test_boot_ratio(booted: Path, tmp_path: Path, figures: dict[str, Any]) -> None:
    disk = tmp_path / "layers/000.qcow2"
    with gone_on(booted, tmp_path / "ready") as machine:
        machine.shell("sync", seconds=SHELL_S)
        cut(machine, disk.parent)
    with Machine(disk=disk, folder=tmp_path / "box") as machine:
        figures["boot_to_echo_s"] = round(wait_for_echo(machine, every_s=0.2), 1)
        machine.wait_for_shell(seconds=SHELL_S)
        box = first_association(machine)
    with Machine(disk=bare_debian(tmp_path), folder=tmp_path / "bare") as machine:
        machine.wait_for_shell(seconds=PATIENCE_S)
        wait_for_unit(machine, "multi-user.target")
        bare = up_after(machine, "multi-user.target")
    figures["bare_debian_emulated_s"], figures["box_emulated_s"] = round(bare, 1), round(box, 1)
    figures["boot_ratio_to_debian"] = round(box / bare, 2)


def first_association(machine: Machine) -> float:
    """Seconds from the kernel's start until the first association from outside had ended well, by the box's own clock.

    It is that of `echo`, which QEMU's network shows as 10.0.2.2. Receiver, network and everything before them are in it, as for a scanner.
    """
    looked = "journalctl -b -u coronet -o json --no-pager --grep 'of 10.0.2.2 released'"
    return int(json.loads(machine.shell(looked, seconds=SHELL_S).splitlines()[0])["__MONOTONIC_TIMESTAMP"]) / 1e6


def up_after(machine: Machine, unit: str) -> float:
    """Seconds from the kernel's start until a unit was up, by the box's own clock."""
    return int(machine.shell(f"systemctl show -P ActiveEnterTimestampMonotonic {unit}", seconds=SHELL_S)) / 1e6


def bare_debian(folder: Path) -> Path:
    """A disk with Debian's own kernel, initrd and systemd on ext4 and nothing else, by the same firmware: made once, kept."""
    kept = REPO / "build/image/bare.raw"
    if kept.is_file():
        return kept
    sys.path.insert(0, str(REPO / "image-build"))
    from coronet_image.base import SUITE, apt_sources
    from coronet_image.run import places, run
    from coronet_image.slot import STUB, fat

    where = places(repo=REPO, out=REPO / "build/image", cache=REPO / "build/image/cache")
    root, cache = folder / "bare", where.cache / "debs"
    cache.mkdir(parents=True, exist_ok=True)
    hooks = [
        '--setup-hook=mkdir -p "$1"/var/cache/apt/archives/',
        f"--setup-hook=sync-in {cache} /var/cache/apt/archives/",
        "--skip=download/empty,essential/unlink",
        '--customize-hook=echo bare > "$1"/etc/hostname',
    ]
    options = ["--mode=root", "--variant=essential", '--aptopt=Apt::Install-Recommends "false"', f"--include={BARE}"]
    run("mmdebstrap", *options, *hooks, SUITE, root, apt_sources(), env=where.environment())
    file_system = folder / "bare.ext4"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "bare", "-d", str(root), str(file_system), "1500M"], check=True)
    (folder / "cmdline").write_text(f"root=/dev/vda2 rw quiet {SHELL}\n\0", "ascii")
    kernel, initrd = next((root / "boot").glob("vmlinuz-*")), next((root / "boot").glob("initrd.img-*"))
    parts = ((".cmdline", folder / "cmdline", 0x30000), (".linux", kernel, 0x2000000), (".initrd", initrd, 0x4000000))
    words = [word for name, file, at in parts for word in ("--add-section", f"{name}={file}", "--change-section-vma", f"{name}={at:#x}")]
    run("objcopy", *words, STUB, folder / "bare.efi")
    esp = fat(where, folder / "bare.vfat", mib=200, label="BARE", files={"EFI/BOOT/BOOTX64.EFI": folder / "bare.efi"})
    unfinished = folder / "bare.raw"
    with unfinished.open("wb") as file:
        file.truncate(1800 << 20)
    table = "label: gpt\nstart=2048, size=409600, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\nstart=411648, size=3072000\n"
    run("sfdisk", "-q", unfinished, stdin=table)
    for part, seek in ((esp, 1), (file_system, 201)):
        run("dd", f"if={part}", f"of={unfinished}", "bs=1M", f"seek={seek}", "conv=notrunc,sparse", "status=none")
    run("cp", "--sparse=always", unfinished, kept)
    return kept
