"""From the scanner to film and PACS through the whole appliance, with people at the API; processes are killed on the way."""

from __future__ import annotations

import hashlib
import os
import signal
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest

from appliance.study import DRAFT_NOTICE, NOT_VALIDATED_NOTICE
from tests.demo.box import RADIOGRAPHER_PIN, Box, Client, box
from tests.demo.outcome import released
from tests.peers.dcmtk import PrintScp, dcmprscp, storescu
from tests.peers.orthanc import Orthanc, orthanc
from tests.peers.processes import child_named
from tests.peers.waiting import wait_until

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Hospital:
    """The appliance with its peers."""

    box: Box
    pacs: Orthanc
    printer: PrintScp


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    with ExitStack() as stack:
        pacs = stack.enter_context(orthanc(tmp_path / "orthanc"))
        printer = stack.enter_context(dcmprscp(tmp_path / "printer"))
        appliance_box = stack.enter_context(box(tmp_path / "box", printer=printer, pacs_port=pacs.port, undo_seconds=1.0))
        yield Hospital(appliance_box, pacs, printer)


def child_pid(appliance_box: Box, name: str) -> int:
    """Process number of the receiver or the analyst."""
    pid = child_named(appliance_box.process.pid, name)
    assert pid is not None, name
    return pid


def approve(client: Client, key: str, *, again: bool = False) -> dict[str, Any]:
    revision = client.study(key)["row"]["revision"]
    command = f"test-{key}-{revision}-{again}"
    return client.call("POST", f"/v1/studies/{key}/approve", {"command": command, "revision": revision})


def test_a_study_survives_kills_is_corrected_approved_printed_and_stored(hospital: Hospital, scan: Path) -> None:
    client = hospital.box.client()
    files = sorted(scan.glob("*.dcm"))

    pushed = storescu(hospital.box.port, files)
    assert pushed.returncode == 0, pushed.stderr
    os.kill(child_pid(hospital.box, "receiver"), signal.SIGKILL)

    client.wait_for({"analysing"}, timeout_s=300)
    os.kill(child_pid(hospital.box, "analyst"), signal.SIGKILL)

    key = client.wait_for({"draft"}, timeout_s=600)["key"]
    stored = {hashlib.sha256(pydicom.dcmread(path).PixelData).hexdigest() for path in (hospital.box.data / "spool").rglob("*.dcm")}
    sent = {hashlib.sha256(pydicom.dcmread(path).PixelData).hexdigest() for path in files}
    assert stored == sent

    before = client.study(key)
    assert NOT_VALIDATED_NOTICE in before["notices"]
    assert DRAFT_NOTICE in before["notices"]
    if before["findings"]["lesions"]:
        lesion, revision = before["findings"]["lesions"][0]["id"], before["row"]["revision"]
        body = {"command": "correct-1", "revision": revision, "lesion": lesion, "grade": "severe"}
        corrected = client.call("POST", f"/v1/studies/{key}/corrections", body)
        again = client.call("POST", f"/v1/studies/{key}/corrections", body)
        assert corrected["row"]["revision"] == again["row"]["revision"] == revision + 1
        assert corrected["findings"]["cad_rads"]["category"] in {"4A", "4B"}

    approve(client, key)
    client.wait_for({"delivered"}, timeout_s=400)
    detail = client.study(key)
    assert {row["state"] for row in detail["deliveries"]} == {"done"}

    objects = [pydicom.dcmread(path) for path in sorted((released(hospital.box.data, key, detail) / "objects").glob("*.dcm"))]
    assert {str(each.SOPInstanceUID) for each in objects} <= {tags["SOPInstanceUID"] for tags in hospital.pacs.instances()}
    reports = [each for each in objects if each.Modality == "SR"]
    assert [(each.CompletionFlag, each.VerificationFlag) for each in reports] == [("COMPLETE", "VERIFIED")]
    assert len(hospital.printer.pages()) >= 2


def test_a_release_is_undone_given_again_and_waits_for_a_pacs_that_is_down(tmp_path: Path, scan: Path) -> None:
    """A radiographer's release stays a draft; what is declined meanwhile says why. One box and one analysis, as both are dear."""
    with box(tmp_path / "box", pacs_port=9, undo_seconds=20.0) as appliance_box:
        radiographer = appliance_box.client(RADIOGRAPHER_PIN)
        assert storescu(appliance_box.port, sorted(scan.glob("*.dcm"))).returncode == 0
        key = radiographer.wait_for({"draft"}, timeout_s=600)["key"]
        approving = approve(radiographer, key)
        assert approving["row"]["state"] == "approving"
        assert DRAFT_NOTICE in approving["notices"]
        undone = radiographer.call("POST", f"/v1/studies/{key}/undo", {"command": "undo-0001"})
        assert undone["row"]["state"] == "draft"

        client = appliance_box.client()
        assert approve(client, key, again=True)["row"]["state"] == "approving"
        assert_a_chest_ct_is_declined_with_its_reason(appliance_box, client, tmp_path / "chest")

        def tried() -> bool:
            rows = client.study(key)["deliveries"]
            return bool(rows) and rows[0]["attempts"] >= 2 and rows[0]["last_error"] is not None

        wait_until(tried, timeout_s=300, what="two attempts")
        assert client.study(key)["row"]["state"] == "delivering"


def assert_a_chest_ct_is_declined_with_its_reason(appliance_box: Box, client: Client, folder: Path) -> None:
    with zipfile.ZipFile(Path(__file__).parents[1] / "data" / "chest-ct-no-contrast.zip") as archive:
        archive.extractall(folder)
    chest = sorted(folder.rglob("*.dcm"))
    assert len(chest) > 20
    assert storescu(appliance_box.port, chest).returncode == 0
    row = client.wait_for({"declined"}, timeout_s=300)
    assert row["reason"]["zh"]
    assert row["reason"]["en"]
    assert row["images"] == len(chest)
