"""The plug is pulled while images arrive: after every start each acknowledged image is there, byte for byte as it was recorded.

What killing the emulator loses: the guest's memory, so everything that the guest had not written to its disk. What it does not lose: what
the guest had written but not flushed, because that lies in the page cache of the machine which emulates (``cache=writeback``). A disk
that loses its own cache is tested elsewhere (``tests/faults``: an ext4 on a recorded block device, cut at every write).
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE

from tests.image.machine import Machine
from tests.image.test_boot import image_to_send, wait_for_echo

pytestmark = [pytest.mark.image, pytest.mark.timeout(7200)]

CUTS = int(os.environ.get("CORONET_POWER_CUTS", "6"))
"""Each costs a start of the machine: a minute on a quiet machine, five on a busy one."""
LOOK = """/opt/coronet/venv/bin/python -c '
import hashlib, json, pathlib, sqlite3
kept = {hashlib.sha256(one.read_bytes()).hexdigest() for one in pathlib.Path("/var/lib/coronet/spool").glob("[0-9a-f][0-9a-f]/*")}
rows = sqlite3.connect("file:/var/lib/coronet/coronet.db?mode=ro", uri=True).execute("SELECT sop_instance_uid, sha256 FROM instances")
print("UIDS" + json.dumps([uid.rsplit(".", 1)[1] for uid, digest in rows if digest in kept]))
'"""


class Sender(threading.Thread):
    """A scanner that sends until the box is gone, and remembers which images were acknowledged."""

    def __init__(self, port: int, *, first: int) -> None:
        super().__init__(daemon=True)
        self.port, self.first = port, first
        self.acknowledged: list[int] = []
        self.begun = threading.Event()

    def run(self) -> None:
        """Send; any error is the plug."""
        ae = AE(ae_title="CT1")
        ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 120
        association = ae.associate("127.0.0.1", self.port, ae_title="CORONET")
        number = self.first
        while association.is_established:
            try:
                status = association.send_c_store(image_to_send("1.2.826.0.1.3680043.10.1999.70", number))
            except (RuntimeError, ValueError):
                return
            if status and status.Status == 0:
                self.acknowledged.append(number + 1)
                self.begun.set()
            number += 1


def test_every_acknowledged_image_is_there_after_each_power_cut(disk: Path, tmp_path: Path, figures: dict[str, Any]) -> None:
    chance = random.Random(7)
    acknowledged: set[str] = set()
    missing: set[str] = set()
    for cut in range(CUTS + 1):
        with Machine(disk=disk, folder=tmp_path) as machine:
            took = wait_for_echo(machine)
            if cut == 1:
                figures["boot_to_echo_s"] = round(took, 1)
            if acknowledged:
                machine.wait_for_shell(seconds=600)
                told = machine.shell(LOOK, seconds=600)
                missing |= acknowledged - set(json.loads(told.split("UIDS", 1)[1].splitlines()[0]))
            if cut < CUTS:
                sender = Sender(machine.dicom_port, first=cut * 10000)
                sender.start()
                assert sender.begun.wait(300), "nothing was acknowledged"
                time.sleep(chance.uniform(0.0, 15.0))  # not a synchronisation: the moment of the cut is chosen by chance
                machine.pull_the_plug()
                sender.join(180)
                acknowledged |= {str(number) for number in sender.acknowledged}
    figures |= {"power_cuts_receiving": CUTS, "power_cuts_receiving_lost": len(missing), "power_cuts_images": len(acknowledged)}
    assert not missing
