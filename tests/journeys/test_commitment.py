"""The whole relay in one box: the CT sends, reports its step and asks for commitment; archive, research and RIS each get theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from appliance.dicom.commitment_scu import PUSH_MODEL, PUSH_MODEL_INSTANCE, SYNTAXES
from appliance.dicom.mpps import PROCEDURE_STEP
from tests.appliance.archive.fakes import encode, make_dataset
from tests.appliance.running import daemon, open_archive_of
from tests.peers.dcmtk import storescp, storescu
from tests.peers.orthanc import orthanc
from tests.peers.scp import scp
from tests.peers.waiting import free_port, wait_until

IMAGES = 6
SETTINGS = """
[[destination]]
name = "ARCHIVE"
host = "127.0.0.1"
port = {archive}
ae_title = "ORTHANC"
send = ["source"]
commitment = true
timeout_s = 20.0
[[destination]]
name = "LAB"
host = "127.0.0.1"
port = {lab}
ae_title = "STORESCP"
send = []
[[route]]
name = "research"
to = ["LAB"]
calling_ae = ["CT1"]
modality = ["CT"]
pseudonymise = true
[archive]
destination = "ARCHIVE"
[[peer]]
ae_title = "CT1"
host = "127.0.0.1"
port = {ct}
[mpps]
accept = true
host = "127.0.0.1"
port = {ris}
"""


def scan(folder: Path) -> list[Path]:
    folder.mkdir()
    paths = []
    for number in range(1, IMAGES + 1):
        dataset: Any = make_dataset(number=number, Rows=8, Columns=8, BitsAllocated=16, BitsStored=16, HighBit=15, StudyDate="20260105")
        dataset.PixelRepresentation, dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, 1, "MONOCHROME2"
        dataset.PixelData = bytes([number]) * 128
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(encode(dataset))
    return paths


@contextmanager
def listening_ct(reports: list[tuple[int, Dataset]]) -> Iterator[int]:
    def report(event: Any) -> tuple[int, None]:
        reports.append((event.event_type, event.event_information))
        return 0x0000, None

    context = build_context(PUSH_MODEL, SYNTAXES)
    context.scu_role, context.scp_role = False, True
    with scp(AE("CT1"), contexts=[context], handlers=[(evt.EVT_N_EVENT_REPORT, report)]) as port:
        yield port


@contextmanager
def ris(steps: list[Dataset]) -> Iterator[int]:
    def create(event: Any) -> tuple[int, None]:
        steps.append(event.attribute_list)
        return 0x0000, None

    with scp(AE("RIS"), contexts=[build_context(PROCEDURE_STEP, SYNTAXES)], handlers=[(evt.EVT_N_CREATE, create)]) as port:
        yield port


def ask(port: int, uids: list[str]) -> tuple[int, int]:
    """The CT begins its step and asks for commitment: both answers."""
    ae = AE("CT1")
    ae.add_requested_context(PUSH_MODEL, SYNTAXES)
    ae.add_requested_context(PROCEDURE_STEP, SYNTAXES)
    association = ae.associate("127.0.0.1", port, ae_title="CORONET")
    assert association.is_established
    step: Any = Dataset()
    step.PerformedProcedureStepStatus, step.PatientName = "IN PROGRESS", "Wang^XiaoDong"
    begun, _ = association.send_n_create(step, PROCEDURE_STEP, "1.2.3.500")
    request: Any = Dataset()
    request.TransactionUID, request.ReferencedSOPSequence = "2.25.77", []
    for uid in uids:
        item: Any = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid
        request.ReferencedSOPSequence.append(item)
    asked, _ = association.send_n_action(request, 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    association.release()
    return int(begun.Status), int(asked.Status)


def test_the_ct_may_delete_only_what_the_archive_has_committed(tmp_path: Path) -> None:
    files, archive_port = scan(tmp_path / "scan"), free_port()
    uids = [str(pydicom.dcmread(path).SOPInstanceUID) for path in files]
    reports: list[tuple[int, Dataset]] = []
    steps: list[Dataset] = []
    with listening_ct(reports) as ct, ris(steps) as ris_port, storescp(tmp_path / "lab") as lab:
        settings = SETTINGS.format(archive=archive_port, lab=lab.port, ct=ct, ris=ris_port)
        with daemon(tmp_path / "box", more_settings=settings) as running:
            assert storescu(running.port, files, calling="CT1").returncode == 0
            assert ask(running.port, uids) == (0x0000, 0x0000)
            wait_until(lambda: len(lab.files()) == IMAGES and steps, timeout_s=60, what="research and RIS")
            assert reports == [], "the archive is down, so nothing may be deleted"
            coronet = {"coronet": ["CORONET", "127.0.0.1", running.port]}
            with orthanc(tmp_path / "archive", modalities=coronet, port=archive_port):
                wait_until(lambda: reports, timeout_s=90, what="the report to the CT")
            with open_archive_of(running) as archive:
                study = archive.studies.find("1.2.3")
                assert study is not None
                assert archive.outbox.unsettled(study.key) == 0
                shown = {row.destination: row.delivery() for row in archive.outbox.of_study(study.key)}
            research = [pydicom.dcmread(path) for path in lab.files()]
    kind, content = reports[0]
    assert (kind, [str(item.ReferencedSOPInstanceUID) for item in content.ReferencedSOPSequence]) == (1, uids)
    assert (shown["ARCHIVE"].accepted, shown["ARCHIVE"].committed) == (IMAGES, IMAGES)
    assert (shown["LAB"].accepted, shown["LAB"].committed, shown["LAB"].route) == (IMAGES, None, "research")
    assert len({str(each.PatientID) for each in research}) == 1
    assert not {str(each.SOPInstanceUID) for each in research} & set(uids)
    assert "Wang" not in str(research[0]) + str(research[1])
    assert str(steps[0].PatientName) == "Wang^XiaoDong"
