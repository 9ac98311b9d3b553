"""Safe mode under a real systemd: the watchdog ends what freezes again and again, safe mode stores, the normal service comes back.

The units are the shipped ones. Only times are shorter, and the daemon is `tests.systemd.hurried`, which a file freezes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.systemd.real import REPOSITORY, Systemd, systemd

UNITS = REPOSITORY / "systemd/system"
PYTHON = "cd /opt/coronet/source && PYTHONDONTWRITEBYTECODE=1 /opt/coronet/venv/bin/python"
SEND = """
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE
from tests.peers.datasets import ct_slice
dataset = ct_slice(index=1, series_uid="1.2.826.0.1.3680043.10.1999.7")
dataset.file_meta = FileMetaDataset()
dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
peer = AE(ae_title="CT1")
peer.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
association = peer.associate("127.0.0.1", 11112, ae_title="CORONET")
print(association.send_c_store(dataset).Status if association.is_established else "no association")
association.release()
"""


def units() -> dict[str, str]:
    """The shipped ones; output goes to files (there is no journal)."""
    found = {path.name: path.read_text("utf-8") for path in UNITS.glob("*.slice")}
    for name in ("coronet", "coronet-safe"):
        shipped = (UNITS / f"{name}.service").read_text("utf-8")
        [start] = [line.split(" -m appliance ", 1)[1] for line in shipped.splitlines() if line.startswith("ExecStart=")]
        found[f"{name}.service"] = shipped
        found[f"{name}.service.d/test.conf"] = (
            "[Service]\nWatchdogSec=15\nRestartSec=1\nStandardOutput=append:/run/daemon.log\nStandardError=append:/run/daemon.log\n"
            "Environment=PYTHONPATH=/opt/coronet/source PYTHONDONTWRITEBYTECODE=1\n"
            f"ExecStart=\nExecStart=/opt/coronet/venv/bin/python -m tests.systemd.hurried {start}\n"
        )
    found["all.target"] = "[Unit]\nDefaultDependencies=no\nWants=coronet.service\n"
    return found


@pytest.mark.image
@pytest.mark.timeout(1800)
def test_a_daemon_that_freezes_again_and_again_ends_in_safe_mode_which_stores_and_then_comes_back(tmp_path: Path) -> None:
    with systemd(tmp_path, units=units(), over={"etc/coronet/coronet.toml": '[receiver]\nport = 11112\nae_title = "CORONET"\n'}) as box:
        box.until("systemctl is-active coronet.service", "active")
        assert send(box) == "0"
        box.ask("touch /var/lib/coronet/frozen")
        box.until("systemctl is-active coronet-safe.service", "active")
        assert box.ask("systemctl is-active coronet.service") == "failed"
        assert int(box.ask("grep -c 'the watchdog is not fed: intake has not turned' /run/daemon.log")) >= 3
        assert send(box) == "0", "safe mode still stores"
        assert box.ask("systemctl is-active coronet-safe.service") == "active"
        assert box.ask("grep -la WF-080 /var/lib/coronet/coronet.db*"), "kiosk and panel say so"
        # what froze is gone, and so is the time for which systemd counts starts (test_units: safe mode lasts longer)
        box.ask("rm /var/lib/coronet/frozen; printf '[Unit]\\nStartLimitIntervalSec=1\\n' >/run/units/coronet.service.d/z.conf")
        box.ask("systemctl daemon-reload; touch /var/lib/coronet/calm")
        box.until("systemctl is-active coronet.service", "active")
        box.until("systemctl is-active coronet-safe.service", "inactive")
        assert send(box) == "0"


def send(box: Systemd) -> str:
    """The status of a C-STORE, or what went wrong."""
    return box.ask(f"{PYTHON} - <<'END'\n{SEND}END")
