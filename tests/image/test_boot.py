"""The image comes up by itself: receiver, screen, units, and what happens when its daemon freezes, its disk fills or its clock is lost.

Software emulation on two cores takes minutes for what a box does in seconds, so the waits are long; nothing here is judged by time.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE

from tests.image.machine import Machine, overlay
from tests.peers.datasets import ct_slice

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]

BOOT_SECONDS = float(os.environ.get("CORONET_BOOT_SECONDS", "1200"))
VERIFICATION = "1.2.840.10008.1.1"
REPO = Path(__file__).resolve().parents[2]


def echo(port: int) -> bool:
    """Whether the receiver answers a C-ECHO."""
    ae = AE(ae_title="CT1")
    ae.add_requested_context(VERIFICATION)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    association = ae.associate("127.0.0.1", port, ae_title="CORONET")
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return bool(status) and status.Status == 0


def wait_for_echo(machine: Machine, *, seconds: float = BOOT_SECONDS) -> float:
    """Seconds from power on to the first C-ECHO that was answered."""
    deadline = machine.started + seconds
    while time.monotonic() < deadline:
        if echo(machine.dicom_port):
            return time.monotonic() - machine.started
        assert machine.process is not None
        assert machine.process.poll() is None, "the emulator has ended"
        time.sleep(1)
    raise AssertionError(f"no C-ECHO within {seconds:.0f} s")


def image_to_send(series: str, index: int) -> Dataset:
    """A small CT image with the transfer syntax that pynetdicom asks for."""
    dataset = ct_slice(index=index, series_uid=series)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def store(port: int, *, series: str, images: int) -> list[int]:
    """Statuses of C-STOREs of a small series."""
    ae = AE(ae_title="CT1")
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 120
    association = ae.associate("127.0.0.1", port, ae_title="CORONET")
    assert association.is_established
    statuses = [int(association.send_c_store(image_to_send(series, index)).Status) for index in range(images)]
    association.release()
    return statuses


@pytest.fixture(scope="module")
def box(image: Path, tmp_path_factory: pytest.TempPathFactory, figures: dict[str, Any]) -> Iterator[Machine]:
    """One box, started once for all tests of this file; the first start also makes its data partition."""
    folder = tmp_path_factory.mktemp("box")
    with Machine(disk=overlay(image, folder / "disk.qcow2"), folder=folder) as machine:
        figures["first_boot_to_echo_s"] = round(wait_for_echo(machine), 1)
        machine.wait_for_shell(seconds=300)
        yield machine


def test_it_answers_an_echo_and_keeps_what_it_receives(box: Machine) -> None:
    assert store(box.dicom_port, series="1.2.826.0.1.3680043.10.1999.7", images=3) == [0, 0, 0]
    assert int(box.shell("find /var/lib/coronet/spool/[0-9a-f][0-9a-f] -type f | wc -l", seconds=300)) == 3


def test_the_kiosk_stands_on_the_screen(box: Machine, figures: dict[str, Any]) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while box.shell("systemctl is-active coronet-kiosk.service", seconds=300) != "active" and time.monotonic() < deadline:
        time.sleep(5)
    target = box.screenshot(REPO / "build/image/kiosk.png")
    with Image.open(target) as picture:
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 50, "a text console or an empty screen has only a few colours"
    figures["kiosk_colours"] = len(colours)


def test_the_root_cannot_be_written_and_is_verified(box: Machine) -> None:
    assert "Read-only" in box.shell("touch /usr/bin/x")
    assert re.search(r"verity .* V", box.shell("dmsetup status coronet-root"))
    assert "luks" in box.shell("cryptsetup status coronet-data").lower()
    assert box.shell("test -e /usr/bin/gcc -o -e /usr/bin/apt-get; echo $?") == "1"


def test_exposure_of_every_unit_inside_the_image(box: Machine, figures: dict[str, Any]) -> None:
    units = box.shell("cd /usr/lib/systemd/system && ls coronet*.service | grep -v @", seconds=300).split()
    for unit in units:
        told = box.shell(f"systemd-analyze security --no-pager {unit} | tail -1", seconds=300)
        level = re.search(r": ([0-9.]+) ", told)
        assert level, told
        figures[f"exposure_{unit}"] = float(level[1])


def test_every_unit_is_up(box: Machine) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while "starting" in (state := box.shell("systemctl is-system-running", seconds=300)) and time.monotonic() < deadline:
        time.sleep(5)
    failed = box.shell("systemctl --failed --no-legend --plain", seconds=300)
    told = box.shell("systemctl list-jobs --no-pager; journalctl -b -u coronet-analyst -u coronet-trial --no-pager -n 40", seconds=300)
    assert (state, failed) == ("running", ""), told
    for unit in ("coronet.service", "coronet-analyst.service", "coronet-kiosk.service"):
        assert box.shell(f"systemctl is-active {unit}", seconds=300) == "active", told


def test_the_watchdog_ends_a_frozen_daemon_and_it_comes_back(box: Machine) -> None:
    before = box.shell("systemctl show -P MainPID coronet.service")
    box.shell(f"kill -STOP {before}")
    deadline = time.monotonic() + BOOT_SECONDS
    while box.shell("systemctl show -P MainPID coronet.service", seconds=300) in (before, "0") and time.monotonic() < deadline:
        time.sleep(5)
    assert box.shell("systemctl show -P MainPID coronet.service", seconds=300) not in (before, "0")
    assert "watchdog" in box.shell("journalctl -b -u coronet.service --no-pager -o cat | grep -i watchdog", seconds=300).lower()
    start = time.monotonic()
    while not echo(box.dicom_port):
        assert time.monotonic() - start < BOOT_SECONDS
        time.sleep(1)


def test_a_full_disk_refuses_images_and_the_box_stays_up(box: Machine) -> None:
    box.shell("fallocate -l $(($(df -B1 --output=avail /data | tail -1) - 1000000000)) /data/ballast", seconds=300)
    try:
        assert store(box.dicom_port, series="1.2.826.0.1.3680043.10.1999.8", images=1) == [0xA700]
        assert echo(box.dicom_port)
    finally:
        box.shell("rm -f /data/ballast", seconds=300)


def test_a_lost_clock_does_not_keep_the_box_from_receiving(disk: Path, tmp_path: Path) -> None:
    with Machine(disk=disk, folder=tmp_path, clock="1970-01-01T00:00:10") as machine:
        wait_for_echo(machine)
        machine.wait_for_shell(seconds=300)
        assert store(machine.dicom_port, series="1.2.826.0.1.3680043.10.1999.9", images=2) == [0, 0]
        assert machine.shell("systemctl is-active coronet.service") == "active"


def test_image_size(image: Path, figures: dict[str, Any]) -> None:
    product = REPO / "build/image/coronet.img"
    mib = product.stat().st_blocks * 512 / (1 << 20)
    figures["image_mib"] = round(mib, 1)
    figures["disk_mib"] = product.stat().st_size >> 20
    assert mib < 2048
    assert subprocess.run(["sfdisk", "--verify", "-q", str(product)], check=False, capture_output=True).returncode == 0
