"""Query/retrieve against DCMTK and pynetdicom over a real archive."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless
from pynetdicom import AE, build_role, evt
from pynetdicom.presentation import build_context

from appliance.archive.found import InstanceEntry
from appliance.dicom.query_scp import QueryServer
from appliance.dicom.retrieve import MoveTarget
from appliance.settings import QuerySettings
from tests.appliance.workflow.world import World
from tests.peers.dcmtk import ENVIRONMENT, need, storescp
from tests.peers.orthanc import orthanc
from tests.peers.scp import scp
from tests.peers.waiting import free_port, wait_until

STUDY_FIND, STUDY_MOVE, STUDY_GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
PATIENT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"


@dataclass
class Library:
    """A box with three studies of two people."""

    world: World
    targets: dict[str, MoveTarget] = field(default_factory=dict)
    servers: list[QueryServer] = field(default_factory=list)

    def serve(self, **changes: Any) -> QueryServer:
        settings = QuerySettings(port=free_port(), **changes)
        server = QueryServer(settings, search=self.world.archive.search, targets=self.targets, audit=self.world.archive.audit)
        server.start()
        self.servers.append(server)
        return server

    def add(self, number: int, *, images: int = 2, **changes: object) -> str:
        uid = f"1.9.{number}"
        self.world.push(*range(1, images + 1), study=uid, series=f"{uid}.1", **changes)
        self.world.intake().step()
        self.set_state(uid, "declined")
        return uid

    def set_state(self, uid: str, state: str) -> str:
        study = self.world.study(uid)
        self.world.archive.studies.save(msgspec.structs.replace(study, state=state))  # type: ignore[arg-type]
        return study.key


@pytest.fixture
def library(memory: Path) -> Iterator[Library]:
    library = Library(World(memory / "data"))
    wang = {"PatientID": "P-1", "PatientName": "Wang^XiaoDong=王^小东"}
    library.add(1, StudyDate="20260101", StudyTime="080000", AccessionNumber="A1", StudyDescription="CORONARY CTA", **wang)
    library.add(2, StudyDate="20260201", StudyTime="093015", AccessionNumber="A2", images=3, **wang)
    library.add(3, StudyDate="20260301", AccessionNumber="A3", PatientID="P-2", PatientName="Müller^Jürgen")
    yield library
    for server in library.servers:
        server.stop()
    library.world.close()


def findscu(server: QueryServer, *keys: str, root: str = "-S", calling: str = "DCMTK") -> subprocess.CompletedProcess[str]:
    """Ask with DCMTK; every key as its option takes it."""
    options = [part for key in keys for part in ("-k", key)]
    command = [need("findscu"), "-v", root, *options, "-aet", calling, "-aec", "CORONET", "127.0.0.1", str(server.port)]
    run = subprocess.run(command, env=ENVIRONMENT, capture_output=True, timeout=60, check=False)
    return subprocess.CompletedProcess(
        run.args, run.returncode, run.stdout.decode("utf-8", "replace"), run.stderr.decode("utf-8", "replace")
    )


def answers(run: subprocess.CompletedProcess[str], tag: str) -> list[str]:
    """Values of one attribute in the responses that findscu prints, in their order."""
    responses = (run.stdout + run.stderr).split("Find Response:")[1:]
    found = [re.search(rf"\({tag}\) \w\w \[([^\]]*)\]", response) for response in responses]
    return [match.group(1).strip("\0 ") for match in found if match is not None]


@dataclass
class Asked:
    """What a pynetdicom SCU got."""

    statuses: list[int] = field(default_factory=list)
    datasets: list[Dataset] = field(default_factory=list)
    last: Dataset = field(default_factory=Dataset)


def ask(server: QueryServer, model: str, *, cancel_after: int | None = None, calling: str = "SCU", **keys: Any) -> Asked:
    ae = AE(calling)
    ae.add_requested_context(model)
    association = ae.associate("127.0.0.1", server.port, ae_title="CORONET")
    assert association.is_established
    identifier = Dataset()
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    asked = Asked()
    for status, dataset in association.send_c_find(identifier, model, msg_id=7):
        asked.statuses.append(int(status.Status))
        asked.last = status
        if dataset is not None:
            asked.datasets.append(dataset)
        if cancel_after is not None and len(asked.datasets) == cancel_after:
            association.send_c_cancel(7, query_model=model)
    association.release()
    return asked


# -- C-FIND


def test_dcmtk_finds_studies_series_and_images(library: Library) -> None:
    server = library.serve()
    studies = findscu(
        server, "QueryRetrieveLevel=STUDY", "StudyInstanceUID", "PatientName=wang*", "NumberOfStudyRelatedInstances", "ModalitiesInStudy"
    )
    assert studies.returncode == 0, studies.stderr
    assert answers(studies, "0020,000d") == ["1.9.1", "1.9.2"]
    assert answers(studies, "0020,1208") == ["2", "3"]
    assert answers(studies, "0010,0010") == ["Wang^XiaoDong=王^小东"] * 2
    series = findscu(server, "QueryRetrieveLevel=SERIES", "StudyInstanceUID=1.9.2", "SeriesInstanceUID", "Modality=CT")
    assert answers(series, "0020,000e") == ["1.9.2.1"]
    images = findscu(
        server, "QueryRetrieveLevel=IMAGE", "StudyInstanceUID=1.9.2", "SeriesInstanceUID=1.9.2.1", "SOPInstanceUID", "InstanceNumber"
    )
    assert answers(images, "0008,0018") == ["1.9.2.1.1", "1.9.2.1.2", "1.9.2.1.3"]


def test_dcmtk_finds_patients_in_the_patient_root(library: Library) -> None:
    server = library.serve()
    run = findscu(server, "QueryRetrieveLevel=PATIENT", "PatientID", "PatientName", "NumberOfPatientRelatedStudies", root="-P")
    assert dict(zip(answers(run, "0010,0020"), answers(run, "0020,1200"), strict=True)) == {"P-1": "2", "P-2": "1"}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"StudyDate": "20260115-20260215"}, ["1.9.2"]),
        ({"StudyDate": "-20260201", "StudyTime": "09-10"}, ["1.9.2"]),
        ({"AccessionNumber": "A?"}, ["1.9.1", "1.9.2", "1.9.3"]),
        ({"StudyInstanceUID": ["1.9.1", "1.9.3", "1.9.9"]}, ["1.9.1", "1.9.3"]),
        ({"PatientName": "MÜLLER*", "SpecificCharacterSet": "ISO_IR 192"}, ["1.9.3"]),
        ({"PatientName": "=王^小东", "SpecificCharacterSet": "GB18030"}, ["1.9.1", "1.9.2"]),
        ({"PatientName": "小东", "SpecificCharacterSet": "GB18030"}, []),
        ({"ModalitiesInStudy": "MR"}, []),
        ({"StudyDescription": "*CTA"}, ["1.9.1"]),
        ({}, ["1.9.1", "1.9.2", "1.9.3"]),
    ],
)
def test_matching(library: Library, keys: dict[str, Any], expected: list[str]) -> None:
    asked = ask(library.serve(), STUDY_FIND, QueryRetrieveLevel="STUDY", **{"StudyInstanceUID": "", **keys})
    assert [each.StudyInstanceUID for each in asked.datasets] == expected
    assert asked.statuses == [0xFF00] * len(expected) + [0]


def test_the_answer_comes_in_the_asker_s_character_set_where_that_holds_it(library: Library) -> None:
    server = library.serve(character_set="GB18030")
    sets = {}
    for wanted in ("GB18030", "ISO_IR 192", "ISO_IR 100", ""):
        asked = ask(server, STUDY_FIND, QueryRetrieveLevel="STUDY", SpecificCharacterSet=wanted, PatientName="", PatientID="P-1")
        assert str(asked.datasets[0].PatientName) == "Wang^XiaoDong=王^小东"
        sets[wanted] = asked.datasets[0].SpecificCharacterSet
    assert sets == {"GB18030": "GB18030", "ISO_IR 192": "ISO_IR 192", "ISO_IR 100": "GB18030", "": "GB18030"}


def test_what_cannot_be_answered_gets_a_status(library: Library) -> None:
    server = library.serve()
    for keys in ({"QueryRetrieveLevel": ""}, {"QueryRetrieveLevel": "PATIENT"}):
        assert ask(server, STUDY_FIND, PatientID="", **keys).statuses == [0xA900]
    assert ask(server, STUDY_FIND, QueryRetrieveLevel="STUDY", StudyInstanceUID="").statuses[-1] == 0


def test_too_many_matches_end_with_out_of_resources(library: Library) -> None:
    asked = ask(library.serve(maximum_matches=2), STUDY_FIND, QueryRetrieveLevel="STUDY", StudyInstanceUID="")
    assert asked.statuses == [0xFF00, 0xFF00, 0xA700]
    assert "more than 2" in asked.last.ErrorComment


def test_a_query_can_be_cancelled(library: Library) -> None:
    key = library.world.study("1.9.3").key
    library.world.archive.found.add(
        [InstanceEntry(f"1.8.{n}", "1.2", "1.2.840.10008.1.2.1", "1.9.3.1", "x") for n in range(4000)], study=key
    )
    asked = ask(library.serve(), STUDY_FIND, cancel_after=1, QueryRetrieveLevel="IMAGE", SOPInstanceUID="")
    assert asked.statuses[-1] == 0xFE00
    assert len(asked.datasets) < 4000


def test_a_study_is_not_found_while_its_images_arrive(library: Library) -> None:
    server = library.serve()
    library.set_state("1.9.1", "receiving")
    asked = ask(server, PATIENT_FIND, QueryRetrieveLevel="STUDY", PatientID="P-1", StudyInstanceUID="")
    assert [each.StudyInstanceUID for each in asked.datasets] == ["1.9.2"]


def test_results_of_the_box_are_found_too(library: Library) -> None:
    key = library.set_state("1.9.1", "delivered")
    entries = [
        InstanceEntry("1.7.1", "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.1.2.1", "1.7", "x", modality="SR", result=True),
        InstanceEntry("1.6.1", "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.1.2.1", "1.6", "y", modality="DOC", result=True),
    ]
    library.world.archive.found.replace_results(entries, study=key)
    asked = ask(library.serve(), STUDY_FIND, QueryRetrieveLevel="STUDY", StudyInstanceUID="1.9.1", ModalitiesInStudy="SR")
    assert list(asked.datasets[0].ModalitiesInStudy) == ["CT", "DOC", "SR"]


# -- who may ask


def test_only_known_callers_and_addresses_associate(library: Library) -> None:
    for changes, calling in (({"calling_ae_titles": ("PACS",)}, "OTHER"), ({"addresses": ("192.0.2.0/24",)}, "PACS")):
        server = library.serve(**changes)
        assert findscu(server, "QueryRetrieveLevel=STUDY", "StudyInstanceUID", calling=calling).returncode != 0
    server = library.serve(calling_ae_titles=("PACS",), addresses=("127.0.0.0/8", "::1"))
    assert findscu(server, "QueryRetrieveLevel=STUDY", "StudyInstanceUID", calling="PACS").returncode == 0


def test_a_peer_has_so_many_associations_and_gives_them_back(library: Library) -> None:
    server = library.serve(maximum_associations_per_peer=2)
    ae = AE("SCU")
    ae.add_requested_context(STUDY_FIND)
    held = [ae.associate("127.0.0.1", server.port, ae_title="CORONET") for _ in range(3)]
    assert [each.is_established for each in held] == [True, True, False]
    for each in held[:2]:
        each.abort()
    wait_until(lambda: server.active_associations == 0, what="the end of all associations")
    assert ask(server, STUDY_FIND, QueryRetrieveLevel="STUDY", StudyInstanceUID="").statuses[-1] == 0


# -- C-MOVE and C-GET


def movescu(server: QueryServer, destination: str, *keys: str) -> subprocess.CompletedProcess[str]:
    options = [part for key in keys for part in ("-k", key)]
    command = [
        need("movescu"),
        "-v",
        "-S",
        *options,
        "-aet",
        "DCMTK",
        "-aec",
        "CORONET",
        "-aem",
        destination,
        "127.0.0.1",
        str(server.port),
    ]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)


def hashes(paths: Sequence[Path]) -> set[tuple[str, bytes]]:
    """Instances by their UID and their data set's bytes."""
    found = set()
    for path in paths:
        meta_length = int.from_bytes(path.read_bytes()[140:144], "little")
        found.add((pydicom.dcmread(path).SOPInstanceUID, path.read_bytes()[144 + meta_length :]))
    return found


def kept(library: Library, uid: str) -> list[Path]:
    return [each.path for each in library.world.archive.index.of_study(library.world.study(uid).key)]


def test_dcmtk_moves_a_study_bit_by_bit(library: Library, tmp_path: Path) -> None:
    with storescp(tmp_path / "in") as destination:
        library.targets["STORESCP"] = MoveTarget("STORESCP", "127.0.0.1", destination.port)
        run = movescu(library.serve(), "STORESCP", "QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.9.2")
        assert run.returncode == 0, run.stderr
        assert hashes(destination.files()) == hashes(kept(library, "1.9.2"))
    entries = [entry for entry in library.world.archive.audit.entries() if entry.action == "retrieve"]
    assert [(entry.actor, entry.study, entry.details) for entry in entries] == [
        ("dicom:DCMTK", library.world.study("1.9.2").key, {"instances": 3, "to": "STORESCP"})
    ]


def test_a_move_to_a_stranger_is_refused(library: Library) -> None:
    run = movescu(library.serve(), "STRANGER", "QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.9.2")
    assert run.returncode != 0
    assert "MoveDestinationUnknown" in run.stderr


def test_a_move_to_a_destination_that_is_down_says_so(library: Library) -> None:
    library.targets["DOWN"] = MoveTarget("DOWN", "127.0.0.1", free_port(), timeout_s=2)
    run = movescu(library.serve(), "DOWN", "QueryRetrieveLevel=STUDY", "StudyInstanceUID=1.9.2")
    assert "OutOfResourcesSubOperations" in run.stderr


def test_dcmtk_gets_a_study_bit_by_bit(library: Library, tmp_path: Path) -> None:
    server = library.serve()
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.9.2"]
    command = [need("getscu"), "-S", "+B", "-od", str(tmp_path), *keys, "-aec", "CORONET", "127.0.0.1", str(server.port)]
    run = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert hashes(sorted(tmp_path.iterdir())) == hashes(kept(library, "1.9.2"))


@dataclass
class Got:
    """A storage SCP that remembers, and refuses what it is told to."""

    refuse: frozenset[str] = frozenset()
    uids: list[str] = field(default_factory=list)
    origins: set[tuple[str, int]] = field(default_factory=set)

    def store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.uids.append(uid)
        self.origins.add((str(event.request.MoveOriginatorApplicationEntityTitle), event.request.MoveOriginatorMessageID))
        return 0xA700 if uid in self.refuse else 0x0000


def retrieve(
    server: QueryServer, model: str, got: Got, *, cancel_after: int | None = None, syntax: str = ExplicitVRLittleEndian, **keys: Any
) -> Asked:
    ae = AE("SCU")
    ae.add_requested_context(model)
    ae.add_requested_context(CTImageStorage, [syntax])
    roles = [build_role(CTImageStorage, scp_role=True)]
    association = ae.associate("127.0.0.1", server.port, ae_title="CORONET", ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, got.store)])
    assert association.is_established
    identifier = Dataset()
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    asked = Asked()
    send = (
        association.send_c_get(identifier, model, msg_id=5)
        if model == STUDY_GET
        else association.send_c_move(identifier, "SCP", model, msg_id=5)
    )
    for status, dataset in send:
        asked.statuses.append(int(status.Status))
        asked.last = status
        if dataset is not None:
            asked.datasets.append(dataset)
        if cancel_after is not None and len(got.uids) >= cancel_after:
            association.send_c_cancel(5, query_model=model)
    association.release()
    return asked


def numbers(status: Dataset) -> tuple[int, int, int]:
    return status.NumberOfCompletedSuboperations, status.NumberOfFailedSuboperations, status.NumberOfWarningSuboperations


def test_sub_operations_are_counted_and_failed_ones_named(library: Library) -> None:
    got = Got(refuse=frozenset({"1.9.2.1.2"}))
    with scp(AE("SCP"), contexts=[build_context(CTImageStorage)], handlers=[(evt.EVT_C_STORE, got.store)]) as port:
        library.targets["SCP"] = MoveTarget("SCP", "127.0.0.1", port)
        asked = retrieve(library.serve(), STUDY_MOVE, got, QueryRetrieveLevel="STUDY", StudyInstanceUID="1.9.2")
    assert asked.statuses == [0xFF00, 0xFF00, 0xB000]
    assert numbers(asked.last) == (2, 1, 0)
    assert asked.datasets[-1].FailedSOPInstanceUIDList == "1.9.2.1.2"
    assert got.origins == {("SCU", 5)}


def test_get_converts_to_what_the_peer_takes_and_fails_what_it_does_not(library: Library) -> None:
    server = library.serve()
    got = Got()
    asked = retrieve(server, STUDY_GET, got, syntax=ImplicitVRLittleEndian, QueryRetrieveLevel="STUDY", StudyInstanceUID="1.9.2")
    assert (asked.statuses[-1], numbers(asked.last)) == (0x0000, (3, 0, 0))
    got = Got()
    asked = retrieve(server, STUDY_GET, got, syntax=JPEG2000Lossless, QueryRetrieveLevel="STUDY", StudyInstanceUID="1.9.2")
    assert (asked.statuses[-1], numbers(asked.last), got.uids) == (0xA702, (0, 3, 0), [])


def test_a_retrieval_can_be_cancelled(library: Library) -> None:
    library.add(4, images=40)
    got = Got()
    asked = retrieve(library.serve(), STUDY_GET, got, cancel_after=2, QueryRetrieveLevel="STUDY", StudyInstanceUID="1.9.4")
    assert asked.statuses[-1] == 0xFE00
    assert 2 <= len(got.uids) < 40
    assert asked.last.NumberOfRemainingSuboperations == 40 - len(got.uids)


def test_a_retrieval_names_what_it_wants_and_not_too_much(library: Library) -> None:
    server = library.serve(maximum_instances=2)
    assert retrieve(server, STUDY_GET, Got(), QueryRetrieveLevel="STUDY", StudyInstanceUID="").statuses == [0xA900]
    assert retrieve(server, STUDY_GET, Got(), QueryRetrieveLevel="STUDY", StudyInstanceUID="1.9.2").statuses == [0xA702]
    assert retrieve(server, STUDY_GET, Got(), QueryRetrieveLevel="STUDY", StudyInstanceUID="1.99").statuses == [0x0000]


def test_orthanc_asks_us_and_fetches_from_us(library: Library, tmp_path: Path) -> None:
    server = library.serve()
    with orthanc(tmp_path / "pacs") as pacs:
        library.targets["ORTHANC"] = MoveTarget("ORTHANC", "127.0.0.1", pacs.port)
        with httpx.Client(base_url=f"http://127.0.0.1:{pacs.http_port}", trust_env=False, timeout=60) as client:
            client.put("/modalities/box", json={"AET": "CORONET", "Host": "127.0.0.1", "Port": server.port}).raise_for_status()
            wish = {"Level": "Study", "Query": {"PatientName": "*小东*", "StudyInstanceUID": "1.9.2"}}
            query = client.post("/modalities/box/query", json=wish).raise_for_status().json()["ID"]
            assert client.get(f"/queries/{query}/answers").json() == ["0"]
            client.post(f"/queries/{query}/answers/0/retrieve", content="ORTHANC").raise_for_status()
        wait_until(lambda: len(pacs.get("/instances")) == 3, what="the study in Orthanc")
        assert {each["SOPInstanceUID"] for each in pacs.instances()} == {"1.9.2.1.1", "1.9.2.1.2", "1.9.2.1.3"}
