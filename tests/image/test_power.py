"""The plug is pulled while images arrive: each acknowledged image is there afterwards, byte for byte as it was recorded.

Most cuts are frozen states of the disk that are read from outside (`tests.image.cuts`); one is the emulator's end by SIGKILL, followed by a
real start, with a clock that has lost its time as well.
"""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE

from tests.image.cuts import Cut, cut, kept_images
from tests.image.machine import Machine
from tests.image.starting import SHELL_S, gone_on, images_kept, wait_for_echo, wait_for_unit
from tests.image.test_boot import image_to_send, store

pytestmark = [pytest.mark.image, pytest.mark.timeout(7200)]

CUTS = int(os.environ.get("CORONET_POWER_CUTS", "20"))
SERIES = "1.2.826.0.1.3680043.10.1999.70"
SITE = r'[receiver]\nhost = "0.0.0.0"\n[network]\nhostname = "coronet-ct2"\n[ups]\nname = "ups"\ndriver = "dummy-ups"\n'
"""Settings of a site, of which a start makes what systemd needs."""


class Sender(threading.Thread):
    """A scanner that sends until the box is gone, and remembers which images were acknowledged."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.acknowledged: list[str] = []
        self.news = threading.Condition()

    def run(self) -> None:
        """Send; any error is the plug."""
        ae = AE(ae_title="CT1")
        ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 120
        association = ae.associate("127.0.0.1", self.port, ae_title="CORONET")
        number = 0
        while association.is_established:
            image = image_to_send(SERIES, number)
            try:
                status = association.send_c_store(image)
            except (RuntimeError, ValueError):
                return
            if status and status.Status == 0:
                with self.news:
                    self.acknowledged.append(str(image.SOPInstanceUID))
                    self.news.notify_all()
            number += 1

    def wait_for_more(self, images: int) -> None:
        """Until so many more have been acknowledged."""
        with self.news:
            wanted = len(self.acknowledged) + images
            assert self.news.wait_for(lambda: len(self.acknowledged) >= wanted, 600), "nothing more is acknowledged"


def test_every_acknowledged_image_is_there_after_each_power_cut(booted: Path, tmp_path: Path, figures: dict[str, Any]) -> None:
    chance, layers = random.Random(7), tmp_path / "layers"
    cuts: list[tuple[Cut, set[str]]] = []
    with gone_on(booted, tmp_path / "ready") as machine:
        machine.shell("systemctl stop coronet-kiosk coronet-analyst", seconds=SHELL_S)  # the emulated processor is the receiver's
        sender = Sender(machine.dicom_port)
        sender.start()
        for _ in range(CUTS):
            sender.wait_for_more(chance.randint(1, 3))
            time.sleep(chance.uniform(0.0, 1.0))  # not a synchronisation: where between two images the cut falls is left to chance
            acknowledged = set(sender.acknowledged)
            cuts.append((cut(machine, layers), acknowledged))
    sender.join(180)
    missing: list[set[str]] = []
    reader = None
    for each, acknowledged in cuts:
        coronet, reader = each.data(tmp_path, reader)
        missing.append(acknowledged - kept_images(coronet))
    lost = sum(bool(each) for each in missing)
    figures |= {"power_cuts_receiving": len(missing), "power_cuts_receiving_lost": lost, "power_cuts_images": len(cuts[-1][1])}
    assert lost == 0, missing


def test_after_the_emulator_was_killed_the_box_starts_with_every_image_even_if_its_clock_was_lost(
    booted: Path, tmp_path: Path, figures: dict[str, Any]
) -> None:
    disk = tmp_path / "layers/000.qcow2"
    with gone_on(booted, tmp_path / "ready") as machine:
        machine.shell("systemctl stop coronet-kiosk coronet-analyst", seconds=SHELL_S)
        cut(machine, disk.parent)  # what is written from here on goes with this test
        machine.shell(f"printf '{SITE}' > /etc/coronet/coronet.toml; sync", seconds=SHELL_S)  # the next start is by these
        sender = Sender(machine.dicom_port)
        sender.start()
        sender.wait_for_more(5)
        machine.pull_the_plug()
        sender.join(180)
    acknowledged = set(sender.acknowledged)
    with Machine(disk=disk, folder=tmp_path, clock="1970-01-01T00:00:10") as machine:
        wait_for_echo(machine)
        machine.wait_for_shell(seconds=SHELL_S)
        missing = acknowledged - images_kept(machine)
        wait_for_unit(machine, "coronet.service")  # its receiver comes first
        assert store(machine.dicom_port, series="1.2.826.0.1.3680043.10.1999.9", images=2) == [0, 0]
        assert machine.shell("cat /proc/sys/kernel/hostname", seconds=SHELL_S) == "coronet-ct2"
        assert machine.shell("systemctl is-active systemd-modules-load", seconds=SHELL_S) == "active"
        machine.shell("echo ups.status: OL > /etc/nut/auto; systemctl restart nut-driver@ups nut-server", seconds=SHELL_S)
        wait_for_unit(machine, "nut-driver@ups.service")
        assert machine.shell("upsc ups@127.0.0.1 ups.status 2>/dev/null", seconds=SHELL_S) == "OL"
        figures["clock_lost_year"] = int(machine.shell("date +%Y", seconds=SHELL_S))
    figures |= {"power_cuts_started": 1, "power_cuts_started_lost": int(bool(missing))}
    assert not missing
