"""Stage 4: the whole disk: partition table, loader, slot A filled, slot B empty."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

from coronet_image.layout import MIB, disk_mib, partitions, sfdisk_script, start_mib
from coronet_image.run import Places, run
from coronet_image.slot import fat

MODULES = (
    "part_gpt",
    "fat",
    "loadenv",
    "test",
    "regexp",
    "echo",
    "chain",
    "configfile",
    "normal",
    "tar",
    "memdisk",
    "reboot",
    "sleep",
    "halt",
    "true",
)
ENVIRONMENT_BYTES = 1024
FIRST_STATE = {"ORDER": "A B", "A_OK": "1", "B_OK": "0", "A_TRY": "0", "B_TRY": "0"}


def environment_block(state: dict[str, str]) -> bytes:
    """A GRUB environment block of 1024 bytes.

    Raises:
        ValueError: the state does not fit into the first sector, which is what makes writing it atomic.
    """
    text = "# GRUB Environment Block\n" + "".join(f"{name}={value}\n" for name, value in state.items())
    if len(text) > 512:
        raise ValueError("the boot state must fit into one sector")
    return text.encode("ascii").ljust(ENVIRONMENT_BYTES, b"#")


def loader(places: Places) -> Path:
    """GRUB as one UEFI program with its configuration inside; it has no menu and no prompt."""
    folder = places.out / "loader"
    folder.mkdir(parents=True, exist_ok=True)
    config, packed, target = places.repo / "image-build/loader/grub.cfg", folder / "memdisk.tar", places.out / "grubx64.efi"
    with tarfile.open(packed, "w", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo("boot/grub/grub.cfg")  # where GRUB looks in its memory disk
        entry.size, entry.mtime = config.stat().st_size, places.epoch
        with config.open("rb") as file:
            tar.addfile(entry, file)
    words: list[str | Path] = ["-O", "x86_64-efi", "-o", target, "-p", "/boot/grub", "-m", packed, "--disable-shim-lock"]
    run("grub-mkimage", *words, "--sbat", places.repo / "image-build/loader/sbat.csv", *MODULES, env=places.environment())
    return target


def esp(places: Places, grub: Path, target: Path) -> Path:
    """The partition that the firmware reads: the loader and the boot state, nothing else."""
    state = places.out / "loader/grubenv"
    state.write_bytes(environment_block(FIRST_STATE))
    mib = next(one.mib for one in partitions() if one.label == "coronet-esp")
    files = {"EFI/BOOT/BOOTX64.EFI": grub, "coronet/grubenv": state}
    return fat(places, target, mib=mib, label="CORONET-ESP", files=files)


def make_disk(places: Places, *, grub: Path, target: Path) -> Path:
    """Write the image: sparse, so that what is empty takes no room."""
    unfinished = target.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch()
    os.truncate(unfinished, disk_mib() * MIB)
    run("sfdisk", "-q", unfinished, stdin=sfdisk_script(), env=places.environment())
    contents = {
        "coronet-esp": esp(places, grub, places.out / "esp.vfat"),
        "coronet-boot-a": places.slot / "boot.vfat",
        "coronet-root-a": places.slot / "root.squashfs",
        "coronet-verity-a": places.slot / "root.verity",
    }
    for label, file in contents.items():
        run("dd", f"if={file}", f"of={unfinished}", "bs=1M", f"seek={start_mib(label)}", "conv=notrunc,sparse", "status=none")
    shutil.move(unfinished, target)
    return target


def written_mib(image: Path) -> float:
    """How much of the image is not empty, in MiB."""
    return image.stat().st_blocks * 512 / MIB
