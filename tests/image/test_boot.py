"""The image comes up by itself: receiver, screen, units, and what happens when its daemon freezes or its disk fills.

Software emulation on two cores takes minutes for what a box does in seconds, so the waits are long; nothing here is judged by time.
"""

from __future__ import annotations

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

from tests.image.machine import Machine
from tests.image.starting import PATIENCE_S, SHELL_S, echo, gone_on, wait_for_unit
from tests.peers.datasets import ct_slice
from tests.systemd.test_units import MAXIMUM_EXPOSURE

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]

REPO = Path(__file__).resolve().parents[2]


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


def store_one(port: int, *, series: str, number: int) -> str:
    """Send one image, which must be acknowledged; its SOP Instance UID."""
    image = image_to_send(series, number)
    ae = AE(ae_title="CT1")
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 600
    association = ae.associate("127.0.0.1", port, ae_title="CORONET")
    assert association.is_established
    assert association.send_c_store(image).Status == 0
    association.release()
    return str(image.SOPInstanceUID)


@pytest.fixture(scope="module")
def box(booted: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The box as it was after its first start; the tests of this file follow each other on it."""
    with gone_on(booted, tmp_path_factory.mktemp("box")) as machine:
        yield machine


def test_it_answers_an_echo_and_keeps_what_it_receives(box: Machine) -> None:
    assert store(box.dicom_port, series="1.2.826.0.1.3680043.10.1999.7", images=3) == [0, 0, 0]
    assert int(box.shell("find /var/lib/coronet/spool/[0-9a-f][0-9a-f] -type f | wc -l", seconds=SHELL_S)) == 3


def test_the_kiosk_stands_on_the_screen(box: Machine, figures: dict[str, Any]) -> None:
    wait_for_unit(box, "coronet-kiosk.service")
    target = box.screenshot(REPO / "build/image/kiosk.png")
    with Image.open(target) as picture:
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 50, "a text console or an empty screen has only a few colours"
    figures["kiosk_colours"] = len(colours)


def test_the_root_cannot_be_written_and_is_verified(box: Machine) -> None:
    assert "Read-only" in box.shell("touch /usr/bin/x")
    assert re.search(r"verity V$", box.shell("dmsetup status coronet-root"))
    assert "luks" in box.shell("cryptsetup status coronet-data").lower()
    assert box.shell("test -e /usr/bin/gcc -o -e /usr/bin/apt-get; echo $?") == "1"


def test_exposure_of_every_unit_inside_the_image(box: Machine, figures: dict[str, Any]) -> None:
    for unit in box.shell("cd /usr/lib/systemd/system && ls coronet*.service", seconds=SHELL_S).split():
        told = box.shell(f"systemd-analyze security --no-pager {unit.replace('@', '@1')} | tail -1", seconds=SHELL_S)
        level = re.search(r": ([0-9.]+) ", told)
        assert level, told
        figures[f"exposure_{unit}"] = float(level[1])
    exposures = {name: level for name, level in figures.items() if name.startswith("exposure_")}
    assert max(exposures.values()) <= MAXIMUM_EXPOSURE, exposures


def test_the_watchdog_ends_a_frozen_daemon_and_it_comes_back(box: Machine) -> None:
    # without the kiosk's pictures the box is idle for these three minutes, and the emulator does not have to carry them out
    box.shell("systemctl stop coronet-kiosk", seconds=SHELL_S)
    before = box.shell("systemctl show -P MainPID coronet.service", seconds=SHELL_S)
    box.shell(f"kill -STOP {before}", seconds=SHELL_S)
    deadline = time.monotonic() + PATIENCE_S
    while box.shell("systemctl show -P MainPID coronet.service", seconds=SHELL_S) in (before, "0") and time.monotonic() < deadline:
        time.sleep(5)
    assert box.shell("systemctl show -P MainPID coronet.service", seconds=SHELL_S) not in (before, "0")
    assert "watchdog" in box.shell("journalctl -b -u coronet.service --no-pager -o cat | grep -i watchdog", seconds=SHELL_S).lower()
    start = time.monotonic()
    while not echo(box.dicom_port):
        assert time.monotonic() - start < PATIENCE_S
        time.sleep(1)
    box.shell("systemctl start --no-block coronet-kiosk", seconds=SHELL_S)


def test_a_full_disk_refuses_images_and_the_box_stays_up(box: Machine) -> None:
    box.shell("fallocate -l $(($(df -B1 --output=avail /data | tail -1) - 1000000000)) /data/ballast", seconds=SHELL_S)
    try:
        assert store(box.dicom_port, series="1.2.826.0.1.3680043.10.1999.8", images=1) == [0xA700]
        assert echo(box.dicom_port)
    finally:
        box.shell("rm -f /data/ballast", seconds=SHELL_S)


def test_every_unit_is_up(box: Machine) -> None:
    for unit in ("coronet.service", "coronet-analyst.service", "coronet-kiosk.service"):  # started anew by the tests before this one
        wait_for_unit(box, unit)
    deadline = time.monotonic() + PATIENCE_S
    while "starting" in (state := box.shell("systemctl is-system-running", seconds=SHELL_S)) and time.monotonic() < deadline:
        time.sleep(5)
    failed = box.shell("systemctl --failed --no-legend --plain", seconds=SHELL_S)
    told = box.shell("systemctl list-jobs --no-pager; journalctl -b -u coronet-analyst -u coronet-trial --no-pager -n 40", seconds=SHELL_S)
    assert (state, failed) == ("running", ""), told


def test_image_size(image: Path, figures: dict[str, Any]) -> None:
    product = REPO / "build/image/coronet.img"
    mib = product.stat().st_blocks * 512 / (1 << 20)
    figures["image_mib"] = round(mib, 1)
    figures["disk_mib"] = product.stat().st_size >> 20
    assert mib < 2048
    assert subprocess.run(["sfdisk", "--verify", "-q", str(product)], check=False, capture_output=True).returncode == 0
