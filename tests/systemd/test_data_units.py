"""The data partition's folders and the site's settings, laid over the root by our units under a real systemd, with all that they forbid.

Opening the partition itself needs a device mapper, which test machines lack: ``tests/image`` does it in emulation. What `open-data` calls
besides is tried here within its unit's limits, on loop devices.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.real import REPOSITORY, systemd

BOX = REPOSITORY / "image-build/root/usr/lib"
LAID = {
    "etc-coronet.mount": "/etc/coronet",
    "var-log.mount": "/var/log",
    "var-cache.mount": "/var/cache",
    "var-lib-rauc.mount": "/var/lib/rauc",
}
LAID |= {"var-lib-systemd.mount": "/var/lib/systemd", "var-lib-coronet.mount": "/var/lib/coronet"}


def image_unit(name: str) -> str:
    return (BOX / "systemd/system" / name).read_text("utf-8")


def box_units() -> dict[str, str]:
    """As they are in the image, but /data is memory that is mounted already, and output goes to files (there is no journal)."""
    units = {name: image_unit(name) for name in LAID if (BOX / "systemd/system" / name).is_file()}
    units["var-lib-coronet.mount"] = (REPOSITORY / "systemd/system/var-lib-coronet.mount").read_text("utf-8")
    units["var-lib-coronet.mount.d/image.conf"] = image_unit("var-lib-coronet.mount.d/image.conf")
    for name in ("coronet-folders", "coronet-site"):
        units[f"{name}.service"] = image_unit(f"{name}.service")
        units[f"{name}.service.d/log.conf"] = f"[Service]\nStandardOutput=append:/run/{name}.log\nStandardError=append:/run/{name}.log\n"
    units["data.mount"] = "[Unit]\nDefaultDependencies=no\n[Mount]\nWhat=tmpfs\nWhere=/data\nType=tmpfs\n"
    stand_in = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep infinity\n"
    units |= {"nut-server.service": stand_in, "nut-driver@.service": stand_in}
    wanted = " ".join([*LAID, "coronet-site.service", "nut-server.service"])
    units["all.target"] = f"[Unit]\nDefaultDependencies=no\nWants={wanted}\n"
    return units


def over(settings: str | None) -> dict[str, str]:
    """Files that the image has and a test machine lacks."""
    files = {f"usr/lib/coronet/{name}": (BOX / "coronet" / name).read_text("utf-8") for name in ("data-folders.conf", "apply-site")}
    files["usr/lib/coronet/version"] = "1.0\n"
    files["usr/bin/appliance"] = '#!/bin/sh\ncd /opt/coronet/source\nexec /opt/coronet/venv/bin/python -m appliance "$@"\n'
    if settings is not None:
        files["data/etc/coronet.toml"] = settings
    return files


SETTINGS = '[network]\nhostname = "coronet-ct2"\nallowed = ["192.0.2.0/28"]\n[ups]\nname = "ups"\ndriver = "usbhid-ups"\n'


def test_folders_are_laid_over_the_root_and_the_site_is_applied(tmp_path: Path) -> None:
    with systemd(tmp_path, units=box_units(), over=over(SETTINGS)) as box:
        box.until("systemctl is-active coronet-site.service", "active")
        for unit, place in LAID.items():
            assert box.ask(f"systemctl is-active {unit}") == "active"
            options = box.ask(f"findmnt -nro OPTIONS {place}").split(",")
            assert {"nodev", "nosuid", "noexec"} <= set(options), place
        owners = box.ask("stat -c '%n %a %U %G' /data /data/coronet /data/etc /data/etc/coronet.toml /var/lib/coronet").splitlines()
        assert owners == [
            "/data 700 root root",
            "/data/coronet 700 coronet coronet",
            "/data/etc 750 root coronet",
            "/data/etc/coronet.toml 644 root coronet",
            "/var/lib/coronet 700 coronet coronet",
        ]
        # services that are not root read these
        for path in ("network/20-coronet.network", "system/coronet.service.d/peers.conf"):
            assert box.ask(f"stat -c %a /etc/systemd/{path}") == "644", path
        assert box.ask("grep -c KIOSK_OPTIONS /etc/coronet/kiosk.env") == "1"
        # asked for by a file that was not there when the start began
        box.until("systemctl is-active nut-driver@ups.service", "active")
        # a file that cannot be used changes nothing
        kept = box.ask("find /data/system/etc -type f -exec sha256sum {} + | sort")
        box.ask("echo 'network.hostname = \"no name\"' >/data/etc/coronet.toml; systemctl restart coronet-site")
        assert "the former ones stay" in box.ask("cat /run/coronet-site.log")
        assert box.ask("find /data/system/etc -type f -exec sha256sum {} + | sort") == kept
        # a box that was reset has nothing of a former site
        box.ask("rm /data/etc/coronet.toml; systemctl restart coronet-site")
        assert box.ask("ls -A /data/system /data/etc") == "/data/etc:\n\n/data/system:"


def test_without_the_data_partition_the_screen_still_comes_up(tmp_path: Path) -> None:
    units = box_units()
    units["data.mount"] = image_unit("data.mount").replace("What=/dev/mapper/coronet-data", "What=/run/not-there")
    units["coronet-data.service"] = "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/false\n"
    units["coronet-kiosk.service"] = (REPOSITORY / "systemd/system/coronet-kiosk.service").read_text("utf-8")
    units["coronet-kiosk.service.d/test.conf"] = "[Service]\nType=exec\nExecStart=\nExecStart=/bin/sleep infinity\n"
    units["coronet-screen.slice"] = "[Slice]\n"
    units["all.target"] += "Wants=coronet-kiosk.service\n"
    with systemd(tmp_path, units=units, over=over(None)) as box:
        box.until("systemctl is-active coronet-kiosk.service", "active")
        for unit in LAID:
            assert box.ask(f"systemctl is-active {unit}") != "active"


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[list[str]]:
    """Two loop devices: one that is empty, one with a partition table and room behind it."""
    found: list[str] = []
    for name, size in (("empty", 64 << 20), ("disk", 9 << 30)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    subprocess.run(["sfdisk", "-q", str(tmp_path / "disk")], input="label: gpt\nsize=8M\n", text=True, check=True)
    try:
        for name in ("empty", "disk"):
            done = subprocess.run(["losetup", "-f", "--show", str(tmp_path / name)], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip("loop devices are needed")
            found.append(done.stdout.strip())
        yield found
    finally:
        for device in found:
            subprocess.run(["losetup", "-d", device], check=False)


TRY = """#!/bin/sh
set -eux
cd /run/coronet-boot
head -c 64 /dev/urandom >key
format="cryptsetup luksFormat --batch-mode --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000"
$format --key-file key --label coronet-crypt EMPTY
cryptsetup isLuks EMPTY
cryptsetup open --test-passphrase --key-file key EMPTY
systemd-repart --dry-run=no --no-legend --definitions=/usr/lib/coronet/repart.d DISK
mkfs.ext4 -q -F -L coronet-data EMPTY
blkid -p EMPTY
e2fsck -p EMPTY
sync -f .
"""


def test_what_makes_the_partition_works_within_the_units_limits(tmp_path: Path, disks: list[str]) -> None:
    folder = tmp_path / "systemd"
    folder.mkdir()
    log = "[Service]\nStandardOutput=append:/run/data.log\nStandardError=append:/run/data.log\nReadWritePaths=-/efi/coronet\n"
    unit = image_unit("coronet-data.service").replace("efi.mount ", "").replace("Requires=efi.mount\n", "").replace("/efi/coronet ", "")
    units = {"coronet-data.service": unit, "coronet-data.service.d/log.conf": log, "all.target": "[Unit]\nDefaultDependencies=no\n"}
    files = {
        "usr/lib/coronet/open-data": TRY.replace("EMPTY", disks[0]).replace("DISK", disks[1]),
        "usr/lib/coronet/repart.d/50-data.conf": (BOX / "coronet/repart.d/50-data.conf").read_text("utf-8"),
        "run/coronet-boot/disk": "",
    }
    with systemd(folder, units=units, over=files) as box:
        box.until("systemctl is-active all.target", "active")
        for device in disks:
            box.ask(f"mknod {device} b 7 {device.removeprefix('/dev/loop')}")
        box.ask("getent group tss || groupadd -r tss; systemctl start coronet-data")
        assert box.ask("systemctl is-active coronet-data") == "active", box.ask(
            "systemctl status --no-pager coronet-data; cat /run/data.log"
        )
    labels = subprocess.run(["sfdisk", "--part-label", disks[1], "1"], capture_output=True, text=True, check=True)
    assert labels.stdout.strip() == "coronet-data"
