"""Stage 3a: the first steps of booting. A shell, the device mapper, the modules of disks and file systems; nothing else."""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path

from coronet_image.run import BuildError, Places, run

AT_ONCE = ("squashfs", "overlay", "dm-verity", "sha256_ssse3", "sd_mod")
"""Loaded by name: file systems, the hash tree, disks behind a controller."""
MODULES = (
    *AT_ONCE,
    # controllers: SATA, NVMe, USB, virtual; loaded where the machine has one
    *(
        "dm_mod",
        "sha256_generic",
        "ahci",
        "ata_piix",
        "nvme",
        "virtio_blk",
        "virtio_scsi",
        "virtio_pci",
        "usb_storage",
        "uas",
        "xhci_pci",
        "ehci_pci",
        "mmc_block",
    ),
    *("sdhci_pci", "mpt3sas", "megaraid_sas"),
)
PROGRAMS = ("usr/sbin/dmsetup", "usr/bin/kmod", "usr/sbin/fsck.fat")
APPLETS = (
    "sh",
    "mount",
    "cat",
    "grep",
    "readlink",
    "dirname",
    "basename",
    "sleep",
    "ln",
    "mkdir",
    "echo",
    "sha256sum",
    "cut",
    "sort",
    "reboot",
    "switch_root",
)


def kernel_version(root: Path) -> str:
    """The one kernel of the root.

    Raises:
        BuildError: none, or more than one.
    """
    found = sorted(one.name for one in (root / "usr/lib/modules").iterdir())
    if len(found) != 1:
        raise BuildError(f"one kernel was expected, found {found}")
    return found[0]


def make_initrd(places: Places) -> Path:
    """Build it; the same root gives the same bytes."""
    root, tree = places.root, places.out / "initrd"
    shutil.rmtree(tree, ignore_errors=True)
    for folder in ("bin", "dev", "proc", "sys", "run", "new", "usr"):
        (tree / folder).mkdir(parents=True)
    version = kernel_version(root)
    run("chroot", root, "depmod", version)
    _copy_modules(root, tree, version)
    for program in PROGRAMS:
        _copy_program(root, tree, program)
    shutil.copy(root / "usr/bin/busybox", tree / "bin/busybox")
    for applet in APPLETS:
        (tree / "bin" / applet).symlink_to("busybox")
    (tree / "bin/dmsetup").symlink_to("/usr/sbin/dmsetup")
    (tree / "bin/fsck.fat").symlink_to("/usr/sbin/fsck.fat")
    (tree / "bin/modprobe").symlink_to("/usr/bin/kmod")
    (tree / "sbin").symlink_to("bin")
    (tree / "lib").symlink_to("usr/lib")
    (tree / "lib64").symlink_to("usr/lib64")
    shutil.copy(places.repo / "image-build/initrd/init", tree / "init")
    (tree / "modules").write_text("\n".join(AT_ONCE) + "\n", "ascii")
    target = places.out / "initrd.zst"
    target.write_bytes(_pack(tree, places))
    return target


def _copy_modules(root: Path, tree: Path, version: str) -> None:
    """The modules, what they need, and the tables by which modprobe finds them."""
    folder = root / "usr/lib/modules" / version
    needs = {}
    for line in (folder / "modules.dep").read_text("ascii").splitlines():
        module, _, others = line.partition(":")
        needs[module] = others.split()
    by_name = {_plain(Path(module).name.removesuffix(".ko")): module for module in needs}
    wanted: set[str] = set()
    for name in MODULES:
        if path := by_name.get(_plain(name)):
            wanted |= {path, *needs[path]}
    target = tree / "usr/lib/modules" / version
    for module in sorted(wanted):
        (target / module).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / module, target / module)
    for table in folder.glob("modules.*"):
        shutil.copy(table, target / table.name)
    run("depmod", "-b", tree / "usr", version)


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _copy_program(root: Path, tree: Path, program: str) -> None:
    """A program and the libraries that the loader would look for."""
    said = run("chroot", root, "/lib64/ld-linux-x86-64.so.2", "--list", f"/{program}")
    libraries = re.findall(r"(/[^ ]+\.so[^ ]*) \(", said)
    for name in [f"/{program}", *libraries, "/lib64/ld-linux-x86-64.so.2"]:
        source = Path(os.path.realpath(root / name.lstrip("/")))
        place = name.lstrip("/") if name.startswith("/usr") else f"usr/{name.lstrip('/')}"
        if not source.is_relative_to(root):  # an absolute link inside the root
            source = root / str(source).lstrip("/")
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tree / place)


def _pack(tree: Path, places: Places) -> bytes:
    """A newc archive, in the order of names, all times those of the build, then zstd."""
    names = sorted(str(one.relative_to(tree)) for one in tree.rglob("*"))
    for name in ["", *names]:
        path = tree / name
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        os.utime(path, (places.epoch, places.epoch), follow_symlinks=False)
    plain = places.out / "initrd.cpio"
    run("cpio", "--quiet", "--reproducible", "-H", "newc", "-o", "-R", "0:0", "-O", plain, stdin="\n".join(names) + "\n", cwd=tree)
    packed = places.out / "initrd.cpio.zst"
    run("zstd", "-q", "-f", "-10", "-T1", plain, "-o", packed)
    data = packed.read_bytes()
    plain.unlink()
    packed.unlink()
    return data
