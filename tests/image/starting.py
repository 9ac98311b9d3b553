"""Waiting for a box: its receiver, its units. Emulation takes minutes for what a box does in seconds; nothing is judged by time."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pynetdicom import AE

from tests.image.machine import Machine

PATIENCE_S = float(os.environ.get("CORONET_BOOT_SECONDS", "3600"))
SHELL_S = 1200.0
VERIFICATION = "1.2.840.10008.1.1"
LOOK = """/opt/coronet/venv/bin/python -c '
import hashlib, json, pathlib, sqlite3
kept = {hashlib.sha256(one.read_bytes()).hexdigest() for one in pathlib.Path("/var/lib/coronet/spool").glob("[0-9a-f][0-9a-f]/*")}
rows = sqlite3.connect("file:/var/lib/coronet/coronet.db?mode=ro", uri=True).execute("SELECT sop_instance_uid, sha256 FROM instances")
print("UIDS" + json.dumps([uid for uid, digest in rows if digest in kept]))
'"""


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


def wait_for_echo(machine: Machine, *, seconds: float = PATIENCE_S, every_s: float = 1.0) -> float:
    """Seconds from power on to the first C-ECHO that was answered."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if echo(machine.dicom_port):
            return machine.age()
        assert machine.process is not None
        assert machine.process.poll() is None, "the emulator has ended"
        time.sleep(every_s)
    raise AssertionError(f"no C-ECHO within {seconds:.0f} s")


def wait_for_unit(machine: Machine, unit: str, *, seconds: float = PATIENCE_S) -> None:
    """Until systemd says that a unit is up."""
    deadline = time.monotonic() + seconds
    while machine.shell(f"systemctl is-active {unit}", seconds=SHELL_S) != "active":
        assert time.monotonic() < deadline, machine.shell(f"systemctl status --no-pager {unit}", seconds=SHELL_S)
        time.sleep(5)


def images_kept(machine: Machine) -> set[str]:
    """SOP Instance UIDs of the images that the box has, to the last byte as its database says."""
    told = machine.shell(LOOK, seconds=SHELL_S)
    return set(json.loads(told.split("UIDS", 1)[1].splitlines()[0]))


@contextmanager
def gone_on(booted: Path, folder: Path) -> Iterator[Machine]:
    """The box in its state ``ready`` (fixture ``booted``), its clock put right as a time server would: certificates begin at a time.

    It runs on a copy in ``folder``, so that several can run at a time and what was cut off can be read after it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("disk.qcow2", "firmware.qcow2"):
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(booted / name), str(folder / name)], check=True)
    with Machine(disk=folder / "disk.qcow2", folder=folder, resume="ready") as machine:
        machine.shell(f"date -s @{time.time():.0f}", seconds=SHELL_S)
        yield machine
