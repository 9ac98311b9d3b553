"""The disk: which partitions it has, how large they are, and what the loader and the first steps of booting are told. Pure arithmetic."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

MIB = 1 << 20
SECTOR = 512
FIRST_MIB = 1
NAMESPACE = uuid.UUID("6f1c1f0e-8a51-4a2c-9d51-0c7e0f1d2a77")
"""Every identifier of the image is derived from this and a name, so that two builds agree."""

# Types of the UEFI partition table; the boot partitions are plain FAT and are mounted by nobody.
ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
BASIC_DATA = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
ROOT_X86_64 = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
ROOT_VERITY_X86_64 = "2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5"


@dataclass(frozen=True)
class Partition:
    """One partition: its label in the table, its type and its size in MiB."""

    label: str
    type: str
    mib: int

    @property
    def uuid(self) -> str:
        """The partition's own identifier, the same in every build."""
        return str(uuid.uuid5(NAMESPACE, self.label)).upper()


def partitions() -> tuple[Partition, ...]:
    """In the order of the table; the loader counts on it (ESP 1, A 2 to 4, B 5 to 7). The data partition is made at the first start."""
    slots = [
        Partition(f"coronet-{name}-{slot}", kind, mib)
        for slot in ("a", "b")
        for name, kind, mib in (("boot", BASIC_DATA, 160), ("root", ROOT_X86_64, 1536), ("verity", ROOT_VERITY_X86_64, 16))
    ]
    return (Partition("coronet-esp", ESP, 64), *slots)


def start_mib(label: str) -> int:
    """Where a partition begins.

    Raises:
        KeyError: there is none of that label.
    """
    at = FIRST_MIB
    for partition in partitions():
        if partition.label == label:
            return at
        at += partition.mib
    raise KeyError(label)


def disk_mib() -> int:
    """The whole image: the partitions and one MiB for the second copy of the table."""
    return FIRST_MIB + sum(partition.mib for partition in partitions()) + 1


def sfdisk_script() -> str:
    """What `sfdisk` is told."""
    per_mib = MIB // SECTOR
    lines = ["label: gpt", f"label-id: {str(uuid.uuid5(NAMESPACE, 'disk')).upper()}", f"first-lba: {FIRST_MIB * per_mib}"]
    lines += [
        f"start={start_mib(one.label) * per_mib}, size={one.mib * per_mib}, type={one.type}, uuid={one.uuid}, name={one.label}"
        for one in partitions()
    ]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Verity:
    """A hash tree over the root file system, in the words of the kernel's dm-verity (SHA-256, blocks of 4096 bytes)."""

    data_blocks: int
    root_hash: str
    salt: str

    def table(self) -> str:
        """The device-mapper line without its two devices (``DATA`` and ``HASH``); damage starts the machine again, the loader counts."""
        return (
            f"0 {self.data_blocks * 8} verity 1 DATA HASH 4096 4096 {self.data_blocks} 1 sha256 "
            f"{self.root_hash} {self.salt} 1 restart_on_corruption"
        )


def command_line(verity: Verity, *, slot: str, extra: str = "") -> str:
    """The kernel's command line of one slot (``A`` or ``B``).

    It is inside the signed kernel file, so the root hash is as trustworthy as the signature.
    """
    fields = ":".join((str(verity.data_blocks), verity.root_hash, verity.salt))
    # No console on a serial line: panels are plugged in there. tsc and numa leave the kernel's own choices alone.
    words = f"ro quiet loglevel=3 console=tty0 panic=10 systemd.gpt_auto=0 rauc.slot={slot} coronet.verity={fields}"
    return f"{words} {extra}".rstrip()
