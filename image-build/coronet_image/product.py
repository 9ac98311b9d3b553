"""Stage 2: our own files over Debian's: packages, units, rules, settings; then everything that differs from build to build goes."""

from __future__ import annotations

import compileall
import os
import shutil
from pathlib import Path
from py_compile import PycInvalidationMode

from coronet_image import sbom, wheels
from coronet_image.run import BuildError, Places, run

SITE = "opt/coronet/venv/lib/python3.11/site-packages"
ENABLED = (
    "coronet.target",
    "coronet-data.service",
    "data.mount",
    "etc-coronet.mount",
    "var-log.mount",
    "var-cache.mount",
    "var-lib-rauc.mount",
    "var-lib-systemd.mount",
    "coronet-site.service",
    "coronet-key.socket",
    "seatd.service",
    "systemd-networkd.service",
    "systemd-timesyncd.service",
    "systemd-resolved.service",
)
MASKED = (
    "rauc-mark-good.service",  # coronet-trial.service proves a slot first
    "nut-monitor.service",  # the box follows the UPS itself
    "nut-driver-enumerator.path",  # which UPS there is, the site says (coronet.toml)
    "nut-driver-enumerator.service",
    "nut-driver.target",
    "dpkg-db-backup.timer",
    "systemd-user-sessions.service",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-binfmt.service",
    "systemd-machine-id-commit.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-pcrphase.service",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",  # the kiosk has the screen, and there is nobody who could log in
    "systemd-firstboot.service",
    "systemd-sysusers.service",  # done below
    "ldconfig.service",
    "systemd-networkd-wait-online.service",  # the box comes up without a network too
    # what nothing here uses, and each costs a start some time
    "systemd-repart.service",  # ours is called by open-data
    "systemd-fsckd.socket",
    "systemd-network-generator.service",
    "systemd-initctl.socket",
    "proc-sys-fs-binfmt_misc.automount",
    "dev-hugepages.mount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "modprobe@drm.service",  # udev loads the screen's driver, and what it needs
)
GENERATORS = (
    "cryptsetup",
    "getty",
    "gpt-auto",
    "hibernate-resume",
    "integritysetup",
    "rc-local",
    "run",
    "system-update",
    "sysv",
    "veritysetup",
)
"""Of systemd, each run at every start: our units stand in the root, so they would find nothing, or (gpt-auto) mount what we mount."""
EMPTIED = ("var/log", "var/cache", "var/lib/apt/lists", "var/lib/systemd", "tmp", "run", "root", "usr/share/man")
GONE = (
    "etc/machine-id",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/ssh",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/triggers/Lock",
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/.pwd.lock",
    "etc/subuid-",
    "etc/subgid-",
    "usr/share/doc/coronet-build.log",
)


def make_root(places: Places, base: Path, *, keyring: Path | None = None) -> Path:
    """The whole root file system as a folder. ``keyring``: the certificates that updates are checked against."""
    root = places.root
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    run("tar", "-C", root, "-xpf", base, "--numeric-owner", "--exclude=./dev/*")
    source = checkout(places)
    _python(places, root, source)
    _box_files(root, source)
    if keyring:
        _put(keyring, root / "usr/lib/coronet/keyring.pem")
    _system(root)
    kernels(places, root)
    _clean(root)
    return root


def checkout(places: Places) -> Path:
    """The last commit as a folder: what is not committed is not in an image."""
    target = places.out / "source"
    shutil.rmtree(target, ignore_errors=True)
    archive = places.out / "source.tar"
    run("git", "-C", places.repo, "archive", "--format=tar", "-o", archive, "HEAD")
    target.mkdir()
    run("tar", "-C", target, "-xf", archive)
    archive.unlink()
    return target


def _python(places: Places, root: Path, source: Path) -> None:
    site = root / SITE
    lock = wheels.product_lock((source / "requirements.lock").read_text("utf-8"), (source / "pyproject.toml").read_text("utf-8"))
    wheels.install(wheels.fetch(places, lock), lock, site)
    for package in ("appliance", "kiosk", "models"):
        shutil.copytree(source / package, site / package, dirs_exist_ok=True)
    (site / "appliance/COMMIT").write_text(run("git", "-C", places.repo, "rev-parse", "HEAD"), "ascii")
    for folder in [one for one in site.rglob("*") if one.is_dir() and one.name in ("__pycache__", "tests", "test", "bin", "share")]:
        if folder.name == "__pycache__" or _is_a_test_folder(folder, site):
            shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(site / "bin", ignore_errors=True)  # scripts that name the interpreter of the machine that built
    venv = root / "opt/coronet/venv"
    (venv / "bin").mkdir(parents=True, exist_ok=True)
    for name in ("python", "python3", "python3.11"):
        (venv / "bin" / name).symlink_to("/usr/bin/python3.11")
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n", "ascii")
    tool = root / "usr/bin/appliance"
    tool.write_text('#!/bin/sh\nexec /opt/coronet/venv/bin/python -m appliance "$@"\n', "ascii")
    tool.chmod(0o755)


def kernels(places: Places, root: Path) -> None:
    """The numeric kernels compiled ahead, for the processor that the units name (NUMBA_CPU_NAME in 20-kernels.conf), not for this one.

    Numba knows its work by path, size and time of the module, so every module gets the time that the packed file system will give it.
    `lay-kernels` copies it to where the services, which can write there, look for it. Two builds give the same code: hashes and addresses
    are those of every run, and where memory happens to lie is kept out of it (`alike.py`).
    """
    for module in (root / SITE / "appliance").rglob("*.py"):
        os.utime(module, (places.epoch, places.epoch))
    dropin = (root / "usr/lib/systemd/system/coronet-analyst.service.d/20-kernels.conf").read_text("ascii")
    program = Path(__file__).with_name("alike.py").read_text("utf-8")
    cache = root / "usr/share/coronet/numba"
    shutil.rmtree(cache, ignore_errors=True)
    words = ["/opt/coronet/venv/bin/python", "-B", "-c", program]
    fixed = ["NUMBA_CACHE_DIR=/usr/share/coronet/numba", "NUMBA_NUM_THREADS=2", "PYTHONHASHSEED=0"]
    run("setarch", "--addr-no-randomize", "chroot", root, "/usr/bin/env", *fixed, *processor(dropin), *words)
    if not list(cache.rglob("*.nbc")):
        raise BuildError("no kernel was compiled")
    shutil.copy(root / SITE / "appliance/COMMIT", cache / "stamp")


def processor(dropin: str) -> list[str]:
    """What a unit's drop-in sets in the environment, NAME=VALUE each: the processor to compile for."""
    return [word for line in dropin.splitlines() if line.startswith("Environment=") for word in line.removeprefix("Environment=").split()]


def epoch_of(root: Path) -> int:
    """The time that a finished root was made for."""
    return int((root / SITE / "appliance/__init__.py").stat().st_mtime)


def _is_a_test_folder(folder: Path, site: Path) -> bool:
    """Tests of the libraries; numpy.testing and the like are modules, not these."""
    return folder.name in ("tests", "test") and folder.relative_to(site).parts[0] in ("numpy", "scipy", "numba", "kivy", "pydicom")


def _box_files(root: Path, source: Path) -> None:
    """Units and rules as they lie in the repository, the box's own scripts, and what the updates bring."""
    system = root / "usr/lib/systemd/system"
    for unit in sorted((source / "systemd/system").iterdir()):
        shutil.copy(unit, system / unit.name)
    for folder in ("sysusers.d", "tmpfiles.d", "sysctl.d", "modules-load.d"):
        for file in sorted((source / "systemd" / folder).iterdir()):
            _put(file, root / "usr/lib" / folder / file.name)
    _put(source / "systemd/journald.conf.d/coronet.conf", root / "usr/lib/systemd/journald.conf.d/coronet.conf")
    _put(source / "firmware-config/udev/60-coronet.rules", root / "usr/lib/udev/rules.d/60-coronet.rules")
    share = root / "opt/coronet/share"
    shutil.copytree(source / "firmware-config", share, dirs_exist_ok=True)
    _put(source / "LICENSE", share / "LICENSE")
    for tree in (source / "image-build/root", source / "image-build/updates/root"):
        if tree.is_dir():
            shutil.copytree(tree, root, dirs_exist_ok=True, symlinks=True)


def _put(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


def _system(root: Path) -> None:
    """Users, what starts by itself, who this system says it is."""
    run("systemd-sysusers", f"--root={root}")
    for name in GONE:
        (root / name).unlink(missing_ok=True)
    (root / "etc/machine-id").write_bytes(b"")
    (root / "etc/hostname").write_text("coronet\n", "ascii")
    (root / "etc/hosts").write_text("127.0.0.1 localhost coronet\n::1 localhost coronet\n", "ascii")
    (root / "etc/resolv.conf").symlink_to("/run/systemd/resolve/stub-resolv.conf")
    run("systemctl", f"--root={root}", "enable", *ENABLED)
    run("systemctl", f"--root={root}", "mask", *MASKED)
    run("systemctl", f"--root={root}", "set-default", "multi-user.target")
    (root / "etc/systemd/system-generators").mkdir(parents=True, exist_ok=True)
    for name in GENERATORS:  # systemd.generator(7): a link to /dev/null masks one
        (root / f"etc/systemd/system-generators/systemd-{name}-generator").symlink_to("/dev/null")
    for folder in ("data", "efi"):
        (root / folder).mkdir(exist_ok=True)
    version = image_version(root)
    release = (root / "usr/lib/os-release").read_text("utf-8")
    (root / "usr/lib/os-release").write_text(f'{release}IMAGE_ID=coronet\nIMAGE_VERSION="{version}"\n', "utf-8")
    _version_file(root, version)
    components = sbom.write(
        root, root / SITE, root / "opt/coronet/share", version=version, commit=(root / SITE / "appliance/COMMIT").read_text("ascii")
    )
    if found := sbom.copyleft(components):
        raise BuildError(f"under a copyleft licence and not declared in sbom.py: {', '.join(one.name for one in found)}")


def image_version(root: Path) -> str:
    """Version of the product."""
    text = (root / SITE / "appliance/__init__.py").read_text("utf-8")
    return text.split('__version__ = "')[1].split('"')[0]


def _version_file(root: Path, version: str) -> None:
    file = root / "usr/lib/coronet/version"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{version}\n", "ascii")


def _clean(root: Path) -> None:
    """What one build leaves and another does not: logs, caches, keys, seeds."""
    for name in EMPTIED:
        folder = root / name
        if folder.is_symlink() or not folder.is_dir():
            continue
        for child in folder.iterdir():
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            else:
                child.unlink()
    for folder in list(root.rglob("__pycache__")):
        shutil.rmtree(folder)
    _compile(root)
    for leftover in (root / "boot").iterdir():
        if leftover.name.startswith(("initrd", "config", "System.map")):
            leftover.unlink()


def _compile(root: Path) -> None:
    """Byte code of every module, Python's own too: the root cannot be written, so what is not compiled here is compiled at each start."""
    for folder in (root / SITE, root / "usr/lib/python3.11"):
        compileall.compile_dir(folder, quiet=2, stripdir=str(root), prependdir="/", invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
