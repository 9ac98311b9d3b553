"""Stage 3: what one slot holds: root file system, hash tree, and the small FAT partition with its two kernel files."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from pathlib import Path

from coronet_image.initrd import kernel_version, make_initrd
from coronet_image.layout import MIB, NAMESPACE, Verity, command_line, partitions
from coronet_image.run import BuildError, Places, run, sha256

STUB = Path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")


LEVEL = "3"
"""zstd: level 15 takes a tenth of the room and eight times the processor time."""
BLOCK_BYTES = "65536"
"""A file that is read brings its own blocks and no others: of whole fragments of 256 KiB, which hold many small files (a start reads some
thousand modules), each would be read, checked against the hash tree and unpacked again and again. Costs a twelfth more room."""


def make_slot(places: Places, *, extra: str = "", key: Path | None = None, certificate: Path | None = None) -> dict[str, object]:
    """Pack the root; returns what ``slot.json`` says of it. ``extra``: further words of the kernel's command line (tests)."""
    folder = places.slot
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make_initrd(places)
    kernel = places.root / f"boot/vmlinuz-{kernel_version(places.root)}"
    kept = places.out / "vmlinuz"
    shutil.copy(kernel, kept)
    root = pack_root(places, folder / "root.squashfs")
    verity = hash_tree(root, folder / "root.verity")
    files = kernel_files(places, verity, extra=extra, key=key, certificate=certificate)
    boot = boot_partition(places, files, folder / "boot.vfat")
    release = (places.root / "usr/lib/os-release").read_text("utf-8")
    version = re.search(r'IMAGE_VERSION="([^"]*)"', release)
    told = {
        "version": version[1] if version else "",
        "compatible": "coronet-x86-64-v1",
        "roothash": verity.root_hash,
        "data_blocks": verity.data_blocks,
        "salt": verity.salt,
        "signed": bool(key),
        "files": {one.name: {"bytes": one.stat().st_size, "sha256": sha256(one)} for one in (root, folder / "root.verity", boot)},
    }
    for name, label in (("root.squashfs", "coronet-root-a"), ("root.verity", "coronet-verity-a"), ("boot.vfat", "coronet-boot-a")):
        check_fits(folder / name, label)
    (folder / "slot.json").write_text(json.dumps(told, indent=1) + "\n", "ascii")
    return told


def kernel_files(
    places: Places, verity: Verity, *, extra: str = "", key: Path | None = None, certificate: Path | None = None
) -> list[Path]:
    """The two kernel files of a root, for slot A and slot B, signed where a key is given."""
    kept, initrd, files = places.out / "vmlinuz", places.out / "initrd.zst", []
    for slot in "AB":
        target = places.out / f"coronet-{slot.lower()}.efi"
        kernel_file(places, kernel=kept, initrd=initrd, words=command_line(verity, slot=slot, extra=extra), target=target)
        if key and certificate:
            run("sbsign", "--key", key, "--cert", certificate, "--output", target, target)
        files.append(target)
    return files


def check_fits(file: Path, label: str) -> None:
    """Refuse a file that is larger than its partition.

    Raises:
        BuildError: it is.
    """
    room = next(one.mib for one in partitions() if one.label == label) * MIB
    if file.stat().st_size > room:
        raise BuildError(f"{file.name} has {file.stat().st_size} bytes, the partition {label} {room}")


def pack_root(places: Places, target: Path) -> Path:
    """A squashfs of the root, in the order of names, every time that of the build, padded to whole blocks of the hash tree."""
    left_out = places.out / "left-out"
    left_out.write_text("boot/vmlinuz*\nvmlinuz\nvmlinuz.old\ninitrd.img\ninitrd.img.old\n", "ascii")
    epoch = str(places.epoch)
    options = [
        "-noappend",
        "-quiet",
        "-no-progress",
        "-comp",
        "zstd",
        "-Xcompression-level",
        LEVEL,
        "-b",
        BLOCK_BYTES,
        "-no-fragments",
        "-no-xattrs",
        "-reproducible",
    ]
    times = ["-mkfs-time", epoch, "-all-time", epoch]
    environment = {name: value for name, value in places.environment().items() if name != "SOURCE_DATE_EPOCH"}
    run("mksquashfs", places.root, target, *options, *times, "-wildcards", "-ef", left_out, env=environment)
    size = target.stat().st_size
    os.truncate(target, -(-size // 4096) * 4096)
    return target


def hash_tree(root: Path, target: Path) -> Verity:
    """The hash tree of a file; salt and identifier follow from its content."""
    digest = sha256(root)
    target.unlink(missing_ok=True)
    known = ["--salt", digest, "--uuid", str(uuid.uuid5(NAMESPACE, digest)), "--hash", "sha256"]
    said = run("veritysetup", "format", *known, root, target)
    found = re.search(r"Root hash:\s+([0-9a-f]{64})", said)
    if not found:
        raise BuildError(f"veritysetup gave no root hash: {said}")
    return Verity(data_blocks=root.stat().st_size // 4096, root_hash=found[1], salt=digest)


def kernel_file(places: Places, *, kernel: Path, initrd: Path, words: str, target: Path) -> None:
    """Kernel, initrd and command line in one UEFI program, so that one signature covers all of it."""
    line, release = places.out / "cmdline", places.root / "usr/lib/os-release"
    line.write_text(words + "\n\0", "ascii")
    parts = ((".osrel", release, 0x20000), (".cmdline", line, 0x30000), (".linux", kernel, 0x2000000), (".initrd", initrd, 0x4000000))
    words_of = [word for name, file, at in parts for word in ("--add-section", f"{name}={file}", "--change-section-vma", f"{name}={at:#x}")]
    run("objcopy", *words_of, STUB, target, env=places.environment())
    _date(target, places.epoch)


def _date(program: Path, epoch: int) -> None:
    """Give a UEFI program the time of the build: objcopy writes its own into the header (PE format, 3.3 and 3.4), and a sum over the file.

    The sum becomes zero, which is none; firmware does not ask for it, and sbsign makes it anew.
    """
    with program.open("r+b") as file:
        file.seek(0x3C)
        header = int.from_bytes(file.read(4), "little")
        for at, value in ((header + 8, epoch), (header + 88, 0)):
            file.seek(at)
            file.write(value.to_bytes(4, "little"))


def fat(places: Places, target: Path, *, mib: int, label: str, files: dict[str, Path]) -> Path:
    """A FAT file system with these files, without mounting anything."""
    target.unlink(missing_ok=True)
    target.touch()
    os.truncate(target, mib * MIB)
    number = f"{uuid.uuid5(NAMESPACE, label).int & 0xFFFFFFFF:08x}"
    run("mkfs.vfat", "--invariant", "-F", "32", "-i", number, "-n", label, target)
    environment = places.environment() | {"MTOOLS_SKIP_CHECK": "1"}
    folders: list[str] = []
    for name, file in sorted(files.items()):
        parent = ""
        for part in name.split("/")[:-1]:
            parent = f"{parent}/{part}"
            if parent not in folders:
                run("mmd", "-i", target, f"::{parent}", env=environment)
                folders.append(parent)
        os.utime(file, (places.epoch, places.epoch))
        run("mcopy", "-m", "-i", target, file, f"::/{name}", env=environment)
    return target


def boot_partition(places: Places, files: list[Path], target: Path) -> Path:
    """The slot's own FAT partition; as large as its files and a little more, so that an update carries no empty space."""
    mib = max(40, sum(one.stat().st_size for one in files) // MIB + 4)
    return fat(places, target, mib=mib, label="CORONETBOOT", files={one.name: one for one in files})


def with_more_words(places: Places, extra: str, target: Path) -> Path:
    """The boot partition of a finished slot with further words on the kernel's command line; root and hash tree are not touched (tests)."""
    told = json.loads((places.slot / "slot.json").read_text("ascii"))
    verity = Verity(data_blocks=told["data_blocks"], root_hash=told["roothash"], salt=told["salt"])
    return boot_partition(places, kernel_files(places, verity, extra=extra), target)
