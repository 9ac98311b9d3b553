"""How the start of the image finds, makes and opens the data partition: the real script, with stand-ins for what needs a device mapper."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "image-build/root/usr/lib/coronet/open-data"
PROGRAMS = {
    "cryptsetup": """case "$1" in
isLuks) grep -q LUKS "$2" ;;
luksFormat) for last; do :; done; echo LUKS >"$last" ;;
open) exit_open=$(cat "$CORONET_BOOT/open"); [ "$exit_open" = 0 ] && touch "$CORONET_DEV/mapper/coronet-data"; exit "$exit_open" ;;
luksDump) cat "$CORONET_BOOT/tokens" 2>/dev/null ;;
luksRemoveKey) exit "$(cat "$CORONET_BOOT/remove")" ;;
esac""",
    "systemd-cryptsetup": """exit_open=$(cat "$CORONET_BOOT/tpm")
[ "$exit_open" = 0 ] && touch "$CORONET_DEV/mapper/coronet-data"
exit "$exit_open\"""",
    "shred": 'rm "$2"',
    "sync": "",
    "mkfs.ext4": 'for last; do :; done; echo ext4 >"$last"',
    "blkid": 'for last; do :; done; grep -q ext4 "$last"',
    "e2fsck": 'exit "$(cat "$CORONET_BOOT/fsck")"',
    "systemd-repart": "exit 1",
    "udevadm": "",
    "mountpoint": "",
    "erase-data": 'truncate -s 0 "$1"; truncate -s 1M "$1"; rm -f "$CORONET_EFI/erase" "$CORONET_EFI/data.key"',
}


class Box:
    """A disk with one partition, ``sda9``, as /sys tells of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.efi, self.boot, self.dev = folder / "efi", folder / "boot", folder / "dev"
        for place in (self.efi, self.boot, self.dev / "mapper", folder / "bin"):
            place.mkdir(parents=True)
        (self.boot / "disk").write_text("/dev/sda\n")
        (self.boot / "open").write_text("0")
        (self.boot / "fsck").write_text("0")
        self.partition = self.dev / "sda9"
        self.calls = folder / "calls"
        for name, body in PROGRAMS.items():
            program = folder / "bin" / name
            program.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.calls}\n{body}\n')
            program.chmod(0o755)

    def with_partition(self, content: bytes) -> None:
        """It is there and begins so."""
        uevent = self.folder / "sys/class/block/sda/sda9/uevent"
        uevent.parent.mkdir(parents=True)
        uevent.write_text("DEVNAME=sda9\nPARTNAME=coronet-data\n")
        self.partition.write_bytes(content.ljust(1 << 20, b"\0"))

    def start(self) -> tuple[int, list[str], str]:
        """Run the script: exit status, names of the programs that changed something, the fault that it left."""
        script = self.folder / "open-data"
        script.write_text(SCRIPT.read_text("utf-8").replace("/usr/lib/coronet/erase-data", "erase-data"), "utf-8")
        script.write_text(script.read_text("utf-8").replace("/lib/systemd/systemd-cryptsetup", "systemd-cryptsetup"), "utf-8")
        places = {"EFI": self.efi, "BOOT": self.boot, "DEV": self.dev, "SYS": self.folder / "sys"}
        environment = {"PATH": f"{self.folder / 'bin'}:{os.defpath}"} | {f"CORONET_{name}": str(path) for name, path in places.items()}
        done = subprocess.run(["sh", str(script)], env=environment, capture_output=True, text=True, timeout=60, check=False)
        called = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        told = [" ".join(call.split()[: 2 if call.startswith("cryptsetup") else 1]) for call in called]
        fault = self.boot / "fault"
        return done.returncode, told, fault.read_text().strip() if fault.exists() else ""


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


MAKING = ("cryptsetup luksFormat", "mkfs.ext4")


def test_an_empty_partition_is_made_once_and_only_opened_from_then_on(box: Box) -> None:
    box.with_partition(b"")
    status, called, fault = box.start()
    assert (status, fault) == (0, "")
    assert [each for each in called if each in (*MAKING, "cryptsetup open")] == ["cryptsetup luksFormat", "cryptsetup open", "mkfs.ext4"]
    assert (box.efi / "data.key").stat().st_size == 64
    (box.dev / "mapper/coronet-data").rename(box.folder / "kept")
    (box.boot / "open").write_text("0")
    key = (box.efi / "data.key").read_bytes()
    (box.folder / "bin/cryptsetup").write_text(
        (box.folder / "bin/cryptsetup").read_text().replace('touch "', f'cp {box.folder / "kept"} "'),
    )
    status, called, fault = box.start()
    assert (status, fault) == (0, "")
    assert not set(MAKING) & set(called)
    assert (box.efi / "data.key").read_bytes() == key


@pytest.mark.parametrize("content", [b"somebody's photographs", b"\0" * 4096 + b"a header that lost its first block"])
def test_what_is_not_ours_is_left_as_it_is(box: Box, content: bytes) -> None:
    box.with_partition(content)
    before = box.partition.read_bytes()
    status, called, fault = box.start()
    assert (status, fault) == (1, "BOX-003")
    assert not set(MAKING) & set(called)
    assert box.partition.read_bytes() == before


def test_a_key_that_does_not_open_it_destroys_nothing(box: Box) -> None:
    box.with_partition(b"LUKS")
    (box.boot / "open").write_text("2")
    status, called, fault = box.start()
    assert (status, fault) == (1, "BOX-005")
    assert not set(MAKING) & set(called)


def test_a_damaged_file_system_is_told(box: Box) -> None:
    box.with_partition(b"")
    (box.boot / "fsck").write_text("4")
    status, _called, fault = box.start()
    assert (status, fault) == (1, "BOX-004")


def test_the_fault_goes_with_the_start_that_has_none(box: Box) -> None:
    box.with_partition(b"LUKS")
    (box.boot / "open").write_text("2")
    assert box.start()[2] == "BOX-005"
    (box.boot / "open").write_text("0")
    assert box.start()[2] == ""


def test_a_disk_without_room_is_told(box: Box) -> None:
    (box.folder / "sys/class/block/sda").mkdir(parents=True)
    status, called, fault = box.start()
    assert (status, fault) == (1, "BOX-001")
    assert called == ["systemd-repart"]


@pytest.fixture
def sealed(box: Box) -> Box:
    """Its TPM has a key, a person a recovery key, and the one beside the loader is still there."""
    box.with_partition(b"LUKS")
    (box.dev / "tpmrm0").touch()
    (box.efi / "data.key").write_bytes(b"k")
    for name, content in (("tokens", "0: systemd-tpm2\n1: systemd-recovery\n"), ("tpm", "0"), ("remove", "0")):
        (box.boot / name).write_text(content)
    return box


@pytest.mark.parametrize("remove", ["0", "2"])
def test_the_key_beside_the_loader_goes_at_the_start_that_the_tpm_opened(sealed: Box, remove: str) -> None:
    (sealed.boot / "remove").write_text(remove)  # 2: the power was cut when it was out of the header
    status, called, fault = sealed.start()
    assert (status, fault) == (0, "")
    assert called.index("systemd-cryptsetup") < called.index("cryptsetup luksRemoveKey") < called.index("shred")
    assert not (sealed.efi / "data.key").exists()


@pytest.mark.parametrize("why", ["refused", "not shown", "header"])
def test_else_it_stays(sealed: Box, why: str) -> None:
    if why == "refused":
        (sealed.boot / "tpm").write_text("1")
    elif why == "not shown":
        (sealed.boot / "tokens").write_text("0: systemd-tpm2\n")
    else:
        (sealed.boot / "remove").write_text("1")
    status, called, fault = sealed.start()
    assert (status, fault) == (0, "")
    assert ("cryptsetup open" in called) == (why == "refused"), "the key beside the loader opens it where the TPM does not"
    assert ("cryptsetup luksRemoveKey" in called) == (why == "header")
    assert (sealed.efi / "data.key").exists()


def test_a_sealed_box_whose_tpm_refuses_is_told_and_nothing_is_formatted(sealed: Box) -> None:
    (sealed.efi / "data.key").unlink()
    (sealed.boot / "tpm").write_text("1")
    (sealed.boot / "open").write_text("1")
    status, called, fault = sealed.start()
    assert (status, fault) == (1, "BOX-005")
    assert not set(MAKING) & set(called)


def test_an_order_to_erase_comes_before_anything_is_opened(box: Box) -> None:
    box.with_partition(b"LUKS")
    (box.efi / "data.key").write_bytes(b"old")
    (box.efi / "erase").touch()
    status, called, fault = box.start()
    assert (status, fault) == (0, "")
    order = [each for each in called if each in ("erase-data", *MAKING, "cryptsetup open")]
    assert order == ["erase-data", "cryptsetup luksFormat", "cryptsetup open", "mkfs.ext4"]
    assert (box.efi / "data.key").read_bytes() != b"old"
